//! What may be spent: budgets of kinds of units and of principals, as stewards set them.

use std::fmt;

use kanon_privacy::budget::{Delta, Epsilon};

use super::window::BudgetWindow;
use crate::catalog::{delta, epsilon, unknown_option};
use crate::error::{Error, Result, Sqlstate};

/// The options of CREATE and ALTER PRIVACY UNIT.
pub const BUDGET_OPTIONS: &[&str] = &["budget_epsilon", "budget_delta", "budget_window"];

/// The most ε of a budget. More says nothing about anybody's privacy, and sums must fit.
const MOST_EPSILON: f64 = 1e6;

/// What everybody together may spend on the units of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// ε in the window.
    pub epsilon: Epsilon,
    /// δ in the window: half of it for the δ of the releases, half to convert zCDP to (ε, δ).
    pub delta: Delta,
    /// How long a charge counts; `None`: for life.
    pub window: Option<BudgetWindow>,
}

/// What one principal may spend of a kind; what is `None` is as for everybody together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PrincipalBudget {
    /// ε in the kind's window.
    pub epsilon: Option<Epsilon>,
    /// δ in the kind's window.
    pub delta: Option<Delta>,
}

impl Budget {
    /// The budget that CREATE PRIVACY UNIT gives a kind.
    ///
    /// # Errors
    /// 42704 for an unknown option, 42601 for one given twice, 22023 for a value that cannot be and without `budget_epsilon`.
    pub fn create(options: &[(String, String)]) -> Result<Budget> {
        check_once(options)?;
        let find = |name: &str| options.iter().find(|(option, _)| option == name).map(|(_, value)| value);
        let epsilon = find("budget_epsilon").ok_or_else(|| {
            invalid("a privacy unit needs budget_epsilon".into())
                .hint("CREATE PRIVACY UNIT patient WITH (budget_epsilon = 10, budget_delta = 1e-6, budget_window = '30 days').")
        })?;
        let mut budget =
            Budget { epsilon: budget_epsilon("budget_epsilon", epsilon)?, delta: Delta::ZERO, window: None };
        options.iter().try_for_each(|(option, value)| budget.set(option, value))?;
        Ok(budget)
    }

    /// ALTER PRIVACY UNIT … SET.
    ///
    /// # Errors
    /// As [`Budget::create`].
    pub fn alter(mut self, options: &[(String, String)]) -> Result<Budget> {
        check_once(options)?;
        options.iter().try_for_each(|(option, value)| self.set(option, value))?;
        Ok(self)
    }

    fn set(&mut self, option: &str, value: &str) -> Result<()> {
        match option {
            "budget_epsilon" => self.epsilon = budget_epsilon(option, value)?,
            "budget_delta" => self.delta = delta(option, value)?,
            "budget_window" => self.window = Some(BudgetWindow::parse(value)?),
            _ => return Err(unknown_option(option, BUDGET_OPTIONS)),
        }
        Ok(())
    }

    /// ALTER PRIVACY UNIT … RESET: no δ, a budget for life.
    ///
    /// # Errors
    /// 42704 for an unknown option, 22023 for `budget_epsilon`, which a kind cannot be without.
    pub fn reset(mut self, options: &[String]) -> Result<Budget> {
        for option in options {
            match option.as_str() {
                "budget_epsilon" => {
                    return Err(invalid("a privacy unit cannot be without budget_epsilon".into())
                        .hint("SET another one, or DROP PRIVACY UNIT."));
                }
                "budget_delta" => self.delta = Delta::ZERO,
                "budget_window" => self.window = None,
                _ => return Err(unknown_option(option, BUDGET_OPTIONS)),
            }
        }
        Ok(self)
    }

    /// What a principal may spend.
    pub fn of(self, own: PrincipalBudget) -> Budget {
        Budget {
            epsilon: own.epsilon.unwrap_or(self.epsilon),
            delta: own.delta.unwrap_or(self.delta),
            window: self.window,
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epsilon {}, delta {}", self.epsilon.get(), self.delta.get())?;
        match self.window {
            Some(window) => write!(f, " in {window}"),
            None => f.write_str(" for life"),
        }
    }
}

impl fmt::Display for PrincipalBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.epsilon, self.delta) {
            (Some(epsilon), Some(delta)) => write!(f, "epsilon {}, delta {}", epsilon.get(), delta.get()),
            (Some(epsilon), None) => write!(f, "epsilon {}", epsilon.get()),
            (None, Some(delta)) => write!(f, "delta {}", delta.get()),
            (None, None) => f.write_str("as everybody"),
        }
    }
}

impl PrincipalBudget {
    /// The stricter of two, each for itself.
    pub fn stricter(self, other: PrincipalBudget) -> PrincipalBudget {
        let epsilons = self.epsilon.into_iter().chain(other.epsilon);
        let deltas = self.delta.into_iter().chain(other.delta);
        PrincipalBudget {
            epsilon: epsilons.min_by(|a, b| a.get().total_cmp(&b.get())),
            delta: deltas.min_by(|a, b| a.get().total_cmp(&b.get())),
        }
    }

    /// ALTER PRIVACY UNIT … FOR … SET.
    ///
    /// # Errors
    /// As [`Budget::create`]; 22023 for `budget_window`, which is the kind's.
    pub fn alter(mut self, options: &[(String, String)]) -> Result<PrincipalBudget> {
        check_once(options)?;
        for (option, value) in options {
            match option.as_str() {
                "budget_epsilon" => self.epsilon = Some(budget_epsilon(option, value)?),
                "budget_delta" => self.delta = Some(delta(option, value)?),
                _ => return Err(not_of_principals(option)),
            }
        }
        Ok(self)
    }

    /// ALTER PRIVACY UNIT … FOR … RESET: as for everybody together.
    ///
    /// # Errors
    /// As [`PrincipalBudget::alter`].
    pub fn reset(mut self, options: &[String]) -> Result<PrincipalBudget> {
        for option in options {
            match option.as_str() {
                "budget_epsilon" => self.epsilon = None,
                "budget_delta" => self.delta = None,
                _ => return Err(not_of_principals(option)),
            }
        }
        Ok(self)
    }
}

fn not_of_principals(option: &str) -> Error {
    if option == "budget_window" {
        return invalid("budget_window is the same for everybody".into())
            .hint("ALTER PRIVACY UNIT … SET (budget_window = …).");
    }
    unknown_option(option, BUDGET_OPTIONS)
}

/// ε of a budget, of an option of that name.
pub(crate) fn budget_epsilon(option: &str, value: &str) -> Result<Epsilon> {
    let budget = epsilon(option, value)?;
    if budget.get() > MOST_EPSILON {
        return Err(invalid(format!("{option} must be at most {MOST_EPSILON}, not {value}"))
            .hint("An epsilon of 10 is much already: what may be learnt about a person grows with its exponential."));
    }
    Ok(budget)
}

fn check_once(options: &[(String, String)]) -> Result<()> {
    for (position, (option, _)) in options.iter().enumerate() {
        if options.iter().take(position).any(|(earlier, _)| earlier == option) {
            return Err(Error::new(Sqlstate::SyntaxError, format!("option \"{option}\" is given twice")));
        }
    }
    Ok(())
}

fn invalid(message: String) -> Error {
    Error::new(Sqlstate::InvalidParameterValue, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn options(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn budgets_are_read() {
        let budget = Budget::create(&options(&[
            ("budget_epsilon", "10"),
            ("budget_delta", "1e-6"),
            ("budget_window", "30 days"),
        ]))
        .unwrap();
        assert_eq!((budget.epsilon.get(), budget.delta.get()), (10.0, 1e-6));
        assert_eq!(budget.window.unwrap().to_string(), "30 days");
        let wider = budget.alter(&options(&[("budget_epsilon", "12.5")])).unwrap();
        assert_eq!((wider.epsilon.get(), wider.delta), (12.5, budget.delta));
        let bare = wider.reset(&["budget_delta".into(), "budget_window".into()]).unwrap();
        assert_eq!((bare.delta, bare.window), (Delta::ZERO, None));
        assert!(bare.reset(&["budget_epsilon".into()]).is_err());
        let own = PrincipalBudget::default().alter(&options(&[("budget_epsilon", "2")])).unwrap();
        assert_eq!((budget.of(own).epsilon.get(), budget.of(own).delta), (2.0, budget.delta));
        assert_eq!(own.reset(&["budget_epsilon".into()]).unwrap(), PrincipalBudget::default());
        assert!(own.alter(&options(&[("budget_window", "1 day")])).is_err());
    }

    #[test]
    fn what_cannot_be_a_budget_is_refused_with_the_option_s_name() {
        for (name, value) in [
            ("budget_epsilon", "0"),
            ("budget_epsilon", "-1"),
            ("budget_epsilon", "NaN"),
            ("budget_epsilon", "inf"),
            ("budget_epsilon", "1e999"),
            ("budget_epsilon", "much"),
            ("budget_epsilon", "1000001"),
            ("budget_delta", "1"),
            ("budget_delta", "-1e-9"),
            ("budget_delta", "nan"),
            ("budget_window", "soon"),
            ("budget_window", "0 days"),
        ] {
            let mut all = vec![(name, value)];
            if name != "budget_epsilon" {
                all.push(("budget_epsilon", "1"));
            }
            let error = Budget::create(&options(&all)).unwrap_err();
            assert_eq!(error.state, Sqlstate::InvalidParameterValue, "{name} {value}");
            assert!(error.message.contains(name), "{error}");
        }
        assert_eq!(Budget::create(&[]).unwrap_err().state, Sqlstate::InvalidParameterValue);
        let twice = options(&[("budget_epsilon", "1"), ("budget_epsilon", "2")]);
        assert_eq!(Budget::create(&twice).unwrap_err().state, Sqlstate::SyntaxError);
        let unknown = Budget::create(&options(&[("budget_epsilon", "1"), ("budget_dleta", "0")])).unwrap_err();
        assert_eq!(
            (unknown.state, unknown.hint.as_deref()),
            (Sqlstate::UndefinedObject, Some("Did you mean \"budget_delta\"?"))
        );
    }
}
