#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
//! Steward statements and the system's views, through sessions of a node.

use std::collections::BTreeSet;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::StreamExt as _;

use super::*;
use crate::config::Config;
use crate::principal::{AuthMethod, BuiltinRole};
use crate::session::Session;

/// Runs a statement; rows are lines with `|` between values.
async fn ask(session: &Arc<Session>, text: &str) -> std::result::Result<Vec<String>, String> {
    let run = async {
        let prepared = session.prepare(text, &[]).await?;
        let answer = session.execute(&prepared, vec![]).await?;
        let mut lines = Vec::new();
        let Some(mut rows) = answer.rows else { return Ok(vec![answer.tag]) };
        while let Some(batch) = rows.stream.next().await {
            let batch = batch?;
            let options = FormatOptions::default().with_null("-");
            let columns: Vec<_> =
                batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
            for row in 0..batch.num_rows() {
                lines.push(columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|"));
            }
        }
        Result::Ok(lines)
    };
    run.await.map_err(|error: Error| format!("{} {}", error.state.code(), error.message))
}

fn principal(node: &Node, name: &str) -> Principal {
    Principal {
        name: name.into(),
        roles: BTreeSet::new(),
        home_node: node.site().clone(),
        auth_method: AuthMethod::ScramSha256,
        credential: None,
        via_peer: None,
        told_roles: BTreeSet::new(),
    }
}

fn ok(tag: &str) -> std::result::Result<Vec<String>, String> {
    Ok(vec![tag.to_owned()])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_steward_sets_up_a_table_and_the_views_tell_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("patients.csv");
    let rows: String = (0..60).map(|i| format!("{i},{},{}\n", 20 + i, if i % 2 == 0 { "f" } else { "m" })).collect();
    std::fs::write(&csv, format!("patient_id,age,sex\n{rows}")).unwrap();
    let node = Node::start(Config::new("basel", folder.path().join("node"))).await.unwrap();
    let admin = Session::open(Arc::clone(&node), node.local_admin());

    for (text, tag) in [
        ("create role ada login password 'a long enough password'", "CREATE ROLE"),
        ("create user stew password 'a long enough password' in role steward", "CREATE ROLE"),
        ("grant analyst to ada", "GRANT ROLE"),
    ] {
        assert_eq!(ask(&admin, text).await, ok(tag), "{text}");
    }
    let ada = Session::open(Arc::clone(&node), principal(&node, "ada"));
    let steward = Session::open(Arc::clone(&node), principal(&node, "stew"));

    let create = format!("create external table patients stored as csv location '{}'", csv.display());
    assert_eq!(ask(&ada, &create).await, Err("42501 permission denied to create table".into()));
    assert_eq!(ask(&steward, &create).await, ok("CREATE EXTERNAL TABLE"));
    assert_eq!(ask(&steward, &create).await, Err("42P07 relation \"patients\" already exists".into()));

    // What one may not see does not exist, for functions too.
    assert_eq!(ask(&ada, "select * from kanon.catalogs").await, Ok(vec![]));
    assert_eq!(
        ask(&ada, "select kanon.explain_policy('patients')").await,
        Err("42P01 relation \"patients\" does not exist".into())
    );
    assert_eq!(
        ask(&ada, "alter table patients set (access = 'open')").await,
        Err("42P01 relation \"patients\" does not exist".into())
    );
    assert_eq!(
        ask(&ada, "grant select on patients to ada").await,
        Err("42P01 relation \"patients\" does not exist".into())
    );
    assert_eq!(ask(&ada, "grant admin to ada").await, Err("42501 permission denied to grant role".into()));
    assert_eq!(
        ask(&ada, "alter role stew password 'another long password'").await,
        Err("42501 permission denied to alter role".into())
    );
    assert_eq!(ask(&ada, "alter role ada password 'another long password'").await, ok("ALTER ROLE"));

    for (text, tag) in [
        (
            "alter table patients set (access = 'cohort', unit = 'patient_id', unit_kind = 'patient', unit_unique = true, min_cohort = 10)",
            "ALTER TABLE",
        ),
        ("alter table patients alter column age set (role = 'measure', lower = 0, upper = 110)", "ALTER TABLE"),
        ("comment on table patients is 'of the clinic'", "COMMENT"),
        ("comment on column patients.age is 'in years'", "COMMENT"),
        ("grant select on all tables in schema public to analyst", "GRANT"),
    ] {
        assert_eq!(ask(&steward, text).await, ok(tag), "{text}");
    }
    assert_eq!(
        ask(&steward, "alter table patients set (min_cohort = 1)").await,
        Err("22023 min_cohort must be at least 2, not 1".into())
    );
    assert_eq!(ask(&steward, "create role x").await, Err("42501 permission denied to create role".into()));
    assert_eq!(
        ask(&ada, "alter table patients set (access = 'open')").await,
        Err("42501 must be owner of table patients".into())
    );
    assert_eq!(
        ask(&ada, "grant select on patients to public").await,
        Err("42501 must be owner of table patients".into())
    );
    assert_eq!(ask(&ada, "drop table patients").await, Err("42501 must be owner of table patients".into()));

    assert_eq!(
        ask(&ada, "select schema_name, table_name, site, kind, description, access, owner from kanon.catalogs").await,
        Ok(vec!["public|patients|basel|csv|of the clinic|cohort|stew".into()])
    );
    assert_eq!(
        ask(&ada, "select column_name, data_type, role, lower, upper, description from kanon.columns order by 1").await,
        Ok(vec![
            "age|bigint|measure|0.0|110.0|in years".into(),
            "patient_id|bigint|unit|-|-|-".into(),
            "sex|text|none|-|-|-".into()
        ])
    );
    assert_eq!(
        ask(&ada, "select table_name, access, unit_column, unit_kind, unit_unique, min_cohort, dominance_percent, suspended from kanon.policies").await,
        Ok(vec!["patients|cohort|patient_id|patient|true|10|90|false".into()])
    );
    assert_eq!(ask(&ada, "select node_id, status from kanon.nodes").await, Ok(vec!["basel|up".into()]));
    let who = "ada|analyst|basel|scram-sha-256";
    assert_eq!(ask(&ada, "select * from kanon.whoami()").await, Ok(vec![who.into()]));
    assert_eq!(ask(&ada, "select w.principal from KANON.WhoAmI() as w").await, Ok(vec!["ada".into()]));
    assert_eq!(ask(&ada, "select kanon.whoami()").await, Ok(vec!["(ada,\"analyst\",basel,scram-sha-256)".into()]));
    let text = ask(&ada, "select kanon.explain_policy('public.patients')").await.unwrap().remove(0);
    assert!(
        text.contains("cohort access") && text.contains("at least 10") && text.contains("Column age may be aggregated"),
        "{text}"
    );
    assert_eq!(ask(&ada, "select * from kanon.explain_policy('patients')").await.unwrap(), vec![text]);

    assert_eq!(ask(&ada, "select * from kanon.last_query").await, Ok(vec![]));
    assert_eq!(
        ask(&ada, "select sex, count(*) from patients group by sex order by 1").await,
        Ok(vec!["f|30".into(), "m|30".into()])
    );
    assert_eq!(
        ask(&ada, "select site, status, rule, epsilon, cached from kanon.last_query").await,
        Ok(vec!["basel|ok|groups of fewer than 10 are withheld|-|false".into()])
    );
    assert!(ask(&ada, "select * from patients").await.unwrap_err().starts_with("42501"));

    assert_eq!(ask(&steward, "revoke select on patients from analyst").await, ok("REVOKE"));
    assert!(ask(&ada, "select count(*) from patients").await.unwrap_err().starts_with("42P01"));
    assert_eq!(ask(&steward, "drop table if exists nothing, patients").await, ok("DROP TABLE"));
    assert_eq!(ask(&admin, "drop role if exists nobody, ada").await, ok("DROP ROLE"));
    assert!(BuiltinRole::ALL.iter().all(|r| !node.store.directory().builtin_roles("ada").contains(r)));
}

/// A statement keeps the plan that it was described by for its first run: not beyond any change that it stands on.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_prepared_runs_on_what_holds_when_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("numbers.csv");
    std::fs::write(&csv, "n\n1\n2\n").unwrap();
    let node = Node::start(Config::new("basel", folder.path().join("node"))).await.unwrap();
    let admin = Session::open(Arc::clone(&node), node.local_admin());
    for text in [
        &format!("create external table numbers stored as csv location '{}'", csv.display()),
        "alter table numbers set (access = 'open')",
        "create role ada login password 'a long enough password'",
        "create role reader",
        "grant select on numbers to reader",
        "grant reader to ada",
    ] {
        ask(&admin, text).await.unwrap();
    }
    let ada = Session::open(Arc::clone(&node), principal(&node, "ada"));
    let run = async |prepared: &crate::session::Prepared| -> std::result::Result<Vec<RecordBatch>, String> {
        let told = |error: Error| error.state.code().to_owned();
        let rows = ada.execute(prepared, vec![]).await.map_err(told)?.rows.unwrap();
        rows.stream.map(|batch| batch.map_err(|e| e.to_string())).collect::<Vec<_>>().await.into_iter().collect()
    };
    let count = "select sum(n) from numbers";
    let sum = |found: std::result::Result<Vec<RecordBatch>, String>| {
        found.map(|batches| format!("{:?}", batches[0].column(0)))
    };
    // Any number of times, and on what the files hold then.
    let prepared = ada.prepare(count, &[]).await.unwrap();
    let first = sum(run(&prepared).await).unwrap();
    assert_eq!(sum(run(&prepared).await).unwrap(), first);
    // A right that is lost, by a role or by a grant.
    for (lost, back) in [
        ("revoke reader from ada", "grant reader to ada"),
        ("revoke select on numbers from reader", "grant select on numbers to reader"),
    ] {
        let prepared = ada.prepare(count, &[]).await.unwrap();
        ask(&admin, lost).await.unwrap();
        assert_eq!(sum(run(&prepared).await), Err("42P01".into()), "{lost}");
        ask(&admin, back).await.unwrap();
        assert_eq!(sum(run(&prepared).await).unwrap(), first, "{back}");
    }
    // A policy, and a setting.
    let prepared = ada.prepare("select n from numbers", &[]).await.unwrap();
    ask(&admin, "alter table numbers set (access = 'cohort', unit = 'n', unit_kind = 'number')").await.unwrap();
    assert_eq!(run(&prepared).await.unwrap_err(), "42501");
    ask(&admin, "alter table numbers set (access = 'open')").await.unwrap();
    let prepared = ada.prepare("select current_setting('TimeZone')", &[]).await.unwrap();
    ask(&ada, "set timezone = 'Asia/Tokyo'").await.unwrap();
    let told = format!("{:?}", run(&prepared).await.unwrap()[0].column(0));
    assert!(told.contains("Asia/Tokyo"), "{told}");
    // The time is that of the run.
    let prepared = ada.prepare("select to_unixtime(now())", &[]).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let before = chrono::Utc::now().timestamp();
    let told = format!("{:?}", run(&prepared).await.unwrap()[0].column(0));
    let found: i64 = told.lines().nth(2).unwrap().trim().trim_end_matches(',').parse().unwrap();
    assert!((before..before + 60).contains(&found), "{found} at {before}");
}
