//! What stewards do to kinds of units and their budgets.

use super::Catalog;
use super::options::name_of_kind;
use crate::error::{Error, Result, Sqlstate};
use crate::ledger::{Budget, PrincipalBudget};
use crate::nearest::did_you_mean;

impl Catalog {
    /// CREATE PRIVACY UNIT. What was spent of a kind of this name before counts on. The texts are NOTICEs for the steward.
    ///
    /// # Errors
    /// 42710 if it exists, unless `if_not_exists`; 22023, 42601 and 42704 for options that cannot be.
    pub async fn create_privacy_unit(
        &self,
        kind: &str,
        if_not_exists: bool,
        options: &[(String, String)],
    ) -> Result<Vec<String>> {
        name_of_kind(kind)?;
        let budget = Budget::create(options)?;
        let is_new = self.store.create_privacy_unit(kind, budget).await?;
        self.reload().await?;
        match (is_new, if_not_exists) {
            (true, _) => Ok(Vec::new()),
            (false, true) => Ok(vec![format!("privacy unit \"{kind}\" already exists, skipping")]),
            (false, false) => {
                Err(Error::new(Sqlstate::DuplicateObject, format!("privacy unit \"{kind}\" already exists"))
                    .hint("ALTER PRIVACY UNIT … SET (…) changes its budget."))
            }
        }
    }

    /// ALTER PRIVACY UNIT … SET.
    ///
    /// # Errors
    /// 42704 if there is no such kind, else as [`Catalog::create_privacy_unit`].
    pub async fn alter_privacy_unit_set(&self, kind: &str, options: &[(String, String)]) -> Result<()> {
        self.store.alter_privacy_unit(kind, |budget| budget.alter(options)).await?;
        self.reload().await
    }

    /// ALTER PRIVACY UNIT … RESET.
    ///
    /// # Errors
    /// As [`Catalog::alter_privacy_unit_set`].
    pub async fn alter_privacy_unit_reset(&self, kind: &str, options: &[String]) -> Result<()> {
        self.store.alter_privacy_unit(kind, |budget| budget.reset(options)).await?;
        self.reload().await
    }

    /// ALTER PRIVACY UNIT … FOR … SET: what a principal may spend, if less than everybody together.
    ///
    /// # Errors
    /// 42704 if there is no such kind or role, else as [`Catalog::create_privacy_unit`].
    pub async fn alter_principal_budget_set(
        &self,
        kind: &str,
        principal: &str,
        options: &[(String, String)],
    ) -> Result<()> {
        self.check_principal(principal)?;
        self.store.alter_principal_budget(kind, principal, |budget: PrincipalBudget| budget.alter(options)).await?;
        self.reload().await
    }

    /// ALTER PRIVACY UNIT … FOR … RESET.
    ///
    /// # Errors
    /// As [`Catalog::alter_principal_budget_set`].
    pub async fn alter_principal_budget_reset(&self, kind: &str, principal: &str, options: &[String]) -> Result<()> {
        self.check_principal(principal)?;
        self.store.alter_principal_budget(kind, principal, |budget: PrincipalBudget| budget.reset(options)).await?;
        self.reload().await
    }

    /// DROP PRIVACY UNIT. What was spent stays on record.
    ///
    /// # Errors
    /// 42704 if there is no such kind, unless `if_exists`; 2BP01 while a table is of the kind.
    pub async fn drop_privacy_unit(&self, kind: &str, if_exists: bool) -> Result<Vec<String>> {
        let existed = self.store.drop_privacy_unit(kind).await?;
        self.reload().await?;
        match (existed, if_exists) {
            (true, _) => Ok(Vec::new()),
            (false, true) => Ok(vec![format!("privacy unit \"{kind}\" does not exist, skipping")]),
            (false, false) => {
                let snapshot = self.snapshot();
                let known = snapshot.privacy_units.keys().map(String::as_str);
                let error = Error::new(Sqlstate::UndefinedObject, format!("privacy unit \"{kind}\" does not exist"));
                Err(did_you_mean(error, kind, known))
            }
        }
    }

    /// Budgets are given to roles that there are: a misspelt name would limit nobody.
    fn check_principal(&self, name: &str) -> Result<()> {
        let roles = self.store.directory().all();
        if roles.contains_key(name) {
            return Ok(());
        }
        let error = Error::new(Sqlstate::UndefinedObject, format!("role \"{name}\" does not exist"));
        Err(did_you_mean(error, name, roles.keys().map(String::as_str)))
    }
}
