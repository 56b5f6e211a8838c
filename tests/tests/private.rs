//! Tables with private access, through the wire: noise, charges, answers that are kept, refusals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kanon_tests::client::Client;
use kanon_tests::{ADMIN, Federation, SiteSpec};

const ANA: (&str, &str) = ("ana", "ana's password");

/// Patients from 0, each with a sex, an age of 20 to 69 and a ward; the last ward is patient 0's alone.
fn patients(n: usize) -> Vec<u8> {
    let mut text = "pid,sex,age,ward,pay\n".to_owned();
    for i in 0..n {
        let ward = if i == 0 { 9 } else { i % 4 };
        writeln!(text, "{i},{},{},w{ward},{}", ["female", "male"][i % 2], 20 + i % 50, 1000 + i).unwrap();
    }
    text.into_bytes()
}

/// Visits of the same: patient i has i modulo 7 of them, and patient 0 has 5,000 in 100 rooms.
fn visits(n: usize) -> Vec<u8> {
    let mut text = "vid,pid,room,minutes\n".to_owned();
    let mut vid = 0;
    for i in 0..n {
        let (many, rooms) = if i == 0 { (5000, 100) } else { (i % 7, 3) };
        for v in 0..many {
            writeln!(text, "{vid},{i},r{},{}", v % rooms, 10 + v % 20).unwrap();
            vid += 1;
        }
    }
    text.into_bytes()
}

async fn clinic(epsilon: &str) -> Federation {
    let setup = vec![
        format!("CREATE ROLE {} LOGIN PASSWORD '{}'", ANA.0, ANA.1.replace('\'', "''")),
        format!("GRANT analyst TO {}", ANA.0),
        "CREATE EXTERNAL TABLE patients STORED AS CSV LOCATION '{dir}/patients.csv'".into(),
        "CREATE EXTERNAL TABLE visits STORED AS CSV LOCATION '{dir}/visits.csv'".into(),
        format!("CREATE PRIVACY UNIT patient WITH (budget_epsilon = {epsilon}, budget_delta = 1e-6)"),
        "ALTER TABLE patients SET (access = 'private', unit = 'pid', unit_kind = 'patient', unit_unique = true, min_cohort = 10,
         epsilon_per_query = 1, delta_per_query = 1e-8)".into(),
        "ALTER TABLE visits SET (access = 'private', unit = 'pid', unit_kind = 'patient', min_cohort = 10,
         epsilon_per_query = 1, delta_per_query = 1e-8, max_groups_per_unit = 3, max_rows_per_group = 2)".into(),
        "ALTER TABLE patients ALTER COLUMN age SET (lower = 0, upper = 100)".into(),
        "ALTER TABLE patients ALTER COLUMN sex SET (domain = '{diverse,female,male}')".into(),
        "ALTER TABLE visits ALTER COLUMN minutes SET (lower = 0, upper = 60)".into(),
        format!("GRANT SELECT ON patients TO {}", ANA.0),
        format!("GRANT SELECT ON visits TO {}", ANA.0),
    ];
    let files = vec![("patients.csv".to_owned(), patients(4000)), ("visits.csv".to_owned(), visits(4000))];
    Federation::start(vec![SiteSpec { id: "clinic", setup, files }]).await
}

async fn rows(client: &Client, sql: &str) -> Vec<Vec<String>> {
    let answer = client.ask(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    answer.lines().iter().map(|line| line.split('|').map(str::to_owned).collect()).collect()
}

async fn number(client: &Client, sql: &str) -> f64 {
    rows(client, sql).await[0][0].parse().unwrap()
}

async fn refused(client: &Client, sql: &str) -> String {
    match client.ask(sql).await {
        Ok(answer) => panic!("{sql} was answered: {answer:?}"),
        Err(error) => format!("{} {}", error.code, error.message),
    }
}

async fn spent(client: &Client) -> f64 {
    number(client, "SELECT spent_epsilon FROM kanon.budget WHERE scope = 'principal'").await
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_near_the_truth_and_noisy() {
    let federation = clinic("1000").await;
    let ana = federation.sites[0].connect(ANA).await.unwrap();
    // Public keys: all are there, the one that nobody has too. Far more than 30 scales of noise off is out of the question.
    let found = rows(&ana, "SELECT sex, count(*), avg(age) FROM patients GROUP BY sex").await;
    assert_eq!(found.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), ["diverse", "female", "male"]);
    for row in &found[1..] {
        let (n, age): (f64, f64) = (row[1].parse().unwrap(), row[2].parse().unwrap());
        assert!((n - 2000.0).abs() < 120.0 && (age - 44.5).abs() < 6.0, "{row:?}");
    }
    assert!(found[0][1].parse::<f64>().unwrap() < 120.0, "{found:?}");
    // Keys that are selected: the ward of one patient is not told.
    let wards = rows(&ana, "SELECT ward, count(*) FROM patients GROUP BY ward").await;
    assert_eq!(wards.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), ["w0", "w1", "w2", "w3"]);
    // A unit with 5,000 visits in 100 rooms counts with two in three rooms, and its rooms are not told.
    let rooms = rows(&ana, "SELECT room, count(*) FROM visits GROUP BY room").await;
    assert_eq!(rooms.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), ["r0", "r1", "r2"]);
    let all = number(&ana, "SELECT count(*) FROM visits").await;
    // 3,999 patients with 0 to 6 visits, two of each counted at most; and two of the heavy one's.
    assert!((all - 6284.0).abs() < 150.0, "{all}");
    // The same question of other people each time: the noise differs.
    let mut off = Vec::new();
    for pay in 0..12 {
        let n = number(&ana, &format!("SELECT count(*) FROM patients WHERE pay >= {}", 1000 + pay)).await;
        off.push((n - (4000 - pay) as f64) as i64);
    }
    off.sort_unstable();
    off.dedup();
    assert!(off.len() > 2, "{off:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_charged_once_and_answered_again_for_nothing() {
    let federation = clinic("1000").await;
    let ana = federation.sites[0].connect(ANA).await.unwrap();
    let first = rows(&ana, "SELECT count(*), avg(age) FROM patients WHERE age > 30 AND sex = 'male'").await;
    assert_eq!(spent(&ana).await, 1.0);
    // The order of conjuncts, names, white space, aliases, an outer query: the same release.
    for sql in [
        "SELECT count(*), avg(age) FROM patients WHERE sex = 'male' AND age > 30",
        "select COUNT(*) as n, AVG(p.age) as a from public.patients as p where p.sex='male'   and p.age>30 and p.age > 30",
        "WITH x AS (SELECT age, sex FROM patients WHERE age > 30) SELECT count(*), avg(age) FROM x WHERE sex = 'male'",
    ] {
        assert_eq!(rows(&ana, sql).await, first, "{sql}");
    }
    assert_eq!(spent(&ana).await, 1.0);
    let again = federation.sites[0].connect(ANA).await.unwrap();
    assert_eq!(rows(&again, "SELECT count(*), avg(age) FROM patients WHERE sex = 'male' AND age > 30").await, first);
    assert_eq!(spent(&again).await, 1.0);
    // Others are not.
    for (sql, total) in [
        ("SELECT count(*), avg(age) FROM patients WHERE sex = 'male' AND age > 31", 2.0),
        ("SELECT count(*), avg(age) FROM patients WHERE sex = 'male' AND age >= 30", 3.0),
        ("SELECT count(*) FROM patients WHERE age > (SELECT avg(age) FROM patients)", 4.0),
    ] {
        rows(&ana, sql).await;
        assert!((spent(&ana).await - total).abs() < 1e-6, "{sql}");
    }
    // Another policy is another release.
    let admin = federation.sites[0].connect(ADMIN).await.unwrap();
    admin.ask("ALTER TABLE patients SET (epsilon_per_query = 0.5)").await.unwrap();
    rows(&ana, "SELECT count(*), avg(age) FROM patients WHERE age > 30 AND sex = 'male'").await;
    assert!((spent(&ana).await - 4.5).abs() < 1e-6);
    // Even if the noise is the same.
    admin.ask("ALTER TABLE patients SET (min_cohort = 11)").await.unwrap();
    rows(&ana, "SELECT count(*), avg(age) FROM patients WHERE age > 30 AND sex = 'male'").await;
    assert!((spent(&ana).await - 5.0).abs() < 1e-6);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_or_is_not_bounded_is_refused_and_costs_nothing() {
    let federation = clinic("2").await;
    let ana = federation.sites[0].connect(ANA).await.unwrap();
    for (sql, why) in [
        ("SELECT avg(pay) FROM patients", "42501"),
        ("SELECT * FROM patients", "42501"),
        ("SELECT min(pay) FROM patients", "42501"),
        ("SELECT median(pay) FROM patients", "42501"),
        ("SELECT max(ward) FROM patients", "0A000"),
        ("SELECT ward FROM patients GROUP BY ROLLUP (ward)", "0A000"),
        ("SELECT bool_or(age > 60) FROM patients", "0A000"),
        ("SELECT count(*) FROM patients WHERE pid = 17", "42501"),
        ("EXPLAIN ANALYZE SELECT count(*) FROM patients", "0A000"),
    ] {
        assert!(refused(&ana, sql).await.starts_with(why), "{sql}: {}", refused(&ana, sql).await);
    }
    for epsilon in ["0", "-1", "NaN", "inf", "x"] {
        assert!(refused(&ana, &format!("SET kanon.epsilon = '{epsilon}'")).await.starts_with("22023"), "{epsilon}");
    }
    ana.ask("SET kanon.epsilon = 1.5").await.unwrap();
    assert!(refused(&ana, "SELECT count(*) FROM patients").await.starts_with("22023 kanon.epsilon is 1.5"));
    assert_eq!(spent(&ana).await, 0.0);
    ana.ask("SET kanon.epsilon = 0.75").await.unwrap();
    rows(&ana, "SELECT count(*) FROM patients").await;
    // A statement of several releases is charged whole or not at all.
    rows(
        &ana,
        "SELECT (SELECT count(*) FROM patients WHERE age > 40) - (SELECT count(*) FROM patients WHERE age > 50)",
    )
    .await;
    assert!((spent(&ana).await - 1.5).abs() < 1e-6);
    let error = refused(&ana, "SELECT count(*) FROM visits").await;
    assert!(error.starts_with("53400") && error.contains("asked were epsilon 0.75"), "{error}");
    assert!((spent(&ana).await - 1.5).abs() < 1e-6);
    // A bare EXPLAIN (PRIVACY) costs nothing and tells what it would cost.
    let told = rows(&ana, "EXPLAIN (PRIVACY) SELECT sex, avg(age) FROM patients GROUP BY sex").await;
    let told: String = told.iter().flatten().map(|line| line.clone() + "\n").collect();
    assert!(told.contains("Laplace noise of scale") && told.contains("all 3 public keys"), "{told}");
    let told = rows(&ana, "EXPLAIN (PRIVACY) SELECT min(age), median(age) FROM patients").await;
    let told: String = told.iter().flatten().map(|line| line.clone() + "\n").collect();
    assert!(told.contains("robust minimum of") && told.contains("by the exponential mechanism"), "{told}");
    // What was answered before still is.
    rows(&ana, "SELECT count(*) FROM patients").await;
    ana.ask("SET kanon.epsilon = 0.25").await.unwrap();
    rows(&ana, "SELECT count(*) FROM visits").await;
}

/// Asks about patients that are all but a few of them, each time as another release.
async fn asked(client: &Client, what: &str, times: usize) -> Vec<f64> {
    let mut found = Vec::new();
    for pay in 0..times {
        found.push(number(client, &format!("SELECT {what} FROM patients WHERE pay >= {}", 1000 + pay)).await);
    }
    found.sort_by(f64::total_cmp);
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn quantiles_and_robust_extremes_are_near_the_truth() {
    let federation = clinic("1000").await;
    let ana = federation.sites[0].connect(ANA).await.unwrap();
    // Ages are 20 to 69, 80 of each: at epsilon 1 a quantile is some 20 values off, and extremes aim at the 19th value.
    let found = rows(&ana, "SELECT median(age), min(age), max(age), count(*) FROM patients").await;
    let [median, least, most, n] = &found[0][..] else { panic!("{found:?}") };
    assert!((median.parse::<f64>().unwrap() - 44.5).abs() < 4.0, "{found:?}");
    // Of a column of integers they are integers, within its bounds.
    assert!((0..=100).contains(&least.parse::<i64>().unwrap()) && (0..=100).contains(&most.parse::<i64>().unwrap()));
    assert!((n.parse::<f64>().unwrap() - 4000.0).abs() < 400.0);
    assert!(spent(&ana).await <= 1.0);
    // Nine times each: the middle one is off by years with a chance of one in 10¹¹, a single one less often than once in a hundred.
    for (what, truth) in [("min(age)", 20.0), ("max(age)", 69.0), ("median(age)", 44.5)] {
        let found = asked(&ana, what, 9).await;
        assert!((found[4] - truth).abs() <= 2.0, "{what}: {found:?}");
    }
    // By public keys, the one that nobody has too; by selected keys; with a filter.
    let found = rows(
        &ana,
        "SELECT sex, percentile_cont(0.9) WITHIN GROUP (ORDER BY age), median(age) FILTER (WHERE age < 40) FROM patients GROUP BY sex",
    )
    .await;
    assert_eq!(found.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), ["diverse", "female", "male"]);
    for row in &found[1..] {
        let (high, young): (f64, f64) = (row[1].parse().unwrap(), row[2].parse().unwrap());
        assert!((high - 64.5).abs() < 4.0 && (young - 29.5).abs() < 5.0, "{row:?}");
    }
    let wards =
        rows(&ana, "SELECT ward, approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY age) FROM patients GROUP BY ward")
            .await;
    assert_eq!(wards.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), ["w0", "w1", "w2", "w3"]);
    assert!(wards.iter().all(|row| (row[1].parse::<f64>().unwrap() - 44.5).abs() < 8.0), "{wards:?}");
    // Rows of a unit are bounded: the heavy one's 5,000 visits count twice. Visits last 10 to 15 minutes, his up to 29.
    let found = rows(&ana, "SELECT median(minutes), max(minutes) FROM visits").await;
    let (median, most): (f64, f64) = (found[0][0].parse().unwrap(), found[0][1].parse().unwrap());
    assert!((10.0..=15.0).contains(&median) && (12.0..=60.0).contains(&most), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollup_is_a_release_a_grouping_set() {
    let federation = clinic("1000").await;
    let ana = federation.sites[0].connect(ANA).await.unwrap();
    let sql = "SELECT sex, ward, count(*), grouping(sex, ward) FROM patients GROUP BY ROLLUP (sex, ward)";
    let found = rows(&ana, sql).await;
    let set = |id: &str| -> Vec<&Vec<String>> { found.iter().filter(|row| row[3] == id).collect() };
    assert_eq!((set("0").len(), set("1").len(), set("3").len()), (4, 3, 1), "{found:?}");
    let near = |row: &Vec<String>, truth: f64| (row[2].parse::<f64>().unwrap() - truth).abs() < 300.0;
    assert!(set("0").iter().all(|row| near(row, 1000.0) && row[1] != "w9"), "{found:?}");
    assert!(set("1").iter().zip([0.0, 2000.0, 2000.0]).all(|(row, truth)| near(row, truth)), "{found:?}");
    assert!(near(set("3")[0], 4000.0) && set("3")[0][0].is_empty(), "{found:?}");
    // Three sets with keys that are selected, and no more than one statement's delta.
    let deltas = rows(&ana, "SELECT spent_delta FROM kanon.budget WHERE scope = 'principal'").await;
    assert!(deltas[0][0].parse::<f64>().unwrap() <= 1.001e-8, "{deltas:?}");
    // All sets together are one statement; its parts are releases that another statement may ask for.
    let all = spent(&ana).await;
    // Each part is entered rounded up to 10^-9.
    assert!((0.999..=1.0 + 3e-9).contains(&all), "{all}");
    assert_eq!(rows(&ana, sql).await, found);
    assert_eq!(spent(&ana).await, all);
    let found =
        rows(&ana, "SELECT sex, count(*), median(age) FROM patients GROUP BY CUBE (sex) HAVING grouping(sex) = 1")
            .await;
    assert!(found.len() == 1 && near(&vec![String::new(), String::new(), found[0][1].clone()], 4000.0), "{found:?}");
    assert!((found[0][2].parse::<f64>().unwrap() - 44.5).abs() < 6.0, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_known_again_however_it_is_put_together() {
    let federation = clinic("1000").await;
    let ana = federation.sites[0].connect(ANA).await.unwrap();
    let seen = "SELECT sex, count(*) FROM patients WHERE pid IN (SELECT pid FROM visits WHERE minutes > 12) AND age > 30 GROUP BY sex";
    let first = rows(&ana, seen).await;
    let once = spent(&ana).await;
    assert!(once > 0.0);
    for again in [
        seen,
        "SELECT p.sex, count(*) FROM patients p WHERE p.age > 30 AND p.pid IN (SELECT v.pid FROM visits v WHERE v.minutes > 12) GROUP BY 1",
        // Beside an answer that is known too, each under other names than alone.
        "WITH a AS (SELECT sex, count(*) AS n FROM patients WHERE pid IN (SELECT pid FROM visits WHERE minutes > 12) AND age > 30 GROUP BY sex),
              b AS (SELECT sex, count(*) AS n FROM patients WHERE pid IN (SELECT pid FROM visits WHERE minutes > 12) AND age > 30 GROUP BY sex)
         SELECT a.sex, b.n FROM a JOIN b ON a.sex = b.sex ORDER BY 1",
    ] {
        assert_eq!(rows(&ana, again).await, first, "{again}");
        assert_eq!(spent(&ana).await, once, "{again}");
    }
    // Buckets are public, whether somebody is in them or not: nothing is selected.
    let buckets =
        rows(&ana, "SELECT width_bucket(age, 20, 70, 5) AS b, count(*) FROM patients GROUP BY 1 ORDER BY 1").await;
    assert_eq!(buckets.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), ["0", "1", "2", "3", "4", "5", "6"]);
    let counts: Vec<f64> = buckets.iter().map(|row| row[1].parse().unwrap()).collect();
    assert!(
        counts[0] < 50.0 && counts[1..6].iter().all(|n| (n - 800.0).abs() < 50.0) && counts[6] < 50.0,
        "{counts:?}"
    );
    // Another inner question is another one, and so is its opposite.
    for other in [
        seen.replace("12", "13"),
        seen.replace("IN (", "NOT IN ("),
        seen.replace("visits", "patients").replace("minutes", "age"),
    ] {
        let before = spent(&ana).await;
        rows(&ana, &other).await;
        assert!(spent(&ana).await > before, "{other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_changes_while_it_is_read_gives_no_answer() {
    let federation = clinic("1000").await;
    let site = &federation.sites[0];
    let ana = site.connect(ANA).await.unwrap();
    let sql = "SELECT count(*), avg(age) FROM patients";
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (stop, dir) = (Arc::clone(&stop), site.dir.clone());
        std::thread::spawn(move || {
            let content = patients(4000);
            while !stop.load(Ordering::Relaxed) {
                // As a careful writer does it: a reader sees the one file or the other.
                std::fs::write(dir.join("patients.new"), &content).unwrap();
                std::fs::rename(dir.join("patients.new"), dir.join("patients.csv")).unwrap();
            }
        })
    };
    let error = refused(&ana, sql).await;
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert_eq!(error, "55000 the data of patients changed while it was read");
    assert_eq!(spent(&ana).await, 1.0, "what was charged stays charged");
    let found = rows(&ana, sql).await;
    assert!((found[0][0].parse::<f64>().unwrap() - 4000.0).abs() < 120.0, "{found:?}");
    assert_eq!(spent(&ana).await, 2.0, "of other data");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_row_is_answered_from_the_catalog() {
    let federation = clinic("10").await;
    let site = &federation.sites[0];
    let ana = site.connect(ANA).await.unwrap();
    for sql in [
        "SELECT * FROM patients LIMIT 0",
        "SELECT * FROM patients WHERE 1 = 0",
        "SELECT TRUE AS \"_\" FROM \"public\".\"patients\" WHERE 1 <> 1 LIMIT 0",
        "SELECT pid FROM (SELECT * FROM patients WHERE false) AS t WHERE age > 3",
    ] {
        assert_eq!(ana.ask(sql).await.unwrap().lines(), Vec::<String>::new(), "{sql}");
    }
    assert_eq!(rows(&ana, "SELECT count(*) FROM patients WHERE 1 > 2").await, [["0"]]);
    assert_eq!(spent(&ana).await, 0.0);
    for sql in ["SELECT * FROM patients LIMIT 1", "SELECT * FROM patients WHERE pid <> pid", "SELECT * FROM patients"] {
        assert!(refused(&ana, sql).await.starts_with("42501"), "{sql}");
    }
    // Who may not ask a table may not ask nothing of it.
    let admin = site.connect(ADMIN).await.unwrap();
    admin.ask(&format!("REVOKE SELECT ON visits FROM {}", ANA.0)).await.unwrap();
    for sql in ["SELECT * FROM visits LIMIT 0", "SELECT count(*) FROM visits WHERE false"] {
        refused(&ana, sql).await;
    }
}
