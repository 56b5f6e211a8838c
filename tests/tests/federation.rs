//! Four real nodes on the real data of four hospitals: what is merged, and what is told of sites that do not answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kanon_tests::client::{Answer, Client};
use kanon_tests::{ANALYST, Federation, SiteSpec};

const HOSPITALS: [(&str, &str); 4] = [
    ("budapest", include_str!("../../node/data/heart_disease/budapest.csv")),
    ("cleveland", include_str!("../../node/data/heart_disease/cleveland.csv")),
    ("long_beach", include_str!("../../node/data/heart_disease/long_beach.csv")),
    ("zurich", include_str!("../../node/data/heart_disease/zurich.csv")),
];
const K: usize = 10;

fn hospital(id: &'static str, csv: &str) -> SiteSpec {
    let heart = "CREATE EXTERNAL TABLE heart_disease STORED AS CSV LOCATION '{dir}/heart_disease.csv'";
    let open = "CREATE EXTERNAL TABLE wards STORED AS CSV LOCATION '{dir}/wards.csv'";
    let wards = format!("ward,beds,head\n1,10,{id}\n2,20,{id}\n3,,{id}\n");
    SiteSpec {
        id,
        setup: vec![
            heart.to_owned(),
            "ALTER TABLE heart_disease SET (access = 'cohort', unit = 'patient_id', unit_kind = 'patient', unit_unique = true, min_cohort = 10)".to_owned(),
            open.to_owned(),
            "ALTER TABLE wards SET (access = 'open')".to_owned(),
        ],
        files: vec![
            ("heart_disease.csv".to_owned(), csv.as_bytes().to_vec()),
            ("wards.csv".to_owned(), wards.into_bytes()),
        ],
    }
}

async fn hospitals() -> Federation {
    let federation = Federation::start(HOSPITALS.iter().map(|(id, csv)| hospital(id, csv)).collect()).await;
    federation.grant_all(&["heart_disease", "wards"]).await;
    federation
}

/// The patients of a hospital's file that are in a group, for every group; keys are columns of the file.
fn groups(csv: &str, keys: &[&str], keep: impl Fn(&dyn Fn(&str) -> String) -> bool) -> BTreeMap<Vec<String>, usize> {
    let mut lines = csv.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let mut counts = BTreeMap::new();
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let cell = |name: &str| cells[header.iter().position(|h| *h == name).unwrap()].to_owned();
        if keep(&cell) {
            *counts.entry(keys.iter().map(|key| cell(key)).collect()).or_default() += 1;
        }
    }
    counts
}

/// Rules 1 and 2 over one set of groups where every patient has one row.
fn released(mut groups: BTreeMap<Vec<String>, usize>) -> BTreeMap<Vec<String>, usize> {
    let mut withheld = 0;
    loop {
        let next = groups
            .iter()
            .filter(|(_, n)| **n < K || (withheld > 0 && withheld < K))
            .min_by_key(|(key, n)| (**n, (*key).clone()))
            .map(|(key, _)| key.clone());
        match next {
            Some(key) => withheld += groups.remove(&key).unwrap(),
            None => return groups,
        }
    }
}

fn merged(parts: impl IntoIterator<Item = BTreeMap<Vec<String>, usize>>) -> BTreeMap<Vec<String>, usize> {
    let mut all = BTreeMap::new();
    for (key, n) in parts.into_iter().flatten() {
        *all.entry(key).or_default() += n;
    }
    all
}

/// Asks the same of every node; all give the same.
async fn everywhere(federation: &Federation, sql: &str) -> Answer {
    let mut first: Option<Answer> = None;
    for site in &federation.sites {
        let client = site.connect(ANALYST).await.unwrap();
        let answer = client.ask(sql).await.unwrap_or_else(|e| panic!("{}: {sql}: {e:?}", site.id));
        match &first {
            None => first = Some(answer),
            Some(first) => assert_eq!(first, &answer, "{}: {sql}", site.id),
        }
    }
    first.unwrap()
}

async fn fails(client: &Client, sql: &str) -> kanon_tests::client::ServerError {
    match client.ask(sql).await {
        Ok(answer) => panic!("{sql}: {answer:?}"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grouping_sets_are_merged_by_set_and_key() {
    let federation = hospitals().await;

    // By kind of pain: what a hospital withholds is missing from the group and not from the total.
    let answer = everywhere(
        &federation,
        "SELECT chest_pain, count(*) FROM federation.heart_disease GROUP BY ROLLUP(chest_pain) ORDER BY 1 NULLS LAST",
    )
    .await;
    let by_pain = merged(HOSPITALS.iter().map(|(_, csv)| released(groups(csv, &["chest_pain"], |_| true))));
    let mut expected: Vec<String> = by_pain.iter().map(|(key, n)| format!("{}|{n}", key[0])).collect();
    let total: usize = HOSPITALS.iter().map(|(_, csv)| csv.lines().count() - 1).sum();
    assert!(by_pain.values().sum::<usize>() < total, "something is withheld");
    expected.push(format!("|{total}"));
    assert_eq!(answer.lines(), expected);
    assert_eq!(
        answer.notices,
        ["4 of 4 sites answered: budapest, cleveland, long_beach, zurich; groups of fewer than 10 are withheld"]
    );

    // With `site` among the keys. A missing value is a key, not a total: grouping() tells.
    let answer = everywhere(
        &federation,
        "SELECT site, fasting_sugar_high, grouping(site, fasting_sugar_high) AS g, count(*) FROM federation.heart_disease \
         GROUP BY ROLLUP(site, fasting_sugar_high) ORDER BY g, 1, 2",
    )
    .await;
    let mut expected = Vec::new();
    let show = |value: &str| match value {
        "true" => "t".to_owned(),
        "false" => "f".to_owned(),
        other => other.to_owned(),
    };
    for (site, csv) in HOSPITALS {
        let mut rows: Vec<(String, usize)> = released(groups(csv, &["fasting_sugar_high"], |_| true))
            .into_iter()
            .map(|(k, n)| (k[0].clone(), n))
            .collect();
        rows.sort_by_key(|(key, _)| (key.is_empty(), key.clone()));
        expected.extend(rows.iter().map(|(key, n)| format!("{site}|{}|0|{n}", show(key))));
    }
    assert!(expected.iter().any(|row| row.contains("||0|")), "a NULL key is released: {expected:?}");
    for (site, csv) in HOSPITALS {
        expected.push(format!("{site}||1|{}", csv.lines().count() - 1));
    }
    expected.push(format!("||3|{total}"));
    assert_eq!(answer.lines(), expected);

    // Nobody and too few people are the same: a withheld total is absent, as any group; without GROUP BY it is a row of NULLs.
    for nobody in ["age > 200", "age = 76"] {
        let few = HOSPITALS.iter().map(|(_, csv)| {
            groups(csv, &["site"; 0], |cell| cell("age").parse::<i64>().is_ok_and(|age| age == 76))
                .values()
                .sum::<usize>()
        });
        assert!((1..K).contains(&few.sum()), "the condition chooses too few");
        for sets in ["ROLLUP(chest_pain)", "ROLLUP(site)", "CUBE(site, sex)", "GROUPING SETS ((), (sex))"] {
            let sql = format!("SELECT count(*), avg(age) FROM federation.heart_disease WHERE {nobody} GROUP BY {sets}");
            assert_eq!(everywhere(&federation, &sql).await.rows.len(), 0, "{sql}");
        }
        let sql = format!("SELECT count(*), avg(age) FROM federation.heart_disease WHERE {nobody}");
        assert_eq!(everywhere(&federation, &sql).await.lines(), ["|"], "{sql}");
    }
    // Of an open table the grand total is a row, as in PostgreSQL.
    let open =
        |sets: &str| format!("SELECT site, count(*), sum(beds) FROM federation.wards WHERE ward > 7 GROUP BY {sets}");
    assert_eq!(everywhere(&federation, &open("ROLLUP(site)")).await.lines(), ["|0|"]);
    assert_eq!(everywhere(&federation, &open("CUBE(site, ward)")).await.lines(), ["|0|"]);
    assert!(everywhere(&federation, &open("GROUPING SETS ((site), (site, ward))")).await.rows.is_empty());
    assert!(everywhere(&federation, &open("site")).await.rows.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_does_not_answer_is_named_and_the_rest_answers_if_asked() {
    const COUNT: &str = "SELECT sex, count(*) FROM federation.heart_disease GROUP BY sex ORDER BY 1";
    const ROWS: &str =
        "SELECT head, sum(ward) FROM (SELECT DISTINCT head, ward FROM federation.wards) AS w GROUP BY head ORDER BY 1";
    let mut federation = hospitals().await;
    let client = federation.site("cleveland").connect(ANALYST).await.unwrap();
    let all = client.ask(COUNT).await.unwrap();
    let all_rows = client.ask(ROWS).await.unwrap();
    assert_eq!(all_rows.lines(), ["budapest|6", "cleveland|6", "long_beach|6", "zurich|6"]);

    federation.site_mut("zurich").kill();
    for sql in [COUNT, ROWS, "SELECT * FROM federation.wards"] {
        let error = fails(&client, sql).await;
        assert_eq!((error.code.as_str(), error.message.as_str()), ("08001", "site \"zurich\" did not answer"), "{sql}");
        assert_eq!(error.hint.as_deref(), Some("SET kanon.on_site_failure = partial"));
    }
    // A question that does not concern it is answered.
    let two = client
        .ask("SELECT count(*) FROM federation.heart_disease WHERE site IN ('cleveland', 'budapest')")
        .await
        .unwrap();
    assert_eq!(two.lines(), ["597"]);
    assert!(two.notices[0].starts_with("2 of 2 sites answered: budapest, cleveland;"), "{:?}", two.notices);

    client.ask("SET kanon.on_site_failure = partial").await.unwrap();
    let rest = merged(
        HOSPITALS.iter().filter(|(id, _)| *id != "zurich").map(|(_, csv)| released(groups(csv, &["sex"], |_| true))),
    );
    let rest: Vec<String> = rest.iter().map(|(key, n)| format!("{}|{n}", key[0])).collect();
    let partial = client.ask(COUNT).await.unwrap();
    assert_eq!(partial.lines(), rest);
    let told = "3 of 4 sites answered: budapest, cleveland, long_beach; no answer from zurich (unreachable)";
    assert_eq!(partial.notices, [format!("{told}; groups of fewer than 10 are withheld")]);
    let last = client.ask("SELECT site, status FROM kanon.last_query ORDER BY 1").await.unwrap();
    assert_eq!(last.lines(), ["budapest|ok", "cleveland|ok", "long_beach|no_release", "zurich|unreachable"]);
    // Rows of open tables are told of too.
    let partial = client.ask(ROWS).await.unwrap();
    assert_eq!(partial.lines(), ["budapest|6", "cleveland|6", "long_beach|6"]);
    assert_eq!(partial.notices, [told]);
    let partial = client.ask("SELECT count(*) FROM (SELECT * FROM federation.wards) AS w").await.unwrap();
    assert_eq!((partial.lines(), partial.notices.len()), (vec!["9".to_owned()], 1));

    client.ask("SET kanon.min_sites = 4").await.unwrap();
    for sql in [COUNT, ROWS] {
        let error = fails(&client, sql).await;
        assert_eq!(error.message, "3 of 4 sites answered, and at least 4 must", "{sql}");
        assert!(error.detail.unwrap().contains("zurich"));
    }
    client.ask("RESET kanon.min_sites").await.unwrap();
    client.ask("SET kanon.sites = 'zurich'").await.unwrap();
    for sql in [COUNT, ROWS] {
        assert_eq!(fails(&client, sql).await.code, "08001", "nobody answers: {sql}");
    }
    client.ask("RESET kanon.sites").await.unwrap();
    client.ask("RESET kanon.on_site_failure").await.unwrap();

    // The node is back: all four, and nothing else was started again.
    federation.site_mut("zurich").spawn();
    federation.site("zurich").wait().await;
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        match client.ask(COUNT).await {
            Ok(answer) => break assert_eq!(answer, all),
            Err(error) => assert!(Instant::now() < until, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(client.ask(ROWS).await.unwrap(), all_rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn sites_are_chosen_and_refuse_by_themselves() {
    let federation = hospitals().await;
    let client = federation.site("cleveland").connect(ANALYST).await.unwrap();
    let sites = |answer: &Answer| answer.notices[0].split(';').next().unwrap().to_owned();

    // By setting and by condition.
    for (condition, answered) in [
        ("site = 'zurich'", "1 of 1 site answered: zurich"),
        ("site <> 'zurich' AND site <> 'budapest'", "2 of 2 sites answered: cleveland, long_beach"),
        ("site IN ('zurich', 'budapest', 'paris')", "2 of 2 sites answered: budapest, zurich"),
        ("site NOT IN ('zurich', 'budapest')", "2 of 2 sites answered: cleveland, long_beach"),
        ("site LIKE '%e%'", "3 of 3 sites answered: budapest, cleveland, long_beach"),
    ] {
        let sql = format!("SELECT count(*) FROM federation.heart_disease WHERE {condition}");
        assert_eq!(sites(&client.ask(&sql).await.unwrap()), answered, "{sql}");
    }
    client.ask("SET kanon.sites = 'zurich, long_beach'").await.unwrap();
    let two = client.ask("SELECT site, count(*) FROM federation.heart_disease GROUP BY site ORDER BY 1").await.unwrap();
    assert_eq!(two.lines(), ["long_beach|200", "zurich|123"]);
    assert_eq!(
        client.ask("SELECT DISTINCT site FROM federation.wards ORDER BY 1").await.unwrap().lines(),
        ["long_beach", "zurich"]
    );
    client.ask("SET kanon.sites = 'paris'").await.unwrap();
    assert_eq!(fails(&client, "SELECT count(*) FROM federation.heart_disease").await.code, "22023");
    client.ask("SET kanon.sites = 'all'").await.unwrap();

    // One peer's table.
    let one = client.ask("SELECT count(*) FROM zurich.heart_disease").await.unwrap();
    assert_eq!(one.lines(), ["123"]);
    assert_eq!(one.notices, ["1 of 1 site answered: zurich; groups of fewer than 10 are withheld"]);
    assert_eq!(client.ask("SELECT ward FROM budapest.wards WHERE beds > 10").await.unwrap().lines(), ["2"]);
    assert_eq!(fails(&client, "SELECT * FROM zurich.heart_disease").await.code, "42501");

    // A site that does not know the caller, or does not let it read: a refusal that names the site, and no more.
    let zurich = federation.site("zurich").wait().await;
    zurich.ask("REVOKE SELECT ON heart_disease FROM \"ana@cleveland\"").await.unwrap();
    let error = fails(&client, "SELECT count(*) FROM federation.heart_disease").await;
    assert_eq!(error.code, "42501", "{error:?}");
    assert!(error.message.starts_with("site \"zurich\": "), "{error:?}");
    client.ask("SET kanon.on_site_failure = partial").await.unwrap();
    let partial = client.ask("SELECT count(*) FROM federation.heart_disease").await.unwrap();
    assert_eq!(partial.lines(), ["797"]);
    assert!(partial.notices[0].contains("no answer from zurich (refused by its policy)"), "{:?}", partial.notices);
    let last = client
        .ask("SELECT site, status, rule FROM kanon.last_query WHERE site IN ('zurich', 'cleveland') ORDER BY 1")
        .await;
    assert_eq!(
        last.unwrap().lines(),
        [
            "cleveland|ok|groups of fewer than 10 are withheld",
            "zurich|refused_policy|groups of fewer than 10 are withheld"
        ]
    );
    client.ask("RESET kanon.on_site_failure").await.unwrap();
    let budapest = federation.site("budapest").wait().await;
    zurich.ask("GRANT SELECT ON heart_disease TO \"ana@cleveland\"").await.unwrap();
    budapest.ask("CREATE ROLE eva LOGIN PASSWORD 'eva''s password'").await.unwrap();
    budapest.ask("GRANT analyst TO eva").await.unwrap();
    budapest.ask("GRANT SELECT ON federation.heart_disease TO eva").await.unwrap();
    budapest.ask("GRANT SELECT ON heart_disease TO eva").await.unwrap();
    let eva = federation.site("budapest").connect(("eva", "eva's password")).await.unwrap();
    let error = fails(&eva, "SELECT count(*) FROM federation.heart_disease").await;
    assert_eq!(error.code, "42501", "the other sites have no role for her: {error:?}");
    assert!(error.message.starts_with("site \""), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_privacy_shows_what_each_site_is_asked() {
    let federation = hospitals().await;
    let client = federation.site("cleveland").connect(ANALYST).await.unwrap();
    let explained = |sql: &'static str| {
        let client = &client;
        async move { client.ask(&format!("EXPLAIN (PRIVACY) {sql}")).await.unwrap().lines() }
    };
    let of = |lines: &[String], start: &str| -> Vec<String> {
        lines.iter().filter_map(|line| line.strip_prefix(start)).map(str::to_owned).collect()
    };
    let lines = explained(
        "SELECT chest_pain, count(*), avg(age) FROM federation.heart_disease WHERE severity > 0 AND site <> 'zurich' GROUP BY ROLLUP(chest_pain) ORDER BY 1",
    )
    .await;
    let text = "SELECT chest_pain, grouping(chest_pain) AS grouping_id, count(*) AS m0, kanon_part_sum(age) AS m1, \
                kanon_part_count(age) AS m2 FROM heart_disease WHERE severity > 0 GROUP BY GROUPING SETS ((chest_pain), ())";
    assert_eq!(
        of(&lines, "Release #0 at "),
        [format!("budapest: {text}"), format!("cleveland: {text}"), format!("long_beach: {text}")],
        "{lines:#?}"
    );
    let withheld = of(&lines, "Release #0 withholds ");
    assert!(withheld[0].starts_with("groups of fewer than 10 units"), "{lines:#?}");
    assert!(withheld.iter().any(|rule| rule.contains("two units hold 90%")), "{lines:#?}");

    let refused = explained("SELECT * FROM federation.heart_disease").await;
    assert!(refused[0].starts_with("Refused (42501): ") && refused[0].contains("hint: "), "{refused:?}");
    let refused = explained("SELECT median(age) FROM federation.heart_disease").await;
    assert!(refused[0].starts_with("Refused (0A000): ") && refused[0].contains("GROUP BY site"), "{refused:?}");

    // Filters, columns, limits and partial aggregates of open tables go to the sites.
    let lines = explained("SELECT head FROM federation.wards WHERE beds > 5 AND site <> 'zurich' LIMIT 2").await;
    let at = |sql: &str| ["budapest", "cleveland", "long_beach"].map(|site| format!("{site}: {sql}"));
    assert_eq!(of(&lines, "Rows at "), at("SELECT head FROM wards WHERE (beds > 5) LIMIT 2"), "{lines:#?}");
    let lines = explained("SELECT sum(beds) FROM federation.wards WHERE ward < 3 AND site <> 'zurich'").await;
    assert_eq!(of(&lines, "Release #0 at "), at("SELECT sum(beds) AS m0 FROM wards WHERE ward < 3"), "{lines:#?}");
    assert!(of(&lines, "Rows at ").is_empty());
    let lines =
        explained("SELECT count(DISTINCT head) FROM federation.wards WHERE beds > 5 AND site <> 'zurich'").await;
    assert_eq!(of(&lines, "Rows at "), at("SELECT head FROM wards WHERE (beds > 5)"), "{lines:#?}");

    // It touches no data: with the other nodes down it says the same.
    let mut federation = federation;
    for site in ["budapest", "long_beach", "zurich"] {
        federation.site_mut(site).kill();
    }
    let again =
        explained("SELECT count(DISTINCT head) FROM federation.wards WHERE beds > 5 AND site <> 'zurich'").await;
    assert_eq!(again, lines);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_and_small_open_tables_go_along() {
    let federation = hospitals().await;
    let client = federation.site("cleveland").connect(ANALYST).await.unwrap();

    // The value of a scalar subquery is released first, and is a constant then.
    let average = client.ask("SELECT avg(age) FROM federation.heart_disease").await.unwrap().lines();
    let older = "FROM federation.heart_disease WHERE age >";
    let two_steps = format!("SELECT sex, count(*) {older} {} GROUP BY sex ORDER BY 1", average[0]);
    let one_step =
        format!("SELECT sex, count(*) {older} (SELECT avg(age) FROM federation.heart_disease) GROUP BY sex ORDER BY 1");
    let expected = client.ask(&two_steps).await.unwrap().lines();
    assert!(!expected.is_empty());
    assert_eq!(everywhere(&federation, &one_step).await.lines(), expected);
    // Within arguments, and from an open table of this node.
    let answer =
        everywhere(&federation, "SELECT sum(age - (SELECT min(beds) FROM public.wards)) FROM federation.heart_disease")
            .await;
    let expected = client.ask("SELECT sum(age - 10) FROM federation.heart_disease").await.unwrap();
    assert_eq!(answer.lines(), expected.lines());
    let nobody = format!("SELECT count(*) {older} (SELECT beds FROM public.wards WHERE ward = 7)");
    assert_eq!(client.ask(&nobody).await.unwrap().lines(), [""], "NULL is no age");
    let error = fails(&client, &format!("SELECT count(*) {older} (SELECT ward FROM public.wards)")).await;
    assert_eq!(error.code, "21000", "{error:?}");
    let lines = client.ask(&format!("EXPLAIN (PRIVACY) {one_step}")).await.unwrap().lines();
    assert!(lines.iter().any(|line| line.contains("takes along the values of its scalar subqueries")), "{lines:#?}");

    // Rows of an open table are written into the question.
    let answer = everywhere(
        &federation,
        "SELECT w.beds, count(*) FROM federation.heart_disease h JOIN public.wards w ON h.severity = w.ward \
         GROUP BY w.beds ORDER BY 1 NULLS LAST",
    )
    .await;
    let by_severity = merged(HOSPITALS.iter().map(|(_, csv)| {
        released(groups(csv, &["severity"], |cell| ["1", "2", "3"].contains(&cell("severity").as_str())))
    }));
    let beds = |severity: &str| ["", "10", "20", ""][severity.parse::<usize>().unwrap()];
    let expected: Vec<String> = by_severity.iter().map(|(key, n)| format!("{}|{n}", beds(&key[0]))).collect();
    assert!(expected.len() > 1);
    assert_eq!(answer.lines(), expected);
}
