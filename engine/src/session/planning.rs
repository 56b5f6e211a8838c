//! What the statements of a session are planned in: made when it is first needed, and used until something of it changes.
//!
//! ```text
//! principal, roles, catalog, settings, temporary tables ─► PlanningContext ─┐
//!                           the node's idle states (functions, rules) ──────┴─► the state of one statement
//! ```
//!
//! A statement is planned in a catalog of what its principal may see. To make one takes longer than many statements take to run, so a session keeps the
//! last. What a session is told has happened holds for the very next statement: all that a context was made from is compared before it is used.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::ScalarUDF;
use datafusion::logical_expr::registry::FunctionRegistry;
use datafusion::prelude::SessionConfig;

use super::context::{SEARCHED, VisibleCatalogs, system_schema, visible_catalogs};
use super::settings::Settings;
use super::temporary::Tables;
use super::{Session, memory};
use crate::catalog::row_cache::RowCache;
use crate::catalog::{Snapshot, Table};
use crate::error::Result;
use crate::federation::run::Wishes;
use crate::federation::scan::Asker;
use crate::pg_catalog::{View, Viewer};
use crate::principal::Principal;
use crate::store::RoleInfo;
use crate::system::{self, SystemContext};

/// States that no statement uses. A node keeps so many; each takes some hundred kilobytes.
const MAX_IDLE: usize = 64;

/// States of DataFusion for statements: functions, rules and run-time are the same for all, and copying them is not for nothing.
pub(crate) struct States {
    base: SessionState,
    idle: Mutex<Vec<SessionState>>,
    row_cache: RowCache,
    /// The most memory of one statement, in bytes, if that is bounded.
    statement_bytes: Option<usize>,
}

impl States {
    /// All begin as `base`; a statement has at most `statement_bytes` of memory, if that is said.
    pub(crate) fn of(base: SessionState, statement_bytes: Option<usize>) -> States {
        States { base, idle: Mutex::new(Vec::new()), row_cache: RowCache::default(), statement_bytes }
    }

    /// Memory, files and caches of all statements.
    pub(crate) fn runtime_env(&self) -> &Arc<RuntimeEnv> {
        self.base.runtime_env()
    }

    /// What a statement takes memory from.
    fn of_statement(&self) -> Arc<RuntimeEnv> {
        match self.statement_bytes {
            Some(most) => memory::bounded(self.base.runtime_env(), most),
            None => Arc::clone(self.base.runtime_env()),
        }
    }

    /// Rows of small open tables.
    pub(super) fn row_cache(&self) -> &RowCache {
        &self.row_cache
    }

    /// One for a statement, with the configuration of all.
    fn take(&self) -> SessionState {
        let idle = self.idle().pop();
        let state = idle.unwrap_or_else(|| self.base.clone());
        match self.statement_bytes {
            Some(_) => SessionStateBuilder::new_from_existing(state).with_runtime_env(self.of_statement()).build(),
            None => state,
        }
    }

    /// Takes one back after a statement: without what the statement could see.
    pub(super) fn give_back(&self, mut state: SessionState) {
        state.register_catalog_list(Arc::new(VisibleCatalogs::default()));
        *state.config_mut() = self.base.config().clone();
        let mut idle = self.idle();
        if idle.len() < MAX_IDLE {
            idle.push(state);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<SessionState>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a plan stands on.
#[derive(Clone)]
pub(super) struct Grounds {
    pub(super) snapshot: Arc<Snapshot>,
    roles: Arc<BTreeMap<String, RoleInfo>>,
    pub(super) principal: Principal,
    pub(super) settings: Settings,
    pub(super) temporary: Tables,
}

impl Grounds {
    fn of(session: &Session) -> Grounds {
        let (settings, temporary) = {
            let state = session.state();
            (state.settings.clone(), state.temporary.tables())
        };
        Grounds {
            snapshot: session.node.catalog.snapshot(),
            // Before the principal, whose roles follow from them.
            roles: session.node.store.directory().all(),
            principal: session.principal(),
            settings,
            temporary,
        }
    }

    /// Whether these are the session's now.
    fn stand(&self, session: &Session) -> bool {
        {
            let state = session.state();
            if state.settings.version() != self.settings.version()
                || !Arc::ptr_eq(&state.temporary.tables(), &self.temporary)
            {
                return false;
            }
        }
        Arc::ptr_eq(&session.node.catalog.snapshot(), &self.snapshot)
            && Arc::ptr_eq(&session.node.store.directory().all(), &self.roles)
    }
}

/// What the statements of a session are planned in.
pub(super) struct PlanningContext {
    grounds: Grounds,
    view: View,
    catalogs: Arc<VisibleCatalogs>,
    config: SessionConfig,
    /// `now()` of the session's zone.
    now: Option<Arc<ScalarUDF>>,
}

impl PlanningContext {
    fn of(session: &Session) -> Result<PlanningContext> {
        let grounds = Grounds::of(session);
        let system = SystemContext {
            node: Arc::clone(&session.node),
            principal: grounds.principal.clone(),
            last_query: session.state().last_query.clone(),
        };
        let views = system::tables(&system);
        let view =
            View::of(session.viewer(&grounds, views.iter().map(|(name, v)| (name.clone(), v.schema())).collect()));
        let viewer = view.viewer();
        let mut visible = viewer.visible.clone();
        if session.subplan {
            // A site answers for its own tables: a subplan is never passed on.
            visible.retain(|table| table.schema_name == "public");
        }
        let readable = |table: &Arc<Table>| viewer.snapshot.readable(&viewer.principal, table);
        let schemas = view.schemas().chain([("kanon".to_owned(), system_schema(views))]);
        let catalogs = visible_catalogs(&visible, readable, schemas)?;
        let base = &session.node.states.base;
        let mut config = base.config().clone();
        let options = config.options_mut();
        if visible.iter().any(|table| table.is_temporary()) {
            options.catalog.default_schema = SEARCHED.to_owned();
        }
        options.execution.time_zone = Some(grounds.settings.get("TimeZone").unwrap_or_else(|| "UTC".into()));
        view.put_into(options);
        options.extensions.insert(system);
        let now = base.udf("now")?.inner().with_updated_config(config.options()).map(Arc::new);
        Ok(PlanningContext { catalogs: Arc::new(catalogs), view, config, now, grounds })
    }

    /// Whether nothing that it was made from has changed since.
    pub(super) fn stands(&self, session: &Session) -> bool {
        self.grounds.stand(session)
    }

    /// Who asks, and what it sees.
    pub(super) fn viewer(&self) -> &Viewer {
        self.view.viewer()
    }

    /// The state of a statement that begins now. [`States::give_back`] takes it back.
    ///
    /// # Errors
    /// If it takes no function.
    pub(super) fn state(&self, session: &Session) -> Result<SessionState> {
        let mut state = session.node.states.take();
        state.register_catalog_list(Arc::clone(&self.catalogs) as _);
        *state.config_mut() = self.config.clone();
        if let Some(now) = &self.now {
            state.register_udf(Arc::clone(now))?;
        }
        let asker = Asker::new(self.grounds.principal.clone(), Wishes::of(session));
        state.config_mut().set_extension(Arc::new(asker));
        state.mark_start_execution();
        Ok(state)
    }

    /// What a plan of this context runs in.
    pub(super) fn task(&self, session: &Session) -> Arc<TaskContext> {
        task(self.config.clone(), &session.node.states.of_statement())
    }
}

/// What a plan runs in that was made in a state. Functions are in the plan.
pub(super) fn task_of(state: &SessionState) -> Arc<TaskContext> {
    task(state.config().clone(), state.runtime_env())
}

fn task(config: SessionConfig, runtime: &Arc<RuntimeEnv>) -> Arc<TaskContext> {
    let (scalar, higher_order, aggregate, window) = (HashMap::new(), HashMap::new(), HashMap::new(), HashMap::new());
    let id = String::new();
    Arc::new(TaskContext::new(None, id, config, scalar, higher_order, aggregate, window, Arc::clone(runtime)))
}

impl Session {
    /// What its next statement is planned in.
    ///
    /// # Errors
    /// If it cannot be made: a bug.
    pub(super) fn planning_context(&self) -> Result<Arc<PlanningContext>> {
        let kept = self.state().planning.clone();
        if let Some(context) = kept.filter(|context| context.stands(self)) {
            return Ok(context);
        }
        let context = Arc::new(PlanningContext::of(self)?);
        // With the plans that stood on the last one goes what only they still hold, such as rows of temporary tables.
        let gone = {
            let mut state = self.state();
            state.planning = Some(Arc::clone(&context));
            std::mem::take(&mut state.kept)
        };
        gone.forget();
        Ok(context)
    }
}
