//! Tables, views, their columns and what they are for.

use std::collections::BTreeSet;

use crate::catalog::Table;
use crate::pg_catalog::acl;
use crate::pg_catalog::defs::{TYPES, TypeRow};
use crate::pg_catalog::directory::{Directory, Entry, PG_CATALOG, columns};
use crate::pg_catalog::provider::Wanted;
use crate::pg_catalog::types::PgType;
use crate::pg_catalog::values::{Rows, Value};

/// The OID of `pg_class` itself, by which descriptions say what they describe.
const PG_CLASS: i64 = 1259;
const PG_NAMESPACE: i64 = 2615;

/// The access method of tables, `heap`, as PostgreSQL's tables have it.
const HEAP: i64 = 2;

pub(super) fn class(directory: &Directory, wanted: &Wanted, rows: &mut Rows) {
    let mut out = rows.writer([
        "oid",
        "relname",
        "relnamespace",
        "relowner",
        "relam",
        "relfilenode",
        "reltuples",
        "relpersistence",
        "relkind",
        "relnatts",
        "relispopulated",
        "relreplident",
        "relhasrules",
        "relacl",
    ]);
    for entry in &directory.entries {
        let is_wanted = wanted.number("oid", entry.oid)
            && wanted.name("relname", &entry.name)
            && wanted.number("relnamespace", entry.schema_oid)
            && wanted.name("relkind", entry.kind);
        if !is_wanted {
            continue;
        }
        let is_table = entry.kind == "r";
        out.push([
            entry.oid.into(),
            (&entry.name).into(),
            entry.schema_oid.into(),
            entry.owner.into(),
            if is_table { HEAP } else { 0 }.into(),
            if is_table { entry.oid } else { 0 }.into(),
            Value::Float(-1.0),
            if entry.is_temporary() { "t" } else { "p" }.into(),
            entry.kind.into(),
            i64::try_from(entry.schema.fields().len()).unwrap_or(0).into(),
            true.into(),
            if entry.schema_oid == PG_CATALOG { "n" } else { "d" }.into(),
            (!is_table).into(),
            acl(directory, entry),
        ]);
    }
}

/// Each view's rule, which makes it one.
pub(super) fn rewrite(directory: &Directory, wanted: &Wanted, rows: &mut Rows) {
    let mut out =
        rows.writer(["oid", "rulename", "ev_class", "ev_type", "ev_enabled", "is_instead", "ev_qual", "ev_action"]);
    let views = directory.entries.iter().filter(|entry| entry.kind == "v");
    for entry in views.filter(|entry| wanted.number("ev_class", entry.oid)) {
        out.push([
            entry.oid.into(),
            "_RETURN".into(),
            entry.oid.into(),
            "1".into(),
            "O".into(),
            true.into(),
            "<>".into(),
            "<>".into(),
        ]);
    }
}

/// Who may SELECT, as `psql \z` shows it; only for tables that were registered here.
fn acl(directory: &Directory, entry: &Entry) -> Value<'static> {
    let Some(table) = &entry.table else { return Value::Null };
    if table.readers.is_empty() || table.is_temporary() {
        return Value::Null;
    }
    items(directory, entry, table, &table.readers)
}

/// Who may SELECT a column by its own grants.
fn column_acl(directory: &Directory, entry: &Entry, column: &str) -> Value<'static> {
    let Some(table) = &entry.table else { return Value::Null };
    table.column_readers.get(column).map_or(Value::Null, |readers| items(directory, entry, table, readers))
}

fn items(directory: &Directory, entry: &Entry, table: &Table, readers: &BTreeSet<String>) -> Value<'static> {
    let grants = readers.iter().map(|reader| {
        let grantee = if reader == "public" { "" } else { reader };
        acl::may_select(grantee, directory.role(entry.owner).unwrap_or(&table.owner))
    });
    Value::Texts(grants.collect())
}

pub(super) fn attribute(directory: &Directory, wanted: &Wanted, rows: &mut Rows) {
    let mut out = rows.writer([
        "attrelid",
        "attname",
        "atttypid",
        "attstattarget",
        "attlen",
        "attnum",
        "attndims",
        "attcacheoff",
        "atttypmod",
        "attbyval",
        "attalign",
        "attstorage",
        "attnotnull",
        "attislocal",
        "attcollation",
        "attacl",
    ]);
    for entry in directory.entries.iter().filter(|entry| wanted.number("attrelid", entry.oid)) {
        for (number, field) in columns(&entry.schema) {
            if !wanted.name("attname", field.name()) || !wanted.number("attnum", number) {
                continue;
            }
            let pg_type = PgType::of_field(field);
            let physical = Physical::of(pg_type);
            out.push([
                entry.oid.into(),
                field.name().into(),
                pg_type.oid.into(),
                (-1).into(),
                pg_type.len.into(),
                number.into(),
                i32::from(pg_type.elem_oid != 0).into(),
                (-1).into(),
                pg_type.typmod.into(),
                physical.by_value.into(),
                physical.align.into(),
                physical.storage.into(),
                (entry.kind == "r" && !field.is_nullable()).into(),
                true.into(),
                physical.collation.into(),
                column_acl(directory, entry, field.name()),
            ]);
        }
    }
}

/// How PostgreSQL stores a type.
struct Physical {
    by_value: bool,
    align: &'static str,
    storage: &'static str,
    collation: u32,
}

impl Physical {
    fn of(pg_type: PgType) -> Physical {
        let row = |oid: u32| -> Option<&'static TypeRow> { TYPES.iter().find(|t| t.oid == oid) };
        if let Some(own) = row(pg_type.oid) {
            let (align, storage) = (own.align, own.storage);
            return Physical { by_value: own.by_value, align, storage, collation: own.collation };
        }
        let element = row(pg_type.elem_oid);
        let align = if element.is_some_and(|e| e.align == "d") { "d" } else { "i" };
        Physical { by_value: false, align, storage: "x", collation: element.map_or(0, |e| e.collation) }
    }
}

pub(super) fn description(directory: &Directory, wanted: &Wanted, rows: &mut Rows) {
    let mut out = rows.writer(["objoid", "classoid", "objsubid", "description"]);
    for schema in directory.schemas.iter().filter(|schema| wanted.number("objoid", schema.oid)) {
        if let Some(text) = schema.description {
            out.push([schema.oid.into(), PG_NAMESPACE.into(), 0.into(), text.into()]);
        }
    }
    for entry in directory.entries.iter().filter(|entry| wanted.number("objoid", entry.oid)) {
        if let Some(text) = &entry.description {
            out.push([entry.oid.into(), PG_CLASS.into(), 0.into(), text.into()]);
        }
        let Some(table) = &entry.table else { continue };
        for (number, field) in columns(&entry.schema) {
            if let Some(text) = table.column_descriptions.get(field.name()) {
                out.push([entry.oid.into(), PG_CLASS.into(), number.into(), text.into()]);
            }
        }
    }
}

pub(super) fn tables(directory: &Directory, wanted: &Wanted, rows: &mut Rows) {
    let mut out =
        rows.writer(["schemaname", "tablename", "tableowner", "hasindexes", "hasrules", "hastriggers", "rowsecurity"]);
    for entry in directory.entries.iter().filter(|entry| entry.kind == "r" && wanted.name("tablename", &entry.name)) {
        out.push([
            (&entry.schema_name).into(),
            (&entry.name).into(),
            directory.role(entry.owner).into(),
            false.into(),
            false.into(),
            false.into(),
            false.into(),
        ]);
    }
}

pub(super) fn views(directory: &Directory, wanted: &Wanted, rows: &mut Rows) {
    let mut out = rows.writer(["schemaname", "viewname", "viewowner", "definition"]);
    for entry in directory.entries.iter().filter(|entry| entry.kind == "v" && wanted.name("viewname", &entry.name)) {
        let definition = entry.view_definition();
        out.push([
            (&entry.schema_name).into(),
            (&entry.name).into(),
            directory.role(entry.owner).into(),
            definition.into(),
        ]);
    }
}

/// The tables without a number: how often they are read is nobody's business.
pub(super) fn of_tables(directory: &Directory, rows: &mut Rows) {
    let mut out = rows.writer(["relid", "schemaname", "relname"]);
    for entry in directory.entries.iter().filter(|entry| entry.table.is_some()) {
        out.push([entry.oid.into(), (&entry.schema_name).into(), (&entry.name).into()]);
    }
}
