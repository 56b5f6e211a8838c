//! The data: tables with a target and the same tables without it, at two federations of two nodes each.
//!
//! Every federation has node `alpha`, which coordinates, and node `beta`, which holds the target. They differ in the target's rows and in
//! nothing that a client may see: ids, names, policies and roles are the same.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use kanon_tests::{ANALYST, Federation, SiteSpec};

/// The smallest cohort of the tables.
pub const K: usize = 5;
/// The smallest cohort of the copies whose rule is slack: what they tell must be found out.
pub const SLACK_K: usize = 2;
/// The person whose rows are missing from one of the two.
const TARGET: i64 = 17;

/// What becomes of the target, and who is there besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum World {
    /// The target is one of three of its city, and missing from the other dataset. Its clinic has k − 1 persons, its ward k + 1.
    Few,
    /// The target is the only one of its city, of its age, without a note.
    Alone,
    /// The target is in both, with other values.
    Changed,
    /// Rows of nobody: they are in one dataset only, and must never count.
    Nobody,
}

impl World {
    /// All of them.
    pub const ALL: [World; 4] = [World::Few, World::Alone, World::Changed, World::Nobody];

    /// What the names of its tables end in.
    pub fn suffix(self) -> &'static str {
        match self {
            World::Few => "",
            World::Alone => "_alone",
            World::Changed => "_changed",
            World::Nobody => "_nobody",
        }
    }
}

/// With the target, or without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// D.
    With,
    /// D'.
    Without,
}

/// Columns of the patients, as they are declared.
pub const PATIENTS: &str = "pid bigint, sex text, age bigint, city text, clinic text, ward text, weight double precision, \
     cost double precision, note bigint, born date, code text, n bigint, big bigint, lab double precision, ssn text";
/// Columns of the visits.
pub const VISITS: &str = "vid bigint, pid bigint, kind text, day date, minutes bigint, amount double precision";
/// Columns of the regions.
pub const REGIONS: &str = "id bigint, city text, size bigint";

struct Patient {
    pid: Option<i64>,
    sex: &'static str,
    age: i64,
    city: &'static str,
    clinic: &'static str,
    ward: &'static str,
    cost: f64,
    note: Option<i64>,
    born: &'static str,
    code: &'static str,
    n: i64,
    big: i64,
    lab: f64,
}

/// A person without anything rare about it.
fn ordinary(i: i64) -> Patient {
    let pick = |of: &[&'static str]| of[usize::try_from(i).unwrap() % of.len()];
    Patient {
        pid: Some(1_000 + i),
        sex: pick(&["f", "m"]),
        age: 30 + i % 40,
        city: pick(&["Aarau", "Bern", "Bern"]),
        clinic: pick(&["C1", "C2", "C3"]),
        ward: pick(&["W1", "W2", "W3"]),
        cost: 50.0 + (i * 7 % 31) as f64,
        note: Some(i % 5),
        born: pick(&["1960-05-01", "1970-06-02", "1980-07-03", "1990-08-04"]),
        code: pick(&["12", "345", "67", "8"]),
        n: 1 + i % 9,
        big: i,
        lab: 100.0 + (i % 11) as f64,
    }
}

/// Everything about it is rare.
fn rare(pid: i64) -> Patient {
    Patient {
        pid: Some(pid),
        sex: "f",
        age: 97,
        city: "Ems",
        clinic: "C4",
        ward: "W6",
        cost: 1e9,
        note: None,
        born: "1901-02-03",
        code: "a text that is nobody else's",
        n: 0,
        big: i64::MAX,
        lab: 999.0,
    }
}

fn people(world: World, side: Side) -> Vec<Patient> {
    // Sixty persons of whom nothing is rare, five in two small cities and three in a small clinic: whoever is withheld is not alone.
    let mut all: Vec<Patient> = (0..60).map(ordinary).collect();
    for i in 0..5 {
        let city = if i < 3 { "Ury" } else { "Zug" };
        let clinic = if i < 3 { "C9" } else { "C1" };
        all.push(Patient { city, clinic, age: if i < 3 { 96 } else { 40 }, ..ordinary(100 + i) });
    }
    // Somebody else dominates sums where the target is not there.
    all.push(Patient { cost: 1e7, big: 1_000_000_000_000_000, ..ordinary(110) });
    if world != World::Alone {
        all.extend([18, 19].map(|pid| Patient { cost: 100.0, big: 1_000, lab: 998.0, ward: "W1", ..rare(pid) }));
        // The target's clinic holds one too few, its ward one more than enough.
        all.push(Patient { clinic: "C4", code: "x!y", ..ordinary(111) });
    }
    for i in 0..K as i64 {
        all.push(Patient { ward: "W6", ..ordinary(120 + i) });
    }
    // In the middle of the file: neither first nor last tells.
    let middle = all.len() / 2;
    let more = match (world, side) {
        (World::Few | World::Alone | World::Nobody, Side::Without) => vec![],
        (World::Few | World::Alone | World::Changed, Side::With) => vec![rare(TARGET)],
        (World::Changed, Side::Without) => {
            vec![Patient { age: 96, city: "Ury", clinic: "C9", cost: 3e9, code: "z?z", lab: 1_000.0, ..rare(TARGET) }]
        }
        (World::Nobody, Side::With) => (0..7).map(|_| Patient { pid: None, ..rare(0) }).collect(),
    };
    all.splice(middle..middle, more);
    all
}

fn or_empty<T: ToString>(value: Option<T>) -> String {
    value.map_or(String::new(), |v| v.to_string())
}

fn patients_csv(people: &[Patient]) -> String {
    let mut text = String::from("pid,sex,age,city,clinic,ward,weight,cost,note,born,code,n,big,lab,ssn\n");
    for p in people {
        let Patient { sex, age, city, clinic, ward, cost, born, code, n, big, lab, .. } = p;
        let (pid, note) = (or_empty(p.pid), or_empty(p.note));
        let weight = 60.0 + (p.pid.unwrap_or(3) % 13) as f64;
        writeln!(
            text,
            "{pid},{sex},{age},{city},{clinic},{ward},{weight},{cost},{note},{born},{code},{n},{big},{lab},SSN-{pid}"
        )
        .unwrap();
    }
    text
}

fn visits_csv(people: &[Patient]) -> String {
    let mut text = String::from("vid,pid,kind,day,minutes,amount\n");
    let mut vid = 0;
    let mut visit = |text: &mut String, pid: Option<i64>, kind: &str, day: i64, minutes: i64, amount: f64| {
        vid += 1;
        writeln!(text, "{vid},{},{kind},2024-01-{day:02},{minutes},{amount}", or_empty(pid)).unwrap();
    };
    for p in people {
        let i = p.pid.unwrap_or(0);
        for j in 0..3 {
            let kind = if (i + j) % 2 == 0 { "gp" } else { "er" };
            visit(&mut text, p.pid, kind, 1 + (i + j) % 20, 5 + (i * 3 + j) % 40, 20.0 + ((i + j) % 9) as f64);
        }
        if p.age == 97 || p.pid == Some(TARGET) {
            for j in 0..4 {
                visit(&mut text, p.pid, "icu", 28 + j % 2, 600 + j, p.cost / 10.0);
            }
        }
        if p.city == "Ury" || p.city == "Zug" {
            visit(&mut text, p.pid, "spa", 27, 90, 500.0);
        }
        if p.cost == 1e7 {
            visit(&mut text, p.pid, "gp", 3, 30, 1e6);
        }
    }
    for day in 1..4 {
        visit(&mut text, None, "void", day, 1, 1.0);
    }
    text
}

fn files(world: World, side: Side) -> [(String, Vec<u8>); 2] {
    let people = people(world, side);
    let suffix = world.suffix();
    [
        (format!("patients{suffix}.csv"), patients_csv(&people).into_bytes()),
        (format!("visits{suffix}.csv"), visits_csv(&people).into_bytes()),
    ]
}

/// The oracle's files: table and content, for node `beta`.
pub fn data(world: World, side: Side) -> Vec<(&'static str, String)> {
    let people = people(world, side);
    vec![("patients", patients_csv(&people)), ("visits", visits_csv(&people)), ("regions", regions())]
}

/// The same for node `alpha`, which has no target.
pub fn data_of_alpha() -> Vec<(&'static str, String)> {
    let people = alpha_s_people();
    vec![("patients", patients_csv(&people)), ("visits", visits_csv(&people)), ("regions", regions())]
}

fn alpha_s_people() -> Vec<Patient> {
    let mut all: Vec<Patient> = (200..260).map(ordinary).collect();
    // A code that is no number, so that its column is text for every reader.
    all.extend((0..6).map(|i| Patient { ward: "W6", code: "x!y", ..ordinary(300 + i) }));
    all
}

fn regions() -> String {
    let mut text = String::from("id,city,size\n");
    for (id, city) in ["Ems", "Ury", "Zug", "Aarau", "Bern"].into_iter().enumerate() {
        writeln!(text, "{},{city},{}", id + 1, 100 * (id + 1)).unwrap();
    }
    text
}

/// A folder's tables: name, file, columns, smallest cohort (`None` is an open table), whether rows are persons.
struct TableSpec {
    name: String,
    file: String,
    columns: &'static str,
    min_cohort: Option<usize>,
    unique: bool,
}

fn tables(worlds: &[World]) -> Vec<TableSpec> {
    let mut all = Vec::new();
    let mut add = |name: String, file: &str, columns, min_cohort, unique| {
        all.push(TableSpec { name, file: format!("{file}.csv"), columns, min_cohort, unique });
    };
    for world in worlds {
        let suffix = world.suffix();
        let (patients, visits) = (format!("patients{suffix}"), format!("visits{suffix}"));
        add(patients.clone(), &patients, PATIENTS, Some(K), *world != World::Nobody);
        add(visits.clone(), &visits, VISITS, Some(K), false);
    }
    for (suffix, min_cohort) in [("_open", None), ("_slack", Some(SLACK_K))] {
        add(format!("patients{suffix}"), "patients", PATIENTS, min_cohort, true);
        add(format!("visits{suffix}"), "visits", VISITS, min_cohort, false);
    }
    add("regions".into(), "regions", REGIONS, None, false);
    all
}

fn statements(tables: &[TableSpec], peer: &str) -> Vec<String> {
    let through_peer = format!("\"{}@{peer}\"", ANALYST.0);
    let mut all = vec![
        format!("CREATE ROLE {} LOGIN PASSWORD '{}'", ANALYST.0, ANALYST.1.replace('\'', "''")),
        format!("CREATE ROLE {through_peer}"),
    ];
    let grantees = [ANALYST.0.to_owned(), through_peer];
    all.extend(grantees.iter().map(|g| format!("GRANT analyst TO {g}")));
    for t in tables {
        let TableSpec { name, file, columns, .. } = t;
        all.push(format!(
            "CREATE EXTERNAL TABLE {name} ({columns}) STORED AS CSV LOCATION '{{dir}}/{file}' OPTIONS ('format.has_header' 'true')"
        ));
        match t.min_cohort {
            None => all.push(format!("ALTER TABLE {name} SET (access = 'open')")),
            Some(k) => all.push(format!(
                "ALTER TABLE {name} SET (access = 'cohort', unit = 'pid', unit_kind = 'patient', unit_unique = {}, min_cohort = {k})",
                t.unique
            )),
        }
        if t.min_cohort.is_some() && t.columns == PATIENTS {
            all.push(format!("ALTER TABLE {name} ALTER COLUMN lab SET (role = 'measure')"));
            all.push(format!("ALTER TABLE {name} ALTER COLUMN ssn SET (role = 'identifier')"));
        }
        all.extend(grantees.iter().map(|g| format!("GRANT SELECT ON {name} TO {g}")));
    }
    all
}

/// Starts the federation of one side.
pub async fn start(side: Side) -> Federation {
    let mut beta_files: Vec<(String, Vec<u8>)> = World::ALL.into_iter().flat_map(|w| files(w, side)).collect();
    beta_files.push(("regions.csv".into(), regions().into_bytes()));
    let alpha_files =
        data_of_alpha().into_iter().map(|(name, text)| (format!("{name}.csv"), text.into_bytes())).collect();
    let federation = Federation::start(vec![
        SiteSpec { id: "alpha", setup: statements(&tables(&[World::Few]), "beta"), files: alpha_files },
        SiteSpec { id: "beta", setup: statements(&tables(&World::ALL), "alpha"), files: beta_files },
    ])
    .await;
    let admin = federation.site("alpha").wait().await;
    for schema in ["beta", "federation"] {
        for table in ["patients", "visits", "regions", "patients_open", "visits_open"] {
            let grant = format!("GRANT SELECT ON {schema}.{table} TO {}", ANALYST.0);
            let until = Instant::now() + Duration::from_secs(60);
            while let Err(error) = admin.ask(&grant).await {
                assert!(Instant::now() < until, "{grant}: {error:?}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    federation
}
