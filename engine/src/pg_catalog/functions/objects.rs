//! About relations, columns, functions, constraints: definitions, descriptions, visibility, sizes.

use super::Kind::{Any, Bool, List, Number, Text};
use super::names::class_oid;
use super::{Answer, Row, Spec, spec};
use crate::error::Result;
use crate::pg_catalog::defs::{PROCEDURES, Procedure, TYPES};
use crate::pg_catalog::directory::{DATABASE, Directory, Entry, quote_ident};
use crate::pg_catalog::types::PgType;
use crate::pg_catalog::values::Value;

fn nothing<'a>(_: &'a Directory, _: &Row<'a>) -> Result<Value<'a>> {
    Ok(Value::Null)
}

/// A function that has nothing to tell: there are no defaults, indexes, constraints, triggers or rules, and sizes are not told.
const fn silent(name: &'static str, arguments: &'static [super::Kind], least: usize, answer: Answer) -> Spec {
    Spec { name, arguments, least, answer, run: nothing }
}

/// Whether what an OID names is found without its schema: types and functions of `pg_catalog` are.
const fn visible(name: &'static str, run: super::Run) -> Spec {
    spec(name, &[Number], Answer::Bool, run)
}

fn not_there<'a>(_: &'a Directory, row: &Row<'a>) -> Result<Value<'a>> {
    Ok(if row.is_null(0) { Value::Null } else { false.into() })
}

pub(super) const SPECS: &[Spec] = &[
    silent("pg_get_expr", &[Text, Number, Bool], 2, Answer::Text),
    silent("pg_get_indexdef", &[Number, Number, Bool], 1, Answer::Text),
    silent("pg_get_constraintdef", &[Number, Bool], 1, Answer::Text),
    silent("pg_get_triggerdef", &[Number, Bool], 1, Answer::Text),
    silent("pg_get_partkeydef", &[Number], 1, Answer::Text),
    silent("pg_get_serial_sequence", &[Text, Text], 2, Answer::Text),
    silent("pg_get_statisticsobjdef", &[Number], 1, Answer::Text),
    silent("pg_get_statisticsobjdef_columns", &[Number], 1, Answer::Text),
    silent("pg_get_function_sqlbody", &[Number], 1, Answer::Text),
    silent("pg_get_functiondef", &[Number], 1, Answer::Text),
    silent("pg_relation_size", &[Any, Text], 1, Answer::Int8),
    silent("pg_table_size", &[Any], 1, Answer::Int8),
    silent("pg_indexes_size", &[Any], 1, Answer::Int8),
    silent("pg_total_relation_size", &[Any], 1, Answer::Int8),
    silent("pg_database_size", &[Any], 1, Answer::Int8),
    silent("pg_tablespace_size", &[Any], 1, Answer::Int8),
    silent("pg_relation_filenode", &[Any], 1, Answer::Oid),
    silent("pg_stat_get_numscans", &[Number], 1, Answer::Int8),
    silent("pg_sequence_last_value", &[Any], 1, Answer::Int8),
    spec("pg_get_function_result", &[Number], Answer::Text, |_, row| {
        Ok(procedure(row)
            .map(|p| format!("{}{}", if p.returns_set { "SETOF " } else { "" }, type_name(p.result)))
            .into())
    }),
    spec("pg_get_function_arguments", &[Number], Answer::Text, |_, row| Ok(procedure(row).map(arguments).into())),
    spec("pg_get_function_identity_arguments", &[Number], Answer::Text, |_, row| {
        Ok(procedure(row).map(arguments).into())
    }),
    Spec {
        least: 1,
        ..spec("pg_get_viewdef", &[Any, Any], Answer::Text, |d, row| {
            let oid = row.text(0).and_then(|text| text.parse().ok().or_else(|| class_oid(d, text)));
            Ok(oid.and_then(|oid| d.entry(oid)).and_then(Entry::view_definition).into())
        })
    },
    Spec {
        least: 1,
        ..spec("pg_get_ruledef", &[Number, Bool], Answer::Text, |d, row| {
            let entry = row.oid(0).and_then(|oid| d.entry(oid));
            let rule = |entry: &Entry| {
                let (schema, name) = (quote_ident(&entry.schema_name), quote_ident(&entry.name));
                let definition = entry.view_definition()?;
                Some(format!("CREATE RULE \"_RETURN\" AS\n    ON SELECT TO {schema}.{name} DO INSTEAD {definition}"))
            };
            Ok(entry.and_then(rule).into())
        })
    },
    spec("oidvectortypes", &[List], Answer::Text, |_, row| {
        let named = |oid: &Option<String>| Some(type_name(oid.as_ref()?.parse().ok()?));
        Ok(row.list(0).map(|oids| oids.iter().filter_map(named).collect::<Vec<_>>().join(", ")).into())
    }),
    visible("pg_table_is_visible", |d, row| {
        Ok(row.oid(0).and_then(|oid| d.entry(oid)).map(|e| d.is_visible(e)).into())
    }),
    visible("pg_type_is_visible", |_, row| {
        Ok(row.oid(0).filter(|oid| TYPES.iter().any(|t| t.oid == *oid || t.array == *oid)).map(|_| true).into())
    }),
    visible("pg_function_is_visible", |_, row| Ok(procedure(row).map(|_| true).into())),
    visible("pg_collation_is_visible", |_, row| {
        Ok(row.oid(0).filter(|oid| [100, 950, 951].contains(oid)).map(|_| true).into())
    }),
    visible("pg_operator_is_visible", not_there),
    visible("pg_opclass_is_visible", not_there),
    visible("pg_opfamily_is_visible", not_there),
    visible("pg_conversion_is_visible", not_there),
    visible("pg_statistics_obj_is_visible", not_there),
    visible("pg_ts_config_is_visible", not_there),
    visible("pg_ts_dict_is_visible", not_there),
    visible("pg_ts_parser_is_visible", not_there),
    visible("pg_ts_template_is_visible", not_there),
    visible("pg_relation_is_publishable", not_there),
    spec("pg_relation_is_updatable", &[Number, Bool], Answer::Int4, |_, _| Ok(0.into())),
    spec("pg_column_is_updatable", &[Number, Number, Bool], Answer::Bool, |_, _| Ok(false.into())),
    spec("pg_get_userbyid", &[Number], Answer::Name, |d, row| {
        let unknown = |oid: u32| format!("unknown (OID={oid})");
        Ok(row.oid(0).map(|oid| d.role(oid).map_or_else(|| unknown(oid), str::to_owned)).into())
    }),
    spec("col_description", &[Number, Number], Answer::Text, |d, row| {
        let (Some(entry), Some(number)) = (row.oid(0).and_then(|oid| d.entry(oid)), row.number(1)) else {
            return Ok(Value::Null);
        };
        let index = usize::try_from(number).ok().and_then(|n| n.checked_sub(1));
        let field = index.and_then(|i| entry.schema.fields().get(i));
        let text = field.and_then(|f| entry.table.as_ref().and_then(|t| t.column_descriptions.get(f.name())));
        Ok(text.cloned().into())
    }),
    Spec {
        least: 1,
        ..spec("obj_description", &[Number, Text], Answer::Text, |d, row| {
            let Some(oid) = row.oid(0) else { return Ok(Value::Null) };
            let in_catalog = |name: &str| row.text(1).is_none_or(|catalog| catalog == name);
            if let Some(entry) = d.entry(oid).filter(|_| in_catalog("pg_class")) {
                return Ok(entry.description.clone().into());
            }
            Ok(d.schema(oid).filter(|_| in_catalog("pg_namespace")).and_then(|s| s.description).into())
        })
    },
    spec("shobj_description", &[Number, Text], Answer::Text, |_, row| {
        let is_database = row.oid(0) == Some(DATABASE) && row.text(1) == Some("pg_database");
        Ok(is_database.then_some("the federation as this node sees it").into())
    }),
    spec("pg_tablespace_location", &[Number], Answer::Text, |_, _| Ok("".into())),
    spec("pg_size_pretty", &[Number], Answer::Text, |_, row| Ok(row.number(0).map(pretty).into())),
    spec("pg_encoding_to_char", &[Number], Answer::Name, |_, row| {
        Ok(row
            .number(0)
            .map(|n| match n {
                6 => "UTF8",
                0 => "SQL_ASCII",
                _ => "",
            })
            .into())
    }),
    spec("pg_char_to_encoding", &[Text], Answer::Int4, |_, row| {
        Ok(row
            .text(0)
            .map(|name| if ["utf8", "utf-8", "unicode"].contains(&name.to_lowercase().as_str()) { 6 } else { -1 })
            .into())
    }),
    // The collation of a column, if it is not its type's.
    spec("kanon_other_collation", &[Number, Number], Answer::Name, |_, row| {
        let (Some(collation), Some(pg_type)) = (row.oid(0), row.oid(1)) else { return Ok(Value::Null) };
        let of_type = TYPES.iter().find(|t| t.oid == pg_type || t.array == pg_type).map(|t| t.collation);
        let name = match collation {
            100 => "default",
            950 => "C",
            951 => "POSIX",
            _ => return Ok(Value::Null),
        };
        Ok(of_type.filter(|own| *own != collation).map(|_| name).into())
    }),
];

fn procedure(row: &Row<'_>) -> Option<&'static Procedure> {
    let oid = row.oid(0)?;
    PROCEDURES.iter().find(|p| p.oid == oid)
}

fn type_name(oid: u32) -> String {
    PgType::by_oid(oid).map(PgType::sql_name).unwrap_or_else(|| {
        let own = TYPES.iter().find(|t| t.oid == oid).map(|t| if t.name == "any" { "\"any\"" } else { t.name });
        own.unwrap_or("???").to_owned()
    })
}

fn arguments(procedure: &'static Procedure) -> String {
    procedure.arguments.iter().map(|oid| type_name(*oid)).collect::<Vec<_>>().join(", ")
}

/// Bytes as PostgreSQL prints them: the next unit from 10 of it on, rounded half up.
fn pretty(bytes: i64) -> String {
    let mut size = bytes;
    if size.unsigned_abs() < 10 * 1024 {
        return format!("{size} bytes");
    }
    // One bit more than the unit is kept, so that rounding sees it.
    size >>= 9;
    for unit in ["kB", "MB", "GB", "TB"] {
        if size.unsigned_abs() < 2 * 10 * 1024 - 1 {
            return format!("{} {unit}", (size + i64::from(size > 0)) / 2);
        }
        size >>= 10;
    }
    format!("{} PB", (size + i64::from(size > 0)) / 2)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_printed_as_postgresql_prints_them() {
        assert_eq!(pretty(10_239), "10239 bytes");
        assert_eq!(pretty(10_240), "10 kB");
        assert_eq!(pretty(1_000_000), "977 kB");
        assert_eq!(pretty(1_000_000_000), "954 MB");
    }
}
