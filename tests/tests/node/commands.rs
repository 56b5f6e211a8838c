//! `init`, `serve`, `sql`, `doctor`: what they say, what they leave, and their exit codes.

use std::net::TcpListener;
use std::process::Command;

use kanon_tests::{ADMIN, Federation, SiteSpec, free_port};
use tempfile::TempDir;

use crate::{Said, kanon};

fn one() -> Vec<SiteSpec> {
    vec![SiteSpec { id: "clinic", setup: Vec::new(), files: Vec::new() }]
}

#[test]
fn help_shows_examples_and_what_each_command_takes() {
    let dir = TempDir::new().unwrap();
    let help = kanon(dir.path(), &["--help"]);
    assert_eq!(help.code, Some(0));
    for part in ["Examples:", "kanon demo --check", "kanon init", "kanon serve", "kanon sql", "kanon doctor"] {
        assert!(help.out.contains(part), "{part}: {}", help.out);
    }
    for (command, parts) in [
        ("demo", &["--dir", "--base-port", "15432", "--patients", "50000", "--check"][..]),
        ("serve", &["--config", "kanon.toml"]),
        ("init", &["--dir", "--node-id", "--admin", "--password-file", "--pg-port", "--flight-port"]),
        ("sql", &["--config", "kanon.toml", "-c", "--user", "--connect", "--json", "PGPASSWORD"]),
        ("doctor", &["--config", "kanon.toml", "--json"]),
    ] {
        let help = kanon(dir.path(), &[command, "--help"]);
        assert_eq!(help.code, Some(0));
        for part in parts {
            assert!(help.out.contains(part), "{command} {part}: {}", help.out);
        }
    }
    for wrong in [&["frobnicate"][..], &[], &["demo", "--patients", "few"], &["init"], &["serve", "--confg", "x"]] {
        assert_eq!(kanon(dir.path(), wrong).code, Some(2), "{wrong:?}");
    }
    assert!(kanon(dir.path(), &["serve", "--confg", "x"]).err.contains("--config"), "the nearest is named");
}

#[test]
fn init_does_all_or_nothing() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("short"), "abc").unwrap();
    std::fs::write(dir.path().join("good"), "long enough\n").unwrap();
    let init = |more: &[&str]| {
        let mut args = vec!["init", "--dir", "clinic", "--node-id", "clinic"];
        args.extend(more);
        kanon(dir.path(), &args)
    };
    for (more, part) in [
        (&["--password-file", "short"][..], "fewer than 8 characters"),
        (&["--password-file", "missing"], "cannot read missing"),
        (&["--password-file", "good", "--admin", "steward"], "steward"),
        (&["--password-file", "good", "--admin", "pg_x"], "pg_x"),
        (&["--pg-port", "7000", "--flight-port", "7000"], "a port of its own"),
    ] {
        let said = init(more);
        assert_eq!(said.code, Some(1), "{more:?}: {}", said.err);
        assert!(said.err.contains(part), "{more:?}: {}", said.err);
        let left = dir.path().join("clinic");
        assert!(
            !left.exists(),
            "{more:?} left {:?}",
            left.read_dir().unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>()
        );
    }
    for id in ["public", "pg_x", "Clinic", "a b"] {
        let said = kanon(dir.path(), &["init", "--dir", "other", "--node-id", id]);
        assert_eq!(said.code, Some(1), "{id}");
        assert!(!dir.path().join("other").exists());
    }
    // A folder that was there keeps what was in it, and nothing else.
    std::fs::create_dir(dir.path().join("clinic")).unwrap();
    std::fs::write(dir.path().join("clinic/mine.csv"), "a\n").unwrap();
    assert_eq!(init(&["--password-file", "good", "--admin", "steward"]).code, Some(1));
    assert_eq!(dir.path().join("clinic").read_dir().unwrap().count(), 1);
    // After any failure the same command works.
    let said = init(&[]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.contains("shown only now") && said.out.contains("kanon serve --config clinic/kanon.toml"));
    let before = std::fs::read(dir.path().join("clinic/kanon.toml")).unwrap();
    let again = init(&[]);
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("initialised once"), "{}", again.err);
    assert_eq!(std::fs::read(dir.path().join("clinic/kanon.toml")).unwrap(), before);
}

#[test]
fn serve_says_what_is_wrong_with_its_configuration() {
    let dir = TempDir::new().unwrap();
    let said = kanon(dir.path(), &["serve"]);
    assert_eq!(said.code, Some(1));
    assert!(
        said.err.contains("kanon.toml") && said.err.contains("kanon init"),
        "the default, and what to do: {}",
        said.err
    );
    let (pg, flight) = (free_port().to_string(), free_port().to_string());
    let made = kanon(dir.path(), &["init", "--node-id", "clinic", "--pg-port", &pg, "--flight-port", &flight]);
    assert_eq!(made.code, Some(0), "{}", made.err);
    let config = dir.path().join("kanon.toml");
    let good = std::fs::read_to_string(&config).unwrap();
    let with = |more: &str| -> Said {
        std::fs::write(&config, format!("{good}{more}\n")).unwrap();
        let said = kanon(dir.path(), &["serve"]);
        std::fs::write(&config, &good).unwrap();
        said
    };
    for (more, part) in [
        ("min_cohrt = 5", "Did you mean \"min_cohort\"?"),
        ("min_cohort = 1", "at least 2"),
        ("log_level = '=nonsense='", "log_level"),
        ("tls_cert = 'a.pem'", "go together"),
        ("tls_cert = 'a.pem'\ntls_key = 'b.pem'", "cannot read"),
        ("tls_cert = 'kanon.toml'\ntls_key = 'kanon.toml'", "TLS"),
        ("tls_cert = 'tls.crt'\ntls_key = 'node.key'", "TLS key does not fit"),
        ("data_root = '/nowhere'", "data_root"),
        ("trusted_node = []", "Did you mean \"trusted_nodes\"?"),
        ("not toml", "TOML"),
    ] {
        let said = with(more);
        assert_eq!(said.code, Some(1), "{more}: {}", said.err);
        assert!(said.err.contains(part), "{more}: {}", said.err);
    }
    for (port, key) in [(&pg, "pg_listen"), (&flight, "flight_listen")] {
        let busy = TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
        let said = kanon(dir.path(), &["serve"]);
        assert_eq!(said.code, Some(1));
        assert!(said.err.contains(&format!("{port} is in use")) && said.err.contains(key), "{}", said.err);
        drop(busy);
    }
    for file in ["node.key", "tls.key"] {
        let path = dir.path().join(file);
        let key = std::fs::read(&path).unwrap();
        std::fs::write(&path, "not a key").unwrap();
        let said = kanon(dir.path(), &["serve"]);
        assert_eq!(said.code, Some(1), "{file}");
        assert!(said.err.contains("key") || said.err.contains(file), "{file}: {}", said.err);
        std::fs::write(&path, key).unwrap();
    }
    let store = dir.path().join("kanon.db");
    std::fs::rename(&store, dir.path().join("kept.db")).unwrap();
    std::fs::write(&store, "not a database, not at all").unwrap();
    let said = kanon(dir.path(), &["serve"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("kanon.db"), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_answers_and_its_exit_code_says_how_it_went() {
    let federation = Federation::start(one()).await;
    let dir = &federation.sites[0].dir;
    let sql = |password: Option<&str>, args: &[&str]| -> Said {
        let mut command = Command::new(kanon_tests::kanon());
        command.current_dir(dir).arg("sql").args(args).env_remove("PGPASSWORD");
        if let Some(password) = password {
            command.env("PGPASSWORD", password);
        }
        command.output().unwrap().into()
    };
    let said = sql(Some(ADMIN.1), &["-c", "SELECT 41 + 1 AS n"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), " n\n----\n 42\n(1 row)\n"), "{}", said.err);
    let said = sql(Some(ADMIN.1), &["--json", "-c", "SELECT 'a' AS x, NULL AS y"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "{\"x\":\"a\",\"y\":null}\n"));
    let said = sql(Some(ADMIN.1), &["-c", "SELECT * FROM nothing"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("\"nothing\" does not exist (42P01)"), "{}", said.err);
    let said = sql(Some("wrong"), &["-c", "SELECT 1"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("28P01"), "{}", said.err);
    let said = sql(None, &["-c", "SELECT 1"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("PGPASSWORD"), "{}", said.err);
    let said = sql(Some("x"), &["--connect", "127.0.0.1:1", "-c", "SELECT 1"]);
    assert_eq!(said.code, Some(1));
    assert_eq!(sql(Some("x"), &["--connect", "nonsense"]).code, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_goes_to_another_machine_over_tls_only() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("secret"), "long enough\n").unwrap();
    let (pg, flight) = (free_port().to_string(), free_port().to_string());
    let init = ["init", "--node-id", "clinic", "--password-file", "secret", "--pg-port", &pg, "--flight-port", &flight];
    assert_eq!(kanon(dir.path(), &init).code, Some(0));
    // As if it were: its clients must use TLS.
    let config = dir.path().join("kanon.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("require_tls = true\n{text}")).unwrap();
    let mut node = Command::new(kanon_tests::kanon()).current_dir(dir.path()).arg("serve").spawn().unwrap();
    let sql = |args: &[&str]| -> Said {
        let mut command = Command::new(kanon_tests::kanon());
        command.current_dir(dir.path()).args(["sql", "-c", "SELECT 1"]);
        command.args(args).env("PGPASSWORD", "long enough").output().unwrap().into()
    };
    crate::until("the node answers", || (sql(&[]).code == Some(0)).then_some(())).await;
    let port = format!("127.0.0.1:{pg}");
    let said = sql(&["--connect", &port]);
    assert!(said.code == Some(1) && said.err.contains("no encryption"), "{}", said.err);
    let said = sql(&["--connect", &port, "--root-cert", "tls.crt"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    // A certificate of the same name that is another's.
    let other = TempDir::new().unwrap();
    assert_eq!(kanon(other.path(), &["init", "--node-id", "clinic"]).code, Some(0));
    let theirs = other.path().join("tls.crt");
    let said = sql(&["--connect", &port, "--root-cert", theirs.to_str().unwrap()]);
    assert!(said.code == Some(1) && said.err.contains("certificate"), "{}", said.err);
    std::fs::rename(dir.path().join("tls.crt"), dir.path().join("kept.crt")).unwrap();
    std::fs::copy(&theirs, dir.path().join("tls.crt")).unwrap();
    let said = sql(&[]);
    assert!(said.code == Some(1) && said.err.contains("certificate"), "{}", said.err);
    for file in ["missing.crt", "secret"] {
        assert_eq!(sql(&["--connect", &port, "--root-cert", file]).code, Some(1), "{file}");
    }
    node.kill().unwrap();
    node.wait().unwrap();
    for host in ["192.0.2.1:5432", "clinic.example:5432", "[2001:db8::1]:5432"] {
        let said = sql(&["--connect", host]);
        assert!(said.code == Some(1) && said.err.contains("--root-cert"), "{host}: {}", said.err);
    }
    assert_eq!(sql(&["--root-cert", "tls.crt"]).code, Some(2), "it goes with --connect");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_looks_at_everything_and_fails_if_anything_does_not_work() {
    let mut federation = Federation::start(one()).await;
    let dir = federation.sites[0].dir.clone();
    let doctor = || kanon(&dir, &["doctor", "--json"]);
    let findings = |said: &Said| -> Vec<(String, bool, String)> {
        said.out
            .lines()
            .map(|line| {
                let found: serde_json::Value = serde_json::from_str(line).unwrap();
                let text = |key: &str| found[key].as_str().unwrap().to_owned();
                (text("check"), found["ok"].as_bool().unwrap(), text("text"))
            })
            .collect()
    };
    let said = doctor();
    let found = findings(&said);
    assert_eq!(said.code, Some(0), "{found:?} {}", said.err);
    for check in [
        "configuration",
        "folder",
        "identity",
        "certificate",
        "store",
        "clock",
        "memory",
        "postgres port",
        "flight port",
    ] {
        assert!(found.iter().any(|(what, ok, _)| what == check && *ok), "{check}: {found:?}");
    }
    assert!(found.iter().any(|(_, _, text)| text.contains("answers")));
    federation.site_mut("clinic").kill();
    assert!(findings(&doctor()).iter().any(|(_, _, text)| text.contains("is free")));
    let config = dir.join("kanon.toml");
    let good = std::fs::read_to_string(&config).unwrap();
    let pin = format!("127.0.0.1:1#sha256:{}", "ab".repeat(32));
    let fails = |check: &str, text: &str| {
        std::fs::write(&config, text).unwrap();
        let said = doctor();
        let found = findings(&said);
        assert_eq!(said.code, Some(1), "{check}: {found:?}");
        assert!(found.iter().any(|(what, ok, _)| what == check && !ok), "{check}: {found:?}");
        std::fs::write(&config, &good).unwrap();
    };
    fails("configuration", "node_id = 'clinic'\nmin_cohrt = 3");
    fails("peer", &good.replace("trusted_nodes = []", &format!("trusted_nodes = ['{pin}']")));
    fails("memory", &format!("{good}max_memory_mb = 999999999\n"));
    fails("certificate", &format!("{good}tls_cert = 'kanon.toml'\ntls_key = 'kanon.toml'\n"));
    std::fs::rename(dir.join("kanon.db"), dir.join("kept")).unwrap();
    fails("store", &good);
    std::fs::rename(dir.join("kept"), dir.join("kanon.db")).unwrap();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    drop(busy);
    std::fs::write(dir.join("node.key"), "x").unwrap();
    fails("identity", &good);
    assert_eq!(kanon(&dir, &["doctor", "--config", "missing.toml"]).code, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_s_passwords_are_refused_elsewhere() {
    let mut federation = Federation::start(one()).await;
    let admin = federation.sites[0].wait().await;
    admin.ask("CREATE ROLE demo_user LOGIN PASSWORD 'demo_password'").await.unwrap();
    let site = federation.site_mut("clinic");
    site.kill();
    let said = kanon(&site.dir, &["serve"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("role \"demo_user\" has the demo's password"), "{}", said.err);
    // To call oneself a demo is not enough: the folder must be one's.
    let config = site.dir.join("kanon.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}demo = true\n")).unwrap();
    assert_eq!(kanon(&site.dir, &["serve"]).code, Some(1));
    std::fs::write(&config, text.replace("127.0.0.1", "0.0.0.0") + "demo = true\n").unwrap();
    let said = kanon(&site.dir, &["serve"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("loopback only"), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_nobody_is_served_in_the_clear() {
    let mut federation = Federation::start(one()).await;
    let site = federation.site_mut("clinic");
    let config = site.dir.join("kanon.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("pg_listen = \"127.0.0.1:"), "loopback unless told");
    site.kill();
    std::fs::write(&config, text.replace("pg_listen = \"127.0.0.1", "pg_listen = \"0.0.0.0")).unwrap();
    site.spawn();
    let error = crate::until("the listener", || std::net::TcpStream::connect(("127.0.0.1", site.pg_port)).ok());
    drop(error.await);
    let error = match site.connect(ADMIN).await {
        Ok(_) => panic!("a password went over the wire in the clear"),
        Err(error) => error,
    };
    let said = error.as_db_error().expect("the server says why");
    assert_eq!(said.code().code(), "28000", "{said:?}");
    assert!(said.message().contains("no encryption"), "{said:?}");
}
