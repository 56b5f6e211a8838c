//! Releases in several passes over the rows: keys are selected before all of their rows are added up, a norm is chosen before many sums are kept.
//!
//! ```text
//! units by key, C groups of each ─► the selection ─► keys that may be told ─► every row of those, by the level of its unit ─► as of public keys
//! ```
//!
//! What comes after the selection reads no key that was not selected, so to a unit's neighbours it is a release over keys that are known.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, UInt64Array};
use datafusion::execution::SessionState;
use datafusion::execution::memory_pool::MemoryLimit;
use kanon_planner::private::Question;
use kanon_planner::private::mechanisms::Mechanisms;
use kanon_planner::release_unit::ReleaseUnit;
use kanon_privacy::bounding::SiteKey;
use kanon_privacy::noise::{OpenDp, Sampler};
use kanon_privacy::norms::Level;
use kanon_privacy::select::Selection;

use super::super::below;
use super::super::run::pick;
use super::exact::{self, Exact};
use crate::error::{Error, Result};

/// Sums are kept by level if they take at most such a part of the node's memory. Of more, the norm is chosen in a pass of its own.
const PART_OF_MEMORY: usize = 8;

/// What passes read, and how.
struct Passes<'p> {
    state: &'p SessionState,
    unit: &'p ReleaseUnit,
    question: &'p Arc<Question>,
    key: &'p SiteKey,
    /// Of how many sums there may be one a level.
    most_by_level: usize,
}

/// The exact statistics of the question's groups; the mechanisms of its answer; and the level of the norm if it had to be chosen before.
pub(super) async fn compute(
    state: &SessionState,
    unit: &ReleaseUnit,
    question: &Arc<Question>,
    mechanisms: &Arc<Mechanisms>,
    key: &SiteKey,
) -> Result<(Exact, Arc<Mechanisms>, Option<Level>)> {
    Passes { state, unit, question, key, most_by_level: most_by_level(state) }.compute(mechanisms).await
}

/// How many sums there may be by level: each reader and each worker has them.
fn most_by_level(state: &SessionState) -> usize {
    let MemoryLimit::Finite(all) = state.runtime_env().memory_pool.memory_limit() else { return usize::MAX };
    let each = Level::every().count() * size_of::<i128>() * 2 * state.config().target_partitions();
    all / PART_OF_MEMORY / each.max(1)
}

impl Passes<'_> {
    async fn compute(&self, mechanisms: &Arc<Mechanisms>) -> Result<(Exact, Arc<Mechanisms>, Option<Level>)> {
        let Some((of_keys, selecting)) = mechanisms.selecting(self.question) else {
            return self.counted(Arc::clone(mechanisms), None).await;
        };
        let selection = selecting.selection.clone().ok_or_else(Error::below_boundary)?;
        let met = self.exact(&Arc::new(of_keys), &Arc::new(selecting), None).await?;
        let select = move || selected(&met, &selection, &mut OpenDp);
        let keys = tokio::task::spawn_blocking(select).await.map_err(below)??;
        self.counted(Arc::new(mechanisms.of_selected()), Some(&keys)).await
    }

    /// Of the question's groups, or of those with the keys that are `listed`.
    async fn counted(
        &self,
        mechanisms: Arc<Mechanisms>,
        listed: Option<&[ArrayRef]>,
    ) -> Result<(Exact, Arc<Mechanisms>, Option<Level>)> {
        let groups = match listed {
            Some(keys) => keys.first().map(|key| key.len()),
            None => self.question.public_cells(),
        };
        let sums = mechanisms.plan.statistics().len();
        let Some(choice) =
            mechanisms.norm.clone().filter(|_| groups.is_some_and(|n| n.saturating_mul(sums) > self.most_by_level))
        else {
            return Ok((self.exact(self.question, &mechanisms, listed).await?, mechanisms, None));
        };
        let levels = self.exact(&Arc::new(self.question.of_keys()), &Arc::new(mechanisms.of_levels()), listed).await?;
        let choose = move || super::chosen(&choice, &levels, &mut OpenDp);
        let level = tokio::task::spawn_blocking(choose).await.map_err(below)??;
        let counted = Arc::new(mechanisms.at(level).ok_or_else(Error::below_boundary)?);
        Ok((self.exact(self.question, &counted, listed).await?, mechanisms, Some(level)))
    }

    async fn exact(
        &self,
        question: &Arc<Question>,
        mechanisms: &Arc<Mechanisms>,
        listed: Option<&[ArrayRef]>,
    ) -> Result<Exact> {
        exact::compute(self.state, self.unit, question, mechanisms, self.key, listed).await
    }
}

/// The keys that may be told, a column a key.
fn selected(met: &Exact, selection: &Selection, sampler: &mut dyn Sampler) -> Result<Vec<ArrayRef>> {
    let mut groups = Vec::new();
    for (group, units) in (0_u64..).zip(&met.units) {
        if selection.decide(*units, sampler).map_err(below)?.is_some() {
            groups.push(group);
        }
    }
    let groups = UInt64Array::from(groups);
    met.keys.iter().map(|key| pick(key, &groups)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;

    use datafusion::arrow::array::{AsArray, StringArray};
    use datafusion::arrow::datatypes::Int64Type;
    use datafusion::prelude::SessionContext;
    use kanon_privacy::sensitivity::Bounding;

    use super::super::tests::{Asked, Random, Row, UNDECLARED, World, asked, at, by_key, data, moved, table};
    use super::super::{answer, mechanisms_of};
    use super::*;

    const BY_GROUP: &str = "SELECT g, count(*), count(DISTINCT id), sum(x), stddev(x) FROM v GROUP BY g";

    async fn asked_of(world: &World, rows: &[Row], sql: &str) -> Asked {
        let ctx = SessionContext::new();
        ctx.register_table("v", Arc::new(table(rows, 7))).unwrap();
        asked(world, &ctx, sql).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_unit_moves_selected_keys_no_further_than_the_norm_and_others_count_nowhere() {
        let mut random = Random(23);
        let listed: [ArrayRef; 1] = [Arc::new(StringArray::from(vec![Some("a"), Some("c"), None]))];
        let mut most: f64 = 0.0;
        for _ in 0..4 {
            let rows = data(&mut random);
            let statistics = async |rows: &[Row]| {
                let Asked { state, unit, question, mechanisms, key } = asked_of(&UNDECLARED, rows, BY_GROUP).await;
                assert!(mechanisms.selects_first);
                let mechanisms = Arc::new(mechanisms.of_selected());
                (
                    exact::compute(&state, &unit, &question, &mechanisms, &key, Some(&listed)).await.unwrap(),
                    question,
                    mechanisms,
                )
            };
            let (with, question, mechanisms) = statistics(&rows).await;
            let grid = |x: &usize| question.arguments[*x].grid.as_ref();
            assert_eq!(with.keys[0].len(), 3, "those that are listed, and no others");
            let all = Level::numbered(40).unwrap();
            let of_rows: i128 = at(&with, all).values().map(|sums| sums[1]).sum();
            let there = rows.iter().filter(|r| r.0.is_some() && matches!(r.1, Some("a" | "c") | None)).count();
            assert_eq!(of_rows, 1024 * there as i128, "every row counts");
            for unit in 1..6 {
                let fewer: Vec<Row> = rows.iter().filter(|r| r.0 != Some(unit)).copied().collect();
                let (without, ..) = statistics(&fewer).await;
                for level in Level::all().take(14) {
                    let bounding = mechanisms.at(level).unwrap().bounding;
                    let moved = moved(&at(&with, level), &at(&without, level));
                    for (moved, statistic) in moved.into_iter().zip(mechanisms.plan.statistics()) {
                        let bound = bounding.sensitivity(statistic.contribution(grid).unwrap()).unwrap();
                        let limit = bound.euclidean.upper() * (1.0 + 1e-12);
                        assert!(moved <= limit, "{statistic:?} of unit {unit} at {level:?}: {moved} of {limit}");
                        most = most.max(moved / limit);
                    }
                }
            }
        }
        assert!(most > 0.99, "the bound is reached: {most}");
    }

    const GROUPS: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];

    #[tokio::test(flavor = "multi_thread")]
    async fn all_rows_of_selected_keys_count_and_rare_keys_stay() {
        let mut rows: Vec<Row> = Vec::new();
        for unit in 0..5_000 {
            rows.extend(GROUPS.iter().flat_map(|group| [(Some(unit), Some(*group), Some(1.0)); 2]));
        }
        rows.extend([(Some(1), Some("rare"), Some(1.0)); 2]);
        for (norm, most_by_level) in [(None, usize::MAX), (None, 5), (Some(8.0), usize::MAX)] {
            let world = World { groups: 0, rows: 0, norm };
            let Asked { state, unit, question, mechanisms, key } = asked_of(&world, &rows, BY_GROUP).await;
            let first = mechanisms.selecting(&question).unwrap();
            assert_eq!(first.1.bounding, Bounding::Sampled(question.rules.bounds));
            let passes = Passes { state: &state, unit: &unit, question: &question, key: &key, most_by_level };
            let (exact, second, level) = passes.compute(&mechanisms).await.unwrap();
            assert_eq!(level.is_some(), most_by_level < GROUPS.len());
            let batch = answer(&unit, &question, &second, exact, level, &mut OpenDp).unwrap();
            let keys: Vec<&str> = batch.column(0).as_string::<i32>().iter().map(Option::unwrap).collect();
            assert_eq!(keys, GROUPS);
            // Four of a unit's groups would count if they were sampled: a third.
            // Of units as many groups count as is declared, or four, where the norm is.
            let of_units = if norm.is_some() { 2_887 } else { 5_000 };
            for (measure, expected) in [(1, 10_000), (2, of_units)] {
                for count in batch.column(measure).as_primitive::<Int64Type>().values() {
                    assert!((count - expected).abs() < expected / 3, "{measure}: {count}");
                }
            }
            assert!(mechanisms_of(&batch, &mechanisms).unwrap().norm.is_none());
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_public_keys_take_a_pass_for_their_norm() {
        let rows: Vec<Row> =
            (0..5_000).flat_map(|unit| ["a", "b"].map(|group| (Some(unit), Some(group), Some(1.0)))).collect();
        let sql = "SELECT CASE WHEN g = 'a' THEN 1 WHEN g = 'b' THEN 2 ELSE 3 END, count(*) FROM v GROUP BY 1";
        for most_by_level in [2, 300] {
            let Asked { state, unit, question, mechanisms, key } = asked_of(&UNDECLARED, &rows, sql).await;
            assert!(mechanisms.selecting(&question).is_none());
            let passes = Passes { state: &state, unit: &unit, question: &question, key: &key, most_by_level };
            let (exact, second, level) = passes.compute(&mechanisms).await.unwrap();
            assert_eq!(level.is_some(), most_by_level == 2);
            let batch = answer(&unit, &question, &second, exact, level, &mut OpenDp).unwrap();
            let counts = batch.column(1).as_primitive::<Int64Type>().values().to_vec();
            for (count, expected) in counts.iter().zip([5_000, 5_000, 0]) {
                assert!((count - expected).abs() < 1_000, "{counts:?}");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_norm_can_be_chosen_in_a_pass_of_its_own() {
        let rows = data(&mut Random(29));
        let listed: [ArrayRef; 1] = [Arc::new(StringArray::from(vec!["a", "b", "d"]))];
        let Asked { state, unit, question, mechanisms, key } = asked_of(&UNDECLARED, &rows, BY_GROUP).await;
        let (of_keys, _) = mechanisms.selecting(&question).unwrap();
        let mechanisms = mechanisms.of_selected();
        let by_level =
            exact::compute(&state, &unit, &question, &Arc::new(mechanisms.clone()), &key, Some(&listed)).await.unwrap();
        let levels = Arc::new(mechanisms.of_levels());
        let levels = exact::compute(&state, &unit, &Arc::new(of_keys), &levels, &key, Some(&listed)).await.unwrap();
        assert_eq!(levels.levels.unwrap().units, by_level.levels.as_ref().unwrap().units);
        // Weighted by level or unit by unit: the same but for what is cut to 2^-10 once a level or once a unit.
        let level = Level::numbered(4).unwrap();
        let then = Arc::new(mechanisms.at(level).unwrap());
        let then: BTreeMap<_, _> =
            by_key(&exact::compute(&state, &unit, &question, &then, &key, Some(&listed)).await.unwrap());
        for (key, sums) in at(&by_level, level) {
            // Rows: a unit above the norm has nothing but less than a fourth root of two to lose.
            let (of_levels, of_units) = (sums[1], then[&key][1]);
            assert!(of_levels <= of_units + 8 && of_units <= of_levels * 5 / 4 + 8, "{of_levels} {of_units}");
        }
    }
}
