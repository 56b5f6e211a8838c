//! A case at a server.

use std::time::Duration;

use kanon_tests::wire::{log_in, next};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::script::Case;
use crate::{read, send};

/// How long an answer may take that must come.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long nothing must have come for it to be all, when answers are recorded.
const QUIET: Duration = Duration::from_millis(400);
/// The line that stands for the end of a connection.
const CLOSED: &str = "(closed)";

struct Talk {
    socket: TcpStream,
    /// Before the login, SSLRequest and GSSENCRequest are answered by a single byte.
    bytes_expected: usize,
}

impl Talk {
    async fn begin(port: u16, role: (&str, &str), case: &Case) -> Talk {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        socket.set_nodelay(true).unwrap();
        if case.logged_in() {
            log_in(&mut socket, role).await.unwrap_or_else(|error| panic!("{}: {error}", case.title));
        }
        Talk { socket, bytes_expected: 0 }
    }

    async fn send(&mut self, lines: &[String]) {
        let mut together = Vec::new();
        for line in lines {
            if let Some(password) = line.strip_prefix("Scram ") {
                self.socket.write_all(&std::mem::take(&mut together)).await.unwrap();
                // That the server asks for it is the same every time.
                next(&mut self.socket).await.unwrap();
                together = kanon_tests::wire::scram(&mut self.socket, password.trim_matches('"')).await;
                continue;
            }
            self.bytes_expected += usize::from(matches!(line.as_str(), "SSLRequest" | "GSSENCRequest"));
            together.extend(send::bytes(line));
        }
        // A server that has closed the connection says so when it is read.
        let _ = self.socket.write_all(&together).await;
    }

    async fn line(&mut self) -> String {
        if self.bytes_expected > 0 {
            self.bytes_expected -= 1;
            return match self.socket.read_u8().await {
                Ok(byte) => format!("byte {}", char::from(byte)),
                Err(_) => CLOSED.to_owned(),
            };
        }
        match next(&mut self.socket).await {
            Some((kind, body)) => read::shown(kind, &body),
            None => CLOSED.to_owned(),
        }
    }
}

/// A server's answers to the steps of a case.
pub async fn record(port: u16, role: (&str, &str), case: &Case) -> Vec<Vec<String>> {
    let mut talk = Talk::begin(port, role, case).await;
    let mut answers = Vec::new();
    for step in &case.steps {
        talk.send(&step.send).await;
        let mut answer: Vec<String> = Vec::new();
        while let Ok(line) = tokio::time::timeout(QUIET, talk.line()).await {
            answer.push(line);
            if answer.last().is_some_and(|line| line == CLOSED) {
                break;
            }
        }
        answers.push(answer);
    }
    answers
}

/// Whether a server answers a case as it stands there.
pub async fn check(port: u16, role: (&str, &str), case: &Case) -> Result<(), String> {
    let mut talk = Talk::begin(port, role, case).await;
    for (number, step) in case.steps.iter().enumerate() {
        talk.send(&step.send).await;
        for (at, expected) in step.answer.iter().enumerate() {
            let found = tokio::time::timeout(PATIENCE, talk.line()).await.unwrap_or_else(|_| "(nothing)".to_owned());
            if found != *expected {
                return Err(format!(
                    "    step {}, message {}\n      - {expected}\n      + {found}",
                    number + 1,
                    at + 1
                ));
            }
        }
        if step.answer.last().is_some_and(|line| line == CLOSED) {
            return Ok(());
        }
    }
    if !case.ends_logged_in() {
        return Ok(());
    }
    // Nothing more has come, and the connection goes on.
    talk.send(&["Sync".to_owned()]).await;
    let found = tokio::time::timeout(PATIENCE, talk.line()).await.unwrap_or_else(|_| "(nothing)".to_owned());
    match found.starts_with("ReadyForQuery") {
        true => Ok(()),
        false => Err(format!("    at the end\n      - ReadyForQuery\n      + {found}")),
    }
}
