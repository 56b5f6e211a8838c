//! The program: its commands, exit codes, orderly and disorderly ends, the demo, and the README's second page.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

#[path = "node/commands.rs"]
mod commands;
#[path = "node/demo.rs"]
mod demo;
#[path = "node/ends.rs"]
mod ends;
#[path = "node/readme.rs"]
mod readme;

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// What a command said.
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        Said {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs `kanon` in a folder, to its end.
pub fn kanon(dir: &Path, args: &[&str]) -> Said {
    Command::new(kanon_tests::kanon()).current_dir(dir).args(args).output().unwrap().into()
}

/// Waits for something, for a minute at most.
pub async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within a minute");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
