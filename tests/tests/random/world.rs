//! The data: open tables, and protected ones whose every row has a text and numbers that nothing else has.

use std::fmt::Write as _;

use kanon_tests::{Federation, SiteSpec};

use crate::expressions::Kind;

/// A table.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    pub name: &'static str,
    pub columns: &'static [(&'static str, Kind)],
}

const PEOPLE: &str = "id BIGINT, age BIGINT, city TEXT, score DOUBLE PRECISION, price NUMERIC(10,2), active BOOLEAN, born DATE, seen TIMESTAMP";
const TRIPS: &str = "tid BIGINT, id BIGINT, kind TEXT, minutes BIGINT, day DATE";
const PATIENTS: &str =
    "pid BIGINT, name TEXT, age BIGINT, city TEXT, score DOUBLE PRECISION, active BOOLEAN, born DATE, big BIGINT";
const STAYS: &str = "sid BIGINT, pid BIGINT, name TEXT, ward TEXT, minutes BIGINT, day DATE";

/// Those whose rows may be seen.
pub const OPEN: &[Table] = &[
    Table {
        name: "people",
        columns: &[
            ("id", Kind::Int),
            ("age", Kind::Int),
            ("city", Kind::Text),
            ("score", Kind::Float),
            ("price", Kind::Numeric),
            ("active", Kind::Bool),
            ("born", Kind::Date),
            ("seen", Kind::Timestamp),
        ],
    },
    Table {
        name: "trips",
        columns: &[
            ("tid", Kind::Int),
            ("id", Kind::Int),
            ("kind", Kind::Text),
            ("minutes", Kind::Int),
            ("day", Kind::Date),
        ],
    },
];

/// Those whose rows never leave: two with cohorts, one with noise.
pub const PROTECTED: &[Table] = &[
    Table {
        name: "patients",
        columns: &[
            ("pid", Kind::Int),
            ("name", Kind::Text),
            ("age", Kind::Int),
            ("city", Kind::Text),
            ("score", Kind::Float),
            ("active", Kind::Bool),
            ("born", Kind::Date),
            ("big", Kind::Int),
        ],
    },
    Table {
        name: "stays",
        columns: &[
            ("sid", Kind::Int),
            ("pid", Kind::Int),
            ("name", Kind::Text),
            ("ward", Kind::Text),
            ("minutes", Kind::Int),
            ("day", Kind::Date),
        ],
    },
    Table {
        name: "labs",
        columns: &[
            ("pid", Kind::Int),
            ("name", Kind::Text),
            ("age", Kind::Int),
            ("city", Kind::Text),
            ("score", Kind::Float),
            ("active", Kind::Bool),
            ("born", Kind::Date),
            ("big", Kind::Int),
        ],
    },
];

/// How long the node lets a statement run.
pub const TIMEOUT_SECONDS: u64 = 3;
/// Rows of a protected table.
const PERSONS: u64 = 60;

fn name(table: &str, i: u64) -> String {
    let letters: String = format!("{:08x}", (i + 1).wrapping_mul(0x9E37_79B1) as u32)
        .bytes()
        .map(|b| char::from(b'a' + b % 16))
        .collect();
    format!("canary-{table}-{letters}")
}

fn unit(i: u64) -> u64 {
    7_100_000_000 + i * 1_000_003
}

fn big(i: u64) -> u64 {
    83_000_000_000_000 + i * 1_000_000_007
}

/// What betrays that a row has left: every text and number of the protected tables that is one person's.
pub fn canaries() -> Vec<String> {
    let names = ["patients", "stays", "labs"].into_iter().flat_map(|table| (0..PERSONS).map(move |i| name(table, i)));
    names.chain((0..PERSONS).flat_map(|i| [unit(i).to_string(), big(i).to_string()])).collect()
}

fn people() -> String {
    let mut text = "id,age,city,score,price,active,born,seen\n".to_owned();
    for i in 0..40_u64 {
        let city = ["Bern", "bern", "Chur", "", "Zürich", "50%", "a_b"][(i % 7) as usize];
        let or = |null: bool, value: String| if null { String::new() } else { value };
        writeln!(
            text,
            "{i},{},{city},{},{},{},{},{}",
            or(i % 11 == 3, (i * 7 % 90).to_string()),
            or(i % 9 == 2, format!("{}.5", i as i64 - 20)),
            or(i % 8 == 1, format!("{}.{:02}", i * 13 % 100, i % 100)),
            or(i % 10 == 4, (i % 3 == 0).to_string()),
            or(i % 12 == 5, format!("19{:02}-{:02}-{:02}", 50 + i, 1 + i % 12, 1 + i % 28)),
            or(i % 13 == 6, format!("2024-{:02}-15 {:02}:30:00", 1 + i % 12, i % 24)),
        )
        .unwrap();
    }
    text
}

fn trips() -> String {
    let mut text = "tid,id,kind,minutes,day\n".to_owned();
    for i in 0..60_u64 {
        writeln!(
            text,
            "{i},{},{},{},2024-03-{:02}",
            i % 45,
            ["bus", "tram", ""][(i % 3) as usize],
            i * 3 % 50,
            1 + i % 28
        )
        .unwrap();
    }
    text
}

fn patients(table: &str) -> String {
    let mut text = "pid,name,age,city,score,active,born,big\n".to_owned();
    for i in 0..PERSONS {
        let city = ["Bern", "Chur", "Genf"][(i % 3) as usize];
        writeln!(
            text,
            "{},{},{},{city},{}.25,{},19{}-0{}-1{},{}",
            unit(i),
            name(table, i),
            20 + i,
            i,
            i % 2 == 0,
            40 + i % 60,
            1 + i % 9,
            i % 10,
            big(i)
        )
        .unwrap();
    }
    text
}

fn stays() -> String {
    let mut text = "sid,pid,name,ward,minutes,day\n".to_owned();
    for i in 0..2 * PERSONS {
        let person = i % PERSONS;
        writeln!(
            text,
            "{},{},{},w{},{},2024-05-{:02}",
            big(person),
            unit(person),
            name("stays", person),
            i % 4,
            i % 50,
            1 + i % 28
        )
        .unwrap();
    }
    text
}

/// A node with the tables, and the analyst who may ask.
pub async fn start() -> Federation {
    let mut setup = Vec::new();
    let tables = [("people", PEOPLE), ("trips", TRIPS), ("patients", PATIENTS), ("stays", STAYS), ("labs", PATIENTS)];
    for (name, columns) in tables {
        setup.push(format!("CREATE EXTERNAL TABLE {name} ({columns}) STORED AS CSV LOCATION '{{dir}}/{name}.csv'"));
    }
    setup.extend(
        [
            "ALTER TABLE people SET (access = 'open')",
            "ALTER TABLE trips SET (access = 'open')",
            "ALTER TABLE patients SET (access = 'cohort', unit = 'pid', unit_kind = 'patient', unit_unique = true, min_cohort = 5)",
            "ALTER TABLE stays SET (access = 'cohort', unit = 'pid', unit_kind = 'patient', min_cohort = 5)",
            "CREATE PRIVACY UNIT guest WITH (budget_epsilon = 1000000, budget_delta = 0)",
            "ALTER TABLE labs SET (access = 'private', unit = 'pid', unit_kind = 'guest', unit_unique = true, min_cohort = 5, epsilon_per_query = 1, delta_per_query = 0.00000001)",
            "ALTER TABLE labs ALTER COLUMN age SET (lower = 0, upper = 100)",
            "ALTER TABLE labs ALTER COLUMN score SET (lower = 0, upper = 100)",
            "ALTER TABLE labs ALTER COLUMN city SET (domain = '{Bern,Chur,Genf}')",
        ]
        .map(str::to_owned),
    );
    let contents = [people(), trips(), patients("patients"), stays(), patients("labs")];
    let files =
        tables.iter().zip(contents).map(|((name, _), text)| (format!("{name}.csv"), text.into_bytes())).collect();
    let mut federation = Federation::start(vec![SiteSpec { id: "clinic", setup, files }]).await;
    federation.grant_all(&tables.map(|(name, _)| name)).await;
    let site = &mut federation.sites[0];
    site.kill();
    let config = site.dir.join("kanon.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("statement_timeout_seconds = {TIMEOUT_SECONDS}\n{text}")).unwrap();
    site.spawn();
    site.wait().await;
    federation
}
