//! The types that a client says for the parameters of a statement.
//!
//! | in a statement | is planned as |
//! | --- | --- |
//! | `$1`, said to be of a type that is text here (`uuid`, `json` …) | `$1::uuid`, as if it were written |
//! | `$1`, said to be of any other type | a cast to that type, so that what is around it is planned for it; then `$1` alone again |
//! | `FROM generate_series(1, $1)` | the number that `$1` is, or NULL before there is one: a series of constants is made as it is read |

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Decimal128Type, DecimalType, Field};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Cast, Expr, LogicalPlan};
use datafusion::sql::sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart, Query, TableFactor, UnaryOperator, VisitMut,
    VisitorMut, visit_expressions_mut,
};

use crate::functions::json::is_ours;
use crate::functions::series::NAME as SERIES;
use crate::pg_catalog::integers::BOUND_KEY;
use crate::pg_catalog::types::{METADATA_KEY, PgType, arrow_of};
use crate::pg_catalog::{PARAMETER, TOLD_KEY, is_constant, parameter};

/// What a client says of each parameter; `None`, or nothing, of one that it leaves open.
pub(super) type Told = Arc<[Option<PgType>]>;

/// The Arrow type of values of a parameter of this type; `None` if it is not carried. One of type `void` is what pgjdbc has for the answer of a
/// function: it has no value.
pub fn arrow_of_parameter(of: PgType) -> Option<DataType> {
    match of {
        PgType::VOID => Some(DataType::Null),
        PgType::TIMETZ => Some(DataType::Utf8),
        of => arrow_of(of.oid),
    }
}

/// What is said of parameter `number`, from 0.
fn said(told: &[Option<PgType>], number: usize) -> Option<PgType> {
    told.get(number).copied().flatten()
}

/// The metadata of the value of a parameter: that it was bound if its type is settled by that, and what its type is called where its Arrow type does not tell.
pub(super) fn metadata(data_type: &DataType, told: &[Option<PgType>], number: usize) -> BTreeMap<String, String> {
    let told = said(told, number);
    let mut metadata = BTreeMap::new();
    if told.is_some() || *data_type == DataType::Int64 {
        metadata.insert(BOUND_KEY.to_owned(), String::new());
    }
    if let Some(told) = told.filter(|told| is_called_otherwise(*told)) {
        metadata.insert(METADATA_KEY.to_owned(), told.name.to_owned());
    }
    metadata
}

/// Whether values of a type, or of arrays of it, are told by its name alone.
fn is_called_otherwise(of: PgType) -> bool {
    match of.element() {
        Some(element) => is_ours(element) || is_called_otherwise(element),
        None => matches!(of, PgType::VARCHAR | PgType::BPCHAR | PgType::NAME | PgType::OID | PgType::XID),
    }
}

/// Casts the parameters of a query to what is said of them. [`bare`] takes the casts off its plan.
pub(super) fn cast(query: &mut Query, told: &[Option<PgType>]) {
    if told.iter().all(Option::is_none) {
        return;
    }
    let _ = visit_expressions_mut(query, |expr| {
        let told = parameter(expr).and_then(|number| said(told, number));
        if let Some(told) = told.filter(|told| !is_ours(*told) && arrow_of(told.oid).is_some()) {
            let name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(PARAMETER))]);
            let data_type = ast::DataType::Custom(name, vec![told.name.to_owned()]);
            let inner = Box::new(expr.clone());
            *expr = ast::Expr::Cast { kind: ast::CastKind::Cast, expr: inner, data_type, array: false, format: None };
        }
        ControlFlow::<()>::Continue(())
    });
}

/// A plan whose parameters are of the types that [`cast`] gave them, without its casts.
pub(super) fn bare(plan: LogicalPlan) -> Result<LogicalPlan> {
    let done = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let done = expr.transform_up(|expr| match expr {
                Expr::Cast(of) if of.field.metadata().contains_key(TOLD_KEY) => Ok(match *of.expr {
                    Expr::Placeholder(Placeholder { id, .. }) => {
                        let field = Field::new(&id, of.field.data_type().clone(), true);
                        Transformed::yes(Expr::Placeholder(Placeholder { id, field: Some(field.into()) }))
                    }
                    inner => Transformed::no(Expr::Cast(Cast { expr: Box::new(inner), field: of.field })),
                }),
                expr => Ok(Transformed::no(expr)),
            })?;
            Ok(if done.transformed { done.update_data(|expr| name.restore(expr)) } else { done })
        })?
        .map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(done.data)
}

/// Puts numbers in place of the parameters of series in FROM whose ends are all known then.
pub(super) fn in_series(query: &mut Query, known: &HashMap<usize, ast::Expr>) {
    if !known.is_empty() {
        let _ = VisitMut::visit(query, &mut InSeries(known));
    }
}

struct InSeries<'k>(&'k HashMap<usize, ast::Expr>);

impl VisitorMut for InSeries<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let (name, arguments) = match factor {
            TableFactor::Table { name, args: Some(arguments), with_ordinality: false, .. } => {
                (name, &mut arguments.args)
            }
            TableFactor::Function { name, args, with_ordinality: false, .. } => (name, args),
            _ => return ControlFlow::Continue(()),
        };
        let name = name.0.last().and_then(ObjectNamePart::as_ident);
        if !name.is_some_and(|ident| ident.value.eq_ignore_ascii_case(SERIES)) {
            return ControlFlow::Continue(());
        }
        let mut constants = arguments.clone();
        let mut is_known = true;
        for argument in &mut constants {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument else { return ControlFlow::Continue(()) };
            let _ = visit_expressions_mut(expr, |expr| {
                if let Some(value) = parameter(expr).and_then(|number| self.0.get(&number)) {
                    *expr = value.clone();
                }
                ControlFlow::<()>::Continue(())
            });
            is_known &= is_constant(expr);
        }
        if is_known {
            *arguments = constants;
        }
        ControlFlow::Continue(())
    }
}

/// A number as it stands in a statement, of the type that it is of; `None` for what is no number.
pub(super) fn written(value: &ScalarValue) -> Option<ast::Expr> {
    let of_type = match value {
        ScalarValue::Int16(_) | ScalarValue::Int32(_) => None,
        ScalarValue::Int64(_) => Some(ast::DataType::BigInt(None)),
        ScalarValue::Decimal128(None, ..) => {
            Some(ast::DataType::Numeric(ast::ExactNumberInfo::PrecisionAndScale(38, 0)))
        }
        ScalarValue::Decimal128(..) => None,
        _ => return None,
    };
    let of = |value: ast::Value| ast::Expr::Value(value.into());
    let number = if value.is_null() {
        of(ast::Value::Null)
    } else {
        let text = match value {
            ScalarValue::Decimal128(Some(digits), precision, scale) => {
                Decimal128Type::format_decimal(*digits, *precision, *scale)
            }
            whole => whole.to_string(),
        };
        let digits = text.strip_prefix('-');
        let number = of(ast::Value::Number(digits.unwrap_or(&text).to_owned(), false));
        match digits {
            Some(_) => ast::Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(number) },
            None => number,
        }
    };
    Some(match of_type {
        Some(data_type) => {
            ast::Expr::Cast { kind: ast::CastKind::Cast, expr: Box::new(number), data_type, array: false, format: None }
        }
        None => number,
    })
}
