//! Between names and OIDs: the `reg…` types, `format_type`, quoting.

use super::Kind::{Any, List, Number, Text};
use super::{Answer, Row, Spec, spec};
use crate::error::{Error, Result, Sqlstate};
use crate::pg_catalog::defs::{PROCEDURES, TYPES, procedure_oid};
use crate::pg_catalog::directory::{Directory, quote_ident};
use crate::pg_catalog::types::PgType;
use crate::pg_catalog::values::Value;

pub(super) const SPECS: &[Spec] = &[
    spec("to_regclass", &[Text], Answer::Oid, |d, row| Ok(row.text(0).and_then(|n| class_oid(d, n)).into())),
    spec("to_regtype", &[Text], Answer::Oid, |_, row| Ok(row.text(0).and_then(type_oid).into())),
    spec("to_regproc", &[Text], Answer::Oid, |_, row| Ok(row.text(0).and_then(function_oid).into())),
    spec("to_regprocedure", &[Text], Answer::Oid, |_, row| Ok(row.text(0).and_then(function_oid).into())),
    spec("to_regnamespace", &[Text], Answer::Oid, |d, row| Ok(row.text(0).and_then(|n| schema_oid(d, n)).into())),
    spec("to_regrole", &[Text], Answer::Oid, |d, row| Ok(row.text(0).and_then(|n| role_oid(d, n)).into())),
    spec("kanon_regclass", &[Any], Answer::Oid, |d, row| {
        input(row, |n| class_oid(d, n), Sqlstate::UndefinedTable, "relation")
    }),
    spec("kanon_regtype", &[Any], Answer::Oid, |_, row| input(row, type_oid, Sqlstate::UndefinedObject, "type")),
    spec("kanon_regproc", &[Any], Answer::Oid, |_, row| {
        input(row, function_oid, Sqlstate::UndefinedFunction, "function")
    }),
    spec("kanon_regnamespace", &[Any], Answer::Oid, |d, row| {
        input(row, |n| schema_oid(d, n), Sqlstate::UndefinedSchema, "schema")
    }),
    spec("kanon_regrole", &[Any], Answer::Oid, |d, row| {
        input(row, |n| role_oid(d, n), Sqlstate::UndefinedObject, "role")
    }),
    spec("kanon_regclass_out", &[Number], Answer::Text, |d, row| output(row, |oid| d.entry(oid).map(|e| d.display(e)))),
    spec("kanon_regtype_out", &[Number], Answer::Text, |_, row| output(row, |oid| Some(format_type(oid, -1)))),
    spec("kanon_regproc_out", &[Number], Answer::Text, |_, row| {
        output(row, |oid| PROCEDURES.iter().find(|p| p.oid == oid).map(|p| p.name.to_owned()))
    }),
    spec("kanon_regnamespace_out", &[Number], Answer::Text, |d, row| {
        output(row, |oid| d.schema(oid).map(|s| quote_ident(&s.name)))
    }),
    spec("kanon_regrole_out", &[Number], Answer::Text, |d, row| output(row, |oid| d.role(oid).map(quote_ident))),
    spec("format_type", &[Number, Number], Answer::Text, |_, row| {
        let typmod = row.number(1).and_then(|m| i32::try_from(m).ok()).unwrap_or(-1);
        Ok(row.oid(0).map(|oid| format_type(oid, typmod)).into())
    }),
    spec("quote_ident", &[Text], Answer::Text, |_, row| Ok(row.text(0).map(quote_ident).into())),
    spec("quote_literal", &[Any], Answer::Text, |_, row| Ok(row.text(0).map(quote_literal).into())),
    spec("quote_nullable", &[Any], Answer::Text, |_, row| {
        Ok(row.text(0).map_or_else(|| "NULL".to_owned(), quote_literal).into())
    }),
    spec("parse_ident", &[Text], Answer::Texts, |_, row| {
        let Some(text) = row.text(0) else { return Ok(Value::Null) };
        let invalid =
            || Error::new(Sqlstate::InvalidParameterValue, format!("string is not a valid identifier: \"{text}\""));
        Ok(Value::Texts(parse_name(text).ok_or_else(invalid)?))
    }),
    Spec {
        least: 2,
        ..spec("array_upper", &[List, Number], Answer::Int4, |_, row| {
            let length = row.list(0).filter(|_| row.number(1) == Some(1)).map(|l| l.len()).filter(|n| *n > 0);
            Ok(length.and_then(|n| i64::try_from(n).ok()).into())
        })
    },
    spec("array_lower", &[List, Number], Answer::Int4, |_, row| {
        Ok(row.list(0).filter(|l| row.number(1) == Some(1) && !l.is_empty()).map(|_| 1_i64).into())
    }),
    // The numbers of a list's elements, for `generate_subscripts`.
    spec("kanon_subscripts", &[List], Answer::Subscripts, |_, row| {
        let length = row.list(0).and_then(|l| i64::try_from(l.len()).ok()).unwrap_or(0);
        Ok(Value::Ints((1..=length).collect()))
    }),
    // An array of names, or of numbers, as one of texts.
    spec("kanon_texts", &[List], Answer::AsTexts, |_, _| Ok(Value::Null)),
    // The same as `int4`: of `_pg_expandarray` the field n.
    spec("kanon_numbers", &[List], Answer::Numbers, |_, row| {
        let length = row.list(0).and_then(|l| i64::try_from(l.len()).ok()).unwrap_or(0);
        Ok(Value::Ints((1..=length).collect()))
    }),
    spec("kanon_regtypes", &[List], Answer::Listed(PgType::REGTYPE), |_, row| {
        listed(row, type_oid, |oid| Some(format_type(oid, -1)), Sqlstate::UndefinedObject, "type")
    }),
    spec("kanon_regclasses", &[List], Answer::Listed(PgType::REGCLASS), |d, row| {
        let shown = |oid| d.entry(oid).map(|entry| d.display(entry));
        listed(row, |name| class_oid(d, name), shown, Sqlstate::UndefinedTable, "relation")
    }),
    // An empty list for NULL: what ARRAY(SELECT …) of no rows is.
    spec("kanon_list", &[List], Answer::List, |_, row| {
        Ok(Value::Texts(row.list(0).unwrap_or_default().into_iter().flatten().collect()))
    }),
    // A LIKE pattern with another escape character, as one with a backslash.
    spec("kanon_like_pattern", &[Text, Text], Answer::Text, |_, row| {
        let (Some(pattern), Some(escape)) = (row.text(0), row.text(1)) else { return Ok(Value::Null) };
        Ok(like_pattern(pattern, escape.chars().next()).into())
    }),
];

fn input<'a>(row: &Row<'a>, find: impl Fn(&str) -> Option<u32>, state: Sqlstate, what: &str) -> Result<Value<'a>> {
    let Some(text) = row.text(0) else { return Ok(Value::Null) };
    Ok(oid_of(text, find, state, what)?.into())
}

fn oid_of(text: &str, find: impl Fn(&str) -> Option<u32>, state: Sqlstate, what: &str) -> Result<u32> {
    if text == "-" {
        return Ok(0);
    }
    if let Ok(oid) = text.parse::<u32>() {
        return Ok(oid);
    }
    find(text).ok_or_else(|| Error::new(state, format!("{what} \"{text}\" does not exist")))
}

fn output<'a>(row: &Row<'a>, name: impl Fn(u32) -> Option<String>) -> Result<Value<'a>> {
    Ok(row.oid(0).map(|oid| shown(oid, name)).into())
}

fn shown(oid: u32, name: impl Fn(u32) -> Option<String>) -> String {
    if oid == 0 { "-".to_owned() } else { name(oid).unwrap_or_else(|| oid.to_string()) }
}

/// An array of OIDs or names as one of names, as it is shown.
fn listed<'a>(
    row: &Row<'a>,
    find: impl Fn(&str) -> Option<u32>,
    name: impl Fn(u32) -> Option<String>,
    state: Sqlstate,
    what: &str,
) -> Result<Value<'a>> {
    let Some(items) = row.list(0) else { return Ok(Value::Null) };
    let items = items.into_iter().flatten();
    let names = items.map(|text| Ok(shown(oid_of(&text, &find, state, what)?, &name)));
    Ok(Value::Texts(names.collect::<Result<_>>()?))
}

/// The parts of a name: `a."B c".d`. Bare parts are folded to lower case.
pub(crate) fn parse_name(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut chars = text.trim().chars().peekable();
    loop {
        let mut part = String::new();
        if chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next()? {
                    '"' if chars.next_if_eq(&'"').is_some() => part.push('"'),
                    '"' => break,
                    c => part.push(c),
                }
            }
        } else {
            while let Some(c) = chars.next_if(|c| *c != '.' && *c != '"') {
                part.extend(c.to_lowercase());
            }
        }
        if part.is_empty() {
            return None;
        }
        parts.push(part);
        match chars.next() {
            None => return Some(parts),
            Some('.') => {}
            Some(_) => return None,
        }
    }
}

fn qualified(text: &str) -> Option<(Option<String>, String)> {
    let mut parts = parse_name(text)?;
    let name = parts.pop()?;
    match parts.len() {
        0 | 1 => Some((parts.pop(), name)),
        _ => None,
    }
}

pub(super) fn class_oid(directory: &Directory, text: &str) -> Option<u32> {
    let (schema_name, name) = qualified(text)?;
    directory.find(schema_name.as_deref(), &name).map(|entry| entry.oid)
}

/// The OID of a type as SQL writes its name.
pub fn type_oid(text: &str) -> Option<u32> {
    if let Some(known) = PgType::by_sql_name(text) {
        return Some(known.oid);
    }
    let (name, is_array) = text.strip_suffix("[]").map_or((text, false), |name| (name, true));
    let (schema_name, name) = qualified(name)?;
    if schema_name.is_some_and(|schema| schema != "pg_catalog") {
        return None;
    }
    let (name, is_array) = name.strip_prefix('_').map_or((name.as_str(), is_array), |element| (element, true));
    let row = TYPES.iter().find(|t| t.name == name)?;
    Some(if is_array { row.array } else { row.oid }).filter(|oid| *oid != 0)
}

fn function_oid(text: &str) -> Option<u32> {
    let (schema_name, name) = qualified(text.split_once('(').map_or(text, |(name, _)| name))?;
    Some(procedure_oid(&name)).filter(|oid| *oid != 0 && schema_name.is_none_or(|schema| schema == "pg_catalog"))
}

pub(super) fn schema_oid(directory: &Directory, text: &str) -> Option<u32> {
    qualified(text)
        .filter(|(schema, _)| schema.is_none())
        .and_then(|(_, name)| directory.schema_named(&name).map(|s| s.oid))
}

fn role_oid(directory: &Directory, text: &str) -> Option<u32> {
    qualified(text).and_then(|(_, name)| directory.role_named(&name))
}

/// A type's SQL name; `???` for an OID that is no type's.
pub(crate) fn type_name(oid: u32) -> String {
    format_type(oid, -1)
}

/// A type's SQL name; `???` for an OID that is no type's.
fn format_type(oid: u32, typmod: i32) -> String {
    if oid == 0 {
        return "-".to_owned();
    }
    if let Some(known) = PgType::by_oid(oid) {
        return known.with_typmod(typmod).sql_name();
    }
    let named = |row: &str| if row == "any" { "\"any\"".to_owned() } else { row.to_owned() };
    TYPES
        .iter()
        .find_map(|t| match oid {
            _ if t.oid == oid => Some(named(t.name)),
            _ if t.array == oid => Some(format!("{}[]", t.name)),
            _ => None,
        })
        .unwrap_or_else(|| "???".to_owned())
}

pub(crate) fn quote_literal(text: &str) -> String {
    let prefix = if text.contains('\\') { "E" } else { "" };
    format!("{prefix}'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

fn like_pattern(pattern: &str, escape: Option<char>) -> String {
    let mut out = String::with_capacity(pattern.len() + 4);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            if let Some(literal) = chars.next() {
                if matches!(literal, '%' | '_' | '\\') {
                    out.push('\\');
                }
                out.push(literal);
            }
        } else {
            if c == '\\' {
                out.push('\\');
            }
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_sql_writes_them() {
        assert_eq!(parse_name("Public.\"Visit \"\"Note\""), Some(vec!["public".to_owned(), "Visit \"Note".to_owned()]));
        assert_eq!(parse_name("a..b"), None);
        assert_eq!(parse_name("\"open"), None);
    }

    #[test]
    fn types_are_found_and_named() {
        assert_eq!(type_oid("integer"), Some(23));
        assert_eq!(type_oid("int4range"), Some(3904));
        assert_eq!(type_oid("_int4range"), Some(3905));
        assert_eq!(type_oid("hstore"), None);
        assert_eq!(format_type(3905, -1), "int4range[]");
        assert_eq!(format_type(1114, -1), "timestamp without time zone");
        assert_eq!(format_type(99, -1), "???");
    }

    #[test]
    fn like_patterns_change_their_escape() {
        assert_eq!(like_pattern("pg/_%", Some('/')), "pg\\_%");
        assert_eq!(like_pattern("a\\b//c", Some('/')), "a\\\\b/c");
    }
}
