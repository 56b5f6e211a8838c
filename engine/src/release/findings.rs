//! What the guards say of every group.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, LargeBinaryArray, RecordBatch};
use datafusion::arrow::datatypes::{Float32Type, Float64Type, Int64Type};
use kanon_planner::facts::Protection;
use kanon_planner::release_unit::MeasureKind;
use kanon_privacy::cohort::Cohort;
use kanon_privacy::evidence::{Evidence, Part};
use kanon_privacy::overlaps::Overlaps;
use kanon_privacy::policy::MinCohort;
use kanon_privacy::rules::has_degrees_of_freedom;

use super::ask::{Asked, AskedMeasure, Present, Together};
use super::below;
use super::guard::{Dominance, Held, read_cohort, read_names, read_parts, read_row_weights, read_unit_weights};
use super::run::Raw;
use crate::error::{Error, Result};

/// The guard of evidence that stands for the group itself.
const GROUP: u32 = 0;

/// The exact statistics, read.
#[derive(Debug)]
pub(super) struct Findings {
    /// Rows by group.
    pub(super) rows: Vec<u64>,
    /// The units of every group.
    pub(super) cohorts: Vec<Cohort>,
    /// By measure.
    pub(super) measures: Vec<MeasureFindings>,
}

/// What is found of one measure, by group.
#[derive(Debug)]
pub(super) struct MeasureFindings {
    /// Whether it could stand alone, but for what is unsure.
    pub(super) holds: Vec<bool>,
    /// Groups whose dominance is not decided by bounds.
    pub(super) unsure: Vec<bool>,
    /// What must hold of any sum over groups.
    pub(super) evidence: Vec<Evidence>,
}

impl Findings {
    /// Reads the guards.
    pub(super) fn of(asked: &Asked, raw: &Raw, protection: &Protection) -> Result<Findings> {
        let batch = &raw.batch;
        let k = protection.min_cohort;
        let mut fresh = Fresh { k, next: 0 };
        let rows = counts(batch, asked.rows)?;
        let cohorts = match asked.cohort {
            Some(column) => read_cohorts(batch, column, k)?,
            None => rows.iter().map(|n| fresh.cohort(*n)).collect(),
        };
        let mut names = Names::default();
        let mut measures = Vec::with_capacity(asked.measures.len());
        for measure in &asked.measures {
            measures.push(of_measure(asked, measure, batch, protection, &cohorts, &mut fresh, &mut names)?);
        }
        if let Some(together) = &asked.together {
            let combined = combinations(together, batch, k, !asked.one_row_a_unit, &mut fresh)?;
            for (asked, found) in asked.measures.iter().zip(&mut measures) {
                // A measure without conditions lies over all combinations alike.
                if !asked.parts.is_empty() {
                    for ((holds, evidence), more) in found.holds.iter_mut().zip(&mut found.evidence).zip(&combined) {
                        *holds &= more.holds();
                        evidence.absorb(more, k);
                    }
                }
            }
        }
        Ok(Findings { rows, cohorts, measures })
    }

    /// What must hold of a sum over groups for their existence to be known.
    pub(super) fn evidence_of_groups(&self, k: MinCohort) -> Vec<Evidence> {
        self.cohorts.iter().map(|cohort| evidence_of(cohort, k)).collect()
    }
}

fn evidence_of(cohort: &Cohort, k: MinCohort) -> Evidence {
    let mut evidence = Evidence::new();
    evidence.add(Part { guard: GROUP, part: 0 }, cohort, k);
    evidence
}

fn of_measure(
    asked: &Asked,
    measure: &AskedMeasure,
    batch: &RecordBatch,
    protection: &Protection,
    cohorts: &[Cohort],
    fresh: &mut Fresh,
    names: &mut Names,
) -> Result<MeasureFindings> {
    let k = protection.min_cohort;
    let groups = cohorts.len();
    let mut holds = vec![true; groups];
    let mut unsure = vec![false; groups];
    let mut evidence: Vec<Evidence> = cohorts.iter().map(|c| evidence_of(c, k)).collect();

    let present: Vec<Cohort> = match measure.present {
        Present::Group => cohorts.to_vec(),
        Present::Rows(column) => counts(batch, column)?.into_iter().map(|n| fresh.cohort(n)).collect(),
        Present::Cohort(column) => read_cohorts(batch, column, k)?,
        Present::Weights(column) => states(batch, column)?
            .map(|state| {
                Ok(if asked.one_row_a_unit {
                    fresh.cohort(read_row_weights(state?).map_err(below)?.0)
                } else {
                    read_unit_weights(state?).map_err(below)?.cohort(k)
                })
            })
            .collect::<Result<_>>()?,
    };
    let guard = match measure.present {
        Present::Group => GROUP,
        Present::Rows(column) | Present::Cohort(column) | Present::Weights(column) => guard_of(column)?,
    };
    for ((present, holds), evidence) in present.iter().zip(&mut holds).zip(&mut evidence) {
        *holds &= present.is_enough();
        evidence.add(Part { guard, part: 0 }, present, k);
    }

    for column in &measure.parts {
        let guard = guard_of(*column)?;
        for ((state, holds), evidence) in states(batch, *column)?.zip(&mut holds).zip(&mut evidence) {
            let Some(parts) = read_parts(state?, k, !asked.one_row_a_unit).map_err(below)? else {
                *holds = false;
                evidence.give_up();
                continue;
            };
            for (name, held) in parts {
                let cohort = match held {
                    Held::Units(cohort) => cohort,
                    Held::Rows(rows) => fresh.cohort(u64::from(rows)),
                };
                *holds &= cohort.is_none_or_enough();
                evidence.add(Part { guard, part: names.number(*column, name)? }, &cohort, k);
            }
        }
    }

    for column in &measure.weights {
        for ((state, holds), unsure) in states(batch, *column)?.zip(&mut holds).zip(&mut unsure) {
            let dominance = if asked.one_row_a_unit {
                let (_, weights) = read_row_weights(state?).map_err(below)?;
                if weights.is_dominated(protection.dominance_percent) { Dominance::Dominated } else { Dominance::Clear }
            } else {
                read_unit_weights(state?).map_err(below)?.dominance(protection.dominance_percent)
            };
            *holds &= dominance != Dominance::Dominated;
            *unsure |= dominance == Dominance::Unsure;
        }
    }
    if let Some((column, means)) = measure.freedom {
        for (rows, holds) in counts(batch, column)?.into_iter().zip(&mut holds) {
            *holds &= has_degrees_of_freedom(rows, means);
        }
    }
    if matches!(measure.kind, MeasureKind::CountDistinct | MeasureKind::Count) {
        return Ok(MeasureFindings { holds, unsure, evidence });
    }
    for (finite, holds) in finite(batch, measure.value)?.into_iter().zip(&mut holds) {
        *holds &= finite;
    }
    Ok(MeasureFindings { holds, unsure, evidence })
}

/// By group: who is in which combination of all conditions, and how the measures lie over them.
fn combinations(
    together: &Together,
    batch: &RecordBatch,
    k: MinCohort,
    by_unit: bool,
    fresh: &mut Fresh,
) -> Result<Vec<Evidence>> {
    let mut numbers: HashMap<&[u8], u32> = HashMap::new();
    let mut names: Vec<&[u8]> = Vec::new();
    let mut groups = Vec::new();
    for state in states(batch, together.column)? {
        let Some(parts) = read_parts(state?, k, by_unit).map_err(below)? else {
            groups.push(None);
            continue;
        };
        let mut group = Vec::with_capacity(parts.len());
        for (name, held) in parts {
            let next = u32::try_from(names.len()).map_err(below)?;
            let number = *numbers.entry(name).or_insert_with(|| {
                names.push(name);
                next
            });
            let cohort = match held {
                Held::Units(cohort) => cohort,
                Held::Rows(rows) => fresh.cohort(u64::from(rows)),
            };
            group.push((number, cohort));
        }
        groups.push(Some(group));
    }
    let read = read_names(&together.types, &names).map_err(below)?;
    // A part of a list is a combination of its own conditions' values.
    let mut parts: HashMap<(usize, Vec<u32>), u32> = HashMap::new();
    let mut part_of = Vec::with_capacity(read.len());
    for values in &read {
        let mut of = Vec::with_capacity(together.lists.len());
        for (list, conditions) in together.lists.iter().enumerate() {
            let own: Vec<u32> = conditions.iter().filter_map(|c| values.get(*c).copied()).collect();
            let next = u32::try_from(parts.len()).map_err(below)?;
            of.push(*parts.entry((list, own)).or_insert(next));
        }
        part_of.push(of);
    }
    let overlaps = Arc::new(Overlaps::new(part_of));
    Ok(groups
        .into_iter()
        .map(|group| match group {
            None => Evidence::unknown(),
            Some(group) => {
                let mut evidence = Evidence::new();
                group.iter().for_each(|(number, cohort)| evidence.add_combination(*number, cohort, &overlaps, k));
                evidence
            }
        })
        .collect())
}

/// A value that is NaN or infinite tells of somebody's NaN or infinity.
fn finite(batch: &RecordBatch, column: usize) -> Result<Vec<bool>> {
    let values = batch.columns().get(column).ok_or_else(Error::below_boundary)?;
    if let Some(values) = values.as_primitive_opt::<Float64Type>() {
        return Ok(values.iter().map(|v| v.is_none_or(f64::is_finite)).collect());
    }
    if let Some(values) = values.as_primitive_opt::<Float32Type>() {
        return Ok(values.iter().map(|v| v.is_none_or(f32::is_finite)).collect());
    }
    Ok(vec![true; values.len()])
}

fn guard_of(column: usize) -> Result<u32> {
    u32::try_from(column + 1).map_err(below)
}

fn counts(batch: &RecordBatch, column: usize) -> Result<Vec<u64>> {
    let counts = batch
        .columns()
        .get(column)
        .and_then(|c| c.as_primitive_opt::<Int64Type>())
        .ok_or_else(Error::below_boundary)?;
    counts.iter().map(|n| u64::try_from(n.unwrap_or(0)).map_err(below)).collect()
}

fn read_cohorts(batch: &RecordBatch, column: usize, k: MinCohort) -> Result<Vec<Cohort>> {
    states(batch, column)?.map(|state| read_cohort(state?, k).map_err(below)).collect()
}

fn states(batch: &RecordBatch, column: usize) -> Result<impl Iterator<Item = Result<&[u8]>>> {
    let states: &LargeBinaryArray =
        batch.columns().get(column).and_then(|c| c.as_binary_opt::<i64>()).ok_or_else(Error::below_boundary)?;
    Ok(states.iter().map(|state| state.ok_or_else(Error::below_boundary)))
}

/// Makes up ids where rows are units: nobody is in two groups, so any distinct ids do.
struct Fresh {
    k: MinCohort,
    next: u64,
}

impl Fresh {
    fn cohort(&mut self, rows: u64) -> Cohort {
        if rows >= u64::from(self.k.get()) {
            return Cohort::Enough;
        }
        let first = self.next;
        self.next += rows;
        Cohort::Few((first..self.next).collect())
    }
}

/// Numbers of parts by name, for every guard.
#[derive(Default)]
struct Names(HashMap<usize, HashMap<Vec<u8>, u32>>);

impl Names {
    fn number(&mut self, column: usize, name: &[u8]) -> Result<u32> {
        let names = self.0.entry(column).or_default();
        if let Some(number) = names.get(name) {
            return Ok(*number);
        }
        let number = u32::try_from(names.len()).map_err(below)?;
        names.insert(name.to_vec(), number);
        Ok(number)
    }
}
