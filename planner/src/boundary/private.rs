//! The question of a private release, from its measures and keys.

use std::num::NonZeroU32;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::expr_fn::when;
use datafusion::logical_expr::{Expr, ExprSchemable, lit};
use kanon_privacy::budget::{Delta, Epsilon};
use kanon_privacy::policy::Access;
use kanon_privacy::sensitivity::Bounds;
use kanon_privacy::statistics::{Aggregate, Divisor, Paired};

use super::Walk;
use super::outer::tables;
use super::rows::{Rows, bare, bare_base, range_of};
use crate::conditions::uncast;
use crate::facts::{Domain, PrivatePolicy, Protection};
use crate::parts::{self, names};
use crate::private::defaults::{DISTINCT, GROUPS, ROWS};
use crate::private::{Argument, Key, MAX_PUBLIC_KEYS, PublicKeys, Question, Rules, Scaling, in_order, listed};
use crate::refusal::Refusal;
use crate::release_unit::Measure;

impl Walk<'_> {
    /// What a private release asks; `None` for another access.
    pub(super) fn question(
        &self,
        rows: &Rows,
        keys: &[Expr],
        measures: &[Measure],
    ) -> Result<Option<Question>, Refusal> {
        let Some(protection) = rows.protection.as_ref().filter(|p| p.access == Access::Private) else {
            return Ok(None);
        };
        let policy = rows.private.clone().unwrap_or_default();
        let rules = rules(rows, protection, &policy)?;
        let schema = rows.plan.schema();
        let mut question = Question {
            arguments: Vec::new(),
            aggregates: Vec::new(),
            is_part: Vec::new(),
            keys: Vec::new(),
            rules,
            units_are_disjoint: policy.disjoint,
        };
        for measure in measures {
            let aggregate = question.aggregate(measure, rows, schema)?;
            question.aggregates.push(aggregate);
            question.is_part.push(is_part(measure));
        }
        for key in keys {
            let public = if policy.min_cohort_public { None } else { public(key, rows, schema)? };
            question.keys.push(Key { expr: key.clone(), public });
        }
        question.settle_keys(rows)?;
        Ok(Some(question))
    }
}

/// Whether a coordinator asks for it, to merge it with other sites' parts.
fn is_part(measure: &Measure) -> bool {
    matches!(&measure.aggregate, Expr::AggregateFunction(f) if parts::is_part(f.func.name()))
}

fn rules(rows: &Rows, protection: &Protection, policy: &PrivatePolicy) -> Result<Rules, Refusal> {
    let unset = |what: &str| {
        Refusal::forbidden(format!("{} has private access and no {what} yet", tables(rows)))
            .hint(format!("Its steward sets it with ALTER TABLE … SET ({what} = …)."))
    };
    let epsilon: Epsilon = policy.epsilon_per_query.ok_or_else(|| unset("epsilon_per_query"))?;
    let bounds = if rows.one_row {
        Bounds { groups: NonZeroU32::MIN, rows: NonZeroU32::MIN }
    } else {
        Bounds { groups: policy.max_groups_per_unit.unwrap_or(GROUPS), rows: policy.max_rows_per_group.unwrap_or(ROWS) }
    };
    Ok(Rules {
        epsilon,
        delta: policy.delta_per_query.unwrap_or(Delta::ZERO),
        bounds,
        scaling: match policy.max_norm {
            _ if rows.one_row => Scaling::None,
            Some(norm) => Scaling::To(norm),
            None if policy.max_groups_per_unit.is_none() && policy.max_rows_per_group.is_none() => Scaling::Chosen,
            None => Scaling::None,
        },
        // Values come from rows that are kept: there are no more of them than rows.
        distinct: policy.max_distinct.unwrap_or(DISTINCT).min(bounds.rows),
        min_cohort: protection.min_cohort,
    })
}

impl Question {
    fn aggregate(&mut self, measure: &Measure, rows: &Rows, schema: &DFSchema) -> Result<Aggregate<usize>, Refusal> {
        let about = tables(rows);
        let Expr::AggregateFunction(AggregateFunction { func, params }) = measure.aggregate.clone().unalias() else {
            return Err(Refusal::unsupported("this aggregate is not supported over a protected table"));
        };
        let name = func.name().to_owned();
        let filter = params.filter.as_deref();
        let is_unit = |e: &Expr| rows.unit.as_ref().is_some_and(|unit| bare(e, schema) == Some(unit));
        let not_yet = |hint: &str| {
            Refusal::unsupported(format!("{name} over {about}, which has private access, is not supported yet"))
                .hint(hint.to_owned())
        };
        if let (Some(rank), Some(x)) = (super::ranks::rank(&name, &measure.kind), params.args.first()) {
            super::ranks::refuse_unordered(&name, x, schema, &about)?;
            return Ok(Aggregate::Rank(self.argument(x, filter, schema, Some(rows))?, rank));
        }
        Ok(match (name.as_str(), params.args.as_slice()) {
            ("count" | names::COUNT, [x]) if params.distinct && is_unit(x) && filter.is_some() => {
                return Err(not_yet("Put the condition into WHERE."));
            }
            ("count" | names::COUNT, [x]) if params.distinct && is_unit(x) => Aggregate::CountUnits,
            ("count" | names::COUNT, [x]) if params.distinct => {
                Aggregate::CountDistinct(self.argument(x, filter, schema, None)?, self.rules.distinct)
            }
            ("count" | names::COUNT, [x]) if is_unit(x) || matches!(x, Expr::Literal(v, _) if !v.is_null()) => {
                match filter {
                    None => Aggregate::CountRows,
                    Some(_) => Aggregate::Count(self.argument(&lit(1_i64), filter, schema, None)?),
                }
            }
            ("count" | names::COUNT, [x]) => Aggregate::Count(self.argument(x, filter, schema, None)?),
            ("sum" | names::SUM, [x]) => Aggregate::Sum(self.argument(x, filter, schema, Some(rows))?),
            ("avg" | names::AVG, [x]) => Aggregate::Average(self.argument(x, filter, schema, Some(rows))?),
            ("var", [x]) => Aggregate::Variance(self.argument(x, filter, schema, Some(rows))?, Divisor::Sample),
            ("var_pop", [x]) => Aggregate::Variance(self.argument(x, filter, schema, Some(rows))?, Divisor::Population),
            ("stddev", [x]) => {
                Aggregate::StandardDeviation(self.argument(x, filter, schema, Some(rows))?, Divisor::Sample)
            }
            ("stddev_pop", [x]) => {
                Aggregate::StandardDeviation(self.argument(x, filter, schema, Some(rows))?, Divisor::Population)
            }
            (names::M2, [x]) => {
                let x = self.argument(x, filter, schema, Some(rows))?;
                Aggregate::Paired(Paired::Sxx, x, x)
            }
            (paired, [y, x]) => {
                let measure = match paired {
                    "covar_samp" => Paired::Covariance(Divisor::Sample),
                    "covar_pop" => Paired::Covariance(Divisor::Population),
                    "corr" => Paired::Correlation,
                    "regr_slope" => Paired::Slope,
                    "regr_intercept" => Paired::Intercept,
                    "regr_r2" => Paired::R2,
                    "regr_avgx" | names::AVG_X => Paired::AverageX,
                    "regr_avgy" | names::AVG_Y => Paired::AverageY,
                    "regr_count" | names::COUNT => Paired::Count,
                    "regr_sxx" | names::M2_X => Paired::Sxx,
                    "regr_syy" | names::M2_Y => Paired::Syy,
                    "regr_sxy" | names::C2 => Paired::Sxy,
                    _ => return Err(not_yet("Use count, sum, avg, stddev or corr.")),
                };
                let y = self.argument(y, filter, schema, Some(rows))?;
                Aggregate::Paired(measure, y, self.argument(x, filter, schema, Some(rows))?)
            }
            _ => return Err(not_yet("Use count, sum, avg, stddev or corr.")),
        })
    }

    /// The number of an argument; `bounded` by what is known of these rows' columns, if it is more than counted.
    fn argument(
        &mut self,
        x: &Expr,
        filter: Option<&Expr>,
        schema: &DFSchema,
        bounded: Option<&Rows>,
    ) -> Result<usize, Refusal> {
        let unreadable = |e| super::expr::unreadable(&e);
        // avg casts what sum does not: under casts that lose nothing it is the same argument.
        let x = uncast(&x.clone().unalias(), schema).clone();
        let of_type = x.get_type(schema).map_err(unreadable)?;
        let grid = match bounded {
            None => None,
            Some(rows) => Some(grid(&x, &of_type, rows)?),
        };
        let expr = match filter {
            Some(filter) => when(filter.clone(), x).end().map_err(unreadable)?,
            None => x,
        };
        let is_integer = of_type.is_integer() && of_type != DataType::UInt64;
        let never_null = !expr.nullable(schema).unwrap_or(true) && !of_type.is_floating();
        if let Some(at) = self.arguments.iter().position(|a| a.expr == expr) {
            if let Some(argument) = self.arguments.get_mut(at) {
                argument.grid = argument.grid.or(grid);
            }
            return Ok(at);
        }
        self.arguments.push(Argument { expr, never_null, grid, is_integer });
        Ok(self.arguments.len() - 1)
    }

    /// Public keys are those of an answer whose keys all are, and not too many; else all are selected.
    fn settle_keys(&mut self, rows: &Rows) -> Result<(), Refusal> {
        let cells =
            self.keys.iter().try_fold(1_usize, |cells, key| cells.checked_mul(key.public.as_ref()?.values.len()));
        match cells {
            Some(cells) if cells <= MAX_PUBLIC_KEYS => Ok(()),
            Some(_) => Err(Refusal::unsupported(format!(
                "the keys of this answer have more than {MAX_PUBLIC_KEYS} combinations of values, each of which would be answered"
            ))
            .hint("Group by fewer columns.")),
            None if self.rules.delta == Delta::ZERO => Err(Refusal::forbidden(format!(
                "the keys of this answer are not public, and {} has no delta_per_query to select them with",
                tables(rows)
            ))
            .hint("Its steward declares a key's values with ALTER TABLE … ALTER COLUMN … SET (domain = …), or sets delta_per_query.")),
            None => Ok(()),
        }
    }
}

/// The grid between the bounds of an expression.
pub(super) fn grid(x: &Expr, of_type: &DataType, rows: &Rows) -> Result<kanon_privacy::grid::Grid, Refusal> {
    let integers = of_type.is_integer() && *of_type != DataType::UInt64;
    match range_of(x, &rows.base).grid(integers) {
        Some(Ok(grid)) => Ok(grid),
        Some(Err(error)) => {
            Err(Refusal::unsupported(error.to_string()).hint("Narrow the expression with LEAST and GREATEST."))
        }
        None => {
            let named = super::rows::mentions(x, &rows.base, &|_| true);
            // What an inner query computed has no table of its own.
            let what = named.filter(|b| !b.table.is_empty()).map_or_else(
                || "this expression".to_owned(),
                |b| format!("column \"{}\" of table \"{}\"", b.column, b.table),
            );
            Err(Refusal::forbidden(format!("{what} has no bounds, without which no noise is enough for it"))
                .hint("Narrow it in the query, for example avg(LEAST(GREATEST(x, 0), 100)); its steward declares bounds with ALTER TABLE … ALTER COLUMN … SET (lower = …, upper = …)."))
        }
    }
}

/// The public values of a key.
pub(super) fn public(key: &Expr, rows: &Rows, schema: &DFSchema) -> Result<Option<PublicKeys>, Refusal> {
    let of_type = key.get_type(schema).map_err(|e| super::expr::unreadable(&e))?;
    if let Some(domain) = bare_base(key, &rows.base, schema).and_then(|b| b.domain.as_ref()) {
        return Ok(of_domain(domain, &of_type));
    }
    let keys = listed(key, schema).map(|values| PublicKeys { values: in_order(values), other: None });
    Ok(keys.filter(|keys| keys.values.iter().all(|v| v.is_null() || v.data_type() == of_type)))
}

/// A domain in a key's type; `None` if some value is none of it.
fn of_domain(domain: &Arc<Domain>, of_type: &DataType) -> Option<PublicKeys> {
    let read = |text: &str| {
        let value = ScalarValue::Utf8(Some(text.to_owned())).cast_to(of_type).ok()?;
        (!value.is_null()).then_some(value)
    };
    let values = domain.values().iter().map(|text| read(text)).collect::<Option<Vec<_>>>()?;
    let other = match domain.other() {
        Some(text) => Some(read(text)?),
        None => None,
    };
    Some(PublicKeys { values: in_order(values), other })
}
