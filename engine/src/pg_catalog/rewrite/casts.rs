//! Casts to PostgreSQL's own types. A value of a `reg…` type is its OID; where it is shown or made text, it is its name.

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, DataType, ExactNumberInfo, Expr, Ident, ObjectName, ObjectNamePart, Select,
    SelectItem, TimezoneInfo,
};

use crate::error::{Error, Result, Sqlstate};
use crate::functions::numeric::AS_NUMERIC;
use crate::pg_catalog::directory::quote_ident;
use crate::pg_catalog::functions::type_oid;

use super::{call, called, folded, string, take};

/// Columns that hold functions.
const FUNCTION_COLUMNS: &[&str] = &[
    "typinput",
    "typoutput",
    "typreceive",
    "typsend",
    "typmodin",
    "typmodout",
    "typanalyze",
    "typsubscript",
    "amhandler",
    "rngcanonical",
    "rngsubdiff",
    "prosupport",
    "aggfnoid",
    "aggtransfn",
    "aggfinalfn",
    "oprcode",
    "oprrest",
    "oprjoin",
];

/// `e::regclass` → a look-up; `pg_catalog.int4` and its kin → the type's usual name; arrays of names, where the catalog is read, as texts.
///
/// # Errors
/// 42704 for a type that there is not, and what an array of names in quotes may fail with.
pub(super) fn rewrite(expr: &mut Expr, reads_catalog: bool) -> Result<()> {
    if let Expr::Cast { expr: inner, data_type, .. } = expr {
        if let Some(kind) = reg_kind(data_type) {
            let inner = take(inner);
            *expr = call(&format!("kanon_{kind}"), vec![inner]);
            return Ok(());
        }
        if let Some(listed) = reg_list(data_type) {
            let mut inner = take(inner);
            if string(&inner).is_some() {
                let texts = ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None);
                inner = super::calls::cast(inner, DataType::Array(texts));
                super::literals::rewrite(&mut inner)?;
            }
            *expr = call(listed, vec![inner]);
            return Ok(());
        }
        if let Some(usual) = usual_type(data_type) {
            *data_type = usual;
        }
        if is_open_numeric(data_type) {
            *expr = call(AS_NUMERIC, vec![take(inner)]);
            return Ok(());
        }
        if is_text(data_type)
            && let Some(shown) = show_name(inner).or_else(|| function_column(inner))
        {
            *expr = call(&shown, vec![take(inner)]);
            return Ok(());
        }
        // Arrays of names are of texts already, and would stay of their type.
        let is_listed = called(inner)
            .is_some_and(|name| matches!(name.as_str(), "kanon_regtypes" | "kanon_regclasses"))
            || (reads_catalog
                && !matches!(inner.as_ref(), Expr::Value(_) | Expr::Array(_))
                && called(inner).as_deref() != Some("make_array"));
        if is_listed && matches!(data_type, DataType::Array(ArrayElemTypeDef::SquareBracket(item, _)) if is_text(item))
        {
            *expr = call("kanon_texts", vec![take(inner)]);
            return Ok(());
        }
        return check(data_type);
    }
    // A string beside a reg… value names one: x::regclass = 'patients'.
    if let Expr::BinaryOp { left, op: BinaryOperator::Eq | BinaryOperator::NotEq, right } = expr {
        for (value, other) in [(&*left, 0), (&*right, 1)].map(|(e, side)| (show_name(e), side)) {
            let Some(function) = value.and_then(|shown| shown.strip_suffix("_out").map(str::to_owned)) else {
                continue;
            };
            let text = if other == 0 { &mut *right } else { &mut *left };
            if string(text).is_some() {
                let inner = take(text);
                **text = call(&function, vec![inner]);
            }
        }
    }
    Ok(())
}

/// Whether there is a type of this name.
fn check(data_type: &DataType) -> Result<()> {
    let (DataType::Custom(name, _), depth) = innermost(data_type, 0) else { return Ok(()) };
    let parts: Vec<String> = name.0.iter().filter_map(ObjectNamePart::as_ident).map(folded).collect();
    let known = match parts.as_slice() {
        [name] => type_oid(&quote_ident(name)),
        [schema, name] if schema == "pg_catalog" => type_oid(&quote_ident(name)),
        _ => None,
    };
    match known {
        Some(_) => Ok(()),
        None => {
            let shown = format!("{}{}", parts.join("."), "[]".repeat(depth));
            Err(Error::new(Sqlstate::UndefinedObject, format!("type \"{shown}\" does not exist")))
        }
    }
}

/// The elements' type of an array, and how deep it lies.
fn innermost(data_type: &DataType, depth: usize) -> (&DataType, usize) {
    match data_type {
        DataType::Array(ArrayElemTypeDef::SquareBracket(item, _)) => innermost(item, depth + 1),
        other => (other, depth),
    }
}

/// The function that makes an array of `reg…` values.
fn reg_list(data_type: &DataType) -> Option<&'static str> {
    let DataType::Array(ArrayElemTypeDef::SquareBracket(item, _)) = data_type else { return None };
    match reg_kind(item)? {
        "regtype" => Some("kanon_regtypes"),
        "regclass" => Some("kanon_regclasses"),
        _ => None,
    }
}

/// Shows the names of `reg…` values that a SELECT answers.
pub(super) fn show(select: &mut Select) {
    for item in &mut select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let Some(shown) = show_name(expr).or_else(|| function_column(expr)) else { continue };
                let name = super::naming::name_of(expr);
                let name = name.strip_prefix("kanon_").unwrap_or(&name).to_owned();
                let expr = call(&shown, vec![take(expr)]);
                *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
            }
            SelectItem::ExprWithAlias { expr, .. } => {
                if let Some(shown) = show_name(expr).or_else(|| function_column(expr)) {
                    *expr = call(&shown, vec![take(expr)]);
                }
            }
            _ => {}
        }
    }
}

/// The function that gives the name of a `reg…` value, if an expression is one.
fn show_name(expr: &Expr) -> Option<String> {
    if let Expr::Nested(inner) = expr {
        return show_name(inner);
    }
    let name = called(expr)?;
    let kind =
        name.strip_prefix("kanon_").or_else(|| name.strip_prefix("to_")).filter(|kind| kind.starts_with("reg"))?;
    let kind = if kind == "regprocedure" { "regproc" } else { kind };
    let is_one = matches!(kind, "regclass" | "regtype" | "regproc" | "regnamespace" | "regrole");
    is_one.then(|| format!("kanon_{kind}_out"))
}

fn function_column(expr: &Expr) -> Option<String> {
    let name = match expr {
        Expr::Identifier(ident) => folded(ident),
        Expr::CompoundIdentifier(parts) => folded(parts.last()?),
        _ => return None,
    };
    FUNCTION_COLUMNS.contains(&name.as_str()).then(|| "kanon_regproc_out".to_owned())
}

fn custom_name(name: &ObjectName) -> Option<String> {
    let parts: Vec<String> = name.0.iter().filter_map(ObjectNamePart::as_ident).map(folded).collect();
    match parts.as_slice() {
        [name] => Some(name.clone()),
        [schema, name] if schema == "pg_catalog" || schema == "information_schema" => Some(name.clone()),
        _ => None,
    }
}

fn reg_kind(data_type: &DataType) -> Option<&'static str> {
    let name = match data_type {
        DataType::Regclass => return Some("regclass"),
        DataType::Custom(name, _) => custom_name(name)?,
        _ => return None,
    };
    Some(match name.as_str() {
        "regclass" => "regclass",
        "regtype" => "regtype",
        "regproc" | "regprocedure" => "regproc",
        "regnamespace" => "regnamespace",
        "regrole" => "regrole",
        _ => return None,
    })
}

/// Whether a type is a `numeric` of no declared precision.
fn is_open_numeric(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Numeric(ExactNumberInfo::None)
            | DataType::Decimal(ExactNumberInfo::None)
            | DataType::Dec(ExactNumberInfo::None)
    )
}

fn plain_name(name: &str) -> ObjectName {
    ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))])
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Text | DataType::Varchar(_) | DataType::CharacterVarying(_))
}

/// The type that DataFusion knows for one of PostgreSQL's.
fn usual_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Custom(name, modifiers) => {
            let quoted = name.0.last().and_then(ObjectNamePart::as_ident).is_some_and(|i| i.quote_style.is_some());
            let name = custom_name(name)?;
            Some(match name.as_str() {
                // See [`Types`](crate::pg_catalog::Types).
                "oid" | "name" => DataType::Custom(plain_name(&name), Vec::new()),
                "xid" | "cid" => DataType::IntUnsigned(None),
                "varchar" if modifiers.is_empty() => DataType::Varchar(None),
                "bpchar" | "text" | "varchar" | "unknown" | "cstring" | "pg_node_tree" | "sql_identifier"
                | "character_data" | "yes_or_no" | "aclitem" => DataType::Text,
                "char" if quoted => DataType::Text,
                "int2" => DataType::SmallInt(None),
                "int4" | "cardinal_number" => DataType::Integer(None),
                "int8" => DataType::BigInt(None),
                "float4" => DataType::Real,
                "float8" => DataType::DoublePrecision,
                "bool" => DataType::Boolean,
                "numeric" if modifiers.is_empty() => DataType::Numeric(ExactNumberInfo::None),
                "date" => DataType::Date,
                "timestamp" => DataType::Timestamp(None, TimezoneInfo::None),
                "timestamptz" => DataType::Timestamp(None, TimezoneInfo::WithTimeZone),
                "bytea" => DataType::Bytea,
                _ => return None,
            })
        }
        // By its number of bits; without one it is the larger.
        DataType::Float(ExactNumberInfo::Precision(1..=24)) => Some(DataType::Real),
        DataType::Float(ExactNumberInfo::None | ExactNumberInfo::Precision(25..=53)) => Some(DataType::DoublePrecision),
        DataType::Array(ArrayElemTypeDef::SquareBracket(item, size)) => {
            let item = usual_type(item)?;
            Some(DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(item), *size)))
        }
        _ => None,
    }
}
