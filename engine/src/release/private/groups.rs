//! Which group a row belongs to: a public cell, or whatever keys come.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, UInt32Array, new_empty_array};
use datafusion::arrow::compute::{cast, concat, take};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::ScalarValue;
use kanon_planner::private::{PublicKeys, Question};

use super::super::below;
use crate::error::{Error, Result};

/// Most groups of one release whose keys are not public.
const MOST_GROUPS: usize = 10_000_000;

/// The groups of a release, numbered from 0.
pub(super) enum Groups {
    /// Public cells: the product of the keys' values, the last key's varying fastest. There is one without keys.
    Public(Vec<PublicKey>),
    /// In the order in which they come.
    Met(Met),
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
    places: HashMap<Box<[u8]>, u32>,
    /// The keys of the groups so far, batch by batch: a column a key.
    keys: Vec<Vec<ArrayRef>>,
    types: Vec<DataType>,
}

/// Turns columns into bytes that are equal for equal keys.
pub(super) struct KeyBytes(RowConverter);

impl KeyBytes {
    pub(super) fn of(types: &[DataType]) -> Result<KeyBytes> {
        RowConverter::new(types.iter().map(|t| SortField::new(t.clone())).collect()).map(KeyBytes).map_err(below)
    }

    /// The bytes of every row, handed to `with` in order.
    pub(super) fn each(&self, columns: &[ArrayRef], mut with: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let rows = self.0.convert_columns(columns).map_err(below)?;
        rows.iter().try_for_each(|row| with(row.data()))
    }

    /// The bytes of one row.
    pub(super) fn one(&self, columns: &[ArrayRef], row: usize) -> Result<Box<[u8]>> {
        if columns.iter().any(|c| row >= c.len()) {
            return Err(Error::below_boundary());
        }
        let slices: Vec<ArrayRef> = columns.iter().map(|c| c.slice(row, 1)).collect();
        let mut bytes = None;
        self.each(&slices, |row| {
            bytes = Some(row.into());
            Ok(())
        })?;
        bytes.ok_or_else(Error::below_boundary)
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
            return Ok(Groups::Public(keys.collect::<Result<_>>()?));
        }
        Ok(Groups::Met(Met {
            bytes: KeyBytes::of(types)?,
            places: HashMap::new(),
            keys: Vec::new(),
            types: types.to_vec(),
        }))
    }

    /// The group of every row; `None` for rows that are dropped.
    pub(super) fn of_rows(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<Option<u32>>> {
        match self {
            Groups::Public(public) => {
                let mut groups = vec![Some(0_u32); rows];
                for (key, column) in public.iter().zip(keys) {
                    let size = u32::try_from(key.values.len()).map_err(below)?;
                    let mut row = 0;
                    key.bytes.each(std::slice::from_ref(column), |bytes| {
                        let place = key.places.get(bytes).copied().or(key.other);
                        if let Some(group) = groups.get_mut(row) {
                            *group = group.zip(place).map(|(group, place)| group * size + place);
                        }
                        row += 1;
                        Ok(())
                    })?;
                }
                Ok(groups)
            }
            Groups::Met(met) => met.of_rows(keys).map(|groups| groups.into_iter().map(Some).collect()),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Groups::Public(keys) => keys.iter().map(|k| k.values.len()).product(),
            Groups::Met(met) => met.places.len(),
        }
    }

    /// What tells each group from all others, whatever else there is in the data.
    pub(super) fn names(&self) -> Vec<Box<[u8]>> {
        match self {
            Groups::Public(_) => (0..self.len()).map(|cell| (cell as u64).to_le_bytes().into()).collect(),
            Groups::Met(met) => {
                let mut names: Vec<(&u32, &Box<[u8]>)> = met.places.iter().map(|(name, place)| (place, name)).collect();
                names.sort();
                names.into_iter().map(|(_, name)| name.clone()).collect()
            }
        }
    }

    /// The keys of all groups, a column a key.
    pub(super) fn keys(&self) -> Result<Vec<ArrayRef>> {
        match self {
            Groups::Public(keys) => {
                let cells = self.len();
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
        let places = &mut self.places;
        self.bytes.each(keys, |bytes| {
            let place = match places.get(bytes) {
                Some(place) => *place,
                None => {
                    if places.len() >= MOST_GROUPS {
                        return Err(Error::below_boundary());
                    }
                    let place = u32::try_from(places.len()).map_err(below)?;
                    places.insert(bytes.into(), place);
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
