//! Exact statistics of every group, with each unit's part bounded.
//!
//! ```text
//!                              ┌─ one row a unit: added as it comes (units)
//! plan ─► a reader a partition ┤
//!                              ├─ units that come one after the other: bounded as they come (ordered)
//!                              └─ partitions by a hash of the unit (partition), which wait in memory or on disk (waiting, spill)
//!                                     └─► a worker a core: of each unit C groups, in each m rows (bound) ─► totals
//! ```
//!
//! Everything is a whole number, so no sum depends on the order of rows. Which groups and rows of a unit are kept depends on that unit alone:
//! see [`kanon_privacy::bounding`]. So the result is the same however rows are partitioned, whatever spills.
//!
//! Nothing here waits on a thread that serves others for longer than a batch takes: the rest runs on threads for blocking work. Dropping the
//! future stops all of it.

mod bound;
mod clip;
mod columns;
mod distinct;
mod heavy;
mod levels;
mod ordered;
mod partition;
mod spill;
#[cfg(test)]
mod tests;
mod totals;
mod units;
mod waiting;

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use datafusion::arrow::array::ArrayRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::SessionState;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream_partitioned};
use kanon_planner::private::Question;
use kanon_planner::private::mechanisms::Mechanisms;
use kanon_planner::release_unit::ReleaseUnit;
use kanon_privacy::bounding::SiteKey;
use kanon_privacy::norms::Level;
use kanon_privacy::sensitivity::{Bounding, Bounds};
use kanon_privacy::statistics::Statistic;
use tokio::task::JoinSet;

use self::columns::Layout;
use self::distinct::Distinct;
use self::levels::Levels;
use self::ordered::Shortcut;
use self::partition::Hasher;
use self::totals::Totals;
use super::super::{below, run};
use super::groups::{Groups, Numbers};
use super::ranks::Ordered;
use crate::error::{Error, Result};

/// The exact statistics of a release, by group.
pub(super) struct Exact {
    /// A column a key, a row a group.
    pub(super) keys: Vec<ArrayRef>,
    /// Units after bounding; 0 where nothing needs their number.
    pub(super) units: Vec<u64>,
    /// In the order of the plan's statistics. None where `levels` have them.
    pub(super) statistics: Vec<Vec<i128>>,
    /// Where the norm that units are scaled down to is not chosen yet.
    pub(super) levels: Option<Levels>,
    /// The values that quantiles and extremes are chosen from.
    pub(super) ranks: Ordered,
}

impl Exact {
    /// With the statistics where the norm of this level is chosen.
    pub(super) fn at(self, level: Level) -> Result<Exact> {
        let levels = self.levels.as_ref().ok_or_else(Error::below_boundary)?;
        Ok(Exact { statistics: levels.statistics(level)?, levels: None, ..self })
    }
}

/// Computes them: of the question's groups, or of those with the keys that are `listed`, a column a key.
pub(super) async fn compute(
    state: &SessionState,
    unit: &ReleaseUnit,
    question: &Arc<Question>,
    mechanisms: &Arc<Mechanisms>,
    key: &SiteKey,
    listed: Option<&[ArrayRef]>,
) -> Result<Exact> {
    in_sizes(Sizes::default(), state, unit, question, mechanisms, key, listed).await
}

/// How much is done at once. Results do not depend on it.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    /// Partitions of rows, as a power of two.
    partition_bits: u32,
    /// Parts of a partition that is too large, as a power of two.
    split_bits: u32,
    /// Rows that are put into partitions together.
    run_rows: usize,
    /// Rows whose bytes are made together.
    bytes_at_once: usize,
}

impl Default for Sizes {
    fn default() -> Sizes {
        // A partition of 10 million rows is about the size of a core's cache.
        Sizes { partition_bits: 7, split_bits: 4, run_rows: 32_768, bytes_at_once: 65_536 }
    }
}

async fn in_sizes(
    sizes: Sizes,
    state: &SessionState,
    unit: &ReleaseUnit,
    question: &Arc<Question>,
    mechanisms: &Arc<Mechanisms>,
    key: &SiteKey,
    listed: Option<&[ArrayRef]>,
) -> Result<Exact> {
    let plan = columns::rows(unit, question, mechanisms)?;
    for shortcut in [true, false] {
        let plan = run::physical(state, &plan).await?;
        let layout = Layout::of(&plan.schema(), question)?;
        let groups = match listed {
            Some(keys) => Groups::listed(keys)?,
            None => Groups::of(question, &layout.keys)?,
        };
        let size = groups.size();
        let job = Job::new(sizes, state, (layout, groups), question, mechanisms, key, Shortcut::new(shortcut));
        let job = Stop(Arc::new(job));
        job.0.memory.try_grow(size).map_err(below)?;
        match statistics(&job.0, state, unit, plan).await {
            Err(_) if job.0.shortcut.is_wrong() => {}
            result => return result,
        }
    }
    Err(Error::below_boundary())
}

async fn statistics(
    job: &Arc<Job>,
    state: &SessionState,
    unit: &ReleaseUnit,
    plan: Arc<dyn ExecutionPlan>,
) -> Result<Exact> {
    let streams = execute_stream_partitioned(plan, state.task_ctx()).map_err(below)?;
    let workers = state.config().target_partitions();
    let most_streams = workers * scans(&unit.input)?.max(1);
    let totals = if unit.one_row_a_unit {
        // What totals take is asked for before a row is read; and as much as for the most streams that there may be, for there are fewer of small files.
        let totals = (0..streams.len().max(most_streams)).map(|_| job.totals()).collect::<Result<Vec<_>>>()?;
        all(streams.into_iter().zip(totals).map(|(rows, totals)| units::add(Arc::clone(job), totals, rows))).await?
    } else {
        waiting::add(job, streams, workers, most_streams).await?
    };
    // Adding up may take long where there are many groups.
    let job = Arc::clone(job);
    tokio::task::spawn_blocking(move || job.finish(totals)).await.map_err(below)?
}

/// How many tables a plan reads, each as often as it does.
fn scans(plan: &LogicalPlan) -> Result<usize> {
    let mut scans = 0;
    plan.apply_with_subqueries(|node| {
        scans += usize::from(matches!(node, LogicalPlan::TableScan(_)));
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(below)?;
    Ok(scans)
}

/// What all who work on a release share.
struct Job {
    sizes: Sizes,
    question: Arc<Question>,
    mechanisms: Arc<Mechanisms>,
    bounds: Bounds,
    /// d of each count(distinct).
    most_distinct: Vec<u32>,
    key: SiteKey,
    layout: Arc<Layout>,
    groups: Arc<RwLock<Groups>>,
    distinct: Mutex<Distinct>,
    hasher: Hasher,
    shortcut: Shortcut,
    runtime: Arc<RuntimeEnv>,
    /// Of what cannot spill: groups, totals, distinct values.
    memory: Arc<MemoryReservation>,
    stopped: AtomicBool,
}

impl Job {
    fn new(
        sizes: Sizes,
        state: &SessionState,
        (layout, groups): (Layout, Groups),
        question: &Arc<Question>,
        mechanisms: &Arc<Mechanisms>,
        key: &SiteKey,
        shortcut: Shortcut,
    ) -> Job {
        let bounds = match mechanisms.bounding {
            Bounding::Sampled(bounds) => bounds,
            // All rows count.
            Bounding::Clipped(clip) => Bounds { groups: clip.keys, rows: NonZeroU32::MAX },
        };
        let runtime = Arc::clone(state.runtime_env());
        let memory = MemoryConsumer::new("private release").register(&runtime.memory_pool);
        let most_distinct = mechanisms.plan.statistics().iter().filter_map(|s| match s {
            Statistic::Distinct(_, most) => Some(most.get()),
            _ => None,
        });
        Job {
            sizes,
            question: Arc::clone(question),
            mechanisms: Arc::clone(mechanisms),
            bounds,
            most_distinct: most_distinct.collect(),
            key: key.clone(),
            groups: Arc::new(RwLock::new(groups)),
            layout: Arc::new(layout),
            distinct: Mutex::new(Distinct::new(memory.new_empty())),
            hasher: Hasher::new(),
            shortcut,
            runtime,
            memory: Arc::new(memory),
            stopped: AtomicBool::new(false),
        }
    }

    /// Totals of nothing so far. Where it is known which groups there are they have room for all of them: no row changes what they take.
    fn totals(&self) -> Result<Totals> {
        let groups = self.groups.read().map_err(below)?;
        let mut totals = Totals::new(&self.question, &self.mechanisms, &self.memory);
        if groups.are_all() {
            totals.resize(groups.len())?;
        }
        Ok(totals)
    }

    fn numbers(&self) -> Result<Numbers> {
        Numbers::new(&self.groups, &self.layout.keys, &self.memory)
    }

    /// Memory of what can spill.
    fn spillable(&self) -> MemoryReservation {
        MemoryConsumer::new("private release's rows").with_can_spill(true).register(&self.runtime.memory_pool)
    }

    /// An error if nobody waits for the result any more.
    fn go_on(&self) -> Result<()> {
        if self.stopped.load(Ordering::Relaxed) { Err(Error::below_boundary()) } else { Ok(()) }
    }

    fn finish(&self, parts: Vec<Totals>) -> Result<Exact> {
        let groups = self.groups.read().map_err(below)?;
        let mut parts = parts.into_iter();
        let mut totals = match parts.next() {
            Some(first) => first,
            None => self.totals()?,
        };
        totals.resize(groups.len())?;
        for part in parts {
            self.go_on()?;
            totals.absorb(&part)?;
        }
        let of_distinct = self.mechanisms.plan.statistics().iter().enumerate();
        let of_distinct = of_distinct.filter(|(_, s)| matches!(s, Statistic::Distinct(..))).map(|(place, _)| place);
        self.distinct.lock().map_err(below)?.count(&of_distinct.collect::<Vec<_>>(), &mut totals.sums)?;
        let levels = totals.take_levels(groups.len());
        let (sums, units, ranks) = totals.finish()?;
        let of_group = |group: usize| sums.iter().filter_map(|sums| sums.get(group).copied()).collect();
        let statistics = (0..units.len()).map(of_group).collect();
        Ok(Exact { keys: groups.keys()?, units, statistics, levels, ranks: ranks.finish() })
    }
}

/// Stops whoever works on a release, when nobody waits for it any more.
struct Stop(Arc<Job>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }
}

/// Runs all of these at the same time, each as a task of its own; if one fails or nobody waits any more, none goes on.
async fn all<T: Send + 'static>(
    tasks: impl Iterator<Item = impl Future<Output = Result<T>> + Send + 'static>,
) -> Result<Vec<T>> {
    let mut running: JoinSet<Result<T>> = tasks.collect();
    let mut results = Vec::with_capacity(running.len());
    while let Some(result) = running.join_next().await {
        match result.map_err(below).and_then(|result| result) {
            Ok(result) => results.push(result),
            Err(error) => {
                // What the others hold is free before anybody goes on.
                running.shutdown().await;
                return Err(error);
            }
        }
    }
    Ok(results)
}
