//! `width_bucket(x, lower, upper, count)` of PostgreSQL, which DataFusion does not have: the number of the bucket that x falls into, of `count` equal
//! ones between two bounds; 0 below them, count + 1 at the end and beyond. Bounds may be given the other way round. Computed in double precision, decimals too.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Int32Array};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// Its name.
pub const NAME: &str = "width_bucket";

/// The function, to be registered in every session.
pub fn width_bucket() -> Arc<ScalarUDF> {
    use DataType::{Float64, Int64};
    let signature = Signature::exact(vec![Float64, Float64, Float64, Int64], Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(WidthBucket { signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WidthBucket {
    signature: Signature,
}

impl ScalarUDFImpl for WidthBucket {
    fn name(&self) -> &str {
        NAME
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let [x, lower, upper, count] = columns.as_slice() else { return exec_err!("{NAME} takes four arguments") };
        let numbers = |column: &ArrayRef| column.as_primitive::<Float64Type>().iter().collect::<Vec<_>>();
        let (x, lower, upper) = (numbers(x), numbers(lower), numbers(upper));
        let bounds = lower.into_iter().zip(upper).zip(count.as_primitive::<Int64Type>());
        let buckets = x.into_iter().zip(bounds).map(|(x, ((lower, upper), count))| match (x, lower, upper, count) {
            (Some(x), Some(lower), Some(upper), Some(count)) => bucket(x, lower, upper, count).map(Some),
            _ => Ok(None),
        });
        Ok(ColumnarValue::Array(Arc::new(buckets.collect::<Result<Int32Array>>()?)))
    }
}

fn bucket(x: f64, lower: f64, upper: f64, count: i64) -> Result<i32> {
    let Some(count) = i32::try_from(count).ok().filter(|count| (1..i32::MAX).contains(count)) else {
        return exec_err!("count must be greater than zero");
    };
    if x.is_nan() || lower.is_nan() || upper.is_nan() {
        return exec_err!("operand, lower bound, and upper bound cannot be NaN");
    }
    if !lower.is_finite() || !upper.is_finite() {
        return exec_err!("lower and upper bounds must be finite");
    }
    if lower == upper {
        return exec_err!("lower bound cannot equal upper bound");
    }
    // Of how far x is from the lower bound, as a part of the whole: halves, so that no difference is infinite.
    let part = (x / 2.0 - lower / 2.0) / (upper / 2.0 - lower / 2.0);
    let (is_below, is_beyond) = if lower < upper { (x < lower, x >= upper) } else { (x > lower, x <= upper) };
    Ok(match (is_below, is_beyond) {
        (true, _) => 0,
        (_, true) => count + 1,
        #[allow(clippy::cast_possible_truncation, reason = "between 0 and count")]
        _ => ((part * f64::from(count)) as i32).clamp(0, count - 1) + 1,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::bucket;

    /// As PostgreSQL 15 has them.
    #[test]
    fn buckets_are_those_of_postgresql() {
        for (x, lower, upper, count, expected) in [
            (5.35, 0.024, 10.06, 5, 3),
            (-1.0, 0.0, 10.0, 5, 0),
            (0.0, 0.0, 10.0, 5, 1),
            (9.999, 0.0, 10.0, 5, 5),
            (10.0, 0.0, 10.0, 5, 6),
            (f64::INFINITY, 0.0, 10.0, 5, 6),
            (10.0, 10.0, 0.0, 5, 1),
            (0.0, 10.0, 0.0, 5, 6),
            (11.0, 10.0, 0.0, 5, 0),
            (3.0, 10.0, 0.0, 5, 4),
            (0.0, f64::MIN, f64::MAX, 4, 3),
        ] {
            assert_eq!(bucket(x, lower, upper, count).unwrap(), expected, "{x} {lower} {upper} {count}");
        }
        for (x, lower, upper, count) in [
            (1.0, 0.0, 10.0, 0),
            (1.0, 0.0, 10.0, 1 << 40),
            (1.0, 2.0, 2.0, 3),
            (f64::NAN, 0.0, 1.0, 3),
            (1.0, 0.0, f64::INFINITY, 3),
        ] {
            assert!(bucket(x, lower, upper, count).is_err(), "{x} {lower} {upper} {count}");
        }
    }
}
