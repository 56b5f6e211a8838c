//! A shortcut for rows that come sorted by their unit: a unit is complete when the next one comes, and need not wait.
//!
//! ```text
//! a reader's rows   │ 3 3 │ 5 5 5 7 7 9 … 40 40 │ 41 │     one ascending segment
//!                    edge     bounded at once     edge      edges wait with all rows that come in no order
//! ```
//!
//! Nobody has to declare the order, and no declaration is trusted: it is found out while reading. That no unit is missed is found out too.
//! Batches are of one segment only where one goes on with the unit that the other ended with: a reader may come from one file to any other. What lies strictly inside a segment is bounded at once, so no other reader may meet a unit there, nor come back to one. The ends of all
//! segments are compared whenever one grows; if two overlap, or rows come in no order after a unit was bounded, everything is begun again
//! without this shortcut. Whether it is taken decides how long a release takes, never what it finds.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use datafusion::arrow::array::{AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::UInt64Type;

use super::super::super::below;
use super::super::groups::DROPPED;
use super::spill::joined;
use super::totals::Totals;
use super::{Job, bound, columns};
use crate::error::{Error, Result};

/// How often rows may begin again from a smaller unit, in the rows that are looked at together, and still be taken as sorted.
const MOST_DESCENTS: usize = 4;
/// The most segments of a release.
const MOST_SEGMENTS: usize = 1 << 17;

/// What the readers of a release know of each other.
pub(super) struct Shortcut {
    allowed: bool,
    /// A unit was bounded.
    taken: AtomicBool,
    /// Rows came in no order.
    disorder: AtomicBool,
    wrong: AtomicBool,
    segments: Mutex<Segments>,
}

/// The first and last unit of every segment, and a number. Units may be at the ends of several, and inside of one only: so in this order
/// the ends ascend too, and who is apart from both neighbours is apart from all.
#[derive(Default)]
struct Segments {
    all: BTreeSet<Entered>,
    numbers: u64,
}

type Entered = (u64, u64, u64);

impl Shortcut {
    pub(super) fn new(allowed: bool) -> Shortcut {
        let no = || AtomicBool::new(false);
        Shortcut { allowed, taken: no(), disorder: no(), wrong: no(), segments: Mutex::default() }
    }

    /// Whether everything is to be begun again without it.
    pub(super) fn is_wrong(&self) -> bool {
        self.wrong.load(Ordering::SeqCst)
    }

    fn wrong(&self) -> Error {
        self.wrong.store(true, Ordering::SeqCst);
        Error::below_boundary()
    }

    /// Rows come in no order. Nothing may have been bounded, and nothing will be.
    fn disorder(&self) -> Result<()> {
        self.disorder.store(true, Ordering::SeqCst);
        if self.taken.load(Ordering::SeqCst) { Err(self.wrong()) } else { Ok(()) }
    }

    /// A unit will be bounded. All rows must have come in order.
    fn take(&self) -> Result<()> {
        self.taken.store(true, Ordering::SeqCst);
        if self.disorder.load(Ordering::SeqCst) { Err(self.wrong()) } else { Ok(()) }
    }

    /// Enters a segment or what it has become.
    fn enter(&self, segment: &mut Segment) -> Result<()> {
        let mut segments = self.segments.lock().map_err(below)?;
        if let Some(before) = segment.entered.take() {
            segments.all.remove(&before);
        }
        segments.numbers += 1;
        let own = (segment.first, segment.last, segments.numbers);
        let before_is_apart = segments.all.range(..own).next_back().is_none_or(|(_, last, _)| *last <= segment.first);
        let next_is_apart = segments.all.range(own..).next().is_none_or(|(first, ..)| segment.last <= *first);
        if segments.all.len() >= MOST_SEGMENTS || !before_is_apart || !next_is_apart {
            return Err(self.wrong());
        }
        segments.all.insert(own);
        segment.entered = Some(own);
        Ok(())
    }
}

/// Ascending rows of one reader.
struct Segment {
    first: u64,
    last: u64,
    entered: Option<Entered>,
}

impl Segment {
    fn from(unit: u64) -> Segment {
        Segment { first: unit, last: unit, entered: None }
    }
}

/// Takes the shortcut for the rows of one reader, where there is one.
pub(super) struct Ordered {
    job: Arc<Job>,
    on: bool,
    open: Option<Segment>,
    /// Rows of the last unit so far, unless it is the first too.
    carried: Option<RecordBatch>,
    /// None where there is no shortcut to take.
    totals: Option<Totals>,
}

impl Ordered {
    pub(super) fn new(job: &Arc<Job>) -> Result<Ordered> {
        let on = job.shortcut.allowed && job.layout.ids_are_words();
        let totals = on.then(|| job.totals()).transpose()?;
        Ok(Ordered { job: Arc::clone(job), on, open: None, carried: None, totals })
    }

    /// Bounds the units of these rows that are complete; the rows of the others, which must wait.
    pub(super) fn take(&mut self, batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
        if !self.on {
            return Ok(batches);
        }
        let batches = self.carried.take().into_iter().map(Ok).chain(batches.into_iter().map(without_dropped));
        let batches = batches.collect::<Result<Vec<_>>>()?;
        let rows = joined(&self.job.layout.schema, &batches)?;
        let units = self.units(&rows)?;
        let descents: BTreeSet<usize> =
            (1..).zip(units.windows(2)).filter(|(_, w)| descends(w)).map(|(i, _)| i).collect();
        if descents.len() > MOST_DESCENTS || self.job.shortcut.disorder.load(Ordering::SeqCst) {
            self.on = false;
            self.job.shortcut.disorder()?;
            return Ok(vec![rows]);
        }
        let mut splits = descents;
        let mut end = 0;
        for batch in &batches {
            end += batch.num_rows();
            let ends = end.checked_sub(1).and_then(|last| units.get(last)).zip(units.get(end));
            if ends.is_some_and(|(last, next)| last != next) {
                splits.insert(end);
            }
        }
        let mut edges = Vec::new();
        let mut from = 0;
        for to in splits.into_iter().chain([units.len()]) {
            self.piece(&rows, &units, from, to, &mut edges)?;
            from = to;
        }
        Ok(edges)
    }

    /// Ascending rows, the last of which may have more to come.
    fn piece(
        &mut self,
        rows: &RecordBatch,
        units: &[u64],
        from: usize,
        to: usize,
        edges: &mut Vec<RecordBatch>,
    ) -> Result<()> {
        let piece = units.get(from..to).unwrap_or(&[]);
        let (Some(first), Some(last)) = (piece.first(), piece.last()) else { return Ok(()) };
        let mut segment = match self.open.take() {
            Some(open) if open.last == *first => open,
            _ => Segment::from(*first),
        };
        let after_first = from + piece.partition_point(|unit| *unit <= segment.first);
        let before_last = (from + piece.partition_point(|unit| unit < last)).max(after_first);
        segment.last = *last;
        self.job.shortcut.enter(&mut segment)?;
        let mut edge = |from: usize, to: usize| {
            if to > from {
                edges.push(rows.slice(from, to - from));
            }
        };
        edge(from, after_first);
        if before_last > after_first {
            self.job.shortcut.take()?;
            let totals = self.totals.as_mut().ok_or_else(Error::below_boundary)?;
            bound::add(&self.job, &rows.slice(after_first, before_last - after_first), totals)?;
        }
        if to < rows.num_rows() {
            // What comes next is of another segment.
            edge(before_last, to);
        } else if to - before_last >= self.job.sizes.run_rows {
            // So many rows of one unit do not stay here.
            edge(before_last, to);
            self.open = Some(Segment::from(*last));
        } else {
            if to > before_last {
                self.carried = Some(rows.slice(before_last, to - before_last));
            }
            self.open = Some(segment);
        }
        Ok(())
    }

    /// The totals of what was bounded, and the rows that must wait yet.
    pub(super) fn finish(self) -> (Option<Totals>, Vec<RecordBatch>) {
        (self.totals, self.carried.into_iter().collect())
    }

    /// The units of rows, as numbers of the same order.
    fn units(&self, rows: &RecordBatch) -> Result<Vec<u64>> {
        let ids = rows.columns().first().and_then(|ids| ids.as_primitive_opt::<UInt64Type>());
        let ids = ids.ok_or_else(Error::below_boundary)?.values();
        let sign = if self.job.layout.ids_are_signed() { 1 << 63 } else { 0 };
        Ok(ids.iter().map(|id| id ^ sign).collect())
    }
}

fn descends(two: &[u64]) -> bool {
    matches!(two, [a, b] if b < a)
}

fn without_dropped(rows: RecordBatch) -> Result<RecordBatch> {
    let groups = columns::groups(&rows)?;
    if !groups.contains(&DROPPED) {
        return Ok(rows);
    }
    let kept = BooleanArray::from_iter(groups.iter().map(|group| Some(*group != DROPPED)));
    filter_record_batch(&rows, &kept).map_err(below)
}
