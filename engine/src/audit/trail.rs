//! What a statement did, noted while it runs and made into its entry when it ends.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use chrono::Utc;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::LogicalPlan;
use datafusion::scalar::ScalarValue;
use kanon_planner::release_unit::Decision as Decided;

use super::chain::{Draft, Who};
use super::entry::{Action, Decision};
use super::said::Said;
use crate::catalog::GuardedTable;
use crate::error::Result;
use crate::session::context::SystemTable;
use crate::session::report::PrivacyReport;

/// The view whose readers are noted.
pub(crate) const VIEW: &str = "audit_log";

/// What a statement does. Clones of its `Stop` share it.
#[derive(Debug)]
pub(crate) struct Trail {
    began_ms: i64,
    said: OnceLock<(Arc<Said>, Vec<ScalarValue>)>,
    noted: Mutex<Noted>,
}

/// What was noted.
#[derive(Debug, Default, Clone)]
struct Noted {
    /// Tables of users, as `schema.name`.
    tables: BTreeSet<String>,
    reads_log: bool,
    /// Releases of protected tables, and those among them that have entries.
    releases: usize,
    written: usize,
    report: Option<Arc<PrivacyReport>>,
    /// What is different after it.
    difference: Option<String>,
    /// Another steward has to approve it first.
    waits: bool,
}

/// What a plan reads of what has entries.
#[derive(Debug, Default, Clone)]
pub(crate) struct TablesRead {
    /// Tables of users, as `schema.name`.
    tables: BTreeSet<String>,
    reads_log: bool,
}

impl TablesRead {
    /// Of a plan, with its subqueries.
    ///
    /// # Errors
    /// If the plan cannot be walked: a bug.
    pub(crate) fn of(plan: &LogicalPlan) -> Result<TablesRead> {
        let mut read = TablesRead::default();
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                let provider = source_as_provider(&scan.source)?;
                if let Some(guarded) = provider.downcast_ref::<GuardedTable>() {
                    let table = guarded.table();
                    if !table.is_temporary() {
                        read.tables.insert(format!("{}.{}", table.schema_name, table.name));
                    }
                } else if provider.downcast_ref::<SystemTable>().is_some() {
                    read.reads_log |= scan.table_name.table() == VIEW;
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(read)
    }
}

impl Default for Trail {
    fn default() -> Self {
        Trail { began_ms: Utc::now().timestamp_millis(), said: OnceLock::new(), noted: Mutex::default() }
    }
}

impl Trail {
    /// What the statement says.
    pub(crate) fn says(&self, said: Arc<Said>, values: Vec<ScalarValue>) {
        let _ = self.said.set((said, values));
    }

    /// What it said, once it is known.
    pub(crate) fn said(&self) -> Option<&Arc<Said>> {
        self.said.get().map(|(said, _)| said)
    }

    /// The values of its parameters.
    pub(crate) fn values(&self) -> &[ScalarValue] {
        self.said.get().map_or(&[], |(_, values)| values)
    }

    /// What a plan reads, and how it was decided.
    ///
    /// # Errors
    /// If the plan cannot be walked: a bug.
    pub(crate) fn reads(&self, plan: &LogicalPlan, decided: &Decided) -> Result<()> {
        self.reads_again(&TablesRead::of(plan)?);
        self.noted().releases += match decided {
            Decided::Release { units, .. } => units.iter().filter(|unit| unit.protection.is_some()).count(),
            Decided::Open(_) => 0,
        };
        Ok(())
    }

    /// What a plan of open data reads, which is known already.
    pub(crate) fn reads_again(&self, read: &TablesRead) {
        let mut noted = self.noted();
        noted.tables.extend(read.tables.iter().cloned());
        noted.reads_log |= read.reads_log;
    }

    /// The tables of users that it reads, as `schema.name`, as far as is known.
    pub(crate) fn tables(&self) -> Vec<String> {
        self.noted().tables.iter().cloned().collect()
    }

    /// An entry about one of its releases is with the answer.
    pub(crate) fn written(&self) {
        self.noted().written += 1;
    }

    /// What its releases came to.
    pub(crate) fn came_to(&self, report: Option<&Arc<PrivacyReport>>) {
        if report.is_some() {
            self.noted().report = report.cloned();
        }
    }

    /// What is different after it, in words.
    pub(crate) fn changes(&self, difference: String) {
        self.noted().difference = Some(difference);
    }

    /// It changes nothing yet: another steward has to approve it.
    pub(crate) fn waits(&self) {
        self.noted().waits = true;
    }

    /// Whether another steward has to approve it.
    pub(crate) fn is_waiting(&self) -> bool {
        self.noted().waits
    }

    /// Whether it reads protected tables, or the log: then its entry is written before it is answered.
    pub(crate) fn is_protected(&self) -> bool {
        let noted = self.noted();
        noted.releases > 0 || noted.reads_log
    }

    /// Whether it reads nothing of users.
    pub(crate) fn is_nothing(&self) -> bool {
        let noted = self.noted();
        noted.tables.is_empty() && noted.releases == 0
    }

    /// The entry of the statement's success; `None` if it needs none, or has it already. `sees_others`: whether who asks sees the entries of others in the log.
    pub(crate) fn answered(&self, who: Who, sees_others: bool) -> Option<Draft> {
        let noted = self.noted().clone();
        let action = match &noted {
            Noted { reads_log: true, .. } if sees_others => Action::ReadLog,
            Noted { releases, written, .. } if releases > written => Action::Release,
            Noted { releases: 0, tables, .. } if !tables.is_empty() => Action::Query,
            _ => return None,
        };
        Some(self.draft(who, action, Decision::Allowed, noted))
    }

    /// An entry of the statement, whatever it did so far.
    pub(crate) fn entry(&self, who: Who, action: Action, decision: Decision) -> Draft {
        let noted = self.noted().clone();
        self.draft(who, action, decision, noted)
    }

    /// What an unsuccessful statement was about to be.
    pub(crate) fn action(&self) -> Action {
        if self.noted().releases > 0 { Action::Release } else { Action::Query }
    }

    fn draft(&self, who: Who, action: Action, decision: Decision, noted: Noted) -> Draft {
        let (said, values) = self.said.get().cloned().unzip();
        let sites = noted.report.as_deref().map(PrivacyReport::sites).unwrap_or_default();
        let sum = |of: fn(&crate::session::report::SiteReport) -> Option<f64>| {
            let some: Vec<f64> = sites.iter().filter_map(of).collect();
            (!some.is_empty()).then(|| some.iter().sum())
        };
        let mut rules: Vec<&str> = sites.iter().filter_map(|site| site.rule.as_deref()).collect();
        rules.dedup();
        let named = sites.iter().map(|site| match site.status.answered() {
            true => site.site.to_string(),
            false => format!("{} ({})", site.site, site.status.as_str()),
        });
        Draft {
            at_ms: self.began_ms,
            objects: noted.tables.into_iter().collect(),
            rule: (!rules.is_empty()).then(|| rules.join("; ")),
            said,
            values: values.unwrap_or_default(),
            // What has an entry of its own is charged there.
            epsilon: if noted.written > 0 { None } else { sum(|site| site.epsilon) },
            delta: if noted.written > 0 { None } else { sum(|site| site.delta) },
            sites: named.collect(),
            difference: noted.difference,
            ..Draft::new(who, action, decision)
        }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
