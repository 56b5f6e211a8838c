//! What peers may ask for, besides what their people are granted.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use kanon_privacy::budget::Epsilon;
use sqlx::{Row, SqliteConnection};

use super::tables::from_json;
use super::{Store, failed};
use crate::error::{Error, Result, Sqlstate};

/// What one peer may ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerRules {
    /// Whether its tickets are taken.
    pub may_query: bool,
    /// The only tables of this node that its people see, whatever they are granted; `None`: all that they are granted.
    pub tables: Option<BTreeSet<String>>,
    /// How many tickets are taken in a second.
    pub statements_per_second: Option<NonZeroU32>,
    /// What all its people together may spend of each kind of unit in that kind's window.
    pub budget_epsilon: Option<Epsilon>,
}

impl Default for PeerRules {
    fn default() -> PeerRules {
        PeerRules { may_query: true, tables: None, statements_per_second: None, budget_epsilon: None }
    }
}

impl PeerRules {
    /// Of a node that is no peer.
    pub(super) fn nothing() -> PeerRules {
        PeerRules { may_query: false, tables: Some(BTreeSet::new()), ..PeerRules::default() }
    }
}

impl Store {
    /// Changes what the peer of a key may ask for.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn alter_peer(&self, fingerprint: &str, change: impl FnOnce(&mut PeerRules)) -> Result<()> {
        let mut transaction = self.begin_change().await?;
        let mut rules = load(&mut transaction).await?.remove(fingerprint).unwrap_or_default();
        change(&mut rules);
        let tables = rules.tables.as_ref().map(serde_json::to_string).transpose().map_err(Error::internal)?;
        sqlx::query(
            "INSERT INTO peer_rules (fingerprint, may_query, tables, statements_per_second, budget_epsilon)
             VALUES (?, ?, ?, ?, ?) ON CONFLICT (fingerprint) DO UPDATE SET may_query = excluded.may_query,
                 tables = excluded.tables, statements_per_second = excluded.statements_per_second,
                 budget_epsilon = excluded.budget_epsilon",
        )
        .bind(fingerprint)
        .bind(rules.may_query)
        .bind(tables)
        .bind(rules.statements_per_second.map(|rate| i64::from(rate.get())))
        .bind(rules.budget_epsilon.map(Epsilon::get))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        self.load_roles().await
    }
}

/// The rules of all peers that have some, by fingerprint.
pub(super) async fn load(connection: &mut SqliteConnection) -> Result<BTreeMap<String, PeerRules>> {
    let rows =
        sqlx::query("SELECT fingerprint, may_query, tables, statements_per_second, budget_epsilon FROM peer_rules")
            .fetch_all(connection)
            .await
            .map_err(failed)?;
    // What is not understood must not count as nothing.
    let unreadable =
        || Error::new(Sqlstate::SystemError, "the node's store holds a rule of a peer that this version cannot read");
    let mut all = BTreeMap::new();
    for row in rows {
        let tables: Option<String> = row.try_get(2).map_err(failed)?;
        let rate: Option<i64> = row.try_get(3).map_err(failed)?;
        let rate = rate.map(|rate| u32::try_from(rate).ok().and_then(NonZeroU32::new).ok_or_else(unreadable));
        let epsilon: Option<f64> = row.try_get(4).map_err(failed)?;
        let rules = PeerRules {
            may_query: row.try_get(1).map_err(failed)?,
            tables: tables.as_deref().map(from_json).transpose()?,
            statements_per_second: rate.transpose()?,
            budget_epsilon: epsilon.map(Epsilon::try_from).transpose().map_err(|_| unreadable())?,
        };
        all.insert(row.try_get(0).map_err(failed)?, rules);
    }
    Ok(all)
}
