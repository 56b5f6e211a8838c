//! Plans of statements that were described or run, for their next run: as long as nothing that they stand on has changed.
//!
//! ```text
//! text ─► analysed plan ─► optimised plan ─► plan to execute ─► rows
//!         of any statement  of open data,     that reads no table, or small ones that are in memory
//!                           whose functions do not depend on the moment
//! ```
//!
//! To plan a statement takes longer than many answers. So every statement has its plan kept, as far as it is the same for the next run; that of one with parameters is made
//! for all values: see [`super::generic`] and [`super::slots`]. A plan with a release is used once: it may be described before it runs, and each run is decided for itself.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::scalar::ScalarValue;
use kanon_planner::release_unit::Decision;

use super::alike::Kinds;
use super::planning::PlanningContext;
use super::query::Planned;
use super::slots::{Lent, Slots};
use super::stream::Stop;
use super::{Prepared, Session, lock};
use crate::audit::TablesRead;
use crate::catalog::row_cache::PinnedRows;
use crate::error::Result;
use crate::pg_catalog::modifiers::Origin as ColumnOrigin;

/// Plans that a session keeps.
const MAX_OF_SESSION: usize = 64;
/// Plans that all sessions together keep. Beyond it each keeps its last one.
const MAX_OF_ALL: usize = 4_096;
/// The longest text, in bytes, of a statement whose plan is kept: a plan takes some hundred times the memory of its text.
const MAX_TEXT: usize = 8_192;

/// The most memory, in bytes, that constants of a plan may take that is kept optimised: `repeat('x', 1000000)` is one then.
const MAX_CONSTANTS: usize = 64 << 10;

static KEPT: AtomicUsize = AtomicUsize::new(0);

/// One of the plans that are kept.
struct Counted;

impl Counted {
    fn new() -> Counted {
        KEPT.fetch_add(1, Ordering::Relaxed);
        Counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        KEPT.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place for a statement's plan. That of a statement with parameters is made for all values, at its second run: see [`super::generic`]. The default keeps
/// nothing.
#[derive(Clone, Default)]
pub(super) struct KeptPlan(Arc<Place>);

#[derive(Default)]
struct Place {
    keeps: bool,
    kept: Mutex<Option<Kept>>,
    /// How often a statement with parameters was planned for its values.
    runs: AtomicUsize,
}

impl fmt::Debug for KeptPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeptPlan(..)")
    }
}

struct Kept {
    context: Arc<PlanningContext>,
    plan: LogicalPlan,
    names: Vec<String>,
    origins: Vec<Option<ColumnOrigin>>,
    decided: Option<Decision>,
    schema: SchemaRef,
    ready: Option<Ready>,
    _counted: Counted,
}

/// How far a plan of open data is the same for every run.
#[derive(Clone)]
pub(super) enum Ready {
    /// Optimised: no function in it depends on the moment or on a setting. Tables are looked up when it runs.
    Optimised(LogicalPlan),
    /// To be executed: it reads nothing but what is in memory.
    Physical(Arc<ToExecute>),
    /// Neither, and it need not be tried again.
    Neither,
}

/// A plan to execute, and what it was made with.
pub(super) struct ToExecute {
    pub(super) plan: Arc<dyn ExecutionPlan>,
    /// The rows of the tables that it reads.
    pub(super) pinned: PinnedRows,
    /// Of its parameters.
    pub(super) slots: Option<Arc<Slots>>,
    /// For the audit log.
    pub(super) reads: TablesRead,
}

/// A plan that only has to be executed.
pub(super) struct Executable {
    pub(super) context: Arc<PlanningContext>,
    pub(super) plan: Arc<dyn ExecutionPlan>,
    pub(super) schema: SchemaRef,
    pub(super) lent: Option<Lent>,
}

impl KeptPlan {
    /// A place for the plan of a statement of this text.
    pub(super) fn of(text: &str) -> KeptPlan {
        KeptPlan(Arc::new(Place { keeps: text.len() <= MAX_TEXT, ..Place::default() }))
    }

    /// Keeps a plan for its next run.
    pub(super) fn keep(&self, session: &Session, planned: &Planned) {
        if !self.0.keeps {
            return;
        }
        let kept = Kept {
            context: Arc::clone(&planned.context),
            plan: planned.plan.clone(),
            names: planned.names.clone(),
            origins: planned.origins.clone(),
            decided: planned.decided.clone(),
            schema: planned.schema(),
            ready: None,
            _counted: Counted::new(),
        };
        *lock(&self.0.kept) = Some(kept);
        let too_many = session.state().kept.add(self.clone());
        too_many.iter().for_each(KeptPlan::forget);
    }

    /// Keeps how far the plan that is kept is ready, if it is still this one. Plans are equal that read different tables of the same name, so it must be of the
    /// same context.
    pub(super) fn keep_ready(&self, context: &Arc<PlanningContext>, planned: &LogicalPlan, ready: Option<Ready>) {
        let mut place = lock(&self.0.kept);
        let same = |kept: &&mut Kept| Arc::ptr_eq(&kept.context, context) && kept.plan == *planned;
        if let Some(kept) = place.as_mut().filter(same) {
            kept.ready = ready;
        }
    }

    /// Whether a statement with parameters is planned for its values a second time. Counts.
    pub(super) fn is_planned_again(&self) -> bool {
        self.0.runs.fetch_add(1, Ordering::Relaxed) == 1
    }

    fn forget(&self) {
        lock(&self.0.kept).take();
    }

    /// Whether there is a plan, and it stands.
    pub(super) fn stands(&self, session: &Session) -> bool {
        let context = lock(&self.0.kept).as_ref().map(|kept| Arc::clone(&kept.context));
        context.is_some_and(|context| context.stands(session))
    }

    /// The plan as it was analysed, and its columns, whatever it stands on.
    pub(super) fn analysed(&self) -> Option<(LogicalPlan, SchemaRef)> {
        lock(&self.0.kept).as_ref().map(|kept| (kept.plan.clone(), Arc::clone(&kept.schema)))
    }

    /// Whether how far it is ready may be found out later.
    pub(super) fn is_open_yet(&self) -> bool {
        lock(&self.0.kept).as_ref().is_some_and(|kept| kept.ready.is_none())
    }

    /// Whether there is a plan to execute.
    pub(super) fn is_executable(&self) -> bool {
        matches!(lock(&self.0.kept).as_ref(), Some(Kept { ready: Some(Ready::Physical(_)), .. }))
    }

    /// The plan to execute with these values, if there is one, it stands, and it does not run already. What it reads is noted.
    ///
    /// # Errors
    /// If a plan cannot be run again: a bug.
    pub(super) fn executable(
        &self,
        session: &Session,
        values: &[ScalarValue],
        stop: &Stop,
    ) -> Result<Option<Executable>> {
        let (context, schema, ready) = match lock(&self.0.kept).as_ref() {
            Some(Kept { context, schema, ready: Some(Ready::Physical(ready)), .. }) => {
                (Arc::clone(context), Arc::clone(schema), Arc::clone(ready))
            }
            _ => return Ok(None),
        };
        if !context.stands(session) {
            return Ok(None);
        }
        if !ready.pinned.are_current() {
            if let Some(kept) = lock(&self.0.kept).as_mut().filter(|kept| Arc::ptr_eq(&kept.context, &context)) {
                kept.ready = None;
            }
            return Ok(None);
        }
        let lent = match &ready.slots {
            Some(slots) => match slots.lend(values) {
                Some(lent) => Some(lent),
                None => return Ok(None),
            },
            None => None,
        };
        stop.trail.reads_again(&ready.reads);
        // Once more, after that is noted: see `brakes`.
        if !context.stands(session) {
            return Ok(None);
        }
        // What it counted and remembered in its last run is not this run's.
        let plan = reset_plan_states(Arc::clone(&ready.plan))?;
        Ok(Some(Executable { context, plan, schema, lent }))
    }

    /// The plan, if there is one and it stands. With a release it is gone then.
    ///
    /// # Errors
    /// If no state can be made for it: a bug.
    pub(super) fn take(&self, session: &Session) -> Result<Option<Planned>> {
        let (context, plan, names, origins, decided, ready) = {
            let mut place = lock(&self.0.kept);
            let Some(kept) = place.as_ref() else { return Ok(None) };
            let parts = (
                Arc::clone(&kept.context),
                kept.plan.clone(),
                kept.names.clone(),
                kept.origins.clone(),
                kept.decided.clone(),
                kept.ready.clone(),
            );
            if !matches!(kept.decided, None | Some(Decision::Open(_))) {
                place.take();
            }
            parts
        };
        if !context.stands(session) {
            self.forget();
            self.0.runs.store(0, Ordering::Relaxed);
            return Ok(None);
        }
        let state = context.state(session)?;
        Ok(Some(Planned { plan, context, state, names, origins, fails: None, decided, ready, kept: self.clone() }))
    }
}

/// The plans that a session keeps, and the statements that are known again by their text.
#[derive(Default)]
pub(super) struct KeptPlans {
    plans: VecDeque<KeptPlan>,
    texts: VecDeque<Prepared>,
    pub(super) kinds: Kinds,
}

impl KeptPlans {
    /// One more; those that are kept no longer.
    fn add(&mut self, plan: KeptPlan) -> Vec<KeptPlan> {
        self.plans.retain(|other| !Arc::ptr_eq(&other.0, &plan.0));
        self.plans.push_back(plan);
        let most = if KEPT.load(Ordering::Relaxed) > MAX_OF_ALL { 1 } else { MAX_OF_SESSION };
        let too_many = self.plans.len().saturating_sub(most);
        self.plans.drain(..too_many).collect()
    }

    /// Gives up all of them.
    pub(super) fn forget(self) {
        self.plans.iter().for_each(KeptPlan::forget);
    }

    /// The statement of a text, if it was prepared before.
    pub(super) fn of_text(&self, text: &str) -> Option<Prepared> {
        self.texts.iter().find(|prepared| prepared.text == text).cloned()
    }

    /// Remembers a statement by its text.
    pub(super) fn remember(&mut self, prepared: &Prepared) {
        if !prepared.plan.0.keeps {
            return;
        }
        self.texts.retain(|other| other.text != prepared.text);
        self.texts.push_back(prepared.clone());
        if self.texts.len() > MAX_OF_SESSION {
            self.texts.pop_front();
        }
    }
}

/// Whether a plan asks queries of its own for values: their answers are kept in a plan to execute, of which two runs would disturb each other.
pub(super) fn has_query(plan: &LogicalPlan) -> bool {
    let found = plan.exists(|node| {
        let mut found = false;
        node.apply_expressions(|expr| {
            found |= expr.exists(|expr| {
                Ok(matches!(
                    expr,
                    Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)
                ))
            })?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        Ok(found)
    });
    found.unwrap_or(true)
}

/// Whether the constants of a plan take little memory.
pub(super) fn has_small_constants(plan: &LogicalPlan) -> bool {
    let mut size: usize = 0;
    let walked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Literal(value, _) = expr {
                    size = size.saturating_add(value.size());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    walked.is_ok() && size <= MAX_CONSTANTS
}

/// Whether an optimised plan is good for one run alone: functions in it were computed that depend on the moment or on settings; or it is one that goes round.
pub(super) fn is_for_one_run(plan: &LogicalPlan) -> bool {
    let mut depends = false;
    let walked = plan.apply_with_subqueries(|node| {
        depends |= matches!(node, LogicalPlan::RecursiveQuery(_) | LogicalPlan::Extension(_));
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                depends |= match expr {
                    Expr::ScalarFunction(function) => {
                        matches!(function.func.signature().volatility, Volatility::Stable)
                    }
                    Expr::HigherOrderFunction(_) | Expr::ScalarVariable(..) => true,
                    _ => false,
                };
                Ok(if depends { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    });
    depends || walked.is_err()
}
