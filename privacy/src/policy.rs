//! The rules of a table: access, unit, cohort size, roles of columns.

use serde::{Deserialize, Serialize};

/// What may leave the site from a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Rows, to those who have SELECT.
    Open,
    /// Exact aggregates over at least `min_cohort` distinct units, under the disclosure rules.
    Cohort,
    /// Aggregates with differential privacy.
    Private,
}

impl Access {
    /// The word a steward writes for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Access::Open => "open",
            Access::Cohort => "cohort",
            Access::Private => "private",
        }
    }
}

/// A policy value that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// `min_cohort` below 2 protects nobody.
    #[error("min_cohort must be at least 2, not {0}")]
    MinCohort(i64),
    /// `dominance_percent` outside 51 to 100.
    #[error("dominance_percent must be between 51 and 100, not {0}")]
    DominancePercent(i64),
}

/// The least number of distinct units behind anything released; at least 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct MinCohort(u32);

impl MinCohort {
    /// Ten units: what a policy has that does not say.
    pub const TEN: MinCohort = MinCohort(10);
    /// The number of units.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<i64> for MinCohort {
    type Error = PolicyError;
    fn try_from(value: i64) -> Result<Self, PolicyError> {
        match u32::try_from(value) {
            Ok(k) if k >= 2 => Ok(MinCohort(k)),
            _ => Err(PolicyError::MinCohort(value)),
        }
    }
}

impl From<MinCohort> for i64 {
    fn from(value: MinCohort) -> i64 {
        i64::from(value.0)
    }
}

/// The share of a total that the two largest units may not reach, in percent; 90 unless set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct DominancePercent(u8);

impl DominancePercent {
    /// The percentage, 51 to 100.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl Default for DominancePercent {
    fn default() -> Self {
        DominancePercent(90)
    }
}

impl TryFrom<i64> for DominancePercent {
    type Error = PolicyError;
    fn try_from(value: i64) -> Result<Self, PolicyError> {
        match u8::try_from(value) {
            Ok(p) if (51..=100).contains(&p) => Ok(DominancePercent(p)),
            _ => Err(PolicyError::DominancePercent(value)),
        }
    }
}

impl From<DominancePercent> for i64 {
    fn from(value: DominancePercent) -> i64 {
        i64::from(value.0)
    }
}

/// What a column may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnRole {
    /// Anything that the boundary allows.
    #[default]
    None,
    /// The unit column: joins and counts of units only.
    Unit,
    /// May appear nowhere.
    Identifier,
    /// May be aggregated; never a condition, a key or part of a join.
    Measure,
}

impl ColumnRole {
    /// The word a steward writes for it.
    pub fn as_str(self) -> &'static str {
        match self {
            ColumnRole::None => "none",
            ColumnRole::Unit => "unit",
            ColumnRole::Identifier => "identifier",
            ColumnRole::Measure => "measure",
        }
    }
}
