//! What a principal's sessions do, and what its own session keeps. Others' are not there.

use crate::pg_catalog::DATABASE_NAME;
use crate::pg_catalog::directory::{DATABASE, Directory};
use crate::pg_catalog::functions::type_name;
use crate::pg_catalog::values::{Rows, Value};

pub(super) fn activity(directory: &Directory, rows: &mut Rows) {
    let mut out = rows.writer([
        "datid",
        "datname",
        "pid",
        "usesysid",
        "usename",
        "application_name",
        "backend_start",
        "xact_start",
        "query_start",
        "state_change",
        "wait_event_type",
        "wait_event",
        "state",
        "query",
        "backend_type",
    ]);
    for session in directory.viewer.sessions.activity() {
        let waits = (session.state != "active").then_some(("Client", "ClientRead"));
        out.push([
            DATABASE.into(),
            DATABASE_NAME.into(),
            session.pid.into(),
            directory.role_named(&session.role).into(),
            session.role.into(),
            session.application_name.into(),
            session.opened_at.into(),
            session.transaction_at.into(),
            session.began_at.into(),
            session.changed_at.into(),
            waits.map(|(kind, _)| kind).into(),
            waits.map(|(_, event)| event).into(),
            session.state.into(),
            session.text.into(),
            "client backend".into(),
        ]);
    }
}

/// The database, of which only the principal's own sessions are counted.
pub(super) fn database(directory: &Directory, rows: &mut Rows) {
    const COUNTS: [&str; 19] = [
        "datid",
        "datname",
        "numbackends",
        "xact_commit",
        "xact_rollback",
        "blks_read",
        "blks_hit",
        "tup_returned",
        "tup_fetched",
        "tup_inserted",
        "tup_updated",
        "tup_deleted",
        "conflicts",
        "temp_files",
        "temp_bytes",
        "deadlocks",
        "sessions_abandoned",
        "sessions_fatal",
        "sessions_killed",
    ];
    let open = i64::try_from(directory.viewer.sessions.activity().len()).unwrap_or(i64::MAX);
    let row = std::array::from_fn(|at| match at {
        0 => DATABASE.into(),
        1 => DATABASE_NAME.into(),
        2 => open.into(),
        _ => 0.into(),
    });
    rows.writer(COUNTS).push(row);
}

/// Nobody comes by GSSAPI.
pub(super) fn gssapi(directory: &Directory, rows: &mut Rows) {
    let mut out = rows.writer(["pid", "gss_authenticated", "encrypted"]);
    for session in directory.viewer.sessions.activity() {
        out.push([session.pid.into(), false.into(), false.into()]);
    }
}

pub(super) fn prepared(directory: &Directory, rows: &mut Rows) {
    let mut out = rows.writer([
        "name",
        "statement",
        "prepare_time",
        "parameter_types",
        "from_sql",
        "generic_plans",
        "custom_plans",
    ]);
    for statement in directory.viewer.sessions.prepared() {
        out.push([
            statement.name.into(),
            statement.text.into(),
            statement.made_at.into(),
            Value::Texts(statement.types.iter().map(|oid| type_name(*oid)).collect()),
            statement.from_sql.into(),
            statement.generic_plans.into(),
            statement.custom_plans.into(),
        ]);
    }
}

pub(super) fn cursors(directory: &Directory, rows: &mut Rows) {
    let mut out = rows.writer(["name", "statement", "is_holdable", "is_binary", "is_scrollable", "creation_time"]);
    for cursor in directory.viewer.sessions.cursors() {
        out.push([
            cursor.name.into(),
            cursor.text.into(),
            cursor.is_holdable.into(),
            cursor.is_binary.into(),
            cursor.is_scrollable.into(),
            cursor.opened_at.into(),
        ]);
    }
}
