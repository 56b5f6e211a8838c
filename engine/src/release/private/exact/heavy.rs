//! Units that have more rows than fit into memory: bounded batch by batch, from disk.
//!
//! ```text
//! rows on disk ─► once: of each unit the C smallest groups
//!              └► again, of those groups: every row's number among equal ones ─► the m smallest so far, a unit and group
//!                   └─ too many different rows to number them: split by a hash of the row first, and each part after the other
//! ```
//!
//! What is kept is at most C·m rows a unit at any time, and in the end it is what counts.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use datafusion::arrow::array::{RecordBatch, UInt32Array};
use datafusion::arrow::compute::{concat_batches, take_record_batch};
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::common::runtime::SpawnedTask;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::TryStreamExt;
use kanon_privacy::bounding::{Kept, Order, UnitOrder};

use super::super::super::below;
use super::super::groups::KeyBytes;
use super::Job;
use super::columns;
use super::partition::{Level, Run};
use super::spill::{Spill, Spilled, finish};
use crate::error::{Error, Result};

/// Most pairs of a unit and a group that are remembered as seen.
const MOST_SEEN: usize = 1 << 20;

/// The rows of a part that count.
pub(super) async fn kept(job: &Arc<Job>, part: Spilled, memory: &MemoryReservation) -> Result<RecordBatch> {
    let mut choice = Choice::new(job, memory.new_empty())?;
    let mut rows = part.read(&job.runtime, &job.layout.schema)?;
    while let Some(batch) = rows.try_next().await.map_err(below)? {
        choice = blocking(move || choice.groups(&batch)).await?;
    }
    drop(rows);
    let seed = RandomState::with_seed(job.hasher.word(0));
    let mut parts = vec![(part, Level::first(job.sizes.split_bits))];
    while let Some((part, level)) = parts.pop() {
        let before = choice.kept.clone();
        let mut fits = true;
        let mut rows = part.read(&job.runtime, &job.layout.schema)?;
        while let (true, Some(batch)) = (fits, rows.try_next().await.map_err(below)?) {
            (choice, fits) = blocking(move || choice.rows(&batch)).await?;
        }
        choice.forget();
        if fits {
            continue;
        }
        choice.kept = before;
        let disk = Arc::new(Mutex::new(Spill::new(&job.runtime, &job.layout.schema, level.partitions())));
        let mut rows = part.read(&job.runtime, &job.layout.schema)?;
        while let Some(batch) = rows.try_next().await.map_err(below)? {
            let (disk, seed) = (Arc::clone(&disk), seed.clone());
            blocking(move || {
                let mut hashes = vec![0; batch.num_rows()];
                create_hashes(batch.columns(), &seed, &mut hashes).map_err(below)?;
                let run = Run::by_hash(&batch, level, hashes.into_iter())?;
                disk.lock().map_err(below)?.append(&[run])
            })
            .await?;
        }
        let next = level.next(job.sizes.split_bits).ok_or_else(Error::below_boundary)?;
        parts.extend(finish(disk).await?.into_iter().flatten().map(|part| (part, next)));
    }
    Ok(choice.kept.rows)
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    SpawnedTask::spawn_blocking(work).await.map_err(below)?
}

/// What makes rows equal: unit, group and content.
type Row = (Box<[u8]>, u32, Box<[u8]>);

/// Rows, with the order of each.
#[derive(Clone)]
struct Ordered {
    rows: RecordBatch,
    orders: Vec<Order>,
}

/// What is known of a unit.
struct Unit {
    order: UnitOrder,
    groups: Kept<u32, ()>,
}

/// What is kept so far.
struct Choice {
    job: Arc<Job>,
    id: KeyBytes,
    content: KeyBytes,
    units: HashMap<Box<[u8]>, Unit>,
    /// Of these the choice of groups knows.
    seen: HashSet<(Box<[u8]>, u32)>,
    /// How many rows there were so far that are equal.
    equal: HashMap<Row, u64>,
    kept: Ordered,
    memory: MemoryReservation,
}

impl Choice {
    fn new(job: &Arc<Job>, memory: MemoryReservation) -> Result<Choice> {
        let id = job.layout.schema.fields().first().map(|f| f.data_type().clone()).ok_or_else(Error::below_boundary)?;
        Ok(Choice {
            job: Arc::clone(job),
            id: KeyBytes::of(&[id])?,
            content: KeyBytes::of(&job.layout.contents)?,
            units: HashMap::new(),
            seen: HashSet::new(),
            equal: HashMap::new(),
            kept: Ordered { rows: RecordBatch::new_empty(Arc::clone(&job.layout.schema)), orders: Vec::new() },
            memory,
        })
    }

    /// Lets these rows take part in the choice of groups.
    fn groups(mut self, batch: &RecordBatch) -> Result<Choice> {
        self.job.go_on()?;
        let ids = self.id.rows(batch.columns().get(..1).unwrap_or(&[]))?;
        let all = self.job.groups.read().map_err(below)?;
        for ((row, id), group) in (0_u32..).zip(ids.iter()).zip(columns::groups(batch)?) {
            let id: Box<[u8]> = id.data().into();
            if self.seen.contains(&(id.clone(), *group)) {
                continue;
            }
            if self.seen.len() >= MOST_SEEN {
                self.seen.clear();
            }
            let unit = match self.units.entry(id.clone()) {
                Entry::Occupied(unit) => unit.into_mut(),
                Entry::Vacant(place) => {
                    let order = self.job.layout.orders(batch, &[row], &self.job.key)?.pop();
                    let order = order.ok_or_else(Error::below_boundary)?;
                    place.insert(Unit { order, groups: Kept::at_most(self.job.bounds.groups) })
                }
            };
            let name = all.names().get(*group as usize).ok_or_else(Error::below_boundary)?;
            unit.groups.offer(unit.order.group(name), *group, || ());
            self.seen.insert((id, *group));
        }
        drop(all);
        Ok(self)
    }

    /// Lets these rows take part in the choice of rows. `false` if there is no memory for that.
    fn rows(mut self, batch: &RecordBatch) -> Result<(Choice, bool)> {
        self.job.go_on()?;
        let ids = self.id.rows(batch.columns().get(..1).unwrap_or(&[]))?;
        let contents = self.job.layout.contents(batch)?;
        let contents = if contents.is_empty() { None } else { Some(self.content.rows(contents)?) };
        let mut candidates: Vec<u32> = Vec::new();
        let mut orders = self.kept.orders.clone();
        let mut more = 0;
        let all = self.job.groups.read().map_err(below)?;
        for (row, group) in columns::groups(batch)?.iter().enumerate() {
            let id = ids.row(row).data();
            let unit = self.units.get(id).ok_or_else(Error::below_boundary)?;
            if !unit.groups.iter().any(|(kept, ())| kept == group) {
                continue;
            }
            let content: &[u8] = contents.as_ref().map_or(&[], |contents| contents.row(row).data());
            let key: Row = (id.into(), *group, content.into());
            let number = match self.equal.get_mut(&key) {
                Some(number) => number,
                None => {
                    more += 128 + id.len() + content.len();
                    self.equal.entry(key).or_insert(0)
                }
            };
            let name = all.names().get(*group as usize).ok_or_else(Error::below_boundary)?;
            orders.push(unit.order.row(name, content, *number));
            candidates.push(u32::try_from(row).map_err(below)?);
            *number += 1;
        }
        drop(all);
        let candidates = take_record_batch(batch, &UInt32Array::from(candidates)).map_err(below)?;
        let rows = concat_batches(&self.job.layout.schema, [&self.kept.rows, &candidates]).map_err(below)?;
        self.kept = smallest(&self.id, &rows, &orders, self.job.bounds.rows.get() as usize)?;
        let fits = self.memory.try_grow(more).is_ok();
        Ok((self, fits))
    }

    fn forget(&mut self) {
        self.equal = HashMap::new();
        self.memory.free();
    }
}

/// Of each unit and group the rows whose orders are smallest.
fn smallest(id: &KeyBytes, rows: &RecordBatch, orders: &[Order], most: usize) -> Result<Ordered> {
    let ids = id.rows(rows.columns().get(..1).unwrap_or(&[]))?;
    let groups = columns::groups(rows)?;
    let mut all: Vec<(&[u8], u32, Order, u32)> = Vec::with_capacity(orders.len());
    for (((row, id), group), order) in (0_u32..).zip(ids.iter()).zip(groups).zip(orders) {
        all.push((id.data(), *group, *order, row));
    }
    all.sort_unstable();
    let kept: Vec<(Order, u32)> = all
        .chunk_by(|a, b| (a.0, a.1) == (b.0, b.1))
        .flat_map(|part| part.iter().take(most).map(|(_, _, order, row)| (*order, *row)))
        .collect();
    let which = UInt32Array::from_iter_values(kept.iter().map(|(_, row)| *row));
    let rows = take_record_batch(rows, &which).map_err(below)?;
    Ok(Ordered { rows, orders: kept.into_iter().map(|(order, _)| order).collect() })
}
