//! Session options of Flight: a session's settings by their names, and its catalog and schema.
//!
//! The messages are those of Flight.proto, which arrow-flight does not make: actions SetSessionOptions, GetSessionOptions, CloseSession.

use std::collections::HashMap;
use std::sync::Arc;

use kanon_engine::error::{Error, Result, Sqlstate};
use kanon_engine::session::Session;
use kanon_engine::session::settings::SETTINGS;
use prost::Message as _;

use crate::info::CATALOG;

/// What SetSessionOptions sends.
#[derive(Clone, PartialEq, prost::Message)]
struct SetRequest {
    #[prost(map = "string, message", tag = "1")]
    session_options: HashMap<String, OptionValue>,
}

/// What it answers: what was wrong, by name.
#[derive(Clone, PartialEq, prost::Message)]
struct SetResult {
    #[prost(map = "string, message", tag = "1")]
    errors: HashMap<String, SetError>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct SetError {
    /// 1: the name is unknown; 2: it does not take the value; 3: it cannot be set.
    #[prost(int32, tag = "1")]
    value: i32,
}

/// What GetSessionOptions answers.
#[derive(Clone, PartialEq, prost::Message)]
struct GetResult {
    #[prost(map = "string, message", tag = "1")]
    session_options: HashMap<String, OptionValue>,
}

/// What CloseSession answers.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct CloseResult {
    /// 1: it is closed.
    #[prost(int32, tag = "1")]
    status: i32,
}

/// A value; without one the option goes back to its default.
#[derive(Clone, PartialEq, prost::Message)]
struct OptionValue {
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(sfixed64, tag = "3")]
    Integer(i64),
    #[prost(double, tag = "4")]
    Float(f64),
    #[prost(message, tag = "5")]
    List(TextList),
}

#[derive(Clone, PartialEq, prost::Message)]
struct TextList {
    #[prost(string, repeated, tag = "1")]
    values: Vec<String>,
}

/// Sets options of a session. What is wrong with one keeps no other from being set.
///
/// # Errors
/// 08P01 for a request that cannot be read.
pub(crate) async fn set(session: &Arc<Session>, request: &[u8]) -> Result<Vec<u8>> {
    let request = SetRequest::decode(request)
        .map_err(|_| Error::new(Sqlstate::ProtocolViolation, "the session options cannot be read"))?;
    let mut errors = HashMap::new();
    for (name, option) in request.session_options {
        if let Err(error) = set_one(session, &name, option.value).await {
            let value = match error.state {
                Sqlstate::UndefinedObject => 1,
                Sqlstate::InvalidParameterValue => 2,
                _ => 3,
            };
            errors.insert(name, SetError { value });
        }
    }
    Ok(SetResult { errors }.encode_to_vec())
}

async fn set_one(session: &Arc<Session>, name: &str, value: Option<Value>) -> Result<()> {
    let values = value.map(texts);
    if name == "catalog" {
        return match values.as_deref() {
            None => Ok(()),
            Some([one]) if one == CATALOG => Ok(()),
            _ => Err(Error::new(Sqlstate::InvalidParameterValue, "there is one catalog")),
        };
    }
    let name = if name == "schema" { "search_path" } else { name };
    // A name that is known needs no quotes.
    let known = SETTINGS.iter().find(|setting| setting.name.eq_ignore_ascii_case(name));
    let Some(setting) = known else {
        return Err(Error::new(Sqlstate::UndefinedObject, "unrecognized configuration parameter"));
    };
    let statement = match values {
        None => format!("RESET {}", setting.name),
        Some(values) if values.is_empty() => format!("SET {} = ''", setting.name),
        Some(values) => {
            let values: Vec<String> = values.iter().map(|value| format!("'{}'", value.replace('\'', "''"))).collect();
            format!("SET {} = {}", setting.name, values.join(", "))
        }
    };
    let prepared = session.prepare(&statement, &[]).await?;
    session.execute(&prepared, Vec::new()).await.map(drop)
}

fn texts(value: Value) -> Vec<String> {
    match value {
        Value::Text(text) => vec![text],
        Value::Bool(on) => vec![if on { "on" } else { "off" }.to_owned()],
        Value::Integer(number) => vec![number.to_string()],
        Value::Float(number) => vec![number.to_string()],
        Value::List(list) => list.values,
    }
}

/// All options of a session.
pub(crate) fn get(session: &Session) -> Vec<u8> {
    let text = |value: String| OptionValue { value: Some(Value::Text(value)) };
    let mut session_options: HashMap<String, OptionValue> = SETTINGS
        .iter()
        .filter_map(|setting| Some((setting.name.to_owned(), text(session.setting(setting.name)?))))
        .collect();
    session_options.insert("catalog".to_owned(), text(CATALOG.to_owned()));
    // The first schema that is looked in, but for that of the user's own name, which nobody has.
    let path = session.setting("search_path").unwrap_or_default();
    let mut schemas = path.split(',').map(|name| name.trim().trim_matches('"'));
    let schema = schemas.find(|name| !name.is_empty() && *name != "$user").unwrap_or_default();
    session_options.insert("schema".to_owned(), text(schema.to_owned()));
    GetResult { session_options }.encode_to_vec()
}

/// That a session is closed.
pub(crate) fn closed() -> Vec<u8> {
    CloseResult { status: 1 }.encode_to_vec()
}
