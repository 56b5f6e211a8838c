//! Aggregates of ordered sets: `percentile_disc` and `mode`, of values of any type that has an order.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, new_empty_array};
use datafusion::arrow::compute::{SortOptions, concat, is_not_null, sort_to_indices, take};
use datafusion::arrow::compute::{filter, partition};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use super::rows::missing;
use crate::error::{Error, Sqlstate};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    /// `percentile_disc(part)`: the first value that so large a part of them does not follow.
    Percentile,
    /// `mode()`: the value that there is most of, the first of several.
    Mode,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Ordered {
    what: What,
    signature: Signature,
}

/// Both.
pub(super) fn all() -> [Arc<AggregateUDF>; 2] {
    [What::Percentile, What::Mode].map(|what| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(AggregateUDF::new_from_impl(Ordered { what, signature }))
    })
}

impl AggregateUDFImpl for Ordered {
    fn name(&self) -> &str {
        match self.what {
            What::Percentile => "percentile_disc",
            What::Mode => "mode",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok(match (self.what, types) {
            (What::Percentile, [of, part]) if part.is_numeric() || part.is_null() => {
                vec![of.clone(), DataType::Float64]
            }
            // What is not taken is refused where its type is asked for: an error here would be put into other words.
            _ => types.to_vec(),
        })
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        match (self.what, types) {
            (What::Mode, [of]) => Ok(of.clone()),
            (What::Percentile, [of, part]) if part.is_numeric() || part.is_null() => Ok(of.clone()),
            (What::Percentile, [_, DataType::List(_)]) => {
                Err(Error::unsupported("percentile_disc of an array of fractions is not supported")
                    .hint("Write one call for each.")
                    .into())
            }
            _ => Err(missing(self.name(), types).into()),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> DfResult<Vec<FieldRef>> {
        let of = args.input_fields.first().map_or(DataType::Null, |field| field.data_type().clone());
        let list = DataType::new_list(of, true);
        Ok(vec![
            Arc::new(Field::new(format_state_name(args.name, "values"), list, true)),
            Arc::new(Field::new(format_state_name(args.name, "fraction"), DataType::Float64, true)),
        ])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DfResult<Box<dyn Accumulator>> {
        if args.is_distinct {
            return Err(Error::unsupported(format!("{} of DISTINCT values is not supported", self.name())).into());
        }
        let is_descending = args.order_bys.first().is_some_and(|order| order.options.descending);
        let of_type = args.expr_fields.first().map_or(DataType::Null, |field| field.data_type().clone());
        Ok(Box::new(Values { what: self.what, is_descending, of_type, parts: Vec::new(), bytes: 0, fraction: None }))
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }
}

/// The values of a group.
#[derive(Debug)]
struct Values {
    what: What,
    is_descending: bool,
    of_type: DataType,
    parts: Vec<ArrayRef>,
    bytes: usize,
    fraction: Option<f64>,
}

impl Values {
    fn push(&mut self, values: &ArrayRef) -> DfResult<()> {
        // A copy: what is kept is no more than the values of this group.
        let kept = filter(values, &is_not_null(values)?)?;
        if !kept.is_empty() {
            self.bytes += kept.get_array_memory_size();
            self.parts.push(kept);
        }
        Ok(())
    }

    fn whole(&self) -> DfResult<ArrayRef> {
        let parts: Vec<&dyn Array> = self.parts.iter().map(AsRef::as_ref).collect();
        Ok(if parts.is_empty() { new_empty_array(&self.of_type) } else { concat(&parts)? })
    }
}

impl Accumulator for Values {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let Some(of) = values.first() else { return exec_err!("an ordered set has no values") };
        // What follows the arguments is what they are ordered by.
        if self.what == What::Percentile
            && let Some(fractions) = values.get(1).and_then(|fractions| fractions.as_primitive_opt::<Float64Type>())
            && !fractions.is_empty()
        {
            let fraction = fractions.is_valid(0).then(|| fractions.value(0));
            if let Some(given) = fraction.filter(|given| !(0.0..=1.0).contains(given)) {
                let message = format!("percentile value {} is not between 0 and 1", super::shown::float(given, 6));
                return Err(Error::new(Sqlstate::NumericOutOfRange, message).into());
            }
            self.fraction = fraction;
        }
        self.push(of)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let Some(lists) = states.first().and_then(|lists| lists.as_list_opt::<i32>()) else {
            return exec_err!("an ordered set has no values");
        };
        if let Some(fractions) = states.get(1).and_then(|fractions| fractions.as_primitive_opt::<Float64Type>()) {
            self.fraction = fractions.iter().flatten().next().or(self.fraction);
        }
        lists.iter().flatten().try_for_each(|values| self.push(&values))
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        let whole = self.whole()?;
        let list = datafusion::common::utils::SingleRowListArrayBuilder::new(whole).build_list_array();
        Ok(vec![ScalarValue::List(Arc::new(list)), ScalarValue::Float64(self.fraction)])
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let whole = self.whole()?;
        let nothing = ScalarValue::try_from(&self.of_type)?;
        if whole.is_empty() {
            return Ok(nothing);
        }
        let options = SortOptions { descending: self.is_descending, nulls_first: false };
        let order = sort_to_indices(&whole, Some(options), None)?;
        let sorted = take(&whole, &order, None)?;
        let place = match self.what {
            What::Percentile => match self.fraction {
                Some(fraction) => nth(fraction, sorted.len()),
                None => return Ok(nothing),
            },
            What::Mode => {
                let runs = partition(&[Arc::clone(&sorted)])?.ranges();
                // The first of those of one length.
                runs.into_iter().rev().max_by_key(ExactSizeIterator::len).map_or(0, |run| run.start)
            }
        };
        ScalarValue::try_from_array(&sorted, place)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.bytes
    }
}

/// The place, from 0, of the value that a part of so many values is up to.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a count is no more than it")]
fn nth(fraction: f64, count: usize) -> usize {
    ((fraction * count as f64).ceil() as usize).clamp(1, count.max(1)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        // As percentile_disc of PostgreSQL 15 takes them.
        for (fraction, count, expected) in [(0.0, 4, 0), (0.5, 4, 1), (0.25, 12, 2), (1.0, 3, 2), (0.51, 2, 1)] {
            assert_eq!(nth(fraction, count), expected, "{fraction} of {count}");
        }
    }
}
