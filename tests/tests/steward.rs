//! What stewards and admins say: in force at once in other sessions, durable, and theirs alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use kanon_tests::client::{Client, lines};
use kanon_tests::{ADMIN, Federation, Site, SiteSpec};

const STEWARD: (&str, &str) = ("stella", "stella's password");
const ALICE: (&str, &str) = ("alice", "alice's password");
const BOB: (&str, &str) = ("bob", "bob's password");

fn csv() -> Vec<u8> {
    let rows = (0..60).map(|i| format!("{i},{},{}\n", if i % 3 == 0 { "female" } else { "male" }, 20 + i));
    std::iter::once("id,sex,age\n".to_owned()).chain(rows).collect::<String>().into_bytes()
}

/// One node with a steward and two analysts.
async fn clinic() -> Federation {
    let mut setup = Vec::new();
    for (role, builtin) in [(STEWARD, "steward"), (ALICE, "analyst"), (BOB, "analyst")] {
        setup.push(format!("CREATE ROLE {} LOGIN PASSWORD '{}'", role.0, role.1.replace('\'', "''")));
        setup.push(format!("GRANT {builtin} TO {}", role.0));
    }
    Federation::start(vec![SiteSpec { id: "clinic", setup, files: vec![("t.csv".to_owned(), csv())] }]).await
}

async fn run(client: &Client, site: &Site, sql: &str) {
    let sql = sql.replace("{dir}", &site.dir.to_string_lossy());
    client.ask(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
}

async fn code(client: &Client, sql: &str) -> String {
    match client.ask(sql).await {
        Ok(answer) => panic!("{sql} was answered: {answer:?}"),
        Err(error) => format!("{} {}", error.code, error.message),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_steward_sees_its_node_s_tables_and_reads_only_what_was_granted() {
    let federation = clinic().await;
    let site = &federation.sites[0];
    let admin = site.connect(ADMIN).await.unwrap();
    let stella = site.connect(STEWARD).await.unwrap();
    let alice = site.connect(ALICE).await.unwrap();
    run(&admin, site, "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{dir}/t.csv'").await;
    // Without a policy it answers nothing, to its owner too.
    assert!(code(&admin, "SELECT count(*) FROM t").await.contains("has no policy yet"));
    run(&admin, site, "ALTER TABLE t SET (access = 'open')").await;
    assert_eq!(lines(&admin, "SELECT count(*) FROM t").await, ["60"], "its owner");
    let denied = "42501 permission denied for table t";
    for sql in [
        "SELECT * FROM t",
        "SELECT count(*) FROM t",
        "SELECT 1 FROM public.t LIMIT 0",
        "TABLE t",
        "WITH x AS (SELECT * FROM t) SELECT 1",
        "SELECT (SELECT count(*) FROM t)",
        "SELECT 1 WHERE EXISTS (SELECT FROM t)",
        "EXPLAIN SELECT * FROM t",
        "EXPLAIN (PRIVACY) SELECT * FROM t",
        "COPY (SELECT * FROM t) TO STDOUT",
        "COPY t TO STDOUT",
        "PREPARE p AS SELECT * FROM t",
        "SELECT count(*) FROM (SELECT 1 UNION ALL SELECT age FROM t) x",
    ] {
        assert_eq!(code(&stella, sql).await, denied, "{sql}");
        assert!(code(&alice, sql).await.starts_with("42P01"), "{sql}: to others it does not exist");
    }
    let error = stella.inner.prepare("SELECT * FROM t").await.unwrap_err();
    assert_eq!(error.as_db_error().unwrap().code().code(), "42501");
    // It is listed, and says truly who may read it.
    assert_eq!(lines(&stella, "SELECT table_name, access, owner FROM kanon.catalogs").await, ["t|open|root"]);
    assert_eq!(lines(&stella, "SELECT count(*) FROM kanon.columns WHERE table_name = 't'").await, ["3"]);
    assert_eq!(lines(&stella, "SELECT has_table_privilege('t', 'SELECT')").await, ["f"]);
    assert_eq!(lines(&admin, "SELECT has_table_privilege('t', 'SELECT')").await, ["t"]);
    assert_eq!(lines(&stella, "SELECT relname FROM pg_class WHERE relname = 't'").await, ["t"]);
    assert_eq!(lines(&alice, "SELECT relname FROM pg_class WHERE relname = 't'").await, Vec::<String>::new());
    // It may alter it, and even grant it to itself: that is said aloud.
    run(&stella, site, "COMMENT ON TABLE t IS 'seen by its steward'").await;
    run(&stella, site, "GRANT SELECT ON t TO stella").await;
    assert_eq!(lines(&stella, "SELECT count(*) FROM t").await, ["60"]);
    run(&stella, site, "REVOKE SELECT ON t FROM stella").await;
    assert_eq!(code(&stella, "SELECT count(*) FROM t").await, denied);
    // The owner's own right goes like any other.
    run(&admin, site, "REVOKE SELECT ON t FROM root").await;
    assert_eq!(code(&admin, "SELECT count(*) FROM t").await, denied);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_is_in_force_at_once_and_after_a_crash_and_after_an_orderly_end() {
    let mut federation = clinic().await;
    let site = &federation.sites[0];
    let admin = site.connect(ADMIN).await.unwrap();
    let stella = site.connect(STEWARD).await.unwrap();
    let alice = site.connect(ALICE).await.unwrap();
    for sql in [
        "CREATE EXTERNAL TABLE found STORED AS CSV LOCATION '{dir}/t.csv'",
        "CREATE EXTERNAL TABLE declared (id bigint NOT NULL, sex text, age numeric(5,1)) STORED AS CSV LOCATION '{dir}/t.csv'",
        "CREATE EXTERNAL TABLE gone STORED AS CSV LOCATION '{dir}/t.csv'",
        "CREATE EXTERNAL TABLE IF NOT EXISTS found STORED AS CSV LOCATION '{dir}/t.csv'",
    ] {
        run(&stella, site, sql).await;
    }
    assert_eq!(
        lines(&stella, "SELECT column_name, data_type FROM kanon.columns WHERE table_name = 'declared' ORDER BY 1")
            .await,
        ["age|numeric(5,1)", "id|bigint", "sex|text"]
    );
    run(&stella, site, "DROP TABLE gone").await;
    run(&stella, site, "DROP TABLE IF EXISTS gone").await;
    assert!(code(&stella, "DROP TABLE gone").await.starts_with("42P01"));
    assert!(code(&stella, "CREATE EXTERNAL TABLE found STORED AS CSV LOCATION '/nowhere'").await.starts_with("42P07"));
    // A grant, and alice, whose session is older, reads; a revoke, and she does not.
    assert!(code(&alice, "SELECT count(*) FROM found").await.starts_with("42P01"));
    run(&stella, site, "GRANT SELECT ON found TO alice").await;
    assert!(code(&alice, "SELECT count(*) FROM found").await.starts_with("42501"), "no policy yet");
    run(
        &stella,
        site,
        "ALTER TABLE found SET (access = 'cohort', unit = 'id', unit_kind = 'patient', min_cohort = 10)",
    )
    .await;
    assert_eq!(
        lines(&alice, "SELECT sex, count(*) FROM found GROUP BY sex ORDER BY 1").await,
        ["female|20", "male|40"]
    );
    assert!(code(&alice, "SELECT * FROM found").await.starts_with("42501"));
    run(&stella, site, "ALTER TABLE found SET (min_cohort = 25)").await;
    let withheld = lines(&alice, "SELECT sex, count(*) FROM found GROUP BY sex ORDER BY 1").await;
    assert!(!withheld.contains(&"female|20".to_owned()), "{withheld:?}");
    run(&stella, site, "ALTER TABLE found RESET (min_cohort)").await;
    assert_eq!(lines(&alice, "SELECT min_cohort FROM kanon.policies").await, ["10"], "the node's");
    run(&stella, site, "ALTER TABLE found ALTER COLUMN age SET (role = 'measure', lower = 0, upper = 110)").await;
    assert!(code(&alice, "SELECT count(*) FROM found WHERE age > 50").await.starts_with("42501"));
    run(&stella, site, "ALTER TABLE found ALTER COLUMN sex SET (domain = '{female,male}')").await;
    run(&stella, site, "COMMENT ON TABLE found IS 'people who were here'").await;
    run(&stella, site, "COMMENT ON COLUMN found.age IS 'in years'").await;
    run(&stella, site, "ALTER TABLE found SET (suspended = true)").await;
    assert!(code(&alice, "SELECT count(*) FROM found").await.contains("suspended"));
    run(&stella, site, "ALTER TABLE found RESET (suspended)").await;
    run(&stella, site, "REVOKE SELECT ON found FROM alice").await;
    assert!(code(&alice, "SELECT count(*) FROM found").await.starts_with("42P01"));
    run(&admin, site, "CREATE ROLE readers").await;
    run(&stella, site, "GRANT SELECT ON found TO readers").await;
    run(&admin, site, "GRANT readers TO alice").await;
    assert_eq!(lines(&alice, "SELECT count(*) FROM found").await, ["60"], "through a role");
    // Roles.
    run(&admin, site, "CREATE ROLE carol LOGIN PASSWORD 'carol''s password'").await;
    run(&admin, site, "ALTER ROLE carol PASSWORD 'another password'").await;
    assert!(site.connect(("carol", "carol's password")).await.is_err());
    let carol = site.connect(("carol", "another password")).await.unwrap();
    run(&carol, site, "ALTER ROLE carol PASSWORD 'chosen by carol'").await;
    run(&admin, site, "CREATE ROLE dora LOGIN PASSWORD 'dora''s password'").await;
    run(&admin, site, "DROP ROLE dora").await;
    run(&admin, site, "ALTER ROLE bob NOLOGIN").await;
    run(&admin, site, "GRANT steward TO carol").await;
    run(&carol, site, "COMMENT ON TABLE declared IS 'carol is a steward now'").await;
    run(&admin, site, "REVOKE steward FROM carol").await;
    assert!(code(&carol, "COMMENT ON TABLE declared IS 'and now not'").await.starts_with("42P01"));

    let state = [
        "SELECT table_name, kind, description, access, owner, registered_at FROM kanon.catalogs ORDER BY 1",
        "SELECT table_name, column_name, data_type, nullable, role, lower, upper, domain, description FROM kanon.columns ORDER BY 1, 2",
        "SELECT table_name, access, unit_column, unit_kind, unit_unique, min_cohort, suspended FROM kanon.policies ORDER BY 1",
        "SELECT kanon.explain_policy('found')",
        "SELECT rolname, rolcanlogin FROM pg_roles ORDER BY 1",
        "SELECT oid, relname FROM pg_class WHERE relname IN ('found', 'declared') ORDER BY 1",
    ];
    let mut before = Vec::new();
    for sql in state {
        before.push(lines(&stella, sql).await);
    }
    let shown = format!("{before:?}");
    for part in ["people who were here", "in years", "{female,male}", "measure", "patient"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    for end in ["crash", "order"] {
        let site = federation.site_mut("clinic");
        if end == "crash" {
            site.kill();
        } else {
            site.terminate().await;
        }
        site.spawn();
        let site = federation.site("clinic");
        site.wait().await;
        let stella = site.connect(STEWARD).await.unwrap();
        for (sql, before) in state.iter().zip(&before) {
            assert_eq!(&lines(&stella, sql).await, before, "{end}: {sql}");
        }
        let alice = site.connect(ALICE).await.unwrap();
        assert_eq!(
            lines(&alice, "SELECT sex, count(*) FROM found GROUP BY sex ORDER BY 1").await,
            ["female|20", "male|40"]
        );
        assert!(code(&alice, "SELECT count(*) FROM found WHERE age > 50").await.starts_with("42501"));
        assert!(code(&alice, "SELECT count(*) FROM declared").await.starts_with("42P01"));
        assert!(site.connect(BOB).await.is_err(), "{end}: NOLOGIN");
        assert!(site.connect(("dora", "dora's password")).await.is_err(), "{end}: dropped");
        assert!(site.connect(("carol", "another password")).await.is_err(), "{end}");
        site.connect(("carol", "chosen by carol")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn analysts_change_nothing_and_stewards_make_no_roles() {
    let federation = clinic().await;
    let site = &federation.sites[0];
    let stella = site.connect(STEWARD).await.unwrap();
    let alice = site.connect(ALICE).await.unwrap();
    run(&stella, site, "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{dir}/t.csv'").await;
    run(&stella, site, "CREATE EXTERNAL TABLE hidden STORED AS CSV LOCATION '{dir}/t.csv'").await;
    run(&stella, site, "ALTER TABLE t SET (access = 'cohort', unit = 'id', min_cohort = 10)").await;
    run(&stella, site, "GRANT SELECT ON t TO alice").await;
    let create = format!("CREATE EXTERNAL TABLE mine STORED AS CSV LOCATION '{}/t.csv'", site.dir.display());
    for (sql, expected) in [
        (create.as_str(), "42501"),
        ("DROP TABLE t", "42501"),
        ("ALTER TABLE t SET (access = 'open')", "42501"),
        ("ALTER TABLE t RESET (min_cohort)", "42501"),
        ("ALTER TABLE t ALTER COLUMN age SET (role = 'measure')", "42501"),
        ("COMMENT ON TABLE t IS 'mine'", "42501"),
        ("COMMENT ON COLUMN t.age IS 'mine'", "42501"),
        ("GRANT SELECT ON t TO bob", "42501"),
        ("REVOKE SELECT ON t FROM alice", "42501"),
        // What she may not see does not exist.
        ("DROP TABLE hidden", "42P01"),
        ("ALTER TABLE hidden SET (access = 'open')", "42P01"),
        ("GRANT SELECT ON hidden TO alice", "42P01"),
        ("CREATE ROLE x LOGIN PASSWORD 'long enough'", "42501"),
        ("ALTER ROLE bob PASSWORD 'long enough'", "42501"),
        ("ALTER ROLE alice NOLOGIN", "42501"),
        ("DROP ROLE bob", "42501"),
        ("GRANT steward TO alice", "42501"),
        ("GRANT stella TO alice", "42501"),
        ("REVOKE analyst FROM bob", "42501"),
        ("INSERT INTO t VALUES (1)", ""),
        ("DELETE FROM t", ""),
        ("TRUNCATE t", ""),
        ("CREATE TABLE x (a int)", ""),
    ] {
        let found = code(&alice, sql).await;
        assert!(found.starts_with(expected), "{sql}: {found}");
        if expected == "42P01" {
            assert!(found.contains("does not exist") && !found.contains("hint"), "{found}");
        }
    }
    for sql in ["CREATE ROLE x LOGIN PASSWORD 'long enough'", "GRANT admin TO stella", "DROP ROLE bob"] {
        let found = code(&stella, sql).await;
        assert!(found.starts_with("42501"), "{sql}: {found}");
    }
    assert_eq!(lines(&alice, "SELECT table_name FROM kanon.catalogs").await, ["t"]);
    assert_eq!(lines(&alice, "SELECT count(*) FROM t").await, ["60"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_views_have_the_columns_of_the_guide_and_show_what_one_may_see() {
    let federation = clinic().await;
    let site = &federation.sites[0];
    let stella = site.connect(STEWARD).await.unwrap();
    let alice = site.connect(ALICE).await.unwrap();
    let bob = site.connect(BOB).await.unwrap();
    run(&stella, site, "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{dir}/t.csv'").await;
    run(&stella, site, "ALTER TABLE t SET (access = 'cohort', unit = 'id', unit_kind = 'patient', min_cohort = 10)")
        .await;
    run(&stella, site, "ALTER TABLE t ALTER COLUMN age SET (role = 'measure')").await;
    run(&stella, site, "GRANT SELECT ON t TO alice").await;
    for (view, columns) in [
        (
            "nodes",
            "node_id, name, institution, pg_endpoint, flight_endpoint, http_endpoint, status, version, last_seen, latency_ms, fingerprint",
        ),
        (
            "catalogs",
            "catalog, schema_name, table_name, site, kind, description, access, owner, registered_at, updated_at",
        ),
        ("columns", "site, table_name, column_name, data_type, nullable, role, lower, upper, domain, description"),
        (
            "policies",
            "site, table_name, access, unit_column, unit_kind, unit_unique, min_cohort, epsilon_per_query, delta_per_query, max_groups_per_unit, max_rows_per_group, max_norm, max_distinct, min_cohort_public, disjoint, epsilon_per_job, dominance_percent, suspended",
        ),
        ("last_query", "site, status, rule, epsilon, delta, columns, cached"),
        (
            "audit_log",
            "seq, at, principal, home_node, peer, action, object, decision, rule, epsilon, sites, entry_hash, delta, statement, result_digest, literals",
        ),
        ("whoami()", "principal, roles, home_node, auth_method"),
    ] {
        let answer = alice.ask(&format!("SELECT * FROM kanon.{view}")).await.unwrap();
        assert_eq!(answer.columns.join(", "), columns, "{view}");
    }
    assert_eq!(
        lines(&alice, "SELECT column_name, role FROM kanon.columns ORDER BY 1").await,
        ["age|measure", "id|unit", "sex|none"]
    );
    for view in ["catalogs", "columns", "policies"] {
        assert_eq!(lines(&bob, &format!("SELECT * FROM kanon.{view}")).await, Vec::<String>::new(), "{view}");
    }
    assert_eq!(lines(&alice, "SELECT count(*) FROM kanon.last_query").await, ["0"]);
    lines(&alice, "SELECT count(*) FROM t").await;
    assert_eq!(lines(&alice, "SELECT site, status FROM kanon.last_query").await, ["clinic|ok"]);
    assert_eq!(lines(&bob, "SELECT count(*) FROM kanon.last_query").await, ["0"], "one's own session's");
    let who = lines(&alice, "SELECT principal, roles, home_node FROM kanon.whoami()").await;
    assert_eq!(who.len(), 1);
    assert!(who[0].starts_with("alice|") && who[0].contains("analyst") && who[0].ends_with("|clinic"), "{who:?}");
    let policy = lines(&alice, "SELECT kanon.explain_policy('t')").await.join("\n");
    assert!(policy.contains("10") && policy.contains("id"), "{policy}");
    assert!(code(&bob, "SELECT kanon.explain_policy('t')").await.starts_with("42P01"));
    assert_eq!(lines(&alice, "SELECT node_id, status FROM kanon.nodes").await, ["clinic|up"]);
}
