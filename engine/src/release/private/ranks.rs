//! The values of each group in order, for what the exponential mechanism chooses from.
//!
//! A value is kept as the number of the candidate next to it, so there is one entry a group and candidate however many rows there are. Counts
//! add up: parts that were counted apart are merged, in any order.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use datafusion::arrow::datatypes::{Float64Type, Int64Type};
use datafusion::common::HashMap;
use datafusion::execution::memory_pool::MemoryReservation;
use kanon_planner::private::Question;
use kanon_planner::private::mechanisms::Mechanisms;
use kanon_privacy::noise::Sampler;
use kanon_privacy::ranks::{Candidates, Chosen};

use super::super::below;
use super::groups::DROPPED;
use crate::error::{Error, Result};

/// What an entry takes, with the table's free room and the ordered copy of it.
const ENTRY: usize = 64;

/// The values so far, of every argument of which something is chosen.
pub(super) struct Ranks {
    arguments: Vec<Counts>,
    memory: MemoryReservation,
}

/// The values of one argument: how many by group and candidate.
struct Counts {
    argument: usize,
    candidates: Candidates,
    counts: HashMap<(u32, u32), u64>,
    /// How many entries there is memory for.
    room: usize,
}

/// All values, by argument.
#[derive(Debug, Default)]
pub(super) struct Ordered(Vec<(usize, Vec<Entry>)>);

/// A group, a candidate, and how many values it has there.
type Entry = (u32, u32, u64);

impl Ranks {
    /// No values yet. Memory is taken from a reservation of its own.
    pub(super) fn of(mechanisms: &Mechanisms, memory: MemoryReservation) -> Ranks {
        let mut seen = BTreeSet::new();
        let arguments = mechanisms
            .ranks()
            .filter(|(argument, _)| seen.insert(*argument))
            .map(|(argument, choice)| Counts {
                argument,
                candidates: *choice.candidates(),
                counts: HashMap::new(),
                room: 0,
            })
            .collect();
        Ranks { arguments, memory }
    }

    /// Adds the values of rows: the group of each, and the columns of the arguments. NULL and NaN are none.
    pub(super) fn add(&mut self, question: &Question, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        for counts in &mut self.arguments {
            let argument = question.arguments.get(counts.argument).zip(columns.get(counts.argument));
            let (argument, column) = argument.ok_or_else(Error::below_boundary)?;
            let grid = argument.grid.as_ref().ok_or_else(Error::below_boundary)?;
            let rows = groups.iter().enumerate();
            let rows = rows.filter(|(row, group)| **group != DROPPED && column.is_valid(*row));
            if argument.is_integer {
                let column = column.as_primitive_opt::<Int64Type>().ok_or_else(Error::below_boundary)?;
                let values = rows.map(|(row, group)| (*group, column.value(row)));
                values.map(|(group, x)| (group, grid.tick_of_integer(x))).try_for_each(|(group, tick)| {
                    let candidate = counts.candidates.nearest(tick);
                    counts.add(group, candidate, 1, &self.memory)
                })?;
            } else {
                let column = column.as_primitive_opt::<Float64Type>().ok_or_else(Error::below_boundary)?;
                let values = rows.map(|(row, group)| (*group, column.value(row)));
                values.filter_map(|(group, x)| Some((group, grid.tick(x)?))).try_for_each(|(group, tick)| {
                    let candidate = counts.candidates.nearest(tick);
                    counts.add(group, candidate, 1, &self.memory)
                })?;
            }
        }
        Ok(())
    }

    /// Adds the values of other rows.
    pub(super) fn absorb(&mut self, other: &Ranks) -> Result<()> {
        for (mine, theirs) in self.arguments.iter_mut().zip(&other.arguments) {
            for ((group, candidate), count) in &theirs.counts {
                mine.add(*group, *candidate, *count, &self.memory)?;
            }
        }
        Ok(())
    }

    /// All values in order.
    pub(super) fn finish(self) -> Ordered {
        let ordered = |counts: Counts| {
            let mut entries: Vec<Entry> =
                counts.counts.into_iter().map(|((group, candidate), n)| (group, candidate, n)).collect();
            entries.sort_unstable();
            (counts.argument, entries)
        };
        Ordered(self.arguments.into_iter().map(ordered).collect())
    }
}

impl Counts {
    fn add(&mut self, group: u32, candidate: u32, count: u64, memory: &MemoryReservation) -> Result<()> {
        if self.counts.len() == self.room {
            let more = self.room.max(64);
            memory.try_grow(more * ENTRY).map_err(below)?;
            self.room += more;
        }
        *self.counts.entry((group, candidate)).or_default() += count;
        Ok(())
    }
}

impl Ordered {
    /// The candidates that have values of an argument in a group, in ascending order, with how many.
    pub(super) fn of(&self, argument: usize, group: u32) -> Result<Vec<(u32, u64)>> {
        let (_, entries) = self.0.iter().find(|(of, _)| *of == argument).ok_or_else(Error::below_boundary)?;
        let from = entries.partition_point(|(of, ..)| *of < group);
        let entries = entries.get(from..).unwrap_or(&[]);
        Ok(entries.iter().take_while(|(of, ..)| *of == group).map(|(_, candidate, n)| (*candidate, *n)).collect())
    }
}

/// A value of an answer.
#[derive(Clone, Copy)]
pub(super) enum Value {
    Computed(Option<f64>),
    Chosen(Chosen),
}

/// What the exponential mechanism chooses in a group, in the order of the choices.
pub(super) fn chosen(
    mechanisms: &Mechanisms,
    ordered: &Ordered,
    group: usize,
    sampler: &mut dyn Sampler,
) -> Result<Vec<Chosen>> {
    let group = u32::try_from(group).map_err(below)?;
    mechanisms
        .ranks()
        .map(|(argument, choice)| choice.choose(&ordered.of(argument, group)?, sampler).map_err(below))
        .collect()
}

/// A column of an answer: of integers if integers were chosen, which floats cannot all tell apart.
pub(super) fn column(values: &[Value]) -> ArrayRef {
    let integers: Option<Vec<i64>> = values
        .iter()
        .map(|value| match value {
            Value::Chosen(Chosen::Integer(integer)) => Some(*integer),
            _ => None,
        })
        .collect();
    if let Some(integers) = integers {
        return Arc::new(Int64Array::from(integers));
    }
    let floats = values.iter().map(|value| match value {
        Value::Computed(value) => *value,
        Value::Chosen(Chosen::Float(value)) => Some(*value),
        Value::Chosen(Chosen::Integer(value)) => Some(*value as f64),
    });
    Arc::new(floats.collect::<Float64Array>())
}
