//! Random tables: the release against the oracle.

use datafusion::arrow::array::AsArray;
use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::oracle::{Ask, What, answer};
use super::units::{Asking, Row};

pub(super) const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

pub(super) fn table(random: &mut StdRng) -> Asking {
    let k = random.random_range(2..7);
    let one_row = random.random_bool(0.5);
    let units = random.random_range(4..80);
    let rows = if one_row { units } else { units * 3 };
    let heavy = random.random_bool(0.3);
    let nulls = if random.random_bool(0.5) { 0.0 } else { 0.25 };
    let rows = (0..rows)
        .map(|n| {
            let unit = if one_row { n } else { random.random_range(0..units) };
            let key = random.random_range(0..5).min(random.random_range(0..5));
            let x =
                f64::from(random.random_range(-20..60)) * if heavy && random.random_bool(0.05) { 1_000.0 } else { 1.0 };
            Row {
                unit,
                a: (!random.random_bool(nulls / 3.0)).then_some(KEYS[key]),
                b: (!random.random_bool(nulls)).then(|| random.random_range(0..4)),
                x: (!random.random_bool(nulls)).then_some(x),
            }
        })
        .collect();
    Asking { rows, k, one_row, text_units: random.random_bool(0.2), decided: random.random_bool(0.5) }
}

fn asks(random: &mut StdRng) -> Vec<Ask> {
    let all = [What::CountRows, What::CountX, What::CountDistinctB, What::SumX, What::AvgX, What::VarX, What::MedianX];
    let mut asks: Vec<Ask> = (0..random.random_range(1..4))
        .map(|_| Ask {
            what: all[random.random_range(0..all.len())],
            above: random.random_bool(0.3).then(|| random.random_range(0..3)),
        })
        .collect();
    asks.sort_by_key(|a| a.sql());
    asks.dedup_by_key(|a| a.sql());
    asks
}

fn numbers(batch: &RecordBatch, from: usize) -> Vec<Vec<Option<f64>>> {
    let columns: Vec<_> = batch.columns()[from..].iter().map(|c| cast(c, &DataType::Float64).unwrap()).collect();
    (0..batch.num_rows())
        .map(|row| {
            columns
                .iter()
                .map(|c| c.as_primitive::<Float64Type>())
                .map(|c| c.is_valid(row).then(|| c.value(row)))
                .collect()
        })
        .collect()
}

pub(super) fn agrees(got: &[Vec<Option<f64>>], expected: &[Vec<Option<f64>>]) -> bool {
    got.len() == expected.len()
        && got.iter().flatten().zip(expected.iter().flatten()).all(|(g, e)| match (g, e) {
            (None, None) => true,
            (Some(g), Some(e)) => (g - e).abs() <= 1e-9 * e.abs().max(1.0),
            _ => false,
        })
}

#[tokio::test]
async fn the_release_is_what_the_oracle_says() {
    let mut random = StdRng::seed_from_u64(3);
    let (mut rows, mut values, mut nulls) = (0, 0, 0);
    for round in 0..250 {
        let ask = table(&mut random);
        let asks = asks(&mut random);
        let list = asks.iter().map(|a| a.sql()).collect::<Vec<_>>().join(", ");
        let k = usize::try_from(ask.k).unwrap();
        let (sql, keys, expected) = match random.random_range(0..3) {
            0 => {
                let expected = answer(&ask.rows, |r| (r.a.is_none(), r.a), &asks, k);
                (
                    format!("SELECT a, {list} FROM t GROUP BY a"),
                    1,
                    expected.into_iter().map(|(_, v)| v).collect::<Vec<_>>(),
                )
            }
            1 => {
                let expected = answer(&ask.rows, |r| (r.b.is_none(), r.b, r.a.is_none(), r.a), &asks, k);
                (format!("SELECT b, a, {list} FROM t GROUP BY b, a"), 2, expected.into_iter().map(|(_, v)| v).collect())
            }
            _ => {
                let mut expected: Vec<_> = answer(&ask.rows, |_| (), &asks, k).into_iter().map(|(_, v)| v).collect();
                if expected.is_empty() {
                    expected.push(vec![None; asks.len()]);
                }
                (format!("SELECT {list} FROM t"), 0, expected)
            }
        };
        let released = ask.release(&sql).await.unwrap();
        let got = numbers(released.batch(), keys);
        assert!(
            agrees(&got, &expected),
            "round {round}: {sql}\nk {k}, one row {}\ngot      {got:?}\nexpected {expected:?}\n{:?}",
            ask.one_row,
            ask.rows
        );
        rows += got.len();
        values += got.iter().flatten().filter(|v| v.is_some()).count();
        nulls += got.iter().flatten().filter(|v| v.is_none()).count();
    }
    assert!(rows > 300 && values > 200 && nulls > 100, "{rows} rows, {values} values, {nulls} NULLs");
}
