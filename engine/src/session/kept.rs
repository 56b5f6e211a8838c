//! The plan that a statement was described by, for its first run: as long as nothing that it stands on has changed.
//!
//! Most statements are described and run at once, and to plan one takes longer than many answers. A plan stands on the catalog, the roles and their
//! members, the principal, the settings and the session's temporary tables. What a session is told has happened holds for the very next statement: so all of these are compared, and a statement
//! that reads the system's own tables, which are made when it is planned, is always planned anew.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::LogicalPlan;

use super::query::Planned;
use super::settings::Settings;
use super::temporary::Tables;
use super::{Session, lock};
use crate::catalog::Snapshot;
use crate::catalog::guarded::GuardedTable;
use crate::principal::Principal;
use crate::store::RoleInfo;

/// A plan that is taken once, or none. A session keeps the last one alone: a client may describe thousands of statements and run none.
#[derive(Clone, Default)]
pub(super) struct KeptPlan(Arc<Mutex<Option<(Planned, Grounds)>>>);

impl fmt::Debug for KeptPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeptPlan(..)")
    }
}

/// What a plan stands on.
pub(super) struct Grounds {
    snapshot: Arc<Snapshot>,
    roles: Arc<BTreeMap<String, RoleInfo>>,
    principal: Principal,
    settings: Settings,
    temporary: Tables,
}

impl Grounds {
    fn are_those_of(&self, other: &Grounds) -> bool {
        Arc::ptr_eq(&self.snapshot, &other.snapshot)
            && Arc::ptr_eq(&self.roles, &other.roles)
            && self.principal == other.principal
            && self.settings == other.settings
            && Arc::ptr_eq(&self.temporary, &other.temporary)
    }
}

impl KeptPlan {
    /// Keeps a plan that was made after these grounds were taken, if it reads nothing but the catalog's tables, and forgets the session's one before.
    pub(super) fn of(session: &Session, planned: Planned, grounds: Grounds) -> KeptPlan {
        let keeps = reads_the_catalogs_tables_alone(&planned.plan);
        let kept = KeptPlan(Arc::new(Mutex::new(keeps.then_some((planned, grounds)))));
        let before = std::mem::replace(&mut session.state().kept, kept.clone());
        lock(&before.0).take();
        kept
    }

    /// The plan, if there is one and it stands. It is gone then.
    pub(super) fn take(&self, session: &Session) -> Option<Planned> {
        let (mut planned, grounds) = lock(&self.0).take()?;
        if !grounds.are_those_of(&session.grounds()) {
            return None;
        }
        // now() is the time of the run.
        planned.state.mark_start_execution();
        Some(planned)
    }
}

impl Session {
    /// What a plan made from now on stands on, if nothing changes while it is made.
    pub(super) fn grounds(&self) -> Grounds {
        let (settings, temporary) = {
            let state = self.state();
            (state.settings.clone(), state.temporary.tables())
        };
        Grounds {
            snapshot: self.node.catalog.snapshot(),
            roles: self.node.store.directory().all(),
            principal: self.principal(),
            settings,
            temporary,
        }
    }
}

fn reads_the_catalogs_tables_alone(plan: &LogicalPlan) -> bool {
    let mut alone = true;
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source);
            alone &= provider.is_ok_and(|provider| provider.downcast_ref::<GuardedTable>().is_some());
        }
        Ok(if alone { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    alone && walked.is_ok()
}
