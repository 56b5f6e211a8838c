//! ROLLUP, CUBE and GROUPING SETS over rows with private access: a release a grouping set, each with its share of ε.
//!
//! ```text
//! GROUP BY ROLLUP (a, b)  ─►  Sort a, b, __grouping_id
//!                               names
//!                                 Union
//!                                   a, b, 0, measures          of Release: GROUP BY a, b
//!                                   a, NULL, 1, measures       of Release: GROUP BY a
//!                                   NULL, NULL, 3, measures    of Release            (one group: C is 1)
//! ```
//!
//! Every set bounds a unit's part for itself, so a total is more exact than the sum of its parts, and is not equal to it.

use std::sync::Arc;

use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Aggregate, Expr, GroupingSet, LogicalPlan, Projection, Sort, Union, lit};

use super::aggregate::nullable;
use super::expr::unreadable;
use super::outer::tables;
use super::rows::Rows;
use super::{Node, Open, Walk};
use crate::refusal::Refusal;
use crate::release_unit::Measure;
use crate::split::layout::written_out;

/// The most grouping sets of one answer: each costs a share of ε.
const MOST: usize = 64;

impl Walk<'_> {
    /// The releases of an aggregate with these grouping sets, and the answer that they make up. `keys` are the sets with what the rows' columns became.
    pub(super) fn sets(
        &mut self,
        rows: &Rows,
        keys: &GroupingSet,
        measures: &[Measure],
        aggregate: &Aggregate,
    ) -> Result<Node, Refusal> {
        let [Expr::GroupingSet(written)] = aggregate.group_expr.as_slice() else {
            return Err(Refusal::unsupported("grouping sets beside other keys are not supported"));
        };
        let all = grouping_set_to_exprlist(&aggregate.group_expr).map_err(|e| unreadable(&e))?;
        let (sets, values) = (written_out(written), written_out(keys));
        if sets.len() > MOST || sets.len() != values.len() {
            return Err(Refusal::unsupported(format!(
                "more than {MOST} grouping sets over {}, which has private access",
                tables(rows)
            ))
            .hint("Ask for fewer at once."));
        }
        if measures.is_empty() {
            return Err(Refusal::unsupported(format!(
                "grouping sets over {}, which has private access, need an aggregate",
                tables(rows)
            ))
            .hint("Add one, such as count(*)."));
        }
        let schema = nullable(&aggregate.schema)?;
        let mut answers = Vec::with_capacity(sets.len());
        for (number, (set, values)) in sets.iter().zip(&values).enumerate() {
            let place = |key: &Expr| set.iter().position(|e| e == key);
            let within: Vec<Option<usize>> = all.iter().map(|key| place(key)).collect();
            let keys: Vec<Expr> = within.iter().flatten().filter_map(|at| values.get(*at)).cloned().collect();
            let same = sets.iter().take(number).filter(|other| is_same(other, set)).count();
            let id = within.iter().fold(same as u64, |id, at| id << 1 | u64::from(at.is_none()));
            let group = within.iter().flatten().filter_map(|at| set.get(*at)).cloned().collect();
            let source = Aggregate::try_new(Arc::clone(&aggregate.input), group, aggregate.aggr_expr.clone())
                .map_err(|e| unreadable(&e))?;
            let shown = Arc::clone(&source.schema);
            let source = LogicalPlan::Aggregate(source);
            let Node::Open(open) = self.release_rows(rows.clone(), keys, measures.to_vec(), &shown, &source)? else {
                return Err(Refusal::unsupported("grouping sets within a unit are not supported"));
            };
            let columns = columns(&schema, open.plan.schema(), &within, id)?;
            let answer = Projection::try_new(columns, Arc::new(open.plan)).map_err(|e| unreadable(&e))?;
            answers.push(Arc::new(LogicalPlan::Projection(answer)));
        }
        let union = Union::try_new(answers).map_err(|e| unreadable(&e))?;
        // A union has no tables to qualify its columns with.
        let named = schema.iter().enumerate().map(|(number, (relation, field))| {
            Expr::Column(Column::new_unqualified(place_name(number))).alias_qualified(relation.cloned(), field.name())
        });
        let named = Projection::try_new(named.collect(), Arc::new(LogicalPlan::Union(union)));
        let input = Arc::new(LogicalPlan::Projection(named.map_err(|e| unreadable(&e))?));
        // In the order of answers with grouping sets elsewhere.
        let order = schema.iter().take(all.len() + 1);
        let order = order.map(|(relation, field)| Expr::Column(Column::from((relation, field))).sort(true, false));
        let plan = LogicalPlan::Sort(Sort { expr: order.collect(), input, fetch: None });
        Ok(Node::Open(Open { plan, released: true, crafted: true, remote: None, lateral: false }))
    }
}

/// The name of a column of the union.
fn place_name(number: usize) -> String {
    format!("c{number}")
}

fn is_same(a: &[Expr], b: &[Expr]) -> bool {
    a.iter().all(|e| b.contains(e)) && b.iter().all(|e| a.contains(e))
}

/// The columns of the whole answer from those of one set: NULL for keys that are not in it, then which set it is, then the measures.
fn columns(whole: &DFSchema, of_set: &DFSchema, within: &[Option<usize>], id: u64) -> Result<Vec<Expr>, Refusal> {
    let mut own = of_set.iter().map(|(relation, field)| Expr::Column(Column::from((relation, field))));
    let mut next = || own.next().ok_or_else(|| Refusal::unsupported("a grouping set lost a column"));
    let mut columns = Vec::with_capacity(whole.fields().len());
    for (number, field) in whole.fields().iter().enumerate() {
        let of_type = field.data_type();
        let value = match within.get(number) {
            Some(Some(_)) => next()?,
            Some(None) => Expr::Literal(ScalarValue::try_from(of_type).map_err(|e| unreadable(&e))?, None),
            None if number == within.len() => {
                let id = ScalarValue::UInt64(Some(id)).cast_to(of_type).map_err(|e| unreadable(&e))?;
                lit(id)
            }
            None => next()?,
        };
        columns.push(value.alias(place_name(number)));
    }
    Ok(columns)
}
