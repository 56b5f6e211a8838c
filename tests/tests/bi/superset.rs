//! Superset: its web application, at a node and at PostgreSQL.

use kanon_tests::ANALYST;
use kanon_tests::postgres::Postgres;
use kanon_tests::tools::{python_of_superset, run};

use super::world;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/superset_.py");

#[tokio::test(flavor = "multi_thread")]
async fn superset_shows_tables_of_every_access() {
    let Some(python) = python_of_superset() else { return };
    let federation = world::start().await;
    let postgres = Postgres::start().await;
    if let Some(postgres) = &postgres {
        world::same_tables(postgres).await;
    }
    let env = [("PYTHONDONTWRITEBYTECODE", "1"), ("TZ", "UTC")];
    // One after the other: two web servers at once take longer than their patience allows.
    let ports = [Some(federation.site("cleveland").pg_port), postgres.as_ref().map(|postgres| postgres.port)];
    for port in ports.into_iter().flatten() {
        let said = run(&python, &[SCRIPT, &port.to_string(), ANALYST.0, ANALYST.1], &env, "").await;
        assert!(said.ended_well, "{}", said.text());
        eprintln!("{}", said.text().lines().last().unwrap_or_default());
    }
}
