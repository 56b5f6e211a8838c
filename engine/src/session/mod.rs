//! The only door for frontends: a principal's session.
//!
//! A frontend authenticates (see [`crate::node::Node`]), opens a [`Session`], and calls [`Session::prepare`] and
//! [`Session::execute`]. Text of several statements is split by [`Session::split`]. Everything about transactions, settings,
//! cursors and privacy happens in here; frontends translate.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::scalar::ScalarValue;

use crate::error::{Error, Result};
use crate::node::Node;
use crate::principal::Principal;

/// One connection's state.
pub struct Session {
    /// The node it is at.
    pub node: Arc<Node>,
    /// Who it is.
    pub principal: Principal,
}

/// A statement of a text of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its text.
    pub text: String,
    /// Where it stands in the whole, in bytes.
    pub range: Range<usize>,
}

/// PostgreSQL's ReadyForQuery states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// `I`
    Idle,
    /// `T`
    InTransaction,
    /// `E`
    Failed,
}

/// A planned statement, ready to be described and executed any number of times.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The statement's text.
    pub text: String,
    /// Types of $1, $2, …
    pub parameters: Vec<DataType>,
    /// Columns of the answer, with names and types as clients see them; `None` for statements without rows.
    pub schema: Option<SchemaRef>,
}

/// A NOTICE for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its text.
    pub message: String,
}

/// Rows on their way, read batch by batch.
pub struct Rows {
    /// Their columns.
    pub schema: SchemaRef,
    /// The batches. Dropping it stops the query.
    pub stream: SendableRecordBatchStream,
}

/// What a statement answers.
pub struct Answer {
    /// The command tag without a row count (`SELECT`, `SET`, `CREATE TABLE`, `BEGIN` …); for `SELECT`, `FETCH`, `COPY` the frontend adds the count.
    pub tag: String,
    /// The rows, if it has any.
    pub rows: Option<Rows>,
    /// NOTICEs to send before CommandComplete, the release's among them.
    pub notices: Vec<Notice>,
    /// `(name, value)` of settings that changed and that clients are told of (ParameterStatus).
    pub parameter_status: Vec<(String, String)>,
}

impl Session {
    /// Opens a session of an authenticated principal.
    pub fn open(node: Arc<Node>, principal: Principal) -> Arc<Session> {
        Arc::new(Session { node, principal })
    }

    /// Splits a text into statements; empty ones and comments are left out. Bounds of size, tokens and nesting are checked first.
    ///
    /// # Errors
    /// 42601 with a position for text that cannot be read; 54001 for text beyond the bounds.
    pub fn split(&self, _text: &str) -> Result<Vec<Piece>> {
        Err(Error::unsupported("not built"))
    }

    /// Plans one statement. `types` are the client's types of its parameters (missing or `None`: inferred).
    pub async fn prepare(&self, _text: &str, _types: &[Option<DataType>]) -> Result<Prepared> {
        Err(Error::unsupported("not built"))
    }

    /// Runs a statement with its parameters.
    pub async fn execute(&self, _prepared: &Prepared, _parameters: Vec<ScalarValue>) -> Result<Answer> {
        Err(Error::unsupported("not built"))
    }

    /// Stops what is running; it ends with 57014.
    pub fn cancel(&self) {}

    /// A frontend tells of an error of its own (a bad message), so that an open transaction fails.
    pub fn fail_transaction(&self) {}

    /// Where the transaction stands.
    pub fn transaction_status(&self) -> TransactionStatus {
        TransactionStatus::Idle
    }

    /// A setting's present value as SHOW prints it (`TimeZone`, `DateStyle`, `statement_timeout`, `kanon.sites` …).
    pub fn setting(&self, _name: &str) -> Option<String> {
        None
    }

    /// Sets a setting as SET does (start-up parameters, Flight session options).
    pub fn set(&self, name: &str, _value: &str) -> Result<()> {
        Err(Error::unsupported(format!("setting {name}")))
    }
}
