//! What `pg_stat_activity`, `pg_prepared_statements` and `pg_cursors` tell: asked of the session when a query reads them.

/// Told by a session when it is asked. Times are in microseconds since 1970.
pub trait Sessions: Send + Sync {
    /// The open sessions of the same principal at this node.
    fn activity(&self) -> Vec<Activity>;
    /// What this session keeps prepared.
    fn prepared(&self) -> Vec<PreparedStatement>;
    /// Its open cursors.
    fn cursors(&self) -> Vec<OpenCursor>;
}

/// For a viewer that no session is of.
pub struct NoSessions;

impl Sessions for NoSessions {
    fn activity(&self) -> Vec<Activity> {
        Vec::new()
    }
    fn prepared(&self) -> Vec<PreparedStatement> {
        Vec::new()
    }
    fn cursors(&self) -> Vec<OpenCursor> {
        Vec::new()
    }
}

/// A session.
#[derive(Debug, Clone)]
pub struct Activity {
    /// Its number, as `pg_backend_pid()` tells it.
    pub pid: i32,
    /// Who opened it.
    pub role: String,
    /// What it says it is.
    pub application_name: String,
    /// When it was opened.
    pub opened_at: i64,
    /// When its transaction began.
    pub transaction_at: Option<i64>,
    /// When its last statement began.
    pub began_at: Option<i64>,
    /// When its state changed.
    pub changed_at: i64,
    /// In PostgreSQL's words: `active`, `idle` …
    pub state: &'static str,
    /// Its last statement.
    pub text: String,
}

/// A statement that is kept under a name.
#[derive(Debug, Clone)]
pub struct PreparedStatement {
    /// Its name.
    pub name: String,
    /// What it was made by.
    pub text: String,
    /// When.
    pub made_at: i64,
    /// OIDs of its parameters' types.
    pub types: Vec<u32>,
    /// Whether PREPARE made it, or the protocol.
    pub from_sql: bool,
    /// How often it was run without parameters.
    pub generic_plans: i64,
    /// How often it was run with some.
    pub custom_plans: i64,
}

/// A cursor.
#[derive(Debug, Clone)]
pub struct OpenCursor {
    /// Its name.
    pub name: String,
    /// The statement that declared it.
    pub text: String,
    /// WITH HOLD.
    pub is_holdable: bool,
    /// BINARY.
    pub is_binary: bool,
    /// SCROLL.
    pub is_scrollable: bool,
    /// When it was declared.
    pub opened_at: i64,
}
