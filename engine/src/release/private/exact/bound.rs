//! Bounds what units add: from rows that are complete for each of their units, to totals.
//!
//! ```text
//! rows ─► by unit ─┬─ within the bounds: all rows count
//!                  └─ beyond: the C smallest of its groups, in each the m smallest of its rows (kanon_privacy::bounding)
//!      ─► totals of the rows that count; the d smallest of their distinct values, a unit and group
//! ```
//!
//! Only what is beyond a bound is hashed with the site's key, and only then are the bytes of a unit or a row made.

use std::borrow::Cow;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use datafusion::arrow::compute::take;
use hashbrown::HashTable;
use kanon_privacy::bounding::{Order, UnitOrder};
use kanon_privacy::sensitivity::Bounding;

use super::super::super::below;
use super::super::groups::{DROPPED, KeyBytes};
use super::Job;
use super::clip;
use super::columns::{self, Ids};
use super::distinct::Value;
use super::levels;
use super::partition::Hasher;
use super::totals::Totals;
use crate::error::{Error, Result};

/// Rows that count, of one unit in one group.
struct Part {
    /// The first row of the unit.
    unit: u32,
    group: u32,
    /// Where they are among the rows that count.
    from: usize,
    to: usize,
}

/// What counts of some rows.
#[derive(Default)]
struct Counted {
    rows: Vec<u32>,
    parts: Vec<Part>,
}

impl Counted {
    fn add(&mut self, unit: u32, group: u32, rows: impl Iterator<Item = u32>) {
        let from = self.rows.len();
        self.rows.extend(rows);
        self.parts.push(Part { unit, group, from, to: self.rows.len() });
    }
}

/// Adds what counts of these rows: all that there are of their units.
pub(super) fn add(job: &Job, rows: &RecordBatch, totals: &mut Totals) -> Result<()> {
    if rows.num_rows() == 0 {
        return Ok(());
    }
    match (&job.mechanisms.bounding, &job.mechanisms.norm) {
        (Bounding::Clipped(clip), None) => clip::add(job, clip, rows, totals),
        (Bounding::Clipped(clip), Some(_)) => levels::add(job, clip, rows, totals),
        (Bounding::Sampled(_), _) => sampled(job, rows, totals),
    }
}

/// Adds the rows that count.
fn sampled(job: &Job, rows: &RecordBatch, totals: &mut Totals) -> Result<()> {
    totals.resize(job.groups.read().map_err(below)?.len())?;
    let by_unit = ByUnit::of(rows, &job.hasher)?;
    let groups = kept(job, rows, &by_unit, totals)?;
    let (arguments, distinct) = job.layout.split(job.layout.contents(rows)?)?;
    totals.add_rows(&groups, arguments)?;
    if !distinct.is_empty() {
        let counted = counted(&by_unit, &groups)?;
        let which = UInt32Array::from(counted.rows);
        let taken = distinct.iter().map(|column| take(column, &which, None).map_err(below));
        let values = distinct_values(job, rows, &counted.parts, &taken.collect::<Result<Vec<_>>>()?)?;
        job.distinct.lock().map_err(below)?.add(values)?;
    }
    Ok(())
}

/// The group of every row, [`DROPPED`] for rows that do not count; adds the units of each group.
fn kept<'r>(job: &Job, rows: &'r RecordBatch, by_unit: &ByUnit, totals: &mut Totals) -> Result<Cow<'r, [u32]>> {
    let groups = columns::groups(rows)?;
    let (most_groups, most_rows) = (job.bounds.groups.get() as usize, job.bounds.rows.get() as usize);
    let mut tally = totals.tally();
    // So few rows are within the bounds, whichever groups they are in.
    let few = if totals.units.len() <= most_groups { most_rows } else { most_rows.min(most_groups) };
    let mut beyond: Vec<&[u32]> = Vec::new();
    for (number, unit) in by_unit.units().enumerate() {
        if number % 1024 == 0 {
            job.go_on()?;
        }
        if unit.len() <= few && !totals.counts_units {
            continue;
        }
        let most = tally.of(unit, groups)?;
        if most <= most_rows && tally.met.len() <= most_groups {
            totals.add_units(tally.met.iter().copied())?;
        } else {
            beyond.push(unit);
        }
    }
    totals.tally = tally;
    if beyond.is_empty() {
        return Ok(Cow::Borrowed(groups));
    }
    let mut counted = Counted::default();
    cut(job, rows, &beyond, &mut counted)?;
    totals.add_units(counted.parts.iter().map(|part| part.group))?;
    let mut kept = groups.to_vec();
    for row in beyond.into_iter().flatten() {
        *kept.get_mut(*row as usize).ok_or_else(Error::below_boundary)? = DROPPED;
    }
    for row in counted.rows {
        let group = groups.get(row as usize).ok_or_else(Error::below_boundary)?;
        *kept.get_mut(row as usize).ok_or_else(Error::below_boundary)? = *group;
    }
    Ok(Cow::Owned(kept))
}

/// Counts the rows of a unit by group.
#[derive(Default)]
pub(super) struct Tally {
    /// By group: the last unit that was there, from 1, and its rows.
    pub(super) last: Vec<(u64, u32)>,
    units: u64,
    /// The groups of the unit.
    pub(super) met: Vec<u32>,
}

impl Tally {
    /// Tallies the rows of the next unit; the most rows that it has in a group.
    pub(super) fn of(&mut self, unit: &[u32], groups: &[u32]) -> Result<usize> {
        self.units += 1;
        self.met.clear();
        let mut most = 0;
        for row in unit {
            let group = *groups.get(*row as usize).ok_or_else(Error::below_boundary)?;
            let (last, rows) = self.last.get_mut(group as usize).ok_or_else(Error::below_boundary)?;
            if *last != self.units {
                (*last, *rows) = (self.units, 0);
                self.met.push(group);
            }
            *rows += 1;
            most = most.max(*rows);
        }
        Ok(most as usize)
    }

    /// How many rows the unit has in each of its groups.
    pub(super) fn rows(&self) -> impl Iterator<Item = u64> + '_ {
        self.met.iter().filter_map(|group| self.last.get(*group as usize)).map(|(_, rows)| u64::from(*rows))
    }
}

/// The rows that count, by unit and group.
fn counted(by_unit: &ByUnit, groups: &[u32]) -> Result<Counted> {
    let (mut counted, mut sorted) = (Counted::default(), Vec::new());
    for unit in by_unit.units() {
        let Some(first) = unit.first() else { continue };
        by_group(unit, groups, &mut sorted)?;
        for part in sorted.chunk_by(|a, b| a.0 == b.0) {
            if let Some((group, _)) = part.first().filter(|(group, _)| *group != DROPPED) {
                counted.add(*first, *group, part.iter().map(|(_, row)| *row));
            }
        }
    }
    Ok(counted)
}

/// The rows of a unit by group.
pub(super) fn by_group(unit: &[u32], groups: &[u32], sorted: &mut Vec<(u32, u32)>) -> Result<()> {
    sorted.clear();
    for row in unit {
        sorted.push((*groups.get(*row as usize).ok_or_else(Error::below_boundary)?, *row));
    }
    sorted.sort_unstable();
    Ok(())
}

/// More rows of a unit in a group than may count: which unit, which group, where they are among all such rows.
struct Crowd<'u> {
    unit: u32,
    order: &'u UnitOrder,
    group: u32,
    from: usize,
    to: usize,
}

/// Adds what counts of units that are beyond a bound.
fn cut(job: &Job, rows: &RecordBatch, beyond: &[&[u32]], counted: &mut Counted) -> Result<()> {
    let groups = columns::groups(rows)?;
    let most_groups = job.bounds.groups.get() as usize;
    let most_rows = job.bounds.rows.get() as usize;
    let contents = job.layout.contents(rows)?;
    let first: Vec<u32> = beyond.iter().filter_map(|unit| unit.first().copied()).collect();
    let orders = job.layout.orders(rows, &first, &job.key)?;
    let mut crowds: Vec<Crowd<'_>> = Vec::new();
    let mut crowded: Vec<u32> = Vec::new();
    {
        let all = job.groups.read().map_err(below)?;
        let names = all.names();
        let mut sorted = Vec::new();
        let mut ordered: Vec<(Order, usize, usize)> = Vec::new();
        for ((unit, order), first) in beyond.iter().zip(&orders).zip(&first) {
            by_group(unit, groups, &mut sorted)?;
            let parts = || sorted.chunk_by(|a, b| a.0 == b.0);
            let mut keep = |part: &[(u32, u32)]| {
                let Some((group, _)) = part.first() else { return };
                let rows = part.iter().map(|(_, row)| *row);
                if part.len() <= most_rows {
                    counted.add(*first, *group, rows);
                } else if contents.is_empty() {
                    // All rows are equal.
                    counted.add(*first, *group, rows.take(most_rows));
                } else {
                    let from = crowded.len();
                    crowded.extend(rows);
                    crowds.push(Crowd { unit: *first, order, group: *group, from, to: crowded.len() });
                }
            };
            if parts().count() <= most_groups {
                parts().for_each(&mut keep);
            } else {
                ordered.clear();
                let mut from = 0;
                for part in parts() {
                    let name = part.first().and_then(|(group, _)| names.get(*group as usize));
                    let order = order.group(name.ok_or_else(Error::below_boundary)?);
                    ordered.push((order, from, from + part.len()));
                    from += part.len();
                }
                ordered.sort_unstable();
                let smallest = ordered.iter().take(most_groups);
                smallest.filter_map(|(_, from, to)| sorted.get(*from..*to)).for_each(&mut keep);
            }
        }
    }
    choose(job, contents, &crowds, &crowded, counted)
}

/// Of each crowd, the m rows that are smallest by the keyed hash of their content; equal ones told apart by number.
fn choose(
    job: &Job,
    contents: &[ArrayRef],
    crowds: &[Crowd<'_>],
    crowded: &[u32],
    counted: &mut Counted,
) -> Result<()> {
    let bytes = KeyBytes::of(&job.layout.contents)?;
    let most = job.bounds.rows.get() as usize;
    // Some at a time: their bytes are made together, and are not accounted.
    let mut crowds = crowds;
    while let Some(first) = crowds.first() {
        job.go_on()?;
        let few = crowds.partition_point(|crowd| crowd.to - first.from <= job.sizes.bytes_at_once).max(1);
        let (now, later) = crowds.split_at_checked(few).ok_or_else(Error::below_boundary)?;
        crowds = later;
        let to = now.last().map_or(first.to, |last| last.to);
        let these = crowded.get(first.from..to).ok_or_else(Error::below_boundary)?;
        let which = UInt32Array::from(these.to_vec());
        let taken = contents.iter().map(|c| take(c, &which, None).map_err(below)).collect::<Result<Vec<_>>>()?;
        let content = bytes.rows(&taken)?;
        let names = job.groups.read().map_err(below)?;
        let mut ordered: Vec<(Order, u32)> = Vec::new();
        for crowd in now {
            let name = names.names().get(crowd.group as usize).ok_or_else(Error::below_boundary)?;
            let places = crowd.from - first.from..crowd.to - first.from;
            let mut sorted: Vec<(&[u8], u32)> = places
                .clone()
                .zip(these.get(places).unwrap_or(&[]))
                .map(|(i, row)| (content.row(i).data(), *row))
                .collect();
            sorted.sort_unstable();
            ordered.clear();
            for equal in sorted.chunk_by(|a, b| a.0 == b.0) {
                for (number, (bytes, row)) in (0_u64..).zip(equal) {
                    ordered.push((crowd.order.row(name, bytes, number), *row));
                }
            }
            if ordered.len() > most {
                ordered.select_nth_unstable(most);
            }
            counted.add(crowd.unit, crowd.group, ordered.iter().take(most).map(|(_, row)| *row));
        }
    }
    Ok(())
}

/// The values that count of each part's rows: at most d, the smallest by the keyed hash.
fn distinct_values(job: &Job, rows: &RecordBatch, parts: &[Part], columns: &[ArrayRef]) -> Result<Vec<Value>> {
    let mut values: Vec<Value> = Vec::new();
    for ((number, most), column) in (0_u32..).zip(&job.most_distinct).zip(columns) {
        let most = *most as usize;
        let bytes = KeyBytes::of(&[column.data_type().clone()])?.rows(std::slice::from_ref(column))?;
        let mut beyond: Vec<(&Part, Vec<&[u8]>)> = Vec::new();
        for part in parts {
            let mut own: Vec<&[u8]> =
                (part.from..part.to).filter(|row| column.is_valid(*row)).map(|row| bytes.row(row).data()).collect();
            own.sort_unstable();
            own.dedup();
            if own.len() > most {
                beyond.push((part, own));
            } else {
                values.extend(own.into_iter().map(|value| (number, part.group, value.into())));
            }
        }
        let units: Vec<u32> = beyond.iter().map(|(part, _)| part.unit).collect();
        let orders = job.layout.orders(rows, &units, &job.key)?;
        let groups = job.groups.read().map_err(below)?;
        for ((part, own), order) in beyond.iter().zip(&orders) {
            let name = groups.names().get(part.group as usize).ok_or_else(Error::below_boundary)?;
            let mut ordered: Vec<(Order, &[u8])> =
                own.iter().map(|value| (order.value(name, number, value), *value)).collect();
            ordered.sort_unstable();
            values.extend(ordered.into_iter().take(most).map(|(_, value)| (number, part.group, value.into())));
        }
    }
    Ok(values)
}

/// Rows by unit.
pub(super) struct ByUnit {
    /// The rows of one unit after those of another.
    rows: Vec<u32>,
    /// Where those of each begin, and the end.
    starts: Vec<u32>,
}

impl ByUnit {
    pub(super) fn of(rows: &RecordBatch, hasher: &Hasher) -> Result<ByUnit> {
        match columns::ids(rows)? {
            Ids::Words(words) if words.is_sorted() => ByUnit::of_sorted(words),
            Ids::Words(words) => ByUnit::of_ids(words.iter().copied(), |id| hasher.word(*id)),
            Ids::Names(names) => ByUnit::of_ids(names.iter().map(Option::unwrap_or_default), |id| hasher.name(id)),
        }
    }

    fn of_sorted(ids: &[u64]) -> Result<ByUnit> {
        let end = u32::try_from(ids.len()).map_err(below)?;
        let mut starts = Vec::new();
        let mut start = 0;
        for unit in ids.chunk_by(|a, b| a == b) {
            starts.push(start);
            start += u32::try_from(unit.len()).map_err(below)?;
        }
        starts.push(end);
        Ok(ByUnit { rows: (0..end).collect(), starts })
    }

    fn of_ids<I: Copy + Eq>(ids: impl ExactSizeIterator<Item = I>, hash: impl Fn(&I) -> u64) -> Result<ByUnit> {
        // Grown a few times less than from nothing.
        let mut table: HashTable<(I, u32)> = HashTable::with_capacity(ids.len() / 16);
        let mut numbers: Vec<u32> = Vec::with_capacity(ids.len());
        let mut starts: Vec<u32> = Vec::new();
        let mut last: Option<(I, u32)> = None;
        for id in ids {
            let number = match last {
                Some((known, number)) if known == id => number,
                _ => {
                    let next = u32::try_from(starts.len()).map_err(below)?;
                    let entry = table.entry(hash(&id), |(known, _)| *known == id, |(known, _)| hash(known));
                    let (_, number) = *entry.or_insert_with(|| (id, next)).get();
                    if number == next {
                        starts.push(0);
                    }
                    number
                }
            };
            last = Some((id, number));
            if let Some(count) = starts.get_mut(number as usize) {
                *count += 1;
            }
            numbers.push(number);
        }
        drop(table);
        let mut end = 0;
        for start in &mut starts {
            (*start, end) = (end, end + *start);
        }
        let mut next = starts.clone();
        starts.push(end);
        let mut rows = vec![0; numbers.len()];
        for (row, number) in (0_u32..).zip(&numbers) {
            if let Some(place) = next.get_mut(*number as usize) {
                if let Some(slot) = rows.get_mut(*place as usize) {
                    *slot = row;
                }
                *place += 1;
            }
        }
        Ok(ByUnit { rows, starts })
    }

    pub(super) fn units(&self) -> impl Iterator<Item = &[u32]> {
        self.starts.windows(2).filter_map(|ends| match ends {
            [from, to] => self.rows.get(*from as usize..*to as usize),
            _ => None,
        })
    }
}
