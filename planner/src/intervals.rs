//! Which columns of an answer are measures of private releases as they stand, and the outer plan with their intervals beside them.
//!
//! A measure's interval is right for a column that holds the measure itself. So it follows the measure through whatever hands rows on as they are,
//! and stops at whatever makes new values:
//!
//! ```text
//! Release ─► names, inner queries, WHERE, HAVING, ORDER BY, LIMIT, windows beside it, joins, UNION ALL   the interval goes along
//!         ─► an expression, a cast, DISTINCT, another aggregate, UNION, a subquery in an expression      there is none
//! ```
//!
//! Nothing here looks at an answer. What has an interval depends on the query alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{Expr, Extension, JoinType, LogicalPlan, Projection, SubqueryAlias, Union};

use crate::facts::Placement;
use crate::private::accuracy::{SITES, companion_type};
use crate::release_unit::{ReleaseNode, ReleaseUnit};

/// The measure that a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The release unit's number.
    pub unit: usize,
    /// The measure's place in the unit.
    pub measure: usize,
}

/// A column that is a measure of a private release as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noisy {
    /// Its place among the plan's columns.
    pub column: usize,
    /// Which measure it is; `None` if it is another one from row to row (UNION ALL).
    pub origin: Option<Origin>,
}

/// The columns of an outer plan that are measures of private releases as they stand, in order.
pub fn noisy(outer: &LogicalPlan) -> Vec<Noisy> {
    Walk::default().carry(outer).map(|carried| carried.noisy()).unwrap_or_default()
}

/// The outer plan with the ends of the interval, lower and upper, behind each of these of its columns; NULL behind one that has none. Where all of them are of one
/// release over several sites, the number of sites that released the row's group is the last column.
///
/// # Errors
/// If the plan cannot be made anew, which is a defect.
pub fn with_intervals(outer: &LogicalPlan, columns: &[usize]) -> Result<LogicalPlan> {
    let carried = Walk::default().carry(outer)?;
    let schema = Arc::clone(carried.plan.schema());
    let column = |at: usize| Expr::Column(Column::from(schema.qualified_field(at)));
    let mut exprs = Vec::new();
    for (place, at) in carried.places.iter().enumerate() {
        exprs.push(column(*at));
        if columns.contains(&place) {
            let ends = carried.companions.get(at).map(|companion| companion.ends);
            for (name, end) in ["lo", "hi"].into_iter().zip(ends.map_or([None; 2], |ends| ends.map(Some))) {
                let end = match end {
                    Some(end) => column(end),
                    None => Expr::Literal(ScalarValue::Float64(None), None),
                };
                exprs.push(end.alias(format!("__kanon_{name}_of_{place}")));
            }
        }
    }
    if let Some(sites) = carried.sites(columns) {
        exprs.push(column(sites).alias(SITES));
    }
    Projection::try_new(exprs, Arc::new(carried.plan)).map(LogicalPlan::Projection)
}

/// Where the interval of a column is.
#[derive(Debug, Clone, Copy)]
struct Companion {
    origin: Option<Origin>,
    /// The places of its lower and upper end.
    ends: [usize; 2],
    /// The place of the number of sites, and the release that it is of.
    sites: Option<(usize, usize)>,
}

/// A plan with intervals in it.
struct Carried {
    plan: LogicalPlan,
    /// Where the columns of the plan as it was are now.
    places: Vec<usize>,
    /// By the place of their measure.
    companions: BTreeMap<usize, Companion>,
}

impl Carried {
    /// A plan in which no interval is known.
    fn without(plan: &LogicalPlan) -> Carried {
        Carried { plan: plan.clone(), places: (0..plan.schema().fields().len()).collect(), companions: BTreeMap::new() }
    }

    fn noisy(&self) -> Vec<Noisy> {
        let at = |(column, place): (usize, &usize)| {
            self.companions.get(place).map(|companion| Noisy { column, origin: companion.origin })
        };
        self.places.iter().enumerate().filter_map(at).collect()
    }

    /// Where the number of sites is that all of these columns, counted as they were, are from.
    fn sites(&self, columns: &[usize]) -> Option<usize> {
        let mut of_columns = columns.iter().map(|column| self.companions.get(self.places.get(*column)?)?.sites);
        let (place, release) = of_columns.next()??;
        of_columns.all(|other| other.is_some_and(|(_, other)| other == release)).then_some(place)
    }

    /// The place of the column that an expression is as it stands.
    fn place_of(&self, expr: &Expr) -> Option<usize> {
        match expr {
            Expr::Alias(alias) => self.place_of(&alias.expr),
            Expr::Column(column) => self.plan.schema().maybe_index_of_column(column),
            _ => None,
        }
    }

    fn column(&self, at: usize) -> Expr {
        Expr::Column(Column::from(self.plan.schema().qualified_field(at)))
    }
}

/// Gives names to the ends of intervals: each is used once in a plan, so that joins can tell them apart.
#[derive(Default)]
struct Walk {
    named: usize,
}

impl Walk {
    fn names(&mut self) -> [String; 2] {
        self.named += 1;
        [format!("__kanon_lo_{}", self.named), format!("__kanon_hi_{}", self.named)]
    }

    fn name_of_sites(&mut self) -> String {
        self.named += 1;
        format!("{SITES}_{}", self.named)
    }

    #[recursive::recursive]
    fn carry(&mut self, plan: &LogicalPlan) -> Result<Carried> {
        match plan {
            LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref::<ReleaseNode>() {
                Some(node) if node.unit.question.is_some() => self.release(plan, &node.unit),
                _ => Ok(Carried::without(plan)),
            },
            LogicalPlan::SubqueryAlias(alias) => {
                let input = self.carry(&alias.input)?;
                if input.companions.is_empty() {
                    return Ok(Carried::without(plan));
                }
                let alias = SubqueryAlias::try_new(Arc::new(input.plan), alias.alias.clone())?;
                Ok(Carried { plan: LogicalPlan::SubqueryAlias(alias), ..input })
            }
            LogicalPlan::Projection(projection) => {
                let input = self.carry(&projection.input)?;
                if input.companions.is_empty() {
                    return Ok(Carried::without(plan));
                }
                self.project(input, projection.expr.clone())
            }
            LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) | LogicalPlan::Window(_) => {
                let Some(input) = plan.inputs().first().copied() else { return Ok(Carried::without(plan)) };
                let input = self.carry(input)?;
                if input.companions.is_empty() {
                    return Ok(Carried::without(plan));
                }
                let (before, mut places) = (input.plan.schema().fields().len(), input.places);
                let plan_now = plan.with_new_exprs(plan.expressions(), vec![input.plan])?;
                // What a window adds stands behind all that it was given.
                places.extend(before..plan_now.schema().fields().len());
                Ok(Carried { plan: plan_now, places, companions: input.companions })
            }
            LogicalPlan::Join(join) => self.join(plan, &join.left, &join.right, join.join_type),
            LogicalPlan::Union(union) => self.union(plan, &union.inputs),
            _ => Ok(Carried::without(plan)),
        }
    }

    /// The leaf with the ends of its measures' intervals behind its columns, measure by measure.
    fn release(&mut self, plan: &LogicalPlan, unit: &Arc<ReleaseUnit>) -> Result<Carried> {
        let before = unit.schema.fields().len();
        let Some(first) = before.checked_sub(unit.measures.len()) else { return Ok(Carried::without(plan)) };
        let mut fields: Vec<_> = unit.schema.iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
        let mut companions = BTreeMap::new();
        for measure in 0..unit.measures.len() {
            let Some(of_type) = companion_type(unit, measure) else { return Ok(Carried::without(plan)) };
            let lower = fields.len();
            for name in self.names() {
                fields.push((None, Arc::new(Field::new(name, of_type.clone(), true))));
            }
            let origin = Some(Origin { unit: unit.id, measure });
            companions.insert(first + measure, Companion { origin, ends: [lower, lower + 1], sites: None });
        }
        if matches!(unit.placement, Placement::Sites { .. }) {
            let sites = Some((fields.len(), unit.id));
            fields.push((None, Arc::new(Field::new(self.name_of_sites(), DataType::Int64, true))));
            companions.values_mut().for_each(|companion| companion.sites = sites);
        }
        let schema = DFSchema::new_with_metadata(fields, unit.schema.metadata().clone())?;
        let node = ReleaseNode { unit: Arc::clone(unit), with_intervals: Some(Arc::new(schema)) };
        Ok(Carried {
            plan: LogicalPlan::Extension(Extension { node: Arc::new(node) }),
            places: (0..before).collect(),
            companions,
        })
    }

    /// A projection, and behind it the intervals of what it hands on as it is.
    fn project(&mut self, input: Carried, mut exprs: Vec<Expr>) -> Result<Carried> {
        let before = exprs.len();
        let (mut companions, mut sites) = (BTreeMap::new(), BTreeMap::new());
        for place in 0..before {
            let found = exprs.get(place).and_then(|expr| input.place_of(expr));
            let Some(companion) = found.and_then(|at| input.companions.get(&at)).copied() else { continue };
            let lower = exprs.len();
            for (name, end) in self.names().into_iter().zip(companion.ends) {
                exprs.push(input.column(end).alias(name));
            }
            let sites = companion.sites.map(|(at, release)| {
                let handed_on = sites.entry(at).or_insert_with(|| {
                    exprs.push(input.column(at).alias(self.name_of_sites()));
                    exprs.len() - 1
                });
                (*handed_on, release)
            });
            companions.insert(place, Companion { ends: [lower, lower + 1], sites, ..companion });
        }
        let plan = Projection::try_new(exprs, Arc::new(input.plan)).map(LogicalPlan::Projection)?;
        Ok(Carried { plan, places: (0..before).collect(), companions })
    }

    fn join(&mut self, plan: &LogicalPlan, left: &LogicalPlan, right: &LogicalPlan, of: JoinType) -> Result<Carried> {
        let (with_left, with_right) = match of {
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => (true, true),
            JoinType::LeftSemi | JoinType::LeftAnti => (true, false),
            JoinType::RightSemi | JoinType::RightAnti => (false, true),
            JoinType::LeftMark | JoinType::RightMark => return Ok(Carried::without(plan)),
        };
        let left = if with_left { self.carry(left)? } else { Carried::without(left) };
        let right = if with_right { self.carry(right)? } else { Carried::without(right) };
        if left.companions.is_empty() && right.companions.is_empty() {
            return Ok(Carried::without(plan));
        }
        let (mut places, mut companions) = (Vec::new(), BTreeMap::new());
        let mut offset = 0;
        for (side, shown) in [(&left, with_left), (&right, with_right)] {
            if !shown {
                continue;
            }
            places.extend(side.places.iter().map(|place| place + offset));
            companions.extend(side.companions.iter().map(|(place, companion)| {
                let sites = companion.sites.map(|(at, release)| (at + offset, release));
                (place + offset, Companion { ends: companion.ends.map(|end| end + offset), sites, ..*companion })
            }));
            offset += side.plan.schema().fields().len();
        }
        let plan = plan.with_new_exprs(plan.expressions(), vec![left.plan, right.plan])?;
        Ok(Carried { plan, places, companions })
    }

    /// UNION ALL: an interval where every input has one, of one type.
    fn union(&mut self, plan: &LogicalPlan, inputs: &[Arc<LogicalPlan>]) -> Result<Carried> {
        let inputs = inputs.iter().map(|input| self.carry(input)).collect::<Result<Vec<_>>>()?;
        let before = plan.schema().fields().len();
        let of_column = |column: usize| {
            let found = inputs.iter().map(|input| {
                let companion = input.places.get(column).and_then(|at| input.companions.get(at))?;
                let [lower, _] = companion.ends;
                Some((companion, input.plan.schema().fields().get(lower)?.data_type().clone()))
            });
            let found = found.collect::<Option<Vec<_>>>()?;
            let (first, of_type) = found.first()?;
            let same_type = found.iter().all(|(_, other)| other == of_type);
            let origin = first.origin.filter(|origin| found.iter().all(|(c, _)| c.origin == Some(*origin)));
            same_type.then_some(origin)
        };
        let shared: Vec<(usize, Option<Origin>, [String; 2])> =
            (0..before).filter_map(|column| Some((column, of_column(column)?, self.names()))).collect();
        if shared.is_empty() {
            return Ok(Carried::without(plan));
        }
        let mut with = Vec::with_capacity(inputs.len());
        for input in inputs {
            let mut exprs: Vec<Expr> = input.places.iter().map(|at| input.column(*at)).collect();
            for (column, _, names) in &shared {
                let companion = input.places.get(*column).and_then(|at| input.companions.get(at));
                for (name, end) in names.iter().zip(companion.iter().flat_map(|c| c.ends)) {
                    exprs.push(input.column(end).alias(name));
                }
            }
            with.push(Arc::new(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input.plan))?)));
        }
        let mut companions = BTreeMap::new();
        for (number, (column, origin, _)) in shared.into_iter().enumerate() {
            let lower = before + 2 * number;
            // Rows of several releases.
            companions.insert(column, Companion { origin, ends: [lower, lower + 1], sites: None });
        }
        let plan = LogicalPlan::Union(Union::try_new_with_loose_types(with)?);
        Ok(Carried { plan, places: (0..before).collect(), companions })
    }
}
