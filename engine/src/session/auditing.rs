//! The entries of a session's statements in the audit log.
//!
//! ```text
//! prepare ─► refused                          an entry, if it was refused rather than misspelt
//! execute ─► says ─► announce (of changes) ─► run, which leaves a Trail ─► audited: an entry, and only then the answer
//! ```

use std::sync::Arc;

use datafusion::scalar::ScalarValue;
use kanon_planner::release_unit::ReleaseUnit;
use sha2::{Digest as _, Sha256};

use super::stream::Stop;
use super::{Answer, Prepared, Session};
use crate::audit::entry::{Action, Decision};
use crate::audit::{Draft, Said, Trail, Who};
use crate::error::{Error, Result, Sqlstate};
use crate::ledger::Cost;
use crate::principal::{BuiltinRole, Principal};
use crate::statement::steward::{self, Relations, TableName};
use crate::statement::{Statement, StewardStatement};

/// Whether somebody sees entries of others in the log.
pub(crate) fn sees_others(principal: &Principal) -> bool {
    principal.via_peer.is_none() && (principal.is(BuiltinRole::Auditor) || principal.is(BuiltinRole::Steward))
}

/// Whether an error says that something may not be done, rather than that it was misspelt or failed.
fn is_refusal(state: Sqlstate) -> bool {
    matches!(
        state,
        Sqlstate::InsufficientPrivilege
            | Sqlstate::FeatureNotSupported
            | Sqlstate::UndefinedTable
            | Sqlstate::UndefinedSchema
            | Sqlstate::ReadOnlyTransaction
            | Sqlstate::BudgetExceeded
            | Sqlstate::TooManyConnections
            | Sqlstate::InvalidParameterValue
            | Sqlstate::InvalidAuthorization
            | Sqlstate::InvalidPassword
            // What is suspended or closed, and the last admin.
            | Sqlstate::ObjectNotInPrerequisiteState
    )
}

impl Session {
    fn who(&self) -> Who {
        Who::from(&self.opened_by)
    }

    /// Notes what a statement says.
    pub(super) fn says(&self, prepared: &Prepared, values: &[ScalarValue], stop: &Stop) {
        let said = match &*prepared.statement {
            // What it runs, if that is there; its arguments are in the text of EXECUTE.
            Statement::Execute { name, .. } => {
                let inner = self.state().prepared.get(name).map(|kept| Arc::clone(&kept.prepared.said));
                inner.map_or_else(|| Arc::clone(&prepared.said), |inner| Said::run_by(&prepared.said, &inner))
            }
            _ => Arc::clone(&prepared.said),
        };
        // What was taken out of its text is what it says.
        let values = prepared.alike.as_ref().map_or(values, |alike| &alike.values);
        stop.trail.says(said, values.to_vec());
    }

    /// A change of tables, policies, roles and grants is in the log before it is made: what is in force has an entry, whatever happens.
    ///
    /// # Errors
    /// If the log cannot be written.
    pub(super) async fn announce(&self, stop: &Stop) -> Result<()> {
        let difference = match stop.trail.said().map(|said| said.statement()) {
            Some(Statement::Steward(statement)) => {
                steward::told_difference(&self.node, &self.principal(), statement).await
            }
            // Who sees no change that waits is not to read of it in its own entries.
            Some(Statement::Act(act)) if sees_others(&self.principal()) => self.difference_of(act, stop.trail.values()),
            _ => None,
        };
        if let Some(difference) = difference {
            stop.trail.changes(difference);
        }
        match self.change(stop) {
            Some(draft) => self.node.audit.write(Draft { decision: Decision::Asked, ..draft }).await,
            None => Ok(()),
        }
    }

    /// Writes the entry of a statement that has run, and gives its answer; an error of the log if it cannot be written.
    pub(super) async fn audited(&self, stop: &Stop, answer: Result<Answer>) -> Result<Answer> {
        let trail = &stop.trail;
        let log = &self.node.audit;
        let error = answer.as_ref().err();
        if let Some(change) = self.change(stop) {
            let (decision, rule) = match error {
                None if trail.is_waiting() => (Decision::Asked, Some("waits for another steward".to_owned())),
                None => (Decision::Allowed, None),
                Some(error) => (outcome(error), Some(error.state.code().to_owned())),
            };
            log.write(Draft { decision, rule, ..change }).await?;
            return answer;
        }
        let Some(error) = error else {
            let is_protected = trail.is_protected();
            // Whose roles those are is asked only where it matters.
            let sees_others = is_protected && sees_others(&self.principal());
            match trail.answered(self.who(), sees_others) {
                Some(draft) if is_protected => log.write(draft).await?,
                Some(draft) => log.queue(draft).await?,
                None => {}
            }
            return answer;
        };
        if trail.is_nothing() && !is_refusal(error.state) {
            return answer;
        }
        let decision = outcome(error);
        let action = if decision == Decision::Refused { Action::Refusal } else { trail.action() };
        let mut draft = trail.entry(self.who(), action, decision);
        draft.rule = Some(error.state.code().to_owned());
        if draft.objects.is_empty() {
            draft.objects = match &draft.said {
                Some(said) => self.named(said).await?,
                None => Vec::new(),
            };
        }
        match trail.is_protected() || decision == Decision::Refused {
            true => log.write(draft).await?,
            false => log.queue(draft).await?,
        }
        answer
    }

    /// The error of a statement that could not be planned, whose entry is written if it was refused.
    pub(super) async fn refused(&self, said: &Arc<Said>, error: Error) -> Error {
        if !is_refusal(error.state) {
            return error;
        }
        let objects = match self.named(said).await {
            Ok(objects) => objects,
            Err(error) => return error,
        };
        let draft = Draft {
            objects,
            rule: Some(error.state.code().to_owned()),
            said: Some(Arc::clone(said)),
            ..Draft::new(self.who(), Action::Refusal, Decision::Refused)
        };
        match self.node.audit.write(draft).await {
            Ok(()) => error,
            Err(error) => error,
        }
    }

    /// The entry of a private release, for the transaction that keeps its answer.
    pub(super) fn entry_of_release(
        &self,
        trail: &Trail,
        unit: &ReleaseUnit,
        cost: Option<&Cost>,
        answer: &[u8],
    ) -> Draft {
        let mut tables = unit.tables.clone();
        tables.sort();
        tables.dedup();
        Draft {
            objects: tables.iter().map(|table| qualified(table)).collect(),
            epsilon: cost.map(|cost| cost.epsilon.get()),
            delta: cost.map(|cost| cost.delta.get()),
            sites: vec![self.node.site().to_string()],
            result_digest: Some(Sha256::digest(answer).into()),
            ..trail.entry(self.who(), Action::Release, Decision::Allowed)
        }
    }

    /// The tables there are, whoever may see them, that a statement names.
    async fn named(&self, said: &Arc<Said>) -> Result<Vec<String>> {
        let snapshot = self.node.catalog.snapshot();
        let mut found = Vec::new();
        for names in &said.normal().await?.relations {
            let table = match names.as_slice() {
                [name] => snapshot.table("public", name).or_else(|| snapshot.table("federation", name)),
                [.., schema, name] => snapshot.table(schema, name),
                [] => None,
            };
            found.extend(table.map(|table| format!("{}.{}", table.schema_name, table.name)));
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// The entry of a change that a statement makes, without its outcome; `None` if it makes none.
    fn change(&self, stop: &Stop) -> Option<Draft> {
        let said = stop.trail.said()?;
        let statement = match said.statement() {
            Statement::Steward(statement) => statement,
            Statement::Act(act) => {
                let objects = self.objects_of(act, stop.trail.values());
                let action = act.procedure.action();
                return Some(Draft { objects, ..stop.trail.entry(self.who(), action, Decision::Asked) });
            }
            _ => return None,
        };
        let temporary =
            |name: &TableName| name.schema.is_none() && self.state().temporary.tables().contains_key(&name.name);
        let own = |name: &TableName| format!("{}.{}", name.schema.as_deref().unwrap_or("public"), name.name);
        let roles = |names: &[String]| names.iter().map(|name| format!("role {name}")).collect::<Vec<_>>();
        let (action, objects) = match statement {
            StewardStatement::DropTable { names, .. } if names.iter().all(temporary) => return None,
            StewardStatement::CreateExternalTable(new) => (Action::Policy, vec![own(&new.name)]),
            StewardStatement::DropTable { names, .. } => (Action::Policy, names.iter().map(own).collect()),
            StewardStatement::AlterTable { name, .. } => (Action::Policy, vec![own(name)]),
            StewardStatement::Comment { table, .. } => (Action::Policy, vec![own(table)]),
            StewardStatement::CreateRole { name, .. } => (Action::CreateRole, roles(std::slice::from_ref(name))),
            StewardStatement::AlterRole { name, .. } | StewardStatement::SetRole { name, .. } => {
                (Action::AlterRole, roles(std::slice::from_ref(name)))
            }
            StewardStatement::AlterServer { name, .. } => (Action::Peer, vec![format!("node {name}")]),
            StewardStatement::AlterSystem { .. } => (Action::Policy, vec![format!("node {}", self.node.site())]),
            StewardStatement::DropRole { names, .. } => (Action::DropRole, roles(names)),
            StewardStatement::Usage { grant, schemas, grantees } => {
                let schemas = schemas.iter().map(|schema| format!("schema {schema}"));
                (granted(*grant), schemas.chain(roles(grantees)).collect())
            }
            StewardStatement::Select { grant, on, grantees, .. } => {
                let mut objects = match on {
                    Relations::Tables(names) => names.iter().map(own).collect(),
                    Relations::AllInSchemas(schemas) => {
                        schemas.iter().map(|schema| format!("{schema}.*")).collect::<Vec<_>>()
                    }
                };
                objects.extend(roles(grantees));
                (granted(*grant), objects)
            }
            StewardStatement::Membership { grant, roles: which, members } => {
                (granted(*grant), [roles(which), roles(members)].concat())
            }
            StewardStatement::CreatePrivacyUnit { kind, .. } | StewardStatement::AlterPrivacyUnit { kind, .. } => {
                (Action::Policy, vec![format!("privacy unit {kind}")])
            }
            StewardStatement::DropPrivacyUnit { kinds, .. } => {
                (Action::Policy, kinds.iter().map(|kind| format!("privacy unit {kind}")).collect())
            }
        };
        Some(Draft { objects, ..stop.trail.entry(self.who(), action, Decision::Asked) })
    }
}

fn granted(grant: bool) -> Action {
    if grant { Action::Grant } else { Action::Revoke }
}

fn outcome(error: &Error) -> Decision {
    if is_refusal(error.state) { Decision::Refused } else { Decision::Failed }
}

/// A table's name as the log has it.
fn qualified(table: &str) -> String {
    if table.contains('.') { table.to_owned() } else { format!("public.{table}") }
}
