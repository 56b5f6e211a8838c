//! Statements that would be too much for the parser, the planner or the stack, by every way in; and what would be ignored.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use arrow_flight::sql::client::FlightSqlServiceClient;
use kanon_engine::config::Config;
use kanon_engine::federation::client::{SiteError, SubplanRequest};
use kanon_engine::node::Node;
use kanon_engine::principal::{AuthMethod, BuiltinRole, Principal};
use kanon_planner::facts::SiteId;
use kanon_tests::{ADMIN, ANALYST, Federation, SiteSpec};
use tonic::transport::Endpoint;

use crate::{lives, node, refused};

const DEEP: usize = 10_000;
const LONG: usize = 100_000;

/// Queries that must be refused with 54001 before anything recurses over them.
fn too_much() -> Vec<(&'static str, String)> {
    let nested = |open: &str, inner: &str, close: &str| format!("{}{inner}{}", open.repeat(DEEP), close.repeat(DEEP));
    let chain = |first: &str, next: &str| format!("{first}{}", next.repeat(LONG));
    vec![
        ("10 MB in a string", format!("SELECT '{}'", "x".repeat(10 << 20))),
        ("10 MB of sums", format!("SELECT {}1", "1+".repeat(5 << 20))),
        ("10 MB of white space", format!("SELECT {}1", " ".repeat(10 << 20))),
        ("10 MB in a comment", format!("SELECT /* {} */ 1", "x".repeat(10 << 20))),
        ("parentheses", format!("SELECT {}", nested("(", "1", ")"))),
        ("parentheses around a query", nested("(", "SELECT 1", ")")),
        ("parentheses in FROM", format!("SELECT * FROM {}", nested("(", "icd", ")"))),
        ("subqueries", nested("SELECT (", "SELECT 1", ")")),
        ("subqueries in FROM", nested("SELECT * FROM (", "SELECT 1", ") x")),
        ("IN", nested("SELECT 1 WHERE 1 IN (", "SELECT 1", ")")),
        ("functions", format!("SELECT {}", nested("abs(", "1", ")"))),
        ("CASE", format!("SELECT {}", nested("CASE WHEN true THEN ", "1", " END"))),
        ("arrays", format!("SELECT {}", nested("ARRAY[", "1", "]"))),
        ("an open end", format!("SELECT {}", "(".repeat(LONG))),
        ("+", format!("SELECT {}", chain("1", "+1"))),
        ("AND", format!("SELECT 1 WHERE {}", chain("true", " AND true"))),
        ("OR", format!("SELECT 1 WHERE {}", chain("true", " OR true"))),
        ("||", format!("SELECT {}", chain("'a'", "||'a'"))),
        ("UNION", chain("SELECT 1", " UNION SELECT 1")),
        ("JOIN", chain("SELECT 1 FROM icd", " CROSS JOIN icd")),
        ("a comma in FROM", chain("SELECT 1 FROM icd", ", icd")),
        ("NOT", format!("SELECT {}true", "NOT ".repeat(LONG))),
        ("minus", format!("SELECT {}1", "- ".repeat(LONG))),
        ("casts", format!("SELECT {}", chain("1", "::int"))),
        ("comparisons", format!("SELECT 1 WHERE {}", chain("1", " = 1"))),
        ("subscripts", format!("SELECT {}", chain("a", "[1]"))),
        ("IN lists", format!("SELECT 1 WHERE 1 IN (1{})", ",1".repeat(LONG))),
        ("VALUES", chain("VALUES (1)", ",(1)")),
        ("columns", format!("SELECT {}", chain("1", ",1"))),
        ("WITH", format!("WITH a AS (SELECT 1) {}", chain("SELECT * FROM a", " UNION ALL SELECT * FROM a"))),
        ("array types", format!("SELECT NULL::int{}", "[]".repeat(LONG))),
        ("WITH that doubles", {
            let steps: Vec<String> =
                (1..40).map(|i| format!("w{i} AS (SELECT a.x FROM w{} a, w{} b)", i - 1, i - 1)).collect();
            format!("WITH w0 AS (SELECT 1 AS x FROM icd), {} SELECT count(*) FROM w39", steps.join(", "))
        }),
    ]
}

async fn pair() -> Federation {
    let site = |id| {
        let csv: String =
            std::iter::once("id,n\n".to_owned()).chain((0..100).map(|i| format!("{i},{}\n", i % 3))).collect();
        SiteSpec {
            id,
            setup: [
                "CREATE EXTERNAL TABLE icd STORED AS CSV LOCATION '{dir}/t.csv'",
                "ALTER TABLE icd SET (access = 'open')",
                "CREATE EXTERNAL TABLE people STORED AS CSV LOCATION '{dir}/t.csv'",
                "ALTER TABLE people SET (access = 'cohort', unit = 'id', min_cohort = 5)",
            ]
            .map(str::to_owned)
            .to_vec(),
            files: vec![("t.csv".to_owned(), csv.into_bytes())],
        }
    };
    let federation = Federation::start(vec![site("basel"), site("bern")]).await;
    federation.grant_all(&["icd", "people"]).await;
    federation
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_beyond_every_bound_over_the_postgres_protocol() {
    let (federation, admin) = node(
        vec![("t.csv", b"id\n1\n".to_vec())],
        &["CREATE EXTERNAL TABLE icd STORED AS CSV LOCATION '{dir}/t.csv'", "ALTER TABLE icd SET (access = 'open')"],
    )
    .await;
    for (i, (what, sql)) in too_much().into_iter().enumerate() {
        let bound = if what == "an open end" || what.contains("10 MB") { "" } else { "A statement may have at most" };
        let error = refused(&admin, &sql, "54001", bound).await;
        assert_eq!(error.message, "statement too complex", "{what}");
        assert!(error.detail.unwrap().contains("at most"), "{what}");
        let around = [
            format!("EXPLAIN {sql}"),
            format!("EXPLAIN (PRIVACY) {sql}"),
            format!("COPY ({sql}) TO STDOUT"),
            format!("PREPARE p AS {sql}"),
            format!("DECLARE c CURSOR FOR {sql}"),
            format!("SELECT 1; {sql}"),
        ];
        // Two of the six for each: all together they take minutes.
        for around in around.iter().cycle().skip(i * 2).take(2) {
            refused(&admin, around, "54001", "").await;
        }
        let error = admin.inner.prepare(&sql).await.unwrap_err();
        assert_eq!(error.as_db_error().unwrap().code().code(), "54001", "{what}, prepared: {error:?}");
    }
    // Many small statements are a text too.
    refused(&admin, &"SELECT 1;".repeat(LONG * 2), "54001", "at most").await;
    lives(&federation, &admin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_within_the_bounds_are_answered() {
    let federation = pair().await;
    let analyst = federation.sites[0].connect(ANALYST).await.unwrap();
    let lines = async |sql: String| {
        let shown: String = sql.chars().take(80).collect();
        analyst.ask(&sql).await.unwrap_or_else(|e| panic!("{shown}: {e:?}")).lines()
    };
    let sum = format!("SELECT 1{}", "+1".repeat(2_000));
    assert_eq!(lines(sum).await, ["2001"]);
    let nested = format!("SELECT {}1{}", "(".repeat(150), ")".repeat(150));
    assert_eq!(lines(nested).await, ["1"]);
    let list: Vec<String> = (0..5_000).map(|i| i.to_string()).collect();
    assert_eq!(lines(format!("SELECT count(*) FROM icd WHERE n IN ({})", list.join(","))).await, ["100"]);
    let union = format!("SELECT count(*) FROM (SELECT 1{}) x", " UNION ALL SELECT 1".repeat(100));
    assert_eq!(lines(union).await, ["101"]);
    // What the coordinator takes and its text for the sites may be too long for them: an answer, or the bound's error.
    for condition in ["NOT n = 7 AND ", "n + 0 >= 0 OR "] {
        for count in [50, 400] {
            for table in ["federation.people", "federation.icd", "bern.people"] {
                let sql = format!("SELECT count(*) FROM {table} WHERE {}n < 3", condition.repeat(count));
                match analyst.ask(&sql).await {
                    Ok(answer) => assert_eq!(answer.rows.len(), 1),
                    Err(error) => {
                        assert!(matches!(error.code.as_str(), "54001" | "0A000"), "{table}, {count}: {error:?}");
                        assert!(count > 50, "{table}: {error:?}");
                    }
                }
            }
        }
    }
    for site in &federation.sites {
        lives(&federation, &site.wait().await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_beyond_every_bound_over_flight_sql_and_from_a_peer() {
    let mut federation = pair().await;
    let bern = federation.site("bern");
    let channel =
        Endpoint::from_shared(format!("http://127.0.0.1:{}", bern.flight_port)).unwrap().connect().await.unwrap();
    let mut client = FlightSqlServiceClient::new(channel);
    client.handshake(ADMIN.0, ADMIN.1).await.unwrap();
    for (what, sql) in too_much() {
        let small = sql.len() < 1 << 20;
        let told = |text: String| {
            assert!(!small || text.contains("statement too complex"), "{what}: {text}");
        };
        told(client.execute(sql.clone(), None).await.unwrap_err().to_string());
        told(client.prepare(sql.clone(), None).await.unwrap_err().to_string());
    }
    // A peer that is not what it was: the other node's key and configuration, in this process.
    federation.site_mut("basel").kill();
    let config = Config::load(&federation.site("basel").dir.join("kanon.toml")).unwrap();
    let peer = Node::start(config).await.unwrap();
    peer.begin_federation();
    let (home, site) = (SiteId::new("basel"), SiteId::new("bern"));
    let ask = async |sql: String| {
        let request = SubplanRequest {
            sql,
            principal: Principal {
                name: ANALYST.0.into(),
                roles: BTreeSet::from([BuiltinRole::Analyst]),
                home_node: home.clone(),
                auth_method: AuthMethod::Password,
                credential: None,
                via_peer: None,
                told_roles: BTreeSet::new(),
            },
            participants: vec![site.clone()],
            min_sites: 1,
            asked: None,
            timeout: Duration::from_secs(60),
        };
        let client = peer.federation.client(&site).ok_or(SiteError::Unreachable("not known yet".into()))?;
        client.query(request).await.map(drop)
    };
    let until = Instant::now() + Duration::from_secs(60);
    while let Err(error) = ask("SELECT count(*) FROM public.people".into()).await {
        assert!(Instant::now() < until, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (what, sql) in too_much() {
        match ask(sql.clone()).await {
            Ok(()) => panic!("{what}: a site answered"),
            Err(SiteError::Answered(error)) => assert_eq!(error.state.code(), "54001", "{what}: {error}"),
            Err(error) => assert!(sql.len() > 1 << 20, "{what}: {error}"),
        }
    }
    ask("SELECT count(*) FROM public.people".into()).await.unwrap();
    peer.stop().await;
    lives(&federation, &federation.site("bern").wait().await).await;
}

/// What a parser reads and a planner would pass over is refused by name.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_and_ignored() {
    let csv: String = std::iter::once("id,n\n".to_owned()).chain((0..100).map(|i| format!("{i},1\n"))).collect();
    let (federation, admin) = node(
        vec![("t.csv", csv.into_bytes())],
        &[
            "CREATE EXTERNAL TABLE o STORED AS CSV LOCATION '{dir}/t.csv'",
            "CREATE EXTERNAL TABLE c STORED AS CSV LOCATION '{dir}/t.csv'",
            "ALTER TABLE o SET (access = 'open')",
            "ALTER TABLE c SET (access = 'cohort', unit = 'id', min_cohort = 5)",
        ],
    )
    .await;
    for t in ["o", "c"] {
        for sql in [
            format!("SELECT count(*) FROM {t} FOR UPDATE"),
            format!("SELECT count(*) FROM {t} FOR SHARE"),
            format!("SELECT count(*) FROM (SELECT * FROM {t} FOR UPDATE NOWAIT) x"),
            format!("SELECT count(*) FROM {t} TABLESAMPLE BERNOULLI (1)"),
            format!("SELECT count(*) FROM {t} TABLESAMPLE SYSTEM (1) REPEATABLE (1)"),
            format!("SELECT count(*) FROM ONLY {t}"),
            format!("SELECT count(*) FROM {t} *"),
            format!("SELECT count(*) INTO x FROM {t}"),
            format!("SELECT TOP 1 count(*) FROM {t}"),
            format!("SELECT count(*) FROM {t} WITH (NOLOCK)"),
            format!("SELECT count(*) FROM {t} FETCH FIRST 1 ROWS WITH TIES"),
            format!("SELECT count(*) FROM {t} FETCH FIRST 10 PERCENT ROWS ONLY"),
            format!("SELECT count(*) FROM {t} LIMIT 1 BY n"),
            format!("SELECT count(*) FROM {t} PREWHERE n = 1"),
            format!("SELECT count(*) FROM {t} CONNECT BY PRIOR id = n"),
            format!("SELECT count(*) FROM {t} CLUSTER BY n"),
            format!("SELECT count(*) FROM {t} SETTINGS x = 1"),
            format!("SELECT count(*) FROM {t} FOR SYSTEM_TIME AS OF '2020-01-01'"),
            format!("SELECT count(*) FROM {t} PARTITION (p)"),
            format!("SELECT sum(n) WITHIN GROUP (ORDER BY n) FROM {t}"),
            format!("SELECT abs(DISTINCT 1) FROM {t}"),
            format!("SELECT count(*) FROM {t} GROUP BY n WITH ROLLUP"),
            format!("WITH x AS MATERIALIZED (SELECT count(*) FROM {t}) SELECT * FROM x FOR UPDATE"),
        ] {
            match admin.ask(&sql).await {
                Ok(answer) => panic!("{sql}: {answer:?}"),
                Err(error) => {
                    assert!(matches!(error.code.as_str(), "0A000" | "42601" | "25006"), "{sql}: {error:?}");
                }
            }
        }
    }
    lives(&federation, &admin).await;
}
