//! Rules that goldens show only to those who read them.
use kanon_planner::boundary::{Options, decide};
use kanon_planner::release_unit::{Decision, MeasureKind};

use crate::world::{World, analysed, context, unit};

fn texts(exprs: &[datafusion::logical_expr::Expr]) -> Vec<String> {
    exprs.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn conditions_are_those_of_rule_1() {
    let ctx = context();
    for (sql, expected) in [
        ("SELECT count(*) FROM patients", vec![]),
        ("SELECT count(pid) FROM patients", vec![]),
        ("SELECT count(age) FROM patients", vec!["t0.age IS NULL"]),
        ("SELECT sum(age) FROM patients", vec!["CAST(t0.age AS Int64) IS NULL"]),
        ("SELECT avg(age) FROM patients", vec![]),
        ("SELECT avg(weight * 2) FROM patients", vec!["t0.weight * Float64(2) IS NULL"]),
        ("SELECT avg(floor(weight)) FROM patients", vec!["floor(t0.weight)"]),
        ("SELECT avg(age) FILTER (WHERE smoker) FROM patients", vec!["t0.smoker"]),
        (
            "SELECT count(*) FILTER (WHERE smoker AND age > 3) FROM patients",
            vec!["t0.smoker AND CAST(t0.age AS Int64) > Int64(3)"],
        ),
        ("SELECT bool_and(smoker) FROM patients", vec!["t0.smoker"]),
        (
            "SELECT avg(weight * age) FROM patients",
            vec![
                "CAST(t0.weight AS Float64) * CAST(CAST(t0.age AS Float64) AS Float64) = Float64(0)",
                "t0.weight * CAST(t0.age AS Float64) IS NULL",
            ],
        ),
        ("SELECT avg(weight * weight) FROM patients", vec!["t0.weight * t0.weight IS NULL"]),
        ("SELECT avg(weight - weight) FROM patients", vec!["t0.weight - t0.weight"]),
        ("SELECT avg(exp(weight * 2)) FROM patients", vec!["exp(t0.weight * Float64(2))"]),
        (
            "SELECT sum(CASE WHEN smoker THEN 2 ELSE 1 END) FROM patients",
            vec!["CASE WHEN t0.smoker THEN Int64(2) ELSE Int64(1) END"],
        ),
        (
            "SELECT sum(y) FROM (SELECT CASE WHEN smoker THEN 2 ELSE 1 END AS y FROM patients) AS x",
            vec!["CASE WHEN t0.smoker THEN Int64(2) ELSE Int64(1) END"],
        ),
        ("SELECT regr_count(weight, age) FROM patients", vec!["t0.weight IS NULL", "CAST(t0.age AS Float64) IS NULL"]),
    ] {
        let unit = unit(&ctx, sql).await;
        assert_eq!(texts(&unit.measures[0].conditions), expected, "{sql}");
    }
}

#[tokio::test]
async fn a_sample_and_a_population_variance_together_are_a_count() {
    let ctx = context();
    let both = unit(&ctx, "SELECT var(age), var_pop(age) FROM patients").await;
    assert!(both.measures.iter().all(|m| m.conditions.len() == 1));
    let alone = unit(&ctx, "SELECT var(age), var_pop(weight) FROM patients").await;
    assert!(alone.measures.iter().all(|m| m.conditions.is_empty()));
}

#[tokio::test]
async fn one_row_a_unit_is_known() {
    let ctx = context();
    for (sql, one) in [
        ("SELECT count(*) FROM patients WHERE age > 3", true),
        ("SELECT count(*) FROM visits", false),
        ("SELECT avg(n) FROM (SELECT pid, count(*) AS n FROM visits GROUP BY pid) AS x", true),
        ("SELECT avg(n) FROM (SELECT pid, kind, count(*) AS n FROM visits GROUP BY pid, kind) AS x", false),
        ("SELECT count(*) FROM patients p JOIN regions r ON p.region = r.id", false),
        ("SELECT count(*) FROM patients WHERE region IN (SELECT id FROM regions)", true),
        ("SELECT count(*) FROM patients p JOIN visits v ON p.pid = v.pid", false),
        ("SELECT count(*) FROM patients a JOIN patients b ON a.pid = b.pid", true),
        ("SELECT count(*) FROM patients WHERE pid IN (SELECT pid FROM visits)", true),
        ("SELECT count(*) FROM (SELECT pid FROM patients UNION ALL SELECT pid FROM patients) AS x", false),
        ("SELECT count(*) FROM (SELECT pid FROM patients UNION SELECT pid FROM visits) AS x", true),
    ] {
        assert_eq!(unit(&ctx, sql).await.one_row_a_unit, one, "{sql}");
    }
}

#[tokio::test]
async fn the_strictest_protection_holds() {
    let ctx = context();
    for sql in [
        "SELECT count(*) FROM patients p JOIN visits v ON p.pid = v.pid",
        "SELECT count(*) FROM patients WHERE pid IN (SELECT pid FROM visits)",
        "SELECT count(*) FROM (SELECT pid FROM patients UNION ALL SELECT pid FROM visits) AS x",
    ] {
        assert_eq!(unit(&ctx, sql).await.protection.as_ref().unwrap().min_cohort.get(), 12, "{sql}");
    }
}

#[tokio::test]
async fn what_the_query_multiplies_is_a_condition() {
    let ctx = context();
    for sql in [
        "SELECT count(*) FROM patients p JOIN (VALUES (0), (1)) AS v(a) ON v.a = 0 OR p.age = 77",
        "SELECT count(*) FROM (SELECT p.age, v.a FROM patients p CROSS JOIN (VALUES (0), (1)) AS v(a)) AS x WHERE a = 0 OR age = 77",
        "SELECT count(*) FROM patients p JOIN regions r ON r.id = 0 OR p.age = 77",
        "SELECT count(*) FROM (SELECT pid FROM patients UNION ALL SELECT pid FROM patients WHERE age = 77) AS x",
        "SELECT sum(n) FROM (SELECT pid, 1 + count(*) FILTER (WHERE age = 77) AS n FROM patients GROUP BY pid) AS x",
        "SELECT sum(w) FROM (SELECT pid, 1 AS w FROM patients UNION ALL SELECT pid, 2 FROM visits) AS x",
    ] {
        let unit = unit(&ctx, sql).await;
        assert!(
            unit.measures[0].conditions.iter().any(|c| !matches!(c, datafusion::logical_expr::Expr::IsNull(_))),
            "{sql}"
        );
    }
    let plain = unit(&ctx, "SELECT count(*) FROM patients p JOIN regions r ON p.region = r.id").await;
    assert_eq!(
        texts(&plain.measures[0].conditions),
        ["CASE WHEN w2 > Int64(1) THEN o1.c0 END"],
        "NULL where keys stand once"
    );
    for sql in [
        "SELECT count(*) FROM patients WHERE region IN (SELECT id FROM regions)",
        "SELECT count(*) FROM patients p, (SELECT max(size) AS m FROM regions) AS r WHERE p.age < r.m",
        "SELECT count(*) FROM patients p, (SELECT avg(age) AS m FROM patients) AS r WHERE p.age < r.m",
    ] {
        let multiplies_nobody = unit_of(&ctx, sql).await;
        assert!(!texts(&multiplies_nobody).iter().any(|c| c.contains("CASE")), "{sql}");
    }
}

/// The conditions of the first measure of the last release.
async fn unit_of(ctx: &datafusion::prelude::SessionContext, sql: &str) -> Vec<datafusion::logical_expr::Expr> {
    match crate::world::decided(ctx, sql).await {
        Ok(Decision::Release { units, .. }) => units.last().unwrap().measures[0].conditions.clone(),
        other => panic!("{sql}: {other:?}"),
    }
}

#[tokio::test]
async fn quantiles_count_from_their_own_end() {
    let ctx = context();
    let unit = unit(
        &ctx,
        "SELECT percentile_cont(0.25) WITHIN GROUP (ORDER BY age), percentile_cont(0.25) WITHIN GROUP (ORDER BY age DESC) FROM patients",
    )
    .await;
    assert_eq!(unit.measures[0].kind, MeasureKind::Quantile(0.25));
    assert_eq!(unit.measures[1].kind, MeasureKind::Quantile(0.75));
}

#[tokio::test]
async fn parts_of_averages_are_for_peers() {
    let ctx = context();
    let plan = analysed(&ctx, "SELECT kanon_part_sum(age), kanon_part_count(age) FROM patients").await.unwrap();
    assert!(decide(plan.clone(), &World, &Options::default()).is_err());
    let Ok(Decision::Release { units, .. }) = decide(plan, &World, &Options { peer: true }) else {
        panic!("peers may")
    };
    assert!(units[0].measures.iter().all(|m| m.kind == MeasureKind::Avg && m.conditions.is_empty()));
}

#[tokio::test]
async fn what_is_released_may_be_null() {
    let ctx = context();
    let unit = unit(&ctx, "SELECT sex, count(*) FROM patients GROUP BY sex").await;
    assert!(unit.schema.fields().iter().all(|f| f.is_nullable()), "a withheld count is NULL");
}

#[tokio::test]
async fn a_column_that_a_join_makes_null_is_not_as_it_stands() {
    let ctx = context();
    let sql = "SELECT avg(s.age) FROM patients p LEFT JOIN (SELECT pid, age FROM patients WHERE age <> 77) AS s ON p.pid = s.pid";
    let joined = unit(&ctx, sql).await;
    assert_eq!(joined.measures[0].conditions.len(), 1, "the rows without a partner are a part");
}
