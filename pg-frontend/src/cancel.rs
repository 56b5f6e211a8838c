//! Who runs what, so that a CancelRequest on another socket finds it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio_util::sync::CancellationToken;

use crate::desk::Desk;

/// One connection, as CancelRequest sees it.
pub struct Cancelable {
    desk: Arc<dyn Desk>,
    /// Fires for the statement that runs now; `None` while none does, so that a late request stops nothing.
    running: Mutex<Option<CancellationToken>>,
}

impl Cancelable {
    /// A connection that runs nothing.
    pub fn new(desk: Arc<dyn Desk>) -> Arc<Cancelable> {
        Arc::new(Cancelable { desk, running: Mutex::new(None) })
    }

    /// Begins a statement: the token fires when it is to stop.
    pub fn begin(&self) -> CancellationToken {
        let token = CancellationToken::new();
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        token
    }

    /// The statement ended.
    pub fn end(&self) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn cancel(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(token) = running {
            self.desk.cancel();
            token.cancel();
        }
    }
}

struct Entry {
    secret: i32,
    connection: Weak<Cancelable>,
}

/// All connections of a listener, by process id.
#[derive(Default)]
pub struct Registry {
    entries: Mutex<HashMap<i32, Entry>>,
}

impl Registry {
    /// Adds a connection by its process id, which no other has: both for BackendKeyData. It is removed when the guard is dropped.
    pub fn add(self: &Arc<Self>, pid: i32, connection: &Arc<Cancelable>) -> Registered {
        let secret = rand::random::<i32>();
        let entry = Entry { secret, connection: Arc::downgrade(connection) };
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).insert(pid, entry);
        Registered { registry: self.clone(), pid, secret }
    }

    /// Stops what a connection runs, if the secret is its own. Says nothing to whoever asks.
    pub fn cancel(&self, pid: i32, secret: i32) {
        let found = {
            let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            entries.get(&pid).filter(|entry| entry.secret == secret).and_then(|entry| entry.connection.upgrade())
        };
        if let Some(connection) = found {
            connection.cancel();
        }
    }
}

/// A connection's place in the registry.
pub struct Registered {
    registry: Arc<Registry>,
    /// What BackendKeyData tells.
    pub pid: i32,
    /// What BackendKeyData tells.
    pub secret: i32,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.entries.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.pid);
    }
}
