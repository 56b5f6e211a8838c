//! Values of parameters in plans to execute.
//!
//! A plan to execute has no placeholders. Where a parameter stands, a kept one calls a function without arguments, which answers what is in a slot of that plan: so a
//! plan is of one run at a time.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::expr::{Placeholder, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::scalar::ScalarValue;

use super::lock;
use crate::error::{Error, Result};

/// The slots of a plan: one a parameter.
pub(super) struct Slots {
    types: Vec<DataType>,
    values: Mutex<Vec<ScalarValue>>,
    is_lent: AtomicBool,
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slots(..)")
    }
}

/// The slots of a plan that runs, for as long as this is kept.
pub(super) struct Lent(Arc<Slots>);

impl Drop for Lent {
    fn drop(&mut self) {
        lock(&self.0.values).clear();
        self.0.is_lent.store(false, Ordering::Release);
    }
}

impl Slots {
    /// For parameters of these types.
    pub(super) fn of(types: Vec<DataType>) -> Arc<Slots> {
        Arc::new(Slots { types, values: Mutex::default(), is_lent: AtomicBool::new(false) })
    }

    /// Puts values in for one run; `None` if they are not of the types, or the plan runs already.
    pub(super) fn lend(self: &Arc<Self>, values: &[ScalarValue]) -> Option<Lent> {
        let are_of_types =
            values.len() == self.types.len() && values.iter().zip(&self.types).all(|(v, t)| v.data_type() == *t);
        if !are_of_types || self.is_lent.swap(true, Ordering::Acquire) {
            return None;
        }
        *lock(&self.values) = values.to_vec();
        Some(Lent(Arc::clone(self)))
    }

    /// A plan that reads the slots where its parameters stand.
    ///
    /// # Errors
    /// If it has others, or is no plan then.
    pub(super) fn in_place_of_parameters(self: &Arc<Self>, plan: LogicalPlan) -> Result<LogicalPlan> {
        let filled = plan.transform_up_with_subqueries(|plan| {
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let expr = expr.transform_up(|expr| match expr {
                    Expr::Placeholder(placeholder) => Ok(Transformed::yes(self.slot(placeholder)?)),
                    expr => Ok(Transformed::no(expr)),
                })?;
                Ok(expr.update_data(|expr| name.restore(expr)))
            })
        })?;
        Ok(filled.data)
    }

    fn slot(self: &Arc<Self>, placeholder: Placeholder) -> DfResult<Expr> {
        let number = placeholder.id.trim_start_matches('$').parse::<usize>().ok();
        let place = number.and_then(|number| number.checked_sub(1)).filter(|place| *place < self.types.len());
        let (Some(place), Some(field)) = (place, placeholder.field) else {
            return Err(DataFusionError::from(Error::internal("a parameter without a slot")));
        };
        let signature = Signature::nullary(Volatility::Volatile);
        let slot = Slot { slots: Arc::clone(self), place, field, signature };
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::from(slot)), Vec::new())))
    }
}

/// Answers what is in a slot. Volatile: nobody computes it before the plan runs.
#[derive(Debug)]
struct Slot {
    slots: Arc<Slots>,
    place: usize,
    field: FieldRef,
    signature: Signature,
}

impl PartialEq for Slot {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.slots, &other.slots) && self.place == other.place
    }
}

impl Eq for Slot {}

impl Hash for Slot {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place.hash(state);
    }
}

impl ScalarUDFImpl for Slot {
    fn name(&self) -> &str {
        "kanon_slot"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DfResult<DataType> {
        Ok(self.field.data_type().clone())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> DfResult<FieldRef> {
        Ok(Arc::clone(&self.field))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let value = lock(&self.slots.values).get(self.place).cloned();
        value
            .map(ColumnarValue::Scalar)
            .ok_or_else(|| DataFusionError::from(Error::internal("a plan runs without values for its parameters")))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn slots_are_of_one_run_at_a_time() {
        let slots = Slots::of(vec![DataType::Int64, DataType::Utf8]);
        let values = [ScalarValue::from(1_i64), ScalarValue::Utf8(None)];
        let lent = slots.lend(&values).unwrap();
        assert_eq!(*lock(&slots.values), values);
        assert!(slots.lend(&values).is_none());
        drop(lent);
        assert!(lock(&slots.values).is_empty());
        // Neither of another number nor of another type, and a refusal lends nothing.
        assert!(slots.lend(&values[..1]).is_none());
        assert!(slots.lend(&[ScalarValue::from(1_i32), ScalarValue::from("x")]).is_none());
        assert!(slots.lend(&[ScalarValue::from(1_i64), ScalarValue::from("x")]).is_some());
    }
}
