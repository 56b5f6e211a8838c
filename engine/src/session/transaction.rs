//! Where a session's transaction stands. But for temporary tables transactions are read-only; they exist for their states, which drivers rely on.

use super::TransactionStatus;
use crate::error::{Error, Result, Sqlstate};

/// The state of a transaction and its savepoints.
#[derive(Debug, Default)]
pub struct Transaction {
    open: bool,
    /// Nobody began it: it is that of a text of several statements, and clients do not know of it.
    implicit: bool,
    failed: bool,
    queried: bool,
    savepoints: Vec<String>,
}

/// What BEGIN did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// A transaction began.
    Anew,
    /// That of the text of several statements goes on beyond it.
    GoesOn,
    /// One was open already (PostgreSQL warns).
    Already,
}

impl Transaction {
    /// As ReadyForQuery tells it.
    pub fn status(&self) -> TransactionStatus {
        match (self.open && !self.implicit, self.failed) {
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
            return Err(Error::in_failed_transaction());
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

    /// Whether what a statement does is undone if a later one fails.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Whether it is that of a text of several statements.
    pub fn is_implicit(&self) -> bool {
        self.implicit
    }

    /// BEGIN.
    pub fn begin(&mut self) -> Begun {
        let implicit = std::mem::take(&mut self.implicit);
        match (std::mem::replace(&mut self.open, true), implicit) {
            (false, _) => Begun::Anew,
            (true, true) => Begun::GoesOn,
            (true, false) => Begun::Already,
        }
    }

    /// The transaction of a text of several statements; false if there is one already.
    pub fn begin_implicit(&mut self) -> bool {
        if self.open {
            return false;
        }
        (self.open, self.implicit) = (true, true);
        true
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
        if self.open && !self.implicit {
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
        assert_eq!(t.begin(), Begun::Anew);
        assert_eq!(t.begin(), Begun::Already);
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
    fn the_transaction_of_a_text_is_nobody_s_until_begin() {
        let mut t = Transaction::default();
        assert!(t.begin_implicit());
        assert!(!t.begin_implicit());
        assert_eq!(t.status(), TransactionStatus::Idle);
        assert_eq!(t.savepoint("a").unwrap_err().state, Sqlstate::NoActiveTransaction);
        assert_eq!(t.begin(), Begun::GoesOn);
        assert!(!t.is_implicit());
        t.savepoint("a").unwrap();
        assert_eq!(t.end(true), Some(true));
        assert!(t.begin_implicit());
        t.fail();
        assert_eq!(t.end(true), Some(false), "it failed");
    }

    #[test]
    fn an_error_outside_a_transaction_fails_none() {
        let mut t = Transaction::default();
        t.fail();
        t.check().unwrap();
        assert_eq!(t.status(), TransactionStatus::Idle);
    }
}
