//! Statements that people and tools type, at a node and at PostgreSQL 15 itself: every byte of the answer is the same, over every protocol.
//!
//! The statements are in the `.sql` files beside this one, each up to an empty line. A line `-- differs: why` before one says that its
//! answer is another here, and why: then it must be so still.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod flight;
mod world;

use std::collections::BTreeMap;

use kanon_tests::postgres::Postgres;
use kanon_tests::wire::{Wire, bind, messages, parse, query, run, sync};

/// The ways to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Simple,
    Text,
    Binary,
    CopyText,
    CopyCsv,
    CopyBinary,
}

impl Protocol {
    const ALL: [Protocol; 6] = [
        Protocol::Simple,
        Protocol::Text,
        Protocol::Binary,
        Protocol::CopyText,
        Protocol::CopyCsv,
        Protocol::CopyBinary,
    ];

    /// What to send, and how often the server is ready after it.
    fn request(self, sql: &str) -> (Vec<u8>, usize) {
        let clean = query("ROLLBACK");
        let extended = |binary| ([parse(sql, 0), bind(&[], binary), run(0), sync(), clean.clone()].concat(), 2);
        let copy = |format: &str| {
            let one = sql.trim_end().trim_end_matches(';');
            ([query(&format!("COPY ({one}\n) TO STDOUT WITH (FORMAT {format})")), clean.clone()].concat(), 2)
        };
        match self {
            Protocol::Simple => ([query(sql), clean].concat(), 2),
            Protocol::Text => extended(false),
            Protocol::Binary => extended(true),
            Protocol::CopyText => copy("text"),
            Protocol::CopyCsv => copy("csv"),
            Protocol::CopyBinary => copy("binary"),
        }
    }
}

/// What must be the same of an answer, as lines: columns with their types, rows, tags, errors with their codes and positions; with `asides`, warnings and settings.
fn told(bytes: &[u8], asides: bool) -> Vec<String> {
    let (mut lines, mut settings) = (Vec::new(), Vec::new());
    for (kind, body) in messages(bytes) {
        match kind {
            b'T' => lines.push(columns(body)),
            b'D' | b'd' => lines.push(format!("{} {}", char::from(kind), shown(body))),
            b'C' => lines.push(format!("tag {}", shown(body))),
            // Told before the end here, and behind it there.
            b'S' if asides => settings.push(format!("setting {}", shown(body))),
            b'E' | b'N' if kind == b'E' || asides => {
                let fields: BTreeMap<char, String> = body
                    .split(|byte| *byte == 0)
                    .filter(|field| !field.is_empty())
                    .map(|field| (char::from(field[0]), shown(&field[1..])))
                    .collect();
                let field = |name| fields.get(&name).map_or("", String::as_str);
                let (detail, hint) = if asides { (field('D'), field('H')) } else { ("", "") };
                lines.push(format!("{} {} at {}: {}{detail}{hint}", field('S'), field('C'), field('P'), field('M')));
            }
            _ => {}
        }
    }
    lines.extend(settings);
    lines
}

/// Name, type, length and modifier of every column. Where it comes from is another matter: a node's tables have numbers of their own.
fn columns(body: &[u8]) -> String {
    let mut rest = &body[2..];
    let mut all = "columns".to_owned();
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        let number = |from: usize, to: usize| {
            rest[end + 1 + from..end + 1 + to].iter().fold(0_u32, |n, b| n << 8 | u32::from(*b))
        };
        let (oid, length, modifier) = (number(6, 10), number(10, 12) as i16, number(12, 16) as i32);
        all += &format!(" {}:{oid}:{length}:{modifier}", shown(&rest[..end]));
        rest = &rest[end + 19..];
    }
    all
}

fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(|c| !c.is_control() || c == '\0') => text.replace('\0', "·"),
        _ => bytes.iter().map(|b| format!("{b:02x}")).collect(),
    }
}

/// A statement and what is said of it.
struct Case {
    sql: String,
    differs: bool,
    /// Over Flight SQL alone.
    differs_over_flight: bool,
}

fn cases(text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for part in text.split("\n\n").filter(|part| !part.trim().is_empty()) {
        let said = |what: &str| part.lines().any(|line| line.starts_with(what));
        let (differs, differs_over_flight) = (said("-- differs: "), said("-- over Flight SQL: "));
        let sql: Vec<&str> = part.lines().filter(|line| !line.starts_with("-- ")).collect();
        let sql = sql.join("\n").trim().to_owned();
        if !sql.is_empty() {
            cases.push(Case { sql, differs, differs_over_flight });
        }
    }
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_are_answered_as_postgresql_answers_them() {
    let Some(postgres) = Postgres::start().await else { return };
    let federation = world::start(&postgres).await;
    let mut node = Wire::connect(federation.sites[0].pg_port).await;
    let mut theirs = Wire::connect(postgres.port).await;
    let only = std::env::var("KANON_CONFORMANCE").unwrap_or_default();
    let tell_marked = std::env::var_os("KANON_CONFORMANCE_MARKED").is_some();
    let (mut checks, mut wrong) = (0, Vec::new());
    for (file, text) in world::STATEMENTS {
        for case in cases(text).into_iter().filter(|case| case.sql.contains(&only)) {
            let mut differences = Vec::new();
            for protocol in Protocol::ALL {
                let (bytes, ready) = protocol.request(&case.sql);
                let expected = told(&theirs.exchange(&bytes, ready).await, false);
                let found = told(&node.exchange(&bytes, ready).await, false);
                checks += 1;
                if expected != found {
                    let lines = expected.iter().zip(&found).find(|(a, b)| a != b);
                    let (expected, found) =
                        lines.map_or((expected.join(" / "), found.join(" / ")), |(a, b)| (a.clone(), b.clone()));
                    differences.push(format!("    {protocol:?}\n      - {expected}\n      + {found}"));
                }
            }
            match (case.differs, differences.is_empty()) {
                (false, false) => wrong.push(format!("{file}: {}\n{}", case.sql, differences.join("\n"))),
                (true, false) if tell_marked => println!("{file}: {}\n{}", case.sql, differences.join("\n")),
                (true, true) => wrong.push(format!("{file}: is the same now: {}", case.sql)),
                _ => {}
            }
        }
    }
    println!("{checks} checks, {} statements differ", wrong.len());
    assert!(wrong.is_empty(), "{} statements differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_go_as_those_of_postgresql() {
    let Some(postgres) = Postgres::start().await else { return };
    let federation = world::start(&postgres).await;
    let only = std::env::var("KANON_CONFORMANCE").unwrap_or_default();
    let (mut checks, mut wrong) = (0, Vec::new());
    for case in cases(include_str!("sessions.sql")).into_iter().filter(|case| case.sql.contains(&only)) {
        let mut differences = Vec::new();
        for protocol in [Protocol::Simple, Protocol::Text, Protocol::Binary] {
            let mut node = Wire::connect(federation.sites[0].pg_port).await;
            let mut theirs = Wire::connect(postgres.port).await;
            for statement in case.sql.lines().map(|line| line.trim_end_matches(';')) {
                let bytes = match protocol {
                    Protocol::Simple => query(statement),
                    _ => [parse(statement, 0), bind(&[], protocol == Protocol::Binary), run(0), sync()].concat(),
                };
                let expected = told(&theirs.exchange(&bytes, 1).await, true);
                let found = told(&node.exchange(&bytes, 1).await, true);
                checks += 1;
                if expected != found {
                    let (expected, found) = (expected.join(" / "), found.join(" / "));
                    differences.push(format!("    {protocol:?}: {statement}\n      - {expected}\n      + {found}"));
                }
            }
        }
        match (case.differs, differences.is_empty()) {
            (false, false) => wrong.push(differences.join("\n")),
            (true, true) => wrong.push(format!("is the same now: {}", case.sql)),
            _ => {}
        }
    }
    println!("{checks} checks, {} sessions differ", wrong.len());
    assert!(checks > 0 && wrong.is_empty(), "{} sessions differ:\n{}", wrong.len(), wrong.join("\n"));
}
