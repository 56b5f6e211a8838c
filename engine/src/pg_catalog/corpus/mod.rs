//! What psql 15, SQLAlchemy 2, psycopg and dashboards ask, recorded, with what PostgreSQL 15 answered on the tables of
//! `schema.sql`. Every statement must plan and run here, with the same columns and, where both can know, the same rows.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider, SchemaProvider,
};
use datafusion::common::ParamValues;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::types::PgType;
use super::{Types, View, display_name, functions, rewrite, testing};

struct Answered {
    columns: Vec<(String, PgType)>,
    rows: Vec<String>,
}

fn context() -> SessionContext {
    context_of(&testing::viewer())
}

fn context_of(viewer: &super::Viewer) -> SessionContext {
    let view = View::of(viewer.clone());
    let mut config = SessionConfig::new().with_default_catalog_and_schema("kanon", "public");
    view.put_into(config.options_mut());
    config.options_mut().execution.skip_physical_aggregate_schema_check = true;
    let state = SessionStateBuilder::new_with_default_features().with_config(config).with_type_planner(Arc::new(Types));
    let context = SessionContext::new_with_state(state.build());
    let catalog = MemoryCatalogProvider::new();
    for table in &viewer.visible {
        let schema = catalog.schema(&table.schema_name).unwrap_or_else(|| {
            let schema = Arc::new(MemorySchemaProvider::new());
            catalog.register_schema(&table.schema_name, schema.clone()).unwrap();
            schema
        });
        schema.register_table(table.name.clone(), Arc::clone(&table.provider)).unwrap();
    }
    for (name, schema) in view.schemas() {
        catalog.register_schema(&name, Arc::new(Wrapped(schema))).unwrap();
    }
    let list = MemoryCatalogProviderList::new();
    datafusion::catalog::CatalogProviderList::register_catalog(&list, "kanon".to_owned(), Arc::new(catalog));
    context.register_catalog_list(Arc::new(list));
    functions().for_each(|function| context.register_udf(function));
    crate::functions::all().for_each(|function| context.register_udf(function.as_ref().clone()));
    context
}

/// A schema as the memory catalog takes it.
#[derive(Debug)]
struct Wrapped(Arc<dyn SchemaProvider>);

#[async_trait::async_trait]
impl SchemaProvider for Wrapped {
    fn table_names(&self) -> Vec<String> {
        self.0.table_names()
    }
    async fn table(
        &self,
        name: &str,
    ) -> datafusion::error::Result<Option<Arc<dyn datafusion::catalog::TableProvider>>> {
        self.0.table(name).await
    }
    fn table_exist(&self, name: &str) -> bool {
        self.0.table_exist(name)
    }
}

async fn answer(context: &SessionContext, sql: &str, parameters: &[String]) -> Result<Answered, String> {
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).map_err(|e| format!("parse: {e}"))?;
    let Some(Statement::Query(mut query)) = statements.pop() else { return Err("not a query".to_owned()) };
    let names = rewrite(&mut query, &testing::viewer(), &[]).map_err(|e| format!("rewrite: {e}"))?;
    let text = query.to_string();
    let fail = |what: &str, e: datafusion::error::DataFusionError| format!("{what}: {e}\n    {text}");
    let state = context.state();
    let statement = DfStatement::Statement(Box::new(Statement::Query(query)));
    let mut plan = state.statement_to_plan(statement).await.map_err(|e| fail("plan", e))?;
    if !parameters.is_empty() {
        let types = plan.get_parameter_types().map_err(|e| fail("parameters", e))?;
        let values: Vec<ScalarValue> = parameters
            .iter()
            .enumerate()
            .map(|(i, text)| {
                let data_type = types.get(&format!("${}", i + 1)).cloned().flatten().unwrap_or(DataType::Utf8);
                let text = if data_type == DataType::Boolean { (text == "t").to_string() } else { text.clone() };
                ScalarValue::try_from_string(text, &data_type).unwrap()
            })
            .collect();
        plan = plan.replace_params_with_values(&ParamValues::from(values)).map_err(|e| fail("bind", e))?;
    }
    let frame = context.execute_logical_plan(plan).await.map_err(|e| fail("execute", e))?;
    let schema: Schema = frame.schema().as_arrow().clone();
    let batches = frame.collect().await.map_err(|e| fail("run", e))?;
    let columns = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(i, field)| {
            let name = names.get(i).map_or_else(|| display_name(field.name()).to_owned(), Clone::clone);
            (name, PgType::of_field(field))
        })
        .collect();
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let values: Vec<String> = batch.columns().iter().map(|column| shown(column, row)).collect();
            rows.push(values.join("\t"));
        }
    }
    Ok(Answered { columns, rows })
}

/// A value as PostgreSQL's text format has it, on one line.
fn shown(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) || *column.data_type() == DataType::Null {
        return "\\N".to_owned();
    }
    match column.data_type() {
        DataType::Boolean => if column.as_boolean().value(row) { "t" } else { "f" }.to_owned(),
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            let items: Vec<String> = (0..items.len()).map(|i| shown(&items, i)).collect();
            format!("{{{}}}", items.join(","))
        }
        _ => {
            let text = cast(column, &DataType::Utf8).unwrap();
            let text = text.as_string::<i32>().value(row);
            text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t")
        }
    }
}

/// Whether a client reads both types alike.
fn alike(ours: PgType, theirs: &str) -> bool {
    let family = |name: &str| -> String {
        match name {
            "name" | "text" | "varchar" | "char" | "bpchar" | "unknown" | "regclass" | "regtype" | "regproc"
            | "regnamespace" | "json" | "pg_node_tree" | "inet" | "oidvector" => "text",
            "int2" | "int4" | "int8" | "oid" | "xid" | "float4" | "float8" | "numeric" => "number",
            "_name" | "_text" | "_varchar" | "_aclitem" | "_char" => "_text",
            "_oid" | "_int8" | "_int4" | "_int2" => "_number",
            other => other,
        }
        .to_owned()
    };
    family(ours.name) == family(theirs)
}

fn entries(text: &str) -> Vec<(&str, &str)> {
    text.split("--- ").filter(|part| !part.is_empty()).filter_map(|part| part.split_once('\n')).collect()
}

async fn check(statements: &str, golden: &str) {
    let context = context();
    let golden = entries(golden);
    let mut failures = Vec::new();
    let statements = entries(statements);
    let only = std::env::var("KANON_CORPUS").ok();
    for (number, (head, sql)) in statements.iter().enumerate() {
        if only.as_deref().is_some_and(|only| !head.contains(only)) {
            continue;
        }
        let parts: Vec<&str> = head.split(" | ").collect();
        let parameters: Vec<String> = serde_json::from_str(parts[2]).unwrap();
        let (name, expected) = golden[number];
        assert_eq!(parts[0], name);
        let mut expected = expected.lines();
        let columns: Vec<(&str, &str)> =
            expected.next().unwrap_or_default().split('\t').filter_map(|c| c.rsplit_once(':')).collect();
        match answer(&context, sql, &parameters).await {
            Err(error) => failures.push(format!("{name}: {error}")),
            Ok(answered) => {
                let ours: Vec<&str> = answered.columns.iter().map(|(n, _)| n.as_str()).collect();
                let theirs: Vec<&str> = columns.iter().map(|(n, _)| *n).collect();
                if ours != theirs {
                    failures.push(format!("{name}: columns {ours:?}, not {theirs:?}"));
                }
                for ((column, ours), (_, theirs)) in answered.columns.iter().zip(&columns) {
                    if !alike(*ours, theirs) {
                        failures.push(format!("{name}: column {column} is {}, not {theirs}", ours.name));
                    }
                }
                let rows: Vec<&str> = expected.collect();
                if parts[1] == "rows" && rows != answered.rows {
                    failures.push(format!(
                        "{name}: rows\n    {}\n  not\n    {}",
                        answered.rows.join("\n    "),
                        rows.join("\n    ")
                    ));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} of {} statements\n{}", failures.len(), statements.len(), failures.join("\n"));
}

#[tokio::test]
async fn psql_finds_what_it_asks_for() {
    check(include_str!("psql.sql"), include_str!("psql.golden")).await;
}

#[tokio::test]
async fn drivers_find_what_they_ask_for() {
    check(include_str!("drivers.sql"), include_str!("drivers.golden")).await;
}

#[tokio::test]
async fn a_wrong_answer_is_noticed() {
    let context = context();
    let answered = answer(&context, "SELECT relname, oid FROM pg_class WHERE relname = 'patients'", &[]).await.unwrap();
    assert_eq!(answered.rows, ["patients\t16389"]);
    assert_eq!(answered.columns[1].1, PgType::OID);
    assert!(answer(&context, "SELECT 'nosuch'::regclass", &[]).await.is_err());
}

#[tokio::test]
async fn views_of_the_node_are_listed() {
    let mut viewer = testing::viewer();
    viewer.views = vec![("nodes".to_owned(), Arc::new(Schema::empty()))];
    let directory = super::directory::Directory::new(Arc::new(viewer));
    let entry = directory.find(Some("kanon"), "nodes").unwrap();
    assert_eq!((entry.kind, directory.display(entry).as_str()), ("v", "kanon.nodes"));
}

/// `\\d table` among 10,000 tables: looked up by name and number, never compared with each other.
#[tokio::test]
async fn ten_thousand_tables() {
    let mut viewer = testing::viewer();
    let table = Arc::clone(&viewer.visible[0]);
    for i in 0..10_000_u32 {
        let mut copy = table.as_ref().clone();
        copy.oid = 20_000 + i;
        copy.name = format!("t{i}");
        viewer.visible.push(Arc::new(copy));
    }
    let statements = entries(include_str!("psql.sql"));
    for (head, sql) in statements.iter().filter(|(head, _)| head.contains("\\d patients")) {
        let started = std::time::Instant::now();
        let context = context_of(&viewer);
        answer(&context, sql, &[]).await.unwrap();
        let took = started.elapsed();
        println!("{head}: {took:?}");
        assert!(took < std::time::Duration::from_secs(30), "{head}: {took:?}");
    }
}
