//! The question of a private release: arguments and their bounds, public keys, what is refused.

use datafusion::common::ScalarValue;
use kanon_planner::boundary::{Options, decide};
use kanon_planner::private::Question;
use kanon_planner::private::mechanisms::Mechanisms;
use kanon_planner::release_unit::Decision;
use kanon_privacy::statistics::Aggregate;

use crate::world::{World, analysed, context};

async fn question(sql: &str) -> Result<Question, String> {
    let plan = analysed(&context(), sql).await.unwrap();
    match decide(plan, &World, &Options::default()) {
        Ok(Decision::Release { units, .. }) => Ok(units[0].question.as_ref().unwrap().as_ref().clone()),
        Ok(other) => panic!("{sql}: {other:?}"),
        Err(refusal) => Err(refusal.message),
    }
}

fn bounds(question: &Question) -> Vec<Option<(f64, f64)>> {
    question.arguments.iter().map(|a| a.grid.map(|g| (g.lower(), g.upper()))).collect()
}

#[tokio::test]
async fn bounds_come_from_columns_and_from_the_query() {
    for (argument, expected) in [
        ("age", (0.0, 110.0)),
        ("age + 1", (1.0, 111.0)),
        ("LEAST(GREATEST(weight, 30), 150)", (30.0, 150.0)),
        ("CASE WHEN smoker THEN age ELSE -5 END", (-5.0, 110.0)),
        ("2", (0.0, 2.0)),
    ] {
        let found = question(&format!("SELECT avg({argument}) FROM secret")).await.unwrap();
        assert_eq!(bounds(&found), [Some(expected)], "{argument}");
    }
    for unbounded in ["weight", "weight + age", "GREATEST(weight, 0)", "bill"] {
        let error = question(&format!("SELECT sum({unbounded}) FROM secret")).await.unwrap_err();
        assert!(error.contains("has no bounds"), "{unbounded}: {error}");
    }
    // Names and inner queries do not lose them; an aggregate within a unit has other values.
    let found =
        question("SELECT avg(a) FROM (SELECT pid, age AS a FROM secret) x JOIN secret_visits v ON x.pid = v.pid").await;
    assert_eq!(bounds(&found.unwrap()), [Some((0.0, 110.0))]);
    assert!(question("SELECT avg(s) FROM (SELECT pid, sum(age) AS s FROM secret GROUP BY pid) x").await.is_err());
    let found =
        question("SELECT avg(LEAST(n, 9)) FROM (SELECT pid, count(*) AS n FROM secret_visits GROUP BY pid) x").await;
    assert_eq!(bounds(&found.unwrap()), [Some((0.0, 9.0))]);
}

#[tokio::test]
async fn equal_measures_are_asked_once() {
    let found = question("SELECT avg(age), count(age), sum(age), avg(age) + 1, count(*) FROM secret").await.unwrap();
    assert_eq!(found.arguments.len(), 1);
    assert_eq!(found.aggregates.len(), 4, "the two averages are one");
    let mechanisms = Mechanisms::of(&found, found.rules.epsilon).unwrap();
    assert_eq!(mechanisms.plan.statistics().len(), 3, "rows, rows with an age, and their sum");
    // All of it costs what one query may.
    assert!(mechanisms.cost.basic().0 <= found.rules.epsilon.get());
    let found = question("SELECT count(*) FILTER (WHERE age > 5), count(DISTINCT pid) FROM secret").await.unwrap();
    assert_eq!(found.aggregates, [Aggregate::Count(0), Aggregate::CountUnits]);
}

#[tokio::test]
async fn keys_are_public_by_domain_or_by_the_query() {
    let cells = |found: Result<Question, String>| found.unwrap().public_cells();
    assert_eq!(cells(question("SELECT count(*) FROM secret").await), Some(1));
    assert_eq!(cells(question("SELECT sex, count(*) FROM secret GROUP BY sex").await), Some(2));
    let two = "SELECT sex, CASE WHEN age < 18 THEN 'y' WHEN age < 65 THEN 'm' END, count(*) FROM secret GROUP BY 1, 2";
    assert_eq!(cells(question(two).await), Some(6), "two, y and NULL");
    assert_eq!(cells(question("SELECT age IS NULL, count(*) FROM secret GROUP BY 1").await), Some(2));
    for selected in ["age", "upper(sex)", "smoker", "sex, age"] {
        let found = question(&format!("SELECT {selected}, count(*) FROM secret GROUP BY {selected}")).await;
        assert_eq!(cells(found), None, "{selected}");
    }
    let found = question("SELECT sex, count(*) FROM secret GROUP BY sex").await.unwrap();
    let text = |t: &str| ScalarValue::Utf8(Some(t.to_owned()));
    assert_eq!(found.keys[0].public.as_ref().unwrap().values, [text("female"), text("male")]);
    assert!(
        question("SELECT kind, count(*) FROM secret_visits GROUP BY kind")
            .await
            .unwrap_err()
            .contains("delta_per_query")
    );
}

#[tokio::test]
async fn one_row_a_unit_is_bounded_by_itself_and_all_else_by_policy() {
    for (sql, groups, rows) in [
        ("SELECT age, count(*) FROM secret GROUP BY age", 1, 1),
        ("SELECT count(*) FROM secret_visits", 3, 2),
        ("SELECT count(*) FROM secret s JOIN secret_visits v ON s.pid = v.pid", 3, 2),
        ("SELECT count(*) FROM secret s JOIN regions r ON s.region = r.id", 4, 8),
        ("SELECT count(*) FROM (SELECT pid FROM secret UNION ALL SELECT pid FROM secret) u", 4, 8),
        ("SELECT count(*) FROM secret WHERE pid IN (SELECT pid FROM secret_visits WHERE cost > 1)", 1, 1),
        ("SELECT count(*) FROM (SELECT pid, count(*) AS n FROM secret_visits GROUP BY pid) x", 1, 1),
    ] {
        let found = question(sql).await.unwrap().rules.bounds;
        assert_eq!((found.groups.get(), found.rows.get()), (groups, rows), "{sql}");
    }
}
