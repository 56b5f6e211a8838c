//! Rows made to break expressions: below the boundary none does, and outside of it each does (or answers otherwise).

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampNanosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{Aggregate, LogicalPlan};
use datafusion::prelude::SessionContext;
use kanon_planner::release_unit::ReleaseUnit;

use crate::world::{context, unit};

fn poisoned() -> SessionContext {
    let ctx = context();
    let days = vec![Some(0), Some(i32::MAX), Some(i32::MIN), None, Some(1), Some(2)];
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("pid", Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5, 6]))),
        ("ssn", Arc::new(StringArray::from(vec!["a"; 6]))),
        (
            "sex",
            Arc::new(StringArray::from(vec![
                Some("1"),
                Some("x"),
                Some(""),
                None,
                Some("2020-02-30"),
                Some("99999999999999999999"),
            ])),
        ),
        ("age", Arc::new(Int32Array::from(vec![Some(0), Some(i32::MAX), Some(i32::MIN), None, Some(-1), Some(7)]))),
        (
            "weight",
            Arc::new(Float64Array::from(vec![
                Some(0.0),
                Some(-0.0),
                Some(f64::NAN),
                Some(f64::INFINITY),
                None,
                Some(1e300),
            ])),
        ),
        (
            "bill",
            Arc::new(
                Decimal128Array::from(vec![Some(0), Some(9_999_999_999), Some(-9_999_999_999), None, Some(1), Some(2)])
                    .with_precision_and_scale(10, 2)
                    .unwrap(),
            ),
        ),
        ("born", Arc::new(Date32Array::from(days))),
        ("smoker", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, None, None, None]))),
        ("region", Arc::new(Int32Array::from(vec![0; 6]))),
        ("chol", Arc::new(Float64Array::from(vec![0.0; 6]))),
        ("big", Arc::new(Int64Array::from(vec![Some(i64::MAX), Some(i64::MIN), Some(0), None, Some(-1), Some(1)]))),
        (
            "seen",
            Arc::new(TimestampNanosecondArray::from(vec![
                Some(i64::MAX),
                Some(i64::MIN),
                Some(0),
                None,
                Some(-1),
                Some(1),
            ])),
        ),
    ];
    let fields: Vec<Field> = columns.iter().map(|(n, a)| Field::new(*n, a.data_type().clone(), true)).collect();
    assert_eq!(fields[11].data_type(), &DataType::Timestamp(TimeUnit::Nanosecond, None));
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns.into_iter().map(|(_, a)| a).collect()).unwrap();
    ctx.deregister_table("patients").unwrap();
    ctx.register_table("patients", Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap())).unwrap();
    ctx
}

fn plain(unit: &ReleaseUnit) -> LogicalPlan {
    let measures =
        unit.measures.iter().enumerate().map(|(i, m)| m.aggregate.clone().alias(format!("__m{i}"))).collect();
    LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(unit.input.clone()), unit.keys.clone(), measures).unwrap())
}

const EXPRESSIONS: &[&str] = &[
    "1 / age",
    "age % 0",
    "age / (age - age)",
    "big + 1",
    "big * 2",
    "big - 1",
    "big * big",
    "-big",
    "-age",
    "abs(big)",
    "abs(age)",
    "big / age",
    "big % -1",
    "big / -1",
    "weight / weight",
    "1.0 / weight",
    "weight % 0",
    "bill * bill",
    "bill / bill",
    "bill + 1",
    "bill % 0",
    "-bill",
    "power(big, 9)",
    "power(weight, 99)",
    "factorial(age)",
    "gcd(big, age)",
    "lcm(big, big - 1)",
    "round(weight, age)",
    "trunc(weight, age)",
    "CAST(sex AS int)",
    "CAST(sex AS date)",
    "CAST(sex AS timestamp)",
    "CAST(big AS int)",
    "CAST(weight AS bigint)",
    "CAST(weight AS int)",
    "CAST(age AS smallint)",
    "CAST(big AS decimal(5, 2))",
    "CAST(bill AS decimal(4, 2))",
    "CAST(weight AS decimal(10, 2))",
    "CAST(sex AS boolean)",
    "CAST(sex AS double)",
    "CAST(born AS timestamp)",
    "CAST(seen AS date)",
    "CAST(sex AS interval)",
    "CAST(big AS timestamp)",
    "CAST(seen AS bigint)",
    "born + INTERVAL '1 day'",
    "born + INTERVAL '200000 years'",
    "born - INTERVAL '1 month'",
    "seen + INTERVAL '1 day'",
    "seen - seen",
    "seen - INTERVAL '100 years'",
    "born - DATE '2000-01-01'",
    "date_trunc('month', seen)",
    "date_trunc('year', born)",
    "date_bin(INTERVAL '1 hour', seen)",
    "date_part('year', seen)",
    "date_part('year', born)",
    "date_part('epoch', born)",
    "make_date(age, age, age)",
    "to_date(sex)",
    "to_timestamp(sex)",
    "to_timestamp(big)",
    "to_timestamp_seconds(big)",
    "to_char(seen, '%Y')",
    "to_char(born, '%Y-%m')",
    "from_unixtime(big)",
    "to_unixtime(sex)",
    "to_hex(big)",
    "chr(big)",
    "substr(sex, age)",
    "substr(sex, 1, age)",
    "left(sex, big)",
    "right(sex, big)",
    "split_part(sex, '', age)",
    "split_part(sex, '-', big)",
    "lpad(sex, 10)",
    "rpad(sex, 3, '')",
    "replace(sex, '', 'x')",
    "translate(sex, 'x', '')",
    "overlay(sex PLACING 'q' FROM age)",
    "strpos(sex, '')",
    "ascii(sex)",
    "initcap(sex)",
    "levenshtein(sex, 'x')",
    "find_in_set(sex, '1,2')",
    "substr_index(sex, '-', big)",
    "regexp_replace(sex, '([0-9]+)', 'n')",
    "regexp_like(sex, '^[0-9]')",
    "regexp_count(sex, '9')",
    "sex ~ '9'",
    "sex LIKE '%9_'",
    "sex SIMILAR TO '9+'",
    "sex || age",
    "concat(sex, age)",
    "ln(weight)",
    "ln(age)",
    "sqrt(weight)",
    "sqrt(age)",
    "log(weight, age)",
    "log10(age)",
    "exp(weight)",
    "acos(weight)",
    "atan2(weight, age)",
    "cot(weight)",
    "degrees(weight)",
    "floor(weight)",
    "ceil(weight)",
    "signum(weight)",
    "nanvl(weight, 1)",
    "isnan(weight)",
    "nullif(age, 7)",
    "greatest(age, big)",
    "coalesce(age, 1)",
    "age & 3",
    "CASE WHEN age <> 0 THEN 1 / age END",
    "sex IN ('x', '1')",
    "age BETWEEN 1 AND big",
    "age IS DISTINCT FROM 7",
    "upper(sex)",
    "nvl2(sex, 1, 2)",
    "make_time(age, age, age)",
    "to_time(sex)",
];

#[tokio::test]
async fn no_row_makes_an_expression_fail() {
    let ctx = poisoned();
    let mut failed_plain = 0;
    let mut broken = vec![];
    for expression in EXPRESSIONS {
        for sql in [
            format!("SELECT {expression} AS k, count(*) FROM patients GROUP BY 1"),
            format!("SELECT count({expression}) FROM patients WHERE ({expression}) IS NOT NULL"),
        ] {
            let unit = unit(&ctx, &sql).await;
            let below = match ctx.execute_logical_plan(plain(&unit)).await {
                Ok(frame) => frame.collect().await,
                Err(e) => Err(e),
            };
            if let Err(e) = below {
                broken.push(format!("{sql}: {e}"));
            }
        }
        let outside = match ctx.sql(&format!("SELECT {expression} FROM patients")).await {
            Ok(frame) => frame.collect().await.is_err(),
            Err(_) => true,
        };
        failed_plain += usize::from(outside);
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(failed_plain > 15, "the rows do break plain expressions: {failed_plain}");
}

#[tokio::test]
async fn a_number_that_does_not_fit_is_null_and_not_another_number() {
    let ctx = poisoned();
    let unit = unit(&ctx, "SELECT count(big + 1), count(*) FROM patients").await;
    let batches = ctx.execute_logical_plan(plain(&unit)).await.unwrap().collect().await.unwrap();
    let count = batches[0].column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(0);
    assert_eq!(count, 4, "five are not NULL, and one of them overflows");
}
