//! Measures of a release: which aggregates there are, and what must hold before each is released.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, ExprSchemable, cast, lit};
use kanon_privacy::policy::Access;

use super::Walk;
use super::aggregate::own_unit;
use super::join::{column_is_condition, column_stands};
use super::outer::tables;
use super::rows::{Role, Rows, bare, base, gates, is_unit, measure_used, mentions, refuse_as_condition, refuse_names};
use crate::arguments;
use crate::conditions::{add, conditions, constant, uncast};
use crate::functions;
use crate::parts::names;
use crate::refusal::Refusal;
use crate::release_unit::{Measure, MeasureKind};
use crate::total::literal;

/// A measure with what the rule about missing values needs.
struct Draft {
    measure: Measure,
    /// `x IS NULL` for each argument, left out while the kind releases no count of what it leaves out.
    missing: Vec<Expr>,
    /// Which of a sample's and a population's moment it is: both of one argument together give a count.
    divisor: Option<Divisor>,
    args: Vec<Expr>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Divisor {
    Sample,
    Population,
}

impl Walk<'_> {
    pub(super) fn measures(
        &mut self,
        aggregates: &[Expr],
        rows: &Rows,
        shown: &DFSchema,
    ) -> Result<Vec<Measure>, Refusal> {
        let mut drafts = Vec::new();
        for e in aggregates {
            drafts.push(self.measure(e, rows, shown)?);
        }
        if !super::ranks::are_private(rows) {
            one_value_of_quantiles(&drafts)?;
        }
        let revealing: Vec<bool> = drafts
            .iter()
            .map(|d| {
                d.divisor.is_some()
                    && drafts.iter().any(|o| {
                        // Filters that hold for all, or for the same rows, are not told apart here.
                        o.divisor.is_some() && o.divisor != d.divisor && o.args == d.args
                    })
            })
            .collect();
        Ok(drafts
            .into_iter()
            .zip(revealing)
            .map(|(draft, reveals)| {
                let mut measure = draft.measure;
                if reveals {
                    for condition in draft.missing {
                        add(&mut measure.conditions, condition);
                    }
                }
                measure
            })
            .collect())
    }

    fn measure(&mut self, expr: &Expr, rows: &Rows, shown: &DFSchema) -> Result<Draft, Refusal> {
        let Expr::AggregateFunction(function) = expr.clone().unalias_nested().data else {
            return Err(Refusal::unsupported("this aggregate is not supported over a protected table"));
        };
        let name = function.func.name().to_owned();
        self.refuse_aggregate(&name, &function, rows)?;
        let schema = Arc::clone(rows.plan.schema());
        let is_private = rows.protection.as_ref().is_some_and(|p| p.access == Access::Private);
        let counts = name == "count" || (name == names::COUNT && is_private);
        let mut params = function.params;
        let mut units = false;
        for e in &mut params.args {
            let value = self.value(e, rows, shown, false)?;
            if counts && is_unit(&value, &rows.base, &schema) {
                units = true;
                *e = own_unit(value, rows)?;
                continue;
            }
            refuse_names(&value, &rows.base, &schema)?;
            *e = value;
        }
        for s in &mut params.order_by {
            let value = self.value(&s.expr, rows, shown, false)?;
            refuse_names(&value, &rows.base, &schema)?;
            s.expr = value;
        }
        if units && params.args.len() > 1 {
            return Err(Refusal::unsupported("a count of units together with other columns is not supported")
                .hint("Count the unit column alone."));
        }
        let mut found = Vec::new();
        if let Some(filter) = &mut params.filter {
            let value = self.value(filter, rows, shown, false)?;
            refuse_as_condition(&value, &rows.base, &schema)?;
            if !constant(&value) {
                add(&mut found, value.clone());
            }
            **filter = value;
        }
        let kind = kind_of(&name, &params, &schema)?;
        let ascending = params.order_by.first().is_none_or(|s| s.asc);
        let kind = match kind {
            MeasureKind::Quantile(f) if !ascending => MeasureKind::Quantile(1.0 - f),
            kind => kind,
        };
        // A quantile's fraction is a literal, not a value of the row.
        let values: Vec<Expr> = match kind {
            MeasureKind::Quantile(_) => params.args.iter().take(1).cloned().collect(),
            _ => params.args.clone(),
        };
        // Of cohort access, what is counted for an average is what is averaged.
        if matches!(kind, MeasureKind::Sum | MeasureKind::Avg | MeasureKind::Moments) && !counts {
            for v in &values {
                if !v.get_type(schema.as_ref()).is_ok_and(|t| t.is_numeric() || t == DataType::Null) {
                    return Err(Refusal::unsupported(format!("{name} over a protected table needs a number"))
                        .hint("Turn the value into a number first, for example with extract(epoch from …)."));
                }
            }
        }
        let Parts { present, missing, conditions } = self.parts(&name, &kind, &values, rows, &schema, found)?;
        let present = conjunction(params.filter.iter().map(|f| f.as_ref().clone()).chain(present));
        let dominated = dominated(&name, &kind, &values, &schema);
        let divisor = match name.as_str() {
            "var" | "stddev" | "covar_samp" => Some(Divisor::Sample),
            "var_pop" | "stddev_pop" | "covar_pop" => Some(Divisor::Population),
            _ => None,
        };
        let aggregate = Expr::AggregateFunction(AggregateFunction { func: function.func, params });
        let measure = Measure { aggregate, kind, present, conditions, dominated };
        // Under different casts they are the same column still.
        let args = values.iter().map(|v| uncast(v, &schema).clone()).collect();
        Ok(Draft { measure, missing, divisor, args })
    }

    /// The parts of a measure with these arguments.
    fn parts(
        &mut self,
        name: &str,
        kind: &MeasureKind,
        values: &[Expr],
        rows: &Rows,
        schema: &DFSchema,
        found: Vec<Expr>,
    ) -> Result<Parts, Refusal> {
        let (mut present, mut missing, mut all) = (Vec::new(), Vec::new(), found);
        // These release no count of the rows that they leave out, if the argument is a column as it stands.
        let silent = matches!(
            name,
            "avg"
                | "var"
                | "var_pop"
                | "stddev"
                | "stddev_pop"
                | "corr"
                | "median"
                | "percentile_cont"
                | "approx_percentile_cont"
                | "approx_median"
        ) || functions::PARTS.contains(&name);
        let all_bare = values.iter().all(|v| is_bare(v, rows, schema) || matches!(v, Expr::Literal(..)));
        for value in values {
            let own = rows.unit.as_ref().is_some_and(|u| bare(value, schema) == Some(u));
            if own || matches!(value, Expr::Literal(v, _) if !v.is_null()) {
                continue;
            }
            present.push(value.clone().is_not_null());
            let is_condition = |e: &Expr| column_is_condition(e, &rows.base);
            for condition in conditions(value, schema, &is_condition, &|e| column_stands(e, &rows.base)) {
                if let Some(b) = mentions(&condition, &rows.base, &|b| b.role == Role::Measure) {
                    return Err(measure_used(b));
                }
                add(&mut all, condition);
            }
            if matches!(kind, MeasureKind::Bool) {
                if let Some(b) = mentions(value, &rows.base, &|b| b.role == Role::Measure) {
                    return Err(measure_used(b));
                }
                add(&mut all, value.clone());
            }
            for gate in gates(value, &rows.base) {
                add(&mut all, gate);
            }
            // A product that is zero for a few, or for all but a few, is a filter written as arithmetic.
            for product in arguments::products(value, schema) {
                add(&mut all, product.eq(lit(0.0)));
            }
            // The values of a condition, NULL among them, are parts already.
            let covered = all.contains(value);
            let always = !value.nullable(schema).unwrap_or(true);
            if covered || always || constant(value) {
                continue;
            }
            if silent && all_bare {
                missing.push(value.clone().is_null());
            } else {
                add(&mut all, value.clone().is_null());
            }
        }
        for condition in rows.implied.iter().chain(&rows.multiplied) {
            add(&mut all, condition.clone());
        }
        Ok(Parts { present, missing, conditions: all })
    }

    fn refuse_aggregate(&self, name: &str, function: &AggregateFunction, rows: &Rows) -> Result<(), Refusal> {
        let about = tables(rows);
        match functions::aggregate(name) {
            Some(functions::Aggregate::Measure) => {}
            Some(functions::Aggregate::WithinUnit)
                if matches!(name, "min" | "max") && super::ranks::are_private(rows) => {}
            Some(functions::Aggregate::WithinUnit) => {
                let fraction = if name == "min" { "0.05" } else { "0.95" };
                return Err(Refusal::forbidden(format!("{name} over {about} would tell of single units"))
                    .hint(format!("Use percentile_cont({fraction}) WITHIN GROUP (ORDER BY …).")));
            }
            Some(functions::Aggregate::Refused) | None => {
                let refusal = Refusal::forbidden(format!("aggregate {name} over {about} would tell of single units"));
                return Err(match name {
                    "approx_distinct" => refusal.hint("Use count(DISTINCT …)."),
                    "approx_percentile_cont_with_weight" => refusal.hint("Use approx_percentile_cont."),
                    _ => refusal.hint("Use count, sum, avg, stddev, corr, median or percentile_cont."),
                });
            }
        }
        // The units of a site, which a coordinator adds to those of others.
        let is_part_of_units = name == names::COUNT && super::ranks::are_private(rows);
        if function.params.distinct && name != "count" && !is_part_of_units {
            return Err(Refusal::unsupported(format!("{name}(DISTINCT …) over {about} is not supported"))
                .hint("Leave DISTINCT out, or use count(DISTINCT …)."));
        }
        if function.params.null_treatment.is_some() {
            return Err(Refusal::unsupported("IGNORE NULLS in an aggregate is not supported over a protected table"));
        }
        if !function.params.order_by.is_empty() && !matches!(name, "percentile_cont" | "approx_percentile_cont") {
            return Err(Refusal::unsupported(format!(
                "ORDER BY inside {name} is not supported over a protected table"
            ))
            .hint("Leave ORDER BY out."));
        }
        Ok(())
    }
}

/// What a measure's arguments cut its group into.
struct Parts {
    /// What holds for the rows that count.
    present: Vec<Expr>,
    /// `IS NULL` of each argument that the measure leaves out without telling how many those are.
    missing: Vec<Expr>,
    /// The conditions: see [`Measure::conditions`].
    conditions: Vec<Expr>,
}

/// A column of a table as it stands (under casts that lose nothing).
fn is_bare(value: &Expr, rows: &Rows, schema: &DFSchema) -> bool {
    match uncast(value, schema) {
        Expr::Column(c) => base(&rows.base, c).is_some_and(|b| b.bare && !b.condition),
        _ => false,
    }
}

fn kind_of(
    name: &str,
    params: &datafusion::logical_expr::expr::AggregateFunctionParams,
    schema: &DFSchema,
) -> Result<MeasureKind, Refusal> {
    let _ = schema;
    Ok(match name {
        "count" | names::COUNT if params.distinct => MeasureKind::CountDistinct,
        "count" | "regr_count" => MeasureKind::Count,
        "sum" => MeasureKind::Sum,
        "avg" | "kanon_part_sum" => MeasureKind::Avg,
        "kanon_part_count" if params.args.len() == 1 => MeasureKind::Avg,
        "bool_and" | "bool_or" => MeasureKind::Bool,
        "median" | "approx_median" => MeasureKind::Quantile(0.5),
        "min" | "max" => MeasureKind::Extreme,
        "percentile_cont" | "approx_percentile_cont" => MeasureKind::Quantile(fraction(params.args.get(1))?),
        "var" | "var_pop" | "stddev" | "stddev_pop" | "covar_samp" | "covar_pop" | "corr" => MeasureKind::Moments,
        other if other.starts_with("regr_") || other.starts_with("kanon_part_") => MeasureKind::Moments,
        other => {
            return Err(Refusal::unsupported(format!("aggregate {other} is not supported over a protected table")));
        }
    })
}

/// Quantiles of one answer stand k units apart, which can be seen only of those of one value.
fn one_value_of_quantiles(drafts: &[Draft]) -> Result<(), Refusal> {
    let quantiles: Vec<&Expr> = drafts
        .iter()
        .filter(|d| matches!(d.measure.kind, MeasureKind::Quantile(_)))
        .filter_map(|d| d.args.first())
        .collect();
    for (i, one) in quantiles.iter().enumerate() {
        for other in quantiles.iter().skip(i + 1).filter(|other| *other != one) {
            if !one.column_refs().is_disjoint(&other.column_refs()) {
                return Err(Refusal::unsupported(
                    "quantiles of different expressions of one column of a protected table in one answer are not supported",
                )
                .hint("Ask for them in several queries."));
            }
        }
    }
    Ok(())
}

/// What is tested for dominance: the summands of sums and averages, their squares for second moments, which a single large value makes
/// up just as well.
fn dominated(name: &str, kind: &MeasureKind, values: &[Expr], schema: &DFSchema) -> Vec<Expr> {
    let squared = match kind {
        MeasureKind::Sum | MeasureKind::Avg => false,
        MeasureKind::Moments => {
            !matches!(name, "regr_avgx" | "regr_avgy" | "kanon_part_avg" | "kanon_part_avg_x" | "kanon_part_avg_y")
        }
        _ => return vec![],
    };
    let mut found = Vec::new();
    for value in values {
        for term in arguments::terms(value, schema) {
            if squared {
                let x = cast(term, DataType::Float64);
                add(&mut found, x.clone() * x);
            } else {
                add(&mut found, term);
            }
        }
    }
    found
}

fn fraction(expr: Option<&Expr>) -> Result<f64, Refusal> {
    let refused = || {
        Refusal::unsupported("the fraction of a percentile must be a literal between 0 and 1")
            .hint("Write it as a literal, for example 0.5.")
    };
    if matches!(expr, Some(Expr::Placeholder(_))) {
        // Not run before it is a literal.
        return Ok(0.5);
    }
    let value = expr.and_then(literal).and_then(|v| v.cast_to(&DataType::Float64).ok());
    match value {
        Some(ScalarValue::Float64(Some(f))) if (0.0..=1.0).contains(&f) => Ok(f),
        _ => Err(refused()),
    }
}
