//! Statements: their bounds, the parser, and what each kind of statement is.
//!
//! ```text
//! text ─► bounds (size, tokens, nesting, chains: 54001) ─► split ─► parse ─┬─► Query, Explain, Declare, Copy … : a query's tree
//!                                                                           ├─► Set, Show, Transaction, Fetch … : for the session
//!                                                                           ├─► Temporary: on the session's temporary tables
//!                                                                           ├─► Act: a function with effects, see [`acts`]
//!                                                                           ├─► Steward: run by [`steward`] on catalog and store
//!                                                                           └─► Refused: the kind has no place here
//! ```
//!
//! Queries are read by sqlparser in PostgreSQL's dialect; every other kind by a small parser of our own on the same tokens
//! ([`front`], [`steward`]), which knows a statement by its first words and refuses those that it does not know: no kind slips
//! through because a library has learnt it. [`refuse_ignored`] refuses in queries what the planner would read and then ignore.
//!
//! Parsing recurses: call [`split`] and [`parse`] with [`on_large_stack`], and let go of big trees there too.

use std::ops::Range;

use datafusion::sql::sqlparser::ast::{DataType, Expr, Function, Ident, Query};

pub use acts::{Act, Argument, Procedure};
pub use bounds::{
    MAX_EXPANDED_TABLES, MAX_JOINS, MAX_LIST_ITEMS, MAX_NESTING, MAX_OPERATORS, MAX_SET_OPERATIONS, MAX_TEXT_BYTES,
    MAX_TOKENS,
};
pub use ignored::refuse_ignored;
pub use stack::{future_on_large_stack, on_large_stack, wait_on_large_stack};
pub use steward::{Password, StewardStatement};
pub use temporary::Temporary;

use crate::error::{Error, Result};
use crate::session::Piece;

pub mod acts;
mod bounds;
mod copy;
mod cursors;
mod dialect;
mod front;
mod ignored;
mod lexer;
mod reader;
mod reserved;
mod stack;
pub mod steward;
pub mod temporary;
#[cfg(test)]
mod tests;

/// One statement, known by its kind.
#[derive(Debug, Clone)]
pub enum Statement {
    /// Nothing but white space and comments.
    Empty,
    /// SELECT, VALUES, TABLE, WITH.
    Query(Box<Query>),
    /// EXPLAIN of a query.
    Explain(Explain),
    /// SET.
    Set(Set),
    /// SHOW.
    Show(Settings),
    /// RESET.
    Reset(Settings),
    /// BEGIN to ROLLBACK.
    Transaction(Transaction),
    /// PREPARE.
    Prepare(Prepare),
    /// EXECUTE: of a statement's name with arguments.
    Execute {
        /// What to run.
        name: String,
        /// Constant expressions.
        arguments: Vec<Expr>,
    },
    /// DEALLOCATE of one, or all (`None`).
    Deallocate(Option<String>),
    /// DECLARE … CURSOR.
    Declare(Declare),
    /// FETCH, and MOVE, which answers no rows.
    Fetch(Fetch),
    /// CLOSE of one cursor, or all (`None`).
    Close(Option<String>),
    /// DISCARD.
    Discard(Discard),
    /// COPY … TO STDOUT.
    Copy(Copy),
    /// LISTEN: nobody notifies, so nothing ever comes.
    Listen,
    /// UNLISTEN.
    Unlisten,
    /// A function that has effects.
    Act(Box<Act>),
    /// CALL of something else.
    Call(Box<Function>),
    /// On temporary tables.
    Temporary(Box<Temporary>),
    /// What stewards and admins say.
    Steward(StewardStatement),
    /// A kind of statement that a node does not take, with the reason.
    Refused(Error),
}

/// EXPLAIN of a query.
#[derive(Debug, Clone)]
pub struct Explain {
    /// `(PRIVACY)`: what would leave and what it costs, without touching data.
    pub privacy: bool,
    /// ANALYZE was asked for.
    pub analyze: bool,
    /// VERBOSE was asked for.
    pub verbose: bool,
    /// FORMAT.
    pub format: ExplainFormat,
    /// What to explain.
    pub query: Box<Query>,
}

/// How EXPLAIN answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExplainFormat {
    /// Lines.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// SET of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its name, in lower case, with its dot if it has one: `timezone`, `kanon.sites`.
    pub name: String,
    /// Its new value; `None`: DEFAULT.
    pub value: Option<Vec<String>>,
    /// LOCAL: to the end of the transaction.
    pub local: bool,
}

/// Which settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settings {
    /// One, in lower case.
    One(String),
    /// ALL of them.
    All,
}

/// Statements about transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transaction {
    /// BEGIN, START TRANSACTION.
    Begin {
        /// What kind of transaction.
        modes: Modes,
        /// START TRANSACTION has a tag of its own.
        start: bool,
    },
    /// COMMIT, END.
    Commit {
        /// AND CHAIN.
        chain: bool,
    },
    /// ROLLBACK, ABORT.
    Rollback {
        /// AND CHAIN.
        chain: bool,
    },
    /// SAVEPOINT.
    Savepoint(String),
    /// RELEASE.
    Release(String),
    /// ROLLBACK TO.
    RollbackTo(String),
    /// SET TRANSACTION, and for the transactions to come SET SESSION CHARACTERISTICS.
    Set {
        /// What kind of transaction.
        modes: Modes,
        /// For all to come.
        session: bool,
    },
}

/// What a transaction is asked to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Modes {
    /// As SHOW prints it: `read committed`.
    pub isolation: Option<&'static str>,
    /// READ ONLY or READ WRITE.
    pub read_only: Option<bool>,
    /// DEFERRABLE or not.
    pub deferrable: Option<bool>,
}

/// PREPARE of a statement.
#[derive(Debug, Clone)]
pub struct Prepare {
    /// Its name.
    pub name: String,
    /// Types of its parameters, as far as they are told.
    pub types: Vec<DataType>,
    /// Its text, read once without error.
    pub text: String,
}

/// DECLARE of a cursor.
#[derive(Debug, Clone)]
pub struct Declare {
    /// Its name.
    pub name: String,
    /// Rows go out in binary.
    pub binary: bool,
    /// SCROLL or NO SCROLL, if told.
    pub scroll: Option<bool>,
    /// WITH HOLD: it outlives the transaction.
    pub hold: bool,
    /// What it reads.
    pub query: Box<Query>,
}

/// FETCH or MOVE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The cursor.
    pub cursor: String,
    /// Where to and how far.
    pub direction: Direction,
    /// MOVE: rows are passed over, not sent.
    pub only_move: bool,
}

/// Where FETCH goes. `None` as a count: ALL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// So many rows on; fewer than none: back.
    Forward(Option<i64>),
    /// So many rows back.
    Backward(Option<i64>),
    /// The row of that number, from the end if negative.
    Absolute(i64),
    /// The row so many on.
    Relative(i64),
}

/// What DISCARD throws away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    /// Everything of the session.
    All,
    /// Plans.
    Plans,
    /// Sequences, of which there are none.
    Sequences,
    /// Temporary tables.
    Temp,
}

/// COPY … TO STDOUT.
#[derive(Debug, Clone)]
pub struct Copy {
    /// What to send; `COPY t (a, b)` is a query on `t`.
    pub query: Box<Query>,
    /// FORMAT.
    pub format: CopyFormat,
    /// Between values: one byte. Unset: a tab, or a comma in CSV.
    pub delimiter: Option<u8>,
    /// For NULL. Unset: `\N`, or nothing in CSV.
    pub null: Option<String>,
    /// Names of the columns first.
    pub header: bool,
    /// CSV: around values. Unset: `"`.
    pub quote: Option<u8>,
    /// CSV: before a quote in a value. Unset: the quote.
    pub escape: Option<u8>,
    /// CSV: quote these columns' values whether they need it or not.
    pub force_quote: ForceQuote,
}

/// Columns of CSV that are always quoted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ForceQuote {
    /// None.
    #[default]
    Needed,
    /// These.
    Columns(Vec<Ident>),
    /// All.
    All,
}

/// How COPY writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CopyFormat {
    /// PostgreSQL's text.
    #[default]
    Text,
    /// CSV.
    Csv,
    /// PostgreSQL's binary.
    Binary,
}

/// Splits a text into its statements. Empty ones and comments are left out.
///
/// # Errors
/// 42601 with a position for text that cannot be read; 54001 for a text beyond the bounds.
pub fn split(text: &str) -> Result<Vec<Piece>> {
    Ok(ranges(&lexer::lex(text)?)
        .into_iter()
        .filter_map(|range| Some(Piece { text: text.get(range.clone())?.to_owned(), range }))
        .collect())
}

/// Reads one statement. Call it with [`on_large_stack`].
///
/// # Errors
/// 42601 with a position and PostgreSQL's words; 54001 for a statement beyond the bounds; what [`refuse_ignored`] refuses.
pub fn parse(text: &str) -> Result<Statement> {
    let tokens = lexer::lex(text)?;
    bounds::check_tokens(&tokens)?;
    front::statement(reader::Reader::new(text, &tokens))
}

/// The parts of a name with dots, as in `public.patients` or `"My Table"`; `None` if it is none.
pub(crate) fn names(text: &str) -> Option<Vec<String>> {
    let tokens = lexer::lex(text).ok()?;
    let mut reader = reader::Reader::new(text, &tokens);
    let names = reader.dotted_name().ok()?;
    reader.finish(names).ok()
}

/// A query that the session writes itself.
///
/// # Errors
/// As [`parse`].
pub(crate) fn query_of(text: &str) -> Result<Box<Query>> {
    let tokens = lexer::lex(text)?;
    let mut query = reader::Reader::new(text, &tokens).query()?;
    ignored::prepare(&mut query)?;
    Ok(query)
}

/// The type of a name in SQL.
pub(crate) fn type_of(text: &str) -> Result<DataType> {
    let tokens = lexer::lex(text)?;
    let mut reader = reader::Reader::new(text, &tokens);
    let data_type = reader.data_type()?;
    reader.finish(data_type)
}

/// Where the statements of a text stand: from their first token to the end of their last.
fn ranges(tokens: &[lexer::Lexeme]) -> Vec<Range<usize>> {
    use datafusion::sql::sqlparser::tokenizer::Token;
    tokens
        .split(|lexeme| lexeme.token.token == Token::SemiColon)
        .filter_map(|statement| Some(statement.first()?.bytes.start..statement.last()?.bytes.end))
        .collect()
}

impl Statement {
    /// Whether it answers rows. EXECUTE does if what it runs does.
    pub fn returns_rows(&self) -> bool {
        match self {
            Statement::Query(_)
            | Statement::Explain(_)
            | Statement::Show(_)
            | Statement::Execute { .. }
            | Statement::Act(_)
            | Statement::Call(_) => true,
            Statement::Fetch(fetch) => !fetch.only_move,
            Statement::Empty
            | Statement::Set(_)
            | Statement::Reset(_)
            | Statement::Transaction(_)
            | Statement::Prepare(_)
            | Statement::Deallocate(_)
            | Statement::Declare(_)
            | Statement::Close(_)
            | Statement::Discard(_)
            | Statement::Copy(_)
            | Statement::Listen
            | Statement::Unlisten
            | Statement::Temporary(_)
            | Statement::Steward(_)
            | Statement::Refused(_) => false,
        }
    }

    /// Whether it reads something: what its transaction is can no longer be said after it.
    pub fn is_query(&self) -> bool {
        matches!(
            self,
            Statement::Query(_)
                | Statement::Explain(_)
                | Statement::Prepare(_)
                | Statement::Execute { .. }
                | Statement::Declare(_)
                | Statement::Copy(_)
                | Statement::Act(_)
                | Statement::Call(_)
                | Statement::Temporary(_)
        )
    }

    /// PostgreSQL's command tag, without a count of rows. EXECUTE takes that of what it runs; steward statements tell theirs when
    /// they run; empty and refused ones have none.
    pub fn tag(&self) -> &'static str {
        match self {
            Statement::Empty | Statement::Refused(_) => "",
            Statement::Query(_) | Statement::Execute { .. } => "SELECT",
            Statement::Explain(_) => "EXPLAIN",
            Statement::Set(_) => "SET",
            Statement::Show(_) => "SHOW",
            Statement::Reset(_) => "RESET",
            Statement::Transaction(transaction) => match transaction {
                Transaction::Begin { start: false, .. } => "BEGIN",
                Transaction::Begin { start: true, .. } => "START TRANSACTION",
                Transaction::Commit { .. } => "COMMIT",
                Transaction::Rollback { .. } | Transaction::RollbackTo(_) => "ROLLBACK",
                Transaction::Savepoint(_) => "SAVEPOINT",
                Transaction::Release(_) => "RELEASE",
                Transaction::Set { .. } => "SET",
            },
            Statement::Prepare(_) => "PREPARE",
            Statement::Deallocate(Some(_)) => "DEALLOCATE",
            Statement::Deallocate(None) => "DEALLOCATE ALL",
            Statement::Declare(_) => "DECLARE CURSOR",
            Statement::Fetch(fetch) if fetch.only_move => "MOVE",
            Statement::Fetch(_) => "FETCH",
            Statement::Close(Some(_)) => "CLOSE CURSOR",
            Statement::Close(None) => "CLOSE CURSOR ALL",
            Statement::Discard(what) => match what {
                Discard::All => "DISCARD ALL",
                Discard::Plans => "DISCARD PLANS",
                Discard::Sequences => "DISCARD SEQUENCES",
                Discard::Temp => "DISCARD TEMP",
            },
            Statement::Copy(_) => "COPY",
            Statement::Listen => "LISTEN",
            Statement::Unlisten => "UNLISTEN",
            Statement::Act(act) if !act.is_call => "SELECT",
            Statement::Act(_) | Statement::Call(_) => "CALL",
            Statement::Temporary(temporary) => temporary.tag(),
            Statement::Steward(statement) => statement.tag(),
        }
    }
}
