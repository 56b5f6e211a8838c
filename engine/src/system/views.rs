//! The views of schema `kanon`, as tables in memory.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::{MemTable, TableType};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use kanon_privacy::budget::{Delta, Epsilon};
use kanon_privacy::policy::Access;

use super::{SystemContext, SystemTables, audit, qualified, sites, spending};
use crate::auth::Scope;
use crate::catalog::Table;
use crate::error::{Error, Result};
use crate::federation::PeerStatus;
use crate::federation::status::NodeStatus;
use crate::pg_catalog::types::PgType;
use crate::principal::{BuiltinRole, Principal};
use crate::store::Suspended;

/// The views of a session, by name. A view that cannot be made is left out, and the node's log says why.
pub fn tables(context: &SystemContext) -> SystemTables {
    let visible = context.node.catalog.snapshot().visible_to(&context.principal);
    let mut tables = vec![
        ("privacy_units".to_owned(), spending::privacy_units(context, &visible)),
        ("budget".to_owned(), spending::budget(context, &visible)),
        ("audit_log".to_owned(), audit::log(context)),
        ("audit_verify".to_owned(), audit::verify(context)),
    ];
    let context = Arc::new(context.clone());
    tables.extend(VIEWS.iter().filter_map(|(name, rows)| {
        // The columns are always the same.
        let schema = rows(&context, &[]).ok()?.schema();
        let view: Arc<dyn TableProvider> = Arc::new(LiveView { context: Arc::clone(&context), schema, rows: *rows });
        Some(((*name).to_owned(), view))
    }));
    tables
}

/// The rows of a view, of the tables that one may see.
type ViewRows = fn(&SystemContext, &[Arc<Table>]) -> Result<MemTable>;

const VIEWS: &[(&str, ViewRows)] = &[
    ("nodes", nodes),
    ("catalogs", catalogs),
    ("columns", columns),
    ("policies", policies),
    ("suspensions", suspensions),
    ("pending_changes", pending_changes),
    ("peers", peers),
    ("excluded_units", excluded_units),
    ("last_query", last_query),
    ("whoami", whoami),
    ("api_keys", api_keys),
    ("certificates", certificates),
];

/// A view whose rows are made when it is read.
#[derive(Debug)]
struct LiveView {
    context: Arc<SystemContext>,
    schema: SchemaRef,
    rows: ViewRows,
}

#[async_trait]
impl TableProvider for LiveView {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    fn table_type(&self) -> TableType {
        TableType::View
    }
    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let visible = self.context.node.catalog.snapshot().visible_to(&self.context.principal);
        (self.rows)(&self.context, &visible)?.scan(state, projection, filters, limit).await
    }
}

/// Columns as they are made, with their names.
#[derive(Default)]
pub(super) struct Columns {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    fn add(mut self, name: &str, array: ArrayRef) -> Self {
        self.fields.push(Field::new(name, array.data_type().clone(), true));
        self.arrays.push(array);
        self
    }
    pub(super) fn text<S: AsRef<str>>(self, name: &str, values: impl Iterator<Item = Option<S>>) -> Self {
        self.add(name, Arc::new(values.collect::<StringArray>()))
    }
    pub(super) fn bool(self, name: &str, values: impl Iterator<Item = Option<bool>>) -> Self {
        self.add(name, Arc::new(values.collect::<BooleanArray>()))
    }
    fn int(self, name: &str, values: impl Iterator<Item = Option<i32>>) -> Self {
        self.add(name, Arc::new(values.collect::<Int32Array>()))
    }
    pub(super) fn bigint(self, name: &str, values: impl Iterator<Item = Option<i64>>) -> Self {
        self.add(name, Arc::new(values.collect::<Int64Array>()))
    }
    pub(super) fn double(self, name: &str, values: impl Iterator<Item = Option<f64>>) -> Self {
        self.add(name, Arc::new(values.collect::<Float64Array>()))
    }
    pub(super) fn time(self, name: &str, values: impl Iterator<Item = Option<i64>>) -> Self {
        self.add(name, Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC")))
    }
    pub(super) fn batch(self) -> Result<RecordBatch> {
        RecordBatch::try_new(Arc::new(Schema::new(self.fields)), self.arrays).map_err(Error::internal)
    }
    pub(super) fn table(self) -> Result<MemTable> {
        memory(self.batch()?)
    }
}

/// A table of one batch.
pub(super) fn memory(batch: RecordBatch) -> Result<MemTable> {
    MemTable::try_new(batch.schema(), vec![vec![batch]]).map_err(Error::internal)
}

fn nodes(context: &SystemContext, _: &[Arc<Table>]) -> Result<MemTable> {
    let federation = &context.node.federation;
    let mut nodes = vec![NodeStatus::own(&context.node.config, federation.fingerprint())];
    nodes.extend(federation.nodes());
    nodes.sort_by(|a, b| a.node_id.cmp(&b.node_id));
    let n = || nodes.iter();
    Columns::default()
        .text("node_id", n().map(|x| Some(&x.node_id)))
        .text("name", n().map(|x| x.name.as_ref()))
        .text("institution", n().map(|x| x.institution.as_ref()))
        .text("pg_endpoint", n().map(|x| x.pg_endpoint.as_ref()))
        .text("flight_endpoint", n().map(|x| x.flight_endpoint.as_ref()))
        .text("http_endpoint", n().map(|x| x.http_endpoint.as_ref()))
        .text("status", n().map(|x| Some(x.status.as_str())))
        .text("version", n().map(|x| x.version.as_ref()))
        .time("last_seen", n().map(|x| x.last_seen_us))
        .double("latency_ms", n().map(|x| x.latency_ms))
        .text("fingerprint", n().map(|x| x.fingerprint.as_ref()))
        .table()
}

/// A table without a policy is private and answers nothing.
fn access(table: &Table) -> Access {
    table.policy.access.unwrap_or(Access::Private)
}

fn microseconds(rfc3339: &str) -> Option<i64> {
    chrono::DateTime::parse_from_rfc3339(rfc3339).ok().map(|t| t.timestamp_micros())
}

fn catalogs(_: &SystemContext, tables: &[Arc<Table>]) -> Result<MemTable> {
    let t = || tables.iter();
    Columns::default()
        .text("catalog", t().map(|_| Some("kanon")))
        .text("schema_name", t().map(|x| Some(&x.schema_name)))
        .text("table_name", t().map(|x| Some(&x.name)))
        .text("site", t().map(|x| Some(sites(x))))
        .text("kind", t().map(|x| Some(&x.kind)))
        .text("description", t().map(|x| x.description.as_ref()))
        .text("access", t().map(|x| Some(access(x).as_str())))
        .text("owner", t().map(|x| Some(&x.owner)))
        .time("registered_at", t().map(|x| microseconds(&x.registered_at)))
        .time("updated_at", t().map(|x| microseconds(&x.updated_at)))
        .table()
}

fn columns(_: &SystemContext, tables: &[Arc<Table>]) -> Result<MemTable> {
    let all: Vec<_> = tables.iter().flat_map(|t| t.schema.fields().iter().map(move |f| (t, f))).collect();
    let c = || all.iter();
    let settings = |t: &Table, name: &str| t.column_settings.get(name).cloned().unwrap_or_default();
    Columns::default()
        .text("site", c().map(|(t, _)| Some(sites(t))))
        .text("table_name", c().map(|(t, _)| Some(qualified(t))))
        .text("column_name", c().map(|(_, f)| Some(f.name())))
        .text("data_type", c().map(|(_, f)| Some(PgType::of_field(f).sql_name())))
        .bool("nullable", c().map(|(_, f)| Some(f.is_nullable())))
        .text("role", c().map(|(t, f)| Some(t.facts.roles.get(f.name()).copied().unwrap_or_default().as_str())))
        .double("lower", c().map(|(t, f)| settings(t, f.name()).lower))
        .double("upper", c().map(|(t, f)| settings(t, f.name()).upper))
        .text("domain", c().map(|(t, f)| settings(t, f.name()).domain.map(|d| format!("{{{}}}", d.join(",")))))
        .text("description", c().map(|(t, f)| t.column_descriptions.get(f.name())))
        .table()
}

fn policies(_: &SystemContext, tables: &[Arc<Table>]) -> Result<MemTable> {
    let t = || tables.iter();
    let count = |value: Option<NonZeroU32>| value.map(|count| i64::from(count.get()));
    Columns::default()
        .text("site", t().map(|x| Some(sites(x))))
        .text("table_name", t().map(|x| Some(qualified(x))))
        .text("access", t().map(|x| Some(access(x).as_str())))
        .text("unit_column", t().map(|x| x.policy.unit.as_ref()))
        .text("unit_kind", t().map(|x| unit_kind(x)))
        .bool("unit_unique", t().map(|x| x.policy.unit.is_some().then_some(x.policy.unit_unique)))
        .int("min_cohort", t().map(|x| min_cohort(x)))
        .double("epsilon_per_query", t().map(|x| x.policy.epsilon_per_query.map(Epsilon::get)))
        .double("delta_per_query", t().map(|x| x.policy.delta_per_query.map(Delta::get)))
        .bigint("max_groups_per_unit", t().map(|x| count(x.policy.max_groups_per_unit)))
        .bigint("max_rows_per_group", t().map(|x| count(x.policy.max_rows_per_group)))
        .double("max_norm", t().map(|x| x.policy.max_norm))
        .bigint("max_distinct", t().map(|x| count(x.policy.max_distinct)))
        .bool("min_cohort_public", t().map(|x| Some(x.policy.min_cohort_public)))
        .bool("disjoint", t().map(|x| Some(x.policy.disjoint)))
        .double("epsilon_per_job", t().map(|x| x.policy.epsilon_per_job.map(Epsilon::get)))
        .int("dominance_percent", t().map(|x| dominance_percent(x)))
        .bool("suspended", t().map(|x| Some(x.policy.suspended)))
        .table()
}

/// What is suspended: for those who run the node all, for others the node and the tables that they may see.
fn suspensions(context: &SystemContext, tables: &[Arc<Table>]) -> Result<MemTable> {
    let who = &context.principal;
    let runs = [BuiltinRole::Steward, BuiltinRole::Operator, BuiltinRole::Auditor].iter().any(|role| who.is(*role));
    let all = runs && who.via_peer.is_none();
    let snapshot = context.node.catalog.snapshot();
    let mut rows: Vec<[Option<String>; 5]> = Vec::new();
    if let Some(lost) = &snapshot.lost {
        let node = context.node.site().to_string();
        rows.push([Some("store".to_owned()), Some(node), Some(lost.found_at.clone()), None, Some(lost.why.clone())]);
    }
    for of in snapshot.suspensions.iter().filter(|of| all || of.of == Suspended::Node) {
        let by = all.then(|| of.by.clone());
        rows.push([Some(of.of.as_str().to_owned()), Some(of.shown.clone()), Some(of.since.clone()), by, None]);
    }
    for table in tables.iter().filter(|table| table.policy.suspended) {
        rows.push([Some("table".to_owned()), Some(qualified(table)), None, None, None]);
    }
    let column = |index: usize| rows.iter().map(move |row| row.get(index).cloned().flatten());
    Columns::default()
        .text("kind", column(0))
        .text("name", column(1))
        .time("since", column(2).map(|since| since.as_deref().and_then(microseconds)))
        .text("suspended_by", column(3))
        .text("reason", column(4))
        .table()
}

/// Changes that wait for another steward, for stewards and auditors.
fn pending_changes(context: &SystemContext, _: &[Arc<Table>]) -> Result<MemTable> {
    let who = &context.principal;
    let decides = [BuiltinRole::Steward, BuiltinRole::Auditor].iter().any(|role| who.is(*role));
    let now = chrono::Utc::now().timestamp();
    let changes = match decides && who.via_peer.is_none() {
        true => context.node.store.directory().pending_changes(),
        false => Arc::default(),
    };
    let waiting = || changes.iter().filter(move |change| now < change.expires_at());
    let time = |seconds: i64| Some(seconds.saturating_mul(1_000_000));
    Columns::default()
        .bigint("change", waiting().map(|change| Some(change.id)))
        .text("statement", waiting().map(|change| Some(change.statement.as_str())))
        .text("difference", waiting().map(|change| Some(change.difference.as_str())))
        .text("proposed_by", waiting().map(|change| Some(change.proposed_by.as_str())))
        .time("proposed_at", waiting().map(|change| time(change.proposed_at)))
        .time("expires_at", waiting().map(|change| time(change.expires_at())))
        .table()
}

/// Where peers are pinned and what they may ask for, for those who run the node.
fn peers(context: &SystemContext, _: &[Arc<Table>]) -> Result<MemTable> {
    let who = &context.principal;
    let runs = [BuiltinRole::Steward, BuiltinRole::Operator, BuiltinRole::Auditor].iter().any(|role| who.is(*role));
    let directory = context.node.store.directory();
    let mut all: Vec<_> = match runs && who.via_peer.is_none() {
        true => context.node.federation.peers(),
        false => Vec::new(),
    }
    .into_iter()
    .map(|peer| (NodeStatus::of_peer(&peer), directory.rules_of_key(&peer.pin.fingerprint), peer))
    .collect();
    all.sort_by(|(a, _, _), (b, _, _)| a.node_id.cmp(&b.node_id));
    let p = || all.iter();
    let listed = |names: &BTreeSet<String>| {
        format!("{{{}}}", names.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(","))
    };
    Columns::default()
        .text("node_id", p().map(|(shown, _, _)| Some(&shown.node_id)))
        .text("fingerprint", p().map(|(shown, _, _)| shown.fingerprint.as_ref()))
        .text("pinned_in", p().map(|(_, _, peer)| Some(if peer.configured { "configuration" } else { "store" })))
        .bool("suspended", p().map(|(_, _, peer)| Some(peer.status == PeerStatus::Suspended)))
        .bool("may_query", p().map(|(_, rules, _)| Some(rules.may_query)))
        .text("tables", p().map(|(_, rules, _)| rules.tables.as_ref().map(listed)))
        .bigint(
            "max_statements_per_second",
            p().map(|(_, rules, _)| rules.statements_per_second.map(|n| n.get().into())),
        )
        .double("budget_epsilon", p().map(|(_, rules, _)| rules.budget_epsilon.map(Epsilon::get)))
        .table()
}

/// An item of a text array, in quotes if it needs them.
fn quoted(item: &str) -> String {
    let plain = !item.is_empty() && item.chars().all(|c| c.is_alphanumeric() || c == '_');
    if plain { item.to_owned() } else { format!("\"{}\"", item.replace('\\', "\\\\").replace('"', "\\\"")) }
}

/// Units that opted out, for stewards alone.
fn excluded_units(context: &SystemContext, _: &[Arc<Table>]) -> Result<MemTable> {
    let who = &context.principal;
    let is_steward = who.via_peer.is_none() && who.is(BuiltinRole::Steward);
    let snapshot = context.node.catalog.snapshot();
    let shown = snapshot.excluded.iter().filter(|_| is_steward);
    let all: Vec<_> = shown.flat_map(|(kind, units)| units.iter().map(move |(unit, of)| (kind, unit, of))).collect();
    let x = || all.iter();
    Columns::default()
        .text("unit_kind", x().map(|(kind, _, _)| Some(kind)))
        .text("unit", x().map(|(_, unit, _)| Some(unit)))
        .time("excluded_at", x().map(|(_, _, of)| microseconds(&of.at)))
        .text("excluded_by", x().map(|(_, _, of)| Some(&of.by)))
        .table()
}

fn unit_kind(table: &Table) -> Option<String> {
    match &table.facts.protection {
        Some(protection) => Some(protection.unit_kind.clone()),
        None => table.policy.unit_kind.clone(),
    }
}

fn min_cohort(table: &Table) -> Option<i32> {
    let k = table.facts.protection.as_ref().map(|p| p.min_cohort).or(table.policy.min_cohort)?;
    i32::try_from(k.get()).ok()
}

fn dominance_percent(table: &Table) -> Option<i32> {
    let percent = table.facts.protection.as_ref().map(|p| p.dominance_percent).or(table.policy.dominance_percent)?;
    Some(i32::from(percent.get()))
}

fn last_query(context: &SystemContext, _: &[Arc<Table>]) -> Result<MemTable> {
    let report = context.last_query.get();
    let sites = report.as_ref().map(|report| report.sites()).unwrap_or_default();
    let s = || sites.iter();
    Columns::default()
        .text("site", s().map(|x| Some(x.site.as_str())))
        .text("status", s().map(|x| Some(x.status.as_str())))
        .text("rule", s().map(|x| x.rule.as_ref()))
        .double("epsilon", s().map(|x| x.epsilon))
        .double("delta", s().map(|x| x.delta))
        .text("columns", s().map(|x| (!x.columns.is_empty()).then(|| x.columns_as_json().to_string())))
        .bool("cached", s().map(|x| Some(x.cached)))
        .table()
}

fn whoami(context: &SystemContext, _: &[Arc<Table>]) -> Result<MemTable> {
    let one = |text: String| std::iter::once(Some(text));
    Columns::default()
        .text("principal", one(context.principal.name.clone()))
        .text("roles", one(context.roles()))
        .text("home_node", one(context.principal.home_node.to_string()))
        .text("auth_method", one(context.principal.auth_method.as_str().to_owned()))
        .table()
}

/// Whether one sees what a role logs in with: it does, and an admin.
fn sees(principal: &Principal, role: &str) -> bool {
    principal.via_peer.is_none() && (role == principal.name || principal.is(BuiltinRole::Admin))
}

/// One's own certificate; an admin sees all.
fn certificates(context: &SystemContext, _: &[Arc<Table>]) -> Result<MemTable> {
    let mut all: Vec<(String, String)> = context
        .node
        .store
        .directory()
        .certificates()
        .into_iter()
        .filter(|(_, role)| sees(&context.principal, role))
        .map(|(name, role)| (role, name.to_string()))
        .collect();
    all.sort();
    Columns::default()
        .text("role", all.iter().map(|(role, _)| Some(role)))
        .text("certificate", all.iter().map(|(_, name)| Some(name)))
        .table()
}

/// One's own keys; an admin sees all.
fn api_keys(context: &SystemContext, _: &[Arc<Table>]) -> Result<MemTable> {
    let mut keys = context.node.store.directory().api_keys();
    keys.retain(|key| sees(&context.principal, &key.role));
    keys.sort_by(|a, b| (&a.role, &a.name).cmp(&(&b.role, &b.name)));
    let micros = |seconds: i64| seconds.saturating_mul(1_000_000);
    Columns::default()
        .text("role", keys.iter().map(|key| Some(&key.role)))
        .text("name", keys.iter().map(|key| Some(&key.name)))
        .text("prefix", keys.iter().map(|key| Some(format!("kanon_{}", key.id))))
        .text("scopes", keys.iter().map(|key| Some(Scope::list(&key.scopes))))
        .text("created_by", keys.iter().map(|key| Some(&key.created_by)))
        .time("created_at", keys.iter().map(|key| Some(micros(key.created_at))))
        .time("expires_at", keys.iter().map(|key| Some(micros(key.expires_at))))
        .time("last_used_at", keys.iter().map(|key| key.last_used_at().map(micros)))
        .table()
}
