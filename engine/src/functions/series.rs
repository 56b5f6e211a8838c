//! `generate_series`: numbers and moments from one to another, in order.
//!
//! | in a statement | is |
//! | --- | --- |
//! | `FROM generate_series(1, 3)`, of constants | a table that makes its rows as they are read: [`Series`] |
//! | `FROM t, generate_series(1, t.n)`, in a select list, of parameters | `unnest(kanon_series(…))`: [`SERIES`] |

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{Days, Months, NaiveDateTime, TimeDelta};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int32Array, Int64Array, ListArray, RecordBatch,
    TimestampMicrosecondArray,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Field, Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    IntervalUnit, Schema, SchemaRef, TimestampMicrosecondType,
};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::error::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TableType, Volatility,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::stream;

use super::moments::{at, instant, local, moment, zone};
use super::of_arrays;
use super::rows::missing;
use crate::error::{Error, Result, Sqlstate};

/// The function of arrays that stands for a series which is not of constants.
pub const SERIES: &str = "kanon_series";
/// The name of the function in statements.
pub const NAME: &str = "generate_series";

/// The most elements that the series of one batch of rows have together.
const MOST_OF_BATCH: usize = 2 << 20;
/// Rows of one batch of a series that is a table.
const BATCH_ROWS: usize = 8_192;
/// Digits of the numbers of a series of decimals.
const DIGITS: u8 = 38;

/// What a series is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Int4,
    Int8,
    /// Decimals of so many places.
    Numeric(i8),
    /// Timestamps without a zone.
    Stamp,
    /// Instants; days are as long as they are in the zone of the session.
    Instant,
}

impl Kind {
    /// What a series of arguments of these types is of.
    fn of(types: &[DataType]) -> Option<Kind> {
        let (bounds, step) = match types {
            [from, to] => ([from, to], None),
            [from, to, step] => ([from, to], Some(step)),
            _ => return None,
        };
        let is_open = |of: &DataType| matches!(of, DataType::Null);
        let is_number = |of: &DataType| of.is_integer() || scale(of).is_some() || is_open(of);
        if types.iter().all(is_number) {
            if types.iter().all(is_open) {
                return None;
            }
            if types.iter().any(|of| scale(of).is_some()) {
                let places = types.iter().filter_map(scale).max().unwrap_or(0);
                return Some(Kind::Numeric(places.max(0)));
            }
            let is_small =
                |of: &DataType| matches!(of, DataType::Int8 | DataType::Int16 | DataType::Int32) || is_open(of);
            return Some(if types.iter().all(is_small) { Kind::Int4 } else { Kind::Int8 });
        }
        let step = step?;
        let is_moment = |of: &DataType| matches!(of, DataType::Timestamp(..) | DataType::Date32);
        let is_text = |of: &DataType| matches!(of, DataType::Utf8) || is_open(of);
        let bounds_fit = bounds.iter().all(|of| is_moment(of) || is_text(of)) && bounds.iter().any(|of| is_moment(of));
        if !bounds_fit || !(matches!(step, DataType::Interval(_)) || is_text(step)) {
            return None;
        }
        let is_instant = |of: &&DataType| matches!(of, DataType::Timestamp(_, Some(_)) | DataType::Date32);
        Some(if bounds.iter().any(is_instant) { Kind::Instant } else { Kind::Stamp })
    }

    /// The type of its elements.
    fn element(self) -> DataType {
        match self {
            Kind::Int4 => DataType::Int32,
            Kind::Int8 => DataType::Int64,
            Kind::Numeric(places) => DataType::Decimal128(DIGITS, places),
            Kind::Stamp => at(None),
            Kind::Instant => at(Some("+00:00".into())),
        }
    }

    /// The types of its arguments. A date stays one: which instant it is depends on the session.
    fn arguments(self, given: &[DataType]) -> Vec<DataType> {
        let of_moments = |(place, given): (usize, &DataType)| match given {
            _ if place == 2 => DataType::Interval(IntervalUnit::MonthDayNano),
            DataType::Date32 => DataType::Date32,
            DataType::Timestamp(_, None) if self == Kind::Instant => at(None),
            _ => self.element(),
        };
        match self {
            Kind::Stamp | Kind::Instant => given.iter().enumerate().map(of_moments).collect(),
            _ => vec![self.element(); given.len()],
        }
    }

    /// Elements as a column.
    fn column(self, values: Vec<i128>) -> Result<ArrayRef> {
        let small = |value: i128| i64::try_from(value).map_err(Error::internal);
        let all = || values.iter().map(|value| small(*value)).collect::<Result<Vec<i64>>>();
        Ok(match self {
            Kind::Int4 => {
                let all: Result<Vec<i32>> =
                    values.iter().map(|value| i32::try_from(*value).map_err(Error::internal)).collect();
                Arc::new(Int32Array::from(all?))
            }
            Kind::Int8 => Arc::new(Int64Array::from(all()?)),
            Kind::Numeric(places) => {
                let all = Decimal128Array::from(values).with_precision_and_scale(DIGITS, places);
                Arc::new(all.map_err(Error::internal)?)
            }
            Kind::Stamp => Arc::new(TimestampMicrosecondArray::from(all()?)),
            Kind::Instant => Arc::new(TimestampMicrosecondArray::from(all()?).with_timezone("+00:00")),
        })
    }

    /// The furthest that its elements reach.
    fn ends(self) -> (i128, i128) {
        match self {
            Kind::Int4 => (i32::MIN.into(), i32::MAX.into()),
            Kind::Numeric(_) => (i128::MIN, i128::MAX),
            _ => (i64::MIN.into(), i64::MAX.into()),
        }
    }
}

/// The scale of a decimal type.
fn scale(of: &DataType) -> Option<i8> {
    match of {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => Some(*scale),
        _ => None,
    }
}

/// How far one element is from the next.
#[derive(Debug, Clone)]
enum Step {
    By(i128),
    Time(IntervalMonthDayNano, Option<Tz>),
}

/// The elements of a series that are still to come.
#[derive(Debug, Clone)]
struct Steps {
    next: Option<i128>,
    to: i128,
    step: Step,
    is_down: bool,
    ends: (i128, i128),
}

impl Iterator for Steps {
    type Item = i128;

    fn next(&mut self) -> Option<i128> {
        let now = self.next.filter(|now| if self.is_down { *now >= self.to } else { *now <= self.to });
        let after = now.and_then(|now| match &self.step {
            Step::By(step) => now.checked_add(*step),
            Step::Time(step, zone) => later(now, *step, zone.as_ref()),
        });
        // An element beyond what the type holds ends a series, as in PostgreSQL.
        self.next = after.filter(|after| (self.ends.0..=self.ends.1).contains(after));
        now
    }
}

/// A moment and an interval: months and days by the calendar of the zone, then what is left.
fn later(now: i128, step: IntervalMonthDayNano, zone: Option<&Tz>) -> Option<i128> {
    let mut micros = i64::try_from(now).ok()?;
    if step.months != 0 || step.days != 0 {
        let clock = zone.map_or_else(|| moment(micros), |zone| local(micros, zone).0);
        let months = Months::new(step.months.unsigned_abs());
        let clock = if step.months < 0 { clock.checked_sub_months(months) } else { clock.checked_add_months(months) }?;
        let days = Days::new(step.days.unsigned_abs().into());
        let clock = if step.days < 0 { clock.checked_sub_days(days) } else { clock.checked_add_days(days) }?;
        micros = on_clock(clock, zone);
    }
    micros.checked_add(step.nanoseconds / 1_000).map(i128::from)
}

fn on_clock(clock: NaiveDateTime, zone: Option<&Tz>) -> i64 {
    zone.map_or_else(|| clock.and_utc().timestamp_micros(), |zone| instant(clock, zone))
}

fn no_step() -> Error {
    Error::new(Sqlstate::InvalidParameterValue, "step size cannot equal zero")
}

/// How long an interval is, as PostgreSQL compares them: a month has 30 days.
fn length(interval: IntervalMonthDayNano) -> i128 {
    let days = i128::from(interval.months) * 30 + i128::from(interval.days);
    days * i128::from(TimeDelta::days(1).num_milliseconds()) * 1_000_000 + i128::from(interval.nanoseconds)
}

/// Arguments, brought to the types that a series of this kind takes.
struct Arguments {
    kind: Kind,
    arrays: Vec<ArrayRef>,
    zone: Tz,
}

impl Arguments {
    fn new(kind: Kind, arrays: &[ArrayRef], zone_name: &str) -> DfResult<Arguments> {
        let types: Vec<DataType> = arrays.iter().map(|array| array.data_type().clone()).collect();
        let wanted = kind.arguments(&types).into_iter().map(|of| if of == DataType::Date32 { at(None) } else { of });
        let arrays = arrays.iter().zip(wanted).map(|(array, wanted)| cast(array, &wanted));
        Ok(Arguments { kind, arrays: arrays.collect::<Result<_, _>>()?, zone: zone(zone_name)? })
    }

    /// The series of one row; `None` if an argument is NULL.
    fn steps(&self, row: usize) -> Result<Option<Steps>> {
        let (Some(from), Some(to)) = (self.bound(0, row)?, self.bound(1, row)?) else { return Ok(None) };
        let (step, size) = match self.kind {
            Kind::Stamp | Kind::Instant => {
                let Some(array) = self.arrays.get(2).filter(|array| array.is_valid(row)) else { return Ok(None) };
                let intervals = array.as_primitive_opt::<IntervalMonthDayNanoType>();
                let step = intervals.ok_or_else(|| Error::internal("a series without its step"))?.value(row);
                let zone = (self.kind == Kind::Instant).then_some(self.zone);
                (Step::Time(step, zone), length(step))
            }
            _ if self.arrays.len() < 3 => {
                let one = match self.kind {
                    Kind::Numeric(places) => 10_i128.checked_pow(u32::from(places.unsigned_abs())),
                    _ => Some(1),
                };
                let one =
                    one.ok_or_else(|| Error::new(Sqlstate::NumericOutOfRange, "value overflows numeric format"))?;
                (Step::By(one), one)
            }
            _ => {
                let Some(step) = self.bound(2, row)? else { return Ok(None) };
                (Step::By(step), step)
            }
        };
        if size == 0 {
            return Err(no_step());
        }
        Ok(Some(Steps { next: Some(from), to, step, is_down: size < 0, ends: self.kind.ends() }))
    }

    fn bound(&self, place: usize, row: usize) -> Result<Option<i128>> {
        let array = self.arrays.get(place).ok_or_else(|| Error::internal("a series without an end"))?;
        if array.is_null(row) {
            return Ok(None);
        }
        let found = match array.data_type() {
            DataType::Int32 => array.as_primitive_opt::<Int32Type>().map(|a| a.value(row).into()),
            DataType::Int64 => array.as_primitive_opt::<Int64Type>().map(|a| a.value(row).into()),
            DataType::Decimal128(..) => array.as_primitive_opt::<Decimal128Type>().map(|a| a.value(row)),
            DataType::Timestamp(_, has_zone) => array.as_primitive_opt::<TimestampMicrosecondType>().map(|a| {
                let micros = a.value(row);
                match has_zone {
                    None if self.kind == Kind::Instant => instant(moment(micros), &self.zone).into(),
                    _ => micros.into(),
                }
            }),
            _ => None,
        };
        found.map(Some).ok_or_else(|| Error::internal("a series of another type"))
    }
}

/// See [`SERIES`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct SeriesOfRows(Signature);

impl SeriesOfRows {
    pub(super) fn new() -> SeriesOfRows {
        SeriesOfRows(Signature::user_defined(Volatility::Stable))
    }
}

impl ScalarUDFImpl for SeriesOfRows {
    fn name(&self) -> &str {
        SERIES
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        // What is not taken is refused where its type is asked for: an error here would be put into other words.
        Ok(Kind::of(types).map_or_else(|| types.to_vec(), |kind| kind.arguments(types)))
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        let kind = Kind::of(types).ok_or_else(|| missing(NAME, types))?;
        Ok(DataType::new_list(kind.element(), true))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let zone = args.config_options.execution.time_zone.clone().unwrap_or_else(|| "UTC".to_owned());
        of_arrays(&args, |arrays| {
            let types: Vec<DataType> = arrays.iter().map(|array| array.data_type().clone()).collect();
            let kind = Kind::of(&types).ok_or_else(|| missing(NAME, &types))?;
            Ok(lists(&Arguments::new(kind, arrays, &zone)?)?)
        })
    }
}

/// The series of each row.
fn lists(arguments: &Arguments) -> Result<ArrayRef> {
    let rows = arguments.arrays.first().map_or(0, |array| array.len());
    let (mut values, mut lengths) = (Vec::new(), Vec::with_capacity(rows));
    for row in 0..rows {
        let before = values.len();
        if let Some(steps) = arguments.steps(row)? {
            for value in steps {
                if values.len() == MOST_OF_BATCH {
                    let message = format!("the series of an expression have more than {MOST_OF_BATCH} rows");
                    return Err(
                        Error::new(Sqlstate::ProgramLimitExceeded, message).hint("Write its ends as constants.")
                    );
                }
                values.push(value);
            }
        }
        lengths.push(values.len() - before);
    }
    let field = Arc::new(Field::new_list_field(arguments.kind.element(), true));
    let offsets = OffsetBuffer::from_lengths(lengths);
    let values = arguments.kind.column(values)?;
    Ok(Arc::new(ListArray::try_new(field, offsets, values, None).map_err(Error::internal)?))
}

/// `generate_series` of constants in FROM.
#[derive(Debug)]
pub struct GenerateSeries;

impl TableFunctionImpl for GenerateSeries {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> DfResult<Arc<dyn TableProvider>> {
        let mut values = Vec::with_capacity(args.exprs().len());
        for expr in args.exprs() {
            let Expr::Literal(value, _) = expr else {
                return Err(Error::unsupported("generate_series of what is not constant here is not supported").into());
            };
            values.push(value.to_array()?);
        }
        let types: Vec<DataType> = values.iter().map(|value| value.data_type().clone()).collect();
        let kind = Kind::of(&types).ok_or_else(|| missing(NAME, &types))?;
        let config = args.session().config().options();
        let zone = config.execution.time_zone.as_deref().unwrap_or("UTC");
        // What is wrong with them is said when rows are wanted.
        let steps = Arguments::new(kind, &values, zone)?.steps(0);
        Ok(Arc::new(Series::new(kind, steps)?))
    }
}

/// A series as a table of one column, in order.
#[derive(Debug)]
pub struct Series(StreamingTable);

impl Series {
    fn new(kind: Kind, steps: Result<Option<Steps>>) -> DfResult<Series> {
        let schema = Arc::new(Schema::new(vec![Field::new("value", kind.element(), false)]));
        let rows = Rows { schema: Arc::clone(&schema), kind, steps };
        Ok(Series(StreamingTable::try_new(schema, vec![Arc::new(rows)])?))
    }
}

#[async_trait]
impl TableProvider for Series {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.0.scan(state, projection, filters, limit).await
    }
}

struct Rows {
    schema: SchemaRef,
    kind: Kind,
    steps: Result<Option<Steps>>,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (kind, schema) = (self.kind, Arc::clone(&self.schema));
        let steps = match self.steps.clone() {
            Ok(steps) => steps,
            Err(error) => {
                let error = stream::once(async { Err(error.into()) });
                return Box::pin(RecordBatchStreamAdapter::new(schema, error));
            }
        };
        let batches = steps.map(|mut steps| {
            std::iter::from_fn(move || {
                let values: Vec<i128> = steps.by_ref().take(BATCH_ROWS).collect();
                let batch = |values| Ok(RecordBatch::try_new(Arc::clone(&schema), vec![kind.column(values)?])?);
                (!values.is_empty()).then(|| batch(values))
            })
        });
        let batches = stream::iter(batches.into_iter().flatten());
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

/// The function of arrays.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(SeriesOfRows::new())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use datafusion::common::ScalarValue;

    use super::*;

    fn of(kind: Kind, values: &[ScalarValue]) -> Result<Vec<i128>> {
        let arrays: Vec<ArrayRef> = values.iter().map(|value| value.to_array().unwrap()).collect();
        let steps = Arguments::new(kind, &arrays, "Europe/Zurich").unwrap().steps(0)?;
        Ok(steps.into_iter().flatten().take(100).collect())
    }

    #[test]
    fn numbers_from_one_to_another() {
        let int = |value: i64| ScalarValue::Int64(Some(value));
        for (values, expected) in [
            (vec![int(1), int(3)], vec![1, 2, 3]),
            (vec![int(3), int(1)], vec![]),
            (vec![int(5), int(1), int(-2)], vec![5, 3, 1]),
            (vec![int(1), ScalarValue::Int64(None)], vec![]),
            (vec![int(i64::MAX - 1), int(i64::MAX)], vec![i128::from(i64::MAX) - 1, i64::MAX.into()]),
        ] {
            assert_eq!(of(Kind::Int8, &values).unwrap(), expected, "{values:?}");
        }
        assert_eq!(of(Kind::Int8, &[int(1), int(2), int(0)]).unwrap_err(), no_step());
        let decimal = |value| ScalarValue::Decimal128(Some(value), 38, 1);
        assert_eq!(of(Kind::Numeric(1), &[decimal(11), decimal(40), decimal(13)]).unwrap(), vec![11, 24, 37]);
        assert_eq!(of(Kind::Numeric(1), &[decimal(11), decimal(31)]).unwrap(), vec![11, 21, 31]);
    }

    #[test]
    fn moments_by_the_calendar_of_a_zone() {
        let day = 86_400_000_000_i64;
        let stamp = |micros| ScalarValue::TimestampMicrosecond(Some(micros), None);
        let step = |months, days| ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(months, days, 0)));
        // The thirty-first, and then as PostgreSQL goes on from the end of a shorter month.
        let found = of(Kind::Stamp, &[stamp(30 * day), stamp(100 * day), step(1, 0)]).unwrap();
        assert_eq!(found, [30, 58, 86].map(|days| i128::from(days * day)));
        // The day on which clocks are put forward has 23 hours.
        let from = 1_711_753_200_000_000;
        let found = of(Kind::Instant, &[stamp(from), stamp(from + 3 * day), step(0, 1)]).unwrap();
        assert_eq!(found[1] - found[0], i128::from(day));
        assert_eq!(found[2] - found[1], i128::from(day / 24 * 23));
    }

    #[test]
    fn types_of_series() {
        use DataType::{Date32, Float64, Int32, Int64, Null, Utf8};
        let interval = DataType::Interval(IntervalUnit::MonthDayNano);
        for (types, kind) in [
            (vec![Int32, Int32], Some(Kind::Int4)),
            (vec![Int32, Int64], Some(Kind::Int8)),
            (vec![Int32, DataType::Decimal128(3, 2)], Some(Kind::Numeric(2))),
            (vec![at(None), at(None), interval.clone()], Some(Kind::Stamp)),
            (vec![at(None), Utf8, Utf8], Some(Kind::Stamp)),
            (vec![Date32, Date32, interval.clone()], Some(Kind::Instant)),
            (vec![at(Some("UTC".into())), at(None), interval], Some(Kind::Instant)),
            (vec![Null, Null], None),
            (vec![Float64, Float64], None),
            (vec![Utf8, Utf8, Utf8], None),
            (vec![Int32], None),
        ] {
            assert_eq!(Kind::of(&types), kind, "{types:?}");
        }
    }
}
