//! The question behind a private release: its arguments with their bounds, its aggregates as statistics know them, its keys, and what its
//! policies allow. From query, catalog and policies alone.
//!
//! ```text
//! ReleaseUnit.measures ─► Argument: an expression, whether it can be NULL, the bounds it is clamped to
//!                      ─► kanon_privacy::statistics::Aggregate over the arguments' numbers
//! ReleaseUnit.keys     ─► Key: public values (a domain, or what the query itself lists), or values that must be selected
//! ```
//!
//! # Bounds
//! Bounds of an expression follow from its columns' by interval arithmetic. They decide only how far a value is clamped, and so how exact an answer
//! is: every value is clamped to them before it counts, so no mistake in them can cost anybody's privacy.

pub mod accuracy;
pub mod defaults;
pub mod mechanisms;
pub mod part_noise;
pub mod ranks;

use std::num::NonZeroU32;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};
use kanon_privacy::budget::{Delta, Epsilon};
use kanon_privacy::grid::{Grid, GridError};
use kanon_privacy::policy::MinCohort;
use kanon_privacy::sensitivity::Bounds;
use kanon_privacy::statistics::Aggregate;

use crate::facts::MaxNorm;
use crate::width_bucket;

/// The most public keys of one answer: the product of the keys' domains.
pub const MAX_PUBLIC_KEYS: usize = 10_000;

/// What a private release asks, and within which bounds.
#[derive(Debug, Clone)]
pub struct Question {
    /// What the aggregates are about, each expression once. Over the release unit's input.
    pub arguments: Vec<Argument>,
    /// One a measure of the release unit, in its order; arguments by number.
    pub aggregates: Vec<Aggregate<usize>>,
    /// One a measure: whether it is a part that a coordinator adds to those of other sites. Its answer is then neither rounded nor cut to
    /// what is possible: of many small numbers that would add up to a bias.
    pub is_part: Vec<bool>,
    /// One a key of the release unit, in its order.
    pub keys: Vec<Key>,
    /// What the policies of its tables allow.
    pub rules: Rules,
    /// Whether nobody is at two of the sites that are asked, as their operators declare.
    pub units_are_disjoint: bool,
}

impl Question {
    /// The number of cells that are answered whatever the data, if all keys are public: one without keys.
    pub fn public_cells(&self) -> Option<usize> {
        self.keys.iter().try_fold(1_usize, |cells, key| cells.checked_mul(key.public.as_ref()?.values.len()))
    }

    /// The question of the keys alone.
    pub fn of_keys(&self) -> Question {
        Question { arguments: vec![], aggregates: vec![], is_part: vec![], ..self.clone() }
    }
}

/// An argument of an aggregate. FILTER is part of it: where the filter does not hold, it is NULL.
#[derive(Debug, Clone)]
pub struct Argument {
    /// The expression.
    pub expr: Expr,
    /// Whether every row has a value.
    pub never_null: bool,
    /// The grid between its bounds: of integers if [`Argument::is_integer`]. `None` where only its presence or its distinct values count.
    pub grid: Option<Grid>,
    /// Whether its values are integers of at most 64 bits.
    pub is_integer: bool,
}

/// A key of the answer.
#[derive(Debug, Clone)]
pub struct Key {
    /// The expression.
    pub expr: Expr,
    /// Its public values; `None` if values leave only when they are selected.
    pub public: Option<PublicKeys>,
}

/// The values that are answered whether there are rows or not.
#[derive(Debug, Clone, PartialEq)]
pub struct PublicKeys {
    /// In ascending order, of the key's type, each once. NULL only if the query itself makes it.
    pub values: Vec<ScalarValue>,
    /// The one that stands for all values outside, NULL too. `None`: rows outside are dropped.
    pub other: Option<ScalarValue>,
}

/// What the policies of the tables allow together.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// The most ε of one query, and what it spends if it does not say.
    pub epsilon: Epsilon,
    /// The most δ of one query.
    pub delta: Delta,
    /// C and m; one and one where each unit has one row.
    pub bounds: Bounds,
    /// Where keys are public: whether units are scaled down instead of sampled.
    pub scaling: Scaling,
    /// d
    pub distinct: NonZeroU32,
    /// k, for keys that are selected.
    pub min_cohort: MinCohort,
}

/// What units are scaled down to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scaling {
    /// To nothing: they are sampled. So it is where a steward declared how many groups and rows count, or a unit has one row.
    None,
    /// To the norm Λ that a steward declared.
    To(MaxNorm),
    /// To a norm that is chosen privately, as nothing was declared.
    Chosen,
}

/// Values from `lower` to `upper`, either of which may be infinite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Range {
    pub lower: f64,
    pub upper: f64,
}

impl Range {
    pub(crate) const ALL: Range = Range { lower: f64::NEG_INFINITY, upper: f64::INFINITY };

    pub(crate) fn of(lower: f64, upper: f64) -> Range {
        // Differences of infinities say nothing.
        Range {
            lower: if lower.is_nan() { f64::NEG_INFINITY } else { lower },
            upper: if upper.is_nan() { f64::INFINITY } else { upper },
        }
    }

    pub(crate) fn or(self, other: Range) -> Range {
        Range::of(self.lower.min(other.lower), self.upper.max(other.upper))
    }

    fn hull(values: [f64; 4]) -> Range {
        if values.iter().any(|v| v.is_nan()) {
            return Range::ALL;
        }
        Range::of(
            values.iter().copied().fold(f64::INFINITY, f64::min),
            values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        )
    }

    /// The grid between them, if they are finite. A constant is given some room.
    pub(crate) fn grid(self, integers: bool) -> Option<Result<Grid, GridError>> {
        if !self.lower.is_finite() || !self.upper.is_finite() {
            return None;
        }
        let (lower, upper) = match self {
            Range { lower, upper } if lower < upper => (lower, upper),
            Range { lower: 0.0, .. } => (0.0, 1.0),
            Range { lower, upper } => (lower.min(0.0), upper.max(0.0)),
        };
        let whole = |bound: f64| (bound.abs() < 9.2e18).then_some(bound as i64);
        match (integers, whole(lower.floor()), whole(upper.ceil())) {
            (true, Some(lower), Some(upper)) => Some(Grid::integers(lower, upper)),
            _ => Some(Grid::new(lower, upper)),
        }
    }
}

/// The values that an expression can have, given those of its columns.
pub(crate) fn range(expr: &Expr, of_column: &dyn Fn(&Column) -> Range) -> Range {
    let of = |e: &Expr| range(e, of_column);
    match expr {
        Expr::Column(c) => of_column(c),
        Expr::Literal(value, _) => number(value).map_or(Range::ALL, |v| Range::of(v, v)),
        Expr::Alias(a) => of(&a.expr),
        Expr::Cast(c) if c.field.data_type().is_numeric() => of(&c.expr),
        Expr::TryCast(c) if c.field.data_type().is_numeric() => of(&c.expr),
        Expr::Negative(e) => {
            let r = of(e);
            Range::of(-r.upper, -r.lower)
        }
        Expr::Case(case) => branches(case, &of),
        Expr::BinaryExpr(b) => operation(b.op, of(&b.left), of(&b.right)),
        Expr::ScalarFunction(f) => match (f.func.name(), f.args.as_slice()) {
            ("kanon_add", [a, b]) => operation(Operator::Plus, of(a), of(b)),
            ("kanon_subtract", [a, b]) => operation(Operator::Minus, of(a), of(b)),
            ("kanon_multiply", [a, b]) => operation(Operator::Multiply, of(a), of(b)),
            ("kanon_divide", [a, b]) => operation(Operator::Divide, of(a), of(b)),
            ("kanon_modulo", [a, b]) => operation(Operator::Modulo, of(a), of(b)),
            // Both ignore NULLs.
            ("greatest", args) if !args.is_empty() => {
                args.iter().map(of).fold(Range::of(f64::NEG_INFINITY, f64::NEG_INFINITY), |a, b| {
                    Range::of(a.lower.max(b.lower), a.upper.max(b.upper))
                })
            }
            ("least", args) if !args.is_empty() => {
                args.iter().map(of).fold(Range::of(f64::INFINITY, f64::INFINITY), |a, b| {
                    Range::of(a.lower.min(b.lower), a.upper.min(b.upper))
                })
            }
            ("coalesce" | "nvl", [first, rest @ ..]) => rest.iter().map(of).fold(of(first), Range::or),
            ("nullif", [a, _]) => of(a),
            ("abs", [a]) => {
                let a = of(a);
                let most = a.lower.abs().max(a.upper.abs());
                let least = if a.lower > 0.0 || a.upper < 0.0 { a.lower.abs().min(a.upper.abs()) } else { 0.0 };
                Range::of(least, most)
            }
            ("round" | "floor" | "ceil" | "trunc" | "kanon_rint", [a]) => {
                let a = of(a);
                Range::of(a.lower.floor(), a.upper.ceil())
            }
            ("sqrt", [a]) => {
                let a = of(a);
                Range::of(a.lower.max(0.0).sqrt(), a.upper.max(0.0).sqrt())
            }
            ("sign" | "signum" | "sin" | "cos", [_]) => Range::of(-1.0, 1.0),
            (width_bucket::NAME, [.., n]) => match of(n) {
                n if n.lower == n.upper && n.upper.is_finite() => Range::of(0.0, n.upper + 1.0),
                _ => Range::ALL,
            },
            _ => Range::ALL,
        },
        _ => Range::ALL,
    }
}

fn operation(op: Operator, a: Range, b: Range) -> Range {
    match op {
        Operator::Plus => Range::of(a.lower + b.lower, a.upper + b.upper),
        Operator::Minus => Range::of(a.lower - b.upper, a.upper - b.lower),
        Operator::Multiply => Range::hull([a.lower * b.lower, a.lower * b.upper, a.upper * b.lower, a.upper * b.upper]),
        Operator::Divide if b.lower > 0.0 || b.upper < 0.0 => {
            Range::hull([a.lower / b.lower, a.lower / b.upper, a.upper / b.lower, a.upper / b.upper])
        }
        Operator::Modulo if b.lower.is_finite() && b.upper.is_finite() => {
            let most = b.lower.abs().max(b.upper.abs());
            Range::of(-most, most)
        }
        _ => Range::ALL,
    }
}

fn branches(case: &Case, of: &dyn Fn(&Expr) -> Range) -> Range {
    let values = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
    let mut all: Option<Range> = None;
    for value in values {
        if matches!(value.as_ref(), Expr::Literal(v, _) if v.is_null()) {
            continue;
        }
        let one = of(value);
        all = Some(all.map_or(one, |all| all.or(one)));
    }
    all.unwrap_or(Range::ALL)
}

/// A number of any type.
fn number(value: &ScalarValue) -> Option<f64> {
    match value.cast_to(&DataType::Float64) {
        Ok(ScalarValue::Float64(number)) if value.data_type().is_numeric() => number.filter(|n| !n.is_nan()),
        _ => None,
    }
}

/// The values that the query itself lists for a key: those of a CASE whose branches are literals, of a boolean condition that is never
/// NULL, of `width_bucket`.
pub(crate) fn listed(expr: &Expr, schema: &DFSchema) -> Option<Vec<ScalarValue>> {
    match expr {
        Expr::Alias(a) => listed(&a.expr, schema),
        Expr::Literal(value, _) => Some(vec![value.clone()]),
        Expr::Case(case) => {
            let of_type = expr.get_type(schema).ok()?;
            let mut values = Vec::new();
            for value in case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr) {
                let Expr::Literal(value, _) = bare(value) else { return None };
                values.push(value.cast_to(&of_type).ok()?);
            }
            if case.else_expr.is_none() {
                values.push(ScalarValue::try_from(&of_type).ok()?);
            }
            Some(values)
        }
        Expr::ScalarFunction(f) if f.func.name() == width_bucket::NAME => {
            let Expr::Literal(count, _) = bare(f.args.get(3)?) else { return None };
            let ScalarValue::Int64(Some(count)) = count.cast_to(&DataType::Int64).ok()? else { return None };
            let count = i32::try_from(count).ok().filter(|count| (1..=MAX_PUBLIC_KEYS as i32).contains(count))?;
            Some((0..=count + 1).map(|bucket| ScalarValue::Int32(Some(bucket))).collect())
        }
        Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNotUnknown(_) => Some(vec![ScalarValue::Boolean(Some(false)), ScalarValue::Boolean(Some(true))]),
        _ => None,
    }
}

/// An expression without names and casts around it.
fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(a) => bare(&a.expr),
        Expr::Cast(c) => bare(&c.expr),
        Expr::TryCast(c) => bare(&c.expr),
        other => other,
    }
}

/// In ascending order, NULL last, each once.
pub(crate) fn in_order(mut values: Vec<ScalarValue>) -> Vec<ScalarValue> {
    values.sort_by(|a, b| match (a.is_null(), b.is_null()) {
        (false, false) => a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal),
        (a, b) => a.cmp(&b),
    });
    values.dedup();
    values
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use datafusion::functions::core::expr_fn::{coalesce, greatest, least};
    use datafusion::logical_expr::expr_fn::when;
    use datafusion::logical_expr::{col, lit};

    use super::*;
    use crate::checked::{Arithmetic, arithmetic};

    fn known(expr: &Expr) -> (f64, f64) {
        let of_column = |c: &Column| match c.name.as_str() {
            "age" => Range::of(0.0, 110.0),
            "change" => Range::of(-5.0, 3.0),
            _ => Range::ALL,
        };
        let range = range(expr, &of_column);
        (range.lower, range.upper)
    }

    #[test]
    fn bounds_follow_from_those_of_columns() {
        let op = |op, a, b| arithmetic(op, a, b);
        assert_eq!(known(&op(Arithmetic::Add, col("age"), col("change"))), (-5.0, 113.0));
        assert_eq!(known(&op(Arithmetic::Subtract, col("age"), col("change"))), (-3.0, 115.0));
        assert_eq!(known(&op(Arithmetic::Multiply, col("age"), col("change"))), (-550.0, 330.0));
        assert_eq!(known(&op(Arithmetic::Divide, col("age"), lit(10))), (0.0, 11.0));
        assert_eq!(known(&op(Arithmetic::Divide, col("age"), col("change"))), (f64::NEG_INFINITY, f64::INFINITY));
        assert_eq!(known(&least(vec![greatest(vec![col("any"), lit(0)]), lit(9.5)])), (0.0, 9.5));
        assert_eq!(known(&least(vec![col("any"), lit(9.5)])), (f64::NEG_INFINITY, 9.5));
        assert_eq!(known(&coalesce(vec![col("change"), lit(7)])), (-5.0, 7.0));
        let case = when(col("any").gt(lit(1)), lit(2)).when(col("any").gt(lit(0)), col("change")).end().unwrap();
        assert_eq!(known(&case), (-5.0, 3.0));
        assert_eq!(known(&-col("change")), (-3.0, 5.0));
        assert_eq!(known(&op(Arithmetic::Multiply, col("any"), lit(0))).0, f64::NEG_INFINITY);
    }

    #[test]
    fn a_constant_has_a_grid_too() {
        for (constant, bounds) in [(0.0, (0.0, 1.0)), (2.0, (0.0, 2.0)), (-3.0, (-3.0, 0.0))] {
            let grid = Range::of(constant, constant).grid(true).unwrap().unwrap();
            assert_eq!((grid.lower(), grid.upper()), bounds);
        }
        assert!(Range::ALL.grid(true).is_none());
        assert!(Range::of(0.0, f64::INFINITY).grid(false).is_none());
        assert!(Range::of(-1e300, 1e300).grid(false).unwrap().is_err());
    }
}
