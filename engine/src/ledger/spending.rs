//! What was spent, for people: `kanon.privacy_units` and `kanon.budget`.

use std::collections::BTreeMap;

use sqlx::{Row, SqliteConnection};

use super::Ledger;
use super::account::{Amounts, Spent};
use super::budget::{Budget, PrincipalBudget};
use super::sums::{amounts, start};
use crate::error::Result;
use crate::store::{failed, principal_budget_of_row};

/// What was spent of a budget, and what is left.
#[derive(Debug, Clone, PartialEq)]
pub struct Spending {
    /// The kind of unit.
    pub kind: String,
    /// Whose; `None`: everybody's together.
    pub principal: Option<String>,
    /// What may be spent.
    pub budget: Budget,
    /// What was spent in the window.
    pub spent: Spent,
    /// What is left in the window.
    pub left: Spent,
    /// What was spent ever.
    pub lifetime: Spent,
    /// The moment after which charges count, in milliseconds since 1970; `None`: all count.
    pub window_start_ms: Option<i64>,
    /// When the oldest charge that counts leaves the window; `None`: none does.
    pub window_end_ms: Option<i64>,
}

/// The charges of one principal, or of all.
#[derive(Debug, Clone, Copy, Default)]
struct Total {
    window: Amounts,
    lifetime: Amounts,
    oldest_ms: Option<i64>,
}

impl Ledger {
    /// What was spent of a kind: everybody's together first, then that of each principal who has spent or has a budget of its own, by
    /// name. Reads all charges of the kind.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn spending(&self, kind: &str, budget: Budget) -> Result<Vec<Spending>> {
        let mut transaction = self.store.pool().begin().await.map_err(failed)?;
        let latest: i64 =
            sqlx::query_scalar("SELECT at_ms FROM ledger_clock").fetch_one(&mut *transaction).await.map_err(failed)?;
        let after_ms = start(budget.window, latest.max(self.clock.now_ms()));
        let mut own = own_budgets(&mut transaction, kind).await?;
        let mut everybody = Total::default();
        let mut all = Vec::new();
        for (principal, total) in totals(&mut transaction, kind, after_ms).await? {
            everybody.window += total.window;
            everybody.lifetime += total.lifetime;
            everybody.oldest_ms = [everybody.oldest_ms, total.oldest_ms].into_iter().flatten().min();
            let budget = budget.of(own.remove(&principal).unwrap_or_default());
            all.push(Spending::new(kind, Some(principal), budget, total, after_ms));
        }
        transaction.commit().await.map_err(failed)?;
        all.extend(
            own.into_iter().map(|(principal, own)| {
                Spending::new(kind, Some(principal), budget.of(own), Total::default(), after_ms)
            }),
        );
        all.push(Spending::new(kind, None, budget, everybody, after_ms));
        all.sort_by(|a, b| a.principal.cmp(&b.principal));
        Ok(all)
    }
}

impl Spending {
    /// Nothing spent: what a principal has who is not among those of [`Ledger::spending`].
    pub fn none(&self, principal: &str) -> Spending {
        let after_ms = self.window_start_ms.unwrap_or(i64::MIN);
        Spending::new(&self.kind, Some(principal.to_owned()), self.budget, Total::default(), after_ms)
    }

    fn new(kind: &str, principal: Option<String>, budget: Budget, total: Total, after_ms: i64) -> Spending {
        let window_end_ms =
            budget.window.zip(total.oldest_ms).map(|(window, oldest)| oldest.saturating_add(window.ms()));
        Spending {
            kind: kind.to_owned(),
            principal,
            budget,
            spent: total.window.spent(&budget),
            left: total.window.left(&budget),
            lifetime: total.lifetime.spent(&budget),
            window_start_ms: budget.window.map(|_| after_ms),
            window_end_ms,
        }
    }
}

/// The budgets of principals that have one of their own for a kind, or for all.
async fn own_budgets(connection: &mut SqliteConnection, kind: &str) -> Result<BTreeMap<String, PrincipalBudget>> {
    let rows = sqlx::query(
        "SELECT principal, epsilon, delta FROM principal_budgets WHERE kind = ?
         UNION ALL SELECT role, epsilon, delta FROM role_budgets",
    )
    .bind(kind)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    let mut all: BTreeMap<String, PrincipalBudget> = BTreeMap::new();
    for row in &rows {
        let own = all.entry(row.try_get(0).map_err(failed)?).or_default();
        *own = own.stricter(principal_budget_of_row(row, 1)?);
    }
    Ok(all.into_iter().filter(|(_, own)| *own != PrincipalBudget::default()).collect())
}

async fn totals(connection: &mut SqliteConnection, kind: &str, after_ms: i64) -> Result<Vec<(String, Total)>> {
    let rows = sqlx::query(
        "SELECT principal, sum(epsilon_nano), sum(delta_atto), sum(rho_pico), sum(zcdp_delta_atto),
             sum(iif(at_ms > ?1, epsilon_nano, 0)), sum(iif(at_ms > ?1, delta_atto, 0)),
             sum(iif(at_ms > ?1, rho_pico, 0)), sum(iif(at_ms > ?1, zcdp_delta_atto, 0)),
             min(iif(at_ms > ?1, at_ms, NULL))
         FROM charges WHERE kind = ?2 GROUP BY principal",
    )
    .bind(after_ms)
    .bind(kind)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.iter()
        .map(|row| {
            let total = Total { lifetime: amounts(row, 1)?, window: amounts(row, 5)?, oldest_ms: row.try_get(9)? };
            Ok((row.try_get(0)?, total))
        })
        .collect::<Result<_, sqlx::Error>>()
        .map_err(failed)
}
