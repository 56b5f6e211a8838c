//! What runs, so that whoever asked for it can stop it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use kanon_engine::error::{Error, Result};
use kanon_engine::federation::wire::to_status;
use tokio_util::sync::CancellationToken;

use crate::logins::Login;
use crate::stream::FlightStream;

/// All of it, over all clients.
#[derive(Default)]
pub(crate) struct Running {
    next: AtomicU64,
    entries: Mutex<HashMap<u64, Entry>>,
}

struct Entry {
    handle: String,
    login: Arc<Login>,
    stop: CancellationToken,
}

/// One of them; it is known until this is dropped.
pub(crate) struct Run {
    all: Arc<Running>,
    number: u64,
    stop: CancellationToken,
}

impl Running {
    /// A statement of this handle begins.
    pub(crate) fn begin(self: &Arc<Self>, handle: &str, login: &Arc<Login>) -> Run {
        let (number, stop) = (self.next.fetch_add(1, Ordering::Relaxed), CancellationToken::new());
        let entry = Entry { handle: handle.to_owned(), login: Arc::clone(login), stop: stop.clone() };
        self.lock().insert(number, entry);
        Run { all: Arc::clone(self), number, stop }
    }

    /// Stops what a login runs of a handle. Gives whether there was any.
    pub(crate) fn cancel(&self, handle: &str, login: &Arc<Login>) -> bool {
        let entries = self.lock();
        let mine = entries.values().filter(|entry| entry.handle == handle && Arc::ptr_eq(&entry.login, login));
        mine.fold(false, |_, entry| {
            entry.stop.cancel();
            true
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    /// Work up to the first row.
    ///
    /// # Errors
    /// 57014 if it is stopped; what the work fails with.
    pub(crate) async fn guard<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Error::cancelled()),
            done = work => done,
        }
    }

    /// Rows on their way, up to their end or that of the run: then 57014 is the last that comes.
    pub(crate) fn rows(self, rows: FlightStream) -> FlightStream {
        Box::pin(futures::stream::unfold(Some((rows, self)), |state| async move {
            let (mut rows, run) = state?;
            tokio::select! {
                biased;
                () = run.stop.cancelled() => Some((Err(to_status(&Error::cancelled())), None)),
                next = rows.next() => Some((next?, Some((rows, run)))),
            }
        }))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.all.lock().remove(&self.number);
    }
}
