//! Encryption of the Postgres port.

use std::process::{Command, Stdio};

use kanon_tests::{ADMIN, Federation, SiteSpec, kanon};

use super::drivers::script;
use kanon_tests::tools::{program, psql, python, run};

async fn one_node(id: &'static str) -> Federation {
    Federation::start(vec![SiteSpec { id, setup: Vec::new(), files: Vec::new() }]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_encrypted_and_bound_to_the_certificate_they_saw() {
    let Some(python) = python() else { return };
    let federation = one_node("cleveland").await;
    let node = &federation.sites[0];
    let other = tempfile::tempdir().unwrap();
    let made = Command::new(kanon()).args(["init", "--node-id", "other", "--dir"]).arg(other.path()).output().unwrap();
    assert!(made.status.success());
    let path = |dir: &std::path::Path, name: &str| dir.join(name).to_string_lossy().into_owned();
    let arguments = [
        node.pg_port.to_string(),
        ADMIN.0.to_owned(),
        ADMIN.1.to_owned(),
        path(&node.dir, "tls.crt"),
        path(other.path(), "tls.crt"),
        path(other.path(), "tls.key"),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let said = script(&python, "tls.py", &arguments).await;
    assert!(said.ended_well, "{}", said.text());

    let Some(program) = program("psql") else { return };
    let authority = path(&node.dir, "tls.crt");
    let port = node.pg_port.to_string();
    let env = [("PGPASSWORD", ADMIN.1), ("PGUSER", ADMIN.0), ("PGDATABASE", "kanon"), ("PGPORT", port.as_str())];
    for options in ["sslmode=require", "sslmode=verify-full sslrootcert=", "sslmode=require channel_binding=require"] {
        let options = options.replace("sslrootcert=", &format!("sslrootcert={authority}"));
        let said =
            run(&program, &["-X", "-d", &format!("host=localhost {options}"), "-c", "\\conninfo"], &env, "").await;
        assert!(
            said.ended_well && said.text().contains("SSL connection (protocol: TLSv1.3"),
            "{options}: {}",
            said.text()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_there_is_no_plaintext() {
    if program("psql").is_none() {
        return;
    }
    let mut federation = one_node("cleveland").await;
    let node = &mut federation.sites[0];
    let asks = |port: u16, options: &'static str| async move {
        psql(port, ADMIN, &["-d", options, "-Atc", "select 'in'"], "").await
    };
    assert_eq!(asks(node.pg_port, "host=127.0.0.1 sslmode=disable").await.text(), "in\n");
    node.kill();
    let config = node.dir.join("kanon.toml");
    let before = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, before.replace("pg_listen = \"127.0.0.1:", "pg_listen = \"0.0.0.0:")).unwrap();
    node.spawn();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let said = asks(node.pg_port, "host=127.0.0.1 sslmode=require").await;
        if said.text() == "in\n" {
            break;
        }
        assert!(std::time::Instant::now() < until, "{}\n{}", said.text(), node.log());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let said = asks(node.pg_port, "host=127.0.0.1 sslmode=disable").await;
    assert!(!said.ended_well && said.text().contains("no encryption"), "{}", said.text());

    // A certificate that cannot be used stops the node: it never listens without.
    node.kill();
    for (name, broken) in [("tls.key", "no key"), ("tls.crt", "no certificate")] {
        let file = node.dir.join(name);
        let good = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, broken).unwrap();
        let mut process = Command::new(kanon())
            .args(["serve", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let status = loop {
            if let Some(status) = process.try_wait().unwrap() {
                break Some(status);
            }
            if std::time::Instant::now() > until {
                break None;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };
        let _ = process.kill();
        let output = process.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(status.is_some_and(|s| !s.success()), "{name}: the node serves all the same: {said}");
        assert!(said.contains("TLS") || said.contains(name), "{name}: {said}");
        std::fs::write(&file, good).unwrap();
    }
}
