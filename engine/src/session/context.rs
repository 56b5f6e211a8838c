//! The DataFusion state a statement is planned and run in: what the principal may see, and nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, SchemaProvider, Session as DataFusionSession, TableFunction, TableProvider,
};
use datafusion::datasource::{MemTable, source_as_provider};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::functions_aggregate::variance::var_samp_udaf;
use datafusion::functions_table::generate_series::GenerateSeriesTable;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, TableScan, UserDefinedLogicalNode};
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use datafusion::prelude::SessionConfig;
use kanon_planner::facts::{Facts, Placement, TableFacts};
use kanon_planner::private::accuracy::{SITES, companions};
use kanon_planner::release_unit::{ReleaseNode, ReleaseUnit};

use super::dependent::DependentJoins;
use super::marks::MarksForValues;
use super::not_in::DependentNotIn;
use super::null_keys::{JoinsApart, NoNullsAmongKeys};
use super::yielding::YieldAboveJoins;
use crate::catalog::guarded::GuardedTable;
use crate::catalog::{TEMPORARY_SCHEMAS, Table};
use crate::error::{Error, Result, Sqlstate};
use crate::functions::arithmetic::DateArithmetic;
use crate::functions::json::JsonOperators;
use crate::functions::numeric::plan::Extracts;
use crate::functions::series::{self, GenerateSeries, Series};
use crate::pg_catalog::Types;
use crate::statement::temporary::TEMPORARY_SCHEMA;

/// The one database of a node.
pub const DATABASE: &str = "kanon";
/// The schema of bare names where a session has temporary tables: those, and what `public` has.
pub const SEARCHED: &str = "search_path";

/// The settings of DataFusion that every statement runs under.
pub fn session_config(partitions: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(DATABASE, "public")
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(false)
        .with_target_partitions(partitions.max(1));
    let options = config.options_mut();
    // `x IS TRUE` is never NULL to the logical planner and may be to the physical one, and so is a cast that says what PostgreSQL calls its type:
    // grouped or made distinct it would be an internal error.
    options.execution.skip_physical_aggregate_schema_check = true;
    options.sql_parser.dialect = datafusion::config::Dialect::PostgreSQL;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.parse_float_as_decimal = true;
    // `SELECT * FROM (SELECT … ORDER BY x) s LIMIT 2` has the first of that order.
    options.sql_parser.enable_subquery_sort_elimination = false;
    options.execution.parquet.schema_force_view_types = false;
    options.execution.collect_statistics = false;
    // Its tables are as large as LIMIT says, before there is a row, and nothing counts that memory.
    options.optimizer.enable_topk_aggregation = false;
    config
}

/// Functions of DataFusion whose answers are as large as a number says. PostgreSQL has none of these names.
const OF_ANY_SIZE: [&str; 3] = ["array_repeat", "array_resize", "range"];

/// The node's base state: functions, rules and run-time, without any table.
pub fn base_state(runtime: Arc<RuntimeEnv>, partitions: usize) -> SessionState {
    let mut builder = SessionStateBuilder::new_with_default_features()
        .with_config(session_config(partitions))
        .with_runtime_env(runtime)
        .with_catalog_list(Arc::new(VisibleCatalogs::default()))
        .with_query_planner(Arc::new(ReleaseQueryPlanner))
        .with_type_planner(Arc::new(Types))
        .with_optimizer_rules(optimizer_rules())
        .with_physical_optimizer_rule(Arc::new(YieldAboveJoins));
    if let Some(functions) = builder.aggregate_functions() {
        functions.extend(kanon_planner::parts::part_aggregates());
        // PostgreSQL's name for it.
        functions.push(Arc::new(var_samp_udaf().as_ref().clone().with_aliases(["variance"])));
        functions.extend(crate::functions::aggregates());
    }
    if let Some(functions) = builder.scalar_functions() {
        functions.retain(|function| !OF_ANY_SIZE.contains(&function.name()));
        functions.push(kanon_planner::width_bucket::width_bucket());
        functions.extend(crate::functions::all());
        functions.extend(crate::pg_catalog::functions().map(Arc::new));
        functions.extend(crate::system::functions().map(Arc::new));
        functions.extend(super::signals::functions().map(Arc::new));
    }
    if let Some(functions) = builder.table_functions() {
        let series = TableFunction::new(series::NAME.to_owned(), Arc::new(GenerateSeries));
        functions.insert(series::NAME.to_owned(), Arc::new(series));
    }
    if let Some(planners) = builder.expr_planners() {
        planners.insert(0, Arc::new(DateArithmetic));
        planners.insert(0, Arc::new(Extracts));
        planners.insert(0, Arc::new(JsonOperators));
    }
    builder.build()
}

pub(super) fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    // Before a query's conditions are moved to where they cannot be joined by.
    let mut rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> =
        vec![Arc::new(DependentNotIn), Arc::new(DependentJoins), Arc::new(MarksForValues::default())];
    for rule in Optimizer::new().rules {
        match rule.name() {
            "extract_equijoin_predicate" => rules.push(Arc::new(NoNullsAmongKeys)),
            "eliminate_cross_join" => rules.push(Arc::new(JoinsApart)),
            _ => {}
        }
        rules.push(rule);
    }
    rules
}

/// Knows the tables of a plan by their providers. Whatever it does not know is closed.
pub struct PlanFacts;

impl Facts for PlanFacts {
    fn of(&self, scan: &TableScan) -> TableFacts {
        let name = scan.table_name.to_string();
        let provider = match source_as_provider(&scan.source) {
            Ok(provider) => provider,
            Err(_) => return closed(name),
        };
        if let Some(guarded) = provider.downcast_ref::<GuardedTable>() {
            return guarded.table().facts.clone();
        }
        if provider.downcast_ref::<SystemTable>().is_some()
            || crate::pg_catalog::is_system_table(provider.as_ref())
            || provider.downcast_ref::<MemTable>().is_some()
            || is_series(provider.as_ref())
        {
            return TableFacts {
                name,
                protection: None,
                private: None,
                domains: BTreeMap::new(),
                closed: None,
                roles: BTreeMap::new(),
                placement: Placement::Local,
            };
        }
        closed(name)
    }

    fn is_of_the_asker(&self, scan: &TableScan) -> bool {
        let provider = source_as_provider(&scan.source);
        provider.is_ok_and(|provider| {
            provider.downcast_ref::<GuardedTable>().is_some_and(|guarded| guarded.table().is_temporary())
        })
    }
}

/// Whether a table of a plan is a series of constants.
pub(super) fn is_series(table: &dyn TableProvider) -> bool {
    table.is::<Series>() || table.is::<GenerateSeriesTable>()
}

fn closed(name: String) -> TableFacts {
    TableFacts {
        name,
        protection: None,
        private: None,
        domains: BTreeMap::new(),
        closed: Some("is not known to the node's catalog".into()),
        roles: BTreeMap::new(),
        placement: Placement::Local,
    }
}

/// A relation of the node itself (schemas `kanon`, `pg_catalog`, `information_schema`): open, made for one principal.
#[derive(Debug)]
pub struct SystemTable(pub Arc<dyn TableProvider>);

#[async_trait]
impl TableProvider for SystemTable {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }
    fn table_type(&self) -> datafusion::datasource::TableType {
        self.0.table_type()
    }
    async fn scan(
        &self,
        state: &dyn DataFusionSession,
        projection: Option<&Vec<usize>>,
        filters: &[datafusion::logical_expr::Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.0.scan(state, projection, filters, limit).await
    }
    fn supports_filters_pushdown(
        &self,
        filters: &[&datafusion::logical_expr::Expr],
    ) -> DfResult<Vec<datafusion::logical_expr::TableProviderFilterPushDown>> {
        self.0.supports_filters_pushdown(filters)
    }
}

/// The tables of one schema.
#[derive(Debug, Default)]
pub struct VisibleSchema {
    tables: HashMap<String, Arc<dyn TableProvider>>,
    /// Tables that are listed and may not be read: a steward knows of those that nobody granted it.
    denied: BTreeSet<String>,
    /// Where a name is looked for that is not here: what follows in the search path.
    next: Option<Arc<VisibleSchema>>,
}

impl VisibleSchema {
    fn open(tables: HashMap<String, Arc<dyn TableProvider>>) -> VisibleSchema {
        VisibleSchema { tables, ..VisibleSchema::default() }
    }

    fn find(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if self.denied.contains(name) {
            return Err(Error::new(Sqlstate::InsufficientPrivilege, format!("permission denied for table {name}"))
                .hint("Seeing a table as its steward is not a right to its data: GRANT SELECT gives that."));
        }
        match self.tables.get(name) {
            Some(table) => Ok(Some(Arc::clone(table))),
            None => self.next.as_ref().map_or(Ok(None), |next| next.find(name)),
        }
    }
}

#[async_trait]
impl SchemaProvider for VisibleSchema {
    fn table_names(&self) -> Vec<String> {
        self.tables.keys().cloned().collect()
    }
    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>, DataFusionError> {
        Ok(self.find(name)?)
    }
    fn table_exist(&self, name: &str) -> bool {
        self.find(name).is_ok_and(|found| found.is_some())
    }
}

/// The one catalog and its schemas.
#[derive(Debug, Default)]
pub struct VisibleCatalogs {
    catalog: Arc<VisibleCatalog>,
}

#[derive(Debug, Default)]
struct VisibleCatalog {
    schemas: BTreeMap<String, Arc<dyn SchemaProvider>>,
}

impl CatalogProvider for VisibleCatalog {
    fn schema_names(&self) -> Vec<String> {
        self.schemas.keys().cloned().collect()
    }
    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        self.schemas.get(name).cloned()
    }
}

impl CatalogProviderList for VisibleCatalogs {
    fn register_catalog(&self, _name: String, _catalog: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }
    fn catalog_names(&self) -> Vec<String> {
        vec![DATABASE.to_owned()]
    }
    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == DATABASE).then(|| Arc::clone(&self.catalog) as Arc<dyn CatalogProvider>)
    }
}

/// The catalog of one principal: the tables it may see, what it may read of them, and the system schemas made for it.
///
/// # Errors
/// If a table cannot be put into plans: a bug.
pub fn visible_catalogs(
    tables: &[Arc<Table>],
    readable: impl Fn(&Arc<Table>) -> Option<Arc<Table>>,
    system: impl IntoIterator<Item = (String, Arc<dyn SchemaProvider>)>,
) -> Result<VisibleCatalogs> {
    let mut by_schema: BTreeMap<String, VisibleSchema> = BTreeMap::new();
    for table in tables {
        let schema = by_schema.entry(table.schema_name.clone()).or_default();
        match readable(table) {
            Some(readable) => {
                schema.tables.insert(table.name.clone(), readable.provider_in_plans()?);
            }
            None => {
                schema.denied.insert(table.name.clone());
            }
        }
    }
    let temporary: Vec<(String, VisibleSchema)> =
        by_schema.extract_if(.., |name, _| name.starts_with(TEMPORARY_SCHEMAS)).collect();
    let federation = Arc::new(by_schema.remove("federation").unwrap_or_default());
    let public =
        VisibleSchema { next: Some(Arc::clone(&federation)), ..by_schema.remove("public").unwrap_or_default() };
    let public = Arc::new(public);
    let mut schemas: BTreeMap<String, Arc<dyn SchemaProvider>> = BTreeMap::new();
    for (name, own) in temporary {
        let first = VisibleSchema { next: Some(Arc::clone(&public)), ..VisibleSchema::open(own.tables.clone()) };
        schemas.insert(SEARCHED.into(), Arc::new(first));
        let own = Arc::new(own);
        schemas.insert(TEMPORARY_SCHEMA.into(), Arc::clone(&own) as Arc<dyn SchemaProvider>);
        schemas.insert(name, own);
    }
    schemas.insert("public".into(), public);
    schemas.insert("federation".into(), federation);
    for (name, schema) in by_schema {
        schemas.insert(name, Arc::new(schema));
    }
    // Last, so that no peer's id can stand in front of a system schema.
    schemas.extend(system);
    Ok(VisibleCatalogs { catalog: Arc::new(VisibleCatalog { schemas }) })
}

/// A schema of relations of the node itself.
pub fn system_schema(tables: impl IntoIterator<Item = (String, Arc<dyn TableProvider>)>) -> Arc<dyn SchemaProvider> {
    let tables = tables
        .into_iter()
        .map(|(name, table)| (name, Arc::new(SystemTable(table)) as Arc<dyn TableProvider>))
        .collect();
    Arc::new(VisibleSchema::open(tables))
}

/// Released batches by release unit, read by the outer plan from memory.
#[derive(Debug, Default, Clone)]
pub struct ReleasedBatches(HashMap<usize, Answered>);

/// The answer of a unit.
#[derive(Debug, Clone)]
struct Answered {
    /// The columns of the unit's schema.
    columns: RecordBatch,
    /// The ends of its measures' intervals, measure by measure; none where they have none.
    ends: Vec<ArrayRef>,
}

impl ReleasedBatches {
    /// Stands for a unit that is not released, where only the plan is looked at.
    pub fn insert_nothing(&mut self, unit: &ReleaseUnit) {
        let columns = RecordBatch::new_empty(Arc::new(unit.schema.as_arrow().clone()));
        self.0.insert(unit.id, Answered { columns, ends: Vec::new() });
    }

    /// Adds the answer of a unit; its columns are brought to the types and names of the unit's schema.
    pub fn insert(&mut self, unit: &ReleaseUnit, batch: &RecordBatch) -> Result<()> {
        let schema: SchemaRef = Arc::new(unit.schema.as_arrow().clone());
        let with_ends = unit.question.is_some() && batch.num_columns() >= schema.fields().len();
        if !with_ends && batch.num_columns() != schema.fields().len() {
            return Err(Error::internal("a release does not have the columns of its unit"));
        }
        let mut columns = Vec::with_capacity(batch.num_columns());
        for (column, field) in batch.columns().iter().zip(schema.fields()) {
            columns.push(cast(column, field.data_type()).map_err(Error::internal)?);
        }
        let mut ends = Vec::new();
        if with_ends {
            for name in (0..unit.measures.len()).flat_map(companions).chain([SITES.to_owned()]) {
                // What was kept by an older version has none.
                let Some(column) = batch.column_by_name(&name) else { break };
                ends.push(Arc::clone(column));
            }
        }
        // Measures may be withheld, so every column may be NULL whatever the plan said of the aggregate.
        let fields: Vec<_> = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = RecordBatch::try_new_with_options(schema, columns, &options).map_err(Error::internal)?;
        self.0.insert(unit.id, Answered { columns, ends });
        Ok(())
    }

    /// The rows that a leaf stands for.
    fn of(&self, leaf: &ReleaseNode) -> Result<Option<RecordBatch>> {
        let Some(answered) = self.0.get(&leaf.unit.id) else { return Ok(None) };
        let Some(schema) = &leaf.with_intervals else { return Ok(Some(answered.columns.clone())) };
        let schema: SchemaRef = Arc::new(schema.as_arrow().clone());
        let rows = answered.columns.num_rows();
        let mut columns = answered.columns.columns().to_vec();
        for (place, field) in schema.fields().iter().skip(columns.len()).enumerate() {
            columns.push(match answered.ends.get(place) {
                Some(end) => cast(end, field.data_type()).map_err(Error::internal)?,
                None => new_null_array(field.data_type(), rows),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema, columns, &options).map(Some).map_err(Error::internal)
    }
}

/// Plans [`ReleaseNode`] leaves as memory scans of what was released: of the state's [`ReleasedBatches`].
#[derive(Debug)]
struct ReleaseQueryPlanner;

#[async_trait]
impl QueryPlanner for ReleaseQueryPlanner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn DataFusionSession,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let released = session.config().get_extension::<ReleasedBatches>().unwrap_or_default();
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(ReleaseLeafPlanner(released))]);
        planner.create_physical_plan(plan, session).await
    }
}

struct ReleaseLeafPlanner(Arc<ReleasedBatches>);

#[async_trait]
impl ExtensionPlanner for ReleaseLeafPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        _physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn DataFusionSession,
        _planning_ctx: &PhysicalPlanningContext,
    ) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
        let Some(leaf) = node.as_any().downcast_ref::<ReleaseNode>() else {
            return Ok(None);
        };
        match self.0.of(leaf)? {
            Some(batch) => {
                let schema = batch.schema();
                let exec = MemorySourceConfig::try_new_exec(&[vec![batch]], schema, None)?;
                Ok(Some(exec))
            }
            None => {
                Err(DataFusionError::from(Error::internal("a release unit was not released before its outer plan")))
            }
        }
    }
}
