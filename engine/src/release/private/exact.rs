//! Exact statistics of every group, with each unit's part bounded.
//!
//! ```text
//! rows ─► groups ─┬─ one row a unit: added at once
//!                 └─ otherwise kept, sorted by unit; of each unit C groups and in each m rows; then added
//! ```
//!
//! Everything is a whole number, so no sum depends on the order of rows. Which groups and rows of a unit are kept depends on that unit alone:
//! see [`kanon_privacy::bounding`].

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::execution::SessionState;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use futures::TryStreamExt;
use kanon_planner::private::Question;
use kanon_planner::private::mechanisms::Mechanisms;
use kanon_planner::release_unit::ReleaseUnit;
use kanon_privacy::bounding::{Order, SiteKey, UnitOrder};
use kanon_privacy::grid::{Grid, Tick};
use kanon_privacy::sensitivity::{Bounding, Bounds};
use kanon_privacy::statistics::Statistic;

use super::super::{below, run};
use super::groups::{Groups, KeyBytes};
use super::ranks::{Ordered, Ranks};
use crate::error::{Error, Result};

/// The exact statistics of a release, by group.
pub(super) struct Exact {
    /// A column a key, a row a group.
    pub(super) keys: Vec<ArrayRef>,
    /// Units after bounding.
    pub(super) units: Vec<u64>,
    /// In the order of the plan's statistics.
    pub(super) statistics: Vec<Vec<i128>>,
    /// The values that quantiles and extremes are chosen from.
    pub(super) ranks: Ordered,
}

/// Computes them.
pub(super) async fn compute(
    state: &SessionState,
    unit: &ReleaseUnit,
    question: &Arc<Question>,
    mechanisms: &Arc<Mechanisms>,
    key: &SiteKey,
) -> Result<Exact> {
    let Bounding::Sampled(bounds) = mechanisms.bounding else { return Err(Error::below_boundary()) };
    let memory = MemoryConsumer::new("private release").register(&state.runtime_env().memory_pool);
    let plan = rows(unit, question, mechanisms)?;
    let mut stream = run::stream(state, &plan).await?;
    let types: Vec<DataType> = stream.schema().fields().iter().map(|f| f.data_type().clone()).collect();
    let key_types = types.get(1..=question.keys.len()).ok_or_else(Error::below_boundary)?;
    let mut tally = Tally {
        groups: Groups::of(question, key_types)?,
        question: Arc::clone(question),
        mechanisms: Arc::clone(mechanisms),
        units: Vec::new(),
        statistics: Vec::new(),
        distinct: HashSet::new(),
        ranks: Ranks::of(mechanisms, memory.new_empty()),
        memory,
    };
    let mut kept = Kept { rows: Vec::new(), batches: Vec::new() };
    while let Some(batch) = stream.try_next().await.map_err(below)? {
        if unit.one_row_a_unit {
            tally.add_units(&batch)?;
        } else {
            tally.keep(&batch, &mut kept, key)?;
        }
        tokio::task::consume_budget().await;
    }
    let key = key.clone();
    // Sorting and adding up may take long: not on a thread that serves others.
    let work = move || {
        tally.add_bounded(kept, bounds, &key, &types)?;
        tally.finish()
    };
    tokio::task::spawn_blocking(work).await.map_err(below)?
}

/// The rows that are read: the unit, the keys, the arguments, the values of count(distinct).
fn rows(unit: &ReleaseUnit, question: &Question, mechanisms: &Mechanisms) -> Result<LogicalPlan> {
    let unit_column = unit.unit.clone().ok_or_else(Error::below_boundary)?;
    let mut columns = vec![Expr::Column(unit_column).alias("__kanon_unit")];
    columns.extend(
        question.keys.iter().enumerate().map(|(i, key)| key.expr.clone().unalias().alias(format!("__kanon_key_{i}"))),
    );
    for (i, argument) in question.arguments.iter().enumerate() {
        let value = match (&argument.grid, argument.is_integer) {
            (Some(_), true) => cast(argument.expr.clone(), DataType::Int64),
            (Some(_), false) => cast(argument.expr.clone(), DataType::Float64),
            (None, _) => argument.expr.clone().is_not_null(),
        };
        columns.push(value.alias(format!("__kanon_argument_{i}")));
    }
    for (i, x) in distinct(mechanisms).enumerate() {
        let argument = question.arguments.get(x).ok_or_else(Error::below_boundary)?;
        columns.push(argument.expr.clone().alias(format!("__kanon_distinct_{i}")));
    }
    LogicalPlanBuilder::from(unit.input.clone()).project(columns).and_then(LogicalPlanBuilder::build).map_err(below)
}

/// The arguments of count(distinct), in the order of their statistics.
fn distinct(mechanisms: &Mechanisms) -> impl Iterator<Item = usize> {
    mechanisms.plan.statistics().iter().filter_map(|s| match s {
        Statistic::Distinct(x, _) => Some(*x),
        _ => None,
    })
}

/// Statistics so far.
struct Tally {
    groups: Groups,
    question: Arc<Question>,
    mechanisms: Arc<Mechanisms>,
    units: Vec<u64>,
    statistics: Vec<Vec<i128>>,
    /// Distinct values: the number of the statistic among those, the group, the value.
    distinct: HashSet<(usize, u32, Box<[u8]>)>,
    ranks: Ranks,
    memory: MemoryReservation,
}

/// Rows that wait for all others of their unit.
struct Kept {
    rows: Vec<KeptRow>,
    batches: Vec<RecordBatch>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct KeptRow {
    unit: Order,
    group: u32,
    batch: u32,
    row: u32,
}

/// An argument's values in a batch.
enum Values {
    Integers(ArrayRef, Grid),
    Floats(ArrayRef, Grid),
    Present(ArrayRef, Tick),
}

impl Values {
    fn at(&self, row: usize) -> Option<Tick> {
        match self {
            Values::Integers(values, grid) => {
                let values = values.as_primitive_opt::<Int64Type>()?;
                values.is_valid(row).then(|| grid.tick_of_integer(values.value(row)))
            }
            Values::Floats(values, grid) => {
                let values = values.as_primitive_opt::<Float64Type>()?;
                if values.is_valid(row) { grid.tick(values.value(row)) } else { None }
            }
            Values::Present(values, tick) => {
                let values = values.as_boolean_opt()?;
                (values.is_valid(row) && values.value(row)).then_some(*tick)
            }
        }
    }
}

impl Tally {
    fn keys(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        batch.columns().get(1..=self.question.keys.len()).map(<[_]>::to_vec).ok_or_else(Error::below_boundary)
    }

    fn values(&self, batch: &RecordBatch) -> Result<Vec<Values>> {
        let first = 1 + self.question.keys.len();
        let any = Grid::integers(0, 1).map_err(below)?.tick_of_integer(1);
        self.question
            .arguments
            .iter()
            .enumerate()
            .map(|(i, argument)| {
                let column = Arc::clone(batch.columns().get(first + i).ok_or_else(Error::below_boundary)?);
                Ok(match (argument.grid, argument.is_integer) {
                    (Some(grid), true) => Values::Integers(column, grid),
                    (Some(grid), false) => Values::Floats(column, grid),
                    (None, _) => Values::Present(column, any),
                })
            })
            .collect()
    }

    fn distinct_columns<'b>(&self, batch: &'b RecordBatch) -> &'b [ArrayRef] {
        batch.columns().get(1 + self.question.keys.len() + self.question.arguments.len()..).unwrap_or(&[])
    }

    /// Adds a batch of rows, each of another unit.
    fn add_units(&mut self, batch: &RecordBatch) -> Result<()> {
        let groups = self.groups.of_rows(&self.keys(batch)?, batch.num_rows())?;
        self.resize()?;
        let values = self.values(batch)?;
        for (row, group) in groups.iter().enumerate() {
            if let Some(group) = group {
                self.add_unit(*group)?;
                self.add_row(*group, &values, row)?;
            }
        }
        for (number, column) in self.distinct_columns(batch).iter().enumerate() {
            let bytes = KeyBytes::of(&[column.data_type().clone()])?;
            let mut row = 0;
            let (distinct, memory) = (&mut self.distinct, &self.memory);
            bytes.each(std::slice::from_ref(column), |value| {
                if let Some(Some(group)) = groups.get(row)
                    && column.is_valid(row)
                {
                    insert(distinct, memory, (number, *group, value.into()))?;
                }
                row += 1;
                Ok(())
            })?;
        }
        Ok(())
    }

    fn resize(&mut self) -> Result<()> {
        let (now, groups) = (self.units.len(), self.groups.len());
        if groups > now {
            let statistics = self.mechanisms.plan.statistics().len();
            self.memory.try_grow((groups - now) * (64 + 16 * statistics)).map_err(below)?;
            self.units.resize(groups, 0);
            self.statistics.resize_with(groups, || vec![0; statistics]);
        }
        Ok(())
    }

    fn add_unit(&mut self, group: u32) -> Result<()> {
        *self.units.get_mut(group as usize).ok_or_else(Error::below_boundary)? += 1;
        Ok(())
    }

    fn add_row(&mut self, group: u32, values: &[Values], row: usize) -> Result<()> {
        let sums = self.statistics.get_mut(group as usize).ok_or_else(Error::below_boundary)?;
        let grid = |x: &usize| self.question.arguments.get(*x).and_then(|a| a.grid.as_ref());
        let value = |x: &usize| values.get(*x).and_then(|v| v.at(row));
        for (sum, statistic) in sums.iter_mut().zip(self.mechanisms.plan.statistics()) {
            *sum = sum.checked_add(statistic.of_row(grid, value)).ok_or_else(Error::below_boundary)?;
        }
        self.ranks.add(group, value)
    }

    /// Keeps a batch until all rows are there.
    fn keep(&mut self, batch: &RecordBatch, kept: &mut Kept, key: &SiteKey) -> Result<()> {
        let rows = batch.num_rows();
        self.memory.try_grow(batch.get_array_memory_size() + rows * 2 * size_of::<KeptRow>()).map_err(below)?;
        let groups = self.groups.of_rows(&self.keys(batch)?, rows)?;
        self.resize()?;
        let number = u32::try_from(kept.batches.len()).map_err(below)?;
        let units = unit_bytes(batch)?;
        let column = batch.columns().first().ok_or_else(Error::below_boundary)?;
        let mut row = 0_u32;
        units.each(std::slice::from_ref(column), |unit| {
            if let Some(Some(group)) = groups.get(row as usize) {
                kept.rows.push(KeptRow { unit: name_of(key, unit), group: *group, batch: number, row });
            }
            row += 1;
            Ok(())
        })?;
        kept.batches.push(batch.clone());
        Ok(())
    }

    /// Bounds every unit's part, and adds what is kept of it.
    fn add_bounded(&mut self, mut kept: Kept, bounds: Bounds, key: &SiteKey, types: &[DataType]) -> Result<()> {
        kept.rows.sort_unstable();
        let values = kept.batches.iter().map(|batch| self.values(batch)).collect::<Result<Vec<_>>>()?;
        let content_from = 1 + self.question.keys.len();
        let content = KeyBytes::of(types.get(content_from..).ok_or_else(Error::below_boundary)?)?;
        let most = distinct_most(&self.mechanisms);
        let names = self.groups.names();
        for unit in kept.rows.chunk_by(|a, b| a.unit == b.unit) {
            let mut groups: Vec<&[KeptRow]> = unit.chunk_by(|a, b| a.group == b.group).collect();
            let too_many = groups.len() > bounds.groups.get() as usize;
            let any_long = groups.iter().any(|rows| rows.len() > bounds.rows.get() as usize);
            let order = if too_many || any_long || !most.is_empty() {
                let first = unit.first().ok_or_else(Error::below_boundary)?;
                let batch = kept.batches.get(first.batch as usize).ok_or_else(Error::below_boundary)?;
                Some(key.unit(&unit_bytes(batch)?.one(batch.columns().get(..1).unwrap_or(&[]), first.row as usize)?))
            } else {
                None
            };
            let name = |rows: &[KeptRow]| -> Result<&[u8]> {
                let group = rows.first().ok_or_else(Error::below_boundary)?.group;
                names.get(group as usize).map(AsRef::as_ref).ok_or_else(Error::below_boundary)
            };
            if let (true, Some(order)) = (too_many, &order) {
                let mut by_order =
                    groups.iter().map(|rows| Ok((order.group(name(rows)?), *rows))).collect::<Result<Vec<_>>>()?;
                by_order.sort_by_key(|a| a.0);
                by_order.truncate(bounds.groups.get() as usize);
                groups = by_order.into_iter().map(|(_, rows)| rows).collect();
            }
            for rows in groups {
                let group = rows.first().ok_or_else(Error::below_boundary)?.group;
                let chosen = match &order {
                    Some(order) if rows.len() > bounds.rows.get() as usize => {
                        choose(rows, &kept.batches, content_from, &content, order, name(rows)?, bounds)?
                    }
                    _ => rows.to_vec(),
                };
                self.add_unit(group)?;
                for row in &chosen {
                    let values = values.get(row.batch as usize).ok_or_else(Error::below_boundary)?;
                    self.add_row(group, values, row.row as usize)?;
                }
                if let Some(order) = &order {
                    self.add_distinct(group, &chosen, &kept.batches, order, name(rows)?, &most)?;
                }
            }
        }
        Ok(())
    }

    /// The values that one unit adds to the distinct ones of a group.
    fn add_distinct(
        &mut self,
        group: u32,
        rows: &[KeptRow],
        batches: &[RecordBatch],
        order: &UnitOrder,
        name: &[u8],
        most: &[u32],
    ) -> Result<()> {
        for (number, most) in most.iter().enumerate() {
            let mut values: Vec<(Order, Box<[u8]>)> = Vec::new();
            for row in rows {
                let batch = batches.get(row.batch as usize).ok_or_else(Error::below_boundary)?;
                let column = self.distinct_columns(batch).get(number).ok_or_else(Error::below_boundary)?;
                if column.is_valid(row.row as usize) {
                    let bytes = KeyBytes::of(&[column.data_type().clone()])?;
                    let value = bytes.one(std::slice::from_ref(column), row.row as usize)?;
                    let number = u32::try_from(number).map_err(below)?;
                    values.push((order.value(name, number, &value), value));
                }
            }
            values.sort();
            values.dedup();
            values.truncate(*most as usize);
            for (_, value) in values {
                insert(&mut self.distinct, &self.memory, (number, group, value))?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Exact> {
        self.resize()?;
        let counts: Vec<usize> = self
            .mechanisms
            .plan
            .statistics()
            .iter()
            .enumerate()
            .filter(|(_, s)| matches!(s, Statistic::Distinct(..)))
            .map(|(place, _)| place)
            .collect();
        for (number, group, _) in &self.distinct {
            let place = counts.get(*number).ok_or_else(Error::below_boundary)?;
            let sums = self.statistics.get_mut(*group as usize).ok_or_else(Error::below_boundary)?;
            *sums.get_mut(*place).ok_or_else(Error::below_boundary)? += 1;
        }
        for (sums, units) in self.statistics.iter_mut().zip(&self.units) {
            for (sum, statistic) in sums.iter_mut().zip(self.mechanisms.plan.statistics()) {
                if *statistic == Statistic::Units {
                    *sum = i128::from(*units);
                }
            }
        }
        let ranks = self.ranks.finish();
        Ok(Exact { keys: self.groups.keys()?, units: self.units, statistics: self.statistics, ranks })
    }
}

/// The rows of a unit that count in a group: the m smallest by the keyed hash of their content, equal ones told apart by number.
fn choose(
    rows: &[KeptRow],
    batches: &[RecordBatch],
    content_from: usize,
    content: &KeyBytes,
    order: &UnitOrder,
    group: &[u8],
    bounds: Bounds,
) -> Result<Vec<KeptRow>> {
    let mut with_content = rows
        .iter()
        .map(|row| {
            let batch = batches.get(row.batch as usize).ok_or_else(Error::below_boundary)?;
            let columns = batch.columns().get(content_from..).ok_or_else(Error::below_boundary)?;
            // Without arguments all rows are equal.
            let bytes = if columns.is_empty() { Box::default() } else { content.one(columns, row.row as usize)? };
            Ok((bytes, *row))
        })
        .collect::<Result<Vec<(Box<[u8]>, KeptRow)>>>()?;
    with_content.sort();
    let mut chosen: Vec<(Order, KeptRow)> = Vec::with_capacity(rows.len());
    for equal in with_content.chunk_by(|a, b| a.0 == b.0) {
        for (number, (bytes, row)) in equal.iter().enumerate() {
            chosen.push((order.row(group, bytes, number as u64), *row));
        }
    }
    chosen.sort();
    chosen.truncate(bounds.rows.get() as usize);
    Ok(chosen.into_iter().map(|(_, row)| row).collect())
}

/// d of each count(distinct).
fn distinct_most(mechanisms: &Mechanisms) -> Vec<u32> {
    mechanisms
        .plan
        .statistics()
        .iter()
        .filter_map(|s| match s {
            Statistic::Distinct(_, most) => Some(most.get()),
            _ => None,
        })
        .collect()
}

fn insert(
    distinct: &mut HashSet<(usize, u32, Box<[u8]>)>,
    memory: &MemoryReservation,
    value: (usize, u32, Box<[u8]>),
) -> Result<()> {
    let size = 64 + value.2.len();
    if distinct.insert(value) {
        memory.try_grow(size).map_err(below)?;
    }
    Ok(())
}

fn unit_bytes(batch: &RecordBatch) -> Result<KeyBytes> {
    let column = batch.columns().first().ok_or_else(Error::below_boundary)?;
    KeyBytes::of(&[column.data_type().clone()])
}

/// A name of a unit of 128 bits: what rows are sorted by.
fn name_of(key: &SiteKey, unit: &[u8]) -> Order {
    key.unit(unit).group(b"the unit itself")
}
