//! One SQL subplan a site for a federated release unit, and how its answers are merged.
//!
//! ```text
//! ReleaseUnit.source ─► layout  keys, grouping sets, base measures, and how a measure comes out of them
//!                    ─► write   SQL text for each site, from the node kinds that the boundary knows
//!                    ─► check   the text planned again must mean the same, or nothing is sent
//! ```
//!
//! Text, because a steward must be able to read what ran, and sites upgrade at different times. [`crate::merge`] puts the answers
//! together by the same [`layout::Layout`].

pub mod layout;
pub mod rounds;

mod check;
mod columns;
mod expr;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests;
mod write;

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, LogicalPlan};

use crate::facts::{Facts, Placement, SiteId};
use crate::refusal::Refusal;
use crate::release_unit::ReleaseUnit;

pub use expr::{identifier, predicate_is_plain, predicate_sql};
pub use layout::Layout;

/// The longest SQL text that is sent to a site, in bytes.
const MAX_TEXT: usize = 1 << 20;

/// What one site is asked.
#[derive(Debug, Clone)]
pub struct Subplan {
    /// The site.
    pub site: SiteId,
    /// Its question, over the names of its own tables.
    pub sql: String,
    /// The columns of its answer: keys, `grouping_id` if there are grouping sets, base measures. All may be NULL.
    pub schema: SchemaRef,
}

/// What the sites are asked and how their answers are read.
#[derive(Debug, Clone)]
pub struct Split {
    /// One subplan a site, in order of name. Sites that a condition on `site` rules out have none.
    pub subplans: Vec<Subplan>,
    /// How the answers are merged.
    pub layout: Layout,
}

/// Writes the subplans of a federated unit for `sites` (those of the unit's that shall be asked).
///
/// `state` has the functions and the analyzer that the unit's plan was made with: each text is planned again with them and compared.
///
/// # Errors
/// 0A000 for measures that cannot be merged, and for shapes that cannot be written so that they mean the same.
pub fn split(unit: &ReleaseUnit, sites: &[SiteId], facts: &dyn Facts, state: &SessionState) -> Result<Split, Refusal> {
    refuse_meeting(unit, facts)?;
    let unit = &*aggregated(unit)?;
    let layout = Layout::of(unit, facts)?;
    let schema: SchemaRef = Arc::new(layout.answer_schema());
    let mut sites: Vec<SiteId> = match &unit.placement {
        Placement::Sites { sites: all, .. } => all.iter().filter(|s| sites.contains(s)).cloned().collect(),
        Placement::Local => return Err(Refusal::unsupported("a local query has no subplans")),
    };
    sites.sort();
    sites.dedup();
    let mut subplans = Vec::new();
    for site in sites {
        if let Some(sql) = subplan_sql(unit, &layout, &site, facts, state)? {
            subplans.push(Subplan { site, sql, schema: Arc::clone(&schema) });
        }
    }
    Ok(Split { subplans, layout })
}

/// SELECT DISTINCT is GROUP BY all columns.
fn aggregated(unit: &ReleaseUnit) -> Result<Cow<'_, ReleaseUnit>, Refusal> {
    let LogicalPlan::Distinct(Distinct::All(input)) = &unit.source else { return Ok(Cow::Borrowed(unit)) };
    let keys = input.schema().columns().into_iter().map(Expr::Column).collect();
    let aggregate = Aggregate::try_new(Arc::clone(input), keys, vec![]);
    let aggregate = aggregate.map_err(|_| Refusal::unsupported("DISTINCT over several sites is not supported here"))?;
    Ok(Cow::Owned(ReleaseUnit { source: LogicalPlan::Aggregate(aggregate), ..unit.clone() }))
}

/// Rows of one site meet rows of another in a join of open tables: parts joined at each site would miss them. Units belong to a site,
/// so joins of protected tables on the unit do not; an open table among them must have been written out before.
fn refuse_meeting(unit: &ReleaseUnit, facts: &dyn Facts) -> Result<(), Refusal> {
    let (mut meets, mut open) = (false, None);
    let walked = unit.source.apply_with_subqueries(|node| {
        meets |= matches!(node, LogicalPlan::Join(_) | LogicalPlan::Subquery(_));
        if let LogicalPlan::TableScan(scan) = node {
            let facts = facts.of(scan);
            open = open.take().or_else(|| facts.protection.is_none().then_some(facts.name));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    match open {
        _ if walked.is_err() => Err(Refusal::unsupported("the query cannot be read")),
        Some(name) if unit.protection.is_some() => {
            Err(Refusal::unsupported(format!("rows of table \"{name}\" are not at the sites that hold the others")))
        }
        _ if unit.protection.is_none() && meets => {
            Err(Refusal::unsupported("a join of open tables of several sites cannot be computed at the sites"))
        }
        _ => Ok(()),
    }
}

/// Whether an Aggregate over open federated tables can be computed at its sites and merged. If not, its rows are read instead.
pub fn can_split(unit: &ReleaseUnit, facts: &dyn Facts, state: &SessionState) -> bool {
    let Placement::Sites { sites, .. } = &unit.placement else { return false };
    split(unit, sites, facts, state).is_ok()
}

fn subplan_sql(
    unit: &ReleaseUnit,
    layout: &Layout,
    site: &SiteId,
    facts: &dyn Facts,
    state: &SessionState,
) -> Result<Option<String>, Refusal> {
    // First as a person would write it, without the casts that planning adds again; then with all of them.
    for terse in [true, false] {
        let Some(sql) = write::subplan(&unit.source, layout, site, facts, state, terse)? else {
            return Ok(None);
        };
        if sql.len() > MAX_TEXT {
            return Err(
                Refusal::unsupported("the query is too long to be sent to a site").hint("Ask for less at once.")
            );
        }
        if check::means_the_same(&unit.source, layout, site, &sql, facts, state) {
            return Ok(Some(sql));
        }
    }
    Err(Refusal::unsupported("the query cannot be written for its sites so that it means the same there")
        .hint("Write its expressions in a simpler way, or ask the sites one by one."))
}
