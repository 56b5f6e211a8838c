//! What the planner is told of a table with private access: what a query may cost, how a unit's part is bounded, which keys are public.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use kanon_privacy::budget::{Delta, Epsilon};

/// A fact about a private table that cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PrivateFactError {
    /// Bounds that hold no interval.
    #[error("lower must be a number less than upper, not {lower} and {upper}")]
    Bounds {
        /// The lower one.
        lower: f64,
        /// The upper one.
        upper: f64,
    },
    /// A norm that bounds nothing.
    #[error("max_norm must be a positive number, not {0}")]
    MaxNorm(f64),
    /// A domain without values.
    #[error("a domain needs at least one value")]
    EmptyDomain,
    /// More values than a query could list.
    #[error("a domain has at most 10000 values, not {0}")]
    LargeDomain(usize),
    /// The same value twice.
    #[error("\"{0}\" is twice in the domain")]
    Duplicate(String),
    /// `other` is no value of the domain.
    #[error("other must be a value of the domain, and \"{0}\" is not")]
    Other(String),
}

/// The least and the greatest value of a column: finite, and the first less than the second. Values outside are clamped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    lower: f64,
    upper: f64,
}

/// The greatest L2 norm of a unit's row counts by group: positive and finite.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct MaxNorm(f64);

/// All values that a column has as a key: they are public, and answered whether somebody has them or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    values: Vec<String>,
    other: Option<String>,
}

/// What a steward declared of a column of a private table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrivateColumn {
    /// Needed for sums, averages and quantiles of the column.
    pub bounds: Option<Bounds>,
    /// Set if the column's values are public keys.
    pub domain: Option<Domain>,
}

/// The rules of private access to a table. What is `None` was not set by the steward: what then follows is the planner's to decide, and
/// never that there is no bound.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrivatePolicy {
    /// The most ε that one query may spend, and what it spends if it does not say.
    pub epsilon_per_query: Option<Epsilon>,
    /// The most δ that one query may spend, of its noise and its selection of keys together.
    pub delta_per_query: Option<Delta>,
    /// The most ε that one job may spend.
    pub epsilon_per_job: Option<Epsilon>,
    /// C: the most groups that a unit counts in.
    pub max_groups_per_unit: Option<NonZeroU32>,
    /// m: the most rows of a unit that count in a group.
    pub max_rows_per_group: Option<NonZeroU32>,
    /// Λ: the greatest L2 norm of a unit's row counts by group, positive and finite.
    pub max_norm: Option<MaxNorm>,
    /// d: the most distinct values of a unit that count in a group.
    pub max_distinct: Option<NonZeroU32>,
    /// Whether public keys are selected like unknown ones.
    pub min_cohort_public: bool,
    /// Whether nobody of this table has records at another site, as its operator declares.
    pub disjoint: bool,
    /// Columns with something declared, by name.
    pub columns: BTreeMap<String, PrivateColumn>,
}

impl PrivatePolicy {
    /// What two policies allow together: the less of everything. Where only one bounds something, that bound holds. Of columns it says
    /// nothing: theirs are those of two tables.
    pub fn stricter(&self, other: &PrivatePolicy) -> PrivatePolicy {
        fn less<T: PartialOrd + Copy>(a: Option<T>, b: Option<T>) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => Some(if b < a { b } else { a }),
                (a, b) => a.or(b),
            }
        }
        // ε and δ that one of them does not grant are not granted.
        fn granted<T: PartialOrd + Copy>(a: Option<T>, b: Option<T>) -> Option<T> {
            a.and(b).and_then(|_| less(a, b))
        }
        PrivatePolicy {
            epsilon_per_query: granted(self.epsilon_per_query, other.epsilon_per_query),
            delta_per_query: granted(self.delta_per_query, other.delta_per_query),
            epsilon_per_job: granted(self.epsilon_per_job, other.epsilon_per_job),
            max_groups_per_unit: less(self.max_groups_per_unit, other.max_groups_per_unit),
            max_rows_per_group: less(self.max_rows_per_group, other.max_rows_per_group),
            max_norm: less(self.max_norm, other.max_norm),
            max_distinct: less(self.max_distinct, other.max_distinct),
            min_cohort_public: self.min_cohort_public || other.min_cohort_public,
            disjoint: self.disjoint && other.disjoint,
            columns: BTreeMap::new(),
        }
    }

    /// What a question to several sites that hold parts of one table can rely on: the less of everything, bounds within which the values of
    /// each site are, and the domains on which all agree. Each site keeps its own rules.
    pub fn at_all<'a>(policies: impl Iterator<Item = &'a PrivatePolicy>) -> PrivatePolicy {
        let together = |a: PrivatePolicy, b: PrivatePolicy| {
            let columns = a.columns.iter().filter_map(|(name, column)| {
                let other = b.columns.get(name)?;
                let bounds = column
                    .bounds
                    .zip(other.bounds)
                    .map(|(a, b)| Bounds { lower: a.lower.min(b.lower), upper: a.upper.max(b.upper) });
                let domain = column.domain.clone().filter(|domain| {
                    other.domain.as_ref().is_some_and(|other| domain.other == other.other && domain.has_those_of(other))
                });
                Some((name.clone(), PrivateColumn { bounds, domain }))
            });
            PrivatePolicy { columns: columns.collect(), ..a.stricter(&b) }
        };
        policies.cloned().reduce(together).unwrap_or_default()
    }
}

impl Bounds {
    /// Bounds of a column.
    ///
    /// # Errors
    /// If one is not finite, or `lower` is not less than `upper`.
    pub fn new(lower: f64, upper: f64) -> Result<Self, PrivateFactError> {
        if lower.is_finite() && upper.is_finite() && lower < upper {
            Ok(Bounds { lower, upper })
        } else {
            Err(PrivateFactError::Bounds { lower, upper })
        }
    }
    /// The least value, L.
    pub fn lower(self) -> f64 {
        self.lower
    }
    /// The greatest value, U.
    pub fn upper(self) -> f64 {
        self.upper
    }
}

/// Never NaN, so equality is total.
impl Eq for Bounds {}

impl MaxNorm {
    /// The number, Λ.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// Never NaN, so equality is total.
impl Eq for MaxNorm {}

impl TryFrom<f64> for MaxNorm {
    type Error = PrivateFactError;
    fn try_from(value: f64) -> Result<Self, PrivateFactError> {
        if value.is_finite() && value > 0.0 { Ok(MaxNorm(value)) } else { Err(PrivateFactError::MaxNorm(value)) }
    }
}

impl Domain {
    /// The most values of a domain: a query's cross product of public keys has a cap, and an answer holds them all.
    pub const MAX_VALUES: usize = 10_000;

    /// A domain, in the order that the steward wrote. `other` is the value that stands for NULL and for all values outside.
    ///
    /// # Errors
    /// If there is no value, too many, or one twice; or `other` is none of them.
    pub fn new(values: Vec<String>, other: Option<String>) -> Result<Self, PrivateFactError> {
        if values.is_empty() {
            return Err(PrivateFactError::EmptyDomain);
        }
        if values.len() > Domain::MAX_VALUES {
            return Err(PrivateFactError::LargeDomain(values.len()));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = values.iter().find(|value| !seen.insert(value.as_str())) {
            return Err(PrivateFactError::Duplicate(twice.clone()));
        }
        match other {
            Some(other) if !seen.contains(other.as_str()) => Err(PrivateFactError::Other(other)),
            other => Ok(Domain { values, other }),
        }
    }
    /// Whether another domain has the same values.
    fn has_those_of(&self, other: &Domain) -> bool {
        self.values.iter().collect::<BTreeSet<_>>() == other.values.iter().collect::<BTreeSet<_>>()
    }
    /// The values as text; what they are in the column's type is the same for every row.
    pub fn values(&self) -> &[String] {
        &self.values
    }
    /// The value that stands for those outside. `None`: they are dropped.
    pub fn other(&self) -> Option<&str> {
        self.other.as_deref()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn only_valid_facts_can_be_made() {
        for (lower, upper) in
            [(1.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0), (0.0, f64::NAN), (0.0, f64::INFINITY), (f64::NEG_INFINITY, 0.0)]
        {
            assert!(Bounds::new(lower, upper).is_err(), "{lower} {upper}");
        }
        let bounds = Bounds::new(-1.5, 2.0).unwrap();
        assert_eq!((bounds.lower(), bounds.upper()), (-1.5, 2.0));
        for norm in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(MaxNorm::try_from(norm).is_err(), "{norm}");
        }
    }

    #[test]
    fn sites_are_asked_for_what_all_of_them_grant() {
        let site = |epsilon: f64, bounds: Option<(f64, f64)>, domain: &[&str]| PrivatePolicy {
            epsilon_per_query: Some(Epsilon::try_from(epsilon).unwrap()),
            columns: [(
                "x".to_owned(),
                PrivateColumn {
                    bounds: bounds.map(|(lower, upper)| Bounds::new(lower, upper).unwrap()),
                    domain: Domain::new(domain.iter().map(|v| (*v).to_owned()).collect(), None).ok(),
                },
            )]
            .into(),
            ..PrivatePolicy::default()
        };
        let (a, b) = (site(1.0, Some((0.0, 10.0)), &["f", "m"]), site(0.5, Some((-5.0, 8.0)), &["m", "f"]));
        let both = PrivatePolicy::at_all([&a, &b].into_iter());
        assert_eq!(both.epsilon_per_query.unwrap().get(), 0.5);
        assert_eq!(both.columns["x"].bounds, Some(Bounds::new(-5.0, 10.0).unwrap()));
        assert!(both.columns["x"].domain.is_some());
        let none = PrivatePolicy::at_all([&a, &b, &site(2.0, None, &["f"])].into_iter());
        assert_eq!(none.columns["x"], PrivateColumn::default());
        let unset = PrivatePolicy::at_all([&a, &PrivatePolicy::default()].into_iter());
        assert_eq!((unset.epsilon_per_query, unset.columns.len()), (None, 0));
    }

    #[test]
    fn a_domain_holds_each_of_its_values_once() {
        let values = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(Domain::new(vec![], None), Err(PrivateFactError::EmptyDomain));
        assert_eq!(Domain::new(values(&["a", "b", "a"]), None), Err(PrivateFactError::Duplicate("a".into())));
        assert_eq!(Domain::new(values(&["a"]), Some("b".into())), Err(PrivateFactError::Other("b".into())));
        let many = (0..=Domain::MAX_VALUES).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(Domain::new(many.clone(), None), Err(PrivateFactError::LargeDomain(Domain::MAX_VALUES + 1)));
        assert!(Domain::new(many.into_iter().skip(1).collect(), None).is_ok());
        let domain = Domain::new(values(&["f", "m", "rest"]), Some("rest".into())).unwrap();
        assert_eq!((domain.values().len(), domain.other()), (3, Some("rest")));
    }
}
