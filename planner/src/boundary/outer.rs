//! What is above the boundary: plans over open tables and answers, and the refusals of rows.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, plan_err};
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::{Distinct, DistinctOn, Expr, LogicalPlan, Subquery, Union};

use super::expr::unreadable;
use super::rows::Rows;
use super::subquery::with_plan;
use super::{Node, Open, Remote, Walk};
use crate::facts::{Facts, Placement};
use crate::refusal::Refusal;

impl Walk<'_> {
    /// A node whose inputs are all open: itself, over what they became, with its subqueries walked.
    pub(super) fn outer(&mut self, plan: &LogicalPlan, inputs: Vec<Open>) -> Result<Node, Refusal> {
        let mut released = inputs.iter().any(|i| i.released);
        let mut exprs = Vec::new();
        let mut subqueries = false;
        for e in plan.expressions() {
            let (e, r, s) = self.outer_expr(e)?;
            released |= r;
            subqueries |= s;
            exprs.push(e);
        }
        let crafted = match plan {
            LogicalPlan::SubqueryAlias(_) | LogicalPlan::Filter(_) | LogicalPlan::Sort(_) => {
                inputs.iter().any(|i| i.crafted)
            }
            LogicalPlan::Projection(p) => inputs.iter().any(|i| i.crafted) || !p.expr.iter().all(is_column),
            // Each row once.
            LogicalPlan::Distinct(Distinct::All(_)) => inputs.iter().any(|i| i.crafted),
            _ => true,
        };
        let remote = if subqueries { None } else { remote(plan, &inputs) };
        let lateral = inputs.iter().any(|i| i.lateral);
        if !released {
            return Ok(Node::Open(Open { plan: plan.clone(), released, crafted, remote, lateral }));
        }
        let plan = rebuild(plan, exprs, inputs.into_iter().map(|i| i.plan).collect())?;
        Ok(Node::Open(Open { plan, released, crafted, remote: None, lateral }))
    }

    /// An expression over open rows; its subqueries may release. Says whether one does, and whether there are any.
    fn outer_expr(&mut self, expr: Expr) -> Result<(Expr, bool, bool), Refusal> {
        let (mut released, mut any) = (false, false);
        let mut refusal = None;
        let mapped = expr.transform_up(|e| {
            let mut walk = |s: &Subquery| match self.subplan(s) {
                Ok((s, r)) => {
                    released |= r;
                    any = true;
                    Ok(s)
                }
                Err(r) => {
                    refusal = Some(r);
                    plan_err!("refused")
                }
            };
            Ok(match e {
                Expr::ScalarSubquery(s) => Transformed::yes(Expr::ScalarSubquery(walk(&s)?)),
                Expr::Exists(Exists { subquery, negated }) => {
                    Transformed::yes(Expr::Exists(Exists { subquery: walk(&subquery)?, negated }))
                }
                Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                    Transformed::yes(Expr::InSubquery(InSubquery { expr, subquery: walk(&subquery)?, negated }))
                }
                Expr::SetComparison(c) => {
                    let subquery = walk(&c.subquery)?;
                    Transformed::yes(Expr::SetComparison(SetComparison { subquery, ..c }))
                }
                other => Transformed::no(other),
            })
        });
        match (mapped, refusal) {
            (_, Some(refusal)) => Err(refusal),
            (Ok(mapped), None) => Ok((mapped.data, released, any)),
            (Err(e), None) => Err(unreadable(&e)),
        }
    }

    fn subplan(&mut self, subquery: &Subquery) -> Result<(Subquery, bool), Refusal> {
        self.scopes.push(None);
        let inner = self.node(&subquery.subquery);
        self.scopes.pop();
        match inner? {
            Node::Open(open) => Ok((with_plan(subquery, open.plan), open.released)),
            Node::Private(rows) => Err(rows_refused(&rows, subquery.subquery.schema())),
        }
    }
}

fn is_column(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(a) => is_column(&a.expr),
        Expr::Column(_) => true,
        _ => false,
    }
}

/// Filters and projections over open tables of some sites, and unions of them, can be computed there.
fn remote(plan: &LogicalPlan, inputs: &[Open]) -> Option<Remote> {
    match plan {
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => {
            inputs.first()?.remote.clone()
        }
        LogicalPlan::Union(_) => {
            let mut all = inputs.iter().map(|i| i.remote.clone());
            let mut first = all.next()??;
            for other in all {
                let other = other?;
                match (&first.placement, &other.placement) {
                    (Placement::Sites { sites: a, .. }, Placement::Sites { sites: b, .. }) if a == b => {
                        first.tables.extend(other.tables)
                    }
                    _ => return None,
                }
            }
            Some(first)
        }
        _ => None,
    }
}

/// The node over other inputs, with its schema made anew: what is released may be NULL where the plan's author knew it was not.
fn rebuild(plan: &LogicalPlan, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<LogicalPlan, Refusal> {
    match plan {
        LogicalPlan::Union(_) => {
            let inputs = inputs.into_iter().map(Arc::new).collect();
            Union::try_new_with_loose_types(inputs).map(LogicalPlan::Union).map_err(|e| unreadable(&e))
        }
        LogicalPlan::Distinct(Distinct::On(d)) => {
            let mut exprs = exprs.into_iter();
            let on: Vec<Expr> = exprs.by_ref().take(d.on_expr.len()).collect();
            let select: Vec<Expr> = exprs.by_ref().take(d.select_expr.len()).collect();
            let sort = d.sort_expr.as_ref().map(|s| s.iter().zip(exprs).map(|(s, e)| s.with_expr(e)).collect());
            let input = inputs.into_iter().next().ok_or_else(|| Refusal::unsupported("DISTINCT ON without input"))?;
            DistinctOn::try_new(on, select, sort, Arc::new(input))
                .map(|d| LogicalPlan::Distinct(Distinct::On(d)))
                .map_err(|e| unreadable(&e))
        }
        other => other.with_new_exprs(exprs, inputs).map_err(|e| unreadable(&e)),
    }
}

/// No operator above the boundary has a protected source: checked on every answer of the planner, whatever led to it.
pub(super) fn check(outer: &LogicalPlan, facts: &dyn Facts) -> Result<(), Refusal> {
    let mut leak = None;
    let _ = outer.apply_with_subqueries(|p| {
        if let LogicalPlan::TableScan(scan) = p {
            let table = facts.of(scan);
            if table.protection.is_some() {
                leak = Some(table.name);
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    match leak {
        Some(name) => Err(Refusal::forbidden(format!("table \"{name}\" answers aggregates only"))),
        None => Ok(()),
    }
}

/// The tables of some rows, for messages.
pub(super) fn tables(rows: &Rows) -> String {
    let mut names: Vec<&str> = rows.tables.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    match names.as_slice() {
        [one] => format!("table \"{one}\""),
        many => format!("tables {}", many.iter().map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(", ")),
    }
}

pub(super) fn limit_refused(rows: &Rows) -> Refusal {
    Refusal::unsupported(format!("LIMIT picks single rows of {} and cannot be used below an aggregate", tables(rows)))
        .hint("Use LIMIT on the answer of the aggregate, outside.")
}

/// Rows of people at a place from where they would leave.
pub(super) fn rows_refused(rows: &Rows, shown: &DFSchema) -> Refusal {
    use super::rows::{Role, bare_base};
    let mut key = None;
    let mut number = None;
    for (def, field) in rows.defs.iter().zip(shown.fields()) {
        // Only columns as they stand have names that a person can write.
        let Some(base) = bare_base(def, &rows.base, rows.plan.schema()).filter(|b| b.bare) else { continue };
        match base.role {
            Role::Unit | Role::Identifier => continue,
            Role::Plain if field.data_type().is_string() && key.is_none() => key = Some(field.name()),
            _ if field.data_type().is_numeric() && number.is_none() => number = Some(field.name()),
            _ => {}
        }
    }
    let from = rows.tables.first().map_or("…", String::as_str);
    let mut select = Vec::new();
    select.extend(key.map(|k| quoted(k)));
    select.push("count(*)".to_owned());
    select.extend(number.map(|n| format!("avg({})", quoted(n))));
    let group = key.map_or(String::new(), |k| format!(" GROUP BY {}", quoted(k)));
    let verb = if rows.tables.len() > 1 { "answer" } else { "answers" };
    Refusal::forbidden(format!("{} {verb} aggregates only", tables(rows)))
        .hint(format!("Ask for an aggregate, for example SELECT {} FROM {from}{group}.", select.join(", ")))
}

fn quoted(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
