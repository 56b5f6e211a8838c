//! Names of roles that need quotes, and rights that nobody has to give.

use kanon_tests::tools::{Said, program, psql};
use kanon_tests::{Federation, SiteSpec};

use crate::{lives, node, refused};

/// What psql printed, without the notices.
fn rows(said: &Said) -> String {
    said.text().lines().filter(|line| !line.starts_with("NOTICE:")).map(|line| format!("{line}\n")).collect()
}

/// Names that PostgreSQL takes in quotes, and that must come back as they are. No two are the same.
const NAMES: [&str; 11] = [
    "O'Brien \"the boss\"",
    "Zoë",
    "Zoe\u{308}",
    "日本 の 人",
    "😀",
    "'; DROP ROLE root; --",
    "ANA",
    "ana",
    "a b\\c",
    "select",
    "x123456789012345678901234567890123456789012345678901234567890ab",
];

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn csv() -> Vec<u8> {
    std::iter::once("id,n\n".to_owned()).chain((0..60).map(|i| format!("{i},{i}\n"))).collect::<String>().into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_quotes_and_of_all_scripts() {
    if program("psql").is_none() {
        return;
    }
    let setup = [
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{dir}/t.csv'",
        "ALTER TABLE t SET (access = 'cohort', unit = 'id', min_cohort = 10)",
    ];
    let (federation, admin) = node(vec![("t.csv", csv())], &setup).await;
    let port = federation.sites[0].pg_port;
    for name in NAMES {
        let role = quoted(name);
        for sql in [
            format!("CREATE ROLE {role} LOGIN PASSWORD 'a long password of {}'", name.replace('\'', "''")),
            format!("GRANT analyst TO {role}"),
            format!("GRANT SELECT ON t TO {role}"),
        ] {
            admin.ask(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        }
        refused(&admin, &format!("CREATE ROLE {role}"), "42710", name.split('"').next().unwrap()).await;
    }
    let listed = admin.ask("SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname <> 'root'").await.unwrap();
    for name in NAMES {
        assert!(listed.lines().contains(&name.to_owned()), "{name}: {listed:?}");
    }
    let shown = psql(port, kanon_tests::ADMIN, &["-c", "\\du", "-c", "\\dp t"], "").await;
    for name in NAMES {
        assert!(shown.text().contains(name), "{name}: {}", shown.text());
    }
    for name in NAMES {
        let password = format!("a long password of {name}");
        let asked = "SELECT current_user; SELECT count(*) FROM t; SELECT has_table_privilege('t', 'SELECT')";
        let said = psql(port, (name, &password), &["-At", "-c", asked], "").await;
        assert!(said.ended_well && rows(&said) == format!("{name}\n60\nt\n"), "{name}: {}", said.text());
        // Only what is its own.
        let log = "SELECT DISTINCT principal FROM kanon.audit_log";
        let said = psql(port, (name, &password), &["-At", "-c", log], "").await;
        assert_eq!(rows(&said), format!("{name}\n"));
        let role = quoted(name);
        admin.ask(&format!("REVOKE SELECT ON t FROM {role}")).await.unwrap();
        let said = psql(port, (name, &password), &["-At", "-c", "SELECT count(*) FROM t"], "").await;
        assert!(said.text().contains("does not exist"), "{name}: {}", said.text());
        admin.ask(&format!("DROP ROLE {role}")).await.unwrap();
        let said = psql(port, (name, &password), &["-At", "-c", "SELECT 1"], "").await;
        assert!(!said.ended_well && said.text().contains("password authentication failed"), "{name}: {}", said.text());
        refused(&admin, &format!("DROP ROLE {role}"), "42704", "does not exist").await;
    }
    for (name, code) in [
        ("", ""),
        ("a\u{7}b", "42602"),
        ("a\nb", "42602"),
        ("\u{85}", "42602"),
        ("pg_ana", "42602"),
        ("analyst", "42602"),
        ("public", "42602"),
        ("token", "42602"),
        ("@zurich", "42602"),
        ("ana@Zürich", "42602"),
        ("ana@a@b", "42602"),
        (&"x".repeat(64), "42602"),
        (&"é".repeat(32), "42602"),
        (&"x".repeat(100_000), "42602"),
    ] {
        let sql = format!("CREATE ROLE {}", quoted(name));
        let error = admin.ask(&sql).await.unwrap_err();
        assert!(error.code.starts_with(code), "{name:?}: {error:?}");
    }
    let left = admin.ask("SELECT rolname FROM pg_roles WHERE rolcanlogin").await.unwrap();
    assert_eq!(left.lines(), ["root"]);
    lives(&federation, &admin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_grants_what_is_not_theirs() {
    let password = "PASSWORD 'a long password'";
    let setup = vec![
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{dir}/t.csv'".to_owned(),
        "ALTER TABLE t SET (access = 'cohort', unit = 'id', min_cohort = 10)".to_owned(),
        format!("CREATE ROLE ana LOGIN {password}"),
        format!("CREATE ROLE stella LOGIN {password}"),
        format!("CREATE ROLE otto LOGIN {password}"),
        format!("CREATE ROLE augusta LOGIN {password}"),
        "CREATE ROLE readers".to_owned(),
        "GRANT analyst, readers TO ana".to_owned(),
        "GRANT steward TO stella".to_owned(),
        "GRANT operator TO otto".to_owned(),
        "GRANT auditor TO augusta".to_owned(),
        "GRANT SELECT ON t TO readers".to_owned(),
    ];
    let spec = SiteSpec { id: "clinic", setup, files: vec![("t.csv".to_owned(), csv())] };
    let federation = Federation::start(vec![spec]).await;
    let site = &federation.sites[0];
    let admin = site.wait().await;
    for role in ["ana", "stella", "otto", "augusta"] {
        let client = site.connect((role, "a long password")).await.unwrap();
        let mut denied = vec![
            format!("GRANT admin TO {role}"),
            format!("GRANT steward, analyst TO {role}"),
            "GRANT readers TO stella".to_owned(),
            "REVOKE admin FROM root".to_owned(),
            "REVOKE readers FROM ana".to_owned(),
            "DROP ROLE readers".to_owned(),
            format!("ALTER ROLE root {password}"),
            "ALTER ROLE root NOLOGIN".to_owned(),
            format!("CREATE ROLE {role}2 LOGIN {password}"),
        ];
        if role != "stella" {
            denied.push(format!("ALTER ROLE {role} SET kanon.budget_epsilon = 1000000"));
            denied.push("GRANT SELECT ON t TO readers WITH GRANT OPTION".to_owned());
            denied.push(format!("GRANT SELECT ON t TO {role}"));
            denied.push("GRANT SELECT ON t TO PUBLIC".to_owned());
            denied.push("GRANT SELECT (n) ON t TO otto".to_owned());
            denied.push("REVOKE SELECT ON t FROM readers".to_owned());
        }
        for sql in &denied {
            let error = client.ask(sql).await.expect_err(sql);
            // What it may not see does not exist; what nobody may be given is not supported.
            assert!(["42501", "42P01", "0A000"].contains(&error.code.as_str()), "{role}: {sql}: {error:?}");
        }
    }
    for sql in [
        "GRANT nobody TO ana",
        "GRANT readers TO nobody",
        "GRANT SELECT ON t TO nobody",
        "REVOKE SELECT ON t FROM nobody",
    ] {
        refused(&admin, sql, "42704", "does not exist").await;
    }
    assert!(admin.ask("GRANT readers TO readers").await.is_err());
    let of = "SELECT has_table_privilege('ana', 't', 'SELECT'), has_table_privilege('otto', 't', 'SELECT')";
    assert_eq!(admin.ask(of).await.unwrap().lines(), ["t|f"]);
    lives(&federation, &admin).await;
}
