//! What is suspended: roles, peers, the node itself. Tables are so by their policies.

use sqlx::{Row, SqliteConnection};

use super::{Store, failed, now};
use crate::error::{Error, Result, Sqlstate};

/// What a suspension is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suspended {
    /// A role of this node, or one of a peer (`alice@cleveland`).
    Role,
    /// A peer, by the fingerprint of its key.
    Peer,
    /// This node: everything that is not open.
    Node,
}

impl Suspended {
    const ALL: [Suspended; 3] = [Suspended::Role, Suspended::Peer, Suspended::Node];

    /// As `kanon.suspensions` shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Suspended::Role => "role",
            Suspended::Peer => "peer",
            Suspended::Node => "node",
        }
    }
}

/// Something that is suspended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// What kind of thing.
    pub of: Suspended,
    /// Which: a role's name, a peer's fingerprint; nothing for the node.
    pub name: String,
    /// What people call it.
    pub shown: String,
    /// UTC, RFC 3339.
    pub since: String,
    /// Who suspended it.
    pub by: String,
}

impl Store {
    /// Suspends something, or takes that back. What was suspended already stays as it was.
    ///
    /// # Errors
    /// 42704 for a role that there is not; 55000 if no admin could log in any more.
    pub(crate) async fn suspend(&self, what: &Suspension, suspended: bool) -> Result<()> {
        let mut transaction = self.begin_change().await?;
        let before = super::admins::able(&mut transaction).await?;
        if suspended {
            sqlx::query(
                "INSERT INTO suspensions (kind, name, shown, since, by_role) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            )
            .bind(what.of.as_str())
            .bind(&what.name)
            .bind(&what.shown)
            .bind(now())
            .bind(&what.by)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        } else {
            sqlx::query("DELETE FROM suspensions WHERE kind = ? AND name = ?")
                .bind(what.of.as_str())
                .bind(&what.name)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        super::admins::keep_one(&mut transaction, &before).await?;
        transaction.commit().await.map_err(failed)?;
        self.load_roles().await
    }
}

/// All that is suspended, by kind and name.
pub(super) async fn suspensions(connection: &mut SqliteConnection) -> Result<Vec<Suspension>> {
    let rows = sqlx::query("SELECT kind, name, shown, since, by_role FROM suspensions ORDER BY kind, name")
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let kind: String = row.try_get(0).map_err(failed)?;
        let of = Suspended::ALL.into_iter().find(|of| of.as_str() == kind).ok_or_else(|| {
            // What is not understood must not count as nothing.
            Error::new(Sqlstate::SystemError, "the node's store holds a suspension that this version cannot read")
        })?;
        all.push(Suspension {
            of,
            name: row.try_get(1).map_err(failed)?,
            shown: row.try_get(2).map_err(failed)?,
            since: row.try_get(3).map_err(failed)?,
            by: row.try_get(4).map_err(failed)?,
        });
    }
    Ok(all)
}
