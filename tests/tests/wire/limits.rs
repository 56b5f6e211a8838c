//! What one client may take of a node: a clear error, and nobody else is harmed.

use std::time::{Duration, Instant};

use kanon_tests::wire::{log_in, message, next, parse, query, run, sync};
use kanon_tests::{ADMIN, Site};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{READER, node, read};

/// A generous bound on whatever must happen at all.
const SOON: Duration = Duration::from_secs(120);
/// What a node may grow by while it does what is asked of it here.
const ROOM_BYTES: u64 = 200 << 20;

async fn reader(site: &Site) -> TcpStream {
    let mut socket = TcpStream::connect(("127.0.0.1", site.pg_port)).await.unwrap();
    log_in(&mut socket, READER).await.unwrap();
    socket
}

/// Sends, and reads up to the next ReadyForQuery, or the end.
async fn asked(socket: &mut TcpStream, bytes: &[u8]) -> Vec<String> {
    let (mut from, mut to) = socket.split();
    let answer = async {
        let mut lines = Vec::new();
        while let Some(line) = line(&mut from).await {
            lines.push(line);
            if lines.last().is_some_and(|line| line.starts_with("ReadyForQuery")) {
                break;
            }
        }
        lines
    };
    let (_, lines) = tokio::join!(to.write_all(bytes), tokio::time::timeout(SOON, answer));
    lines.expect("an answer")
}

async fn line(from: &mut tokio::net::tcp::ReadHalf<'_>) -> Option<String> {
    let mut head = [0; 5];
    from.read_exact(&mut head).await.ok()?;
    let mut body = vec![0; u32::from_be_bytes(head[1..].try_into().unwrap()) as usize - 4];
    from.read_exact(&mut body).await.ok()?;
    Some(read::shown(head[0], &body))
}

/// Memory that a node's process holds.
fn resident_bytes(site: &Site) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", site.pid())).unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn named(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', &[name.as_bytes(), b"\0", sql.as_bytes(), b"\0\0\0"].concat())
}

fn bound(portal: &str, statement: &str, value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).unwrap().to_be_bytes();
    message(b'B', &[portal.as_bytes(), b"\0", statement.as_bytes(), b"\0\0\0\0\x01", &length, value, b"\0\0"].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_holds_ten_thousand_statements_and_no_more() {
    let federation = node().await;
    let site = &federation.sites[0];
    let mut socket = reader(site).await;
    let many: Vec<u8> = (0..9_999).flat_map(|i| named(&format!("s{i}"), "")).chain(sync()).collect();
    let answer = asked(&mut socket, &many).await;
    assert_eq!(answer.len(), 10_000);
    assert_eq!(answer[9_998], "ParseComplete");
    let last = asked(&mut socket, &[named("last", "SELECT 42"), sync()].concat()).await;
    assert_eq!(last[0], "ParseComplete");
    let refused = asked(&mut socket, &[named("more", ""), sync()].concat()).await;
    let expected = "ERROR 54001 a connection can hold at most 10000 prepared statements";
    assert_eq!(refused, [expected, "ReadyForQuery I"]);
    // What it has it keeps, and one that goes makes room for another. The unnamed one, which drivers need for everything, has a
    // place of its own.
    assert_eq!(asked(&mut socket, &query("SELECT 1")).await[1], "DataRow \"1\"");
    let unnamed = [parse("SELECT 7", 0), sync()].concat();
    assert_eq!(asked(&mut socket, &unnamed).await[0], "ParseComplete");
    let closed = [message(b'C', b"Ss7\0"), named("more", ""), sync()].concat();
    assert_eq!(asked(&mut socket, &closed).await, ["CloseComplete", "ParseComplete", "ReadyForQuery I"]);
    let runs = [message(b'B', b"\0last\0\0\0\0\0\0\0"), run(0), sync()].concat();
    assert_eq!(asked(&mut socket, &runs).await[1], "DataRow \"42\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_and_parameters_that_a_connection_holds_are_bounded_in_bytes() {
    let federation = node().await;
    let site = &federation.sites[0];
    let mut socket = reader(site).await;
    asked(&mut socket, &query("SELECT 1")).await;
    let before = resident_bytes(site);
    // Nearly a mebibyte of text each.
    let long = format!("SELECT length('{}')", "x".repeat(1_000_000));
    let mut held = 0;
    let refused = loop {
        let answer = asked(&mut socket, &[named(&format!("s{held}"), &long), sync()].concat()).await;
        match answer[0].as_str() {
            "ParseComplete" => held += 1,
            refused => break refused.to_owned(),
        }
        assert!(held < 64, "there is no end");
    };
    assert_eq!(refused, "ERROR 54001 a connection can hold at most 16 MiB of prepared statements");
    asked(&mut socket, &query("DEALLOCATE ALL")).await;
    // Those of PREPARE have a bound of their own.
    let prepare = |number: usize| query(&format!("PREPARE q{number} AS {long}"));
    let mut held = 0;
    let refused = loop {
        let answer = asked(&mut socket, &prepare(held)).await;
        match answer[0].as_str() {
            "CommandComplete PREPARE" => held += 1,
            refused => break refused.to_owned(),
        }
        assert!(held < 64, "there is no end");
    };
    assert!(refused.starts_with("ERROR 54001 a session may keep 16 MiB of prepared statements"), "{refused}");
    asked(&mut socket, &query("DEALLOCATE ALL")).await;
    assert_eq!(asked(&mut socket, &[named("s", &long), sync()].concat()).await[0], "ParseComplete");
    // The same for parameters, in a block that keeps the portals.
    asked(&mut socket, &query("BEGIN")).await;
    asked(&mut socket, &[named("p", "SELECT length($1::text)"), sync()].concat()).await;
    let value = vec![b'x'; 10_000_000];
    let mut held = 0;
    let refused = loop {
        let answer = asked(&mut socket, &[bound(&format!("p{held}"), "p", &value), sync()].concat()).await;
        match answer[0].as_str() {
            "BindComplete" => held += 1,
            refused => break refused.to_owned(),
        }
        assert!(held < 64, "there is no end");
    };
    assert_eq!(refused, "ERROR 54001 a connection can hold at most 64 MiB of portals");
    assert_eq!(held, 6);
    assert_eq!(asked(&mut socket, &query("ROLLBACK")).await[0], "CommandComplete ROLLBACK");
    let again = [bound("", "p", &value), run(0), sync()].concat();
    assert_eq!(asked(&mut socket, &again).await[1], "DataRow \"10000000\"");
    let grown = resident_bytes(site).saturating_sub(before);
    assert!(grown < 2 * ROOM_BYTES, "{} MiB", grown >> 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_statements_are_held_and_let_go_of() {
    let federation = node().await;
    let site = &federation.sites[0];
    let steady = site.connect(ADMIN).await.unwrap();
    let deep = [
        format!("SELECT 1{}", " + 1".repeat(300)),
        format!("SELECT {}true", "NOT ".repeat(200)),
        format!("SELECT {}1{}", "(".repeat(100), ")".repeat(100)),
        format!("SELECT {}1{}", "(SELECT ".repeat(5), ")".repeat(5)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(30)),
        format!("SELECT {}1 {}", "CASE WHEN true THEN ".repeat(20), "END ".repeat(20)),
    ];
    let mut socket = reader(site).await;
    for (number, text) in deep.iter().enumerate() {
        let answer = asked(&mut socket, &[named(&format!("s{number}"), text), sync()].concat()).await;
        let known = answer[0] == "ParseComplete" || answer[0].starts_with("ERROR 54001");
        assert!(known, "{}: {answer:?}", text.split_at(40).0);
        // Replaced, closed, kept to the end.
        asked(&mut socket, &[parse(text, 0), parse("SELECT 1", 0), sync()].concat()).await;
        asked(&mut socket, &[named("closed", text), message(b'C', b"Sclosed\0"), sync()].concat()).await;
        asked(&mut socket, &query(&format!("PREPARE p{number} AS {text}"))).await;
        asked(&mut socket, &query(text)).await;
    }
    drop(socket);
    for _ in 0..20 {
        assert_eq!(steady.ask("SELECT 1").await.unwrap().lines(), ["1"]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_messages_are_refused_before_they_are_read() {
    let federation = node().await;
    let site = &federation.sites[0];
    let steady = site.connect(ADMIN).await.unwrap();
    let before = resident_bytes(site);
    for kind in *b"QPBFd" {
        let mut socket = reader(site).await;
        let length = (64_u32 * 1024 * 1024 + 1).to_be_bytes();
        socket.write_all(&[&[kind][..], &length].concat()).await.unwrap();
        assert_eq!(asked(&mut socket, b"").await, ["FATAL 08P01 invalid message length"], "{}", char::from(kind));
    }
    // A text beyond the bound of a text is only an error.
    let mut socket = reader(site).await;
    let text = format!("SELECT '{}'", "x".repeat(1_100_000));
    let answer = asked(&mut socket, &query(&text)).await;
    assert!(answer[0].starts_with("ERROR 54001 statement too complex"), "{answer:?}");
    let answer = asked(&mut socket, &query("SELECT 1")).await;
    assert_eq!(answer[1], "DataRow \"1\"");
    assert_eq!(steady.ask("SELECT 1").await.unwrap().lines(), ["1"]);
    let grown = resident_bytes(site).saturating_sub(before);
    assert!(grown < ROOM_BYTES, "{} MiB", grown >> 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_do_not_read_harm_nobody_and_take_no_memory() {
    let federation = node().await;
    let site = &federation.sites[0];
    let steady = site.connect(ADMIN).await.unwrap();
    assert_eq!(steady.ask("SELECT 1").await.unwrap().lines(), ["1"]);
    let before = resident_bytes(site);
    let endless = [
        query("SELECT n, repeat('x', 1000) FROM generate_series(1, 1000000000) AS g(n)"),
        query("COPY (SELECT n, repeat('x', 1000) FROM generate_series(1, 1000000000) AS g(n)) TO STDOUT"),
        [
            parse("SELECT n FROM generate_series(1, 1000000000) AS g(n)", 0),
            message(b'B', b"\0\0\0\0\0\0\0\0"),
            run(0),
            sync(),
        ]
        .concat(),
    ];
    let mut slow = Vec::new();
    for number in 0..18 {
        let mut socket = reader(site).await;
        socket.write_all(&endless[number % endless.len()]).await.unwrap();
        // All of them have begun to send.
        assert!(tokio::time::timeout(SOON, next(&mut socket)).await.unwrap().is_some());
        slow.push(socket);
    }
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    while began.elapsed() < Duration::from_secs(3) {
        let asked = Instant::now();
        assert_eq!(steady.ask("SELECT count(*) FROM generate_series(1, 10)").await.unwrap().lines(), ["10"]);
        slowest = slowest.max(asked.elapsed());
    }
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    let grown = resident_bytes(site).saturating_sub(before);
    assert!(grown < ROOM_BYTES, "{} MiB", grown >> 20);
    // One of them goes on reading after all, and one leaves in the middle of its COPY.
    for _ in 0..1000 {
        assert!(next(&mut slow[0]).await.is_some());
    }
    drop(slow);
    assert_eq!(steady.ask("SELECT 1").await.unwrap().lines(), ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_cancelled_in_the_middle_ends_with_an_error_and_the_connection_goes_on() {
    let federation = node().await;
    let site = &federation.sites[0];
    let mut socket = reader(site).await;
    let endless = "COPY (SELECT n FROM generate_series(1, 1000000000000) AS g(n)) TO STDOUT";
    let answer = asked(&mut socket, &query(&format!("SET statement_timeout = '1s'; {endless}"))).await;
    let rows = answer.iter().filter(|line| line.starts_with("CopyData")).count();
    assert!(rows > 1_000, "{rows}");
    let last = &answer[answer.len() - 2..];
    assert_eq!(last, ["ERROR 57014 canceling statement due to statement timeout", "ReadyForQuery I"]);
    assert!(!answer.contains(&"CopyDone".to_owned()), "nothing says that it was whole");
    assert_eq!(asked(&mut socket, &query("SELECT 1")).await[1], "DataRow \"1\"");
}

/// Numbers in a statement say how much memory its answer takes: none ends the node.
#[tokio::test(flavor = "multi_thread")]
async fn what_numbers_in_a_statement_ask_for_is_bounded() {
    let federation = node().await;
    let site = &federation.sites[0];
    let mut socket = reader(site).await;
    let before = resident_bytes(site);
    let long = |i: i32| format!("repeat('a', {} + length(random()::text))", 30_000_000 + i);
    let many = |of: &dyn Fn(i32) -> String, count: i32| (0..count).map(of).collect::<Vec<_>>().join(", ");
    let series = |i: i32| format!("generate_series({i}, {i} + 3000000)");
    for (sql, code) in [
        ("SELECT cardinality(array_repeat(1, 2000000000))".to_owned(), "42883"),
        ("SELECT cardinality(range(1, 2000000000))".to_owned(), "42883"),
        ("SELECT cardinality(array_resize(ARRAY[1], 2000000000, 0))".to_owned(), "42883"),
        ("SELECT cardinality(array_fill(1, ARRAY[2000000000]))".to_owned(), "54"),
        ("SELECT length(repeat('a', 2000000000))".to_owned(), "54"),
        ("SELECT format('%2000000000s', 'x')".to_owned(), "54"),
        (format!("SELECT {}", many(&long, 65)), "54001"),
        (format!("SELECT {}", many(&series, 2)), "54"),
        (format!("SELECT {}", many(&series, 100)), "54001"),
        (
            "SELECT n % 10, count(*) FROM generate_series(1, 100) AS g(n) GROUP BY 1 ORDER BY 2, 1 LIMIT 100000000000000"
                .to_owned(),
            "",
        ),
        ("SELECT DISTINCT n % 10 FROM generate_series(1, 100) AS g(n) ORDER BY 1 LIMIT 9223372036854775807".to_owned(), ""),
        (
            "BEGIN; DECLARE c CURSOR FOR SELECT repeat('x', 20000) FROM generate_series(1, 1000000) AS g(n); FETCH ALL FROM c"
                .to_owned(),
            "53200",
        ),
        ("ROLLBACK".to_owned(), ""),
        // A cursor that failed does not go on behind what it lost.
        ("DECLARE held CURSOR WITH HOLD FOR SELECT n FROM generate_series(1, 3000000) AS g(n)".to_owned(), ""),
        ("FETCH ALL FROM held".to_owned(), "53200"),
        ("FETCH 1 FROM held".to_owned(), "55000"),
        (format!("SELECT {}", many(&|_| "repeat(repeat(repeat('a', 60), 60), 60)".to_owned(), 65)), "54001"),
    ] {
        let answer = asked(&mut socket, &query(&sql)).await;
        let error = answer.iter().find_map(|line| line.strip_prefix("ERROR ")).unwrap_or_default();
        let shown: String = sql.chars().take(100).collect();
        assert!(error.starts_with(code) && (!code.is_empty() || error.is_empty()), "{shown}: {error}");
    }
    let grown = resident_bytes(site).saturating_sub(before);
    assert!(grown < 1 << 30, "{} MiB", grown >> 20);
    assert!(!site.log().contains("panicked"), "{}", site.log());
    assert_eq!(asked(&mut socket, &query("SELECT 1")).await[1], "DataRow \"1\"");
}
