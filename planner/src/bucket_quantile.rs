//! A quantile from a histogram with noise: what several sites' buckets come to when they are added up.
//!
//! Buckets are those of [`crate::width_bucket`]: 0 is below the lower bound and n + 1 from the upper one on, where values count as the bound itself. Noise may
//! make a bucket negative, so that the number of values up to the end of a bucket, which should grow, does not. It is made to: to the mean of the
//! largest before and the smallest after it. The quantile is where it crosses α times the number of all values, interpolated between the ends of
//! a bucket; of integers that have a bucket each it is that integer. Without values it is NULL.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int32Type};
use datafusion::common::{Result, ScalarValue, internal_datafusion_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

/// Equal buckets between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Buckets {
    /// Bits, for equality.
    lower: u64,
    upper: u64,
    count: u16,
    /// Whether each is one integer.
    are_integers: bool,
}

impl Buckets {
    /// At most so many between finite bounds: one an integer where these are no more. None if there is no room for one.
    pub fn between(lower: f64, upper: f64, integers: bool, most: usize) -> Option<Buckets> {
        let (lower, upper) = if integers { (lower.floor(), upper.ceil()) } else { (lower, upper) };
        let most = u16::try_from(most).unwrap_or(u16::MAX);
        let width = upper - lower;
        if most == 0 || !width.is_finite() || width < 0.0 {
            return None;
        }
        let of = |upper: f64, count, are_integers| Buckets {
            lower: lower.to_bits(),
            upper: upper.to_bits(),
            count,
            are_integers,
        };
        if integers && width < f64::from(most) && lower.abs().max(upper.abs()) < 1e15 {
            // Around each of them: no rounding takes it to a neighbour.
            return Some(Buckets { lower: (lower - 0.5).to_bits(), ..of(upper + 0.5, width as u16 + 1, true) });
        }
        // Of one value there is some room too.
        let upper = if width == 0.0 { upper + 1.0_f64.max(upper.abs()) } else { upper };
        Some(of(upper, most, false))
    }

    /// Where the first begins.
    pub fn lower(self) -> f64 {
        f64::from_bits(self.lower)
    }

    /// Where the last ends.
    pub fn upper(self) -> f64 {
        f64::from_bits(self.upper)
    }

    /// How many there are.
    pub fn count(self) -> u16 {
        self.count
    }

    /// Where bucket `number` is: its lower and its upper end.
    fn ends(self, number: i32) -> (f64, f64) {
        let at = |number: i32| {
            let part = f64::from(number.clamp(0, i32::from(self.count))) / f64::from(self.count);
            self.lower() + (self.upper() - self.lower()) * part
        };
        match number {
            n if self.are_integers => {
                let middle = (at(n.clamp(1, i32::from(self.count))) - 0.5).round();
                (middle, middle)
            }
            n if n <= 0 => (self.lower(), self.lower()),
            n if n > i32::from(self.count) => (self.upper(), self.upper()),
            n => (at(n - 1), at(n)),
        }
    }

    /// The quantile α of values of which so many are in each bucket.
    fn quantile(self, counts: &BTreeMap<i32, f64>, alpha: f64) -> Option<f64> {
        let mut up_to: Vec<(i32, f64)> = Vec::with_capacity(counts.len());
        let mut sum = 0.0;
        for (bucket, count) in counts {
            sum += count;
            up_to.push((*bucket, sum));
        }
        if !sum.is_finite() || sum <= 0.0 {
            return None;
        }
        let mut after = f64::INFINITY;
        let mut smallest: Vec<f64> = up_to
            .iter()
            .rev()
            .map(|(_, n)| {
                after = n.min(after);
                after
            })
            .collect();
        smallest.reverse();
        let (mut largest, mut before) = (f64::NEG_INFINITY, 0.0_f64);
        let wanted = alpha * sum;
        for ((bucket, n), after) in up_to.iter().zip(&smallest) {
            largest = n.max(largest);
            let grown = (largest + after) / 2.0;
            if grown >= wanted {
                let (low, high) = self.ends(*bucket);
                let part = ((wanted - before) / (grown - before)).clamp(0.0, 1.0);
                return Some(low + (high - low) * part);
            }
            before = grown;
        }
        Some(self.ends(i32::MAX).1)
    }
}

/// The aggregate over (bucket, number of values in it), with a result of this type.
pub fn bucket_quantile(buckets: Buckets, alpha: f64, of_type: DataType) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(BucketQuantile {
        buckets,
        alpha: alpha.to_bits(),
        of_type,
        signature: Signature::any(2, Volatility::Immutable),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct BucketQuantile {
    buckets: Buckets,
    alpha: u64,
    of_type: DataType,
    signature: Signature,
}

impl AggregateUDFImpl for BucketQuantile {
    fn name(&self) -> &str {
        "kanon_bucket_quantile"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.of_type.clone())
    }
    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let BucketQuantile { buckets, alpha, of_type, .. } = self;
        Ok(Box::new(Counts {
            buckets: *buckets,
            alpha: f64::from_bits(*alpha),
            of_type: of_type.clone(),
            counts: BTreeMap::new(),
        }))
    }
    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let list = |name: &str, of: DataType| {
            let item = Arc::new(Field::new_list_field(of, true));
            Arc::new(Field::new(format!("{}[{name}]", args.name), DataType::List(item), true))
        };
        Ok(vec![list("bucket", DataType::Int32), list("count", DataType::Float64)])
    }
}

#[derive(Debug)]
struct Counts {
    buckets: Buckets,
    alpha: f64,
    of_type: DataType,
    counts: BTreeMap<i32, f64>,
}

impl Counts {
    fn add(&mut self, buckets: &ArrayRef, counts: &ArrayRef) -> Result<()> {
        let (buckets, counts) = (cast(buckets, &DataType::Int32)?, cast(counts, &DataType::Float64)?);
        for (bucket, count) in buckets.as_primitive::<Int32Type>().iter().zip(counts.as_primitive::<Float64Type>()) {
            if let (Some(bucket), Some(count)) = (bucket, count) {
                *self.counts.entry(bucket).or_default() += count;
            }
        }
        Ok(())
    }
}

impl Accumulator for Counts {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [buckets, counts] = values else { return Err(internal_datafusion_err!("a histogram has two columns")) };
        self.add(buckets, counts)
    }
    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [buckets, counts] = states else { return Err(internal_datafusion_err!("a histogram has two columns")) };
        for row in 0..buckets.len() {
            self.add(&buckets.as_list::<i32>().value(row), &counts.as_list::<i32>().value(row))?;
        }
        Ok(())
    }
    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let list =
            |values: Vec<ScalarValue>, of: &DataType| ScalarValue::List(ScalarValue::new_list(&values, of, true));
        let buckets = self.counts.keys().map(|bucket| ScalarValue::Int32(Some(*bucket))).collect();
        let counts = self.counts.values().map(|count| ScalarValue::Float64(Some(*count))).collect();
        Ok(vec![list(buckets, &DataType::Int32), list(counts, &DataType::Float64)])
    }
    fn evaluate(&mut self) -> Result<ScalarValue> {
        let found = self.buckets.quantile(&self.counts, self.alpha);
        let found = found.map(|x| if self.of_type.is_integer() { x.round() } else { x });
        ScalarValue::Float64(found).cast_to(&self.of_type)
    }
    fn size(&self) -> usize {
        size_of_val(self) + self.counts.len() * 24
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    fn found(buckets: Buckets, counts: &[(i32, f64)], alpha: f64) -> Option<f64> {
        buckets.quantile(&counts.iter().copied().collect(), alpha)
    }

    #[test]
    fn quantiles_of_exact_histograms_are_exact() {
        // 0 to 99, ten a bucket.
        let ten = Buckets::between(0.0, 100.0, false, 10).unwrap();
        let uniform: Vec<(i32, f64)> = (1..=10).map(|bucket| (bucket, 10.0)).collect();
        for (alpha, expected) in [(0.5, 50.0), (0.25, 25.0), (0.99, 99.0), (0.03, 3.0)] {
            assert!((found(ten, &uniform, alpha).unwrap() - expected).abs() < 1e-9, "{alpha}");
        }
        // What lies outside is at the bounds.
        assert_eq!(found(ten, &[(0, 60.0), (5, 10.0), (11, 30.0)], 0.5), Some(0.0));
        assert_eq!(found(ten, &[(0, 10.0), (5, 10.0), (11, 30.0)], 0.5), Some(100.0));
        // One an integer.
        let years = Buckets::between(20.0, 69.0, true, 128).unwrap();
        assert_eq!((years.lower(), years.upper(), years.count()), (19.5, 69.5, 50));
        let ages: Vec<(i32, f64)> = (1..=50).map(|bucket| (bucket, 2.0)).collect();
        assert_eq!(found(years, &ages, 0.5), Some(44.0));
        assert_eq!(found(years, &ages, 0.51), Some(45.0));
        assert_eq!(found(years, &[(51, 5.0), (1, 1.0)], 0.5), Some(69.0));
    }

    #[test]
    fn noise_does_no_more_than_noise() {
        let ten = Buckets::between(0.0, 100.0, false, 10).unwrap();
        assert_eq!(found(ten, &[], 0.5), None);
        assert_eq!(found(ten, &[(1, -3.0), (2, 1.0)], 0.5), None);
        assert_eq!(found(ten, &[(1, f64::NAN)], 0.5), None);
        // Empty buckets with noise of ±20 before and behind 1,000 values in the middle one.
        let noisy = [(1, 20.0), (2, -20.0), (3, 15.0), (4, -18.0), (5, 1000.0), (6, -20.0), (7, 20.0), (8, -9.0)];
        for alpha in [0.1, 0.5, 0.9] {
            let x = found(ten, &noisy, alpha).unwrap();
            assert!((40.0..=50.0).contains(&x), "{alpha}: {x}");
        }
        for alpha in [0.001, 0.999] {
            let x = found(ten, &[(1, -20.0), (2, 30.0), (3, -50.0)], alpha);
            assert!(x.is_none_or(|x| (0.0..=100.0).contains(&x)), "{x:?}");
        }
    }

    /// Through the function that sites use.
    #[tokio::test]
    async fn integers_that_have_a_bucket_each_are_found_again() {
        let ctx = SessionContext::new();
        ctx.register_udf(crate::width_bucket::width_bucket().as_ref().clone());
        for (lower, upper) in
            [(0, 110), (0, 100), (0, 48), (20, 69), (-17, 100), (1_000_000, 1_000_127), (0, 1), (5, 5)]
        {
            let buckets = Buckets::between(f64::from(lower), f64::from(upper), true, 128).unwrap();
            let sql = format!(
                "SELECT x, width_bucket(x, {:?}, {:?}, {}) FROM generate_series({lower}, {upper}) AS t (x) ORDER BY x",
                buckets.lower(),
                buckets.upper(),
                buckets.count()
            );
            for batch in ctx.sql(&sql).await.unwrap().collect().await.unwrap() {
                let x = batch.column(0).as_primitive::<datafusion::arrow::datatypes::Int64Type>();
                for (x, bucket) in x.values().iter().zip(batch.column(1).as_primitive::<Int32Type>().values()) {
                    for alpha in [0.01, 0.5, 0.99] {
                        assert_eq!(
                            found(buckets, &[(*bucket, 7.0)], alpha),
                            Some(*x as f64),
                            "{x} of {lower} to {upper}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn buckets_need_bounds_and_room() {
        assert_eq!(Buckets::between(0.0, f64::INFINITY, false, 10), None);
        assert_eq!(Buckets::between(0.0, 1.0, false, 0), None);
        let point = Buckets::between(5.0, 5.0, false, 10).unwrap();
        assert!(point.lower() < point.upper());
        assert_eq!(Buckets::between(0.0, 1000.0, true, 128).unwrap().count(), 128);
    }

    #[tokio::test]
    async fn it_is_an_aggregate_of_buckets() {
        let ctx = SessionContext::new();
        let buckets = Buckets::between(0.0, 9.0, true, 128).unwrap();
        ctx.register_udaf(bucket_quantile(buckets, 0.5, DataType::Int64).as_ref().clone());
        let sql = "SELECT g, kanon_bucket_quantile(b, n) FROM (VALUES ('x', 1, 3), ('x', 4, 9), ('y', 10, 1), ('z', 2, -1), ('x', 9, 3)) AS t (g, b, n)
                   GROUP BY g ORDER BY g";
        let batches = ctx.sql(sql).await.unwrap().collect().await.unwrap();
        let all = datafusion::arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
        let values: Vec<Option<i64>> =
            all.column(1).as_primitive::<datafusion::arrow::datatypes::Int64Type>().iter().collect();
        assert_eq!(values, [Some(3), Some(9), None]);
    }
}
