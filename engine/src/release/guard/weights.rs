//! How the absolute sum of a group is spread over its units.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::datatypes::Float64Type;
use datafusion::error::Result;
use kanon_privacy::cohort::Cohort;
use kanon_privacy::dominance::Weights;
use kanon_privacy::policy::{DominancePercent, MinCohort};

use super::bytes::{BadState, Reader};
use super::tally::{Tally, and_present, for_each};
use super::units::unit_ids;

/// Units whose sums are kept apart before they share buckets, or k where that is more.
const FEW: usize = 32;
/// Buckets that units share by hash.
const BUCKETS: usize = 16;

/// Σ|x| where rows are units: exact.
#[derive(Debug, Default)]
pub(super) struct WeightsOfRows {
    groups: Vec<(u64, Weights)>,
}

impl WeightsOfRows {
    pub(super) fn new() -> Self {
        WeightsOfRows::default()
    }
}

fn numbers(values: &ArrayRef) -> Result<&Float64Array, BadState> {
    values.as_primitive_opt::<Float64Type>().ok_or(BadState)
}

impl Tally for WeightsOfRows {
    fn fresh(&self) -> Box<dyn Tally> {
        Box::new(WeightsOfRows::new())
    }
    fn resize(&mut self, groups: usize) {
        if groups > self.groups.len() {
            self.groups.resize(groups, (0, Weights::default()));
        }
    }
    fn add(&mut self, values: &[ArrayRef], groups: &[usize], valid: Option<&BooleanBuffer>) -> Result<()> {
        let x = numbers(values.first().ok_or(BadState)?)?;
        let valid = and_present(valid, x.nulls());
        let tallies = &mut self.groups;
        let x = x.values();
        for_each(groups, valid.as_ref(), |row, group| {
            if let (Some((rows, weights)), Some(x)) = (tallies.get_mut(group), x.get(row)) {
                *rows += 1;
                weights.add_unit(x.abs());
            }
        });
        Ok(())
    }
    fn groups(&self) -> usize {
        self.groups.len()
    }
    fn write(&self, group: usize, out: &mut Vec<u8>) {
        if let Some((rows, weights)) = self.groups.get(group) {
            out.extend(rows.to_le_bytes());
            for x in [weights.total, weights.largest, weights.second] {
                out.extend(x.to_bits().to_le_bytes());
            }
        }
    }
    fn absorb(&mut self, group: usize, state: &[u8]) -> Result<(), BadState> {
        let (more, theirs) = read_row_weights(state)?;
        let (rows, weights) = self.groups.get_mut(group).ok_or(BadState)?;
        *rows += more;
        weights.absorb(&theirs);
        Ok(())
    }
    fn drop_first(&mut self, groups: usize) {
        self.groups.drain(..groups.min(self.groups.len()));
    }
    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<(u64, Weights)>()
    }
}

/// Reads the number of rows that have an x, and their weights.
pub(in crate::release) fn read_row_weights(state: &[u8]) -> Result<(u64, Weights), BadState> {
    let mut reader = Reader(state);
    let rows = reader.u64()?;
    let weights = Weights { total: reader.f64()?, largest: reader.f64()?, second: reader.f64()? };
    if reader.is_done() { Ok((rows, weights)) } else { Err(BadState) }
}

/// Σ|x| by unit, exactly for few units and by bucket for many.
///
/// A unit is in one bucket, so the two largest units hold at most what the two fullest buckets hold: a bound that clears nearly every
/// group of many units, at the cost of one addition a row. What it does not clear is looked at again, exactly.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::release) enum UnitWeights {
    /// The units, in ascending order, with their sums.
    Few(Vec<(u64, f64)>),
    /// Sums of units by hash. There are more than `max(32, k)` units.
    Many(Box<[f64; BUCKETS]>),
}

/// What is known of dominance without looking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::release) enum Dominance {
    Dominated,
    Clear,
    Unsure,
}

impl UnitWeights {
    fn add(&mut self, unit: u64, weight: f64, few: usize) {
        match self {
            UnitWeights::Many(buckets) => {
                if let Some(bucket) = buckets.get_mut(bucket(unit)) {
                    *bucket += weight;
                }
            }
            UnitWeights::Few(units) => match units.binary_search_by_key(&unit, |(u, _)| *u) {
                Ok(at) => {
                    if let Some((_, sum)) = units.get_mut(at) {
                        *sum += weight;
                    }
                }
                Err(at) if units.len() < few => units.insert(at, (unit, weight)),
                Err(_) => {
                    let mut many = UnitWeights::Many(Box::new([0.0; BUCKETS]));
                    units.iter().for_each(|(u, w)| many.add(*u, *w, few));
                    many.add(unit, weight, few);
                    *self = many;
                }
            },
        }
    }

    fn absorb(&mut self, other: UnitWeights, few: usize) {
        match other {
            UnitWeights::Few(units) => units.into_iter().for_each(|(u, w)| self.add(u, w, few)),
            UnitWeights::Many(theirs) => {
                let mut sum = theirs;
                match self {
                    UnitWeights::Many(mine) => sum.iter_mut().zip(mine.iter()).for_each(|(s, m)| *s += m),
                    UnitWeights::Few(units) => {
                        for (unit, weight) in units.iter() {
                            if let Some(bucket) = sum.get_mut(bucket(*unit)) {
                                *bucket += weight;
                            }
                        }
                    }
                }
                *self = UnitWeights::Many(sum);
            }
        }
    }

    /// The units that have an x.
    pub(in crate::release) fn cohort(&self, k: MinCohort) -> Cohort {
        match self {
            UnitWeights::Few(units) => Cohort::of(units.iter().map(|(u, _)| *u).collect(), k),
            UnitWeights::Many(_) => Cohort::Enough,
        }
    }

    /// Whether two units hold too much, as far as can be said.
    pub(in crate::release) fn dominance(&self, percent: DominancePercent) -> Dominance {
        let mut weights = Weights::default();
        match self {
            UnitWeights::Few(units) => {
                units.iter().for_each(|(_, w)| weights.add_unit(*w));
                if weights.is_dominated(percent) { Dominance::Dominated } else { Dominance::Clear }
            }
            UnitWeights::Many(buckets) => {
                buckets.iter().for_each(|w| weights.add_unit(*w));
                match weights.is_dominated(percent) {
                    true if weights.total.is_finite() => Dominance::Unsure,
                    true => Dominance::Dominated,
                    false => Dominance::Clear,
                }
            }
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            UnitWeights::Few(units) => units.capacity() * size_of::<(u64, f64)>(),
            UnitWeights::Many(_) => size_of::<[f64; BUCKETS]>(),
        }
    }
}

#[inline]
fn bucket(unit: u64) -> usize {
    (unit.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 60) as usize
}

/// Tally of [`UnitWeights`].
#[derive(Debug)]
pub(super) struct WeightsOfUnits {
    k: MinCohort,
    few: usize,
    groups: Vec<UnitWeights>,
    heap: usize,
}

impl WeightsOfUnits {
    pub(super) fn new(k: MinCohort) -> Self {
        WeightsOfUnits { k, few: FEW.max(k.get() as usize), groups: Vec::new(), heap: 0 }
    }
}

impl Tally for WeightsOfUnits {
    fn fresh(&self) -> Box<dyn Tally> {
        Box::new(WeightsOfUnits::new(self.k))
    }
    fn resize(&mut self, groups: usize) {
        if groups > self.groups.len() {
            self.groups.resize_with(groups, || UnitWeights::Few(Vec::new()));
        }
    }
    fn add(&mut self, values: &[ArrayRef], groups: &[usize], valid: Option<&BooleanBuffer>) -> Result<()> {
        let [units, x] = values else { return Err(BadState.into()) };
        let x = numbers(x)?;
        let valid = and_present(valid, units.logical_nulls().as_ref());
        let valid = and_present(valid.as_ref(), x.nulls());
        let (ids, x) = (unit_ids(units)?, x.values());
        let WeightsOfUnits { few, groups: tallies, heap, .. } = self;
        for_each(groups, valid.as_ref(), |row, group| {
            if let (Some(tally), Some(id), Some(x)) = (tallies.get_mut(group), ids.get(row), x.get(row)) {
                if let UnitWeights::Many(buckets) = tally {
                    if let Some(bucket) = buckets.get_mut(bucket(*id)) {
                        *bucket += x.abs();
                    }
                } else {
                    let before = tally.heap_bytes();
                    tally.add(*id, x.abs(), *few);
                    *heap = heap.saturating_add(tally.heap_bytes()).saturating_sub(before);
                }
            }
        });
        Ok(())
    }
    fn groups(&self) -> usize {
        self.groups.len()
    }
    fn write(&self, group: usize, out: &mut Vec<u8>) {
        match self.groups.get(group) {
            Some(UnitWeights::Few(units)) => {
                out.push(0);
                for (unit, weight) in units {
                    out.extend(unit.to_le_bytes());
                    out.extend(weight.to_bits().to_le_bytes());
                }
            }
            Some(UnitWeights::Many(buckets)) => {
                out.push(1);
                buckets.iter().for_each(|w| out.extend(w.to_bits().to_le_bytes()));
            }
            None => {}
        }
    }
    fn absorb(&mut self, group: usize, state: &[u8]) -> Result<(), BadState> {
        let tally = self.groups.get_mut(group).ok_or(BadState)?;
        let before = tally.heap_bytes();
        tally.absorb(read_unit_weights(state)?, self.few);
        self.heap = self.heap.saturating_add(tally.heap_bytes()).saturating_sub(before);
        Ok(())
    }
    fn drop_first(&mut self, groups: usize) {
        self.groups.drain(..groups.min(self.groups.len()));
        self.heap = self.groups.iter().map(UnitWeights::heap_bytes).sum();
    }
    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<UnitWeights>() + self.heap
    }
}

/// Reads the weights of a group.
pub(in crate::release) fn read_unit_weights(state: &[u8]) -> Result<UnitWeights, BadState> {
    let mut reader = Reader(state);
    match reader.u8()? {
        0 => {
            let mut units = Vec::with_capacity(reader.0.len() / 16);
            while !reader.is_done() {
                units.push((reader.u64()?, reader.f64()?));
            }
            Ok(UnitWeights::Few(units))
        }
        1 => {
            let mut buckets = Box::new([0.0; BUCKETS]);
            for bucket in buckets.iter_mut() {
                *bucket = reader.f64()?;
            }
            if reader.is_done() { Ok(UnitWeights::Many(buckets)) } else { Err(BadState) }
        }
        _ => Err(BadState),
    }
}
