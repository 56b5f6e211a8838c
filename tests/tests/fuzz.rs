//! The entrances for fuzzers, with seeds that mean something and what becomes of them when bytes change: nothing panics, nothing takes long,
//! and the readers agree with themselves.
//!
//! The mutations are the same every time. `KANON_FUZZ_SECONDS=600` goes on for so long, with others every time round.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "fuzz/credentials.rs"]
mod credentials;

use std::time::{Duration, Instant};

use kanon_engine::error::Result;
use kanon_tests::wire::{bind, message, parse, query, run, sync};

/// Statements of the conformance tests: one each up to an empty line.
const STATEMENTS: [&str; 6] = [
    include_str!("conformance/queries.sql"),
    include_str!("conformance/functions.sql"),
    include_str!("conformance/types.sql"),
    include_str!("conformance/shapes.sql"),
    include_str!("conformance/more_functions.sql"),
    include_str!("conformance/json.sql"),
];
/// What drivers ask of the catalog.
const CATALOG: [&str; 2] = [
    include_str!("../../engine/src/pg_catalog/corpus/psql.sql"),
    include_str!("../../engine/src/pg_catalog/corpus/drivers.sql"),
];
/// The longest that one input may take: a debug build on a busy machine.
const LONGEST: Duration = Duration::from_secs(10);

/// What looks random and is not: SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// A seed with some of its bytes changed.
fn mutated(chance: &mut Chance, seeds: &[Vec<u8>], parts: &[&str]) -> Vec<u8> {
    let mut data = seeds[chance.below(seeds.len())].clone();
    for _ in 0..1 + chance.below(6) {
        let at = chance.below(data.len() + 1);
        match chance.below(9) {
            0 => data.truncate(at),
            1 if at < data.len() => drop(data.remove(at)),
            2 if at < data.len() => data[at] = chance.next() as u8,
            3 if at < data.len() => data[at] ^= 1 << chance.below(8),
            4 => data.insert(at, chance.next() as u8),
            5 => {
                let part = parts[chance.below(parts.len())];
                data.splice(at..at, part.bytes());
            }
            6 => {
                // A piece of another, in the middle of this one.
                let other = &seeds[chance.below(seeds.len())];
                let from = chance.below(other.len());
                let to = from + chance.below(other.len() - from);
                data.splice(at..at, other[from..to].to_vec());
            }
            7 => {
                // A piece many times.
                let from = chance.below(at + 1);
                let piece = data[from..at].to_vec();
                let times = chance.below(1 + 4_000 / (piece.len() + 1));
                data.splice(at..at, piece.repeat(times));
            }
            _ => {
                let number = [0, 1, 0x7f, 0x80, 0xff][chance.below(5)];
                let many = data.iter_mut().skip(at).take(4);
                many.for_each(|byte| *byte = number);
            }
        }
    }
    data.truncate(100_000);
    data
}

/// Every seed, then so many mutations, or more if there is time. XX000 is the entrance's word for a bug.
fn goes_well(entrance: fn(&[u8]) -> Result<()>, seeds: Vec<Vec<u8>>, parts: &'static [&'static str], times: usize) {
    let seconds: u64 = std::env::var("KANON_FUZZ_SECONDS").map_or(0, |seconds| seconds.parse().unwrap());
    let until = Instant::now() + Duration::from_secs(seconds);
    let work = move || {
        let mut chance = Chance(1);
        let (mut done, mut well) = (0, 0);
        while done < seeds.len() + times || Instant::now() < until {
            let data = match seeds.get(done) {
                Some(seed) => seed.clone(),
                None => mutated(&mut chance, &seeds, parts),
            };
            let shown = String::from_utf8_lossy(&data).into_owned();
            let began = Instant::now();
            let outcome = std::panic::catch_unwind(|| entrance(&data))
                .unwrap_or_else(|_| panic!("a panic at {shown:?}\n{data:?}"));
            assert!(began.elapsed() < LONGEST, "{:?} for {shown:?}", began.elapsed());
            match outcome {
                Ok(()) => well += 1,
                Err(error) => assert_ne!(error.state.code(), "XX000", "{}: {shown:?}", error.message),
            }
            done += 1;
        }
        println!("{done} inputs, {well} went well");
        // A reader that refuses everything proves nothing.
        assert!(well * 20 > done, "{well} of {done}");
    };
    // As large as the stack that statements are read on.
    std::thread::Builder::new().stack_size(256 << 20).spawn(work).unwrap().join().unwrap();
}

fn statements() -> Vec<Vec<u8>> {
    // Those of the corpora begin with a line that says where they are from.
    let catalog =
        CATALOG.iter().flat_map(|text| text.split("\n--- ")).filter_map(|text| Some(text.split_once('\n')?.1));
    let all = STATEMENTS.iter().flat_map(|text| text.split("\n\n")).chain(catalog);
    let more = [
        "BEGIN; SAVEPOINT a; ROLLBACK TO SAVEPOINT a; COMMIT AND CHAIN",
        "PREPARE p(int, text) AS SELECT $1, $2; EXECUTE p(1, 'x'); DEALLOCATE p",
        "DECLARE c BINARY NO SCROLL CURSOR WITH HOLD FOR SELECT 1; FETCH FORWARD 10 FROM c; MOVE ALL IN c; CLOSE c",
        "COPY (SELECT 1) TO STDOUT WITH (FORMAT csv, HEADER, DELIMITER ';', NULL 'x', QUOTE '''', FORCE_QUOTE *)",
        "COPY t (a, b) TO STDOUT CSV HEADER DELIMITER AS ',' FORCE QUOTE a",
        "SET LOCAL search_path TO public, \"Kanon\"; SHOW ALL; RESET ALL; SET TIME ZONE 'UTC'; SET a.b = 1",
        "CREATE EXTERNAL TABLE t (a int, b text) STORED AS CSV LOCATION '/x' OPTIONS ('format.has_header' 'true')",
        "ALTER TABLE t SET (access = 'private', unit = 'pid', min_cohort = 5); ALTER TABLE t ALTER COLUMN a SET (lower = 0, upper = 1e3)",
        "CREATE ROLE a LOGIN PASSWORD 'secret'; GRANT analyst TO a; GRANT SELECT ON t TO a; REVOKE analyst FROM a; ALTER ROLE a PASSWORD 'x'",
        "CREATE PRIVACY UNIT patient WITH (budget_epsilon = 1, budget_delta = 0.1)",
        "CREATE TEMPORARY TABLE t (a int NOT NULL, b text DEFAULT 'x'); INSERT INTO t (a) VALUES (1), (2); DROP TABLE IF EXISTS t",
        "EXPLAIN (PRIVACY, FORMAT json) SELECT count(*) FROM t GROUP BY a HAVING count(*) > 1",
        "SELECT E'a\\nb', U&'\\00e4', $$x$$, $a$ $$ $a$, B'01', X'ff', N'x', '\"', \"a\"\"b\", 1e5, .5, 5., 0x1F, 1_000 -- c /* d\n/* e /* f */ */",
    ];
    let all = all.map(str::to_owned).chain(more.map(str::to_owned));
    all.map(|text| text.lines().filter(|line| !line.starts_with("-- ")).collect::<Vec<_>>().join("\n").into_bytes())
        .filter(|text| !text.is_empty())
        .collect()
}

#[test]
fn texts_of_statements() {
    const PARTS: &[&str] = &[
        "(",
        ")",
        "'",
        "\"",
        "--",
        "/*",
        "*/",
        "$$",
        "$a$",
        ";",
        ",",
        "::",
        "[",
        "]",
        "\\",
        "E'",
        "U&'",
        "U&\"",
        "$1",
        "{",
        "}",
        ".",
        "..",
        "@>",
        "->>",
        "OPERATOR(pg_catalog.+)",
        " SELECT ",
        " FROM ",
        " WHERE ",
        " CASE WHEN ",
        " END ",
        " NOT ",
        " IN ",
        " = ANY(",
        " OVER (",
        " WITH x AS (",
        " UNION ALL ",
        " LATERAL ",
        " INTERVAL '",
        " ARRAY[",
        " COLLATE \"C\"",
        " AT TIME ZONE ",
        " IS DISTINCT FROM ",
        "::regclass",
        "pg_catalog.",
        "\u{0}",
        "\u{feff}",
        "é",
        "😀",
        "\n",
        "\r\n",
        "\t",
        "99999999999999999999",
        "1e400",
        "0x",
        " EXPLAIN ",
        " COPY (",
        " DECLARE c CURSOR FOR ",
        " GROUP BY GROUPING SETS ((), (",
        " TABLE ",
        " VALUES (",
        " ROW(",
        " FETCH ALL FROM ",
    ];
    goes_well(|data| kanon_engine::fuzz::text(data).map(drop), statements(), PARTS, 4_000);
}

#[test]
fn messages_of_clients() {
    let startup = |parameters: &[u8]| {
        [&u32::try_from(parameters.len() + 8).unwrap().to_be_bytes()[..], &[0, 3, 0, 0], parameters].concat()
    };
    let seeds = vec![
        startup(b"user\0ana\0database\0kanon\0options\0-c a=b\0\0"),
        vec![0, 0, 0, 8, 4, 210, 22, 47],
        vec![0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 1, 0, 0, 0, 2],
        message(b'p', b"SCRAM-SHA-256\0\0\0\0\x20n,,n=,r=fyko+d2lbbFgONRv9qkxdawL"),
        query("SELECT 1"),
        [parse("SELECT $1, $2", 2), bind(&["1", "x"], true), run(7), sync()].concat(),
        [message(b'C', b"Sx\0"), message(b'D', b"P\0"), message(b'H', b""), message(b'X', b"")].concat(),
        [
            message(b'd', b"1\t2\n"),
            message(b'c', b""),
            message(b'f', b"no\0"),
            message(b'F', b"\0\0\0\x01\0\0\0\0\0\0"),
        ]
        .concat(),
        message(b'B', b"p\0s\0\0\x01\0\x01\0\x02\xff\xff\xff\xff\0\0\0\x04\0\0\0\x2a\0\x01\0\x01"),
    ];
    const PARTS: &[&str] =
        &["\0", "\0\0\0\u{4}", "Q\0\0\0\u{9}ab\0", "S\0\0\0\u{4}", "B", "P", "\u{7f}", "H\0\0\0\u{4}", "X\0\0\0\u{4}"];
    goes_well(|data| kanon_pg::fuzz::messages(data).map(drop), seeds, PARTS, 200_000);
}

#[test]
fn parameters_of_statements() {
    // Every type in both formats: the first bytes say which.
    let texts: [&[u8]; 16] = [
        b"1",
        b"-32768",
        b"t",
        b"1.5e-3",
        b"12345678901234567890.123",
        b"2024-02-29",
        b"23:59:59.999999",
        b"2024-02-29 12:00:00+02",
        b"1 mon -3 days 04:05:06",
        b"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        b"{\"a\": [1]}",
        b"{1,NULL,\"x\\\"y\"}",
        b"\\xdeadbeef",
        b"NaN",
        b"{}",
        b"",
    ];
    let binaries: [&[u8]; 8] = [
        b"\0\0\0\x01",
        b"\x3f\xf8\0\0\0\0\0\0",
        b"\0\x02\0\x01\x40\0\0\x03\0\x0c\x1a\x85",
        b"\0\0\0\x01\0\0\0\0\0\0\0\x17\0\0\0\x02\0\0\0\x01\0\0\0\x04\0\0\0\x07\xff\xff\xff\xff",
        b"\x01{}",
        b"\0\0\0\0\0\0\0\x01\0\0\0\x02\0\0\0\x03",
        b"\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"0123456789abcdef",
    ];
    let mut seeds = Vec::new();
    for kind in 0..37_u8 {
        for wanted in [1, 2, 0, 4 * kind] {
            seeds.extend(texts.iter().map(|text| [&[kind, 0, wanted], *text].concat()));
            seeds.extend(binaries.iter().map(|binary| [&[kind, 1, wanted], *binary].concat()));
        }
    }
    const PARTS: &[&str] = &[
        "-", "+", ".", "e", "E", "{", "}", ",", "\"", "\\", "NULL", "infinity", "\0\0\0\0", "\u{7f}", ":", "99999999",
        "+14:00", " BC", "T", "Z", "e-9999", "mons", "::",
    ];
    goes_well(kanon_pg::fuzz::parameter, seeds, PARTS, 60_000);
}

#[test]
fn certificates_and_their_names() {
    let ia5 = |text: &str| text.try_into().unwrap();
    let names = vec![
        rcgen::SanType::Rfc822Name(ia5("alice@clinic.example")),
        rcgen::SanType::DnsName(ia5("etl.clinic.example")),
        rcgen::SanType::URI(ia5("spiffe://clinic/etl")),
    ];
    let certificate = |names: Vec<rcgen::SanType>| {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Clinic, Zürich + \"Co\"");
        params.distinguished_name.push(rcgen::DnType::CommonName, " #alice\\");
        params.subject_alt_names = names;
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    };
    let mut seeds = vec![certificate(names), certificate(Vec::new())];
    let texts = [
        "CN=alice,O=Clinic",
        "cn = \\#a\\20 + 2.5.4.10 = b\\C3\\BC\\, , DC=clinic,DC=example",
        "email:alice@clinic.example",
        "dns:etl.clinic.example",
        "uri:spiffe://clinic/etl",
    ];
    seeds.extend(texts.map(|text| text.as_bytes().to_vec()));
    const PARTS: &[&str] =
        &["=", ",", "+", "\\", "\\,", "\\C3", " ", "#", ";", "\"", "CN=", "1.2.3=", "\u{0}", "é", ":", "*"];
    goes_well(kanon_engine::fuzz::certificate, seeds, PARTS, 100_000);
}
