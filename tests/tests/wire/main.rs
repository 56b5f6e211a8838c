//! Messages of the Postgres protocol as they are, at a node and at PostgreSQL 15 itself: both answer with the same messages.
//!
//! The cases are in the `.txt` files beside this one: see [`script`] for their form. `UPDATE_GOLDEN=1` writes PostgreSQL's answers into
//! them; `KANON_WIRE=text` runs only the cases whose title has the text.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod limits;
mod read;
mod script;
mod send;
mod talk;

use std::path::PathBuf;

use kanon_tests::postgres::Postgres;
use kanon_tests::tools::psql;
use kanon_tests::{ADMIN, ANALYST, Federation, SiteSpec};

/// The files of cases.
const FILES: [&str; 7] =
    ["startup.txt", "simple.txt", "extended.txt", "portals.txt", "parameters.txt", "copy.txt", "broken.txt"];
/// Who asks, at both: nobody with special rights, so that both greet it alike.
const READER: (&str, &str) = ("reader", "reader's password");

async fn node() -> Federation {
    let password = READER.1.replace('\'', "''");
    let setup = vec![format!("CREATE ROLE {} LOGIN PASSWORD '{password}'", READER.0)];
    Federation::start(vec![SiteSpec { id: "clinic", setup, files: Vec::new() }]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_answered_as_postgresql_answers_them() {
    let Some(postgres) = Postgres::start().await else { return };
    let password = READER.1.replace('\'', "''");
    let script = format!("CREATE ROLE {} LOGIN PASSWORD '{password}';", READER.0);
    let made = psql(postgres.port, ANALYST, &["-v", "ON_ERROR_STOP=1"], &script).await;
    assert!(made.ended_well, "{}", made.text());
    let federation = node().await;
    let site = &federation.sites[0];
    let only = std::env::var("KANON_WIRE").unwrap_or_default();
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let (mut checks, mut wrong) = (0, Vec::new());
    for name in FILES {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/wire").join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        let mut cases = script::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        for case in cases.iter_mut().filter(|case| case.title.contains(&only)) {
            if update {
                let recorded = talk::record(postgres.port, READER, case).await;
                for (step, answer) in case.steps.iter_mut().zip(recorded) {
                    step.answer = answer;
                }
            }
            for (server, port) in [("PostgreSQL", postgres.port), ("the node", site.pg_port)] {
                checks += 1;
                let differs = case.differs.is_some() && server == "the node";
                match (talk::check(port, READER, case).await, differs) {
                    (Ok(()), true) => wrong.push(format!("{name}: {}: is the same now", case.title)),
                    (Err(difference), false) => {
                        wrong.push(format!("{name}: {}: {server}\n{difference}", case.title));
                    }
                    _ => {}
                }
            }
        }
        if update && only.is_empty() {
            std::fs::write(&path, script::print(&text, &cases)).unwrap();
        }
    }
    println!("{checks} checks, {} differ", wrong.len());
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(!site.log().contains("panicked"), "{}", site.log());
    let admin = site.connect(ADMIN).await.unwrap();
    assert_eq!(admin.ask("SELECT 1").await.unwrap().lines(), ["1"]);
}
