//! Keys of tables with cohort access that the catalog knows.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use kanon_planner::release_unit::Decision;

use crate::world::{context, decided, unit};

/// The rows that a plan lists; `None` if it reads anything.
fn listed(plan: &LogicalPlan) -> Option<usize> {
    let (mut rows, mut reads) = (None, false);
    plan.apply_with_subqueries(|p| {
        match p {
            LogicalPlan::Values(values) => rows = Some(values.values.len()),
            LogicalPlan::TableScan(_) | LogicalPlan::Extension(_) => reads = true,
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
    rows.filter(|_| !reads)
}

#[tokio::test]
async fn values_of_a_domain_are_answered_without_people() {
    let ctx = context();
    for (sql, rows) in [
        ("SELECT DISTINCT kind FROM visits", 3),
        ("SELECT DISTINCT kind FROM visits ORDER BY kind DESC LIMIT 2", 3),
        ("SELECT kind FROM visits GROUP BY kind", 3),
        ("SELECT v.kind AS k FROM visits AS v GROUP BY v.kind HAVING v.kind > 'a' ORDER BY 1 LIMIT 1001", 3),
        ("SELECT DISTINCT kind, kind AS again FROM (SELECT * FROM visits) AS x", 3),
        ("SELECT kind, kind AS again FROM visits GROUP BY kind, 2", 3),
        ("SELECT count(*) FROM (SELECT DISTINCT kind FROM visits) AS x", 3),
        ("SELECT upper(k) FROM (SELECT DISTINCT CAST(kind AS varchar) AS k FROM visits) AS x WHERE k <> 'er'", 3),
        ("WITH k AS (SELECT DISTINCT kind FROM visits) SELECT * FROM k", 3),
    ] {
        match decided(&ctx, sql).await {
            Ok(Decision::Open(plan)) => assert_eq!(listed(&plan), Some(rows), "{sql}: {}", plan.display_indent()),
            other => panic!("{sql}: {other:?}"),
        }
    }
}

/// Whatever would have to be looked up in rows is a release of its own, and keeps its rules.
#[tokio::test]
async fn other_keys_are_released() {
    let ctx = context();
    for sql in [
        "SELECT DISTINCT kind FROM visits WHERE cost > 5",
        "SELECT DISTINCT kind FROM visits WHERE kind = 'er'",
        "SELECT DISTINCT kind FROM (SELECT kind FROM visits WHERE n = 1) AS x",
        "SELECT DISTINCT kind FROM visits WHERE pid IN (SELECT pid FROM patients WHERE age > 60)",
        "SELECT DISTINCT kind FROM visits v WHERE EXISTS (SELECT 1 FROM patients p WHERE p.pid = v.pid AND p.age > 60)",
        "SELECT DISTINCT v.kind FROM visits v JOIN patients p ON v.pid = p.pid",
        "SELECT DISTINCT v.kind FROM patients p LEFT JOIN visits v ON v.pid = p.pid",
        "SELECT DISTINCT v.kind FROM visits v JOIN days d ON v.day = d.day",
        "SELECT DISTINCT kind FROM (SELECT kind FROM visits UNION ALL SELECT kind FROM visits) AS x",
        "SELECT DISTINCT kind FROM (SELECT pid, max(kind) AS kind FROM visits GROUP BY pid) AS x",
        "SELECT DISTINCT kind FROM (SELECT pid, kind FROM visits GROUP BY pid, kind) AS x",
        "SELECT DISTINCT upper(kind) FROM visits",
        "SELECT DISTINCT substr(kind, 1, 1) FROM visits",
        "SELECT DISTINCT kind || 'x' FROM visits",
        "SELECT DISTINCT kind, day FROM visits",
        "SELECT DISTINCT upper(kind), upper(kind) AS again, day, day AS other FROM visits",
        "SELECT day, day AS again, kind, count(*), sum(n) FROM (SELECT day, day AS again, kind, n FROM visits) AS x GROUP BY day, again, kind",
        "SELECT DISTINCT kind, n > 1 FROM visits",
        "SELECT DISTINCT CASE WHEN cost > 5 THEN kind ELSE 'er' END FROM visits",
        "SELECT DISTINCT nullif(kind, 'er') FROM visits",
        "SELECT DISTINCT 1 FROM visits",
        "SELECT kind FROM visits GROUP BY kind HAVING count(*) > 5",
        "SELECT kind, count(*) FROM visits GROUP BY kind",
        "SELECT kind FROM visits GROUP BY GROUPING SETS ((kind), ())",
        "SELECT DISTINCT sex FROM patients",
        // Sites say for themselves what enough people have.
        "SELECT DISTINCT kind FROM fed_visits",
    ] {
        let unit = unit(&ctx, sql).await;
        assert!(unit.protection.is_some(), "{sql}");
    }
}

#[tokio::test]
async fn a_domain_changes_no_refusal() {
    let ctx = context();
    for sql in [
        "SELECT kind FROM visits",
        "SELECT kind FROM visits LIMIT 3",
        "SELECT DISTINCT kind FROM (SELECT * FROM visits LIMIT 3) AS x",
        "SELECT DISTINCT pid, kind FROM visits",
        "SELECT DISTINCT ON (kind) kind, day FROM visits",
        "SELECT kind, row_number() OVER () FROM visits GROUP BY kind, pid",
    ] {
        assert!(decided(&ctx, sql).await.is_err(), "{sql}");
    }
}
