//! `round`, `trunc`, `ceil` and `floor` of decimals.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type, i256};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

use super::super::of_arrays;
use super::{Numbers, column, decimal, digits_and_scale, not_a_number, out_of_range, power_of_ten, rescaled, rounded};
use crate::error::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Way {
    Nearest,
    TowardsZero,
    Up,
    Down,
}

static OF_WAYS: LazyLock<[Arc<ScalarUDF>; 6]> = LazyLock::new(|| {
    let of = |name, way, each| Arc::new(ScalarUDF::new_from_impl(Rounding::new(name, way, each)));
    [
        of("kanon_round", Way::Nearest, false),
        of("kanon_trunc", Way::TowardsZero, false),
        of("kanon_ceil", Way::Up, false),
        of("kanon_floor", Way::Down, false),
        of("kanon_round_each", Way::Nearest, true),
        of("kanon_trunc_each", Way::TowardsZero, true),
    ]
});

pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    OF_WAYS.to_vec()
}

/// The function for decimals in place of one of this name.
pub(super) fn instead_of(name: &str) -> Option<Arc<ScalarUDF>> {
    let [round, trunc, ceil, floor, ..] = &*OF_WAYS;
    Some(Arc::clone(match name {
        "round" => round,
        "trunc" => trunc,
        "ceil" => ceil,
        "floor" => floor,
        _ => return None,
    }))
}

/// Whether a number is rounded to digits that are not known when the statement is planned.
pub(super) fn digits_are_open(function: &ScalarFunction) -> bool {
    matches!(function.name(), "round" | "trunc")
        && function.args.get(1).is_some_and(|digits| !matches!(digits, Expr::Literal(..)))
}

/// The call of such a function. Its type is that of the digits if they are known when the statement is planned.
pub(super) fn called(function: &Arc<ScalarUDF>, mut arguments: Vec<Expr>) -> Expr {
    let [round, trunc, _, _, round_each, trunc_each] = &*OF_WAYS;
    let Some(digits) = arguments.get_mut(1) else { return function.call(arguments) };
    if !matches!(digits, Expr::Literal(..)) {
        let simplifier = ExprSimplifier::new(SimplifyContext::default());
        match simplifier.simplify(digits.clone()) {
            Ok(known @ Expr::Literal(..)) => *digits = known,
            _ if Arc::ptr_eq(function, round) => return round_each.call(arguments),
            _ if Arc::ptr_eq(function, trunc) => return trunc_each.call(arguments),
            _ => {}
        }
    }
    function.call(arguments)
}

/// A decimal to so many digits behind the point; before it, if they are negative.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Rounding {
    name: &'static str,
    way: Way,
    /// Each row has its own digits: the type is that of the number, whatever is found out of the digits later.
    each: bool,
    signature: Signature,
}

impl Rounding {
    fn new(name: &'static str, way: Way, each: bool) -> Rounding {
        Rounding { name, way, each, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Rounding {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [of] => Ok(vec![of.clone()]),
            [of, _] => Ok(vec![of.clone(), DataType::Int64]),
            _ => Err(Error::internal("a number is rounded to so many digits").into()),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Err(Error::internal("the type depends on the digits").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let of = args.arg_fields.first().ok_or_else(|| Error::internal("nothing is rounded"))?.data_type();
        let (digits, scale) = digits_and_scale(of).ok_or_else(|| not_a_number(of))?;
        let places = match args.scalar_arguments.get(1) {
            None => 0,
            Some(_) if self.each => scale,
            Some(Some(ScalarValue::Int64(Some(places)))) => i8::try_from((*places).clamp(0, 38)).unwrap_or(38),
            // NULL.
            Some(_) => scale,
        };
        let before = i32::from(digits) - i32::from(scale) + 1;
        let wanted = u8::try_from((before + i32::from(places)).max(1)).unwrap_or(super::MOST_DIGITS);
        Ok(Arc::new(Field::new(self.name, decimal(wanted, places), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let returned = args.return_field.data_type().clone();
        let (_, scale) = digits_and_scale(&returned).ok_or_else(|| not_a_number(&returned))?;
        of_arrays(&args, |arrays| {
            let Some(of) = arrays.first() else { return Err(Error::internal("nothing is rounded").into()) };
            let places = arrays.get(1).map(|places| cast(places, &DataType::Int64)).transpose()?;
            let places = places.as_ref().map(|places| places.as_primitive::<Int64Type>());
            let numbers = Numbers::of(of)?;
            let values = (0..of.len()).map(|row| {
                let places = match places {
                    Some(places) if places.is_null(row) => return Ok(None),
                    Some(places) => places.value(row),
                    None => 0,
                };
                let Some(value) = numbers.at(row) else { return Ok(None) };
                self.to(value, numbers.scale, places, scale).map(Some).ok_or_else(out_of_range)
            });
            column(values, &returned)
        })
    }
}

impl Rounding {
    /// Rounded to so many places, in a scale. `None` if it does not fit.
    fn to(&self, value: i256, of_value: i8, places: i64, scale: i8) -> Option<i256> {
        let steps = i64::from(of_value).saturating_sub(places);
        if steps <= 0 {
            return rescaled(value, of_value, scale);
        }
        let Some(unit) = u32::try_from(steps).ok().and_then(power_of_ten) else { return Some(i256::ZERO) };
        let (cut, rest) = (value.checked_div(unit)?, value.checked_rem(unit)?);
        let whole = match self.way {
            Way::Nearest => rounded(value, unit)?,
            Way::Up if rest > i256::ZERO => cut.checked_add(i256::ONE)?,
            Way::Down if rest < i256::ZERO => cut.checked_sub(i256::ONE)?,
            _ => cut,
        };
        rescaled(whole.checked_mul(unit)?, of_value, scale)
    }
}
