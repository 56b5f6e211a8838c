//! The catalog with real files.

mod sources;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::execution::cache::cache_manager::CacheManagerConfig;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use kanon_planner::facts::SiteId;
use kanon_privacy::policy::{Access, ColumnRole};

use super::{Catalog, ExternalTable, GuardedTable, Table, TableChange};
use crate::config::Config;
use crate::error::{Error, Sqlstate};
use crate::federation::identity::Fingerprint;
use crate::principal::{AuthMethod, BuiltinRole, Principal};
use crate::store::Store;

/// A catalog in a folder that goes with it.
pub(super) struct Site {
    dir: tempfile::TempDir,
    pub(super) store: Store,
    pub(super) catalog: Catalog,
}

impl Site {
    pub(super) async fn new() -> Site {
        Site::with(|_| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut Config)) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new("zurich", dir.path().join("node"));
        change(&mut config);
        let store = Store::open(&config).await.unwrap();
        let catalog = load(&config, &store).await;
        Site { dir, store, catalog }
    }

    /// The same folder after a restart.
    async fn restarted(self) -> Site {
        let Site { dir, store, catalog } = self;
        drop(catalog);
        store.close().await;
        drop(store);
        let config = Config::new("zurich", dir.path().join("node"));
        let store = Store::open(&config).await.unwrap();
        let catalog = load(&config, &store).await;
        Site { dir, store, catalog }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(super) async fn create(
        &self,
        name: &str,
        format: &str,
        location: &Path,
        options: &[(&str, &str)],
    ) -> Result<Vec<String>, Error> {
        self.catalog.create_external_table(definition(name, format, location, options), "stew").await
    }

    pub(super) fn table(&self, name: &str) -> Arc<Table> {
        Arc::clone(self.catalog.snapshot().table("public", name).unwrap())
    }

    /// What its files are read in.
    pub(super) fn state(&self) -> Arc<SessionState> {
        Arc::clone(&self.catalog.state)
    }

    /// The rows of a table as text, whatever its policy: straight from its provider.
    pub(super) async fn rows(&self, name: &str, sql: &str) -> Result<String, datafusion::error::DataFusionError> {
        let context = SessionContext::new_with_config_rt(
            SessionConfig::new().with_target_partitions(2),
            self.catalog.state.runtime_env().clone(),
        );
        context.register_table(name, Arc::new(GuardedTable::new(self.table(name)))).unwrap();
        let batches = context.sql(sql).await?.collect().await?;
        Ok(arrow::util::pretty::pretty_format_batches(&batches)?.to_string())
    }

    pub(super) async fn set(&self, table: &str, options: &[(&str, &str)]) -> Result<Vec<String>, Error> {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.alter(table, TableChange::Set(options)).await
    }

    async fn alter(&self, table: &str, change: TableChange) -> Result<Vec<String>, Error> {
        self.catalog.change_table(self.catalog.changed(table, &change)?).await
    }

    async fn people(&self) -> PathBuf {
        let path =
            self.write("people.csv", "patient_id,age,sex,nobody,twice\n1,30,female,,5\n2,40,male,,5\n3,50,male,,6\n");
        self.create("people", "csv", &path, &[]).await.unwrap();
        path
    }
}

async fn load(config: &Config, store: &Store) -> Catalog {
    let runtime = RuntimeEnvBuilder::new()
        .with_cache_manager(CacheManagerConfig::default().with_list_files_cache_limit(0))
        .build_arc()
        .unwrap();
    Catalog::load(config, store, runtime).await.unwrap()
}

pub(super) fn definition(name: &str, format: &str, location: &Path, options: &[(&str, &str)]) -> ExternalTable {
    ExternalTable {
        name: name.to_owned(),
        if_not_exists: false,
        format: format.to_owned(),
        location: location.to_str().unwrap().to_owned(),
        columns: Vec::new(),
        options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    }
}

fn principal(name: &str, roles: &[BuiltinRole], via: Option<&str>) -> Principal {
    Principal {
        name: name.to_owned(),
        roles: roles.iter().copied().collect(),
        home_node: SiteId::new(via.unwrap_or("zurich")),
        auth_method: AuthMethod::ScramSha256,
        credential: None,
        via_peer: via.map(SiteId::new),
        told_roles: BTreeSet::new(),
    }
}

fn seen(site: &Site, principal: &Principal) -> Vec<String> {
    site.catalog
        .snapshot()
        .visible_to(principal)
        .iter()
        .map(|table| format!("{}.{}", table.schema_name, table.name))
        .collect()
}

#[tokio::test]
async fn a_new_table_answers_nothing_and_is_seen_by_stewards_only() {
    let site = Site::new().await;
    site.people().await;
    let table = site.table("people");
    assert_eq!(table.facts.closed.as_deref(), Some("has no policy yet"));
    assert_eq!(table.facts.protection, None);
    assert!(table.readers.is_empty());
    assert!(table.oid >= 16384);
    assert_eq!(seen(&site, &principal("s", &[BuiltinRole::Steward], None)), ["public.people"]);
    assert!(seen(&site, &principal("a", &[BuiltinRole::Analyst], None)).is_empty());
    assert!(
        seen(&site, &principal("s", &[BuiltinRole::Steward], Some("cleveland"))).is_empty(),
        "a steward of another site"
    );
}

#[tokio::test]
async fn a_policy_is_in_force_at_once_and_after_a_restart() {
    let site = Site::new().await;
    site.people().await;
    let before = site.table("people");
    let notices = site
        .set(
            "people",
            &[
                ("access", "cohort"),
                ("unit", "patient_id"),
                ("unit_kind", "patient"),
                ("unit_unique", "true"),
                ("min_cohort", "3"),
            ],
        )
        .await
        .unwrap();
    assert!(notices.is_empty(), "{notices:?}");
    let options = vec![
        ("role".to_owned(), "measure".to_owned()),
        ("lower".to_owned(), "0".to_owned()),
        ("upper".to_owned(), "110".to_owned()),
    ];
    site.alter("people", TableChange::SetColumn("age".into(), options)).await.unwrap();
    let domain = vec![("domain".into(), "{female,male}".into())];
    site.alter("people", TableChange::SetColumn("sex".into(), domain)).await.unwrap();
    site.catalog.comment_table("people", Some("who was here".into())).await.unwrap();
    site.catalog.comment_column("people", "age", Some("in years".into())).await.unwrap();
    for site in [site.table("people"), { site.restarted().await }.table("people")] {
        let facts = &site.facts;
        assert_eq!(facts.closed, None);
        let protection = facts.protection.as_ref().unwrap();
        assert_eq!(
            (protection.access, protection.unit_column.as_str(), protection.unit_kind.as_str()),
            (Access::Cohort, "patient_id", "patient")
        );
        assert_eq!(
            (protection.unit_unique, protection.min_cohort.get(), protection.dominance_percent.get()),
            (true, 3, 90)
        );
        assert_eq!(facts.roles.get("age"), Some(&ColumnRole::Measure));
        assert_eq!(facts.roles.get("patient_id"), Some(&ColumnRole::Unit));
        assert_eq!(site.column_settings["age"].upper, Some(110.0));
        assert_eq!(site.column_settings["sex"].domain.as_deref(), Some(&["female".to_owned(), "male".to_owned()][..]));
        assert_eq!(site.description.as_deref(), Some("who was here"));
        assert_eq!(site.column_descriptions["age"], "in years");
        assert_eq!(site.oid, before.oid, "stable");
        assert_eq!(site.schema, before.schema);
    }
}

#[tokio::test]
async fn a_wrong_policy_changes_nothing_and_says_what_to_do() {
    let site = Site::new().await;
    site.people().await;
    type Wrong<'a> = (&'a [(&'a str, &'a str)], Sqlstate, &'a str);
    let wrong: &[Wrong<'_>] = &[
        (&[("access", "cohort")], Sqlstate::InvalidParameterValue, "needs a unit"),
        (&[("access", "secret")], Sqlstate::InvalidParameterValue, "access cannot be"),
        (&[("access", "cohort"), ("unit", "patient")], Sqlstate::UndefinedColumn, "does not exist"),
        (&[("access", "cohort"), ("unit", "nobody")], Sqlstate::InvalidParameterValue, "names no one"),
        (
            &[("access", "cohort"), ("unit", "patient_id"), ("min_cohort", "1")],
            Sqlstate::InvalidParameterValue,
            "at least 2",
        ),
        (&[("min_cohort", "many")], Sqlstate::InvalidParameterValue, "whole number"),
        (&[("dominance_percent", "20")], Sqlstate::InvalidParameterValue, "between 51 and 100"),
        (&[("epsilon_per_query", "0")], Sqlstate::InvalidParameterValue, "greater than 0"),
        (&[("epsilon_per_query", "NaN")], Sqlstate::InvalidParameterValue, "must be a number"),
        (&[("unit_unique", "true")], Sqlstate::InvalidParameterValue, "needs a unit"),
        (&[("min_cohrt", "5")], Sqlstate::UndefinedObject, "unrecognized option"),
        (&[("suspended", "on"), ("suspended", "off")], Sqlstate::SyntaxError, "twice"),
    ];
    for (options, state, part) in wrong {
        let error = site.set("people", options).await.unwrap_err();
        assert_eq!(error.state, *state, "{options:?}: {error}");
        assert!(error.message.contains(part), "{options:?}: {error}");
        assert_eq!(site.table("people").facts.closed.as_deref(), Some("has no policy yet"), "{options:?}");
    }
    let hint = site.set("people", &[("min_cohrt", "5")]).await.unwrap_err().hint.unwrap();
    assert_eq!(hint, "Did you mean \"min_cohort\"?");
    let column = |column: &str, name: &str, value: &str| {
        let (column, options) = (column.to_owned(), vec![(name.to_owned(), value.to_owned())]);
        let site = &site;
        async move { site.alter("people", TableChange::SetColumn(column, options)).await }
    };
    for (on, name, value, state) in [
        ("aeg", "role", "measure", Sqlstate::UndefinedColumn),
        ("age", "role", "unit", Sqlstate::InvalidParameterValue),
        ("age", "role", "mesure", Sqlstate::InvalidParameterValue),
        ("age", "rule", "measure", Sqlstate::UndefinedObject),
        ("age", "lower", "inf", Sqlstate::InvalidParameterValue),
        ("sex", "domain", "female,male", Sqlstate::InvalidParameterValue),
        ("sex", "domain", "{female,female}", Sqlstate::InvalidParameterValue),
        ("sex", "domain", "{}", Sqlstate::InvalidParameterValue),
        ("sex", "other", "x", Sqlstate::InvalidParameterValue),
    ] {
        assert_eq!(column(on, name, value).await.unwrap_err().state, state, "{on} {name} {value}");
    }
    site.set("people", &[("access", "cohort"), ("unit", "patient_id")]).await.unwrap();
    assert!(column("patient_id", "role", "measure").await.is_err(), "the unit has no other role");
    let error = site.set("peple", &[]).await.unwrap_err();
    assert_eq!((error.state, error.hint.as_deref()), (Sqlstate::UndefinedTable, Some("Did you mean \"people\"?")));
}

#[tokio::test]
async fn what_is_said_to_be_unique_is_looked_at() {
    let site = Site::new().await;
    let path = site.people().await;
    let notices =
        site.set("people", &[("access", "cohort"), ("unit", "twice"), ("unit_unique", "true")]).await.unwrap();
    assert!(notices[0].contains("is not unique"), "{notices:?}");
    assert!(!site.table("people").facts.protection.as_ref().unwrap().unit_unique);
    assert!(site.set("people", &[("unit", "patient_id")]).await.unwrap().is_empty());
    assert!(site.table("people").facts.protection.as_ref().unwrap().unit_unique);
    // The data changes: an old plan looks at it before it reads, and reads nothing if it does not hold.
    std::fs::write(&path, "patient_id,age,sex,nobody,twice\n1,30,female,,5\n1,40,male,,5\n").unwrap();
    let error = site.rows("people", "SELECT count(*) FROM people").await.unwrap_err();
    assert!(error.to_string().contains("the table changed"), "{error}");
    std::fs::write(&path, "patient_id,age,sex,nobody,twice\n7,30,female,,5\n8,40,male,,5\n9,40,male,,5\n").unwrap();
    assert!(site.rows("people", "SELECT count(*) AS n FROM people").await.unwrap().contains("| 3 |"));
    // New plans take it for what it is.
    assert!(
        site.catalog
            .current()
            .await
            .unwrap()
            .table("public", "people")
            .unwrap()
            .facts
            .protection
            .as_ref()
            .unwrap()
            .unit_unique
    );
    std::fs::write(&path, "patient_id,age,sex,nobody,twice\n1,30,female,,5\n1,40,male,,5\n").unwrap();
    let snapshot = site.catalog.current().await.unwrap();
    assert!(!snapshot.table("public", "people").unwrap().facts.protection.as_ref().unwrap().unit_unique);
    std::fs::write(&path, "patient_id,age,sex,nobody,twice\n1,30,female,,5\n2,40,male,,5\n9,9,male,,5\n").unwrap();
    let snapshot = site.catalog.current().await.unwrap();
    assert!(snapshot.table("public", "people").unwrap().facts.protection.as_ref().unwrap().unit_unique);
}

/// Where each unit has one row, its column is read only if some row may have none; and those are left out whatever happens to the data.
#[tokio::test]
async fn rows_without_a_unit_are_left_out_though_the_column_is_not_read() {
    let site = Site::new().await;
    let path = site.people().await;
    let write = |rows: &str| std::fs::write(&path, format!("patient_id,age,sex,nobody,twice\n{rows}")).unwrap();
    let ages = "SELECT sum(age) AS s FROM people WHERE patient_id IS NOT NULL AND age > 30";
    let reads_the_unit = async || {
        let plan = site.rows("people", &format!("EXPLAIN {ages}")).await.unwrap();
        let scan = plan.lines().find(|line| line.contains("DataSourceExec")).unwrap().to_owned();
        scan.contains("patient_id")
    };
    write("1,30,f,,5\n2,31,m,,5\n3,32,m,,5\n");
    site.set("people", &[("access", "cohort"), ("unit", "patient_id"), ("unit_unique", "true")]).await.unwrap();
    assert!(!reads_the_unit().await, "everybody is named");
    assert!(site.rows("people", ages).await.unwrap().contains("| 63 |"));
    write("1,30,f,,5\n2,31,m,,5\n,32,m,,5\n");
    assert!(site.rows("people", ages).await.unwrap().contains("| 31 |"), "an old plan looks at what changed");
    assert!(reads_the_unit().await);
    site.catalog.current().await.unwrap();
    assert!(reads_the_unit().await && site.rows("people", ages).await.unwrap().contains("| 31 |"));
    // One row of a unit that has several, the first in order, and none of those without a unit.
    write("1,40,f,,5\n1,35,m,,5\n,32,m,,5\n");
    site.set("people", &[("access", "private"), ("epsilon_per_query", "0.1"), ("delta_per_query", "1e-8")])
        .await
        .unwrap();
    site.catalog.current().await.unwrap();
    assert!(site.rows("people", ages).await.unwrap().contains("| 35 |"));
}

#[tokio::test]
async fn closed_tables_say_why() {
    let site = Site::new().await;
    site.people().await;
    let closed = || site.table("people").facts.closed.clone();
    site.set(
        "people",
        &[("access", "private"), ("unit", "patient_id"), ("epsilon_per_query", "0.1"), ("delta_per_query", "1e-8")],
    )
    .await
    .unwrap();
    assert_eq!(closed(), None);
    let facts = site.table("people").facts.clone();
    assert!(facts.protection.is_some() && facts.private.is_some());
    site.set("people", &[("access", "open")]).await.unwrap();
    assert_eq!(closed(), None);
    site.set("people", &[("suspended", "true")]).await.unwrap();
    assert!(closed().unwrap().contains("suspended"));
    site.alter("people", TableChange::Reset(vec!["suspended".into(), "access".into()])).await.unwrap();
    assert_eq!(closed().as_deref(), Some("has no policy yet"));
    assert!(site.alter("people", TableChange::Reset(vec!["axess".into()])).await.is_err());
}

#[tokio::test]
async fn grants_are_in_force_at_once() {
    let site = Site::new().await;
    site.people().await;
    for role in ["alice", "team"] {
        site.store.create_role(role, Some("x"), true).await.unwrap();
    }
    let alice = principal("alice", &[], None);
    assert!(seen(&site, &alice).is_empty());
    site.catalog.grant_select("public", "people", &[], "alice").await.unwrap();
    assert_eq!(seen(&site, &alice), ["public.people"]);
    assert!(seen(&site, &principal("alice", &[], Some("cleveland"))).is_empty(), "another site's alice");
    site.catalog.revoke_select("public", "people", &[], "alice").await.unwrap();
    assert!(seen(&site, &alice).is_empty());
    site.catalog.grant_select("public", "people", &[], "team").await.unwrap();
    let held = site.catalog.snapshot();
    site.store.grant_role("team", "alice").await.unwrap();
    assert_eq!(held.visible_to(&alice).len(), 1, "through a role, and at once");
    site.catalog.drop_role("team", false).await.unwrap();
    assert!(seen(&site, &alice).is_empty());
    site.store.create_role("team", None, false).await.unwrap();
    site.store.grant_role("team", "alice").await.unwrap();
    assert!(seen(&site, &alice).is_empty(), "a new role of an old name has none of its grants");
    site.catalog.grant_select("public", "people", &[], "public").await.unwrap();
    let bob = principal("bob", &[], Some("cleveland"));
    assert!(seen(&site, &bob).is_empty(), "of a node that is no peer");
    let key = Fingerprint::from_bytes([7; 32]);
    site.store.directory().peer_ids().lock().unwrap().insert("cleveland".to_owned(), key);
    assert_eq!(seen(&site, &bob), ["public.people"]);
    assert_eq!(
        site.catalog.grant_select("public", "people", &[], "nobody").await.unwrap_err().state,
        Sqlstate::UndefinedObject
    );
    assert_eq!(
        site.catalog.grant_select("public", "peple", &[], "alice").await.unwrap_err().state,
        Sqlstate::UndefinedTable
    );
}

#[tokio::test]
async fn a_dropped_table_takes_its_policy_and_grants_with_it() {
    let site = Site::new().await;
    let path = site.people().await;
    site.set("people", &[("access", "open")]).await.unwrap();
    site.catalog.grant_select("public", "people", &[], "public").await.unwrap();
    let oid = site.table("people").oid;
    assert_eq!(site.create("people", "csv", &path, &[]).await.unwrap_err().state, Sqlstate::DuplicateTable);
    site.catalog.drop_table("people", false).await.unwrap();
    assert_eq!(site.catalog.drop_table("people", false).await.unwrap_err().state, Sqlstate::UndefinedTable);
    assert_eq!(site.catalog.drop_table("people", true).await.unwrap().len(), 1);
    site.create("people", "csv", &path, &[]).await.unwrap();
    let again = site.table("people");
    assert!(again.oid > oid, "an oid is never used again");
    assert!(again.readers.is_empty());
    assert!(again.facts.closed.is_some());
    let mut once_more = definition("people", "csv", &path, &[]);
    once_more.if_not_exists = true;
    assert!(site.catalog.create_external_table(once_more, "stew").await.unwrap()[0].contains("skipping"));
}

#[tokio::test]
async fn tables_of_peers_keep_oids_and_grants() {
    let site = Site::new().await;
    site.people().await;
    let mut remote = Table::clone(&site.table("people"));
    remote.schema_name = "cleveland".into();
    remote.readers = BTreeSet::from(["public".to_owned()]);
    site.catalog.set_remote_tables(vec![remote.clone()]).await.unwrap();
    let bob = principal("bob", &[], None);
    assert!(seen(&site, &bob).is_empty(), "only grants of this node count");
    site.store.create_role("bob", None, true).await.unwrap();
    site.catalog.grant_select("cleveland", "people", &[], "bob").await.unwrap();
    assert_eq!(seen(&site, &bob), ["cleveland.people"]);
    let oid = site.catalog.snapshot().table("cleveland", "people").unwrap().oid;
    assert_ne!(oid, site.table("people").oid);
    let version = site.catalog.snapshot().version;
    site.catalog.set_remote_tables(Vec::new()).await.unwrap();
    assert!(seen(&site, &bob).is_empty());
    assert!(site.catalog.snapshot().version > version);
    site.catalog.set_remote_tables(vec![remote]).await.unwrap();
    assert_eq!(seen(&site, &bob), ["cleveland.people"]);
    assert_eq!(site.catalog.snapshot().table("cleveland", "people").unwrap().oid, oid);
    assert_eq!(seen(&site, &principal("s", &[BuiltinRole::Steward], None)), ["public.people"]);
}

#[tokio::test]
async fn a_guarded_table_tells_nothing_of_its_data() {
    use datafusion::catalog::TableProvider;
    let site = Site::new().await;
    site.people().await;
    let guarded = GuardedTable::new(site.table("people"));
    assert!(guarded.statistics().is_none());
    assert!(guarded.get_table_definition().is_none());
    assert!(guarded.constraints().is_none());
}
