//! The two accounts of a budget: basic composition, and zero-concentrated differential privacy (zCDP).
//!
//! Every charge is entered in both. It is admitted while either has room, and what counts as spent is the smaller of the two.
//! Amounts are whole numbers of small units, rounded up when they are charged and down when they are allowed: sums are exact, the same in
//! any order, and what was added can be taken away again when it leaves the window.

use std::ops::{AddAssign, SubAssign};

use kanon_privacy::budget::{Delta, Epsilon, Rho};

use super::budget::Budget;

/// ε in units of 10^-9.
const NANO: f64 = 1e9;
/// ρ in units of 10^-12.
const PICO: f64 = 1e12;
/// δ in units of 10^-18.
const ATTO: f64 = 1e18;

/// What one release costs, in both accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Basic composition: ε.
    pub epsilon: Epsilon,
    /// Basic composition: δ of noise and selection of keys together.
    pub delta: Delta,
    /// zCDP: ρ.
    pub rho: Rho,
    /// zCDP: δ that comes on top, of the selection of keys. The noise has none: its δ is in the conversion.
    pub zcdp_delta: Delta,
}

/// A sum of costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Amounts {
    pub epsilon_nano: i128,
    pub delta_atto: i128,
    pub rho_pico: i128,
    pub zcdp_delta_atto: i128,
}

/// ε and δ for people: what was spent, or is left.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Spent {
    /// ε.
    pub epsilon: f64,
    /// δ.
    pub delta: f64,
}

impl Amounts {
    /// A cost, rounded up.
    pub(crate) fn of(cost: &Cost) -> Amounts {
        Amounts {
            epsilon_nano: up(cost.epsilon.get(), NANO),
            delta_atto: up(cost.delta.get(), ATTO),
            rho_pico: up(cost.rho.get(), PICO),
            zcdp_delta_atto: up(cost.zcdp_delta.get(), ATTO),
        }
    }

    /// As much as leaves nothing of a budget, in either account.
    pub(crate) fn all_of(budget: &Budget) -> Amounts {
        let (epsilon, delta) = (budget.epsilon.get(), budget.delta.get());
        // ρ = ε is (ε', δ) with ε' > ε, whatever δ is.
        let amounts = (up(epsilon, NANO), up(delta, ATTO), up(epsilon, PICO), up(delta, ATTO));
        Amounts { epsilon_nano: amounts.0, delta_atto: amounts.1, rho_pico: amounts.2, zcdp_delta_atto: amounts.3 }
    }

    /// Whether it can be written down.
    pub(crate) fn is_storable(&self) -> bool {
        [self.epsilon_nano, self.delta_atto, self.rho_pico, self.zcdp_delta_atto]
            .into_iter()
            .all(|amount| i64::try_from(amount).is_ok())
    }

    /// Whether this much fits a budget.
    ///
    /// A run that ends inside the basic account is one of that filter alone, and one that ends inside zCDP is one of that filter alone. Somebody may
    /// choose by an earlier answer where to end, so the δ of the two add up (`kanon_privacy::accounts` says why): half of the budget's is for the releases in
    /// the basic account; a quarter for selections in zCDP, and a quarter for the conversion.
    pub(crate) fn fits(&self, budget: &Budget) -> bool {
        let quarter = quarter(budget);
        let basic =
            self.epsilon_nano <= down(budget.epsilon.get(), NANO) && self.delta_atto <= down(2.0 * quarter, ATTO);
        let zcdp = quarter > 0.0
            && self.zcdp_delta_atto <= down(quarter, ATTO)
            && self.zcdp_epsilon(quarter) <= budget.epsilon.get();
        basic || zcdp
    }

    /// What was spent of a budget: the smaller account's.
    pub(crate) fn spent(&self, budget: &Budget) -> Spent {
        let quarter = quarter(budget);
        let basic = Spent { epsilon: number(self.epsilon_nano, NANO), delta: number(self.delta_atto, ATTO) };
        if *self == Amounts::default() || !self.is_zcdp_smaller(quarter, basic.epsilon) {
            return basic;
        }
        Spent { epsilon: self.zcdp_epsilon(quarter), delta: number(self.zcdp_delta_atto, ATTO) + quarter }
    }

    /// What is left of a budget, in the account that has the smaller part spent: ε, and δ for releases.
    pub(crate) fn left(&self, budget: &Budget) -> Spent {
        let quarter = quarter(budget);
        let basic = number(self.epsilon_nano, NANO);
        let (epsilon, delta, of) = if self.is_zcdp_smaller(quarter, basic) {
            (self.zcdp_epsilon(quarter), self.zcdp_delta_atto, quarter)
        } else {
            (basic, self.delta_atto, 2.0 * quarter)
        };
        Spent {
            epsilon: (budget.epsilon.get() - epsilon).max(0.0),
            delta: number((down(of, ATTO) - delta).max(0), ATTO),
        }
    }

    fn is_zcdp_smaller(&self, delta: f64, basic_epsilon: f64) -> bool {
        delta > 0.0 && self.zcdp_epsilon(delta) < basic_epsilon
    }

    /// ε of (ε, δ) from ρ: ρ + 2√(ρ ln(1/δ)) (Bun and Steinke 2016, proposition 1.3), a little more than the exact curve.
    fn zcdp_epsilon(&self, delta: f64) -> f64 {
        let rho = number(self.rho_pico, PICO);
        // Ten roundings of at most half a unit in the last place.
        (rho + 2.0 * (rho * -delta.ln()).sqrt()) * (1.0 + 8.0 * f64::EPSILON)
    }
}

impl AddAssign for Amounts {
    fn add_assign(&mut self, other: Amounts) {
        self.epsilon_nano = self.epsilon_nano.saturating_add(other.epsilon_nano);
        self.delta_atto = self.delta_atto.saturating_add(other.delta_atto);
        self.rho_pico = self.rho_pico.saturating_add(other.rho_pico);
        self.zcdp_delta_atto = self.zcdp_delta_atto.saturating_add(other.zcdp_delta_atto);
    }
}

impl SubAssign for Amounts {
    fn sub_assign(&mut self, other: Amounts) {
        self.epsilon_nano = self.epsilon_nano.saturating_sub(other.epsilon_nano);
        self.delta_atto = self.delta_atto.saturating_sub(other.delta_atto);
        self.rho_pico = self.rho_pico.saturating_sub(other.rho_pico);
        self.zcdp_delta_atto = self.zcdp_delta_atto.saturating_sub(other.zcdp_delta_atto);
    }
}

fn quarter(budget: &Budget) -> f64 {
    budget.delta.get() / 4.0
}

/// Rounded up to a whole number of units. The number nearest to a decimal one counts as that one: ten charges of 0.1 are 1.
#[allow(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
fn up(value: f64, unit: f64) -> i128 {
    (value * unit).ceil() as i128
}

#[allow(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
fn down(value: f64, unit: f64) -> i128 {
    (value * unit).floor() as i128
}

#[allow(clippy::cast_precision_loss, reason = "for people, and for a conversion that rounds up")]
fn number(amount: i128, unit: f64) -> f64 {
    amount as f64 / unit
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn budget(epsilon: f64, delta: f64) -> Budget {
        Budget { epsilon: epsilon.try_into().unwrap(), delta: delta.try_into().unwrap(), window: None }
    }

    fn cost(epsilon: f64, delta: f64, rho: f64, zcdp_delta: f64) -> Amounts {
        Amounts::of(&Cost {
            epsilon: epsilon.try_into().unwrap(),
            delta: delta.try_into().unwrap(),
            rho: rho.try_into().unwrap(),
            zcdp_delta: zcdp_delta.try_into().unwrap(),
        })
    }

    /// How many of these fit.
    fn count(each: Amounts, budget: &Budget) -> usize {
        let mut sum = Amounts::default();
        (0..10_000)
            .take_while(|_| {
                sum += each;
                sum.fits(budget)
            })
            .count()
    }

    #[test]
    fn decimal_charges_fill_a_decimal_budget_exactly() {
        for (epsilon, each, expected) in [(10.0, 0.1, 100), (1.0, 0.3, 3), (0.7, 0.07, 10), (1e-3, 1e-6, 1000)] {
            assert_eq!(count(cost(each, 0.0, each * each / 2.0, 0.0), &budget(epsilon, 0.0)), expected, "{each}");
        }
        // δ of the releases has half of the budget.
        assert_eq!(count(cost(1e-6, 1e-8, 1.0, 1.0 / 3.0), &budget(10.0, 1e-6)), 50);
    }

    #[test]
    fn small_charges_fit_longer_by_zcdp() {
        // A hundred fill the basic account; Σρ = 0.5 at δ = 2.5e-7 is ε = 0.5 + 2√(0.5 · 15.2) = 6.0.
        let each = cost(0.1, 0.0, 0.005, 0.0);
        let found = count(each, &budget(10.0, 1e-6));
        assert!((200..300).contains(&found), "{found}");
        assert_eq!(count(each, &budget(10.0, 0.0)), 100, "no δ, no conversion");
        // Its own δ counts there too.
        assert_eq!(count(cost(0.1, 1e-8, 0.005, 1e-8), &budget(10.0, 1e-6)), 50);
        let mut sum = Amounts::default();
        (0..100).for_each(|_| sum += each);
        let budget = budget(10.0, 1e-6);
        let spent = sum.spent(&budget);
        assert!((5.9..6.1).contains(&spent.epsilon), "{spent:?}");
        assert_eq!(spent.delta, 2.5e-7);
        assert!((sum.left(&budget).epsilon - (10.0 - spent.epsilon)).abs() < 1e-12);
    }

    #[test]
    fn a_few_large_charges_are_shown_by_basic_composition() {
        let sum = cost(1.0, 1e-8, 0.5, 1e-8);
        let budget = budget(10.0, 1e-6);
        assert_eq!(sum.spent(&budget), Spent { epsilon: 1.0, delta: 1e-8 });
        assert_eq!(sum.left(&budget), Spent { epsilon: 9.0, delta: 4.9e-7 });
        assert_eq!(Amounts::default().spent(&budget), Spent::default());
    }

    #[test]
    fn all_of_a_budget_leaves_nothing_of_it() {
        for (epsilon, delta) in [(10.0, 1e-6), (0.1, 0.0), (1e6, 0.5), (1e-3, 1e-12)] {
            let budget = budget(epsilon, delta);
            let mut sum = Amounts::all_of(&budget);
            assert!(sum.is_storable());
            assert_eq!(sum.left(&budget).epsilon, 0.0, "{epsilon} {delta}");
            sum += cost(1e-9, 0.0, 1e-12, 0.0);
            assert!(!sum.fits(&budget), "{epsilon} {delta}");
        }
    }

    #[test]
    fn charges_round_up_and_vanish_exactly() {
        let tiny = cost(1e-12, 1e-30, 1e-20, 0.0);
        assert_eq!((tiny.epsilon_nano, tiny.delta_atto, tiny.rho_pico, tiny.zcdp_delta_atto), (1, 1, 1, 0));
        let mut sum = Amounts::default();
        for each in [cost(0.1, 1e-9, 0.005, 0.0), cost(0.7, 3e-9, 0.2, 0.0), tiny] {
            sum += each;
        }
        for each in [tiny, cost(0.1, 1e-9, 0.005, 0.0), cost(0.7, 3e-9, 0.2, 0.0)] {
            sum -= each;
        }
        assert_eq!(sum, Amounts::default());
        // Nothing is so large that it comes round to fit.
        assert!(!cost(f64::MAX, 0.5, f64::MAX, 0.5).fits(&budget(1e6, 0.9)));
    }
}
