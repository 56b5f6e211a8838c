//! Questions that would tell of a few people if one rule, or the way two rules meet, were weaker. Each stands beside a question of the same
//! shape over enough people, which is answered.

use std::collections::BTreeMap;

use datafusion::logical_expr::TableScan;
use datafusion::prelude::{SessionConfig, SessionContext};
use kanon_planner::boundary::{Options, decide};
use kanon_planner::facts::{Facts, Placement, Protection, TableFacts};
use kanon_planner::release_unit::Decision;
use kanon_privacy::policy::{Access, DominancePercent, MinCohort};

use super::units::lines;
use crate::release::release;

/// `t` (patients, a row each) and `v` (visits) are protected with k = 10, every other table is open.
struct World;

impl Facts for World {
    fn of(&self, scan: &TableScan) -> TableFacts {
        let name = scan.table_name.table().to_owned();
        let protection = matches!(name.as_str(), "t" | "v").then(|| Protection {
            access: Access::Cohort,
            unit_column: "id".into(),
            unit_kind: "patient".into(),
            unit_unique: name == "t",
            min_cohort: MinCohort::TEN,
            dominance_percent: DominancePercent::default(),
        });
        TableFacts {
            name,
            protection,
            private: None,
            domains: BTreeMap::new(),
            closed: None,
            roles: BTreeMap::new(),
            placement: Placement::Local,
        }
    }
}

/// 100 patients: ages 20 to 69, two each; `flag` is 1 for the `flagged` youngest, who are alone in ward 1; `rich` is a large number for the first and small for the rest;
/// `maybe` is NULL but for the first `flagged`, and `seldom` for them. Every patient has two visits, the first `flagged` three.
async fn world(flagged: i64) -> SessionContext {
    let ctx = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2).with_batch_size(32));
    for sql in [
        format!(
            "CREATE TABLE t AS SELECT value AS id, 20 + value / 2 AS age, (value % 10)::double AS x, value % 3 AS third,
             CASE WHEN value < {flagged} THEN 1 ELSE 0 END AS flag, CASE WHEN value = 0 THEN 1e9 ELSE 1.0 + value % 5 END AS rich,
             CASE WHEN value < {flagged} THEN value END AS maybe,
             CASE WHEN value >= {flagged} THEN value END AS seldom, 1000.0 + value AS pay,
             CASE WHEN value < {flagged} THEN 1 ELSE 2 + value % 3 END AS ward FROM generate_series(0, 99)"
        ),
        format!(
            "CREATE TABLE v AS SELECT a.value AS id, b.value AS n, 10.0 + a.value AS cost,
             CASE WHEN a.value < {flagged} THEN 1 END AS maybe
             FROM generate_series(0, 99) AS a CROSS JOIN generate_series(1, 3) AS b WHERE b.value < 3 OR a.value < {flagged}"
        ),
        // A line for every ward, and a second one for the ward of the flagged.
        "CREATE TABLE twice AS SELECT * FROM (VALUES (1, 1), (2, 1), (3, 1), (4, 1), (1, -1)) AS w(ward, sign)".into(),
        "CREATE TABLE once AS SELECT value AS age, value / 30 AS band FROM generate_series(20, 69)".into(),
        "CREATE TABLE bands AS SELECT * FROM (VALUES (0, 45, 'young'), (45, 200, 'old')) AS b(lo, hi, name)".into(),
    ] {
        ctx.sql(&sql).await.unwrap().collect().await.unwrap();
    }
    ctx
}

async fn lines_of(ctx: &SessionContext, sql: &str) -> Vec<String> {
    let plan = ctx.state().create_logical_plan(sql).await.unwrap();
    let plan = ctx.state().analyzer().execute_and_check(plan, ctx.state().config_options(), |_, _| {}).unwrap();
    match decide(plan, &World, &Options::default()) {
        Ok(Decision::Release { units, .. }) => lines(release(&ctx.state(), &units[0]).await.unwrap().batch()),
        other => panic!("{sql}: {other:?}"),
    }
}

/// Asks the same with 4 people in question, which nobody may be told of, and with 20.
async fn few_and_many(few: &str, many: &str) -> (Vec<String>, Vec<String>) {
    (lines_of(&world(4).await, few).await, lines_of(&world(20).await, many).await)
}

async fn withheld_for_few(sql: &str, answer_for_many: &str) {
    let (few, many) = few_and_many(sql, sql).await;
    assert_eq!(few, ["-"], "{sql}");
    assert_eq!(many, [answer_for_many], "{sql}");
}

#[tokio::test]
async fn an_open_table_weighs_nobody() {
    // Lines with repeated keys: the youngest count twice, or not at all.
    withheld_for_few("SELECT count(*) FROM t JOIN twice o ON t.ward = o.ward", "120").await;
    withheld_for_few("SELECT sum(t.age * o.sign) FROM t JOIN twice o ON t.ward = o.ward", "3960").await;
    withheld_for_few("SELECT count(*) FROM t LEFT JOIN twice o ON t.ward = o.ward", "120").await;
    // Within a unit too: whoever meets two lines is on his own there.
    let sql =
        "SELECT sum(n) FROM (SELECT t.id, count(*) AS n FROM t JOIN twice o ON t.ward = o.ward GROUP BY t.id) AS q";
    assert_eq!(lines_of(&world(4).await, sql).await, ["-"]);
    // Where keys stand once it is a look-up.
    let sql = "SELECT o.band, count(*), sum(t.age) FROM t JOIN once o ON t.age = o.age GROUP BY o.band";
    assert_eq!(lines_of(&world(4).await, sql).await, ["0|20|490", "1|60|2670", "2|20|1290"]);
}

#[tokio::test]
async fn thresholds_of_a_list_are_not_subtracted() {
    let sum = |limit: i64| {
        format!(
            "SELECT sum(t.pay * v.sign) FROM t JOIN (VALUES (20, 1), ({limit}, -1)) AS v(least, sign) ON t.age >= v.least"
        )
    };
    assert_eq!(lines_of(&world(4).await, &sum(21)).await, ["-"], "two people are 20 years old");
    let groups =
        "SELECT v.g, count(*) FROM t JOIN (VALUES (20, 1), (21, 2)) AS v(least, g) ON t.age >= v.least GROUP BY v.g";
    assert_eq!(lines_of(&world(4).await, groups).await, ["1|-", "2|-"]);
    // Bands that do not overlap are a look-up.
    let bands = "SELECT b.name, count(*) FROM t JOIN bands b ON t.age >= b.lo AND t.age < b.hi GROUP BY b.name";
    assert_eq!(lines_of(&world(4).await, bands).await, ["old|50", "young|50"]);
    // A single row multiplies nobody.
    let one = "SELECT count(*) FROM t, (SELECT max(hi) AS m FROM bands) AS b WHERE t.age < b.m";
    assert_eq!(lines_of(&world(4).await, one).await, ["100"]);
}

#[tokio::test]
async fn three_filters_tell_no_more_than_two() {
    // Each is true on two of three thirds and on the flagged: their sum less twice all is the flagged.
    let filters: Vec<String> = (0..3).map(|n| format!("count(*) FILTER (WHERE third <> {n} OR flag = 1)")).collect();
    let sql = format!("SELECT {} FROM t", filters.join(", "));
    let (few, many) = few_and_many(&sql, &sql).await;
    assert_eq!(few, ["-|-|-"]);
    assert_eq!(many, ["73|74|73"]);
    let alone = format!("SELECT {}, {} FROM t", filters[0], filters[1]);
    assert_eq!(lines_of(&world(4).await, &alone).await, ["68|68"]);
    let usual = "SELECT count(*) FILTER (WHERE age < 40), count(*) FILTER (WHERE third = 0), count(*) FILTER (WHERE x > 4), count(*) FROM t";
    assert_eq!(lines_of(&world(4).await, usual).await, ["40|34|50|100"]);
}

#[tokio::test]
async fn a_constant_does_not_hide_who_is_large() {
    for sql in [
        "SELECT avg(rich) FROM t",
        "SELECT avg(rich + 1e12) FROM t",
        "SELECT avg(1e12 - rich * 2) FROM t",
        "SELECT sum(rich + pay) FROM t",
        "SELECT avg((rich + 1e12) * (age + 1000)) FROM t",
        "SELECT regr_avgx(x, rich) FROM t",
        "SELECT regr_avgy(rich + 1e12, x) FROM t",
    ] {
        assert_eq!(lines_of(&world(4).await, sql).await, ["-"], "{sql}");
    }
    assert_eq!(lines_of(&world(4).await, "SELECT avg(age + 1000), sum(age + x) FROM t").await, ["1044.5|4900.0"]);
}

#[tokio::test]
async fn a_variance_does_not_show_who_is_large() {
    let sql = "SELECT var_pop(rich), stddev(rich), corr(rich, age), covar_samp(age, rich) FROM t";
    assert_eq!(lines_of(&world(4).await, sql).await, ["-|-|-|-"]);
    assert!(lines_of(&world(4).await, "SELECT var_pop(age) FROM t").await[0].starts_with("208.25"));
}

#[tokio::test]
async fn a_flag_in_a_product_is_a_filter() {
    withheld_for_few("SELECT sum(pay * flag) FROM t", "20190.0").await;
    withheld_for_few("SELECT sum(pay * (1 - flag)) FROM t", "84760.0").await;
    withheld_for_few("SELECT avg(s) FROM (SELECT id, pay * flag AS s FROM t) AS q", "201.9").await;
    withheld_for_few("SELECT sum(s) FROM (SELECT id, sum(pay * flag) AS s FROM t GROUP BY id) AS q", "20190.0").await;
    assert_eq!(lines_of(&world(4).await, "SELECT sum(age * pay), sum(age * age) FROM t").await, ["4711925.0|218850"]);
}

#[tokio::test]
async fn arithmetic_that_picks_values_is_a_condition() {
    for sql in [
        // Powers: the sums of enough of them are the values.
        "SELECT sum(age * age * age) FROM t",
        "SELECT avg(exp(age * 1000)) FROM t",
        "SELECT avg(exp(0 - 20 * (age - 20) * (age - 20))) FROM t",
        // Rounding: 1 for those above a threshold and 0 for the others.
        "SELECT sum((age * 1e-16 + 1) - 1) FROM t",
        "SELECT sum(ln(age * 5.1e-18 + 1)) FROM t",
        "SELECT avg((age + pay) - pay) FROM t",
        "SELECT avg(CAST(CAST(age AS smallint) AS real) + CAST(1e9 AS real)) FROM t",
    ] {
        assert_eq!(lines_of(&world(4).await, sql).await, ["-"], "{sql}");
    }
    for sql in [
        "SELECT avg(age * 2 + 1) FROM t",
        "SELECT avg(ln(age)) FROM t",
        "SELECT avg(sqrt(age + 1)) FROM t",
        "SELECT avg(exp(x)) FROM t",
        "SELECT avg(-age) FROM t",
        "SELECT avg(0.5 * (age - 32)) FROM t",
        "SELECT sum((age - 40) * (pay - 1000)) FROM t",
    ] {
        assert_ne!(lines_of(&world(4).await, sql).await, ["-"], "{sql}");
    }
}

#[tokio::test]
async fn a_count_within_a_unit_tells_of_no_few() {
    withheld_for_few("SELECT sum(n) FROM (SELECT id, count(maybe) AS n FROM v GROUP BY id) AS q", "60").await;
    let sql = "SELECT sum(n) FROM (SELECT id, count(*) AS n FROM v GROUP BY id) AS q";
    assert_eq!(lines_of(&world(4).await, sql).await, ["204"]);
    // The third visit, or 0 where there is none.
    let third = |default: &str| {
        format!("SELECT sum(c) FROM (SELECT lag(cost, 2{default}) OVER (PARTITION BY id ORDER BY n) AS c FROM v) AS q")
    };
    for default in ["", ", 0.0"] {
        assert_eq!(lines_of(&world(4).await, &third(default)).await, ["-"], "{default}");
    }
    assert_eq!(lines_of(&world(20).await, &third("")).await, ["390.0"]);
}

#[tokio::test]
async fn a_divisor_under_another_name_is_one_still() {
    for beside in [
        "var_pop(seldom)",
        "var_pop(seldom) FILTER (WHERE age > 0)",
        "stddev_pop(CAST(seldom AS double)) FILTER (WHERE true)",
    ] {
        let sql = format!("SELECT var(seldom), {beside} FROM t");
        assert_eq!(lines_of(&world(4).await, &sql).await, ["-|-"], "{sql}");
        let sql = format!("SELECT {beside} FROM t");
        assert_ne!(lines_of(&world(4).await, &sql).await, ["-"], "{sql}");
    }
}

#[tokio::test]
async fn quantiles_stand_k_people_apart() {
    let ladder: Vec<String> = (20..80).map(|n| format!("percentile_cont(0.{n}) WITHIN GROUP (ORDER BY pay)")).collect();
    let answer = lines_of(&world(4).await, &format!("SELECT {} FROM t", ladder.join(", "))).await;
    let known = answer[0].split('|').filter(|v| *v != "-").count();
    assert!((1..=6).contains(&known), "{answer:?}");
    let quartiles = "SELECT percentile_cont(0.25) WITHIN GROUP (ORDER BY pay), median(pay), percentile_cont(0.5) WITHIN GROUP (ORDER BY pay),
                     percentile_cont(0.75) WITHIN GROUP (ORDER BY pay) FROM t";
    assert_eq!(lines_of(&world(4).await, quartiles).await, ["1024.75|1049.5|1049.5|1074.25"]);
}
