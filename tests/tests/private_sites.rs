//! Private tables of several sites: each adds its own noise and charges its own budget, and what is merged is near the truth.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use std::fmt::Write;

use kanon_tests::client::{Answer, Client};
use kanon_tests::peer::Peer;
use kanon_tests::{ADMIN, ANALYST, Federation, SiteSpec};

const SITES: [&str; 3] = ["basel", "bern", "zug"];
/// Patients of each site.
const SIZES: [usize; 3] = [3000, 2000, 1000];
/// By (sex, age): ages are 20 to 69.
const AGES: usize = 50;

/// Patients from 0, each with a sex, an age and a ward. Ward `only_<site>` has many patients of that site alone, `rare` one of the first site.
fn patients(site: usize) -> Vec<u8> {
    let mut text = "pid,sex,age,ward\n".to_owned();
    for i in 0..SIZES[site] {
        let ward = match i {
            0 if site == 0 => "rare".to_owned(),
            i if i % 3 == 2 => format!("only_{}", SITES[site]),
            i => format!("w{}", i % 3),
        };
        writeln!(text, "{i},{},{},{ward}", ["female", "male"][i % 2], 20 + (i / 2) % AGES).unwrap();
    }
    text.into_bytes()
}

/// Of each patient two visits on weekdays and one on a Sunday, all of as many hours: 0 to 39.
fn visits(site: usize) -> Vec<u8> {
    let mut text = "pid,day,hours\n".to_owned();
    for i in 0..SIZES[site] {
        ["weekday", "weekday", "sunday"].iter().for_each(|day| writeln!(text, "{i},{day},{}", i % 40).unwrap());
    }
    text.into_bytes()
}

async fn hospitals(budget: [&str; 3]) -> Federation {
    let spec = |site: usize| {
        SiteSpec {
        id: SITES[site],
        setup: vec![
            "CREATE EXTERNAL TABLE patients STORED AS CSV LOCATION '{dir}/patients.csv'".into(),
            format!("CREATE PRIVACY UNIT patient WITH (budget_epsilon = {}, budget_delta = 1e-5)", budget[site]),
            "ALTER TABLE patients SET (access = 'private', unit = 'pid', unit_kind = 'patient', unit_unique = true, min_cohort = 10,
             epsilon_per_query = 2, delta_per_query = 1e-7)".into(),
            // Nothing is declared of a patient's part: each site chooses its own norm.
            "CREATE EXTERNAL TABLE visits STORED AS CSV LOCATION '{dir}/visits.csv'".into(),
            "ALTER TABLE visits SET (access = 'private', unit = 'pid', unit_kind = 'patient', min_cohort = 10,
             epsilon_per_query = 2, delta_per_query = 1e-7)".into(),
            "ALTER TABLE visits ALTER COLUMN hours SET (lower = 0, upper = 40)".into(),
            "ALTER TABLE visits ALTER COLUMN day SET (domain = '{sunday,weekday}')".into(),
            // Sites need not agree on bounds.
            format!("ALTER TABLE patients ALTER COLUMN age SET (lower = 0, upper = {})", 100 + 10 * site),
            "ALTER TABLE patients ALTER COLUMN sex SET (domain = '{female,male}')".into(),
        ],
        files: vec![("patients.csv".to_owned(), patients(site)), ("visits.csv".to_owned(), visits(site))],
    }
    };
    let federation = Federation::start((0..3).map(spec).collect()).await;
    federation.grant_all(&["patients", "visits"]).await;
    federation
}

async fn ask(client: &Client, sql: &str) -> Answer {
    client.ask(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"))
}

async fn rows(client: &Client, sql: &str) -> Vec<Vec<String>> {
    ask(client, sql).await.lines().iter().map(|line| line.split('|').map(str::to_owned).collect()).collect()
}

async fn refused(client: &Client, sql: &str) -> String {
    match client.ask(sql).await {
        Ok(answer) => panic!("{sql} was answered: {answer:?}"),
        Err(error) => format!("{} {}", error.code, error.message),
    }
}

fn near(got: &str, wanted: f64, by: f64) {
    let value: f64 = got.parse().unwrap_or_else(|_| panic!("{got} is no number"));
    assert!((value - wanted).abs() <= by, "{value} is not within {by} of {wanted}");
}

/// What a site's kind has spent, over everybody.
async fn spent(federation: &Federation, site: &str) -> f64 {
    let admin = federation.site(site).connect(ADMIN).await.unwrap();
    let sql = "SELECT coalesce(max(spent_epsilon), 0) FROM kanon.budget WHERE scope = 'unit'";
    rows(&admin, sql).await[0][0].parse().unwrap()
}

async fn all_spent(federation: &Federation) -> [f64; 3] {
    [spent(federation, SITES[0]).await, spent(federation, SITES[1]).await, spent(federation, SITES[2]).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_over_public_keys_have_the_noise_of_every_site() {
    let federation = hospitals(["100", "100", "100"]).await;
    let ana = federation.site("bern").connect(ANALYST).await.unwrap();
    // True: 3,000 of either sex, ages uniform from 20 to 69.
    let by_sex =
        "SELECT sex, count(*), avg(age), stddev(age), sum(age) FROM federation.patients GROUP BY sex ORDER BY sex";
    let answer = ask(&ana, by_sex).await;
    let told = answer.notices.join("\n");
    assert!(
        told.contains("3 of 3 sites answered: basel, bern, zug") && told.contains("each charges at most epsilon 2"),
        "{told}"
    );
    let first = answer.lines();
    let cells: Vec<Vec<&str>> = first.iter().map(|line| line.split('|').collect()).collect();
    assert_eq!(cells.iter().map(|row| row[0]).collect::<Vec<_>>(), ["female", "male"]);
    for row in &cells {
        near(row[1], 3000.0, 150.0);
        near(row[2], 44.5, 1.5);
        near(row[3], 14.43, 3.0);
        near(row[4], 3000.0 * 44.5, 12_000.0);
    }
    // The interval of a merged count, sum or average is that of the noise of all; a deviation has none. What is kept has them too.
    ask(&ana, "SET kanon.show_accuracy = on").await;
    let with_ends = rows(&ana, by_sex).await;
    ask(&ana, "RESET kanon.show_accuracy").await;
    for row in &with_ends {
        // Behind all, how many sites the row is from.
        assert_eq!((row.len(), row[13].as_str()), (1 + 4 * 3 + 1, "3"), "{row:?}");
        let number = |at: usize| row[at].parse::<f64>().unwrap_or_else(|_| panic!("{at}: {row:?}"));
        for (at, width) in [(1, 200.0), (4, 6.0), (10, 16_000.0)] {
            let (value, lower, upper) = (number(at), number(at + 1), number(at + 2));
            assert!(
                lower <= value && value <= upper && (width / 50.0..width).contains(&(upper - lower)),
                "{at}: {row:?}"
            );
        }
        // Of the exact answers too, but for one in twenty.
        assert!(number(1 + 1) - 30.0 <= 3000.0 && 3000.0 <= number(1 + 2) + 30.0, "{row:?}");
        assert_eq!(row[8..10], ["", ""], "{row:?}");
    }
    // Every site has charged it, at most what was asked; the same again costs nothing and is the same.
    let once = all_spent(&federation).await;
    assert!(once.iter().all(|epsilon| *epsilon > 0.0 && *epsilon <= 2.0), "{once:?}");
    assert_eq!(ask(&ana, by_sex).await.lines(), first);
    assert_eq!(all_spent(&federation).await, once);
    // Counts are whole numbers and never negative; without groups too.
    let counts =
        rows(&ana, "SELECT count(*), count(age) FILTER (WHERE age < 0), count(ward) FROM federation.patients").await;
    near(&counts[0][0], 6000.0, 150.0);
    assert!(counts[0][1].parse::<u64>().unwrap() < 150);
    near(&counts[0][2], 6000.0, 150.0);
    // By site nothing is merged: each with its own noise, and what cannot be merged can be asked.
    let by_site =
        rows(&ana, "SELECT site, count(*), count(DISTINCT pid) FROM federation.patients GROUP BY site ORDER BY site")
            .await;
    assert_eq!(by_site.len(), 3);
    ask(&ana, "SET kanon.show_accuracy = on").await;
    let with_ends =
        rows(&ana, "SELECT site, avg(age), variance(age) FROM federation.patients GROUP BY site ORDER BY site").await;
    ask(&ana, "RESET kanon.show_accuracy").await;
    for row in &with_ends {
        for at in [1, 4] {
            let number = |at: usize| row[at].parse::<f64>().unwrap_or_else(|_| panic!("{at}: {row:?}"));
            assert!(number(at + 1) <= number(at) && number(at) <= number(at + 2), "{row:?}");
        }
    }
    for (row, size) in by_site.iter().zip(SIZES) {
        near(&row[1], size as f64, 100.0);
        near(&row[2], size as f64, 100.0);
    }
    let people = "SELECT sex, count(DISTINCT pid) FROM federation.patients GROUP BY sex ORDER BY sex";
    let error = ana.ask(people).await.unwrap_err();
    assert_eq!(error.code, "0A000");
    assert!(
        error.message.contains("cannot be merged") && error.hint.unwrap().contains("disjoint"),
        "{}",
        error.message
    );
    // Unless nobody is at two sites, as all operators declare.
    for (declared, site) in SITES.iter().enumerate() {
        assert!(refused(&ana, people).await.starts_with("0A000"), "{declared} sites declare it");
        let admin = federation.site(site).connect(ADMIN).await.unwrap();
        ask(&admin, "ALTER TABLE patients SET (disjoint = true)").await;
    }
    // Which the others are told of within seconds.
    let mut counted = ana.ask(people).await;
    for _ in 0..100 {
        if counted.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        counted = ana.ask(people).await;
    }
    let counted = counted.unwrap();
    let told = counted.notices.join("\n");
    assert!(told.contains("nobody is at several of them") && !told.contains("bears the sum"), "{told}");
    for line in counted.lines() {
        near(line.split('|').nth(1).unwrap(), 3000.0, 150.0);
    }
    // Nobody is never fewer than nobody, and neither is the interval.
    ask(&ana, "SET kanon.show_accuracy = on").await;
    for age in 0..6 {
        let nobody =
            format!("SELECT sex, count(DISTINCT pid) FROM federation.patients WHERE age < -{age} GROUP BY sex");
        for row in rows(&ana, &nobody).await {
            assert!(row[1..].iter().all(|cell| cell.parse::<u64>().is_ok()), "{row:?}");
        }
    }
    ask(&ana, "RESET kanon.show_accuracy").await;
    assert!(refused(&ana, "SELECT count(DISTINCT ward) FROM federation.patients").await.starts_with("0A000"));
    // A scalar subquery is released first, and is then a number in the question to the sites; the statement's epsilon is divided.
    let before = all_spent(&federation).await;
    let above =
        rows(&ana, "SELECT count(*) FROM federation.patients WHERE age > (SELECT avg(age) FROM federation.patients)")
            .await;
    near(&above[0][0], 3000.0, 400.0);
    let after = all_spent(&federation).await;
    assert!(after.iter().zip(before).all(|(after, before)| after - before <= 2.0 + 1e-9), "{before:?} {after:?}");
    // Values for a filter: public keys alone are free.
    assert_eq!(rows(&ana, "SELECT DISTINCT sex FROM federation.patients ORDER BY 1").await, [["female"], ["male"]]);
    assert_eq!(all_spent(&federation).await, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_site_chooses_a_norm_and_tells_its_noise() {
    let federation = hospitals(["100", "100", "100"]).await;
    let ana = federation.site("bern").connect(ANALYST).await.unwrap();
    ask(&ana, "SET kanon.show_accuracy = on").await;
    let by_day = "SELECT day, count(*) FROM federation.visits GROUP BY day ORDER BY day";
    let answer = rows(&ana, by_day).await;
    for (row, visits) in answer.iter().zip([6000.0, 12_000.0]) {
        let [value, lower, upper] = [1, 2, 3].map(|at| row[at].parse::<f64>().unwrap());
        let half = (upper - lower) / 2.0;
        assert!(lower <= value && value <= upper && (20.0..600.0).contains(&half), "{row:?}");
        near(&row[1], visits, 4.0 * half);
    }
    let once = all_spent(&federation).await;
    assert!(once.iter().all(|epsilon| *epsilon > 1.99 && *epsilon <= 2.0), "{once:?}");
    assert_eq!(rows(&ana, by_day).await, answer);
    assert_eq!(all_spent(&federation).await, once);
}

#[tokio::test(flavor = "multi_thread")]
async fn quantiles_come_from_the_histograms_of_all_sites() {
    let federation = hospitals(["100", "100", "100"]).await;
    let ana = federation.site("bern").connect(ANALYST).await.unwrap();
    // Ages are uniform from 20 to 69.
    let whole = "SELECT median(age), percentile_cont(0.1) WITHIN GROUP (ORDER BY age), percentile_cont(0.1) WITHIN GROUP (ORDER BY age DESC) \
                 FROM federation.patients";
    let plan = rows(&ana, &format!("EXPLAIN (PRIVACY) {whole}")).await.concat().join("\n");
    assert!(plan.contains("width_bucket") && !plan.contains("Release #1"), "one histogram for all: {plan}");
    let answer = ask(&ana, whole).await;
    assert!(answer.notices.join("\n").contains("3 of 3 sites answered"), "{:?}", answer.notices);
    let found = answer.lines()[0].split('|').map(str::to_owned).collect::<Vec<_>>();
    for (found, expected) in found.iter().zip([44.0, 24.0, 64.0]) {
        near(found, expected, 3.0);
    }
    let once = all_spent(&federation).await;
    assert!(once.iter().all(|epsilon| *epsilon > 1.9 && *epsilon <= 2.0), "{once:?}");
    assert_eq!(ask(&ana, whole).await.lines(), answer.lines());
    assert_eq!(all_spent(&federation).await, once);
    // By a key, with other measures, a filter and another argument: each argument has a histogram, and epsilon is divided.
    let by_sex = "SELECT sex, count(*) AS n, median(age) AS m, median(age * 2) FILTER (WHERE age >= 45) AS older, avg(age) AS mean \
                  FROM federation.patients GROUP BY sex HAVING count(*) > 10 ORDER BY sex DESC";
    let answer = rows(&ana, by_sex).await;
    assert_eq!(answer.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), ["male", "female"]);
    for row in &answer {
        near(&row[1], 3000.0, 300.0);
        near(&row[2], 44.0, 5.0);
        near(&row[3], 114.0, 12.0);
        near(&row[4], 44.5, 4.0);
    }
    let more = all_spent(&federation).await;
    assert!(more.iter().zip(once).all(|(more, once)| more - once <= 2.0 + 1e-8), "{more:?}");
    // Several visits a patient, and no bounds of them.
    let answer = rows(&ana, "SELECT day, median(hours) FROM federation.visits GROUP BY day ORDER BY day").await;
    for row in &answer {
        near(&row[1], 19.0, 5.0);
    }
    // By site each chooses for itself; what no histogram answers is refused.
    assert_eq!(rows(&ana, "SELECT site, median(age) FROM federation.patients GROUP BY site").await.len(), 3);
    for (sql, why) in [
        ("SELECT ward, median(age) FROM federation.patients GROUP BY ward", "keys that are not public"),
        ("SELECT min(age) FROM federation.patients", "cannot be merged"),
        ("SELECT median(ward) FROM federation.patients", "42883"),
        ("SELECT median(pid) FROM federation.patients", "names the unit"),
        ("SELECT sex, median(age) FROM federation.patients GROUP BY ROLLUP (sex)", "cannot be merged"),
    ] {
        let text = refused(&ana, sql).await;
        assert!(text.contains(why), "{sql}: {text}");
    }
    // What is refused costs nothing, also what stands beside it.
    let before = all_spent(&federation).await;
    for beside in ["min(age)", "count(DISTINCT ward)", "count(DISTINCT pid)"] {
        let text = refused(&ana, &format!("SELECT median(age + 1), {beside} FROM federation.patients")).await;
        assert!(text.starts_with("0A000"), "{beside}: {text}");
    }
    assert_eq!(all_spent(&federation).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_keys_are_selected_first_and_then_answered_by_all() {
    let federation = hospitals(["100", "100", "100"]).await;
    let ana = federation.site("basel").connect(ANALYST).await.unwrap();
    let by_ward = "SELECT ward, count(*), avg(age) FROM federation.patients GROUP BY ward ORDER BY ward";
    let plan = rows(&ana, &format!("EXPLAIN (PRIVACY) {by_ward}")).await.concat().join("\n");
    assert!(plan.contains("takes two rounds"), "{plan}");
    assert_eq!(all_spent(&federation).await, [0.0; 3]);
    let answer = rows(&ana, by_ward).await;
    let wards: Vec<&str> = answer.iter().map(|row| row[0].as_str()).collect();
    // The numbers of the second round have intervals.
    ask(&ana, "SET kanon.show_accuracy = on").await;
    for row in rows(&ana, by_ward).await {
        let numbers: Vec<f64> = row[1..7].iter().map(|cell| cell.parse().unwrap()).collect();
        let holds = |cells: &[f64]| cells[1] <= cells[0] && cells[0] <= cells[2] && cells[1] < cells[2];
        assert!(row.len() == 8 && row[7] == "3" && numbers.chunks(3).all(holds), "{row:?}");
    }
    ask(&ana, "RESET kanon.show_accuracy").await;
    // The ward of one patient is not among them.
    assert_eq!(wards, ["only_basel", "only_bern", "only_zug", "w0", "w1"]);
    for (row, patients) in answer.iter().zip([1000.0, 666.0, 333.0, 2000.0, 2000.0]) {
        near(&row[1], patients, 120.0);
        near(&row[2], 44.5, 4.0);
    }
    let once = all_spent(&federation).await;
    assert!(once.iter().all(|epsilon| *epsilon > 0.0 && *epsilon <= 2.0), "{once:?}");
    assert_eq!(rows(&ana, by_ward).await, answer);
    assert_eq!(all_spent(&federation).await, once);
    // From another node it is another principal's question to the sites, and the same question: the same answer.
    let elsewhere = federation.site("zug").connect(ANALYST).await.unwrap();
    assert_eq!(rows(&elsewhere, by_ward).await, answer);
    assert_eq!(all_spent(&federation).await, once);
    // Two keys, one of them with a NULL; and keys that nobody has.
    let two = "SELECT sex, CASE WHEN ward LIKE 'w%' THEN ward END AS w, count(*) FROM federation.patients GROUP BY 1, 2 ORDER BY 1, 2";
    let answer = rows(&ana, two).await;
    assert_eq!(answer.len(), 6, "{answer:?}");
    assert_eq!(
        rows(&ana, "SELECT ward, count(*) FROM federation.patients WHERE age > 99 GROUP BY ward").await.len(),
        0
    );
    // Keys alone are one round.
    let wards = rows(&ana, "SELECT DISTINCT ward FROM federation.patients ORDER BY ward").await;
    assert_eq!(wards.concat(), ["only_basel", "only_bern", "only_zug", "w0", "w1"]);
    // By site and key there is nothing to merge: each site selects its own.
    let answer = rows(&ana, "SELECT site, ward, count(*) FROM federation.patients GROUP BY site, ward").await;
    assert_eq!(answer.len(), 9, "{answer:?}");
    // Whoever coordinates, the question is the same to the last bit of its parts of epsilon, and answered again at no cost.
    for epsilon in ["0.1", "0.3", "0.7"] {
        ask(&ana, &format!("SET kanon.epsilon = {epsilon}")).await;
        let first = rows(&ana, by_ward).await;
        let once = all_spent(&federation).await;
        for site in ["bern", "zug"] {
            let other = federation.site(site).connect(ANALYST).await.unwrap();
            ask(&other, &format!("SET kanon.epsilon = {epsilon}")).await;
            assert_eq!(rows(&other, by_ward).await, first, "at {site} with epsilon {epsilon}");
        }
        assert_eq!(all_spent(&federation).await, once, "epsilon {epsilon}");
    }
    ask(&ana, "RESET kanon.epsilon").await;
    assert!(answer.iter().all(|row| row[1] != "rare"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_spends_no_more_than_its_own_rules_allow() {
    let federation = hospitals(["100", "0.3", "100"]).await;
    let ana = federation.site("basel").connect(ANALYST).await.unwrap();
    let count = "SELECT count(*) FROM federation.patients";
    // More than a site's policy is refused here already, before anybody is asked.
    ask(&ana, "SET kanon.epsilon = 3").await;
    let text = refused(&ana, count).await;
    assert!(text.starts_with("22023"), "{text}");
    // As much as the policy allows is more than bern's budget has: the site that says so is named.
    ask(&ana, "RESET kanon.epsilon").await;
    let text = refused(&ana, count).await;
    assert!(text.starts_with("53400") && text.contains("site \"bern\""), "{text}");
    assert_eq!(spent(&federation, "bern").await, 0.0);
    // Those that answer are enough, if one says so; numbers are theirs alone.
    ask(&ana, "SET kanon.on_site_failure = partial").await;
    let answer = ask(&ana, count).await;
    let told = answer.notices.join("\n");
    assert!(
        told.contains("2 of 3 sites answered: basel, zug") && told.contains("bern (its budget is spent)"),
        "{told}"
    );
    near(&answer.lines()[0], 4000.0, 100.0);
    let wards = ask(&ana, "SELECT ward, count(*) FROM federation.patients GROUP BY ward ORDER BY ward").await;
    assert!(wards.notices.join("\n").contains("2 of 3 sites answered"), "{:?}", wards.notices);
    assert!(wards.lines().iter().all(|line| !line.starts_with("only_bern")), "{:?}", wards.lines());
    // A smaller part fits.
    ask(&ana, "SET kanon.epsilon = 0.25").await;
    let answer = ask(&ana, count).await;
    assert!(answer.notices.join("\n").contains("3 of 3 sites answered"), "{:?}", answer.notices);
    near(&answer.lines()[0], 6000.0, 150.0);
    assert!(spent(&federation, "bern").await <= 0.25);
    // A coordinator that asks for the world gets what the policy allows, at what that costs; and no more than it asks for.
    let mut peer = Peer::connect(federation.site("basel"), federation.site("zug")).await;
    let before = spent(&federation, "zug").await;
    for (age, epsilon, delta, charged) in [(1, 1e9, 0.5, 2.0), (2, 0.25, 0.0, 0.25), (3, 1e-3, 1e-12, 1e-3)] {
        let before = spent(&federation, "zug").await;
        let sql = format!("SELECT kanon_part_count(1) FROM patients WHERE age > {age}");
        let ticket = peer.asking(&sql, ANALYST.0, epsilon, delta);
        let mut answer = peer.get(&sql, &ticket).await.unwrap().into_inner();
        while answer.message().await.unwrap().is_some() {}
        let more = spent(&federation, "zug").await - before;
        assert!((more - charged).abs() < 1e-6, "asked {epsilon}, charged {more}");
    }
    // Keys that are not public are not told without delta, whatever epsilon is asked.
    let by_ward = "SELECT ward FROM patients GROUP BY ward";
    let ticket = peer.asking(by_ward, ANALYST.0, 1e9, 0.0);
    assert!(peer.get(by_ward, &ticket).await.is_err());
    assert!(spent(&federation, "zug").await - before < 2.252);
    // Rows stay where they are, whoever asks.
    for sql in ["SELECT * FROM federation.patients", "SELECT age FROM bern.patients LIMIT 1"] {
        let text = refused(&ana, sql).await;
        assert!(text.starts_with("42501"), "{sql}: {text}");
    }
    // One site's table, by its name there.
    let answer = rows(&ana, "SELECT sex, count(*) FROM zug.patients GROUP BY sex ORDER BY sex").await;
    near(&answer[0][1], 500.0, 100.0);
}
