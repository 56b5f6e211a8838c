//! Columns that tables are joined by, under their bare names. DataFusion finds two of each, or the wrong one.
//!
//! | statement | becomes |
//! | --- | --- |
//! | `SELECT id FROM a JOIN b USING (id) WHERE id > 1` | `SELECT a.id FROM a JOIN b USING (id) WHERE a.id > 1` |
//! | `SELECT id FROM a RIGHT JOIN b USING (id)` | `SELECT b.id FROM …` |
//! | `SELECT id FROM a NATURAL FULL JOIN b` | `SELECT coalesce(a.id, b.id) AS id FROM …` |

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, OrderByKind, Query, Select, SelectItem, SetExpr,
    TableFactor, TableWithJoins, VisitMut, VisitorMut,
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
    let each: Vec<Merged> = select.from.iter_mut().map(|table| of_table(table, &columns)).collect();
    let mut all = Merged::new();
    for (place, merged) in each.into_iter().enumerate() {
        // A name that another table has too is ambiguous.
        let others = || select.from.iter().enumerate().filter(|(other, _)| *other != place);
        all.extend(merged.into_iter().filter(|(name, _)| !others().any(|(_, table)| has(table, name, &columns))));
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

/// The columns that the tables of one element of FROM are joined by. Conditions of joins further on may name them.
fn of_table(table: &mut TableWithJoins, columns: &impl Fn(&TableFactor) -> Option<Vec<String>>) -> Merged {
    let mut merged = Merged::new();
    let mut left = vec![Side::of(&table.relation, columns)];
    for join in &mut table.joins {
        let right = Side::of(&join.relation, columns);
        let names = match constraint(&join.join_operator) {
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
        for name in names {
            let of_left = merged.get(&name).cloned().or_else(|| match left.as_slice() {
                [one] => one.column(&name),
                many => many.iter().find(|side| side.has(&name)).and_then(|side| side.column(&name)),
            });
            let of_right = right.column(&name);
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
        left.push(right);
    }
    merged
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

fn condition(join: &mut Join) -> Option<&mut Expr> {
    match &mut join.join_operator {
        JoinOperator::Join(JoinConstraint::On(expr))
        | JoinOperator::Inner(JoinConstraint::On(expr))
        | JoinOperator::Left(JoinConstraint::On(expr))
        | JoinOperator::LeftOuter(JoinConstraint::On(expr))
        | JoinOperator::Right(JoinConstraint::On(expr))
        | JoinOperator::RightOuter(JoinConstraint::On(expr))
        | JoinOperator::FullOuter(JoinConstraint::On(expr)) => Some(expr),
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
