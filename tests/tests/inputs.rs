//! Bad input: what is wrong is refused with the right SQLSTATE and a helpful text, and the node lives on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

#[path = "inputs/bounds.rs"]
mod bounds;
#[path = "inputs/disks.rs"]
mod disks;
#[path = "inputs/files.rs"]
mod files;
#[path = "inputs/private.rs"]
mod private;
#[path = "inputs/roles.rs"]
mod roles;
#[path = "inputs/values.rs"]
mod values;

use kanon_tests::client::{Client, ServerError};
use kanon_tests::{Federation, SiteSpec};

/// One node with these files in its folder, and its admin's connection. `{dir}` is the folder.
pub async fn node(files: Vec<(&str, Vec<u8>)>, setup: &[&str]) -> (Federation, Client) {
    let spec = SiteSpec {
        id: "clinic",
        setup: setup.iter().map(|s| (*s).to_owned()).collect(),
        files: files.into_iter().map(|(name, content)| (name.to_owned(), content)).collect(),
    };
    let federation = Federation::start(vec![spec]).await;
    let admin = federation.sites[0].wait().await;
    (federation, admin)
}

/// Runs what must be refused, and checks the SQLSTATE and a part of the text.
pub async fn refused(client: &Client, sql: &str, code: &str, part: &str) -> ServerError {
    let shown: String = sql.chars().take(200).collect();
    match client.ask(sql).await {
        Ok(answer) => panic!("answered: {shown}: {answer:?}"),
        Err(error) => {
            let text = format!("{} {:?} {:?}", error.message, error.detail, error.hint);
            assert_eq!(error.code, code, "{shown}: {text}");
            assert!(text.contains(part), "{shown}: {text}, and not {part}");
            error
        }
    }
}

/// The node answers, in the process that it was.
pub async fn lives(federation: &Federation, client: &Client) {
    assert_eq!(client.ask("SELECT 41 + 1").await.unwrap().lines(), ["42"]);
    for site in &federation.sites {
        assert!(!site.log().contains("panicked"), "{}", site.log());
    }
}
