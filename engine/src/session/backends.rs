//! What there is to see of sessions: those of one principal at a node, what they run, and what this one keeps.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::Result as DfResult;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use futures::Stream;

use super::{Answer, Prepared, Session, TransactionStatus, lock};
use crate::limits::{Running, too_many_rows};
use crate::node::Node;
use crate::pg_catalog::sessions::{Activity, OpenCursor, PreparedStatement, Sessions};
use crate::principal::Principal;
use crate::statement::{Procedure, Statement};

/// The open sessions of a node, by their numbers.
#[derive(Default)]
pub struct OpenSessions(Mutex<HashMap<i32, Open>>);

/// A session that is open.
struct Open {
    session: Weak<Session>,
    /// Whose it is; nobody's if a coordinator asks for it.
    of: Option<String>,
}

impl Open {
    fn of(session: &Arc<Session>) -> Open {
        let of = (!session.subplan).then(|| session.opened_by.display());
        Open { session: Arc::downgrade(session), of }
    }
}

impl OpenSessions {
    /// A session opens.
    pub(crate) fn add(&self, session: &Arc<Session>) {
        lock(&self.0).insert(session.id, Open::of(session));
    }

    /// A session opens, unless its principal has so many already: they are counted and it is added at one moment. Whether it did.
    pub(crate) fn add_within(&self, most: usize, session: &Arc<Session>) -> bool {
        let new = Open::of(session);
        let mut open = lock(&self.0);
        let may_open = new.of.is_none() || open.values().filter(|known| known.of == new.of).count() < most;
        if may_open {
            open.insert(session.id, new);
        }
        may_open
    }

    /// A session is gone.
    pub(super) fn remove(&self, id: i32) {
        lock(&self.0).remove(&id);
    }

    /// All of them, in any order.
    pub(super) fn all(&self) -> Vec<Arc<Session>> {
        // Let go of the lock first: a session that is dropped here takes it.
        let all: Vec<Weak<Session>> = lock(&self.0).values().map(|open| open.session.clone()).collect();
        all.iter().filter_map(Weak::upgrade).collect()
    }

    /// A principal's own, in any order.
    pub(super) fn of(&self, principal: &Principal) -> Vec<Arc<Session>> {
        self.all().into_iter().filter(|session| session.is_of(principal)).collect()
    }

    /// A principal's own of a number.
    pub(super) fn one_of(&self, principal: &Principal, id: i32) -> Option<Arc<Session>> {
        let session = lock(&self.0).get(&id).map(|open| open.session.clone());
        session.and_then(|session| session.upgrade()).filter(|session| session.is_of(principal))
    }
}

/// A statement that a session keeps under a name.
pub(super) struct Kept {
    pub(super) prepared: Arc<Prepared>,
    /// Whether PREPARE made it, or a frontend.
    pub(super) from_sql: bool,
    text: String,
    /// The PostgreSQL types of its parameters.
    types: Vec<u32>,
    /// In microseconds since 1970.
    made_at: i64,
}

impl Kept {
    /// What PREPARE makes; `text` is all of that.
    pub(super) fn from_sql(prepared: Prepared, text: String) -> Kept {
        let types = prepared.parameters.iter().map(|of| of.pg_type.oid).collect();
        Kept { prepared: Arc::new(prepared), from_sql: true, text, types, made_at: now_us() }
    }
}

/// How often a statement was planned for a run.
#[derive(Debug, Default)]
pub(super) struct Runs(AtomicI64);

impl Prepared {
    /// A run of it begins.
    pub(super) fn count_run(&self) {
        self.runs.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a session does.
#[derive(Debug, Clone)]
pub(super) struct Doing {
    opened_at: i64,
    /// The transaction's beginning.
    transaction_at: Option<i64>,
    began_at: Option<i64>,
    changed_at: i64,
    text: String,
    /// Which statement of the session it is.
    number: u64,
    is_running: bool,
}

impl Default for Doing {
    fn default() -> Self {
        let now = now_us();
        Doing {
            opened_at: now,
            transaction_at: None,
            began_at: None,
            changed_at: now,
            text: String::new(),
            number: 0,
            is_running: false,
        }
    }
}

/// A statement that runs, for as long as this is kept.
pub(super) struct Doings {
    session: Weak<Session>,
    number: u64,
    _running: Running,
}

impl Drop for Doings {
    fn drop(&mut self) {
        let Some(session) = self.session.upgrade() else { return };
        let in_transaction = session.transaction_status() != TransactionStatus::Idle;
        let mut doing = lock(&session.doing);
        if doing.number == self.number {
            doing.is_running = false;
            doing.changed_at = now_us();
            doing.transaction_at = doing.transaction_at.filter(|_| in_transaction);
        }
    }
}

impl Session {
    /// Whether it was opened by a principal, and not for a coordinator.
    fn is_of(&self, principal: &Principal) -> bool {
        let own = &self.opened_by;
        !self.subplan
            && own.name == principal.name
            && own.home_node == principal.home_node
            && own.via_peer == principal.via_peer
    }

    /// A statement begins to run.
    pub(super) fn begins(self: &Arc<Self>, prepared: &Prepared, running: Running) -> Doings {
        let now = now_us();
        let mut doing = lock(&self.doing);
        doing.number += 1;
        doing.is_running = true;
        doing.transaction_at = doing.transaction_at.or(Some(now));
        (doing.began_at, doing.changed_at) = (Some(now), now);
        // A steward's may hold a password.
        doing.text = match &*prepared.statement {
            Statement::Steward(statement) => statement.tag().to_owned(),
            // And this one a token.
            Statement::Act(act) if act.procedure == Procedure::AcceptInvite => {
                format!("kanon.{}", act.procedure.name())
            }
            _ => prepared.text.clone(),
        };
        Doings { session: Arc::downgrade(self), number: doing.number, _running: running }
    }

    /// Whether a statement is kept under a name.
    pub fn is_kept(&self, name: &str) -> bool {
        self.state().prepared.contains_key(name)
    }

    /// A frontend keeps a statement under a name, with the PostgreSQL types of its parameters: EXECUTE runs it too.
    pub fn keep(&self, name: &str, prepared: &Prepared, types: &[u32]) {
        let kept = Kept {
            prepared: Arc::new(prepared.clone()),
            from_sql: false,
            text: prepared.text.clone(),
            types: types.to_vec(),
            made_at: now_us(),
        };
        self.state().prepared.insert(name.to_owned(), kept);
    }

    /// A frontend lets go of a statement.
    pub fn forget(&self, name: &str) {
        self.state().prepared.remove(name);
    }

    /// Who opened it, with the roles it had then.
    pub fn opened_by(&self) -> &Principal {
        &self.opened_by
    }

    /// Ends it: what runs stops, and a frontend closes the connection.
    pub fn terminate(&self) {
        self.closed.cancel();
    }

    fn activity(&self) -> Activity {
        let doing = lock(&self.doing).clone();
        let state = match (doing.is_running, self.transaction_status()) {
            (true, _) => "active",
            (false, TransactionStatus::Idle) => "idle",
            (false, TransactionStatus::InTransaction) => "idle in transaction",
            (false, TransactionStatus::Failed) => "idle in transaction (aborted)",
        };
        Activity {
            pid: self.id,
            role: self.opened_by.display(),
            application_name: self.setting("application_name").unwrap_or_default(),
            opened_at: doing.opened_at,
            transaction_at: doing.transaction_at,
            began_at: doing.began_at,
            changed_at: doing.changed_at,
            state,
            text: doing.text,
        }
    }
}

/// The answer, whose statement runs until its rows are read or let go, and which fails beyond so many rows.
pub(super) fn until_read(mut answer: Answer, doings: Doings, most_rows: Option<u64>) -> Answer {
    if let Some(rows) = &mut answer.rows {
        let schema = Arc::clone(&rows.schema);
        let empty = Box::pin(datafusion::physical_plan::EmptyRecordBatchStream::new(schema));
        let inner = std::mem::replace(&mut rows.stream, empty);
        rows.stream = Box::pin(Watched { inner, rows: 0, most_rows, _doings: doings });
    }
    answer
}

struct Watched {
    inner: SendableRecordBatchStream,
    rows: u64,
    most_rows: Option<u64>,
    _doings: Doings,
}

impl Stream for Watched {
    type Item = DfResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.inner.as_mut().poll_next(cx);
        if let (Poll::Ready(Some(Ok(batch))), Some(most)) = (&polled, self.most_rows) {
            self.rows = self.rows.saturating_add(batch.num_rows() as u64);
            if self.rows > most {
                return Poll::Ready(Some(Err(too_many_rows(most).into())));
            }
        }
        polled
    }
}

impl RecordBatchStream for Watched {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }
}

/// What one session sees of itself and of the others of its principal.
pub(super) struct SeenBy {
    pub(super) node: Arc<Node>,
    pub(super) principal: Principal,
    pub(super) id: i32,
}

impl SeenBy {
    fn session(&self) -> Option<Arc<Session>> {
        self.node.sessions.one_of(&self.principal, self.id)
    }
}

impl Sessions for SeenBy {
    fn activity(&self) -> Vec<Activity> {
        let mut all: Vec<Activity> =
            self.node.sessions.of(&self.principal).iter().map(|session| session.activity()).collect();
        // The same order wherever the same sessions were opened.
        all.sort_by_key(|session| (session.opened_at, session.pid));
        all
    }

    fn prepared(&self) -> Vec<PreparedStatement> {
        let Some(session) = self.session() else { return Vec::new() };
        let state = session.state();
        let mut all: Vec<PreparedStatement> = state
            .prepared
            .iter()
            .map(|(name, kept)| {
                let runs = kept.prepared.runs.0.load(Ordering::Relaxed);
                let is_generic = kept.types.is_empty();
                PreparedStatement {
                    name: name.clone(),
                    text: kept.text.clone(),
                    made_at: kept.made_at,
                    types: kept.types.clone(),
                    from_sql: kept.from_sql,
                    generic_plans: if is_generic { runs } else { 0 },
                    custom_plans: if is_generic { 0 } else { runs },
                }
            })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    fn cursors(&self) -> Vec<OpenCursor> {
        let Some(session) = self.session() else { return Vec::new() };
        let state = session.state();
        let mut all: Vec<OpenCursor> = state
            .cursors
            .iter()
            .map(|(name, cursor)| OpenCursor {
                name: name.clone(),
                text: cursor.declared.text.clone(),
                is_holdable: cursor.declared.hold,
                is_binary: cursor.declared.binary,
                is_scrollable: cursor.declared.scrolls,
                opened_at: cursor.opened_at,
            })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

fn now_us() -> i64 {
    chrono::Utc::now().timestamp_micros()
}
