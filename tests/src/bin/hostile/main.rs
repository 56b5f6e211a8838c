//! A coordinator that means no good, as a process of its own: it holds a node's key, and speaks Flight, TLS and HTTP/2 by itself. Nothing of the node's own code for
//! peers is in it, so that nothing of that checks what it sends.
//!
//! It is told what to do by lines of JSON on its standard input, and answers each with a line of JSON. See [`keys::World`] for its arguments.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helper that cannot go on ends"
)]

mod calls;
mod frames;
mod keys;
mod server;

use std::io::{BufRead as _, Write as _};

use serde_json::{Value, json};

#[tokio::main]
async fn main() {
    let world = keys::World::of_arguments();
    let mut server = server::Liar::default();
    loop {
        // The commands come one by one: nothing else is to be done meanwhile but what was begun.
        let line = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line).map(|_| line)
        });
        let line = line.await.unwrap().unwrap();
        if line.is_empty() {
            return;
        }
        let command: Value = serde_json::from_str(&line).unwrap();
        let answer = match command["do"].as_str().unwrap() {
            "ask" => calls::ask(&world, &command).await,
            "call" => calls::call(&world, &command).await,
            "frames" => frames::attack(&world, &command).await,
            "serve" => server.answer(&world, &command).await,
            other => panic!("{other} is nothing to do"),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", json!(answer)).unwrap();
        out.flush().unwrap();
    }
}
