//! The same for private access, where numbers have noise: everything else that a client is sent must be equal.
//!
//! Five pairs of neighbours, each a pair of tables whose target does something else: it is heavy and out of all bounds; it is the one who brings
//! rooms from k − 1 people to k; it is nobody, or nothing but NULLs; it stands twice in a table declared as one row a person; it is alone.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use kanon_tests::{ADMIN, ANALYST, Federation, SiteSpec};

use crate::attempts::{self, Attempt, Names};
use crate::flight::{self, Heard};
use crate::pg::{self, Protocol};
use crate::world::Side;

/// The smallest cohort.
const K: i64 = 5;
/// People without anything rare about them. Enough that their groups are always selected.
const PEOPLE: i64 = 1500;

/// What the target does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pair {
    /// Hundreds of visits in many rooms, values out of all bounds, a city of its own.
    Heavy,
    /// In rooms with k − 1 others each.
    Rooms,
    /// Rows of nobody, and a person of whom everything is NULL.
    Nulls,
    /// Twice in a table with one row a person.
    Twice,
    /// The only person: without it the tables are empty.
    Alone,
}

const PAIRS: [Pair; 5] = [Pair::Heavy, Pair::Rooms, Pair::Nulls, Pair::Twice, Pair::Alone];

impl Pair {
    fn suffix(self) -> String {
        format!("_{self:?}").to_lowercase()
    }

    fn patients(self, side: Side) -> String {
        let mut text = "pid,sex,age,city,weight,code,n,ssn\n".to_owned();
        let ordinary = |text: &mut String, pid: i64| {
            let (sex, city) = (["f", "m"][pid as usize % 2], ["Aarau", "Bern", "Bern"][pid as usize % 3]);
            let (age, weight) = (30 + pid % 40, 50.0 + (pid % 37) as f64);
            writeln!(text, "{pid},{sex},{age},{city},{weight},{},{},{pid}-{pid}", pid % 13, 1 + pid % 9).unwrap();
        };
        for i in 0..PEOPLE {
            if self != Pair::Alone {
                ordinary(&mut text, 1000 + i);
            }
            if i == PEOPLE / 2 && side == Side::With {
                match self {
                    Pair::Heavy => text += "17,x,1000000000,Ems,inf,not a number,0,17-17\n",
                    Pair::Nulls => {
                        text += "17,,,,,,,\n";
                        (0..30).for_each(|i| writeln!(text, ",f,{},Ems,NaN,x,0,", 2000 + i).unwrap());
                    }
                    Pair::Twice => text += "17,f,33,Ems,60,7,1,17-17\n17,m,44,Zug,61,8,0,17-17\n",
                    Pair::Rooms | Pair::Alone => text += "17,f,33,Ems,60,1,0,17-17\n",
                }
            }
        }
        text
    }

    fn visits(self, side: Side) -> String {
        let mut text = "vid,pid,room,minutes\n".to_owned();
        let mut vid = 0;
        let mut visit = |text: &mut String, pid: &str, room: &str, minutes: &str| {
            vid += 1;
            writeln!(text, "{vid},{pid},{room},{minutes}").unwrap();
        };
        for i in 0..PEOPLE {
            let pid = (1000 + i).to_string();
            if self != Pair::Alone {
                (0..=i % 2).for_each(|_| visit(&mut text, &pid, &format!("r{}", i % 3), &(10 + i % 50).to_string()));
                // Ten rooms with k − 1 people each.
                if i < 10 * (K - 1) {
                    visit(&mut text, &pid, &format!("s{}", i % 10), "20");
                }
            }
            if i == PEOPLE / 2 && side == Side::With {
                match self {
                    Pair::Heavy => {
                        (0..600).for_each(|v| visit(&mut text, "17", &format!("x{}", v % 60), "999999999"));
                    }
                    Pair::Rooms => (0..10).for_each(|room| visit(&mut text, "17", &format!("s{room}"), "20")),
                    Pair::Nulls => {
                        (0..30).for_each(|_| visit(&mut text, "", "r1", "900"));
                        (0..3).for_each(|_| visit(&mut text, "17", "", ""));
                    }
                    Pair::Twice => visit(&mut text, "17", "r1", "20"),
                    Pair::Alone => (0..8).for_each(|v| visit(&mut text, "17", &format!("r{}", v % 4), "20")),
                }
            }
        }
        text
    }
}

fn setup() -> Vec<String> {
    let ana = ANALYST.0;
    let mut all = vec![
        format!("CREATE ROLE {ana} LOGIN PASSWORD '{}'", ANALYST.1.replace('\'', "''")),
        format!("GRANT analyst TO {ana}"),
        "CREATE EXTERNAL TABLE regions (id bigint, city text) STORED AS CSV LOCATION '{dir}/regions.csv' OPTIONS ('format.has_header' 'true')"
            .to_owned(),
        "ALTER TABLE regions SET (access = 'open')".to_owned(),
        format!("GRANT SELECT ON regions TO {ana}"),
    ];
    for pair in PAIRS {
        let suffix = pair.suffix();
        // A budget for each, since what is left of it is told.
        all.push(format!("CREATE PRIVACY UNIT of{suffix} WITH (budget_epsilon = 1000000, budget_delta = 0.1)"));
        let tables = [
            (
                "patients",
                "pid bigint, sex text, age bigint, city text, weight double precision, code text, n bigint, ssn text",
            ),
            ("visits", "vid bigint, pid bigint, room text, minutes bigint"),
        ];
        for (table, columns) in tables {
            let name = format!("{table}{suffix}");
            let unique = table == "patients" && pair != Pair::Nulls;
            all.push(format!(
                "CREATE EXTERNAL TABLE {name} ({columns}) STORED AS CSV LOCATION '{{dir}}/{name}.csv' OPTIONS ('format.has_header' 'true')"
            ));
            all.push(format!(
                "ALTER TABLE {name} SET (access = 'private', unit = 'pid', unit_kind = 'of{suffix}', unit_unique = {unique}, min_cohort = {K},
                 epsilon_per_query = 1, delta_per_query = 1e-9, max_groups_per_unit = 2, max_rows_per_group = 3)"
            ));
            all.push(format!("GRANT SELECT ON {name} TO {ana}"));
        }
        for (column, options) in [
            ("patients|sex", "domain = '{f,m}'"),
            ("patients|age", "lower = 0, upper = 100"),
            ("patients|weight", "lower = 0, upper = 200"),
            ("patients|ssn", "role = 'identifier'"),
            ("visits|minutes", "lower = 0, upper = 60"),
        ] {
            let (table, column) = column.split_once('|').unwrap();
            all.push(format!("ALTER TABLE {table}{suffix} ALTER COLUMN {column} SET ({options})"));
        }
    }
    all
}

async fn start(side: Side) -> Federation {
    let mut files = vec![("regions.csv".to_owned(), b"id,city\n1,Ems\n2,Bern\n3,Aarau\n".to_vec())];
    for pair in PAIRS {
        files.push((format!("patients{}.csv", pair.suffix()), pair.patients(side).into_bytes()));
        files.push((format!("visits{}.csv", pair.suffix()), pair.visits(side).into_bytes()));
    }
    Federation::start(vec![SiteSpec { id: "beta", setup: setup(), files }]).await
}

/// What came of the questions of one pair.
#[derive(Default)]
struct Outcome {
    asked: usize,
    /// Answers that differed in their numbers and in nothing else.
    noisy: usize,
    findings: Vec<String>,
}

impl Outcome {
    /// Whether an answer that differs does so in numbers alone.
    fn judge(&mut self, attempt: &Attempt, skeletons: [Vec<u8>; 2], rows: [Vec<Vec<Option<String>>>; 2]) -> bool {
        let keys = |rows: &[Vec<Option<String>>], keys: usize| {
            rows.iter().map(|row| row.iter().take(keys).cloned().collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        let nulls = |rows: &[Vec<Option<String>>]| rows.iter().flatten().map(Option::is_none).collect::<Vec<_>>();
        let fine = attempt.released.is_some_and(|n| {
            skeletons[0] == skeletons[1] && keys(&rows[0], n) == keys(&rows[1], n) && nulls(&rows[0]) == nulls(&rows[1])
        });
        self.noisy += usize::from(fine);
        fine
    }
}

async fn over_postgres(
    place: &str,
    ports: [u16; 2],
    protocol: Protocol,
    names: &Names,
    attempts: &[Attempt],
    epsilon: Option<f64>,
) -> Outcome {
    let (mut with, mut without) = tokio::join!(pg::Wire::connect(ports[0]), pg::Wire::connect(ports[1]));
    let mut outcome = Outcome::default();
    if let Some(epsilon) = epsilon {
        let set = pg::query(&format!("SET kanon.epsilon = {epsilon}"));
        tokio::join!(with.exchange(&set, 1), without.exchange(&set, 1));
    }
    for attempt in attempts {
        let Some((request, ready)) = protocol.request(attempt, names) else { continue };
        let (a, b) = tokio::join!(with.exchange(&request, ready), without.exchange(&request, ready));
        let [a, b] = [a, b].map(|bytes| pg::unnumbered(&bytes));
        outcome.asked += 1;
        if a != b
            && !outcome.judge(
                attempt,
                [pg::skeleton(&a), pg::skeleton(&b)],
                [pg::cells(protocol, &a), pg::cells(protocol, &b)],
            )
        {
            let shown = [pg::shown(&a), pg::shown(&b)];
            outcome.findings.push(format!(
                "{place}, {protocol:?}: ({}) {}\n  with the target:\n{}  without:\n{}",
                attempt.name,
                attempt.sql(names),
                shown[0],
                shown[1]
            ));
        }
    }
    outcome
}

async fn over_flight(place: &str, ports: [u16; 2], names: &Names, attempts: &[Attempt]) -> Outcome {
    let (mut with, mut without) = tokio::join!(flight::Client::connect(ports[0]), flight::Client::connect(ports[1]));
    let mut outcome = Outcome::default();
    for attempt in attempts {
        let sql = attempt.sql(names);
        let (a, b) = tokio::join!(with.statement(&sql), without.statement(&sql));
        judge_flight(&mut outcome, place, attempt, &sql, [a, b]).await;
        if !attempt.once {
            let (sql, parameters) = attempt.parameterized(names).unwrap_or((sql, Vec::new()));
            let (a, b) = tokio::join!(with.prepared(&sql, &parameters), without.prepared(&sql, &parameters));
            judge_flight(&mut outcome, place, attempt, &sql, [a, b]).await;
        }
    }
    outcome
}

async fn judge_flight(outcome: &mut Outcome, place: &str, attempt: &Attempt, sql: &str, heard: [Heard; 2]) {
    let [a, b] = &heard;
    outcome.asked += 1;
    if a.bytes == b.bytes {
        return;
    }
    if !outcome.judge(attempt, [a.skeleton(), b.skeleton()], [a.cells().await, b.cells().await]) {
        let [a, b] = [a, b].map(|heard| heard.bytes.escape_ascii().to_string());
        outcome
            .findings
            .push(format!("{place}, Flight SQL: {sql}\n  with the target:\n    {a}\n  without:\n    {b}\n"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_private_tables_nothing_but_the_noise_differs() {
    let began = Instant::now();
    let attempts = Arc::new(attempts::of_private_tables());
    assert!(attempts.len() >= 80, "{} attempts", attempts.len());
    let (with, without) = (start(Side::With).await, start(Side::Without).await);
    let nodes = [&with, &without];
    let (pg_ports, flight_ports) = (nodes.map(|f| f.sites[0].pg_port), nodes.map(|f| f.sites[0].flight_port));
    println!("{} attempts; nodes are up after {:.1} s", attempts.len(), began.elapsed().as_secs_f64());
    // A pair's questions come one after the other, so that what is charged first is the same on both sides; pairs have tables of their own.
    let mut runs = Vec::new();
    for pair in PAIRS {
        let attempts = Arc::clone(&attempts);
        runs.push(tokio::spawn(async move {
            let names = Names::new("", &pair.suffix());
            let place = format!("{pair:?}");
            let protocols: &[Protocol] = match pair {
                Pair::Heavy => &Protocol::ALL,
                _ => &[Protocol::Simple, Protocol::Parameters, Protocol::Described],
            };
            let mut all = Vec::new();
            // What tells of all tables and of the budget is asked when the others are quiet.
            let of_tables: Vec<Attempt> = attempts.iter().filter(|attempt| !attempt.once).cloned().collect();
            for protocol in protocols {
                all.push(over_postgres(&place, pg_ports, *protocol, &names, &of_tables, None).await);
            }
            if matches!(pair, Pair::Heavy | Pair::Alone) {
                all.push(over_flight(&place, flight_ports, &names, &of_tables).await);
            }
            all
        }));
    }
    let mut all = Vec::new();
    for run in runs {
        all.extend(run.await.unwrap());
    }
    let once: Vec<Attempt> = attempts.iter().filter(|attempt| attempt.once).cloned().collect();
    for pair in PAIRS {
        let names = Names::new("", &pair.suffix());
        all.push(over_postgres("catalog", pg_ports, Protocol::Simple, &names, &once, None).await);
        all.push(over_flight("catalog", flight_ports, &names, &once).await);
    }
    // With less left than any of them takes: refused, with what is left and what was asked.
    for node in nodes {
        let admin = node.sites[0].connect(ADMIN).await.unwrap();
        for pair in PAIRS {
            let sql = format!("ALTER PRIVACY UNIT of{} SET (budget_epsilon = 0.25)", pair.suffix());
            admin.ask(&sql).await.unwrap();
        }
    }
    let mut refused = 0;
    for pair in PAIRS {
        let names = Names::new("", &pair.suffix());
        let outcome = over_postgres("no budget", pg_ports, Protocol::Simple, &names, &attempts, Some(0.5)).await;
        refused += outcome.asked - outcome.noisy;
        assert_eq!(outcome.noisy, 0, "without a budget nothing is answered");
        all.push(outcome);
    }
    let (asked, noisy) = (all.iter().map(|o| o.asked).sum::<usize>(), all.iter().map(|o| o.noisy).sum::<usize>());
    println!(
        "{asked} questions asked twice, {noisy} answers with noise, {refused} without a budget, after {:.1} s",
        began.elapsed().as_secs_f64()
    );
    assert!(noisy > 300, "{noisy} answers differ in their noise: the exception is tested");
    let findings: Vec<String> = all.into_iter().flat_map(|o| o.findings).collect();
    for finding in &findings {
        println!("{finding}");
    }
    assert!(findings.is_empty(), "{} transcripts tell the target: see above", findings.len());
}
