//! Which group a row belongs to: a public cell, or whatever keys come.
//!
//! [`Groups`] numbers the groups of a release. Readers of rows have a [`Numbers`] each, which remembers what the groups said of the keys that it
//! met: they are asked once a key, not once a row.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Arc, RwLock};

use datafusion::arrow::array::{Array, ArrayRef, UInt32Array, new_empty_array};
use datafusion::arrow::compute::{cast, concat, take};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::ScalarValue;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use hashbrown::{DefaultHashBuilder, HashTable};
use kanon_planner::private::{PublicKeys, Question};

use super::super::below;
use super::texts::{Found, Texts};
use crate::error::{Error, Result};

/// Most groups of one release whose keys are not public.
const MOST_GROUPS: usize = 10_000_000;
/// Most keys that a reader remembers, and most bytes of them.
const MOST_REMEMBERED: usize = 1 << 17;
const MOST_REMEMBERED_BYTES: usize = 16 << 20;

/// Most rows of a batch whose texts are not known, for texts to be looked for.
const MOST_UNKNOWN: usize = 1 << 9;

/// The number of a row that is in no group.
pub(super) const DROPPED: u32 = u32::MAX;

/// The groups of a release, numbered from 0.
pub(super) enum Groups {
    /// Public cells.
    Public(Cells),
    /// In the order in which they come, or are listed.
    Met(Met),
}

/// Public cells: the product of the keys' values, the last key's varying fastest. There is one without keys.
pub(super) struct Cells {
    keys: Vec<PublicKey>,
    names: Vec<Box<[u8]>>,
}

/// A key with public values.
pub(super) struct PublicKey {
    bytes: KeyBytes,
    places: HashMap<Box<[u8]>, u32>,
    other: Option<u32>,
    values: ArrayRef,
}

/// Groups by their keys.
pub(super) struct Met {
    bytes: KeyBytes,
    hasher: DefaultHashBuilder,
    places: HashTable<u32>,
    names: Vec<Box<[u8]>>,
    names_bytes: usize,
    /// The keys of the groups so far, batch by batch: a column a key.
    keys: Vec<Vec<ArrayRef>>,
    types: Vec<DataType>,
    /// Whether there will be no others.
    are_all: bool,
}

/// Turns columns into bytes that are equal for equal keys.
pub(super) struct KeyBytes(RowConverter);

impl KeyBytes {
    pub(super) fn of(types: &[DataType]) -> Result<KeyBytes> {
        RowConverter::new(types.iter().map(|t| SortField::new(t.clone())).collect()).map(KeyBytes).map_err(below)
    }

    /// The bytes of all rows.
    pub(super) fn rows(&self, columns: &[ArrayRef]) -> Result<Rows> {
        self.0.convert_columns(columns).map_err(below)
    }

    /// The bytes of every row, handed to `with` in order.
    pub(super) fn each(&self, columns: &[ArrayRef], mut with: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.rows(columns)?.iter().try_for_each(|row| with(row.data()))
    }
}

impl Groups {
    /// The groups of a question whose keys have these types.
    pub(super) fn of(question: &Question, types: &[DataType]) -> Result<Groups> {
        if question.public_cells().is_some() {
            let keys = question.keys.iter().zip(types).map(|(key, of_type)| match &key.public {
                Some(public) => PublicKey::of(public, of_type),
                None => Err(Error::below_boundary()),
            });
            let keys: Vec<PublicKey> = keys.collect::<Result<_>>()?;
            let cells: usize = keys.iter().map(|k| k.values.len()).product();
            let names = (0..cells).map(|cell| (cell as u64).to_le_bytes().into()).collect();
            return Ok(Groups::Public(Cells { keys, names }));
        }
        Groups::met(types)
    }

    /// These, and no others: rows with other keys are in none.
    pub(super) fn listed(keys: &[ArrayRef]) -> Result<Groups> {
        let types: Vec<DataType> = keys.iter().map(|key| key.data_type().clone()).collect();
        let mut groups = Groups::met(&types)?;
        groups.of_rows(keys, keys.first().map_or(0, |key| key.len()))?;
        if let Groups::Met(met) = &mut groups {
            met.are_all = true;
        }
        Ok(groups)
    }

    /// None yet: they come with the data.
    fn met(types: &[DataType]) -> Result<Groups> {
        Ok(Groups::Met(Met {
            bytes: KeyBytes::of(types)?,
            hasher: DefaultHashBuilder::default(),
            places: HashTable::new(),
            names: Vec::new(),
            names_bytes: 0,
            keys: Vec::new(),
            types: types.to_vec(),
            are_all: false,
        }))
    }

    /// The group of every row; [`DROPPED`] for rows that are in none.
    pub(super) fn of_rows(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        match self {
            Groups::Public(public) => {
                let mut groups = vec![0_u32; rows];
                for (key, column) in public.keys.iter().zip(keys) {
                    let size = u32::try_from(key.values.len()).map_err(below)?;
                    let mut row = groups.iter_mut();
                    key.bytes.each(std::slice::from_ref(column), |bytes| {
                        if let Some(group) = row.next() {
                            *group = match key.places.get(bytes).copied().or(key.other) {
                                Some(place) if *group != DROPPED => *group * size + place,
                                _ => DROPPED,
                            };
                        }
                        Ok(())
                    })?;
                }
                Ok(groups)
            }
            Groups::Met(met) => met.of_rows(keys),
        }
    }

    /// Whether there will be no others, whatever the data.
    pub(super) fn are_all(&self) -> bool {
        match self {
            Groups::Public(_) => true,
            Groups::Met(met) => met.are_all,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.names().len()
    }

    /// What tells each group from all others, whatever else there is in the data.
    pub(super) fn names(&self) -> &[Box<[u8]>] {
        match self {
            Groups::Public(cells) => &cells.names,
            Groups::Met(met) => &met.names,
        }
    }

    /// The memory that groups take which came with the data, about.
    pub(super) fn size(&self) -> usize {
        match self {
            Groups::Public(_) => 0,
            Groups::Met(met) => 2 * met.names_bytes + 48 * met.names.len(),
        }
    }

    /// The keys of all groups, a column a key.
    pub(super) fn keys(&self) -> Result<Vec<ArrayRef>> {
        match self {
            Groups::Public(Cells { keys, names }) => {
                let cells = names.len();
                let mut repeat = cells;
                keys.iter()
                    .map(|key| {
                        let size = key.values.len().max(1);
                        repeat /= size;
                        let repeat = repeat.max(1);
                        let places = (0..cells).map(|cell| u32::try_from(cell / repeat % size).unwrap_or(0));
                        take(&key.values, &UInt32Array::from_iter_values(places), None).map_err(below)
                    })
                    .collect()
            }
            Groups::Met(met) => met
                .types
                .iter()
                .enumerate()
                .map(|(i, of_type)| {
                    let parts: Vec<&dyn Array> =
                        met.keys.iter().filter_map(|batch| batch.get(i)).map(|a| a.as_ref()).collect();
                    if parts.is_empty() { Ok(new_empty_array(of_type)) } else { concat(&parts).map_err(below) }
                })
                .collect(),
        }
    }
}

impl PublicKey {
    fn of(public: &PublicKeys, of_type: &DataType) -> Result<PublicKey> {
        let bytes = KeyBytes::of(std::slice::from_ref(of_type))?;
        let values = ScalarValue::iter_to_array(public.values.iter().cloned()).map_err(below)?;
        let values = cast(&values, of_type).map_err(below)?;
        let mut places = HashMap::new();
        bytes.each(&[Arc::clone(&values)], |key| {
            let place = u32::try_from(places.len()).map_err(below)?;
            match places.insert(Box::from(key), place) {
                None => Ok(()),
                Some(_) => Err(Error::below_boundary()),
            }
        })?;
        let other = public.other.as_ref().and_then(|other| public.values.iter().position(|v| v == other));
        Ok(PublicKey { bytes, places, other: other.and_then(|at| u32::try_from(at).ok()), values })
    }
}

impl Met {
    fn of_rows(&mut self, keys: &[ArrayRef]) -> Result<Vec<u32>> {
        let mut groups = Vec::with_capacity(keys.first().map_or(0, |k| k.len()));
        let mut first_seen = Vec::new();
        let Met { bytes, hasher, places, names, names_bytes, are_all, .. } = self;
        bytes.each(keys, |bytes| {
            let hash = hasher.hash_one(bytes);
            let is = |place: &u32| names.get(*place as usize).is_some_and(|name| name.as_ref() == bytes);
            let place = match places.find(hash, is) {
                Some(place) => *place,
                None if *are_all => DROPPED,
                None => {
                    if names.len() >= MOST_GROUPS {
                        return Err(Error::below_boundary());
                    }
                    let place = u32::try_from(names.len()).map_err(below)?;
                    names.push(bytes.into());
                    *names_bytes += bytes.len();
                    let hash_of = |place: &u32| names.get(*place as usize).map_or(0, |name| hasher.hash_one(name));
                    places.insert_unique(hash, place, hash_of);
                    first_seen.push(u32::try_from(groups.len()).map_err(below)?);
                    place
                }
            };
            groups.push(place);
            Ok(())
        })?;
        if !first_seen.is_empty() {
            let rows = UInt32Array::from(first_seen);
            self.keys.push(keys.iter().map(|k| take(k, &rows, None).map_err(below)).collect::<Result<_>>()?);
        }
        Ok(groups)
    }
}

/// What one reader knows of the numbers of groups.
pub(super) struct Numbers {
    groups: Arc<RwLock<Groups>>,
    memory: Arc<MemoryReservation>,
    /// What is known of a column of texts, as long as most of them are known.
    texts: Option<Texts>,
    /// Of what is looked up: the keys, or their bytes.
    schema: SchemaRef,
    /// Numbers of its own for the keys that it met; `None` without keys.
    met: Option<Box<dyn GroupValues>>,
    /// What is looked up there in place of the keys, if they need it.
    bytes: Option<KeyBytes>,
    /// The group of each of those numbers.
    group_of: Vec<u32>,
    scratch: Vec<usize>,
}

impl Numbers {
    /// Of groups whose keys have these types. `memory` is what all readers of them account the groups in.
    pub(super) fn new(
        groups: &Arc<RwLock<Groups>>,
        types: &[DataType],
        memory: &Arc<MemoryReservation>,
    ) -> Result<Numbers> {
        let field = |t: &DataType| Field::new("", t.clone(), true);
        let (fields, bytes): (Vec<Field>, _) = match types.iter().all(equal_by_bytes) {
            true => (types.iter().map(field).collect(), None),
            false => (vec![field(&DataType::Binary)], Some(KeyBytes::of(types)?)),
        };
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let met = if types.is_empty() { None } else { Some(numbering(&schema)?) };
        let (groups, memory, texts) = (Arc::clone(groups), Arc::clone(memory), Texts::of(types));
        Ok(Numbers { groups, memory, texts, schema, met, bytes, group_of: Vec::new(), scratch: Vec::new() })
    }

    /// The groups of a column of texts, if most of them are known. Once they are not, none will be looked for.
    fn of_texts(&mut self, keys: &[ArrayRef]) -> Result<Option<Vec<u32>>> {
        let (Some(texts), Some(column)) = (&mut self.texts, keys.first()) else { return Ok(None) };
        let mut groups = Vec::with_capacity(column.len());
        // The first few may all be new.
        let first = column.len().min(MOST_UNKNOWN);
        for part in [column.slice(0, first), column.slice(first, column.len() - first)] {
            let found = texts.find(&part).filter(|found| found.unknown.len() <= MOST_UNKNOWN);
            let Some(Found { groups: mut of_part, unknown }) = found else {
                self.texts = None;
                return Ok(None);
            };
            if !unknown.is_empty() {
                let unknown_texts = take(&part, &UInt32Array::from(unknown.clone()), None).map_err(below)?;
                let asked = ask(&self.groups, &self.memory, std::slice::from_ref(&unknown_texts))?;
                texts.remember(&unknown_texts, &asked);
                for (row, group) in unknown.iter().zip(asked) {
                    *of_part.get_mut(*row as usize).ok_or_else(Error::below_boundary)? = group;
                }
            }
            groups.append(&mut of_part);
        }
        Ok(Some(groups))
    }

    /// The group of every row; [`DROPPED`] for rows that are in none.
    pub(super) fn of_rows(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        if let Some(groups) = self.of_texts(keys)? {
            return Ok(groups);
        }
        let Some(met) = &mut self.met else { return Ok(vec![0; rows]) };
        match &self.bytes {
            None => met.intern(keys, &mut self.scratch),
            Some(bytes) => {
                let bytes: ArrayRef = Arc::new(bytes.rows(keys)?.try_into_binary().map_err(below)?);
                met.intern(&[bytes], &mut self.scratch)
            }
        }
        .map_err(below)?;
        let known = self.group_of.len();
        if met.len() > known {
            // A row of each new number, in the order of numbers.
            let mut a_row = vec![0_u32; met.len() - known];
            for (row, number) in (0_u32..).zip(&self.scratch) {
                if let Some(a_row) = number.checked_sub(known).and_then(|new| a_row.get_mut(new)) {
                    *a_row = row;
                }
            }
            let a_row = UInt32Array::from(a_row);
            let keys: Vec<ArrayRef> =
                keys.iter().map(|k| take(k, &a_row, None).map_err(below)).collect::<Result<_>>()?;
            self.group_of.extend(ask(&self.groups, &self.memory, &keys)?);
        }
        let numbers = self.scratch.iter().map(|n| self.group_of.get(*n).copied().ok_or_else(Error::below_boundary));
        let numbers = numbers.collect::<Result<Vec<u32>>>()?;
        if met.len() > known && (met.len() > MOST_REMEMBERED || met.size() > MOST_REMEMBERED_BYTES) {
            *met = numbering(&self.schema)?;
            self.group_of.clear();
        }
        Ok(numbers)
    }
}

/// The groups of rows with these keys, as the groups know them; and new ones.
fn ask(groups: &RwLock<Groups>, memory: &MemoryReservation, keys: &[ArrayRef]) -> Result<Vec<u32>> {
    let mut groups = groups.write().map_err(below)?;
    let before = groups.size();
    let found = groups.of_rows(keys, keys.first().map_or(0, |key| key.len()))?;
    memory.try_grow(groups.size() - before).map_err(below)?;
    Ok(found)
}

fn numbering(schema: &SchemaRef) -> Result<Box<dyn GroupValues>> {
    new_group_values(Arc::clone(schema), &GroupOrdering::None).map_err(below)
}

/// Types whose values are equal for DataFusion if and only if their bytes are: not those with several zeros.
fn equal_by_bytes(t: &DataType) -> bool {
    t.is_integer()
        || matches!(
            t,
            DataType::Boolean
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Binary
                | DataType::LargeBinary
                | DataType::Date32
                | DataType::Date64
                | DataType::Timestamp(..)
                | DataType::Decimal128(..)
        )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use datafusion::arrow::array::StringArray;
    use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, UnboundedMemoryPool};

    use super::super::tests::Random;
    use super::*;

    /// Whether texts are few or many, long, empty or NULL: equal ones have one group, and no others.
    #[test]
    fn equal_texts_are_one_group_however_many_there_are() {
        let types = [DataType::Utf8];
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let memory = Arc::new(MemoryConsumer::new("test").register(&pool));
        for distinct in [1, 12, 300, 6_000, 100_000] {
            let groups = Arc::new(RwLock::new(Groups::met(&types).unwrap()));
            // Two readers, as each has a memory of its own.
            let mut readers = [0; 2].map(|_| Numbers::new(&groups, &types, &memory).unwrap());
            let mut expected: HashMap<Option<String>, u32> = HashMap::new();
            let mut random = Random(5);
            for batch in 0..12 {
                let texts: Vec<Option<String>> = (0..2_000)
                    .map(|_| match random.below(distinct) {
                        0 => None,
                        1 => Some(String::new()),
                        n if n % 7 == 3 => Some(format!("{n}").repeat(30)),
                        n => Some(format!("text {n}")),
                    })
                    .collect();
                let column: ArrayRef = Arc::new(StringArray::from(texts.clone()));
                let found = readers[batch % 2].of_rows(&[column], texts.len()).unwrap();
                for (text, group) in texts.into_iter().zip(found) {
                    assert_eq!(*expected.entry(text.clone()).or_insert(group), group, "{text:?}");
                }
            }
            let mut of_texts: Vec<u32> = expected.values().copied().collect();
            of_texts.sort_unstable();
            of_texts.dedup();
            assert_eq!(of_texts.len(), expected.len(), "each has its own");
            assert_eq!(groups.read().unwrap().len(), expected.len());
        }
    }
}
