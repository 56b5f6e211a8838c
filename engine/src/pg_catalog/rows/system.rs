//! What PostgreSQL itself has: schemas, types, functions, roles, settings, the database.

use crate::pg_catalog::DATABASE_NAME;
use crate::pg_catalog::defs::{PROCEDURES, TYPES, procedure_oid};
use crate::pg_catalog::directory::{ADMIN, DATABASE, Directory, PG_CATALOG};
use crate::pg_catalog::keywords::KEYWORDS;
use crate::pg_catalog::provider::Wanted;
use crate::pg_catalog::values::{Rows, Value};
use crate::session::settings::{self, SettingKind};
use crate::store::RoleInfo;

/// The OID of the tablespace `pg_default`.
const PG_DEFAULT: i64 = 1663;

pub(super) fn namespace(directory: &Directory, wanted: &Wanted, rows: &mut Rows) {
    let mut out = rows.writer(["oid", "nspname", "nspowner"]);
    for schema in &directory.schemas {
        if wanted.number("oid", schema.oid) && wanted.name("nspname", &schema.name) {
            out.push([schema.oid.into(), (&schema.name).into(), ADMIN.into()]);
        }
    }
}

pub(super) fn types(wanted: &Wanted, rows: &mut Rows) {
    let mut out = rows.writer([
        "oid",
        "typname",
        "typnamespace",
        "typowner",
        "typlen",
        "typbyval",
        "typtype",
        "typcategory",
        "typispreferred",
        "typisdefined",
        "typdelim",
        "typsubscript",
        "typelem",
        "typarray",
        "typinput",
        "typoutput",
        "typreceive",
        "typsend",
        "typmodin",
        "typmodout",
        "typanalyze",
        "typalign",
        "typstorage",
        "typtypmod",
        "typcollation",
    ]);
    let function = |name: &str| Value::from(procedure_oid(name));
    for t in TYPES.iter() {
        if wanted.number("oid", t.oid) && wanted.name("typname", t.name) {
            out.push([
                t.oid.into(),
                t.name.into(),
                PG_CATALOG.into(),
                ADMIN.into(),
                t.len.into(),
                t.by_value.into(),
                t.kind.into(),
                t.category.into(),
                t.preferred.into(),
                true.into(),
                t.delimiter.into(),
                function(t.subscript),
                t.element.into(),
                t.array.into(),
                function(t.input),
                function(t.output),
                function(t.receive),
                function(t.send),
                function(t.typmod_in),
                function(t.typmod_out),
                0.into(),
                t.align.into(),
                t.storage.into(),
                (-1).into(),
                t.collation.into(),
            ]);
        }
        let array_name = format!("_{}", t.name);
        if t.array != 0 && wanted.number("oid", t.array) && wanted.name("typname", &array_name) {
            out.push([
                t.array.into(),
                array_name.into(),
                PG_CATALOG.into(),
                ADMIN.into(),
                (-1).into(),
                false.into(),
                if t.kind == "p" { "p" } else { "b" }.into(),
                if t.kind == "p" { "P" } else { "A" }.into(),
                false.into(),
                true.into(),
                t.delimiter.into(),
                function("array_subscript_handler"),
                t.oid.into(),
                0.into(),
                function("array_in"),
                function("array_out"),
                function("array_recv"),
                function("array_send"),
                function(t.typmod_in),
                function(t.typmod_out),
                function("array_typanalyze"),
                if t.align == "d" { "d" } else { "i" }.into(),
                "x".into(),
                (-1).into(),
                t.collation.into(),
            ]);
        }
    }
}

pub(super) fn range(rows: &mut Rows) {
    let mut out = rows.writer([
        "rngtypid",
        "rngsubtype",
        "rngmultitypid",
        "rngcollation",
        "rngsubopc",
        "rngcanonical",
        "rngsubdiff",
    ]);
    let ranges: [(u32, u32, u32, u32, &str, &str); 6] = [
        (3904, 23, 4451, 1978, "int4range_canonical", "int4range_subdiff"),
        (3906, 1700, 4532, 3125, "-", "numrange_subdiff"),
        (3908, 1114, 4533, 3128, "-", "tsrange_subdiff"),
        (3910, 1184, 4534, 3127, "-", "tstzrange_subdiff"),
        (3912, 1082, 4535, 3122, "daterange_canonical", "daterange_subdiff"),
        (3926, 20, 4536, 3124, "int8range_canonical", "int8range_subdiff"),
    ];
    for (oid, subtype, multirange, opclass, canonical, difference) in ranges {
        out.push([
            oid.into(),
            subtype.into(),
            multirange.into(),
            0.into(),
            opclass.into(),
            procedure_oid(canonical).into(),
            procedure_oid(difference).into(),
        ]);
    }
}

pub(super) fn proc(wanted: &Wanted, rows: &mut Rows) {
    let mut out = rows.writer([
        "oid",
        "proname",
        "pronamespace",
        "proowner",
        "prolang",
        "procost",
        "prorows",
        "prokind",
        "proisstrict",
        "proretset",
        "provolatile",
        "proparallel",
        "pronargs",
        "prorettype",
        "proargtypes",
        "prosrc",
    ]);
    for p in PROCEDURES.iter().filter(|p| wanted.number("oid", p.oid) && wanted.name("proname", p.name)) {
        out.push([
            p.oid.into(),
            p.name.into(),
            PG_CATALOG.into(),
            ADMIN.into(),
            12.into(),
            Value::Float(1.0),
            Value::Float(if p.returns_set { 1000.0 } else { 0.0 }),
            p.kind.into(),
            p.strict.into(),
            p.returns_set.into(),
            p.volatility.into(),
            "s".into(),
            i64::try_from(p.arguments.len()).unwrap_or(0).into(),
            p.result.into(),
            Value::Ints(p.arguments.iter().copied().map(i64::from).collect()),
            p.name.into(),
        ]);
    }
}

pub(super) fn database(rows: &mut Rows) {
    let mut out = rows.writer([
        "oid",
        "datname",
        "datdba",
        "encoding",
        "datlocprovider",
        "datallowconn",
        "datconnlimit",
        "dattablespace",
        "datcollate",
        "datctype",
    ]);
    out.push([
        DATABASE.into(),
        DATABASE_NAME.into(),
        ADMIN.into(),
        6.into(),
        "c".into(),
        true.into(),
        (-1).into(),
        PG_DEFAULT.into(),
        "C.UTF-8".into(),
        "C.UTF-8".into(),
    ]);
}

pub(super) fn roles(directory: &Directory, rows: &mut Rows) {
    let mut out = rows.writer([
        "oid",
        "rolname",
        "rolsuper",
        "rolinherit",
        "rolcreaterole",
        "rolcreatedb",
        "rolcanlogin",
        "rolreplication",
        "rolconnlimit",
        "rolpassword",
        "rolbypassrls",
    ]);
    for (oid, name) in &directory.roles {
        let info = directory.viewer.roles.iter().find(|role| role.name == *name);
        let is_admin = name == "admin" || info.is_some_and(is_admin);
        out.push([
            (*oid).into(),
            name.into(),
            is_admin.into(),
            true.into(),
            is_admin.into(),
            false.into(),
            info.is_some_and(|role| role.login).into(),
            false.into(),
            (-1).into(),
            "********".into(),
            false.into(),
        ]);
    }
}

pub(super) fn user(directory: &Directory, rows: &mut Rows) {
    let mut out = rows.writer(["usename", "usesysid", "usecreatedb", "usesuper", "userepl", "usebypassrls", "passwd"]);
    for (oid, name) in &directory.roles {
        let Some(role) = directory.viewer.roles.iter().find(|r| r.name == *name && r.login) else { continue };
        out.push([
            name.into(),
            (*oid).into(),
            false.into(),
            is_admin(role).into(),
            false.into(),
            false.into(),
            "********".into(),
        ]);
    }
}

pub(super) fn group(directory: &Directory, rows: &mut Rows) {
    let mut out = rows.writer(["groname", "grosysid", "grolist"]);
    for (oid, name) in &directory.roles {
        if directory.viewer.roles.iter().any(|r| r.name == *name && !r.login) {
            let members = directory.viewer.roles.iter().filter(|r| r.member_of.contains(name));
            let members = members.filter_map(|r| directory.role_named(&r.name)).map(i64::from).collect();
            out.push([name.into(), (*oid).into(), Value::Ints(members)]);
        }
    }
}

pub(super) fn auth_members(directory: &Directory, rows: &mut Rows) {
    let mut out = rows.writer(["roleid", "member", "grantor", "admin_option"]);
    for role in &directory.viewer.roles {
        let Some(member) = directory.role_named(&role.name) else { continue };
        for group in role.member_of.iter().filter_map(|group| directory.role_named(group)) {
            out.push([group.into(), member.into(), ADMIN.into(), false.into()]);
        }
    }
}

pub(super) fn settings(directory: &Directory, rows: &mut Rows) {
    let mut out = rows.writer([
        "name",
        "setting",
        "unit",
        "category",
        "short_desc",
        "context",
        "vartype",
        "source",
        "enumvals",
        "boot_val",
        "reset_val",
        "pending_restart",
    ]);
    for (name, value, about) in &directory.viewer.settings {
        let declared = settings::find(name);
        let (vartype, context, values) = declared.map_or(("string", "user", Vec::new()), |s| kind(s.kind));
        let default = declared.map_or(value.as_str(), |s| s.default);
        out.push([
            (*name).into(),
            value.into(),
            declared.and_then(|s| matches!(s.kind, SettingKind::Duration).then_some("ms")).into(),
            if name.starts_with("kanon.") { "Kanon" } else { "Client Connection Defaults" }.into(),
            (*about).into(),
            context.into(),
            vartype.into(),
            if value == default { "default" } else { "session" }.into(),
            if values.is_empty() { Value::Null } else { Value::Texts(values) },
            default.into(),
            default.into(),
            false.into(),
        ]);
    }
}

/// `vartype`, `context` and `enumvals` of a kind of setting.
fn kind(kind: SettingKind) -> (&'static str, &'static str, Vec<String>) {
    match kind {
        SettingKind::Text => ("string", "user", Vec::new()),
        SettingKind::Bool => ("bool", "user", Vec::new()),
        SettingKind::Int(_, _) | SettingKind::Duration => ("integer", "user", Vec::new()),
        SettingKind::Enum(values) => ("enum", "user", values.iter().map(|v| (*v).to_owned()).collect()),
        SettingKind::Fixed => ("string", "internal", Vec::new()),
    }
}

/// Whether it holds the built-in role `admin`.
fn is_admin(role: &RoleInfo) -> bool {
    role.member_of.contains("admin")
}

pub(super) fn am(rows: &mut Rows) {
    let mut out = rows.writer(["oid", "amname", "amhandler", "amtype"]);
    out.push([2.into(), "heap".into(), procedure_oid("heap_tableam_handler").into(), "t".into()]);
    out.push([403.into(), "btree".into(), procedure_oid("bthandler").into(), "i".into()]);
}

pub(super) fn collation(rows: &mut Rows) {
    let mut out = rows.writer([
        "oid",
        "collname",
        "collnamespace",
        "collowner",
        "collprovider",
        "collisdeterministic",
        "collencoding",
        "collcollate",
        "collctype",
    ]);
    for (oid, name, provider, locale) in
        [(100, "default", "d", None), (950, "C", "c", Some("C")), (951, "POSIX", "c", Some("POSIX"))]
    {
        out.push([
            oid.into(),
            name.into(),
            PG_CATALOG.into(),
            ADMIN.into(),
            provider.into(),
            true.into(),
            (-1).into(),
            locale.into(),
            locale.into(),
        ]);
    }
}

pub(super) fn language(rows: &mut Rows) {
    let mut out = rows.writer(["oid", "lanname", "lanowner", "lanispl", "lanpltrusted", "lanvalidator"]);
    for (oid, name, trusted, validator) in [
        (12, "internal", false, "fmgr_internal_validator"),
        (13, "c", false, "fmgr_c_validator"),
        (14, "sql", true, "fmgr_sql_validator"),
    ] {
        out.push([
            oid.into(),
            name.into(),
            ADMIN.into(),
            false.into(),
            trusted.into(),
            procedure_oid(validator).into(),
        ]);
    }
}

pub(super) fn tablespace(rows: &mut Rows) {
    let mut out = rows.writer(["oid", "spcname", "spcowner"]);
    out.push([PG_DEFAULT.into(), "pg_default".into(), ADMIN.into()]);
    out.push([1664.into(), "pg_global".into(), ADMIN.into()]);
}

/// What `pg_get_keywords()` answers.
pub(super) fn keywords(rows: &mut Rows) {
    let mut out = rows.writer(["word", "catcode", "barelabel", "catdesc", "baredesc"]);
    for keyword in KEYWORDS.iter() {
        let (letter, meaning) = keyword.category.described();
        let label = if keyword.is_bare_label { "can be bare label" } else { "requires AS" };
        out.push([keyword.word.into(), letter.into(), keyword.is_bare_label.into(), meaning.into(), label.into()]);
    }
}
