//! Puts the sites' answers together: arithmetic on released numbers only.
//!
//! Answers are taken in the order of the sites' names, so that every coordinator gives bit-equal results.

mod private;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Int32Type, Schema};
use datafusion::common::ScalarValue;
use std::sync::Arc;

use self::private::{Intervals, Told};
use crate::facts::SiteId;
use crate::private::accuracy::{SITES, companion_type, companions};
use crate::release_unit::ReleaseUnit;
use crate::split::layout::{Layout, Merging, Moment, MomentParts};

/// Why answers could not be merged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// A site's answer does not have the columns it was asked for: another version, or a fault.
    #[error("site \"{0}\" answered with other columns than it was asked for")]
    Shape(String),
    /// A sum over the sites does not fit its type.
    #[error("value out of range")]
    Overflow,
    /// A fault of ours.
    #[error("answers could not be merged: {0}")]
    Internal(String),
}

/// A group: which keys are in its grouping set, and their values (NULL for those that are not).
type GroupKey = (usize, Vec<Orderable>);

/// What the sites answered of a group.
#[derive(Debug, Default)]
struct Group {
    /// The base measures, a row each.
    rows: Vec<Vec<ScalarValue>>,
    /// Which answer each row is of, and its place there.
    from: Vec<(usize, usize)>,
}

/// A value with a total order, NULL last as PostgreSQL sorts it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Orderable(ScalarValue);

impl PartialOrd for Orderable {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Orderable {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.0.is_null(), other.0.is_null()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                self.0.partial_cmp(&other.0).unwrap_or_else(|| self.0.to_string().cmp(&other.0.to_string()))
            }
        }
    }
}

/// Merges the answers of the sites into one batch with the columns of the unit (all may be NULL), sorted by key. Of private releases the ends of
/// the measures' intervals stand behind them (see [`crate::private::accuracy::companions`]).
///
/// A base measure that a site withheld (NULL) is left out together with its partner parts; a group that no site released is absent;
/// an aggregate without groups is one row.
///
/// # Errors
/// See [`MergeError`].
pub fn merge(
    unit: &ReleaseUnit,
    layout: &Layout,
    mut answers: Vec<(SiteId, RecordBatch)>,
) -> Result<RecordBatch, MergeError> {
    answers.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = layout.answer_schema();
    let mut groups: BTreeMap<GroupKey, Group> = BTreeMap::new();
    for (answer, (site, batch)) in answers.iter().enumerate() {
        let columns = columns(site, batch, &expected)?;
        for row in 0..batch.num_rows() {
            for (key, values) in row_groups(layout, site, &columns, row)? {
                let group = groups.entry(key).or_default();
                // A release has a row a group.
                if unit.question.is_some() && group.from.last().is_some_and(|(last, _)| *last == answer) {
                    return Err(MergeError::Shape(site.as_str().to_owned()));
                }
                group.rows.push(values);
                group.from.push((answer, row));
            }
        }
    }
    match &layout.sets {
        None if layout.keys.is_empty() => {
            groups.entry((0, vec![])).or_default();
        }
        // As in PostgreSQL the grand total is a row, over no rows too; where rules hold, a withheld one is absent, and nobody can tell.
        Some(sets) if !layout.protected => {
            for (number, _) in sets.iter().enumerate().filter(|(_, set)| !set.contains(&true)) {
                groups.entry((number, left_out(layout)?)).or_default();
            }
        }
        _ => {}
    }
    let told: Vec<Told> = answers.iter().map(|(_, batch)| Told::of(layout, batch)).collect();
    table(unit, layout, &groups, &told)
}

/// The keys of a grand total.
fn left_out(layout: &Layout) -> Result<Vec<Orderable>, MergeError> {
    layout.keys.iter().map(|key| ScalarValue::try_from(&key.data_type).map(Orderable).map_err(internal)).collect()
}

/// The bits of `grouping()`, the last key's the lowest: set when the key is not in the set.
fn mask<'a>(set: impl IntoIterator<Item = &'a bool>) -> u64 {
    set.into_iter().fold(0, |mask, within| mask << 1 | u64::from(!within))
}

fn internal(error: impl std::fmt::Display) -> MergeError {
    MergeError::Internal(error.to_string())
}

fn columns(site: &SiteId, batch: &RecordBatch, expected: &Schema) -> Result<Vec<ArrayRef>, MergeError> {
    let shape = || MergeError::Shape(site.as_str().to_owned());
    // An aggregate without measures or keys still has a row; its one column is not asked for.
    if expected.fields().is_empty() {
        return Ok(vec![]);
    }
    // Behind those that were asked for stand the ends of intervals.
    if batch.num_columns() < expected.fields().len() {
        return Err(shape());
    }
    batch
        .columns()
        .iter()
        .zip(expected.fields())
        .map(|(column, field)| cast(column, field.data_type()).map_err(|_| shape()))
        .collect()
}

/// The groups that a row of an answer belongs to: with grouping sets, its set with `site` and without.
fn row_groups(
    layout: &Layout,
    site: &SiteId,
    columns: &[ArrayRef],
    row: usize,
) -> Result<Vec<(GroupKey, Vec<ScalarValue>)>, MergeError> {
    let value = |column: usize| -> Result<ScalarValue, MergeError> {
        let array = columns.get(column).ok_or_else(|| internal("a column is missing"))?;
        ScalarValue::try_from_array(array, row).map_err(internal)
    };
    let first = layout.first_base();
    let values = (first..first + layout.bases.len()).map(value).collect::<Result<Vec<_>, _>>()?;
    let mut asked = 0;
    let mut keys = Vec::with_capacity(layout.keys.len());
    for key in &layout.keys {
        if key.is_site {
            keys.push(Orderable(
                ScalarValue::Utf8(Some(site.as_str().to_owned())).cast_to(&key.data_type).map_err(internal)?,
            ));
        } else {
            keys.push(Orderable(value(asked)?));
            asked += 1;
        }
    }
    let Some(sets) = &layout.sets else {
        return Ok(vec![((0, keys), values)]);
    };
    if layout.rows.and_then(|rows| values.get(rows)).is_some_and(|rows| *rows == ScalarValue::Int64(Some(0))) {
        return Ok(vec![]);
    }
    let asked = if layout.asks_sets() {
        let id = columns.get(first - 1).ok_or_else(|| internal("no grouping id"))?.as_primitive::<Int32Type>();
        let id = if id.is_null(row) { None } else { u64::try_from(id.value(row)).ok() };
        Some(id.ok_or_else(|| MergeError::Shape(site.as_str().to_owned()))?)
    } else {
        None
    };
    let nothing = left_out(layout)?;
    let mut found = Vec::new();
    for (number, set) in sets.iter().enumerate() {
        let without = set.iter().zip(&layout.keys).filter(|(_, key)| !key.is_site).map(|(within, _)| within);
        if asked.is_none_or(|asked| asked == mask(without)) {
            let values_of = keys.iter().zip(&nothing).zip(set);
            let keys = values_of.map(|((value, null), within)| if *within { value } else { null }).cloned().collect();
            found.push(((number, keys), values.clone()));
        }
    }
    Ok(found)
}

fn table(
    unit: &ReleaseUnit,
    layout: &Layout,
    groups: &BTreeMap<GroupKey, Group>,
    told: &[Told],
) -> Result<RecordBatch, MergeError> {
    let mut fields: Vec<_> = unit.schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    let first_end = fields.len();
    if unit.question.is_some() {
        for measure in 0..unit.measures.len() {
            let of_type = companion_type(unit, measure).ok_or_else(|| internal("a measure without a type"))?;
            fields.extend(companions(measure).map(|name| Field::new(name, of_type.clone(), true)));
        }
        fields.push(Field::new(SITES, DataType::Int64, true));
    }
    // Sorted by keys, then by set, whatever order the sets were written in.
    let mut rows: Vec<_> = groups.iter().collect();
    let mut intervals = Intervals::of(told);
    let masks: Vec<u64> = layout.sets.iter().flatten().map(mask).collect();
    rows.sort_by(|((a_set, a), _), ((b_set, b), _)| a.cmp(b).then_with(|| masks.get(*a_set).cmp(&masks.get(*b_set))));
    let mut columns: Vec<Vec<ScalarValue>> = vec![Vec::with_capacity(rows.len()); fields.len()];
    for ((set, keys), group) in &rows {
        let mut ends = Vec::new();
        let mut cells: Vec<ScalarValue> = keys.iter().map(|k| k.0.clone()).collect();
        if layout.sets.is_some() {
            let mask = masks.get(*set).ok_or_else(|| internal("no such grouping set"))?;
            cells.push(ScalarValue::UInt64(Some(*mask)));
        }
        for (measure, merging) in layout.measures.iter().enumerate() {
            let field = fields.get(cells.len()).ok_or_else(|| internal(format!("no column for measure {measure}")))?;
            let Some(question) = &unit.question else {
                cells.push(merged(layout, *merging, &group.rows, field.data_type())?);
                continue;
            };
            let value = private::merged(question, measure, *merging, &group.rows, field.data_type())?;
            let interval = intervals.interval(question, measure, *merging, group, &value);
            ends.extend(interval.unwrap_or([ScalarValue::Float64(None), ScalarValue::Float64(None)]));
            cells.push(value);
        }
        if cells.len() != first_end {
            return Err(internal("the unit has other columns"));
        }
        cells.extend(ends);
        if unit.question.is_some() {
            cells.push(ScalarValue::Int64(i64::try_from(group.from.len()).ok()));
        }
        for (column, cell) in columns.iter_mut().zip(cells) {
            column.push(cell);
        }
    }
    let arrays = columns
        .into_iter()
        .zip(&fields)
        .enumerate()
        .map(|(column, (cells, field))| {
            if cells.is_empty() {
                return Ok(datafusion::arrow::array::new_empty_array(field.data_type()));
            }
            let cells = cells
                .into_iter()
                .map(|cell| match cell {
                    cell if cell.data_type() == *field.data_type() => Ok(cell),
                    // An end beyond the type's numbers is NULL.
                    end if column >= first_end => {
                        end.cast_to(field.data_type()).or_else(|_| ScalarValue::try_from(field.data_type()))
                    }
                    cell => cell.cast_to(field.data_type()),
                })
                .collect::<Result<Vec<_>, _>>()
                .map_err(internal)?;
            ScalarValue::iter_to_array(cells).map_err(internal)
        })
        .collect::<Result<Vec<ArrayRef>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).map_err(internal)
}

fn merged(
    layout: &Layout,
    merging: Merging,
    rows: &[Vec<ScalarValue>],
    data_type: &DataType,
) -> Result<ScalarValue, MergeError> {
    let null = || ScalarValue::try_from(data_type).map_err(internal);
    let column = |number: usize| rows.iter().filter_map(move |row| row.get(number)).filter(|v| !v.is_null());
    match merging {
        Merging::Alone(n) => column(n).next().cloned().map_or_else(null, Ok),
        Merging::Sum(n) => match sum(column(n))? {
            Some(total) => Ok(total),
            // Counting no rows gives 0; a count that was withheld everywhere is not known.
            None if !layout.protected && rows.is_empty() && is_count(layout, n) => Ok(ScalarValue::Int64(Some(0))),
            None => null(),
        },
        Merging::Average { sum, count } => average(rows, sum, count, data_type),
        Merging::Moments(moment, parts) => {
            let value = moments(rows, parts, moment);
            if moment == Moment::Count {
                let zero = !layout.protected && rows.is_empty();
                return match sum(column(parts.count))? {
                    Some(total) => Ok(total),
                    None if zero => Ok(ScalarValue::Int64(Some(0))),
                    None => null(),
                };
            }
            Ok(ScalarValue::Float64(value))
        }
        Merging::Min(n) => extreme(column(n), Ordering::Less).map_or_else(null, Ok),
        Merging::Max(n) => extreme(column(n), Ordering::Greater).map_or_else(null, Ok),
        Merging::And(n) => Ok(ScalarValue::Boolean(booleans(column(n)).reduce(|a, b| a && b))),
        Merging::Or(n) => Ok(ScalarValue::Boolean(booleans(column(n)).reduce(|a, b| a || b))),
    }
}

fn is_count(layout: &Layout, base: usize) -> bool {
    layout.bases.get(base).is_some_and(|b| b.is_count())
}

fn booleans<'a>(values: impl Iterator<Item = &'a ScalarValue>) -> impl Iterator<Item = bool> {
    values.filter_map(|v| match v {
        ScalarValue::Boolean(b) => *b,
        _ => None,
    })
}

fn extreme<'a>(values: impl Iterator<Item = &'a ScalarValue>, wanted: Ordering) -> Option<ScalarValue> {
    values
        .reduce(|best, value| {
            let order = match (value, best) {
                (ScalarValue::Float64(Some(a)), ScalarValue::Float64(Some(b))) => a.total_cmp(b),
                (ScalarValue::Float32(Some(a)), ScalarValue::Float32(Some(b))) => a.total_cmp(b),
                (a, b) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            };
            if order == wanted { value } else { best }
        })
        .cloned()
}

/// Integers and decimals exactly; floats with Neumaier's compensation.
fn sum<'a>(values: impl Iterator<Item = &'a ScalarValue>) -> Result<Option<ScalarValue>, MergeError> {
    let mut float: Option<Neumaier> = None;
    let mut exact: Option<ScalarValue> = None;
    for value in values {
        if let ScalarValue::Float64(Some(x)) = value {
            float.get_or_insert_default().add(*x);
        } else {
            exact = Some(match exact {
                None => value.clone(),
                Some(so_far) => so_far.add_checked(value).map_err(|_| MergeError::Overflow)?,
            });
        }
    }
    Ok(match float {
        Some(float) => Some(ScalarValue::Float64(Some(float.total()))),
        None => exact,
    })
}

/// Compensated summation (Neumaier 1974, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen").
#[derive(Debug, Clone, Copy, Default)]
struct Neumaier {
    sum: f64,
    lost: f64,
}

impl Neumaier {
    fn add(&mut self, x: f64) {
        let total = self.sum + x;
        self.lost += if self.sum.abs() >= x.abs() { (self.sum - total) + x } else { (x - total) + self.sum };
        self.sum = total;
    }
    fn total(self) -> f64 {
        // With infinities the compensation is NaN: the plain sum is right then.
        if self.lost.is_finite() { self.sum + self.lost } else { self.sum }
    }
}

/// A site's sum counts only together with its weight.
fn average(
    rows: &[Vec<ScalarValue>],
    sums: usize,
    counts: usize,
    data_type: &DataType,
) -> Result<ScalarValue, MergeError> {
    let both = || {
        rows.iter()
            .filter_map(|row| Some((row.get(sums)?, row.get(counts)?)))
            .filter(|(s, c)| !s.is_null() && !c.is_null())
    };
    let (Some(total), Some(ScalarValue::Int64(Some(weight)))) = (sum(both().map(|p| p.0))?, sum(both().map(|p| p.1))?)
    else {
        return ScalarValue::try_from(data_type).map_err(internal);
    };
    if weight <= 0 {
        return ScalarValue::try_from(data_type).map_err(internal);
    }
    match (&total, data_type) {
        #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
        (ScalarValue::Float64(Some(total)), _) => Ok(ScalarValue::Float64(Some(total / weight as f64))),
        (ScalarValue::Decimal128(Some(total), _, from), DataType::Decimal128(precision, to)) => {
            let scale = u32::try_from(i32::from(*to) - i32::from(*from)).map_err(|_| MergeError::Overflow)?;
            let scaled = 10_i128.checked_pow(scale).and_then(|f| total.checked_mul(f)).ok_or(MergeError::Overflow)?;
            Ok(ScalarValue::Decimal128(Some(scaled / i128::from(weight)), *precision, *to))
        }
        _ => Err(internal(format!("no average of {data_type}"))),
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    n: f64,
    y: f64,
    x: f64,
    m2_y: f64,
    m2_x: f64,
    c2: f64,
}

/// Chan, Golub and LeVeque's pairwise update over the sites that released every part.
fn moments(rows: &[Vec<ScalarValue>], parts: MomentParts, moment: Moment) -> Option<f64> {
    let mut all = Moments::default();
    'sites: for row in rows {
        let Some(ScalarValue::Int64(Some(n))) = row.get(parts.count) else { continue };
        if *n <= 0 {
            continue;
        }
        let mut got = [0.0; 5];
        for (slot, part) in got.iter_mut().zip([parts.avg_y, parts.avg_x, parts.m2_y, parts.m2_x, parts.c2]) {
            let Some(part) = part else { continue };
            match row.get(part) {
                Some(ScalarValue::Float64(Some(value))) => *slot = *value,
                _ => continue 'sites,
            }
        }
        let [y, x, m2_y, m2_x, c2] = got;
        #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
        let n = *n as f64;
        let total = all.n + n;
        let (dy, dx) = (y - all.y, x - all.x);
        let weight = all.n * n / total;
        all.m2_y += m2_y + dy * dy * weight;
        all.m2_x += m2_x + dx * dx * weight;
        all.c2 += c2 + dy * dx * weight;
        all.y += dy * n / total;
        all.x += dx * n / total;
        all.n = total;
    }
    let Moments { n, y, x, m2_y, m2_x, c2 } = all;
    if n < 1.0 {
        return None;
    }
    let sample = |sum: f64| (n > 1.0).then(|| sum / (n - 1.0));
    match moment {
        Moment::VarSamp => sample(m2_y),
        Moment::VarPop => Some(m2_y / n),
        Moment::StddevSamp => sample(m2_y).map(f64::sqrt),
        Moment::StddevPop => Some((m2_y / n).sqrt()),
        Moment::CovarSamp => sample(c2),
        Moment::CovarPop => Some(c2 / n),
        Moment::Corr => (n > 1.0 && m2_y != 0.0 && m2_x != 0.0).then(|| c2 / m2_y.sqrt() / m2_x.sqrt()),
        Moment::Slope => (n > 1.0 && m2_x != 0.0).then(|| c2 / m2_x),
        Moment::Intercept => (n > 1.0 && m2_x != 0.0).then(|| y - c2 / m2_x * x),
        Moment::R2 => (n > 1.0 && m2_y != 0.0 && m2_x != 0.0).then(|| c2 * c2 / (m2_x * m2_y)),
        Moment::Count => Some(n),
        Moment::AvgX => Some(x),
        Moment::AvgY => Some(y),
        Moment::Sxx => Some(m2_x),
        Moment::Syy => Some(m2_y),
        Moment::Sxy => Some(c2),
    }
}
