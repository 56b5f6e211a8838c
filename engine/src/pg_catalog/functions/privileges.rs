//! `has_…_privilege`: what the principal, or another role, may do. Nothing but temporary tables can be written, so of others only reading is ever granted.

use super::Kind::{Any, List, Number, Text};
use super::names::{class_oid, schema_oid};
use super::{Answer, Row, Spec, spec};
use crate::error::{Error, Result, Sqlstate};
use crate::pg_catalog::acl::{self, Granted};
use crate::pg_catalog::directory::{Directory, Entry, columns};
use crate::pg_catalog::rows::UNREADABLE;
use crate::pg_catalog::values::Value;

const fn asks(name: &'static str, run: super::Run) -> Spec {
    Spec { least: 2, ..spec(name, &[Any, Any, Any], Answer::Bool, run) }
}

/// A field of `aclexplode`, of all privileges of the items of an array. A role that is not known here is not told of.
const fn exploded(name: &'static str, answer: Answer, run: super::Run) -> Spec {
    spec(name, &[List], answer, run)
}

/// The privileges of an array of items, with the OIDs of grantor and grantee; `None` for NULL.
fn granted(directory: &Directory, row: &Row<'_>) -> Option<Vec<(u32, u32, Granted)>> {
    let items = row.list(0)?;
    let of_item = |granted: Granted| {
        let grantor = directory.role_named(&granted.grantor)?;
        let grantee = if granted.grantee.is_empty() { 0 } else { directory.role_named(&granted.grantee)? };
        Some((grantor, grantee, granted))
    };
    Some(items.iter().flatten().flat_map(|item| acl::explode(item)).filter_map(of_item).collect())
}

/// Of each privilege of an array of items a number.
fn numbers(directory: &Directory, row: &Row<'_>, of: impl Fn(&(u32, u32, Granted)) -> i64) -> Value<'static> {
    granted(directory, row).map(|all| Value::Ints(all.iter().map(of).collect())).unwrap_or(Value::Null)
}

pub(super) const SPECS: &[Spec] = &[
    exploded("kanon_acl_grantors", Answer::Oids, |d, row| Ok(numbers(d, row, |(grantor, _, _)| (*grantor).into()))),
    exploded("kanon_acl_grantees", Answer::Oids, |d, row| Ok(numbers(d, row, |(_, grantee, _)| (*grantee).into()))),
    exploded("kanon_acl_privileges", Answer::Texts, |d, row| {
        let names = |all: Vec<(u32, u32, Granted)>| all.iter().map(|(_, _, one)| one.privilege.to_owned()).collect();
        Ok(granted(d, row).map(|all| Value::Texts(names(all))).unwrap_or(Value::Null))
    }),
    exploded("kanon_acl_grantable", Answer::Bools, |d, row| {
        Ok(numbers(d, row, |(_, _, one)| i64::from(one.is_grantable)))
    }),
    // Nothing is granted by default, to owners neither.
    spec("acldefault", &[Text, Number], Answer::Texts, |_, row| {
        Ok(if row.is_null(0) || row.is_null(1) { Value::Null } else { Value::Texts(Vec::new()) })
    }),
    asks("has_table_privilege", |d, row| {
        let Some(asked) = Asked::of(row) else { return Ok(Value::Null) };
        Ok(relation(d, asked.object)?.map(|entry| asked.may(entry) && may_select(d, asked.role, entry)).into())
    }),
    asks("has_any_column_privilege", |d, row| {
        let Some(asked) = Asked::of(row) else { return Ok(Value::Null) };
        let may = |entry: &Entry| may_select(d, asked.role, entry) || may_select_some(d, asked.role, entry, |_| true);
        Ok(relation(d, asked.object)?.map(|entry| asked.may(entry) && may(entry)).into())
    }),
    Spec {
        least: 3,
        ..spec("has_column_privilege", &[Any, Any, Any, Any], Answer::Bool, |d, row| {
            let first = row.count().saturating_sub(3);
            let (Some(object), Some(privilege)) = (row.text(first), row.text(first + 2)) else {
                return Ok(Value::Null);
            };
            let role = if first == 0 { None } else { row.text(0) };
            let asked = Asked { role, object, privilege };
            let Some((entry, column)) = relation(d, object)?.zip(row.text(first + 1)) else { return Ok(Value::Null) };
            // By its number, of which there may be none, or its name.
            let name = match column.parse::<i16>() {
                Ok(number) => {
                    columns(&entry.schema).find(|(of, _)| *of == number).map(|(_, field)| field.name().as_str())
                }
                Err(_) => columns(&entry.schema)
                    .map(|(_, field)| field.name().as_str())
                    .find(|name| *name == column)
                    .map(Some)
                    .ok_or_else(|| {
                        let message = format!("column \"{column}\" of relation \"{}\" does not exist", entry.name);
                        Error::new(Sqlstate::UndefinedColumn, message)
                    })?,
            };
            let Some(name) = name else { return Ok(Value::Null) };
            let may = may_select(d, role, entry) || may_select_some(d, role, entry, |of| of == name);
            Ok((asked.may(entry) && may).into())
        })
    },
    asks("has_schema_privilege", |d, row| {
        let Some(asked) = Asked::of(row) else { return Ok(Value::Null) };
        let known = match asked.object.parse::<u32>() {
            Ok(oid) => d.schema(oid).is_some(),
            Err(_) if schema_oid(d, asked.object).is_some() => true,
            Err(_) => {
                return Err(Error::new(
                    Sqlstate::UndefinedSchema,
                    format!("schema \"{}\" does not exist", asked.object),
                ));
            }
        };
        let name = match asked.object.parse::<u32>() {
            Ok(oid) => d.schema(oid).map(|schema| schema.name.as_str()).unwrap_or_default(),
            Err(_) => asked.object,
        };
        Ok(known.then(|| asked.wants("USAGE") && may_use(d, asked.role, name)).into())
    }),
    asks("has_database_privilege", |_, row| Ok(Asked::of(row).map(|asked| asked.wants("CONNECT")).into())),
    asks("has_function_privilege", |_, row| Ok(Asked::of(row).map(|asked| asked.wants("EXECUTE")).into())),
    asks("has_type_privilege", |_, row| Ok(Asked::of(row).map(|asked| asked.wants("USAGE")).into())),
    asks("has_language_privilege", |_, row| Ok(Asked::of(row).map(|_| false).into())),
    asks("has_sequence_privilege", |_, row| Ok(Asked::of(row).map(|_| false).into())),
    asks("has_tablespace_privilege", |_, row| Ok(Asked::of(row).map(|_| false).into())),
    asks("has_server_privilege", |_, row| Ok(Asked::of(row).map(|_| false).into())),
    asks("has_foreign_data_wrapper_privilege", |_, row| Ok(Asked::of(row).map(|_| false).into())),
    asks("pg_has_role", |d, row| {
        let Some(asked) = Asked::of(row) else { return Ok(Value::Null) };
        let by_oid = |text: &str| text.parse().ok().and_then(|oid| d.role(oid)).map(str::to_owned);
        let name = by_oid(asked.object).unwrap_or_else(|| asked.object.to_owned());
        Ok(holds(d, asked.role, &name).into())
    }),
];

/// `has_…_privilege([role,] object, privilege)`.
struct Asked<'r> {
    role: Option<&'r str>,
    object: &'r str,
    privilege: &'r str,
}

impl<'r> Asked<'r> {
    fn of(row: &'r Row<'_>) -> Option<Asked<'r>> {
        match row.count() {
            2 => Some(Asked { role: None, object: row.text(0)?, privilege: row.text(1)? }),
            _ => Some(Asked { role: Some(row.text(0)?), object: row.text(1)?, privilege: row.text(2)? }),
        }
    }
    /// Whether one of the privileges asked for is one that somebody may have on a relation.
    fn may(&self, entry: &Entry) -> bool {
        let writes = ["INSERT", "DELETE", "TRUNCATE"].iter().any(|privilege| self.wants(privilege));
        self.wants("SELECT") || (entry.is_temporary() && writes)
    }
    /// Whether one of the privileges asked for (`SELECT, INSERT` asks for either) is this one, without the right to grant it on.
    fn wants(&self, privilege: &str) -> bool {
        self.privilege.split(',').any(|word| word.trim().eq_ignore_ascii_case(privilege))
    }
}

fn relation<'d>(directory: &'d Directory, object: &str) -> Result<Option<&'d Entry>> {
    if let Ok(oid) = object.parse::<u32>() {
        return Ok(directory.entry(oid));
    }
    let missing = || Error::new(Sqlstate::UndefinedTable, format!("relation \"{object}\" does not exist"));
    let oid = class_oid(directory, object).ok_or_else(missing)?;
    Ok(directory.entry(oid))
}

fn is_self(directory: &Directory, role: Option<&str>) -> bool {
    let own = directory.viewer.principal.display();
    role.is_none_or(|role| role == own || role.parse().ok().and_then(|oid| directory.role(oid)) == Some(own.as_str()))
}

/// Whether a role is, or holds, another.
fn holds(directory: &Directory, role: Option<&str>, other: &str) -> bool {
    if is_self(directory, role) {
        let principal = &directory.viewer.principal;
        return principal.display() == other || principal.roles.iter().any(|r| r.as_str() == other);
    }
    let info = directory.viewer.roles.iter().find(|r| Some(r.name.as_str()) == role);
    role == Some(other) || info.is_some_and(|r| r.member_of.contains(other))
}

/// Whether a role may use a schema.
fn may_use(directory: &Directory, role: Option<&str>, schema: &str) -> bool {
    let snapshot = &directory.viewer.snapshot;
    if is_self(directory, role) {
        return snapshot.may_use(schema, &snapshot.roles.grantee_names(&directory.viewer.principal));
    }
    snapshot.closed_schemas.get(schema).is_none_or(|who| who.iter().any(|who| holds(directory, role, who)))
}

/// Whether a role was granted a column that is meant.
fn may_select_some(directory: &Directory, role: Option<&str>, entry: &Entry, is_meant: impl Fn(&str) -> bool) -> bool {
    let Some(table) = &entry.table else { return false };
    if is_self(directory, role) {
        let viewer = &directory.viewer;
        let readable = viewer.snapshot.readable(&viewer.principal, table);
        return readable.is_some_and(|table| table.schema.fields().iter().any(|field| is_meant(field.name())));
    }
    let is_reader = |reader: &String| reader == "public" || holds(directory, role, reader);
    table.column_readers.iter().any(|(column, readers)| is_meant(column) && readers.iter().any(is_reader))
}

fn may_select(directory: &Directory, role: Option<&str>, entry: &Entry) -> bool {
    let Some(table) = &entry.table else { return entry.name != UNREADABLE };
    if is_self(directory, role) {
        return directory.may_select(entry);
    }
    table.readers.iter().any(|reader| reader == "public" || holds(directory, role, reader))
}
