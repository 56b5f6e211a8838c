//! One test a rule.

use super::units::{Asking, Row, lines, row};
use crate::error::Sqlstate;

/// `n` units of one group, numbered from `from`, each with one row of value 1.
fn units(from: i64, n: i64, a: &'static str, b: i64) -> impl Iterator<Item = Row> {
    (from..from + n).map(move |u| row(u, a, b, 1.0))
}

fn asking(rows: impl IntoIterator<Item = Row>) -> Asking {
    Asking::of(rows.into_iter().collect())
}

#[tokio::test]
async fn a_group_too_small_takes_the_next_smallest_with_it() {
    for one_row in [false, true] {
        let mut ask = asking(units(0, 146, "man", 0).chain(units(1_000, 3, "woman", 0)));
        ask.one_row = one_row;
        assert_eq!(ask.lines("SELECT a, count(*), avg(x) FROM t GROUP BY a").await, Vec::<String>::new());
        let mut ask =
            asking(units(0, 146, "man", 0).chain(units(1_000, 3, "woman", 0)).chain(units(2_000, 20, "x", 0)));
        ask.one_row = one_row;
        assert_eq!(ask.lines("SELECT a, count(*) FROM t GROUP BY a").await, ["man|146"]);
        let mut ask = asking(units(0, 146, "man", 0).chain(units(1_000, 3, "woman", 0)).chain(units(2_000, 7, "x", 0)));
        ask.one_row = one_row;
        assert_eq!(ask.lines("SELECT a, count(*) FROM t GROUP BY a").await, ["man|146"], "3 and 7 are 10 together");
    }
}

#[tokio::test]
async fn units_count_and_rows_do_not() {
    let many = (0..9).flat_map(|u| (0..50).map(move |_| row(u, "a", 0, 1.0)));
    let ask = asking(many.chain(units(100, 30, "b", 0)).chain(units(200, 40, "c", 0)));
    assert_eq!(ask.lines("SELECT a, count(*) FROM t GROUP BY a").await, ["c|40"]);
    // The same units in both small groups: together still 9.
    let twice = (0..9).flat_map(|u| ["a", "b"].map(|a| row(u, a, 0, 1.0)));
    let ask = asking(twice.chain(units(100, 30, "c", 0)).chain(units(200, 40, "d", 0)));
    assert_eq!(ask.lines("SELECT a, count(*) FROM t GROUP BY a").await, ["d|40"]);
}

#[tokio::test]
async fn text_units_are_units() {
    let mut ask = asking(units(0, 10, "a", 0).chain(units(0, 9, "b", 0)).chain(units(50, 12, "c", 0)));
    ask.text_units = true;
    assert_eq!(ask.lines("SELECT a, count(*) FROM t GROUP BY a").await, ["c|12"]);
}

#[tokio::test]
async fn nobody_and_too_few_look_the_same_without_keys() {
    let sql = "SELECT count(*), sum(x), count(distinct b) FROM t";
    for n in [0, 1, 9] {
        let released = asking(units(0, n, "a", 0)).release(sql).await.unwrap();
        assert_eq!(lines(released.batch()), ["-|-|-"]);
    }
    assert_eq!(asking(units(0, 10, "a", 0)).lines(sql).await, ["10|10.0|1"]);
    for n in [0, 9] {
        let ask = asking(units(0, n, "a", 0));
        assert!(ask.lines("SELECT a, count(*) FROM t GROUP BY ROLLUP (a)").await.is_empty());
    }
}

#[tokio::test]
async fn a_measure_needs_k_units_of_its_own() {
    let mut rows: Vec<Row> = units(0, 30, "a", 0).chain(units(100, 30, "b", 0)).collect();
    for r in rows.iter_mut().take(21) {
        r.x = None;
    }
    // 9 have a value in a; b goes too, for a would follow from a total.
    assert_eq!(asking(rows.clone()).lines("SELECT a, count(*), avg(x) FROM t GROUP BY a").await, ["a|30|-", "b|30|-"]);
    rows[20].x = Some(1.0);
    assert_eq!(asking(rows).lines("SELECT a, count(*), avg(x) FROM t GROUP BY a").await, ["a|30|1.0", "b|30|1.0"]);
}

#[tokio::test]
async fn every_part_of_a_condition_holds_k_or_nobody() {
    for one_row in [false, true] {
        let sql = "SELECT count(*), count(*) FILTER (WHERE b = 1) FROM t";
        let mut ask = asking(units(0, 30, "a", 1).chain(units(100, 9, "a", 2)));
        ask.one_row = one_row;
        assert_eq!(ask.lines(sql).await, ["39|-"]);
        ask.rows.extend(units(200, 1, "a", 2));
        assert_eq!(ask.lines(sql).await, ["40|30"]);
        ask.rows[0].b = None;
        assert_eq!(ask.lines(sql).await, ["40|-"], "NULL is a part too");
    }
}

#[tokio::test]
async fn two_measures_are_tested_together() {
    for one_row in [false, true] {
        // b > 1 and b > 2 each leave 10 or more on either side; between them are 2.
        let mut ask = asking(units(0, 20, "a", 1).chain(units(100, 2, "a", 2)).chain(units(200, 20, "a", 3)));
        ask.one_row = one_row;
        let both = "SELECT count(*) FILTER (WHERE b > 1), count(*) FILTER (WHERE b > 2) FROM t";
        assert_eq!(ask.lines("SELECT count(*) FILTER (WHERE b > 1) FROM t").await, ["22"]);
        assert_eq!(ask.lines("SELECT count(*) FILTER (WHERE b > 2) FROM t").await, ["20"]);
        assert_eq!(ask.lines(both).await, ["-|-"]);
    }
}

#[tokio::test]
async fn a_count_that_leaves_out_a_few_is_withheld_and_an_average_is_not() {
    let mut ask = asking(units(0, 30, "a", 0));
    ask.rows[0].x = None;
    assert_eq!(ask.lines("SELECT count(x), sum(x), avg(x) FROM t").await, ["-|-|1.0"]);
}

#[tokio::test]
async fn two_units_may_not_make_up_a_sum() {
    for one_row in [false, true] {
        let mut ask = asking(units(0, 100, "a", 0));
        ask.one_row = one_row;
        ask.rows[3].x = Some(-600.0);
        ask.rows[4].x = Some(300.0);
        assert_eq!(ask.lines("SELECT count(*), sum(x), avg(x) FROM t").await, ["100|-|-"]);
        // 850 of 948 is below 90%: the buckets alone do not clear it.
        ask.rows[4].x = Some(250.0);
        assert_eq!(ask.lines("SELECT count(*), sum(x), avg(x) FROM t").await, ["100|-252.0|-2.52"]);
    }
    // 90 rows of one unit add up.
    let rows = (0..900).map(|_| row(7, "a", 0, 1.0)).chain(units(100, 90, "a", 0));
    assert_eq!(asking(rows).lines("SELECT count(*), sum(x) FROM t").await, ["990|-"]);
    let rows = (0..700).map(|_| row(7, "a", 0, 1.0)).chain(units(100, 90, "a", 0));
    assert_eq!(asking(rows).lines("SELECT a, sum(x) FROM t GROUP BY a").await, ["a|790.0"]);
}

#[tokio::test]
async fn what_is_not_a_number_is_not_shown() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for one_row in [false, true] {
            let mut ask = asking(units(0, 100, "a", 0));
            ask.one_row = one_row;
            ask.rows[3].x = Some(bad);
            assert_eq!(ask.lines("SELECT sum(x), avg(x), var_samp(x) FROM t").await, ["-|-|-"]);
        }
    }
}

#[tokio::test]
async fn moments_need_degrees_of_freedom() {
    let ask = asking((0..10).map(|u| row(u, "a", 0, u as f64)));
    assert_eq!(ask.lines("SELECT var_pop(x), corr(x, b) FROM t").await, ["-|-"]);
    let ask = asking((0..11).map(|u| row(u, "a", u, u as f64)));
    assert_eq!(ask.lines("SELECT var_pop(x), corr(x, b) FROM t").await, ["10.0|-"]);
    let ask = asking((0..12).map(|u| row(u, "a", u, u as f64)));
    assert_eq!(ask.lines("SELECT regr_slope(x, b) FROM t").await, ["1.0"]);
}

#[tokio::test]
async fn quantiles_need_k_on_either_side() {
    for one_row in [false, true] {
        let mut ask = asking((0..100).map(|u| row(u, "a", u % 2, u as f64)));
        ask.one_row = one_row;
        assert_eq!(ask.lines("SELECT median(x) FROM t").await, ["49.5"]);
        assert_eq!(ask.lines("SELECT percentile_cont(0.05) WITHIN GROUP (ORDER BY x) FROM t").await, ["-"]);
        assert_eq!(
            ask.lines("SELECT b, percentile_cont(0.9) WITHIN GROUP (ORDER BY x), median(x) FROM t GROUP BY b").await,
            ["0|-|49.0", "1|-|50.0"]
        );
    }
    // One unit above, with many rows.
    let rows = (0..50).map(|u| row(u, "a", 0, 1.0)).chain((0..200).map(|_| row(99, "a", 0, 5.0)));
    assert_eq!(asking(rows).lines("SELECT median(x) FROM t").await, ["-"]);
}

#[tokio::test]
async fn rollup_keeps_totals_and_hides_what_follows() {
    for one_row in [false, true] {
        let mut ask = asking(
            units(0, 50, "x", 1)
                .chain(units(100, 3, "x", 2))
                .chain(units(200, 40, "y", 1))
                .chain(units(300, 30, "y", 2)),
        );
        ask.one_row = one_row;
        // x|2 is too small, x|1 is the rest of x: both go, and x itself stays.
        assert_eq!(
            ask.lines("SELECT a, b, count(*) FROM t GROUP BY ROLLUP (a, b)").await,
            ["x|-|1|53", "y|1|0|40", "y|2|0|30", "y|-|1|70", "-|-|3|123"]
        );
        assert_eq!(
            ask.lines("SELECT a, b, count(*) FROM t GROUP BY GROUPING SETS ((a), (b))").await,
            ["x|-|1|53", "y|-|1|70", "-|1|2|90", "-|2|2|33"]
        );
    }
}

#[tokio::test]
async fn sets_that_overlap_do_not_give_what_is_in_one_alone() {
    // Every b of x is asked for but NULL, which 2 people have: x less its parts would be them.
    let mut rows: Vec<Row> = units(0, 50, "x", 1).chain(units(200, 40, "y", 2)).collect();
    rows.extend((300..302).map(|u| Row { b: None, ..row(u, "x", 0, 1.0) }));
    rows.extend((400..430).map(|u| Row { b: None, ..row(u, "y", 0, 1.0) }));
    let ask = asking(rows);
    let answer = ask.lines("SELECT a, b, count(*) FROM t GROUP BY GROUPING SETS ((a), (b))").await;
    let has = |line: &str| answer.iter().any(|l| l == line);
    assert!(!(has("x|-|1|52") && has("-|1|2|50")), "{answer:?}");
}

#[tokio::test]
async fn failures_are_one_text() {
    let (ctx, mut unit) = asking(units(0, 30, "a", 0)).unit("SELECT a, count(*) FROM t GROUP BY a").await;
    unit.unit = Some(datafusion::common::Column::from_name("nothing"));
    let error = super::super::release(&ctx.state(), &unit).await.unwrap_err();
    assert_eq!((error.state, error.detail, error.hint), (Sqlstate::BelowBoundary, None, None));
}

#[tokio::test]
async fn memory_is_bounded_by_the_pool() {
    use std::sync::Arc;

    use datafusion::execution::SessionStateBuilder;
    use datafusion::execution::memory_pool::GreedyMemoryPool;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;

    let rows = (0..3_000).map(|u| row(u, "a", u, 1.0));
    let (ctx, unit) =
        asking(rows).unit("SELECT b, count(*), sum(x), count(*) FILTER (WHERE a = 'a') FROM t GROUP BY b").await;
    let limited = |bytes: usize| {
        let runtime =
            RuntimeEnvBuilder::new().with_memory_pool(Arc::new(GreedyMemoryPool::new(bytes))).build_arc().unwrap();
        SessionStateBuilder::new_from_existing(ctx.state()).with_runtime_env(runtime).build()
    };
    let error = super::super::release(&limited(20_000), &unit).await.unwrap_err();
    assert_eq!(
        (error.state, error.message.as_str()),
        (Sqlstate::BelowBoundary, "the query could not be computed on protected data")
    );
    assert_eq!(super::super::release(&limited(200_000_000), &unit).await.unwrap().batch().num_rows(), 0);
}

#[tokio::test]
async fn every_measure_may_be_null_in_the_answer() {
    let released = asking(units(0, 10, "a", 0)).release("SELECT a, count(*) FROM t GROUP BY a").await.unwrap();
    assert!(released.batch().schema().field(1).is_nullable());
}
