//! What of `json`, `jsonb`, `uuid`, `inet` and `timetz` a plan alone can tell: the type of what CASE chooses, casts from them, their order.

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, cast, lit};

use super::super::arithmetic::inputs_schema;
use super::look::{name_of_type, refused};
use super::operators::{Kind, chooses};
use super::read::{self, Value as Json};
use super::write::plain_number;
use super::{Answer, Row, Spec, Takes, Value, call, is_ours, specs, strict};
use crate::error::{Error, Result as OurResult, Sqlstate};
use crate::pg_catalog::types::PgType;

/// Takes the type of ours off a value.
const PLAIN: &str = "kanon_plain";
/// The same, of what must not have had one.
const DISTINCT: &str = "kanon_distinct";

pub(super) const SPECS: &[Spec] = &[
    strict("kanon_as_json", &[Takes::Text], Answer::Json, same),
    strict("kanon_as_jsonb", &[Takes::Text], Answer::Jsonb, same),
    strict("kanon_as_uuid", &[Takes::Text], Answer::Uuid, same),
    strict("kanon_as_inet", &[Takes::Text], Answer::Inet, same),
    strict("kanon_as_timetz", &[Takes::Text], Answer::TimeTz, same),
    strict(PLAIN, &[Takes::Any], Answer::Same, same),
    strict(DISTINCT, &[Takes::Any], Answer::Same, same),
    strict("kanon_jsonb_scalar", &[Takes::Json, Takes::Text], Answer::Text, scalar),
];

fn same(row: &Row<'_>) -> OurResult<Value> {
    Ok(Value::Text(row.text(0)?.to_owned()))
}

/// What a function does not take, for all that its type is right.
///
/// # Errors
/// 0A000 for JSON that is to be gathered once.
pub(super) fn refuse(function: &str, fields: &[FieldRef]) -> OurResult<()> {
    match fields {
        [field] if function == DISTINCT && is_ours(PgType::of_field(field)) => {
            Err(Error::unsupported("DISTINCT of json in an aggregate of json is not supported"))
        }
        _ => Ok(()),
    }
}

/// The text of a number or a truth value, as the type with this name reads it.
fn scalar(row: &Row<'_>) -> OurResult<Value> {
    let (text, target) = (row.text(0)?, row.text(1)?);
    let value = read::read(text)?.value;
    match (&value, target) {
        (Json::Bool(_), "boolean") => Ok(Value::Text(text.to_owned())),
        (Json::Number(number), "smallint" | "integer" | "bigint") => Ok(Value::Text(rounded(&plain_number(number)?))),
        (Json::Number(number), target) if target != "boolean" => Ok(Value::Text(plain_number(number)?.into_owned())),
        (value, target) => {
            let name = match name_of_type(value) {
                "number" => "numeric",
                name => name,
            };
            Err(refused(format!("cannot cast jsonb {name} to type {target}")))
        }
    }
}

/// The nearest whole number, of two the one further from 0.
fn rounded(plain: &str) -> String {
    let Some((whole, fraction)) = plain.split_once('.') else { return plain.to_owned() };
    if !fraction.starts_with(|digit: char| digit >= '5') {
        return whole.to_owned();
    }
    let (sign, digits) = match whole.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", whole),
    };
    // What does not fit here fits no integer.
    match digits.parse::<u64>().ok().and_then(|number| number.checked_add(1)) {
        Some(next) => format!("{sign}{next}"),
        None => whole.to_owned(),
    }
}

/// A plan in which values of these types are known as such wherever they are.
///
/// # Errors
/// 42846 for casts that there are not.
pub fn as_postgresql(plan: LogicalPlan) -> Result<LogicalPlan> {
    if !has_some(&plan)? {
        return Ok(plan);
    }
    let done = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        let schema = inputs_schema(&plan);
        let is_sort = matches!(plan, LogicalPlan::Sort(_));
        let mut changed = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let mut done = expr.transform_up(|expr| one(expr, &schema))?;
            let kind = if is_sort { Kind::of(&done.data, &schema) } else { None };
            if let Some(kind) = kind.filter(|kind| !matches!(kind, Kind::Json | Kind::Uuid)) {
                done = Transformed::yes(kind.key(done.data)?);
            }
            Ok(if done.transformed { done.update_data(|expr| name.restore(expr)) } else { done })
        })?;
        changed.data = changed.data.recompute_schema()?;
        Ok(changed)
    })?;
    Ok(done.data)
}

fn has_some(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|plan| {
        plan.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::ScalarFunction(function) = expr {
                    found |= specs().any(|spec| spec.name == function.name());
                }
                Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    })?;
    Ok(found)
}

fn one(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::ScalarFunction(mut function) if function.name() == PLAIN => match function.args.pop() {
            Some(inner) if Kind::of(&inner, schema).is_none() => Ok(Transformed::yes(inner)),
            inner => {
                function.args.extend(inner);
                Ok(Transformed::no(Expr::ScalarFunction(function)))
            }
        },
        Expr::Cast(of) => {
            let wanted = of.field.data_type();
            let inner = match of.expr.as_ref() {
                Expr::ScalarFunction(function) if function.name() == PLAIN => function.args.first(),
                _ => None,
            };
            let Some(inner) = inner else { return Ok(Transformed::no(Expr::Cast(of))) };
            let kind = Kind::of(inner, schema);
            if is_text(wanted) {
                return Ok(match kind {
                    Some(Kind::Inet) => Transformed::yes(call("kanon_inet_text", vec![inner.clone()])?),
                    _ => Transformed::no(Expr::Cast(of)),
                });
            }
            let target = PgType::of(wanted);
            let name = target.with_typmod(-1).sql_name();
            if kind == Some(Kind::Jsonb) && (target == PgType::BOOL || wanted.is_numeric()) {
                let text = call("kanon_jsonb_scalar", vec![inner.clone(), lit(name)])?;
                return Ok(Transformed::yes(cast(text, wanted.clone())));
            }
            let of = kind.map_or("uuid", Kind::name);
            if kind == Some(Kind::TimeTz) {
                return Err(Error::unsupported(format!("casts from {of} to {name} are not supported")).into());
            }
            Err(Error::new(Sqlstate::CannotCoerce, format!("cannot cast type {of} to {name}")).into())
        }
        Expr::Case(_) => chosen(expr, schema),
        // They would be compared as texts.
        Expr::AggregateFunction(ref function) if matches!(function.func.name(), "min" | "max") => {
            let kind = function.params.args.first().and_then(|arg| Kind::of(arg, schema));
            match kind {
                Some(kind @ (Kind::Inet | Kind::TimeTz)) => {
                    let message = format!("{} of {} is not supported", function.func.name(), kind.name());
                    Err(Error::unsupported(message).into())
                }
                _ => Ok(Transformed::no(expr)),
            }
        }
        Expr::ScalarFunction(ref function) if chooses(function.name()) => chosen(expr, schema),
        Expr::InList(InList { expr: tested, list, negated }) => {
            let kind = Kind::of(&tested, schema);
            let (tested, list) = match kind {
                Some(kind @ (Kind::Uuid | Kind::Inet | Kind::TimeTz)) => {
                    let read = |item: Expr| match Kind::of(&item, schema) {
                        None => call(kind.maker(), vec![item]),
                        Some(_) => Ok(item),
                    };
                    (tested, list.into_iter().map(read).collect::<Result<_>>()?)
                }
                Some(Kind::Jsonb) => {
                    let read = |item: Expr| Kind::Jsonb.key(call(Kind::Jsonb.maker(), vec![item])?);
                    (Box::new(Kind::Jsonb.key(*tested)?), list.into_iter().map(read).collect::<Result<_>>()?)
                }
                _ => (tested, list),
            };
            let is_changed = kind.is_some_and(|kind| kind != Kind::Json);
            let expr = Expr::InList(InList { expr: tested, list, negated });
            Ok(if is_changed { Transformed::yes(expr) } else { Transformed::no(expr) })
        }
        other => Ok(Transformed::no(other)),
    }
}

/// The same, of the type of what it chooses among.
fn chosen(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let function = match Kind::of(&expr, schema) {
        Some(Kind::Json) => "kanon_as_json",
        Some(Kind::Jsonb) => "kanon_as_jsonb",
        Some(Kind::Uuid) => "kanon_as_uuid",
        Some(Kind::Inet) => "kanon_as_inet",
        Some(Kind::TimeTz) => "kanon_as_timetz",
        None => return Ok(Transformed::no(expr)),
    };
    Ok(Transformed::yes(call(function, vec![expr])?))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}
