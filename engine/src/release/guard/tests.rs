//! However rows are split, skipped past the first stage, or emitted early, a guard says the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use kanon_privacy::policy::MinCohort;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::parts::Parts;
use super::tally::{Groups, Tally};
use super::{cohorts, weights};

type Make = fn(MinCohort) -> Box<dyn Tally>;

fn kinds() -> Vec<(&'static str, Make, Vec<usize>)> {
    // The columns that each takes: 0 unit, 1 and 2 conditions, 3 text condition, 4 x.
    vec![
        ("cohort", |k| Box::new(cohorts::Cohorts::new(k)), vec![0]),
        (
            "parts of units",
            |k| Box::new(Parts::new(k, &[DataType::Boolean, DataType::Boolean], true).unwrap()),
            vec![0, 1, 2],
        ),
        (
            "text parts of units",
            |k| Box::new(Parts::new(k, &[DataType::Boolean, DataType::Utf8], true).unwrap()),
            vec![0, 1, 3],
        ),
        (
            "parts of rows",
            |k| Box::new(Parts::new(k, &[DataType::Boolean, DataType::Boolean], false).unwrap()),
            vec![1, 2],
        ),
        ("weights of units", |k| Box::new(weights::WeightsOfUnits::new(k)), vec![0, 4]),
        ("weights of rows", |_| Box::new(weights::WeightsOfRows::new()), vec![4]),
    ]
}

fn columns(random: &mut StdRng, rows: usize) -> Vec<ArrayRef> {
    let mut some = |p: f64| random.random_bool(p);
    let nulls: Vec<bool> = (0..rows).map(|_| some(0.9)).collect();
    let flag = |random: &mut StdRng| -> ArrayRef {
        Arc::new(BooleanArray::from_iter((0..rows).map(|_| random.random_bool(0.9).then(|| random.random_bool(0.5)))))
    };
    vec![
        Arc::new(Int64Array::from_iter(nulls.iter().map(|n| n.then(|| random.random_range(0..60))))),
        flag(random),
        flag(random),
        Arc::new(StringArray::from_iter(
            (0..rows).map(|_| random.random_bool(0.9).then(|| ["a", "b", "cc"][random.random_range(0..3)])),
        )),
        // Whole numbers: their sums do not depend on the order.
        Arc::new(Float64Array::from_iter(
            (0..rows).map(|_| random.random_bool(0.9).then(|| f64::from(random.random_range(-9..9)))),
        )),
    ]
}

/// Bytes by group, with the parts in one order.
fn said(name: &str, array: &ArrayRef, k: MinCohort) -> Vec<String> {
    let states = array.as_binary::<i64>();
    (0..states.len())
        .map(|g| {
            let state = states.value(g);
            match name {
                "cohort" => format!("{:?}", super::read_cohort(state, k).unwrap()),
                // Rows are few here: nothing is in buckets unless there are more than 32 units.
                "weights of units" => format!("{:?}", super::read_unit_weights(state).unwrap()),
                "weights of rows" => format!("{:?}", super::read_row_weights(state).unwrap()),
                _ => {
                    let parts = super::read_parts(state, k, name.ends_with("units")).unwrap();
                    let mut parts: Vec<String> = parts.unwrap().into_iter().map(|p| format!("{p:?}")).collect();
                    parts.sort();
                    format!("{parts:?}")
                }
            }
        })
        .collect()
}

#[test]
fn however_it_is_split() {
    let mut random = StdRng::seed_from_u64(1);
    for round in 0..60 {
        let k = MinCohort::try_from(random.random_range(2..12)).unwrap();
        let rows = random.random_range(1..400);
        let table = columns(&mut random, rows);
        let groups: Vec<usize> = (0..rows).map(|_| random.random_range(0..4)).collect();
        let filter =
            random.random_bool(0.5).then(|| BooleanArray::from_iter((0..rows).map(|_| Some(random.random_bool(0.7)))));
        for (name, make, wanted) in kinds() {
            let values: Vec<ArrayRef> = wanted.iter().map(|c| Arc::clone(&table[*c])).collect();
            let mut whole = Groups::new(make(k));
            whole.update_batch(&values, &groups, filter.as_ref(), 4).unwrap();
            let expected = said(name, &whole.evaluate(EmitTo::All).unwrap(), k);

            let mut merged = Groups::new(make(k));
            let mut at = 0;
            while at < rows {
                let n = random.random_range(1..120).min(rows - at);
                let piece: Vec<ArrayRef> = values.iter().map(|v| v.slice(at, n)).collect();
                let filter = filter.as_ref().map(|f| f.slice(at, n));
                if random.random_bool(0.5) {
                    let each = Groups::new(make(k));
                    let states = each.convert_to_state(&piece, filter.as_ref()).unwrap();
                    merged.merge_batch(&states, &groups[at..at + n], 4).unwrap();
                } else {
                    let mut part = Groups::new(make(k));
                    part.update_batch(&piece, &groups[at..at + n], filter.as_ref(), 4).unwrap();
                    let first = part.state(EmitTo::First(2)).unwrap();
                    let rest = part.state(EmitTo::All).unwrap();
                    merged.merge_batch(&first, &[0, 1], 4).unwrap();
                    merged.merge_batch(&rest, &[2, 3], 4).unwrap();
                }
                at += n;
            }
            assert_eq!(said(name, &merged.evaluate(EmitTo::All).unwrap(), k), expected, "round {round}: {name}");
        }
    }
}

#[test]
fn too_many_parts_are_given_up() {
    let k = MinCohort::try_from(2).unwrap();
    let n = i64::try_from(kanon_privacy::rules::MAX_PARTS).unwrap();
    for more in [0, 1] {
        let mut groups = Groups::new(Box::new(Parts::new(k, &[DataType::Int64], false).unwrap()));
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..n + more));
        groups.update_batch(&[values], &vec![0; usize::try_from(n + more).unwrap()], None, 1).unwrap();
        let out = groups.evaluate(EmitTo::All).unwrap();
        let parts = super::read_parts(out.as_binary::<i64>().value(0), k, false).unwrap();
        assert_eq!(parts.is_none(), more == 1);
    }
}

#[test]
fn states_that_nobody_wrote_are_refused() {
    let k = MinCohort::try_from(2).unwrap();
    for bytes in [&[][..], &[1, 2, 3], &[5, 0, 0, 0, 1], &[9; 40]] {
        assert!(super::read_cohort(bytes, k).is_err());
        assert!(super::read_unit_weights(bytes).is_err());
        assert!(super::read_row_weights(bytes).is_err());
    }
    assert!(super::read_parts(&[], k, true).is_err());
    assert!(super::read_parts(&[0, 9, 0, 0, 0, 1], k, true).is_err());
}
