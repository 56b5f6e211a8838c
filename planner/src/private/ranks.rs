//! Quantiles and robust extremes of a private release: the choice of each, its share of ε, and how EXPLAIN tells of it.

use kanon_privacy::accounts::Cost;
use kanon_privacy::budget::Epsilon;
use kanon_privacy::ranks::{Candidates, Choice, Chosen, of_group};
use kanon_privacy::sensitivity::Bounds;
use kanon_privacy::statistics::{Rank, Statistic};

use super::Question;
use super::mechanisms::Mechanisms;
use crate::refusal::Refusal;

/// The choice of a rank of an argument, and what it costs: in each of a unit's C groups an equal share of ε.
pub(super) fn choice(
    argument: usize,
    rank: Rank,
    question: &Question,
    bounds: Bounds,
    epsilon: Epsilon,
) -> Result<(Choice, Cost), Refusal> {
    let too_small = || {
        Refusal::unsupported("epsilon is too small for this query")
            .hint("Ask for less at once, or with a larger kanon.epsilon.")
    };
    let grid = question.arguments.get(argument).and_then(|a| a.grid.as_ref());
    let grid = grid.ok_or_else(|| Refusal::unsupported("a quantile needs bounds"))?;
    let each = of_group(epsilon, bounds.groups).ok_or_else(too_small)?;
    let choice = Choice::new(rank, bounds.rows, grid, each).map_err(|_| too_small())?;
    Ok((choice, Cost::exponential(each, bounds.groups.get())))
}

impl Mechanisms {
    /// The choices with the numbers of their arguments.
    pub fn ranks(&self) -> impl Iterator<Item = (usize, &Choice)> {
        let arguments = self.plan.statistics().iter().filter_map(|s| match s {
            Statistic::Ranks(x, _) => Some(*x),
            _ => None,
        });
        arguments.zip(&self.choices)
    }

    /// The choice that a statistic of the plan is, by its place.
    pub fn choice(&self, place: usize) -> Option<&Choice> {
        self.choices.get(place.checked_sub(self.noise.len())?)
    }
}

/// What the exponential mechanism chooses, a line each.
pub(crate) fn told(mechanisms: &Mechanisms, question: &Question) -> Vec<String> {
    let line = |(argument, choice): (usize, &Choice)| {
        let what = match choice.rank() {
            Rank::Minimum => "robust minimum".to_owned(),
            Rank::Maximum => "robust maximum".to_owned(),
            Rank::Quantile(alpha) => format!("{} quantile", alpha.get()),
        };
        let of = question.arguments.get(argument).map_or_else(String::new, |a| a.expr.to_string());
        let (count, low, high) = ends(choice.candidates());
        format!(
            "chooses the {what} of {of} by the exponential mechanism with epsilon {:.4} a group, among {count} values from {low} to {high}",
            choice.epsilon().get()
        )
    };
    mechanisms.ranks().map(line).collect()
}

fn ends(candidates: &Candidates) -> (u64, f64, f64) {
    let value = |number| match candidates.value(number) {
        Chosen::Integer(value) => value as f64,
        Chosen::Float(value) => value,
    };
    (candidates.count().get(), value(0), value(u32::MAX))
}
