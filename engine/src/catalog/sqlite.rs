//! Tables of SQLite databases, read through a pool of their own: read-only, in batches, no more in memory than two of them.
//!
//! SQLite has types of values, not of columns. A value that is not of its column's declared type is NULL in a protected table, so
//! that reading it can tell nothing by failing, and an error in an open one. When a table is registered every value must fit.

mod columns;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::TryStreamExt;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Row, SqlitePool};

use super::MAX_COLUMNS;
use super::source::{Source, plain_io};
use crate::error::{Error, Result, Sqlstate};
use crate::nearest::did_you_mean;
use columns::{Reader, declared_type};

const BATCH_ROWS: usize = 8192;
/// Batches that wait for the query.
const WAITING_BATCHES: usize = 2;

/// Reads rows of a table; nothing is opened before the first scan.
pub(super) fn provider(source: &Source, schema: &SchemaRef, total: bool) -> Result<Arc<dyn TableProvider>> {
    let (pool, table) = open(source)?;
    Ok(Arc::new(SqliteTable { pool, table, schema: Arc::clone(schema), total }))
}

/// Finds the table and its columns, or checks that it has the declared ones, and reads every value once.
pub(super) async fn register(source: &mut Source, declared: Option<Schema>) -> Result<Schema> {
    if let Some(path) = source.local_path() {
        check_file(&path)?;
    }
    let (pool, table) = open(source)?;
    let cannot = |error: sqlx::Error| {
        Error::new(Sqlstate::IoError, format!("cannot read \"{}\" as SQLite", source.location)).detail(reason(&error))
    };
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')")
        .fetch_all(&pool)
        .await
        .map_err(cannot)?;
    if !names.contains(&table) {
        let error = Error::new(Sqlstate::UndefinedTable, format!("\"{}\" has no table \"{table}\"", source.location));
        return Err(match names.as_slice() {
            [] => error.hint("The database has no tables."),
            _ => {
                let error = did_you_mean(error, &table, names.iter().map(String::as_str));
                let hint = error.hint.clone().unwrap_or_default();
                error.hint(format!("{hint} Name it: OPTIONS ('table' '…').").trim())
            }
        });
    }
    let rows = sqlx::query("SELECT name, type FROM pragma_table_info(?)")
        .bind(&table)
        .fetch_all(&pool)
        .await
        .map_err(cannot)?;
    if rows.len() > MAX_COLUMNS {
        return Err(Error::new(
            Sqlstate::TooManyColumns,
            format!("tables can have at most {MAX_COLUMNS} columns, and \"{table}\" has {}", rows.len()),
        ));
    }
    let found: Vec<Field> = rows
        .iter()
        .map(|row| {
            let (name, declared): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            Ok(Field::new(name, declared_type(&declared), true))
        })
        .collect::<Result<_, sqlx::Error>>()
        .map_err(cannot)?;
    let found = Schema::new(found);
    let schema = match declared {
        None => found,
        Some(declared) => {
            for field in declared.fields() {
                if found.field_with_name(field.name()).is_err() {
                    return Err(super::policy::undefined_column(field.name(), &table, &found));
                }
            }
            super::read::plain_schema(&declared)
        }
    };
    check_values(&pool, &table, &schema, source).await?;
    pool.close().await;
    Ok(schema)
}

/// Every value must be one of its column's type.
async fn check_values(pool: &SqlitePool, table: &str, schema: &Schema, source: &Source) -> Result<()> {
    let scan = Scan::new(table, schema, false, None)?;
    let mut rows = sqlx::query(AssertSqlSafe(scan.sql.clone())).fetch(pool);
    let mut readers = scan.readers.clone();
    loop {
        let next = rows.try_next().await.map_err(|error| {
            Error::new(Sqlstate::IoError, format!("cannot read \"{}\" as SQLite", source.location))
                .detail(reason(&error))
        })?;
        let Some(row) = next else { return Ok(()) };
        for (position, reader) in readers.iter_mut().enumerate() {
            let fits = reader.push(&row, position).map_err(Error::internal)?;
            if !fits || misfits(&row, schema.fields().len(), position) {
                let name = schema.fields().get(position).map(|field| field.name().as_str()).unwrap_or_default();
                return Err(Error::new(
                    Sqlstate::DatatypeMismatch,
                    format!(
                        "column \"{name}\" of \"{table}\" holds values that are not of its type {}",
                        reader.data_type()
                    ),
                )
                .hint("Correct them, or declare the column as text in CREATE EXTERNAL TABLE."));
            }
            reader.forget_if_longer_than(BATCH_ROWS);
        }
    }
}

/// The list of misfits of a row, which a strict scan adds as its last column: one digit a column.
fn misfits(row: &sqlx::sqlite::SqliteRow, at: usize, column: usize) -> bool {
    let flags: String = row.try_get_unchecked(at).unwrap_or_default();
    flags.as_bytes().get(column) != Some(&b'0')
}

fn open(source: &Source) -> Result<(SqlitePool, String)> {
    let path = source.local_path().ok_or_else(|| Error::internal("a SQLite source without a path"))?;
    let table = source.table.clone().ok_or_else(|| Error::internal("a SQLite source without a table"))?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .create_if_missing(false)
        .busy_timeout(Duration::from_secs(5))
        .statement_cache_capacity(16);
    let pool = SqlitePoolOptions::new()
        .max_connections(4)
        .min_connections(0)
        .idle_timeout(Duration::from_secs(60))
        .acquire_timeout(Duration::from_secs(30))
        .connect_lazy_with(options);
    Ok((pool, table))
}

/// Size and time of the database and of its log.
pub(super) fn data_version(source: &Source) -> Result<Vec<String>> {
    let path = source.local_path().ok_or_else(|| Error::internal("a SQLite source without a path"))?;
    check_file(&path)?;
    let mut log = path.clone().into_os_string();
    log.push("-wal");
    let state = |path: &Path| {
        let file = std::fs::metadata(path).ok()?;
        let time = file.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some(format!("{} {}", file.len(), time.as_nanos()))
    };
    Ok([state(&path), state(Path::new(&log))].into_iter().map(Option::unwrap_or_default).collect())
}

fn check_file(path: &Path) -> Result<()> {
    let cannot = |why: String| Error::new(Sqlstate::IoError, format!("cannot open \"{}\": {why}", path.display()));
    let file = std::fs::metadata(path).map_err(|error| cannot(plain_io(&error)))?;
    if !file.is_file() {
        return Err(cannot("it is not a file".to_owned()));
    }
    if file.len() == 0 {
        return Err(cannot("it is empty".to_owned()));
    }
    Ok(())
}

fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(inner) => inner.message().to_owned(),
        other => other.to_string(),
    }
}

/// A table of a SQLite database.
#[derive(Debug)]
struct SqliteTable {
    pool: SqlitePool,
    table: String,
    schema: SchemaRef,
    total: bool,
}

#[async_trait]
impl TableProvider for SqliteTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        let scan = Scan::new(&self.table, &schema, self.total, limit)?;
        let part = Part { pool: self.pool.clone(), schema: Arc::clone(&schema), scan, total: self.total };
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(part)], None, None, false, limit)?))
    }
}

/// What is asked of SQLite, and who takes the columns of the answer.
#[derive(Debug, Clone)]
struct Scan {
    sql: String,
    readers: Vec<Reader>,
}

impl Scan {
    fn new(table: &str, schema: &Schema, total: bool, limit: Option<usize>) -> Result<Scan> {
        let readers: Vec<Reader> =
            schema.fields().iter().map(|field| Reader::new(field.data_type())).collect::<Result<_>>()?;
        let mut columns: Vec<String> = schema
            .fields()
            .iter()
            .zip(&readers)
            .map(|(field, reader)| reader.expression(&quote(field.name())))
            .collect();
        if !total {
            // One digit a column: 1 where there is a value, and none of the column's type.
            let flags: Vec<String> = schema
                .fields()
                .iter()
                .zip(&columns)
                .map(|(field, expression)| {
                    format!("CAST(({} IS NOT NULL AND ({expression}) IS NULL) AS TEXT)", quote(field.name()))
                })
                .collect();
            columns.push(if flags.is_empty() { "''".to_owned() } else { flags.join(" || ") });
        }
        if columns.is_empty() {
            columns.push("0".to_owned());
        }
        let limit = limit.map(|rows| format!(" LIMIT {rows}")).unwrap_or_default();
        Ok(Scan { sql: format!("SELECT {} FROM {}{limit}", columns.join(", "), quote(table)), readers })
    }
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[derive(Debug)]
struct Part {
    pool: SqlitePool,
    schema: SchemaRef,
    scan: Scan,
    total: bool,
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStream::builder(Arc::clone(&self.schema), WAITING_BATCHES);
        let send = stream.tx();
        let (pool, schema, scan, total) = (self.pool.clone(), Arc::clone(&self.schema), self.scan.clone(), self.total);
        // Dropping the stream ends the task, and with it the statement.
        stream.spawn(async move {
            let Scan { sql, mut readers } = scan;
            let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(&pool);
            let mut count = 0;
            while let Some(row) = rows.try_next().await.map_err(failed)? {
                for (position, reader) in readers.iter_mut().enumerate() {
                    let fits = reader.push(&row, position).map_err(failed)?;
                    if !total && (!fits || misfits(&row, schema.fields().len(), position)) {
                        return Err(misfit());
                    }
                }
                count += 1;
                if count == BATCH_ROWS {
                    if send.send(Ok(batch(&schema, &mut readers, count)?)).await.is_err() {
                        return Ok(());
                    }
                    count = 0;
                }
            }
            if count > 0 {
                let last = batch(&schema, &mut readers, count)?;
                // Nobody listens any more: the query was stopped.
                let _ = send.send(Ok(last)).await;
            }
            Ok(())
        });
        stream.build()
    }
}

fn batch(schema: &SchemaRef, readers: &mut [Reader], rows: usize) -> DfResult<RecordBatch> {
    let columns = readers.iter_mut().map(Reader::finish).collect::<Result<_, _>>()?;
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &RecordBatchOptions::new().with_row_count(Some(rows)),
    )?)
}

fn failed(error: sqlx::Error) -> DataFusionError {
    tracing::warn!(error = %reason(&error), "a SQLite source failed");
    Error::new(Sqlstate::IoError, "the SQLite database of the table could not be read").into()
}

fn misfit() -> DataFusionError {
    Error::new(
        Sqlstate::DatatypeMismatch,
        "the SQLite database of the table holds a value that is not of its column's type",
    )
    .into()
}
