//! `date_trunc`: with PostgreSQL's names of units, decades and centuries, in place of DataFusion's.

use std::sync::Arc;

use chrono::{Datelike, NaiveDate};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef, TimestampMicrosecondType};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::functions::datetime::date_trunc;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::moments::{at, instant, local, moment, zone};
use crate::error::{Error, Sqlstate};

/// DataFusion's name of a unit, or that of one that DataFusion has not.
pub(super) fn unit(name: &str) -> Option<&'static str> {
    Some(match name {
        "microsecond" | "microseconds" | "us" | "usec" | "usecs" | "usecond" | "useconds" => "microsecond",
        "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" | "msecond" | "mseconds" => "millisecond",
        "second" | "seconds" | "s" | "sec" | "secs" => "second",
        "minute" | "minutes" | "m" | "min" | "mins" => "minute",
        "hour" | "hours" | "h" | "hr" | "hrs" => "hour",
        "day" | "days" | "d" => "day",
        "week" | "weeks" | "w" => "week",
        "month" | "months" | "mon" | "mons" => "month",
        "quarter" | "qtr" => "quarter",
        "year" | "years" | "y" | "yr" | "yrs" => "year",
        "decade" | "decades" | "dec" | "decs" => "decade",
        "century" | "centuries" | "c" | "cent" => "century",
        "millennium" | "millennia" | "mil" | "mils" => "millennium",
        _ => return None,
    })
}

/// See the module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DateTrunc(Arc<ScalarUDF>);

impl DateTrunc {
    pub(super) fn new() -> DateTrunc {
        DateTrunc(date_trunc())
    }
}

/// The first day of the decade, century or millennium of a year.
fn first_of(unit: &str, year: i32) -> Option<NaiveDate> {
    let first = match unit {
        "decade" => year.div_euclid(10) * 10,
        "century" => (year - 1).div_euclid(100) * 100 + 1,
        _ => (year - 1).div_euclid(1_000) * 1_000 + 1,
    };
    NaiveDate::from_ymd_opt(first, 1, 1)
}

/// Timestamps at the beginning of their decades, centuries or millennia.
fn of_years(unit: &str, moments: &ArrayRef) -> Result<ArrayRef> {
    let of_zone = match moments.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        other => return plan_err!("date_trunc does not take {other}"),
    };
    let clock: Option<Tz> = of_zone.as_deref().map(zone).transpose()?;
    let micros = cast(moments, &at(of_zone.clone()))?;
    let truncated = micros.as_primitive::<TimestampMicrosecondType>().iter().map(|micros| {
        let (shown, clock) = match &clock {
            Some(clock) => (local(micros?, clock).0, Some(clock)),
            None => (moment(micros?), None),
        };
        let first = first_of(unit, shown.year())?.and_time(chrono::NaiveTime::MIN);
        Some(clock.map_or_else(|| first.and_utc().timestamp_micros(), |clock| instant(first, clock)))
    });
    let truncated = truncated.collect::<TimestampMicrosecondArray>().with_timezone_opt(of_zone);
    Ok(cast(&truncated, moments.data_type())?)
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn aliases(&self) -> &[String] {
        self.0.aliases()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.0.return_field_from_args(args)
    }

    fn output_ordering(&self, input: &[ExprProperties]) -> Result<SortProperties> {
        self.0.output_ordering(input)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut args = args;
        let Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(name)))) = args.args.first() else {
            return self.0.invoke_with_args(args);
        };
        let lower = name.to_lowercase();
        let Some(known) = unit(&lower) else {
            let of_type = match args.args.get(1).map(ColumnarValue::data_type) {
                Some(DataType::Timestamp(_, Some(_))) => "timestamp with time zone",
                Some(DataType::Time32(_) | DataType::Time64(_)) => "time without time zone",
                _ => "timestamp without time zone",
            };
            let message = format!("unit \"{lower}\" not recognized for type {of_type}");
            return Err(Error::new(Sqlstate::InvalidParameterValue, message).into());
        };
        if matches!(known, "decade" | "century" | "millennium") {
            return match args.args.get(1) {
                Some(ColumnarValue::Array(moments)) => Ok(ColumnarValue::Array(of_years(known, moments)?)),
                Some(ColumnarValue::Scalar(moment)) => {
                    let truncated = of_years(known, &moment.to_array()?)?;
                    Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&truncated, 0)?))
                }
                None => plan_err!("date_trunc takes two arguments"),
            };
        }
        if let Some(first) = args.args.first_mut() {
            *first = ColumnarValue::Scalar(ScalarValue::Utf8(Some(known.to_owned())));
        }
        self.0.invoke_with_args(args)
    }
}
