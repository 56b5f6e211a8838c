//! Operators of `json`, `jsonb`, `uuid`, `inet` and `timetz`, planned by what stands beside them.

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, binary_expr};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::{call, type_name};
use crate::error::{Error, Sqlstate};
use crate::pg_catalog::types::PgType;

/// A type that is text here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    Jsonb,
    Uuid,
    Inet,
    TimeTz,
}

impl Kind {
    pub(super) fn of_field(field: &Field) -> Option<Kind> {
        match PgType::of_field(field) {
            _ if !matches!(field.data_type(), DataType::Utf8) => None,
            PgType::JSON => Some(Kind::Json),
            PgType::JSONB => Some(Kind::Jsonb),
            PgType::UUID => Some(Kind::Uuid),
            PgType::INET => Some(Kind::Inet),
            PgType::TIMETZ => Some(Kind::TimeTz),
            _ => None,
        }
    }

    /// What an expression is. Fields do not tell it of all: those of CASE and of what chooses among values have no type of ours.
    pub(super) fn of(expr: &Expr, schema: &DFSchema) -> Option<Kind> {
        match expr {
            Expr::Alias(alias) => Kind::of(&alias.expr, schema),
            Expr::Case(case) => {
                let thens = case.when_then_expr.iter().map(|(_, then)| then.as_ref());
                thens.chain(case.else_expr.as_deref()).find_map(|expr| Kind::of(expr, schema))
            }
            Expr::ScalarFunction(function) if chooses(function.name()) => {
                function.args.iter().find_map(|arg| Kind::of(arg, schema))
            }
            Expr::Cast(cast) => Kind::of_field(&cast.field),
            other => Kind::of_field(other.to_field(schema).ok()?.1.as_ref()),
        }
    }

    /// The function that reads text as one.
    pub(super) fn maker(self) -> &'static str {
        match self {
            Kind::Json => "kanon_json",
            Kind::Jsonb => "kanon_jsonb",
            Kind::Uuid => "kanon_uuid",
            Kind::Inet => "kanon_inet",
            Kind::TimeTz => "kanon_timetz",
        }
    }

    /// What PostgreSQL calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Json => "json",
            Kind::Jsonb => "jsonb",
            Kind::Uuid => "uuid",
            Kind::Inet => "inet",
            Kind::TimeTz => "time with time zone",
        }
    }

    /// What values are compared and sorted by: bytes in their order, or the text itself.
    pub(super) fn key(self, expr: Expr) -> Result<Expr> {
        match self {
            Kind::Json | Kind::Uuid => Ok(expr),
            Kind::Jsonb => call("kanon_jsonb_key", vec![expr]),
            Kind::Inet => call("kanon_inet_key", vec![expr]),
            Kind::TimeTz => call("kanon_timetz_key", vec![expr]),
        }
    }
}

/// Whether a function answers one of its arguments.
pub(super) fn chooses(function: &str) -> bool {
    matches!(function, "coalesce" | "nullif" | "nvl" | "greatest" | "least")
}

/// Whether an expression has no type yet, so that it takes that of what it is beside.
fn is_open(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::Utf8(_) | ScalarValue::Null, metadata) => metadata.is_none(),
        Expr::Placeholder(_) => true,
        Expr::Alias(alias) => is_open(&alias.expr),
        _ => false,
    }
}

/// Plans what has one of the types on a side.
#[derive(Debug)]
pub struct JsonOperators;

impl ExprPlanner for JsonOperators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        use BinaryOperator::{
            And, Arrow, ArrowAt, AtArrow, AtAt, AtQuestion, Divide, Eq, Gt, GtEq, HashArrow, HashLongArrow, HashMinus,
            LongArrow, Lt, LtEq, Minus, Modulo, Multiply, NotEq, Or, Plus, Question, QuestionAnd, QuestionPipe,
            StringConcat,
        };
        let RawBinaryExpr { op, left, right } = &expr;
        // What has nothing to do with JSON is not looked at: to tell the type of a long sum takes long.
        if matches!(op, Plus | Multiply | Divide | Modulo | And | Or) {
            return Ok(PlannerResult::Original(expr));
        }
        let (of_left, of_right) = (Kind::of(left, schema), Kind::of(right, schema));
        let is_ours = of_left.is_some() || of_right.is_some();
        let planned = match op {
            Arrow | LongArrow | HashArrow | HashLongArrow => step(&expr, of_left, schema)?,
            AtArrow | ArrowAt if is_ours => {
                let (left, right) = both(&expr, (of_left, of_right), Kind::Jsonb, schema)?;
                let sides = if matches!(op, AtArrow) { vec![left, right] } else { vec![right, left] };
                call("kanon_jsonb_contains", sides)?
            }
            Question | QuestionPipe | QuestionAnd if of_left == Some(Kind::Jsonb) => {
                let function = match op {
                    Question => "kanon_jsonb_has",
                    QuestionPipe => "kanon_jsonb_has_any",
                    _ => "kanon_jsonb_has_all",
                };
                call(function, vec![left.clone(), right.clone()])?
            }
            HashMinus if of_left == Some(Kind::Jsonb) => {
                call("kanon_jsonb_delete_path", vec![left.clone(), right.clone()])?
            }
            Minus if of_left == Some(Kind::Jsonb) => {
                let is_list = matches!(right.get_type(schema), Ok(DataType::List(_)));
                let function = if is_list { "kanon_jsonb_delete_all" } else { "kanon_jsonb_delete" };
                call(function, vec![left.clone(), right.clone()])?
            }
            StringConcat if of_left == Some(Kind::Jsonb) || of_right == Some(Kind::Jsonb) => {
                let is_both = |kind: Option<Kind>, side: &Expr| kind == Some(Kind::Jsonb) || is_open(side);
                // Beside text it is text.
                if !is_both(of_left, left) || !is_both(of_right, right) {
                    return Ok(PlannerResult::Original(expr));
                }
                let (left, right) = both(&expr, (of_left, of_right), Kind::Jsonb, schema)?;
                call("kanon_jsonb_concat", vec![left, right])?
            }
            AtQuestion | AtAt if is_ours => {
                return Err(Error::unsupported(format!("the operator {op} of jsonb is not supported"))
                    .hint("Use ->, ->>, #>> and @>.")
                    .into());
            }
            Eq | NotEq | Lt | LtEq | Gt | GtEq if is_ours => {
                let operator = match op {
                    Eq => Operator::Eq,
                    NotEq => Operator::NotEq,
                    Lt => Operator::Lt,
                    LtEq => Operator::LtEq,
                    Gt => Operator::Gt,
                    _ => Operator::GtEq,
                };
                let plain =
                    [of_left, of_right].into_iter().flatten().find(|kind| !matches!(kind, Kind::Json | Kind::Jsonb));
                let kind = plain.unwrap_or(Kind::Jsonb);
                let (left, right) = both(&expr, (of_left, of_right), kind, schema)?;
                binary_expr(kind.key(left)?, operator, kind.key(right)?)
            }
            _ if is_ours && matches!(op, Question | QuestionPipe | QuestionAnd | HashMinus) => {
                return Err(no_such(&expr, schema).into());
            }
            _ => return Ok(PlannerResult::Original(expr)),
        };
        Ok(PlannerResult::Planned(planned))
    }
}

/// `->`, `->>`, `#>` and `#>>`.
fn step(expr: &RawBinaryExpr, of_left: Option<Kind>, schema: &DFSchema) -> Result<Expr> {
    let is_jsonb = match of_left {
        Some(Kind::Json) => false,
        Some(Kind::Jsonb) => true,
        _ => return Err(no_such(expr, schema).into()),
    };
    let of_step = expr.right.get_type(schema).unwrap_or(DataType::Null);
    let is_one = matches!(of_step, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Null);
    let (function, is_right) = match (&expr.op, is_jsonb) {
        (BinaryOperator::Arrow, false) => ("kanon_json_get", is_one || of_step.is_integer()),
        (BinaryOperator::Arrow, true) => ("kanon_jsonb_get", is_one || of_step.is_integer()),
        (BinaryOperator::LongArrow, false) => ("kanon_json_get_text", is_one || of_step.is_integer()),
        (BinaryOperator::LongArrow, true) => ("kanon_jsonb_get_text", is_one || of_step.is_integer()),
        (BinaryOperator::HashArrow, false) => {
            ("kanon_json_path", matches!(of_step, DataType::List(_) | DataType::Null))
        }
        (BinaryOperator::HashArrow, true) => {
            ("kanon_jsonb_path", matches!(of_step, DataType::List(_) | DataType::Null))
        }
        _ => ("kanon_json_path_text", matches!(of_step, DataType::List(_) | DataType::Null)),
    };
    if !is_right {
        return Err(no_such(expr, schema).into());
    }
    call(function, vec![expr.left.clone(), expr.right.clone()])
}

/// Both sides as values of a kind: what has no type yet is read as one.
fn both(
    expr: &RawBinaryExpr,
    (of_left, of_right): (Option<Kind>, Option<Kind>),
    kind: Kind,
    schema: &DFSchema,
) -> Result<(Expr, Expr)> {
    let one = |of: Option<Kind>, side: &Expr| match of {
        Some(of) if of == kind => Ok(side.clone()),
        None if is_open(side) => call(kind.maker(), vec![side.clone()]),
        _ => Err(no_such(expr, schema).into()),
    };
    Ok((one(of_left, &expr.left)?, one(of_right, &expr.right)?))
}

fn no_such(expr: &RawBinaryExpr, schema: &DFSchema) -> Error {
    let name = |side: &Expr| match (Kind::of(side, schema), side.to_field(schema)) {
        (Some(kind), _) => kind.name().to_owned(),
        (None, Ok((_, field))) if !is_open(side) => type_name(&field),
        _ => "unknown".to_owned(),
    };
    let message = format!("operator does not exist: {} {} {}", name(&expr.left), expr.op, name(&expr.right));
    Error::new(Sqlstate::UndefinedFunction, message)
        .hint("No operator matches the given name and argument types. You might need to add explicit type casts.")
}
