//! Functions in FROM, and those that answer records: `information_schema._pg_expandarray` and `aclexplode`.
//!
//! | statement | becomes |
//! | --- | --- |
//! | `FROM upper('x') AS f` | `FROM (SELECT upper('x') AS f) AS f` |
//! | `FROM pg_get_keywords()` | `FROM pg_catalog."pg_get_keywords()" AS pg_get_keywords` |
//! | `FROM i, _pg_expandarray(i.k) AS e` | `FROM i, unnest(i.k, kanon_numbers(i.k)) AS e(x, n)` |
//! | `SELECT (_pg_expandarray(k)).n` | `SELECT unnest(kanon_numbers(k))` |
//! | `SELECT _pg_expandarray(k)` | `SELECT unnest(kanon_records('x', k, 'n', kanon_numbers(k)))` |
//! | `unnest(ARRAY[t.a, 1])` | `unnest(make_array(t.a, 1))` |

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart, TableAlias,
    TableAliasColumnDef, TableFactor, Value,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::calls::array_of;
use super::json_rows::{called_rows, names_columns};
use super::{call, called, folded, take};
use crate::pg_catalog::defs::KEYWORDS_RELATION;
use crate::system;

/// The words that call a function without parentheses.
const WORDS: [&str; 6] = ["current_catalog", "current_role", "current_schema", "current_user", "session_user", "user"];

/// Fields of the records that a function of one argument answers, and what gives each of them as an array; nothing for the argument itself.
type Fields = [(&'static str, Option<&'static str>)];

fn fields_of(function: &str) -> Option<&'static Fields> {
    Some(match function {
        "_pg_expandarray" => &[("x", None), ("n", Some("kanon_numbers"))],
        "aclexplode" => &[
            ("grantor", Some("kanon_acl_grantors")),
            ("grantee", Some("kanon_acl_grantees")),
            ("privilege_type", Some("kanon_acl_privileges")),
            ("is_grantable", Some("kanon_acl_grantable")),
        ],
        _ => return None,
    })
}

/// The array of a field of all records.
fn field_array(array: Option<&str>, argument: Expr) -> Expr {
    match array {
        Some(array) => call(array, vec![argument]),
        None => argument,
    }
}

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
        ("pg_available_extensions", []) => {
            // The view has a column more.
            let query = "SELECT name, default_version, comment FROM pg_catalog.pg_available_extensions";
            let parsed =
                Parser::new(&PostgreSqlDialect {}).try_with_sql(query).and_then(|mut parser| parser.parse_query());
            match parsed {
                Ok(subquery) => TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None },
                Err(_) => return,
            }
        }
        (name, [argument]) if let Some(fields) = fields_of(name) => {
            let given = alias.columns.len();
            let rest = fields.iter().skip(given);
            alias
                .columns
                .extend(rest.map(|(name, _)| TableAliasColumnDef { name: Ident::new(*name), data_type: None }));
            TableFactor::UNNEST {
                alias: Some(alias),
                array_exprs: fields.iter().map(|(_, array)| field_array(*array, argument.clone())).collect(),
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

/// A field of a function's records in a select list, before they are made.
pub(super) fn expand_field(expr: &mut Expr) {
    let Expr::CompoundFieldAccess { root, access_chain } = expr else { return };
    let [AccessExpr::Dot(Expr::Identifier(field))] = access_chain.as_slice() else { return };
    let record = match root.as_mut() {
        Expr::Nested(record) => record.as_mut(),
        record => record,
    };
    let field = folded(field);
    let Some((fields, argument)) = records(record) else { return };
    let Some((_, array)) = fields.iter().find(|(name, _)| *name == field) else { return };
    let list = field_array(*array, take(argument));
    *expr = call("unnest", vec![list]);
}

/// The records of a function in a select list, and fields of records: `(r).n` as DataFusion takes it.
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
    if let Some((fields, argument)) = records(expr) {
        let argument = take(argument);
        let of_field = |(name, array): &(&'static str, Option<&'static str>)| {
            [Expr::Value(Value::SingleQuotedString((*name).to_owned()).into()), field_array(*array, argument.clone())]
        };
        *expr = call("unnest", vec![call("kanon_records", fields.iter().flat_map(of_field).collect())]);
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

/// The fields of a function's records, and what it is called with.
fn records(expr: &mut Expr) -> Option<(&'static Fields, &mut Expr)> {
    let fields = fields_of(&called(expr)?)?;
    let Expr::Function(function) = expr else { return None };
    let FunctionArguments::List(list) = &mut function.args else { return None };
    match list.args.as_mut_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] => Some((fields, argument)),
        _ => None,
    }
}
