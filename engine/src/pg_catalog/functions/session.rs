//! About the session and the server: who, where, which version, which settings.

use super::Kind::{Bool, Number, Text};
use super::{Answer, Row, Spec, spec};
use crate::error::{Error, Result, Sqlstate};
use crate::pg_catalog::DATABASE_NAME;
use crate::pg_catalog::directory::Directory;
use crate::pg_catalog::values::Value;

fn principal<'a>(directory: &'a Directory, _: &Row<'a>) -> Result<Value<'a>> {
    Ok(directory.viewer.principal.display().into())
}

fn nothing<'a>(_: &'a Directory, _: &Row<'a>) -> Result<Value<'a>> {
    Ok(Value::Null)
}

fn database<'a>(_: &'a Directory, _: &Row<'a>) -> Result<Value<'a>> {
    Ok(DATABASE_NAME.into())
}

fn no<'a>(_: &'a Directory, _: &Row<'a>) -> Result<Value<'a>> {
    Ok(false.into())
}

pub(super) const SPECS: &[Spec] = &[
    // Nobody waits for another session.
    spec("pg_blocking_pids", &[Number], Answer::Numbers, |_, row| {
        Ok(if row.is_null(0) { Value::Null } else { Value::Ints(Vec::new()) })
    }),
    spec("version", &[], Answer::Text, |d, _| {
        let version = (d.viewer.setting)("server_version").unwrap_or_default();
        Ok(format!("PostgreSQL {version} (Kanon {})", env!("CARGO_PKG_VERSION")).into())
    }),
    spec("current_user", &[], Answer::Name, principal),
    spec("session_user", &[], Answer::Name, principal),
    spec("current_role", &[], Answer::Name, principal),
    spec("user", &[], Answer::Name, principal),
    spec("current_database", &[], Answer::Name, database),
    spec("current_catalog", &[], Answer::Name, database),
    spec("current_schema", &[], Answer::Name, |d, _| Ok(d.path.get(d.implicit).into())),
    spec("current_schemas", &[Bool], Answer::Names, |d, row| {
        let Some(implicit) = row.bool(0) else { return Ok(Value::Null) };
        Ok(Value::Texts(d.path.iter().skip(if implicit { 0 } else { d.implicit }).cloned().collect()))
    }),
    Spec {
        least: 1,
        ..spec("current_setting", &[Text, Bool], Answer::Text, |d, row| {
            let Some(name) = row.text(0) else { return Ok(Value::Null) };
            match (d.viewer.setting)(name).or_else(|| fixed(name).map(str::to_owned)) {
                Some(value) => Ok(value.into()),
                None if row.bool(1) == Some(true) => Ok(Value::Null),
                None => Err(unknown(name)),
            }
        })
    },
    // Only what changes nothing: a function may run more often than it is written.
    spec("set_config", &[Text, Text, Bool], Answer::Text, |d, row| {
        let (Some(name), Some(value)) = (row.text(0), row.text(1)) else { return Ok(Value::Null) };
        let present = (d.viewer.setting)(name).ok_or_else(|| unknown(name))?;
        if present == value || (name.eq_ignore_ascii_case("search_path") && value.is_empty()) {
            return Ok(value.to_owned().into());
        }
        Err(Error::unsupported("set_config() in a query is not supported").hint(format!("SET {name} = … does it.")))
    }),
    spec("pg_backend_pid", &[], Answer::Int4, |d, _| Ok(d.viewer.backend_pid.into())),
    spec("pg_my_temp_schema", &[], Answer::Oid, |d, _| Ok(d.temporary().map_or(0, |schema| schema.oid).into())),
    spec("pg_is_other_temp_schema", &[Number], Answer::Bool, no),
    spec("inet_server_addr", &[], Answer::Text, nothing),
    spec("inet_server_port", &[], Answer::Int4, nothing),
    spec("inet_client_addr", &[], Answer::Text, nothing),
    spec("inet_client_port", &[], Answer::Int4, nothing),
    // There are no such locks, so none is held. Pools say this before they take a connection back.
    spec("pg_advisory_unlock_all", &[], Answer::Text, |_, _| Ok("".into())),
    spec("pg_is_in_recovery", &[], Answer::Bool, no),
    spec("pg_is_wal_replay_paused", &[], Answer::Bool, no),
    // There are no transaction numbers: the catalog's version stands for them.
    spec("txid_current", &[], Answer::Int8, version),
    spec("pg_current_xact_id", &[], Answer::Int8, version),
    spec("txid_current_if_assigned", &[], Answer::Int8, nothing),
    spec("pg_current_xact_id_if_assigned", &[], Answer::Int8, nothing),
    spec("pg_conf_load_time", &[], Answer::Time, nothing),
    spec("pg_postmaster_start_time", &[], Answer::Time, nothing),
    spec("getdatabaseencoding", &[], Answer::Name, |_, _| Ok("UTF8".into())),
    spec("pg_client_encoding", &[], Answer::Name, |_, _| Ok("UTF8".into())),
    spec("pg_jit_available", &[], Answer::Bool, no),
    spec("pg_export_snapshot", &[], Answer::Text, |_, _| Err(Error::unsupported("snapshots cannot be exported"))),
];

fn version<'a>(directory: &'a Directory, _: &Row<'a>) -> Result<Value<'a>> {
    Ok(i64::try_from(directory.viewer.snapshot.version).unwrap_or(i64::MAX).into())
}

/// Settings that tools ask for and sessions do not have.
fn fixed(name: &str) -> Option<&'static str> {
    Some(match name.to_ascii_lowercase().as_str() {
        "default_table_access_method" => "heap",
        "max_connections" => "1000",
        "block_size" => "8192",
        "data_checksums" => "off",
        "wal_level" => "minimal",
        _ => return None,
    })
}

fn unknown(name: &str) -> Error {
    Error::new(Sqlstate::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""))
}
