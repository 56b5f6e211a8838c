//! Bytes that no driver sends.

use std::time::Duration;

use kanon_pg::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::connect;
use crate::house::{PASSWORD, Running, USER, start, start_with};

/// What a server sent: types and, for errors, `CODE message`.
async fn read_all(socket: &mut TcpStream) -> Vec<String> {
    let mut bytes = Vec::new();
    tokio::time::timeout(Duration::from_secs(3), socket.read_to_end(&mut bytes))
        .await
        .expect("the server keeps quiet")
        .unwrap();
    shown(&bytes)
}

fn shown(mut bytes: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    while bytes.len() >= 5 {
        let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
        let body = &bytes[5..=length];
        all.push(match bytes[0] {
            b'E' => {
                let fields: Vec<_> = body.split(|b| *b == 0).map(|f| String::from_utf8_lossy(f).into_owned()).collect();
                let field = |key: char| fields.iter().find_map(|f| f.strip_prefix(key)).unwrap_or("").to_owned();
                format!("{} {} {}", field('S'), field('C'), field('M'))
            }
            b'Z' => format!("Z{}", body[0] as char),
            b'C' => format!("C {}", String::from_utf8_lossy(&body[..body.len() - 1])),
            kind => (kind as char).to_string(),
        });
        bytes = &bytes[length + 1..];
    }
    assert!(bytes.is_empty(), "a torn message: {bytes:?}");
    all
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(((body.len() + 4) as u32).to_be_bytes());
    out.extend(body);
    out
}

fn startup(parameters: &[u8]) -> Vec<u8> {
    let mut out = ((parameters.len() + 8) as u32).to_be_bytes().to_vec();
    out.extend([0, 3, 0, 0]);
    out.extend(parameters);
    out
}

/// A socket that is logged in, by hand.
async fn logged_in(running: &Running) -> TcpStream {
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    socket.write_all(&startup(format!("user\0{USER}\0database\0kanon\0\0").as_bytes())).await.unwrap();
    let mut scram = postgres_protocol::authentication::sasl::ScramSha256::new(
        PASSWORD.as_bytes(),
        postgres_protocol::authentication::sasl::ChannelBinding::unsupported(),
    );
    next(&mut socket).await;
    let mut first = b"SCRAM-SHA-256\0".to_vec();
    first.extend((scram.message().len() as u32).to_be_bytes());
    first.extend(scram.message());
    socket.write_all(&message(b'p', &first)).await.unwrap();
    let (_, challenge) = next(&mut socket).await;
    scram.update(&challenge[4..]).unwrap();
    socket.write_all(&message(b'p', scram.message())).await.unwrap();
    while next(&mut socket).await.0 != b'Z' {}
    socket
}

async fn next(socket: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0u8; 5];
    socket.read_exact(&mut head).await.unwrap();
    let mut body = vec![0; u32::from_be_bytes(head[1..].try_into().unwrap()) as usize - 4];
    socket.read_exact(&mut body).await.unwrap();
    (head[0], body)
}

#[tokio::test]
async fn garbage_before_start_up_ends_only_its_own_connection() {
    let running = start().await;
    let client = connect(&running).await;
    let cases: [(&str, Vec<u8>, &str); 7] = [
        ("http", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), "FATAL 08P01 invalid length of startup packet"),
        ("length 0", vec![0, 0, 0, 0, 1, 2, 3, 4], "FATAL 08P01 invalid length of startup packet"),
        ("length 2 GB", vec![0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0], "FATAL 08P01 invalid length of startup packet"),
        (
            "no terminator",
            startup(b"user\0ana"),
            "FATAL 08P01 invalid startup packet layout: expected terminator as last byte",
        ),
        ("no user", startup(b"database\0kanon\0\0"), "FATAL 28000 no PostgreSQL user name specified in startup packet"),
        (
            "version 2",
            vec![0, 0, 0, 8, 0, 2, 0, 0],
            "FATAL 0A000 unsupported frontend protocol 2.0: server supports 3.0 to 3.0",
        ),
        (
            "invalid UTF-8",
            startup(b"user\0\xff\xfe\0\0"),
            "FATAL 08P01 invalid startup packet layout: expected terminator as last byte",
        ),
    ];
    for (name, bytes, expected) in cases {
        let mut socket = TcpStream::connect(running.address).await.unwrap();
        socket.write_all(&bytes).await.unwrap();
        assert_eq!(read_all(&mut socket).await, [expected], "{name}");
    }
    for random in 0u64..200 {
        let mut socket = TcpStream::connect(running.address).await.unwrap();
        let bytes: Vec<u8> = (0..64u64)
            .map(|i| (random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i * 97) >> 13) as u8)
            .collect();
        let _ = socket.write_all(&bytes).await;
    }
    client.query("SELECT 1", &[]).await.unwrap();
}

#[tokio::test]
async fn garbage_instead_of_a_password_is_refused() {
    let running = start().await;
    let too_long = {
        let mut bytes = vec![b'p'];
        bytes.extend(100_000u32.to_be_bytes());
        bytes
    };
    let cases = [
        (message(b'Q', b"SELECT 1\0"), "FATAL 08P01 expected SASL response, got message type 81"),
        (
            message(b'p', b"SCRAM-SHA-1\0\0\0\0\0"),
            "FATAL 08P01 client selected an invalid SASL authentication mechanism",
        ),
        (message(b'p', b"SCRAM-SHA-256\0\xff\xff\xff\xff"), "FATAL 08P01 malformed SCRAM message"),
        (message(b'p', b"SCRAM-SHA-256\0\0\0\0\x03n,,"), "FATAL 08P01 malformed SCRAM message"),
        (message(b'p', b"secret\0"), "FATAL 08P01 client selected an invalid SASL authentication mechanism"),
        (too_long, "FATAL 08P01 invalid message length"),
    ];
    for (bytes, expected) in cases {
        let mut socket = TcpStream::connect(running.address).await.unwrap();
        socket.write_all(&startup(b"user\0ana\0database\0kanon\0\0")).await.unwrap();
        socket.write_all(&bytes).await.unwrap();
        assert_eq!(read_all(&mut socket).await.last().unwrap(), expected);
    }
}

#[tokio::test]
async fn a_password_that_never_comes_is_not_waited_for() {
    let limits = Limits { startup_timeout: Duration::from_millis(200), ..Limits::default() };
    let running = start_with(limits).await;
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    let mut halfway = TcpStream::connect(running.address).await.unwrap();
    halfway.write_all(&startup(b"user\0ana\0database\0kanon\0\0")).await.unwrap();
    assert_eq!(read_all(&mut silent).await, [""; 0]);
    assert_eq!(read_all(&mut halfway).await, ["R"]);
    connect(&running).await;
}

#[tokio::test]
async fn encryption_that_is_not_offered_is_declined_and_the_client_may_go_on() {
    let running = start().await;
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    for request in [80_877_104u32, 80_877_103] {
        socket.write_all(&[[0, 0, 0, 8], request.to_be_bytes()].concat()).await.unwrap();
        assert_eq!(socket.read_u8().await.unwrap(), b'N');
    }
    socket.write_all(&startup(b"user\0ana\0database\0kanon\0\0")).await.unwrap();
    assert_eq!(next(&mut socket).await.0, b'R');
}

#[tokio::test]
async fn newer_minor_versions_are_negotiated_down() {
    let running = start().await;
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    let mut packet = startup(b"user\0ana\0database\0kanon\0_pq_.x\0y\0\0");
    packet[7] = 2;
    socket.write_all(&packet).await.unwrap();
    let (kind, body) = next(&mut socket).await;
    assert_eq!((kind, body.as_slice()), (b'v', b"\0\x03\0\0\0\0\0\x01_pq_.x\0".as_slice()));
    assert_eq!(next(&mut socket).await.0, b'R');
}

#[tokio::test]
async fn messages_that_cannot_be_are_errors_and_lost_streams_end() {
    let running = start().await;
    let sync = message(b'S', b"");
    let ending = message(b'X', b"");
    let bind = |rest: &[u8]| {
        [message(b'P', b"\0SELECT $1\0\0\x01\0\0\0\x17"), message(b'B', &[b"\0\0", rest].concat())].concat()
    };
    // The connection goes on after these.
    let cases: [(&str, Vec<u8>, &[&str]); 12] = [
        ("query without end", message(b'Q', b"SELECT 1"), &["ERROR 08P01 invalid string in message", "ZI", "ZI"]),
        (
            "query with more behind it",
            message(b'Q', b"SELECT 1\0x"),
            &["ERROR 08P01 invalid message format", "ZI", "ZI"],
        ),
        (
            "invalid UTF-8",
            message(b'Q', b"SELECT '\xc3\x28'\0"),
            &["ERROR 22021 invalid byte sequence for encoding \"UTF8\": 0xc3 0x28", "ZI", "ZI"],
        ),
        (
            "parse cut short",
            message(b'P', b"\0SELECT 1\0\0\x05\0\0"),
            &["ERROR 08P01 insufficient data left in message", "ZI"],
        ),
        (
            "bind cut short",
            bind(b"\0\0\0\x01\0\0\0\x04\0"),
            &["1", "ERROR 08P01 insufficient data left in message", "ZI"],
        ),
        (
            "bind of negative length",
            bind(b"\0\0\0\x01\x80\0\0\0\0\0"),
            &["1", "ERROR 08P01 insufficient data left in message", "ZI"],
        ),
        ("too many parameters", bind(b"\0\0\xff\xff"), &["1", "ERROR 08P01 insufficient data left in message", "ZI"]),
        (
            "no parameters",
            bind(b"\0\0\0\0\0\0"),
            &["1", "ERROR 08P01 bind message supplies 0 parameters, but prepared statement \"\" requires 1", "ZI"],
        ),
        (
            "binary of wrong length",
            bind(b"\0\x01\0\x01\0\x01\0\0\0\x02\0\x01\0\0"),
            &["1", "ERROR 08P01 insufficient data left in message", "ZI"],
        ),
        (
            "binary too long",
            bind(b"\0\x01\0\x01\0\x01\0\0\0\x05\0\0\0\0\x01\0\0"),
            &["1", "ERROR 22P03 incorrect binary data format in bind parameter 1", "ZI"],
        ),
        (
            "text that is no number",
            bind(b"\0\0\0\x01\0\0\0\x01x\0\0"),
            &["1", "ERROR 22P02 invalid input syntax for type integer: \"x\"", "ZI"],
        ),
        (
            "unknown portal, and skipping until Sync",
            [message(b'E', b"p\0\0\0\0\0"), message(b'Q', b"SELECT 1\0")].concat(),
            &["ERROR 34000 portal \"p\" does not exist", "ZI"],
        ),
    ];
    for (name, bytes, expected) in cases {
        let mut socket = logged_in(&running).await;
        socket.write_all(&[bytes, sync.clone(), ending.clone()].concat()).await.unwrap();
        assert_eq!(read_all(&mut socket).await, expected, "{name}");
    }
    // The connection ends with these: nobody knows where the next message begins.
    let lost: [(Vec<u8>, &str); 4] = [
        (message(b'?', b""), "FATAL 08P01 invalid frontend message type 63"),
        (vec![b'Q', 0, 0, 0, 3], "FATAL 08P01 invalid message length"),
        (vec![b'Q', 0xff, 0xff, 0xff, 0xff], "FATAL 08P01 invalid message length"),
        (vec![b'S', 0, 0x10, 0, 0], "FATAL 08P01 invalid message length"),
    ];
    for (bytes, expected) in lost {
        let mut socket = logged_in(&running).await;
        socket.write_all(&bytes).await.unwrap();
        assert_eq!(read_all(&mut socket).await, [expected]);
    }
}

#[tokio::test]
async fn portals_are_described_run_in_portions_and_closed() {
    let running = start().await;
    let mut socket = logged_in(&running).await;
    let parse = message(b'P', b"s\0SELECT * FROM (VALUES (1), (2), (3)) t\0\0\0");
    let bind = message(b'B', b"p\0s\0\0\0\0\0\0\0");
    let some = message(b'E', b"p\0\0\0\0\x02");
    let batch = [
        parse.clone(),
        message(b'D', b"Ss\0"),
        bind,
        message(b'D', b"Pp\0"),
        some.clone(),
        some.clone(),
        some,
        message(b'C', b"Pp\0"),
        message(b'C', b"Pnone\0"),
        message(b'S', b""),
        // The same name again.
        parse,
        message(b'S', b""),
        message(b'Q', b" ;; \0"),
        message(b'Q', b"BEGIN\0"),
        message(b'Q', b"FAIL\0"),
        message(b'X', b""),
    ]
    .concat();
    socket.write_all(&batch).await.unwrap();
    let expected = [
        "1",
        "t",
        "T",
        "2",
        "T",
        "D",
        "D",
        "s",
        "D",
        "C SELECT 1",
        "C SELECT 0",
        "3",
        "3",
        "ZI",
        "ERROR 42P05 prepared statement \"s\" already exists",
        "ZI",
        "I",
        "ZI",
        "C BEGIN",
        "ZT",
        "ERROR 42601 it fails",
        "ZE",
    ];
    assert_eq!(read_all(&mut socket).await, expected);
}
