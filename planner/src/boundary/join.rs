//! Joins of rows of people: with open tables, and with each other on equal units.

use std::sync::Arc;

use datafusion::common::{Column, DFSchema, JoinConstraint, JoinType, NullEquality};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{BinaryExpr, WindowFunction, WindowFunctionDefinition};
use datafusion::logical_expr::expr_fn::when;
use datafusion::logical_expr::utils::{COUNT_STAR_EXPANSION, conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Expr, ExprSchemable, Filter, Join, LogicalPlan, Operator, Projection, SubqueryAlias, Window, lit,
};

use super::expr::{Context, unreadable};
use super::outer::tables;
use super::rows::{
    Base, Bases, Role, Rows, bare, is_unit, key, less_of, range_of, refuse_as_condition, strictest, together,
};
use super::{Node, Open, OpenSide, Walk};
use crate::conditions::{conditions, constant};
use crate::facts::Placement;
use crate::refusal::Refusal;
use crate::release_unit::ReleaseNode;

/// Moves conjuncts of a WHERE above an inner join into the join, down to the side they speak of. `None`: nothing to move.
pub(super) fn pushed(join: &Join, conjuncts: Vec<Expr>) -> Result<Option<(Join, Vec<Expr>)>, Refusal> {
    if join.join_type != JoinType::Inner {
        return Ok(None);
    }
    let (mut left, mut right, mut both, mut rest) = (vec![], vec![], vec![], vec![]);
    for conjunct in conjuncts {
        let columns = conjunct.column_refs();
        let of = |schema: &DFSchema| columns.iter().all(|c| schema.has_column(c));
        if columns.is_empty() || has_subquery(&conjunct) {
            rest.push(conjunct);
        } else if of(join.left.schema()) {
            left.push(conjunct);
        } else if of(join.right.schema()) {
            right.push(conjunct);
        } else {
            both.push(conjunct);
        }
    }
    if left.is_empty() && right.is_empty() && both.is_empty() {
        return Ok(None);
    }
    let side = |plan: &Arc<LogicalPlan>, conjuncts: Vec<Expr>| -> Result<Arc<LogicalPlan>, Refusal> {
        match conjunction(conjuncts) {
            None => Ok(Arc::clone(plan)),
            Some(p) => {
                Ok(Arc::new(LogicalPlan::Filter(Filter::try_new(p, Arc::clone(plan)).map_err(|e| unreadable(&e))?)))
            }
        }
    };
    let mut join = join.clone();
    join.left = side(&join.left, left)?;
    join.right = side(&join.right, right)?;
    join.filter = conjunction(join.filter.into_iter().chain(both));
    Ok(Some((join, rest)))
}

fn has_subquery(expr: &Expr) -> bool {
    use datafusion::common::tree_node::TreeNode;
    expr.exists(|e| {
        Ok(matches!(e, Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) | Expr::ScalarSubquery(_)))
    })
    .unwrap_or(true)
}

/// How the rows of two sides meet.
struct Meets {
    /// The equalities between the sides: of the left one, of the right one.
    keys: Vec<(Expr, Expr)>,
    /// Whether rows that meet one row meet all the same rows: nothing but equalities and what speaks of one side alone.
    by_key: bool,
}

impl Default for Meets {
    fn default() -> Self {
        Meets { keys: vec![], by_key: true }
    }
}

impl Meets {
    fn note(&mut self, conjunct: &Expr, left: &Rows, right: &Rows) {
        let of = |e: &Expr, rows: &Rows| e.column_refs().iter().all(|c| rows.base.contains_key(&key(c)));
        if of(conjunct, left) || of(conjunct, right) {
            return;
        }
        match conjunct {
            Expr::BinaryExpr(BinaryExpr { left: a, op: Operator::Eq, right: b }) if of(a, left) && of(b, right) => {
                self.keys.push((a.as_ref().clone(), b.as_ref().clone()))
            }
            Expr::BinaryExpr(BinaryExpr { left: a, op: Operator::Eq, right: b }) if of(b, left) && of(a, right) => {
                self.keys.push((b.as_ref().clone(), a.as_ref().clone()))
            }
            _ => self.by_key = false,
        }
    }
}

/// `count(*) OVER (PARTITION BY …)`
fn rows_by(keys: Vec<Expr>) -> WindowFunction {
    let mut count =
        WindowFunction::new(WindowFunctionDefinition::AggregateUDF(count_udaf()), vec![lit(COUNT_STAR_EXPANSION)]);
    count.params.partition_by = keys;
    count
}

/// Whether a plan has one row at most, whatever the tables hold.
fn is_single(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(p) => is_single(&p.input),
        LogicalPlan::Filter(f) => is_single(&f.input),
        LogicalPlan::Sort(s) => s.fetch == Some(1) || is_single(&s.input),
        LogicalPlan::SubqueryAlias(a) => is_single(&a.input),
        LogicalPlan::Aggregate(a) => a.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Values(v) => v.values.len() <= 1,
        LogicalPlan::Limit(l) => {
            matches!(l.get_fetch_type(), Ok(datafusion::logical_expr::FetchType::Literal(Some(n))) if n <= 1)
                || is_single(&l.input)
        }
        LogicalPlan::Extension(e) => {
            e.node.as_any().downcast_ref::<ReleaseNode>().is_some_and(|release| release.unit.keys.is_empty())
        }
        _ => false,
    }
}

/// What a join does with the rows of one of its sides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// Left and right columns.
    Both,
    Left,
    Right,
}

impl Walk<'_> {
    pub(super) fn join(&mut self, join: &Join, plan: &LogicalPlan) -> Result<Node, Refusal> {
        let left = self.node(&join.left)?;
        let right = self.node(&join.right)?;
        let (left, right) = match (left, right) {
            (Node::Open(left), Node::Open(right)) => return self.outer(plan, vec![left, right]),
            (Node::Private(left), Node::Private(right)) => (left, right),
            (Node::Private(left), Node::Open(right)) => {
                let side = OpenSide { is_left: false, crafted: right.crafted, single: is_single(&right.plan) };
                let right = self.side(right)?;
                let kind = match join.join_type {
                    JoinType::Inner | JoinType::Right => JoinType::Inner,
                    JoinType::Left | JoinType::Full => JoinType::Left,
                    JoinType::LeftSemi => JoinType::LeftSemi,
                    JoinType::LeftAnti => JoinType::LeftAnti,
                    JoinType::RightSemi | JoinType::RightAnti => return Err(filters_open(&left)),
                    JoinType::LeftMark | JoinType::RightMark => return Err(mark()),
                };
                return self.join_rows(join, left, right, kind, Some(side)).map(Node::Private);
            }
            (Node::Open(left), Node::Private(right)) => {
                let side = OpenSide { is_left: true, crafted: left.crafted, single: is_single(&left.plan) };
                let left = self.side(left)?;
                let kind = match join.join_type {
                    JoinType::Inner | JoinType::Left => JoinType::Inner,
                    JoinType::Right | JoinType::Full => JoinType::Right,
                    JoinType::RightSemi => JoinType::RightSemi,
                    JoinType::RightAnti => JoinType::RightAnti,
                    JoinType::LeftSemi | JoinType::LeftAnti => return Err(filters_open(&right)),
                    JoinType::LeftMark | JoinType::RightMark => return Err(mark()),
                };
                return self.join_rows(join, left, right, kind, Some(side)).map(Node::Private);
            }
        };
        if matches!(join.join_type, JoinType::LeftMark | JoinType::RightMark) {
            return Err(mark());
        }
        self.join_rows(join, left, right, join.join_type, None).map(Node::Private)
    }

    /// An open plan as one side of a join with rows of people: under our own names.
    fn side(&mut self, open: Open) -> Result<Rows, Refusal> {
        if open.lateral {
            return Err(Refusal::unsupported("LATERAL cannot be used with a protected table").hint("Use a join."));
        }
        let alias = self.alias('o');
        let mut renamed = Vec::new();
        let mut defs = Vec::new();
        let mut bases = Bases::new();
        for (i, (qualifier, field)) in open.plan.schema().iter().enumerate() {
            let name = format!("c{i}");
            renamed.push(Expr::Column(Column::new(qualifier.cloned(), field.name())).alias(&name));
            let column = Column::new(Some(alias.as_str()), &name);
            bases.insert(key(&column), Base { bare: true, ..Base::made(Role::Plain, false, field.name()) });
            defs.push(Expr::Column(column));
        }
        let plan = if renamed.is_empty() {
            open.plan
        } else {
            LogicalPlan::Projection(Projection::try_new(renamed, Arc::new(open.plan)).map_err(|e| unreadable(&e))?)
        };
        let plan = SubqueryAlias::try_new(Arc::new(plan), alias.as_str()).map_err(|e| unreadable(&e))?;
        Ok(Rows {
            plan: LogicalPlan::SubqueryAlias(plan),
            defs,
            base: bases,
            unit: None,
            protection: None,
            private: None,
            one_row: false,
            implied: vec![],
            multiplied: vec![],
            tables: vec![],
            placement: Placement::Local,
            correlated: false,
            restricted: false,
        })
    }

    /// `open`: for a join with an open side, what is known of it.
    fn join_rows(
        &mut self,
        join: &Join,
        left: Rows,
        right: Rows,
        kind: JoinType,
        open: Option<OpenSide>,
    ) -> Result<Rows, Refusal> {
        let (mut left, mut right) = (left, right);
        if join.null_aware {
            return Err(mark());
        }
        let kept = match kind {
            JoinType::LeftSemi | JoinType::LeftAnti => Kept::Left,
            JoinType::RightSemi | JoinType::RightAnti => Kept::Right,
            _ => Kept::Both,
        };
        // Values of a side that may be missing are made before the join, so that they are NULL where the row is missing.
        if matches!(kind, JoinType::Left | JoinType::Full) {
            self.make(&mut right)?;
            may_be_missing(&mut right);
        }
        if matches!(kind, JoinType::Right | JoinType::Full) {
            self.make(&mut left)?;
            may_be_missing(&mut left);
        }
        let preserved = |left: bool| match kind {
            JoinType::Inner => true,
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => left,
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti => !left,
            _ => false,
        };
        if left.correlated && !preserved(true) || right.correlated && !preserved(false) {
            return Err(Refusal::unsupported("this outer join inside EXISTS is not supported over a protected table"));
        }

        let shown = joined_schema(join.left.schema(), join.right.schema())?;
        let schema = joined_schema(left.plan.schema(), right.plan.schema())?;
        let defs: Vec<Expr> = left.defs.iter().chain(&right.defs).cloned().collect();
        let mut bases = left.base.clone();
        bases.extend(right.base.iter().map(|(k, v)| (k.clone(), v.clone())));

        let null_equal = join.null_equality == NullEquality::NullEqualsNull;
        let mut on = Vec::new();
        let mut filters = Vec::new();
        let mut on_units = false;
        let mut plain_equalities = true;
        let mut meets = Meets::default();
        let mut asked: Vec<(Expr, bool)> = join.on.iter().map(|(l, r)| (l.clone().eq(r.clone()), true)).collect();
        if let Some(filter) = &join.filter {
            asked.extend(split_conjunction_owned(filter.clone()).into_iter().map(|e| (e, false)));
        }
        for (expr, from_on) in asked {
            let context = Context { shown: &shown, defs: &defs, base: &bases, schema: &schema, chooses: None };
            let below = self.below(&expr, context)?;
            if let Some((a, b)) = unit_equality(&below, &bases, &schema) {
                let of = |e: &Expr, rows: &Rows| bare(e, &schema).is_some_and(|c| rows.base.contains_key(&key(c)));
                let pair = if of(&a, &left) && of(&b, &right) {
                    Some((a, b))
                } else if of(&b, &left) && of(&a, &right) {
                    Some((b, a))
                } else {
                    None
                };
                if let Some((l, r)) = pair {
                    let never_null = bare(&l, &schema) == left.unit.as_ref()
                        && bare(&r, &schema) == right.unit.as_ref()
                        || !(null_equal && from_on);
                    if never_null {
                        on_units = true;
                        on.push((l, r));
                        continue;
                    }
                    return Err(Refusal::unsupported("units that may be missing cannot be compared like this")
                        .hint("Use a plain join on the unit columns."));
                }
            }
            if has_subquery(&expr) {
                return Err(Refusal::unsupported(
                    "a subquery in a join condition is not supported over a protected table",
                )
                .hint("Move the condition to WHERE."));
            }
            refuse_as_condition(&below, &bases, &schema)?;
            plain_equalities &= is_plain_equality(&below, &bases, &schema);
            meets.note(&below, &left, &right);
            match below {
                Expr::BinaryExpr(BinaryExpr { left: l, op: Operator::Eq, right: r }) if from_on && null_equal => {
                    on.push((*l, *r))
                }
                other => filters.push(other),
            }
        }

        let mut numbered = None;
        let mut rows = if let Some(side) = open {
            let (private, opened) = if side.is_left { (&mut right, &mut left) } else { (&mut left, &mut right) };
            let mut implied = Vec::new();
            let mut multiplied = None;
            if kept == Kept::Both && !side.single {
                if !meets.by_key {
                    // Which open rows a row meets does not follow from the one that it met, as with equalities: who meets several is on his own.
                    numbered = Some(self.number(private)?);
                } else if !side.crafted && plain_equalities && !meets.keys.is_empty() {
                    let keys: Vec<Expr> =
                        meets.keys.iter().map(|(l, r)| if side.is_left { l.clone() } else { r.clone() }).collect();
                    multiplied = Some(self.repeated(opened, keys)?);
                }
            }
            if kept == Kept::Both && (side.crafted || !plain_equalities || filters.is_empty() && on.is_empty()) {
                // The query chooses how often a row appears: which row of its own it met is a condition of every measure.
                implied = opened.defs.clone();
            }
            let mut rows = private.clone();
            rows.one_row &= kept != Kept::Both || side.single;
            rows.implied.extend(implied);
            rows.multiplied.extend(multiplied.into_iter().flatten());
            rows
        } else {
            if !on_units {
                let (Some(a), Some(b)) = (&left.protection, &right.protection) else {
                    return Err(Refusal::unsupported("rows without units cannot be joined"));
                };
                strictest(a, b)?;
                return Err(Refusal::unsupported(format!(
                    "{} and {} can be joined only on their unit columns",
                    tables(&left),
                    tables(&right)
                ))
                .hint(format!("Join ON {} = {}.", a.unit_column, b.unit_column)));
            }
            self.both(&left, &right, kind, &schema)?
        };

        let made = Join::try_new(
            Arc::new(left.plan.clone()),
            Arc::new(right.plan.clone()),
            on,
            conjunction(filters),
            kind,
            JoinConstraint::On,
            join.null_equality,
            false,
        )
        .map_err(|e| unreadable(&e))?;
        rows.plan = LogicalPlan::Join(made);
        let met = numbered.map(|number| self.met_often(&mut rows, number)).transpose()?;
        rows.restricted = true;
        rows.correlated = left.correlated || right.correlated;
        match kept {
            Kept::Both => {
                rows.defs = defs;
                rows.base = bases;
            }
            Kept::Left => {
                rows.defs = left.defs;
                rows.base = left.base;
            }
            Kept::Right => {
                rows.defs = right.defs;
                rows.base = right.base;
            }
        }
        if let Some((column, condition)) = met {
            rows.base.insert(key(&column), Base::made(Role::Plain, true, &column.name));
            rows.multiplied.push(condition);
        }
        if kind == JoinType::Full {
            self.one_unit(&mut rows, left.unit.as_ref(), right.unit.as_ref())?;
        }
        if kind == JoinType::Inner
            && open.is_none()
            && let (Some(a), Some(b)) = (&left.unit, &right.unit)
            && kind_of(&schema, a) == kind_of(&schema, b)
        {
            // Both name the same unit: one name for it, so that counting either is counting units.
            for def in &mut rows.defs {
                if matches!(def, Expr::Column(c) if c == b) {
                    *def = Expr::Column(a.clone());
                }
            }
        }
        Ok(rows)
    }

    /// Facts of the join of two protected relations on equal units.
    fn both(&mut self, left: &Rows, right: &Rows, kind: JoinType, _schema: &DFSchema) -> Result<Rows, Refusal> {
        let (Some(a), Some(b)) = (&left.protection, &right.protection) else {
            return Err(Refusal::unsupported("rows without units cannot be joined"));
        };
        let keeps_right = matches!(kind, JoinType::Right | JoinType::RightSemi | JoinType::RightAnti);
        let mut rows = if keeps_right { right.clone() } else { left.clone() };
        rows.protection = Some(strictest(a, b)?);
        rows.private = less_of(&left.private, &right.private);
        rows.placement = together(&left.placement, &right.placement)?;
        rows.tables = left.tables.iter().chain(&right.tables).cloned().collect();
        rows.one_row = match kind {
            JoinType::LeftSemi | JoinType::LeftAnti => left.one_row,
            JoinType::RightSemi | JoinType::RightAnti => right.one_row,
            _ => left.one_row && right.one_row,
        };
        rows.implied = match kind {
            JoinType::LeftSemi | JoinType::LeftAnti => left.implied.clone(),
            JoinType::RightSemi | JoinType::RightAnti => right.implied.clone(),
            _ => left.implied.iter().chain(&right.implied).cloned().collect(),
        };
        rows.multiplied = match kind {
            JoinType::LeftSemi | JoinType::LeftAnti => left.multiplied.clone(),
            JoinType::RightSemi | JoinType::RightAnti => right.multiplied.clone(),
            _ => left.multiplied.iter().chain(&right.multiplied).cloned().collect(),
        };
        Ok(rows)
    }

    /// Gives every row a number of its own, before it meets the rows of an open side.
    fn number(&mut self, rows: &mut Rows) -> Result<Expr, Refusal> {
        let number = WindowFunction::new(WindowFunctionDefinition::WindowUDF(row_number_udwf()), vec![]);
        let column = self.windowed(rows, number)?;
        rows.base.insert(key(&column), Base::made(Role::Plain, true, &column.name));
        Ok(Expr::Column(column))
    }

    /// After the join: the number of every row that met more than one, NULL for the others.
    fn met_often(&mut self, rows: &mut Rows, number: Expr) -> Result<(Column, Expr), Refusal> {
        let met = self.windowed(rows, rows_by(vec![number.clone()]))?;
        let often = Expr::Column(met.clone()).gt(lit(1_i64));
        Ok((met, when(often, number).end().map_err(|e| unreadable(&e))?))
    }

    /// The keys of an open side as conditions: NULL where its keys stand once, so that nobody meets two of its rows.
    fn repeated(&mut self, opened: &mut Rows, keys: Vec<Expr>) -> Result<Vec<Expr>, Refusal> {
        let count = self.windowed(opened, rows_by(keys.clone()))?;
        opened.base.insert(key(&count), Base::made(Role::Plain, true, &count.name));
        let often = Expr::Column(count).gt(lit(1_i64));
        keys.into_iter().map(|k| when(often.clone(), k).end().map_err(|e| unreadable(&e))).collect()
    }

    fn windowed(&mut self, rows: &mut Rows, function: WindowFunction) -> Result<Column, Refusal> {
        let name = self.alias('w');
        let plan = std::mem::take(&mut rows.plan);
        let window = Expr::WindowFunction(Box::new(function)).alias(&name);
        rows.plan = LogicalPlan::Window(Window::try_new(vec![window], Arc::new(plan)).map_err(|e| unreadable(&e))?);
        Ok(Column::new_unqualified(&name))
    }

    /// Gives every value that is not a column as it stands a column of the inner plan.
    pub(super) fn make(&mut self, rows: &mut Rows) -> Result<(), Refusal> {
        let schema = Arc::clone(rows.plan.schema());
        if rows.defs.iter().all(|d| matches!(d, Expr::Column(_))) {
            return Ok(());
        }
        let mut exprs: Vec<Expr> = schema.columns().into_iter().map(Expr::Column).collect();
        for def in &mut rows.defs {
            if matches!(def, Expr::Column(_)) {
                continue;
            }
            let name = self.alias('d');
            let column = Column::new_unqualified(&name);
            let base = gated(made_base(def, &rows.base, &schema, &name), def, &rows.base, &schema, &column);
            exprs.push(def.clone().alias(&name));
            rows.base.insert(key(&column), base);
            *def = Expr::Column(column);
        }
        let plan = std::mem::take(&mut rows.plan);
        rows.plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan)).map_err(|e| unreadable(&e))?);
        Ok(())
    }

    /// After a FULL join: the unit of whichever side there is.
    fn one_unit(&mut self, rows: &mut Rows, left: Option<&Column>, right: Option<&Column>) -> Result<(), Refusal> {
        let (Some(left), Some(right)) = (left, right) else {
            return Err(Refusal::unsupported("rows without units cannot be joined"));
        };
        let schema = Arc::clone(rows.plan.schema());
        if kind_of(&schema, left) != kind_of(&schema, right) {
            return Err(Refusal::unsupported("a FULL JOIN of unit columns of different types is not supported")
                .hint("Give both unit columns one type."));
        }
        let name = self.alias('u');
        let (l, r) = (Expr::Column(left.clone()), Expr::Column(right.clone()));
        let unit = when(l.clone().is_not_null(), l).otherwise(r).map_err(|e| unreadable(&e))?;
        let mut exprs: Vec<Expr> = schema.columns().into_iter().map(Expr::Column).collect();
        exprs.push(unit.alias(&name));
        let column = Column::new_unqualified(&name);
        let base = rows.base.get(&key(left)).cloned().unwrap_or_else(|| Base::made(Role::Unit, false, &name));
        rows.base.insert(key(&column), base);
        let plan = std::mem::take(&mut rows.plan);
        let plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan)).map_err(|e| unreadable(&e))?);
        let plan =
            Filter::try_new(Expr::Column(column.clone()).is_not_null(), Arc::new(plan)).map_err(|e| unreadable(&e))?;
        rows.plan = LogicalPlan::Filter(plan);
        rows.unit = Some(column);
        Ok(())
    }
}

/// Columns that the join makes NULL where it finds no row are not as they stand in their table: that they are NULL tells of the join.
fn may_be_missing(rows: &mut Rows) {
    for base in rows.base.values_mut() {
        base.bare = false;
    }
}

/// What is known of a value once it is a column.
pub(super) fn made_base(def: &Expr, bases: &Bases, schema: &DFSchema, name: &str) -> Base {
    if let Some(b) = super::rows::bare_base(def, bases, schema) {
        return b.clone();
    }
    let condition = is_condition(def, bases, schema);
    match super::rows::mentions(def, bases, &|b| b.role == Role::Measure) {
        Some(b) => Base { condition, range: range_of(def, bases), ..b.clone().unbounded() },
        None => Base { range: range_of(def, bases), ..Base::made(Role::Plain, condition, name) },
    }
}

/// The base of a value that becomes `column`, with the conditions that its own measures would have had: those of its columns, and
/// whether it is zero if it is a product.
pub(super) fn gated(base: Base, def: &Expr, bases: &Bases, schema: &DFSchema, column: &Column) -> Base {
    if super::rows::bare_base(def, bases, schema).is_some() {
        return base;
    }
    let mut gates = super::rows::gates(def, bases);
    if !crate::arguments::products(def, schema).is_empty() {
        gates.push(is_nothing(column));
    }
    // A sum of products hides which of them is zero.
    let condition = base.condition || crate::arguments::products(def, schema).len() > 1;
    Base { gates, condition, ..base }
}

/// Whether a number is zero.
pub(super) fn is_nothing(column: &Column) -> Expr {
    Expr::Column(column.clone()).eq(lit(0_i64))
}

/// Whether a value was made by something that is not arithmetic.
pub(super) fn is_condition(def: &Expr, bases: &Bases, schema: &DFSchema) -> bool {
    !conditions(def, schema, &|e| column_is_condition(e, bases), &|e| column_stands(e, bases)).is_empty()
}

/// Whether a column is one of a table as it stands there.
pub(super) fn column_stands(expr: &Expr, bases: &Bases) -> bool {
    matches!(expr, Expr::Column(c) if super::rows::base(bases, c).is_some_and(|b| b.bare && !b.condition))
}

pub(super) fn column_is_condition(expr: &Expr, bases: &Bases) -> bool {
    matches!(expr, Expr::Column(c) if super::rows::base(bases, c).is_some_and(|b| b.condition))
}

fn unit_equality(expr: &Expr, bases: &Bases, schema: &DFSchema) -> Option<(Expr, Expr)> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right })
            if is_unit(left, bases, schema) && is_unit(right, bases, schema) =>
        {
            Some((left.as_ref().clone(), right.as_ref().clone()))
        }
        _ => None,
    }
}

/// An equality of two columns as they stand, or something that is the same for every row.
fn is_plain_equality(expr: &Expr, bases: &Bases, schema: &DFSchema) -> bool {
    let as_it_stands = |e: &Expr| {
        crate::conditions::uncast(e, schema)
            .try_as_col()
            .is_some_and(|c| super::rows::base(bases, c).is_some_and(|b| b.bare))
            || super::rows::bare_base(e, bases, schema).is_some_and(|b| b.bare)
    };
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => as_it_stands(left) && as_it_stands(right),
        other => constant(other),
    }
}

fn kind_of(schema: &DFSchema, column: &Column) -> Option<datafusion::arrow::datatypes::DataType> {
    Expr::Column(column.clone()).get_type(schema).ok()
}

fn joined_schema(left: &DFSchema, right: &DFSchema) -> Result<DFSchema, Refusal> {
    left.join(right).map_err(|e| unreadable(&e))
}

fn filters_open(rows: &Rows) -> Refusal {
    Refusal::forbidden(format!("{} answers aggregates only: it cannot choose rows of an open table", tables(rows)))
        .hint("Choose rows of the protected table by the open one, or join with an aggregate.")
}

fn mark() -> Refusal {
    Refusal::unsupported("this kind of join is not supported over a protected table")
}
