//! The one task that writes what is queued: what has come within a few hundredths of a second goes into one transaction, and whoever waits for its entry has
//! all that came before it flushed at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::chain::{Chain, Draft};
use super::logins::FailedLogins;
use crate::error::{Error, Result, Sqlstate};
use crate::store::{Store, WeakStore, failed};

/// How long an entry that nobody waits for may wait for others: its flush is on disk well within 100 ms.
const GATHER: Duration = Duration::from_millis(50);
/// How often what does not depend on entries is looked at.
const TICK: Duration = Duration::from_secs(1);
/// Ticks between checkpoints.
const CHECKPOINT_TICKS: u32 = 60;
/// The most entries in one transaction, and the most that are queued.
pub(super) const MOST_AT_ONCE: usize = 4_096;

/// What the writer is told.
pub(super) enum Command {
    /// Write an entry, and tell whoever waits for it.
    Write(Box<Draft>, Option<oneshot::Sender<Result<()>>>),
    /// Sign a checkpoint.
    Checkpoint(oneshot::Sender<Result<()>>),
}

pub(super) struct Writer {
    pub(super) store: WeakStore,
    pub(super) chain: Arc<Chain>,
    pub(super) urgent: Arc<Notify>,
    pub(super) failing: Arc<AtomicBool>,
    pub(super) logins: Arc<FailedLogins>,
}

/// What is not written yet.
#[derive(Default)]
struct Batch {
    drafts: Vec<Draft>,
    /// Which of them somebody waits for.
    waited: Vec<bool>,
    waiting: Vec<oneshot::Sender<Result<()>>>,
    checkpoint: bool,
}

impl Batch {
    fn take(&mut self, command: Command) {
        match command {
            Command::Write(draft, reply) => {
                self.drafts.push(*draft);
                self.waited.push(reply.is_some());
                self.waiting.extend(reply);
            }
            Command::Checkpoint(reply) => {
                self.checkpoint = true;
                self.waiting.push(reply);
            }
        }
    }

    /// All of it is written.
    fn done(&mut self) {
        self.drafts.clear();
        self.waited.clear();
        self.checkpoint = false;
    }

    /// Nothing of it is. Who waits is refused, and what it asked for is not answered: only entries of what was answered are tried again.
    fn failed(&mut self) {
        let mut waited = std::mem::take(&mut self.waited).into_iter();
        self.drafts.retain(|_| !waited.next().unwrap_or_default());
        self.waited = vec![false; self.drafts.len()];
    }
}

impl Writer {
    /// Works until nobody can send any more.
    pub(super) async fn run(self, mut commands: mpsc::Receiver<Command>) {
        let mut batch = Batch::default();
        let mut ticks = 0_u32;
        let mut tick = Instant::now() + TICK;
        let mut has_grown = true;
        loop {
            let mut ended = false;
            // What a failure left is tried again at every tick.
            let received = timeout(tick.saturating_duration_since(Instant::now()), commands.recv()).await;
            match received {
                Ok(None) => ended = true,
                Ok(Some(first)) => {
                    batch.take(first);
                    if batch.waiting.is_empty() {
                        // Nobody is woken for each entry: they are looked at together.
                        tokio::select! {
                            () = sleep(GATHER) => {}
                            () = self.urgent.notified() => {}
                        }
                    }
                }
                Err(_) => {}
            }
            // However many come: the tick is not to wait for a moment without any.
            if Instant::now() >= tick {
                tick = Instant::now() + TICK;
                ticks += 1;
                if !self.failing.load(Ordering::SeqCst) {
                    batch.drafts.extend(self.logins.take());
                    batch.waited.resize(batch.drafts.len(), false);
                }
                if ticks >= CHECKPOINT_TICKS {
                    ticks = 0;
                    batch.checkpoint |= has_grown;
                    has_grown = false;
                }
            }
            while batch.drafts.len() < MOST_AT_ONCE
                && let Ok(command) = commands.try_recv()
            {
                batch.take(command);
            }
            has_grown |= !batch.drafts.is_empty();
            if !batch.drafts.is_empty() || batch.checkpoint {
                let Some(store) = self.store.upgrade() else { return };
                self.write(&store, &mut batch).await;
            }
            if ended {
                return;
            }
        }
    }

    /// Writes what there is. If that fails those who wait are told, and the entries are kept for the next attempt: meanwhile nothing else is answered.
    async fn write(&self, store: &Store, batch: &mut Batch) {
        let done = self.transaction(store, batch).await;
        let was_failing = self.failing.swap(done.is_err(), Ordering::SeqCst);
        match &done {
            Ok(()) => {
                batch.done();
                if was_failing {
                    tracing::warn!("the audit log can be written again");
                }
            }
            Err(error) if !was_failing => {
                tracing::error!(%error, "the audit log cannot be written: nothing is answered until it can");
            }
            Err(_) => {}
        }
        if done.is_err() {
            batch.failed();
        }
        for reply in batch.waiting.drain(..) {
            // Who has gone away has an entry all the same.
            drop(reply.send(done.clone()));
        }
    }

    async fn transaction(&self, store: &Store, batch: &Batch) -> Result<()> {
        let mut connection = store.pool().acquire().await.map_err(failed)?;
        let done = self.transaction_on(&mut connection, batch).await;
        if done.is_err() {
            // As in the ledger's writer: SQLite may have rolled back by itself.
            drop(connection.close().await);
        }
        done
    }

    async fn transaction_on(&self, connection: &mut SqliteConnection, batch: &Batch) -> Result<()> {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        if !batch.drafts.is_empty() {
            self.chain.append(&mut transaction, &batch.drafts).await?;
        }
        if batch.checkpoint {
            self.chain.checkpoint(&mut transaction).await?;
        }
        transaction.commit().await.map_err(failed)
    }
}

/// The error of whoever asks while the node stops.
pub(super) fn stopped() -> Error {
    Error::new(Sqlstate::AdminShutdown, "the node is stopping")
}
