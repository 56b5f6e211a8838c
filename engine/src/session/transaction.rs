//! Where a session's transaction stands. But for temporary tables transactions are read-only; they exist for their states, which drivers rely on.

use super::TransactionStatus;
use crate::error::{Error, Result, Sqlstate};

/// The state of a transaction and its savepoints.
#[derive(Debug, Default)]
pub struct Transaction {
    open: bool,
    failed: bool,
    queried: bool,
    savepoints: Vec<String>,
}

impl Transaction {
    /// As ReadyForQuery tells it.
    pub fn status(&self) -> TransactionStatus {
        match (self.open, self.failed) {
            (false, _) => TransactionStatus::Idle,
            (true, false) => TransactionStatus::InTransaction,
            (true, true) => TransactionStatus::Failed,
        }
    }

    /// An error happened: an open transaction fails.
    pub fn fail(&mut self) {
        self.failed = self.open;
    }

    /// Whether a statement may run now.
    ///
    /// # Errors
    /// 25P02 in a failed transaction.
    pub fn check(&self) -> Result<()> {
        if self.failed {
            return Err(Error::new(
                Sqlstate::InFailedTransaction,
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        Ok(())
    }

    /// A query is asked.
    pub fn query(&mut self) {
        self.queried = self.open;
    }

    /// Whether a query was asked in it: what it is can no longer be said.
    pub fn is_queried(&self) -> bool {
        self.queried
    }

    /// BEGIN; true if one was open already (PostgreSQL warns).
    pub fn begin(&mut self) -> bool {
        std::mem::replace(&mut self.open, true)
    }

    /// COMMIT or ROLLBACK: what was done, `None` if no transaction was open (PostgreSQL warns). A failed one is rolled back by COMMIT.
    pub fn end(&mut self, commit: bool) -> Option<bool> {
        let done = self.open.then_some(commit && !self.failed);
        *self = Transaction::default();
        done
    }

    /// SAVEPOINT.
    ///
    /// # Errors
    /// 25P01 outside a transaction.
    pub fn savepoint(&mut self, name: &str) -> Result<()> {
        self.inside("SAVEPOINT")?;
        if self.savepoints.len() >= 1_000 {
            return Err(Error::new(Sqlstate::StatementTooComplex, "too many savepoints (1000)"));
        }
        self.savepoints.push(name.to_owned());
        Ok(())
    }

    /// How many savepoints there are.
    pub fn savepoints(&self) -> usize {
        self.savepoints.len()
    }

    /// RELEASE SAVEPOINT.
    pub fn release(&mut self, name: &str) -> Result<()> {
        self.inside("RELEASE SAVEPOINT")?;
        let at = self.find(name)?;
        self.savepoints.truncate(at);
        Ok(())
    }

    /// ROLLBACK TO SAVEPOINT: the transaction works again.
    pub fn rollback_to(&mut self, name: &str) -> Result<()> {
        self.inside("ROLLBACK TO SAVEPOINT")?;
        let at = self.find(name)?;
        self.savepoints.truncate(at + 1);
        self.failed = false;
        Ok(())
    }

    fn inside(&self, what: &str) -> Result<()> {
        if self.open {
            return Ok(());
        }
        Err(Error::new(Sqlstate::NoActiveTransaction, format!("{what} can only be used in transaction blocks")))
    }

    fn find(&self, name: &str) -> Result<usize> {
        self.savepoints
            .iter()
            .rposition(|s| s == name)
            .ok_or_else(|| Error::new(Sqlstate::InvalidSavepoint, format!("savepoint \"{name}\" does not exist")))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_failed_transaction_goes_on_after_rollback_to_a_savepoint() {
        let mut t = Transaction::default();
        assert_eq!(t.savepoint("a").unwrap_err().state, Sqlstate::NoActiveTransaction);
        assert!(!t.begin());
        assert!(t.begin());
        t.savepoint("a").unwrap();
        t.fail();
        assert_eq!(t.check().unwrap_err().state, Sqlstate::InFailedTransaction);
        assert_eq!(t.rollback_to("b").unwrap_err().state, Sqlstate::InvalidSavepoint);
        t.rollback_to("a").unwrap();
        t.check().unwrap();
        t.fail();
        assert_eq!(t.end(true), Some(false));
        assert_eq!(t.status(), TransactionStatus::Idle);
        assert_eq!(t.end(true), None);
    }

    #[test]
    fn an_error_outside_a_transaction_fails_none() {
        let mut t = Transaction::default();
        t.fail();
        t.check().unwrap();
        assert_eq!(t.status(), TransactionStatus::Idle);
    }
}
