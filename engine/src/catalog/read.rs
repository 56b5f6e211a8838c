//! From a source to rows: what is shared by all kinds of sources.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;

use sha2::{Digest, Sha256};

use super::source::{Source, SourceKind};
use super::{files, sqlite};
use crate::error::{Error, Result, Sqlstate};

/// The state that sources are read in when they are registered or checked.
pub(super) fn state(runtime: Arc<RuntimeEnv>) -> SessionState {
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().execution.collect_statistics = false;
    SessionStateBuilder::new_with_default_features().with_config(config).with_runtime_env(runtime).build()
}

/// Reads rows of a source. No data is touched: what is wrong with the source is said when it is scanned.
///
/// `total`: a value that does not fit its column is NULL, and no error.
pub(super) fn provider(
    runtime: &RuntimeEnv,
    table: &str,
    source: &Source,
    schema: &SchemaRef,
    total: bool,
) -> Arc<dyn TableProvider> {
    let made = match source.kind {
        SourceKind::Sqlite => sqlite::provider(source, schema, total),
        _ => files::provider(runtime, source, schema),
    };
    made.unwrap_or_else(|error| {
        tracing::warn!(table, %error, "the source of a table cannot be read");
        Arc::new(Unreadable { schema: Arc::clone(schema) })
    })
}

/// Reads a source for the first time: finds its columns, or checks that it has the declared ones.
pub(super) async fn register(
    state: &SessionState,
    source: &mut Source,
    declared: Option<Schema>,
    data_root: Option<&Path>,
) -> Result<Schema> {
    match source.kind {
        SourceKind::Sqlite => sqlite::register(source, declared).await,
        _ => files::register(state, source, declared, data_root).await,
    }
}

/// Reads a source again after its steward said that it changed: it must still have its columns.
pub(super) async fn recheck(
    state: &SessionState,
    source: &mut Source,
    schema: &SchemaRef,
    data_root: Option<&Path>,
) -> Result<()> {
    register(state, source, Some(schema.as_ref().clone()), data_root).await.map(|_| ())
}

/// A text that changes when the data does: names, sizes, times and ETags of the files.
pub(super) async fn data_version(state: &SessionState, source: &Source) -> Result<String> {
    let parts = match source.kind {
        SourceKind::Sqlite => sqlite::data_version(source)?,
        _ => files::data_version(state, source).await?,
    };
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The types that tables have: one kind of text and one of bytes, no dictionaries. Readers cast to them.
pub(super) fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => DataType::Utf8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => plain_type(values),
        other => other.clone(),
    }
}

/// A schema with [`plain_type`]s, and nothing that a writer of files put beside them.
pub(super) fn plain_schema(schema: &Schema) -> Schema {
    Schema::new(
        schema
            .fields()
            .iter()
            .map(|field| Field::new(field.name(), plain_type(field.data_type()), true))
            .collect::<Vec<_>>(),
    )
}

/// Stands for a source that could not be opened when the catalog was loaded. It has the table's columns and no rows to give.
#[derive(Debug)]
struct Unreadable {
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for Unreadable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        Err(Error::new(Sqlstate::IoError, "the source of the table cannot be read").into())
    }
}
