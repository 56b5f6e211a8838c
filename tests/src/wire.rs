//! A client of the Postgres protocol that keeps every byte it is sent.

use std::time::Duration;

use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::ANALYST;

/// How long an answer may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A message of this kind.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    out.extend(body);
    out
}

/// A Query message.
pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', format!("{sql}\0").as_bytes())
}

/// Parse, of the unnamed statement, with so many parameters of unsaid types.
pub fn parse(sql: &str, parameters: u16) -> Vec<u8> {
    message(b'P', &[b"\0", sql.as_bytes(), b"\0", &parameters.to_be_bytes()].concat())
}

/// Bind of the unnamed portal, with parameters as text, and Describe.
pub fn bind(values: &[&str], binary: bool) -> Vec<u8> {
    let mut body = b"\0\0\0\0".to_vec();
    body.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
    for value in values {
        body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(value.as_bytes());
    }
    body.extend([0, 1, 0, u8::from(binary)]);
    [message(b'B', &body), message(b'D', b"P\0")].concat()
}

/// Execute, for so many rows; 0 for all.
pub fn run(rows: u32) -> Vec<u8> {
    message(b'E', &[b"\0".as_slice(), &rows.to_be_bytes()].concat())
}

/// Sync.
pub fn sync() -> Vec<u8> {
    message(b'S', b"")
}

/// The client's side of SCRAM-SHA-256 up to its last message, which is given back.
pub async fn scram(socket: &mut TcpStream, password: &str) -> Vec<u8> {
    let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
    let mut first = b"SCRAM-SHA-256\0".to_vec();
    first.extend(u32::try_from(scram.message().len()).unwrap().to_be_bytes());
    first.extend(scram.message());
    socket.write_all(&message(b'p', &first)).await.unwrap();
    let (kind, challenge) = next(socket).await.unwrap();
    assert_eq!(kind, b'R', "{}", String::from_utf8_lossy(&challenge));
    scram.update(&challenge[4..]).unwrap();
    message(b'p', scram.message())
}

/// Brings a socket to its first ReadyForQuery. Gives what the server says of itself, without what is random: SCRAM, the key for
/// cancelling.
///
/// # Errors
/// The server's error, as it stands in its message.
pub async fn log_in(socket: &mut TcpStream, role: (&str, &str)) -> Result<Vec<u8>, String> {
    let parameters = format!("user\0{}\0database\0kanon\0\0", role.0);
    let mut startup = u32::try_from(parameters.len() + 8).unwrap().to_be_bytes().to_vec();
    startup.extend([0, 3, 0, 0]);
    startup.extend(parameters.as_bytes());
    socket.write_all(&startup).await.unwrap();
    next(socket).await.ok_or("no answer")?;
    let proof = scram(socket, role.1).await;
    socket.write_all(&proof).await.unwrap();
    let mut greeting = Vec::new();
    loop {
        let (kind, body) = next(socket).await.ok_or("no answer")?;
        if kind == b'E' {
            return Err(String::from_utf8_lossy(&body).into_owned());
        }
        if !matches!(kind, b'R' | b'K') {
            greeting.extend(message(kind, &body));
        }
        if kind == b'Z' {
            return Ok(greeting);
        }
    }
}

/// A connection of the analyst, to a node or to PostgreSQL.
pub struct Wire {
    port: u16,
    socket: TcpStream,
    /// What the server said of itself when it let the client in, without what is random: SCRAM, the key for cancelling.
    pub greeting: Vec<u8>,
}

impl Wire {
    /// Logs in.
    pub async fn connect(port: u16) -> Wire {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let greeting = log_in(&mut socket, ANALYST).await.unwrap();
        Wire { port, socket, greeting }
    }

    /// Sends bytes and keeps all that comes until the server was ready so many times. A connection that ends is made anew.
    pub async fn exchange(&mut self, bytes: &[u8], ready: usize) -> Vec<u8> {
        self.socket.write_all(bytes).await.unwrap();
        let mut all = Vec::new();
        let mut left = ready;
        while left > 0 {
            let Some((kind, body)) = tokio::time::timeout(PATIENCE, next(&mut self.socket)).await.expect("an answer")
            else {
                all.extend(b"(the connection ended)");
                *self = Wire::connect(self.port).await;
                break;
            };
            all.extend(message(kind, &body));
            match kind {
                b'Z' => left -= 1,
                b'G' => self.socket.write_all(&message(b'f', b"no\0")).await.unwrap(),
                _ => {}
            }
        }
        all
    }
}

/// The next message: its type and body; `None` at the end of the connection.
pub async fn next(socket: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    socket.read_exact(&mut head).await.ok()?;
    let mut body = vec![0; u32::from_be_bytes(head[1..].try_into().unwrap()) as usize - 4];
    socket.read_exact(&mut body).await.ok()?;
    Some((head[0], body))
}

/// The messages of a transcript.
pub fn messages(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut all = Vec::new();
    while bytes.len() >= 5 {
        let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
        if bytes.len() <= length {
            break;
        }
        all.push((bytes[0], &bytes[5..=length]));
        bytes = &bytes[length + 1..];
    }
    all
}
