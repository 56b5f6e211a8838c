//! Sums of charges in the present window, kept in memory so that a new charge does not read all old ones.
//!
//! The truth is the store. A sum is read from it once, grows with what is charged, and shrinks by what has left the window since it was
//! last looked at. Only the writer changes charges, and it forgets all sums when a transaction fails.

use std::collections::HashMap;

use sqlx::{Row, SqliteConnection};

use super::account::Amounts;
use super::window::BudgetWindow;
use crate::error::Result;

/// The most scopes that sums are kept of.
const MOST_SCOPES: usize = 10_000;

/// Whose charges.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    pub kind: String,
    pub whose: Whose,
}

/// Whose charges of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Whose {
    /// All.
    Everybody,
    /// Those of one principal.
    Principal(String),
    /// Those of all people of a peer: `…@cleveland`.
    Peer(String),
}

impl Whose {
    /// The condition of its charges on `?2`, which is [`Whose::bound`].
    pub(super) fn condition(&self) -> &'static str {
        match self {
            Whose::Everybody => "?2 IS NULL",
            Whose::Principal(_) => "principal = ?2",
            // A node id holds no @, and no role that charges anything here does: what stands before the last one is the peer's.
            Whose::Peer(_) => "substr(principal, -length(?2)) = ?2",
        }
    }

    pub(super) fn bound(&self) -> Option<String> {
        match self {
            Whose::Everybody => None,
            Whose::Principal(principal) => Some(principal.clone()),
            Whose::Peer(node) => Some(format!("@{node}")),
        }
    }
}

/// A sum of the charges after a moment.
#[derive(Debug, Clone, Copy)]
struct Sum {
    window: Option<BudgetWindow>,
    /// Charges of this moment and before do not count.
    after_ms: i64,
    amounts: Amounts,
}

/// The sums of all scopes that were asked for.
#[derive(Debug, Default)]
pub(super) struct Sums(HashMap<Scope, Sum>);

impl Sums {
    /// What counts of a scope at a moment. Moments do not go back.
    pub(super) async fn get(
        &mut self,
        connection: &mut SqliteConnection,
        scope: &Scope,
        window: Option<BudgetWindow>,
        now_ms: i64,
    ) -> Result<Amounts> {
        let after_ms = start(window, now_ms);
        if let Some(sum) = self.0.get_mut(scope)
            && sum.window == window
            && sum.after_ms <= after_ms
        {
            if sum.after_ms < after_ms {
                sum.amounts -= read(connection, scope, sum.after_ms, after_ms).await?;
                sum.after_ms = after_ms;
            }
            return Ok(sum.amounts);
        }
        let amounts = read(connection, scope, after_ms, i64::MAX).await?;
        if self.0.len() >= MOST_SCOPES {
            self.0.clear();
        }
        self.0.insert(scope.clone(), Sum { window, after_ms, amounts });
        Ok(amounts)
    }

    /// Adds what was charged to the sums that are known; others will read it.
    pub(super) fn add(&mut self, scope: &Scope, amounts: Amounts) {
        if let Some(sum) = self.0.get_mut(scope) {
            sum.amounts += amounts;
        }
    }

    /// Forgets all: the next ones are read from the store.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

/// The moment after which charges count.
pub(super) fn start(window: Option<BudgetWindow>, now_ms: i64) -> i64 {
    window.map_or(i64::MIN, |window| now_ms.saturating_sub(window.ms()))
}

/// The sum of a scope's charges later than `after_ms` and not later than `until_ms`.
async fn read(connection: &mut SqliteConnection, scope: &Scope, after_ms: i64, until_ms: i64) -> Result<Amounts> {
    let text = format!(
        "SELECT coalesce(sum(epsilon_nano), 0), coalesce(sum(delta_atto), 0), coalesce(sum(rho_pico), 0),
             coalesce(sum(zcdp_delta_atto), 0)
         FROM charges WHERE kind = ?1 AND {} AND at_ms > ?3 AND at_ms <= ?4",
        scope.whose.condition()
    );
    // Of constant parts: what came from outside is bound.
    let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(&scope.kind).bind(scope.whose.bound());
    let row = query.bind(after_ms).bind(until_ms).fetch_one(connection).await.map_err(super::failed)?;
    amounts(&row, 0).map_err(super::failed)
}

/// Four columns of a row from `first` on.
pub(super) fn amounts(row: &sqlx::sqlite::SqliteRow, first: usize) -> Result<Amounts, sqlx::Error> {
    let column = |offset: usize| row.try_get::<i64, _>(first + offset).map(i128::from);
    Ok(Amounts { epsilon_nano: column(0)?, delta_atto: column(1)?, rho_pico: column(2)?, zcdp_delta_atto: column(3)? })
}
