//! Rows by a hash of their unit: all rows of a unit are in one partition.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use datafusion::arrow::array::{RecordBatch, UInt32Array};
use datafusion::arrow::compute::take_record_batch;

use super::super::super::below;
use super::super::groups::DROPPED;
use super::columns::{self, Ids};
use crate::error::{Error, Result};

/// Hashes ids of units, with a seed of its own: nobody who can write rows can choose which of them meet.
#[derive(Clone, Copy)]
pub(super) struct Hasher {
    add: u64,
    multiply: u64,
}

impl Hasher {
    pub(super) fn new() -> Hasher {
        let random = RandomState::new();
        Hasher { add: random.hash_one(0), multiply: random.hash_one(1) | 1 }
    }

    /// Of an integer: both halves of a product.
    #[inline]
    pub(super) fn word(&self, word: u64) -> u64 {
        let product = u128::from(word ^ self.add) * u128::from(self.multiply);
        let folded = (product as u64) ^ ((product >> 64) as u64);
        // Once more: consecutive integers differ in few bits of one product.
        let product = u128::from(folded ^ self.multiply) * 0x9E37_79B9_7F4A_7C15_u128;
        (product as u64) ^ ((product >> 64) as u64)
    }

    /// Of a name, which is the hash of a unit under the site's key.
    #[inline]
    pub(super) fn name(&self, name: &[u8]) -> u64 {
        name.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

/// Which bits of a hash tell partitions apart: those of a level come after those of the levels before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    used: u32,
    bits: u32,
}

impl Level {
    /// The first, into 2^`bits` partitions.
    pub(super) fn first(bits: u32) -> Level {
        Level { used: 0, bits: bits.clamp(1, 12) }
    }

    /// The next, into 2^`bits` partitions of one of this level's. `None` if the hash has no more bits.
    pub(super) fn next(self, bits: u32) -> Option<Level> {
        let next = Level { used: self.used + self.bits, bits: bits.clamp(1, 12) };
        (next.used + next.bits <= u64::BITS).then_some(next)
    }

    /// The number of partitions.
    pub(super) fn partitions(self) -> usize {
        1 << self.bits
    }

    #[inline]
    fn of(self, hash: u64) -> u16 {
        // At most 12 bits.
        ((hash << self.used) >> (u64::BITS - self.bits)) as u16
    }
}

/// Rows in the order of their partitions.
pub(super) struct Run {
    rows: RecordBatch,
    /// Where each partition begins, and the end.
    starts: Vec<u32>,
}

impl Run {
    /// Puts rows into the order of their partitions, and drops those that are in no group.
    pub(super) fn of(rows: &RecordBatch, level: Level, hasher: &Hasher) -> Result<Run> {
        match columns::ids(rows)? {
            Ids::Words(words) => Run::by_hash(rows, level, words.iter().map(|word| hasher.word(*word))),
            Ids::Names(names) => {
                Run::by_hash(rows, level, names.iter().map(|name| hasher.name(name.unwrap_or_default())))
            }
        }
    }

    /// As [`Run::of`], by another hash of the rows.
    pub(super) fn by_hash(rows: &RecordBatch, level: Level, hashes: impl Iterator<Item = u64>) -> Result<Run> {
        let partitions: Vec<u16> = hashes.map(|hash| level.of(hash)).collect();
        let groups = columns::groups(rows)?;
        let mut starts = vec![0_u32; level.partitions()];
        for (partition, group) in partitions.iter().zip(groups) {
            if let (Some(count), true) = (starts.get_mut(*partition as usize), *group != DROPPED) {
                *count += 1;
            }
        }
        let mut end = 0;
        for start in &mut starts {
            (*start, end) = (end, end + *start);
        }
        let mut next = starts.clone();
        starts.push(end);
        let mut order = vec![0_u32; end as usize];
        for ((row, partition), group) in (0_u32..).zip(&partitions).zip(groups) {
            if let (Some(place), true) = (next.get_mut(*partition as usize), *group != DROPPED) {
                if let Some(slot) = order.get_mut(*place as usize) {
                    *slot = row;
                }
                *place += 1;
            }
        }
        let rows = take_record_batch(rows, &UInt32Array::from(order)).map_err(below)?;
        Ok(Run { rows, starts })
    }

    /// The memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.rows.get_array_memory_size() + self.starts.len() * size_of::<u32>()
    }

    /// The rows of a partition.
    pub(super) fn partition(&self, number: usize) -> Result<RecordBatch> {
        let ends = self.starts.get(number).zip(self.starts.get(number + 1));
        let (from, to) = ends.ok_or_else(Error::below_boundary)?;
        Ok(self.rows.slice(*from as usize, (to - from) as usize))
    }

    /// The size of a partition.
    pub(super) fn size_of(&self, number: usize) -> Size {
        let ends = self.starts.get(number).zip(self.starts.get(number + 1));
        let rows = ends.map_or(0, |(from, to)| (to - from) as usize);
        let bytes = self.bytes() / self.rows.num_rows().max(1) * rows + rows;
        Size { rows, bytes }
    }
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

impl Size {
    pub(super) fn plus(self, other: Size) -> Size {
        Size { rows: self.rows + other.rows, bytes: self.bytes + other.bytes }
    }

    /// The memory that bounding such rows takes, about: the rows as they lie, joined, and chosen; numbers of each, and of its unit.
    pub(super) fn to_bound(self) -> usize {
        3 * self.bytes + 64 * self.rows
    }
}
