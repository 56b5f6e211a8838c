//! `pg_sleep()` and its kin, `pg_cancel_backend()` and `pg_terminate_backend()`.
//!
//! They wait, or stop a session of the same principal, while a query runs: never while one is planned, described or explained. They are functions of queries over open
//! tables of this node alone: how long an answer over protected rows takes is not theirs to say.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, Float64Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};

use crate::error::{Error, Result};
use crate::pg_catalog::types::{PgType, annotate};
use crate::system::SystemContext;

/// Of an interval, as PostgreSQL counts them.
const DAYS_OF_A_MONTH: f64 = 30.0;
const SECONDS_OF_A_DAY: f64 = 86_400.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Sleep,
    SleepFor,
    SleepUntil,
    Cancel,
    Terminate,
}

const ALL: [Kind; 5] = [Kind::Sleep, Kind::SleepFor, Kind::SleepUntil, Kind::Cancel, Kind::Terminate];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Sleep => "pg_sleep",
            Kind::SleepFor => "pg_sleep_for",
            Kind::SleepUntil => "pg_sleep_until",
            Kind::Cancel => "pg_cancel_backend",
            Kind::Terminate => "pg_terminate_backend",
        }
    }

    fn signature(self) -> Signature {
        let of = |types: &[DataType]| TypeSignature::Exact(types.to_vec());
        let signature = match self {
            Kind::Sleep => of(&[DataType::Float64]),
            Kind::SleepFor => of(&[DataType::Interval(IntervalUnit::MonthDayNano)]),
            Kind::SleepUntil => of(&[DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))]),
            Kind::Cancel => TypeSignature::OneOf(vec![of(&[DataType::Int32]), of(&[DataType::Int64])]),
            Kind::Terminate => TypeSignature::OneOf(vec![
                of(&[DataType::Int32]),
                of(&[DataType::Int64]),
                of(&[DataType::Int32, DataType::Int64]),
                of(&[DataType::Int64, DataType::Int64]),
            ]),
        };
        Signature::new(signature, Volatility::Volatile)
    }

    fn is_sleep(self) -> bool {
        matches!(self, Kind::Sleep | Kind::SleepFor | Kind::SleepUntil)
    }
}

/// One of the functions. Whose sessions it may stop follows from the configuration of the statement that calls it.
#[derive(PartialEq, Eq, Hash)]
struct Signal {
    kind: Kind,
    signature: Signature,
}

impl std::fmt::Debug for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signal({})", self.kind.name())
    }
}

impl ScalarUDFImpl for Signal {
    fn name(&self) -> &str {
        self.kind.name()
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(if self.kind.is_sleep() { DataType::Utf8 } else { DataType::Boolean })
    }
    fn return_field_from_args(&self, _: ReturnFieldArgs) -> DfResult<FieldRef> {
        let field = Field::new(self.kind.name(), self.return_type(&[])?, true);
        Ok(Arc::new(if self.kind.is_sleep() { annotate(field, PgType::VOID) } else { field }))
    }
    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Err(Error::unsupported(format!("{}() cannot be called here", self.kind.name()))
            .hint("Call it in a select list or in WHERE.")
            .into())
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Signal {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let arrays = args.args.iter().map(|arg| arg.to_array(args.number_rows)).collect::<DfResult<Vec<_>>>()?;
        let Some(first) = arrays.first() else { return Err(Error::internal("a signal without its argument").into()) };
        let context = args.config_options.extensions.get::<SystemContext>();
        let context = context.ok_or_else(|| Error::internal("a statement without a session"))?;
        let answer = if self.kind.is_sleep() { self.sleep(first).await? } else { self.send(first, context)? };
        Ok(ColumnarValue::Array(answer))
    }
}

impl Signal {
    /// Sleeps for each row in turn.
    async fn sleep(&self, given: &ArrayRef) -> DfResult<ArrayRef> {
        let mut done = Vec::with_capacity(given.len());
        for row in 0..given.len() {
            if given.is_null(row) {
                done.push(None);
                continue;
            }
            let seconds = match self.kind {
                Kind::SleepFor => {
                    let interval = given.as_primitive::<IntervalMonthDayNanoType>().value(row);
                    let days = f64::from(interval.months) * DAYS_OF_A_MONTH + f64::from(interval.days);
                    days * SECONDS_OF_A_DAY + interval.nanoseconds as f64 / 1e9
                }
                Kind::SleepUntil => {
                    let until = given.as_primitive::<TimestampMicrosecondType>().value(row);
                    until.saturating_sub(Utc::now().timestamp_micros()) as f64 / 1e6
                }
                _ => given.as_primitive::<Float64Type>().value(row),
            };
            match Duration::try_from_secs_f64(seconds) {
                Ok(duration) => tokio::time::sleep(duration).await,
                // Less than no time; or more than there is, which a timeout or a cancellation ends.
                Err(_) if seconds > 0.0 => std::future::pending().await,
                Err(_) => {}
            }
            done.push(Some(""));
        }
        Ok(Arc::new(StringArray::from(done)))
    }

    /// Stops the statement, or ends the session, of each number; false for one that is none of the principal's sessions.
    fn send(&self, given: &ArrayRef, context: &SystemContext) -> DfResult<ArrayRef> {
        let numbers = cast(given, &DataType::Int64)?;
        let numbers = numbers.as_primitive::<Int64Type>();
        let sent: BooleanArray = numbers
            .iter()
            .map(|number| {
                let session =
                    i32::try_from(number?).ok().and_then(|id| context.node.sessions.one_of(&context.principal, id));
                if let Some(session) = &session {
                    match self.kind {
                        Kind::Terminate => session.terminate(),
                        _ => session.cancel(),
                    }
                }
                Some(session.is_some())
            })
            .collect();
        Ok(Arc::new(sent))
    }
}

/// The functions.
pub(super) fn functions() -> impl Iterator<Item = ScalarUDF> {
    ALL.into_iter()
        .map(|kind| AsyncScalarUDF::new(Arc::new(Signal { kind, signature: kind.signature() })).into_scalar_udf())
}

/// Refuses a plan with one of the functions.
///
/// # Errors
/// 0A000 that names it.
pub(super) fn refuse(plan: &LogicalPlan) -> Result<()> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::ScalarFunction(function) = expr {
                    found = found.or_else(|| ALL.into_iter().find(|kind| kind.name() == function.name()));
                }
                Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    })?;
    match found {
        Some(kind) => Err(Error::unsupported(format!(
            "{}() is not supported in a query of protected or remote tables",
            kind.name()
        ))
        .hint("Call it in a statement of its own.")),
        None => Ok(()),
    }
}
