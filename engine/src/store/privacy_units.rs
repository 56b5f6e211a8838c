//! Kinds of units and their budgets in the store. What was spent is the ledger's and outlives them.

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, SqliteConnection, Transaction};

use super::tables::from_json;
use super::{Store, failed, now};
use crate::catalog::{DEFAULT_UNIT_KIND, Policy};
use crate::error::{Error, Result, Sqlstate};
use crate::ledger::{Budget, BudgetWindow, PrincipalBudget};
use crate::nearest::did_you_mean;

impl Store {
    /// Adds a kind with its budget. Whether it is new: one that is there stays as it is.
    pub(crate) async fn create_privacy_unit(&self, kind: &str, budget: Budget) -> Result<bool> {
        let mut transaction = self.begin_change().await?;
        let moment = now();
        let done = sqlx::query(
            "INSERT INTO privacy_units (kind, epsilon, delta, window_ms, created_at, updated_at)
             VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(kind)
        .bind(budget.epsilon.get())
        .bind(budget.delta.get())
        .bind(budget.window.map(BudgetWindow::ms))
        .bind(&moment)
        .bind(&moment)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(done.rows_affected() > 0)
    }

    /// Changes the budget of a kind.
    ///
    /// # Errors
    /// 42704 if there is no such kind, and what `change` finds.
    pub(crate) async fn alter_privacy_unit(
        &self,
        kind: &str,
        change: impl FnOnce(Budget) -> Result<Budget>,
    ) -> Result<()> {
        let mut transaction = self.begin_change().await?;
        let changed = change(budget_of(&mut transaction, kind).await?)?;
        sqlx::query("UPDATE privacy_units SET epsilon = ?, delta = ?, window_ms = ?, updated_at = ? WHERE kind = ?")
            .bind(changed.epsilon.get())
            .bind(changed.delta.get())
            .bind(changed.window.map(BudgetWindow::ms))
            .bind(now())
            .bind(kind)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    /// Changes what a principal may spend of a kind.
    ///
    /// # Errors
    /// As [`Store::alter_privacy_unit`].
    pub(crate) async fn alter_principal_budget(
        &self,
        kind: &str,
        principal: &str,
        change: impl FnOnce(PrincipalBudget) -> Result<PrincipalBudget>,
    ) -> Result<()> {
        let mut transaction = self.begin_change().await?;
        budget_of(&mut transaction, kind).await?;
        let changed = change(principal_budget_of(&mut transaction, kind, principal).await?)?;
        sqlx::query(
            "INSERT INTO principal_budgets (kind, principal, epsilon, delta) VALUES (?, ?, ?, ?)
             ON CONFLICT (kind, principal) DO UPDATE SET epsilon = excluded.epsilon, delta = excluded.delta",
        )
        .bind(kind)
        .bind(principal)
        .bind(changed.epsilon.map(|epsilon| epsilon.get()))
        .bind(changed.delta.map(|delta| delta.get()))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    /// Changes what a role may spend of every kind.
    ///
    /// # Errors
    /// 42704 if there is no such role, and what `change` finds.
    pub(crate) async fn alter_role_budget(
        &self,
        role: &str,
        change: impl FnOnce(PrincipalBudget) -> Result<PrincipalBudget>,
    ) -> Result<()> {
        self.check_role(role)?;
        let mut transaction = self.begin_change().await?;
        let budget = change(role_budget_of(&mut transaction, role).await?)?;
        sqlx::query(
            "INSERT INTO role_budgets (role, epsilon, delta) VALUES (?, ?, ?)
             ON CONFLICT (role) DO UPDATE SET epsilon = excluded.epsilon, delta = excluded.delta",
        )
        .bind(role)
        .bind(budget.epsilon.map(|epsilon| epsilon.get()))
        .bind(budget.delta.map(|delta| delta.get()))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    /// What a principal may spend of a kind; nothing of its own unless a steward said so.
    pub(crate) async fn principal_budget(&self, kind: &str, principal: &str) -> Result<PrincipalBudget> {
        let mut connection = self.pool().acquire().await.map_err(failed)?;
        principal_budget_of(&mut connection, kind, principal).await
    }

    /// Those who may spend less of a kind than everybody together.
    pub(crate) async fn principal_budgets(&self, kind: &str) -> Result<Vec<(String, PrincipalBudget)>> {
        let rows =
            sqlx::query("SELECT principal, epsilon, delta FROM principal_budgets WHERE kind = ? ORDER BY principal")
                .bind(kind)
                .fetch_all(self.pool())
                .await
                .map_err(failed)?;
        rows.iter().map(|row| Ok((row.try_get(0).map_err(failed)?, principal_budget_of_row(row, 1)?))).collect()
    }

    /// What a role may spend of every kind; nothing of its own unless a steward said so.
    pub(crate) async fn role_budget(&self, role: &str) -> Result<PrincipalBudget> {
        let mut connection = self.pool().acquire().await.map_err(failed)?;
        role_budget_of(&mut connection, role).await
    }

    /// Removes a kind and its budgets; its charges stay. Whether it was there.
    ///
    /// # Errors
    /// 2BP01 while a table is of the kind.
    pub(crate) async fn drop_privacy_unit(&self, kind: &str) -> Result<bool> {
        let mut transaction = self.begin_change().await?;
        let tables =
            sqlx::query("SELECT o.name, t.policy FROM tables t JOIN objects o ON o.oid = t.oid ORDER BY o.name")
                .fetch_all(&mut *transaction)
                .await
                .map_err(failed)?;
        for row in tables {
            let table: String = row.try_get(0).map_err(failed)?;
            let policy: Policy = from_json(&row.try_get::<String, _>(1).map_err(failed)?)?;
            let default = policy.unit.as_ref().map(|_| DEFAULT_UNIT_KIND);
            if policy.unit_kind.as_deref().or(default) == Some(kind) {
                return Err(Error::new(
                    Sqlstate::DependentObjects,
                    format!("cannot drop privacy unit \"{kind}\" because table \"{table}\" is of this kind"),
                )
                .hint(format!("ALTER TABLE {table} SET (unit_kind = …), or drop the table, first.")));
            }
        }
        let done = sqlx::query("DELETE FROM privacy_units WHERE kind = ?")
            .bind(kind)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(done.rows_affected() > 0)
    }
}

/// The budgets of all kinds, by kind.
pub(super) async fn privacy_units(connection: &mut SqliteConnection) -> Result<BTreeMap<String, Budget>> {
    let rows = sqlx::query("SELECT kind, epsilon, delta, window_ms FROM privacy_units")
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.iter().map(|row| Ok((row.try_get(0).map_err(failed)?, budget_of_row(row, 1)?))).collect()
}

/// A budget in three columns from `first` on: ε, δ, the window in milliseconds.
pub(crate) fn budget_of_row(row: &SqliteRow, first: usize) -> Result<Budget> {
    let epsilon: f64 = row.try_get(first).map_err(failed)?;
    let delta: f64 = row.try_get(first + 1).map_err(failed)?;
    let window: Option<i64> = row.try_get(first + 2).map_err(failed)?;
    Ok(Budget {
        epsilon: epsilon.try_into().map_err(unreadable)?,
        delta: delta.try_into().map_err(unreadable)?,
        window: window.map(|ms| BudgetWindow::from_ms(ms).ok_or_else(|| unreadable(ms))).transpose()?,
    })
}

/// A principal's budget in two columns from `first` on: ε, δ.
pub(crate) fn principal_budget_of_row(row: &SqliteRow, first: usize) -> Result<PrincipalBudget> {
    let epsilon: Option<f64> = row.try_get(first).map_err(failed)?;
    let delta: Option<f64> = row.try_get(first + 1).map_err(failed)?;
    Ok(PrincipalBudget {
        epsilon: epsilon.map(TryInto::try_into).transpose().map_err(unreadable)?,
        delta: delta.map(TryInto::try_into).transpose().map_err(unreadable)?,
    })
}

/// A budget that cannot be is no budget without a limit.
fn unreadable(what: impl std::fmt::Display) -> Error {
    tracing::error!(%what, "a budget in the store cannot be read");
    Error::new(Sqlstate::SystemError, "the node's store holds a budget that this version cannot read")
}

async fn principal_budget_of(
    connection: &mut SqliteConnection,
    kind: &str,
    principal: &str,
) -> Result<PrincipalBudget> {
    let row = sqlx::query("SELECT epsilon, delta FROM principal_budgets WHERE kind = ? AND principal = ?")
        .bind(kind)
        .bind(principal)
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    Ok(row.map(|row| principal_budget_of_row(&row, 0)).transpose()?.unwrap_or_default())
}

async fn role_budget_of(connection: &mut SqliteConnection, role: &str) -> Result<PrincipalBudget> {
    let row = sqlx::query("SELECT epsilon, delta FROM role_budgets WHERE role = ?")
        .bind(role)
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    Ok(row.map(|row| principal_budget_of_row(&row, 0)).transpose()?.unwrap_or_default())
}

async fn budget_of(transaction: &mut Transaction<'static, Sqlite>, kind: &str) -> Result<Budget> {
    let units = privacy_units(&mut *transaction).await?;
    units.get(kind).copied().ok_or_else(|| {
        let error = Error::new(Sqlstate::UndefinedObject, format!("privacy unit \"{kind}\" does not exist"));
        did_you_mean(error, kind, units.keys().map(String::as_str))
    })
}
