//! What a principal may see, by name and by OID.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};

use super::Viewer;
use super::defs::{RELATIONS, Relation};
use super::keywords::{Category, category};
use crate::catalog::{TEMPORARY_SCHEMAS, Table};
use crate::statement::temporary::TEMPORARY_SCHEMA;

/// The OID of schema `pg_catalog`.
pub(crate) const PG_CATALOG: u32 = 11;
/// The OID of schema `public`.
pub(crate) const PUBLIC: u32 = 2200;
/// The OID of schema `information_schema`.
pub(crate) const INFORMATION_SCHEMA: u32 = 13207;
/// The OID of schema `kanon`.
const KANON: u32 = 16002;
/// The OID of the one database: the first that is not a system's, as clients tell them apart.
pub(crate) const DATABASE: u32 = 16384;
/// The OID of the built-in role `admin`, which owns what nobody registered.
pub(crate) const ADMIN: u32 = 10;

const ADMIN_NAME: &str = "admin";

/// A schema.
#[derive(Debug, Clone)]
pub(crate) struct SchemaEntry {
    pub oid: u32,
    pub name: String,
    pub description: Option<&'static str>,
}

impl SchemaEntry {
    /// Whether it is that of the session's temporary tables.
    pub(crate) fn is_temporary(&self) -> bool {
        self.name.starts_with(TEMPORARY_SCHEMAS)
    }
}

/// A table or view, of a source or of the system.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub oid: u32,
    pub schema_oid: u32,
    pub schema_name: String,
    pub name: String,
    /// `r` or `v`.
    pub kind: &'static str,
    pub owner: u32,
    pub schema: SchemaRef,
    /// The table it is, if it is one of a source.
    pub table: Option<Arc<Table>>,
    pub description: Option<String>,
}

/// All that a principal may see.
#[derive(Debug)]
pub(crate) struct Directory {
    pub viewer: Arc<Viewer>,
    pub schemas: Vec<SchemaEntry>,
    /// Those of sources and of `kanon` first, in the order of their names; then the system's.
    pub entries: Vec<Entry>,
    /// Roles by OID, in the order of their names.
    pub roles: Vec<(u32, String)>,
    /// The schemas that are searched for a bare name, in order: temporary tables, then `pg_catalog` unless the setting says otherwise.
    pub path: Vec<String>,
    /// How many of them the setting does not name: they are first.
    pub implicit: usize,
    by_oid: HashMap<u32, usize>,
    by_name: HashMap<(String, String), usize>,
}

impl Entry {
    /// Whether it is a temporary table of the session.
    pub(crate) fn is_temporary(&self) -> bool {
        self.table.as_ref().is_some_and(|table| table.is_temporary())
    }

    /// What a view is defined as, as PostgreSQL writes it; `None` for a table. The rows of a node's views are made by the node, which is a function that nobody
    /// else calls.
    pub(crate) fn view_definition(&self) -> Option<String> {
        if self.kind != "v" {
            return None;
        }
        let names: Vec<String> = self.schema.fields().iter().map(|field| quote_ident(field.name())).collect();
        let selected: Vec<String> = names.iter().map(|name| format!("v.{name}")).collect();
        let (schema, name) = (quote_ident(&self.schema_name), quote_ident(&self.name));
        let source = format!("kanon_rows('{schema}.{name}'::regclass) v({})", names.join(", "));
        Some(format!(" SELECT {}\n   FROM {source};", selected.join(",\n    ")))
    }
}

impl Directory {
    /// Collects what a viewer may see.
    pub(crate) fn new(viewer: Arc<Viewer>) -> Directory {
        let schemas = schemas(&viewer);
        let roles = roles(&viewer);
        let oid_of_schema = |name: &str| schemas.iter().find(|s| s.name == name).map_or(0, |s| s.oid);
        let oid_of_role = |name: &str| roles.iter().find(|(_, n)| n == name).map_or(ADMIN, |(oid, _)| *oid);
        let mut entries = Vec::with_capacity(viewer.visible.len() + RELATIONS.len());
        for table in &viewer.visible {
            entries.push(Entry {
                oid: table.oid,
                schema_oid: oid_of_schema(&table.schema_name),
                schema_name: table.schema_name.clone(),
                name: table.name.clone(),
                kind: "r",
                owner: oid_of_role(&table.owner),
                schema: Arc::clone(&table.schema),
                table: Some(Arc::clone(table)),
                description: table.description.clone(),
            });
        }
        let mut taken = BTreeSet::new();
        for (name, schema) in &viewer.views {
            entries.push(Entry {
                oid: stable_oid("view", name, &mut taken),
                schema_oid: KANON,
                schema_name: "kanon".to_owned(),
                name: name.clone(),
                kind: "v",
                owner: ADMIN,
                schema: Arc::clone(schema),
                table: None,
                description: None,
            });
        }
        entries.sort_by(|a, b| (&a.schema_name, &a.name).cmp(&(&b.schema_name, &b.name)));
        entries.extend(RELATIONS.iter().map(system_entry));
        let by_oid = entries.iter().enumerate().map(|(i, e)| (e.oid, i)).collect();
        let by_name = entries.iter().enumerate().map(|(i, e)| ((e.schema_name.clone(), e.name.clone()), i)).collect();
        let named = search_path(&viewer, &schemas);
        let temporary = schemas.iter().find(|schema| schema.is_temporary()).map(|schema| schema.name.clone());
        let catalog = (!named.iter().any(|name| name == "pg_catalog")).then(|| "pg_catalog".to_owned());
        let mut path: Vec<String> = temporary.into_iter().chain(catalog).collect();
        let implicit = path.len();
        path.extend(named);
        Directory { viewer, schemas, entries, roles, path, implicit, by_oid, by_name }
    }

    /// The relation of an OID.
    pub(crate) fn entry(&self, oid: u32) -> Option<&Entry> {
        self.by_oid.get(&oid).and_then(|i| self.entries.get(*i))
    }

    /// The relation of a name, in a schema or on the search path.
    pub(crate) fn find(&self, schema_name: Option<&str>, name: &str) -> Option<&Entry> {
        let schema_name = match schema_name {
            Some(TEMPORARY_SCHEMA) => Some(self.temporary()?.name.as_str()),
            other => other,
        };
        let get =
            |schema: &str| self.by_name.get(&(schema.to_owned(), name.to_owned())).and_then(|i| self.entries.get(*i));
        match schema_name {
            Some(schema) => get(schema),
            None => self.path.iter().find_map(|schema| get(schema)),
        }
    }

    /// The schema of the session's temporary tables, if it has some.
    pub(crate) fn temporary(&self) -> Option<&SchemaEntry> {
        self.schemas.iter().find(|schema| schema.is_temporary())
    }

    /// Whether the relation is what its bare name means.
    pub(crate) fn is_visible(&self, entry: &Entry) -> bool {
        self.find(None, &entry.name).is_some_and(|found| found.oid == entry.oid)
    }

    /// Its name, with the schema if the bare name means something else.
    pub(crate) fn display(&self, entry: &Entry) -> String {
        if self.is_visible(entry) {
            quote_ident(&entry.name)
        } else {
            format!("{}.{}", quote_ident(&entry.schema_name), quote_ident(&entry.name))
        }
    }

    /// The schema of a name.
    pub(crate) fn schema_named(&self, name: &str) -> Option<&SchemaEntry> {
        self.schemas.iter().find(|s| s.name == name)
    }

    /// The schema of an OID.
    pub(crate) fn schema(&self, oid: u32) -> Option<&SchemaEntry> {
        self.schemas.iter().find(|s| s.oid == oid)
    }

    /// The role of an OID.
    pub(crate) fn role(&self, oid: u32) -> Option<&str> {
        self.roles.iter().find(|(o, _)| *o == oid).map(|(_, name)| name.as_str())
    }

    /// The OID of a role.
    pub(crate) fn role_named(&self, name: &str) -> Option<u32> {
        self.roles.iter().find(|(_, n)| n == name).map(|(oid, _)| *oid)
    }

    /// Whether the principal may SELECT from it.
    pub(crate) fn may_select(&self, entry: &Entry) -> bool {
        let Some(table) = &entry.table else { return true };
        self.viewer.snapshot.may_select(&self.viewer.principal, table)
    }
}

fn system_entry(relation: &'static Relation) -> Entry {
    Entry {
        oid: relation.oid,
        schema_oid: if relation.schema_name == "pg_catalog" { PG_CATALOG } else { INFORMATION_SCHEMA },
        schema_name: relation.schema_name.to_owned(),
        name: relation.name.to_owned(),
        kind: relation.kind,
        owner: ADMIN,
        schema: Arc::clone(&relation.schema),
        table: None,
        description: None,
    }
}

fn schemas(viewer: &Viewer) -> Vec<SchemaEntry> {
    let fixed = [
        (PG_CATALOG, "pg_catalog", Some("system catalog schema")),
        (INFORMATION_SCHEMA, "information_schema", None),
        (PUBLIC, "public", Some("tables of this node")),
        (16001, "federation", Some("tables united over the sites that offer them")),
        (KANON, "kanon", Some("the node: its peers, catalogs and policies")),
    ];
    let mut schemas: Vec<SchemaEntry> = fixed
        .into_iter()
        .map(|(oid, name, description)| SchemaEntry { oid, name: name.to_owned(), description })
        .collect();
    let named = viewer.visible.iter().map(|t| &t.schema_name);
    let others: BTreeSet<&String> = named.filter(|name| schemas.iter().all(|s| s.name != **name)).collect();
    let mut taken = BTreeSet::new();
    for name in others {
        let oid = stable_oid("schema", name, &mut taken);
        let description = (!name.starts_with(TEMPORARY_SCHEMAS)).then_some("tables of a peer");
        schemas.push(SchemaEntry { oid, name: name.clone(), description });
    }
    schemas
}

fn roles(viewer: &Viewer) -> Vec<(u32, String)> {
    let mut names: BTreeSet<String> = viewer.roles.iter().map(|role| role.name.clone()).collect();
    names.extend(viewer.visible.iter().map(|table| table.owner.clone()));
    names.insert(viewer.principal.display());
    names.insert(ADMIN_NAME.to_owned());
    // Grants to everybody are kept under no name; tables of peers have no owner here, and show the admin.
    names.remove("");
    let mut taken = BTreeSet::new();
    names
        .into_iter()
        .map(|name| {
            let oid = if name == ADMIN_NAME { ADMIN } else { stable_oid("role", &name, &mut taken) };
            (oid, name)
        })
        .collect()
}

/// An OID that follows from the name, far from those that are counted up. Names that meet take the next one.
fn stable_oid(kind: &str, name: &str, taken: &mut BTreeSet<u32>) -> u32 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in kind.bytes().chain([b'/']).chain(name.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let mut oid = 0x6000_0000 | (hash as u32 & 0x1fff_ffff);
    while !taken.insert(oid) {
        oid = 0x6000_0000 | (oid.wrapping_add(1) & 0x1fff_ffff);
    }
    oid
}

/// The schemas that the setting names, as far as they are there.
fn search_path(viewer: &Viewer, schemas: &[SchemaEntry]) -> Vec<String> {
    let setting = (viewer.setting)("search_path").unwrap_or_else(|| "\"$user\", public".to_owned());
    setting
        .split(',')
        .map(|name| name.trim().trim_matches('"').to_owned())
        .map(|name| if name == "$user" { viewer.principal.name.clone() } else { name })
        .filter(|name| schemas.iter().any(|s| s.name == *name))
        .collect()
}

/// An identifier as it must be written: quoted unless it is lower case and no reserved word.
pub(crate) fn quote_ident(name: &str) -> String {
    let mut chars = name.chars();
    let plain = chars.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && category(name).is_none_or(|category| category == Category::Unreserved);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// The columns of an entry as a schema without metadata of its source.
pub(crate) fn columns(schema: &Schema) -> impl Iterator<Item = (i16, &Field)> {
    schema.fields().iter().enumerate().filter_map(|(i, field)| Some((i16::try_from(i + 1).ok()?, field.as_ref())))
}
