//! What this store does not know of its own past: checkpoints of its log that others hold, or it holds itself, and that do not fit.

use sqlx::{Row, SqliteConnection};

use super::{Store, failed, now};
use crate::error::Result;

/// The store is an older copy of itself, or was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// What does not fit.
    pub why: String,
    /// UTC, RFC 3339.
    pub found_at: String,
}

impl Store {
    /// Notes that a checkpoint of this node's log does not fit it. Whether that matters: what was written off does not.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn lost_checkpoint(&self, size: i64, root: &[u8], why: &str) -> Result<bool> {
        if let Some(matters) = self.is_known_as_lost(size, root).await? {
            return Ok(matters);
        }
        let mut transaction = self.begin_change().await?;
        sqlx::query(
            "INSERT INTO lost_checkpoints (size, root, why, found_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(size)
        .bind(root)
        .bind(why)
        .bind(now())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }

    /// Whether a checkpoint that does not fit matters; `None` if none such is known.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn is_known_as_lost(&self, size: i64, root: &[u8]) -> Result<Option<bool>> {
        let known: Option<Option<String>> =
            sqlx::query_scalar("SELECT written_off_at FROM lost_checkpoints WHERE size = ? AND root = ?")
                .bind(size)
                .bind(root)
                .fetch_optional(self.pool())
                .await
                .map_err(failed)?;
        Ok(known.map(|written_off_at| written_off_at.is_none()))
    }
}

/// What is lost and not written off, if something is.
pub(super) async fn lost(connection: &mut SqliteConnection) -> Result<Option<Lost>> {
    let row = sqlx::query(
        "SELECT why, found_at FROM lost_checkpoints WHERE written_off_at IS NULL ORDER BY found_at, size LIMIT 1",
    )
    .fetch_optional(connection)
    .await
    .map_err(failed)?;
    row.map(|row| Ok(Lost { why: row.try_get(0)?, found_at: row.try_get(1)? })).transpose().map_err(failed)
}

/// What is lost is accounted for, within the transaction that charges for it. Whether there was any.
///
/// # Errors
/// If the store fails.
pub(crate) async fn written_off(connection: &mut SqliteConnection) -> Result<bool> {
    let done = sqlx::query("UPDATE lost_checkpoints SET written_off_at = ? WHERE written_off_at IS NULL")
        .bind(now())
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("UPDATE catalog_version SET version = version + 1").execute(connection).await.map_err(failed)?;
    Ok(true)
}
