//! Python's drivers, each with a script of its own in tests/clients.

use std::path::Path;

use kanon_tests::ANALYST;

use super::world;
use kanon_tests::tools::{Said, python, run};

pub async fn script(python: &Path, name: &str, arguments: &[&str]) -> Said {
    let script = format!("{}/clients/{name}", env!("CARGO_MANIFEST_DIR"));
    let arguments = [&["-W", "error", script.as_str()], arguments].concat();
    run(python, &arguments, &[("PYTHONDONTWRITEBYTECODE", "1"), ("TZ", "UTC")], "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn python_s_drivers_work() {
    let Some(python) = python() else { return };
    let federation = world::start().await;
    let site = federation.site("cleveland");
    let dsn = world::dsn(site);
    let url = format!("postgresql://{}:{}@127.0.0.1:{}/kanon", ANALYST.0, ANALYST.1.replace(' ', "%20"), site.pg_port);
    let port = site.pg_port.to_string();
    let plain = format!("grpc://127.0.0.1:{}", site.flight_port);
    let secure = format!("grpc+tls://localhost:{}", site.flight_port);
    let authority = site.dir.join("tls.crt").to_string_lossy().into_owned();
    let mut failures = String::new();
    for (name, arguments) in [
        ("psycopg3.py", vec![dsn.as_str()]),
        ("psycopg2_.py", vec![dsn.as_str()]),
        ("sqlalchemy2.py", vec![url.as_str()]),
        ("asyncpg_.py", vec![url.as_str()]),
        ("pg8000_.py", vec![port.as_str(), ANALYST.0, ANALYST.1]),
        ("adbc_flight.py", vec![plain.as_str(), ANALYST.0, ANALYST.1]),
        ("adbc_flight.py", vec![secure.as_str(), ANALYST.0, ANALYST.1, authority.as_str()]),
    ] {
        let said = script(&python, name, &arguments).await;
        eprintln!("{name}: {}", said.text().lines().last().unwrap_or_default());
        if !said.ended_well {
            failures += &format!("=== {name}\n{}\n", said.text());
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
