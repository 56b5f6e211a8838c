//! Subplans and their tickets, one by one.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow_flight::Action;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kanon_tests::ANALYST;
use kanon_tests::client::Client;
use prost::Message as _;
use serde_json::{Value, json};

use crate::world::World;

/// What a site that is asked in its own words answers.
const OPEN: &str = "SELECT 41 + 1";
const COUNT: &str = "SELECT count(*) FROM people";

/// What must come of an attempt.
enum Comes {
    /// These rows: it is no attack, or it gains nothing.
    Rows(&'static [&'static str]),
    /// The site refuses a ticket with 28000 and a text that has this, and counts it in its log.
    Ticket(&'static str),
    /// The site refuses it with 28000 as it does a stranger, and counts it among the logins that failed.
    Stranger(&'static str),
    /// The site makes no connection, and counts that too.
    Unpinned,
    /// The site refuses a statement with a SQLSTATE and a text that has this, with an entry of its own.
    Refused(&'static str, &'static str),
    /// The site says so with a SQLSTATE, without an entry: it is no matter of who may do what.
    Told(&'static str, &'static str),
    /// There is no answer of the site: a connection that is not made, a message that cannot be read.
    Nothing,
}
use Comes::{Nothing, Refused, Rows, Stranger, Ticket, Told, Unpinned};

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn asks(sql: &str) -> Value {
    json!({"do": "ask", "sql": sql})
}

fn claiming(sql: &str, claims: Value) -> Value {
    json!({"do": "ask", "sql": sql, "claims": claims})
}

fn with(sql: &str, name: &str, value: impl Into<Value>) -> Value {
    let mut command = asks(sql);
    command[name] = value.into();
    command
}

fn at(issued: i64, ends: i64) -> Value {
    claiming(OPEN, json!({"iat": now() + issued, "exp": now() + ends}))
}

fn attempts() -> Vec<(&'static str, Value, Comes)> {
    let rows = vec![
        ("a good ticket", asks(OPEN), Rows(&["42"])),
        ("a count", asks(COUNT), Rows(&["60"])),
        ("all rows", asks("SELECT * FROM people"), Refused("42501", "")),
        ("rows of private data", asks("SELECT age FROM patients WHERE sex = 'male'"), Refused("42501", "")),
        ("rows by COPY", asks("COPY people TO STDOUT"), Refused("42501", "")),
        ("a row a group", asks("SELECT id, count(*) FROM people GROUP BY id"), Refused("42501", "")),
        ("the unit as a condition", asks("SELECT count(*) FROM people WHERE id < 7"), Refused("42501", "")),
        // Withheld, as if nobody were there.
        ("a cohort of one", asks("SELECT count(*) FROM people WHERE age = 30"), Rows(&[""])),
        ("another k by SET", asks("SET kanon.min_cohort = 1"), Refused("42501", "")),
        ("another k by ALTER", asks("ALTER TABLE people SET (min_cohort = 1)"), Refused("42501", "")),
        ("another k in the ticket", claiming(COUNT, json!({"min_cohort": 1})), Ticket("signature")),
    ];
    let users = vec![
        ("a user without grants", claiming(COUNT, json!({"sub": "nobody"})), Refused("42P01", "does not exist")),
        ("the site's admin", claiming(COUNT, json!({"sub": "root"})), Refused("42P01", "does not exist")),
        ("another peer's user", claiming(COUNT, json!({"sub": "ana@cleveland"})), Refused("42P01", "does not exist")),
        ("nobody at all", claiming(COUNT, json!({"sub": ""})), Ticket("incomplete")),
        ("another peer's id", claiming(COUNT, json!({"iss": "cleveland"})), Ticket("node id")),
        ("the site's own id", claiming(COUNT, json!({"iss": "zurich"})), Ticket("node id")),
        ("a second id", claiming(COUNT, json!({"iss": "mallory2"})), Ticket("node id")),
        ("the id of a schema", claiming(COUNT, json!({"iss": "federation"})), Ticket("node id")),
        ("no id", claiming(COUNT, json!({"iss": ""})), Ticket("incomplete")),
        ("a token of the admin", claiming("SELECT kanon.create_token()", json!({"sub": "root"})), Refused("42501", "")),
        (
            "a key of the admin",
            claiming("SELECT kanon.create_api_key('x', role => 'root')", json!({"sub": "root"})),
            Refused("42501", ""),
        ),
        (
            "the log of a user of the same name",
            asks("SELECT count(*) FROM kanon.audit_log WHERE home_node = 'zurich'"),
            Rows(&["0"]),
        ),
        (
            "sessions of a user of the same name",
            asks("SELECT count(*) FROM pg_stat_activity WHERE usename = 'ana'"),
            Rows(&["0"]),
        ),
        ("somebody's session", asks("SELECT pg_terminate_backend(1)"), Refused("0A000", "")),
    ];
    let times = vec![
        ("a clock 50 s ahead", at(50, 100), Rows(&["42"])),
        ("a clock 50 s behind", at(-110, -50), Rows(&["42"])),
        ("a clock 10 minutes ahead", at(600, 660), Ticket("not valid yet")),
        ("a clock 10 minutes behind", at(-660, -600), Ticket("expired")),
        ("an hour", at(0, 3600), Ticket("longer than 60 seconds")),
        ("all time", at(i64::MIN / 2, i64::MAX / 2), Ticket("longer than 60 seconds")),
        ("an end before the beginning", at(10, 0), Ticket("longer than 60 seconds")),
        ("a time that is none", claiming(OPEN, json!({"exp": "soon"})), Ticket("signature")),
    ];
    let tickets = vec![
        ("another text", with("SELECT 43 + 1", "signed", OPEN), Ticket("another statement")),
        ("another text by a space", with("SELECT 41 + 1 ", "signed", OPEN), Ticket("another statement")),
        ("a digest that is none", claiming(OPEN, json!({"digest": ""})), Ticket("another statement")),
        ("another audience", claiming(OPEN, json!({"aud": "cleveland"})), Ticket("another site")),
        (
            "another key of the audience",
            claiming(OPEN, json!({"audience_key": "ab".repeat(32)})),
            Ticket("another site"),
        ),
        ("an unpinned key's signature", with(OPEN, "sign", "stranger"), Ticket("signature")),
        (
            "the public key as a secret",
            json!({"do": "ask", "sql": OPEN, "sign": "secret", "header": {"alg": "HS256"}}),
            Ticket("signature"),
        ),
        (
            "no algorithm",
            json!({"do": "ask", "sql": OPEN, "sign": "none", "header": {"alg": "none"}}),
            Ticket("signature"),
        ),
        ("no signature", with(OPEN, "sign", "none"), Ticket("signature")),
        ("a token of another kind", with(OPEN, "header", json!({"typ": "at+jwt"})), Ticket("another kind")),
        ("a descriptor", with(OPEN, "header", json!({"typ": "kanon-descriptor+jwt"})), Ticket("another kind")),
        ("no nonce", with(OPEN, "without", json!(["jti"])), Ticket("signature")),
        ("a short nonce", claiming(OPEN, json!({"jti": "1"})), Ticket("incomplete")),
        ("a nonce of kilobytes", claiming(OPEN, json!({"jti": "1".repeat(4_000)})), Ticket("incomplete")),
        ("no audience", with(OPEN, "without", json!(["aud"])), Ticket("signature")),
        ("no end", with(OPEN, "without", json!(["exp"])), Ticket("signature")),
        ("ε below 0", claiming(OPEN, json!({"epsilon": -1.0, "delta": 0.1})), Ticket("signature")),
        ("ε that is no number", claiming(OPEN, json!({"epsilon": "NaN", "delta": 0.1})), Ticket("signature")),
        ("δ above 1", claiming(OPEN, json!({"epsilon": 1.0, "delta": 2.0})), Ticket("signature")),
        ("no ticket that is one", with(OPEN, "ticket", "a.b.c"), Ticket("signature")),
        ("a thousand roles", claiming(OPEN, json!({"roles": vec!["admin"; 1_000]})), Rows(&["42"])),
        ("a ticket of 100 kB", claiming(OPEN, json!({"roles": vec!["admin"; 10_000]})), Nothing),
        ("a ticket of 4 MB", claiming(OPEN, json!({"roles": vec!["admin"; 400_000]})), Nothing),
        ("no ticket", with(OPEN, "ticket", ""), Told("28000", "not authenticated")),
        ("an unpinned certificate", with(OPEN, "over", "stranger"), Unpinned),
        ("no certificate", with(OPEN, "over", "none"), Stranger("not that of a trusted node")),
        ("no TLS", with(OPEN, "over", "plain"), Stranger("not that of a trusted node")),
        ("TLS 1.2", with(OPEN, "over", "tls12"), Nothing),
        ("a text of 2 MiB", with("SELECT 1", "megabytes", 2), Told("54001", "too complex")),
        ("a text of 40 MiB", with("SELECT 1", "megabytes", 40), Nothing),
    ];
    let mut all: Vec<_> = rows.into_iter().chain(users).chain(times).chain(tickets).collect();
    all.extend(messages());
    all
}

/// Messages that are none, of every method; and what peers tell one another, in other words than theirs.
fn messages() -> Vec<(&'static str, Value, Comes)> {
    let mut all = Vec::new();
    let junk: Vec<u8> = (0..600_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let ticket = arrow_flight::Ticket { ticket: vec![7; 40].into() }.encode_to_vec();
    for method in [
        "Handshake",
        "ListFlights",
        "GetFlightInfo",
        "PollFlightInfo",
        "GetSchema",
        "DoGet",
        "DoPut",
        "DoExchange",
        "DoAction",
        "ListActions",
        "NoSuchMethod",
    ] {
        let path = format!("/arrow.flight.protocol.FlightService/{method}");
        let call =
            |body: &[u8]| json!({"do": "call", "path": path, "body": BASE64_STANDARD.encode(body), "ticket": "a.b.c"});
        for body in [&junk[..], &junk[..7], &ticket[..ticket.len() - 5]] {
            // What is asked for without a message is listed whatever it is.
            if !["Handshake", "ListActions"].contains(&method) {
                all.push(("garbage for a message", call(body), Nothing));
            }
        }
    }
    for body in [&b"{"[..], b"null", b"[]", b"{\"own\": 1}", &junk, &vec![b'['; 200_000]] {
        let action = Action { r#type: "kanon.checkpoint".into(), body: body.to_vec().into() }.encode_to_vec();
        let path = "/arrow.flight.protocol.FlightService/DoAction";
        let command = json!({"do": "call", "path": path, "body": BASE64_STANDARD.encode(action)});
        all.push(("garbage for a checkpoint", command, Told("08P01", "")));
    }
    all
}

/// What was refused, as the site's log has it: tickets of the peer, statements of its users, and strangers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Entered {
    tickets: u64,
    statements: u64,
    strangers: u64,
}

async fn entered(admin: &Client) -> Entered {
    let sql = "SELECT action, object FROM kanon.audit_log WHERE decision = 'refused' AND (peer = 'mallory' OR action IN ('peer', 'login'))";
    let mut entered = Entered::default();
    for line in admin.ask(sql).await.unwrap().lines() {
        let (action, object) = line.split_once('|').unwrap();
        let words: Vec<&str> = object.split_whitespace().collect();
        let times =
            words.windows(2).find(|pair| pair[1].starts_with("times")).map(|pair| pair[0].parse::<u64>().unwrap());
        match action {
            "peer" => entered.tickets += times.unwrap(),
            "login" => entered.strangers += times.unwrap(),
            _ => entered.statements += times.unwrap_or(1),
        }
    }
    entered
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_asks_is_refused_and_written_down_and_costs_nothing() {
    let mut world = World::start("").await;
    let admin = world.zurich().wait().await;
    // A user of the same name as the one in the tickets.
    let ana = world.zurich().connect(ANALYST).await.unwrap();
    ana.ask(COUNT).await.unwrap();
    let before = world.spent(&admin).await;
    let mut wanted = entered(&admin).await;
    for (what, command, comes) in attempts() {
        let answer = world.hostile.does(&command);
        let said = (answer["sqlstate"].as_str().unwrap_or("-"), answer["message"].as_str().unwrap_or_default());
        let refused = |code: &str, part: &str| {
            assert_eq!(said.0, code, "{what}: {answer}");
            assert!(said.1.contains(part), "{what}: {answer}");
        };
        match comes {
            Rows(rows) => assert_eq!(answer["rows"], json!(rows), "{what}: {answer}"),
            Ticket(part) => {
                refused("28000", part);
                wanted.tickets += 1;
                if part == "not valid yet" || part == "expired" {
                    assert!(answer["hint"].as_str().unwrap().contains("clocks"), "{what}: {answer}");
                }
            }
            Refused(code, part) => {
                refused(code, part);
                wanted.statements += 1;
            }
            Stranger(part) => {
                refused("28000", part);
                wanted.strangers += 1;
            }
            Told(code, part) => refused(code, part),
            Nothing | Unpinned => {
                wanted.strangers += u64::from(matches!(comes, Unpinned));
                assert!(answer["rows"].is_null() && answer["messages"].is_null(), "{what}: {answer}");
            }
        }
        assert_eq!(world.spent(&admin).await, before, "{what}");
        world.is_well(what).await;
    }
    // Tickets that were refused are counted, and entered within a second or two.
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let found = entered(&admin).await;
        if found == wanted {
            break;
        }
        assert!(Instant::now() < until, "{found:?} and not {wanted:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!world.zurich().log().contains("ERROR"), "{}", world.zurich().log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_used_once_also_after_a_restart_and_a_large_epsilon_is_the_policy_s() {
    let mut world = World::start("").await;
    let used = world.hostile.does(&asks(OPEN));
    assert_eq!(used["rows"], json!(["42"]), "{used}");
    let again = with(OPEN, "ticket", used["ticket"].clone());
    for _ in 0..3 {
        let told = world.hostile.does(&again);
        assert!(told["message"].as_str().unwrap().contains("used before"), "{told}");
    }
    world.nodes.site_mut("zurich").kill();
    world.nodes.site_mut("zurich").spawn();
    let admin = world.zurich().wait().await;
    let told = world.hostile.does(&again);
    assert!(told["message"].as_str().unwrap().contains("used before"), "after a restart: {told}");
    // Another peer's id is not free for as long as that one has not answered.
    let told = world.hostile.does(&claiming(COUNT, json!({"iss": "cleveland"})));
    assert!(told["message"].as_str().unwrap().contains("node id"), "{told}");

    let before: f64 = world.spent(&admin).await.parse().unwrap();
    let asked = claiming("SELECT count(*) FROM patients", json!({"epsilon": 1e9, "delta": 0.999}));
    let answer = world.hostile.does(&asked);
    assert_eq!(answer["rows"].as_array().map(Vec::len), Some(1), "{answer}");
    let spent = world.spent(&admin).await.parse::<f64>().unwrap() - before;
    assert!((spent - 1.0).abs() < 1e-6, "{spent}");
    let entry =
        "SELECT principal, home_node, peer, epsilon FROM kanon.audit_log WHERE action = 'release' AND peer = 'mallory'";
    assert_eq!(admin.ask(entry).await.unwrap().lines(), ["ana|mallory|mallory|1"]);
}
