//! Rows that wait until all of their unit are there.
//!
//! ```text
//! readers ─► units that are complete, where rows are sorted: ordered
//!         └► runs in memory ──────────────────────────┐
//!               └─ no memory: all of a reader's ─► disk ┴─► partitions ─► workers ─► totals
//!                                                             ├─ still too large: split by more bits of the hash
//!                                                             └─ that does not help, it is one unit's: heavy
//! ```

use std::sync::{Arc, Mutex};

use datafusion::arrow::array::RecordBatch;
use datafusion::common::runtime::SpawnedTask;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::TryStreamExt;
use kanon_privacy::sensitivity::Bounding;
use tokio::sync::Mutex as AsyncMutex;

use super::super::super::below;
use super::columns::{Identifier, with_units};
use super::ordered::Ordered;
use super::partition::{Level, Run, Size};
use super::spill::{Spill, Spilled, finish, joined};
use super::totals::Totals;
use super::{Job, all, bound, clip, heavy};
use crate::error::{Error, Result};

/// The totals of rows of units that may have many.
pub(super) async fn add(
    job: &Arc<Job>,
    streams: Vec<SendableRecordBatchStream>,
    workers: usize,
    most_streams: usize,
) -> Result<Vec<Totals>> {
    let level = Level::first(job.sizes.partition_bits);
    let disk = Arc::new(Mutex::new(Spill::new(&job.runtime, &job.layout.schema, level.partitions())));
    // What totals take is asked for before a row is read.
    let totals = (0..workers.max(1)).map(|_| job.totals()).collect::<Result<Vec<_>>>()?;
    let heavy = Arc::new(AsyncMutex::new(clip::Heavy::new(job)?));
    let readers = streams.iter().map(|_| Reader::new(job, level, &disk)).collect::<Result<Vec<_>>>()?;
    // How many streams there are depends on how large files are: as much is taken as for the most there may be.
    let unused = (streams.len()..most_streams).map(|_| Ordered::new(job)).collect::<Result<Vec<_>>>()?;
    let readers = readers.into_iter().zip(streams).map(|(reader, rows)| reader.read(rows));
    let (mut waiting, complete): (Vec<Waiting>, Vec<Option<Totals>>) = all(readers).await?.into_iter().unzip();

    // What bounding takes is asked for at once: if it is not there, what waits in memory makes room.
    let in_memory = |waiting: &[Waiting], number: usize| {
        let runs = waiting.iter().flat_map(|w| &w.runs);
        runs.map(|run| run.size_of(number)).fold(Size::default(), Size::plus)
    };
    let written = disk.lock().map_err(below)?.sizes();
    let sizes = written.iter().enumerate().map(|(number, written)| in_memory(&waiting, number).plus(*written));
    let largest = sizes.map(Size::to_bound).max().unwrap_or(0);
    let memory: Vec<MemoryReservation> = totals.iter().map(|_| job.spillable()).collect();
    let fits = memory.iter().all(|memory| memory.try_grow(largest).is_ok());
    if !fits {
        for memory in &memory {
            memory.free();
        }
        for waiting in &mut waiting {
            waiting.write(&disk).await?;
        }
        waiting.clear();
    }
    let spilled = finish(disk).await?;
    let parts = spilled.into_iter().enumerate().map(|(number, spilled)| Part {
        level,
        in_memory: fits.then_some(number),
        size: in_memory(&waiting, number).plus(spilled.as_ref().map_or(Size::default(), |s| s.size)),
        spilled,
        in_vain: 0,
    });
    let parts: Vec<Part> = parts.filter(|part| part.size.rows > 0).collect();
    let parts = Arc::new(Mutex::new(parts));
    let waiting = Arc::new(waiting);
    let mut totals = all(memory.into_iter().zip(totals).map(|(memory, totals)| {
        let (job, parts, waiting) = (Arc::clone(job), Arc::clone(&parts), Arc::clone(&waiting));
        Worker { job, parts, waiting, memory, heavy: Arc::clone(&heavy), fits }.work(totals)
    }))
    .await?;
    drop(unused);
    totals.extend(complete.into_iter().flatten());
    Ok(totals)
}

/// Rows in memory.
struct Waiting {
    runs: Vec<Run>,
    memory: MemoryReservation,
}

impl Waiting {
    /// Writes all of it to disk.
    async fn write(&mut self, disk: &Arc<Mutex<Spill>>) -> Result<()> {
        let runs = std::mem::take(&mut self.runs);
        if !runs.is_empty() {
            let disk = Arc::clone(disk);
            let written = SpawnedTask::spawn_blocking(move || disk.lock().map_err(below)?.append(&runs));
            written.await.map_err(below)??;
        }
        self.memory.free();
        Ok(())
    }
}

/// Reads a stream of the plan.
struct Reader {
    job: Arc<Job>,
    level: Level,
    disk: Arc<Mutex<Spill>>,
    /// Rows that were read, and are not looked at yet.
    read: Batches,
    ordered: Ordered,
    /// Rows that must wait, and are in no run yet.
    late: Batches,
    waiting: Waiting,
}

#[derive(Default)]
struct Batches {
    batches: Vec<RecordBatch>,
    rows: usize,
}

impl Batches {
    fn push(&mut self, batch: RecordBatch) {
        self.rows += batch.num_rows();
        self.batches.push(batch);
    }
}

impl Reader {
    fn new(job: &Arc<Job>, level: Level, disk: &Arc<Mutex<Spill>>) -> Result<Reader> {
        Ok(Reader {
            job: Arc::clone(job),
            level,
            disk: Arc::clone(disk),
            read: Batches::default(),
            ordered: Ordered::new(job)?,
            late: Batches::default(),
            waiting: Waiting { runs: Vec::new(), memory: job.spillable() },
        })
    }

    async fn read(mut self, mut stream: SendableRecordBatchStream) -> Result<(Waiting, Option<Totals>)> {
        let mut numbers = self.job.numbers()?;
        let mut identifier = Identifier::new(&self.job.layout, &self.job.key)?;
        while let Some(batch) = stream.try_next().await.map_err(below)? {
            let batch = with_units(batch)?;
            let groups = numbers.of_rows(self.job.layout.keys_of(&batch)?, batch.num_rows())?;
            self.read.push(identifier.rows(&batch, groups)?);
            if self.read.rows >= self.job.sizes.run_rows {
                self.look().await?;
            }
            tokio::task::consume_budget().await;
        }
        self.look().await?;
        let (complete, carried) = self.ordered.finish();
        carried.into_iter().for_each(|rows| self.late.push(rows));
        Reader::wait(&mut self.waiting, &mut self.late, &self.job, self.level, &self.disk).await?;
        Ok((self.waiting, complete))
    }

    /// Bounds what can be at once; the rest waits.
    async fn look(&mut self) -> Result<()> {
        let read = std::mem::take(&mut self.read);
        if read.rows > 0 {
            self.ordered.take(read.batches)?.into_iter().for_each(|rows| self.late.push(rows));
        }
        if self.late.rows >= self.job.sizes.run_rows {
            Reader::wait(&mut self.waiting, &mut self.late, &self.job, self.level, &self.disk).await?;
        }
        Ok(())
    }

    /// Lets late rows wait.
    async fn wait(
        waiting: &mut Waiting,
        late: &mut Batches,
        job: &Job,
        level: Level,
        disk: &Arc<Mutex<Spill>>,
    ) -> Result<()> {
        let late = std::mem::take(late);
        if late.rows == 0 {
            return Ok(());
        }
        let run = Run::of(&joined(&job.layout.schema, &late.batches)?, level, &job.hasher)?;
        let fits = waiting.memory.try_grow(run.bytes()).is_ok();
        waiting.runs.push(run);
        if !fits {
            waiting.write(disk).await?;
        }
        Ok(())
    }
}

/// All rows of some units.
struct Part {
    level: Level,
    /// The number of the partition whose rows wait in memory.
    in_memory: Option<usize>,
    spilled: Option<Spilled>,
    size: Size,
    /// How often splitting left all rows in one part.
    in_vain: u32,
}

/// Splitting that often in vain means one unit, or next to always.
const MOST_IN_VAIN: u32 = 4;

/// Bounds parts until none is left.
struct Worker {
    job: Arc<Job>,
    parts: Arc<Mutex<Vec<Part>>>,
    waiting: Arc<Vec<Waiting>>,
    memory: MemoryReservation,
    /// What adds up units that do not fit, one part after the other.
    heavy: Arc<AsyncMutex<clip::Heavy>>,
    /// Whether the memory of any part is reserved.
    fits: bool,
}

impl Worker {
    async fn work(self, mut totals: Totals) -> Result<Totals> {
        loop {
            let Some(part) = self.parts.lock().map_err(below)?.pop() else { return Ok(totals) };
            if !self.fits && self.memory.try_resize(part.size.to_bound()).is_err() {
                self.memory.free();
                match part.level.next(self.job.sizes.split_bits) {
                    Some(level) if part.in_vain < MOST_IN_VAIN => {
                        let parts = self.split(part, level).await?;
                        self.parts.lock().map_err(below)?.extend(parts);
                    }
                    _ => {
                        let spilled = part.spilled.ok_or_else(Error::below_boundary)?;
                        totals = match self.job.mechanisms.bounding {
                            Bounding::Clipped(clip) => {
                                self.heavy.lock().await.add(&self.job, clip, spilled, totals).await?
                            }
                            Bounding::Sampled(_) => {
                                let rows = heavy::kept(&self.job, spilled, &self.memory).await?;
                                self.bound(vec![rows], totals).await?
                            }
                        };
                    }
                }
                continue;
            }
            let mut batches: Vec<RecordBatch> = Vec::new();
            if let Some(number) = part.in_memory {
                for run in self.waiting.iter().flat_map(|w| &w.runs) {
                    batches.push(run.partition(number)?);
                }
            }
            if let Some(spilled) = &part.spilled {
                let mut rows = spilled.read(&self.job.runtime, &self.job.layout.schema)?;
                while let Some(batch) = rows.try_next().await.map_err(below)? {
                    batches.push(batch);
                }
            }
            totals = self.bound(batches, totals).await?;
        }
    }

    /// Adds what counts of these rows, all that there are of their units.
    async fn bound(&self, batches: Vec<RecordBatch>, mut totals: Totals) -> Result<Totals> {
        let job = Arc::clone(&self.job);
        let bounded = SpawnedTask::spawn_blocking(move || {
            let rows = joined(&job.layout.schema, &batches)?;
            drop(batches);
            bound::add(&job, &rows, &mut totals)?;
            Ok(totals)
        });
        bounded.await.map_err(below)?
    }

    /// Splits what is too large for the memory.
    async fn split(&self, part: Part, level: Level) -> Result<Vec<Part>> {
        let spilled = part.spilled.ok_or_else(Error::below_boundary)?;
        let disk = Arc::new(Mutex::new(Spill::new(&self.job.runtime, &self.job.layout.schema, level.partitions())));
        let mut rows = spilled.read(&self.job.runtime, &self.job.layout.schema)?;
        while let Some(batch) = rows.try_next().await.map_err(below)? {
            let (job, disk) = (Arc::clone(&self.job), Arc::clone(&disk));
            let written = SpawnedTask::spawn_blocking(move || {
                let run = Run::of(&batch, level, &job.hasher)?;
                disk.lock().map_err(below)?.append(&[run])
            });
            written.await.map_err(below)??;
        }
        let parts: Vec<Spilled> = finish(disk).await?.into_iter().flatten().collect();
        let in_vain = if parts.len() > 1 { 0 } else { part.in_vain + 1 };
        let part =
            |spilled: Spilled| Part { level, in_memory: None, size: spilled.size, spilled: Some(spilled), in_vain };
        Ok(parts.into_iter().map(part).collect())
    }
}
