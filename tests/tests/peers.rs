//! Nodes that become peers, and stop being peers, while they run; and what a peer may ask for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use std::fmt::Write as _;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use kanon_engine::federation::identity;
use kanon_engine::federation::invite::{self, Invite};
use kanon_engine::federation::pin::Pin;
use kanon_tests::client::{Client, code, lines, refused, run};
use kanon_tests::peer::Peer;
use kanon_tests::{ADMIN, ANALYST, Federation, Site, SiteSpec, free_port, kanon, signal};

/// How soon a change must have taken effect on what runs.
const SOON: Duration = Duration::from_secs(5);
/// Runs for longer than a test over a protected table.
const HEAVY: &str = "SELECT count(*) FROM people p CROSS JOIN generate_series(1, 2000000000) g";
const BOTH: &str = "SELECT count(*) FROM federation.people";
const NODES: &str = "SELECT node_id, status FROM kanon.nodes ORDER BY 1";

fn spec(id: &'static str) -> SiteSpec {
    let people: String = (0..60).map(|i| format!("{i},{}\n", i % 3)).collect();
    let setup = [
        "CREATE EXTERNAL TABLE wards STORED AS CSV LOCATION '{dir}/wards.csv'",
        "ALTER TABLE wards SET (access = 'open')",
        "CREATE EXTERNAL TABLE people STORED AS CSV LOCATION '{dir}/people.csv'",
        "ALTER TABLE people SET (access = 'cohort', unit = 'id', unit_kind = 'patient', min_cohort = 10)",
    ];
    let files = vec![
        ("wards.csv".to_owned(), b"ward,name\n0,north\n1,south\n2,west\n".to_vec()),
        ("people.csv".to_owned(), format!("id,ward\n{people}").into_bytes()),
    ];
    SiteSpec { id, setup: setup.map(str::to_owned).to_vec(), files }
}

async fn one(client: &Client, sql: &str) -> String {
    lines(client, sql).await.remove(0)
}

/// Asks again until the answer is this one, for as long as a change may take.
async fn soon(client: &Client, sql: &str, expected: &[&str]) {
    let until = Instant::now() + SOON;
    loop {
        let found = client.ask(sql).await.map(|answer| answer.lines());
        if found.as_ref().is_ok_and(|found| found == expected) {
            return;
        }
        assert!(Instant::now() < until, "{sql}: {found:?} and not {expected:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn pause() {
    // A stranger may show five invites a second.
    tokio::time::sleep(Duration::from_millis(250)).await;
}

fn accept(token: &str) -> String {
    format!("SELECT kanon.accept_invite('{token}')")
}

fn pin_of(site: &Site) -> Pin {
    let fingerprint = site.fingerprint.parse().unwrap();
    Pin { host: "127.0.0.1".into(), port: site.flight_port, fingerprint }
}

fn endpoint(site: &Site) -> String {
    format!("127.0.0.1:{}", site.flight_port)
}

/// Makes the second node a peer of the first one.
async fn introduce(from: &Site, to: &Site) {
    let token = one(&from.wait().await, "SELECT kanon.invite_node(valid_for => '1 hour')").await;
    run(&to.wait().await, &accept(&token)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_become_peers_while_they_run() {
    let mut federation = Federation::strangers(vec![spec("basel"), spec("zurich")]).await;
    let (basel, zurich) = (federation.site("basel"), federation.site("zurich"));
    let (at_basel, at_zurich) = (basel.wait().await, zurich.wait().await);
    let token = one(&at_zurich, "SELECT kanon.invite_node()").await;
    assert!(token.starts_with("kanon-invite_"), "{token}");
    let told = one(&at_basel, &accept(&token)).await;
    assert_eq!(told, format!("node \"zurich\" at {} and this node trust one another", endpoint(zurich)));
    federation.wait_for_peers().await;
    federation.grant_all(&["wards", "people"]).await;
    for site in &federation.sites {
        let ana = site.connect(ANALYST).await.unwrap();
        assert_eq!(lines(&ana, BOTH).await, ["120"], "{}", site.id);
        for sql in ["SELECT kanon.invite_node()", &accept(&token), "SELECT kanon.remove_node('basel')"] {
            assert_eq!(code(&ana, sql).await, "42501", "{sql}");
        }
        assert!(lines(&ana, "SELECT * FROM kanon.peers").await.is_empty());
    }
    // Both logs say so, and neither says the secret; nor does the store of who made it.
    let trusted = "SELECT count(*) FROM kanon.audit_log WHERE action = 'peer' AND rule = 'trusted'";
    let secret = "SELECT count(*) FROM kanon.audit_log WHERE literals LIKE '%kanon-invite_e%' OR statement LIKE '%kanon-invite_e%'";
    for client in [&at_basel, &at_zurich] {
        assert_eq!(lines(client, trusted).await, ["1"]);
        assert_eq!(lines(client, secret).await, ["0"]);
    }
    let asked =
        "SELECT decision FROM kanon.audit_log WHERE action = 'peer' AND statement LIKE '%accept_invite%' ORDER BY seq";
    assert_eq!(lines(&at_basel, asked).await[..2], ["asked", "allowed"]);
    for name in ["kanon.db", "kanon.db-wal"] {
        let bytes = std::fs::read(zurich.dir.join(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(token.strip_prefix("kanon-invite_").unwrap()), "{name} holds the token");
    }
    // For good.
    let site = federation.site_mut("basel");
    site.terminate().await;
    site.spawn();
    let at_basel = federation.site("basel").wait().await;
    federation.wait_for_peers().await;
    assert_eq!(lines(&at_basel, "SELECT node_id, pinned_in FROM kanon.peers").await, ["zurich|store"]);
    let ana = federation.site("basel").connect(ANALYST).await.unwrap();
    assert_eq!(lines(&ana, BOTH).await, ["120"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_bad_invite_makes_a_peer() {
    let federation = Federation::strangers(vec![spec("basel"), spec("geneva"), spec("zurich")]).await;
    let [basel, geneva, zurich] = ["basel", "geneva", "zurich"].map(|id| federation.site(id));
    let (at_basel, at_geneva, at_zurich) = (basel.wait().await, geneva.wait().await, zurich.wait().await);
    let unknown = "the invite is unknown, was used, or is over";
    for sql in ["SELECT kanon.accept_invite('kanon-invite_x')", "SELECT kanon.accept_invite('')"] {
        assert_eq!(code(&at_basel, sql).await, "22023", "{sql}");
    }
    for span in ["8 days", "0 seconds", "soon"] {
        let error = refused(&at_zurich, &format!("SELECT kanon.invite_node(valid_for => '{span}')")).await;
        assert!(error.code.starts_with("22"), "{span}: {error:?}");
    }
    // One's own.
    let token = one(&at_zurich, "SELECT kanon.invite_node()").await;
    assert_eq!(code(&at_zurich, &accept(&token)).await, "42710");
    // One that is over, as it is and dated later by whoever has it.
    let short = one(&at_zurich, "SELECT kanon.invite_node(valid_for => '1 second')").await;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(code(&at_basel, &accept(&short)).await, "28000");
    let mut later = Invite::parse(&short).unwrap();
    later.expires_at += 3_600;
    let error = refused(&at_basel, &accept(&later.token().unwrap())).await;
    assert_eq!(error.code, "28000");
    assert!(error.message.ends_with(unknown), "{error:?}");
    // Of another secret, of another key, and of where nobody is.
    let good = Invite::parse(&token).unwrap();
    let invented = |key: &Site, at: &str| {
        let key = key.fingerprint.parse().unwrap();
        Invite::new("zurich", key, at, good.expires_at).unwrap().0.token().unwrap()
    };
    pause().await;
    let error = refused(&at_basel, &accept(&invented(zurich, &endpoint(zurich)))).await;
    assert_eq!(error.code, "28000");
    assert!(error.message.ends_with(unknown), "{error:?}");
    let error = refused(&at_basel, &accept(&invented(geneva, &endpoint(zurich)))).await;
    assert_eq!(error.code, "28000");
    assert!(error.message.contains("has not the key of the invite"), "{error:?}");
    let nobody = format!("127.0.0.1:{}", free_port());
    assert_eq!(code(&at_basel, &accept(&invented(zurich, &nobody))).await, "08001");
    // Acceptances that no node would send: for another node, of another kind, of no kind, and of an id that is taken.
    let dir = tempfile::tempdir().unwrap();
    let mallory = identity::ensure(dir.path()).unwrap();
    let for_geneva = Invite::parse(&one(&at_geneva, "SELECT kanon.invite_node()").await).unwrap();
    let at = "127.0.0.1:5";
    for acceptance in
        [invite::accept(&for_geneva, "mallory", &mallory, at).unwrap(), "a.b.c".to_owned(), "x".repeat(8_000)]
    {
        pause().await;
        let error = invite::send(&pin_of(zurich), acceptance).await.unwrap_err();
        assert_eq!(error.state.code(), "28000", "{error}");
        assert!(error.message.ends_with(unknown), "{error}");
    }
    // More than a header holds is not read at all.
    let error = invite::send(&pin_of(zurich), "x".repeat(1_000_000)).await.unwrap_err();
    assert_eq!(error.state.code(), "08001", "{error}");
    pause().await;
    let taken = invite::accept(&good, "zurich", &mallory, at).unwrap();
    assert_eq!(invite::send(&pin_of(zurich), taken).await.unwrap_err().state.code(), "42710");
    // It is as good as it was, once.
    pause().await;
    run(&at_basel, &accept(&token)).await;
    pause().await;
    let error = refused(&at_geneva, &accept(&token)).await;
    assert_eq!(error.code, "28000");
    assert!(error.message.ends_with(unknown), "{error:?}");
    assert_eq!(code(&at_basel, &accept(&token)).await, "42710", "a peer already");
    // Who flooded it with them would be turned away for a while.
    let pin = pin_of(zurich);
    let flood = (0..30).map(|_| invite::send(&pin, "a.b.c".to_owned()));
    let codes: Vec<_> =
        futures::future::join_all(flood).await.into_iter().map(|sent| sent.unwrap_err().state.code()).collect();
    assert!(codes.contains(&"53300"), "{codes:?}");
    // Nobody came in but the one, and the log says who tried what.
    soon(&at_zurich, NODES, &["basel|up", "zurich|up"]).await;
    assert_eq!(lines(&at_geneva, NODES).await, ["geneva|up"]);
    let tried = "SELECT DISTINCT rule FROM kanon.audit_log WHERE action = 'peer' AND decision = 'refused' ORDER BY 1";
    let until = Instant::now() + SOON;
    loop {
        let found = lines(&at_zurich, tried).await;
        let all = [
            "42710: node \"zurich\" is this node itself, or is called as it is",
            "an acceptance for another node",
            "an acceptance that cannot be read",
            "an acceptance that is too long",
            "an invite that is over",
            "an invite that there is not",
            "an invite that was used",
        ];
        if all.iter().all(|rule| found.iter().any(|known| known.starts_with(rule))) {
            break;
        }
        assert!(Instant::now() < until, "{found:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_ends_when_a_node_is_removed() {
    let federation = Federation::strangers(vec![spec("basel"), spec("zurich")]).await;
    let (basel, zurich) = (federation.site("basel"), federation.site("zurich"));
    introduce(zurich, basel).await;
    federation.wait_for_peers().await;
    federation.grant_all(&["wards", "people"]).await;
    let (at_basel, at_zurich) = (basel.wait().await, zurich.wait().await);
    let ana = basel.connect(ANALYST).await.unwrap();
    assert_eq!(lines(&ana, BOTH).await, ["120"]);
    // What the peer asks here, on a connection that is open.
    let mut peer = Peer::connect(basel, zurich).await;
    let (first, later) = (peer.ticket(HEAVY, ANALYST.0), peer.ticket("SELECT count(*) FROM people", ANALYST.0));
    let running = tokio::spawn(async move {
        let ended = match peer.get(HEAVY, &first).await {
            Ok(answer) => answer.into_inner().message().await.map(drop),
            Err(status) => Err(status),
        };
        (ended, peer)
    });
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(!running.is_finished(), "it runs until it is stopped");
    assert_eq!(code(&at_zurich, "SELECT kanon.remove_node('geneva')").await, "42704");
    run(&at_zurich, "SELECT kanon.remove_node('basel')").await;
    let (ended, mut peer) = tokio::time::timeout(SOON, running).await.expect("it runs on").unwrap();
    assert!(ended.is_err());
    assert!(peer.get("SELECT count(*) FROM people", &later).await.is_err(), "the connection is closed");
    assert_eq!(lines(&at_zurich, NODES).await, ["zurich|up"]);
    let ana_there = zurich.connect(ANALYST).await.unwrap();
    for sql in [BOTH, "SELECT count(*) FROM basel.people"] {
        assert_eq!(code(&ana_there, sql).await, "42P01", "{sql}");
    }
    refused(&ana, BOTH).await;
    soon(&at_basel, "SELECT node_id FROM kanon.nodes WHERE status = 'up'", &["basel"]).await;
    let gone = "SELECT decision FROM kanon.audit_log WHERE action = 'peer' AND rule = 'no longer trusted'";
    assert_eq!(lines(&at_zurich, gone).await, ["allowed"]);
    // The other side as well; then they can be introduced again, whoever asks whom.
    run(&at_basel, "SELECT kanon.remove_node('zurich')").await;
    introduce(basel, zurich).await;
    federation.wait_for_peers().await;
    soon(&ana, BOTH, &["120"]).await;
    // What this node asks of a peer that does not answer.
    signal(zurich.pid(), "STOP");
    let asking = tokio::spawn(async move { ana.ask(BOTH).await });
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!asking.is_finished());
    run(&at_basel, "SELECT kanon.remove_node('zurich')").await;
    let ended = tokio::time::timeout(SOON, asking).await.expect("it waits on").unwrap().unwrap_err();
    signal(zurich.pid(), "CONT");
    assert!(ended.message.contains("no longer trusts it"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_read_again() {
    let federation = Federation::start(vec![spec("basel"), spec("zurich")]).await;
    federation.grant_all(&["people"]).await;
    let (basel, zurich) = (federation.site("basel"), federation.site("zurich"));
    let at_zurich = zurich.wait().await;
    let error = refused(&at_zurich, "SELECT kanon.remove_node('basel')").await;
    assert_eq!(error.code, "55000");
    assert!(error.hint.unwrap().contains("out of trusted_nodes"));
    assert_eq!(lines(&at_zurich, "SELECT node_id, pinned_in FROM kanon.peers").await, ["basel|configuration"]);
    let ana = basel.connect(ANALYST).await.unwrap();
    assert_eq!(lines(&ana, BOTH).await, ["120"]);
    let file = zurich.dir.join("kanon.toml");
    let before = std::fs::read_to_string(&file).unwrap();
    let pins = before.lines().find(|line| line.starts_with("trusted_nodes")).unwrap();
    // What cannot be read changes nothing.
    std::fs::write(&file, format!("{before}\nno = 'such key'\n")).unwrap();
    signal(zurich.pid(), "HUP");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(lines(&at_zurich, NODES).await, ["basel|up", "zurich|up"]);
    std::fs::write(&file, before.replace(pins, "trusted_nodes = []")).unwrap();
    signal(zurich.pid(), "HUP");
    soon(&at_zurich, NODES, &["zurich|up"]).await;
    refused(&ana, BOTH).await;
    std::fs::write(&file, &before).unwrap();
    signal(zurich.pid(), "HUP");
    soon(&at_zurich, NODES, &["basel|up", "zurich|up"]).await;
    soon(&basel.wait().await, NODES, &["basel|up", "zurich|up"]).await;
    assert_eq!(lines(&ana, BOTH).await, ["120"]);
    let told = "SELECT rule FROM kanon.audit_log WHERE action = 'peer' AND rule LIKE '%trusted' ORDER BY seq";
    assert_eq!(lines(&at_zurich, told).await, ["trusted", "no longer trusted", "trusted"]);
}

/// A node with a private table, and one whose people ask it.
async fn clinic() -> Federation {
    let mut patients = "pid,age\n".to_owned();
    (1..=400).for_each(|i| writeln!(patients, "{i},{}", 20 + i % 50).unwrap());
    let private = [
        "CREATE PRIVACY UNIT patient WITH (budget_epsilon = 100, budget_delta = 0)",
        "CREATE EXTERNAL TABLE patients STORED AS CSV LOCATION '{dir}/patients.csv'",
        "ALTER TABLE patients SET (access = 'private', unit = 'pid', unit_kind = 'patient', unit_unique = true, min_cohort = 5,
         epsilon_per_query = 1, delta_per_query = 1e-8)",
        "ALTER TABLE patients ALTER COLUMN age SET (lower = 0, upper = 100)",
    ];
    let mut zurich = spec("zurich");
    zurich.setup.extend(private.map(str::to_owned));
    zurich.files.push(("patients.csv".to_owned(), patients.into_bytes()));
    let mut basel = spec("basel");
    basel.setup.extend(
        [
            "CREATE ROLE ana LOGIN PASSWORD 'ana''s password'; GRANT analyst TO ana",
            "CREATE ROLE ben LOGIN PASSWORD 'ana''s password'",
        ]
        .map(str::to_owned),
    );
    let federation = Federation::start(vec![basel, zurich]).await;
    let admin = federation.site("basel").wait().await;
    for role in ["ana", "ben"] {
        for table in ["patients", "people", "wards"] {
            let grant = format!("GRANT SELECT ON zurich.{table} TO {role}");
            let until = Instant::now() + Duration::from_secs(20);
            while let Err(error) = admin.ask(&grant).await {
                assert!(Instant::now() < until, "{grant}: {error:?}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
    federation
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_for_the_analysts_of_peers() {
    let federation = clinic().await;
    let (basel, zurich) = (federation.site("basel"), federation.site("zurich"));
    let admin = zurich.wait().await;
    let ana = basel.connect(("ana", ANALYST.1)).await.unwrap();
    let ben = basel.connect(("ben", ANALYST.1)).await.unwrap();
    let count = "SELECT count(*) FROM zurich.people";
    refused(&ana, count).await;
    run(&admin, "GRANT SELECT ON people TO \"analyst@geneva\"").await;
    refused(&ana, count).await;
    for rule in ["analyst@*", "analyst@basel"] {
        run(&admin, &format!("GRANT SELECT ON people TO \"{rule}\"")).await;
        assert_eq!(lines(&ana, count).await, ["60"], "{rule}");
        // Nobody else's, no other table, and no rows.
        refused(&ben, count).await;
        refused(&ana, "SELECT * FROM zurich.wards").await;
        assert_eq!(code(&ana, "SELECT id FROM zurich.people").await, "42501");
        run(&admin, &format!("REVOKE SELECT ON people FROM \"{rule}\"")).await;
        refused(&ana, count).await;
    }
    // Who is suspended falls under no rule.
    run(&admin, "GRANT SELECT ON people TO \"analyst@*\"; CREATE ROLE \"ana@basel\"").await;
    assert_eq!(lines(&ana, count).await, ["60"]);
    run(&admin, "ALTER ROLE \"ana@basel\" SET kanon.suspended = on").await;
    refused(&ana, count).await;
    // SELECT, to analysts, and nothing else.
    for sql in [
        "GRANT SELECT ON people TO \"steward@*\"",
        "GRANT SELECT ON people TO \"admin@basel\"",
        "GRANT analyst TO \"analyst@*\"",
        "CREATE ROLE \"analyst@*\"",
        "CREATE ROLE \"steward@basel\"",
        "ALTER ROLE \"analyst@basel\" LOGIN",
    ] {
        assert_eq!(code(&admin, sql).await, "42501", "{sql}");
    }
    assert_eq!(code(&admin, "GRANT SELECT ON people TO \"analyst@no node\"").await, "42602");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_may_ask_for_what_its_rules_say() {
    let federation = clinic().await;
    let (basel, zurich) = (federation.site("basel"), federation.site("zurich"));
    let admin = zurich.wait().await;
    let ana = basel.connect(("ana", ANALYST.1)).await.unwrap();
    for table in ["patients", "people", "wards"] {
        run(&admin, &format!("GRANT SELECT ON {table} TO \"analyst@*\"")).await;
    }
    let alter = |options: &str| format!("ALTER SERVER basel OPTIONS ({options})");
    let (people, wards) = ("SELECT count(*) FROM zurich.people", "SELECT count(*) FROM zurich.wards");
    assert_eq!(lines(&ana, people).await, ["60"]);
    // Whether it may ask at all.
    run(&admin, &alter("SET may_query 'false'")).await;
    let error = refused(&ana, people).await;
    assert_eq!(error.code, "42501");
    assert!(error.message.contains("this site answers no questions of that node"), "{error:?}");
    run(&admin, &alter("DROP may_query")).await;
    assert_eq!(lines(&ana, people).await, ["60"]);
    // Of which tables.
    run(&admin, &alter("SET tables '{wards, patients}'")).await;
    let error = refused(&ana, people).await;
    assert!(error.message.contains("does not exist"), "{error:?}");
    assert_eq!(lines(&ana, wards).await, ["3"]);
    run(&admin, &alter("SET tables '{}'")).await;
    refused(&ana, wards).await;
    run(&admin, &alter("DROP tables")).await;
    assert_eq!(lines(&ana, people).await, ["60"]);
    // What runs and may no longer be asked stops.
    let mut peer = Peer::connect(basel, zurich).await;
    let ticket = peer.ticket_as(HEAVY, "ana", "analyst");
    let running = tokio::spawn(async move { peer.get(HEAVY, &ticket).await.map(drop) });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!running.is_finished());
    run(&admin, &alter("SET tables '{wards}'")).await;
    assert!(tokio::time::timeout(SOON, running).await.expect("it runs on").unwrap().is_err());
    run(&admin, &alter("DROP tables")).await;
    // How often.
    run(&admin, &alter("SET max_statements_per_second '1'")).await;
    let mut turned_away = None;
    for ward in 0..5 {
        let sql = format!("SELECT count(*) FROM zurich.people WHERE ward <> {ward}");
        turned_away = turned_away.or(ana.ask(&sql).await.err());
    }
    let error = turned_away.expect("five at once are too many");
    assert!(error.message.contains("1 statements a second"), "{error:?}");
    run(&admin, &alter("DROP max_statements_per_second")).await;
    // How much, all its people together.
    run(&admin, &alter("SET budget_epsilon '2'")).await;
    run(&basel.wait().await, "GRANT analyst TO ben").await;
    let ben = basel.connect(("ben", ANALYST.1)).await.unwrap();
    let older = |age: u32| format!("SELECT count(*) FROM zurich.patients WHERE age > {age}");
    run(&ana, &older(30)).await;
    run(&ben, &older(31)).await;
    let error = refused(&ana, &older(32)).await;
    assert!(error.message.contains("the privacy budget of node \"basel\" for unit kind \"patient\""), "{error:?}");
    run(&ana, &older(31)).await;
    run(&admin, "GRANT SELECT ON patients TO root").await;
    run(&admin, "SELECT count(*) FROM patients WHERE age > 40").await;
    let shown = "SELECT node_id, may_query, tables, max_statements_per_second, budget_epsilon FROM kanon.peers";
    assert_eq!(lines(&admin, shown).await, ["basel|t|||2"]);
    run(&admin, &alter("DROP budget_epsilon")).await;
    run(&ana, &older(32)).await;
    for (options, expected) in [
        ("SET may_query 'perhaps'", "22023"),
        ("SET tables 'people'", "22023"),
        ("SET max_statements_per_second '0'", "22023"),
        ("SET budget_epsilon '-1'", "22023"),
        ("SET budget_epsiln '1'", "42704"),
    ] {
        assert_eq!(code(&admin, &alter(options)).await, expected, "{options}");
    }
    run(&admin, "CREATE ROLE stella LOGIN PASSWORD 'stella''s password'; GRANT steward TO stella").await;
    let stella = zurich.connect(("stella", "stella's password")).await.unwrap();
    assert_eq!(code(&stella, &alter("SET may_query 'false'")).await, "42501");
    let entries = "SELECT count(*) FROM kanon.audit_log WHERE action = 'peer' AND decision = 'allowed' AND statement LIKE 'ALTER SERVER basel%may_query%'";
    assert_eq!(lines(&admin, entries).await, ["2"]);
}

fn node(site: &Site, arguments: &[&str]) -> Output {
    let mut command = Command::new(kanon());
    command.arg("node").args(arguments).arg("--config").arg(site.dir.join("kanon.toml"));
    command.env("PGPASSWORD", ADMIN.1).output().unwrap()
}

fn printed(site: &Site, arguments: &[&str]) -> String {
    let output = node(site, arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_does_the_same() {
    let federation = Federation::strangers(vec![spec("basel"), spec("zurich")]).await;
    let (basel, zurich) = (federation.site("basel"), federation.site("zurich"));
    zurich.wait().await;
    basel.wait().await;
    let token = printed(zurich, &["invite", "--valid-for", "10 minutes"]);
    assert!(printed(basel, &["accept", &token]).contains("trust one another"));
    federation.wait_for_peers().await;
    let listed = printed(basel, &["list"]);
    let first: Vec<&str> = listed.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(first, ["basel", "zurich"]);
    assert!(listed.contains(zurich.fingerprint.trim_start_matches("sha256:")), "{listed}");
    assert!(printed(basel, &["list", "--json"]).lines().all(|line| line.starts_with("{\"")));
    assert_eq!(node(basel, &["accept", &token]).status.code(), Some(1), "a peer already");
    printed(basel, &["remove", "zurich"]);
    assert_eq!(printed(basel, &["list"]).lines().count(), 1);
}
