//! Cursors: answers that a session reads piece by piece, forwards, and those declared SCROLL backwards too.
//!
//! A cursor that scrolls keeps the rows that were read, within bounds; any other lets go of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use datafusion::arrow::array::{RecordBatch, UInt64Array};
use datafusion::arrow::compute::take_record_batch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use tokio::sync::Mutex;

use super::accuracy::Intervals;
use super::parameters::Parameters;
use super::query::{is_protected, memory_rows};
use super::stream::Stop;
use super::{Answer, Notice, Rows, Session, TransactionStatus};
use crate::error::{Error, Result, Sqlstate};
use crate::statement::{Declare, Direction, Fetch};

/// Most cursors of one session.
const MAX_CURSORS: usize = 100;

/// Bytes that the rows of a cursor that scrolls may take: 64 MiB.
const MAX_KEPT_BYTES: usize = 64 << 20;
/// Most rows that one FETCH takes, and the most bytes that they may have: 256 MiB.
const MAX_FETCH: usize = 1_000_000;
const MAX_FETCH_BYTES: usize = 256 << 20;

/// An open cursor.
pub struct Cursor {
    /// Its columns.
    pub schema: SchemaRef,
    /// How it was declared.
    pub declared: Declared,
    /// When, in microseconds since 1970.
    pub opened_at: i64,
    /// Set once it has outlived its transaction, or had none.
    held: AtomicBool,
    /// How many savepoints there were when it was declared and are left: it ends with the last of them.
    savepoints: AtomicUsize,
    state: Mutex<Reading>,
    pool: Arc<dyn MemoryPool>,
}

/// How a cursor is declared.
pub struct Declared {
    /// WITH HOLD: it outlives its transaction.
    pub hold: bool,
    /// BINARY: rows go out in binary.
    pub binary: bool,
    /// SCROLL: it goes backwards.
    pub scrolls: bool,
    /// The statement.
    pub text: String,
}

impl Cursor {
    /// A cursor before its first row, behind so many savepoints. Rows that it keeps or gives take memory of `pool`.
    pub fn new(rows: Rows, declared: Declared, savepoints: usize, pool: &Arc<dyn MemoryPool>) -> Arc<Cursor> {
        let schema = Arc::clone(&rows.schema);
        let kept = declared.scrolls.then(|| Kept {
            batches: Vec::new(),
            count: 0,
            reservation: MemoryConsumer::new("cursors").register(pool),
        });
        let state =
            Mutex::new(Reading { rows, rest: None, kept, row: 0, at_start: true, at_end: false, is_broken: false });
        let opened_at = chrono::Utc::now().timestamp_micros();
        let (held, savepoints) = (AtomicBool::new(false), AtomicUsize::new(savepoints));
        Arc::new(Cursor { schema, declared, opened_at, held, savepoints, state, pool: Arc::clone(pool) })
    }

    /// RELEASE SAVEPOINT: so many are left.
    pub fn released(&self, left: usize) {
        self.savepoints.fetch_min(left, Ordering::Relaxed);
    }

    /// ROLLBACK TO SAVEPOINT, the last of so many: whether it was declared before that.
    pub fn outlives_rollback_to(&self, left: usize) -> bool {
        self.held.load(Ordering::Relaxed) || self.savepoints.load(Ordering::Relaxed) < left
    }

    /// A transaction ends, its own or another: whether it stays open.
    pub fn outlives(&self, committed: bool) -> bool {
        if committed && self.declared.hold {
            self.held.store(true, Ordering::Relaxed);
        }
        self.held.load(Ordering::Relaxed)
    }

    /// FETCH: the rows in that direction, in the order in which they are passed. At most a million are kept in memory.
    ///
    /// # Errors
    /// What the query fails with; 55000 for a way back that there is not, and for a cursor that failed before; 53200 for more rows than there is
    /// room for.
    pub async fn fetch(&self, direction: Direction) -> Result<Rows> {
        let reservation = MemoryConsumer::new("fetched rows").register(&self.pool);
        let mut taken = Taken { batches: Vec::new(), count: 0, reservation };
        // A mutex made for being held while rows arrive: two fetches of one cursor wait for one another.
        self.state.lock().await.go(direction, Some(&mut taken)).await?;
        let Taken { batches, reservation, .. } = taken;
        let Rows { schema, stream } = memory_rows(Arc::clone(&self.schema), batches)?;
        // The memory is taken until all of them are read.
        let stream = stream.inspect(move |_| _ = &reservation);
        Ok(Rows { stream: Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), stream)), schema })
    }

    /// MOVE: how many rows FETCH would have answered.
    ///
    /// # Errors
    /// As [`Cursor::fetch`].
    pub async fn pass(&self, direction: Direction) -> Result<u64> {
        self.state.lock().await.go(direction, None).await
    }
}

/// Rows that a FETCH answers.
struct Taken {
    batches: Vec<RecordBatch>,
    count: usize,
    reservation: MemoryReservation,
}

impl Taken {
    fn push(&mut self, batch: RecordBatch) -> Result<()> {
        self.count += batch.num_rows();
        let refused =
            |message: String| Err(Error::new(Sqlstate::OutOfMemory, message).hint("Fetch fewer rows at a time."));
        if self.count > MAX_FETCH {
            return refused(format!("more than {MAX_FETCH} rows were asked of a cursor at once"));
        }
        let bytes = batch.get_array_memory_size();
        let fits = self.reservation.size().saturating_add(bytes) <= MAX_FETCH_BYTES;
        if !fits || self.reservation.try_grow(bytes).is_err() {
            return refused("the rows that were asked of a cursor at once take too much memory".to_owned());
        }
        self.batches.push(batch);
        Ok(())
    }
}

/// The rows that were read, for the way back.
struct Kept {
    /// With how many rows stand before each.
    batches: Vec<(u64, RecordBatch)>,
    count: u64,
    reservation: MemoryReservation,
}

impl Kept {
    fn push(&mut self, batch: RecordBatch) -> Result<()> {
        let bytes = batch.get_array_memory_size();
        let fits = self.reservation.size().saturating_add(bytes) <= MAX_KEPT_BYTES;
        if !fits || self.reservation.try_grow(bytes).is_err() {
            let message = "a cursor that scrolls has no room for its rows";
            return Err(Error::new(Sqlstate::OutOfMemory, message)
                .hint("Declare it with NO SCROLL to read rows without keeping them."));
        }
        let before = self.count;
        self.count += batch.num_rows() as u64;
        self.batches.push((before, batch));
        Ok(())
    }

    /// The rows from `first` (from 0) on that are in one batch.
    fn from(&self, first: u64) -> Option<RecordBatch> {
        let at = self.batches.partition_point(|(before, batch)| before + batch.num_rows() as u64 <= first);
        let (before, batch) = self.batches.get(at)?;
        let skip = usize::try_from(first - before).ok()?;
        Some(batch.slice(skip, batch.num_rows() - skip))
    }

    /// The rows before `end`, the last first, at most `count` and of one batch.
    fn back_from(&self, end: u64, count: u64) -> Result<Option<RecordBatch>> {
        let at = self.batches.partition_point(|(before, batch)| before + (batch.num_rows() as u64) < end);
        let Some((before, batch)) = self.batches.get(at) else { return Ok(None) };
        let last = end - before;
        let first = last.saturating_sub(count);
        let backwards: UInt64Array = (first..last).rev().collect();
        take_record_batch(batch, &backwards).map(Some).map_err(Error::internal)
    }
}

/// Where a cursor stands, as PostgreSQL's portals do: before the first row, at one, or behind the last.
struct Reading {
    rows: Rows,
    /// What is left of the batch that was read last.
    rest: Option<RecordBatch>,
    /// Of a cursor that scrolls.
    kept: Option<Kept>,
    /// The number of the row it stands at; behind the last, the last one's.
    row: u64,
    at_start: bool,
    at_end: bool,
    /// It failed on its way: where it stands is not known.
    is_broken: bool,
}

impl Reading {
    /// Goes where FETCH and MOVE are to go; how many rows the last step passed, which are those that are taken.
    async fn go(&mut self, direction: Direction, taken: Option<&mut Taken>) -> Result<u64> {
        if self.is_broken {
            return Err(Error::new(
                Sqlstate::ObjectNotInPrerequisiteState,
                "the cursor failed and cannot be run again",
            )
            .hint("CLOSE it and declare it anew."));
        }
        // Until it has arrived: an error and the end of the statement's time leave it behind.
        self.is_broken = true;
        let passed = self.step(direction, taken).await?;
        self.is_broken = false;
        Ok(passed)
    }

    async fn step(&mut self, direction: Direction, taken: Option<&mut Taken>) -> Result<u64> {
        match direction {
            Direction::Forward(None) => self.forward(None, taken).await,
            Direction::Backward(None) => self.backward(None, taken),
            Direction::Forward(Some(0)) | Direction::Backward(Some(0)) | Direction::Relative(0) => {
                self.again(taken).await
            }
            Direction::Forward(Some(count)) if count > 0 => self.forward(Some(count.unsigned_abs()), taken).await,
            Direction::Backward(Some(count)) if count < 0 => self.forward(Some(count.unsigned_abs()), taken).await,
            Direction::Forward(Some(count)) | Direction::Backward(Some(count)) => {
                self.backward(Some(count.unsigned_abs()), taken)
            }
            Direction::Relative(count) if count > 0 => {
                self.forward(Some(count.unsigned_abs() - 1), None).await?;
                self.forward(Some(1), taken).await
            }
            Direction::Relative(count) => {
                if count < -1 {
                    self.backward(Some(count.unsigned_abs() - 1), None)?;
                }
                self.backward(Some(1), taken)
            }
            Direction::Absolute(0) => {
                self.rewind()?;
                Ok(0)
            }
            Direction::Absolute(count) if count > 0 => {
                self.before(count.unsigned_abs()).await?;
                self.forward(Some(1), taken).await
            }
            Direction::Absolute(count) => {
                self.forward(None, None).await?;
                if count < -1 {
                    self.backward(Some(count.unsigned_abs() - 1), None)?;
                }
                self.backward(Some(1), taken)
            }
        }
    }

    /// Goes to before a row of a number from 1. As in PostgreSQL from the start if that is nearer, which a cursor that does not scroll refuses.
    async fn before(&mut self, number: u64) -> Result<()> {
        if number - 1 <= self.row / 2 {
            self.rewind()?;
            self.forward(Some(number - 1), None).await?;
            return Ok(());
        }
        let here = self.row + u64::from(self.at_end);
        if number <= here {
            self.backward(Some(here - number + 1), None)?;
        } else if number > here + 1 {
            self.forward(Some(number - here - 1), None).await?;
        }
        Ok(())
    }

    /// The row that it stands at, once more.
    async fn again(&mut self, taken: Option<&mut Taken>) -> Result<u64> {
        let on_row = !self.at_start && !self.at_end;
        if !on_row || taken.is_none() {
            return Ok(u64::from(on_row));
        }
        self.backward(Some(1), None)?;
        self.forward(Some(1), taken).await
    }

    async fn forward(&mut self, count: Option<u64>, mut taken: Option<&mut Taken>) -> Result<u64> {
        if self.at_end || count == Some(0) {
            return Ok(0);
        }
        let wanted = count.unwrap_or(u64::MAX);
        let mut passed = 0;
        while passed < wanted {
            let Some(batch) = self.next(self.row + passed).await? else { break };
            let now = usize::try_from(wanted - passed).unwrap_or(usize::MAX).min(batch.num_rows());
            if self.kept.is_none() && now < batch.num_rows() {
                self.rest = Some(batch.slice(now, batch.num_rows() - now));
            }
            passed += now as u64;
            if let Some(taken) = &mut taken {
                taken.push(batch.slice(0, now))?;
            }
        }
        self.at_start &= passed == 0;
        self.at_end = passed < wanted;
        self.row += passed;
        Ok(passed)
    }

    /// Some of the rows that follow on the first `row`.
    async fn next(&mut self, row: u64) -> Result<Option<RecordBatch>> {
        if let Some(rest) = self.rest.take() {
            return Ok(Some(rest));
        }
        loop {
            if let Some(batch) = self.kept.as_ref().and_then(|kept| kept.from(row)) {
                return Ok(Some(batch));
            }
            let Some(batch) = self.rows.stream.next().await.transpose()? else { return Ok(None) };
            match &mut self.kept {
                None => return Ok(Some(batch)),
                Some(kept) => kept.push(batch)?,
            }
        }
    }

    fn backward(&mut self, count: Option<u64>, mut taken: Option<&mut Taken>) -> Result<u64> {
        let Some(kept) = &self.kept else { return Err(forward_only()) };
        if self.at_start || count == Some(0) {
            return Ok(0);
        }
        let here = self.row + u64::from(self.at_end);
        let wanted = count.unwrap_or(u64::MAX);
        let behind = here.saturating_sub(1);
        let passed = wanted.min(behind);
        if let Some(taken) = &mut taken {
            let (mut end, last) = (behind, behind - passed);
            while end > last {
                let Some(batch) = kept.back_from(end, end - last)? else { break };
                end -= batch.num_rows() as u64;
                taken.push(batch)?;
            }
        }
        self.at_end &= passed == 0;
        self.at_start = passed < wanted;
        self.row = if self.at_start { 0 } else { here.saturating_sub(passed) };
        Ok(passed)
    }

    fn rewind(&mut self) -> Result<()> {
        if self.at_start && !self.at_end {
            return Ok(());
        }
        if self.kept.is_none() {
            return Err(forward_only());
        }
        (self.row, self.at_start, self.at_end) = (0, true, false);
        Ok(())
    }
}

fn forward_only() -> Error {
    Error::new(Sqlstate::ObjectNotInPrerequisiteState, "cursor can only scan forward")
        .hint("Declare it with SCROLL option to enable backward scan.")
}

impl Session {
    pub(super) async fn run_declare(
        self: &Arc<Self>,
        text: &str,
        declare: &Declare,
        parameters: Parameters,
        stop: &Stop,
    ) -> Result<Answer> {
        {
            let state = self.state();
            if state.cursors.contains_key(&declare.name) {
                let message = format!("cursor \"{}\" already exists", declare.name);
                return Err(Error::new(Sqlstate::DuplicateCursor, message));
            }
            if state.cursors.len() >= MAX_CURSORS {
                let message = format!("a session may keep {MAX_CURSORS} cursors open");
                return Err(
                    Error::new(Sqlstate::StatementTooComplex, message).hint("CLOSE those that are no longer needed.")
                );
            }
            if !declare.hold && !state.transaction.is_open() {
                let message = "DECLARE CURSOR can only be used in transaction blocks";
                return Err(Error::new(Sqlstate::NoActiveTransaction, message));
            }
        }
        let (mut planned, _) = self.plan(&declare.query, parameters).await?;
        let decision = self.decide(planned.plan.clone())?;
        if is_protected(&decision) {
            stop.be_coarse();
        }
        planned.decided = Some(decision);
        // Its rows are read by later statements: they stop with the session, not with this statement's time.
        let until_closed = Stop::begin(self.closed.child_token(), 0).of_statement(stop);
        self.watch(&until_closed);
        let (rows, report) = self.run_query(planned, &Intervals::AsSet, &until_closed).await?;
        let mut answer = Answer::done("DECLARE CURSOR");
        let declared = Declared {
            hold: declare.hold,
            binary: declare.binary,
            scrolls: declare.scroll == Some(true),
            text: text.to_owned(),
        };
        let mut state = self.state();
        let savepoints = state.transaction.savepoints();
        let cursor = Cursor::new(rows, declared, savepoints, &self.node.states.runtime_env().memory_pool);
        if state.transaction.status() == TransactionStatus::Idle {
            cursor.outlives(true);
        }
        state.cursors.insert(declare.name.clone(), cursor);
        if let Some(report) = report {
            answer.notices.extend(report.notice().map(Notice::new));
            state.last_query.set(Some(report));
        }
        Ok(answer)
    }

    pub(super) async fn run_fetch(&self, fetch: &Fetch) -> Result<Answer> {
        let cursor = self.cursor(&fetch.cursor)?;
        if fetch.only_move {
            let passed = cursor.pass(fetch.direction).await?;
            return Ok(Answer::done(format!("MOVE {passed}")));
        }
        Ok(Answer::rows("FETCH", cursor.fetch(fetch.direction).await?))
    }

    pub(super) fn cursor(&self, name: &str) -> Result<Arc<Cursor>> {
        self.state().cursors.get(name).cloned().ok_or_else(|| no_cursor(name))
    }
}

/// An unknown name of a cursor.
pub(super) fn no_cursor(name: &str) -> Error {
    Error::new(Sqlstate::InvalidCursorName, format!("cursor \"{name}\" does not exist"))
}
