//! What a connection needs of the engine: a house that knows roles and opens desks, and a desk for every connection.
//!
//! A node is the house and its sessions are the desks (see [`crate::node_house`]). The two traits keep the protocol apart from
//! them, so that it can be tested on answers of any type, endless ones among them.

use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::scalar::ScalarValue;
use kanon_engine::error::{Error, Result, Sqlstate};
use kanon_engine::limits::Place;
use kanon_engine::pg_catalog::types::PgType;
use kanon_engine::principal::Principal;
use kanon_engine::session::{Answer, Parameter, Piece, TransactionStatus};
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A statement that a desk has planned.
#[derive(Clone)]
pub struct Planned {
    /// Its text.
    pub text: String,
    /// $1, $2, …
    pub parameters: Vec<Parameter>,
    /// Columns of the answer; `None` for statements without rows.
    pub schema: Option<SchemaRef>,
    /// Set for COPY … TO STDOUT: how its rows are written.
    pub copy: Option<CopyStyle>,
    /// Why it fails whenever it is bound.
    pub fails: Option<Error>,
    /// What the desk itself keeps of it.
    pub inner: Arc<dyn Any + Send + Sync>,
}

/// How COPY writes rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyStyle {
    /// The layout of a row.
    pub layout: CopyLayout,
    /// Between columns; a tab, or a comma for CSV, unless told.
    pub delimiter: u8,
    /// For NULL; `\N`, or nothing for CSV, unless told.
    pub null: String,
    /// Whether names come first.
    pub header: bool,
    /// CSV: around values.
    pub quote: u8,
    /// CSV: before a quote in a value.
    pub escape: u8,
    /// CSV: which columns are always quoted.
    pub force_quote: ForceQuote,
}

/// Columns that CSV quotes whether they need it or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForceQuote {
    /// Of these names.
    Named(Vec<String>),
    /// Of these numbers, from 0; names become numbers when the rows' columns are known.
    Numbered(Vec<usize>),
    /// All.
    All,
}

impl CopyStyle {
    /// PostgreSQL's defaults for a layout.
    pub fn new(layout: CopyLayout) -> CopyStyle {
        let (delimiter, null) = if layout == CopyLayout::Csv { (b',', "") } else { (b'\t', "\\N") };
        CopyStyle {
            layout,
            delimiter,
            null: null.to_owned(),
            header: false,
            quote: b'"',
            escape: b'"',
            force_quote: ForceQuote::Numbered(Vec::new()),
        }
    }

    /// The same for rows of these columns.
    ///
    /// # Errors
    /// 42703 for a column to be quoted that there is not.
    pub fn for_columns(mut self, names: &[&str]) -> Result<CopyStyle> {
        if let ForceQuote::Named(wanted) = &self.force_quote {
            let number = |name: &String| {
                names
                    .iter()
                    .position(|known| known == name)
                    .ok_or_else(|| Error::new(Sqlstate::UndefinedColumn, format!("column \"{name}\" does not exist")))
            };
            self.force_quote = ForceQuote::Numbered(wanted.iter().map(number).collect::<Result<_>>()?);
        }
        Ok(self)
    }

    /// Whether a column is always quoted.
    pub fn quotes(&self, column: usize) -> bool {
        match &self.force_quote {
            ForceQuote::All => true,
            ForceQuote::Numbered(numbers) => numbers.contains(&column),
            ForceQuote::Named(_) => false,
        }
    }
}

/// The layouts of COPY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyLayout {
    /// Lines, with backslashes.
    Text,
    /// Lines, with quotes.
    Csv,
    /// PGCOPY.
    Binary,
}

/// One connection's session.
#[async_trait]
pub trait Desk: Send + Sync + 'static {
    /// Its number, which BackendKeyData and `pg_backend_pid()` tell.
    fn id(&self) -> i32;
    /// Splits a text into statements; empty ones are left out.
    fn split(&self, text: &str) -> Result<Vec<Piece>>;
    /// Looks whether all statements of a text can be read; if not, at the first that cannot.
    async fn check_syntax(&self, pieces: &[Piece]) -> std::result::Result<(), (Error, Piece)>;
    /// Plans one statement; `types` are the client's types of its parameters, `None` where it leaves them open.
    async fn prepare(&self, text: &str, types: &[Option<PgType>]) -> Result<Planned>;
    /// Runs a statement up to its first row.
    async fn execute(&self, planned: &Planned, parameters: Vec<ScalarValue>) -> Result<Answer>;
    /// Stops what is running.
    fn cancel(&self);
    /// Whether it stops statements itself that take too long. A frontend's own clock stops those of any other desk.
    fn keeps_time(&self) -> bool {
        false
    }
    /// When the statement that was executed last is out of time, if the desk keeps time.
    fn deadline(&self) -> Option<Instant> {
        None
    }
    /// The next statement is one of a text of several: together they are one transaction, unless there is one.
    fn begin_text(&self);
    /// The text is over, and the transaction that it was. Gives the settings that changed with its end.
    fn end_text(&self) -> Result<Vec<(String, String)>>;
    /// Fails an open transaction, for an error that the desk does not know of.
    fn fail_transaction(&self);
    /// Where the transaction stands.
    fn transaction_status(&self) -> TransactionStatus;
    /// A setting as SHOW prints it.
    fn setting(&self, name: &str) -> Option<String>;
    /// Settings that clients are told of when they connect.
    fn reported_settings(&self) -> Vec<(String, String)>;
    /// Sets a setting as a start-up parameter does.
    fn set(&self, name: &str, value: &str) -> Result<()>;
    /// The columns of a cursor that DECLARE opened.
    fn cursor_schema(&self, name: &str) -> Option<SchemaRef>;
    /// Whether a statement is kept under a name, by PREPARE or by [`Desk::keep`].
    fn is_kept(&self, name: &str) -> bool;
    /// Keeps a statement of the protocol under a name, with the OIDs of its parameters' types.
    fn keep(&self, name: &str, planned: &Planned, types: &[u32]);
    /// Lets go of it.
    fn forget(&self, name: &str);
    /// Fires when the session is ended from outside.
    fn ended(&self) -> CancellationToken;
}

/// What a role needs to prove, and who it then is.
pub struct Credentials {
    /// `SCRAM-SHA-256$…`; for a role that cannot log in one that no password fits, the same on every attempt.
    pub verifier: String,
    /// Whose password it is; `None` if it is nobody's.
    pub principal: Option<Principal>,
}

/// Who knows roles and opens sessions.
#[async_trait]
pub trait House: Send + Sync + 'static {
    /// A place for a connection from an address, until it is dropped.
    ///
    /// # Errors
    /// 53300 if the address has as many as it may have.
    fn admit(&self, from: IpAddr) -> Result<Place>;
    /// What a role must prove. One that does not exist is not told apart until its proof was asked for.
    async fn credentials(&self, role: &str, from: IpAddr) -> Result<Credentials>;
    /// Whose a token or API key is.
    ///
    /// # Errors
    /// 28000 with one text, if it is nobody's.
    async fn bearer(&self, token: &str) -> Result<Principal>;
    /// Who a role is, if a client may be it by the certificate that it showed in the handshake of TLS, its own first; nothing is in `chain` if it showed none.
    fn certificate(&self, chain: &[CertificateDer<'static>], role: &str) -> Option<Principal>;
    /// A principal proved who it is, from an address: the house's log says so before it is let in.
    ///
    /// # Errors
    /// If that cannot be written: then it is not let in.
    async fn logged_in(&self, principal: &Principal, from: IpAddr) -> Result<()>;
    /// Somebody did not prove to be a role.
    fn login_failed(&self, role: &str, from: IpAddr);
    /// Opens a session of a principal that proved who it is.
    ///
    /// # Errors
    /// 53300 if it has as many as it may have.
    fn open(&self, principal: Principal) -> Result<Arc<dyn Desk>>;
}
