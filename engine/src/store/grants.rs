//! Grants in the store: SELECT on tables and on columns, and the use of schemas.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Row, SqliteConnection};

use super::{Store, failed};
use crate::error::Result;

/// Who was granted what.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grants {
    /// SELECT on whole tables, by schema and name.
    pub(crate) tables: BTreeMap<(String, String), BTreeSet<String>>,
    /// SELECT on columns, by schema and name, by column.
    pub(crate) columns: BTreeMap<(String, String), BTreeMap<String, BTreeSet<String>>>,
    /// The schemas that not everybody may use, with those who may.
    pub(crate) schemas: BTreeMap<String, BTreeSet<String>>,
}

impl Store {
    /// Grants SELECT on a table, or on some of its columns, or revokes it. REVOKE of the table revokes its columns too, as in PostgreSQL.
    pub(crate) async fn set_grant(
        &self,
        schema: &str,
        table: &str,
        columns: &[String],
        grantee: &str,
        granted: bool,
    ) -> Result<()> {
        let mut transaction = self.begin_change().await?;
        let on_columns = match granted {
            true => {
                "INSERT INTO column_grants (schema_name, table_name, grantee, column_name) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
            }
            false => {
                "DELETE FROM column_grants WHERE schema_name = ? AND table_name = ? AND grantee = ? AND column_name = ?"
            }
        };
        for column in columns {
            sqlx::query(on_columns)
                .bind(schema)
                .bind(table)
                .bind(grantee)
                .bind(column)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        let on_tables: &[&'static str] = match (columns.is_empty(), granted) {
            (false, _) => &[],
            (true, true) => {
                &["INSERT INTO grants (schema_name, table_name, grantee) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"]
            }
            (true, false) => &[
                "DELETE FROM grants WHERE schema_name = ? AND table_name = ? AND grantee = ?",
                "DELETE FROM column_grants WHERE schema_name = ? AND table_name = ? AND grantee = ?",
            ],
        };
        for statement in on_tables {
            sqlx::query(*statement)
                .bind(schema)
                .bind(table)
                .bind(grantee)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    /// Grants the use of a schema, or revokes it. Everybody may use one until that is revoked from `public`.
    pub(crate) async fn set_usage(&self, schema: &str, grantee: &str, granted: bool) -> Result<()> {
        let statement = match (grantee == "public", granted) {
            (true, true) => "DELETE FROM closed_schemas WHERE schema_name = ? AND ?2 = 'public'",
            (true, false) => {
                "INSERT INTO closed_schemas (schema_name) SELECT ? WHERE ?2 = 'public' ON CONFLICT DO NOTHING"
            }
            (false, true) => "INSERT INTO schema_grants (schema_name, grantee) VALUES (?, ?2) ON CONFLICT DO NOTHING",
            (false, false) => "DELETE FROM schema_grants WHERE schema_name = ? AND grantee = ?2",
        };
        let mut transaction = self.begin_change().await?;
        sqlx::query(statement).bind(schema).bind(grantee).execute(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }
}

/// All grants.
pub(super) async fn load(connection: &mut SqliteConnection) -> Result<Grants> {
    let mut grants = Grants::default();
    for row in sqlx::query("SELECT schema_name, table_name, grantee FROM grants")
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?
    {
        let table = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
        grants.tables.entry(table).or_default().insert(row.try_get(2).map_err(failed)?);
    }
    for row in sqlx::query("SELECT schema_name, table_name, column_name, grantee FROM column_grants")
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?
    {
        let table = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
        let columns = grants.columns.entry(table).or_default();
        columns.entry(row.try_get(2).map_err(failed)?).or_default().insert(row.try_get(3).map_err(failed)?);
    }
    let closed = sqlx::query(
        "SELECT c.schema_name, g.grantee FROM closed_schemas c LEFT JOIN schema_grants g ON g.schema_name = c.schema_name",
    );
    for row in closed.fetch_all(&mut *connection).await.map_err(failed)? {
        let who = grants.schemas.entry(row.try_get(0).map_err(failed)?).or_default();
        who.extend(row.try_get::<Option<String>, _>(1).map_err(failed)?);
    }
    Ok(grants)
}
