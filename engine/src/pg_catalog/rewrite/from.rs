//! Functions in FROM, and `information_schema._pg_expandarray`.
//!
//! | statement | becomes |
//! | --- | --- |
//! | `FROM upper('x') AS f` | `FROM (SELECT upper('x') AS f) AS f` |
//! | `FROM pg_get_keywords()` | `FROM pg_catalog."pg_get_keywords()" AS pg_get_keywords` |
//! | `FROM i, _pg_expandarray(i.k) AS e` | `FROM i, unnest(i.k, kanon_numbers(i.k)) AS e(x, n)` |
//! | `SELECT (_pg_expandarray(k)).n` | `SELECT unnest(kanon_numbers(k))` |
//! | `SELECT _pg_expandarray(k)` | `SELECT unnest(kanon_expandarray(k))` |
//! | `unnest(ARRAY[t.a, 1])` | `unnest(make_array(t.a, 1))` |

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart, TableAlias,
    TableAliasColumnDef, TableFactor, Value,
};

use super::calls::array_of;
use super::json_rows::{called_rows, names_columns};
use super::{call, called, folded, take};
use crate::pg_catalog::defs::KEYWORDS_RELATION;
use crate::system;

/// The words that call a function without parentheses.
const WORDS: [&str; 6] = ["current_catalog", "current_role", "current_schema", "current_user", "session_user", "user"];

const EXPAND: &str = "_pg_expandarray";

/// A call of a function in FROM that DataFusion does not know as a table.
pub(super) fn rewrite_factor(factor: &mut TableFactor) {
    let Some((function, arguments, lateral)) = called_in(factor) else { return };
    let alias = match factor {
        TableFactor::Table { alias, with_ordinality: false, .. }
        | TableFactor::Function { alias, with_ordinality: false, .. } => alias.take(),
        _ => return,
    };
    let named = |name: Ident| TableAlias { explicit: true, name, columns: Vec::new(), at: None };
    let mut alias = alias.unwrap_or_else(|| named(Ident::new(function.as_str())));
    *factor = match (function.as_str(), arguments.as_slice()) {
        ("pg_get_keywords", []) => {
            let schema = ObjectNamePart::Identifier(Ident::new(KEYWORDS_RELATION.schema_name));
            let name = ObjectNamePart::Identifier(Ident::with_quote('"', KEYWORDS_RELATION.name));
            table(ObjectName(vec![schema, name]), alias)
        }
        ("pg_show_all_settings", []) => {
            let name = ["pg_catalog", "pg_settings"].map(|part| ObjectNamePart::Identifier(Ident::new(part)));
            table(ObjectName(name.into()), alias)
        }
        (EXPAND, [array]) => {
            let given = alias.columns.len();
            let rest = ["x", "n"].into_iter().skip(given);
            alias.columns.extend(rest.map(|name| TableAliasColumnDef { name: Ident::new(name), data_type: None }));
            TableFactor::UNNEST {
                alias: Some(alias),
                array_exprs: vec![array.clone(), call("kanon_numbers", vec![array.clone()])],
                with_offset: false,
                with_offset_alias: None,
                with_ordinality: false,
            }
        }
        _ => {
            // PostgreSQL names the column after the alias if there is one, else after the function.
            let column = alias.columns.first().map_or_else(|| alias.name.clone(), |column| column.name.clone());
            let lateral = lateral || arguments.iter().any(names_columns);
            let value = call(&function, arguments);
            let subquery = Box::new(system::rewrite::select(value, column));
            TableFactor::Derived { lateral, subquery, alias: Some(alias), sample: None }
        }
    };
}

/// The function that stands in FROM, its arguments, and whether LATERAL is said; `None` for what makes rows elsewhere.
fn called_in(factor: &TableFactor) -> Option<(String, Vec<Expr>, bool)> {
    let (name, given, lateral) = match factor {
        TableFactor::Table { name, args: Some(args), .. } => (name, args.args.as_slice(), false),
        TableFactor::Table { name, args: None, .. } => {
            let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() else { return None };
            let is_word = ident.quote_style.is_none() && WORDS.contains(&folded(ident).as_str());
            return is_word.then(|| (folded(ident), Vec::new(), false));
        }
        TableFactor::Function { name, args, lateral, .. } => (name, args.as_slice(), *lateral),
        _ => return None,
    };
    let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() else { return None };
    let function = folded(ident);
    let makes_rows = array_of(&function).is_some()
        || matches!(function.as_str(), "unnest" | "range" | "generate_series")
        || called_rows(factor).is_some();
    let arguments = given.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    let arguments: Option<Vec<Expr>> = arguments.collect();
    arguments.filter(|_| !makes_rows).map(|arguments| (function, arguments, lateral))
}

fn table(name: ObjectName, alias: TableAlias) -> TableFactor {
    TableFactor::Table {
        name,
        alias: Some(alias),
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

/// A field of `_pg_expandarray` in a select list, before its record is made.
pub(super) fn expand_field(expr: &mut Expr) {
    let Expr::CompoundFieldAccess { root, access_chain } = expr else { return };
    let [AccessExpr::Dot(Expr::Identifier(field))] = access_chain.as_slice() else { return };
    let record = match root.as_mut() {
        Expr::Nested(record) => record.as_mut(),
        record => record,
    };
    let field = folded(field);
    let Some(array) = argument(record).filter(|_| matches!(field.as_str(), "x" | "n")) else { return };
    let array = take(array);
    let list = if field == "x" { array } else { call("kanon_numbers", vec![array]) };
    *expr = call("unnest", vec![list]);
}

/// The record of `_pg_expandarray` in a select list, and fields of records: `(r).n` as DataFusion takes it.
pub(super) fn expand(expr: &mut Expr) {
    if let Expr::CompoundFieldAccess { root, access_chain } = expr
        && matches!(root.as_ref(), Expr::Nested(_))
    {
        for access in access_chain {
            if let AccessExpr::Dot(field) = access
                && let Expr::Identifier(ident) = field
            {
                *field = Expr::Value(Value::SingleQuotedString(folded(ident)).into());
            }
        }
        return;
    }
    if let Some(array) = argument(expr) {
        let array = take(array);
        *expr = call("unnest", vec![call("kanon_expandarray", vec![array])]);
    }
}

/// `ARRAY[t.a, 1]` as a call: what is in brackets is planned without the columns of the rows around a query.
pub(super) fn call_array(expr: &mut Expr) {
    if !matches!(expr, Expr::Array(_)) || !names_columns(expr) {
        return;
    }
    if let Expr::Array(array) = expr {
        *expr = call("make_array", std::mem::take(&mut array.elem));
    }
}

/// The array that `_pg_expandarray` is called with.
fn argument(expr: &mut Expr) -> Option<&mut Expr> {
    called(expr).filter(|name| name == EXPAND)?;
    let Expr::Function(function) = expr else { return None };
    let FunctionArguments::List(list) = &mut function.args else { return None };
    match list.args.as_mut_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(array))] => Some(array),
        _ => None,
    }
}
