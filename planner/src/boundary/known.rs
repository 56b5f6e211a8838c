//! Keys that the catalog knows: the values that a steward declared of columns of a table with cohort access, answered without its rows.
//!
//! Whoever may ask a table may read its domains in `kanon.columns`, so `SELECT DISTINCT` of such columns tells nothing more. (With private
//! access keys of declared domains are public for every question: see [`super::private`].)

use datafusion::common::DFSchemaRef;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection};
use kanon_privacy::policy::Access;

use super::aggregate::nullable;
use super::expr::unreadable;
use super::private::public;
use super::repeats::Repeats;
use super::rows::Rows;
use super::{Node, Open, Walk};
use crate::facts::Placement;
use crate::private::{MAX_PUBLIC_KEYS, PublicKeys};
use crate::refusal::Refusal;

impl Walk<'_> {
    /// The answer of keys alone, if these are all rows of one table here and all keys have a domain. A condition would have to be tested on
    /// rows: then keys are told that enough units are behind.
    pub(super) fn known_keys(&self, rows: &Rows, keys: &[Expr], schema: &DFSchemaRef) -> Result<Option<Node>, Refusal> {
        let is_cohort = rows.protection.as_ref().is_some_and(|p| p.access == Access::Cohort);
        if !is_cohort || rows.restricted || rows.correlated || rows.placement != Placement::Local || keys.is_empty() {
            return Ok(None);
        }
        let repeats = Repeats::of(keys);
        let mut domains = Vec::with_capacity(keys.len());
        for key in repeats.different(keys) {
            let Some(domain) = domain(&key, rows)? else { return Ok(None) };
            domains.push(domain);
        }
        let cells = domains.iter().try_fold(1_usize, |cells, domain| cells.checked_mul(domain.values.len()));
        if cells.is_none_or(|cells| cells > MAX_PUBLIC_KEYS) {
            return Ok(None);
        }
        let mut cells: Vec<Vec<Expr>> = vec![vec![]];
        for domain in &domains {
            let longer = |cell: &Vec<Expr>| {
                let cell = cell.clone();
                domain.values.iter().map(move |value| {
                    let value = Expr::Literal(value.clone(), None);
                    cell.iter().cloned().chain(std::iter::once(value)).collect()
                })
            };
            cells = cells.iter().flat_map(longer).collect();
        }
        let values = LogicalPlanBuilder::values(cells).and_then(|values| values.build()).map_err(|e| unreadable(&e))?;
        let schema = nullable(schema)?;
        let columns = values.schema().columns();
        let named = repeats.places.iter().zip(schema.iter()).filter_map(|(place, (relation, field))| {
            Some(Expr::Column(columns.get(*place)?.clone()).alias_qualified(relation.cloned(), field.name()))
        });
        let plan = Projection::try_new(named.collect(), values.clone().into()).map_err(|e| unreadable(&e))?;
        // It stands where an answer would.
        let plan = LogicalPlan::Projection(plan);
        Ok(Some(Node::Open(Open { plan, released: true, crafted: true, remote: None, lateral: false })))
    }
}

/// The declared values of a key that is a column as it stands.
fn domain(key: &Expr, rows: &Rows) -> Result<Option<PublicKeys>, Refusal> {
    let schema = rows.plan.schema();
    let declared = super::rows::bare_base(key, &rows.base, schema).is_some_and(|b| b.domain.is_some());
    if declared { public(key, rows, schema) } else { Ok(None) }
}
