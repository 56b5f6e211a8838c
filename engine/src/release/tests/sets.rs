//! Grouping sets: what is released is true, and nothing withheld follows from it, solved for by dense elimination.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::oracle::{Ask, What, could_be_known};
use super::random::{KEYS, agrees, table};
use super::units::Row;

const P: u64 = 998_244_353;

type Key = (Option<&'static str>, Option<i64>);

/// The cell of a row in a grouping set: bit 1 leaves `a` out, bit 0 leaves `b` out.
fn cell(row: &Row, id: u64) -> (u64, Key) {
    (id & 3, (if id & 2 == 0 { row.a } else { None }, if id & 1 == 0 { row.b } else { None }))
}

fn follows(known: &[Vec<u64>], wanted: &[u64]) -> bool {
    let mut basis: Vec<Vec<u64>> = Vec::new();
    let reduce = |basis: &[Vec<u64>], mut v: Vec<u64>| {
        for row in basis {
            let pivot = row.iter().position(|x| *x != 0).unwrap();
            let factor = v[pivot];
            v.iter_mut().zip(row).for_each(|(x, r)| *x = (*x + P * P - factor * r % P) % P);
        }
        v
    };
    for v in known {
        let v = reduce(&basis, v.clone());
        if let Some(pivot) = v.iter().position(|x| *x != 0) {
            let (mut inverse, mut square, mut exponent) = (1, v[pivot], P - 2);
            while exponent > 0 {
                if exponent & 1 == 1 {
                    inverse = inverse * square % P;
                }
                square = square * square % P;
                exponent >>= 1;
            }
            basis.push(v.iter().map(|x| x * inverse % P).collect());
        }
    }
    reduce(&basis, wanted.to_vec()).iter().all(|x| *x == 0)
}

#[tokio::test]
async fn nothing_withheld_follows_in_a_thousand_answers_over_grouping_sets() {
    let mut random = StdRng::seed_from_u64(5);
    let shapes: [(&str, &[u64]); 5] = [
        ("ROLLUP (a, b)", &[0, 1, 3]),
        ("CUBE (a, b)", &[0, 1, 2, 3]),
        ("GROUPING SETS ((a), (b))", &[1, 2]),
        ("GROUPING SETS ((a), (b), ())", &[1, 2, 3]),
        ("GROUPING SETS ((a, b), (a), (a))", &[0, 1]),
    ];
    let asks = [
        Ask { what: What::CountRows, above: None },
        Ask { what: What::SumX, above: None },
        Ask { what: What::CountRows, above: Some(1) },
    ];
    let list = asks.map(Ask::sql).join(", ");
    let (mut seen, mut hidden, mut naive) = (0, 0, 0);
    for round in 0..1_000 {
        let ask = table(&mut random);
        let k = usize::try_from(ask.k).unwrap();
        let (shape, ids) = shapes[round % shapes.len()];
        let sql = format!("SELECT a, b, {list} FROM t GROUP BY {shape}");
        let released = ask.release(&sql).await.unwrap();
        let batch = released.batch();
        let id_column = batch.schema().index_of("__grouping_id").unwrap();
        let id = cast(batch.column(id_column), &DataType::UInt64).unwrap();
        let column = |name: &str| batch.column(batch.schema().index_of(name).unwrap()).clone();
        let (a, b) = (cast(&column("a"), &DataType::Utf8).unwrap(), column("b"));

        let mut truth: BTreeMap<(u64, Key), Vec<&Row>> = BTreeMap::new();
        for row in &ask.rows {
            for id in ids {
                truth.entry(cell(row, *id)).or_default().push(row);
            }
        }
        let atoms: BTreeSet<(u64, Key)> = ask.rows.iter().map(|r| cell(r, 0)).collect();
        let vector = |rows: &[&Row]| -> Vec<u64> {
            let mine: BTreeSet<_> = rows.iter().map(|r| cell(r, 0)).collect();
            atoms.iter().map(|a| u64::from(mine.contains(a))).collect()
        };
        let all: Vec<&Row> = ask.rows.iter().collect();

        for (index, what) in asks.iter().enumerate() {
            let values = cast(batch.column(id_column + 1 + index), &DataType::Float64).unwrap();
            let values = values.as_primitive::<Float64Type>();
            let mut shown: BTreeSet<(u64, Key)> = BTreeSet::new();
            for row in 0..batch.num_rows() {
                let key = (
                    a.is_valid(row).then(|| *KEYS.iter().find(|k| **k == a.as_string::<i32>().value(row)).unwrap()),
                    b.is_valid(row).then(|| b.as_primitive::<Int64Type>().value(row)),
                );
                let place = (id.as_primitive::<UInt64Type>().value(row) & 3, key);
                let rows = &truth[&place];
                assert!(rows.iter().map(|r| r.unit).collect::<BTreeSet<_>>().len() >= k, "round {round}: {place:?}");
                if values.is_valid(row) {
                    let asked = what.value(rows);
                    assert!(agrees(&[vec![Some(values.value(row))]], &[vec![asked]]), "round {round}: {place:?}");
                    assert!(could_be_known(*what, &asks, rows, k), "round {round}: {place:?}");
                    shown.insert(place);
                }
            }
            let mut known: Vec<Vec<u64>> = shown.iter().map(|place| vector(&truth[place])).collect();
            if could_be_known(*what, &asks, &all, k) {
                known.push(vec![1; atoms.len()]);
            }
            for (place, rows) in truth.iter().filter(|(place, _)| !shown.contains(place)) {
                let v = vector(rows);
                if v.iter().all(|x| *x == 1) {
                    continue;
                }
                hidden += 1;
                assert!(!follows(&known, &v), "round {round}: {sql} (k {k}): {what:?} of {place:?} follows");
            }
            // The negative control: rule 1 alone.
            let alone: Vec<Vec<u64>> =
                truth.values().filter(|rows| could_be_known(*what, &asks, rows, k)).map(|rows| vector(rows)).collect();
            naive += truth
                .values()
                .filter(|rows| !could_be_known(*what, &asks, rows, k) && follows(&alone, &vector(rows)))
                .count();
            seen += shown.len();
        }
    }
    assert!(seen > 1_500 && hidden > 1_500 && naive > 250, "{seen} shown, {hidden} withheld, {naive} without rule 2");
}
