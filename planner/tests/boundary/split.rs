//! What sites are asked, word for word, and how their answers are merged.

use std::fmt::Write as _;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Int64Type, Schema};
use kanon_planner::facts::{Placement, SiteId};
use kanon_planner::merge::{MergeError, merge};
use kanon_planner::private::part_noise::NOISE_KEY;
use kanon_planner::release_unit::{Decision, ReleaseUnit};
use kanon_planner::split::{Split, rounds, split};

use crate::golden::{against, queries};
use crate::world::{World, context, decided};

/// Keys as sites could have selected them.
fn selected(unit: &ReleaseUnit) -> RecordBatch {
    let types = unit.schema.fields().iter().take(unit.keys.len()).map(|field| field.data_type().clone());
    let column = |of_type: DataType| -> ArrayRef {
        match of_type {
            DataType::Int32 => Arc::new(Int32Array::from(vec![Some(3), None])),
            DataType::Boolean => Arc::new(BooleanArray::from(vec![true, false])),
            other => panic!("no key of {other}"),
        }
    };
    let columns: Vec<ArrayRef> = types.map(column).collect();
    RecordBatch::try_from_iter(columns.into_iter().enumerate().map(|(i, c)| (format!("k{i}"), c))).unwrap()
}

fn told(text: &mut String, unit: &ReleaseUnit, ctx: &datafusion::prelude::SessionContext) {
    if rounds::are_needed(unit, &World) == Ok(true) {
        text.push_str("first, ");
        told_once(text, &rounds::keys(unit).unwrap(), ctx);
        text.push_str("then, ");
        return told_once(text, &rounds::with_keys(unit, &selected(unit)).unwrap(), ctx);
    }
    told_once(text, unit, ctx);
}

fn told_once(text: &mut String, unit: &ReleaseUnit, ctx: &datafusion::prelude::SessionContext) {
    let Placement::Sites { sites, .. } = &unit.placement else { panic!("not federated") };
    match split(unit, sites, &World, &ctx.state()) {
        Ok(Split { subplans, layout }) => {
            let mut by_text: Vec<(Vec<&SiteId>, &str)> = Vec::new();
            for subplan in &subplans {
                match by_text.iter_mut().find(|(_, sql)| *sql == subplan.sql) {
                    Some((sites, _)) => sites.push(&subplan.site),
                    None => by_text.push((vec![&subplan.site], &subplan.sql)),
                }
            }
            if by_text.is_empty() {
                let _ = writeln!(text, "nobody is asked");
            }
            for (sites, sql) in by_text {
                let sites: Vec<&str> = sites.iter().map(|s| s.as_str()).collect();
                let _ = writeln!(text, "{}: {sql}", sites.join(", "));
            }
            let measures: Vec<String> = layout.measures.iter().map(|m| format!("{m:?}")).collect();
            let _ = writeln!(text, "merged: {}", measures.join(", "));
        }
        Err(refusal) => {
            let _ = writeln!(text, "0A000 {}", refusal.message);
            refusal.hint.iter().for_each(|hint| {
                let _ = writeln!(text, "HINT {hint}");
            });
        }
    }
}

#[tokio::test]
async fn subplans() {
    let ctx = context();
    let mut text = String::new();
    for sql in queries(include_str!("split.sql")) {
        let _ = writeln!(text, "> {sql}");
        match decided(&ctx, sql).await {
            Ok(Decision::Release { units, .. }) => units.iter().for_each(|unit| told(&mut text, unit, &ctx)),
            Ok(Decision::Open(_)) => {
                let _ = writeln!(text, "rows are read");
            }
            Err(refusal) => {
                let _ = writeln!(text, "refused: {}", refusal.message);
            }
        }
        text.push('\n');
    }
    against("split", &text);
}

/// Two sites' answers to a count, with what they say of the noise, merged: the count, the ends of its interval, and how many sites it is of.
async fn merged(noise: &str, counts: [&[i64]; 2]) -> Result<Vec<Option<i64>>, MergeError> {
    let ctx = context();
    let unit = match decided(&ctx, "SELECT count(*) FROM fed_secret").await {
        Ok(Decision::Release { units, .. }) => Arc::clone(&units[0]),
        other => panic!("{other:?}"),
    };
    let Placement::Sites { sites, .. } = &unit.placement else { panic!("not federated") };
    let layout = split(&unit, sites, &World, &ctx.state()).unwrap().layout;
    let told = [(NOISE_KEY.to_owned(), noise.to_owned())].into();
    let schema = Arc::new(Schema::new(vec![layout.answer_schema().field(0).clone().with_metadata(told)]));
    let answers = sites.iter().zip(counts).map(|(site, counts)| {
        let column: ArrayRef = Arc::new(Int64Array::from(counts.to_vec()));
        (site.clone(), RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap())
    });
    let batch = merge(&unit, &layout, answers.collect())?;
    assert_eq!(batch.num_rows(), 1);
    let cell = |column: &ArrayRef| column.as_primitive::<Int64Type>().iter().next().flatten();
    Ok(batch.columns().iter().map(cell).collect())
}

#[tokio::test]
async fn a_site_answers_a_row_a_group_and_an_end_that_does_not_fit_is_null() {
    let found = merged("laplace 2 in 1", [&[500], &[700]]).await.unwrap();
    let [Some(count), Some(lower), Some(upper), Some(2)] = found[..] else { panic!("{found:?}") };
    assert!(count == 1200 && (1180..1200).contains(&lower) && (1201..1220).contains(&upper), "{found:?}");
    // Who says nothing of its noise, or nonsense, leaves no interval; the count stands.
    for noise in ["", "laplace NaN in 1"] {
        assert_eq!(merged(noise, [&[500], &[700]]).await.unwrap(), [Some(1200), None, None, Some(2)], "{noise}");
    }
    assert_eq!(merged("laplace 1e300 in 1", [&[500], &[700]]).await.unwrap(), [Some(1200), Some(0), None, Some(2)]);
    // More than one row of a group would be added up as if more had answered.
    assert!(matches!(merged("laplace 2 in 1", [&[500, 1], &[700]]).await, Err(MergeError::Shape(_))));
}
