//! The question behind a release: the user's aggregates and the guards, as one Aggregate.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::utils::COUNT_STAR_EXPANSION;
use datafusion::logical_expr::{Aggregate, Expr, ExprFunctionExt, ExprSchemable, GroupingSet, LogicalPlan, cast, lit};
use kanon_planner::facts::Protection;
use kanon_planner::release_unit::{Measure, MeasureKind, ReleaseUnit};
use kanon_privacy::policy::MinCohort;

use super::below;
use super::guard::Guard;
use crate::error::{Error, Result, Sqlstate};

/// Most tests of conditions, alone and in pairs, in one release unit.
const MAX_PART_GUARDS: usize = 300;

/// Where the units that have a value of a measure are counted. Numbers are columns of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Present {
    /// Every row has one.
    Group,
    /// A count of rows, where rows are units.
    Rows(usize),
    /// A cohort.
    Cohort(usize),
    /// The dominance guard counts them too.
    Weights(usize),
}

/// What is asked for one measure.
#[derive(Debug, Clone)]
pub(super) struct AskedMeasure {
    /// The column of its value.
    pub(super) value: usize,
    /// Its kind.
    pub(super) kind: MeasureKind,
    /// Who has a value.
    pub(super) present: Present,
    /// For second moments: the column with the number of rows that have a value, and how many means are estimated.
    pub(super) freedom: Option<(usize, usize)>,
    /// For sums, averages and second moments: the columns of weights, one a value that is tested.
    pub(super) weights: Vec<usize>,
    /// The columns of parts that concern it.
    pub(super) parts: Vec<usize>,
}

/// The Aggregate and what its columns mean.
#[derive(Debug)]
pub(super) struct Asked {
    /// What to run.
    pub(super) plan: LogicalPlan,
    /// How many key columns stand first.
    pub(super) keys: usize,
    /// The column of the grouping id, after the keys.
    pub(super) grouping_id: Option<usize>,
    /// The keys by themselves, one expression a key column.
    pub(super) key_exprs: Vec<Expr>,
    /// Whether the last grouping set was added here: all keys together, which the user did not ask for.
    pub(super) atoms_added: bool,
    /// The column with the number of rows.
    pub(super) rows: usize,
    /// The column with the group's cohort; `None` where rows are units.
    pub(super) cohort: Option<usize>,
    /// Whether rows are units.
    pub(super) one_row_a_unit: bool,
    /// The measures.
    pub(super) measures: Vec<AskedMeasure>,
    /// Where all conditions are told apart together; `None` with at most two kinds of them, which the measures' own parts do.
    pub(super) together: Option<Together>,
}

/// All conditions of all measures.
#[derive(Debug)]
pub(super) struct Together {
    /// The column of the parts.
    pub(super) column: usize,
    /// The conditions' types, in their order.
    pub(super) types: Vec<DataType>,
    /// For every distinct list of conditions, where they stand among all.
    pub(super) lists: Vec<Vec<usize>>,
}

impl Asked {
    /// Works out what to ask.
    pub(super) fn of(unit: &ReleaseUnit, protection: &Protection, unit_column: &Column) -> Result<Asked> {
        let one_row = unit.one_row_a_unit;
        let mut columns =
            Columns { k: protection.min_cohort, one_row, unit: Expr::Column(unit_column.clone()), exprs: Vec::new() };
        let values: Vec<usize> = unit.measures.iter().map(|m| columns.add(m.aggregate.clone().unalias())).collect();
        let rows = columns.add(count_rows());
        let cohort = (!one_row).then(|| columns.cohort(None));
        let mut measures: Vec<AskedMeasure> =
            unit.measures.iter().zip(values).map(|(measure, value)| columns.measure(measure, value)).collect();
        ask_parts(&mut columns, &unit.measures, &mut measures)?;
        let together = ask_together(&mut columns, &unit.measures, unit.input.schema())?;

        let (keys, key_exprs, sets, atoms_added) = with_atoms(unit)?;
        let first = key_exprs.len() + usize::from(sets);
        let aggregates: Vec<Expr> =
            columns.exprs.into_iter().enumerate().map(|(i, e)| e.alias(format!("__kanon_{i}"))).collect();
        let plan = Aggregate::try_new(Arc::new(unit.input.clone()), keys, aggregates).map_err(below)?;
        let mut asked = Asked {
            plan: LogicalPlan::Aggregate(plan),
            keys: key_exprs.len(),
            grouping_id: sets.then_some(key_exprs.len()),
            key_exprs,
            atoms_added,
            rows,
            cohort,
            one_row_a_unit: one_row,
            measures,
            together,
        };
        asked.shift(first);
        Ok(asked)
    }

    /// Aggregates stand after the keys: turns their numbers into numbers of columns.
    fn shift(&mut self, by: usize) {
        self.rows += by;
        self.cohort = self.cohort.map(|c| c + by);
        if let Some(together) = &mut self.together {
            together.column += by;
        }
        for measure in &mut self.measures {
            measure.value += by;
            measure.present = match measure.present {
                Present::Group => Present::Group,
                Present::Rows(c) => Present::Rows(c + by),
                Present::Cohort(c) => Present::Cohort(c + by),
                Present::Weights(c) => Present::Weights(c + by),
            };
            measure.freedom = measure.freedom.map(|(c, n)| (c + by, n));
            measure.weights.iter_mut().for_each(|c| *c += by);
            measure.parts.iter_mut().for_each(|c| *c += by);
        }
    }
}

/// Aggregates so far, each once.
struct Columns {
    k: MinCohort,
    one_row: bool,
    unit: Expr,
    exprs: Vec<Expr>,
}

impl Columns {
    fn add(&mut self, expr: Expr) -> usize {
        match self.exprs.iter().position(|e| *e == expr) {
            Some(at) => at,
            None => {
                self.exprs.push(expr);
                self.exprs.len() - 1
            }
        }
    }

    fn cohort(&mut self, filter: Option<Expr>) -> usize {
        let guard = Guard::Cohort.over(self.k, vec![self.unit.clone()], filter);
        self.add(guard)
    }

    fn rows_where(&mut self, present: &Expr) -> usize {
        let counted = match present {
            // count(x) reads no filter.
            Expr::IsNotNull(x) => count(x.as_ref().clone()),
            other => match count_rows().filter(other.clone()).build() {
                Ok(counted) => counted,
                Err(_) => count(other.clone().is_true().or(lit(false))),
            },
        };
        self.add(counted)
    }

    fn weights(&mut self, x: &Expr, filter: Option<Expr>) -> usize {
        let x = cast(x.clone(), DataType::Float64);
        let guard = if self.one_row {
            Guard::WeightsOfRows.over(self.k, vec![x], filter)
        } else {
            Guard::WeightsOfUnits.over(self.k, vec![self.unit.clone(), x], filter)
        };
        self.add(guard)
    }

    fn parts(&mut self, conditions: Vec<Expr>) -> usize {
        let guard = if self.one_row {
            Guard::PartsOfRows.over(self.k, conditions, None)
        } else {
            Guard::PartsOfUnits.over(self.k, std::iter::once(self.unit.clone()).chain(conditions).collect(), None)
        };
        self.add(guard)
    }

    fn measure(&mut self, measure: &Measure, value: usize) -> AskedMeasure {
        // A weight that is NULL is not counted: where only that is asked of a row, the weights say who is present.
        let same = matches!((&measure.present, measure.dominated.as_slice()), (Some(Expr::IsNotNull(x)), [d]) if bare(x) == bare(d) || bare(x) == bare(untried(d)));
        let filter = if same { None } else { measure.present.clone() };
        let weights: Vec<usize> = measure.dominated.iter().map(|x| self.weights(x, filter.clone())).collect();
        let present = match (&measure.present, weights.first()) {
            (None, _) => Present::Group,
            (Some(_), Some(weights)) if same => Present::Weights(*weights),
            (Some(present), _) if self.one_row => Present::Rows(self.rows_where(present)),
            (Some(present), _) => Present::Cohort(self.cohort(Some(present.clone()))),
        };
        let freedom = matches!(measure.kind, MeasureKind::Moments).then(|| {
            let rows = match &measure.present {
                Some(present) => self.rows_where(present),
                None => self.add(count_rows()),
            };
            (rows, means(&measure.aggregate))
        });
        AskedMeasure { value, kind: measure.kind.clone(), present, freedom, weights, parts: Vec::new() }
    }
}

/// Conditions of every measure alone, and of every two measures together.
fn ask_parts(columns: &mut Columns, measures: &[Measure], asked: &mut [AskedMeasure]) -> Result<()> {
    let lists: Vec<Vec<Expr>> = measures.iter().map(|m| ordered(m.conditions.clone())).collect();
    let before = columns.exprs.len();
    for (i, mine) in lists.iter().enumerate() {
        for (j, theirs) in lists.iter().enumerate().skip(i) {
            if mine.is_empty() || theirs.is_empty() {
                continue;
            }
            let guard = columns.parts(ordered(mine.iter().chain(theirs).cloned().collect()));
            if columns.exprs.len() - before > MAX_PART_GUARDS {
                return Err(Error::new(
                    Sqlstate::StatementTooComplex,
                    "too many aggregates with conditions of their own",
                )
                .hint("Ask for them in several queries."));
            }
            for index in [i, j] {
                if let Some(measure) = asked.get_mut(index)
                    && !measure.parts.contains(&guard)
                {
                    measure.parts.push(guard);
                }
            }
        }
    }
    Ok(())
}

/// All conditions at once, if there are more than two lists of them.
fn ask_together(columns: &mut Columns, measures: &[Measure], schema: &DFSchema) -> Result<Option<Together>> {
    let mut lists: Vec<Vec<Expr>> = Vec::new();
    for measure in measures {
        let list = ordered(measure.conditions.clone());
        if !list.is_empty() && !lists.contains(&list) {
            lists.push(list);
        }
    }
    if lists.len() < 3 {
        return Ok(None);
    }
    let all = ordered(lists.iter().flatten().cloned().collect());
    let lists = lists
        .iter()
        .map(|list| all.iter().enumerate().filter(|(_, c)| list.contains(c)).map(|(at, _)| at).collect())
        .collect();
    let types = all.iter().map(|c| c.get_type(schema)).collect::<Result<_, _>>().map_err(below)?;
    Ok(Some(Together { column: columns.parts(all), types, lists }))
}

/// Conditions in one order whoever wrote them, each once.
fn ordered(conditions: Vec<Expr>) -> Vec<Expr> {
    let mut named: Vec<(String, Expr)> = conditions.into_iter().map(|c| (c.to_string(), c)).collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    named.dedup_by(|a, b| a.1 == b.1);
    named.into_iter().map(|(_, c)| c).collect()
}

/// The keys; what each key column is; whether there are grouping sets; and whether the set of all keys had to be added, so that every cell is a
/// sum of atoms that are known here.
fn with_atoms(unit: &ReleaseUnit) -> Result<(Vec<Expr>, Vec<Expr>, bool, bool)> {
    match unit.keys.as_slice() {
        [Expr::GroupingSet(set)] => {
            let columns: Vec<Expr> = set.distinct_expr().into_iter().cloned().collect();
            let holds_all = |exprs: &[Expr]| columns.iter().all(|c| exprs.contains(c));
            match set {
                GroupingSet::GroupingSets(sets) if !sets.iter().any(|s| holds_all(s)) => {
                    let mut sets = sets.clone();
                    sets.push(columns.clone());
                    Ok((vec![Expr::GroupingSet(GroupingSet::GroupingSets(sets))], columns, true, true))
                }
                _ => Ok((unit.keys.clone(), columns, true, false)),
            }
        }
        keys if keys.iter().any(|k| matches!(k, Expr::GroupingSet(_))) => {
            Err(Error::internal("grouping sets beside other keys in a release unit"))
        }
        keys => Ok((keys.to_vec(), keys.to_vec(), false, false)),
    }
}

fn count_rows() -> Expr {
    count(lit(COUNT_STAR_EXPANSION))
}

/// How many means a second moment is taken about.
fn means(aggregate: &Expr) -> usize {
    match aggregate {
        Expr::Alias(alias) => means(&alias.expr),
        Expr::AggregateFunction(function) => function.params.args.len().max(1),
        _ => 2,
    }
}

/// An expression without a cast that gives NULL where it fails. Where the weight is NULL but the value is not, somebody present is not
/// counted: that withholds more. The other way round would not do.
fn untried(expr: &Expr) -> &Expr {
    match expr {
        Expr::TryCast(cast) => &cast.expr,
        other => other,
    }
}

/// An expression without the casts around it: a cast of a number is NULL only where the number is.
pub(super) fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(cast) => bare(&cast.expr),
        Expr::Alias(alias) => bare(&alias.expr),
        other => other,
    }
}
