//! Audits private access through the wire: thousands of releases on neighbouring datasets, and the ε that they show at least.
//!
//! Two nodes have the same table but for one person. The same question is asked of both many times, each time as a new release. For an event E (an
//! answer on one side of a threshold) the Clopper-Pearson bounds of P[E] on both sides give a lower bound of ε that holds with
//! 1 − 2·10⁻⁸ (each side 10⁻⁸): if it is above what was charged, the noise is too small. The thresholds are where a release with half of
//! the noise shows clearly more than is charged: 2,000 releases a side catch it with a probability above 0.99 (the tests of this file's
//! arithmetic say so), while a right release fails in fewer than 1 of 10⁶ runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use std::fmt::Write;
use std::sync::Arc;

use kanon_tests::{Federation, SiteSpec};
use tokio::task::JoinSet;

const ANA: (&str, &str) = ("ana", "ana's password");
/// What most questions are charged.
const EPSILON: f64 = 1.0;
/// What those are charged that need more room: see [`QUESTIONS`].
const TWICE: f64 = 2.0;
/// What selecting a key of sixty people takes where a person may be in several groups.
const SELECTED: f64 = 4.0;
/// Releases on either side; `KANON_AUDIT_RELEASES` asks for more.
const RELEASES: usize = 2_000;
/// Connections a node that ask at the same time.
const AT_ONCE: usize = 6;
/// The probability with which a bound may be wrong.
const MISS: f64 = 1e-8;

/// 60 patients, and one more in `with`: the only one of ward w9, at the upper bound of age, with 40 visits in 5 rooms, where others have
/// one or two in one.
fn files(with: bool) -> Vec<(String, Vec<u8>)> {
    let mut patients = "pid,sex,age,ward,score\n".to_owned();
    let mut visits = "vid,pid,room,minutes\n".to_owned();
    let mut vid = 0;
    let mut visit = |visits: &mut String, pid: i64, room: i64, minutes: i64| {
        writeln!(visits, "{vid},{pid},r{room},{minutes}").unwrap();
        vid += 1;
    };
    for i in 1..=60 {
        let score = if i <= 30 { 0 } else { if i == 31 { 50 } else { 100 } };
        writeln!(patients, "{i},{},{},w{},{score}", ["female", "male"][i as usize % 2], 40 + i % 20, i % 2).unwrap();
        for v in 0..1 + i % 2 {
            visit(&mut visits, i, i % 2, 10 + v);
        }
    }
    if with {
        writeln!(patients, "99,male,500,w9,100").unwrap();
        (0..40).for_each(|v| visit(&mut visits, 99, v % 5, 900));
    }
    // Rows of nobody count for nothing.
    visits += "100000,,r0,10\n";
    vec![("patients.csv".to_owned(), patients.into_bytes()), ("visits.csv".to_owned(), visits.into_bytes())]
}

async fn site(with: bool) -> Federation {
    let setup = [
        "CREATE ROLE ana LOGIN PASSWORD 'ana''s password'",
        "GRANT analyst TO ana",
        "CREATE EXTERNAL TABLE patients STORED AS CSV LOCATION '{dir}/patients.csv'",
        "CREATE EXTERNAL TABLE visits STORED AS CSV LOCATION '{dir}/visits.csv'",
        // The same visits, of which nothing is declared.
        "CREATE EXTERNAL TABLE stays STORED AS CSV LOCATION '{dir}/visits.csv'",
        "CREATE PRIVACY UNIT patient WITH (budget_epsilon = 1000000, budget_delta = 0.1)",
        "ALTER TABLE patients SET (access = 'private', unit = 'pid', unit_kind = 'patient', unit_unique = true, min_cohort = 2,
         epsilon_per_query = 2, delta_per_query = 1e-6)",
        "ALTER TABLE visits SET (access = 'private', unit = 'pid', unit_kind = 'patient', min_cohort = 2,
         epsilon_per_query = 1, delta_per_query = 1e-6, max_groups_per_unit = 2, max_rows_per_group = 3)",
        "ALTER TABLE stays SET (access = 'private', unit = 'pid', unit_kind = 'patient', min_cohort = 2, epsilon_per_query = 4, delta_per_query = 1e-6)",
        "ALTER TABLE patients ALTER COLUMN age SET (lower = 0, upper = 100)",
        "ALTER TABLE patients ALTER COLUMN score SET (lower = 0, upper = 100)",
        "ALTER TABLE patients ALTER COLUMN sex SET (domain = '{female,male}')",
        "ALTER TABLE visits ALTER COLUMN minutes SET (lower = 0, upper = 100)",
        "GRANT SELECT ON patients TO ana",
        "GRANT SELECT ON visits TO ana",
        "GRANT SELECT ON stays TO ana",
    ];
    let setup = setup.iter().map(|sql| (*sql).to_owned()).collect();
    Federation::start(vec![SiteSpec { id: "clinic", setup, files: files(with) }]).await
}

/// The first cell of the answers to a question, asked anew each time: `{n}` is another number. NaN where there is no row.
async fn answers(site: &Federation, sql: &str, releases: usize, epsilon: f64) -> Vec<f64> {
    let sql = Arc::new(sql.to_owned());
    let mut tasks = JoinSet::new();
    for task in 0..AT_ONCE {
        let client = site.sites[0].connect(ANA).await.unwrap();
        client.ask(&format!("SET kanon.epsilon = {epsilon}")).await.unwrap();
        let sql = Arc::clone(&sql);
        tasks.spawn(async move {
            let mut found = Vec::new();
            for n in (task..releases).step_by(AT_ONCE) {
                let asked = sql.replace("{n}", &n.to_string());
                let answer = client.ask(&asked).await.unwrap_or_else(|e| panic!("{asked}: {e:?}"));
                let lines = answer.lines();
                found.push(lines.first().map_or(f64::NAN, |cell| cell.parse().unwrap()));
            }
            found
        });
    }
    tasks.join_all().await.concat()
}

/// The chance of at least `k` of `n` successes at probability p, or of at most `k`.
fn binomial_tail(n: usize, k: usize, p: f64, upper: bool) -> f64 {
    let ln_factorial: Vec<f64> = std::iter::once(0.0)
        .chain((1..=n).scan(0.0, |sum, i| {
            *sum += (i as f64).ln();
            Some(*sum)
        }))
        .collect();
    let range = if upper { k..=n } else { 0..=k };
    range
        .map(|i| {
            let ways = ln_factorial[n] - ln_factorial[i] - ln_factorial[n - i];
            (ways + i as f64 * p.ln() + (n - i) as f64 * (1.0 - p).ln()).exp()
        })
        .sum()
}

/// Clopper and Pearson (1934): the least p under which so many successes are not too unlikely, or the greatest.
fn clopper_pearson(n: usize, k: usize, lower: bool) -> f64 {
    match (lower, k) {
        (true, 0) => return 0.0,
        (false, k) if k == n => return 1.0,
        _ => {}
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let p = (low + high) / 2.0;
        let unlikely = binomial_tail(n, k, p, lower) < MISS;
        if unlikely == lower { low = p } else { high = p }
    }
    if lower { low } else { high }
}

/// The ε that these counts of an event show at least, allowing for δ.
fn shown_epsilon(n: usize, more: usize, less: usize, delta: f64) -> f64 {
    ((clopper_pearson(n, more, true) - delta) / clopper_pearson(n, less, false)).ln()
}

/// What is asked and charged, and the answers from this one on are the event. `{n}` makes each a release of its own: no age and no length is
/// negative.
const QUESTIONS: [(&str, f64, f64); 14] = [
    ("SELECT count(*) FROM patients WHERE age > -1 - {n}", EPSILON, 61.0),
    // The 60 have ages of 40 to 59, three of each; the one more has 500, which counts as 100.
    ("SELECT sum(age) FROM patients WHERE age > -1 - {n}", EPSILON, 3070.0),
    ("SELECT avg(age) FROM patients WHERE age > -1 - {n}", EPSILON, 50.4),
    // 33.8, and 75 with the one more.
    ("SELECT variance(age) FROM patients WHERE age > -1 - {n}", EPSILON, 55.0),
    // One group that all are in, which is not public and so is selected: its count has what is left of epsilon.
    ("SELECT count(*) FROM patients WHERE age > -1 - {n} GROUP BY age / 1000", EPSILON, 61.0),
    // 90 visits of the 60; of the 40 of one more three count.
    ("SELECT count(*) FROM visits WHERE minutes > -1 - {n}", EPSILON, 93.0),
    ("SELECT count(DISTINCT pid) FROM visits WHERE minutes > -1 - {n}", EPSILON, 61.0),
    ("SELECT count(DISTINCT vid) FROM visits WHERE minutes > -1 - {n}", EPSILON, 93.0),
    ("SELECT count(*) FROM patients p JOIN visits v ON p.pid = v.pid WHERE minutes > -1 - {n}", EPSILON, 93.0),
    // Room r0 has 30 visits. The one more counts in it and in the rest, three times each.
    (
        "SELECT count(*) FROM visits WHERE minutes > -1 - {n} GROUP BY CASE WHEN room = 'r0' THEN 'a' ELSE 'b' END
         HAVING CASE WHEN room = 'r0' THEN 'a' ELSE 'b' END = 'a'",
        EPSILON,
        33.0,
    ),
    // All rows count up to a norm that is chosen: of the 40 some.
    ("SELECT count(*) FROM stays WHERE minutes > -1 - {n}", EPSILON, 95.0),
    // And so they do in a group that is selected first, for which sixty people are enough at this epsilon.
    ("SELECT count(*) FROM stays WHERE minutes > -1 - {n} GROUP BY minutes / 1000", SELECTED, 95.0),
    // Of 60 scores 30 are 0, one is 50 and 29 are 100: from 51 on each is one rank too far. With one more 100 all but 50 are half a rank off. An event
    // shows no more than half of what the exponential mechanism costs, so this is seen better at a larger epsilon.
    ("SELECT median(score) FROM patients WHERE age > -1 - {n}", TWICE, 51.0),
    // The total and the men: the one more counts in both releases.
    (
        "SELECT sum(n) FROM (SELECT sex, count(*) AS n FROM patients WHERE age > -1 - {n} GROUP BY ROLLUP (sex)) r
         WHERE sex = 'male' OR sex IS NULL",
        EPSILON,
        91.0,
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn releases_show_no_more_than_they_are_charged() {
    let releases = std::env::var("KANON_AUDIT_RELEASES").map_or(RELEASES, |n| n.parse().unwrap());
    let (with, without) = (site(true).await, site(false).await);
    for (sql, charged, threshold) in QUESTIONS {
        let (with, without) =
            tokio::join!(answers(&with, sql, releases, charged), answers(&without, sql, releases, charged));
        let event = |answers: &[f64]| answers.iter().filter(|a| **a >= threshold).count();
        let (more, less) = (event(&with), event(&without));
        let shown = shown_epsilon(releases, more, less, 1e-6).max(shown_epsilon(
            releases,
            releases - less,
            releases - more,
            1e-6,
        ));
        println!("{sql}: {more} and {less} of {releases}, at least epsilon {shown:.2}");
        assert!(shown <= charged, "{sql}: {more} and {less} of {releases} show epsilon {shown:.2}");
        // A test that sees nothing would pass anything: what one person may add is seen.
        assert!(more > less, "{sql}: {more} and {less}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_one_person_brings_is_not_told() {
    let with = site(true).await;
    let found = answers(
        &with,
        "SELECT 1 FROM (SELECT ward FROM patients WHERE age > -1 - {n} GROUP BY ward) w WHERE ward = 'w9'",
        300,
        EPSILON,
    )
    .await;
    assert!(found.iter().all(|answer| answer.is_nan()));
    // Two of the heavy one's rooms are kept, and nobody else is in three of them.
    let found = answers(
        &with,
        "SELECT 1 FROM (SELECT room FROM visits WHERE minutes > -1 - {n} GROUP BY room) w WHERE room > 'r1'",
        300,
        EPSILON,
    )
    .await;
    assert!(found.iter().all(|answer| answer.is_nan()));
}

#[test]
fn half_of_the_noise_would_be_caught() {
    // Laplace noise of scale 1/2 under an event from the greater truth on: P = 1/(1 + e^-2), and e^-2 times that.
    let of = |epsilon: f64| {
        let p = 1.0 / (1.0 + (-epsilon).exp());
        let n = RELEASES as f64;
        // Four standard deviations to the wrong side.
        let off = |p: f64, by: f64| (n * p + by * (n * p * (1.0 - p)).sqrt()) as usize;
        (off(p, -4.0), off(p * (-epsilon).exp(), 4.0), off(p, 4.0), off(p * (-epsilon).exp(), -4.0))
    };
    let (more, less, ..) = of(2.0 * EPSILON);
    assert!(shown_epsilon(RELEASES, more, less, 1e-6) > EPSILON, "half of the noise is caught");
    let (.., more, less) = of(EPSILON);
    assert!(shown_epsilon(RELEASES, more, less, 1e-6) < EPSILON, "all of it is not");
    // The median among 50 candidates on either side of one in the middle, with η a rank, 2.6 standard deviations to the wrong side.
    let median = |eta: f64, off: f64| {
        let (without, with) = (50.0 * (-eta).exp(), 50.0 * (-eta / 2.0).exp());
        let count = |p: f64, by: f64| (2000.0 * p + by * (2000.0 * p * (1.0 - p)).sqrt()) as usize;
        let (more, less) = (count(with / (2.0 * with + 1.0), -off), count(without / (51.0 + without), off));
        shown_epsilon(RELEASES, more, less, 1e-6)
    };
    assert!(median(2.0 * TWICE, 2.6) > TWICE, "half of the sensitivity is caught: {}", median(2.0 * TWICE, 2.6));
    assert!(median(TWICE, -6.0) < TWICE, "the right one passes: {}", median(TWICE, -6.0));
    // Textbook values: 0 of n is below 1 - MISS^(1/n).
    assert!((clopper_pearson(2000, 0, false) - (1.0 - MISS.powf(1.0 / 2000.0))).abs() < 1e-9);
    assert_eq!(clopper_pearson(10, 0, true), 0.0);
    assert!((clopper_pearson(10, 10, true) - MISS.powf(0.1)).abs() < 1e-9);
}
