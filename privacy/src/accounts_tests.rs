#![allow(clippy::unwrap_used, reason = "tests")]

use dashu::rational::RBig;
use proptest::prelude::*;

use super::*;

fn epsilon(x: f64) -> Epsilon {
    Epsilon::try_from(x).unwrap()
}

fn delta(x: f64) -> Delta {
    Delta::try_from(x).unwrap()
}

fn budget(eps: f64, del: f64) -> Budget {
    Budget { epsilon: epsilon(eps), delta: delta(del) }
}

fn gaussian(eps: f64, del: f64, rho: f64) -> Cost {
    Cost::gaussian(epsilon(eps), delta(del), Rho::try_from(rho).unwrap())
}

#[test]
fn every_mechanism_enters_both_accounts() {
    let pure = Cost::pure(epsilon(0.5));
    assert_eq!(pure.basic(), (0.5, 0.0));
    assert!(pure.zcdp().0 >= 0.125 && pure.zcdp().0 < 0.125_000_000_001 && pure.zcdp().1 == 0.0);
    let exponential = Cost::exponential(epsilon(0.5), 4);
    assert!(exponential.basic().0 >= 2.0 && exponential.basic().0 < 2.000_000_001);
    assert!(exponential.zcdp().0 >= 0.125 && exponential.zcdp().0 < 0.125_000_000_001);
    let both = gaussian(0.5, 1e-8, 0.001).plus(Cost::selection(delta(1e-9)));
    assert!(both.basic().1 >= 1.1e-8 && both.basic().1 < 1.100_000_1e-8, "the noise's δ and the selection's");
    assert_eq!(both.zcdp(), (0.001, 1e-9), "only the selection's");
    assert_eq!(both.basic().0, 0.5, "nothing added, nothing rounded");
}

#[test]
fn the_basic_account_admits_up_to_its_epsilon_and_half_of_delta() {
    // A ρ beyond all bounds keeps the zCDP account out of it.
    let budget = budget(1.0, 1e-6);
    assert!(budget.admits(Cost::ZERO, gaussian(1.0, 5e-7, 1e9)));
    assert!(!budget.admits(Cost::ZERO, gaussian(1.0f64.next_up(), 5e-7, 1e9)));
    assert!(!budget.admits(Cost::ZERO, gaussian(1.0, 5e-7f64.next_up(), 1e9)));
    assert!(!budget.admits(Cost::ZERO, gaussian(1.0, 5e-7, 1e9).plus(Cost::selection(delta(1e-12)))));
    let half = gaussian(0.5, 2e-7, 1e9);
    assert!(budget.admits(Cost::ZERO, half));
    assert!(!budget.admits(half, half.plus(half)));
}

#[test]
fn the_zcdp_account_admits_up_to_what_converts() {
    // An ε beyond all bounds keeps the basic account out of it.
    let budget = budget(1.0, 4e-6);
    let most = {
        let (mut low, mut high) = (0.0f64, 1.0f64);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if zcdp_epsilon(middle, 1e-6) <= 1.0 { low = middle } else { high = middle }
        }
        low
    };
    assert!(most > 0.01 && most < 0.1);
    assert!(budget.admits(Cost::ZERO, gaussian(99.0, 0.5, most)));
    assert!(!budget.admits(Cost::ZERO, gaussian(99.0, 0.5, most * 1.000_001)));
    let selection = |del: f64| gaussian(99.0, 0.5, most).plus(Cost::selection(delta(del)));
    assert!(budget.admits(Cost::ZERO, selection(1e-6)));
    assert!(!budget.admits(Cost::ZERO, selection(1e-6f64.next_up())));
    // Half of it twice is all of it.
    let half = gaussian(99.0, 0.4, most / 2.000_001);
    assert!(budget.admits(half, half) && !budget.admits(half.plus(half), half));
}

/// Together the accounts promise no more than δ: the shares of both add up.
#[test]
fn the_shares_of_delta_add_up() {
    for del in [1e-300, 1e-9, 0.3] {
        let budget = budget(1.0, del);
        assert!(budget.delta_basic() + budget.delta_zcdp() + budget.delta_zcdp() <= del);
    }
}

#[test]
fn a_budget_without_delta_holds_pure_mechanisms_only() {
    let pure = budget(1.0, 0.0);
    assert!(pure.admits(Cost::ZERO, Cost::pure(epsilon(1.0))));
    assert!(!pure.admits(Cost::ZERO, gaussian(0.1, 1e-300, 1e-9)));
    assert!(!pure.admits(Cost::ZERO, Cost::selection(delta(1e-300))));
}

#[test]
fn many_small_releases_are_cheaper_by_zcdp_and_one_large_one_by_basic() {
    let budget = budget(3.0, 1e-6);
    let one = Cost::pure(epsilon(2.0));
    assert_eq!(budget.spent(one), Amount { epsilon: 2.0, delta: 0.0 });
    let left = budget.left(one);
    assert!(left.epsilon <= 1.0 && left.epsilon > 0.999_999 && left.delta == 1e-6);

    let small = Cost::pure(epsilon(0.05));
    let sixty = Cost::total(std::iter::repeat_n(small, 60));
    assert!(sixty.basic().0 > 3.0, "sixty times 0.05, rounded up");
    let many = Cost::total(std::iter::repeat_n(small, 80));
    assert!(budget.holds(many));
    let shown = budget.spent(many);
    assert!(shown.epsilon < 3.0 && shown.epsilon > 1.5 && shown.delta == 2.5e-7, "{shown:?}");
    let left = budget.left(many);
    assert!(left.epsilon + shown.epsilon <= 3.0 && left.delta + shown.delta <= 1e-6);

    let far_too_many = Cost::total(std::iter::repeat_n(small, 400));
    assert!(!budget.holds(far_too_many));
    assert!(budget.spent(far_too_many).epsilon >= 20.0 && budget.left(far_too_many).epsilon == 0.0);
    assert_eq!(budget.spent(Cost::ZERO), Amount { epsilon: 0.0, delta: 0.0 });
    assert_eq!(budget.left(Cost::ZERO), Amount { epsilon: 3.0, delta: 1e-6 });
}

fn any_cost() -> impl Strategy<Value = Cost> {
    prop_oneof![
        (1e-6..2.0f64).prop_map(|eps| Cost::pure(epsilon(eps))),
        (1e-6..2.0f64, 1u32..50).prop_map(|(eps, groups)| Cost::exponential(epsilon(eps), groups)),
        (1e-6..2.0f64, 1e-14..1e-7f64, 1e-9..0.1f64).prop_map(|(eps, del, rho)| gaussian(eps, del, rho)),
        (1e-14..1e-7f64).prop_map(|del| Cost::selection(delta(del))),
    ]
}

fn rational(x: f64) -> RBig {
    RBig::try_from(x).unwrap()
}

proptest! {
    /// In exact arithmetic, sums are at least the sums of their parts, in each of the four columns.
    #[test]
    fn sums_never_round_down(costs in prop::collection::vec(any_cost(), 1..60)) {
        let total = Cost::total(costs.clone());
        let exact = |of: &dyn Fn(&Cost) -> f64| costs.iter().fold(RBig::ZERO, |sum, cost| sum + rational(of(cost)));
        prop_assert!(rational(total.epsilon) >= exact(&|cost| cost.epsilon));
        prop_assert!(rational(total.delta_noise) >= exact(&|cost| cost.delta_noise));
        prop_assert!(rational(total.rho) >= exact(&|cost| cost.rho));
        prop_assert!(rational(total.delta_selection) >= exact(&|cost| cost.delta_selection));
        prop_assert!(rational(total.basic().1) >= exact(&|cost| cost.delta_noise) + exact(&|cost| cost.delta_selection));
        prop_assert!(total.epsilon <= costs.iter().map(|cost| cost.epsilon).sum::<f64>() * 1.000_000_1);
    }

    #[test]
    fn costs_of_exponential_and_pure_mechanisms_never_round_down(eps in 1e-9..10.0f64, groups in 1u32..1_000) {
        let square = rational(eps).sqr();
        prop_assert!(rational(Cost::pure(epsilon(eps)).rho) * RBig::from(2u8) >= square);
        let cost = Cost::exponential(epsilon(eps), groups);
        prop_assert!(rational(cost.epsilon) >= rational(eps) * RBig::from(groups));
        prop_assert!(rational(cost.rho) * RBig::from(8u8) >= square * RBig::from(groups));
    }

    /// What is spent never falls, and what was refused is never admitted after more was spent.
    #[test]
    fn sums_are_monotone(costs in prop::collection::vec(any_cost(), 1..40), eps in 0.1..5.0f64, del in -9.0..-4.0f64) {
        let budget = budget(eps, 10f64.powf(del));
        let (mut spent, mut refused) = (Cost::ZERO, false);
        for cost in costs {
            let next = spent.plus(cost);
            prop_assert!(next.basic().0 >= spent.basic().0 && next.basic().1 >= spent.basic().1);
            prop_assert!(next.zcdp().0 >= spent.zcdp().0 && next.zcdp().1 >= spent.zcdp().1);
            let admits = budget.admits(spent, cost);
            prop_assert_eq!(admits, budget.holds(next));
            prop_assert!(!(refused && admits));
            if admits {
                let (shown, left) = (budget.spent(next), budget.left(next));
                prop_assert!(shown.epsilon <= eps && shown.delta <= budget.delta.get());
                prop_assert!(rational(shown.epsilon) + rational(left.epsilon) <= rational(eps));
                prop_assert!(rational(shown.delta) + rational(left.delta) <= rational(budget.delta.get()));
            }
            refused |= !admits;
            spent = next;
        }
    }
}
