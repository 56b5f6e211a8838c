//! The one task that writes the ledger. What has come while a transaction was being flushed goes into the next one together, so that
//! hundreds of charges a second hold on a disk that flushes a hundred times.

use std::collections::BTreeMap;

use bytes::Bytes;
use sqlx::{Connection as _, Row, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use super::account::Amounts;
use super::budget::Budget;
use super::clock::Clock;
use super::sums::{Scope, Sums, Whose, start};
use super::{Also, Payer, Refused, ReleaseFingerprint, ReleaseRequest, Shortage, failed};
use crate::error::{Error, Result, Sqlstate};
use crate::store::{Store, WeakStore, budget_of_row, written_off};

/// The most commands in one transaction.
const MOST_AT_ONCE: usize = 256;

/// Who is charged for what the store does not know: no role can be called so.
const WRITTEN_OFF: &str = "(written off)";

/// What the writer is told to do.
pub(super) enum Command {
    Reserve {
        payer: Payer,
        releases: Vec<ReleaseRequest>,
        reply: oneshot::Sender<Result<Vec<Entry>, Refused>>,
    },
    /// Charge all of every budget for what the store does not know, if there is such.
    WriteOff {
        reply: oneshot::Sender<Result<bool>>,
    },
    Commit {
        charge: i64,
        fingerprint: ReleaseFingerprint,
        answer: Bytes,
        also: Option<Also>,
        reply: oneshot::Sender<Result<Bytes>>,
    },
}

/// What a reservation came to for one release.
#[derive(Debug)]
pub(super) enum Entry {
    /// There is an answer already.
    Answered(Bytes),
    /// Charged under this number.
    Charged(i64),
}

/// What is told when the transaction is durable.
enum Outcome {
    Reserve(oneshot::Sender<Result<Vec<Entry>, Refused>>, Result<Vec<Entry>, Refused>),
    Commit(oneshot::Sender<Result<Bytes>>, Result<Bytes>),
    WriteOff(oneshot::Sender<Result<bool>>, Result<bool>),
}

pub(super) struct Writer {
    store: WeakStore,
    clock: Clock,
    sums: Sums,
}

impl Writer {
    pub(super) fn new(store: &Store, clock: Clock) -> Writer {
        Writer { store: store.downgrade(), clock, sums: Sums::default() }
    }

    /// Works until nobody can send any more.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut batch = Vec::new();
        while commands.recv_many(&mut batch, MOST_AT_ONCE).await > 0 {
            // Nobody who waits: nobody to tell, and nothing was charged.
            let Some(store) = self.store.upgrade() else { return };
            let mut outcomes = Vec::with_capacity(batch.len());
            let done = self.transaction(&store, batch.drain(..), &mut outcomes).await;
            if let Err(error) = &done {
                // Whether it was written is not known: what the store holds is read again.
                self.sums.forget();
                tracing::error!(%error, "the ledger could not be written");
            }
            for outcome in outcomes {
                outcome.tell(&done);
            }
        }
    }

    /// Carries out all commands in one transaction. Nothing that is in `outcomes` holds unless this is `Ok`.
    async fn transaction(
        &mut self,
        store: &Store,
        mut batch: impl Iterator<Item = Command>,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<()> {
        match store.pool().acquire().await.map_err(failed) {
            Ok(mut connection) => {
                let done = self.transaction_on(&mut connection, batch, outcomes).await;
                if done.is_err() {
                    // SQLite rolls back by itself when the disk is full, and the connection does not know of it: it is not used again.
                    drop(connection.close().await);
                }
                done
            }
            Err(error) => {
                outcomes.extend(batch.by_ref().map(|command| command.refused(error.clone())));
                Err(error)
            }
        }
    }

    async fn transaction_on(
        &mut self,
        connection: &mut SqliteConnection,
        mut batch: impl Iterator<Item = Command>,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<()> {
        let begun = async {
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
            let now_ms = later_of(&mut transaction, self.clock.now_ms()).await?;
            Ok::<_, Error>((transaction, now_ms))
        };
        let mut state = begun.await;
        for command in batch.by_ref() {
            // After a failure the others are only kept to be told.
            let (transaction, now_ms) = match &mut state {
                Ok((transaction, now_ms)) => (transaction, *now_ms),
                Err(error) => {
                    outcomes.push(command.refused(error.clone()));
                    continue;
                }
            };
            match self.carry_out(transaction, command, now_ms).await {
                (outcome, None) => outcomes.push(outcome),
                (outcome, Some(error)) => {
                    outcomes.push(outcome);
                    state = Err(error);
                }
            }
        }
        let (transaction, _) = state?;
        transaction.commit().await.map_err(failed)
    }

    /// One command, and the error with which the whole transaction has failed, if it has.
    async fn carry_out(
        &mut self,
        transaction: &mut SqliteConnection,
        command: Command,
        now_ms: i64,
    ) -> (Outcome, Option<Error>) {
        match command {
            Command::Reserve { payer, releases, reply } => {
                let result = self.reserve(transaction, &payer, &releases, now_ms).await;
                let fatal = match &result {
                    Err(Refused::Store(error)) => Some(error.clone()),
                    _ => None,
                };
                (Outcome::Reserve(reply, result), fatal)
            }
            Command::WriteOff { reply } => {
                let result = self.write_off(transaction, now_ms).await;
                let fatal = result.as_ref().err().cloned();
                (Outcome::WriteOff(reply, result), fatal)
            }
            Command::Commit { charge, fingerprint, answer, also, reply } => {
                let result = commit(transaction, charge, &fingerprint, answer, also, now_ms).await;
                // What it wrote is rolled back to where it began, and the rest of the transaction stands, unless the store itself failed:
                // SQLite may then have rolled back everything.
                let fatal = result.as_ref().err().filter(|error| is_of_the_store(error)).cloned();
                (Outcome::Commit(reply, result), fatal)
            }
        }
    }

    /// Checks the budgets and charges all of the releases that have no answer yet, or none.
    async fn reserve(
        &mut self,
        connection: &mut SqliteConnection,
        payer: &Payer,
        releases: &[ReleaseRequest],
        now_ms: i64,
    ) -> Result<Vec<Entry>, Refused> {
        let mut answers = Vec::with_capacity(releases.len());
        let mut asked: BTreeMap<&str, Amounts> = BTreeMap::new();
        for release in releases {
            let answer = find_answer(connection, &release.fingerprint).await?;
            if answer.is_none() {
                *asked.entry(&release.kind).or_default() += Amounts::of(&release.cost);
            }
            answers.push(answer);
        }
        for (kind, amounts) in &asked {
            self.check(connection, kind, payer, *amounts, now_ms).await?;
        }
        let mut entries = Vec::with_capacity(releases.len());
        for (release, answer) in releases.iter().zip(answers) {
            entries.push(match answer {
                Some(answer) => Entry::Answered(answer),
                None => Entry::Charged(insert(connection, &payer.principal, release, now_ms).await?),
            });
        }
        for (kind, amounts) in asked {
            for whose in payer.scopes() {
                self.sums.add(&Scope { kind: kind.to_owned(), whose }, amounts);
            }
        }
        Ok(entries)
    }

    /// Charges all of every budget, if something is lost. Whether it is.
    async fn write_off(&mut self, connection: &mut SqliteConnection, now_ms: i64) -> Result<bool> {
        if !written_off(connection).await? {
            return Ok(false);
        }
        let rows = sqlx::query("SELECT kind, epsilon, delta, window_ms FROM privacy_units")
            .fetch_all(&mut *connection)
            .await
            .map_err(failed)?;
        for row in rows {
            let kind: String = row.try_get(0).map_err(failed)?;
            let amounts = Amounts::all_of(&budget_of_row(&row, 1)?);
            charge(connection, &kind, WRITTEN_OFF, &[0; 32], amounts, now_ms).await?;
            self.sums.add(&Scope { kind, whose: Whose::Everybody }, amounts);
        }
        Ok(true)
    }

    /// Whether so much more fits the kind's budget, the principal's, and that of the people of its peer.
    async fn check(
        &mut self,
        connection: &mut SqliteConnection,
        kind: &str,
        payer: &Payer,
        asked: Amounts,
        now_ms: i64,
    ) -> Result<(), Refused> {
        let Some((everybody, own)) = budgets(connection, kind, &payer.principal).await? else {
            return Err(Refused::NoBudget { kind: kind.to_owned() });
        };
        for whose in payer.scopes() {
            let budget = match &whose {
                Whose::Everybody => everybody,
                Whose::Principal(_) => own,
                Whose::Peer(_) => match payer.peer_epsilon {
                    Some(epsilon) => Budget { epsilon, ..everybody },
                    None => continue,
                },
            };
            let scope = Scope { kind: kind.to_owned(), whose };
            let sum = self.sums.get(connection, &scope, budget.window, now_ms).await?;
            let mut after = sum;
            after += asked;
            if !after.fits(&budget) {
                let more_at_ms = next_to_leave(connection, &scope, &budget, now_ms).await?;
                return Err(Refused::Budget(Box::new(Shortage {
                    kind: scope.kind,
                    whose: scope.whose,
                    left: sum.left(&budget),
                    asked: asked.spent(&budget),
                    more_at_ms,
                    window: budget.window,
                })));
            }
        }
        Ok(())
    }
}

impl Outcome {
    /// Tells whoever waits, if somebody does. If the transaction failed, so did everything in it.
    fn tell(self, transaction: &Result<()>) {
        match self {
            Outcome::Reserve(reply, result) => {
                let told = match transaction {
                    Ok(()) => result,
                    Err(error) => Err(Refused::Store(error.clone())),
                };
                // Who has gone away is charged all the same.
                drop(reply.send(told));
            }
            Outcome::WriteOff(reply, result) => {
                drop(reply.send(transaction.clone().and(result)));
            }
            Outcome::Commit(reply, result) => {
                drop(reply.send(transaction.clone().and(result)));
            }
        }
    }
}

impl Command {
    fn refused(self, error: Error) -> Outcome {
        match self {
            Command::Reserve { reply, .. } => Outcome::Reserve(reply, Err(Refused::Store(error))),
            Command::Commit { reply, .. } => Outcome::Commit(reply, Err(error)),
            Command::WriteOff { reply } => Outcome::WriteOff(reply, Err(error)),
        }
    }
}

fn is_of_the_store(error: &Error) -> bool {
    matches!(error.state, Sqlstate::DiskFull | Sqlstate::IoError | Sqlstate::SystemError | Sqlstate::Internal)
}

/// The later of the clock's moment and the latest one seen, kept as the latest one seen.
async fn later_of(connection: &mut SqliteConnection, clock_ms: i64) -> Result<i64> {
    sqlx::query_scalar("UPDATE ledger_clock SET at_ms = max(at_ms, ?) RETURNING at_ms")
        .bind(clock_ms)
        .fetch_one(connection)
        .await
        .map_err(failed)
}

/// The budgets of a kind and of a principal within it; `None` if the kind has none.
pub(super) async fn budgets(
    connection: &mut SqliteConnection,
    kind: &str,
    principal: &str,
) -> Result<Option<(Budget, Budget)>> {
    let row = sqlx::query(
        "SELECT u.epsilon, u.delta, u.window_ms, p.epsilon, p.delta, r.epsilon, r.delta FROM privacy_units u
         LEFT JOIN principal_budgets p ON p.kind = u.kind AND p.principal = ?1
         LEFT JOIN role_budgets r ON r.role = ?1 WHERE u.kind = ?2",
    )
    .bind(principal)
    .bind(kind)
    .fetch_optional(connection)
    .await
    .map_err(failed)?;
    let Some(row) = row else { return Ok(None) };
    let budget = budget_of_row(&row, 0)?;
    let own = crate::store::principal_budget_of_row(&row, 3)?;
    let own = own.stricter(crate::store::principal_budget_of_row(&row, 5)?);
    Ok(Some((budget, budget.of(own))))
}

/// When the oldest charge that counts leaves the window.
async fn next_to_leave(
    connection: &mut SqliteConnection,
    scope: &Scope,
    budget: &Budget,
    now_ms: i64,
) -> Result<Option<i64>> {
    let Some(window) = budget.window else { return Ok(None) };
    let text = format!("SELECT min(at_ms) FROM charges WHERE kind = ?1 AND {} AND at_ms > ?3", scope.whose.condition());
    // Of constant parts: what came from outside is bound.
    let query = sqlx::query_scalar(sqlx::AssertSqlSafe(text)).bind(&scope.kind).bind(scope.whose.bound());
    let oldest: Option<i64> = query.bind(start(budget.window, now_ms)).fetch_one(connection).await.map_err(failed)?;
    Ok(oldest.map(|oldest| oldest.saturating_add(window.ms())))
}

/// Writes a charge.
async fn insert(
    connection: &mut SqliteConnection,
    principal: &str,
    release: &ReleaseRequest,
    now_ms: i64,
) -> Result<i64, Refused> {
    let amounts = Amounts::of(&release.cost);
    Ok(charge(connection, &release.kind, principal, release.fingerprint.as_bytes(), amounts, now_ms).await?)
}

/// Writes a charge of these amounts, which can be written down.
async fn charge(
    connection: &mut SqliteConnection,
    kind: &str,
    principal: &str,
    fingerprint: &[u8; 32],
    amounts: Amounts,
    now_ms: i64,
) -> Result<i64> {
    let whole = |amount: i128| i64::try_from(amount).map_err(Error::internal);
    let done = sqlx::query(
        "INSERT INTO charges (at_ms, kind, principal, fingerprint, epsilon_nano, delta_atto, rho_pico, zcdp_delta_atto)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(now_ms)
    .bind(kind)
    .bind(principal)
    .bind(fingerprint.as_slice())
    .bind(whole(amounts.epsilon_nano)?)
    .bind(whole(amounts.delta_atto)?)
    .bind(whole(amounts.rho_pico)?)
    .bind(whole(amounts.zcdp_delta_atto)?)
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(done.last_insert_rowid())
}

/// Keeps an answer and whatever belongs to it. If there is an answer to the same release already, that one counts.
async fn commit(
    transaction: &mut SqliteConnection,
    charge: i64,
    fingerprint: &ReleaseFingerprint,
    answer: Bytes,
    also: Option<Also>,
    now_ms: i64,
) -> Result<Bytes> {
    let mut savepoint = transaction.begin().await.map_err(failed)?;
    let done = sqlx::query(
        "INSERT INTO answers (fingerprint, charge, at_ms, answer) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(fingerprint.as_bytes().as_slice())
    .bind(charge)
    .bind(now_ms)
    .bind(answer.as_ref())
    .execute(&mut *savepoint)
    .await
    .map_err(failed)?;
    let kept = if done.rows_affected() > 0 {
        answer
    } else {
        find_answer(&mut savepoint, fingerprint).await?.ok_or_else(|| Error::internal("an answer vanished"))?
    };
    if let Some(also) = also {
        also(&mut savepoint).await?;
    }
    savepoint.commit().await.map_err(failed)?;
    Ok(kept)
}

/// The answer to a release, if there is one.
pub(super) async fn find_answer(
    connection: &mut SqliteConnection,
    fingerprint: &ReleaseFingerprint,
) -> Result<Option<Bytes>> {
    let row = sqlx::query("SELECT answer FROM answers WHERE fingerprint = ?")
        .bind(fingerprint.as_bytes().as_slice())
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    row.map(|row| row.try_get::<Vec<u8>, _>(0).map(Bytes::from)).transpose().map_err(failed)
}
