//! Functions that make JSON: of text, of values, of rows, of what an aggregate has gathered.

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Field;

use super::look::refused;
use super::values::Column;
use super::write::{normal, put_string};
use super::{Answer, Row, Spec, Takes, Value, read, strict, variadic};
use crate::error::{Error, Result, Sqlstate};

/// Stands before an item of a list that begins on a line of its own. No JSON text holds it.
const LINE: char = '\u{1}';

pub(super) const SPECS: &[Spec] = &[
    strict("kanon_json", &[Takes::Text], Answer::Json, |row| {
        read::check(row.text(0)?)?;
        Ok(Value::Text(row.text(0)?.to_owned()))
    }),
    strict("kanon_jsonb", &[Takes::Text], Answer::Jsonb, |row| normal(row.text(0)?).map(Value::Text)),
    strict("to_json", &[Takes::Any], Answer::Json, |row| row.json(0).map(Value::Text)),
    strict("array_to_json", &[Takes::Any], Answer::Json, |row| row.json(0).map(Value::Text)),
    strict("row_to_json", &[Takes::Any], Answer::Json, |row| row.json(0).map(Value::Text)),
    strict("to_jsonb", &[Takes::Any], Answer::Jsonb, |row| normal(&row.json(0)?).map(Value::Text)),
    variadic("json_build_array", &[Takes::Any], 0, Answer::Json, |row| array(row).map(Value::Text)),
    variadic("jsonb_build_array", &[Takes::Any], 0, Answer::Jsonb, |row| normal(&array(row)?).map(Value::Text)),
    variadic("json_build_object", &[Takes::Any], 0, Answer::Json, |row| object(row).map(Value::Text)),
    variadic("jsonb_build_object", &[Takes::Any], 0, Answer::Jsonb, |row| normal(&object(row)?).map(Value::Text)),
    // Names and values by turns.
    variadic("kanon_row", &[Takes::Any], 0, Answer::Row, |row| {
        let mut out = "{".to_owned();
        for at in (0..row.count()).step_by(2) {
            if at > 0 {
                out.push(',');
            }
            put_string(row.text(at)?, &mut out);
            out.push(':');
            row.put(at + 1, &mut out)?;
        }
        out.push('}');
        Ok(Value::Text(out))
    }),
    variadic("kanon_json_item", &[Takes::Any], 1, Answer::Text, item),
    strict("kanon_json_list", &[Takes::Texts], Answer::Json, |row| list(row).map(Value::Text)),
    strict("kanon_jsonb_list", &[Takes::Texts], Answer::Jsonb, |row| normal(&list(row)?).map(Value::Text)),
    variadic("kanon_json_pair", &[Takes::Any], 2, Answer::Text, pair),
    strict("kanon_json_pairs", &[Takes::Texts], Answer::Json, |row| pairs(row).map(Value::Text)),
    strict("kanon_jsonb_pairs", &[Takes::Texts], Answer::Jsonb, |row| normal(&pairs(row)?).map(Value::Text)),
    strict("kanon_json_values", &[Takes::Any], Answer::Json, |row| values(row).map(Value::Text)),
    strict("kanon_jsonb_values", &[Takes::Any], Answer::Jsonb, |row| normal(&values(row)?).map(Value::Text)),
    Spec {
        least: 1,
        ..strict("json_object", &[Takes::Texts, Takes::Texts], Answer::Json, |row| of_texts(row).map(Value::Text))
    },
    Spec {
        least: 1,
        ..strict("jsonb_object", &[Takes::Texts, Takes::Texts], Answer::Jsonb, |row| {
            normal(&of_texts(row)?).map(Value::Text)
        })
    },
];

fn array(row: &Row<'_>) -> Result<String> {
    let mut out = "[".to_owned();
    for at in 0..row.count() {
        if at > 0 {
            out.push_str(", ");
        }
        row.put(at, &mut out)?;
    }
    out.push(']');
    Ok(out)
}

fn object(row: &Row<'_>) -> Result<String> {
    let is_jsonb = row.name.starts_with("jsonb");
    if !row.count().is_multiple_of(2) {
        let hint = format!("The arguments of {}() must consist of alternating keys and values.", row.name);
        return Err(refused("argument list must have even number of elements").hint(hint));
    }
    let mut out = "{".to_owned();
    for at in (0..row.count()).step_by(2) {
        if at > 0 {
            out.push_str(", ");
        }
        if row.is_null(at)? {
            return Err(match is_jsonb {
                true => refused(format!("argument {}: key must not be null", at + 1)),
                false => refused(format!("argument {} cannot be null", at + 1)).hint("Object keys should be text."),
            });
        }
        put_key(row, at, &mut out)?;
        out.push_str(" : ");
        row.put(at + 1, &mut out)?;
    }
    out.push('}');
    Ok(out)
}

fn put_key(row: &Row<'_>, place: usize, out: &mut String) -> Result<()> {
    let (column, _) = row.column(place)?;
    if column.is_json() || column.is_nested() {
        return Err(refused("key value must be scalar, not array, composite, or json"));
    }
    let key = row.json(place)?;
    if key.starts_with('"') {
        out.push_str(&key)
    } else {
        put_string(&key, out)
    }
    Ok(())
}

/// A value that an aggregate gathers.
fn item(row: &Row<'_>) -> Result<Value> {
    let (column, _) = row.column(0)?;
    let mut out = String::new();
    if column.is_nested() {
        out.push(LINE);
    }
    row.put(0, &mut out)?;
    Ok(Value::Text(out))
}

/// What [`item`] made, put together.
fn list(row: &Row<'_>) -> Result<String> {
    let mut out = "[".to_owned();
    for (at, text) in row.texts(0)?.iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        let text = text.as_deref().unwrap_or("null");
        match text.strip_prefix(LINE) {
            Some(text) if at > 0 => {
                out.push_str("\n ");
                out.push_str(text);
            }
            Some(text) => out.push_str(text),
            None => out.push_str(text),
        }
    }
    out.push(']');
    Ok(out)
}

/// A key and a value that an aggregate gathers; NULL without a key.
fn pair(row: &Row<'_>) -> Result<Value> {
    if row.is_null(0)? {
        return Ok(Value::Null);
    }
    let mut out = String::new();
    put_key(row, 0, &mut out)?;
    out.push_str(" : ");
    row.put(1, &mut out)?;
    Ok(Value::Text(out))
}

/// What [`pair`] made, put together.
fn pairs(row: &Row<'_>) -> Result<String> {
    let mut out = "{ ".to_owned();
    for (at, text) in row.texts(0)?.into_iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        out.push_str(&text.ok_or_else(|| refused("field name must not be null"))?);
    }
    out.push_str(" }");
    Ok(out)
}

/// The items of a list of any type, put together.
fn values(row: &Row<'_>) -> Result<String> {
    let (column, at) = row.column(0)?;
    let Some(lists) = column.array.as_list_opt::<i32>() else {
        return Err(Error::internal("an argument is no list"));
    };
    let items = lists.value(at);
    let field = Field::new_list_field(items.data_type().clone(), true);
    let items = Column::new(&items, &field)?;
    let mut out = "[".to_owned();
    for at in 0..items.array.len() {
        if at > 0 {
            out.push_str(if items.is_nested() { ", \n " } else { ", " });
        }
        items.put(at, row.zone, &mut out)?;
    }
    out.push(']');
    Ok(out)
}

fn of_texts(row: &Row<'_>) -> Result<String> {
    let wrong = |message: &str| Error::new(Sqlstate::ArraySubscriptError, message);
    let first = row.texts(0)?;
    let (keys, values) = match row.count() {
        1 if !first.len().is_multiple_of(2) => return Err(wrong("array must have even number of elements")),
        1 => {
            let (mut keys, mut values) = (Vec::new(), Vec::new());
            for (at, text) in first.into_iter().enumerate() {
                if at % 2 == 0 { keys.push(text) } else { values.push(text) }
            }
            (keys, values)
        }
        _ => (first, row.texts(1)?),
    };
    if keys.len() != values.len() {
        return Err(wrong("mismatched array dimensions"));
    }
    let mut out = "{".to_owned();
    for (at, (key, value)) in keys.iter().zip(&values).enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        let missing = || Error::new(Sqlstate::NullNotAllowed, "null value not allowed for object key");
        put_string(key.as_deref().ok_or_else(missing)?, &mut out);
        out.push_str(" : ");
        match value {
            Some(value) => put_string(value, &mut out),
            None => out.push_str("null"),
        }
    }
    out.push('}');
    Ok(out)
}
