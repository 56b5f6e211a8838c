//! Split, run each text on one part, merge: without nodes, so that many queries are cheap.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use async_trait::async_trait;
use datafusion::arrow::datatypes::Schema;
use datafusion::catalog::memory::{MemTable, MemorySourceConfig};
use datafusion::catalog::{MemorySchemaProvider, Session};
use datafusion::config::Dialect;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::SessionState;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, TableScan, UserDefinedLogicalNode};
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use datafusion::prelude::{SessionConfig, SessionContext};
use kanon_planner::boundary::{Options, decide};
use kanon_planner::facts::{Facts, Placement, SiteId, TableFacts};
use kanon_planner::merge::merge;
use kanon_planner::parts::part_aggregates;
use kanon_planner::release_unit::{Decision, ReleaseNode, ReleaseUnit};
use kanon_planner::split::split;

use crate::compare::{cells, difference};
use crate::data::{SITES, heart, union, visits, wards};
use crate::queries::query;

/// `heart` and `visits` of schema `federation` are at the four sites; all else is here.
struct World;

impl Facts for World {
    fn of(&self, scan: &TableScan) -> TableFacts {
        let name = scan.table_name.table();
        let placement = match scan.table_name.schema() {
            Some("federation") => Placement::Sites {
                sites: SITES.iter().map(|site| SiteId::new(*site)).collect(),
                table: format!("public.{name}"),
                site_column: true,
            },
            _ => Placement::Local,
        };
        TableFacts {
            name: name.to_owned(),
            protection: None,
            private: None,
            domains: BTreeMap::new(),
            closed: None,
            roles: BTreeMap::new(),
            placement,
        }
    }
}

fn context() -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().sql_parser.dialect = Dialect::PostgreSQL;
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    let context = SessionContext::new_with_config(config);
    for part in part_aggregates() {
        context.register_udaf(part.as_ref().clone());
    }
    context
}

fn table(batch: RecordBatch) -> Arc<MemTable> {
    Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap())
}

/// One query engine over everything.
pub fn whole() -> SessionContext {
    let context = context();
    let schema = Arc::new(MemorySchemaProvider::new());
    context.catalog("datafusion").unwrap().register_schema("federation", schema).unwrap();
    for (name, (schema, parts)) in [("heart", union(heart)), ("visits", union(visits))] {
        let all = concat_batches(&schema, &parts).unwrap();
        context.register_table(format!("federation.{name}"), table(all)).unwrap();
    }
    context.register_table("wards", table(wards())).unwrap();
    context
}

/// What a site has.
fn part(site: usize) -> SessionContext {
    let context = context();
    context.register_table("heart", table(heart(site))).unwrap();
    context.register_table("visits", table(visits(site))).unwrap();
    context
}

/// Gives the merged answers to the leaves that stand for them.
#[derive(Debug, Clone, Default)]
struct Answers(HashMap<usize, RecordBatch>);

#[async_trait]
impl QueryPlanner for Answers {
    async fn create_physical_plan(&self, plan: &LogicalPlan, s: &dyn Session) -> DfResult<Arc<dyn ExecutionPlan>> {
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(self.clone())])
            .create_physical_plan(plan, s)
            .await
    }
}

#[async_trait]
impl ExtensionPlanner for Answers {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _inputs: &[&LogicalPlan],
        _physical: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
        let leaf = node.as_any().downcast_ref::<ReleaseNode>().unwrap();
        let batch = self.0[&leaf.unit.id].clone();
        Ok(Some(MemorySourceConfig::try_new_exec(&[vec![batch.clone()]], batch.schema(), None)?))
    }
}

async fn run(state: &SessionState, plan: &LogicalPlan) -> DfResult<Vec<RecordBatch>> {
    collect(state.create_physical_plan(plan).await?, state.task_ctx()).await
}

/// The merged answer of the sites; `None` if it cannot be split.
async fn split_and_merged(unit: &ReleaseUnit, state: &SessionState, parts: &[SessionContext]) -> Option<RecordBatch> {
    let sites: Vec<SiteId> = SITES.iter().map(|site| SiteId::new(*site)).collect();
    let split = split(unit, &sites, &World, state).ok()?;
    let mut answers = Vec::new();
    for subplan in split.subplans {
        let at = SITES.iter().position(|site| *site == subplan.site.as_str()).unwrap();
        let asked = parts[at].sql(&subplan.sql).await.unwrap_or_else(|e| panic!("{}: {e}", subplan.sql));
        let batches = asked.collect().await.unwrap_or_else(|e| panic!("{}: {e}", subplan.sql));
        let fitted: Vec<RecordBatch> = batches.iter().map(|batch| fitted(batch, &subplan.schema)).collect();
        answers.push((subplan.site, concat_batches(&subplan.schema, &fitted).unwrap()));
    }
    let merged = merge(unit, &split.layout, answers).unwrap_or_else(|e| panic!("{e}: {unit:?}"));
    let types = |schema: &Schema| schema.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>();
    assert_eq!(types(&merged.schema()), types(unit.schema.as_arrow()), "what the outer plan was promised");
    Some(merged)
}

fn fitted(batch: &RecordBatch, schema: &Arc<Schema>) -> RecordBatch {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| arrow::compute::cast(column, field.data_type()).unwrap())
        .collect();
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).unwrap()
}

/// What came of the units of a query: split and merged, or computed from rows.
#[derive(Default)]
struct Counts {
    merged: usize,
    from_rows: usize,
}

async fn federated(
    sql: &str,
    context: &SessionContext,
    parts: &[SessionContext],
    counts: &mut Counts,
) -> DfResult<Vec<RecordBatch>> {
    let state = context.state();
    let plan = state.create_logical_plan(sql).await?;
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
    let decision = decide(plan, &World, &Options::default()).map_err(|r| DataFusionError::Plan(r.message))?;
    let (outer, units) = match decision {
        Decision::Open(plan) => (plan, vec![]),
        Decision::Release { outer, units } => (outer, units),
    };
    let mut answers = Answers::default();
    for unit in units {
        let answer = match split_and_merged(&unit, &state, parts).await {
            Some(merged) => {
                counts.merged += 1;
                merged
            }
            None => {
                counts.from_rows += 1;
                let rows = run(&state, &unit.source).await?;
                let plan_schema = Arc::new(unit.source.schema().as_arrow().clone());
                let rows: Vec<RecordBatch> = rows.iter().map(|batch| fitted(batch, &plan_schema)).collect();
                concat_batches(&plan_schema, &rows).unwrap()
            }
        };
        answers.0.insert(unit.id, answer);
    }
    let state = SessionStateBuilder::new_from_existing(state).with_query_planner(Arc::new(answers)).build();
    run(&state, &outer).await
}

#[tokio::test]
async fn generated_aggregates_give_what_one_engine_gives() {
    const QUERIES: u64 = 500;
    let context = whole();
    let parts: Vec<SessionContext> = (0..SITES.len()).map(part).collect();
    let mut counts = Counts::default();
    let (mut rows, mut failed) = (0, Vec::new());
    for number in 0..QUERIES {
        let query = query(number);
        let sql = query.sql.replace("{t}", "federation.");
        let expected = context.sql(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        let expected = expected.collect().await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        let expected = cells(&expected);
        rows += expected.len();
        match federated(&sql, &context, &parts, &mut counts).await {
            Ok(got) => {
                if let Some(difference) = difference(&expected, &cells(&got), query.ordered) {
                    failed.push(format!("#{number} {sql}\n{difference}"));
                }
            }
            Err(error) => failed.push(format!("#{number} {sql}\n{error}")),
        }
    }
    let many = failed.len();
    assert!(failed.is_empty(), "{many} of {QUERIES} differ\n{}", failed[..many.min(12)].join("\n\n"));
    // The test would show nothing if most answers were empty, or came from rows.
    assert!(rows > 1_500, "{rows} rows");
    assert!(counts.merged > 200, "{} merged, {} from rows", counts.merged, counts.from_rows);
    println!("{} units merged, {} computed from rows, {rows} rows compared", counts.merged, counts.from_rows);
}
