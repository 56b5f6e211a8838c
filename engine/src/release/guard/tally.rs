//! What all guards have in common with DataFusion's accumulators.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, LargeBinaryArray, LargeBinaryBuilder};
use datafusion::arrow::buffer::{BooleanBuffer, NullBuffer};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::bytes::BadState;

/// A guard's tally by group.
pub(super) trait Tally: Any + Debug + Send + Sync {
    /// An empty tally of the same kind.
    fn fresh(&self) -> Box<dyn Tally>;
    /// Makes room for groups 0 to `groups` − 1.
    fn resize(&mut self, groups: usize);
    /// Adds rows: row i belongs to `group(i)`. `valid` says which rows count (`None`: all).
    fn add(&mut self, values: &[ArrayRef], groups: &[usize], valid: Option<&BooleanBuffer>) -> Result<()>;
    /// How many groups there are.
    fn groups(&self) -> usize;
    /// Writes the state of a group.
    fn write(&self, group: usize, out: &mut Vec<u8>);
    /// Adds a state to a group.
    fn absorb(&mut self, group: usize, state: &[u8]) -> Result<(), BadState>;
    /// Forgets the first `groups` groups.
    fn drop_first(&mut self, groups: usize);
    /// Bytes held.
    fn size(&self) -> usize;
}

/// A tally as a [`GroupsAccumulator`].
#[derive(Debug)]
pub(super) struct Groups(Box<dyn Tally>);

impl Groups {
    pub(super) fn new(tally: Box<dyn Tally>) -> Self {
        Groups(tally)
    }

    fn emit(&mut self, emit_to: EmitTo) -> ArrayRef {
        let groups = match emit_to {
            EmitTo::All => self.0.groups(),
            EmitTo::First(n) => n.min(self.0.groups()),
        };
        let mut out = LargeBinaryBuilder::with_capacity(groups, groups);
        let mut bytes = Vec::new();
        for group in 0..groups {
            bytes.clear();
            self.0.write(group, &mut bytes);
            out.append_value(&bytes);
        }
        self.0.drop_first(groups);
        Arc::new(out.finish())
    }
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.0.resize(total_num_groups);
        let valid = opt_filter.map(holds);
        self.0.add(values, group_indices, valid.as_ref())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(self.emit(emit_to))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.emit(emit_to)])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.0.resize(total_num_groups);
        for (state, group) in states(values)?.iter().zip(group_indices) {
            if let Some(state) = state {
                self.0.absorb(*group, state)?;
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, |v| v.len());
        let mut each = Groups(self.0.fresh());
        let groups: Vec<usize> = (0..rows).collect();
        each.update_batch(values, &groups, opt_filter, rows)?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.0.size()
    }
}

/// A tally of one group, for aggregates without keys.
#[derive(Debug)]
pub(super) struct Alone {
    tally: Box<dyn Tally>,
    zeros: Vec<usize>,
}

impl Alone {
    pub(super) fn new(mut tally: Box<dyn Tally>) -> Self {
        tally.resize(1);
        Alone { tally, zeros: Vec::new() }
    }

    fn bytes(&self) -> ScalarValue {
        let mut out = Vec::new();
        self.tally.write(0, &mut out);
        ScalarValue::LargeBinary(Some(out))
    }
}

impl Accumulator for Alone {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = values.first().map_or(0, |v| v.len());
        if self.zeros.len() < rows {
            self.zeros.resize(rows, 0);
        }
        self.tally.add(values, self.zeros.get(..rows).unwrap_or_default(), None)
    }
    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.bytes())
    }
    fn size(&self) -> usize {
        size_of::<Self>() + self.tally.size() + self.zeros.capacity() * size_of::<usize>()
    }
    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.bytes()])
    }
    fn merge_batch(&mut self, states_of: &[ArrayRef]) -> Result<()> {
        for state in states(states_of)?.iter().flatten() {
            self.tally.absorb(0, state)?;
        }
        Ok(())
    }
}

fn states(values: &[ArrayRef]) -> Result<&LargeBinaryArray, BadState> {
    values.first().and_then(|v| v.as_binary_opt::<i64>()).ok_or(BadState)
}

fn holds(filter: &BooleanArray) -> BooleanBuffer {
    match filter.nulls() {
        Some(nulls) => filter.values() & nulls.inner(),
        None => filter.values().clone(),
    }
}

/// Rows that count and have a value.
pub(super) fn and_present(valid: Option<&BooleanBuffer>, nulls: Option<&NullBuffer>) -> Option<BooleanBuffer> {
    match (valid, nulls.filter(|n| n.null_count() > 0)) {
        (Some(valid), Some(nulls)) => Some(valid & nulls.inner()),
        (Some(valid), None) => Some(valid.clone()),
        (None, Some(nulls)) => Some(nulls.inner().clone()),
        (None, None) => None,
    }
}

/// Calls `f(row, group)` for every row that counts.
#[inline]
pub(super) fn for_each(groups: &[usize], valid: Option<&BooleanBuffer>, mut f: impl FnMut(usize, usize)) {
    match valid {
        None => groups.iter().enumerate().for_each(|(row, group)| f(row, *group)),
        Some(valid) => valid.set_indices().zip_groups(groups, f),
    }
}

trait ZipGroups {
    fn zip_groups(self, groups: &[usize], f: impl FnMut(usize, usize));
}

impl<I: Iterator<Item = usize>> ZipGroups for I {
    #[inline]
    fn zip_groups(self, groups: &[usize], mut f: impl FnMut(usize, usize)) {
        for row in self {
            if let Some(group) = groups.get(row) {
                f(row, *group);
            }
        }
    }
}
