//! The groups of a column of texts, remembered: most columns that people group by have few values, each of them many times.

use std::hash::BuildHasher;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::DataType;
use hashbrown::DefaultHashBuilder;

/// How many texts are remembered; one that falls into another's place takes it.
const PLACES: usize = 1 << 12;
/// The longest text that is.
const MOST_BYTES: usize = 64;

/// What texts came to.
pub(super) struct Texts {
    hasher: DefaultHashBuilder,
    places: Vec<Place>,
    null: Option<u32>,
}

#[derive(Clone)]
struct Place {
    text: Box<[u8]>,
    hash: u64,
    group: Option<u32>,
}

/// The groups of some rows, and the rows whose texts are not known.
pub(super) struct Found {
    pub(super) groups: Vec<u32>,
    pub(super) unknown: Vec<u32>,
}

impl Texts {
    /// Of keys of these types, if that is one column of texts.
    pub(super) fn of(keys: &[DataType]) -> Option<Texts> {
        if keys != [DataType::Utf8] {
            return None;
        }
        let nothing = Place { text: Box::default(), hash: 0, group: None };
        Some(Texts { hasher: DefaultHashBuilder::default(), places: vec![nothing; PLACES], null: None })
    }

    /// The groups of a column's rows: 0 for those that are not known.
    pub(super) fn find(&self, column: &ArrayRef) -> Option<Found> {
        let texts = column.as_string_opt::<i32>()?;
        let mut found = Found { groups: Vec::with_capacity(texts.len()), unknown: Vec::new() };
        for (row, text) in (0_u32..).zip(texts) {
            let group = match text {
                None => self.null,
                Some(text) => {
                    let hash = self.hasher.hash_one(text.as_bytes());
                    let place = self.place(hash)?;
                    place.group.filter(|_| place.hash == hash && *place.text == *text.as_bytes())
                }
            };
            if group.is_none() {
                found.unknown.push(row);
            }
            found.groups.push(group.unwrap_or(0));
        }
        Some(found)
    }

    /// Remembers the groups of a column's rows.
    pub(super) fn remember(&mut self, column: &ArrayRef, groups: &[u32]) {
        let Some(texts) = column.as_string_opt::<i32>() else { return };
        for (text, group) in texts.iter().zip(groups) {
            match text {
                None => self.null = Some(*group),
                Some(text) if text.len() <= MOST_BYTES => {
                    let hash = self.hasher.hash_one(text.as_bytes());
                    if let Some(place) = self.places.get_mut(hash as usize % PLACES) {
                        *place = Place { text: text.as_bytes().into(), hash, group: Some(*group) };
                    }
                }
                Some(_) => {}
            }
        }
    }

    fn place(&self, hash: u64) -> Option<&Place> {
        self.places.get(hash as usize % PLACES)
    }
}
