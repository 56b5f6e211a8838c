//! psql 15 at a node and at PostgreSQL 15.

use std::path::Path;

use kanon_tests::ANALYST;

use super::world;
use kanon_tests::postgres::Postgres;
use kanon_tests::tools::{program, psql};

/// What `\echo === name` lines part.
fn parts(said: &str, port: u16) -> Vec<(String, String)> {
    let said = said.replace(&port.to_string(), "PORT");
    said.split("=== ")
        .filter(|part| !part.trim().is_empty())
        .map(|part| part.split_once('\n').map(|(name, text)| (name.to_owned(), text.to_owned())).unwrap())
        .collect()
}

/// Runs a script at both and lists the lines in which they differ.
async fn differences(script: &str, node: u16, postgres: u16) -> String {
    let ours = psql(node, ANALYST, &[], script).await.text();
    let theirs = psql(postgres, ANALYST, &[], script).await.text();
    let (ours, theirs) = (parts(&ours, node), parts(&theirs, postgres));
    let mut differences = String::new();
    assert!(!theirs.is_empty(), "psql says nothing");
    for (number, (name, expected)) in theirs.iter().enumerate() {
        let found = ours.iter().find(|(n, _)| n == name).map_or("", |(_, text)| text.as_str());
        if found != expected {
            differences += &format!("=== {name} ({number})\n{}", diff(expected, found));
        }
    }
    differences
}

/// Lines that only one of two texts has, PostgreSQL's with `-`, the node's with `+`, by their longest common subsequence.
fn diff(expected: &str, found: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let mut longest = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i][j] =
                if a[i] == b[j] { longest[i + 1][j + 1] + 1 } else { longest[i + 1][j].max(longest[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, String::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && longest[i + 1][j] >= longest[i][j + 1]) {
            out += &format!("  - {}\n", a[i]);
            i += 1;
        } else {
            out += &format!("  + {}\n", b[j]);
            j += 1;
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_cannot_tell_a_node_from_postgresql() {
    let Some(postgres) = Postgres::start().await else { return };
    let federation = world::start().await;
    let node = federation.site("cleveland").pg_port;
    let mut found = String::new();
    for script in ["same_as_postgres.psql", "silence.psql"] {
        let text = std::fs::read_to_string(format!("{}/clients/{script}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        found += &differences(&text, node, postgres.port).await;
    }
    for (what, role, database) in [
        ("a wrong password", (ANALYST.0, "wrong"), "kanon"),
        ("no such role", ("nobody", "wrong"), "kanon"),
        ("no such database", ANALYST, "other"),
    ] {
        let ours = psql(node, role, &["-d", database, "-c", "select 1"], "").await;
        let theirs = psql(postgres.port, role, &["-d", database, "-c", "select 1"], "").await;
        assert!(!ours.ended_well && !theirs.ended_well);
        let differ = diff(
            &theirs.text().replace(&postgres.port.to_string(), "PORT"),
            &ours.text().replace(&node.to_string(), "PORT"),
        );
        if !differ.is_empty() {
            found += &format!("=== {what}\n{differ}");
        }
    }
    // Several statements of one -c are one message; several -c are several.
    let arguments = ["-At", "-c", "select 1; select 2", "-c", "select 1/0; select 3", "-c", "select 4"];
    let ours = psql(node, ANALYST, &arguments, "").await.text();
    let theirs = psql(postgres.port, ANALYST, &arguments, "").await.text();
    found += &diff(&theirs, &ours);
    assert!(found.is_empty(), "\n{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_describes_what_a_node_has() {
    if program("psql").is_none() {
        return;
    }
    let federation = world::start().await;
    let node = federation.site("cleveland");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
    let script = std::fs::read_to_string(folder.join("describe.psql")).unwrap();
    let said = psql(node.pg_port, ANALYST, &[], &script).await.text();
    let expected = std::fs::read_to_string(folder.join("describe.out")).unwrap_or_default();
    let differ = diff(&expected, &said);
    assert!(differ.is_empty(), "- expected, + found\n{differ}\nall of it:\n{said}");
}
