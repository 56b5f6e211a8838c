//! Quantiles of private tables over several sites: a noisy histogram from each, added up here.
//!
//! ```text
//! SELECT k, count(*), median(x) … GROUP BY k   ─►   Projection
//!                                                     Join on k
//!                                                       Release: GROUP BY k
//!                                                       Aggregate: GROUP BY k, quantile of the buckets (crate::bucket_quantile)
//!                                                         Release: sum(1) GROUP BY k, width_bucket(x, L, U, n)
//! ```
//!
//! The buckets of width_bucket are public keys, so all sites answer all of them. One histogram serves all quantiles of an argument. Bounds are the
//! widest that the sites declare.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, JoinType, NullEquality};
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion::logical_expr::expr_fn::when;
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Projection, cast, lit,
};

use super::aggregate::nullable;
use super::expr::unreadable;
use super::outer::tables;
use super::rows::{Rows, range_of, refuse_as_condition};
use super::{Node, Open, Walk};
use crate::bucket_quantile::{Buckets, bucket_quantile};
use crate::conditions::uncast;
use crate::facts::Placement;
use crate::private::MAX_PUBLIC_KEYS;
use crate::refusal::Refusal;
use crate::release_unit::{Measure, MeasureKind};
use crate::split::layout::is_answered_by_site;
use crate::width_bucket::width_bucket;

/// The most buckets of a histogram: each has noise of its own, and between its ends a quantile is interpolated.
const MOST_BUCKETS: usize = 128;

/// A column of the whole answer: from which of the joined parts, and which column of it.
#[derive(Clone, Copy)]
struct PartColumn {
    part: usize,
    column: usize,
}

/// Quantiles of one argument.
struct Histogram {
    /// As its author wrote it, NULL where a FILTER does not hold.
    written: Expr,
    /// The argument over the rows.
    argument: Expr,
    /// The measures, by number, and their fractions.
    quantiles: Vec<(usize, f64)>,
}

impl Walk<'_> {
    /// The releases of an aggregate over several sites with quantiles among its measures, and the answer that they make up. `None` if it has none,
    /// or each site answers for itself.
    pub(super) fn histograms(
        &mut self,
        rows: &Rows,
        keys: &[Expr],
        measures: &[Measure],
        aggregate: &Aggregate,
    ) -> Result<Option<Node>, Refusal> {
        let is_quantile = |m: &Measure| matches!(m.kind, MeasureKind::Quantile(alpha) if alpha > 0.0 && alpha < 1.0);
        if !super::ranks::are_private(rows)
            || !matches!(rows.placement, Placement::Sites { .. })
            || !measures.iter().any(is_quantile)
            || is_answered_by_site(aggregate, self.facts)?
        {
            return Ok(None);
        }
        let lost = || Refusal::unsupported("a quantile lost its argument");
        let mut histograms: Vec<Histogram> = Vec::new();
        let mut others = Vec::new();
        for (number, (measure, written)) in measures.iter().zip(&aggregate.aggr_expr).enumerate() {
            let MeasureKind::Quantile(alpha) = measure.kind else {
                others.push(number);
                continue;
            };
            if !is_quantile(measure) {
                others.push(number);
                continue;
            }
            let argument = filtered(&measure.aggregate, rows.plan.schema()).ok_or_else(lost)?;
            let written = filtered(written, aggregate.input.schema()).ok_or_else(lost)?;
            match histograms.iter_mut().find(|known| known.written == written) {
                Some(known) => known.quantiles.push((number, alpha)),
                None => histograms.push(Histogram { written, argument, quantiles: vec![(number, alpha)] }),
            }
        }
        let mut parts: Vec<LogicalPlan> = Vec::new();
        let mut places: Vec<Option<PartColumn>> = measures.iter().map(|_| None).collect();
        let mut place = |number: usize, from: PartColumn| {
            if let Some(place) = places.get_mut(number) {
                *place = Some(from);
            }
        };
        for histogram in &histograms {
            for (at, (number, _)) in histogram.quantiles.iter().enumerate() {
                place(*number, PartColumn { part: parts.len(), column: keys.len() + at });
            }
            parts.push(self.histogram(rows, keys, histogram, measures, aggregate)?);
        }
        if !others.is_empty() {
            for (at, number) in others.iter().enumerate() {
                place(*number, PartColumn { part: parts.len(), column: keys.len() + at });
            }
            let pick = |number: &usize| aggregate.aggr_expr.get(*number).cloned();
            let written = others.iter().filter_map(pick).collect();
            let source = Aggregate::try_new(Arc::clone(&aggregate.input), aggregate.group_expr.clone(), written)
                .map_err(|e| unreadable(&e))?;
            let shown = Arc::clone(&source.schema);
            let measures = others.iter().filter_map(|number| measures.get(*number)).cloned().collect();
            parts.push(self.answered(rows, keys.to_vec(), measures, &shown, LogicalPlan::Aggregate(source))?);
        }
        let whole = nullable(&aggregate.schema)?;
        let plan = joined(parts, keys.len(), &places, &whole)?;
        Ok(Some(Node::Open(Open { plan, released: true, crafted: true, remote: None, lateral: false })))
    }

    /// The quantiles of one argument: keys, then quantiles.
    fn histogram(
        &mut self,
        rows: &Rows,
        keys: &[Expr],
        histogram: &Histogram,
        measures: &[Measure],
        aggregate: &Aggregate,
    ) -> Result<LogicalPlan, Refusal> {
        let about = tables(rows);
        let shown = aggregate.input.schema();
        super::ranks::refuse_unordered("a quantile", &histogram.argument, rows.plan.schema(), &about)?;
        let integers = histogram.argument.get_type(rows.plan.schema()).is_ok_and(|t| t.is_integer());
        let range = range_of(&histogram.argument, &rows.base);
        // Where bounds are missing, or cannot be, this says so.
        super::private::grid(&histogram.argument, &DataType::Float64, rows)?;
        let mut cells = 1_usize;
        for key in keys {
            let public = super::private::public(key, rows, rows.plan.schema())?;
            let Some(public) = public.filter(|_| !rows.private.as_ref().is_some_and(|p| p.min_cohort_public)) else {
                return Err(Refusal::unsupported(format!(
                    "quantiles of {about} over several sites by keys that are not public are not supported"
                ))
                .hint("Add site to GROUP BY, or group by keys whose values are declared or listed by the query."));
            };
            cells = cells.saturating_mul(public.values.len().max(1));
        }
        let most = MOST_BUCKETS.min((MAX_PUBLIC_KEYS / cells.max(1)).saturating_sub(2));
        let Some(buckets) = Buckets::between(range.lower, range.upper, integers, most) else {
            return Err(Refusal::unsupported(format!("quantiles of {about} over several sites for so many keys"))
                .hint("Group by fewer columns."));
        };
        let bucket = Expr::ScalarFunction(ScalarFunction::new_udf(
            width_bucket(),
            vec![
                cast(histogram.written.clone(), DataType::Float64),
                lit(buckets.lower()),
                lit(buckets.upper()),
                lit(i64::from(buckets.count())),
            ],
        ));
        let key = self.value(&bucket, rows, shown, false)?;
        refuse_as_condition(&key, &rows.base, rows.plan.schema())?;
        let counted = self.measures(&[sum(lit(1_i64))], rows, shown)?;
        let group = aggregate.group_expr.iter().cloned().chain([bucket]).collect();
        let source = Aggregate::try_new(Arc::clone(&aggregate.input), group, vec![sum(lit(1_i64))])
            .map_err(|e| unreadable(&e))?;
        let of_source = Arc::clone(&source.schema);
        let all_keys = keys.iter().cloned().chain([key]).collect();
        let plan = self.answered(rows, all_keys, counted, &of_source, LogicalPlan::Aggregate(source))?;
        let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        let (of_keys, rest) = columns.split_at_checked(keys.len()).unwrap_or((&[], &[]));
        let quantiles = histogram.quantiles.iter().map(|(number, alpha)| {
            let of_type = measures.get(*number).and_then(|m| m.aggregate.get_type(rows.plan.schema()).ok());
            let function = bucket_quantile(buckets, *alpha, of_type.unwrap_or(DataType::Float64));
            let args = rest.to_vec();
            Expr::AggregateFunction(AggregateFunction::new_udf(function, args, false, None, vec![], None))
                .alias(format!("q{number}"))
        });
        let quantiles: Vec<Expr> = quantiles.collect();
        Aggregate::try_new(Arc::new(plan), of_keys.to_vec(), quantiles)
            .map(LogicalPlan::Aggregate)
            .map_err(|e| unreadable(&e))
    }

    fn answered(
        &mut self,
        rows: &Rows,
        keys: Vec<Expr>,
        measures: Vec<Measure>,
        schema: &datafusion::common::DFSchemaRef,
        source: LogicalPlan,
    ) -> Result<LogicalPlan, Refusal> {
        match self.release_rows(rows.clone(), keys, measures, schema, &source)? {
            Node::Open(open) => Ok(open.plan),
            _ => Err(Refusal::unsupported("quantiles within a unit are not supported over several sites")),
        }
    }
}

/// The argument of a quantile as it was before it was made a float, NULL where its FILTER does not hold.
fn filtered(aggregate: &Expr, schema: &DFSchema) -> Option<Expr> {
    let Expr::AggregateFunction(AggregateFunction { params, .. }) = aggregate.clone().unalias_nested().data else {
        return None;
    };
    let x = uncast(params.args.first()?, schema).clone();
    match params.filter {
        Some(filter) => when(*filter, x).end().ok(),
        None => Some(x),
    }
}

/// Parts that all have the same keys first, side by side, with the columns of the whole.
fn joined(
    parts: Vec<LogicalPlan>,
    keys: usize,
    places: &[Option<PartColumn>],
    whole: &DFSchema,
) -> Result<LogicalPlan, Refusal> {
    let name = |part: usize, column: usize| format!("p{part}c{column}");
    let mut all: Option<LogicalPlanBuilder> = None;
    for (number, part) in parts.into_iter().enumerate() {
        let columns = part.schema().columns().into_iter().enumerate();
        let named = columns.map(|(at, column)| Expr::Column(column).alias(name(number, at))).collect();
        let part = Projection::try_new(named, Arc::new(part)).map_err(|e| unreadable(&e))?;
        let part = LogicalPlan::Projection(part);
        all = Some(match all {
            None => LogicalPlanBuilder::from(part),
            Some(before) if keys == 0 => before.cross_join(part).map_err(|e| unreadable(&e))?,
            Some(before) => {
                let of = |part: usize| (0..keys).map(|at| Column::new_unqualified(name(part, at))).collect::<Vec<_>>();
                let on = (of(0), of(number));
                let joined = before.join_detailed(part, JoinType::Inner, on, None, NullEquality::NullEqualsNull);
                joined.map_err(|e| unreadable(&e))?
            }
        });
    }
    let keys = (0..keys).map(|at| Some(PartColumn { part: 0, column: at }));
    let lost = || Refusal::unsupported("an answer lost a column");
    let mut columns = Vec::with_capacity(whole.fields().len());
    for (from, (relation, field)) in keys.chain(places.iter().copied()).zip(whole.iter()) {
        let PartColumn { part, column } = from.ok_or_else(lost)?;
        let value = Expr::Column(Column::new_unqualified(name(part, column)));
        columns.push(value.alias_qualified(relation.cloned(), field.name()));
    }
    let all = all.ok_or_else(lost)?;
    all.project(columns).and_then(LogicalPlanBuilder::build).map_err(|e| unreadable(&e))
}
