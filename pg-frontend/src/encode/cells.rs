//! One array of a batch, downcast once, that writes any of its values.

use bytes::{BufMut, BytesMut};
use datafusion::arrow::array::types::*;
use datafusion::arrow::array::*;
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, Float16Type, IntervalUnit, TimeUnit};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use kanon_engine::error::{Error, Result, Sqlstate};
use kanon_engine::functions::numeric;
use kanon_engine::pg_catalog::types::PgType;

use super::binary::{self, OutOfRange};
use super::nested::{ListCells, RecordCells, put_json_map};
use super::text;
use super::time::{MICROS_PER_DAY, Zone, micros};

/// An array as values of one PostgreSQL type.
pub(super) struct Cells<'a> {
    nulls: Option<NullBuffer>,
    /// What it is on the wire.
    pub(super) pg_type: PgType,
    kind: Kind<'a>,
}

/// Where strings come from.
enum Strings<'a> {
    Utf8(&'a StringArray),
    Large(&'a LargeStringArray),
    View(&'a StringViewArray),
}

/// Where byte strings come from.
enum ByteStrings<'a> {
    Binary(&'a BinaryArray),
    Large(&'a LargeBinaryArray),
    View(&'a BinaryViewArray),
    Fixed(&'a FixedSizeBinaryArray),
}

/// 64-bit moments and times of any unit.
struct Moments<'a> {
    values: &'a [i64],
    unit: TimeUnit,
}

enum Kind<'a> {
    Null,
    Bool(&'a BooleanArray),
    Int8(&'a Int8Array),
    Int16(&'a Int16Array),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    UInt8(&'a UInt8Array),
    UInt16(&'a UInt16Array),
    UInt32(&'a UInt32Array),
    UInt64(&'a UInt64Array),
    Float16(&'a PrimitiveArray<Float16Type>),
    Float32(&'a Float32Array),
    Float64(&'a Float64Array),
    Decimal32(&'a Decimal32Array, i8),
    Decimal64(&'a Decimal64Array, i8),
    Decimal128(&'a Decimal128Array, i8),
    Decimal256(&'a Decimal256Array, i8),
    Str(Strings<'a>),
    Bytes(ByteStrings<'a>),
    Date32(&'a Date32Array),
    Date64(&'a Date64Array),
    Time32(&'a [i32], TimeUnit),
    Time64(Moments<'a>),
    Timestamp(Moments<'a>),
    TimestampTz(Moments<'a>, Zone),
    YearMonth(&'a IntervalYearMonthArray),
    DayTime(&'a IntervalDayTimeArray),
    MonthDayNano(&'a IntervalMonthDayNanoArray),
    Duration(Moments<'a>),
    List(Box<ListCells<'a>>),
    Record(Box<RecordCells<'a>>),
    Map(&'a MapArray),
    Dictionary(Vec<Option<usize>>, Box<Cells<'a>>),
    /// Types that PostgreSQL has nothing like, as Arrow prints them.
    Shown(&'a dyn Array),
}

/// A downcast that cannot fail once the data type was matched; if it does, that is our fault.
fn of<T: 'static>(array: &dyn Array) -> Result<&T> {
    array
        .as_any()
        .downcast_ref::<T>()
        .ok_or_else(|| Error::internal(format!("{} is not what it says", array.data_type())))
}

/// A value as Arrow prints it. Its formatter cannot be kept: it may not be sent between threads, as a portal is.
fn shown(array: &dyn Array, row: usize) -> Result<String> {
    let formatter = ArrayFormatter::try_new(array, &FormatOptions::new())
        .map_err(|_| Error::unsupported(format!("values of type {}", array.data_type())))?;
    Ok(formatter.value(row).to_string())
}

fn moments<T: ArrowPrimitiveType<Native = i64>>(array: &dyn Array, unit: TimeUnit) -> Result<Moments<'_>> {
    Ok(Moments { values: of::<PrimitiveArray<T>>(array)?.values(), unit })
}

impl<'a> Cells<'a> {
    /// Downcasts an array.
    ///
    /// # Errors
    /// 0A000 for types that have no form here.
    pub(super) fn new(array: &'a dyn Array, pg_type: PgType, zone: Zone) -> Result<Cells<'a>> {
        let kind = match array.data_type() {
            DataType::Null => Kind::Null,
            DataType::Boolean => Kind::Bool(of(array)?),
            DataType::Int8 => Kind::Int8(of(array)?),
            DataType::Int16 => Kind::Int16(of(array)?),
            DataType::Int32 => Kind::Int32(of(array)?),
            DataType::Int64 => Kind::Int64(of(array)?),
            DataType::UInt8 => Kind::UInt8(of(array)?),
            DataType::UInt16 => Kind::UInt16(of(array)?),
            DataType::UInt32 => Kind::UInt32(of(array)?),
            DataType::UInt64 => Kind::UInt64(of(array)?),
            DataType::Float16 => Kind::Float16(of(array)?),
            DataType::Float32 => Kind::Float32(of(array)?),
            DataType::Float64 => Kind::Float64(of(array)?),
            DataType::Decimal32(_, scale) => Kind::Decimal32(of(array)?, *scale),
            DataType::Decimal64(_, scale) => Kind::Decimal64(of(array)?, *scale),
            DataType::Decimal128(_, scale) => Kind::Decimal128(of(array)?, *scale),
            DataType::Decimal256(_, scale) => Kind::Decimal256(of(array)?, *scale),
            DataType::Utf8 => Kind::Str(Strings::Utf8(of(array)?)),
            DataType::LargeUtf8 => Kind::Str(Strings::Large(of(array)?)),
            DataType::Utf8View => Kind::Str(Strings::View(of(array)?)),
            DataType::Binary => Kind::Bytes(ByteStrings::Binary(of(array)?)),
            DataType::LargeBinary => Kind::Bytes(ByteStrings::Large(of(array)?)),
            DataType::BinaryView => Kind::Bytes(ByteStrings::View(of(array)?)),
            DataType::FixedSizeBinary(_) => Kind::Bytes(ByteStrings::Fixed(of(array)?)),
            DataType::Date32 => Kind::Date32(of(array)?),
            DataType::Date64 => Kind::Date64(of(array)?),
            DataType::Time32(unit) => Kind::Time32(
                match unit {
                    TimeUnit::Second => of::<Time32SecondArray>(array)?.values(),
                    _ => of::<Time32MillisecondArray>(array)?.values(),
                },
                *unit,
            ),
            DataType::Time64(unit) => Kind::Time64(match unit {
                TimeUnit::Nanosecond => moments::<Time64NanosecondType>(array, *unit)?,
                _ => moments::<Time64MicrosecondType>(array, *unit)?,
            }),
            DataType::Timestamp(unit, tz) => {
                let moments = match unit {
                    TimeUnit::Second => moments::<TimestampSecondType>(array, *unit)?,
                    TimeUnit::Millisecond => moments::<TimestampMillisecondType>(array, *unit)?,
                    TimeUnit::Microsecond => moments::<TimestampMicrosecondType>(array, *unit)?,
                    TimeUnit::Nanosecond => moments::<TimestampNanosecondType>(array, *unit)?,
                };
                if tz.is_some() { Kind::TimestampTz(moments, zone) } else { Kind::Timestamp(moments) }
            }
            DataType::Interval(IntervalUnit::YearMonth) => Kind::YearMonth(of(array)?),
            DataType::Interval(IntervalUnit::DayTime) => Kind::DayTime(of(array)?),
            DataType::Interval(IntervalUnit::MonthDayNano) => Kind::MonthDayNano(of(array)?),
            DataType::Duration(unit) => Kind::Duration(match unit {
                TimeUnit::Second => moments::<DurationSecondType>(array, *unit)?,
                TimeUnit::Millisecond => moments::<DurationMillisecondType>(array, *unit)?,
                TimeUnit::Microsecond => moments::<DurationMicrosecondType>(array, *unit)?,
                TimeUnit::Nanosecond => moments::<DurationNanosecondType>(array, *unit)?,
            }),
            DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(_, _)
            | DataType::ListView(_)
            | DataType::LargeListView(_) => Kind::List(Box::new(ListCells::new(array, pg_type, zone)?)),
            DataType::Struct(_) => Kind::Record(Box::new(RecordCells::new(of(array)?, zone)?)),
            DataType::Map(_, _) => Kind::Map(of(array)?),
            DataType::Dictionary(_, _) => {
                let dictionary =
                    array.as_any_dictionary_opt().ok_or_else(|| Error::internal("a dictionary is not what it says"))?;
                let values = Cells::new(dictionary.values().as_ref(), pg_type, zone)?;
                let keys = match dictionary.values().is_empty() {
                    true => vec![None; array.len()],
                    false => (dictionary.normalized_keys().into_iter().enumerate())
                        .map(|(row, key)| (!dictionary.keys().is_null(row)).then_some(key))
                        .collect(),
                };
                Kind::Dictionary(keys, Box::new(values))
            }
            DataType::Union(_, _) | DataType::RunEndEncoded(_, _) => Kind::Shown(array),
        };
        Ok(Cells { nulls: array.logical_nulls(), pg_type, kind })
    }

    /// Whether a value is NULL.
    pub(super) fn is_null(&self, row: usize) -> bool {
        match &self.kind {
            Kind::Null => true,
            _ => self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)),
        }
    }

    /// Appends the text of a value that is not NULL.
    pub(super) fn put_text(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        match &self.kind {
            Kind::Null => {}
            Kind::Bool(array) => text::put_bool(out, array.value(row)),
            Kind::Int8(array) => text::put_int(out, array.value(row)),
            Kind::Int16(array) => text::put_int(out, array.value(row)),
            Kind::Int32(array) => text::put_int(out, array.value(row)),
            Kind::Int64(array) => text::put_int(out, array.value(row)),
            Kind::UInt8(array) => text::put_int(out, array.value(row)),
            Kind::UInt16(array) => text::put_int(out, array.value(row)),
            Kind::UInt32(array) => text::put_int(out, array.value(row)),
            Kind::UInt64(array) => text::put_int(out, array.value(row)),
            Kind::Float16(array) => text::put_f32(out, array.value(row).to_f32()),
            Kind::Float32(array) => text::put_f32(out, array.value(row)),
            Kind::Float64(array) => text::put_f64(out, array.value(row)),
            Kind::Decimal32(array, scale) => {
                text::put_decimal(out, itoa::Buffer::new().format(array.value(row)), *scale)
            }
            Kind::Decimal64(array, scale) => {
                text::put_decimal(out, itoa::Buffer::new().format(array.value(row)), *scale)
            }
            Kind::Decimal128(array, scale) => {
                text::put_decimal(out, itoa::Buffer::new().format(array.value(row)), *scale)
            }
            Kind::Decimal256(array, scale) => {
                let (value, places) = numeric::shown(array.value(row), *scale);
                text::put_decimal(out, &value.to_string(), places);
            }
            Kind::Str(strings) => self.put_str(strings.value(row), out),
            Kind::Bytes(bytes) if self.pg_type.oid == PgType::UUID.oid => text::put_uuid(out, bytes.value(row)),
            Kind::Bytes(bytes) => text::put_bytea(out, bytes.value(row)),
            Kind::Date32(array) => text::put_date(out, i64::from(array.value(row))),
            Kind::Date64(array) => text::put_timestamp(out, from_millis(array.value(row))?),
            Kind::Time32(values, unit) => text::put_time(out, at32(values, row, *unit)?),
            Kind::Time64(moments) => text::put_time(out, moments.at(row)?),
            Kind::Timestamp(moments) => text::put_timestamp(out, moments.at(row)?),
            Kind::TimestampTz(moments, zone) => {
                let moment = moments.at(row)?;
                text::put_timestamptz(out, moment, zone.offset_at(moment));
            }
            Kind::YearMonth(_) | Kind::DayTime(_) | Kind::MonthDayNano(_) | Kind::Duration(_) => {
                let (months, days, micros) = self.interval(row)?;
                text::put_interval(out, months, days, micros);
            }
            Kind::List(list) => list.put_text(row, out)?,
            Kind::Record(record) => record.put_text(row, out)?,
            Kind::Map(map) => put_json_map(map, row, out)?,
            Kind::Dictionary(keys, values) => {
                if let Some(key) = keys.get(row).copied().flatten() {
                    values.put_text(key, out)?;
                }
            }
            Kind::Shown(array) => out.put_slice(shown(*array, row)?.as_bytes()),
        }
        Ok(())
    }

    /// Appends a string; one of `char(n)` with the blanks at its end, that it is not kept with.
    fn put_str(&self, value: &str, out: &mut BytesMut) {
        out.put_slice(value.as_bytes());
        if self.pg_type.oid == PgType::BPCHAR.oid {
            let length = usize::try_from(self.pg_type.typmod - 4).unwrap_or(0);
            out.put_bytes(b' ', length.saturating_sub(value.chars().count()));
        }
    }

    /// Appends the binary form of a value that is not NULL.
    pub(super) fn put_binary(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        match &self.kind {
            Kind::Null => {}
            Kind::Bool(array) => out.put_u8(u8::from(array.value(row))),
            Kind::Int8(array) => self.put_integer(i128::from(array.value(row)), out)?,
            Kind::Int16(array) => self.put_integer(i128::from(array.value(row)), out)?,
            Kind::Int32(array) => self.put_integer(i128::from(array.value(row)), out)?,
            Kind::Int64(array) => self.put_integer(i128::from(array.value(row)), out)?,
            Kind::UInt8(array) => self.put_integer(i128::from(array.value(row)), out)?,
            Kind::UInt16(array) => self.put_integer(i128::from(array.value(row)), out)?,
            Kind::UInt32(array) => self.put_integer(i128::from(array.value(row)), out)?,
            Kind::UInt64(array) => self.put_integer(i128::from(array.value(row)), out)?,
            Kind::Float16(array) => out.put_f32(array.value(row).to_f32()),
            Kind::Float32(array) => out.put_f32(array.value(row)),
            Kind::Float64(array) => out.put_f64(array.value(row)),
            Kind::Decimal32(array, scale) => {
                binary::put_numeric(out, itoa::Buffer::new().format(array.value(row)), *scale)?
            }
            Kind::Decimal64(array, scale) => {
                binary::put_numeric(out, itoa::Buffer::new().format(array.value(row)), *scale)?
            }
            Kind::Decimal128(array, scale) => {
                binary::put_numeric(out, itoa::Buffer::new().format(array.value(row)), *scale)?
            }
            Kind::Decimal256(array, scale) => {
                let (value, places) = numeric::shown(array.value(row), *scale);
                binary::put_numeric(out, &value.to_string(), places)?;
            }
            Kind::Str(strings) => self.put_string(strings.value(row), out)?,
            Kind::Bytes(bytes) => out.put_slice(bytes.value(row)),
            Kind::Date32(array) => binary::put_date(out, i64::from(array.value(row)))?,
            Kind::Date64(array) => binary::put_timestamp(out, from_millis(array.value(row))?)?,
            Kind::Time32(values, unit) => binary::put_time(out, at32(values, row, *unit)?)?,
            Kind::Time64(moments) => binary::put_time(out, moments.at(row)?)?,
            Kind::Timestamp(moments) | Kind::TimestampTz(moments, _) => binary::put_timestamp(out, moments.at(row)?)?,
            Kind::YearMonth(_) | Kind::DayTime(_) | Kind::MonthDayNano(_) | Kind::Duration(_) => {
                let (months, days, micros) = self.interval(row)?;
                binary::put_interval(out, months, days, micros);
            }
            Kind::List(list) => list.put_binary(row, out)?,
            Kind::Record(record) => record.put_binary(row, out)?,
            Kind::Map(map) => put_json_map(map, row, out)?,
            Kind::Dictionary(keys, values) => {
                if let Some(key) = keys.get(row).copied().flatten() {
                    values.put_binary(key, out)?;
                }
            }
            Kind::Shown(array) => out.put_slice(shown(*array, row)?.as_bytes()),
        }
        Ok(())
    }

    /// An integer in the width of its PostgreSQL type.
    fn put_integer(&self, value: i128, out: &mut BytesMut) -> Result<()> {
        let range = || Error::from(OutOfRange(self.pg_type.name));
        match self.pg_type.name {
            "int2" => out.put_i16(i16::try_from(value).map_err(|_| range())?),
            "int4" => out.put_i32(i32::try_from(value).map_err(|_| range())?),
            "int8" => out.put_i64(i64::try_from(value).map_err(|_| range())?),
            "numeric" => binary::put_numeric(out, itoa::Buffer::new().format(value), 0)?,
            _ if self.pg_type.len == 4 => out.put_u32(u32::try_from(value).map_err(|_| range())?),
            "char" => out.put_u8(u8::try_from(value).map_err(|_| range())?),
            _ => out.put_slice(itoa::Buffer::new().format(value).as_bytes()),
        }
        Ok(())
    }

    /// A string in the binary form of its PostgreSQL type: for most the text itself.
    fn put_string(&self, value: &str, out: &mut BytesMut) -> Result<()> {
        match self.pg_type.name {
            "jsonb" => {
                out.put_u8(1);
                out.put_slice(value.as_bytes());
            }
            "uuid" => out.put_slice(&crate::params::uuid_bytes(value)?),
            "char" => out.put_u8(value.bytes().next().unwrap_or(0)),
            "inet" => binary::put_inet(out, value)?,
            "timetz" => binary::put_timetz(out, value)?,
            "int2vector" | "oidvector" | "regclass" | "regtype" | "regproc" | "regnamespace" | "regrole"
            | "regoper" | "regoperator" | "regprocedure" | "pg_lsn" | "aclitem" => {
                return Err(Error::unsupported(format!("binary format of type {}", self.pg_type.name)));
            }
            _ => self.put_str(value, out),
        }
        Ok(())
    }

    /// Months, days and microseconds of an interval.
    fn interval(&self, row: usize) -> Result<(i32, i32, i64)> {
        Ok(match &self.kind {
            Kind::YearMonth(array) => (array.value(row), 0, 0),
            Kind::DayTime(array) => {
                let value = array.value(row);
                (0, value.days, i64::from(value.milliseconds) * 1_000)
            }
            Kind::MonthDayNano(array) => {
                let value = array.value(row);
                (value.months, value.days, value.nanoseconds / 1_000)
            }
            Kind::Duration(moments) => (0, 0, moments.at(row)?),
            _ => (0, 0, 0),
        })
    }
}

impl Strings<'_> {
    fn value(&self, row: usize) -> &str {
        match self {
            Strings::Utf8(array) => array.value(row),
            Strings::Large(array) => array.value(row),
            Strings::View(array) => array.value(row),
        }
    }
}

impl ByteStrings<'_> {
    fn value(&self, row: usize) -> &[u8] {
        match self {
            ByteStrings::Binary(array) => array.value(row),
            ByteStrings::Large(array) => array.value(row),
            ByteStrings::View(array) => array.value(row),
            ByteStrings::Fixed(array) => array.value(row),
        }
    }
}

impl Moments<'_> {
    fn at(&self, row: usize) -> Result<i64> {
        let value = self.values.get(row).copied().unwrap_or_default();
        micros(value, self.unit).ok_or_else(|| Error::from(OutOfRange("timestamp")))
    }
}

fn at32(values: &[i32], row: usize, unit: TimeUnit) -> Result<i64> {
    let value = values.get(row).copied().unwrap_or_default();
    let time = micros(i64::from(value), unit).unwrap_or(-1);
    if !(0..=MICROS_PER_DAY).contains(&time) {
        return Err(Error::from(OutOfRange("time")));
    }
    Ok(time)
}

fn from_millis(value: i64) -> Result<i64> {
    micros(value, TimeUnit::Millisecond).ok_or_else(|| Error::from(OutOfRange("timestamp")))
}

impl From<OutOfRange> for Error {
    fn from(range: OutOfRange) -> Error {
        match range.0 {
            "date" | "time" | "timestamp" => Error::new(Sqlstate::InvalidDatetime, format!("{} out of range", range.0)),
            other => Error::new(Sqlstate::NumericOutOfRange, format!("value is out of range for type {other}")),
        }
    }
}
