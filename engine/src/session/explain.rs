//! EXPLAIN: the plan with the boundary in it; with PRIVACY, what each site would be asked, what it withholds by rule, or why it is refused.
//!
//! It is made from the very plans that would run, and touches no data.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast;
use kanon_planner::explain::{explain, private_rules, rules};
use kanon_planner::facts::{Facts, Placement};
use kanon_planner::release_unit::Decision;

use super::context::{PlanFacts, ReleasedBatches};
use super::parameters::Parameters;
use super::private::Proposed;
use super::query::{Planned, text_rows};
use super::report::what_is_left;
use super::{Rows, Session};
use crate::error::{Error, Result, Sqlstate};
use crate::federation::run as federated;
use crate::federation::scan::Asker;
use crate::ledger::{Cost, Refused, ReleaseRequest};
use crate::statement::future_on_large_stack;

impl Session {
    /// The answer to EXPLAIN.
    pub(super) async fn explain(&self, query: &ast::Query, parameters: Parameters, privacy: bool) -> Result<Rows> {
        let (planned, _) = self.plan(query, parameters).await?;
        let Planned { plan, state, .. } = planned;
        let lines = match self.decide(plan) {
            Ok(decision) if privacy => self.subplans(&state, &decision).await,
            Ok(decision) => Ok(explain(&decision)),
            Err(error) => Err(error),
        };
        let lines = match lines {
            Ok(lines) => lines,
            // What EXPLAIN (PRIVACY) is for: the reason is the answer.
            Err(error)
                if privacy
                    && matches!(error.state, Sqlstate::InsufficientPrivilege | Sqlstate::FeatureNotSupported) =>
            {
                vec![refused(&error)]
            }
            Err(error) => return Err(error),
        };
        text_rows("QUERY PLAN", lines)
    }

    async fn subplans(&self, state: &SessionState, decision: &Decision) -> Result<Vec<String>> {
        let mut lines = explain(decision);
        let (outer, units) = match decision {
            Decision::Open(plan) => (plan, [].as_slice()),
            Decision::Release { outer, units } => (outer, units.as_slice()),
        };
        let mut batches = ReleasedBatches::default();
        // With what a session set, a question may be refused that its policy allows.
        let (proposed, of_sites) = self.proposed(units).await.unwrap_or_else(|error| {
            lines.push(refused(&error));
            Default::default()
        });
        for unit in units {
            match (proposed.iter().find(|proposed| proposed.id == unit.id), of_sites.get(&unit.id)) {
                (Some(proposed), _) => lines.extend(private_rules(unit, &proposed.question, &proposed.mechanisms)),
                (_, Some(asked)) => lines.push(format!(
                    "Release #{} is charged by each site for itself, at most epsilon {} and delta {:e}; each adds its own noise by its own rules",
                    unit.id,
                    asked.epsilon.get(),
                    asked.delta.get()
                )),
                _ => lines.extend(rules(unit)),
            }
            match federated::subplans(self, state, &PlanFacts, unit)? {
                Some(subplans) => lines.extend(subplans),
                None => lines.extend(rows(state, &unit.source).await?),
            }
            batches.insert_nothing(unit);
        }
        lines.extend(self.cost(&proposed).await?);
        let mut state = state.clone();
        state.config_mut().set_extension(Arc::new(batches));
        lines.extend(rows(&state, outer).await?);
        Ok(lines)
    }

    /// What the private releases of a statement would be charged here, and what is left: nothing is charged for it.
    async fn cost(&self, proposed: &[Proposed]) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        let mut costs: BTreeMap<&str, Vec<Cost>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for proposed in proposed {
            let Some(ReleaseRequest { fingerprint, kind, cost }) = &proposed.request else { continue };
            let costs = costs.entry(kind).or_default();
            if self.node.ledger.answer(fingerprint).await?.is_some() {
                lines.push(format!("Release #{} was answered before, and costs nothing again", proposed.id));
            } else if seen.insert(*fingerprint) {
                costs.push(*cost);
            }
        }
        let principal = self.principal().display();
        for (kind, costs) in costs {
            match self.node.ledger.left(&principal, kind).await? {
                Some(left) => {
                    let mut line = what_is_left(&left);
                    if let Some(first) = line.get_mut(..1) {
                        first.make_ascii_uppercase();
                    }
                    lines.push(line);
                    lines.extend(left.refusal(&costs).map(|error| refused(&error)));
                }
                None => lines.push(refused(&Refused::NoBudget { kind: kind.to_owned() }.into())),
            }
        }
        Ok(lines)
    }
}

fn refused(error: &Error) -> String {
    let hint = error.hint.as_ref().map(|h| format!(" (hint: {h})")).unwrap_or_default();
    format!("Refused ({}): {}{hint}", error.state.code(), error.message)
}

/// What sites would be asked for rows of open tables.
async fn rows(state: &SessionState, plan: &LogicalPlan) -> Result<Vec<String>> {
    let mut remote = false;
    let _ = plan.apply_with_subqueries(|node| {
        remote |= matches!(node, LogicalPlan::TableScan(scan) if PlanFacts.of(scan).placement != Placement::Local);
        Ok(if remote { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    let asker = state.config().get_extension::<Asker>();
    let asker = asker.filter(|_| remote);
    let Some(asker) = asker else { return Ok(Vec::new()) };
    let _ = asker.planned();
    let (planner, plan) = (state.clone(), plan.clone());
    future_on_large_stack(async move { planner.create_physical_plan(&plan).await.map_err(Error::from) }).await??;
    Ok(asker.planned().iter().map(|(site, sql)| format!("Rows at {site}: {sql}")).collect())
}
