//! Columns that tables are joined by, under their bare names. DataFusion finds two of each, or the wrong one.
//!
//! | statement | becomes |
//! | --- | --- |
//! | `SELECT id FROM a JOIN b USING (id) WHERE id > 1` | `SELECT a.id FROM a JOIN b USING (id) WHERE a.id > 1` |
//! | `SELECT id FROM a RIGHT JOIN b USING (id)` | `SELECT b.id FROM a RIGHT JOIN b ON a.id = b.id` |
//! | `SELECT * FROM a NATURAL FULL JOIN b` | `SELECT coalesce(a.id, b.id) AS id, a.x, b.y FROM a FULL JOIN b ON a.id = b.id` |

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, OrderByKind, Query, Select,
    SelectItem, SetExpr, TableFactor, TableWithJoins, VisitMut, VisitorMut,
};

use super::json_rows::{WithColumns, columns_of_factor, name_of_factor};
use super::{call, folded};
use crate::pg_catalog::Viewer;

/// What stands for each column that was joined by.
type Merged = HashMap<String, Expr>;

/// Whether a query joins by names, itself or in a part of a set operation.
pub(super) fn joins_by_name(query: &Query) -> bool {
    fn of_body(body: &SetExpr) -> bool {
        match body {
            SetExpr::Select(select) => select.from.iter().flat_map(|table| &table.joins).any(|join| {
                matches!(constraint(&join.join_operator), Some(JoinConstraint::Using(_) | JoinConstraint::Natural))
            }),
            SetExpr::SetOperation { left, right, .. } => of_body(left) || of_body(right),
            _ => false,
        }
    }
    of_body(&query.body)
}

/// Puts a table's name before columns that tables are joined by.
pub(super) fn qualify(query: &mut Query, with: &WithColumns, viewer: &Viewer) {
    if let SetExpr::Select(select) = query.body.as_mut() {
        let merged = of_select(select, with, viewer);
        if merged.is_empty() {
            return;
        }
        // A name in ORDER BY is first one of the answer's.
        let mut of_order = merged;
        of_order.retain(|name, _| !is_answered(select, name));
        let Some(OrderByKind::Expressions(items)) = query.order_by.as_mut().map(|order| &mut order.kind) else {
            return;
        };
        items.iter_mut().for_each(|item| replace(&mut item.expr, &of_order));
    } else {
        of_parts(&mut query.body, with, viewer);
    }
}

fn of_parts(body: &mut SetExpr, with: &WithColumns, viewer: &Viewer) {
    match body {
        SetExpr::Select(select) => {
            of_select(select, with, viewer);
        }
        SetExpr::SetOperation { left, right, .. } => {
            of_parts(left, with, viewer);
            of_parts(right, with, viewer);
        }
        _ => {}
    }
}

/// Whether a SELECT answers a column of this name.
fn is_answered(select: &Select, name: &str) -> bool {
    select.projection.iter().any(|item| match item {
        SelectItem::UnnamedExpr(expr) => super::naming::name_of(expr) == name,
        SelectItem::ExprWithAlias { alias, .. } => folded(alias) == name,
        SelectItem::Wildcard(_) => true,
        _ => false,
    })
}

fn of_select(select: &mut Select, with: &WithColumns, viewer: &Viewer) -> Merged {
    let columns = |factor: &TableFactor| columns_of_factor(factor, with, viewer);
    let mut each: Vec<Joined> = select.from.iter_mut().map(|table| of_table(table, &columns)).collect();
    say_conditions(select, &mut each);
    let mut all = Merged::new();
    for (place, joined) in each.into_iter().enumerate() {
        // A name that another table has too is ambiguous.
        let others = || select.from.iter().enumerate().filter(|(other, _)| *other != place);
        let merged = joined.merged.into_iter();
        all.extend(merged.filter(|(name, _)| !others().any(|(_, table)| has(table, name, &columns))));
    }
    if all.is_empty() {
        return all;
    }
    for item in &mut select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let bare = match expr {
                    Expr::Identifier(ident) => Some(ident.clone()),
                    _ => None,
                };
                replace(expr, &all);
                if let (Some(alias), Expr::Function(_)) = (bare, &*expr) {
                    *item = SelectItem::ExprWithAlias { expr: super::take(expr), alias };
                }
            }
            SelectItem::ExprWithAlias { expr, .. } => replace(expr, &all),
            _ => {}
        }
    }
    for expr in select.selection.iter_mut().chain(&mut select.having) {
        replace(expr, &all);
    }
    if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
        exprs.iter_mut().for_each(|expr| replace(expr, &all));
    }
    all
}

fn has(table: &TableWithJoins, name: &str, columns: &impl Fn(&TableFactor) -> Option<Vec<String>>) -> bool {
    let factors = std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation));
    let mut known = factors.map(columns);
    known.any(|columns| columns.is_none_or(|columns| columns.iter().any(|column| column == name)))
}

/// One element of FROM.
struct Joined {
    /// The columns that its tables are joined by.
    merged: Merged,
    /// The columns that `*` means, in order; `None` if they are not known.
    shown: Option<Vec<(String, Expr)>>,
    /// The conditions of the joins that keep rows of the right side, by their places: DataFusion would show the left side's column.
    conditions: Vec<(usize, Expr)>,
}

/// Puts conditions in the place of names where rows of the right side are kept, and columns in that of `*`. Nothing is changed if they are not all known.
fn say_conditions(select: &mut Select, each: &mut [Joined]) {
    if each.iter().all(|joined| joined.conditions.is_empty()) {
        return;
    }
    let is_star = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_));
    if select.projection.iter().any(is_star) {
        let shown: Option<Vec<&Vec<(String, Expr)>>> = each.iter().map(|joined| joined.shown.as_ref()).collect();
        let Some(shown) = shown else { return };
        let shown: Vec<SelectItem> = shown.into_iter().flatten().map(item).collect();
        let items = std::mem::take(&mut select.projection).into_iter();
        select.projection = items.flat_map(|item| if is_star(&item) { shown.clone() } else { vec![item] }).collect();
    }
    for (table, joined) in select.from.iter_mut().zip(each) {
        for (place, condition) in joined.conditions.drain(..) {
            let constraint = table.joins.get_mut(place).and_then(|join| constraint_mut(&mut join.join_operator));
            if let Some(constraint) = constraint {
                *constraint = JoinConstraint::On(condition);
            }
        }
    }
}

fn item((name, expr): &(String, Expr)) -> SelectItem {
    match expr {
        Expr::CompoundIdentifier(_) => SelectItem::UnnamedExpr(expr.clone()),
        _ => SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', name.as_str()) },
    }
}

/// What joins by names say of one element of FROM. Conditions of joins further on may name the columns.
fn of_table(table: &mut TableWithJoins, columns: &impl Fn(&TableFactor) -> Option<Vec<String>>) -> Joined {
    let mut merged = Merged::new();
    let mut left = vec![Side::of(&table.relation, columns)];
    let mut shown = left.first().and_then(Side::shown);
    let mut conditions = Vec::new();
    for (place, join) in table.joins.iter_mut().enumerate() {
        let right = Side::of(&join.relation, columns);
        let names: Vec<String> = match constraint(&join.join_operator) {
            Some(JoinConstraint::Using(names)) => {
                let name = |name: &datafusion::sql::sqlparser::ast::ObjectName| {
                    name.0.last().and_then(|part| part.as_ident()).map(folded)
                };
                names.iter().filter_map(name).collect()
            }
            Some(JoinConstraint::Natural) => common(&left, &right),
            _ => Vec::new(),
        };
        // What another table has as well is ambiguous, unless it is joined by it.
        merged.retain(|name, _| names.contains(name) || !right.has(name));
        if let Some(on) = condition(join) {
            replace(on, &merged);
        }
        let mut equal = Some(Vec::new());
        for name in &names {
            let name = name.clone();
            let of_left = merged.get(&name).cloned().or_else(|| match left.as_slice() {
                [one] => one.column(&name),
                many => many.iter().find(|side| side.has(&name)).and_then(|side| side.column(&name)),
            });
            let of_right = right.column(&name);
            let both = of_left.clone().zip(of_right.clone());
            equal = equal.zip(both).map(|(equal, (left, right))| [equal, vec![equals(left, right)]].concat());
            let one = match &join.join_operator {
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) => of_right,
                JoinOperator::FullOuter(_) => match (of_left, of_right) {
                    (Some(left), Some(right)) => Some(call("coalesce", vec![left, right])),
                    _ => None,
                },
                JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => of_left,
                _ => of_left.or(of_right),
            };
            match one {
                Some(one) => merged.insert(name, one),
                None => merged.remove(&name),
            };
        }
        shown = shown.zip(right.shown()).and_then(|(shown, of_right)| {
            let joined = names.iter().map(|name| Some((name.clone(), merged.get(name)?.clone())));
            let others = shown.into_iter().chain(of_right).filter(|(name, _)| !names.contains(name)).map(Some);
            joined.chain(others).collect()
        });
        let keeps_right = matches!(
            join.join_operator,
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_)
        );
        let condition = equal.and_then(|equal| equal.into_iter().reduce(and));
        conditions.extend(condition.filter(|_| keeps_right).map(|condition| (place, condition)));
        left.push(right);
    }
    Joined { merged, shown, conditions }
}

fn equals(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::Eq, right: Box::new(right) }
}

fn and(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) }
}

/// One table of a join.
struct Side {
    name: Option<String>,
    columns: Option<Vec<String>>,
}

impl Side {
    fn of(factor: &TableFactor, columns: &impl Fn(&TableFactor) -> Option<Vec<String>>) -> Side {
        Side { name: name_of_factor(factor), columns: columns(factor) }
    }

    /// Whether it is known to have a column of this name.
    fn has(&self, name: &str) -> bool {
        self.columns.iter().flatten().any(|column| column == name)
    }

    /// Its columns by their names, if they are known.
    fn shown(&self) -> Option<Vec<(String, Expr)>> {
        self.columns.as_ref()?.iter().map(|name| Some((name.clone(), self.column(name)?))).collect()
    }

    fn column(&self, name: &str) -> Option<Expr> {
        let quoted = |name: &str| Ident::with_quote('"', name);
        Some(Expr::CompoundIdentifier(vec![quoted(self.name.as_deref()?), quoted(name)]))
    }
}

/// The columns that both sides have; none if that cannot be told.
fn common(left: &[Side], right: &Side) -> Vec<String> {
    if left.iter().any(|side| side.columns.is_none()) {
        return Vec::new();
    }
    let of_right = right.columns.iter().flatten();
    of_right.filter(|name| left.iter().any(|side| side.has(name))).cloned().collect()
}

fn constraint(operator: &JoinOperator) -> Option<&JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

fn constraint_mut(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

fn condition(join: &mut Join) -> Option<&mut Expr> {
    match constraint_mut(&mut join.join_operator) {
        Some(JoinConstraint::On(expr)) => Some(expr),
        _ => None,
    }
}

fn replace(expr: &mut Expr, merged: &Merged) {
    struct Replace<'m> {
        merged: &'m Merged,
        /// A query of its own has names of its own.
        depth: usize,
    }
    impl VisitorMut for Replace<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
            self.depth += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if self.depth == 0
                && let Expr::Identifier(ident) = &*expr
                && let Some(one) = self.merged.get(&folded(ident))
            {
                *expr = one.clone();
            }
            ControlFlow::Continue(())
        }
    }
    if !merged.is_empty() {
        let _ = expr.visit(&mut Replace { merged, depth: 0 });
    }
}
