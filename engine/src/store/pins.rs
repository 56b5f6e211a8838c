//! Peers that were pinned while the node ran, and the invites that bring them.

use sqlx::{Row, SqliteConnection};

use super::{Store, failed};
use crate::error::{Error, Result, Sqlstate};

/// The most invites that are good at once.
const MOST_INVITES: i64 = 100;

/// A pin of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinRecord {
    /// SHA-256 of the peer's public key.
    pub fingerprint: [u8; 32],
    /// The peer's id, as its invite told.
    pub node_id: String,
    /// Where it is.
    pub host: String,
    /// The port of its Flight SQL listener.
    pub port: u16,
    /// UTC, RFC 3339.
    pub pinned_at: String,
    /// Who invited it, or accepted its invite.
    pub pinned_by: String,
}

/// What came of showing an invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InviteUse {
    /// It was good.
    First,
    /// The same node used it before, and is pinned.
    Again,
    /// It is not good, for this reason, which is for the log.
    Refused(&'static str),
}

impl Store {
    /// All pins, by node id.
    pub async fn pins(&self) -> Result<Vec<PinRecord>> {
        let rows =
            sqlx::query("SELECT fingerprint, node_id, host, port, pinned_at, pinned_by FROM pins ORDER BY node_id")
                .fetch_all(self.pool())
                .await
                .map_err(failed)?;
        let unreadable =
            || Error::new(Sqlstate::SystemError, "the node's store holds a pin that this version cannot read");
        rows.iter()
            .map(|row| {
                let fingerprint: Vec<u8> = row.try_get(0).map_err(failed)?;
                let port: i64 = row.try_get(3).map_err(failed)?;
                Ok(PinRecord {
                    fingerprint: fingerprint.try_into().map_err(|_| unreadable())?,
                    node_id: row.try_get(1).map_err(failed)?,
                    host: row.try_get(2).map_err(failed)?,
                    port: u16::try_from(port).map_err(|_| unreadable())?,
                    pinned_at: row.try_get(4).map_err(failed)?,
                    pinned_by: row.try_get(5).map_err(failed)?,
                })
            })
            .collect()
    }

    /// Keeps a pin.
    ///
    /// # Errors
    /// If the store fails, or has another pin of that key or id.
    pub(crate) async fn add_pin(&self, pin: &PinRecord) -> Result<()> {
        let mut connection = self.pool().acquire().await.map_err(failed)?;
        insert(&mut connection, pin).await
    }

    /// Takes a pin away. Whether it was there.
    pub(crate) async fn remove_pin(&self, fingerprint: &[u8; 32]) -> Result<bool> {
        let done = sqlx::query("DELETE FROM pins WHERE fingerprint = ?")
            .bind(fingerprint.as_slice())
            .execute(self.pool())
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() > 0)
    }

    /// Keeps an invite by the digest of its secret. Those that are over are forgotten.
    ///
    /// # Errors
    /// 54000 if there are too many.
    pub(crate) async fn add_invite(&self, hash: &[u8; 32], expires_at: i64, made_by: &str, now: i64) -> Result<()> {
        let mut transaction = self.pool().begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        sqlx::query("DELETE FROM invites WHERE expires_at <= ?")
            .bind(now)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        let open: i64 = sqlx::query_scalar("SELECT count(*) FROM invites WHERE used_by IS NULL")
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
        if open >= MOST_INVITES {
            return Err(Error::new(
                Sqlstate::ProgramLimitExceeded,
                format!("there are {MOST_INVITES} invites that nobody has used"),
            )
            .hint("Wait until some are over, and make them shorter: kanon.invite_node(valid_for => '1 hour')."));
        }
        sqlx::query("INSERT INTO invites (hash, expires_at, made_by) VALUES (?, ?, ?)")
            .bind(hash.as_slice())
            .bind(expires_at)
            .bind(made_by)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    /// Uses an invite up for a node that is pinned with it, both or neither. Of two at once one is the first.
    pub(crate) async fn use_invite(&self, hash: &[u8; 32], now: i64, pin: &PinRecord) -> Result<InviteUse> {
        let mut transaction = self.pool().begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let found = look(&mut transaction, hash, now, &pin.fingerprint).await?;
        if found == InviteUse::First {
            sqlx::query("UPDATE invites SET used_by = ? WHERE hash = ?")
                .bind(pin.fingerprint.as_slice())
                .bind(hash.as_slice())
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            insert(&mut transaction, pin).await?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(found)
    }

    /// What [`Store::use_invite`] would come to, for the node of a key.
    pub(crate) async fn look_at_invite(&self, hash: &[u8; 32], now: i64, key: &[u8; 32]) -> Result<InviteUse> {
        let mut connection = self.pool().acquire().await.map_err(failed)?;
        look(&mut connection, hash, now, key).await
    }
}

async fn insert(connection: &mut SqliteConnection, pin: &PinRecord) -> Result<()> {
    sqlx::query("INSERT INTO pins (fingerprint, node_id, host, port, pinned_at, pinned_by) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(pin.fingerprint.as_slice())
        .bind(&pin.node_id)
        .bind(&pin.host)
        .bind(i64::from(pin.port))
        .bind(&pin.pinned_at)
        .bind(&pin.pinned_by)
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

async fn look(connection: &mut SqliteConnection, hash: &[u8; 32], now: i64, key: &[u8; 32]) -> Result<InviteUse> {
    // By a digest: how long the search takes tells nothing of the secret.
    let row = sqlx::query("SELECT expires_at, used_by FROM invites WHERE hash = ?")
        .bind(hash.as_slice())
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
    let Some(row) = row else { return Ok(InviteUse::Refused("an invite that there is not")) };
    let (expires_at, used_by): (i64, Option<Vec<u8>>) =
        (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
    let Some(used_by) = used_by else {
        return Ok(if now < expires_at { InviteUse::First } else { InviteUse::Refused("an invite that is over") });
    };
    let pinned: Option<i64> = sqlx::query_scalar("SELECT 1 FROM pins WHERE fingerprint = ?")
        .bind(key.as_slice())
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    let is_same = used_by == key && pinned.is_some() && now < expires_at;
    Ok(if is_same { InviteUse::Again } else { InviteUse::Refused("an invite that was used") })
}
