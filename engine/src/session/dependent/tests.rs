use datafusion::arrow::array::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::error::{Error, Result, Sqlstate};
use crate::session::context::optimizer_rules;

/// A few people, and the rules of the node.
async fn context() -> Result<SessionContext> {
    let config = SessionConfig::new().set_usize("datafusion.sql_parser.recursion_limit", 1_000);
    let builder = SessionStateBuilder::new_with_default_features().with_config(config);
    let ctx = SessionContext::new_with_state(builder.with_optimizer_rules(optimizer_rules()).build());
    for sql in [
        "CREATE TABLE people (id INT, city TEXT, price NUMERIC(10, 2), score DOUBLE PRECISION, active BOOLEAN)",
        "INSERT INTO people VALUES (1, 'Bern', 1.5, 1.5, true), (2, 'Chur', 2.5, 2.5, false), (3, NULL, NULL, NULL, NULL)",
    ] {
        ctx.sql(sql).await?.collect().await?;
    }
    Ok(ctx)
}

/// A statement's plan under them.
async fn optimised(sql: &str) -> Result<LogicalPlan> {
    Ok(context().await?.sql(sql).await?.into_optimized_plan()?)
}

fn nodes(plan: &LogicalPlan) -> usize {
    let mut nodes = 0;
    plan.apply_with_subqueries(|_| {
        nodes += 1;
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
    nodes
}

/// A query for a value in a query for a value, and so on.
fn within_one_another(depth: usize) -> String {
    let inner = (1..=depth).rev().fold("0".to_owned(), |inner, n| {
        format!("(SELECT count(*) FROM people q{n} WHERE q{n}.id < q{}.id + {inner})", n - 1)
    });
    format!("SELECT {inner} FROM people q0")
}

#[tokio::test]
async fn a_plan_grows_by_its_queries_and_not_by_their_product() {
    let mut sizes = Vec::new();
    for queries in [10, 20, 40] {
        let list: Vec<String> =
            (0..queries).map(|n| format!("(SELECT count(*) FROM people q WHERE q.id < p.id + {n}) AS n{n}")).collect();
        sizes.push(nodes(&optimised(&format!("SELECT {} FROM people p", list.join(", "))).await.unwrap()));
        let laterals: String = (0..queries)
            .map(|n| format!(" CROSS JOIN LATERAL (SELECT count(*) FROM people q WHERE q.id < p.id + {n}) l{n}"))
            .collect();
        sizes.push(nodes(&optimised(&format!("SELECT * FROM people p {laterals}")).await.unwrap()));
    }
    let [values, laterals, .., most_values, most_laterals] = sizes[..] else { panic!("{sizes:?}") };
    assert!(most_values <= values * 4 && most_laterals <= laterals * 4, "{sizes:?}");
}

#[tokio::test]
async fn queries_within_queries_are_too_many_at_some_depth() {
    // Each is of the rows of a table, and reads those alone again.
    assert!(nodes(&optimised(&within_one_another(16)).await.unwrap()) < 1_000);
    let within = |innermost: &str| {
        let nested = (0..16).fold(innermost.to_owned(), |inner, _| format!("true IN (SELECT {inner})"));
        format!("SELECT {nested}")
    };
    optimised(&within("true")).await.unwrap();
    let error: Error = optimised(&within("(SELECT active FROM people LIMIT 1)")).await.unwrap_err();
    assert_eq!(error.state, Sqlstate::StatementTooComplex);
}

#[tokio::test]
async fn rows_that_may_be_others_are_refused() {
    for (rows, is_repeatable) in [
        ("SELECT id AS x FROM people", true),
        ("SELECT random() AS x FROM people", false),
        ("SELECT id AS x, random() AS r FROM people", true),
        ("SELECT id AS x FROM people WHERE random() < 0.5", false),
        ("SELECT id AS x FROM people LIMIT 10", false),
        ("SELECT id AS x FROM people ORDER BY id LIMIT 10", true),
        ("SELECT id AS x FROM people ORDER BY price LIMIT 10", false),
        ("SELECT id AS x FROM people ORDER BY price, id LIMIT 10", true),
        ("SELECT id + 1 AS x FROM people ORDER BY id LIMIT 10", true),
        ("SELECT 1 AS x FROM people LIMIT 10", true),
        ("SELECT DISTINCT id AS x FROM people", true),
        ("SELECT DISTINCT ON (city) id AS x FROM people", false),
        ("SELECT DISTINCT ON (city) id AS x FROM people ORDER BY city, id", true),
        ("SELECT row_number() OVER () + id AS x FROM people", false),
        ("SELECT row_number() OVER (ORDER BY id) AS x FROM people", true),
        ("SELECT rank() OVER (ORDER BY city) AS x FROM people", true),
        ("SELECT max(id) AS x FROM people GROUP BY city", true),
        ("SELECT sum(price) AS x FROM people GROUP BY city", true),
        ("SELECT sum(score) AS x FROM people GROUP BY city", false),
        ("SELECT first_value(id) AS x FROM people GROUP BY city", false),
        ("SELECT first_value(id ORDER BY id) AS x FROM people GROUP BY city", true),
        ("SELECT id AS x FROM people WHERE id IN (SELECT id FROM people LIMIT 3)", false),
    ] {
        for sql in [
            format!("SELECT (SELECT count(*) FROM people q WHERE q.score < v.x) FROM ({rows}) v"),
            format!(
                "SELECT * FROM ({rows}) v CROSS JOIN LATERAL (SELECT count(*) FROM people q WHERE q.score < v.x) l"
            ),
        ] {
            let found = optimised(&sql).await;
            match is_repeatable {
                true => assert!(found.is_ok(), "{sql}: {found:?}"),
                false => assert_eq!(found.unwrap_err().state, Sqlstate::FeatureNotSupported, "{sql}"),
            }
        }
    }
}

#[tokio::test]
async fn a_query_for_a_value_has_one_row() {
    let ctx = context().await.unwrap();
    let asked = async |below: i32| {
        let query = "SELECT count(*) FROM people q WHERE q.id < p.id GROUP BY q.id";
        ctx.sql(&format!("SELECT p.id, ({query}) FROM people p WHERE p.id < {below}")).await.unwrap().collect().await
    };
    let rows: usize = asked(3).await.unwrap().iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, 2);
    let error: Error = asked(4).await.unwrap_err().into();
    assert_eq!(error.state, Sqlstate::CardinalityViolation);
}
