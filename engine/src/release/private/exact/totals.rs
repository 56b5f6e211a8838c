//! Statistics so far: whole numbers by group.
//!
//! Every row that counts passes [`Totals::add_rows`] once, with the group it counts in. A measure that needs more of its rows than a sum
//! collects it there.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{Float64Type, Int64Type};
use datafusion::execution::memory_pool::MemoryReservation;
use kanon_planner::private::Question;
use kanon_planner::private::mechanisms::Mechanisms;
use kanon_privacy::grid::Grid;
use kanon_privacy::norms::Level;
use kanon_privacy::sensitivity::Bounding;
use kanon_privacy::statistics::{Present, Statistic};

use super::super::super::below;
use super::super::groups::DROPPED;
use super::super::ranks::Ranks;
use super::bound::Tally;
use super::clip::Part;
use super::levels::Levels;
use crate::error::{Error, Result};

/// So few groups that a sum of each is next to nothing beside a batch of rows.
const FEW_GROUPS: usize = 1 << 10;

/// Parts of units that are weighted together.
pub(super) const PARTS_AT_ONCE: usize = 1 << 10;

/// Sums by group. Groups that nothing was added to may be missing at the end.
pub(super) struct Totals {
    question: Arc<Question>,
    mechanisms: Arc<Mechanisms>,
    /// Whether units are counted: keys are selected by their number, or it is asked for.
    pub(super) counts_units: bool,
    /// To count a unit's rows by group with: made once, for as many groups as there are.
    pub(super) tally: Tally,
    /// Units by group, if they are counted.
    pub(super) units: Vec<u64>,
    /// By statistic, then group.
    pub(super) sums: Vec<Vec<i128>>,
    /// Where units are scaled down: by statistic, then group, what was weighted, in units of 2^-10. Sums are then of whole units alone.
    weighted: Option<Vec<Vec<i128>>>,
    /// Where the norm that units are scaled down to is not chosen yet: the units of each level. Groups are then slots: see [`super::levels`].
    levels: Option<Vec<u64>>,
    /// Where units are scaled down to a norm that is known: what parts of units add, some at a time.
    of_parts: Option<Box<Totals>>,
    /// The values that quantiles and extremes are chosen from.
    pub(super) ranks: Ranks,
    memory: Room,
}

/// Memory of something that grows, some of which may be there before it is needed.
pub(super) struct Room {
    memory: MemoryReservation,
    used: usize,
}

impl Room {
    /// None yet. Memory is taken from a reservation of its own.
    pub(super) fn new(memory: &MemoryReservation) -> Room {
        Room { memory: memory.new_empty(), used: 0 }
    }

    /// Takes bytes of it, and asks for more if there are not so many.
    pub(super) fn take(&mut self, bytes: usize) -> Result<()> {
        self.used = self.used.saturating_add(bytes);
        self.memory.try_grow(self.used.saturating_sub(self.memory.size())).map_err(below)
    }

    /// What was taken is free again.
    pub(super) fn clear(&mut self) {
        self.used = 0;
    }
}

/// An argument's values in some rows.
struct Values<'g> {
    grid: Option<&'g Grid>,
    /// In steps, less the middle: at most 2^36 + 2; 0 where there is none.
    centred: Vec<i64>,
    /// Whether there is one, if there is not everywhere.
    present: Option<Vec<bool>>,
}

impl Totals {
    pub(super) fn new(question: &Arc<Question>, mechanisms: &Arc<Mechanisms>, memory: &MemoryReservation) -> Totals {
        let mut totals = Totals::of_parts(question, mechanisms, memory);
        if let Bounding::Clipped(_) = mechanisms.bounding {
            totals.weighted = Some(totals.sums.clone());
            match mechanisms.norm {
                Some(_) => totals.levels = Some(Vec::new()),
                None => totals.of_parts = Some(Box::new(Totals::of_parts(question, mechanisms, memory))),
            }
        }
        totals
    }

    /// Totals of parts of units, each in the place of a group: exact sums alone.
    pub(super) fn of_parts(
        question: &Arc<Question>,
        mechanisms: &Arc<Mechanisms>,
        memory: &MemoryReservation,
    ) -> Totals {
        Totals {
            question: Arc::clone(question),
            mechanisms: Arc::clone(mechanisms),
            counts_units: mechanisms.selection.is_some() || mechanisms.plan.statistics().contains(&Statistic::Units),
            tally: Tally::default(),
            units: Vec::new(),
            sums: vec![Vec::new(); mechanisms.plan.statistics().len()],
            weighted: None,
            levels: None,
            of_parts: None,
            ranks: Ranks::of(mechanisms, memory.new_empty()),
            memory: Room::new(memory),
        }
    }

    /// What a group takes.
    fn size_of_group(&self) -> usize {
        let of_levels = if self.levels.is_some() { Level::every().count() } else { 1 };
        let sums = self.sums.len() * (of_levels + usize::from(self.weighted.is_some()));
        size_of::<u64>() + sums * size_of::<i128>() + size_of::<(u64, u32)>()
    }

    /// Makes room for this many groups: for all that units may add to them.
    pub(super) fn resize(&mut self, groups: usize) -> Result<()> {
        let more = groups.saturating_sub(self.units.len());
        if more > 0 {
            self.memory.take(more * self.size_of_group())?;
            self.units.resize(groups, 0);
            let all = self.sums.iter_mut().chain(self.weighted.iter_mut().flatten());
            all.for_each(|sums| sums.resize(sums.len().max(groups), 0));
            if let Some(of_parts) = &mut self.of_parts {
                of_parts.resize(PARTS_AT_ONCE)?;
            }
        }
        Ok(())
    }

    /// Forgets everything. The room stays.
    pub(super) fn clear(&mut self) {
        self.memory.clear();
        self.units.clear();
        self.sums.iter_mut().for_each(Vec::clear);
    }

    /// The tally, with room for all groups; it is to be given back.
    pub(super) fn tally(&mut self) -> Tally {
        let mut tally = std::mem::take(&mut self.tally);
        tally.last.resize(self.units.len().max(tally.last.len()), (0, 0));
        tally
    }

    /// Adds one unit to each of these groups.
    pub(super) fn add_units(&mut self, groups: impl IntoIterator<Item = u32>) -> Result<()> {
        if !self.counts_units {
            return Ok(());
        }
        for group in groups {
            *self.units.get_mut(group as usize).ok_or_else(Error::below_boundary)? += 1;
        }
        Ok(())
    }

    /// Adds one unit to a group, with its weight in units of 2^-10.
    pub(super) fn add_weighted_unit(&mut self, group: u32, weight: u32) -> Result<()> {
        if !self.counts_units {
            return Ok(());
        }
        let weighted = self.weighted.as_mut().ok_or_else(Error::below_boundary)?;
        for (sums, statistic) in weighted.iter_mut().zip(self.mechanisms.plan.statistics()) {
            if *statistic == Statistic::Units {
                add(sums, &[group], std::iter::once(i128::from(weight)))?;
            }
        }
        self.add_units([group])
    }

    /// Adds one unit to its level, and makes room for its groups.
    pub(super) fn add_unit_at(&mut self, level: Level, cells: usize) -> Result<()> {
        let slots = (level.number() + 1) * cells;
        for sums in &mut self.sums {
            sums.reserve_exact(slots.saturating_sub(sums.len()));
            sums.resize(slots.max(sums.len()), 0);
        }
        let levels = self.levels.as_mut().ok_or_else(Error::below_boundary)?;
        levels.resize(levels.len().max(level.number() + 1), 0);
        *levels.get_mut(level.number()).ok_or_else(Error::below_boundary)? += 1;
        Ok(())
    }

    /// Adds exact sums of other rows, each to one of these groups.
    pub(super) fn add_whole(&mut self, groups: &[u32], of_parts: &Totals) -> Result<()> {
        self.sums.iter_mut().zip(&of_parts.sums).try_for_each(|(sums, parts)| add(sums, groups, parts.iter().copied()))
    }

    /// Adds what at most [`PARTS_AT_ONCE`] parts of units that are cut add to their groups: rows, the part of each, and the columns of the arguments.
    pub(super) fn add_rows_of_parts(&mut self, parts: &[Part], of_rows: &[u32], arguments: &[ArrayRef]) -> Result<()> {
        if parts.is_empty() {
            return Ok(());
        }
        let mut of_parts = self.of_parts.take().ok_or_else(Error::below_boundary)?;
        of_parts.add_rows(of_rows, arguments)?;
        self.add_cut(parts, &of_parts)?;
        of_parts.sums.iter_mut().for_each(|sums| sums.iter_mut().take(parts.len()).for_each(|sum| *sum = 0));
        self.of_parts = Some(of_parts);
        Ok(())
    }

    /// Adds what parts of units that are cut add to their groups: `of_parts` has the exact sums of each in the place of a group.
    pub(super) fn add_cut(&mut self, parts: &[Part], of_parts: &Totals) -> Result<()> {
        let weighted = self.weighted.as_mut().ok_or_else(Error::below_boundary)?;
        let groups: Vec<u32> = parts.iter().map(|part| part.group).collect();
        for (sums, of_parts) in weighted.iter_mut().zip(&of_parts.sums) {
            add(sums, &groups, parts.iter().zip(of_parts).map(|(part, exact)| part.weight.apply(*exact)))?;
        }
        Ok(())
    }

    /// The sums by level, if the norm is not chosen yet; there are so many groups.
    pub(super) fn take_levels(&mut self, cells: usize) -> Option<Levels> {
        let units = self.levels.take()?;
        let (sums, weighted) = (std::mem::take(&mut self.sums), self.weighted.take()?);
        Some(Levels { units, sums, weighted, cells })
    }

    /// The statistics in the units of their bounding, by statistic, then group; the units of each group; the values of ranks.
    pub(super) fn finish(self) -> Result<(Vec<Vec<i128>>, Vec<u64>, Ranks)> {
        let Totals { mut sums, weighted, units, ranks, mechanisms, .. } = self;
        let scale = i128::from(mechanisms.bounding.scale());
        for (place, statistic) in mechanisms.plan.statistics().iter().enumerate() {
            let Some(sums) = sums.get_mut(place) else { continue };
            match weighted.as_ref().and_then(|weighted| weighted.get(place)) {
                Some(weighted) => {
                    for (sum, weighted) in sums.iter_mut().zip(weighted) {
                        let scaled = sum.checked_mul(scale).and_then(|sum| sum.checked_add(*weighted));
                        *sum = scaled.ok_or_else(Error::below_boundary)?;
                    }
                }
                None if *statistic == Statistic::Units => *sums = units.iter().map(|n| i128::from(*n)).collect(),
                None => {}
            }
        }
        Ok((sums, units, ranks))
    }

    /// Adds rows: the group of each, and the columns of the arguments.
    pub(super) fn add_rows(&mut self, groups: &[u32], arguments: &[ArrayRef]) -> Result<()> {
        let values: Vec<Values<'_>> = self
            .question
            .arguments
            .iter()
            .zip(arguments)
            .map(|(argument, column)| Values::of(column, argument.grid.as_ref(), argument.is_integer))
            .collect::<Result<_>>()?;
        let of = |x: &usize| values.get(*x).ok_or_else(Error::below_boundary);
        for (sums, statistic) in self.sums.iter_mut().zip(self.mechanisms.plan.statistics()) {
            match statistic {
                Statistic::Rows(Present::All) => add_small(sums, groups, std::iter::repeat_n(1, groups.len()))?,
                Statistic::Rows(Present::One(x)) => match &of(x)?.present {
                    None => add_small(sums, groups, std::iter::repeat_n(1, groups.len()))?,
                    Some(present) => add_small(sums, groups, present.iter().map(|p| i64::from(*p)))?,
                },
                Statistic::Rows(rows) => add_small(sums, groups, present(rows, &values, groups.len()).map(i64::from))?,
                Statistic::Sum(x) => {
                    let x = of(x)?;
                    let Some(grid) = x.grid else { continue };
                    let middle = grid.middle();
                    match &x.present {
                        None => add(sums, groups, x.centred.iter().map(|c| i128::from(*c) + middle))?,
                        Some(present) => {
                            let raw = x.centred.iter().zip(present).map(|(c, there)| match there {
                                true => i128::from(*c) + middle,
                                false => 0,
                            });
                            add(sums, groups, raw)?;
                        }
                    }
                }
                Statistic::Centred(x, Present::One(y)) if x == y => {
                    add_small(sums, groups, of(x)?.centred.iter().copied())?;
                }
                Statistic::Centred(x, rows) => {
                    let there = present(rows, &values, groups.len());
                    let centred = of(x)?.centred.iter().zip(there);
                    add_small(sums, groups, centred.map(|(c, there)| if there { *c } else { 0 }))?;
                }
                Statistic::Square(x, rows) => {
                    let own = of(x)?;
                    let Some(grid) = own.grid else { continue };
                    let middle = grid.square_middle();
                    let there =
                        present(rows, &values, groups.len()).zip(present(&Present::One(*x), &values, groups.len()));
                    let squares = own.centred.iter().zip(there).map(|(c, (there, has))| match there && has {
                        true => i128::from(*c) * i128::from(*c) - middle,
                        false => 0,
                    });
                    add(sums, groups, squares)?;
                }
                Statistic::Product(x, y) => {
                    let pairs = of(x)?.centred.iter().zip(&of(y)?.centred);
                    add(sums, groups, pairs.map(|(x, y)| i128::from(*x) * i128::from(*y)))?;
                }
                // Of units and of their values, not of rows; and no sums.
                Statistic::Units | Statistic::Distinct(..) | Statistic::Ranks(..) => {}
            }
        }
        self.ranks.add(&self.question, groups, arguments)
    }

    /// Adds the totals of other rows.
    pub(super) fn absorb(&mut self, other: &Totals) -> Result<()> {
        self.resize(other.units.len())?;
        self.units.iter_mut().zip(&other.units).for_each(|(mine, theirs)| *mine += theirs);
        for (mine, theirs) in self.sums.iter_mut().zip(&other.sums) {
            // There may be more slots than groups.
            mine.resize(mine.len().max(theirs.len()), 0);
            add_all(mine, theirs)?;
        }
        if let (Some(mine), Some(theirs)) = (&mut self.weighted, &other.weighted) {
            mine.iter_mut().zip(theirs).try_for_each(|(mine, theirs)| add_all(mine, theirs))?;
        }
        if let (Some(mine), Some(theirs)) = (&mut self.levels, &other.levels) {
            mine.resize(mine.len().max(theirs.len()), 0);
            mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine += theirs);
        }
        self.ranks.absorb(&other.ranks)
    }
}

/// Adds the sums of each group.
fn add_all(mine: &mut [i128], theirs: &[i128]) -> Result<()> {
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        *mine = mine.checked_add(*theirs).ok_or_else(Error::below_boundary)?;
    }
    Ok(())
}

/// Adds to every row's group what the row adds.
fn add(sums: &mut [i128], groups: &[u32], values: impl Iterator<Item = i128>) -> Result<()> {
    for (group, value) in groups.iter().zip(values).filter(|(group, _)| **group != DROPPED) {
        let sum = sums.get_mut(*group as usize).ok_or_else(Error::below_boundary)?;
        *sum = sum.checked_add(value).ok_or_else(Error::below_boundary)?;
    }
    Ok(())
}

/// Adds to every row's group what the row adds: at most 2^40 either way.
fn add_small(sums: &mut [i128], groups: &[u32], values: impl Iterator<Item = i64>) -> Result<()> {
    // Of so many rows the sum fits 64 bits, which are added in one step.
    if sums.len() > FEW_GROUPS || groups.len() > 1 << 20 {
        return add(sums, groups, values.map(i128::from));
    }
    let mut of_rows = vec![0_i64; sums.len()];
    for (group, value) in groups.iter().zip(values) {
        match of_rows.get_mut(*group as usize) {
            Some(sum) => *sum += value,
            None if *group == DROPPED => {}
            None => return Err(Error::below_boundary()),
        }
    }
    sums.iter_mut().zip(of_rows).try_for_each(|(sum, of_rows)| {
        *sum = sum.checked_add(i128::from(of_rows)).ok_or_else(Error::below_boundary)?;
        Ok(())
    })
}

/// Whether a row is one of these.
fn present<'v>(rows: &Present<usize>, values: &'v [Values<'_>], number: usize) -> impl Iterator<Item = bool> + 'v {
    let of = |x: Option<usize>| x.and_then(|x| values.get(x)).and_then(|v| v.present.as_deref());
    let (x, y) = match rows {
        Present::All => (None, None),
        Present::One(x) => (of(Some(*x)), None),
        Present::Both(x, y) => (of(Some(*x)), of(Some(*y))),
    };
    let is = |present: Option<&[bool]>, row: usize| present.is_none_or(|p| p.get(row).copied().unwrap_or(false));
    (0..number).map(move |row| is(x, row) && is(y, row))
}

impl<'g> Values<'g> {
    fn of(column: &ArrayRef, grid: Option<&'g Grid>, is_integer: bool) -> Result<Values<'g>> {
        let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
        let mut values = Values { grid, centred: Vec::new(), present: nulls.map(|n| n.iter().collect()) };
        match (grid, is_integer) {
            (Some(grid), true) => {
                let column = column.as_primitive_opt::<Int64Type>().ok_or_else(Error::below_boundary)?;
                values.centred = grid.centred_integers(column.values());
            }
            (Some(grid), false) => {
                let column = column.as_primitive_opt::<Float64Type>().ok_or_else(Error::below_boundary)?;
                if column.values().iter().any(|x| x.is_nan()) {
                    let present = values.present.get_or_insert_with(|| vec![true; column.len()]);
                    present.iter_mut().zip(column.values()).for_each(|(present, x)| *present &= !x.is_nan());
                }
                values.centred = grid.centred_floats(column.values());
            }
            (None, _) => {
                let column = column.as_boolean_opt().ok_or_else(Error::below_boundary)?;
                values.present = Some((0..column.len()).map(|row| column.is_valid(row) && column.value(row)).collect());
                values.centred = vec![0; column.len()];
            }
        }
        if let Some(present) = &values.present {
            values.centred.iter_mut().zip(present).filter(|(_, there)| !**there).for_each(|(c, _)| *c = 0);
        }
        Ok(values)
    }
}
