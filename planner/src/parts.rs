//! The parts of averages and moments that a site answers and a coordinator merges.
//!
//! An average is released without saying how many values went into it, but merging the averages of several sites needs their
//! weights. So peers, and nobody else, may ask for the parts, which are released under the rules of the average or moment they
//! stand for. Their values are those of the ordinary aggregates:
//!
//! | part | value |
//! | --- | --- |
//! | `kanon_part_count(x)`, `kanon_part_count(y, x)` | rows whose arguments are all not NULL (bigint) |
//! | `kanon_part_sum(x)` | sum (decimals and durations as they are, all else as double precision) |
//! | `kanon_part_avg(x)` | mean (double precision) |
//! | `kanon_part_m2(x)` | sum of squared deviations from the mean |
//! | `kanon_part_avg_y(y, x)`, `kanon_part_avg_x(y, x)` | means over the rows where both are not NULL |
//! | `kanon_part_m2_y(y, x)`, `kanon_part_m2_x(y, x)` | sums of squared deviations over the same rows |
//! | `kanon_part_c2(y, x)` | sum of products of deviations over the same rows |

use std::hash::Hash;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array};
use datafusion::arrow::compute::nullif;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, UInt64Type};
use datafusion::common::{Result, ScalarValue, internal_datafusion_err};
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::regr::{
    regr_avgx_udaf, regr_avgy_udaf, regr_sxx_udaf, regr_sxy_udaf, regr_syy_udaf,
};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::functions_aggregate::variance::var_pop_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature};

/// Names of the parts.
pub mod names {
    /// Rows whose arguments are all not NULL.
    pub const COUNT: &str = "kanon_part_count";
    /// Sum.
    pub const SUM: &str = "kanon_part_sum";
    /// Mean.
    pub const AVG: &str = "kanon_part_avg";
    /// Sum of squared deviations.
    pub const M2: &str = "kanon_part_m2";
    /// Mean of the first argument of a pair.
    pub const AVG_Y: &str = "kanon_part_avg_y";
    /// Mean of the second argument of a pair.
    pub const AVG_X: &str = "kanon_part_avg_x";
    /// Sum of squared deviations of the first argument of a pair.
    pub const M2_Y: &str = "kanon_part_m2_y";
    /// Sum of squared deviations of the second argument of a pair.
    pub const M2_X: &str = "kanon_part_m2_x";
    /// Sum of products of deviations.
    pub const C2: &str = "kanon_part_c2";
    /// What they all begin with.
    pub const PREFIX: &str = "kanon_part_";
}

/// Whether `name` is a part: only sessions of peers may use it.
pub fn is_part(name: &str) -> bool {
    name.starts_with(names::PREFIX)
}

/// All parts, to be registered in every session (planning refuses them to all but peers).
pub fn part_aggregates() -> Vec<Arc<AggregateUDF>> {
    let avg_signature = avg_udaf().signature().clone();
    let double = var_pop_udaf().signature().clone();
    let pair = regr_sxy_udaf().signature().clone();
    [
        Part::new(names::COUNT, count_udaf(), count_udaf().signature().clone()),
        Part::new(names::SUM, sum_udaf(), avg_signature),
        Part::new(names::AVG, avg_udaf(), double.clone()),
        Part { pick: Some(2), ..Part::new(names::M2, var_pop_udaf(), double) },
        Part::new(names::AVG_Y, regr_avgy_udaf(), pair.clone()),
        Part::new(names::AVG_X, regr_avgx_udaf(), pair.clone()),
        Part::new(names::M2_Y, regr_syy_udaf(), pair.clone()),
        Part::new(names::M2_X, regr_sxx_udaf(), pair.clone()),
        Part::new(names::C2, regr_sxy_udaf(), pair),
    ]
    .into_iter()
    .map(|part| Arc::new(AggregateUDF::new_from_impl(part)))
    .collect()
}

/// An aggregate of another name whose value is that of `like`, or a column of its state.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Part {
    name: &'static str,
    like: Arc<AggregateUDF>,
    signature: Signature,
    /// The column of the state (whose first is the count) that is the value.
    pick: Option<usize>,
}

impl Part {
    fn new(name: &'static str, like: Arc<AggregateUDF>, signature: Signature) -> Self {
        Part { name, like, signature, pick: None }
    }
}

impl AggregateUDFImpl for Part {
    fn name(&self) -> &str {
        self.name
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.like.return_type(arg_types)
    }
    fn return_field(&self, arg_fields: &[FieldRef]) -> Result<FieldRef> {
        // Nullable, unlike count: a part may be withheld.
        let types: Vec<DataType> = arg_fields.iter().map(|f| f.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name, self.return_type(&types)?, true)))
    }
    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.like.default_value(data_type)
    }
    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let inner = self.like.accumulator(args)?;
        Ok(match self.pick {
            None => inner,
            Some(column) => Box::new(Picked { inner, column }),
        })
    }
    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.like.state_fields(args)
    }
    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.like.groups_accumulator_supported(args)
    }
    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let inner = self.like.create_groups_accumulator(args)?;
        Ok(match self.pick {
            None => inner,
            Some(column) => Box::new(PickedGroups { inner, column }),
        })
    }
}

/// Gives a column of an accumulator's state as its value; NULL where the count, the first column, is 0.
#[derive(Debug)]
struct Picked {
    inner: Box<dyn Accumulator>,
    column: usize,
}

impl Accumulator for Picked {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)
    }
    fn evaluate(&mut self) -> Result<ScalarValue> {
        let state = self.inner.state()?;
        match (state.first(), state.get(self.column)) {
            (Some(ScalarValue::UInt64(Some(0) | None)), _) => Ok(ScalarValue::Float64(None)),
            (Some(_), Some(value)) => Ok(value.clone()),
            _ => Err(internal_datafusion_err!("a state without its columns")),
        }
    }
    fn size(&self) -> usize {
        self.inner.size()
    }
    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }
    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }
}

/// [`Picked`] for many groups.
struct PickedGroups {
    inner: Box<dyn GroupsAccumulator>,
    column: usize,
}

impl GroupsAccumulator for PickedGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.inner.update_batch(values, group_indices, opt_filter, total_num_groups)
    }
    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let state = self.inner.state(emit_to)?;
        let (Some(counts), Some(values)) = (state.first(), state.get(self.column)) else {
            return Err(internal_datafusion_err!("a state without its columns"));
        };
        let empty: BooleanArray =
            counts.as_primitive::<UInt64Type>().iter().map(|n| Some(n.unwrap_or(0) == 0)).collect();
        let values: &Float64Array = values.as_primitive();
        Ok(nullif(values as &dyn Array, &empty)?)
    }
    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }
    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.inner.merge_batch(values, group_indices, total_num_groups)
    }
    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(values, opt_filter)
    }
    fn size(&self) -> usize {
        self.inner.size()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use datafusion::arrow::array::RecordBatch;
    use datafusion::arrow::datatypes::Float64Type;
    use datafusion::prelude::SessionContext;

    async fn row(sql: &str) -> RecordBatch {
        let ctx = SessionContext::new();
        for part in part_aggregates() {
            ctx.register_udaf(part.as_ref().clone());
        }
        ctx.sql("CREATE TABLE t AS VALUES (1, 10, 2.0), (1, 20, 4.0), (1, NULL, 6.0), (2, 5, NULL), (3, NULL, NULL)")
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
        let batches = ctx.sql(sql).await.unwrap().collect().await.unwrap();
        datafusion::arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
    }

    #[tokio::test]
    async fn parts_have_the_values_of_the_ordinary_aggregates() {
        let both = row(
            "SELECT column1, kanon_part_count(column2) a, count(column2) b, kanon_part_sum(column2) c, sum(CAST(column2 AS DOUBLE)) d, \
             kanon_part_m2(column2) e, var_pop(column2) * nullif(count(column2), 0) f, kanon_part_avg(column2) g, avg(column2) h, \
             kanon_part_count(column2, column3) i, regr_count(column2, column3) j, kanon_part_c2(column2, column3) k, \
             regr_sxy(column2, column3) l, kanon_part_avg_y(column2, column3) m, regr_avgy(column2, column3) n FROM t GROUP BY column1 ORDER BY 1",
        )
        .await;
        for pair in 0..7 {
            let (a, b) = (both.column(1 + 2 * pair), both.column(2 + 2 * pair));
            let b = datafusion::arrow::compute::cast(b, a.data_type()).unwrap();
            assert_eq!(a, &b, "pair {pair}");
        }
        assert_eq!(both.column(5).as_primitive::<Float64Type>().value(0), 50.0);
        assert!(both.column(5).is_null(2));
    }

    #[tokio::test]
    async fn parts_without_groups_work_too() {
        let one = row("SELECT kanon_part_m2(column2), kanon_part_m2_x(column2, column3), kanon_part_count(column2) FROM t WHERE column1 > 2").await;
        assert!(one.column(0).is_null(0) && one.column(1).is_null(0));
    }
}
