//! What releases cost, added up in two accounts, and when one more is admitted.
//!
//! Every release is written into both accounts:
//!
//! | mechanism | basic composition | zCDP |
//! | --- | --- | --- |
//! | Laplace | (ε, 0) | ρ = ε²/2 (Bun and Steinke 2016, proposition 1.4) |
//! | exponential, C groups a unit | (C·ε, 0) | ρ = C·ε²/8 (Cesar and Rogers 2021, lemma 3.2: its range is bounded by ε) |
//! | Gaussian | (ε, δ_noise) | ρ = Δ²/(2σ²) |
//! | selection of keys, besides its noise | (0, δ_t) | δ_t |
//!
//! **How δ is split.** Let the budget be (ε, δ). The basic account may spend ε and δ/2. The zCDP account may spend δ/4 on selections and as much ρ as
//! converts to ε at δ/4. A release is admitted while either account holds it. Then all that is released together is (ε, δ)-private, also when the
//! questions depend on earlier answers: sums only grow, so every transcript ends inside one of the accounts at least; those that end inside the basic one are transcripts
//! of the filter that has this account alone, which is (ε, δ/2)-private, and the same holds for the other; so for any set of transcripts, split
//! by where they end, the two δ add up to δ. The shares are equal because nothing smaller can be shown: who sees from an early answer
//! that the basic account's δ struck, and otherwise turns to the other account, collects both.
//!
//! All arithmetic rounds against the analyst: sums up, what is left down.

use crate::budget::{Delta, Epsilon, Rho};
use crate::noise::curve::zcdp_epsilon;
use crate::rounding::{down, up};

/// Sums of what releases cost: of one, of several at once, or of all so far. Never less than the truth; never negative, never NaN.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cost {
    epsilon: f64,
    delta_noise: f64,
    rho: f64,
    delta_selection: f64,
}

impl Cost {
    /// Nothing.
    pub const ZERO: Cost = Cost { epsilon: 0.0, delta_noise: 0.0, rho: 0.0, delta_selection: 0.0 };

    /// A pure ε-private mechanism, such as Laplace noise.
    pub fn pure(epsilon: Epsilon) -> Cost {
        let epsilon = epsilon.get();
        Cost { epsilon, rho: up(up(epsilon * epsilon) / 2.0), ..Cost::ZERO }
    }

    /// An exponential mechanism with `epsilon` in each group, for units that are in at most `groups` of them. Only for the exponential mechanism itself,
    /// whose range is bounded; permute-and-flip, say, is merely pure.
    pub fn exponential(epsilon: Epsilon, groups: u32) -> Cost {
        let (epsilon, groups) = (epsilon.get(), f64::from(groups));
        Cost { epsilon: times(epsilon, groups), rho: up(up(up(epsilon * epsilon) / 8.0) * groups), ..Cost::ZERO }
    }

    /// Gaussian noise that is (`epsilon`, `delta`)-private and `rho`-concentrated.
    pub fn gaussian(epsilon: Epsilon, delta: Delta, rho: Rho) -> Cost {
        Cost { epsilon: epsilon.get(), delta_noise: delta.get(), rho: rho.get(), ..Cost::ZERO }
    }

    /// The selection of keys, without the noise on their counts: `delta` is the chance that a unit shows by a key that is its alone.
    pub fn selection(delta: Delta) -> Cost {
        Cost { delta_selection: delta.get(), ..Cost::ZERO }
    }

    /// Both together: every sum rounded up, and left alone where nothing is added.
    #[must_use]
    pub fn plus(self, other: Cost) -> Cost {
        Cost {
            epsilon: add(self.epsilon, other.epsilon),
            delta_noise: add(self.delta_noise, other.delta_noise),
            rho: add(self.rho, other.rho),
            delta_selection: add(self.delta_selection, other.delta_selection),
        }
    }

    /// All together.
    pub fn total(costs: impl IntoIterator<Item = Cost>) -> Cost {
        costs.into_iter().fold(Cost::ZERO, Cost::plus)
    }

    /// (Σε, Σδ) by basic composition.
    pub fn basic(self) -> (f64, f64) {
        (self.epsilon, add(self.delta_noise, self.delta_selection))
    }

    /// (Σρ, Σδ of selections) by zCDP.
    pub fn zcdp(self) -> (f64, f64) {
        (self.rho, self.delta_selection)
    }
}

/// What may be spent: the budget of a unit kind or of a principal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// ε.
    pub epsilon: Epsilon,
    /// δ, split as the module says.
    pub delta: Delta,
}

/// An (ε, δ) that was spent or is left; either may be 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Amount {
    /// ε; infinite if nothing finite can be said.
    pub epsilon: f64,
    /// δ.
    pub delta: f64,
}

impl Budget {
    /// δ that the basic account may spend: half.
    fn delta_basic(self) -> f64 {
        self.delta.get() / 2.0
    }

    /// δ that the zCDP account may spend on selections, and again on converting ρ: a quarter.
    fn delta_zcdp(self) -> f64 {
        self.delta.get() / 4.0
    }

    fn basic(self, spent: Cost) -> Option<Amount> {
        let (epsilon, delta) = spent.basic();
        (epsilon <= self.epsilon.get() && delta <= self.delta_basic()).then_some(Amount { epsilon, delta })
    }

    fn zcdp(self, spent: Cost) -> Option<Amount> {
        let (rho, selection) = spent.zcdp();
        if selection > self.delta_zcdp() {
            return None;
        }
        let (epsilon, conversion) =
            if rho > 0.0 { (zcdp_epsilon(rho, self.delta_zcdp()), self.delta_zcdp()) } else { (0.0, 0.0) };
        (epsilon <= self.epsilon.get()).then_some(Amount { epsilon, delta: add(selection, conversion) })
    }

    /// Whether all that was spent lies inside one account at least.
    pub fn holds(self, spent: Cost) -> bool {
        self.basic(spent).is_some() || self.zcdp(spent).is_some()
    }

    /// Whether a release that costs `cost` may follow on what was `spent`.
    pub fn admits(self, spent: Cost, cost: Cost) -> bool {
        self.holds(spent.plus(cost))
    }

    /// What is shown as spent: by the account that holds it with the smaller ε. If none holds it (the budget was lowered since), by
    /// the basic account.
    pub fn spent(self, spent: Cost) -> Amount {
        let (epsilon, delta) = spent.basic();
        match (self.basic(spent), self.zcdp(spent)) {
            (Some(basic), Some(zcdp)) if zcdp.epsilon < basic.epsilon => zcdp,
            (None, Some(zcdp)) => zcdp,
            _ => Amount { epsilon, delta },
        }
    }

    /// What is left beside [`Budget::spent`]. A release that fits in it may still fail to be admitted (for its δ), and a larger one may be
    /// admitted (by the zCDP account, where ε does not add up): [`Budget::admits`] decides.
    pub fn left(self, spent: Cost) -> Amount {
        let shown = self.spent(spent);
        let left = |budget: f64, spent: f64| if spent > 0.0 { down(budget - spent).max(0.0) } else { budget };
        Amount { epsilon: left(self.epsilon.get(), shown.epsilon), delta: left(self.delta.get(), shown.delta) }
    }
}

/// The product, rounded up unless it is exact.
fn times(a: f64, b: f64) -> f64 {
    let product = a * b;
    // The residual of a fused product is exact in its sign.
    if a.mul_add(b, -product) > 0.0 { up(product) } else { product }
}

/// The sum, rounded up unless one is 0.
fn add(a: f64, b: f64) -> f64 {
    if a == 0.0 {
        b
    } else if b == 0.0 {
        a
    } else {
        up(a + b)
    }
}

#[cfg(test)]
#[path = "accounts_tests.rs"]
mod tests;
