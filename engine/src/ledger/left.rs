//! What is left of a budget, for whoever asks: read beside the writer, which is not kept waiting.
//!
//! Charges are only ever added, with growing numbers. So what was added up once is kept, and only what came since is read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::{Row, SqliteConnection};

use super::account::{Amounts, Cost, Spent};
use super::budget::Budget;
use super::sums::{Scope, Whose, amounts, start};
use super::window::BudgetWindow;
use super::{Ledger, Refused, Shortage, writer};
use crate::error::{Error, Result};
use crate::store::failed;

/// The most scopes that are kept added up.
const MOST_SCOPES: usize = 10_000;

/// What is left of a kind's budget for one principal.
#[derive(Debug, Clone, PartialEq)]
pub struct Left {
    /// The kind of unit.
    pub kind: String,
    /// Who asks.
    pub principal: String,
    /// What the principal has left.
    pub own: Spent,
    /// What everybody together has left.
    pub everybody: Spent,
    scopes: [(Amounts, Budget); 2],
}

/// What was added up so far.
#[derive(Debug, Clone, Copy)]
struct Seen {
    window: Option<BudgetWindow>,
    /// Charges of this moment and before do not count.
    after_ms: i64,
    /// The last charge in the sum: its number and its moment, which is never less than those before.
    last: (i64, i64),
    amounts: Amounts,
}

/// Sums by scope.
#[derive(Debug, Clone, Default)]
pub(super) struct Known(Arc<Mutex<HashMap<Scope, Seen>>>);

impl Ledger {
    /// What a principal, and everybody together, have left of a kind now; `None` if the kind has no budget. Nothing is charged.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn left(&self, principal: &str, kind: &str) -> Result<Option<Left>> {
        // One moment for all that is read.
        let mut transaction = self.store.pool().begin().await.map_err(failed)?;
        let Some((everybody, own)) = writer::budgets(&mut transaction, kind, principal).await? else {
            return Ok(None);
        };
        let latest: i64 =
            sqlx::query_scalar("SELECT at_ms FROM ledger_clock").fetch_one(&mut *transaction).await.map_err(failed)?;
        let now_ms = latest.max(self.clock.now_ms());
        let of_own = Scope { kind: kind.to_owned(), whose: Whose::Principal(principal.to_owned()) };
        let of_everybody = Scope { kind: kind.to_owned(), whose: Whose::Everybody };
        let spent = self.known.sum(&mut transaction, of_own, own.window, now_ms).await?;
        let spent_by_all = self.known.sum(&mut transaction, of_everybody, everybody.window, now_ms).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(Some(Left {
            kind: kind.to_owned(),
            principal: principal.to_owned(),
            own: spent.left(&own),
            everybody: spent_by_all.left(&everybody),
            scopes: [(spent_by_all, everybody), (spent, own)],
        }))
    }
}

impl Left {
    /// Why these would not be charged together, if they would not.
    pub fn refusal(&self, costs: &[Cost]) -> Option<Error> {
        let mut asked = Amounts::default();
        costs.iter().for_each(|cost| asked += Amounts::of(cost));
        let all = [Whose::Everybody, Whose::Principal(self.principal.clone())];
        let short = self.scopes.iter().zip(all).find_map(|((spent, budget), whose)| {
            let mut after = *spent;
            after += asked;
            (!after.fits(budget)).then(|| Shortage {
                kind: self.kind.clone(),
                whose,
                left: spent.left(budget),
                asked: asked.spent(budget),
                more_at_ms: None,
                window: budget.window,
            })
        });
        short.map(|shortage| Refused::Budget(Box::new(shortage)).into())
    }
}

impl Known {
    /// What counts of a scope at a moment.
    async fn sum(
        &self,
        connection: &mut SqliteConnection,
        scope: Scope,
        window: Option<BudgetWindow>,
        now_ms: i64,
    ) -> Result<Amounts> {
        let after_ms = start(window, now_ms);
        // Of two readers at once one may be later than the other: then it adds up anew.
        let before = self.get(&scope).filter(|seen| seen.window == window && seen.after_ms <= after_ms);
        let nothing = Seen { window, after_ms, last: (0, i64::MIN), amounts: Amounts::default() };
        let mut seen = before.unwrap_or(nothing);
        let (last, last_ms) = seen.last;
        if seen.after_ms < after_ms {
            let gone = "at_ms > ?3 AND at_ms <= ?4 AND id <= ?5";
            seen.amounts -= read(connection, &scope, gone, [seen.after_ms, after_ms, last]).await?.0;
            seen.after_ms = after_ms;
        }
        let came = "at_ms > ?3 AND at_ms >= ?4 AND id > ?5";
        let (more, newest) = read(connection, &scope, came, [after_ms, last_ms, last]).await?;
        seen.amounts += more;
        seen.last = newest.unwrap_or(seen.last);
        self.put(scope, seen);
        Ok(seen.amounts)
    }

    fn get(&self, scope: &Scope) -> Option<Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(scope).copied()
    }

    fn put(&self, scope: Scope, seen: Seen) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_SCOPES {
            all.clear();
        }
        all.insert(scope, seen);
    }
}

/// The sum of a scope's charges that a condition holds for, and the last of them.
async fn read(
    connection: &mut SqliteConnection,
    scope: &Scope,
    condition: &'static str,
    values: [i64; 3],
) -> Result<(Amounts, Option<(i64, i64)>)> {
    let own = scope.whose.condition();
    let text = format!(
        "SELECT coalesce(sum(epsilon_nano), 0), coalesce(sum(delta_atto), 0), coalesce(sum(rho_pico), 0),
             coalesce(sum(zcdp_delta_atto), 0), max(id), max(at_ms)
         FROM charges WHERE kind = ?1 AND {own} AND {condition}"
    );
    // Of constant parts: what came from outside is bound.
    let mut query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(&scope.kind).bind(scope.whose.bound());
    for value in values {
        query = query.bind(value);
    }
    let row = query.fetch_one(connection).await.map_err(failed)?;
    let sums = || -> Result<_, sqlx::Error> {
        let (id, at_ms): (Option<i64>, Option<i64>) = (row.try_get(4)?, row.try_get(5)?);
        Ok((amounts(&row, 0)?, id.zip(at_ms)))
    };
    sums().map_err(failed)
}
