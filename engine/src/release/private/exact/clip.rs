//! Units scaled down: all rows of a unit count, each by the unit's one weight, so that its whole vector keeps the norm (see
//! [`kanon_privacy::sensitivity`], "Clipping is exact").
//!
//! Rows of units within the norm are added as they are. Of the others, what the unit adds to each of its groups is added up exactly first,
//! then weighted and cut towards zero: as the proof of the sensitivity has it.
//!
//! Where the norm is not chosen yet, rows are added by the level of their unit's norm, to be weighted later: see [`kanon_privacy::norms`] and
//! [`super::levels`].
//!
//! Units that have more rows than fit into memory are added up batch by batch, from disk: what is kept of them is a sum a group.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use datafusion::arrow::compute::take;
use futures::TryStreamExt;
use kanon_privacy::norms::Level;
use kanon_privacy::sensitivity::{Bounding, Clip, RowWeight};

use super::super::super::below;
use super::super::groups::KeyBytes;
use super::Job;
use super::bound::{ByUnit, by_group};
use super::columns;
use super::heavy::blocking;
use super::levels::slot;
use super::spill::Spilled;
use super::totals::{PARTS_AT_ONCE, Room, Totals};
use crate::error::{Error, Result};

/// What a unit that is cut adds to a group.
pub(super) struct Part {
    pub(super) group: u32,
    pub(super) weight: RowWeight,
}

/// Rows and where what they add is added.
#[derive(Default)]
struct Rows {
    rows: Vec<u32>,
    to: Vec<u32>,
}

/// Adds these rows: all that there are of their units.
pub(super) fn add(job: &Job, clip: &Clip, rows: &RecordBatch, totals: &mut Totals) -> Result<()> {
    totals.resize(job.groups.read().map_err(below)?.len())?;
    let groups = columns::groups(rows)?;
    let by_unit = ByUnit::of(rows, &job.hasher)?;
    let (arguments, _) = job.layout.split(job.layout.contents(rows)?)?;
    let taken = |rows: Vec<u32>| {
        let rows = UInt32Array::from(rows);
        arguments.iter().map(|column| take(column, &rows, None).map_err(below)).collect::<Result<Vec<ArrayRef>>>()
    };
    let (mut whole, mut cut, mut parts) = (Rows::default(), Rows::default(), Vec::new());
    let mut sorted = Vec::new();
    for (number, unit) in by_unit.units().enumerate() {
        if number % 1024 == 0 {
            job.go_on()?;
        }
        by_group(unit, groups, &mut sorted)?;
        let own = || sorted.chunk_by(|a, b| a.0 == b.0);
        let weight = clip.row_weight(own().map(|part| part.len() as u64)).ok_or_else(Error::below_boundary)?;
        let weight_of_unit = clip.unit_weight(u32::try_from(own().count()).map_err(below)?);
        for part in own() {
            let Some((group, _)) = part.first() else { continue };
            totals.add_weighted_unit(*group, weight_of_unit)?;
            let (rows, to) = if weight.is_cut() {
                let number = u32::try_from(parts.len()).map_err(below)?;
                parts.push(Part { group: *group, weight });
                (&mut cut, number)
            } else {
                (&mut whole, *group)
            };
            rows.rows.extend(part.iter().map(|(_, row)| *row));
            rows.to.resize(rows.rows.len(), to);
            if parts.len() == PARTS_AT_ONCE {
                let cut = std::mem::take(&mut cut);
                totals.add_rows_of_parts(&parts, &cut.to, &taken(cut.rows)?)?;
                parts.clear();
            }
        }
    }
    totals.add_rows(&whole.to, &taken(whole.rows)?)?;
    totals.add_rows_of_parts(&parts, &cut.to, &taken(cut.rows)?)
}

/// Adds up units that do not fit into memory, where units are scaled down. Room for the sums of one is there from the beginning: whether it is needed is seen in nothing.
pub(super) struct Heavy(Option<Sums>);

impl Heavy {
    pub(super) fn new(job: &Arc<Job>) -> Result<Heavy> {
        let is_needed = matches!(job.mechanisms.bounding, Bounding::Clipped(_));
        Ok(Heavy(is_needed.then(|| Sums::new(job)).transpose()?))
    }

    /// Adds the rows of a part that does not fit into memory: all that there are of their units.
    pub(super) async fn add(
        &mut self,
        job: &Arc<Job>,
        clip: Clip,
        part: Spilled,
        mut totals: Totals,
    ) -> Result<Totals> {
        let mut sums = self.0.take().ok_or_else(Error::below_boundary)?;
        let mut rows = part.read(&job.runtime, &job.layout.schema)?;
        while let Some(batch) = rows.try_next().await.map_err(below)? {
            sums = blocking(move || sums.with(&batch)).await?;
        }
        let (sums, totals) = blocking(move || {
            sums.add_to(&clip, &mut totals)?;
            sums.clear();
            Ok((sums, totals))
        })
        .await?;
        self.0 = Some(sums);
        Ok(totals)
    }
}

/// What a unit's place takes, with its id: a word, or a hash.
const SIZE_OF_UNIT: usize = 128;
/// What a part of a unit takes besides its sums: its place, and its weight.
const SIZE_OF_PART: usize = 112;

/// What units add so far: a sum a unit and group.
struct Sums {
    job: Arc<Job>,
    id: KeyBytes,
    /// By the id of a unit, then group: the place of what it adds there.
    units: HashMap<Box<[u8]>, BTreeMap<u32, u32>>,
    /// By place: how many rows.
    rows: Vec<u64>,
    /// By place.
    sums: Totals,
    room: Room,
}

impl Sums {
    fn new(job: &Arc<Job>) -> Result<Sums> {
        let id = job.layout.schema.fields().first().map(|f| f.data_type().clone()).ok_or_else(Error::below_boundary)?;
        let groups = job.groups.read().map_err(below)?.len();
        let mut sums = Totals::of_parts(&job.question, &job.mechanisms, &job.memory);
        sums.resize(groups)?;
        sums.clear();
        let mut room = Room::new(&job.memory);
        room.take(SIZE_OF_UNIT + groups * SIZE_OF_PART)?;
        room.clear();
        Ok(Sums { job: Arc::clone(job), id: KeyBytes::of(&[id])?, units: HashMap::new(), rows: Vec::new(), sums, room })
    }

    /// Forgets everything. The room stays.
    fn clear(&mut self) {
        self.units = HashMap::new();
        self.rows.clear();
        self.sums.clear();
        self.room.clear();
    }

    fn with(mut self, batch: &RecordBatch) -> Result<Sums> {
        self.job.go_on()?;
        let ids = self.id.rows(batch.columns().get(..1).unwrap_or(&[]))?;
        let mut places = Vec::with_capacity(batch.num_rows());
        let mut more = 0;
        for (id, group) in ids.iter().zip(columns::groups(batch)?) {
            let unit = match self.units.get_mut(id.data()) {
                Some(unit) => unit,
                None => {
                    more += SIZE_OF_UNIT;
                    self.units.entry(id.data().into()).or_default()
                }
            };
            let next = u32::try_from(self.rows.len()).map_err(below)?;
            let place = *unit.entry(*group).or_insert(next);
            if place == next {
                more += SIZE_OF_PART;
                self.rows.push(0);
            }
            if let Some(rows) = self.rows.get_mut(place as usize) {
                *rows += 1;
            }
            places.push(place);
        }
        self.room.take(more)?;
        self.sums.resize(self.rows.len())?;
        let (arguments, _) = self.job.layout.split(self.job.layout.contents(batch)?)?;
        self.sums.add_rows(&places, arguments)?;
        Ok(self)
    }

    fn add_to(&self, clip: &Clip, totals: &mut Totals) -> Result<()> {
        if self.job.mechanisms.norm.is_some() { self.by_level(clip, totals) } else { self.weighted(clip, totals) }
    }

    fn by_level(&self, clip: &Clip, totals: &mut Totals) -> Result<()> {
        let cells = self.job.groups.read().map_err(below)?.len();
        let mut slots = vec![0; self.rows.len()];
        for unit in self.units.values() {
            let rows = unit.values().filter_map(|place| self.rows.get(*place as usize)).copied();
            let level = Level::of(rows);
            totals.add_unit_at(level, cells)?;
            let weight_of_unit = clip.unit_weight(u32::try_from(unit.len()).map_err(below)?);
            for (group, place) in unit {
                totals.add_weighted_unit(*group, weight_of_unit)?;
                *slots.get_mut(*place as usize).ok_or_else(Error::below_boundary)? = slot(level, *group, cells)?;
            }
        }
        totals.add_whole(&slots, &self.sums)
    }

    fn weighted(&self, clip: &Clip, totals: &mut Totals) -> Result<()> {
        totals.resize(self.job.groups.read().map_err(below)?.len())?;
        let mut parts: Vec<(u32, Part)> = Vec::with_capacity(self.rows.len());
        for unit in self.units.values() {
            let rows = unit.values().filter_map(|place| self.rows.get(*place as usize)).copied();
            let weight = clip.row_weight(rows).ok_or_else(Error::below_boundary)?;
            let weight_of_unit = clip.unit_weight(u32::try_from(unit.len()).map_err(below)?);
            for (group, place) in unit {
                totals.add_weighted_unit(*group, weight_of_unit)?;
                parts.push((*place, Part { group: *group, weight }));
            }
        }
        parts.sort_unstable_by_key(|(place, _)| *place);
        let parts: Vec<Part> = parts.into_iter().map(|(_, part)| part).collect();
        totals.add_cut(&parts, &self.sums)
    }
}
