//! Functions that make texts of any length, as long as a node can hold them.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::functions::unicode;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::series::SERIES;
use crate::error::{Error, Sqlstate};

/// The longest text that is made, and the most that those of a batch may have together, in bytes.
pub(super) const MOST_OF_ONE: u64 = 32 << 20;
pub(super) const MOST_OF_BATCH: u64 = 128 << 20;

/// The error for more than that.
pub(super) fn too_large() -> Error {
    Error::new(Sqlstate::StatementTooComplex, "requested length too large")
}

/// A function whose second argument says how long its answer is, or how often its first is in it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Limited {
    inner: Arc<ScalarUDF>,
    /// Whether it is a number of times.
    is_times: bool,
}

/// `repeat`, `lpad` and `rpad`.
pub(super) fn all() -> [ScalarUDF; 3] {
    let limited = |inner, is_times| ScalarUDF::new_from_impl(Limited { inner, is_times });
    [
        limited(datafusion::functions::string::repeat(), true),
        limited(unicode::lpad(), false),
        limited(unicode::rpad(), false),
    ]
}

/// Calls in one statement of functions whose answers are of any size. What they make together is then bounded.
const MOST_CALLS: usize = 64;
/// A size that is no matter, in as many columns as there may be.
const SMALL: i64 = 64;

/// Refuses a plan that makes too many values of any size: nothing else bounds what they take together.
///
/// # Errors
/// 54001 for more than 64 such calls.
pub fn bounded(plan: &LogicalPlan) -> Result<()> {
    let mut calls = 0_usize;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                calls += usize::from(matches!(expr, Expr::ScalarFunction(function) if is_of_any_size(function)));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    if calls > MOST_CALLS {
        let message = format!("more than {MOST_CALLS} calls of functions whose answers are of any size");
        return Err(Error::new(Sqlstate::StatementTooComplex, message).into());
    }
    Ok(())
}

fn is_of_any_size(function: &ScalarFunction) -> bool {
    match function.name() {
        // What is made long already, and then so often, is as long as both say.
        "repeat" => {
            let is_plain = matches!(function.args.first(), Some(Expr::Literal(..) | Expr::Column(_)));
            !is_plain || !is_small(function)
        }
        "lpad" | "rpad" => !is_small(function),
        "array_fill" | "format" | SERIES => true,
        _ => false,
    }
}

fn is_small(function: &ScalarFunction) -> bool {
    matches!(function.args.get(1), Some(Expr::Literal(ScalarValue::Int64(Some(..=SMALL)), _)))
}

impl Limited {
    fn check(&self, args: &ScalarFunctionArgs) -> Result<()> {
        let [text, length, ..] = args.args.as_slice() else { return Ok(()) };
        let texts = match text {
            ColumnarValue::Scalar(_) => text.to_array(1)?,
            ColumnarValue::Array(array) => Arc::clone(array),
        };
        let lengths = match length {
            ColumnarValue::Scalar(_) => length.to_array(1)?,
            ColumnarValue::Array(array) => Arc::clone(array),
        };
        let (texts, lengths) = (cast(&texts, &DataType::Utf8)?, cast(&lengths, &DataType::Int64)?);
        let (texts, lengths) = (texts.as_string::<i32>(), lengths.as_primitive::<Int64Type>());
        let mut all: u64 = 0;
        // Constants make one text.
        let rows = if texts.len() == 1 && lengths.len() == 1 { 1 } else { args.number_rows };
        for row in 0..rows {
            let at = |len: usize| if len == 1 { 0 } else { row };
            let (text, length) = (at(texts.len()), at(lengths.len()));
            if texts.is_null(text) || lengths.is_null(length) {
                continue;
            }
            let length = u64::try_from(lengths.value(length)).unwrap_or(0);
            // A character has four bytes at most.
            let each = if self.is_times { texts.value(text).len() as u64 } else { 4 };
            let bytes = each.saturating_mul(length);
            all = all.saturating_add(bytes);
            if bytes > MOST_OF_ONE || all > MOST_OF_BATCH {
                return Err(too_large().into());
            }
        }
        Ok(())
    }
}

impl ScalarUDFImpl for Limited {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&args)?;
        self.inner.invoke_with_args(args)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    #[tokio::test]
    async fn texts_are_as_long_as_a_node_can_hold() {
        let ctx = SessionContext::new();
        all().into_iter().for_each(|function| ctx.register_udf(function));
        for (sql, is_made) in [
            ("SELECT repeat('ab', 3), lpad('7', 3, '0'), rpad('é', 2), repeat('a', -1), repeat(NULL, 5)", true),
            ("SELECT repeat('a', 1000000)", true),
            ("SELECT repeat('a', 2000000000)", false),
            ("SELECT lpad('a', 2000000000, 'b')", false),
            ("SELECT rpad(x, 2000000000) FROM (VALUES ('a'), ('b')) AS t(x)", false),
            ("SELECT repeat(x, n) FROM (VALUES ('a', 1), ('b', 100000000)) AS t(x, n)", false),
        ] {
            let made = async { ctx.sql(sql).await?.collect().await }.await;
            assert_eq!(made.is_ok(), is_made, "{sql}");
            if let Err(error) = made {
                assert!(error.to_string().contains("too large"), "{error}");
            }
        }
    }
}
