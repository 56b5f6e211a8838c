//! The aggregates that the rules need beside the user's own: exact, mergeable, and no larger than the rules ask.
//!
//! Every guard keeps a tally by group, and its state is its result: bytes that only this module writes and reads. None of them ever
//! leaves the release.

mod bytes;
mod cohorts;
mod parts;
mod tally;
#[cfg(test)]
mod tests;
mod units;
mod weights;

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, GroupsAccumulator, Signature, Volatility,
};
use kanon_privacy::policy::MinCohort;

pub(super) use self::bytes::BadState;
pub(super) use self::cohorts::read_cohort;
pub(super) use self::parts::{Held, read_names, read_parts};
pub(super) use self::weights::{Dominance, read_row_weights, read_unit_weights};

use self::tally::{Alone, Groups, Tally};

/// What a guard tallies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Guard {
    /// `(unit)`: the distinct units, up to k.
    Cohort,
    /// `(unit, condition…)`: the same for every combination of the conditions' values.
    PartsOfUnits,
    /// `(condition…)`: the rows of every combination, up to k, where rows are units.
    PartsOfRows,
    /// `(unit, x)`: Σ|x| by unit as far as dominance needs it, and the units that have an x.
    WeightsOfUnits,
    /// `(x)`: Σ|x| and the two largest, where rows are units, and the rows that have an x.
    WeightsOfRows,
}

impl Guard {
    /// The guard as an aggregate expression over its arguments and those rows for which `filter` holds.
    pub(super) fn over(self, k: MinCohort, arguments: Vec<Expr>, filter: Option<Expr>) -> Expr {
        let function = AggregateUDF::from(GuardFunction {
            guard: self,
            k: k.get(),
            signature: Signature::variadic_any(Volatility::Immutable),
        });
        Expr::AggregateFunction(datafusion::logical_expr::expr::AggregateFunction::new_udf(
            Arc::new(function),
            arguments,
            false,
            filter.map(Box::new),
            Vec::new(),
            None,
        ))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct GuardFunction {
    guard: Guard,
    k: u32,
    signature: Signature,
}

impl GuardFunction {
    fn tally(&self, args: &AccumulatorArgs<'_>) -> Result<Box<dyn Tally>> {
        let k = MinCohort::try_from(i64::from(self.k)).map_err(|_| BadState)?;
        let types: Vec<DataType> = args.expr_fields.iter().map(|f| f.data_type().clone()).collect();
        Ok(match self.guard {
            Guard::Cohort => Box::new(cohorts::Cohorts::new(k)),
            Guard::PartsOfUnits => Box::new(parts::Parts::new(k, types.get(1..).unwrap_or_default(), true)?),
            Guard::PartsOfRows => Box::new(parts::Parts::new(k, &types, false)?),
            Guard::WeightsOfUnits => Box::new(weights::WeightsOfUnits::new(k)),
            Guard::WeightsOfRows => Box::new(weights::WeightsOfRows::new()),
        })
    }
}

impl AggregateUDFImpl for GuardFunction {
    fn name(&self) -> &str {
        match self.guard {
            Guard::Cohort => "kanon_cohort",
            Guard::PartsOfUnits | Guard::PartsOfRows => "kanon_parts",
            Guard::WeightsOfUnits | Guard::WeightsOfRows => "kanon_weights",
        }
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::LargeBinary)
    }
    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[tally]", args.name), DataType::LargeBinary, true))])
    }
    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Alone::new(self.tally(&args)?)))
    }
    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }
    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups::new(self.tally(&args)?)))
    }
    fn order_sensitivity(&self) -> datafusion::logical_expr::utils::AggregateOrderSensitivity {
        datafusion::logical_expr::utils::AggregateOrderSensitivity::Insensitive
    }
}
