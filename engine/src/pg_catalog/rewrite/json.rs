//! `json`, `jsonb` and `uuid` in statements: casts to them, aggregates, functions that answer rows, and rows as values.
//!
//! | statement | becomes |
//! | --- | --- |
//! | `x::jsonb` | `kanon_jsonb(x)` |
//! | `json_agg(x ORDER BY y)` | `kanon_json_list(array_agg(kanon_json_item(x) ORDER BY y))` |
//! | `SELECT json_array_elements(x)` | `SELECT kanon_as_json(unnest(kanon_json_elements(x)))` |
//! | `FROM json_each(x) AS e` | `FROM (SELECT unnest(…) AS key, unnest(…) AS value) AS e` |
//! | `row_to_json(p)`, of a table p | `row_to_json(kanon_row('a', p.a, 'b', p.b))` |

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, CastKind, DataType, DuplicateTreatment, Expr, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArgumentList, FunctionArguments, Ident, ObjectNamePart, OrderByExpr, OrderByOptions, Query, Select, SelectItem, SetExpr,
    TableAlias, TableAliasColumnDef, TableFactor, Value, Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::naming::display_name;
use super::{call, called, folded, string, take};
use crate::error::{Error, Result};
use crate::pg_catalog::Viewer;

/// Functions that look at a row as a whole.
const TAKE_ROWS: [&str; 11] = [
    "row_to_json",
    "to_json",
    "to_jsonb",
    "json_agg",
    "jsonb_agg",
    "json_build_object",
    "jsonb_build_object",
    "json_build_array",
    "jsonb_build_array",
    "json_object_agg",
    "jsonb_object_agg",
];

/// Functions of PostgreSQL that there are not.
const MISSING: [&str; 22] = [
    "jsonb_set",
    "jsonb_set_lax",
    "jsonb_insert",
    "jsonb_path_exists",
    "jsonb_path_match",
    "jsonb_path_query",
    "jsonb_path_query_array",
    "jsonb_path_query_first",
    "jsonb_path_exists_tz",
    "jsonb_path_match_tz",
    "jsonb_path_query_tz",
    "jsonb_path_query_array_tz",
    "jsonb_path_query_first_tz",
    "json_populate_record",
    "jsonb_populate_record",
    "json_populate_recordset",
    "jsonb_populate_recordset",
    "json_to_record",
    "jsonb_to_record",
    "json_to_recordset",
    "jsonb_to_recordset",
    "hstore_to_json",
];

/// The function that reads text as a type, if it is one of these.
fn maker(data_type: &DataType) -> Option<&'static str> {
    match data_type {
        DataType::JSON => Some("kanon_json"),
        DataType::JSONB => Some("kanon_jsonb"),
        DataType::Uuid => Some("kanon_uuid"),
        DataType::Custom(name, modifiers) if modifiers.is_empty() => {
            let parts: Vec<String> = name.0.iter().filter_map(ObjectNamePart::as_ident).map(folded).collect();
            let name = match parts.as_slice() {
                [name] => name,
                [schema, name] if schema == "pg_catalog" => name,
                _ => return None,
            };
            match name.as_str() {
                "json" => Some("kanon_json"),
                "jsonb" => Some("kanon_jsonb"),
                "uuid" => Some("kanon_uuid"),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Whether a query has any value of these types: what makes one is in the query itself.
pub(super) fn makes_some(query: &Query) -> bool {
    struct Find(bool);
    impl Visitor for Find {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            self.0 |= match expr {
                Expr::Cast { data_type, .. } => maker(data_type).is_some(),
                Expr::TypedString(typed) => maker(&typed.data_type).is_some(),
                Expr::Function(_) => called(expr).is_some_and(|name| name.contains("json") || name.contains("uuid")),
                _ => false,
            };
            if self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            self.0 |= called_rows(factor).is_some();
            if self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    let mut find = Find(false);
    let _ = query.visit(&mut find);
    find.0
}

/// Rewrites one expression, what is in it being rewritten already.
///
/// # Errors
/// 0A000 for functions that there are not.
pub(super) fn rewrite(expr: &mut Expr) -> Result<()> {
    match expr {
        Expr::Cast { expr: inner, data_type, .. } => match maker(data_type) {
            Some(function) => *expr = call(function, vec![take(inner)]),
            // Whatever it was before, it is not any more.
            None if !matches!(inner.as_ref(), Expr::Value(_)) => **inner = call("kanon_plain", vec![take(inner)]),
            None => {}
        },
        Expr::TypedString(typed) => {
            if let Some(function) = maker(&typed.data_type) {
                *expr = call(function, vec![Expr::Value(typed.value.clone())]);
            }
        }
        Expr::BinaryOp { op, right, .. } => {
            let takes_list = matches!(
                op,
                BinaryOperator::HashArrow
                    | BinaryOperator::HashLongArrow
                    | BinaryOperator::HashMinus
                    | BinaryOperator::QuestionPipe
                    | BinaryOperator::QuestionAnd
            );
            if takes_list && string(right).is_some() {
                **right = text_list(take(right))?;
            }
        }
        Expr::Function(_) => function(expr)?,
        _ => {}
    }
    Ok(())
}

/// `'{a,b}'` → `'{a,b}'::text[]`, read.
fn text_list(text: Expr) -> Result<Expr> {
    let item = Box::new(DataType::Text);
    let data_type = DataType::Array(ArrayElemTypeDef::SquareBracket(item, None));
    let mut list =
        Expr::Cast { kind: CastKind::Cast, expr: Box::new(text), data_type, array: false, format: None };
    super::literals::rewrite(&mut list)?;
    Ok(list)
}

fn function(expr: &mut Expr) -> Result<()> {
    let Some(name) = called(expr) else { return Ok(()) };
    if MISSING.contains(&name.as_str()) {
        return Err(Error::unsupported(format!("function {name} is not supported")));
    }
    match name.as_str() {
        "gen_random_uuid" => *expr = call("kanon_uuid", vec![call("uuid", Vec::new())]),
        "json_agg" | "jsonb_agg" | "json_object_agg" | "jsonb_object_agg" => aggregate(expr, &name)?,
        "json_each" | "jsonb_each" | "json_each_text" | "jsonb_each_text" => {
            return Err(Error::unsupported(format!("function {name} in a select list is not supported"))
                .hint(format!("Call it in FROM: SELECT key, value FROM {name}(…).")));
        }
        "json_object" | "jsonb_object" => {
            for argument in arguments(expr) {
                if string(argument).is_some() {
                    *argument = text_list(take(argument))?;
                }
            }
        }
        other => {
            if let Some((list, shown)) = series(other)
                && let [argument] = arguments(expr).as_mut_slice()
            {
                let rows = call("unnest", vec![call(list, vec![take(argument)])]);
                *expr = if shown.is_empty() { rows } else { call(shown, vec![rows]) };
            } else if TAKE_ROWS.contains(&other) {
                arguments(expr).into_iter().for_each(row_value);
            }
        }
    }
    Ok(())
}

/// `row(1, 'x')` as a value: its fields are `f1`, `f2` …
fn row_value(expr: &mut Expr) {
    let items = match expr {
        Expr::Tuple(items) => std::mem::take(items),
        Expr::Function(_) if called(expr).as_deref() == Some("row") => arguments(expr).into_iter().map(take).collect(),
        _ => return,
    };
    let fields = items.into_iter().enumerate().flat_map(|(at, item)| [literal(&format!("f{}", at + 1)), item]);
    *expr = call("kanon_row", fields.collect());
}

fn arguments(expr: &mut Expr) -> Vec<&mut Expr> {
    let Expr::Function(function) = expr else { return Vec::new() };
    let FunctionArguments::List(list) = &mut function.args else { return Vec::new() };
    let exprs = list.args.iter_mut().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    exprs.collect()
}

/// An aggregate as `array_agg` of what it gathers, put together.
fn aggregate(expr: &mut Expr, name: &str) -> Result<()> {
    arguments(expr).into_iter().for_each(row_value);
    let is_jsonb = name.starts_with("jsonb");
    let is_object = name.ends_with("object_agg");
    let Expr::Function(function) = &mut *expr else { return Ok(()) };
    let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
    let is_distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    let mut taken: Vec<Expr> = Vec::new();
    for argument in &mut list.args {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument else { return Ok(()) };
        taken.push(take(argument));
    }
    let (gathered, together) = match (is_object, taken.as_slice()) {
        (true, [_, _]) if is_distinct => {
            return Err(Error::unsupported(format!("DISTINCT in {name} is not supported")));
        }
        (true, [_, _]) => (call("kanon_json_pair", taken), if is_jsonb { "kanon_jsonb_pairs" } else { "kanon_json_pairs" }),
        (false, [one]) if is_distinct => {
            order_distinct(list, one);
            (
                call("kanon_distinct", taken),
                if is_jsonb { "kanon_jsonb_values" } else { "kanon_json_values" },
            )
        }
        (false, [_]) => (call("kanon_json_item", taken), if is_jsonb { "kanon_jsonb_list" } else { "kanon_json_list" }),
        // What it does not take is said of it by its own name.
        _ => {
            list.args = taken.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
            return Ok(());
        }
    };
    list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(gathered))];
    if let Some(ObjectNamePart::Identifier(ident)) = function.name.0.last_mut() {
        *ident = Ident::new("array_agg");
    }
    *expr = call(together, vec![take(expr)]);
    Ok(())
}

/// What is there once is in order, if no other one is asked for.
fn order_distinct(list: &mut FunctionArgumentList, one: &Expr) {
    let same = || call("kanon_distinct", vec![one.clone()]);
    let mut is_ordered = false;
    for clause in &mut list.clauses {
        if let FunctionArgumentClause::OrderBy(items) = clause {
            is_ordered = true;
            for item in items.iter_mut().filter(|item| item.expr == *one) {
                item.expr = same();
            }
        }
    }
    if !is_ordered {
        let options = OrderByOptions { asc: None, nulls_first: None };
        let by = OrderByExpr { expr: same(), options, with_fill: None };
        list.clauses.push(FunctionArgumentClause::OrderBy(vec![by]));
    }
}

/// The function that gives the rows of one as a list, and the one that says of which type they are.
fn series(name: &str) -> Option<(&'static str, &'static str)> {
    Some(match name {
        "json_array_elements" => ("kanon_json_elements", "kanon_as_json"),
        "jsonb_array_elements" => ("kanon_jsonb_elements", "kanon_as_jsonb"),
        "json_array_elements_text" => ("kanon_json_elements_text", ""),
        "jsonb_array_elements_text" => ("kanon_jsonb_elements_text", ""),
        "json_object_keys" => ("kanon_json_keys", ""),
        "jsonb_object_keys" => ("kanon_jsonb_keys", ""),
        _ => return None,
    })
}

/// The name of a function that is called in FROM, if it is one of these.
fn called_rows(factor: &TableFactor) -> Option<String> {
    let TableFactor::Table { name, args: Some(_), .. } = factor else { return None };
    let name = name.0.last().and_then(ObjectNamePart::as_ident).map(folded)?;
    (name.contains("json")).then_some(name)
}

/// A function that answers rows, in FROM.
///
/// # Errors
/// 0A000 for one of columns of what is beside it.
pub(super) fn rewrite_factor(factor: &mut TableFactor) -> Result<()> {
    let Some(function) = called_rows(factor) else { return Ok(()) };
    let TableFactor::Table { alias, args: Some(args), with_ordinality, .. } = factor else { return Ok(()) };
    let is_each = matches!(function.as_str(), "json_each" | "jsonb_each" | "json_each_text" | "jsonb_each_text");
    if MISSING.contains(&function.as_str()) || *with_ordinality {
        return Err(Error::unsupported(format!("function {function} in FROM is not supported")));
    }
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] = args.args.as_slice() else { return Ok(()) };
    if series(&function).is_none() && !is_each {
        return Ok(());
    }
    if names_columns(argument) {
        let message = format!("function {function} of a column in FROM is not supported");
        return Err(Error::unsupported(message).hint(match is_each {
            true => "Take the fields with ->.".to_owned(),
            false => format!("Call it in a select list: SELECT {function}(…) FROM …"),
        }));
    }
    let alias = alias.get_or_insert_with(|| TableAlias {
        explicit: true,
        name: Ident::new(function.as_str()),
        columns: Vec::new(),
        at: None,
    });
    let one = |list: &str, shown: &str| match shown {
        "" => format!("unnest({list}({argument}))"),
        shown => format!("{shown}(unnest({list}({argument})))"),
    };
    let items = match series(&function) {
        Some((list, shown)) => {
            let column = if function.ends_with("_keys") { alias.name.clone() } else { Ident::new("value") };
            format!("{} AS {column}", one(list, shown))
        }
        None => {
            let of = if function.starts_with("jsonb") { "jsonb" } else { "json" };
            let shown = if function.ends_with("_text") { String::new() } else { format!("kanon_as_{of}") };
            let keys = one(&format!("kanon_{of}_each_keys"), "");
            format!("{keys} AS key, {} AS value", one(&format!("kanon_{function}"), &shown))
        }
    };
    let query = Parser::new(&PostgreSqlDialect {})
        .try_with_sql(&format!("SELECT {items}"))
        .and_then(|mut parser| parser.parse_query())
        .map_err(Error::internal)?;
    *factor = TableFactor::Derived { lateral: false, subquery: query, alias: Some(alias.clone()), sample: None };
    Ok(())
}

/// Whether an expression names a column outside of a query of its own.
fn names_columns(expr: &Expr) -> bool {
    struct Find {
        depth: usize,
        found: bool,
    }
    impl Visitor for Find {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.depth += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            self.found |= self.depth == 0 && matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
            ControlFlow::Continue(())
        }
    }
    let mut find = Find { depth: 0, found: false };
    let _ = expr.visit(&mut find);
    find.found
}

/// What stands in FROM under a name.
enum Source {
    /// Values of one column, which the name itself means.
    Values(Ident),
    /// Rows of these columns.
    Rows(Vec<String>),
}

/// Columns of the WITH queries around, by name.
pub(super) type WithColumns = HashMap<String, Option<Vec<String>>>;

/// Puts columns in place of names of FROM that stand for a value or a row.
pub(super) fn name_rows(query: &mut Query, with: &mut WithColumns, viewer: &Viewer) {
    for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
        let columns = aliased(Some(&cte.alias), columns_of(&cte.query, with, viewer));
        with.insert(folded(&cte.alias.name), columns);
    }
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    let mut sources: HashMap<String, Source> = HashMap::new();
    let mut columns: Vec<String> = Vec::new();
    for factor in factors(select) {
        let Some(name) = name_of_factor(factor) else { continue };
        if let Some(function) = called_rows(factor).filter(|function| series(function).is_some()) {
            let TableFactor::Table { alias, .. } = factor else { continue };
            let column = match alias.as_ref().and_then(|alias| alias.columns.first()) {
                Some(column) => column.name.clone(),
                None if function.ends_with("_keys") => Ident::with_quote('"', name.clone()),
                None => Ident::new("value"),
            };
            columns.push(folded(&column));
            sources.insert(name, Source::Values(column));
        } else if let Some(of_factor) = columns_of_factor(factor, with, viewer) {
            columns.extend(of_factor.iter().cloned());
            sources.insert(name, Source::Rows(of_factor));
        }
    }
    // A column stands before a table of its name.
    sources.retain(|name, _| !columns.contains(name));
    if sources.is_empty() {
        return;
    }
    let _ = VisitMut::visit(query, &mut NameRows(&sources));
}

struct NameRows<'s>(&'s HashMap<String, Source>);

impl VisitorMut for NameRows<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(ident) = expr
            && let Some(Source::Values(column)) = self.0.get(&folded(ident))
        {
            *expr = Expr::CompoundIdentifier(vec![ident.clone(), column.clone()]);
        }
        if called(expr).is_some_and(|name| TAKE_ROWS.contains(&name.as_str())) {
            for argument in arguments(expr) {
                if let Expr::Identifier(ident) = argument
                    && let Some(Source::Rows(columns)) = self.0.get(&folded(ident))
                {
                    let field = |column: &String| {
                        let of = Ident::with_quote('"', column.clone());
                        [literal(display_name(column)), Expr::CompoundIdentifier(vec![ident.clone(), of])]
                    };
                    *argument = call("kanon_row", columns.iter().flat_map(field).collect());
                }
            }
        }
        ControlFlow::Continue(())
    }
}

fn literal(text: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.to_owned()).into())
}

fn factors(select: &Select) -> impl Iterator<Item = &TableFactor> {
    select.from.iter().flat_map(|table| {
        std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation))
    })
}

fn alias_of(factor: &TableFactor) -> Option<&TableAlias> {
    match factor {
        TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. } => alias.as_ref(),
        _ => None,
    }
}

fn name_of_factor(factor: &TableFactor) -> Option<String> {
    match (alias_of(factor), factor) {
        (Some(alias), _) => Some(folded(&alias.name)),
        (None, TableFactor::Table { name, .. }) => name.0.last().and_then(ObjectNamePart::as_ident).map(folded),
        _ => None,
    }
}

/// The columns of a query; `None` if they cannot be told.
fn columns_of(query: &Query, with: &WithColumns, viewer: &Viewer) -> Option<Vec<String>> {
    let mut body = query.body.as_ref();
    loop {
        match body {
            SetExpr::Select(select) => return columns_of_select(select, with, viewer),
            SetExpr::Query(query) => return columns_of(query, with, viewer),
            SetExpr::SetOperation { left, .. } => body = left,
            SetExpr::Values(values) => {
                let count = values.rows.first().map(|row| row.content.len())?;
                return Some((1..=count).map(|at| format!("column{at}")).collect());
            }
            _ => return None,
        }
    }
}

fn columns_of_select(select: &Select, with: &WithColumns, viewer: &Viewer) -> Option<Vec<String>> {
    let mut columns = Vec::new();
    for item in &select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) => columns.push(super::naming::name_of(expr)),
            SelectItem::ExprWithAlias { alias, .. } => columns.push(folded(alias)),
            SelectItem::Wildcard(_) => {
                for factor in factors(select) {
                    columns.extend(columns_of_factor(factor, with, viewer)?);
                }
            }
            _ => return None,
        }
    }
    Some(columns)
}

fn columns_of_factor(factor: &TableFactor, with: &WithColumns, viewer: &Viewer) -> Option<Vec<String>> {
    let columns = match factor {
        TableFactor::Table { name, args: None, .. } => {
            let parts: Vec<String> = name.0.iter().filter_map(ObjectNamePart::as_ident).map(folded).collect();
            match parts.as_slice() {
                [name] if with.contains_key(name) => with.get(name).cloned().flatten(),
                [name] => table(viewer, "public", name).or_else(|| table(viewer, "federation", name)),
                [.., schema, name] => table(viewer, schema, name),
                _ => None,
            }
        }
        TableFactor::Derived { subquery, .. } => columns_of(subquery, with, viewer),
        _ => None,
    };
    aliased(alias_of(factor), columns)
}

fn table(viewer: &Viewer, schema_name: &str, name: &str) -> Option<Vec<String>> {
    let found = viewer.visible.iter().find(|table| table.schema_name == schema_name && table.name == name)?;
    Some(found.schema.fields().iter().map(|field| field.name().clone()).collect())
}

/// Columns under the names that an alias gives them.
fn aliased(alias: Option<&TableAlias>, columns: Option<Vec<String>>) -> Option<Vec<String>> {
    let mut columns = columns?;
    let names = alias.into_iter().flat_map(|alias| &alias.columns);
    for (column, TableAliasColumnDef { name, .. }) in columns.iter_mut().zip(names) {
        *column = folded(name);
    }
    Some(columns)
}
