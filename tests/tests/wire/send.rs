//! Messages of the client, from their lines to bytes.
//!
//! Words are bare (`Sync`, `23`, `-1`, `NULL`), texts in quotes with `\n`, `\0`, `\"`, `\\` and `\xff`, bytes as `x00ff`, lists in brackets.

use kanon_tests::wire::message;

/// A part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Bare(String),
    Bytes(Vec<u8>),
    Named(String, Vec<Word>),
}

impl Word {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Word::Bytes(bytes) => bytes.clone(),
            other => panic!("{other:?} is no text"),
        }
    }

    fn number(&self) -> i64 {
        match self {
            Word::Bare(word) => word.parse().unwrap_or_else(|_| panic!("{word} is no number")),
            other => panic!("{other:?} is no number"),
        }
    }

    fn terminated(&self) -> Vec<u8> {
        [self.bytes(), vec![0]].concat()
    }
}

fn words(line: &str) -> Vec<Word> {
    let mut chars = line.chars().peekable();
    list(&mut chars, None)
}

fn list(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, end: Option<char>) -> Vec<Word> {
    let mut all = Vec::new();
    while let Some(c) = chars.next() {
        match c {
            ' ' | ',' => {}
            c if Some(c) == end => return all,
            '"' => all.push(Word::Bytes(quoted(chars))),
            first => {
                let mut bare = String::from(first);
                while let Some(c) = chars.next_if(|c| !matches!(c, ' ' | ',' | ']' | '=')) {
                    bare.push(c);
                }
                if chars.next_if_eq(&'=').is_some() {
                    let values = match chars.next() {
                        Some('[') => list(chars, Some(']')),
                        Some('"') => vec![Word::Bytes(quoted(chars))],
                        other => panic!("{bare}={other:?}"),
                    };
                    all.push(Word::Named(bare, values));
                } else if let Some(hex) = bare.strip_prefix('x').filter(|hex| hex.len() % 2 == 0) {
                    let pairs = (0..hex.len()).step_by(2);
                    all.push(Word::Bytes(pairs.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()));
                } else {
                    all.push(Word::Bare(bare));
                }
            }
        }
    }
    assert!(end.is_none(), "a list does not end");
    all
}

fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        match chars.next().expect("a text ends") {
            '"' => return bytes,
            '\\' => match chars.next().unwrap() {
                'n' => bytes.push(b'\n'),
                '0' => bytes.push(0),
                'x' => {
                    let hex: String = [chars.next().unwrap(), chars.next().unwrap()].into_iter().collect();
                    bytes.push(u8::from_str_radix(&hex, 16).unwrap());
                }
                c => bytes.extend(c.to_string().as_bytes()),
            },
            c => bytes.extend(c.to_string().as_bytes()),
        }
    }
}

/// A packet before the login: its code and what follows.
fn opening(code: u32, rest: &[u8]) -> Vec<u8> {
    [&u32::try_from(rest.len() + 8).unwrap().to_be_bytes()[..], &code.to_be_bytes(), rest].concat()
}

/// The bytes of a line's message.
pub fn bytes(line: &str) -> Vec<u8> {
    let words = words(line);
    let (Word::Bare(kind), rest) = words.split_first().unwrap() else { panic!("{line}") };
    let named = |name: &str| {
        rest.iter().find_map(|word| match word {
            Word::Named(n, values) if n == name => Some(values.as_slice()),
            _ => None,
        })
    };
    let short = |value: i64| (value as i16).to_be_bytes().to_vec();
    let long = |value: i64| (value as i32).to_be_bytes().to_vec();
    let counted = |values: &[Word]| {
        [short(values.len() as i64), values.iter().flat_map(|v| short(v.number())).collect()].concat()
    };
    let kind_and_name = || {
        let Word::Bare(target) = &rest[0] else { panic!("{line}") };
        [target.as_bytes().to_vec(), rest[1].terminated()].concat()
    };
    match kind.as_str() {
        "SSLRequest" => opening(80_877_103, &[]),
        "GSSENCRequest" => opening(80_877_104, &[]),
        "CancelRequest" => opening(80_877_102, &[long(rest[0].number()), long(rest[1].number())].concat()),
        // Of a version, with parameters.
        "Startup" => {
            let parameters = rest[1..].iter().flat_map(|word| match word {
                Word::Named(name, value) => [name.as_bytes(), &[0], &value[0].terminated()].concat(),
                other => panic!("{other:?}"),
            });
            let Word::Bare(version) = &rest[0] else { panic!("{line}") };
            let (major, minor) = version.split_once('.').unwrap();
            let code = major.parse::<u32>().unwrap() << 16 | minor.parse::<u32>().unwrap();
            opening(code, &parameters.chain([0]).collect::<Vec<u8>>())
        }
        // Anything, before the login or after it.
        "Opening" | "Raw" => rest.iter().flat_map(Word::bytes).collect(),
        // Of a type, with a body.
        "Message" => {
            let Word::Bare(kind) = &rest[0] else { panic!("{line}") };
            message(kind.as_bytes()[0], &rest[1..].iter().flat_map(Word::bytes).collect::<Vec<u8>>())
        }
        "Query" => message(b'Q', &rest[0].terminated()),
        "Parse" => {
            let types = &rest[2..];
            let oids: Vec<u8> = types.iter().flat_map(|oid| long(oid.number())).collect();
            message(b'P', &[rest[0].terminated(), rest[1].terminated(), short(types.len() as i64), oids].concat())
        }
        "Bind" => {
            let values = named("values").unwrap_or_default();
            let mut parameters = short(values.len() as i64);
            for value in values {
                match value {
                    Word::Bare(null) if null == "NULL" => parameters.extend(long(-1)),
                    value => parameters.extend([long(value.bytes().len() as i64), value.bytes()].concat()),
                }
            }
            let formats = counted(named("formats").unwrap_or_default());
            let results = counted(named("results").unwrap_or_default());
            message(b'B', &[rest[0].terminated(), rest[1].terminated(), formats, parameters, results].concat())
        }
        "Describe" => message(b'D', &kind_and_name()),
        "Close" => message(b'C', &kind_and_name()),
        "Execute" => {
            let rows = rest.get(1).map_or(0, Word::number);
            message(b'E', &[rest[0].terminated(), long(rows)].concat())
        }
        "Flush" => message(b'H', b""),
        "Sync" => message(b'S', b""),
        "Terminate" => message(b'X', b""),
        "CopyData" => message(b'd', &rest[0].bytes()),
        "CopyDone" => message(b'c', b""),
        "CopyFail" => message(b'f', &rest[0].terminated()),
        other => panic!("{other} is no message of a client"),
    }
}
