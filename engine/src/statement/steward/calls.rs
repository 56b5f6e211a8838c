//! CALL of what changes something at a node.

use datafusion::sql::sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value};

use super::{Called, StewardStatement};
use crate::error::{Error, Result, Sqlstate};

/// What a CALL is of; `None` if it is none of ours.
///
/// # Errors
/// 42883 for other arguments than it takes.
pub fn call(function: &Function) -> Result<Option<StewardStatement>> {
    let name = function.name.to_string().to_ascii_lowercase();
    let Some(name) = name.strip_prefix("kanon.") else { return Ok(None) };
    let arguments = arguments(function);
    let called = match (name, arguments.as_deref()) {
        ("write_off", Some([])) => Called::WriteOff,
        ("write_off", _) => return Err(wrong(name, "")),
        ("exclude_unit" | "include_unit", Some([kind, unit])) => {
            Called::Exclude { kind: kind.clone(), unit: unit.clone(), excluded: name == "exclude_unit" }
        }
        ("exclude_unit" | "include_unit", _) => return Err(wrong(name, "'patient', '4711'")),
        _ => return Ok(None),
    };
    Ok(Some(StewardStatement::Call(called)))
}

fn wrong(name: &str, takes: &str) -> Error {
    Error::new(Sqlstate::UndefinedFunction, format!("procedure kanon.{name} does not take these arguments"))
        .hint(format!("Constants are taken: CALL kanon.{name}({takes})."))
}

/// Constant arguments as text; `None` if there are others.
fn arguments(function: &Function) -> Option<Vec<String>> {
    let list = match &function.args {
        FunctionArguments::None => return Some(Vec::new()),
        FunctionArguments::List(list) => &list.args,
        FunctionArguments::Subquery(_) => return None,
    };
    list.iter()
        .map(|argument| {
            let (FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
            | FunctionArg::Named { arg: FunctionArgExpr::Expr(expr), .. }) = argument
            else {
                return None;
            };
            match expr {
                Expr::Value(value) => match &value.value {
                    Value::Number(number, _) => Some(number.to_string()),
                    other => other.clone().into_string(),
                },
                _ => None,
            }
        })
        .collect()
}
