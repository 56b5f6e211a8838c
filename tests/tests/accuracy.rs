//! What people are told of the accuracy of private answers, through the wire: intervals, mechanisms, costs, what is left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

#[path = "accuracy/flight.rs"]
mod flight;

use std::fmt::Write;

use kanon_tests::client::{Answer, Client};
use kanon_tests::{ADMIN, Federation, SiteSpec};

pub const ANA: (&str, &str) = ("ana", "ana's password");

/// Patients from 0, each with a sex, an age of 20 to 69 and a pay; visits, of each patient three.
fn files(n: usize) -> Vec<(String, Vec<u8>)> {
    let mut patients = "pid,sex,age,pay\n".to_owned();
    let mut visits = "pid,room,minutes\n".to_owned();
    for i in 0..n {
        writeln!(patients, "{i},{},{},{}", ["female", "male"][i % 2], 20 + i % 50, 1000 + i).unwrap();
        for v in 0..3 {
            writeln!(visits, "{i},r{v},{}", 10 + (i + v) % 20).unwrap();
        }
    }
    let names = "code,title\nfemale,women\nmale,men\n".to_owned();
    vec![
        ("patients.csv".to_owned(), patients.into_bytes()),
        ("visits.csv".to_owned(), visits.into_bytes()),
        ("names.csv".to_owned(), names.into_bytes()),
    ]
}

pub async fn clinic(epsilon: &str) -> Federation {
    let mut setup = vec![
        format!("CREATE ROLE {} LOGIN PASSWORD '{}'", ANA.0, ANA.1.replace('\'', "''")),
        format!("GRANT analyst TO {}", ANA.0),
        "CREATE EXTERNAL TABLE patients STORED AS CSV LOCATION '{dir}/patients.csv'".into(),
        "CREATE EXTERNAL TABLE visits STORED AS CSV LOCATION '{dir}/visits.csv'".into(),
        "CREATE EXTERNAL TABLE stays STORED AS CSV LOCATION '{dir}/visits.csv'".into(),
        "CREATE EXTERNAL TABLE names STORED AS CSV LOCATION '{dir}/names.csv'".into(),
        format!("CREATE PRIVACY UNIT patient WITH (budget_epsilon = {epsilon}, budget_delta = 1e-6, budget_window = '30 days')"),
        "ALTER TABLE names SET (access = 'open')".into(),
        "ALTER TABLE patients SET (access = 'private', unit = 'pid', unit_kind = 'patient', unit_unique = true, min_cohort = 10,
         epsilon_per_query = 1, delta_per_query = 1e-8)".into(),
        "ALTER TABLE visits SET (access = 'private', unit = 'pid', unit_kind = 'patient', min_cohort = 10,
         epsilon_per_query = 0.5, delta_per_query = 1e-8, max_groups_per_unit = 3, max_rows_per_group = 2)".into(),
        // The visits again, with nothing declared about a patient's part.
        "ALTER TABLE stays SET (access = 'private', unit = 'pid', unit_kind = 'patient', min_cohort = 10,
         epsilon_per_query = 2, delta_per_query = 1e-8)".into(),
        "ALTER TABLE stays ALTER COLUMN minutes SET (lower = 0, upper = 60)".into(),
        "ALTER TABLE patients ALTER COLUMN age SET (lower = 0, upper = 100)".into(),
        "ALTER TABLE patients ALTER COLUMN sex SET (domain = '{female,male}')".into(),
        "ALTER TABLE visits ALTER COLUMN minutes SET (lower = 0, upper = 60)".into(),
    ];
    setup.extend(["patients", "visits", "stays", "names"].map(|table| format!("GRANT SELECT ON {table} TO {}", ANA.0)));
    Federation::start(vec![SiteSpec { id: "clinic", setup, files: files(4000) }]).await
}

async fn ask(client: &Client, sql: &str) -> Answer {
    client.ask(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"))
}

fn number(answer: &Answer, row: usize, column: usize) -> f64 {
    answer.rows[row][column].as_deref().unwrap_or_else(|| panic!("NULL: {answer:?}")).parse().unwrap()
}

async fn spent(client: &Client) -> f64 {
    number(&ask(client, "SELECT spent_epsilon FROM kanon.budget WHERE scope = 'principal'").await, 0, 0)
}

/// Each measure lies between the two columns behind it.
fn within(answer: &Answer) {
    for (column, name) in answer.columns.iter().enumerate() {
        if let Some(measure) = name.strip_suffix("_lo") {
            assert_eq!(answer.columns[column - 1], measure);
            assert_eq!(answer.columns[column + 1], format!("{measure}_hi"));
            for row in 0..answer.rows.len() {
                let [value, lo, hi] = [column - 1, column, column + 1].map(|column| number(answer, row, column));
                assert!(lo <= value && value <= hi && lo < hi, "{answer:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn intervals_stand_beside_every_aggregate_as_it_is() {
    let federation = clinic("1000").await;
    let ana = federation.sites[0].connect(ANA).await.unwrap();
    let plain = ask(&ana, "SELECT sex, count(*) AS n, avg(age) FROM patients GROUP BY sex ORDER BY sex").await;
    assert_eq!(plain.columns, ["sex", "n", "avg"]);
    assert_eq!(spent(&ana).await, 1.0);
    ana.ask("SET kanon.show_accuracy = on").await.unwrap();
    let with = ask(&ana, "SELECT sex, count(*) AS n, avg(age) FROM patients GROUP BY sex ORDER BY sex").await;
    assert_eq!(with.columns, ["sex", "n", "n_lo", "n_hi", "avg", "avg_lo", "avg_hi"]);
    within(&with);
    // The same release: the same numbers, no charge.
    for row in 0..2 {
        assert_eq!([0, 1, 4].map(|c| &with.rows[row][c]), [0, 1, 2].map(|c| &plain.rows[row][c]));
    }
    assert_eq!(spent(&ana).await, 1.0);
    for (sql, columns) in [
        (
            "SELECT count(*) AS n, sex, avg(age) AS a FROM patients GROUP BY sex HAVING count(*) > 5 ORDER BY n DESC LIMIT 1",
            "n n_lo n_hi sex a a_lo a_hi",
        ),
        (
            "WITH x AS (SELECT sex AS s, count(*) AS n, avg(age) AS a FROM patients GROUP BY sex) SELECT y.a AS mean, s FROM x AS y WHERE n > 3",
            "mean mean_lo mean_hi s",
        ),
        (
            "SELECT * FROM (SELECT sex, avg(age) AS a, count(*) AS n FROM patients GROUP BY sex) x ORDER BY 1",
            "sex a a_lo a_hi n n_lo n_hi",
        ),
        (
            "SELECT title, n, rank() OVER (ORDER BY n) AS place FROM names JOIN (SELECT sex, count(*) AS n, avg(age) FROM patients GROUP BY sex) x ON sex = code",
            "title n n_lo n_hi place",
        ),
        ("SELECT avg(age) FROM patients GROUP BY sex UNION ALL SELECT stddev(age) FROM patients", "avg avg_lo avg_hi"),
        // Computed with: no interval, rather than a wrong one.
        (
            "SELECT sex, count(*) / 10 AS tens, round(avg(age)) AS years, avg(age)::text AS t FROM patients GROUP BY sex",
            "sex tens years t",
        ),
        ("SELECT sum(n) FROM (SELECT sex, count(*) AS n, avg(age) AS a FROM patients GROUP BY sex) x", "sum"),
        ("SELECT DISTINCT count(*) AS n FROM patients", "n"),
        ("SELECT code, (SELECT count(*) FROM patients) AS n FROM names", "code n"),
        ("SELECT code FROM names", "code"),
        ("SELECT 1 AS one", "one"),
    ] {
        let answer = ask(&ana, sql).await;
        assert_eq!(answer.columns.join(" "), columns, "{sql}");
        assert!(!answer.rows.is_empty(), "{sql}");
        within(&answer);
    }
    // Another measure of another kind of rows, keys that are selected.
    let rooms = ask(&ana, "SELECT room, count(*) AS n, sum(minutes), count(DISTINCT pid) AS people, corr(minutes, minutes) FROM visits GROUP BY room ORDER BY room").await;
    assert_eq!(
        rooms.columns.join(" "),
        "room n n_lo n_hi sum sum_lo sum_hi people people_lo people_hi corr corr_lo corr_hi"
    );
    assert_eq!(rooms.rows.len(), 3);
    // Over nobody a slope may be anything: no interval is told, rather than one that cannot be known.
    let slope = ask(&ana, "SELECT regr_slope(age, age) AS slope FROM patients WHERE age > 99").await;
    assert_eq!((slope.columns.join(" ").as_str(), &slope.rows[0][1..]), ("slope slope_lo slope_hi", &[None, None][..]));
    // Off again.
    ana.ask("SET kanon.show_accuracy = off").await.unwrap();
    assert_eq!(ask(&ana, "SELECT count(*) AS n FROM patients").await.columns, ["n"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn intervals_hold_the_truth_as_often_as_they_say() {
    let federation = clinic("100000").await;
    let ana = federation.sites[0].connect(ANA).await.unwrap();
    ana.ask("SET kanon.show_accuracy = on").await.unwrap();
    ana.ask("SET kanon.epsilon = 0.2").await.unwrap();
    let (mut held, mut of, mut widths) = ([0; 3], 0, Vec::new());
    for i in 0..60 {
        let sql =
            format!("SELECT count(*) AS n, avg(age) AS a, sum(age) AS s FROM patients WHERE pay >= {}", 1000 + 10 * i);
        let answer = ask(&ana, &sql).await;
        let ages: Vec<f64> = (10 * i..4000).map(|p| f64::from(20 + p % 50)).collect();
        let sum = ages.iter().sum::<f64>();
        let truth = [ages.len() as f64, sum / ages.len() as f64, sum];
        for (measure, truth) in truth.into_iter().enumerate() {
            let (lo, hi) = (number(&answer, 0, 3 * measure + 1), number(&answer, 0, 3 * measure + 2));
            held[measure] += i32::from(lo <= truth && truth <= hi);
        }
        widths.push(number(&answer, 0, 2) - number(&answer, 0, 1));
        of += 1;
    }
    // Of 60 at 95% fewer than 45 come once in 10^6 runs.
    assert!(held.iter().all(|held| *held >= 45), "{held:?} of {of}");
    // The width is that of the noise: from public parameters, the same for all but for rounding at the ends.
    assert!(widths.iter().all(|width| (width - widths[0]).abs() <= 1.0), "{widths:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_described_is_what_is_answered() {
    let federation = clinic("1000").await;
    let ana = federation.sites[0].connect(ANA).await.unwrap();
    let sql =
        "SELECT sex, count(*) AS n, avg(age) AS a, sum(age) AS s FROM patients WHERE age > $1 GROUP BY sex ORDER BY 1";
    let described = |statement: &tokio_postgres::Statement| -> String {
        let columns = statement.columns().iter().map(|c| format!("{} {}", c.name(), c.type_().name()));
        columns.collect::<Vec<_>>().join(", ")
    };
    let before = ana.inner.prepare(sql).await.unwrap();
    assert_eq!(described(&before), "sex text, n int8, a float8, s int8");
    ana.ask("SET kanon.show_accuracy = on").await.unwrap();
    let after = ana.inner.prepare(sql).await.unwrap();
    assert_eq!(
        described(&after),
        "sex text, n int8, n_lo int8, n_hi int8, a float8, a_lo float8, a_hi float8, s int8, s_lo float8, s_hi float8"
    );
    let rows = ana.inner.query(&after, &[&25_i64]).await.unwrap();
    assert_eq!((rows.len(), rows[0].len()), (2, 10));
    assert!(rows[0].get::<_, i64>("n_lo") < rows[0].get::<_, i64>("n_hi"));
    assert!(rows[0].get::<_, f64>("a_lo") < rows[0].get::<_, f64>("a"));
    assert_eq!(spent(&ana).await, 1.0);
    // A statement keeps the columns that its driver was told of, whatever is set later.
    let rows = ana.inner.query(&before, &[&25_i64]).await.unwrap();
    assert_eq!(rows[0].len(), 4);
    ana.ask("SET kanon.show_accuracy = off").await.unwrap();
    assert_eq!(ana.inner.query(&after, &[&25_i64]).await.unwrap()[0].len(), 10);
    assert_eq!(spent(&ana).await, 1.0);
    // Cursors, EXECUTE and COPY have them too.
    ana.ask("SET kanon.show_accuracy = on").await.unwrap();
    let fetched = ask(&ana, "BEGIN; DECLARE c CURSOR FOR SELECT count(*) AS n FROM patients; FETCH 1 FROM c; ").await;
    assert_eq!(fetched.columns, ["n", "n_lo", "n_hi"]);
    ana.ask("COMMIT").await.unwrap();
    let executed = ask(&ana, "PREPARE p AS SELECT count(*) AS n FROM patients; EXECUTE p").await;
    assert_eq!((&executed.columns, &executed.rows), (&fetched.columns, &fetched.rows));
    use futures::TryStreamExt;
    let copied = ana.inner.copy_out("COPY (SELECT count(*) AS n FROM patients) TO STDOUT").await.unwrap();
    let copied: Vec<_> = copied.try_collect().await.unwrap();
    let text: String = copied.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
    let cells: Vec<Option<String>> = text.trim_end().split('\t').map(|cell| Some(cell.to_owned())).collect();
    assert_eq!(cells, fetched.rows[0]);
    assert_eq!(spent(&ana).await, 2.0);
    // A refusal is one with intervals too.
    assert_eq!(ana.ask("SELECT avg(pay) FROM patients").await.unwrap_err().code, "42501");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_kept_keep_their_intervals() {
    let mut federation = clinic("1000").await;
    let sql = "SELECT sex, count(*) AS n, avg(age) AS a FROM patients GROUP BY sex ORDER BY 1";
    let first = {
        let ana = federation.sites[0].connect(ANA).await.unwrap();
        ana.ask("SET kanon.show_accuracy = on").await.unwrap();
        ask(&ana, sql).await
    };
    within(&first);
    federation.sites[0].terminate().await;
    federation.sites[0].spawn();
    federation.sites[0].wait().await;
    let ana = federation.sites[0].connect(ANA).await.unwrap();
    ana.ask("SET kanon.show_accuracy = on").await.unwrap();
    let again = ask(&ana, sql).await;
    assert_eq!((&again.columns, &again.rows), (&first.columns, &first.rows));
    assert_eq!(spent(&ana).await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_tells_noise_and_cost_before() {
    let federation = clinic("2").await;
    let ana = federation.sites[0].connect(ANA).await.unwrap();
    let explained = async |sql: &str| ask(&ana, &format!("EXPLAIN (PRIVACY) {sql}")).await.lines().join("\n");
    let sql = "SELECT sex, count(*), avg(age) FROM patients GROUP BY sex";
    let told = explained(sql).await;
    for part in [
        "Release #0 costs unit kind patient epsilon 1 and delta 0, or by zCDP rho ",
        "Release #0 counts at most 1 groups of a unit, and 1 rows in each",
        "Release #0 takes values of age as between 0 and 100",
        "Release #0 answers all 2 public keys",
        "Release #0 answers count(*) with Laplace noise of scale ",
        "with Laplace noise of scale ",
        "to the number of rows: expected error ",
        "and Laplace noise of scale ",
        "/n over n rows, half a 95% interval",
        "Left of unit kind patient are epsilon 2 and delta 5e-7 for ana, as for everybody together",
    ] {
        assert!(told.contains(part), "no {part} in\n{told}");
    }
    // It cost nothing, and read nothing: the answer comes out differently each time that it is computed, and was not computed.
    assert_eq!(spent(&ana).await, 0.0);
    assert_eq!(explained(sql).await, told, "the same from public parameters alone");
    // With less of epsilon it says what would run, not what the policy allows.
    ana.ask("SET kanon.epsilon = 0.5").await.unwrap();
    let less = explained(sql).await;
    assert!(less.contains("patient epsilon 0.5 and"), "{less}");
    let answer = ask(&ana, sql).await;
    assert!(explained(sql).await.contains("Release #0 was answered before, and costs nothing again"));
    let notice = answer.notices.join("\n");
    assert!(
        notice.contains(
            "clinic charged epsilon 0.5 and delta 0; left of unit kind patient are epsilon 1.5 and delta 5e-7 for ana"
        ),
        "{notice}"
    );
    // Two releases share it.
    let two = explained("SELECT (SELECT count(*) FROM patients) - (SELECT count(*) FROM visits)").await;
    assert!(
        two.contains("Release #0 costs unit kind patient epsilon 0.25") || two.contains("epsilon 0.24999"),
        "{two}"
    );
    assert!(two.contains("Release #1 costs") && two.contains("counts at most 1 groups of a unit, and 2 rows"), "{two}");
    // Keys that are selected, and a budget that does not suffice.
    ana.ask("SET kanon.epsilon = 0.5").await.unwrap();
    let rooms = "SELECT room, count(DISTINCT pid), sum(minutes) FROM visits GROUP BY room";
    let told = explained(rooms).await;
    assert!(told.contains("withholds keys of fewer than 10 units") && told.contains("the sum of minutes"), "{told}");
    let admin = federation.sites[0].connect(ADMIN).await.unwrap();
    admin.ask("ALTER PRIVACY UNIT patient SET (budget_epsilon = 0.75)").await.unwrap();
    let told = explained(rooms).await;
    let error = ana.ask(rooms).await.unwrap_err();
    assert_eq!(error.code, "53400");
    assert!(told.contains(&format!("Refused (53400): {}", error.message)), "{told}\n{error:?}");
    assert!((spent(&ana).await - 0.5).abs() < 1e-9);
    // Refused for another reason: that is the answer.
    assert!(explained("SELECT avg(pay) FROM patients").await.starts_with("Refused (42501): column \"pay\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_and_the_last_query_tell_cost_and_mechanism() {
    let federation = clinic("10").await;
    let ana = federation.sites[0].connect(ANA).await.unwrap();
    let admin = federation.sites[0].connect(ADMIN).await.unwrap();
    admin.ask("ALTER PRIVACY UNIT patient FOR ana SET (budget_epsilon = 4)").await.unwrap();
    let sql = "SELECT count(*) AS n, avg(age) AS mean, avg(age) + 1 FROM patients HAVING sum(age) > 0";
    let first = ask(&ana, sql).await;
    let charged = "clinic charged epsilon 1 and delta 0; left of unit kind patient are \
                   epsilon 3 and delta 5e-7 for ana and epsilon 9 and delta 5e-7 for everybody together";
    assert!(first.notices.join("\n").contains(charged), "{:?}", first.notices);
    let last = ask(&ana, "SELECT epsilon, delta, columns, cached FROM kanon.last_query").await;
    assert!((number(&last, 0, 0) - 1.0).abs() < 1e-8, "{last:?}");
    assert_eq!(last.rows[0][3].as_deref(), Some("f"));
    let columns: serde_json::Value = serde_json::from_str(last.rows[0][2].as_deref().unwrap()).unwrap();
    let of = |name: &str| {
        columns.as_array().unwrap().iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("{name}: {columns}"))
    };
    assert_eq!(of("n")["mechanism"], "laplace");
    assert_eq!(of("mean")["mechanism"], "laplace, laplace");
    assert!(of("n")["scale"].as_str().unwrap().parse::<f64>().unwrap() > 1.0, "{columns}");
    assert!(of("mean")["error"].as_str().unwrap().ends_with("/n"), "{columns}");
    assert_eq!(columns.as_array().unwrap().len(), 3, "the sum is asked too: {columns}");
    // Again: no cost, and the same is left.
    let again = ask(&ana, sql).await;
    assert_eq!(again.rows, first.rows);
    let notice = again.notices.join("\n");
    assert!(
        notice.contains("clinic answered from its ledger, at no cost; left of unit kind patient are epsilon 3"),
        "{notice}"
    );
    let last = ask(&ana, "SELECT epsilon, columns, cached FROM kanon.last_query").await;
    assert_eq!((last.rows[0][0].as_deref(), last.rows[0][2].as_deref()), (Some("0"), Some("t")));
    assert_eq!(last.rows[0][1].as_deref(), Some(columns.to_string().as_str()));
    // Open tables have no noise.
    ask(&ana, "SELECT count(*) FROM names").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_norm_that_is_chosen_is_told_with_the_answer() {
    let federation = clinic("1000").await;
    let ana = federation.sites[0].connect(ANA).await.unwrap();
    let sql = "SELECT CASE WHEN room = 'r0' THEN 'first' ELSE 'rest' END AS r, count(*) AS n, avg(minutes) AS mean, \
               count(DISTINCT pid) AS people FROM stays GROUP BY 1 ORDER BY 1";
    let plan = ask(&ana, &format!("EXPLAIN (PRIVACY) {sql}")).await.lines().join("\n");
    for part in
        ["which it chooses with epsilon", "times the norm to the number of rows", "/n times the norm over n rows"]
    {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    assert_eq!(spent(&ana).await, 0.0, "it was not asked");
    ask(&ana, "SET kanon.show_accuracy = on").await;
    let first = ask(&ana, sql).await;
    within(&first);
    assert!((1.999..=2.0).contains(&spent(&ana).await));
    let scale = async |name: &str| {
        let last = ask(&ana, "SELECT columns FROM kanon.last_query").await;
        let columns: serde_json::Value = serde_json::from_str(last.rows[0][0].as_deref().unwrap()).unwrap();
        let column = columns.as_array().unwrap().iter().find(|c| c["name"] == name).unwrap().clone();
        column["scale"].as_str().unwrap().parse::<f64>().unwrap()
    };
    // Of each patient one visit is in the first room and two are elsewhere: a norm of √5, and nobody is cut where more is chosen.
    let of_n = scale("n").await;
    for (row, n) in [(0, 4000.0), (1, 8000.0)] {
        let lower = n - 6.0 * of_n;
        assert!((lower..n + 6.0 * of_n).contains(&number(&first, row, 1)), "{n}, scale {of_n}: {first:?}");
        // The interval is of the noise that is in it.
        let width = number(&first, row, 3) - number(&first, row, 2);
        assert!((3.0 * of_n..6.0 * of_n + 3.0).contains(&width), "{width}, scale {of_n}: {first:?}");
        assert!((number(&first, row, 4) - 20.0).abs() < 8.0, "{first:?}");
        assert!((number(&first, row, 7) - 4000.0).abs() < 6.0 * scale("people").await, "{first:?}");
    }
    // From the store: the same numbers, and the noise that is in them.
    let other = federation.sites[0].connect(ANA).await.unwrap();
    ask(&other, "SET kanon.show_accuracy = on").await;
    assert_eq!(ask(&other, sql).await.rows, first.rows);
    assert_eq!(ask(&ana, sql).await.rows, first.rows);
    assert_eq!(scale("n").await, of_n);
    assert!(spent(&ana).await <= 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_is_explained_in_words() {
    let federation = clinic("10").await;
    let ana = federation.sites[0].connect(ANA).await.unwrap();
    let told = ask(&ana, "SELECT kanon.explain_policy('patients')").await.lines().join("\n");
    for part in [
        "Table patients has private access: it answers aggregates with noise",
        "A query may spend an epsilon of 1 and a delta of 0.00000001 of the budget of its unit kind.",
        "Each unit has one row at most, by declaration.",
        "Values of column age count as between 0 and 100.",
        "The 2 values of column sex are public.",
        "at least 10 units",
        "Everybody together may spend an epsilon of 10 and a delta of 0.000001 on unit kind patient in any 30 days.",
        "answered again for nothing",
    ] {
        assert!(told.contains(part), "no {part} in\n{told}");
    }
    let told = ask(&ana, "SELECT kanon.explain_policy('visits')").await.lines().join("\n");
    assert!(told.contains("at most 3 groups, 2 rows in a group and 8 different values in a group count"), "{told}");
    assert!(!told.contains("by declaration"), "{told}");
}
