//! Tables, policies and grants in the store. What they mean is the catalog's affair; here they are rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::{Row, Sqlite, Transaction};

use super::grants::Grants;
use super::{Excluded, Lost, Store, Suspension, failed, now};
use crate::catalog::{ColumnSettings, Policy, Source};
use crate::error::{Error, Result, Sqlstate};
use crate::ledger::Budget;

/// A table registered here, as the store has it.
#[derive(Debug, Clone)]
pub(crate) struct TableRecord {
    pub(crate) oid: u32,
    pub(crate) name: String,
    pub(crate) source: Source,
    pub(crate) schema: SchemaRef,
    pub(crate) description: Option<String>,
    pub(crate) owner: String,
    pub(crate) policy: Policy,
    pub(crate) columns: BTreeMap<String, ColumnSettings>,
    pub(crate) column_descriptions: BTreeMap<String, String>,
    pub(crate) registered_at: String,
    pub(crate) updated_at: String,
}

/// All that the catalog is made from, at one moment.
#[derive(Debug, Default)]
pub(crate) struct CatalogRecords {
    pub(crate) version: i64,
    pub(crate) tables: Vec<TableRecord>,
    /// By schema and name of the table.
    pub(crate) grants: Grants,
    /// Budgets by kind of unit.
    pub(crate) privacy_units: Arc<BTreeMap<String, Budget>>,
    /// But for tables.
    pub(crate) suspensions: Arc<Vec<Suspension>>,
    /// What the store does not know of its own past.
    pub(crate) lost: Option<Lost>,
    /// Units that opted out.
    pub(crate) excluded: Arc<Excluded>,
}

impl Store {
    /// Reads the catalog.
    pub(crate) async fn catalog_records(&self) -> Result<CatalogRecords> {
        let mut transaction = self.pool().begin().await.map_err(failed)?;
        let version: i64 = sqlx::query_scalar("SELECT version FROM catalog_version")
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
        let mut settings: BTreeMap<i64, BTreeMap<String, ColumnSettings>> = BTreeMap::new();
        let mut descriptions: BTreeMap<i64, BTreeMap<String, String>> = BTreeMap::new();
        for row in sqlx::query("SELECT oid, name, settings, description FROM columns")
            .fetch_all(&mut *transaction)
            .await
            .map_err(failed)?
        {
            let oid: i64 = row.try_get(0).map_err(failed)?;
            let name: String = row.try_get(1).map_err(failed)?;
            let text: String = row.try_get(2).map_err(failed)?;
            settings.entry(oid).or_default().insert(name.clone(), from_json(&text)?);
            if let Some(description) = row.try_get::<Option<String>, _>(3).map_err(failed)? {
                descriptions.entry(oid).or_default().insert(name, description);
            }
        }
        let rows = sqlx::query(
            "SELECT t.oid, o.name, t.source, t.arrow_schema, t.description, t.owner, t.policy, t.registered_at, t.updated_at
             FROM tables t JOIN objects o ON o.oid = t.oid ORDER BY o.name",
        )
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed)?;
        let mut tables = Vec::with_capacity(rows.len());
        for row in rows {
            let oid: i64 = row.try_get(0).map_err(failed)?;
            tables.push(TableRecord {
                oid: to_oid(oid)?,
                name: row.try_get(1).map_err(failed)?,
                source: from_json(&row.try_get::<String, _>(2).map_err(failed)?)?,
                schema: schema_from_bytes(&row.try_get::<Vec<u8>, _>(3).map_err(failed)?)?,
                description: row.try_get(4).map_err(failed)?,
                owner: row.try_get(5).map_err(failed)?,
                policy: from_json(&row.try_get::<String, _>(6).map_err(failed)?)?,
                columns: settings.remove(&oid).unwrap_or_default(),
                column_descriptions: descriptions.remove(&oid).unwrap_or_default(),
                registered_at: row.try_get(7).map_err(failed)?,
                updated_at: row.try_get(8).map_err(failed)?,
            });
        }
        let grants = super::grants::load(&mut transaction).await?;
        let privacy_units = Arc::new(super::privacy_units::privacy_units(&mut transaction).await?);
        let suspensions = Arc::new(super::suspensions::suspensions(&mut transaction).await?);
        let lost = super::lost::lost(&mut transaction).await?;
        let excluded = Arc::new(super::excluded::excluded(&mut transaction).await?);
        transaction.commit().await.map_err(failed)?;
        Ok(CatalogRecords { version, tables, grants, privacy_units, suspensions, lost, excluded })
    }

    /// Adds a table of schema `public`. The oid of `record` is not used.
    ///
    /// # Errors
    /// 42P07 if the name is taken.
    pub(crate) async fn insert_table(&self, record: &TableRecord) -> Result<()> {
        let mut transaction = self.begin_change().await?;
        let taken: Option<i64> = sqlx::query_scalar(
            "SELECT t.oid FROM tables t JOIN objects o ON o.oid = t.oid WHERE o.schema_name = 'public' AND o.name = ?",
        )
        .bind(&record.name)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(failed)?;
        if taken.is_some() {
            return Err(Error::new(Sqlstate::DuplicateTable, format!("relation \"{}\" already exists", record.name)));
        }
        let oid = object(&mut transaction, "public", &record.name).await?;
        sqlx::query(
            "INSERT INTO tables (oid, source, arrow_schema, description, owner, policy, registered_at, updated_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(oid)
        .bind(to_json(&record.source)?)
        .bind(schema_to_bytes(&record.schema)?)
        .bind(&record.description)
        .bind(&record.owner)
        .bind(to_json(&record.policy)?)
        .bind(&record.registered_at)
        .bind(&record.updated_at)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        // As in PostgreSQL its owner may SELECT until that is revoked. Whoever is no role here owns nothing that could be granted.
        sqlx::query(
            "INSERT INTO grants (schema_name, table_name, grantee) SELECT 'public', ?, name FROM roles WHERE name = ?
             ON CONFLICT DO NOTHING",
        )
        .bind(&record.name)
        .bind(&record.owner)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    /// Keeps what a table is now, if it is still what it was when it was read (`seen` is that moment's `updated_at`).
    ///
    /// # Errors
    /// 55000 if somebody else changed or dropped it meanwhile.
    pub(crate) async fn update_table(&self, record: &TableRecord, seen: &str) -> Result<()> {
        let mut transaction = self.begin_change().await?;
        let done = sqlx::query("UPDATE tables SET source = ?, arrow_schema = ?, description = ?, policy = ?, updated_at = ? WHERE oid = ? AND updated_at = ?")
            .bind(to_json(&record.source)?)
            .bind(schema_to_bytes(&record.schema)?)
            .bind(&record.description)
            .bind(to_json(&record.policy)?)
            .bind(&record.updated_at)
            .bind(i64::from(record.oid))
            .bind(seen)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        if done.rows_affected() == 0 {
            return Err(Error::new(
                Sqlstate::ObjectNotInPrerequisiteState,
                format!("table \"{}\" was changed by another session", record.name),
            )
            .hint("Look at it again, and repeat the statement if it is still what you want."));
        }
        sqlx::query("DELETE FROM columns WHERE oid = ?")
            .bind(i64::from(record.oid))
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        let none = ColumnSettings::default();
        let names: BTreeSet<&String> = record.columns.keys().chain(record.column_descriptions.keys()).collect();
        for name in names {
            let settings = record.columns.get(name).unwrap_or(&none);
            sqlx::query("INSERT INTO columns (oid, name, settings, description) VALUES (?, ?, ?, ?)")
                .bind(i64::from(record.oid))
                .bind(name)
                .bind(to_json(settings)?)
                .bind(record.column_descriptions.get(name))
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    /// Removes a table of schema `public` and the grants on it. Whether it was there.
    pub(crate) async fn delete_table(&self, name: &str) -> Result<bool> {
        let mut transaction = self.begin_change().await?;
        let done = sqlx::query("DELETE FROM objects WHERE schema_name = 'public' AND name = ?")
            .bind(name)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        for delete in [
            "DELETE FROM grants WHERE schema_name = 'public' AND table_name = ?",
            "DELETE FROM column_grants WHERE schema_name = 'public' AND table_name = ?",
        ] {
            sqlx::query(delete).bind(name).execute(&mut *transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(done.rows_affected() > 0)
    }

    /// The oids of tables of peers and of the federation, in order; new names get new ones.
    pub(crate) async fn oids(&self, tables: &[(String, String)]) -> Result<Vec<u32>> {
        let mut oids = Vec::with_capacity(tables.len());
        let mut transaction = self.pool().begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        for (schema, name) in tables {
            oids.push(to_oid(object(&mut transaction, schema, name).await?)?);
        }
        transaction.commit().await.map_err(failed)?;
        Ok(oids)
    }
}

/// The oid of a name; a new one for a new name.
async fn object(transaction: &mut Transaction<'static, Sqlite>, schema: &str, name: &str) -> Result<i64> {
    sqlx::query("INSERT INTO objects (schema_name, name) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(schema)
        .bind(name)
        .execute(&mut **transaction)
        .await
        .map_err(failed)?;
    sqlx::query_scalar("SELECT oid FROM objects WHERE schema_name = ? AND name = ?")
        .bind(schema)
        .bind(name)
        .fetch_one(&mut **transaction)
        .await
        .map_err(failed)
}

/// A moment that is later than `before`, so that an `updated_at` tells one state of a table from the next.
pub(crate) fn later_than(before: &str) -> String {
    let mut moment = now();
    if moment.as_str() <= before {
        moment = chrono::DateTime::parse_from_rfc3339(before)
            .map(|before| {
                (before.to_utc() + chrono::Duration::milliseconds(1))
                    .to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
            })
            .unwrap_or(moment);
    }
    moment
}

fn to_oid(oid: i64) -> Result<u32> {
    u32::try_from(oid).map_err(|_| Error::internal("oids are used up"))
}

fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(Error::internal)
}

pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        tracing::error!(%error, "a row of the store cannot be read");
        Error::new(Sqlstate::SystemError, "the node's store holds something that this version cannot read")
    })
}

fn schema_to_bytes(schema: &SchemaRef) -> Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema).map_err(Error::internal)?;
    writer.finish().map_err(Error::internal)?;
    writer.into_inner().map_err(Error::internal)
}

fn schema_from_bytes(bytes: &[u8]) -> Result<SchemaRef> {
    let reader = StreamReader::try_new(bytes, None).map_err(Error::internal)?;
    Ok(reader.schema())
}
