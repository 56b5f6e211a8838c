//! Changes that wait for another steward.

use sqlx::{Row, SqliteConnection};

use super::{Store, failed};
use crate::error::{Error, Result, Sqlstate};

/// How long a change may wait, in seconds.
const WAITS_SECONDS: i64 = 14 * 24 * 60 * 60;
/// The most changes that wait.
const MOST: i64 = 100;
/// And of one who proposes them.
const MOST_OF_ONE: i64 = 40;

/// A change that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingChange {
    /// Its number.
    pub id: i64,
    /// The statement, as it will be run.
    pub statement: String,
    /// What it would change.
    pub difference: String,
    /// Of what it would change that: of another of the same name it would not be the same change.
    pub grounds: String,
    /// The role that proposed it.
    pub proposed_by: String,
    /// In seconds of Unix time.
    pub proposed_at: i64,
}

impl PendingChange {
    /// Until when it waits, in seconds of Unix time.
    pub fn expires_at(&self) -> i64 {
        self.proposed_at.saturating_add(WAITS_SECONDS)
    }
}

impl Store {
    /// Keeps a change until another steward looks at it; its `id` is not used. Its number. The same change of the same role, proposed again, stays one.
    ///
    /// # Errors
    /// 55000 if too many wait already.
    pub(crate) async fn add_pending_change(&self, change: &PendingChange) -> Result<i64> {
        let known = self.directory().pending_changes();
        let is_same = |known: &&PendingChange| {
            PendingChange { id: known.id, proposed_at: known.proposed_at, ..change.clone() } == **known
                && change.proposed_at < known.expires_at()
        };
        if let Some(known) = known.iter().find(is_same) {
            return Ok(known.id);
        }
        let mut transaction = self.begin_change().await?;
        sqlx::query("DELETE FROM pending_changes WHERE proposed_at <= ? OR (statement = ? AND proposed_by = ?)")
            .bind(change.proposed_at - WAITS_SECONDS)
            .bind(&change.statement)
            .bind(&change.proposed_by)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        let (all, own): (i64, i64) =
            sqlx::query_as("SELECT count(*), count(*) FILTER (WHERE proposed_by = ?) FROM pending_changes")
                .bind(&change.proposed_by)
                .fetch_one(&mut *transaction)
                .await
                .map_err(failed)?;
        if all >= MOST || own >= MOST_OF_ONE {
            return Err(Error::new(
                Sqlstate::ObjectNotInPrerequisiteState,
                format!("{all} changes wait for another steward already, {own} of them of \"{}\"", change.proposed_by),
            )
            .hint("kanon.pending_changes lists them: approve or reject some first."));
        }
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO pending_changes (statement, difference, grounds, proposed_by, proposed_at) VALUES (?, ?, ?, ?, ?) RETURNING id",
        )
        .bind(&change.statement)
        .bind(&change.difference)
        .bind(&change.grounds)
        .bind(&change.proposed_by)
        .bind(change.proposed_at)
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        self.load_roles().await?;
        Ok(id)
    }

    /// A change waits no more. Whether it did.
    pub(crate) async fn remove_pending_change(&self, id: i64) -> Result<bool> {
        let mut transaction = self.begin_change().await?;
        let done = sqlx::query("DELETE FROM pending_changes WHERE id = ?")
            .bind(id)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        self.load_roles().await?;
        Ok(done.rows_affected() > 0)
    }
}

/// All that wait, the oldest first.
pub(super) async fn load(connection: &mut SqliteConnection) -> Result<Vec<PendingChange>> {
    let rows = sqlx::query(
        "SELECT id, statement, difference, grounds, proposed_by, proposed_at FROM pending_changes ORDER BY id",
    )
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.iter()
        .map(|row| {
            Ok(PendingChange {
                id: row.try_get(0).map_err(failed)?,
                statement: row.try_get(1).map_err(failed)?,
                difference: row.try_get(2).map_err(failed)?,
                grounds: row.try_get(3).map_err(failed)?,
                proposed_by: row.try_get(4).map_err(failed)?,
                proposed_at: row.try_get(5).map_err(failed)?,
            })
        })
        .collect()
}
