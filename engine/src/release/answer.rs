//! From findings to the released rows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Schema, UInt64Type};
use datafusion::arrow::row::{RowConverter, Rows, SortField};
use datafusion::execution::SessionState;
use kanon_planner::facts::Protection;
use kanon_planner::release_unit::{MeasureKind, ReleaseUnit};
use kanon_privacy::complement::{Cell, Grid, GroupingSet, protect};
use kanon_privacy::evidence::Evidence;

use super::ask::Asked;
use super::below;
use super::findings::Findings;
use super::revisit;
use super::run::{Raw, pick};
use crate::error::{Error, Result};

/// Applies the rules and builds the answer.
pub(super) async fn release(
    state: &SessionState,
    unit: &ReleaseUnit,
    protection: &Protection,
    asked: &Asked,
    raw: &Raw,
    mut findings: Findings,
) -> Result<RecordBatch> {
    let k = protection.min_cohort;
    let layout = Layout::of(asked, raw, &findings.rows)?;

    // Which groups exist for the reader.
    let mut groups: Vec<bool> =
        layout.cells.iter().map(|row| findings.cohorts.get(*row).is_some_and(|c| c.is_enough())).collect();
    let evidence = layout.by_atom(findings.evidence_of_groups(k))?;
    protect(&layout.grid, &evidence, &mut groups, k);
    let released_rows: BTreeSet<usize> =
        layout.cells.iter().zip(&groups).filter(|(_, g)| **g).map(|(row, _)| *row).collect();

    revisit::decide(state, unit, protection, asked, raw, &mut findings, &released_rows).await?;

    // Which measures of them are known.
    let mut measures: Vec<Vec<bool>> = Vec::with_capacity(asked.measures.len());
    for (asked, found) in asked.measures.iter().zip(findings.measures) {
        let mut released: Vec<bool> = layout
            .cells
            .iter()
            .zip(&groups)
            .map(|(row, group)| *group && found.holds.get(*row).copied().unwrap_or(false))
            .collect();
        // Nothing linear follows from quantiles.
        if !matches!(asked.kind, MeasureKind::Quantile(_)) {
            let evidence = layout.by_atom(found.evidence)?;
            protect(&layout.grid, &evidence, &mut released, k);
        }
        measures.push(released);
    }
    rows(unit, asked, raw, &layout, &groups, &measures)
}

/// The released rows, in the order of their keys.
fn rows(
    unit: &ReleaseUnit,
    asked: &Asked,
    raw: &Raw,
    layout: &Layout,
    groups: &[bool],
    measures: &[Vec<bool>],
) -> Result<RecordBatch> {
    // Without GROUP BY there is always one row, and nothing else tells a withheld one from one over no rows.
    let one_row = asked.keys == 0 && asked.grouping_id.is_none();
    let mut shown: Vec<(usize, u64)> = layout
        .cells
        .iter()
        .enumerate()
        .filter(|(cell, _)| one_row || groups.get(*cell).copied().unwrap_or(false))
        .map(|(cell, row)| (cell, *row as u64))
        .collect();
    shown.sort_by_key(|(_, row)| *row);
    let keys = UInt64Array::from_iter_values(shown.iter().map(|(_, row)| *row));
    let mut columns: Vec<ArrayRef> = Vec::new();
    for column in raw.batch.columns().iter().take(asked.keys + usize::from(asked.grouping_id.is_some())) {
        columns.push(pick(column, &keys)?);
    }
    for (measure, released) in asked.measures.iter().zip(measures) {
        let known: UInt64Array =
            shown.iter().map(|(cell, row)| released.get(*cell).copied().unwrap_or(false).then_some(*row)).collect();
        let values = raw.batch.columns().get(measure.value).ok_or_else(Error::below_boundary)?;
        columns.push(pick(values, &known)?);
    }
    let mut fields = Vec::with_capacity(columns.len());
    let measures_from = asked.keys + usize::from(asked.grouping_id.is_some());
    for (index, (field, column)) in unit.schema.fields().iter().zip(&mut columns).enumerate() {
        if column.data_type() != field.data_type() {
            *column = cast(column, field.data_type()).map_err(below)?;
        }
        let nullable = field.is_nullable() || index >= measures_from || column.null_count() > 0;
        fields.push(Arc::new(field.as_ref().clone().with_nullable(nullable)));
    }
    if fields.len() != columns.len() || unit.schema.fields().len() != columns.len() {
        return Err(Error::internal("a release unit's schema does not fit its aggregate"));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(shown.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).map_err(below)
}

/// Which rows of the exact answer are cells, and which are atoms.
struct Layout {
    grid: Grid,
    /// The row of every cell.
    cells: Vec<usize>,
    /// The row of every atom.
    atoms: Vec<usize>,
}

impl Layout {
    fn of(asked: &Asked, raw: &Raw, rows: &[u64]) -> Result<Layout> {
        match asked.grouping_id {
            None => {
                let all: Vec<usize> = (0..rows.len()).collect();
                Ok(Layout { grid: Grid::flat(rows.iter().copied()), cells: all.clone(), atoms: all })
            }
            Some(column) => Layout::of_sets(asked, raw, rows, column),
        }
    }

    /// What is said of rows, by atom.
    fn by_atom(&self, mut by_row: Vec<Evidence>) -> Result<Vec<Evidence>> {
        self.atoms
            .iter()
            .map(|row| by_row.get_mut(*row).map(std::mem::take).ok_or_else(Error::below_boundary))
            .collect()
    }

    fn of_sets(asked: &Asked, raw: &Raw, rows: &[u64], column: usize) -> Result<Layout> {
        let ids = cast(raw.batch.columns().get(column).ok_or_else(Error::below_boundary)?, &DataType::UInt64)
            .map_err(below)?;
        let ids = ids.as_primitive::<UInt64Type>();
        let mut by_id: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (row, id) in ids.iter().enumerate() {
            by_id.entry(id.ok_or_else(Error::below_boundary)?).or_default().push(row);
        }
        // The first set of all keys has id 0: no key is left out. Without rows there is none.
        let atoms = by_id.get(&0).cloned().unwrap_or_default();
        if atoms.is_empty() {
            // Only the set without keys has a row then, over nobody.
            return Ok(Layout { grid: Grid::flat([]), cells: Vec::new(), atoms });
        }
        if asked.atoms_added {
            by_id.remove(&0);
        }
        let mut layout = Layout { grid: Grid::flat([]), cells: Vec::new(), atoms };
        let (mut sets, mut cells) = (Vec::new(), Vec::new());
        for (id, members) in by_id {
            let key_columns: Vec<usize> = (0..asked.keys).filter(|key| !left_out(id, asked.keys, *key)).collect();
            let keys = Keys::of(raw, &key_columns)?;
            let mut cell_of_key: HashMap<&[u8], u32> = HashMap::with_capacity(members.len());
            for row in members {
                let cell = u32::try_from(cells.len()).map_err(below)?;
                if cell_of_key.insert(keys.get(row)?, cell).is_some() {
                    return Err(Error::below_boundary());
                }
                cells.push(Cell { set: sets.len(), rows: rows.get(row).copied().unwrap_or(0), rank: row });
                layout.cells.push(row);
            }
            let mut cell_of = Vec::with_capacity(layout.atoms.len());
            for atom in &layout.atoms {
                cell_of.push(*cell_of_key.get(keys.get(*atom)?).ok_or_else(Error::below_boundary)?);
            }
            let columns = key_columns
                .iter()
                .fold(0u64, |bits, c| bits | 1u64.checked_shl(u32::try_from(*c).unwrap_or(63)).unwrap_or(0));
            sets.push(GroupingSet { columns, cell_of });
        }
        layout.grid = Grid::new(sets, cells, layout.atoms.len()).map_err(below)?;
        Ok(layout)
    }
}

/// Whether a grouping id leaves a key out: the last key is the lowest bit.
pub(super) fn left_out(id: u64, keys: usize, key: usize) -> bool {
    let bit = u32::try_from(keys - 1 - key).unwrap_or(63);
    id.checked_shr(bit).unwrap_or(0) & 1 == 1
}

/// Some key columns of every row in a form that can be compared.
struct Keys(Option<Rows>);

impl Keys {
    fn of(raw: &Raw, columns: &[usize]) -> Result<Keys> {
        if columns.is_empty() {
            return Ok(Keys(None));
        }
        let arrays: Vec<ArrayRef> = columns
            .iter()
            .map(|c| raw.batch.columns().get(*c).cloned().ok_or_else(Error::below_boundary))
            .collect::<Result<_>>()?;
        let converter =
            RowConverter::new(arrays.iter().map(|a| SortField::new(a.data_type().clone())).collect()).map_err(below)?;
        Ok(Keys(Some(converter.convert_columns(&arrays).map_err(below)?)))
    }

    /// The keys of a row: equal bytes, equal keys.
    fn get(&self, row: usize) -> Result<&[u8]> {
        match &self.0 {
            None => Ok(&[]),
            Some(rows) if row < rows.num_rows() => Ok(rows.row(row).data()),
            Some(_) => Err(Error::below_boundary()),
        }
    }
}
