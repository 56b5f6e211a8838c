//! What a private release adds to its statistics: a mechanism each, with its share of ε and δ. From public parameters alone.
//!
//! ```text
//! Question + ε ─► statistics, each once ─► shares of ε (kanon_privacy::division) ─┬► Laplace or Gaussian, whichever errs less ─► Cost
//!              │                                                                  └► quantiles, extremes: the exponential mechanism
//!              ├► keys that are not public: a selection, on the count of units
//!              └► no bounds declared: the choice of a norm
//! ```
//!
//! # Selected keys
//! Which keys may be told is decided by units in C sampled groups each. Where no steward declared C and m, what is answered of the selected keys is then as of public ones: all rows of
//! a unit in those count, scaled down together. That takes a second pass over the data, [`Mechanisms::selecting`] and [`Mechanisms::of_selected`].
//!
//! # Shares
//! ε is divided so that the answers' squared errors add up to least. A selection counts as one more statistic that is an answer by itself, and is
//! the count of units if that is asked for. So does the choice of a norm: [`NormChoice::importance`]. δ is divided equally over the statistics that get noise; where keys are selected, the selection has half of it.

use std::num::{NonZeroU32, NonZeroU64, NonZeroU128};

use kanon_privacy::accounts::Cost;
use kanon_privacy::budget::{Delta, Epsilon};
use kanon_privacy::division::divide_epsilon;
use kanon_privacy::noise::Noise;
use kanon_privacy::noise::calibrate::{Norm, smaller_error};
use kanon_privacy::norms::{Level, NormChoice};
use kanon_privacy::ranks::Choice;
use kanon_privacy::select::Selection;
use kanon_privacy::sensitivity::{self, Bounding, Bounds, Clip};
use kanon_privacy::statistics::{Facts, Plan, Statistic};

use super::defaults::{PUBLIC_GROUPS, SPREAD};
use super::{Question, Scaling};
use crate::refusal::Refusal;

/// The mechanisms of a private release.
#[derive(Debug, Clone, PartialEq)]
pub struct Mechanisms {
    /// The statistics, and how aggregates are computed from them.
    pub plan: Plan<usize>,
    /// How a unit's part is bounded.
    pub bounding: Bounding,
    /// One a statistic of the plan that is a number, in its order.
    pub noise: Vec<Noise>,
    /// One a rank, in the plan's order: ranks are its last statistics.
    pub choices: Vec<Choice>,
    /// How keys are selected; `None` where all are public. The noise of [`Statistic::Units`] is then its own, unless they are selected first.
    pub selection: Option<Selection>,
    /// Whether keys are selected in a pass of its own, within the question's own bounds, before anything is asked of them within these.
    pub selects_first: bool,
    /// How the norm is chosen that units are scaled down to, where nobody declared one. Until then `bounding` and `noise` are those of a norm of one row:
    /// see [`Mechanisms::at`].
    pub norm: Option<NormChoice>,
    /// What all of it costs. Zero where nothing but public keys is answered.
    pub cost: Cost,
}

impl Mechanisms {
    /// Whether nothing of the data is answered: public keys alone.
    pub fn is_free(&self) -> bool {
        self.noise.is_empty() && self.choices.is_empty() && self.selection.is_none()
    }

    /// The mechanisms that answer a question with ε.
    ///
    /// # Errors
    /// If ε is too small for the question's bounds.
    pub fn of(question: &Question, epsilon: Epsilon) -> Result<Mechanisms, Refusal> {
        let grid = |x: &usize| question.arguments.get(*x).and_then(|a| a.grid.as_ref());
        let plan = Plan::new(&question.aggregates, |x| Facts {
            never_null: question.arguments.get(*x).is_some_and(|a| a.never_null),
            grid: grid(x),
        });
        let Bounded { bounding, chooses, selects_first } = bounding(question, &plan);
        let bounds = match bounding {
            Bounding::Sampled(bounds) if !selects_first => bounds,
            _ => question.rules.bounds,
        };
        let selects = question.public_cells().is_none();
        let importance = plan.importance(grid);
        // A selection counts units itself.
        let counts = |s: &Statistic<usize>| selects && !selects_first && *s == Statistic::Units;
        let asked: Vec<(&Statistic<usize>, f64)> =
            plan.statistics().iter().zip(importance).filter(|(s, _)| !counts(s)).collect();
        let mut shares: Vec<f64> = asked.iter().map(|(_, importance)| *importance).collect();
        if selects {
            shares.push(1.0);
        }
        let delta = question.rules.delta.get();
        // The exponential mechanism needs no δ.
        let numbers = asked.iter().filter(|(s, _)| !matches!(s, Statistic::Ranks(..))).count();
        let too_small = || {
            Refusal::unsupported("epsilon is too small for this query")
                .hint("Ask for less at once, or with a larger kanon.epsilon.")
        };
        let of_noise = if selects { delta / 2.0 } else { delta };
        let each = Delta::try_from(of_noise / (numbers.max(1) as f64)).map_err(|_| too_small())?;
        if let (true, Bounding::Clipped(clip)) = (chooses, bounding) {
            shares.push(NormChoice::importance(&shares, if selects { SPREAD } else { clip.keys }, each));
        }
        if shares.is_empty() {
            return Ok(Mechanisms {
                plan,
                bounding,
                noise: vec![],
                choices: vec![],
                selection: None,
                selects_first: false,
                norm: None,
                cost: Cost::ZERO,
            });
        }
        let mut shares = divide_epsilon(epsilon, &shares).map_err(|_| too_small())?;
        let mut cost = Cost::ZERO;
        let of_norm = if chooses { Some(shares.pop().ok_or_else(too_small)?) } else { None };
        let selection = if selects {
            let epsilon = shares.pop().ok_or_else(too_small)?;
            let delta = if numbers == 0 { delta } else { delta / 2.0 };
            let delta = Delta::try_from(delta).map_err(|_| too_small())?;
            let selection = Selection::lower_threshold(bounds.groups, epsilon, delta, Some(question.rules.min_cohort))
                .map_err(|_| too_small())?;
            cost = cost.plus(selection.cost());
            Some(selection)
        } else {
            None
        };
        let mut drawn = asked.iter().zip(shares);
        let mut noise = Vec::with_capacity(plan.statistics().len());
        let mut choices = Vec::new();
        for statistic in plan.statistics() {
            if let (true, Some(selection)) = (counts(statistic), &selection) {
                noise.push(selection.noise().clone());
                continue;
            }
            let (_, epsilon) = drawn.next().ok_or_else(too_small)?;
            if let Statistic::Ranks(x, rank) = statistic {
                let (choice, costs) = super::ranks::choice(*x, *rank, question, bounds, epsilon)?;
                cost = cost.plus(costs);
                choices.push(choice);
                continue;
            }
            let contribution = statistic.contribution(grid).ok_or_else(unbounded)?;
            let sensitivity = bounding
                .sensitivity(contribution)
                .map_err(|e| Refusal::unsupported(e.to_string()).hint("Narrow the values with LEAST and GREATEST."))?;
            let l1 = NonZeroU128::new(sensitivity.sum);
            let l2 = Norm::try_from(sensitivity.euclidean.upper()).map_err(|_| too_small())?;
            let calibrated = smaller_error(l1, l2, epsilon, each).map_err(|_| too_small())?;
            cost = cost.plus(calibrated.cost);
            noise.push(calibrated.noise);
        }
        let mut mechanisms = Mechanisms { plan, bounding, noise, choices, selection, selects_first, norm: None, cost };
        if let Some(epsilon) = of_norm {
            // Not so large that no noise for it could be drawn.
            let highest =
                Level::all().rev().find(|level| mechanisms.grown_to(*level).is_some()).ok_or_else(too_small)?;
            let choice = NormChoice::new(epsilon, highest).map_err(|_| too_small())?;
            mechanisms.cost = cost.plus(choice.cost());
            mechanisms.norm = Some(choice);
        }
        Ok(mechanisms)
    }

    /// The first of two passes: the question of the keys alone, and the mechanisms that count their units. None where one pass does.
    pub fn selecting(&self, question: &Question) -> Option<(Question, Mechanisms)> {
        if !self.selects_first {
            return None;
        }
        let counting = Mechanisms {
            plan: Plan::new(&[], |_| Facts { never_null: false, grid: None }),
            bounding: Bounding::Sampled(question.rules.bounds),
            noise: vec![],
            choices: vec![],
            selects_first: false,
            norm: None,
            ..self.clone()
        };
        Some((question.of_keys(), counting))
    }

    /// The second of two passes, over the rows of the keys that were selected.
    pub fn of_selected(&self) -> Mechanisms {
        Mechanisms { selection: None, selects_first: false, ..self.clone() }
    }

    /// The units of each level alone, to choose a norm by: with [`Question::of_keys`].
    pub fn of_levels(&self) -> Mechanisms {
        let plan = Plan::new(&[], |_| Facts { never_null: false, grid: None });
        Mechanisms { plan, noise: vec![], choices: vec![], ..self.of_selected() }
    }

    /// The mechanisms once the norm of this level is chosen, at the same cost. None if no norm is to be chosen, or not this one.
    pub fn at(&self, level: Level) -> Option<Mechanisms> {
        if self.norm.as_ref()?.allows(level) { self.grown_to(level) } else { None }
    }

    /// With noise for the norm of this level in place of that for one row (see [`kanon_privacy::norms`]). None if it could not be drawn.
    fn grown_to(&self, level: Level) -> Option<Mechanisms> {
        let (norm, one) = (level.norm(), NonZeroU64::new(Level::ONE.norm().get())?);
        let bounding = match self.bounding {
            Bounding::Clipped(clip) => Bounding::Clipped(Clip { norm, ..clip }),
            Bounding::Sampled(_) => return None,
        };
        let noise = self.plan.statistics().iter().zip(&self.noise).map(|(statistic, noise)| match statistic {
            Statistic::Units => Some(noise.clone()),
            _ => noise.times(norm.get(), one).ok(),
        });
        Some(Mechanisms { bounding, noise: noise.collect::<Option<_>>()?, norm: None, ..self.clone() })
    }

    /// Whether the noise of a statistic of the plan grows with the norm that is still to be chosen.
    pub fn grows_with_norm(&self, place: usize) -> bool {
        self.norm.is_some() && self.plan.statistics().get(place).is_some_and(|s| *s != Statistic::Units)
    }
}

/// How a unit's part is bounded. Units are scaled down where a norm was declared, or nothing
/// was: sampling loses what heavy units have beyond the bounds; scaling keeps a part of all of it (privacy.md). Ranks, and distinct values, are of whole rows.
fn bounding(question: &Question, plan: &Plan<usize>) -> Bounded {
    let rules = &question.rules;
    let public = question.public_cells().map(at_least_one);
    // Of selected keys there may be any number.
    let keys = public.unwrap_or(NonZeroU32::MAX);
    let of = |bounding, chooses| Bounded { bounding, chooses, selects_first: public.is_none() };
    let once =
        |bounds: Bounds| Bounded { selects_first: false, ..of(Bounding::Sampled(bounds.with_keys(keys)), false) };
    // Over several keys an L2 norm needs Gaussian noise to be worth it, which needs δ.
    let worth = keys.get() == 1 || rules.delta > Delta::ZERO;
    let whole = |s: &Statistic<usize>| matches!(s, Statistic::Ranks(..) | Statistic::Distinct(..));
    // A selection counts units itself, with all of ε.
    let is_counted = public.is_none() && plan.statistics().iter().all(|s| *s == Statistic::Units);
    if !worth || is_counted || plan.statistics().is_empty() || plan.statistics().iter().any(whole) {
        return once(rules.bounds);
    }
    match rules.scaling {
        Scaling::None => once(rules.bounds),
        Scaling::To(norm) => match sensitivity::Norm::try_from(norm.get()) {
            Ok(norm) => of(Bounding::Clipped(Clip::new(norm, rules.bounds.groups, keys)), false),
            Err(_) => once(rules.bounds),
        },
        Scaling::Chosen if plan.statistics().iter().all(|s| *s == Statistic::Units) => {
            of(Bounding::Sampled(Bounds { groups: PUBLIC_GROUPS, ..rules.bounds }.with_keys(keys)), false)
        }
        Scaling::Chosen => of(Bounding::Clipped(Clip::new(Level::ONE.norm(), PUBLIC_GROUPS, keys)), true),
    }
}

/// How a unit's part is bounded.
struct Bounded {
    bounding: Bounding,
    /// Whether the norm is yet to be chosen.
    chooses: bool,
    /// See [`Mechanisms::selects_first`].
    selects_first: bool,
}

fn unbounded() -> Refusal {
    Refusal::unsupported("this aggregate is not supported over a table with private access yet")
}

fn at_least_one(cells: usize) -> NonZeroU32 {
    u32::try_from(cells).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}
