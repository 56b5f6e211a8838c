//! The rows of every relation. What is not listed here is empty, truthfully: there are no triggers, indexes or rules.

mod information_schema;
mod relations;
mod sessions;
mod system;

use super::defs::{Relation, relation};
use super::directory::Directory;
use super::provider::Wanted;
use super::values::Rows;

/// Writes the rows of a relation that can be wanted.
pub(crate) fn write(directory: &Directory, relation: &Relation, wanted: &Wanted, rows: &mut Rows) {
    match (relation.schema_name, relation.name) {
        ("pg_catalog", "pg_class") => relations::class(directory, wanted, rows),
        ("pg_catalog", "pg_attribute") => relations::attribute(directory, wanted, rows),
        ("pg_catalog", "pg_rewrite") => relations::rewrite(directory, wanted, rows),
        ("pg_catalog", "pg_description") => relations::description(directory, wanted, rows),
        ("pg_catalog", "pg_tables") => relations::tables(directory, wanted, rows),
        ("pg_catalog", "pg_views") => relations::views(directory, wanted, rows),
        ("pg_catalog", name) if OF_TABLES.contains(&name) => relations::of_tables(directory, rows),
        ("pg_catalog", "pg_stat_activity") => sessions::activity(directory, rows),
        ("pg_catalog", "pg_stat_database") => sessions::database(directory, rows),
        ("pg_catalog", "pg_stat_gssapi") => sessions::gssapi(directory, rows),
        ("pg_catalog", "pg_prepared_statements") => sessions::prepared(directory, rows),
        ("pg_catalog", "pg_cursors") => sessions::cursors(directory, rows),
        ("pg_catalog", "pg_namespace") => system::namespace(directory, wanted, rows),
        ("pg_catalog", "pg_type") => system::types(wanted, rows),
        ("pg_catalog", "pg_range") => system::range(rows),
        ("pg_catalog", "pg_proc") => system::proc(wanted, rows),
        ("pg_catalog", "pg_database") => system::database(rows),
        ("pg_catalog", "pg_roles") => system::roles(directory, rows),
        ("pg_catalog", "pg_user") => system::user(directory, rows),
        ("pg_catalog", "pg_group") => system::group(directory, rows),
        ("pg_catalog", "pg_auth_members") => system::auth_members(directory, rows),
        ("pg_catalog", "pg_settings") => system::settings(directory, rows),
        ("pg_catalog", "pg_am") => system::am(rows),
        ("pg_catalog", "pg_collation") => system::collation(rows),
        ("pg_catalog", "pg_get_keywords()") => system::keywords(rows),
        ("pg_catalog", "pg_language") => system::language(rows),
        ("pg_catalog", "pg_tablespace") => system::tablespace(rows),
        ("information_schema", name) => information_schema::write(directory, name, wanted, rows),
        _ => {}
    }
}

/// Relations of `pg_catalog` that have rows.
const FILLED: &[&str] = &[
    "pg_class",
    "pg_attribute",
    "pg_description",
    "pg_rewrite",
    "pg_tables",
    "pg_views",
    "pg_stat_activity",
    "pg_stat_database",
    "pg_stat_gssapi",
    "pg_prepared_statements",
    "pg_cursors",
    "pg_namespace",
    "pg_type",
    "pg_range",
    "pg_proc",
    "pg_database",
    "pg_roles",
    "pg_user",
    "pg_group",
    "pg_auth_members",
    "pg_settings",
    "pg_am",
    "pg_collation",
    "pg_language",
    "pg_tablespace",
    UNREADABLE,
];

/// Would hold what passwords are checked by: nobody reads it.
pub(crate) const UNREADABLE: &str = "pg_authid";

/// Those that have a row for each table, in which nothing was counted.
const OF_TABLES: &[&str] = &[
    "pg_stat_all_tables",
    "pg_stat_user_tables",
    "pg_stat_xact_all_tables",
    "pg_stat_xact_user_tables",
    "pg_statio_all_tables",
    "pg_statio_user_tables",
];

/// Whether a relation of `pg_catalog` never has a row.
pub(crate) fn is_always_empty(name: &str) -> bool {
    relation("pg_catalog", name).is_some() && !FILLED.contains(&name) && !OF_TABLES.contains(&name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::pg_catalog::defs::RELATIONS;
    use crate::pg_catalog::testing;

    #[test]
    fn writers_name_columns_that_exist_and_fill_those_that_may_not_be_null() {
        let directory = Directory::new(Arc::new(testing::viewer()));
        for relation in RELATIONS.iter() {
            let mut rows = Rows::new(Arc::clone(&relation.schema), Arc::clone(&relation.schema));
            write(&directory, relation, &Wanted::default(), &mut rows);
            assert!(rows.unknown.is_empty(), "{}: {:?}", relation.name, rows.unknown);
            let batch = rows.finish().unwrap_or_else(|e| panic!("{}: {e}", relation.name));
            assert!(!is_always_empty(relation.name) || batch.num_rows() == 0, "{}", relation.name);
        }
    }
}
