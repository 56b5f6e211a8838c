//! Odd values and wrong policies.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};

use crate::files::parquet;
use crate::{lives, node, refused};

#[tokio::test(flavor = "multi_thread")]
async fn policies_that_cannot_be() {
    let csv: String =
        std::iter::once("id,nobody,n\n".to_owned()).chain((0..50).map(|i| format!("{i},,{i}\n"))).collect();
    let (federation, admin) =
        node(vec![("t.csv", csv.into_bytes())], &["CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{dir}/t.csv'"])
            .await;
    for (set, code, part) in [
        ("access = 'cohort', unit = 'id', min_cohort = 1", "22023", "at least 2"),
        ("access = 'cohort', unit = 'id', min_cohort = 0", "22023", "at least 2"),
        ("access = 'cohort', unit = 'id', min_cohort = -5", "22023", "at least 2"),
        ("access = 'cohort', unit = 'id', min_cohort = 'ten'", "22023", "whole number"),
        ("access = 'cohort', unit = 'idd', min_cohort = 10", "42703", "Did you mean \\\"id\\\"?"),
        ("access = 'cohort', unit = 'nobody', min_cohort = 10", "22023", "names no one"),
        ("access = 'cohort', min_cohort = 10", "22023", "needs a unit"),
        ("access = 'public'", "22023", "access cannot be"),
        ("acess = 'open'", "42704", "Did you mean \\\"access\\\"?"),
        ("access = 'cohort', unit = 'id', dominance_percent = 0", "22023", "between 51 and 100"),
    ] {
        refused(&admin, &format!("ALTER TABLE t SET ({set})"), code, part).await;
        refused(&admin, "SELECT count(*) FROM t", "42501", "policy").await;
    }
    admin.ask("ALTER TABLE t SET (access = 'cohort', unit = 'id', min_cohort = 10)").await.unwrap();
    assert_eq!(admin.ask("SELECT count(*) FROM t").await.unwrap().lines(), ["50"]);
    refused(&admin, "ALTER TABLE t SET (min_cohort = 1)", "22023", "at least 2").await;
    refused(&admin, "ALTER TABLE t RESET (unit)", "22023", "needs a unit").await;
    assert_eq!(admin.ask("SELECT min_cohort FROM kanon.policies").await.unwrap().lines(), ["10"]);
    // Its people vanish from the file: nobody is left to count, and no error tells it apart.
    std::fs::write(federation.sites[0].dir.join("t.csv"), "id,nobody,n\n,,1\n,,2\n").unwrap();
    assert!(matches!(admin.ask("SELECT count(*), sum(n) FROM t").await.unwrap().lines().as_slice(), [_]));
    lives(&federation, &admin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_and_dates_at_their_ends() {
    let n = 40;
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE, -0.0];
    let floats = (0..n).map(|i| odd.get(i).copied().unwrap_or(i as f64));
    let largest: i128 = 10i128.pow(38) - 1;
    let decimals = Decimal128Array::from_iter_values((0..n).map(|i| if i % 2 == 0 { largest } else { largest - 1 }))
        .with_precision_and_scale(38, 0)
        .unwrap();
    let dates = (0..n).map(|i| [i32::MAX, i32::MIN, 0, -719_162].get(i).copied().unwrap_or(18_000));
    let times = (0..n).map(|i| [i64::MAX, i64::MIN, 0].get(i).copied().unwrap_or(1_600_000_000_000_000));
    let big = (0..n).map(|i| if i % 2 == 0 { i64::MAX } else { i64::MAX - 1 });
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..n as i64))),
        ("f", Arc::new(Float64Array::from_iter_values(floats))),
        ("m", Arc::new(decimals)),
        ("d", Arc::new(Date32Array::from_iter_values(dates))),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(times))),
        ("b", Arc::new(Int64Array::from_iter_values(big))),
        ("s", Arc::new(StringArray::from_iter_values((0..n).map(|i| if i % 2 == 0 { "a\0b" } else { "💉" })))),
    ];
    let (federation, admin) = node(
        vec![("t.parquet", parquet(columns))],
        &[
            "CREATE EXTERNAL TABLE o STORED AS PARQUET LOCATION '{dir}/t.parquet'",
            "CREATE EXTERNAL TABLE c STORED AS PARQUET LOCATION '{dir}/t.parquet'",
            "ALTER TABLE o SET (access = 'open')",
            "ALTER TABLE c SET (access = 'cohort', unit = 'id', min_cohort = 5)",
        ],
    )
    .await;
    let lines = async |sql: &str| admin.ask(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")).lines();
    assert_eq!(lines("SELECT f FROM o WHERE id < 3 ORDER BY id").await, ["NaN", "Infinity", "-Infinity"]);
    assert_eq!(lines("SELECT m FROM o WHERE id = 0").await, ["9".repeat(38)]);
    assert_eq!(lines("SELECT b FROM o WHERE id = 0").await, ["9223372036854775807"]);
    assert_eq!(lines("SELECT d FROM o WHERE id = 2").await, ["1970-01-01"]);
    // Whatever is asked of them: an answer, or PostgreSQL's error for it; never a broken connection, never XX000.
    for select in [
        "sum(f)",
        "avg(f)",
        "stddev(f)",
        "sum(m)",
        "avg(m)",
        "sum(b)",
        "avg(b)",
        "max(d)",
        "min(at)",
        "count(distinct d)",
        "count(distinct at)",
        "count(distinct s)",
        "median(f)",
        "approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY f)",
        "corr(f, b)",
        "sum(b * 2)",
        "sum(m * m)",
        "avg(extract(year from d))",
        "sum(CASE WHEN f > 0 THEN 1 ELSE 0 END)",
        "count(*) FILTER (WHERE d > '2000-01-01')",
        "avg(b::double precision)",
        "sum(f / 0)",
        "sum(b / (id - id))",
        "avg(date_part('year', at))",
    ] {
        for table in ["o", "c"] {
            let sql = format!("SELECT {select} FROM {table}");
            if let Err(error) = admin.ask(&sql).await {
                assert!(
                    matches!(error.code.as_str(), "22000" | "22003" | "22008" | "22012" | "42501" | "0A000" | "38000"),
                    "{sql}: {error:?}"
                );
            }
        }
    }
    for sql in ["SELECT * FROM o", "SELECT d, at FROM o", "SELECT date_trunc('month', d), count(*) FROM o GROUP BY 1"] {
        if let Err(error) = admin.ask(sql).await {
            assert!(matches!(error.code.as_str(), "22008" | "22003" | "22021" | "22000"), "{sql}: {error:?}");
        }
    }
    // Four dates of one person each are fewer than k together: the fifth date goes with them.
    assert!(lines("SELECT d, count(*) FROM c GROUP BY d ORDER BY 1").await.is_empty());
    assert_eq!(lines("SELECT s, count(*) FROM c GROUP BY s ORDER BY 1").await.len(), 2);
    lives(&federation, &admin).await;
}
