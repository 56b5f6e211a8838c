//! The ledger: what was spent of every budget, and what was answered for it.
//!
//! ```text
//! release ─► Ledger::reserve ─► is somebody computing the same? then wait for that answer
//!              │             ─► one transaction: is there an answer? do the budgets have room? write the charge, flush
//!              │
//!              ├─ Answered     the same numbers again, no charge
//!              ├─ Reserved ─►  compute, add noise ─► Reservation::commit ─► one transaction: answer and audit entry, flush ─► hand out
//!              └─ Refused      53400 with what is left and what was asked; nothing was charged
//! ```
//!
//! It promises:
//! - Nothing is computed before its charge is on disk: a [`Reservation`] is the proof, and the release needs one to run.
//! - Nothing is given back. A reservation that is dropped (a crash, a cancel, a timeout, an error) stays charged, and the same release is
//!   charged again when it is asked for again. There is no function that lowers what was spent.
//! - Of many at once no more are charged than fit: there is one writer, and it checks and charges in one transaction.
//! - Identical ones at once are one: the others wait for its answer (`flight`). If it fails, is cancelled or is out of time, the next one
//!   reserves and computes.
//! - A clock that is set back frees nothing: the ledger's time is the latest moment that it has seen. One that is set far ahead does free
//!   what is in the windows, once, and until it is caught up with nothing more leaves them.
//! - What cannot be written down is refused: a full disk, a failing store.
//!
//! Charges are kept by the name of the unit's kind, so that a kind that is dropped and created again finds what was spent of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use futures::future::BoxFuture;
use kanon_privacy::budget::Epsilon;
use sqlx::SqliteConnection;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result, Sqlstate};
use crate::store::{Store, failed};

mod account;
mod budget;
mod clock;
mod flight;
mod left;
mod spending;
mod sums;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests;
mod window;
mod writer;

pub use account::{Cost, Spent};
pub(crate) use budget::budget_epsilon;
pub use budget::{BUDGET_OPTIONS, Budget, PrincipalBudget};
pub use clock::Clock;
pub use left::Left;
pub use spending::Spending;
pub use sums::Whose;
pub use window::BudgetWindow;

use flight::{Boarded, Flights, Lead};
use writer::{Command, Entry, Writer};

/// The most commands that wait for the writer; who comes later waits to be let in.
const MOST_WAITING: usize = 1024;

/// The most releases of one statement.
pub const MOST_RELEASES: usize = 1000;

/// How often old answers are looked for.
const FORGET_EVERY: Duration = Duration::from_secs(60 * 60);

/// The largest answer that is kept, in bytes.
pub const MOST_ANSWER_BYTES: usize = 64 << 20;

/// Which release it is: equal for releases that must have the same answer. 32 bytes, such as a SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReleaseFingerprint([u8; 32]);

impl ReleaseFingerprint {
    /// The fingerprint of these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> ReleaseFingerprint {
        ReleaseFingerprint(bytes)
    }
    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ReleaseFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One release that is to be charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseRequest {
    /// Which.
    pub fingerprint: ReleaseFingerprint,
    /// The kind of unit whose budget it draws on.
    pub kind: String,
    /// What it costs.
    pub cost: Cost,
}

/// Who is charged.
#[derive(Debug, Clone, PartialEq)]
pub struct Payer {
    /// As [`crate::principal::Principal::display`] names it.
    pub principal: String,
    /// The peer that it comes through.
    pub peer: Option<String>,
    /// The ε that all people of that peer together may spend in the kind's window; `None`: as everybody.
    pub peer_epsilon: Option<Epsilon>,
}

impl Payer {
    /// Whose budgets it draws on.
    fn scopes(&self) -> impl Iterator<Item = Whose> + use<> {
        let all = [
            Some(Whose::Everybody),
            Some(Whose::Principal(self.principal.clone())),
            self.peer.clone().map(Whose::Peer),
        ];
        all.into_iter().flatten()
    }
}

impl From<&str> for Payer {
    fn from(principal: &str) -> Payer {
        Payer { principal: principal.to_owned(), peer: None, peer_epsilon: None }
    }
}

/// What is done in the transaction that keeps an answer: the entry in the audit log. If it fails, there is no answer.
pub type Also = Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<()>> + Send>;

/// What [`Ledger::reserve`] came to for a release.
#[derive(Debug)]
pub enum Reserved {
    /// It was answered before: the same bytes, without a charge.
    Answered(Bytes),
    /// It is charged and may run.
    Charged(Reservation),
}

/// Why nothing was charged.
#[derive(Debug, Clone, PartialEq)]
pub enum Refused {
    /// The kind of unit has no budget.
    NoBudget {
        /// The kind.
        kind: String,
    },
    /// It does not fit.
    Budget(Box<Shortage>),
    /// It cannot be written down, or is no request.
    Store(Error),
}

/// What is left of a budget, and was asked of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shortage {
    /// The kind of unit.
    pub kind: String,
    /// Whose budget.
    pub whose: Whose,
    /// What is left, in the account that has the smaller part spent.
    pub left: Spent,
    /// What was asked.
    pub asked: Spent,
    /// When the oldest charge leaves the window, in milliseconds since 1970; `None`: never.
    pub more_at_ms: Option<i64>,
    /// How long a charge counts; `None`: for life.
    pub window: Option<BudgetWindow>,
}

/// The ledger of a node. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    store: Store,
    clock: Clock,
    writer: mpsc::Sender<Command>,
    flights: Flights,
    known: left::Known,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ledger")
    }
}

impl Ledger {
    /// The ledger in a store. There is one for a store: its writer keeps sums in memory. Needs a Tokio runtime.
    pub fn start(store: &Store) -> Ledger {
        Ledger::with_clock(store, Clock::system())
    }

    pub(crate) fn with_clock(store: &Store, clock: Clock) -> Ledger {
        let (writer, commands) = mpsc::channel(MOST_WAITING);
        tokio::spawn(Writer::new(store, clock.clone()).run(commands));
        let (flights, known) = (Flights::default(), left::Known::default());
        Ledger { store: store.clone(), clock, writer, flights, known }
    }

    /// Charges the distinct releases of one statement, all or none, but for those that were answered before. In order of `releases`.
    ///
    /// Waits while somebody else computes one of them. Whoever holds a [`Reservation`] therefore computes and commits it, or drops it,
    /// and waits for nothing else meanwhile: not for another reservation, and not for another node.
    ///
    /// What is charged is on disk when this returns, and may be so too if the caller goes away before.
    ///
    /// # Errors
    /// See [`Refused`]; nothing of it is to run.
    pub async fn reserve(
        &self,
        payer: impl Into<Payer>,
        releases: Vec<ReleaseRequest>,
    ) -> Result<Vec<Reserved>, Refused> {
        let payer = payer.into();
        if releases.len() > MOST_RELEASES {
            let message = format!("a statement has at most {MOST_RELEASES} releases, and this one {}", releases.len());
            return Err(Refused::Store(Error::new(Sqlstate::StatementTooComplex, message)));
        }
        if releases.iter().any(|release| !account::Amounts::of(&release.cost).is_storable()) {
            let message = "the query costs more than any budget";
            return Err(Refused::Store(Error::new(Sqlstate::BudgetExceeded, message)));
        }
        let mut boarded = self.board(&releases).await?;
        let leading =
            releases.iter().filter(|release| matches!(boarded.get(&release.fingerprint), Some(Boarded::Lead(_))));
        let mut entries = BTreeMap::new();
        let mut charging: Vec<ReleaseRequest> = Vec::new();
        for release in leading {
            // What was answered before needs no writer.
            match self.answer(&release.fingerprint).await? {
                Some(answer) => drop(entries.insert(release.fingerprint, Entry::Answered(answer))),
                None => charging.push(release.clone()),
            }
        }
        if !charging.is_empty() {
            let fingerprints: Vec<_> = charging.iter().map(|release| release.fingerprint).collect();
            let (reply, done) = oneshot::channel();
            let command = Command::Reserve { payer, releases: charging, reply };
            self.writer.send(command).await.map_err(|_| Refused::Store(stopped()))?;
            entries.extend(fingerprints.into_iter().zip(done.await.map_err(|_| Refused::Store(stopped()))??));
        }
        let reserved = releases.iter().map(|release| {
            match (boarded.remove(&release.fingerprint), entries.remove(&release.fingerprint)) {
                (Some(Boarded::Landed(answer)), _) => Ok(Reserved::Answered(answer)),
                (Some(Boarded::Lead(lead)), Some(Entry::Answered(answer))) => {
                    lead.land(answer.clone());
                    Ok(Reserved::Answered(answer))
                }
                (Some(Boarded::Lead(lead)), Some(Entry::Charged(charge))) => {
                    Ok(Reserved::Charged(Reservation { charge, lead, writer: self.writer.clone() }))
                }
                _ => Err(Refused::Store(Error::internal("a release was reserved without a charge"))),
            }
        });
        reserved.collect()
    }

    /// Waits until nobody else computes any of these. In the order of fingerprints, so that no two statements wait for each other.
    async fn board(&self, releases: &[ReleaseRequest]) -> Result<BTreeMap<ReleaseFingerprint, Boarded>, Refused> {
        let fingerprints: BTreeSet<ReleaseFingerprint> = releases.iter().map(|release| release.fingerprint).collect();
        if fingerprints.len() < releases.len() {
            // It would wait for itself.
            return Err(Refused::Store(Error::internal("a release was asked for twice in one statement")));
        }
        let mut boarded = BTreeMap::new();
        for fingerprint in fingerprints {
            boarded.insert(fingerprint, self.flights.board(fingerprint).await);
        }
        Ok(boarded)
    }

    /// Charges all of every budget, for what this store does not know of its own past. Whether there is such.
    ///
    /// # Errors
    /// If it cannot be written down.
    pub(crate) async fn write_off(&self) -> Result<bool> {
        let (reply, done) = oneshot::channel();
        self.writer.send(Command::WriteOff { reply }).await.map_err(|_| stopped())?;
        done.await.map_err(|_| stopped())?
    }

    /// The number of the last charge; 0 if there is none.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn last_charge(&self) -> Result<i64> {
        sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM charges")
            .fetch_one(self.store.pool())
            .await
            .map_err(failed)
    }

    /// Forgets answers once they are older than this, until `stopping`. Their charges stay: who asks again is answered anew, and charged.
    pub(crate) fn keep_answers_for(&self, retention: Duration, stopping: &CancellationToken) {
        let (store, clock, stopping) = (self.store.downgrade(), self.clock.clone(), stopping.clone());
        tokio::spawn(async move {
            loop {
                let Some(store) = store.upgrade() else { return };
                match forget_answers(&store, &clock, retention).await {
                    Ok(0) => {}
                    Ok(forgotten) => tracing::info!(forgotten, "old answers were forgotten"),
                    Err(error) => tracing::error!(%error, "old answers cannot be forgotten"),
                }
                drop(store);
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = tokio::time::sleep(FORGET_EVERY) => {}
                }
            }
        });
    }

    /// The answer to a release, if it was given before. Grants are for the caller to check first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn answer(&self, fingerprint: &ReleaseFingerprint) -> Result<Option<Bytes>> {
        let mut connection = self.store.pool().acquire().await.map_err(failed)?;
        writer::find_answer(&mut connection, fingerprint).await
    }
}

/// Forgets the answers that are older than this. How many there were.
async fn forget_answers(store: &Store, clock: &Clock, retention: Duration) -> Result<u64> {
    let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    let done = sqlx::query("DELETE FROM answers WHERE at_ms < ?")
        .bind(clock.now_ms().saturating_sub(retention))
        .execute(store.pool())
        .await
        .map_err(failed)?;
    Ok(done.rows_affected())
}

/// The right to run one release: its charge is on disk. Dropped, it stays charged.
#[derive(Debug)]
#[must_use = "it is charged whether it runs or not"]
pub struct Reservation {
    charge: i64,
    /// While it is held, whoever asks for the same waits.
    lead: Lead,
    writer: mpsc::Sender<Command>,
}

impl Reservation {
    /// Which release.
    pub fn fingerprint(&self) -> ReleaseFingerprint {
        self.lead.fingerprint()
    }

    /// Keeps the answer, and does `also` in the same transaction. What is to be handed out is what this returns: of two answers to the
    /// same release the first one counts, whoever computed it.
    ///
    /// # Errors
    /// If it cannot be written down: then nothing may be handed out, and the charge stays.
    pub async fn commit(self, answer: Bytes, also: Option<Also>) -> Result<Bytes> {
        let fingerprint = self.lead.fingerprint();
        self.commit_as(fingerprint, answer, also).await
    }

    /// As [`Reservation::commit`], of an answer that is not to be found again: whoever waits for it gets it, and nobody after.
    ///
    /// # Errors
    /// As [`Reservation::commit`].
    pub async fn commit_apart(self, answer: Bytes, also: Option<Also>) -> Result<Bytes> {
        let (low, high) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(low.as_bytes().iter().chain(high.as_bytes())).for_each(|(byte, random)| *byte = *random);
        self.commit_as(ReleaseFingerprint::from_bytes(bytes), answer, also).await
    }

    async fn commit_as(self, fingerprint: ReleaseFingerprint, answer: Bytes, also: Option<Also>) -> Result<Bytes> {
        if answer.len() > MOST_ANSWER_BYTES {
            return Err(Error::new(Sqlstate::StatementTooComplex, "the answer is too large to be kept")
                .hint("Ask for fewer groups."));
        }
        // Dropped on the way, it passes on the lead: what it sent to the writer comes before whatever the next one sends.
        let Reservation { charge, lead, writer } = self;
        let (reply, done) = oneshot::channel();
        let command = Command::Commit { charge, fingerprint, answer, also, reply };
        writer.send(command).await.map_err(|_| stopped())?;
        let kept = done.await.map_err(|_| stopped())??;
        lead.land(kept.clone());
        Ok(kept)
    }
}

fn stopped() -> Error {
    Error::new(Sqlstate::AdminShutdown, "the node is stopping")
}

/// From the store's.
impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused::Store(error)
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        match refused {
            Refused::Store(error) => error,
            Refused::NoBudget { kind } => {
                Error::new(Sqlstate::BudgetExceeded, format!("unit kind \"{kind}\" has no privacy budget at this site"))
                    .hint(format!("A steward gives it one: CREATE PRIVACY UNIT {kind} WITH (budget_epsilon = …)."))
            }
            Refused::Budget(shortage) => shortage.to_error(),
        }
    }
}

impl Shortage {
    fn to_error(&self) -> Error {
        let Shortage { kind, left, asked, .. } = self;
        let whose = match &self.whose {
            Whose::Principal(principal) => format!("the privacy budget of \"{principal}\" for unit kind \"{kind}\""),
            Whose::Peer(node) => format!("the privacy budget of node \"{node}\" for unit kind \"{kind}\""),
            Whose::Everybody => format!("the privacy budget of unit kind \"{kind}\""),
        };
        let error = Error::new(
            Sqlstate::BudgetExceeded,
            format!(
                "{whose} does not suffice: left are epsilon {} and delta {}, asked were epsilon {} and delta {}",
                left.epsilon, left.delta, asked.epsilon, asked.delta
            ),
        );
        let moment = self.more_at_ms.and_then(DateTime::<Utc>::from_timestamp_millis);
        match (self.window, moment) {
            (Some(window), Some(moment)) => error
                .detail(format!(
                    "A charge counts for {window}. The oldest one ends at {}.",
                    moment.to_rfc3339_opts(SecondsFormat::Secs, true)
                ))
                .hint("Ask with a smaller kanon.epsilon, ask something that was answered before, or wait."),
            (Some(_), None) => error.hint("Ask with a smaller kanon.epsilon."),
            (None, _) => error
                .detail("The budget is for life.")
                .hint("Ask with a smaller kanon.epsilon, or ask something that was answered before."),
        }
    }
}
