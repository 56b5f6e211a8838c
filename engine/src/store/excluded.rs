//! Units that opted out, by kind.

use std::collections::BTreeMap;

use sqlx::{Row, SqliteConnection};

use super::{Store, failed, now};
use crate::error::{Error, Result, Sqlstate};

/// The most units of a kind that are left out.
const MOST_OF_KIND: i64 = 100_000;

/// When a unit was left out, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusion {
    /// UTC, RFC 3339.
    pub at: String,
    /// The steward.
    pub by: String,
}

/// Units that are left out: by kind, and by value as it was told.
pub type Excluded = BTreeMap<String, BTreeMap<String, Exclusion>>;

impl Store {
    /// Leaves a unit out, or no longer. Whether that changes anything.
    ///
    /// # Errors
    /// 54000 for more of them than there may be.
    pub(crate) async fn exclude_unit(&self, kind: &str, value: &str, excluded: bool, by: &str) -> Result<bool> {
        let mut transaction = self.begin_change().await?;
        let done = if excluded {
            sqlx::query(
                "INSERT INTO excluded_units (kind, value, excluded_at, excluded_by) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            )
            .bind(kind)
            .bind(value)
            .bind(now())
            .bind(by)
            .execute(&mut *transaction)
            .await
        } else {
            sqlx::query("DELETE FROM excluded_units WHERE kind = ? AND value = ?")
                .bind(kind)
                .bind(value)
                .execute(&mut *transaction)
                .await
        };
        let changed = done.map_err(failed)?.rows_affected() > 0;
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM excluded_units WHERE kind = ?")
            .bind(kind)
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
        if count > MOST_OF_KIND {
            let message = format!("at most {MOST_OF_KIND} units of a kind can be left out");
            return Err(Error::new(Sqlstate::ProgramLimitExceeded, message)
                .hint("Leave their rows out where the data is made."));
        }
        transaction.commit().await.map_err(failed)?;
        Ok(changed)
    }
}

/// All that are left out.
pub(super) async fn excluded(connection: &mut SqliteConnection) -> Result<Excluded> {
    let rows = sqlx::query("SELECT kind, value, excluded_at, excluded_by FROM excluded_units")
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    let mut all = Excluded::new();
    for row in rows {
        let kind: String = row.try_get(0).map_err(failed)?;
        let exclusion = Exclusion { at: row.try_get(2).map_err(failed)?, by: row.try_get(3).map_err(failed)? };
        all.entry(kind).or_default().insert(row.try_get(1).map_err(failed)?, exclusion);
    }
    Ok(all)
}
