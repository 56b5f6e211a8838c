//! Three tables that one principal sees, as a PostgreSQL made from `corpus/schema.sql` would have them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::datasource::empty::EmptyTable;
use kanon_planner::facts::{Placement, SiteId, TableFacts};

use super::Viewer;
use super::sessions::NoSessions;
use crate::catalog::{Snapshot, Table};
use crate::principal::{AuthMethod, BuiltinRole, Principal};
use crate::store::RoleInfo;

fn table(oid: u32, schema_name: &str, name: &str, description: Option<&str>, fields: Vec<Field>) -> Arc<Table> {
    let schema = Arc::new(Schema::new(fields));
    Arc::new(Table {
        oid,
        schema_name: schema_name.to_owned(),
        name: name.to_owned(),
        schema: Arc::clone(&schema),
        description: description.map(str::to_owned),
        column_descriptions: BTreeMap::new(),
        facts: TableFacts {
            name: name.to_owned(),
            protection: None,
            private: None,
            domains: BTreeMap::new(),
            closed: None,
            roles: BTreeMap::new(),
            placement: Placement::Local,
        },
        halted: None,
        excluded: None,
        policy: Default::default(),
        column_settings: BTreeMap::new(),
        kind: "parquet".to_owned(),
        location: None,
        file: None,
        owner: "postgres".to_owned(),
        readers: BTreeSet::from(["alice".to_owned(), "postgres".to_owned()]),
        column_readers: BTreeMap::new(),
        whole: None,
        sites: vec![SiteId::new("cleveland")],
        provider: Arc::new(EmptyTable::new(schema)),
        registered_at: String::new(),
        updated_at: String::new(),
    })
}

/// The viewer `postgres` of a node with three tables.
pub(crate) fn viewer() -> Viewer {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let mut patients = table(
        16389,
        "public",
        "patients",
        Some("people in care"),
        vec![
            field("patient_id", DataType::Int64),
            field("age", DataType::Int32),
            field("sex", DataType::Utf8),
            field("weight", DataType::Float64),
            field("admitted", DataType::Date32),
            field("seen", DataType::Timestamp(TimeUnit::Microsecond, None)),
            field("paid", DataType::Decimal128(10, 2)),
            field("active", DataType::Boolean),
            field("tags", DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))),
        ],
    );
    if let Some(table) = Arc::get_mut(&mut patients) {
        table.column_descriptions.insert("age".to_owned(), "years".to_owned());
    }
    let visits = table(
        16394,
        "public",
        "visits",
        None,
        vec![
            field("visit_id", DataType::Int64),
            field("patient_id", DataType::Int64),
            field("Visit Note", DataType::Utf8),
            field("at", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))),
        ],
    );
    let heart_disease = table(
        16400,
        "federation",
        "heart_disease",
        Some("four hospitals"),
        vec![field("site", DataType::Utf8), field("age", DataType::Int32), field("chest_pain", DataType::Utf8)],
    );
    let visible = vec![patients, visits, heart_disease];
    let role = |name: &str, login, groups: &[&str]| RoleInfo {
        name: name.to_owned(),
        login,
        has_password: login,
        has_login: login,
        suspended: false,
        member_of: groups.iter().map(|g| (*g).to_owned()).collect(),
        created_at: String::new(),
        tokens_from: 0,
        password_set_at: 0,
        password_set_by: None,
    };
    let values = [
        ("search_path", "\"$user\", public"),
        ("TimeZone", "UTC"),
        ("server_version", "15.18"),
        ("server_version_num", "150018"),
        ("default_table_access_method", "heap"),
    ];
    Viewer {
        snapshot: Arc::new(Snapshot { version: 1, tables: visible.clone(), ..Snapshot::default() }),
        visible,
        views: Vec::new(),
        principal: Principal {
            name: "postgres".to_owned(),
            roles: BTreeSet::from([BuiltinRole::Admin]),
            home_node: SiteId::new("cleveland"),
            auth_method: AuthMethod::ScramSha256,
            credential: None,
            via_peer: None,
            told_roles: BTreeSet::new(),
        },
        node_id: "cleveland".to_owned(),
        roles: vec![
            role("postgres", true, &["admin"]),
            role("alice", true, &[]),
            role("bob", true, &[]),
            role("analyst", false, &[]),
        ],
        setting: Arc::new(move |name| values.iter().find(|v| v.0.eq_ignore_ascii_case(name)).map(|v| v.1.to_owned())),
        settings: values.iter().map(|(name, value)| (*name, (*value).to_owned(), "")).collect(),
        backend_pid: 42,
        sessions: Arc::new(NoSessions),
    }
}
