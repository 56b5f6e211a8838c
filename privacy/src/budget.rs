//! ε, δ and ρ as values that can only be made valid. Requests are checked here once; arithmetic on what was spent is the accounts'.

use serde::{Deserialize, Serialize};

use crate::exact::Exact;

/// A privacy parameter that cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BudgetError {
    /// ε is not a positive finite number.
    #[error("epsilon must be a positive number, not {0}")]
    Epsilon(f64),
    /// δ is not between 0 and 1.
    #[error("delta must be at least 0 and less than 1, not {0}")]
    Delta(f64),
    /// ρ is not a positive finite number.
    #[error("rho must be a positive number, not {0}")]
    Rho(f64),
}

/// The privacy loss parameter ε of pure or approximate differential privacy: positive and finite.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "Exact", into = "Exact")]
pub struct Epsilon(f64);

/// The probability δ with which ε may be exceeded: 0 ≤ δ < 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "Exact", into = "Exact")]
pub struct Delta(f64);

/// The parameter ρ of zero-concentrated differential privacy (Bun and Steinke 2016): positive and finite.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "Exact", into = "Exact")]
pub struct Rho(f64);

/// Never NaN, so equality is total.
impl Eq for Epsilon {}

impl Epsilon {
    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// Never NaN, so equality is total.
impl Eq for Delta {}

impl Delta {
    /// No failure probability: pure differential privacy.
    pub const ZERO: Delta = Delta(0.0);

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// Never NaN, so equality is total.
impl Eq for Rho {}

impl Rho {
    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Epsilon {
    type Error = BudgetError;
    fn try_from(value: f64) -> Result<Self, BudgetError> {
        if value.is_finite() && value > 0.0 { Ok(Epsilon(value)) } else { Err(BudgetError::Epsilon(value)) }
    }
}

impl TryFrom<f64> for Delta {
    type Error = BudgetError;
    fn try_from(value: f64) -> Result<Self, BudgetError> {
        if (0.0..1.0).contains(&value) { Ok(Delta(value)) } else { Err(BudgetError::Delta(value)) }
    }
}

impl TryFrom<f64> for Rho {
    type Error = BudgetError;
    fn try_from(value: f64) -> Result<Self, BudgetError> {
        if value.is_finite() && value > 0.0 { Ok(Rho(value)) } else { Err(BudgetError::Rho(value)) }
    }
}

/// How a parameter is written down and read again.
macro_rules! written_exactly {
    ($($parameter:ident)*) => {$(
        impl From<$parameter> for f64 {
            fn from(value: $parameter) -> f64 {
                value.0
            }
        }

        impl From<$parameter> for Exact {
            fn from(value: $parameter) -> Exact {
                Exact(value.0)
            }
        }

        impl TryFrom<Exact> for $parameter {
            type Error = BudgetError;
            fn try_from(Exact(value): Exact) -> Result<Self, BudgetError> {
                $parameter::try_from(value)
            }
        }
    )*};
}

written_exactly!(Epsilon Delta Rho);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_parameters_can_be_made() {
        for bad in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(Epsilon::try_from(bad).is_err(), "epsilon {bad}");
            assert!(Rho::try_from(bad).is_err(), "rho {bad}");
        }
        for bad in [-1e-300, 1.0, 2.0, f64::NAN, f64::INFINITY] {
            assert!(Delta::try_from(bad).is_err(), "delta {bad}");
        }
        assert_eq!(Epsilon::try_from(0.5).map(Epsilon::get), Ok(0.5));
        assert_eq!(Delta::try_from(0.0), Ok(Delta::ZERO));
    }
}
