//! Functions that look into a value: by key, by index, by path; what it is and how much is in it.

use super::read::{self, Item, Value as Json};
use super::{Answer, Row, Spec, Takes, Value, order, strict, variadic};
use crate::error::{Error, Result, Sqlstate};

/// One step into a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    Key(&'a str),
    /// From 0; from the end if negative.
    Index(i64),
}

/// How an answer is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// As it stands in the text.
    AsJson,
    /// A string without its quotes, and null as NULL.
    AsText,
}

use Takes::{Json as TakesJson, Step as TakesStep, Text as TakesText, Texts as TakesTexts};

pub(super) const SPECS: &[Spec] = &[
    strict("kanon_json_get", &[TakesJson, TakesStep], Answer::Json, |row| get(row, false, Told::AsJson)),
    strict("kanon_jsonb_get", &[TakesJson, TakesStep], Answer::Jsonb, |row| get(row, true, Told::AsJson)),
    strict("kanon_json_get_text", &[TakesJson, TakesStep], Answer::Text, |row| get(row, false, Told::AsText)),
    strict("kanon_jsonb_get_text", &[TakesJson, TakesStep], Answer::Text, |row| get(row, true, Told::AsText)),
    strict("kanon_json_path", &[TakesJson, TakesTexts], Answer::Json, |row| by_list(row, Told::AsJson)),
    strict("kanon_jsonb_path", &[TakesJson, TakesTexts], Answer::Jsonb, |row| by_list(row, Told::AsJson)),
    strict("kanon_json_path_text", &[TakesJson, TakesTexts], Answer::Text, |row| by_list(row, Told::AsText)),
    variadic("json_extract_path", &[TakesJson, TakesText], 2, Answer::Json, |row| by_steps(row, Told::AsJson)),
    variadic("jsonb_extract_path", &[TakesJson, TakesText], 2, Answer::Jsonb, |row| by_steps(row, Told::AsJson)),
    variadic("json_extract_path_text", &[TakesJson, TakesText], 2, Answer::Text, |row| by_steps(row, Told::AsText)),
    variadic("jsonb_extract_path_text", &[TakesJson, TakesText], 2, Answer::Text, |row| by_steps(row, Told::AsText)),
    strict("json_array_length", &[TakesJson], Answer::Int, length),
    strict("jsonb_array_length", &[TakesJson], Answer::Int, length),
    strict("json_typeof", &[TakesJson], Answer::Text, type_of),
    strict("jsonb_typeof", &[TakesJson], Answer::Text, type_of),
    strict("kanon_json_elements", &[TakesJson], Answer::Texts, |row| {
        elements(row, "json_array_elements", Told::AsJson)
    }),
    strict("kanon_jsonb_elements", &[TakesJson], Answer::Texts, |row| elements(row, "", Told::AsJson)),
    strict("kanon_json_elements_text", &[TakesJson], Answer::Texts, |row| {
        elements(row, "json_array_elements_text", Told::AsText)
    }),
    strict("kanon_jsonb_elements_text", &[TakesJson], Answer::Texts, |row| elements(row, "", Told::AsText)),
    strict("kanon_json_keys", &[TakesJson], Answer::Texts, |row| keys(row, "json_object_keys")),
    strict("kanon_jsonb_keys", &[TakesJson], Answer::Texts, |row| keys(row, "jsonb_object_keys")),
    strict("kanon_json_each_keys", &[TakesJson], Answer::Texts, each_keys),
    strict("kanon_jsonb_each_keys", &[TakesJson], Answer::Texts, each_keys),
    strict("kanon_json_each", &[TakesJson], Answer::Texts, |row| each(row, Told::AsJson)),
    strict("kanon_jsonb_each", &[TakesJson], Answer::Texts, |row| each(row, Told::AsJson)),
    strict("kanon_json_each_text", &[TakesJson], Answer::Texts, |row| each(row, Told::AsText)),
    strict("kanon_jsonb_each_text", &[TakesJson], Answer::Texts, |row| each(row, Told::AsText)),
    strict("kanon_jsonb_contains", &[TakesJson, TakesJson], Answer::Bool, |row| {
        let (a, b) = (row.document(0)?, row.document(1)?);
        let (a, b) = (read::read(&a)?, read::read(&b)?);
        Ok(Value::Bool(order::contains(&a.value, &b.value)?))
    }),
    strict("kanon_jsonb_has", &[TakesJson, TakesText], Answer::Bool, |row| {
        Ok(Value::Bool(order::has(&read::read(&row.document(0)?)?.value, row.text(1)?)))
    }),
    strict("kanon_jsonb_has_any", &[TakesJson, TakesTexts], Answer::Bool, |row| {
        let text = row.document(0)?;
        let item = read::read(&text)?;
        Ok(Value::Bool(row.texts(1)?.iter().flatten().any(|name| order::has(&item.value, name))))
    }),
    strict("kanon_jsonb_has_all", &[TakesJson, TakesTexts], Answer::Bool, |row| {
        let text = row.document(0)?;
        let item = read::read(&text)?;
        Ok(Value::Bool(row.texts(1)?.iter().flatten().all(|name| order::has(&item.value, name))))
    }),
    strict("kanon_jsonb_key", &[TakesJson], Answer::Bytes, |row| {
        Ok(Value::Bytes(order::key(&read::read(&row.document(0)?)?.value)?))
    }),
];

/// Where an index points in a list of so many.
pub(super) fn place(index: i64, count: usize) -> Option<usize> {
    let count = i64::try_from(count).ok()?;
    let from_start = if index < 0 { index.checked_add(count)? } else { index };
    usize::try_from(from_start).ok()
}

/// An index, as a path has it.
pub(super) fn index_of(step: &str) -> Option<i64> {
    let digits = step.trim_start();
    digits.parse::<i32>().ok().map(i64::from)
}

fn child<'v, 'a>(value: &'v Json<'a>, step: Step<'_>) -> Option<&'v Item<'a>> {
    match (value, step) {
        (Json::Object(fields), Step::Key(key)) => {
            fields.iter().rev().find(|(name, _)| name == key).map(|(_, item)| item)
        }
        (Json::Array(items), Step::Index(index)) => items.get(place(index, items.len())?),
        _ => None,
    }
}

fn told(item: &Item<'_>, told: Told) -> Value {
    match (&item.value, told) {
        (Json::Null, Told::AsText) => Value::Null,
        (Json::Text(text), Told::AsText) => Value::Text(text.clone().into_owned()),
        _ => Value::Text(item.text.to_owned()),
    }
}

fn get(row: &Row<'_>, is_jsonb: bool, how: Told) -> Result<Value> {
    let text = row.document(0)?;
    let item = read::read(&text)?;
    let step = row.step(1)?;
    // A value that is neither array nor object is an array of itself.
    let is_itself = is_jsonb && item.value.is_scalar() && matches!(step, Step::Index(0 | -1));
    let found = if is_itself { Some(&item) } else { child(&item.value, step) };
    Ok(found.map_or(Value::Null, |found| told(found, how)))
}

fn by_list(row: &Row<'_>, how: Told) -> Result<Value> {
    by_path(&row.document(0)?, row.texts(1)?.iter().map(|step| step.as_deref()), how)
}

fn by_steps(row: &Row<'_>, how: Told) -> Result<Value> {
    let mut steps = Vec::with_capacity(row.count());
    for at in 0..row.count() {
        if row.is_null(at)? {
            return Ok(Value::Null);
        }
        if at > 0 {
            steps.push(Some(row.text(at)?));
        }
    }
    by_path(&row.document(0)?, steps.into_iter(), how)
}

fn by_path<'s>(text: &str, steps: impl Iterator<Item = Option<&'s str>>, how: Told) -> Result<Value> {
    let item = read::read(text)?;
    let mut found = &item;
    for step in steps {
        let Some(step) = step else { return Ok(Value::Null) };
        let next = match &found.value {
            Json::Array(_) => index_of(step).and_then(|index| child(&found.value, Step::Index(index))),
            value => child(value, Step::Key(step)),
        };
        match next {
            Some(next) => found = next,
            None => return Ok(Value::Null),
        }
    }
    Ok(told(found, how))
}

pub(super) fn refused(message: impl Into<String>) -> Error {
    Error::new(Sqlstate::InvalidParameterValue, message)
}

fn length(row: &Row<'_>) -> Result<Value> {
    match read::read(&row.document(0)?)?.value {
        Json::Array(items) => Ok(Value::Int(i32::try_from(items.len()).unwrap_or(i32::MAX))),
        Json::Object(_) => Err(refused("cannot get array length of a non-array")),
        _ => Err(refused("cannot get array length of a scalar")),
    }
}

pub(super) fn name_of_type(value: &Json<'_>) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::Text(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

fn type_of(row: &Row<'_>) -> Result<Value> {
    Ok(Value::Text(name_of_type(&read::read(&row.document(0)?)?.value).to_owned()))
}

fn list<'v, 'a: 'v>(items: impl Iterator<Item = &'v Item<'a>>, how: Told) -> Value {
    let text = |item| match told(item, how) {
        Value::Text(text) => Some(text),
        _ => None,
    };
    Value::Texts(items.map(text).collect())
}

/// `function` is its name as `json` has it; that of `jsonb` has other words.
fn elements(row: &Row<'_>, function: &str, how: Told) -> Result<Value> {
    match read::read(&row.document(0)?)?.value {
        Json::Array(items) => Ok(list(items.iter(), how)),
        Json::Object(_) if function.is_empty() => Err(refused("cannot extract elements from an object")),
        Json::Object(_) => Err(refused(format!("cannot call {function} on a non-array"))),
        _ if function.is_empty() => Err(refused("cannot extract elements from a scalar")),
        _ => Err(refused(format!("cannot call {function} on a scalar"))),
    }
}

fn keys(row: &Row<'_>, function: &str) -> Result<Value> {
    match read::read(&row.document(0)?)?.value {
        Json::Object(fields) => Ok(Value::Texts(fields.into_iter().map(|(key, _)| Some(key.into_owned())).collect())),
        Json::Array(_) => Err(refused(format!("cannot call {function} on an array"))),
        _ => Err(refused(format!("cannot call {function} on a scalar"))),
    }
}

fn refuse_each(row: &Row<'_>, value: &Json<'_>) -> Error {
    let is_text = row.name.ends_with("_text");
    match value {
        _ if row.name.starts_with("kanon_jsonb") => {
            refused(format!("cannot call jsonb_each{} on a non-object", if is_text { "_text" } else { "" }))
        }
        Json::Array(_) => refused("cannot deconstruct an array as an object"),
        _ => refused("cannot deconstruct a scalar"),
    }
}

fn each_keys(row: &Row<'_>) -> Result<Value> {
    match read::read(&row.document(0)?)?.value {
        Json::Object(fields) => Ok(Value::Texts(fields.into_iter().map(|(key, _)| Some(key.into_owned())).collect())),
        other => Err(refuse_each(row, &other)),
    }
}

fn each(row: &Row<'_>, how: Told) -> Result<Value> {
    match read::read(&row.document(0)?)?.value {
        Json::Object(fields) => Ok(list(fields.iter().map(|(_, item)| item), how)),
        other => Err(refuse_each(row, &other)),
    }
}
