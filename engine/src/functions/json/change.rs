//! Functions that answer a value with something added, taken away, or laid out otherwise.

use std::borrow::Cow;

use super::look::{index_of, place, refused};
use super::read::{self, Item, Value as Json};
use super::write::{put, put_pretty, put_stripped, strip};
use super::{Answer, Row, Spec, Takes, Value, look, strict};
use crate::error::{Error, Result, Sqlstate};

pub(super) const SPECS: &[Spec] = &[
    strict("kanon_jsonb_concat", &[Takes::Json, Takes::Json], Answer::Jsonb, concat),
    strict("kanon_jsonb_delete", &[Takes::Json, Takes::Step], Answer::Jsonb, delete),
    strict("kanon_jsonb_delete_all", &[Takes::Json, Takes::Texts], Answer::Jsonb, delete_all),
    strict("kanon_jsonb_delete_path", &[Takes::Json, Takes::Texts], Answer::Jsonb, delete_path),
    strict("jsonb_pretty", &[Takes::Json], Answer::Text, |row| {
        let mut out = String::new();
        put_pretty(&read::read(&row.document(0)?)?.value, 0, &mut out)?;
        Ok(Value::Text(out))
    }),
    strict("json_strip_nulls", &[Takes::Json], Answer::Json, |row| {
        let mut out = String::new();
        put_stripped(&read::read(&row.document(0)?)?.value, &mut out);
        Ok(Value::Text(out))
    }),
    strict("jsonb_strip_nulls", &[Takes::Json], Answer::Jsonb, |row| {
        let text = row.document(0)?;
        let mut value = read::read(&text)?.value;
        strip(&mut value);
        written(&value)
    }),
];

fn written(value: &Json<'_>) -> Result<Value> {
    let mut out = String::new();
    put(value, &mut out)?;
    Ok(Value::Text(out))
}

fn concat(row: &Row<'_>) -> Result<Value> {
    let (left, right) = (row.document(0)?, row.document(1)?);
    let (left, right) = (read::read(&left)?, read::read(&right)?);
    match (left, right) {
        (Item { value: Json::Object(mut left), .. }, Item { value: Json::Object(right), .. }) => {
            left.extend(right);
            written(&Json::Object(left))
        }
        (left, right) => {
            let mut all = items(left);
            all.extend(items(right));
            written(&Json::Array(all))
        }
    }
}

/// The items of an array; anything else is one of itself.
fn items(item: Item<'_>) -> Vec<Item<'_>> {
    match item.value {
        Json::Array(items) => items,
        _ => vec![item],
    }
}

fn is_text(value: &Json<'_>, text: &str) -> bool {
    matches!(value, Json::Text(own) if own == text)
}

fn delete(row: &Row<'_>) -> Result<Value> {
    let text = row.document(0)?;
    let mut value = read::read(&text)?.value;
    match (&mut value, row.step(1)?) {
        (Json::Object(fields), look::Step::Key(key)) => fields.retain(|(name, _)| name != key),
        (Json::Array(items), look::Step::Key(key)) => items.retain(|item| !is_text(&item.value, key)),
        (Json::Array(items), look::Step::Index(index)) => {
            if let Some(at) = place(index, items.len()).filter(|at| *at < items.len()) {
                items.remove(at);
            }
        }
        (Json::Object(_), look::Step::Index(_)) => {
            return Err(refused("cannot delete from object using integer index"));
        }
        _ => return Err(refused("cannot delete from scalar")),
    }
    written(&value)
}

fn delete_all(row: &Row<'_>) -> Result<Value> {
    let text = row.document(0)?;
    let mut value = read::read(&text)?.value;
    let names = row.texts(1)?;
    let is_named = |text: &str| names.iter().flatten().any(|name| name == text);
    match &mut value {
        Json::Object(fields) => fields.retain(|(name, _)| !is_named(name)),
        Json::Array(items) => items.retain(|item| !matches!(&item.value, Json::Text(text) if is_named(text))),
        _ => return Err(refused("cannot delete from scalar")),
    }
    written(&value)
}

fn delete_path(row: &Row<'_>) -> Result<Value> {
    let text = row.document(0)?;
    let mut value = read::read(&text)?.value;
    if value.is_scalar() {
        return Err(refused("cannot delete path in scalar"));
    }
    let path = row.texts(1)?;
    take_out(&mut value, &path, 1)?;
    written(&value)
}

/// Takes out what a path leads to, if there is such a thing. `position` is that of its first step, from 1.
fn take_out(value: &mut Json<'_>, path: &[Option<String>], position: usize) -> Result<()> {
    let Some((step, rest)) = path.split_first() else { return Ok(()) };
    let Some(step) = step else {
        let message = format!("path element at position {position} is null");
        return Err(Error::new(Sqlstate::NullNotAllowed, message));
    };
    match value {
        Json::Object(fields) if rest.is_empty() => fields.retain(|(name, _)| name != step),
        Json::Object(fields) => {
            let found = fields.iter_mut().rev().find(|(name, _): &&mut (Cow<'_, str>, Item<'_>)| name == step);
            if let Some((_, item)) = found {
                take_out(&mut item.value, rest, position + 1)?;
            }
        }
        Json::Array(items) => {
            let index = index_of(step).ok_or_else(|| {
                let message = format!("path element at position {position} is not an integer: \"{step}\"");
                Error::new(Sqlstate::InvalidTextRepresentation, message)
            })?;
            let Some(at) = place(index, items.len()).filter(|at| *at < items.len()) else { return Ok(()) };
            if rest.is_empty() {
                items.remove(at);
            } else if let Some(item) = items.get_mut(at) {
                take_out(&mut item.value, rest, position + 1)?;
            }
        }
        _ => {}
    }
    Ok(())
}
