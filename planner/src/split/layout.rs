//! What the columns of a site's answer are, and how a measure comes out of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::Column;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::utils::COUNT_STAR_EXPANSION;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Aggregate, AggregateUDF, Expr, ExprSchemable, GroupingSet, LogicalPlan};

use kanon_privacy::policy::Access;
use kanon_privacy::statistics::Aggregate as Counted;

use super::columns;
use crate::facts::Facts;
use crate::parts::{names, part_aggregates};
use crate::private::Question;
use crate::refusal::Refusal;
use crate::release_unit::ReleaseUnit;
use crate::total::infallible;

/// Stands for a federated table's column `site` until a subplan is written for one site.
pub(super) const SITE: &str = "__kanon_site";

/// The most grouping sets of one query.
const MAX_SETS: usize = 4096;

/// A group key of the unit.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its expression over the Aggregate's input.
    pub(super) expr: Expr,
    /// Its type in the unit's schema.
    pub data_type: DataType,
    /// Whether it is the column `site` itself, which is not asked for: who answers is known.
    pub is_site: bool,
}

/// One column of a site's answer that is merged.
#[derive(Debug, Clone)]
pub struct Base {
    /// Its name in the answer.
    pub name: String,
    /// The aggregate, over the source Aggregate's input.
    pub(super) expr: Expr,
    /// Its type.
    pub data_type: DataType,
}

impl Base {
    /// Whether it counts, so that no rows give 0.
    pub fn is_count(&self) -> bool {
        matches!(&self.expr, Expr::AggregateFunction(f) if matches!(f.func.name(), "count" | names::COUNT))
    }
}

/// Which statistic of moments a measure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// var_samp(x).
    VarSamp,
    /// var_pop(x).
    VarPop,
    /// stddev_samp(x).
    StddevSamp,
    /// stddev_pop(x).
    StddevPop,
    /// covar_samp(y, x).
    CovarSamp,
    /// covar_pop(y, x).
    CovarPop,
    /// corr(y, x).
    Corr,
    /// regr_slope(y, x).
    Slope,
    /// regr_intercept(y, x).
    Intercept,
    /// regr_count(y, x).
    Count,
    /// regr_r2(y, x).
    R2,
    /// regr_avgx(y, x).
    AvgX,
    /// regr_avgy(y, x).
    AvgY,
    /// regr_sxx(y, x).
    Sxx,
    /// regr_syy(y, x).
    Syy,
    /// regr_sxy(y, x).
    Sxy,
}

/// The columns (numbers of [`Base`]s) that the moments of a measure come from. Those of y are used for a single variable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MomentParts {
    /// Rows.
    pub count: usize,
    /// Mean of y.
    pub avg_y: Option<usize>,
    /// Mean of x.
    pub avg_x: Option<usize>,
    /// Sum of squared deviations of y.
    pub m2_y: Option<usize>,
    /// Sum of squared deviations of x.
    pub m2_x: Option<usize>,
    /// Sum of products of deviations.
    pub c2: Option<usize>,
}

/// How a measure comes out of the columns of the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merging {
    /// Every group is at one site: the site's own answer.
    Alone(usize),
    /// Sum of the sites' values.
    Sum(usize),
    /// Sum over sum.
    Average {
        /// The sums.
        sum: usize,
        /// The weights.
        count: usize,
    },
    /// Chan, Golub and LeVeque (1979), "Updating formulae and a pairwise algorithm for computing sample variances".
    Moments(Moment, MomentParts),
    /// The least.
    Min(usize),
    /// The greatest.
    Max(usize),
    /// All true.
    And(usize),
    /// Any true.
    Or(usize),
}

/// A grouping set: which keys are in it.
pub type Set = Vec<bool>;

/// The shape of a unit's answers. The same for the same unit, always.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The group keys.
    pub keys: Vec<Key>,
    /// Grouping sets over `keys`; `None` for a plain GROUP BY (or none at all).
    pub sets: Option<Vec<Set>>,
    /// The base measures.
    pub bases: Vec<Base>,
    /// How each measure of the unit, in order, is merged.
    pub measures: Vec<Merging>,
    /// Whether rules of disclosure hold at the sites; without them a missing answer of an aggregate without groups is a count of 0.
    pub protected: bool,
    /// The column (number of a [`Base`]) that counts the rows of a group, where a site's answer may be a total over no rows, which is no
    /// group of that site.
    pub rows: Option<usize>,
}

impl Layout {
    /// The layout of a unit.
    ///
    /// # Errors
    /// 0A000 for a measure that cannot be merged.
    pub fn of(unit: &ReleaseUnit, facts: &dyn Facts) -> Result<Layout, Refusal> {
        let aggregate = source(&unit.source)?;
        let (keys, sets) = keys_and_sets(aggregate, facts)?;
        let alone = is_by_site(&keys, &sets);
        let protected = unit.protection.is_some();
        let is_private = unit.protection.as_ref().is_some_and(|p| p.access == Access::Private);
        let mut bases = Bases { all: Vec::new(), aggregate };
        let mut measures = Vec::new();
        for (number, expr) in aggregate.aggr_expr.iter().enumerate() {
            let counts_units = |q: &Arc<Question>| q.aggregates.get(number) == Some(&Counted::CountUnits);
            let disjoint = unit.question.as_ref().filter(|q| q.units_are_disjoint);
            if let Some(count) = disjoint.filter(|q| !alone && counts_units(q)).and_then(|_| bare_call(expr)) {
                measures.push(bases.units(count).map(Merging::Sum)?);
                continue;
            }
            let merged = merging(expr, alone, protected, is_private, &mut bases);
            measures.push(match unit.question.as_ref() {
                Some(question) if counts_units(question) => merged.map_err(|refusal| {
                    refusal.hint(
                        "GROUP BY site gives it for every site. Where nobody is at two sites, each site's steward may say so, and it adds up: \
                         ALTER TABLE … SET (disjoint = true).",
                    )
                })?,
                _ => merged?,
            });
        }
        // A withheld total is absent, but an open site answers its total whatever it has: with `site` among the keys it must be told apart.
        let only_site = all_site(&keys);
        let total_of_site = |set: &Set| {
            let mut within = set.iter().zip(&keys).filter(|(within, _)| **within).peekable();
            within.peek().is_some() && within.all(|(_, key)| key.is_site)
        };
        let rows = if !protected && !only_site && sets.iter().flatten().any(total_of_site) {
            Some(bases.call(count_udaf(), vec![Expr::Literal(COUNT_STAR_EXPANSION, None)], &None)?)
        } else {
            None
        };
        Ok(Layout { keys, sets, bases: bases.all, measures, protected, rows })
    }

    /// Whether every group is at one site, so that there is nothing to merge.
    pub fn is_by_site(&self) -> bool {
        is_by_site(&self.keys, &self.sets)
    }

    /// The keys that a site is asked for, with their numbers.
    pub(super) fn asked_keys(&self) -> impl Iterator<Item = (usize, &Key)> {
        self.keys.iter().enumerate().filter(|(_, key)| !key.is_site)
    }

    /// The grouping sets that a site is asked for, over the asked keys: without `site`, each once. `None` if it is asked for one grouping.
    pub fn asked_sets(&self) -> Option<Vec<Set>> {
        let sets = self.sets.as_ref().filter(|_| self.asks_sets())?;
        let mut seen = BTreeSet::new();
        let mut asked = Vec::new();
        for set in sets {
            let without: Set =
                set.iter().zip(&self.keys).filter(|(_, key)| !key.is_site).map(|(within, _)| *within).collect();
            if seen.insert(without.clone()) {
                asked.push(without);
            }
        }
        Some(asked)
    }

    /// Whether the query groups by `site` alone, so that the site is asked by a literal key.
    pub(super) fn only_site(&self) -> bool {
        all_site(&self.keys)
    }

    /// Whether a site is asked for grouping sets, and says which set a row is of.
    pub fn asks_sets(&self) -> bool {
        self.sets.is_some() && !self.only_site()
    }

    /// The columns of a site's answer.
    pub fn answer_schema(&self) -> Schema {
        let mut fields = Vec::new();
        for (number, key) in self.asked_keys() {
            fields.push(Field::new(format!("k{number}"), key.data_type.clone(), true));
        }
        if self.only_site() {
            fields.push(Field::new("site", DataType::Utf8, true));
        }
        if self.asks_sets() {
            fields.push(Field::new("grouping_id", DataType::Int32, true));
        }
        fields.extend(self.bases.iter().map(|base| Field::new(&base.name, base.data_type.clone(), true)));
        Schema::new(fields)
    }

    /// Where the base measures begin in an answer.
    pub fn first_base(&self) -> usize {
        self.asked_keys().count() + usize::from(self.only_site()) + usize::from(self.asks_sets())
    }
}

/// Whether every group of an aggregate is at one site.
///
/// # Errors
/// 0A000 for grouping sets that cannot be sent to sites.
pub(crate) fn is_answered_by_site(aggregate: &Aggregate, facts: &dyn Facts) -> Result<bool, Refusal> {
    let (keys, sets) = keys_and_sets(aggregate, facts)?;
    Ok(is_by_site(&keys, &sets))
}

fn is_by_site(keys: &[Key], sets: &Option<Vec<Set>>) -> bool {
    match sets {
        None => keys.iter().any(|k| k.is_site),
        Some(sets) => sets.iter().all(|set| set.iter().zip(keys).any(|(within, key)| *within && key.is_site)),
    }
}

fn all_site(keys: &[Key]) -> bool {
    !keys.is_empty() && keys.iter().all(|key| key.is_site)
}

/// The Aggregate that a unit was written as.
pub(super) fn source(plan: &LogicalPlan) -> Result<&Aggregate, Refusal> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => Ok(aggregate),
        _ => Err(Refusal::unsupported("only an aggregation can be split over sites")),
    }
}

fn keys_and_sets(aggregate: &Aggregate, facts: &dyn Facts) -> Result<(Vec<Key>, Option<Vec<Set>>), Refusal> {
    let unsupported = |_| Refusal::unsupported("grouping sets of this shape cannot be sent to sites");
    let plain;
    let (exprs, sets) = match aggregate.group_expr.as_slice() {
        [Expr::GroupingSet(grouping)] => {
            let exprs: Vec<Expr> =
                grouping_set_to_exprlist(&aggregate.group_expr).map_err(unsupported)?.into_iter().cloned().collect();
            let expanded = written_out(grouping);
            if expanded.len() > MAX_SETS {
                return Err(Refusal::unsupported(format!("more than {MAX_SETS} grouping sets")));
            }
            let sets: Vec<Set> = expanded.iter().map(|set| exprs.iter().map(|e| set.contains(e)).collect()).collect();
            if sets.iter().collect::<BTreeSet<_>>().len() != sets.len() {
                return Err(Refusal::unsupported("a grouping set is given twice").hint("Give every grouping set once."));
            }
            if exprs.is_empty() {
                return Err(Refusal::unsupported("GROUP BY () over several sites is not supported")
                    .hint("Leave it out: an aggregate without GROUP BY is the same."));
            }
            (exprs, Some(sets))
        }
        exprs => {
            plain = exprs.to_vec();
            (plain, None)
        }
    };
    let columns = columns::columns_of(&aggregate.input, facts)?;
    let mut keys = Vec::with_capacity(exprs.len());
    for expr in exprs {
        let data_type =
            expr.get_type(aggregate.input.schema()).map_err(|_| Refusal::unsupported("a group key has no type"))?;
        let is_site = match bare(&expr) {
            Expr::Column(column) => aggregate
                .input
                .schema()
                .maybe_index_of_column(column)
                .and_then(|index| columns.get(index))
                .is_some_and(is_site),
            _ => false,
        };
        keys.push(Key { expr, data_type, is_site });
    }
    Ok((keys, sets))
}

/// ROLLUP and CUBE as lists of sets.
pub(crate) fn written_out(grouping: &GroupingSet) -> Vec<Vec<Expr>> {
    match grouping {
        GroupingSet::Rollup(exprs) => {
            (0..=exprs.len()).rev().map(|n| exprs.iter().take(n).cloned().collect()).collect()
        }
        GroupingSet::Cube(exprs) if exprs.len() <= 12 => (0..1_usize << exprs.len())
            .map(|mask| exprs.iter().enumerate().filter(|(i, _)| mask >> i & 1 == 0).map(|(_, e)| e.clone()).collect())
            .collect(),
        // More than MAX_SETS: refused by its length.
        GroupingSet::Cube(_) => vec![Vec::new(); MAX_SETS + 1],
        GroupingSet::GroupingSets(sets) => sets.clone(),
    }
}

pub(super) fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => bare(&alias.expr),
        other => other,
    }
}

/// Whether an expression is the stand-in of the column `site`.
pub(super) fn is_site(expr: &Expr) -> bool {
    matches!(bare(expr), Expr::Column(Column { relation: None, name, .. }) if name == SITE)
}

struct Bases<'a> {
    all: Vec<Base>,
    aggregate: &'a Aggregate,
}

impl Bases<'_> {
    fn add(&mut self, expr: Expr) -> Result<usize, Refusal> {
        if let Some(known) = self.all.iter().position(|base| base.expr == expr) {
            return Ok(known);
        }
        let data_type = expr
            .get_type(self.aggregate.input.schema())
            .map_err(|_| Refusal::unsupported(format!("{expr} cannot be merged over sites")))?;
        self.all.push(Base { name: format!("m{}", self.all.len()), expr, data_type });
        Ok(self.all.len() - 1)
    }

    fn call(&mut self, func: Arc<AggregateUDF>, args: Vec<Expr>, filter: &Option<Box<Expr>>) -> Result<usize, Refusal> {
        self.add(Expr::AggregateFunction(AggregateFunction::new_udf(func, args, false, filter.clone(), vec![], None)))
    }

    /// Counts the rows whose arguments are all not NULL: casts that lose nothing make no difference to it.
    fn count(&mut self, args: Vec<Expr>, filter: &Option<Box<Expr>>) -> Result<usize, Refusal> {
        let schema = self.aggregate.input.schema();
        let args = args
            .into_iter()
            .map(|arg| match arg {
                Expr::Cast(cast)
                    if cast
                        .expr
                        .get_type(schema)
                        .is_ok_and(|from| from.is_numeric() && infallible(&from, cast.field.data_type())) =>
                {
                    *cast.expr
                }
                other => other,
            })
            .collect();
        self.part(names::COUNT, args, filter)
    }

    /// Counts the units of each site, none of which is at another.
    fn units(&mut self, count: &AggregateFunction) -> Result<usize, Refusal> {
        let mut call = AggregateFunction { func: part(names::COUNT)?, ..count.clone() };
        call.params.distinct = true;
        self.add(Expr::AggregateFunction(call))
    }

    fn part(&mut self, name: &str, args: Vec<Expr>, filter: &Option<Box<Expr>>) -> Result<usize, Refusal> {
        self.call(part(name)?, args, filter)
    }
}

fn part(name: &str) -> Result<Arc<AggregateUDF>, Refusal> {
    let found = part_aggregates().into_iter().find(|part| part.name() == name);
    found.ok_or_else(|| Refusal::unsupported(format!("no part {name}")))
}

fn bare_call(expr: &Expr) -> Option<&AggregateFunction> {
    match bare(expr) {
        Expr::AggregateFunction(call) => Some(call),
        _ => None,
    }
}

fn merging(
    expr: &Expr,
    alone: bool,
    protected: bool,
    is_private: bool,
    bases: &mut Bases<'_>,
) -> Result<Merging, Refusal> {
    let expr = bare(expr);
    let Expr::AggregateFunction(AggregateFunction { func, params }) = expr else {
        return Err(Refusal::unsupported(format!("{expr} cannot be computed at sites")));
    };
    if alone {
        return bases.add(expr.clone()).map(Merging::Alone);
    }
    let name = func.name();
    let filter = &params.filter;
    let one = || -> Result<Expr, Refusal> {
        params.args.first().cloned().ok_or_else(|| Refusal::unsupported(format!("{name} without an argument")))
    };
    if params.distinct && !matches!(name, "min" | "max" | "bool_and" | "bool_or") {
        return Err(not_merged(&format!("{name}(DISTINCT …)")));
    }
    match name {
        // With noise: neither rounded nor cut, so that it can be added up.
        "count" if is_private => bases.count(params.args.clone(), filter).map(Merging::Sum),
        "count" => bases.add(expr.clone()).map(Merging::Sum),
        "sum" => bases.add(expr.clone()).map(Merging::Sum),
        "avg" => {
            let x = one()?;
            if !matches!(expr_type(expr, bases)?, DataType::Float64 | DataType::Decimal128(..)) {
                return Err(not_merged("an average of this type"));
            }
            let (sum, count) = (bases.part(names::SUM, vec![x.clone()], filter)?, bases.count(vec![x], filter)?);
            Ok(Merging::Average { sum, count })
        }
        "bool_and" => bases.add(expr.clone()).map(Merging::And),
        "bool_or" => bases.add(expr.clone()).map(Merging::Or),
        "min" if !protected => bases.add(expr.clone()).map(Merging::Min),
        "max" if !protected => bases.add(expr.clone()).map(Merging::Max),
        other => match moment(other) {
            Some(moment) => {
                let parts = moment_parts(moment, &params.args, filter, bases)?;
                Ok(Merging::Moments(moment, parts))
            }
            None => Err(not_merged(other)),
        },
    }
}

fn expr_type(expr: &Expr, bases: &Bases<'_>) -> Result<DataType, Refusal> {
    expr.get_type(bases.aggregate.input.schema()).map_err(|_| Refusal::unsupported(format!("{expr} has no type")))
}

fn moment(name: &str) -> Option<Moment> {
    Some(match name {
        "var" | "var_samp" | "var_sample" => Moment::VarSamp,
        "var_pop" | "var_population" => Moment::VarPop,
        "stddev" | "stddev_samp" => Moment::StddevSamp,
        "stddev_pop" => Moment::StddevPop,
        "covar_samp" | "covar" => Moment::CovarSamp,
        "covar_pop" => Moment::CovarPop,
        "corr" => Moment::Corr,
        "regr_slope" => Moment::Slope,
        "regr_intercept" => Moment::Intercept,
        "regr_count" => Moment::Count,
        "regr_r2" => Moment::R2,
        "regr_avgx" => Moment::AvgX,
        "regr_avgy" => Moment::AvgY,
        "regr_sxx" => Moment::Sxx,
        "regr_syy" => Moment::Syy,
        "regr_sxy" => Moment::Sxy,
        _ => return None,
    })
}

fn moment_parts(
    moment: Moment,
    args: &[Expr],
    filter: &Option<Box<Expr>>,
    bases: &mut Bases<'_>,
) -> Result<MomentParts, Refusal> {
    use Moment::*;
    let args = args.to_vec();
    let count = bases.count(args.clone(), filter)?;
    if matches!(moment, VarSamp | VarPop | StddevSamp | StddevPop) {
        let avg_y = Some(bases.part(names::AVG, args.clone(), filter)?);
        let m2_y = Some(bases.part(names::M2, args, filter)?);
        return Ok(MomentParts { count, avg_y, m2_y, ..MomentParts::default() });
    }
    let y = !matches!(moment, Count | AvgX | Sxx);
    let x = !matches!(moment, Count | AvgY | Syy);
    let m2_y = matches!(moment, Corr | R2 | Syy);
    let m2_x = matches!(moment, Corr | R2 | Slope | Intercept | Sxx);
    let c2 = matches!(moment, CovarSamp | CovarPop | Corr | R2 | Slope | Intercept | Sxy);
    let mut part = |wanted: bool, name: &str| -> Result<Option<usize>, Refusal> {
        wanted.then(|| bases.part(name, args.clone(), filter)).transpose()
    };
    Ok(MomentParts {
        count,
        avg_y: part(y, names::AVG_Y)?,
        avg_x: part(x, names::AVG_X)?,
        m2_y: part(m2_y, names::M2_Y)?,
        m2_x: part(m2_x, names::M2_X)?,
        c2: part(c2, names::C2)?,
    })
}

fn not_merged(what: &str) -> Refusal {
    Refusal::unsupported(format!("{what} cannot be merged over sites"))
        .hint("GROUP BY site gives it for every site; or ask one site with WHERE site = '…'.")
}
