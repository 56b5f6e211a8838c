//! Functions that answer NULL where DataFusion's own would fail or wrap: what expressions over protected rows are made of.
//!
//! An error that depends on a row tells of the row, and so does a wrapped number. [`arithmetic`] gives `+ − * / %` and negation with
//! NULL on overflow and on division by zero; [`guarded`] does the same for any deterministic function of the allow-list. Both try the
//! whole batch first and only on failure look for the rows at fault, by halves.

use std::hash::Hash;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use datafusion::arrow::compute::concat;
use datafusion::arrow::compute::kernels::{boolean, cmp, nullif};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::{Result, ScalarValue, exec_err, internal_err};
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};

/// An operation that can fail on some rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// `a + b`
    Add,
    /// `a - b`
    Subtract,
    /// `a * b`
    Multiply,
    /// `a / b`, NULL for a zero `b` of floats too
    Divide,
    /// `a % b`, likewise
    Modulo,
}

impl Arithmetic {
    /// The one that stands for an operator, if it is arithmetic.
    pub fn of(op: Operator) -> Option<Arithmetic> {
        match op {
            Operator::Plus => Some(Arithmetic::Add),
            Operator::Minus => Some(Arithmetic::Subtract),
            Operator::Multiply => Some(Arithmetic::Multiply),
            Operator::Divide => Some(Arithmetic::Divide),
            Operator::Modulo => Some(Arithmetic::Modulo),
            _ => None,
        }
    }
    /// The operator it stands for.
    pub fn operator(self) -> Operator {
        match self {
            Arithmetic::Add => Operator::Plus,
            Arithmetic::Subtract => Operator::Minus,
            Arithmetic::Multiply => Operator::Multiply,
            Arithmetic::Divide => Operator::Divide,
            Arithmetic::Modulo => Operator::Modulo,
        }
    }
    fn name(self) -> &'static str {
        match self {
            Arithmetic::Add => "kanon_add",
            Arithmetic::Subtract => "kanon_subtract",
            Arithmetic::Multiply => "kanon_multiply",
            Arithmetic::Divide => "kanon_divide",
            Arithmetic::Modulo => "kanon_modulo",
        }
    }
}

/// `left op right` that never fails and never wraps. Its type is the operator's.
pub fn arithmetic(op: Arithmetic, left: Expr, right: Expr) -> Expr {
    let udf = ScalarUDF::new_from_impl(Checked { op, signature: Signature::any(2, Volatility::Immutable) });
    udf.call(vec![left, right])
}

/// The operation behind an expression made by [`arithmetic`], with its operands.
pub fn as_arithmetic(expr: &Expr) -> Option<(Arithmetic, &Expr, &Expr)> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let checked = call.func.inner().downcast_ref::<Checked>()?;
    match call.args.as_slice() {
        [left, right] => Some((checked.op, left, right)),
        _ => None,
    }
}

/// `function(args)` with NULL where it would fail.
pub fn guarded(function: Arc<ScalarUDF>, args: Vec<Expr>) -> Expr {
    if function.inner().downcast_ref::<Guarded>().is_some() {
        return function.call(args);
    }
    ScalarUDF::new_from_impl(Guarded { inner: function }).call(args)
}

/// The function that an expression guards, if it was made by [`guarded`].
pub fn guards(function: &ScalarUDF) -> Option<&Arc<ScalarUDF>> {
    function.inner().downcast_ref::<Guarded>().map(|g| &g.inner)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    op: Arithmetic,
    signature: Signature,
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        self.op.name()
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [left, right] => BinaryTypeCoercer::new(left, &self.op.operator(), right).get_result_type(),
            _ => internal_err!("{} takes two arguments", self.op.name()),
        }
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut args = args;
        if matches!(self.op, Arithmetic::Divide | Arithmetic::Modulo)
            && let Some(divisor) = args.args.get_mut(1)
        {
            *divisor = without_zeros(divisor)?;
        }
        let op = self.op;
        by_halves(args, &|args| evaluate(op, args))
    }
}

fn evaluate(op: Arithmetic, args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    let mut operands: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
    for arg in &args.args {
        match arg {
            ColumnarValue::Scalar(value) => operands.push(Arc::new(Literal::new(value.clone()))),
            ColumnarValue::Array(values) => {
                let name = format!("c{}", columns.len());
                operands.push(Arc::new(Column::new(&name, columns.len())));
                fields.push(Field::new(name, values.data_type().clone(), true));
                columns.push(Arc::clone(values));
            }
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(args.number_rows));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?;
    let mut operands = operands.into_iter();
    let (Some(left), Some(right)) = (operands.next(), operands.next()) else {
        return internal_err!("{} takes two arguments", op.name());
    };
    BinaryExpr::new(left, op.operator(), right).with_fail_on_overflow(true).evaluate(&batch)
}

/// The same values with NULL for zeros of either sign.
fn without_zeros(divisor: &ColumnarValue) -> Result<ColumnarValue> {
    let kind = divisor.data_type();
    let Ok(zero) = ScalarValue::new_zero(&kind) else { return Ok(divisor.clone()) };
    match divisor {
        ColumnarValue::Scalar(value) => {
            let is_zero = !value.is_null() && (*value == zero || is_negative_zero(value));
            Ok(ColumnarValue::Scalar(if is_zero { ScalarValue::try_from(&kind)? } else { value.clone() }))
        }
        ColumnarValue::Array(values) => {
            let mut zeros: BooleanArray = cmp::eq(values, &zero.to_scalar()?)?;
            let negative = match kind {
                DataType::Float16 | DataType::Float32 | DataType::Float64 => Some(zero.arithmetic_negate()?),
                _ => None,
            };
            if let Some(negative) = negative {
                zeros = boolean::or(&zeros, &cmp::eq(values, &negative.to_scalar()?)?)?;
            }
            Ok(ColumnarValue::Array(nullif::nullif(values, &zeros)?))
        }
    }
}

fn is_negative_zero(value: &ScalarValue) -> bool {
    match value {
        ScalarValue::Float32(Some(x)) => *x == 0.0,
        ScalarValue::Float64(Some(x)) => *x == 0.0,
        ScalarValue::Float16(Some(x)) => x.to_f32() == 0.0,
        _ => false,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Guarded {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Guarded {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.schema_name(args)
    }
    fn signature(&self) -> &Signature {
        self.inner.signature()
    }
    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = self.inner.return_field_from_args(args)?;
        Ok(Arc::new(field.as_ref().clone().with_nullable(true)))
    }
    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        by_halves(args, &|args| self.inner.invoke_with_args(args.clone()))
    }
}

/// Runs `f` over all rows, and where it fails over halves of them, down to single rows, which become NULL.
fn by_halves(
    args: ScalarFunctionArgs,
    f: &dyn Fn(&ScalarFunctionArgs) -> Result<ColumnarValue>,
) -> Result<ColumnarValue> {
    if let Ok(answer) = f(&args) {
        return Ok(answer);
    }
    let kind = args.return_type().clone();
    let all_scalar = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
    if all_scalar {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from(&kind)?));
    }
    if args.number_rows <= 1 {
        return Ok(ColumnarValue::Array(new_null_array(&kind, args.number_rows)));
    }
    let middle = args.number_rows / 2;
    let low = by_halves(slice(&args, 0, middle), f)?.into_array(middle)?;
    let rest = args.number_rows - middle;
    let high = by_halves(slice(&args, middle, rest), f)?.into_array(rest)?;
    if low.data_type() != high.data_type() {
        return exec_err!("halves differ in type");
    }
    Ok(ColumnarValue::Array(concat(&[low.as_ref(), high.as_ref()])?))
}

fn slice(args: &ScalarFunctionArgs, offset: usize, length: usize) -> ScalarFunctionArgs {
    let mut part = args.clone();
    part.number_rows = length;
    for arg in &mut part.args {
        if let ColumnarValue::Array(values) = arg {
            *arg = ColumnarValue::Array(values.slice(offset, length));
        }
    }
    part
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use datafusion::arrow::array::{Float64Array, Int64Array, StringArray};
    use datafusion::common::config::ConfigOptions;

    fn run(op: Arithmetic, left: ArrayRef, right: ArrayRef) -> ArrayRef {
        let fields = vec![
            Arc::new(Field::new("a", left.data_type().clone(), true)),
            Arc::new(Field::new("b", right.data_type().clone(), true)),
        ];
        let udf = Checked { op, signature: Signature::any(2, Volatility::Immutable) };
        let kind = udf.return_type(&[left.data_type().clone(), right.data_type().clone()]).unwrap();
        let rows = left.len();
        let args = ScalarFunctionArgs {
            args: vec![ColumnarValue::Array(left), ColumnarValue::Array(right)],
            arg_fields: fields,
            number_rows: rows,
            return_field: Arc::new(Field::new("r", kind, true)),
            config_options: Arc::new(ConfigOptions::default()),
        };
        udf.invoke_with_args(args).unwrap().into_array(rows).unwrap()
    }

    #[test]
    fn overflow_is_null_and_other_rows_are_kept() {
        let left: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(i64::MAX), None, Some(i64::MIN), Some(7)]));
        let right: ArrayRef = Arc::new(Int64Array::from(vec![Some(2), Some(1), Some(1), Some(-1), Some(0)]));
        let int = |v: Vec<Option<i64>>| Arc::new(Int64Array::from(v)) as ArrayRef;
        assert_eq!(&run(Arithmetic::Add, left.clone(), right.clone()), &int(vec![Some(3), None, None, None, Some(7)]));
        assert_eq!(
            &run(Arithmetic::Divide, left.clone(), right.clone()),
            &int(vec![Some(0), Some(i64::MAX), None, None, None])
        );
        let modulo = run(Arithmetic::Modulo, left, right);
        assert!(modulo.is_null(4));
    }

    #[test]
    fn floats_divided_by_either_zero_are_null() {
        let left: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 1.0, 1.0]));
        let right: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, 2.0]));
        let answer = run(Arithmetic::Divide, left, right);
        assert_eq!(&answer, &(Arc::new(Float64Array::from(vec![None, None, Some(0.5)])) as ArrayRef));
    }

    #[test]
    fn a_guarded_function_answers_null_for_the_rows_it_fails_on() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["2020-01-01", "never", "2021-13-45"]));
        let udf = Guarded { inner: datafusion::functions::datetime::to_date() };
        let args = ScalarFunctionArgs {
            args: vec![ColumnarValue::Array(text)],
            arg_fields: vec![Arc::new(Field::new("a", DataType::Utf8, true))],
            number_rows: 3,
            return_field: Arc::new(Field::new("r", DataType::Date32, true)),
            config_options: Arc::new(ConfigOptions::default()),
        };
        assert!(
            udf.inner.invoke_with_args(args.clone()).is_err(),
            "the plain function fails: the guard is what is tested"
        );
        let answer = udf.invoke_with_args(args).unwrap().into_array(3).unwrap();
        assert!(answer.is_valid(0) && answer.is_null(1) && answer.is_null(2));
    }
}
