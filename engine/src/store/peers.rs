//! What the store keeps of peers: their last descriptors, and the nonces of their tickets.

use sqlx::Row;

use super::{Store, failed, now};
use crate::error::Result;

/// The last valid descriptor of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRecord {
    /// Its node id.
    pub node_id: String,
    /// SHA-256 of the public key that signed it.
    pub fingerprint: Vec<u8>,
    /// Its sequence number.
    pub sequence: i64,
    /// The descriptor as it came, signature and all.
    pub descriptor: Vec<u8>,
    /// When it came: UTC, RFC 3339.
    pub seen_at: String,
}

impl Store {
    /// Keeps a peer's descriptor, unless one of the same key with an equal or higher sequence is there. Whether it was kept.
    pub async fn put_peer(&self, node_id: &str, fingerprint: &[u8], sequence: i64, descriptor: &[u8]) -> Result<bool> {
        let done = sqlx::query(
            "INSERT INTO peers (node_id, fingerprint, sequence, descriptor, seen_at) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (node_id) DO UPDATE SET fingerprint = excluded.fingerprint, sequence = excluded.sequence,
                 descriptor = excluded.descriptor, seen_at = excluded.seen_at
             WHERE peers.fingerprint <> excluded.fingerprint OR peers.sequence < excluded.sequence",
        )
        .bind(node_id)
        .bind(fingerprint)
        .bind(sequence)
        .bind(descriptor)
        .bind(now())
        .execute(self.pool())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() > 0)
    }

    /// The last descriptors of all peers, by node id.
    pub async fn peers(&self) -> Result<Vec<PeerRecord>> {
        let rows =
            sqlx::query("SELECT node_id, fingerprint, sequence, descriptor, seen_at FROM peers ORDER BY node_id")
                .fetch_all(self.pool())
                .await
                .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(PeerRecord {
                    node_id: row.try_get(0)?,
                    fingerprint: row.try_get(1)?,
                    sequence: row.try_get(2)?,
                    descriptor: row.try_get(3)?,
                    seen_at: row.try_get(4)?,
                })
            })
            .collect::<Result<_, sqlx::Error>>()
            .map_err(failed)
    }

    /// Forgets what the node of a key said of itself.
    pub async fn forget_peer(&self, fingerprint: &[u8]) -> Result<()> {
        sqlx::query("DELETE FROM peers WHERE fingerprint = ?")
            .bind(fingerprint)
            .execute(self.pool())
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Remembers the nonce of a ticket until `expires_at` (seconds since 1970, skew included). Whether it was new: `false` is a replay.
    pub async fn remember_nonce(&self, issuer: &str, nonce: &str, expires_at: i64) -> Result<bool> {
        let done =
            sqlx::query("INSERT INTO nonces (issuer, nonce, expires_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
                .bind(issuer)
                .bind(nonce)
                .bind(expires_at)
                .execute(self.pool())
                .await
                .map_err(failed)?;
        Ok(done.rows_affected() > 0)
    }

    /// Forgets the nonces of tickets that expired before `now` (seconds since 1970).
    pub async fn forget_nonces(&self, now: i64) -> Result<()> {
        sqlx::query("DELETE FROM nonces WHERE expires_at < ?").bind(now).execute(self.pool()).await.map_err(failed)?;
        Ok(())
    }
}
