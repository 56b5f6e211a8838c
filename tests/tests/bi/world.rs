//! Two nodes with tables as dashboards show them: open admissions, stays of cohort access, people of private access, each with moments.

use std::fmt::Write as _;

use kanon_tests::postgres::Postgres;
use kanon_tests::tools::psql;
use kanon_tests::{ANALYST, Federation, SiteSpec};

const ADMISSIONS: &str = "id BIGINT, ward TEXT, admitted TIMESTAMP, day DATE, nights BIGINT, cost DOUBLE PRECISION";
const STAYS: &str = "pid BIGINT, sex TEXT, age BIGINT, ward TEXT, arrived TIMESTAMP, cost DOUBLE PRECISION";
const PEOPLE: &str = "pid BIGINT, sex TEXT, age BIGINT, ward TEXT, seen TIMESTAMP, income DOUBLE PRECISION";

/// A day counted from the first of January 2024.
fn day(n: usize) -> String {
    let mut left = n;
    let months = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 28, 31, 30];
    for (month, days) in months.iter().enumerate() {
        if left < *days {
            return format!("{}-{:02}-{:02}", 2024 + month / 12, month % 12 + 1, left + 1);
        }
        left -= days;
    }
    panic!("day {n} is too late");
}

/// One a day, in four wards.
fn admissions() -> String {
    let mut rows = String::new();
    for i in 0..400 {
        let (day, hour) = (day(i), i % 24);
        writeln!(rows, "{i},w{},{day} {hour:02}:15:30,{day},{},{}.50", i % 4, i % 7, 100 + i).unwrap();
    }
    rows
}

/// Two of each of 400 people, in three wards.
fn stays() -> String {
    let mut rows = String::new();
    for i in 0..800 {
        let pid = i % 400;
        let sex = ["female", "male"][pid % 2];
        writeln!(rows, "{pid},{sex},{},w{},{} 08:00:00,{}", 20 + pid % 50, pid % 3, day(pid % 360), 200 + i).unwrap();
    }
    rows
}

/// 2,000 people, one row each; the last ward is one person's.
fn people() -> String {
    let mut rows = String::new();
    for i in 0..2000 {
        let ward = if i == 7 { 8 } else { i % 3 };
        let sex = ["female", "male"][i % 2];
        writeln!(rows, "{i},{sex},{},w{ward},{} 12:00:00,{}", 20 + i % 50, day(i % 360), 1000 + i).unwrap();
    }
    rows
}

fn site(id: &'static str) -> SiteSpec {
    let tables = [("admissions", ADMISSIONS), ("stays", STAYS), ("people", PEOPLE)];
    let setup = tables
        .iter()
        .map(|(name, columns)| {
            format!("CREATE EXTERNAL TABLE {name} ({columns}) STORED AS CSV LOCATION '{{dir}}/{name}.csv'")
        })
        .chain(
            [
                "CREATE PRIVACY UNIT patient WITH (budget_epsilon = 10000, budget_delta = 1e-4)",
                "ALTER TABLE admissions SET (access = 'open')",
                "ALTER TABLE stays SET (access = 'cohort', unit = 'pid', unit_kind = 'patient', min_cohort = 10)",
                "ALTER TABLE stays ALTER COLUMN ward SET (domain = '{w0,w1,w2,w9}')",
                "ALTER TABLE people SET (access = 'private', unit = 'pid', unit_kind = 'patient', unit_unique = true, min_cohort = 10,
                 epsilon_per_query = 1, delta_per_query = 1e-8)",
                "ALTER TABLE people ALTER COLUMN sex SET (domain = '{diverse,female,male}')",
                "ALTER TABLE people ALTER COLUMN age SET (lower = 0, upper = 110)",
                "COMMENT ON TABLE admissions IS 'one row an admission'",
            ]
            .map(str::to_owned),
        )
        .collect();
    let files = [("admissions", ADMISSIONS, admissions()), ("stays", STAYS, stays()), ("people", PEOPLE, people())]
        .map(|(name, columns, rows)| {
            let names: Vec<&str> = columns.split(", ").filter_map(|c| c.split(' ').next()).collect();
            (format!("{name}.csv"), format!("{}\n{rows}", names.join(",")).into_bytes())
        });
    SiteSpec { id, setup, files: files.into() }
}

/// The two nodes, `cleveland` and `zurich`. [`ANALYST`] may ask everything, at home and in the federation.
pub async fn start() -> Federation {
    let federation = Federation::start(vec![site("cleveland"), site("zurich")]).await;
    federation.grant_all(&["admissions", "stays", "people"]).await;
    federation
}

/// Makes the tables of one node in PostgreSQL.
pub async fn same_tables(postgres: &Postgres) {
    let mut script = String::new();
    for (name, columns, rows) in
        [("admissions", ADMISSIONS, admissions()), ("stays", STAYS, stays()), ("people", PEOPLE, people())]
    {
        write!(script, "CREATE TABLE {name} ({columns});\nCOPY {name} FROM STDIN WITH (FORMAT csv);\n{rows}\\.\n")
            .unwrap();
    }
    script += "COMMENT ON TABLE admissions IS 'one row an admission';\n";
    let made = psql(postgres.port, ANALYST, &["-v", "ON_ERROR_STOP=1"], &script).await;
    assert!(made.ended_well, "{}", made.text());
}
