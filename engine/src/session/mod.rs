//! The only door for frontends: a principal's session.
//!
//! A frontend authenticates (see [`crate::auth`]), opens a [`Session`], and calls [`Session::prepare`] and
//! [`Session::execute`]. Text of several statements is split by [`Session::split`]. Everything about transactions, settings,
//! cursors and privacy happens in here; frontends translate.

pub mod accuracy;
mod acts;
mod alike;
mod auditing;
pub mod backends;
pub(crate) mod brakes;
mod constants;
pub mod context;
mod cursor;
mod dependent;
mod distinct;
mod execute;
mod explain;
mod fingerprint;
mod generic;
mod growth;
mod kept;
mod marks;
mod memory;
mod modes;
mod not_in;
mod nothing;
mod null_keys;
mod parameters;
mod peers;
pub mod planning;
mod position;
mod private;
mod query;
pub mod report;
pub mod settings;
mod signals;
mod slots;
pub mod stream;
mod temporary;
mod told;
mod transaction;
mod versions;
mod yielding;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::scalar::ScalarValue;
use tokio_util::sync::CancellationToken;

use crate::audit::Said;
use crate::error::{Error, Result, Sqlstate};
use crate::federation::client::Asked;
use crate::node::Node;
use crate::pg_catalog::Viewer;
use crate::pg_catalog::types::PgType;
use crate::principal::Principal;
use crate::statement::{self, Statement, on_large_stack};
use crate::system::LastQuery;
use alike::{Alike, Outline};
use backends::{Doing, Kept, Runs, SeenBy};
use brakes::Brakes;
use cursor::Cursor;
use execute::Described;
use kept::{KeptPlan, KeptPlans};
pub use parameters::Parameter;
use parameters::Parameters;
use planning::{Grounds, PlanningContext};
use report::PrivacyReport;
use settings::Settings;
use stream::Stop;
use temporary::Temporaries;
use told::Told;
pub use told::arrow_of_parameter;
use transaction::Transaction;

/// Most statements that one session may keep prepared by PREPARE.
const MAX_PREPARED: usize = 1_000;
/// MiB of their texts.
const MAX_PREPARED_MIB: usize = 16;

static NEXT_ID: AtomicI32 = AtomicI32::new(1_000);

/// One connection's state.
pub struct Session {
    /// The node it is at.
    pub node: Arc<Node>,
    /// Who opened it. Its built-in roles may have changed since: see [`Session::principal`].
    opened_by: Principal,
    /// A coordinator (this node itself, or a peer) asks: only own tables are there, and parts of averages may be asked for.
    subplan: bool,
    /// What that coordinator lets it spend where access is private.
    asked: Option<Asked>,
    /// Its number: what `pg_backend_pid()` answers.
    pub id: i32,
    state: Mutex<State>,
    running: Mutex<Stop>,
    closed: CancellationToken,
    /// Why it ended, if it was ended for a reason.
    ended_because: OnceLock<Error>,
    brakes: Mutex<Brakes>,
    doing: Mutex<Doing>,
}

#[derive(Default)]
struct State {
    settings: Settings,
    transaction: Transaction,
    prepared: HashMap<String, Kept>,
    cursors: HashMap<String, Arc<Cursor>>,
    last_query: LastQuery,
    temporary: Temporaries,
    /// What statements were planned in last.
    planning: Option<Arc<PlanningContext>>,
    kept: KeptPlans,
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

/// A statement that was read and planned once, ready to be described and executed any number of times.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The statement's text.
    pub text: String,
    /// $1, $2, …
    pub parameters: Vec<Parameter>,
    /// Columns of the answer, with names and types as clients see them; `None` for statements without rows.
    pub schema: Option<SchemaRef>,
    /// Why it fails however often it is run, before anything of an answer is there; for instance a division by zero.
    pub fails: Option<Error>,
    statement: Arc<Statement>,
    /// The statement, as the audit log has it.
    said: Arc<Said>,
    /// What the client says of its parameters.
    told: Told,
    plan: KeptPlan,
    /// How it is run with others of its kind.
    alike: Option<Alike>,
    runs: Arc<Runs>,
}

impl Prepared {
    /// Whether it is nothing but white space and comments: PostgreSQL's EmptyQueryResponse.
    pub fn is_empty(&self) -> bool {
        matches!(*self.statement, Statement::Empty)
    }
    /// COPY … TO STDOUT and how to write it.
    pub fn copy(&self) -> Option<&statement::Copy> {
        match &*self.statement {
            Statement::Copy(copy) => Some(copy),
            _ => None,
        }
    }
}

/// A NOTICE for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its text.
    pub message: String,
    /// Set for a WARNING: what it is about.
    pub warning: Option<Sqlstate>,
}

impl Notice {
    /// An ordinary one.
    pub fn new(message: impl Into<String>) -> Notice {
        Notice { message: message.into(), warning: None }
    }
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
    /// The command tag without a row count (`SELECT`, `SET`, `CREATE TABLE`, `BEGIN` …); for `SELECT`, `FETCH`, `MOVE`, `COPY` the frontend adds the count.
    pub tag: String,
    /// The rows, if it has any.
    pub rows: Option<Rows>,
    /// NOTICEs to send before CommandComplete, the release's among them.
    pub notices: Vec<Notice>,
    /// `(name, value)` of settings that changed and that clients are told of (ParameterStatus).
    pub parameter_status: Vec<(String, String)>,
    /// For a release: what was asked of whom, for Flight's metadata.
    pub report: Option<Arc<PrivacyReport>>,
}

impl Answer {
    fn done(tag: impl Into<String>) -> Answer {
        Answer { tag: tag.into(), rows: None, notices: Vec::new(), parameter_status: Vec::new(), report: None }
    }
    fn rows(tag: impl Into<String>, rows: Rows) -> Answer {
        Answer { rows: Some(rows), ..Answer::done(tag) }
    }
    fn warning(mut self, state: Sqlstate, message: impl Into<String>) -> Answer {
        self.notices.push(Notice { message: message.into(), warning: Some(state) });
        self
    }
}

impl Session {
    /// As [`Session::open`], if its principal may have one more.
    ///
    /// # Errors
    /// 53300 if it has as many as it may have.
    pub fn open_another(node: Arc<Node>, principal: Principal) -> Result<Arc<Session>> {
        let subplan = principal.via_peer.is_some();
        let session = Session::unknown(node, principal, subplan, None);
        let node = &session.node;
        if let Err(error) = node.limits.admit_session(&node.sessions, &session) {
            node.audit.turned_away(&session.opened_by, error.state.code());
            return Err(error);
        }
        session.end_if_suspended();
        Ok(session)
    }

    /// Opens a session of an authenticated principal.
    pub fn open(node: Arc<Node>, principal: Principal) -> Arc<Session> {
        let subplan = principal.via_peer.is_some();
        Session::open_as(node, principal, subplan, None)
    }

    /// Opens a session for a subplan of a coordinator, a peer or this node itself, with what it asks to spend where access is private.
    pub fn open_for_subplan(node: Arc<Node>, principal: Principal, asked: Option<Asked>) -> Arc<Session> {
        Session::open_as(node, principal, true, asked)
    }

    fn open_as(node: Arc<Node>, principal: Principal, subplan: bool, asked: Option<Asked>) -> Arc<Session> {
        let session = Session::unknown(node, principal, subplan, asked);
        session.node.sessions.add(&session);
        session.end_if_suspended();
        session
    }

    /// A session that the node does not know of yet.
    fn unknown(node: Arc<Node>, principal: Principal, subplan: bool, asked: Option<Asked>) -> Arc<Session> {
        let closed = node.stopping.child_token();
        let settings = Settings::default().with_start("session_authorization", principal.name.clone());
        Arc::new(Session {
            node,
            opened_by: principal,
            subplan,
            asked,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            state: Mutex::new(State { settings, ..State::default() }),
            running: Mutex::new(Stop::begin(closed.child_token(), 0)),
            closed,
            ended_because: OnceLock::new(),
            brakes: Mutex::default(),
            doing: Mutex::default(),
        })
    }

    /// Who it is, with the built-in roles it has now: a grant or its revocation works at once.
    pub fn principal(&self) -> Principal {
        self.node.store.directory().current(&self.opened_by)
    }

    /// Splits a text into statements; empty ones and comments are left out. Bounds of size, tokens and nesting are checked first.
    ///
    /// # Errors
    /// 42601 with a position for text that cannot be read; 54001 for text beyond the bounds.
    pub fn split(&self, text: &str) -> Result<Vec<Piece>> {
        statement::split(text)
    }

    /// Reads the statements of a text: PostgreSQL runs none of them if it cannot read all.
    ///
    /// # Errors
    /// 42601, with the piece that cannot be read.
    pub async fn check_syntax(&self, pieces: Vec<Piece>) -> std::result::Result<(), (Error, Piece)> {
        let unreadable = on_large_stack(move || {
            let mut errors = pieces.into_iter().filter_map(|piece| Some((statement::parse(&piece.text).err()?, piece)));
            errors.find(|(error, _)| error.state == Sqlstate::SyntaxError)
        });
        match unreadable.await {
            Ok(Some(unreadable)) => Err(unreadable),
            // What else is wrong with one is said when it is its turn.
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// Reads and plans one statement. `types` are the client's types of its parameters (missing or `None`: inferred).
    pub async fn prepare(&self, text: &str, types: &[Option<PgType>]) -> Result<Prepared> {
        if self.closed.is_cancelled() {
            return Err(self.why_ended());
        }
        let prepared = self.prepare_inner(text.to_owned(), types.into()).await;
        if prepared.is_err() {
            self.fail_transaction();
        }
        prepared
    }

    async fn prepare_inner(&self, text: String, told: Told) -> Result<Prepared> {
        if told.is_empty()
            && let Some(known) = self.known(&text)
        {
            self.state().transaction.check()?;
            return Ok(known);
        }
        let outline = if told.is_empty() { Outline::of(&text) } else { None };
        if let Some(outline) = &outline
            && let Some(known) = self.known_but_for_constants(&text, outline)
        {
            self.state().transaction.check()?;
            return Ok(known);
        }
        self.node.limits.admit_planning(&self.opened_by, self.is_own_subplan()).inspect_err(|error| {
            self.node.audit.turned_away(&self.opened_by, error.state.code());
        })?;
        Box::pin(self.prepare_anew(text, told, outline)).await
    }

    /// Whether it is what this node asks of itself for a federated question: then its statements are part of that.
    fn is_own_subplan(&self) -> bool {
        self.subplan && self.opened_by.via_peer.is_none()
    }

    /// Reads and plans a statement as it is written.
    async fn prepare_anew(&self, text: String, told: Told, outline: Option<Outline>) -> Result<Prepared> {
        let statement = {
            let text = text.clone();
            Arc::new(on_large_stack(move || statement::parse(&text)).await??)
        };
        if !matches!(*statement, Statement::Transaction(_)) {
            self.state().transaction.check()?;
        }
        let said = Said::of(&statement, text.len());
        let described = match self.describe(&text, &statement, Told::clone(&told)).await {
            Ok(described) => described,
            Err(error) => return Err(self.refused(&said, position::locate(error, &statement, &text)).await),
        };
        let Described { schema, parameters, plan, fails } = described;
        let (alike, runs) = (None, Arc::default());
        let prepared = Prepared { text, parameters, schema, fails, statement, said, told, plan, alike, runs };
        if matches!(*prepared.statement, Statement::Query(_)) && prepared.parameters.is_empty() {
            self.state().kept.remember(&prepared);
            if let Some(outline) = outline.filter(|_| prepared.fails.is_none()) {
                self.remember_kind(&prepared, outline).await;
            }
        }
        Ok(prepared)
    }

    /// A query of this text that was prepared before, if its plan stands.
    fn known(&self, text: &str) -> Option<Prepared> {
        let known = self.state().kept.of_text(text)?;
        known.plan.stands(self).then(|| Prepared { runs: Arc::default(), ..known })
    }

    /// Runs a statement with its parameters.
    ///
    /// # Errors
    /// Whatever the statement may fail with; 57014 when it is cancelled or out of time. An open transaction fails with it.
    pub async fn execute(self: &Arc<Self>, prepared: &Prepared, parameters: Vec<ScalarValue>) -> Result<Answer> {
        if self.closed.is_cancelled() {
            return Err(self.why_ended());
        }
        let running = self.node.limits.admit(&self.opened_by, self.is_own_subplan()).inspect_err(|error| {
            self.node.audit.turned_away(&self.opened_by, error.state.code());
        })?;
        let stop = self.begin_statement();
        let doings = self.begins(prepared, running);
        prepared.count_run();
        self.says(prepared, &parameters, &stop);
        let answer = match self.run_ready(prepared, &parameters, &stop).transpose() {
            Some(Ok(answer)) if stop.trail.is_nothing() => Ok(answer),
            Some(ready) => Box::pin(self.audited(&stop, ready)).await,
            // In a box: all that a statement may need is not moved about for one that needs none of it.
            None => Box::pin(self.run_audited(prepared, parameters, &stop)).await,
        };
        if answer.is_err() {
            self.fail_transaction();
        }
        let most = self.node.limits.result_rows().filter(|_| !self.subplan);
        answer.map(|answer| backends::until_read(answer, doings, most))
    }

    /// Runs a statement between its entries in the audit log.
    async fn run_audited(
        self: &Arc<Self>,
        prepared: &Prepared,
        parameters: Vec<ScalarValue>,
        stop: &Stop,
    ) -> Result<Answer> {
        self.announce(stop).await?;
        let parameters = Parameters::Values(parameters, Told::clone(&prepared.told));
        let answer = stop.guard(self.run(prepared, parameters, stop)).await;
        self.audited(stop, answer).await
    }

    fn begin_statement(&self) -> Stop {
        let token = self.closed.child_token();
        let own = self.state().settings.duration_ms("statement_timeout");
        let nodes = self.node.config.statement_timeout.map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX));
        let timeout_ms = match (own, nodes) {
            (0, other) | (other, 0) => other,
            (a, b) => a.min(b),
        };
        let stop = Stop::begin(token, timeout_ms);
        self.watch(&stop);
        *lock(&self.running) = stop.clone();
        stop
    }

    /// When the statement that runs, or ran last, is out of time.
    pub fn deadline(&self) -> Option<tokio::time::Instant> {
        lock(&self.running).deadline()
    }

    /// Stops what is running; it ends with 57014.
    pub fn cancel(&self) {
        lock(&self.running).token.cancel();
    }

    /// Fires when the session is ended from outside: by the node's stop, or by `pg_terminate_backend()`.
    pub fn ended(&self) -> CancellationToken {
        self.closed.clone()
    }

    /// A frontend tells of an error of its own (a bad message), so that an open transaction fails.
    pub fn fail_transaction(&self) {
        self.state().transaction.fail();
    }

    /// The next statement is one of a text of several: unless there is a transaction, they are one together, as in PostgreSQL.
    pub fn begin_text(&self) {
        let mut state = self.state();
        if state.transaction.begin_implicit() {
            state.settings.begin();
            state.temporary.begin();
        }
    }

    /// The text of several statements is over: what its transaction did holds, or is undone if one of them failed. Answers the settings of
    /// which clients are to be told.
    ///
    /// # Errors
    /// What the end of a transaction may fail with.
    pub fn end_text(&self) -> Result<Vec<(String, String)>> {
        let mut state = self.state();
        if !state.transaction.is_implicit() {
            return Ok(Vec::new());
        }
        let committed = state.transaction.end(true).unwrap_or_default();
        let told = state.settings.end(committed);
        state.cursors.retain(|_, cursor| cursor.outlives(committed));
        state.temporary.end(committed)?;
        Ok(told)
    }

    /// Where the transaction stands.
    pub fn transaction_status(&self) -> TransactionStatus {
        self.state().transaction.status()
    }

    /// The columns of an open cursor: in PostgreSQL it is also a portal, which drivers describe.
    pub fn cursor_schema(&self, name: &str) -> Option<SchemaRef> {
        self.state().cursors.get(name).map(|cursor| Arc::clone(&cursor.schema))
    }

    /// A setting's present value as SHOW prints it (`TimeZone`, `DateStyle`, `statement_timeout`, `kanon.sites` …).
    pub fn setting(&self, name: &str) -> Option<String> {
        self.state().settings.get(name)
    }

    /// Sets a setting as a start-up parameter or session option does: RESET goes back to it.
    ///
    /// # Errors
    /// 42704 for an unknown name, 22023 for a value it does not take.
    pub fn set(&self, name: &str, value: &str) -> Result<()> {
        self.state().settings.set_at_start(name, value)
    }

    /// What the settings are whose changes clients are told of, at the start of a connection.
    pub fn reported_settings(&self) -> Vec<(String, String)> {
        let state = self.state();
        settings::SETTINGS
            .iter()
            .filter(|s| s.reported)
            .map(|s| (s.name.to_owned(), state.settings.get(s.name).unwrap_or_default()))
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// What it sees, with the views of schema `kanon`.
    fn viewer(&self, grounds: &Grounds, views: Vec<(String, SchemaRef)>) -> Viewer {
        let principal = grounds.principal.clone();
        let snapshot = Arc::clone(&grounds.snapshot);
        let settings = grounds.settings.clone();
        let listed = settings.all();
        let mut visible = snapshot.visible_to(&principal);
        visible.extend(grounds.temporary.values().map(|table| table.in_plans()));
        Viewer {
            visible,
            views,
            snapshot,
            node_id: self.node.config.node_id.clone(),
            roles: self.node.store.roles(),
            setting: Arc::new(move |name| settings.get(name)),
            settings: listed,
            backend_pid: self.id,
            sessions: Arc::new(SeenBy { node: Arc::clone(&self.node), principal: principal.clone(), id: self.id }),
            principal,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.closed.cancel();
        self.node.sessions.remove(self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An unknown name of a prepared statement.
fn no_prepared(name: &str) -> Error {
    Error::new(Sqlstate::InvalidStatementName, format!("prepared statement \"{name}\" does not exist"))
}
