//! The parts that conditions split a group into, each with its cohort.

use std::collections::HashMap;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::buffer::{BooleanBuffer, ScalarBuffer};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::error::Result;
use kanon_privacy::cohort::Cohort;
use kanon_privacy::policy::MinCohort;
use kanon_privacy::rules::MAX_PARTS;

use super::bytes::{BadState, Reader};
use super::cohorts::{ENOUGH, next_cohort, write_cohort};
use super::tally::{Tally, and_present, for_each};
use super::units::unit_ids;

/// Conditions that are all true, false or NULL are numbered directly, up to this many.
const MAX_BOOLEAN: usize = 8;

/// Distinct combinations over all groups of one accumulator: what is beyond counts as too many in its group.
const MAX_NAMES: usize = 1 << 20;

/// Who is in a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::release) enum Held {
    /// Distinct units, up to k.
    Units(Cohort),
    /// Rows, up to k, where rows are units.
    Rows(u32),
}

impl Held {
    fn is_enough(&self, k: MinCohort) -> bool {
        match self {
            Held::Units(cohort) => cohort.is_enough(),
            Held::Rows(rows) => *rows >= k.get(),
        }
    }
}

/// The parts of one group, by number of their combination.
#[derive(Debug, Default)]
struct Group {
    parts: Vec<(u32, Held)>,
    /// The combinations, of the first 64, that have k already: more rows change nothing.
    settled: u64,
    /// More than [`MAX_PARTS`]: not followed any more.
    too_many: bool,
}

impl Group {
    fn part(&mut self, name: u32, empty: &Held) -> Option<&mut Held> {
        if self.too_many {
            return None;
        }
        match self.parts.binary_search_by_key(&name, |(n, _)| *n) {
            Ok(at) => self.parts.get_mut(at).map(|(_, held)| held),
            Err(_) if self.parts.len() >= MAX_PARTS => {
                self.give_up();
                None
            }
            Err(at) => {
                self.parts.insert(at, (name, empty.clone()));
                self.parts.get_mut(at).map(|(_, held)| held)
            }
        }
    }

    fn is_settled(&self, name: u32) -> bool {
        self.too_many || (name < 64 && self.settled >> name & 1 == 1)
    }

    fn settle(&mut self, name: u32) {
        if name < 64 {
            self.settled |= 1 << name;
        }
    }

    fn give_up(&mut self) {
        self.too_many = true;
        self.parts = Vec::new();
    }

    fn bytes(&self) -> usize {
        self.parts.capacity() * size_of::<(u32, Held)>()
    }
}

/// Tally of parts.
#[derive(Debug)]
pub(super) struct Parts {
    k: MinCohort,
    by_unit: bool,
    types: Vec<DataType>,
    coder: Coder,
    names: Names,
    groups: Vec<Group>,
    heap: usize,
}

impl Parts {
    pub(super) fn new(k: MinCohort, types: &[DataType], by_unit: bool) -> Result<Self> {
        Ok(Parts {
            k,
            by_unit,
            types: types.to_vec(),
            coder: Coder::new(types)?,
            names: Names::default(),
            groups: Vec::new(),
            heap: 0,
        })
    }

    fn empty(&self) -> Held {
        if self.by_unit { Held::Units(Cohort::default()) } else { Held::Rows(0) }
    }
}

impl Tally for Parts {
    fn fresh(&self) -> Box<dyn Tally> {
        Box::new(Parts {
            k: self.k,
            by_unit: self.by_unit,
            types: self.types.clone(),
            // The types made a coder before.
            coder: Coder::new(&self.types).unwrap_or(Coder::Booleans),
            names: Names::default(),
            groups: Vec::new(),
            heap: 0,
        })
    }

    fn resize(&mut self, groups: usize) {
        if groups > self.groups.len() {
            self.groups.resize_with(groups, Group::default);
        }
    }

    fn add(&mut self, values: &[ArrayRef], groups: &[usize], valid: Option<&BooleanBuffer>) -> Result<()> {
        let (units, valid, conditions) = match values.split_first() {
            Some((units, conditions)) if self.by_unit => {
                (Some(units), and_present(valid, units.logical_nulls().as_ref()), conditions)
            }
            _ => (None, valid.cloned(), values),
        };
        let codes = self.coder.codes(conditions, valid.as_ref(), &mut self.names)?;
        if let Codes::Same(code) = codes
            && self.groups.iter().all(|group| group.is_settled(code))
        {
            return Ok(());
        }
        let ids = units.map(unit_ids).transpose()?;
        let empty = self.empty();
        let Parts { k, groups: tallies, heap, .. } = self;
        for_each(groups, valid.as_ref(), |row, group| {
            let Some(tally) = tallies.get_mut(group) else { return };
            let code = match &codes {
                Codes::Same(code) => *code,
                Codes::Each(codes) => codes.get(row).copied().unwrap_or(Names::NONE),
            };
            if tally.is_settled(code) {
                return;
            }
            if code == Names::NONE {
                tally.give_up();
                return;
            }
            let before = tally.bytes();
            if let Some(held) = tally.part(code, &empty) {
                add_row(held, ids.as_ref(), row, *k, heap);
                if held.is_enough(*k) {
                    tally.settle(code);
                }
            }
            *heap = heap.saturating_add(tally.bytes()).saturating_sub(before);
        });
        Ok(())
    }

    fn groups(&self) -> usize {
        self.groups.len()
    }

    fn write(&self, group: usize, out: &mut Vec<u8>) {
        let Some(group) = self.groups.get(group) else { return };
        out.push(u8::from(group.too_many));
        for (name, held) in &group.parts {
            let name = self.names.bytes(*name);
            out.extend(u32::try_from(name.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend(name);
            match held {
                Held::Units(cohort) => write_cohort(cohort, out),
                Held::Rows(rows) => out.extend(rows.to_le_bytes()),
            }
        }
    }

    fn absorb(&mut self, group: usize, state: &[u8]) -> Result<(), BadState> {
        let empty = self.empty();
        let read = read_parts(state, self.k, self.by_unit)?;
        let tally = self.groups.get_mut(group).ok_or(BadState)?;
        let Some(read) = read else {
            tally.give_up();
            return Ok(());
        };
        for (name, held) in read {
            let before = tally.bytes();
            match self.names.number(name) {
                Names::NONE => tally.give_up(),
                number => {
                    let part = tally.part(number, &empty);
                    match (part, held) {
                        (Some(Held::Units(mine)), Held::Units(theirs)) => {
                            let before = mine.heap_bytes();
                            mine.absorb(&theirs, self.k);
                            self.heap = self.heap.saturating_add(mine.heap_bytes()).saturating_sub(before);
                        }
                        (Some(Held::Rows(mine)), Held::Rows(theirs)) => {
                            *mine = mine.saturating_add(theirs).min(self.k.get())
                        }
                        (None, _) => {}
                        _ => return Err(BadState),
                    }
                }
            }
            self.heap = self.heap.saturating_add(tally.bytes()).saturating_sub(before);
        }
        Ok(())
    }

    fn drop_first(&mut self, groups: usize) {
        self.groups.drain(..groups.min(self.groups.len()));
        self.heap =
            self.groups.iter().map(|g| g.bytes() + g.parts.iter().map(|(_, h)| held_bytes(h)).sum::<usize>()).sum();
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<Group>() + self.heap + self.names.size()
    }
}

fn held_bytes(held: &Held) -> usize {
    match held {
        Held::Units(cohort) => cohort.heap_bytes(),
        Held::Rows(_) => 0,
    }
}

fn add_row(held: &mut Held, ids: Option<&ScalarBuffer<u64>>, row: usize, k: MinCohort, heap: &mut usize) {
    if held.is_enough(k) {
        return;
    }
    match held {
        Held::Rows(rows) => *rows += 1,
        Held::Units(cohort) => {
            if let Some(id) = ids.and_then(|ids| ids.get(row)) {
                let before = cohort.heap_bytes();
                cohort.insert(*id, k);
                *heap = heap.saturating_add(cohort.heap_bytes()).saturating_sub(before);
            }
        }
    }
}

/// What the names of combinations say: by name and condition, the number of the condition's value.
pub(in crate::release) fn read_names(types: &[DataType], names: &[&[u8]]) -> Result<Vec<Vec<u32>>, BadState> {
    match Coder::new(types).map_err(|_| BadState)? {
        Coder::Booleans => names
            .iter()
            .map(|name| {
                let mut code = Reader(name).u32()?;
                let mut digits = vec![0; types.len()];
                for digit in digits.iter_mut().rev() {
                    *digit = code % 3;
                    code /= 3;
                }
                Ok(digits)
            })
            .collect(),
        Coder::Rows(converter) => {
            let parser = converter.parser();
            let columns = converter.convert_rows(names.iter().map(|name| parser.parse(name))).map_err(|_| BadState)?;
            let mut read = vec![Vec::with_capacity(types.len()); names.len()];
            for column in columns {
                let one = RowConverter::new(vec![SortField::new(column.data_type().clone())]).map_err(|_| BadState)?;
                let rows = one.convert_columns(&[column]).map_err(|_| BadState)?;
                let mut numbers: HashMap<Vec<u8>, u32> = HashMap::new();
                for (row, read) in rows.iter().zip(&mut read) {
                    let next = u32::try_from(numbers.len()).map_err(|_| BadState)?;
                    read.push(*numbers.entry(row.as_ref().to_vec()).or_insert(next));
                }
            }
            Ok(read)
        }
    }
}

/// Reads the parts of a group: name and holders. `None`: there were too many.
#[allow(clippy::type_complexity, reason = "a list of pairs")]
pub(in crate::release) fn read_parts(
    state: &[u8],
    k: MinCohort,
    by_unit: bool,
) -> Result<Option<Vec<(&[u8], Held)>>, BadState> {
    let mut reader = Reader(state);
    if reader.u8()? != 0 {
        return Ok(None);
    }
    let mut parts = Vec::new();
    while !reader.is_done() {
        let length = reader.u32()? as usize;
        let name = reader.piece(length)?;
        let held = if by_unit {
            Held::Units(next_cohort(&mut reader, k)?)
        } else {
            match reader.u32()? {
                ENOUGH => return Err(BadState),
                rows => Held::Rows(rows),
            }
        };
        parts.push((name, held));
    }
    Ok(Some(parts))
}

/// Names of combinations, numbered as they come.
#[derive(Debug, Default)]
struct Names {
    numbers: HashMap<Box<[u8]>, u32>,
    names: Vec<Box<[u8]>>,
    heap: usize,
}

impl Names {
    /// The number of no name: there are too many.
    const NONE: u32 = u32::MAX;

    fn number(&mut self, name: &[u8]) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        if self.names.len() >= MAX_NAMES {
            return Names::NONE;
        }
        let Ok(number) = u32::try_from(self.names.len()) else { return Names::NONE };
        self.numbers.insert(name.into(), number);
        self.names.push(name.into());
        self.heap += 2 * name.len() + 64;
        number
    }

    fn bytes(&self, number: u32) -> &[u8] {
        self.names.get(number as usize).map_or(&[], AsRef::as_ref)
    }

    fn size(&self) -> usize {
        self.heap
    }
}

/// Gives every row the number of its combination. Equal names mean equal values, and nothing else does: names are the values themselves.
enum Coder {
    Booleans,
    Rows(RowConverter),
}

impl std::fmt::Debug for Coder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Coder")
    }
}

impl Coder {
    fn new(types: &[DataType]) -> Result<Self> {
        if types.len() <= MAX_BOOLEAN && types.iter().all(|t| *t == DataType::Boolean) {
            return Ok(Coder::Booleans);
        }
        Ok(Coder::Rows(RowConverter::new(types.iter().map(|t| SortField::new(t.clone())).collect())?))
    }

    fn codes(&self, conditions: &[ArrayRef], valid: Option<&BooleanBuffer>, names: &mut Names) -> Result<Codes> {
        let counts = |row: usize| valid.is_none_or(|v| v.value(row));
        match self {
            Coder::Booleans => {
                let columns: Vec<&BooleanArray> = conditions.iter().filter_map(|c| c.as_boolean_opt()).collect();
                if columns.len() != conditions.len() {
                    return Err(BadState.into());
                }
                // Base 3, a digit a condition.
                let same = columns.iter().try_fold(0u32, |code, column| Some(code * 3 + only_digit(column)?));
                if let Some(code) = same {
                    return Ok(Codes::Same(names.number(&code.to_le_bytes())));
                }
                let mut codes = vec![0u32; conditions.first().map_or(0, |c| c.len())];
                for column in &columns {
                    match column.nulls() {
                        None => codes
                            .iter_mut()
                            .zip(column.values())
                            .for_each(|(code, value)| *code = *code * 3 + u32::from(value)),
                        Some(nulls) => {
                            codes.iter_mut().zip(column.values()).zip(nulls).for_each(|((code, value), valid)| {
                                *code = *code * 3 + if valid { u32::from(value) } else { 2 };
                            })
                        }
                    }
                }
                // Numbered once a combination.
                let mut numbers: HashMap<u32, u32> = HashMap::new();
                let mut last = None;
                for (row, code) in codes.iter_mut().enumerate() {
                    *code = match last {
                        Some((same, number)) if same == *code => number,
                        _ if !counts(row) => continue,
                        _ => {
                            let number = *numbers.entry(*code).or_insert_with(|| names.number(&code.to_le_bytes()));
                            last = Some((*code, number));
                            number
                        }
                    };
                }
                Ok(Codes::Each(codes))
            }
            Coder::Rows(converter) => {
                let rows = converter.convert_columns(conditions)?;
                let codes = rows
                    .iter()
                    .enumerate()
                    .map(|(row, name)| if counts(row) { names.number(name.as_ref()) } else { 0 });
                Ok(Codes::Each(codes.collect()))
            }
        }
    }
}

/// The numbers of combinations, by row. Of rows that do not count they mean nothing.
enum Codes {
    Same(u32),
    Each(Vec<u32>),
}

/// The digit of a condition that is the same in all rows.
fn only_digit(column: &BooleanArray) -> Option<u32> {
    if column.null_count() > 0 {
        return (column.null_count() == column.len()).then_some(2);
    }
    match column.true_count() {
        0 => Some(0),
        n if n == column.len() => Some(1),
        _ => None,
    }
}
