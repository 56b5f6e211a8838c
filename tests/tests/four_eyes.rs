//! Four eyes: what loosens a rule waits for another steward, and nobody has four eyes alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use std::time::{Duration, Instant};

use kanon_tests::client::{Client, code, lines, refused, run};
use kanon_tests::{ADMIN, Federation, SiteSpec};

const PEOPLE: &str = "SELECT count(*) FROM people";

fn spec() -> SiteSpec {
    let people: String = (0..60).map(|i| format!("{i},{},{}\n", i % 3, if i < 7 { "x" } else { "y" })).collect();
    let setup = [
        "CREATE EXTERNAL TABLE people STORED AS CSV LOCATION '{dir}/people.csv'",
        "CREATE EXTERNAL TABLE wards STORED AS CSV LOCATION '{dir}/wards.csv'",
        "CREATE EXTERNAL TABLE visits STORED AS CSV LOCATION '{dir}/visits.csv'",
    ];
    let files = vec![
        ("wards.csv".to_owned(), b"ward,name\n0,north\n1,south\n2,west\n".to_vec()),
        ("visits.csv".to_owned(), b"id,days\n1,2\n2,3\n".to_vec()),
        ("people.csv".to_owned(), format!("id,ward,team\n{people}").into_bytes()),
    ];
    SiteSpec { id: "clinic", setup: setup.map(str::to_owned).to_vec(), files }
}

/// Says something that waits; the number of the change.
async fn waits(client: &Client, sql: &str) -> String {
    let answer = run(client, sql).await;
    let told = answer.notices.join("\n");
    let number = told.split_once("kanon.approve_change('").and_then(|(_, rest)| rest.split_once('\'')).map(|(n, _)| n);
    number.unwrap_or_else(|| panic!("{sql} waits for nobody: {told}")).to_owned()
}

/// Says something that is done at once.
async fn done(client: &Client, sql: &str) {
    let answer = run(client, sql).await;
    assert!(!answer.notices.iter().any(|told| told.contains("approve_change")), "{sql}: {:?}", answer.notices);
}

async fn approve(client: &Client, change: &str) {
    assert_eq!(lines(client, &format!("SELECT kanon.approve_change('{change}')")).await, ["t"]);
}

/// A node with two people who decide, root and vera, whose password is her own; and a table with a policy.
async fn two_of_them() -> (Federation, Client, Client) {
    let federation = Federation::configured(vec![spec()], "four_eyes = true").await;
    let root = federation.sites[0].connect(ADMIN).await.unwrap();
    done(&root, "CREATE ROLE vera LOGIN PASSWORD 'first'").await;
    assert_eq!(code(&root, "GRANT steward TO vera").await, "42501", "who knows her password would be both");
    let vera = federation.sites[0].connect(("vera", "first")).await.unwrap();
    done(&vera, "ALTER ROLE vera PASSWORD 'her own'").await;
    // There is nobody else yet who could look at it.
    done(&root, "GRANT steward TO vera").await;
    for table in ["people", "visits"] {
        let policy = "SET (access = 'cohort', unit = 'id', unit_kind = 'patient', min_cohort = 10)";
        approve(&vera, &waits(&root, &format!("ALTER TABLE {table} {policy}")).await).await;
    }
    (federation, root, vera)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_loosens_a_rule_waits_for_another_steward() {
    let (federation, root, vera) = two_of_them().await;
    done(&root, "CREATE ROLE ana LOGIN PASSWORD 'x'").await;
    done(&root, "GRANT analyst TO ana").await;
    done(&root, "GRANT SELECT ON people TO ana").await;
    let ana = federation.sites[0].connect(("ana", "x")).await.unwrap();
    assert_eq!(lines(&ana, PEOPLE).await, ["60"]);
    let small = "SELECT count(*) FROM people WHERE team = 'x'";
    assert_eq!(lines(&ana, small).await, [""], "seven are fewer than ten");

    // Stricter at once; looser not before another steward has said so.
    done(&root, "ALTER TABLE people SET (min_cohort = 12)").await;
    let change = waits(&root, "ALTER TABLE people SET (min_cohort = 5)").await;
    assert_eq!(lines(&ana, small).await, [""]);
    let listed = "SELECT change, statement, difference, proposed_by FROM kanon.pending_changes";
    let expected = format!("{change}|ALTER TABLE people SET (min_cohort = '5')|min_cohort: 12 → 5|root");
    assert_eq!(lines(&vera, listed).await, [expected]);
    assert_eq!(lines(&ana, listed).await, Vec::<String>::new());
    for (who, state) in [(&root, "42501"), (&ana, "42501")] {
        assert_eq!(code(who, &format!("SELECT kanon.approve_change('{change}')")).await, state);
    }
    assert_eq!(code(&ana, &format!("SELECT kanon.reject_change('{change}')")).await, "42501");
    let own = "SELECT count(*) FROM kanon.audit_log WHERE statement LIKE '%approve_change%'";
    let told = format!("{own} AND statement LIKE '%min_cohort%'");
    assert_ne!(lines(&ana, own).await, ["0"]);
    assert_eq!(lines(&ana, &told).await, ["0"], "her own entries tell nobody what waits");
    assert_eq!(code(&vera, "SELECT kanon.approve_change('47110815')").await, "42704");
    assert_eq!(code(&vera, "SELECT kanon.approve_change(NULL)").await, "22023");
    approve(&vera, &change).await;
    assert_eq!(lines(&ana, small).await, ["7"]);
    assert_eq!(code(&vera, &format!("SELECT kanon.approve_change('{change}')")).await, "42704", "it is made once");

    // What was looked at is what is done.
    let change = waits(&vera, "ALTER TABLE people SET (min_cohort = 4)").await;
    done(&root, "ALTER TABLE people SET (min_cohort = 9)").await;
    let error = refused(&root, &format!("SELECT kanon.approve_change('{change}')")).await;
    assert_eq!((error.code.as_str(), error.message.contains("no longer what it was")), ("55000", true), "{error:?}");
    assert_eq!(lines(&vera, &format!("SELECT kanon.reject_change('{change}')")).await, ["t"], "its own");
    assert_eq!(lines(&root, listed).await, Vec::<String>::new());

    // The same for everything else that tells more.
    for sql in [
        "ALTER TABLE people SET (access = 'open')",
        "ALTER TABLE people SET (unit = 'ward')",
        "ALTER TABLE people SET (dominance_percent = 99)",
        "ALTER TABLE IF EXISTS people RESET (min_cohort, unit_kind)",
        "ALTER TABLE wards SET (access = 'open')",
        "ALTER TABLE people ALTER COLUMN ward SET (domain = '{0,1,2}')",
        "CREATE PRIVACY UNIT patient WITH (budget_epsilon = 10)",
        "GRANT SELECT ON people TO public",
        "GRANT SELECT ON people TO analyst",
        "GRANT SELECT ON people TO \"analyst@*\"",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO ana",
        "GRANT SELECT ON people, visits TO ana",
        "GRANT admin TO vera",
        "GRANT steward TO ana",
    ] {
        waits(&root, sql).await;
    }
    assert_eq!(lines(&root, "SELECT count(*) FROM kanon.pending_changes").await, ["14"]);
    waits(&root, "GRANT SELECT ON people TO public").await;
    assert_eq!(lines(&root, "SELECT count(*) FROM kanon.pending_changes").await, ["14"], "the same again is the same");
    assert_eq!(code(&federation.sites[0].connect(("ana", "x")).await.unwrap(), "SELECT * FROM wards").await, "42P01");
    // A group gives its members what it may; a table without a policy is no table that nobody has.
    done(&root, "CREATE ROLE team").await;
    done(&root, "GRANT SELECT (days) ON visits TO team").await;
    waits(&root, "GRANT team TO ana").await;
    // Another table of the same name is another table.
    let create = format!(
        "CREATE EXTERNAL TABLE open_one STORED AS CSV LOCATION '{}/wards.csv'",
        federation.sites[0].dir.display()
    );
    done(&root, &create).await;
    let change = waits(&root, "ALTER TABLE open_one SET (access = 'open')").await;
    let told = lines(&vera, &format!("SELECT difference FROM kanon.pending_changes WHERE change = {change}")).await;
    assert!(told[0].contains("reads csv") && told[0].contains("/wards.csv"), "{told:?}");
    done(&root, "DROP TABLE open_one").await;
    done(&root, &create.replace("wards.csv", "people.csv")).await;
    assert_eq!(code(&vera, &format!("SELECT kanon.approve_change('{change}')")).await, "55000");
    // So is another role of the same name.
    done(&root, "CREATE ROLE guest").await;
    let change = waits(&root, "GRANT SELECT ON people, visits TO guest").await;
    assert_eq!(waits(&root, "GRANT SELECT ON people, visits TO guest").await, change, "said again");
    done(&root, "DROP ROLE guest").await;
    done(&root, "CREATE ROLE guest").await;
    assert_eq!(code(&vera, &format!("SELECT kanon.approve_change('{change}')")).await, "55000");
    // No transaction takes back what is made at once, and whoever is in one is told.
    run(&root, "BEGIN").await;
    let told = run(&root, "ALTER TABLE visits SET (min_cohort = 11)").await.notices;
    assert!(told.iter().any(|told| told.contains("it stays")), "{told:?}");
    run(&root, "ROLLBACK").await;
    assert_eq!(lines(&root, "SELECT min_cohort FROM kanon.policies WHERE table_name = 'visits'").await, ["11"]);
    // And what cannot be is told at once.
    assert_eq!(code(&root, "ALTER TABLE people SET (min_cohort = 1)").await, "22023");
    assert_eq!(code(&root, "ALTER TABLE poeple SET (min_cohort = 2)").await, "42P01");
    assert_eq!(code(&root, "GRANT steward TO nobody").await, "42704");
    assert_eq!(code(&ana, "ALTER TABLE people SET (min_cohort = 2)").await, "42501");

    let budget =
        waits(&root, "CREATE PRIVACY UNIT patient WITH (budget_epsilon = 10, budget_window = '30 days')").await;
    approve(&vera, &budget).await;
    for sql in [
        "ALTER PRIVACY UNIT patient SET (budget_epsilon = 5)",
        "ALTER PRIVACY UNIT patient SET (budget_window = '60 days')",
        "ALTER PRIVACY UNIT patient FOR ana SET (budget_epsilon = 1)",
        "ALTER ROLE ana SET kanon.budget_epsilon = 2",
        "ALTER TABLE people SET (suspended = true)",
        "CALL kanon.exclude_unit('patient', '7')",
    ] {
        done(&root, sql).await;
    }
    waits(&root, "ALTER TABLE people RESET (suspended)").await;
    for sql in [
        "ALTER PRIVACY UNIT patient SET (budget_epsilon = 6)",
        "ALTER PRIVACY UNIT patient SET (budget_window = '1 day')",
        "ALTER PRIVACY UNIT patient FOR ana RESET (budget_epsilon)",
        "ALTER ROLE ana RESET kanon.budget_epsilon",
        "ALTER TABLE people SET (suspended = false)",
    ] {
        waits(&root, sql).await;
    }
    // With a kind go the limits of those who may spend less of it.
    approve(&vera, &waits(&root, "CREATE PRIVACY UNIT household WITH (budget_epsilon = 3)").await).await;
    done(&root, "ALTER PRIVACY UNIT household FOR ana SET (budget_epsilon = 1)").await;
    let gone = waits(&root, "DROP PRIVACY UNIT household").await;
    let told = lines(&vera, &format!("SELECT difference FROM kanon.pending_changes WHERE change = {gone}")).await;
    assert!(told[0].contains("for \"ana\": epsilon 1 → not set"), "{told:?}");
    // Operators stop a node, and who stopped it lets it go on; of others another steward does.
    done(&root, "CREATE ROLE op LOGIN PASSWORD 'x'").await;
    done(&root, "GRANT operator TO op").await;
    let op = federation.sites[0].connect(("op", "x")).await.unwrap();
    done(&op, "ALTER SYSTEM SET kanon.suspended = on").await;
    done(&op, "ALTER SYSTEM RESET kanon.suspended").await;
    done(&root, "ALTER SYSTEM SET kanon.suspended = on").await;
    assert_eq!(code(&op, "ALTER SYSTEM RESET kanon.suspended").await, "42501", "no steward proposes it");
    done(&root, "ALTER SYSTEM RESET kanon.suspended").await;
    done(&op, "ALTER SYSTEM SET kanon.suspended = on").await;
    approve(&vera, &waits(&root, "ALTER SYSTEM RESET kanon.suspended").await).await;
    for role in ["vera", "op"] {
        assert_eq!(code(&op, &format!("DROP ROLE {role}")).await, "42501", "who decides is told to nobody");
    }
    let back = waits(&root, "CALL kanon.include_unit('patient', '7')").await;
    assert_eq!(lines(&root, "SELECT unit FROM kanon.excluded_units").await, ["7"]);
    approve(&vera, &back).await;
    assert_eq!(lines(&root, "SELECT unit FROM kanon.excluded_units").await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_two_people() {
    let (federation, root, vera) = two_of_them().await;
    let site = &federation.sites[0];
    // Whoever could come in as the other would have four eyes.
    for sql in [
        "ALTER ROLE vera PASSWORD 'mine'",
        "ALTER ROLE vera PASSWORD NULL",
        "SELECT kanon.create_token(role => 'vera')",
        "SELECT kanon.create_api_key('k', role => 'vera')",
        "CREATE ROLE third LOGIN PASSWORD 'x' IN ROLE steward",
    ] {
        assert_eq!(code(&root, sql).await, "42501", "{sql}");
    }
    waits(&root, "ALTER ROLE vera SET kanon.certificate = 'CN=root'").await;
    done(&root, "CREATE ROLE hidden LOGIN").await;
    run(&root, "SELECT kanon.create_api_key('k', role => 'hidden')").await;
    done(&root, "ALTER ROLE hidden NOLOGIN").await;
    let hidden = waits(&root, "GRANT steward TO hidden").await;
    let told = lines(&root, &format!("SELECT difference FROM kanon.pending_changes WHERE change = {hidden}")).await;
    assert!(told[0].contains("API key \"k\" that \"root\" made"), "{told:?}");
    done(&root, &format!("SELECT kanon.reject_change('{hidden}')")).await;
    // And whoever is alone would need no other.
    for sql in ["REVOKE steward FROM vera", "DROP ROLE vera", "ALTER ROLE vera NOLOGIN"] {
        let error = refused(&root, sql).await;
        assert_eq!((error.code.as_str(), error.message.contains("at least 2")), ("55000", true), "{error:?}");
    }
    done(&root, "ALTER ROLE vera SET kanon.suspended = true").await;
    done(&root, "CREATE ROLE eva LOGIN PASSWORD 'known to root'").await;
    let change = waits(&root, "GRANT steward TO eva").await;
    done(&root, "ALTER ROLE vera SET kanon.suspended = false").await;

    // A key and a session that root has as eva do not outlive the grant, nor her own password.
    let key = lines(&root, "SELECT kanon.create_api_key('k', role => 'eva')").await.remove(0);
    assert!(site.connect(("token", &key)).await.is_ok());
    let as_eva = site.connect(("eva", "known to root")).await.unwrap();
    let eva = site.connect(("eva", "known to root")).await.unwrap();
    done(&eva, "ALTER ROLE eva PASSWORD 'her own'").await;
    let since = Instant::now();
    while as_eva.ask("SELECT 1").await.is_ok() {
        assert!(since.elapsed() < Duration::from_secs(5), "a session with the old password goes on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(lines(&eva, "SELECT 1").await, ["1"], "the one that set the new one goes on");
    let vera = match vera.ask("SELECT 1").await {
        Ok(_) => vera,
        Err(_) => site.connect(("vera", "her own")).await.unwrap(),
    };
    // What would be granted is to somebody with another way in than when it was proposed.
    assert_eq!(code(&vera, &format!("SELECT kanon.approve_change('{change}')")).await, "55000");
    let change = waits(&root, "GRANT steward TO eva").await;
    let told = lines(&vera, &format!("SELECT difference FROM kanon.pending_changes WHERE change = {change}")).await;
    assert!(told[0].contains("a password that \"eva\" set at 20"), "{told:?}");
    let keys = lines(&vera, "SELECT kanon.create_api_key('mine')").await.remove(0);
    let program = site.connect(("token", &keys)).await.unwrap();
    assert_eq!(code(&program, &format!("SELECT kanon.approve_change('{change}')")).await, "42501", "no person");
    assert_eq!(code(&program, "ALTER TABLE people SET (min_cohort = 2)").await, "42501", "no person");
    approve(&vera, &change).await;
    assert!(site.connect(("token", &key)).await.is_err(), "a key that another made of a role that decides now");
    assert_eq!(lines(&eva, "SELECT count(*) FROM kanon.pending_changes").await, ["1"]);
    // Now there are three, and one may go.
    let change = waits(&eva, "ALTER TABLE people SET (min_cohort = 3)").await;
    done(&root, "ALTER ROLE eva NOLOGIN").await;
    done(&root, "ALTER ROLE eva SET kanon.suspended = on").await;
    let login = waits(&root, "ALTER ROLE eva LOGIN").await;
    done(&root, "ALTER ROLE eva RESET kanon.suspended").await;
    assert!(site.connect(("eva", "her own")).await.is_err(), "let in by one");
    approve(&vera, &login).await;
    assert!(site.connect(("eva", "her own")).await.is_ok());
    done(&root, "REVOKE steward FROM eva").await;
    let error = refused(&vera, &format!("SELECT kanon.approve_change('{change}')")).await;
    assert_eq!(error.code, "55000", "whoever proposed it could not make it any more: {error:?}");
    done(&root, "DROP ROLE eva").await;
    assert_eq!(code(&vera, &format!("SELECT kanon.approve_change('{change}')")).await, "42704", "gone with her");
}

/// Who comes by an invite of one asks nothing before another has said so.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_one_brings_waits_too() {
    let other = SiteSpec { id: "praxis", setup: Vec::new(), files: Vec::new() };
    let mut federation = Federation::strangers(vec![spec(), other]).await;
    let site = &mut federation.sites[0];
    site.environment.push(("KANON_FOUR_EYES".to_owned(), "true".to_owned()));
    site.terminate().await;
    site.spawn();
    let (root, there) = (site.wait().await, federation.sites[1].connect(ADMIN).await.unwrap());
    let invite = lines(&root, "SELECT kanon.invite_node()").await.remove(0);
    run(&there, &format!("SELECT kanon.accept_invite('{invite}')")).await;
    let may_query = "SELECT may_query FROM kanon.peers";
    assert_eq!((lines(&root, may_query).await, lines(&there, may_query).await), (vec!["f".into()], vec!["t".into()]));
    waits(&root, "ALTER SERVER praxis OPTIONS (SET may_query 'true')").await;
    assert_eq!(lines(&root, may_query).await, ["f"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_what_is_different() {
    let (federation, root, vera) = two_of_them().await;
    let change = waits(&root, "ALTER TABLE people SET (min_cohort = 5)").await;
    approve(&vera, &change).await;
    let seen = "SELECT principal, action, decision, coalesce(rule, ''), statement FROM kanon.audit_log \
                WHERE statement LIKE '%min_cohort%10%5' ORDER BY seq";
    let looser = "ALTER TABLE people SET (min_cohort = '5') -- min_cohort: 10 → 5";
    let approved = "SELECT kanon.approve_change(change => ?) -- ALTER TABLE people SET (min_cohort = '5'), proposed by \"root\": min_cohort: 10 → 5";
    let expected = [
        format!("root|policy|asked||{looser}"),
        format!("root|policy|asked|waits for another steward|{looser}"),
        format!("vera|policy|asked||{approved}"),
        format!("vera|policy|allowed||{approved}"),
    ];
    assert_eq!(lines(&root, seen).await, expected);
    let on = "SELECT count(*) FROM kanon.audit_log WHERE rule = 'changes need four eyes'";
    assert_eq!(lines(&root, on).await, ["1"], "and from when on");
    // They outlive the node.
    let change = waits(&root, "ALTER TABLE people SET (min_cohort = 4)").await;
    let mut federation = federation;
    let site = &mut federation.sites[0];
    site.terminate().await;
    site.spawn();
    site.wait().await;
    approve(&site.connect(("vera", "her own")).await.unwrap(), &change).await;
    let policy = "SELECT min_cohort FROM kanon.policies WHERE table_name = 'people'";
    assert_eq!(lines(&site.connect(ADMIN).await.unwrap(), policy).await, ["4"]);
}

/// Without the setting, nothing waits, and the log says all the same what is different.
#[tokio::test(flavor = "multi_thread")]
async fn two_eyes_are_enough_where_nobody_asks_for_four() {
    let federation = Federation::start(vec![spec()]).await;
    let root = federation.sites[0].connect(ADMIN).await.unwrap();
    for sql in [
        "ALTER TABLE people SET (access = 'cohort', unit = 'id', min_cohort = 10)",
        "ALTER TABLE people SET (min_cohort = 5)",
        "GRANT SELECT ON people TO public",
        "CREATE ROLE bob LOGIN PASSWORD 'x' IN ROLE steward",
        "ALTER ROLE bob PASSWORD 'y'",
        "REVOKE steward FROM bob",
    ] {
        done(&root, sql).await;
    }
    let told = lines(&root, "SELECT statement FROM kanon.audit_log WHERE decision = 'allowed' ORDER BY seq").await;
    let has = |text: &str| assert!(told.iter().any(|told| told.ends_with(text)), "{text}: {told:#?}");
    has(" access: not set → cohort; unit: not set → id; min_cohort: not set → 10");
    has("-- min_cohort: 10 → 5");
    has("-- \"public\" may SELECT from public.people");
    has("-- \"bob\" becomes a member of \"steward\"");
    has("ALTER ROLE bob PASSWORD '***' -- the password of \"bob\"");
    has("-- \"bob\" is no longer a member of \"steward\"");
}
