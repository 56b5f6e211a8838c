//! The standard's views of the same.

use std::collections::BTreeSet;

use crate::pg_catalog::DATABASE_NAME;
use crate::pg_catalog::defs::PROCEDURES;
use crate::pg_catalog::directory::{ADMIN, Directory, Entry, columns};
use crate::pg_catalog::provider::Wanted;
use crate::pg_catalog::types::{PgType, numeric_of_typmod};
use crate::pg_catalog::values::{Rows, Value};

pub(super) fn write(directory: &Directory, name: &str, wanted: &Wanted, rows: &mut Rows) {
    match name {
        "tables" => tables(directory, wanted, rows),
        "columns" => all_columns(directory, wanted, rows),
        "views" => views(directory, wanted, rows),
        "schemata" => schemata(directory, rows),
        "table_privileges" | "role_table_grants" => privileges(directory, wanted, rows),
        "column_privileges" | "role_column_grants" => column_privileges(directory, wanted, rows),
        "routines" => routines(rows),
        "enabled_roles" => enabled_roles(directory, rows),
        "applicable_roles" => applicable_roles(directory, rows),
        "information_schema_catalog_name" => {
            rows.writer(["catalog_name"]).push([DATABASE_NAME.into()]);
        }
        "character_sets" => {
            rows.writer(["character_set_name", "character_repertoire", "form_of_use", "default_collate_catalog"])
                .push(["UTF8".into(), "UCS".into(), "UTF8".into(), DATABASE_NAME.into()]);
        }
        _ => {}
    }
}

/// The entries that conditions on `table_schema` and `table_name` let through.
fn entries<'d>(directory: &'d Directory, wanted: &'d Wanted) -> impl Iterator<Item = &'d Entry> {
    directory
        .entries
        .iter()
        .filter(|e| wanted.name("table_schema", &e.schema_name) && wanted.name("table_name", &e.name))
}

fn tables(directory: &Directory, wanted: &Wanted, rows: &mut Rows) {
    let mut out =
        rows.writer(["table_catalog", "table_schema", "table_name", "table_type", "is_insertable_into", "is_typed"]);
    for entry in entries(directory, wanted) {
        out.push([
            DATABASE_NAME.into(),
            (&entry.schema_name).into(),
            (&entry.name).into(),
            match entry.kind {
                "v" => "VIEW",
                _ if entry.is_temporary() => "LOCAL TEMPORARY",
                _ => "BASE TABLE",
            }
            .into(),
            if entry.is_temporary() { "YES" } else { "NO" }.into(),
            "NO".into(),
        ]);
    }
}

fn views(directory: &Directory, wanted: &Wanted, rows: &mut Rows) {
    let mut out = rows.writer([
        "table_catalog",
        "table_schema",
        "table_name",
        "check_option",
        "is_updatable",
        "is_insertable_into",
        "is_trigger_updatable",
        "is_trigger_deletable",
        "is_trigger_insertable_into",
    ]);
    for entry in entries(directory, wanted).filter(|entry| entry.kind == "v") {
        out.push([
            DATABASE_NAME.into(),
            (&entry.schema_name).into(),
            (&entry.name).into(),
            "NONE".into(),
            "NO".into(),
            "NO".into(),
            "NO".into(),
            "NO".into(),
            "NO".into(),
        ]);
    }
}

/// What `information_schema.columns` says of a type.
struct Facets {
    data_type: String,
    precision: Option<i32>,
    radix: Option<i32>,
    scale: Option<i32>,
    datetime_precision: Option<i32>,
    octets: Option<i32>,
}

impl Facets {
    fn of(pg_type: PgType) -> Facets {
        let integer = |bits| (Some(bits), Some(2), Some(0));
        let (precision, radix, scale) = match pg_type.name {
            "int2" => integer(16),
            "int4" => integer(32),
            "int8" => integer(64),
            "float4" => (Some(24), Some(2), None),
            "float8" => (Some(53), Some(2), None),
            "numeric" => match numeric_of_typmod(pg_type.typmod) {
                Some((precision, scale)) => (Some(precision), Some(10), Some(scale)),
                None => (None, Some(10), None),
            },
            _ => (None, None, None),
        };
        let datetime_precision = match pg_type.name {
            "date" => Some(0),
            "time" | "timetz" | "timestamp" | "timestamptz" | "interval" => Some(6),
            _ => None,
        };
        let data_type = match pg_type.elem_oid {
            0 => pg_type.with_typmod(-1).sql_name(),
            _ => "ARRAY".to_owned(),
        };
        let octets = matches!(pg_type.name, "text" | "varchar" | "bpchar").then_some(1_073_741_824);
        Facets { data_type, precision, radix, scale, datetime_precision, octets }
    }
}

fn all_columns(directory: &Directory, wanted: &Wanted, rows: &mut Rows) {
    let mut out = rows.writer([
        "table_catalog",
        "table_schema",
        "table_name",
        "column_name",
        "ordinal_position",
        "is_nullable",
        "data_type",
        "character_octet_length",
        "numeric_precision",
        "numeric_precision_radix",
        "numeric_scale",
        "datetime_precision",
        "udt_catalog",
        "udt_schema",
        "udt_name",
        "dtd_identifier",
        "is_self_referencing",
        "is_identity",
        "identity_cycle",
        "is_generated",
        "is_updatable",
    ]);
    let database = DATABASE_NAME;
    for entry in entries(directory, wanted) {
        for (number, field) in columns(&entry.schema) {
            let pg_type = PgType::of_field(field);
            let facets = Facets::of(pg_type);
            out.push([
                database.into(),
                (&entry.schema_name).into(),
                (&entry.name).into(),
                field.name().into(),
                number.into(),
                if field.is_nullable() || entry.kind == "v" { "YES" } else { "NO" }.into(),
                facets.data_type.into(),
                facets.octets.into(),
                facets.precision.into(),
                facets.radix.into(),
                facets.scale.into(),
                facets.datetime_precision.into(),
                database.into(),
                "pg_catalog".into(),
                pg_type.name.into(),
                number.to_string().into(),
                "NO".into(),
                "NO".into(),
                "NO".into(),
                "NEVER".into(),
                "NO".into(),
            ]);
        }
    }
}

fn schemata(directory: &Directory, rows: &mut Rows) {
    let mut out = rows.writer(["catalog_name", "schema_name", "schema_owner"]);
    for schema in &directory.schemas {
        out.push([DATABASE_NAME.into(), (&schema.name).into(), directory.role(ADMIN).into()]);
    }
}

fn shown(reader: &str) -> String {
    if reader == "public" { "PUBLIC".to_owned() } else { reader.to_owned() }
}

/// Who may SELECT: one row a grant of the tables that were registered, and `PUBLIC` for what everybody may read.
fn grants(entry: &Entry) -> Vec<String> {
    match &entry.table {
        Some(table) => table.readers.iter().map(|reader| shown(reader)).collect(),
        None => vec!["PUBLIC".to_owned()],
    }
}

fn privileges(directory: &Directory, wanted: &Wanted, rows: &mut Rows) {
    let mut out = rows.writer([
        "grantor",
        "grantee",
        "table_catalog",
        "table_schema",
        "table_name",
        "privilege_type",
        "is_grantable",
        "with_hierarchy",
    ]);
    for entry in entries(directory, wanted) {
        for grantee in grants(entry) {
            out.push([
                directory.role(entry.owner).into(),
                grantee.into(),
                DATABASE_NAME.into(),
                (&entry.schema_name).into(),
                (&entry.name).into(),
                "SELECT".into(),
                "NO".into(),
                "YES".into(),
            ]);
        }
    }
}

fn column_privileges(directory: &Directory, wanted: &Wanted, rows: &mut Rows) {
    let mut out = rows.writer([
        "grantor",
        "grantee",
        "table_catalog",
        "table_schema",
        "table_name",
        "column_name",
        "privilege_type",
        "is_grantable",
    ]);
    for entry in entries(directory, wanted) {
        for (_, field) in columns(&entry.schema) {
            let own = entry.table.as_ref().and_then(|table| table.column_readers.get(field.name()));
            let own = own.into_iter().flatten().map(|reader| shown(reader));
            let grantees: BTreeSet<String> = grants(entry).into_iter().chain(own).collect();
            for grantee in grantees {
                out.push([
                    directory.role(entry.owner).into(),
                    Value::from(grantee),
                    DATABASE_NAME.into(),
                    (&entry.schema_name).into(),
                    (&entry.name).into(),
                    field.name().into(),
                    "SELECT".into(),
                    "NO".into(),
                ]);
            }
        }
    }
}

fn routines(rows: &mut Rows) {
    let mut out = rows.writer([
        "specific_catalog",
        "specific_schema",
        "specific_name",
        "routine_catalog",
        "routine_schema",
        "routine_name",
        "routine_type",
        "data_type",
        "routine_body",
        "external_language",
        "security_type",
    ]);
    let database = DATABASE_NAME;
    for p in PROCEDURES.iter() {
        let result = PgType::by_oid(p.result).map(PgType::sql_name);
        out.push([
            database.into(),
            "pg_catalog".into(),
            format!("{}_{}", p.name, p.oid).into(),
            database.into(),
            "pg_catalog".into(),
            p.name.into(),
            if p.kind == "f" { Some("FUNCTION") } else { None }.into(),
            result.into(),
            "EXTERNAL".into(),
            "INTERNAL".into(),
            "INVOKER".into(),
        ]);
    }
}

fn enabled_roles(directory: &Directory, rows: &mut Rows) {
    let mut out = rows.writer(["role_name"]);
    let principal = &directory.viewer.principal;
    out.push([principal.display().into()]);
    for role in &principal.roles {
        out.push([role.as_str().into()]);
    }
}

fn applicable_roles(directory: &Directory, rows: &mut Rows) {
    let mut out = rows.writer(["grantee", "role_name", "is_grantable"]);
    let principal = &directory.viewer.principal;
    for role in &principal.roles {
        out.push([principal.display().into(), role.as_str().into(), "NO".into()]);
    }
}
