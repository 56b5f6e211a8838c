//! The tables of schemas `federation` and `<peer>`: what peers offer, and what several sites offer under one name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use kanon_planner::facts::{Placement, PrivatePolicy, Protection, SiteId, TableFacts};
use kanon_privacy::policy::{Access, ColumnRole};

use super::descriptor::Descriptor;
use super::scan::RemoteTable;
use crate::catalog::{ColumnSettings, Policy, Snapshot, Table};
use crate::error::Result;
use crate::node::Node;

/// The column that a federated table has more than its parts.
pub const SITE_COLUMN: &str = "site";

/// How often own tables are compared with those the federation was made from.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Keeps the catalog's remote tables in step with the descriptors of peers and with own tables, until the node stops.
pub fn keep(node: &Arc<Node>) {
    let (node, stopping) = (Arc::downgrade(node), node.stopping.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = stopping.cancelled() => {}
            () = follow(node) => {}
        }
    });
}

async fn follow(node: Weak<Node>) {
    let Some(mut descriptors) = node.upgrade().map(|n| n.federation.descriptors()) else { return };
    loop {
        let Some(strong) = node.upgrade() else { return };
        if let Err(error) = refresh(&strong).await {
            tracing::error!(%error, "cannot bring the federation's tables up to date");
        }
        drop(strong);
        tokio::select! {
            changed = descriptors.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Brings the remote tables up to date now.
///
/// # Errors
/// If the store fails.
pub async fn refresh(node: &Arc<Node>) -> Result<()> {
    let snapshot = node.catalog.snapshot();
    let descriptors = node.federation.descriptors().borrow().clone();
    let tables = remote_tables(node, &snapshot, &descriptors);
    let known: Vec<&Arc<Table>> = snapshot.tables.iter().filter(|t| t.schema_name != "public").collect();
    let same = |a: &Table, b: &Table| {
        a.schema_name == b.schema_name
            && a.name == b.name
            && a.schema == b.schema
            && a.facts == b.facts
            && a.description == b.description
            && a.column_descriptions == b.column_descriptions
            && a.sites == b.sites
    };
    let unchanged = known.len() == tables.len() && tables.iter().all(|t| known.iter().any(|k| same(k, t)));
    if unchanged { Ok(()) } else { node.catalog.set_remote_tables(tables).await }
}

/// One site's part of a table.
struct Offer {
    site: SiteId,
    schema: SchemaRef,
    protection: Option<Protection>,
    private: Option<PrivatePolicy>,
    roles: BTreeMap<String, ColumnRole>,
    description: Option<String>,
    column_descriptions: BTreeMap<String, String>,
}

fn remote_tables(node: &Arc<Node>, snapshot: &Snapshot, descriptors: &[Arc<Descriptor>]) -> Vec<Table> {
    let mut offers: BTreeMap<String, Vec<Offer>> = BTreeMap::new();
    let mut tables = Vec::new();
    for table in snapshot.tables.iter().filter(|t| t.schema_name == "public" && t.facts.closed.is_none()) {
        let protection =
            table.facts.protection.clone().map(|p| Protection { unit_unique: table.policy.unit_unique, ..p });
        offers.entry(table.name.clone()).or_default().push(Offer {
            site: node.site().clone(),
            schema: bare(&table.schema),
            protection,
            private: table.facts.private.clone(),
            roles: table.facts.roles.clone(),
            description: table.description.clone(),
            column_descriptions: table.column_descriptions.clone(),
        });
    }
    for descriptor in descriptors {
        for table in &descriptor.tables {
            let (Ok(schema), Ok(protection), Ok(private)) = (table.schema(), table.protection(), table.private())
            else {
                tracing::warn!(peer = %descriptor.id, table = %table.name, "a table of a peer cannot be read");
                continue;
            };
            let offer = Offer {
                site: SiteId::new(descriptor.id.clone()),
                schema: bare(&schema),
                protection,
                private,
                roles: table.roles.clone(),
                description: table.description.clone(),
                column_descriptions: table.column_descriptions.clone(),
            };
            tables.push(made(
                node,
                &descriptor.id,
                &table.name,
                std::slice::from_ref(&offer),
                Arc::clone(&offer.schema),
                false,
            ));
            offers.entry(table.name.clone()).or_default().push(offer);
        }
    }
    for (name, mut offers) in offers {
        if offers.len() < 2 {
            continue;
        }
        offers.sort_by(|a, b| a.site.cmp(&b.site));
        match united(&offers) {
            Some(schema) => tables.push(made(node, "federation", &name, &offers, schema, true)),
            None => {
                tracing::warn!(table = %name, "sites offer tables of this name with different columns or rules: it is not federated")
            }
        }
    }
    tables
}

fn bare(schema: &SchemaRef) -> SchemaRef {
    Arc::new(Schema::new(
        schema.fields().iter().map(|f| f.as_ref().clone().with_metadata(Default::default())).collect::<Vec<_>>(),
    ))
}

/// The columns of all, widened, and `site`; `None` if they do not fit together.
fn united(offers: &[Offer]) -> Option<SchemaRef> {
    let (first, rest) = offers.split_first()?;
    if first.schema.field_with_name(SITE_COLUMN).is_ok() {
        return None;
    }
    let mut fields: Vec<Field> = first.schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    for offer in rest {
        let fits = |a: &Option<Protection>, b: &Option<Protection>| match (a, b) {
            (None, None) => true,
            (Some(a), Some(b)) => a.unit_column == b.unit_column && a.unit_kind == b.unit_kind,
            _ => false,
        };
        if offer.schema.fields().len() != fields.len() || !fits(&first.protection, &offer.protection) {
            return None;
        }
        for field in &mut fields {
            let theirs = offer.schema.field_with_name(field.name()).ok()?;
            *field = field.clone().with_data_type(wider(field.data_type(), theirs.data_type())?);
        }
    }
    fields.push(Field::new(SITE_COLUMN, DataType::Utf8, false));
    Some(Arc::new(Schema::new(fields)))
}

/// The type that holds the values of both without loss.
fn wider(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::*;
    if a == b {
        return Some(a.clone());
    }
    let text = |t: &DataType| matches!(t, Utf8 | LargeUtf8 | Utf8View);
    let signed = |t: &DataType| match t {
        Int8 => Some(1),
        Int16 | UInt8 => Some(2),
        Int32 | UInt16 => Some(3),
        Int64 | UInt32 => Some(4),
        _ => None,
    };
    match (a, b) {
        // A column without a value at one site says nothing of its type.
        (Null, t) | (t, Null) => Some(t.clone()),
        (a, b) if text(a) && text(b) => Some(Utf8),
        (Float32, Float64) | (Float64, Float32) => Some(Float64),
        (a, b) if a.is_floating() && signed(b).is_some() || b.is_floating() && signed(a).is_some() => Some(Float64),
        (Date32, Date64) | (Date64, Date32) => Some(Date64),
        (Timestamp(_, x), Timestamp(_, y)) if x == y => {
            Some(Timestamp(arrow::datatypes::TimeUnit::Nanosecond, x.clone()))
        }
        (a, b) => match signed(a)?.max(signed(b)?) {
            1 | 2 => Some(Int16),
            3 => Some(Int32),
            _ => Some(Int64),
        },
    }
}

fn made(
    node: &Arc<Node>,
    schema_name: &str,
    name: &str,
    offers: &[Offer],
    schema: SchemaRef,
    site_column: bool,
) -> Table {
    let sites: Vec<SiteId> = offers.iter().map(|o| o.site.clone()).collect();
    let protection = strictest(offers.iter().map(|o| &o.protection));
    let mut roles: BTreeMap<String, ColumnRole> = BTreeMap::new();
    for (column, role) in offers.iter().flat_map(|o| &o.roles) {
        let known = roles.entry(column.clone()).or_insert(*role);
        // The stricter role of two sites: an identifier may appear nowhere.
        if *role == ColumnRole::Identifier || (*role == ColumnRole::Measure && *known == ColumnRole::None) {
            *known = *role;
        }
    }
    let placement = Placement::Sites { sites: sites.clone(), table: format!("public.{name}"), site_column };
    let policy = Policy {
        access: Some(protection.as_ref().map_or(Access::Open, |p| p.access)),
        unit: protection.as_ref().map(|p| p.unit_column.clone()),
        unit_kind: protection.as_ref().map(|p| p.unit_kind.clone()),
        unit_unique: protection.as_ref().is_some_and(|p| p.unit_unique),
        min_cohort: protection.as_ref().map(|p| p.min_cohort),
        ..Policy::default()
    };
    let column_settings = roles
        .iter()
        .filter(|(_, role)| matches!(role, ColumnRole::Identifier | ColumnRole::Measure))
        .map(|(column, role)| (column.clone(), ColumnSettings { role: *role, ..ColumnSettings::default() }))
        .collect();
    let shown =
        if schema_name == "federation" { format!("federation.{name}") } else { format!("{schema_name}.{name}") };
    // A site with other access is asked within its own rules; what is planned here is planned for the strictest.
    let is_private = protection.as_ref().is_some_and(|p| p.access == Access::Private);
    let private = is_private.then(|| PrivatePolicy::at_all(offers.iter().filter_map(|o| o.private.as_ref())));
    let all_private = offers.iter().all(|o| o.private.is_some());
    let closed = (is_private && !all_private)
        .then(|| "has private access at some of its sites and not at others: ask them one by one".to_owned());
    let provider = RemoteTable::new(
        node,
        Arc::clone(&schema),
        sites.clone(),
        format!("public.{name}"),
        site_column,
        protection.is_some(),
    );
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    Table {
        oid: 0,
        schema_name: schema_name.to_owned(),
        name: name.to_owned(),
        schema,
        description: offers.iter().find_map(|o| o.description.clone()),
        column_descriptions: offers.iter().rev().flat_map(|o| o.column_descriptions.clone()).collect(),
        facts: TableFacts { name: shown, protection, private, domains: BTreeMap::new(), closed, roles, placement },
        halted: None,
        excluded: None,
        policy,
        column_settings,
        kind: if site_column { "federation".to_owned() } else { "peer".to_owned() },
        location: None,
        file: None,
        owner: String::new(),
        readers: BTreeSet::new(),
        column_readers: BTreeMap::new(),
        whole: None,
        sites,
        provider: Arc::new(provider),
        registered_at: now.clone(),
        updated_at: now,
    }
}

/// What holds at every site: for fast feedback; the sites decide by their own.
fn strictest<'a>(all: impl Iterator<Item = &'a Option<Protection>>) -> Option<Protection> {
    all.flatten().cloned().reduce(|a, b| Protection {
        access: a.access.max(b.access),
        unit_column: a.unit_column,
        unit_kind: a.unit_kind,
        unit_unique: a.unit_unique && b.unit_unique,
        min_cohort: a.min_cohort.max(b.min_cohort),
        dominance_percent: a.dominance_percent.min(b.dominance_percent),
    })
}
