//! A query's life: bound to what the principal may see, decided by the planner, released, and only then streamed.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::execution::TaskContext;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, execute_stream, memory::MemoryStream};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{self, Visit, Visitor};
use futures::future;
use kanon_planner::boundary::{self, Options};
use kanon_planner::facts::{Facts, Placement};
use kanon_planner::intervals::Origin;
use kanon_planner::release_unit::{Decision, ReleaseUnit};

use super::accuracy::{Intervals, Shown};
use super::constants;
use super::context::{PlanFacts, ReleasedBatches, is_series};
use super::distinct::computed_below;
use super::kept::{KeptPlan, Ready, ToExecute, has_query, has_small_constants, is_for_one_run};
use super::nothing::without_what_is_empty;
use super::parameters::{Parameter, Parameters, written_in};
use super::planning::{PlanningContext, task_of};
use super::private::{NoiseOfMeasures, PrivateReleases};
use super::report::PrivacyReport;
use super::signals;
use super::slots::{Lent, Slots};
use super::stream::{Stop, renamed, stoppable};
use super::told;
use super::versions::{Attempts, DataVersions};
use super::{Rows, Session};
use crate::audit::TablesRead;
use crate::catalog::row_cache::{PinnedRows, RowCache};
use crate::catalog::{GuardedTable, Table};
use crate::error::{Error, Result};
use crate::federation::run as federated;
use crate::federation::scan::Asker;
use crate::functions::{self, numeric};
use crate::pg_catalog;
use crate::pg_catalog::modifiers::Origin as ColumnOrigin;
use crate::release;
use crate::statement::{future_on_large_stack, refuse_ignored};
use crate::system;

/// A query planned for one principal at one moment.
pub(super) struct Planned {
    /// Analysed: types are coerced, nothing is optimised.
    pub plan: LogicalPlan,
    /// What it was planned in.
    pub context: Arc<PlanningContext>,
    /// The state of the statement.
    pub state: SessionState,
    /// Names of its columns as PostgreSQL would give them.
    pub names: Vec<String>,
    /// Which columns of tables its columns are.
    pub origins: Vec<Option<ColumnOrigin>>,
    /// Why it fails whatever it reads.
    pub fails: Option<Error>,
    /// What may happen with it, once that is known.
    pub decided: Option<Decision>,
    /// How far it is planned already.
    pub ready: Option<Ready>,
    /// Where it is kept, if it is.
    pub kept: KeptPlan,
}

impl Planned {
    /// The columns that clients see.
    pub fn schema(&self) -> SchemaRef {
        renamed(self.plan.schema().as_arrow(), &self.names, &self.origins)
    }
}

impl Session {
    /// Plans and analyses a query. With `parameters`, placeholders are replaced by them first.
    pub(super) async fn plan(&self, query: &ast::Query, parameters: Parameters) -> Result<(Planned, Vec<Parameter>)> {
        let context = self.planning_context()?;
        let mut state = context.state(self)?;
        let mut query = query.clone();
        let is_subplan = self.subplan;
        let exact = !is_subplan && self.setting("kanon.exact_numerics").as_deref() == Some("on");
        future_on_large_stack(async move {
            parameters.drop_void(&mut query);
            let placeholders = written_in(&query);
            parameters.in_series(&mut query);
            system::rewrite(&mut query);
            let names = pg_catalog::rewrite(&mut query, context.viewer(), parameters.told())?;
            told::cast(&mut query, parameters.told());
            refuse_ignored(&query, &state)?;
            let orders_within = orders_within(&query);
            let statement = DfStatement::Statement(Box::new(ast::Statement::Query(Box::new(query))));
            let again = orders_within.then(|| statement.clone());
            let mut plan = state.statement_to_plan(statement).await?;
            if let Some(statement) = again
                && !all_are_open(&plan)?
            {
                // The order of rows that are only aggregated means nothing, and may not be asked for.
                state.config_mut().options_mut().sql_parser.enable_subquery_sort_elimination = true;
                plan = state.statement_to_plan(statement).await?;
            }
            let (plan, types) = parameters.bind(plan, &placeholders)?;
            functions::lengths::bounded(&plan)?;
            // Before it is analysed: every cast that a function of ours needs is then there for the boundary to see.
            let is_open = all_are_open(&plan)?;
            if !is_open || is_subplan {
                signals::refuse(&plan)?;
            }
            let is_exact = exact && is_open && is_short(&plan)?;
            let plan = if is_exact { numeric::plan::exact(plan)? } else { numeric::plan::inexact(plan)? };
            let plan = if is_open { computed_below(functions::one_row::aggregated(plan)?)? } else { plan };
            let plan = functions::json::as_postgresql(plan)?;
            let plan = functions::arithmetic::as_postgresql(plan)?;
            // What a peer is asked for is of the types that it knows.
            let (plan, origins) = if is_subplan { (plan, Vec::new()) } else { pg_catalog::integers::narrowed(plan)? };
            let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
            let plan = pg_catalog::datetimes::read(plan)?;
            let plan = if is_open { plan } else { functions::constants::folded(plan, state.config_options())? };
            refuse_halted(&plan)?;
            // A peer has been asked for what there may be.
            let plan = if is_subplan { plan } else { without_what_is_empty(plan, &PlanFacts, state.config_options())? };
            let fails = if is_exact { constants::failure(&plan, &state)? } else { None };
            let kept = KeptPlan::default();
            Ok((Planned { plan, context, state, names, origins, fails, decided: None, ready: None, kept }, types))
        })
        .await?
    }

    pub(super) fn decide(&self, plan: LogicalPlan) -> Result<Decision> {
        refuse_halted(&plan)?;
        let options = Options { peer: self.subplan };
        Ok(boundary::decide(plan, &PlanFacts, &options)?)
    }

    /// Runs a planned query.
    pub(super) async fn run_query(
        self: &Arc<Self>,
        planned: Planned,
        intervals: &Intervals,
        stop: &Stop,
    ) -> Result<(Rows, Option<Arc<PrivacyReport>>)> {
        let schema = planned.schema();
        let Planned { plan, context, mut state, decided, ready, kept, fails, .. } = planned;
        if let Some(error) = fails {
            return Err(error);
        }
        let analysed = plan.clone();
        let decision = decided.map_or_else(|| self.decide(plan), Ok)?;
        stop.trail.reads(&analysed, &decision)?;
        self.still_answers(stop)?;
        // The next run of open data need not go the whole way again.
        let is_open = matches!(decision, Decision::Open(_));
        let is_protected = is_protected(&decision);
        if is_protected {
            stop.be_coarse();
        }
        let ready = ready.filter(|_| is_open);
        let keeps = is_open && ready.is_none();
        let (plan, schema, mut report) = match decision {
            Decision::Open(plan) => (plan, schema, None),
            Decision::Release { outer, units } => {
                // Before anything is charged: a plan that cannot be made costs nothing.
                let intervals = self.intervals(&outer, intervals);
                let shown = Shown::of(outer, &schema, &intervals)?;
                let released = self.release(&mut state, &units, &shown, stop).await;
                if let Some(tick) = self.node.config.release_tick.filter(|_| is_protected) {
                    stop.next_tick(tick).await?;
                }
                let (schema, report) = released?;
                (shown.plan, schema, Some(report))
            }
        };
        let asker =
            state.config().get_extension::<Asker>().ok_or_else(|| Error::internal("a query without a session"))?;
        // What releases asked for is behind us.
        let _ = asker.planned();
        let node = Arc::clone(&self.node);
        let (state, physical) = future_on_large_stack(async move {
            let (reads, pinned) = Reads::of(&plan, node.states.row_cache(), &mut state).await?;
            let optimised = match ready {
                Some(Ready::Optimised(plan)) => plan,
                _ => state.optimize(&plan)?,
            };
            let physical = state.query_planner().create_physical_plan(&optimised, &state).await?;
            let is_held = is_open && reads <= Reads::Memory && node.states.row_cache().may_be_held(&pinned);
            // What could only be optimised while its files had just been written may be kept as a whole later.
            if (keeps || is_held) && !is_for_one_run(&analysed) && has_small_constants(&optimised) {
                let ready = if is_held && !has_query(&analysed) {
                    let (plan, reads) = (Arc::clone(&physical), TablesRead::of(&analysed)?);
                    Ready::Physical(Arc::new(ToExecute { plan, pinned, slots: None, reads }))
                } else {
                    Ready::Optimised(optimised)
                };
                kept.keep_ready(&context, &analysed, Some(ready));
            }
            Ok::<_, Error>((state, physical))
        })
        .await??;
        let statuses = stop.guard(asker.begin()).await?;
        if !statuses.is_empty() {
            report.get_or_insert_default().add_rows(statuses);
        }
        let task = task_of(&state);
        self.node.states.give_back(state);
        let report = report.map(Arc::new);
        stop.trail.came_to(report.as_ref());
        Ok((self.execute_plan(physical, task, schema, stop, None)?, report))
    }

    /// Makes a plan to execute of one whose parameters are open, for the next runs of a statement, where it reads nothing but what is in memory.
    ///
    /// # Errors
    /// If it cannot be planned without values.
    pub(super) async fn make_executable(&self, open: &Planned, types: Vec<DataType>) -> Result<()> {
        let (analysed, context, kept) = (open.plan.clone(), Arc::clone(&open.context), open.kept.clone());
        kept.keep_ready(&context, &analysed, Some(Ready::Neither));
        let Decision::Open(plan) = self.decide(analysed.clone())? else { return Ok(()) };
        if is_for_one_run(&analysed) || has_query(&analysed) {
            return Ok(());
        }
        let (node, mut state) = (Arc::clone(&self.node), context.state(self)?);
        future_on_large_stack(async move {
            let (reads, pinned) = Reads::of(&plan, node.states.row_cache(), &mut state).await?;
            if reads <= Reads::Memory && !node.states.row_cache().may_be_held(&pinned) {
                // Later, perhaps.
                kept.keep_ready(&context, &analysed, None);
            } else if reads <= Reads::Memory {
                let optimised = state.optimize(&plan)?;
                let slots = Slots::of(types);
                let filled = slots.in_place_of_parameters(optimised)?;
                if has_small_constants(&filled) {
                    let plan = state.query_planner().create_physical_plan(&filled, &state).await?;
                    let ready = ToExecute { plan, pinned, slots: Some(slots), reads: TablesRead::of(&analysed)? };
                    kept.keep_ready(&context, &analysed, Some(Ready::Physical(Arc::new(ready))));
                }
            }
            node.states.give_back(state);
            Ok(())
        })
        .await?
    }

    /// Runs a plan that only has to be executed.
    pub(super) fn execute_plan(
        self: &Arc<Self>,
        plan: Arc<dyn ExecutionPlan>,
        task: Arc<TaskContext>,
        schema: SchemaRef,
        stop: &Stop,
        lent: Option<Lent>,
    ) -> Result<Rows> {
        let inner = execute_stream(plan, task)?;
        let session = Arc::downgrade(self);
        let stream = stoppable(inner, Arc::clone(&schema), stop, lent, move || {
            if let Some(session) = session.upgrade() {
                session.fail_transaction();
            }
        });
        Ok(Rows { schema, stream })
    }

    /// Releases every unit of a statement. All are finished before the outer plan starts.
    async fn release(
        self: &Arc<Self>,
        state: &mut SessionState,
        units: &[Arc<ReleaseUnit>],
        shown: &Shown,
        stop: &Stop,
    ) -> Result<(SchemaRef, PrivacyReport)> {
        let mut report = PrivacyReport::default();
        if units.len() > 1 {
            // What no site can be asked costs nothing at any: a site charges its part as soon as it is asked.
            for unit in units.iter().filter(|unit| unit.question.is_some()) {
                federated::subplans(self, state, &PlanFacts, unit)?;
            }
        }
        // Charged before any data is touched, all together.
        let mut private = stop.guard(self.charge(units)).await?;
        // The answer stands whether or not it can be said what is left, which is asked for meanwhile.
        let left = async { Ok(self.left(units).await.unwrap_or_default()) };
        let released = self.release_charged(state, units, shown, &mut private, &mut report, stop);
        let (noise, left) = future::try_join(released, stop.guard(left)).await?;
        report.add_left(self.node.site(), left);
        let of = |origin: Origin| noise.get(&origin.unit)?.get(origin.measure).cloned().flatten();
        Ok((shown.schema(of), report))
    }

    /// Releases units whose private ones are charged; the noise in the measures of each. The answers are then what `state` knows of them.
    async fn release_charged(
        self: &Arc<Self>,
        state: &mut SessionState,
        units: &[Arc<ReleaseUnit>],
        shown: &Shown,
        private: &mut PrivateReleases,
        report: &mut PrivacyReport,
        stop: &Stop,
    ) -> Result<BTreeMap<usize, NoiseOfMeasures>> {
        let mut batches = ReleasedBatches::default();
        let mut noise: BTreeMap<usize, NoiseOfMeasures> = BTreeMap::new();
        let of = |noise: &BTreeMap<usize, NoiseOfMeasures>, origin: Origin| {
            noise.get(&origin.unit)?.get(origin.measure).cloned().flatten()
        };
        for unit in private.first(units) {
            let released = match &unit.placement {
                Placement::Local if unit.question.is_some() => {
                    let charged = private
                        .here
                        .remove(&unit.id)
                        .ok_or_else(|| Error::internal("a private release without a charge"))?;
                    report.add_private(self.node.site(), unit, charged.cost.as_ref());
                    let (released, of_measures) =
                        stop.guard(self.release_private(state, unit, charged, &stop.trail)).await?;
                    noise.insert(unit.id, of_measures);
                    report.add_columns(self.node.site(), shown.columns_of(unit, |origin| of(&noise, origin)));
                    released
                }
                Placement::Local => {
                    let (catalog, mut attempts) = (&self.node.catalog, Attempts::default());
                    let released = loop {
                        let versions = stop.guard(DataVersions::of(catalog, unit)).await?;
                        let released = stop.guard(release::release(state, unit)).await;
                        if !unit.one_row_a_unit || stop.guard(versions.are_still_there(catalog, unit)).await? {
                            break released?;
                        }
                        attempts.again(unit)?;
                    };
                    report.add_local(self.node.site(), unit);
                    released
                }
                Placement::Sites { .. } => {
                    let asked = private.of_sites.get(&unit.id).copied();
                    let release = federated::release(self, state, &PlanFacts, unit, asked);
                    let (released, statuses) = stop.guard(release).await?;
                    report.add_sites(statuses, unit, asked);
                    released
                }
            };
            batches.insert(unit, released.batch())?;
            state.config_mut().set_extension(Arc::new(batches.clone()));
        }
        Ok(noise)
    }
}

/// Refuses a plan that reads what is suspended or closed.
fn refuse_halted(plan: &LogicalPlan) -> Result<()> {
    let mut halted = None;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
            && let Some(guarded) = provider.downcast_ref::<GuardedTable>()
        {
            halted = guarded.table().halted.map(|why| why.error(&guarded.table().facts.name));
        }
        Ok(if halted.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    halted.map_or(Ok(()), Err)
}

/// Whether protected data is released: how long that takes may depend on people.
pub(super) fn is_protected(decision: &Decision) -> bool {
    matches!(decision, Decision::Release { units, .. } if units.iter().any(|unit| unit.protection.is_some()))
}

/// Whether a query in a query has an order.
fn orders_within(query: &ast::Query) -> bool {
    struct Orders(usize);
    impl Visitor for Orders {
        type Break = ();
        fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
            self.0 += usize::from(query.order_by.is_some());
            ControlFlow::Continue(())
        }
    }
    let mut orders = Orders(0);
    let _ = query.visit(&mut orders);
    orders.0 > usize::from(query.order_by.is_some())
}

/// What a plan reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reads {
    /// Constants alone.
    Nothing,
    /// Few rows of tables, which are in memory.
    Memory,
    /// Series as well.
    Series,
    Tables,
}

/// As many rows of tables in memory are too few to divide: a batch.
const MOST_ROWS_IN_MEMORY: usize = 8_192;

impl Reads {
    /// Of an open plan that is to be planned in `state`: rows that are in memory are read from there, and what is too little to divide is not.
    async fn of(plan: &LogicalPlan, cache: &RowCache, state: &mut SessionState) -> Result<(Reads, PinnedRows)> {
        let mut reads = Reads::Nothing;
        let mut tables: BTreeMap<u32, Arc<Table>> = BTreeMap::new();
        plan.apply_with_subqueries(|node| {
            reads = reads.max(match node {
                LogicalPlan::TableScan(scan) => match source_as_provider(&scan.source) {
                    Ok(provider) if is_series(provider.as_ref()) => Reads::Series,
                    Ok(provider) => match provider.downcast_ref::<GuardedTable>() {
                        Some(guarded) => {
                            tables.insert(guarded.table().oid, Arc::clone(guarded.table()));
                            Reads::Memory
                        }
                        None => Reads::Tables,
                    },
                    Err(_) => Reads::Tables,
                },
                LogicalPlan::Extension(_) => Reads::Tables,
                _ => Reads::Nothing,
            });
            Ok(TreeNodeRecursion::Continue)
        })?;
        let pinned = PinnedRows::of(cache, &tables, state).await;
        if pinned.tables() < tables.len() || pinned.count() > MOST_ROWS_IN_MEMORY {
            reads = Reads::Tables;
        }
        if reads != Reads::Tables {
            // What counts up is read in order.
            state.config_mut().options_mut().execution.target_partitions = 1;
        }
        state.config_mut().set_extension(Arc::new(pinned.clone()));
        Ok((reads, pinned))
    }
}

/// Expressions of more parts are not looked at for their types: of each part that takes as long as the expression is.
const MOST_PARTS: usize = 200;

/// Whether the types of all expressions of a plan can be told in short time.
fn is_short(plan: &LogicalPlan) -> Result<bool> {
    let mut short = true;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            let mut parts = 0_usize;
            expr.apply(|_| {
                parts += 1;
                Ok(if parts > MOST_PARTS { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })?;
            short &= parts <= MOST_PARTS;
            Ok(if short { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
        })
    })?;
    Ok(short)
}

/// Whether all tables of a plan are open and this node's.
pub(super) fn all_are_open(plan: &LogicalPlan) -> Result<bool> {
    let mut open = true;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let facts = PlanFacts.of(scan);
            open &= facts.protection.is_none() && facts.closed.is_none() && facts.placement == Placement::Local;
        }
        Ok(if open { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(open)
}

/// An answer of one text column.
pub(super) fn text_rows(name: &str, lines: Vec<String>) -> Result<Rows> {
    text_table(&[name], vec![lines.into_iter().map(Some).collect()])
}

/// An answer of text columns, given column by column.
pub(super) fn text_table(names: &[&str], columns: Vec<Vec<Option<String>>>) -> Result<Rows> {
    let fields: Vec<Field> = names.iter().map(|n| Field::new(*n, DataType::Utf8, true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let arrays: Vec<ArrayRef> = columns.into_iter().map(|c| Arc::new(StringArray::from(c)) as ArrayRef).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).map_err(Error::internal)?;
    memory_rows(schema, vec![batch])
}

/// An answer that is in memory already.
pub(super) fn memory_rows(schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<Rows> {
    let stream = MemoryStream::try_new(batches, Arc::clone(&schema), None)?;
    Ok(Rows { stream: Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), stream)), schema })
}
