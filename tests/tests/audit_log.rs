//! The audit log through the wire and on the command line: who asked what, who sees it, and what is found when it is bent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use kanon_tests::client::{Client, lines};
use kanon_tests::{ADMIN, ANALYST, Federation, Site, SiteSpec, kanon};

const STELLA: (&str, &str) = ("stella", "stella's password");
const AUGUSTA: (&str, &str) = ("augusta", "augusta's password");
const ALICE: (&str, &str) = ("alice", "alice's password");
const BOB: (&str, &str) = ("bob", "bob's password");

fn csv() -> Vec<u8> {
    let rows = (0..60).map(|i| format!("{i},{},{}\n", if i % 3 == 0 { "female" } else { "male" }, 20 + i));
    std::iter::once("id,sex,age\n".to_owned()).chain(rows).collect::<String>().into_bytes()
}

fn spec(id: &'static str) -> SiteSpec {
    let mut setup = Vec::new();
    for (role, builtin) in [(STELLA, "steward"), (AUGUSTA, "auditor"), (ALICE, "analyst"), (BOB, "analyst")] {
        setup.push(format!("CREATE ROLE {} LOGIN PASSWORD '{}'", role.0, role.1.replace('\'', "''")));
        setup.push(format!("GRANT {builtin} TO {}", role.0));
    }
    for (table, policy) in [
        ("wards", "access = 'open'"),
        ("people", "access = 'cohort', unit = 'id', unit_kind = 'person', min_cohort = 5"),
        (
            "patients",
            "access = 'private', unit = 'id', unit_kind = 'patient', unit_unique = true, min_cohort = 5, epsilon_per_query = 1, delta_per_query = 1e-8",
        ),
    ] {
        if table == "patients" {
            setup.push("CREATE PRIVACY UNIT patient WITH (budget_epsilon = 100, budget_delta = 1e-3)".to_owned());
        }
        setup.push(format!("CREATE EXTERNAL TABLE {table} STORED AS CSV LOCATION '{{dir}}/{table}.csv'"));
        setup.push(format!("ALTER TABLE {table} SET ({policy})"));
        setup.push(format!("GRANT SELECT ON {table} TO alice"));
    }
    setup.push("GRANT SELECT ON wards TO bob".to_owned());
    let files = ["wards", "people", "patients"].map(|table| (format!("{table}.csv"), csv())).to_vec();
    SiteSpec { id, setup, files }
}

/// Lines of the log once there are so many: those about open tables may come a moment after the answer.
async fn lines_soon(client: &Client, sql: &str, most: usize) -> Vec<String> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let found = lines(client, sql).await;
        if found.len() >= most || Instant::now() > until {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn audit(site: &Site, arguments: &[&str]) -> Output {
    let (what, rest) = arguments.split_first().unwrap();
    let config = site.dir.join("kanon.toml");
    Command::new(kanon()).args(["audit", what, "--config"]).arg(config).args(rest).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_what_is_in_the_log_and_each_sees_their_own() {
    let mut clinic = Federation::start(vec![spec("clinic")]).await;
    let site = &clinic.sites[0];
    assert!(site.connect(("alice", "wrong")).await.is_err());
    assert!(site.connect(("swordfish and chips", "wrong")).await.is_err());
    let alice = site.connect(ALICE).await.unwrap();
    let bob = site.connect(BOB).await.unwrap();
    lines(&alice, "SELECT age FROM wards WHERE id = 7").await;
    lines(&alice, "SELECT sex, count(*) FROM people WHERE age > 21 GROUP BY sex").await;
    let private = "SELECT count(*) FROM patients WHERE age > 30";
    let first = lines(&alice, private).await;
    assert_eq!(lines(&alice, private).await, first);
    assert_eq!(alice.ask("SELECT * FROM people").await.unwrap_err().code, "42501");
    assert_eq!(bob.ask("SELECT count(*) FROM people WHERE age = 77").await.unwrap_err().code, "42P01");
    // With parameters, prepared by SQL, through a cursor and into a temporary table.
    alice.inner.query("SELECT age FROM wards WHERE id = $1", &[&8_i64]).await.unwrap();
    lines(&alice, "PREPARE q AS SELECT sex FROM wards WHERE id = $1").await;
    lines(&alice, "EXECUTE q(9)").await;
    lines(&alice, "BEGIN; DECLARE c CURSOR FOR SELECT id FROM wards; FETCH 3 FROM c; COMMIT").await;
    lines(&alice, "CREATE TEMP TABLE own AS SELECT sex, count(*) AS n FROM people GROUP BY sex").await;
    // What reads no table of users has no entry.
    for sql in
        ["SELECT 1", "SHOW TimeZone", "SET TimeZone = 'UTC'", "SELECT * FROM own", "SELECT count(*) FROM pg_class"]
    {
        lines(&alice, sql).await;
    }

    let seen = "SELECT action, object, decision, rule, epsilon, statement FROM kanon.audit_log WHERE action <> 'login' ORDER BY seq";
    let own = lines_soon(&alice, seen, 9).await;
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let withheld = own[1].split('|').nth(3).unwrap().to_owned();
    assert!(withheld.contains("fewer than 5"), "{withheld}");
    let rule = own[2].split('|').nth(3).unwrap().to_owned();
    assert_eq!(
        own,
        [
            "query|public.wards|allowed|||SELECT age FROM wards WHERE id = ?".to_owned(),
            format!(
                "release|public.people|allowed|{withheld}||SELECT sex, count(*) FROM people WHERE age > ? GROUP BY sex"
            ),
            format!("release|public.patients|allowed|{rule}|1|SELECT count(*) FROM patients WHERE age > ?"),
            format!("release|public.patients|allowed|{rule}|0|SELECT count(*) FROM patients WHERE age > ?"),
            "refusal|public.people|refused|42501||SELECT * FROM people".to_owned(),
            "query|public.wards|allowed|||SELECT age FROM wards WHERE id = $1".to_owned(),
            "query|public.wards|allowed|||SELECT sex FROM wards WHERE id = $1".to_owned(),
            "query|public.wards|allowed|||DECLARE c CURSOR FOR SELECT id FROM wards".to_owned(),
            format!(
                "release|public.people|allowed|{withheld}||CREATE TEMPORARY TABLE own AS SELECT sex, count(*) AS n FROM people GROUP BY sex"
            ),
        ]
    );
    assert_eq!(
        lines(&alice, "SELECT count(*) FROM kanon.audit_log WHERE principal <> 'alice' OR literals IS NOT NULL").await,
        ["0"]
    );
    assert_eq!(
        lines(&bob, seen).await,
        ["refusal|public.people|refused|42P01||SELECT count(*) FROM people WHERE age = ?"]
    );

    // The auditor sees all, with literals, and that is an entry too.
    let augusta = site.connect(AUGUSTA).await.unwrap();
    let of_alice =
        "SELECT literals FROM kanon.audit_log WHERE principal = 'alice' AND literals IS NOT NULL ORDER BY seq";
    let literals = lines(&augusta, of_alice).await;
    assert_eq!(
        literals,
        ["[\"7\"]", "[\"21\"]", "[\"30\"]", "[\"30\"]", "[\"$1 = 8\"]", "[\"9\"]"].map(str::to_owned).as_slice(),
        "{literals:?}"
    );
    let log = "SELECT action, decision, principal, object FROM kanon.audit_log WHERE action IN ('login', 'read_log', 'grant', 'create_role') ORDER BY seq";
    let failed = "SELECT seq FROM kanon.audit_log WHERE action = 'login' AND decision = 'refused'";
    assert_eq!(lines_soon(&augusta, failed, 2).await.len(), 2);
    let found = lines(&augusta, log).await.join("\n");
    for expected in [
        "create_role|allowed|operator|role root",
        "create_role|asked|root|role alice",
        "create_role|allowed|root|role alice",
        "grant|allowed|root|role analyst, role alice",
        "grant|allowed|root|public.wards, role bob",
        "login|allowed|alice|address 127.0.0.1",
        "login|refused|alice|address 127.0.0.1, 1 times",
        "login|refused||address 127.0.0.1, 1 times",
        "read_log|allowed|augusta|",
    ] {
        assert!(found.lines().any(|line| line == expected), "{expected}\n{found}");
    }
    // A steward sees what is about the node's tables, and no logins of others.
    let stella = site.connect(STELLA).await.unwrap();
    let about =
        lines(&stella, "SELECT DISTINCT action FROM kanon.audit_log WHERE principal <> 'stella' ORDER BY 1").await;
    assert_eq!(about, ["grant", "policy", "query", "refusal", "release"]);
    assert_eq!(lines(&stella, "SELECT count(literals) FROM kanon.audit_log").await, ["0"]);
    // Checking is for those, and the log is as it was written.
    assert_eq!(alice.ask("SELECT * FROM kanon.audit_verify()").await.unwrap_err().code, "42501");
    assert_eq!(lines(&augusta, "SELECT ok, first_bad_seq FROM kanon.audit_verify()").await, ["t|"]);
    let output = audit(site, &["verify"]);
    assert!(output.status.success() && text(&output).starts_with("ok: "), "{}", text(&output));
    let export = text(&audit(site, &["export", "--since", "3"]));
    let entries: Vec<serde_json::Value> = export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(entries[0]["seq"], 3);
    assert!(
        entries
            .iter()
            .all(|entry| entry["entry_hash"].as_str().unwrap().len() == 64 && entry.get("literals").is_none())
    );
    assert!(text(&audit(site, &["export", "--literals"])).contains("\"literals\":[\"21\"]"));

    // Neither passwords nor names that are none are on the disk, nor literals in the clear.
    clinic.sites[0].terminate().await;
    let site = &clinic.sites[0];
    let bytes = std::fs::read(site.dir.join("kanon.db")).unwrap();
    for secret in [ADMIN.1, ALICE.1, "swordfish", "$1 = 8"] {
        assert!(!holds(&bytes, secret), "{secret}");
    }
    assert!(text(&audit(site, &["verify"])).starts_with("ok: "), "of a node that is stopped");

    // One bit of one entry.
    let at = bytes.windows(24).position(|window| window == b"SELECT sex, count(*) FRO").unwrap();
    let mut bent = bytes.clone();
    bent[at + 7] ^= 1;
    std::fs::write(site.dir.join("kanon.db"), bent).unwrap();
    let output = audit(site, &["verify"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("is not the one that was written"), "{}", text(&output));
    std::fs::write(site.dir.join("kanon.db"), bytes).unwrap();
    assert!(audit(site, &["verify", "--json"]).status.success());
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_hold_checkpoints_and_a_restored_log_is_noticed() {
    let mut both = Federation::start(vec![spec("basel"), spec("zurich")]).await;
    let checkpoint = |site: &Site, of: &str| audit(site, &["checkpoint", "--of", of]);
    // A copy of the store, for later.
    both.site_mut("basel").terminate().await;
    let (folder, copy) = (both.site("basel").dir.clone(), tempfile::tempdir().unwrap());
    copied(&folder, copy.path());
    both.site_mut("basel").spawn();
    both.site("basel").wait().await;
    let alice = both.site("basel").connect(ALICE).await.unwrap();
    for _ in 0..60 {
        lines(&alice, "SELECT count(*) FROM people").await;
    }
    drop(alice);
    // A node that stops signs what it has; one that starts tells its peers.
    both.site_mut("basel").terminate().await;
    let own = text(&audit(both.site("basel"), &["checkpoint"]));
    assert!(own.starts_with("basel\n") && own.contains("\n\n— basel "), "{own}");
    both.site_mut("basel").spawn();
    both.site("basel").wait().await;
    let until = Instant::now() + Duration::from_secs(30);
    let held = loop {
        let held = text(&checkpoint(both.site("zurich"), "basel"));
        if size(&held) >= size(&own) {
            break held;
        }
        assert!(Instant::now() < until, "zurich does not hold {own}: {held}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let file = folder.join("held.txt");
    std::fs::write(&file, &held).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let output = audit(both.site("basel"), &["verify", "--checkpoint", &file]);
    assert!(output.status.success(), "{}", text(&output));

    // The copy is put back: its own checks find nothing, and the checkpoint that the peer holds does.
    both.site_mut("basel").terminate().await;
    for name in ["kanon.db", "kanon.db-wal", "kanon.db-shm"] {
        let _ = std::fs::remove_file(folder.join(name));
    }
    copied(copy.path(), &folder);
    assert!(audit(both.site("basel"), &["verify"]).status.success());
    let output = audit(both.site("basel"), &["verify", "--checkpoint", &file]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("has a checkpoint of that size"), "{}", text(&output));
    both.site_mut("basel").spawn();
    let admin = both.site("basel").wait().await;
    let found =
        lines_soon(&admin, "SELECT rule FROM kanon.audit_log WHERE action = 'peer' AND decision = 'failed'", 1).await;
    assert_eq!(found, ["the audit log is behind a checkpoint of it: entries at its end are lost"]);
    assert!(both.site("basel").log().contains("behind a checkpoint"));
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_that_are_kept_have_entries_each_time() {
    let clinic = Federation::start(vec![spec("clinic")]).await;
    clinic.settle().await;
    let site = &clinic.sites[0];
    let alice = site.connect(ALICE).await.unwrap();
    let statement = alice.inner.prepare("SELECT age FROM wards WHERE id = $1").await.unwrap();
    for id in 1..=5_i64 {
        assert_eq!(lines(&alice, &format!("SELECT sex, age FROM wards WHERE id = {id}")).await.len(), 1);
        assert_eq!(alice.inner.query(&statement, &[&(id + 20)]).await.unwrap().len(), 1);
        assert_eq!(lines(&alice, "SELECT count(*) FROM wards").await, ["60"]);
    }
    let augusta = site.connect(AUGUSTA).await.unwrap();
    let asked =
        "SELECT statement, literals FROM kanon.audit_log WHERE principal = 'alice' AND action = 'query' ORDER BY seq";
    let found = lines_soon(&augusta, asked, 15).await;
    let of = |statement: &str| found.iter().filter(|line| line.contains(statement)).cloned().collect::<Vec<_>>();
    for id in 1..=5 {
        let literals: Vec<String> = of("SELECT sex, age FROM wards WHERE id = ");
        assert!(
            literals[id - 1].ends_with(&format!("|[\"{id}\"]"))
                || literals[id - 1].ends_with(&format!("|[\"$1 = {id}\"]")),
            "{found:?}"
        );
        assert_eq!(
            of("SELECT age FROM wards WHERE id = $1")[id - 1],
            format!("SELECT age FROM wards WHERE id = $1|[\"$1 = {}\"]", id + 20)
        );
    }
    assert_eq!(of("SELECT count(*) FROM wards").len(), 5, "{found:?}");
    assert_eq!(found.len(), 15, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_knows_who_asked_and_through_whom() {
    let both = Federation::start(vec![spec("basel"), spec("zurich")]).await;
    both.grant_all(&["people"]).await;
    let ana = both.site("basel").connect(ANALYST).await.unwrap();
    assert_eq!(lines(&ana, "SELECT count(*) FROM federation.people WHERE age > 30").await, ["98"]);
    let asked = "SELECT action, object, principal, home_node, peer, sites FROM kanon.audit_log WHERE principal = 'ana' AND action = 'release' ORDER BY 6 DESC, 5";
    let at = async |site: &str| {
        let admin = both.site(site).wait().await;
        lines(&admin, asked).await
    };
    // The coordinator's own part is asked of it like any site's.
    let coordinator = at("basel").await;
    assert!(coordinator.contains(&"release|federation.people|ana|basel||basel, zurich".to_owned()), "{coordinator:?}");
    assert!(coordinator.contains(&"release|public.people|ana|basel||basel".to_owned()), "{coordinator:?}");
    assert_eq!(at("zurich").await, ["release|public.people|ana|basel|basel|zurich"]);
    // What is asked through a peer is found by the name that it has here.
    let stella = both.site("zurich").connect(STELLA).await.unwrap();
    let shown = "SELECT peer FROM kanon.audit_log WHERE principal = 'ana' AND action = 'release'";
    assert_eq!(lines(&stella, shown).await, ["basel"]);
    let pins = "SELECT decision, rule FROM kanon.audit_log WHERE action = 'peer' ORDER BY seq";
    assert_eq!(lines(&both.site("zurich").wait().await, pins).await, ["allowed|trusted"]);
}

fn size(checkpoint: &str) -> u64 {
    checkpoint.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or_default()
}

fn copied(from: &Path, to: &Path) {
    std::fs::copy(from.join("kanon.db"), to.join("kanon.db")).unwrap();
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_nothing_is_answered_without_an_entry() {
    let mut clinic = Federation::start(vec![spec("clinic")]).await;
    clinic.sites[0].terminate().await;
    // No file of the process grows beyond what the shell allows: its write-ahead log is full soon.
    let dir = clinic.sites[0].dir.clone();
    let mut shell = Command::new("bash");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 3000; exec \"$0\" serve --config \"$1\" 2>/dev/null"]);
    shell.arg(kanon()).arg(dir.join("kanon.toml")).stdin(Stdio::null()).stdout(Stdio::null());
    let process = Running(shell.spawn().unwrap());
    let alice = {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            match clinic.sites[0].connect(ALICE).await {
                Ok(client) => break client,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let mut answered = 0;
    let refused = loop {
        match alice.ask("SELECT sex, count(*) FROM people GROUP BY sex").await {
            Ok(_) => answered += 1,
            Err(error) => break error,
        }
        assert!(answered < 20_000, "the disk is never full");
    };
    assert!(["53100", "58030", "58000"].contains(&refused.code.as_str()), "{refused:?}");
    assert!(answered > 10);
    lines(&alice, "SELECT 1").await;
    drop(process);
    // With room again, every answer that was given has its entry.
    clinic.sites[0].spawn();
    clinic.sites[0].wait().await;
    let alice = clinic.sites[0].connect(ALICE).await.unwrap();
    let entries = lines(&alice, "SELECT count(*) FROM kanon.audit_log WHERE action = 'release'").await;
    assert_eq!(entries, [answered.to_string()]);
    lines(&alice, "SELECT * FROM wards LIMIT 1").await;
    let output = audit(&clinic.sites[0], &["verify"]);
    assert!(output.status.success(), "{}", text(&output));
}
