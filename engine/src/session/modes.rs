//! What transactions say of themselves: their isolation, whether they are read-only, whether they are deferrable. Every transaction is a snapshot and reads only,
//! whatever it says; drivers rely on its saying so.

use super::State;
use super::settings::find;
use super::transaction::Transaction;
use crate::error::{Error, Result, Sqlstate};
use crate::statement::Modes;

/// Changes of settings that clients are told of: names and values.
type Told = Vec<(String, String)>;

impl State {
    /// SET of a setting, in or out of a transaction. Answers what clients are to be told.
    ///
    /// # Errors
    /// See [`super::settings::Settings::set`]; 25001 for what a transaction can no longer be.
    pub(super) fn set(&mut self, name: &str, value: &str, local: bool) -> Result<Option<(String, String)>> {
        let before = self.settings.get(name);
        let told = self.settings.set(name, value, local)?;
        let name = find(name).map_or(name, |setting| setting.name);
        let after = self.settings.get(name);
        self.transaction.check_said(name, before.as_deref(), after.as_deref())?;
        Ok(told)
    }

    /// What the present transaction says of itself.
    pub(super) fn set_modes(&mut self, modes: &Modes) -> Result<Told> {
        self.set_all("transaction", modes, true)
    }

    /// What transactions to come say of themselves.
    pub(super) fn set_default_modes(&mut self, modes: &Modes) -> Result<Told> {
        self.set_all("default_transaction", modes, false)
    }

    fn set_all(&mut self, prefix: &str, modes: &Modes, local: bool) -> Result<Told> {
        let on_off = |on: bool| if on { "on" } else { "off" };
        let said = [
            ("isolation", modes.isolation),
            ("read_only", modes.read_only.map(on_off)),
            ("deferrable", modes.deferrable.map(on_off)),
        ];
        let mut told = Told::new();
        for (what, value) in said {
            if let Some(value) = value {
                told.extend(self.set(&format!("{prefix}_{what}"), value, local)?);
            }
        }
        Ok(told)
    }
}

impl Transaction {
    /// Whether a transaction can still say what it now says of itself.
    ///
    /// # Errors
    /// 25001, in PostgreSQL's words.
    fn check_said(&self, name: &str, before: Option<&str>, after: Option<&str>) -> Result<()> {
        let (is_inner, is_late) = (self.savepoints() > 0, self.is_queried());
        let refusal = match name {
            "transaction_isolation" if before != after && is_late => {
                "SET TRANSACTION ISOLATION LEVEL must be called before any query"
            }
            "transaction_isolation" if before != after && is_inner => {
                "SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction"
            }
            "transaction_read_only" if before == Some("on") && after == Some("off") && is_inner => {
                "cannot set transaction read-write mode inside a read-only transaction"
            }
            "transaction_read_only" if before == Some("on") && after == Some("off") && is_late => {
                "transaction read-write mode must be set before any query"
            }
            "transaction_deferrable" if is_inner => {
                "SET TRANSACTION [NOT] DEFERRABLE must not be called within a subtransaction"
            }
            "transaction_deferrable" if is_late => "SET TRANSACTION [NOT] DEFERRABLE must be called before any query",
            _ => return Ok(()),
        };
        Err(Error::new(Sqlstate::ActiveTransaction, refusal))
    }
}
