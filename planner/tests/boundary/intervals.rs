//! Which columns of an answer have intervals, and the plan that has them beside them.

use datafusion::logical_expr::LogicalPlan;
use kanon_planner::intervals::{Origin, noisy, with_intervals};
use kanon_planner::release_unit::Decision;

use crate::world::{context, decided};

async fn outer(sql: &str) -> LogicalPlan {
    match decided(&context(), sql).await {
        Ok(Decision::Release { outer, .. }) => outer,
        other => panic!("{sql}: {other:?}"),
    }
}

/// The places of the columns with noise.
async fn columns(sql: &str) -> Vec<usize> {
    noisy(&outer(sql).await).into_iter().map(|noisy| noisy.column).collect()
}

#[tokio::test]
async fn a_measure_keeps_its_interval_wherever_it_goes_as_it_is() {
    for (sql, expected) in [
        ("SELECT sex, count(*), avg(age) FROM secret GROUP BY sex", vec![1, 2]),
        ("SELECT avg(age) AS a, sex, count(*) AS n FROM secret GROUP BY sex ORDER BY n DESC, sex LIMIT 1", vec![0, 2]),
        ("SELECT sex FROM secret GROUP BY sex HAVING count(*) > 5 ORDER BY avg(age)", vec![]),
        ("SELECT count(*) AS n, count(*) AS m FROM secret HAVING count(*) > 5", vec![0, 1]),
        (
            "WITH x AS (SELECT sex AS s, count(*) AS n FROM secret GROUP BY sex) SELECT y.n FROM x AS y WHERE y.n > 1",
            vec![0],
        ),
        (
            "SELECT s, n, row_number() OVER (ORDER BY n) FROM (SELECT sex AS s, count(*) AS n FROM secret GROUP BY sex) x",
            vec![1],
        ),
        (
            "SELECT a.sex, a.n, r.name, b.m FROM (SELECT sex, count(*) AS n FROM secret GROUP BY sex) a \
             JOIN regions r ON r.name = a.sex LEFT JOIN (SELECT sex, avg(age) AS m FROM secret GROUP BY sex) b ON a.sex = b.sex",
            vec![1, 3],
        ),
        (
            "SELECT n FROM (SELECT sex, count(*) AS n FROM secret GROUP BY sex) a WHERE a.sex IN (SELECT name FROM regions)",
            vec![0],
        ),
        (
            "SELECT sex, count(*) FROM secret GROUP BY sex UNION ALL SELECT kind, n FROM (SELECT 'all' AS kind, count(*) AS n FROM secret) x",
            vec![1],
        ),
        (
            "SELECT count(*), sex, grouping(sex), avg(age) FROM secret GROUP BY ROLLUP (sex) HAVING count(*) > 5 ORDER BY sex",
            vec![0, 3],
        ),
    ] {
        assert_eq!(columns(sql).await, expected, "{sql}");
        let decided = outer(sql).await;
        with_intervals(&decided, &expected).unwrap();
    }
}

#[tokio::test]
async fn the_number_of_sites_stands_behind_all_where_it_is_one_number() {
    let count = "SELECT sex, count(*) AS n FROM fed_secret GROUP BY sex";
    for (sql, told) in [
        (count.to_owned(), true),
        (format!("SELECT x.n, x.sex FROM ({count}) x WHERE n > 3 ORDER BY n LIMIT 1"), true),
        (format!("SELECT x.n, name FROM ({count}) x JOIN regions ON name = sex"), true),
        (
            format!(
                "SELECT a.n, b.m FROM ({count}) a JOIN (SELECT sex, avg(age) AS m FROM fed_secret GROUP BY sex) b ON a.sex = b.sex"
            ),
            false,
        ),
        (format!("{count} UNION ALL SELECT 'all', count(*) FROM fed_secret"), false),
        ("SELECT sex, count(*) FROM secret GROUP BY sex".to_owned(), false),
    ] {
        let (outer, columns) = (outer(&sql).await, columns(&sql).await);
        let with = with_intervals(&outer, &columns).unwrap();
        let more = with.schema().fields().len() - outer.schema().fields().len() - 2 * columns.len();
        assert_eq!(more, usize::from(told), "{sql}");
        let last = with.schema().fields().last().unwrap().name().clone();
        assert_eq!(last == "__kanon_sites", told, "{sql}: {last}");
    }
}

#[tokio::test]
async fn what_is_computed_has_none() {
    for sql in [
        "SELECT count(*) + 1, avg(age) / 2, round(avg(age)), cast(count(*) AS text) FROM secret",
        "SELECT max(n) FROM (SELECT sex, count(*) AS n FROM secret GROUP BY sex) x",
        "SELECT DISTINCT count(*) FROM secret GROUP BY sex",
        "SELECT (SELECT count(*) FROM secret)",
        "SELECT count(*) FROM secret UNION SELECT count(*) FROM secret_visits",
        "SELECT count(*) FROM secret UNION ALL SELECT size FROM regions",
        "SELECT name FROM regions WHERE size > (SELECT count(*) FROM secret)",
        // Of other tables.
        "SELECT count(*), avg(age) FROM patients",
    ] {
        assert_eq!(columns(sql).await, Vec::<usize>::new(), "{sql}");
    }
}

#[tokio::test]
async fn of_a_union_it_is_not_one_measure() {
    let sql = "SELECT count(*) FROM secret UNION ALL SELECT count(*) FROM secret_visits";
    let found = noisy(&outer(sql).await);
    assert_eq!((found.len(), found[0].origin), (1, None));
    let found = noisy(&outer("SELECT 1 AS one, avg(age), count(*) FROM secret").await);
    assert_eq!(found[0].origin, Some(Origin { unit: 0, measure: 0 }));
    assert_eq!(found[1].origin, Some(Origin { unit: 0, measure: 1 }));
}

#[tokio::test]
async fn intervals_stand_behind_their_column() {
    for (sql, types) in [
        ("SELECT sex, count(*) AS n FROM secret GROUP BY sex ORDER BY n LIMIT 3", "Utf8 Int64 Int64 Int64"),
        (
            "SELECT avg(age) AS a, sum(age), sex FROM secret GROUP BY sex",
            "Float64 Float64 Float64 Int64 Float64 Float64 Utf8",
        ),
        (
            "SELECT a.n, b.n, a.sex FROM (SELECT sex, count(*) AS n FROM secret GROUP BY sex) a \
             JOIN (SELECT sex, count(*) AS n FROM secret GROUP BY sex) b ON a.sex = b.sex ORDER BY 1",
            "Int64 Int64 Int64 Int64 Int64 Int64 Utf8",
        ),
        ("SELECT count(*) FROM secret UNION ALL SELECT count(*) FROM secret_visits", "Int64 Int64 Int64"),
    ] {
        let plan = outer(sql).await;
        let columns: Vec<usize> = noisy(&plan).into_iter().map(|noisy| noisy.column).collect();
        let with = with_intervals(&plan, &columns).unwrap();
        let found: Vec<String> = with.schema().fields().iter().map(|f| f.data_type().to_string()).collect();
        assert_eq!(found.join(" "), types, "{sql}");
        // Of none it is the same columns; of one that has none, NULL.
        let names = |plan: &LogicalPlan| plan.schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
        assert_eq!(names(&with_intervals(&plan, &[]).unwrap()), names(&plan), "{sql}");
    }
    let plan = outer("SELECT sex, count(*) FROM secret GROUP BY sex").await;
    let with = with_intervals(&plan, &[0]).unwrap();
    assert_eq!(with.schema().fields().len(), 4);
    assert!(
        with.display_indent().to_string().contains("Float64(NULL) AS __kanon_lo_of_0"),
        "{}",
        with.display_indent()
    );
}
