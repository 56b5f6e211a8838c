//! Aggregates over rows of people: by the unit they stay rows of people, otherwise they are release units.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef, ScalarValue};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::expr::{AggregateFunction, GroupingSet};
use datafusion::logical_expr::expr_fn::when;
use datafusion::logical_expr::utils::COUNT_STAR_EXPANSION;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, Filter, LogicalPlan, SubqueryAlias, lit};

use super::expr::unreadable;
use super::join::{is_condition, is_nothing};
use super::outer::tables;
use super::repeats::Repeats;
use super::rows::{
    Base, Bases, Role, Rows, bare, bare_base, gates, is_unit, key, mentions, range_of, refuse_as_condition,
    refuse_names, unit_used,
};
use super::{Node, Open, Walk};
use crate::arguments;
use crate::conditions::constant;
use crate::constants::with_values;
use crate::facts::Placement;
use crate::functions;
use crate::private::Range;
use crate::refusal::Refusal;
use crate::release_unit::{Measure, MeasureKind, ReleaseNode, ReleaseUnit};

impl Walk<'_> {
    pub(super) fn aggregate(&mut self, rows: Rows, aggregate: &Aggregate, plan: &LogicalPlan) -> Result<Node, Refusal> {
        let shown = aggregate.input.schema();
        let sets = matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]);
        let mut keys = Vec::new();
        for e in &aggregate.group_expr {
            keys.push(match e {
                Expr::GroupingSet(set) => Expr::GroupingSet(self.grouping_set(set, &rows, shown)?),
                e => self.value(e, &rows, shown, false)?,
            });
        }
        let schema = Arc::clone(rows.plan.schema());
        if keys.iter().any(|k| is_unit(k, &rows.base, &schema)) {
            return self.per_unit(rows, keys, &aggregate.aggr_expr, shown).map(Node::Private);
        }
        if !sets {
            for k in &keys {
                refuse_as_condition(k, &rows.base, &schema)?;
            }
        }
        let measures = self.measures(&aggregate.aggr_expr, &rows, shown)?;
        if !sets
            && measures.is_empty()
            && let Some(answer) = self.known_keys(&rows, &keys, &aggregate.schema)?
        {
            return Ok(answer);
        }
        if let [Expr::GroupingSet(set)] = keys.as_slice()
            && super::ranks::are_private(&rows)
        {
            return self.sets(&rows, set, &measures, aggregate);
        }
        if !sets && let Some(answer) = self.histograms(&rows, &keys, &measures, aggregate)? {
            return Ok(answer);
        }
        self.release_rows(rows, keys, measures, &aggregate.schema, plan)
    }

    pub(super) fn distinct(&mut self, rows: Rows, plan: &LogicalPlan) -> Result<Node, Refusal> {
        let keys = rows.defs.clone();
        let schema = Arc::clone(rows.plan.schema());
        if keys.iter().any(|k| is_unit(k, &rows.base, &schema)) {
            return self.per_unit(rows, keys, &[], plan.schema()).map(Node::Private);
        }
        for k in &keys {
            refuse_as_condition(k, &rows.base, &schema)?;
        }
        let shown = Arc::clone(plan.schema());
        if let Some(answer) = self.known_keys(&rows, &keys, &shown)? {
            return Ok(answer);
        }
        self.release_rows(rows, keys, vec![], &shown, plan)
    }

    fn grouping_set(&mut self, set: &GroupingSet, rows: &Rows, shown: &DFSchema) -> Result<GroupingSet, Refusal> {
        let mut one = |e: &Expr| -> Result<Expr, Refusal> {
            let value = self.value(e, rows, shown, false)?;
            refuse_as_condition(&value, &rows.base, rows.plan.schema())?;
            Ok(value)
        };
        Ok(match set {
            GroupingSet::Rollup(keys) => GroupingSet::Rollup(keys.iter().map(&mut one).collect::<Result<_, _>>()?),
            GroupingSet::Cube(keys) => GroupingSet::Cube(keys.iter().map(&mut one).collect::<Result<_, _>>()?),
            GroupingSet::GroupingSets(sets) => GroupingSet::GroupingSets(
                sets.iter()
                    .map(|keys| keys.iter().map(&mut one).collect::<Result<Vec<_>, _>>())
                    .collect::<Result<_, _>>()?,
            ),
        })
    }

    pub(super) fn release_rows(
        &mut self,
        rows: Rows,
        keys: Vec<Expr>,
        measures: Vec<Measure>,
        schema: &DFSchemaRef,
        source: &LogicalPlan,
    ) -> Result<Node, Refusal> {
        if rows.correlated {
            return Err(Refusal::unsupported(format!(
                "a correlated subquery that aggregates {} is not supported",
                tables(&rows)
            ))
            .hint("Group by the unit in an inner query and join it."));
        }
        let repeats = Repeats::of(&keys);
        if matches!(rows.placement, Placement::Sites { .. }) {
            self.refuse_elsewhere(&rows)?;
        } else if repeats.are_some() && schema.fields().len() == keys.len() + measures.len() {
            return self.release_once(rows, &keys, &repeats, measures, schema, source);
        }
        let mut tables = rows.tables.clone();
        tables.sort();
        tables.dedup();
        let question = self.question(&rows, &keys, &measures)?.map(Arc::new);
        let unit = ReleaseUnit {
            id: self.units.len(),
            input: rows.plan,
            unit: rows.unit,
            protection: rows.protection,
            one_row_a_unit: rows.one_row,
            keys,
            measures,
            schema: nullable(schema)?,
            question,
            source: source.clone(),
            constants: self.constants.clone(),
            placement: rows.placement,
            tables,
        };
        let plan = self.release(unit);
        Ok(Node::Open(Open { plan, released: true, crafted: true, remote: None, lateral: false }))
    }

    /// What runs at sites can use only what is there: their tables, and what is written into the question before the unit is split: rows of
    /// open tables, and values of scalar subqueries.
    fn refuse_elsewhere(&self, rows: &Rows) -> Result<(), Refusal> {
        let mut refusal = None;
        let plan = with_values(rows.plan.clone(), |_| Ok(Expr::Literal(ScalarValue::Null, None)));
        let plan = plan.map_err(|e| unreadable(&e))?;
        let _ = plan.apply_with_subqueries(|p| {
            match p {
                LogicalPlan::TableScan(scan) => {
                    let facts = self.facts.of(scan);
                    let same = match (&facts.placement, &rows.placement) {
                        (Placement::Sites { sites: a, .. }, Placement::Sites { sites: b, .. }) => a == b,
                        _ => false,
                    };
                    if !same && facts.protection.is_some() {
                        refusal = Some(
                            Refusal::unsupported(format!(
                                "{} answers at other sites and cannot be combined with tables that are not there",
                                tables(rows)
                            ))
                            .hint(
                                "Use tables that the same sites answer for, or join with the answer of an aggregate.",
                            ),
                        );
                    }
                }
                LogicalPlan::Extension(e) if e.node.as_any().downcast_ref::<ReleaseNode>().is_some() => {
                    refusal = Some(
                        Refusal::unsupported(format!(
                            "an answer cannot be used inside a query over {}, which is at other sites",
                            tables(rows)
                        ))
                        .hint("Ask for the answer first and write its value as a literal."),
                    );
                }
                _ => {}
            }
            Ok(if refusal.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        });
        refusal.map_or(Ok(()), Err)
    }

    /// GROUP BY with the unit among the keys: rows of units still.
    fn per_unit(
        &mut self,
        mut rows: Rows,
        keys: Vec<Expr>,
        aggregates: &[Expr],
        shown: &DFSchema,
    ) -> Result<Rows, Refusal> {
        let schema = Arc::clone(rows.plan.schema());
        let alias = self.alias('a');
        let mut bases = Bases::new();
        let mut group = Vec::new();
        let mut made = Vec::new();
        let mut defs = Vec::new();
        let mut unit: Option<Column> = None;
        let mut one_row = true;
        let mut missing = None;
        for (i, k) in keys.into_iter().enumerate() {
            let name = format!("group{i}");
            let column = Column::new(Some(alias.as_str()), &name);
            match bare_base(&k, &rows.base, &schema) {
                Some(b) if b.role == Role::Unit => {
                    bases.insert(key(&column), b.clone());
                    if bare(&k, &schema) != rows.unit.as_ref() {
                        missing = Some(k.clone());
                    }
                    unit = unit.or_else(|| Some(column.clone()));
                }
                Some(b) if b.role == Role::Identifier => return Err(super::rows::identifier_used(b)),
                _ => {
                    one_row = false;
                    refuse_as_condition(&k, &rows.base, &schema)?;
                    let base = super::join::made_base(&k, &rows.base, &schema, &name);
                    bases.insert(key(&column), base);
                }
            }
            group.push(k.alias(&name));
            defs.push(Expr::Column(column));
        }
        if let Some(unit) = missing {
            // A unit column from an outer join: rows without it are rows without a unit, and would be one group of many people.
            let plan = std::mem::take(&mut rows.plan);
            rows.plan =
                LogicalPlan::Filter(Filter::try_new(unit.is_not_null(), Arc::new(plan)).map_err(|e| unreadable(&e))?);
        }
        for (i, e) in aggregates.iter().enumerate() {
            let name = format!("value{i}");
            let column = Column::new(Some(alias.as_str()), &name);
            let (value, mut base) = self.per_unit_aggregate(e, &rows, shown)?;
            let hidden = self.hidden(&value, &rows, &column, &alias)?;
            base.condition |= hidden.condition;
            base.gates = hidden.gates;
            bases.insert(key(&column), base);
            made.push(value.alias(&name));
            defs.push(Expr::Column(column));
            for (beside, value) in hidden.beside {
                bases.insert(key(&beside), Base::made(Role::Plain, true, &beside.name));
                made.push(value.alias(&beside.name));
            }
        }
        let mut multiplied = Vec::new();
        for (i, condition) in rows.multiplied.iter().enumerate() {
            // A unit with a row that an open table multiplies is on its own.
            let column = Column::new(Some(alias.as_str()), format!("often{i}"));
            let Some(unit) = &unit else { return Err(Refusal::unsupported("rows of units lost their unit")) };
            bases.insert(key(&column), Base::made(Role::Plain, true, &column.name));
            made.push(count(condition.clone()).alias(&column.name));
            let often = Expr::Column(column).gt(lit(0_i64));
            multiplied.push(when(often, Expr::Column(unit.clone())).end().map_err(|e| unreadable(&e))?);
        }
        let plan = Aggregate::try_new(Arc::new(rows.plan), group, made).map_err(|e| unreadable(&e))?;
        let plan = SubqueryAlias::try_new(Arc::new(LogicalPlan::Aggregate(plan)), alias.as_str())
            .map_err(|e| unreadable(&e))?;
        Ok(Rows {
            plan: LogicalPlan::SubqueryAlias(plan),
            defs,
            base: bases,
            unit,
            one_row,
            implied: vec![],
            multiplied,
            restricted: true,
            protection: rows.protection,
            private: rows.private,
            tables: rows.tables,
            placement: rows.placement,
            correlated: rows.correlated,
        })
    }

    fn per_unit_aggregate(&mut self, expr: &Expr, rows: &Rows, shown: &DFSchema) -> Result<(Expr, Base), Refusal> {
        let schema = Arc::clone(rows.plan.schema());
        let Expr::AggregateFunction(function) = expr.clone().unalias_nested().data else {
            return Err(Refusal::unsupported("this aggregate is not supported over a protected table"));
        };
        let name = function.func.name().to_owned();
        match functions::aggregate(&name) {
            Some(functions::Aggregate::Measure | functions::Aggregate::WithinUnit)
                if !name.starts_with("kanon_part_") => {}
            _ => {
                return Err(Refusal::unsupported(format!(
                    "aggregate {name} cannot be used on the rows of {}",
                    tables(rows)
                ))
                .hint("Use count, sum, avg, min or max within a unit."));
            }
        }
        let mut params = function.params;
        if params.null_treatment.is_some() {
            return Err(Refusal::unsupported("IGNORE NULLS in an aggregate is not supported over a protected table"));
        }
        let mut condition = params.filter.is_some() || !rows.implied.is_empty();
        let mut measure = None;
        for e in &mut params.args {
            let value = self.value(e, rows, shown, false)?;
            if !(name == "count" && is_unit(&value, &rows.base, &schema)) {
                refuse_names(&value, &rows.base, &schema)?;
            }
            condition |= is_condition(&value, &rows.base, &schema);
            measure = measure.or_else(|| mentions(&value, &rows.base, &|b| b.role == Role::Measure).cloned());
            *e = value;
        }
        for s in &mut params.order_by {
            let value = self.value(&s.expr, rows, shown, false)?;
            refuse_names(&value, &rows.base, &schema)?;
            condition |= is_condition(&value, &rows.base, &schema);
            s.expr = value;
        }
        if let Some(filter) = &mut params.filter {
            let value = self.value(filter, rows, shown, false)?;
            refuse_as_condition(&value, &rows.base, &schema)?;
            **filter = value;
        }
        let range = within_unit(&name, &params.args, &rows.base);
        let base = match measure {
            Some(b) => Base { condition, range, ..b.unbounded() },
            None => Base { range, ..Base::made(Role::Plain, condition, &name) },
        };
        Ok((Expr::AggregateFunction(AggregateFunction { func: function.func, params }), base))
    }

    /// What a value within a unit hides of the rows that it is made of.
    fn hidden(&mut self, value: &Expr, rows: &Rows, column: &Column, alias: &str) -> Result<Hidden, Refusal> {
        let schema = rows.plan.schema();
        let mut hidden = Hidden { gates: vec![], condition: false, beside: vec![] };
        let Expr::AggregateFunction(function) = value else { return Ok(hidden) };
        let args = &function.params.args;
        for arg in args {
            // Conditions of single rows cannot be told from a value of all of them.
            hidden.condition |= !gates(arg, &rows.base).is_empty();
            if !arguments::products(arg, schema).is_empty() {
                hidden.gates.push(is_nothing(column));
                hidden.condition |= arguments::products(arg, schema).len() > 1;
            }
        }
        let counts = matches!(function.func.name(), "count" | "regr_count");
        let may_miss =
            |arg: &Expr| !is_unit(arg, &rows.base, schema) && arg.nullable(schema).unwrap_or(true) && !constant(arg);
        if counts && args.iter().any(may_miss) {
            // A count of values tells who has none, and with the rows who lacks some.
            let all = Column::new(Some(alias), format!("{}_of", column.name));
            hidden.gates.push(is_nothing(column));
            if !function.params.distinct {
                hidden.gates.push(Expr::Column(column.clone()).eq(Expr::Column(all.clone())));
                hidden.beside.push((all, count(lit(COUNT_STAR_EXPANSION))));
            }
        }
        Ok(hidden)
    }

    /// An aggregate over open rows: at the sites if they hold all of it and its parts can be merged, else here.
    pub(super) fn open_aggregate(
        &mut self,
        open: Open,
        aggregate: &Aggregate,
        plan: &LogicalPlan,
    ) -> Result<Node, Refusal> {
        let Some(remote) = open.remote.clone() else { return self.outer(plan, vec![open]) };
        let whole = aggregate.group_expr.iter().chain(&aggregate.aggr_expr).all(|e| !has_subquery(e));
        if !whole || !aggregate.aggr_expr.iter().all(mergeable) {
            return self.outer(plan, vec![open]);
        }
        let measures = aggregate
            .aggr_expr
            .iter()
            .map(|e| {
                let e = e.clone().unalias_nested().data;
                Measure { kind: open_kind(&e), aggregate: e, present: None, conditions: vec![], dominated: vec![] }
            })
            .collect();
        let mut tables = remote.tables;
        tables.sort();
        tables.dedup();
        let unit = ReleaseUnit {
            id: self.units.len(),
            input: open.plan,
            unit: None,
            protection: None,
            question: None,
            one_row_a_unit: false,
            keys: aggregate.group_expr.clone(),
            measures,
            schema: nullable(&aggregate.schema)?,
            source: plan.clone(),
            constants: vec![],
            placement: remote.placement,
            tables,
        };
        let plan = self.release(unit);
        Ok(Node::Open(Open { plan, released: true, crafted: true, remote: None, lateral: false }))
    }
}

/// What a value within a unit hides.
struct Hidden {
    /// Conditions of the measures that use it.
    gates: Vec<Expr>,
    /// Whether the value itself is one.
    condition: bool,
    /// Further values of the unit that the conditions need.
    beside: Vec<(Column, Expr)>,
}

pub(super) fn has_subquery(expr: &Expr) -> bool {
    expr.exists(|e| {
        Ok(matches!(
            e,
            Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::SetComparison(_)
                | Expr::ScalarSubquery(_)
                | Expr::OuterReferenceColumn(..)
        ))
    })
    .unwrap_or(true)
}

/// Aggregates whose parts over disjoint sites give the whole.
fn mergeable(expr: &Expr) -> bool {
    let Expr::AggregateFunction(f) = expr.clone().unalias_nested().data else { return false };
    !f.params.distinct
        && f.params.order_by.is_empty()
        && f.params.null_treatment.is_none()
        && matches!(
            f.func.name(),
            "count"
                | "sum"
                | "min"
                | "max"
                | "avg"
                | "var"
                | "var_pop"
                | "stddev"
                | "stddev_pop"
                | "covar_samp"
                | "covar_pop"
                | "corr"
                | "bool_and"
                | "bool_or"
                | "regr_avgx"
                | "regr_avgy"
                | "regr_count"
                | "regr_intercept"
                | "regr_r2"
                | "regr_slope"
                | "regr_sxx"
                | "regr_sxy"
                | "regr_syy"
        )
}

fn open_kind(expr: &Expr) -> MeasureKind {
    let Expr::AggregateFunction(f) = expr else { return MeasureKind::Count };
    match f.func.name() {
        "sum" | "min" | "max" => MeasureKind::Sum,
        "avg" => MeasureKind::Avg,
        "bool_and" | "bool_or" => MeasureKind::Bool,
        "count" => MeasureKind::Count,
        _ => MeasureKind::Moments,
    }
}

/// The Aggregate's schema with columns that may be NULL: what is withheld is, and what is read from memory may be for all that is known.
pub(super) fn nullable(schema: &DFSchema) -> Result<DFSchemaRef, Refusal> {
    let fields = schema
        .iter()
        .map(|(qualifier, field)| (qualifier.cloned(), Arc::new(field.as_ref().clone().with_nullable(true))))
        .collect();
    DFSchema::new_with_metadata(fields, schema.metadata().clone()).map(Arc::new).map_err(|e| unreadable(&e))
}

/// The values that an aggregate of one unit can have.
fn within_unit(name: &str, args: &[Expr], bases: &Bases) -> Range {
    match (name, args) {
        ("count", _) => Range::of(0.0, f64::INFINITY),
        ("min" | "max" | "avg" | "median", [x]) => range_of(x, bases),
        _ => Range::ALL,
    }
}

/// For a count of units under another name than the row's own unit.
pub(super) fn own_unit(value: Expr, rows: &Rows) -> Result<Expr, Refusal> {
    match rows.unit.as_ref() {
        Some(unit) if bare(&value, rows.plan.schema()) == Some(unit) => Ok(Expr::Column(unit.clone())),
        Some(_) => Ok(value),
        None => match bare_base(&value, &rows.base, rows.plan.schema()) {
            Some(b) => Err(unit_used(b)),
            None => Ok(value),
        },
    }
}
