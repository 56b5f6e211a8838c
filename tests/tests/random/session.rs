//! A session that says what it is given and looks at what comes.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use kanon_tests::ANALYST;
use kanon_tests::wire::{bind, log_in, message, next, parse, query, run, sync};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::chance::Chance;
use crate::statements::{self, Statement};
use crate::world::TIMEOUT_SECONDS;

/// How long a statement may take beyond the node's own limit before it counts as hanging: the machine does other things too.
const GRACE: Duration = Duration::from_secs(30);

/// What was wrong, with an example of each kind.
pub type Problems = BTreeMap<String, String>;

/// What came for one statement.
#[derive(Debug, Default)]
pub struct Heard {
    pub bytes: Vec<u8>,
    pub rows: usize,
    /// SQLSTATE and message.
    pub error: Option<(String, String)>,
    /// The state of the transaction.
    pub status: u8,
    /// The first values of its rows, as text.
    pub values: Vec<Option<String>>,
}

/// A connection.
pub struct Session {
    socket: TcpStream,
}

impl Session {
    pub async fn connect(port: u16) -> Session {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        socket.set_nodelay(true).unwrap();
        log_in(&mut socket, ANALYST).await.unwrap();
        Session { socket }
    }

    /// Sends, and reads up to ReadyForQuery; `None` if the connection ends, or nothing comes in time.
    pub async fn exchange(&mut self, bytes: &[u8]) -> Option<Heard> {
        self.socket.write_all(bytes).await.ok()?;
        let mut heard = Heard::default();
        let patience = Duration::from_secs(TIMEOUT_SECONDS) + GRACE;
        loop {
            let (kind, body) = tokio::time::timeout(patience, next(&mut self.socket)).await.ok()??;
            match kind {
                b'D' => {
                    heard.rows += 1;
                    heard.values.push(first_value(&body));
                }
                b'd' => heard.rows += 1,
                b'E' => {
                    let fields: Vec<String> =
                        body.split(|b| *b == 0).map(|f| String::from_utf8_lossy(f).into_owned()).collect();
                    let field = |key| fields.iter().find_map(|f| f.strip_prefix(key)).unwrap_or("").to_owned();
                    heard.error = Some((field('C'), field('M')));
                }
                b'G' => self.socket.write_all(&message(b'f', b"no\0")).await.ok()?,
                b'Z' => {
                    heard.status = body[0];
                    return Some(heard);
                }
                _ => {}
            }
            heard.bytes.extend(body);
        }
    }
}

fn first_value(body: &[u8]) -> Option<String> {
    let length = i32::from_be_bytes(body.get(2..6)?.try_into().ok()?);
    let value = body.get(6..6 + usize::try_from(length).ok()?)?;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// The messages for a statement, in one protocol or the other.
fn messages(chance: &mut Chance, statement: &Statement) -> Vec<u8> {
    if statement.parameters.is_empty() && chance.percent(60) {
        return message(b'Q', &[&statement.text[..], b"\0"].concat());
    }
    let text = String::from_utf8_lossy(&statement.text).replace('\0', "");
    let values: Vec<&str> = statement.parameters.iter().map(String::as_str).collect();
    let rows = if chance.percent(20) { 2 } else { 0 };
    [parse(&text, 0), bind(&values, chance.percent(40)), run(rows), sync()].concat()
}

/// What the protected tables' rows betray themselves by.
pub struct Watch {
    names: Vec<String>,
    numbers: HashSet<String>,
}

impl Watch {
    pub fn new(canaries: Vec<String>) -> Watch {
        let (names, numbers): (Vec<_>, Vec<_>) = canaries.into_iter().partition(|c| c.starts_with("canary"));
        Watch { names, numbers: numbers.into_iter().collect() }
    }

    /// What of them stands in an answer.
    pub fn seen_in(&self, bytes: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(bytes);
        if text.contains("canary")
            && let Some(name) = self.names.iter().find(|name| text.contains(name.as_str()))
        {
            return Some(name.clone());
        }
        text.split(|c: char| !c.is_ascii_digit()).find(|digits| self.numbers.contains(*digits)).map(str::to_owned)
    }
}

/// Whether a statement may meet a bug that is known: the digits of a rounded decimal are others than was planned.
fn is_known(text: &str) -> bool {
    ["round(", "trunc("].iter().any(|part| text.contains(part))
}

/// Says so many statements, or until the time is over. Gives how many and what was wrong.
pub async fn talk(
    port: u16,
    seed: u64,
    most: usize,
    until: Instant,
    watch: &Watch,
) -> (usize, BTreeMap<String, usize>, Problems) {
    let mut chance = Chance::new(seed);
    let mut session = Session::connect(port).await;
    let mut problems = Problems::new();
    let mut codes = BTreeMap::new();
    for said in 0..most {
        if Instant::now() >= until {
            return (said, codes, problems);
        }
        let statement = statements::next(&mut chance);
        let bytes = messages(&mut chance, &statement);
        let text = String::from_utf8_lossy(&statement.text).into_owned();
        let example = format!("seed {seed}, statement {said}: {text} {:?}", statement.parameters);
        let began = Instant::now();
        let Some(heard) = session.exchange(&bytes).await else {
            let why = if began.elapsed() < GRACE { "the connection ended" } else { "it hangs" };
            problems.insert(format!("{why} {said}"), example);
            session = Session::connect(port).await;
            continue;
        };
        if let Some(canary) = watch.seen_in(&heard.bytes) {
            problems.insert(format!("a row left: {canary}"), example.clone());
        }
        if statement.forbidden && heard.rows > 0 {
            problems.insert(format!("{} rows of a protected table", heard.rows), example.clone());
        }
        let code = heard.error.as_ref().map_or("ok".to_owned(), |(code, _)| code.clone());
        if let Some((code, message)) = &heard.error
            && matches!(code.as_str(), "XX000" | "58000" | "")
            && !is_known(&text)
        {
            let kind: String = message.chars().filter(|c| !c.is_ascii_digit()).take(70).collect();
            problems.entry(format!("{code} {kind}")).or_insert(format!("{example}\n      {message}"));
        }
        *codes.entry(code).or_default() += 1;
        if heard.status != b'I' && chance.percent(40) {
            session.exchange(&query("ROLLBACK")).await;
        }
    }
    (most, codes, problems)
}
