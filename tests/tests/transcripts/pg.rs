//! The ways to ask over the Postgres protocol, and what comes back.

pub use kanon_tests::wire::{Wire, messages, query};
use kanon_tests::wire::{bind, message, parse, run, sync};

use crate::attempts::{Attempt, Names};

/// The ways to ask over the Postgres protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// One Query message; `kanon.last_query` behind it.
    Simple,
    /// Parse, Bind, Describe, Execute: answers as text.
    Extended,
    /// The same, answers binary.
    Binary,
    /// The same with parameters instead of literals.
    Parameters,
    /// Parse and Describe alone.
    Described,
    /// A portal that is run row by row.
    Portions,
    /// DECLARE, FETCH 1, FETCH ALL.
    Cursor,
    /// PREPARE and EXECUTE.
    Prepared,
    /// COPY (…) TO STDOUT, as text.
    CopyText,
    /// As CSV with a header.
    CopyCsv,
    /// Binary.
    CopyBinary,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Protocol; 11] = [
        Protocol::Simple,
        Protocol::Extended,
        Protocol::Binary,
        Protocol::Parameters,
        Protocol::Described,
        Protocol::Portions,
        Protocol::Cursor,
        Protocol::Prepared,
        Protocol::CopyText,
        Protocol::CopyCsv,
        Protocol::CopyBinary,
    ];

    /// What to send for an attempt, and how many times the server will be ready after it. `None` if the attempt has no such form.
    pub fn request(self, attempt: &Attempt, names: &Names) -> Option<(Vec<u8>, usize)> {
        if attempt.once && !matches!(self, Protocol::Simple | Protocol::Extended) {
            return None;
        }
        let sql = attempt.sql(names);
        let last_query = query("SELECT * FROM kanon.last_query");
        let clean = query("ROLLBACK");
        let (bytes, ready) = match self {
            Protocol::Simple => ([query(&sql), clean, last_query].concat(), 3),
            Protocol::Extended => ([parse(&sql, 0), bind(&[], false), run(0), sync(), clean].concat(), 2),
            Protocol::Binary => ([parse(&sql, 0), bind(&[], true), run(0), sync(), clean].concat(), 2),
            Protocol::Described => ([parse(&sql, 0), message(b'D', b"S\0"), sync()].concat(), 1),
            Protocol::Portions => {
                let portions = [run(1), run(1), run(0)].concat();
                ([parse(&sql, 0), bind(&[], false), portions, sync(), clean].concat(), 2)
            }
            Protocol::Parameters => {
                let (sql, parameters) = attempt.parameterized(names)?;
                let values: Vec<&str> = parameters.iter().map(|p| p.value.as_str()).collect();
                let mut parse = sql.into_bytes();
                parse.insert(0, 0);
                parse.push(0);
                parse.extend(u16::try_from(parameters.len()).unwrap().to_be_bytes());
                for parameter in &parameters {
                    let oid: u32 = match parameter.kind {
                        "int8" => 20,
                        "float8" => 701,
                        "date" => 1082,
                        _ => 25,
                    };
                    parse.extend(oid.to_be_bytes());
                }
                ([message(b'P', &parse), bind(&values, false), run(0), sync(), clean].concat(), 2)
            }
            Protocol::Cursor => {
                let declare = query(&format!("BEGIN; DECLARE c CURSOR FOR {sql}"));
                let rest = [query("FETCH 1 FROM c"), query("FETCH ALL FROM c"), query("CLOSE c"), clean].concat();
                ([declare, rest].concat(), 5)
            }
            Protocol::Prepared => {
                let (prepare, execute) = match attempt.parameterized(names) {
                    Some((sql, parameters)) => {
                        let kinds: Vec<&str> = parameters.iter().map(|p| p.kind).collect();
                        let values: Vec<String> = parameters.iter().map(|p| format!("'{}'", p.value)).collect();
                        (
                            format!("PREPARE s({}) AS {sql}", kinds.join(", ")),
                            format!("EXECUTE s({})", values.join(", ")),
                        )
                    }
                    None => (format!("PREPARE s AS {sql}"), "EXECUTE s".to_owned()),
                };
                ([query(&prepare), query(&execute), clean, query("DEALLOCATE ALL")].concat(), 4)
            }
            Protocol::CopyText => ([query(&format!("COPY ({sql}) TO STDOUT")), clean].concat(), 2),
            Protocol::CopyCsv => {
                ([query(&format!("COPY ({sql}) TO STDOUT WITH (FORMAT csv, HEADER)")), clean].concat(), 2)
            }
            Protocol::CopyBinary => {
                ([query(&format!("COPY ({sql}) TO STDOUT WITH (FORMAT binary)")), clean].concat(), 2)
            }
        };
        Some((bytes, ready))
    }
}

/// A transcript without the OIDs of the tables that columns are of: a node numbers tables as its peers come to offer them.
pub fn unnumbered(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for (kind, body) in messages(bytes) {
        let mut body = body.to_vec();
        if kind == b'T' {
            let mut at = 2;
            while let Some(length) = body[at..].iter().position(|b| *b == 0) {
                let oid = at + length + 1;
                body[oid..oid + 4].fill(0);
                at = oid + 18;
            }
        }
        out.extend(message(kind, &body));
    }
    out
}

/// A transcript without its rows: what must be the same even where numbers may differ.
pub fn skeleton(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut report = false;
    for (kind, body) in messages(bytes) {
        match kind {
            b'D' if !report => out.extend(b"(row)"),
            b'd' => out.extend(b"(line)"),
            b'T' => {
                report = is_report(body);
                out.extend(message(kind, body));
            }
            _ => out.extend(message(kind, body)),
        }
    }
    out
}

/// The values of a transcript's rows, as text, without those of `kanon.last_query`. `None` is NULL.
pub fn cells(protocol: Protocol, bytes: &[u8]) -> Vec<Vec<Option<String>>> {
    let mut rows = Vec::new();
    let mut kinds: Vec<u32> = Vec::new();
    let mut stream = Vec::new();
    for (kind, body) in messages(bytes) {
        match kind {
            b'T' if is_report(body) => break,
            b'T' => kinds = oids(body),
            b'D' => rows.push(row(body, (protocol == Protocol::Binary).then_some(kinds.as_slice()))),
            b'd' => stream.extend(body),
            _ => {}
        }
    }
    match protocol {
        Protocol::CopyText => lines(&stream, '\t', "\\N"),
        Protocol::CopyCsv => lines(&stream, ',', "").into_iter().skip(1).collect(),
        Protocol::CopyBinary => tuples(&stream),
        _ => rows,
    }
}

/// Whether columns are those of `kanon.last_query`.
fn is_report(columns: &[u8]) -> bool {
    columns.windows(5).any(|w| w == b"rule\0")
}

fn oids(body: &[u8]) -> Vec<u32> {
    let count = u16::from_be_bytes([body[0], body[1]]);
    let mut rest = &body[2..];
    (0..count)
        .map(|_| {
            let end = rest.iter().position(|b| *b == 0).unwrap() + 1;
            let oid = u32::from_be_bytes(rest[end + 6..end + 10].try_into().unwrap());
            rest = &rest[end + 18..];
            oid
        })
        .collect()
}

fn row(body: &[u8], kinds: Option<&[u32]>) -> Vec<Option<String>> {
    let (row, _) = fields(body, &|column, value| match kinds.map(|k| k[column]) {
        Some(20) => i64::from_be_bytes(value.try_into().unwrap()).to_string(),
        Some(701) => f64::from_be_bytes(value.try_into().unwrap()).to_string(),
        Some(25) | None => String::from_utf8(value.to_vec()).unwrap(),
        Some(_) => format!("{value:02x?}"),
    });
    row
}

/// The fields of a row, and what is behind it.
fn fields<'a>(body: &'a [u8], read: &dyn Fn(usize, &[u8]) -> String) -> (Vec<Option<String>>, &'a [u8]) {
    let count = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let mut rest = &body[2..];
    let row = (0..count)
        .map(|column| {
            let length = i32::from_be_bytes(rest[..4].try_into().unwrap());
            rest = &rest[4..];
            let (value, after) = rest.split_at(usize::try_from(length).ok()?);
            rest = after;
            Some(read(column, value))
        })
        .collect();
    (row, rest)
}

/// Rows of a binary COPY. It names no types: eight bytes are a number, an integer if that is a small one.
fn tuples(stream: &[u8]) -> Vec<Vec<Option<String>>> {
    let mut rest = stream.get(19..).unwrap_or_default();
    let mut rows = Vec::new();
    while rest.len() > 2 {
        if rest[..2] == [0xff, 0xff] {
            break;
        }
        let (row, after) = fields(rest, &|_, value| match <[u8; 8]>::try_from(value) {
            Ok(bytes) if i64::from_be_bytes(bytes).abs() < 1 << 40 => i64::from_be_bytes(bytes).to_string(),
            Ok(bytes) => f64::from_be_bytes(bytes).to_string(),
            Err(_) => String::from_utf8(value.to_vec()).unwrap(),
        });
        rows.push(row);
        rest = after;
    }
    rows
}

fn lines(stream: &[u8], separator: char, null: &str) -> Vec<Vec<Option<String>>> {
    let text = String::from_utf8(stream.to_vec()).unwrap();
    text.lines().map(|l| l.split(separator).map(|v| (v != null).then(|| v.to_owned())).collect()).collect()
}

/// A transcript that people can read.
pub fn shown(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (kind, body) in messages(bytes) {
        let text: String = body
            .iter()
            .map(|b| match b {
                0 => '·',
                b if b.is_ascii_graphic() || *b == b' ' => char::from(*b),
                _ => '~',
            })
            .collect();
        out.push_str(&format!("    {} {text}\n", char::from(kind)));
    }
    out
}
