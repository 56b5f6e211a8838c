//! What is publicly known of the noise in a measure, and the columns that carry its interval.
//!
//! A measure of a private release has two *companions*, the ends of its 95% interval. They belong to every answer that is kept, asked for or not,
//! and are read by the outer plan through a leaf that shows them: see [`crate::intervals`].

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::Expr;
use kanon_privacy::expected::{Expected, Short, expected};
use kanon_privacy::noise::Noise;
use kanon_privacy::noisy;
use kanon_privacy::statistics::{Aggregate, Paired, Statistic};

use super::Question;
use super::mechanisms::Mechanisms;
use super::part_noise::PartNoise;
use crate::release_unit::ReleaseUnit;

/// What is said of a column with noise, wherever it is said.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasureNoise {
    /// The noise of each statistic that it is computed from, in the order in which they are described.
    pub parts: Vec<NoisePart>,
    /// Half the width of its 95% interval; `None` where it depends on the data.
    pub expected: Option<Expected>,
    /// Of a count or a sum: its noise exactly, for whoever adds answers up.
    pub exact: Option<PartNoise>,
    /// Scales, and what is expected, are those for a norm of one row, and so many times larger as the norm is, which is chosen when the question is asked.
    pub is_of_norm: bool,
}

/// The noise of one statistic.
#[derive(Debug, Clone, PartialEq)]
pub struct NoisePart {
    /// Which statistic, in words: "the number of rows".
    pub of: String,
    /// `laplace` or `gaussian`.
    pub mechanism: &'static str,
    /// Its scale (σ for a Gaussian), in the units of the statistic.
    pub scale: f64,
}

impl MeasureNoise {
    /// The mechanisms, separated by commas if there are several.
    pub fn mechanism(&self) -> String {
        self.joined(|part| part.mechanism.to_owned())
    }

    /// The scales, separated by commas if there are several; `12.5 norm` where the norm is not chosen yet.
    pub fn scale(&self) -> String {
        self.joined(|part| format!("{}{}", Short(part.scale), self.of_norm()))
    }

    /// Half the width of its 95% interval: a number, or one over the number of rows, `12.5/n`; times the norm, `12.5/n norm`, where it is not chosen yet.
    pub fn error(&self) -> Option<String> {
        self.expected.map(|expected| format!("{expected}{}", self.of_norm()))
    }

    fn of_norm(&self) -> &'static str {
        if self.is_of_norm { " norm" } else { "" }
    }

    fn joined(&self, of: impl Fn(&NoisePart) -> String) -> String {
        self.parts.iter().map(of).collect::<Vec<_>>().join(", ")
    }
}

impl Mechanisms {
    /// What is publicly known of the noise in a measure, by its place in the question.
    pub fn of_measure(&self, question: &Question, measure: usize) -> Option<MeasureNoise> {
        let finaliser = self.plan.finalisers().get(measure)?;
        let grid = |x: &usize| question.arguments.get(*x).and_then(|a| a.grid.as_ref());
        let parts = finaliser.places().into_iter().map(|place| {
            let (statistic, noise) = self.plan.statistics().get(place).zip(self.noise.get(place))?;
            let (of, step) = described(statistic, question);
            let mechanism = match noise {
                Noise::Laplace(_) => "laplace",
                Noise::Gaussian(_) => "gaussian",
            };
            let scale = noise.scale().upper() * step / f64::from(self.bounding.scale());
            Some(NoisePart { of, mechanism, scale })
        });
        let parts = parts.collect::<Option<Vec<_>>>()?;
        let laws: Vec<noisy::Noise> = self.noise.iter().map(law).collect();
        let expected = expected(finaliser, self.plan.statistics(), &laws, self.bounding.scale(), grid);
        let is_of_norm = finaliser.places().into_iter().any(|place| self.grows_with_norm(place));
        let exact = if is_of_norm { None } else { self.of_part(question, measure) };
        Some(MeasureNoise { parts, expected, exact, is_of_norm })
    }
}

/// The law of a mechanism's noise, for intervals: its scale or more.
pub fn law(noise: &Noise) -> noisy::Noise {
    match noise {
        Noise::Laplace(scale) => noisy::Noise::laplace(scale.upper()),
        Noise::Gaussian(scale) => noisy::Noise::gaussian(scale.upper()),
    }
}

/// The names of the columns of an answer that are the ends of a measure's interval.
pub fn companions(measure: usize) -> [String; 2] {
    [format!("__kanon_lo_{measure}"), format!("__kanon_hi_{measure}")]
}

/// The name of the column of an answer of several sites that says how many released the group (bigint).
pub const SITES: &str = "__kanon_sites";

/// The type of the ends of a measure's interval: the measure's own for counts, and a float for all else.
pub fn companion_type(unit: &ReleaseUnit, measure: usize) -> Option<DataType> {
    let aggregate = unit.question.as_ref()?.aggregates.get(measure)?;
    let is_count = match aggregate {
        Aggregate::CountRows | Aggregate::Count(_) | Aggregate::CountUnits | Aggregate::CountDistinct(..) => true,
        Aggregate::Paired(paired, ..) => *paired == Paired::Count,
        _ => false,
    };
    if !is_count {
        return Some(DataType::Float64);
    }
    let at = unit.schema.fields().len().checked_sub(unit.measures.len())? + measure;
    unit.schema.fields().get(at).map(|field| field.data_type().clone())
}

/// An expression over a release unit's input as a person would write it: without the names that the planner gave to tables.
pub fn readable(expr: &Expr) -> String {
    let bare = expr.clone().transform_up(|e| {
        Ok(match e {
            Expr::Column(column) => Transformed::yes(Expr::Column(Column::new_unqualified(column.name))),
            Expr::Alias(alias) => Transformed::yes(*alias.expr),
            other => Transformed::no(other),
        })
    });
    bare.map_or_else(|_| expr.to_string(), |bare| bare.data.to_string()).replace("count(Int64(1))", "count(*)")
}

/// A statistic in words, and the size of its steps.
pub(crate) fn described(statistic: &Statistic<usize>, question: &Question) -> (String, f64) {
    use kanon_privacy::statistics::Present;
    let name = |x: &usize| question.arguments.get(*x).map_or_else(String::new, |a| readable(&a.expr));
    let step = |x: &usize| question.arguments.get(*x).and_then(|a| a.grid.as_ref()).map_or(1.0, |grid| grid.step());
    let middle = |x: &usize| {
        let grid = question.arguments.get(*x).and_then(|a| a.grid.as_ref());
        grid.map_or(0.0, |grid| grid.middle() as f64 * grid.step())
    };
    match statistic {
        Statistic::Rows(Present::All) => ("the number of rows".to_owned(), 1.0),
        Statistic::Rows(Present::One(x)) => (format!("the number of rows with {}", name(x)), 1.0),
        Statistic::Rows(Present::Both(x, y)) => (format!("the number of rows with {} and {}", name(x), name(y)), 1.0),
        Statistic::Units => ("the number of units".to_owned(), 1.0),
        Statistic::Distinct(x, most) => {
            (format!("the number of values of {}, of which a unit adds at most {most}", name(x)), 1.0)
        }
        Statistic::Sum(x) => (format!("the sum of {}", name(x)), step(x)),
        Statistic::Centred(x, _) => (format!("the sum of {} less {}", name(x), middle(x)), step(x)),
        Statistic::Square(x, _) => (format!("the sum of squares of {} less {}", name(x), middle(x)), step(x) * step(x)),
        Statistic::Product(x, y) => (
            format!("the sum of products of {} less {} and {} less {}", name(x), middle(x), name(y), middle(y)),
            step(x) * step(y),
        ),
        Statistic::Ranks(x, _) => (format!("the choice among the values of {}", name(x)), step(x)),
    }
}
