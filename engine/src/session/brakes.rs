//! What stops statements and sessions from outside: a table, a role, a peer or the node is suspended.
//!
//! ```text
//! store ─► snapshot, directory (what begins now is refused) ─► OpenSessions::stop_what_is_halted, end_those (what runs is stopped)
//! statement ─► notes what it reads ─► looks once more whether that is still answered
//! ```
//!
//! Either the walk over the sessions sees what a statement has noted, or the statement sees the change: nothing slips through between the two.

use std::sync::{Arc, OnceLock, Weak};

use tokio_util::sync::CancellationToken;

use super::backends::OpenSessions;
use super::stream::Stop;
use super::{Session, lock};
use crate::audit::Trail;
use crate::catalog::Snapshot;
use crate::error::{Error, Result};
use crate::principal::Principal;

/// How one statement is stopped, and why it was.
#[derive(Debug)]
pub(crate) struct Brake {
    token: CancellationToken,
    trail: Arc<Trail>,
    why: OnceLock<Error>,
}

impl Brake {
    pub(super) fn of(token: CancellationToken, trail: Arc<Trail>) -> Brake {
        Brake { token, trail, why: OnceLock::new() }
    }

    /// Why it was stopped: because its client asked for that, unless there is another reason.
    pub(super) fn why(&self) -> Error {
        self.why.get().cloned().unwrap_or_else(Error::cancelled)
    }

    fn stop(&self, why: Error) {
        let _ = self.why.set(why);
        self.token.cancel();
    }
}

/// The statements of a session that run, or whose rows are not all read: portals and cursors among them.
#[derive(Debug, Default)]
pub(super) struct Brakes(Vec<Weak<Brake>>);

impl Brakes {
    fn add(&mut self, brake: &Arc<Brake>) {
        self.0.retain(|known| known.strong_count() > 0);
        self.0.push(Arc::downgrade(brake));
    }

    fn live(&self) -> Vec<Arc<Brake>> {
        self.0.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Snapshot {
    /// Why nothing is answered from one of these tables (`schema.name`), if that is so.
    pub(crate) fn halted<'t>(&self, tables: impl IntoIterator<Item = &'t String>) -> Option<Error> {
        tables.into_iter().find_map(|name| {
            let (schema, table) = name.split_once('.')?;
            let table = self.table(schema, table)?;
            table.halted.map(|why| why.error(&table.facts.name))
        })
    }
}

impl Session {
    /// A statement can be stopped from now on.
    pub(super) fn watch(&self, stop: &Stop) {
        lock(&self.brakes).add(&stop.brake);
    }

    /// Whether what a statement reads, as it has noted, is answered at this moment.
    ///
    /// # Errors
    /// 55000 if it is suspended or closed.
    pub(super) fn still_answers(&self, stop: &Stop) -> Result<()> {
        let tables = stop.trail.tables();
        self.node.catalog.snapshot().halted(&tables).map_or(Ok(()), Err)
    }

    /// Ends it for a reason that whoever runs a statement in it is told.
    pub(super) fn end(&self, why: Error) {
        let _ = self.ended_because.set(why.clone());
        for brake in lock(&self.brakes).live() {
            brake.stop(why.clone());
        }
        self.terminate();
    }

    /// Why it has ended.
    pub(super) fn why_ended(&self) -> Error {
        self.ended_because.get().cloned().unwrap_or_else(Error::terminated)
    }

    /// Ends a session that was opened while its role or its peer was being suspended.
    pub(super) fn end_if_suspended(&self) {
        if let Some(why) = self.node.refuses(&self.opened_by) {
            self.end(why);
        }
    }
}

impl OpenSessions {
    /// Stops what reads tables that are suspended or closed in this snapshot.
    pub(crate) fn stop_what_is_halted(&self, snapshot: &Snapshot) {
        for session in self.all() {
            for brake in lock(&session.brakes).live() {
                if let Some(why) = snapshot.halted(&brake.trail.tables()) {
                    brake.stop(why);
                }
            }
        }
    }

    /// Ends the sessions of which `why` gives a reason.
    pub(crate) fn end_those(&self, why: impl Fn(&Principal) -> Option<Error>) {
        for session in self.all() {
            if let Some(why) = why(&session.opened_by) {
                session.end(why);
            }
        }
    }
}
