//! What a node says of its rules of private access, so that coordinators can plan. The site decides by its own policy all the same.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use kanon_planner::facts::{Bounds, Domain, MaxNorm, PrivateColumn, PrivatePolicy};
use kanon_privacy::budget::{Delta, Epsilon};
use kanon_privacy::exact::Exact;
use serde::{Deserialize, Serialize};

/// The rules of private access to an offered table: [`PrivatePolicy`] on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OfferedPrivate {
    epsilon_per_query: Option<Epsilon>,
    delta_per_query: Option<Delta>,
    max_groups_per_unit: Option<NonZeroU32>,
    max_rows_per_group: Option<NonZeroU32>,
    max_norm: Option<Exact>,
    max_distinct: Option<NonZeroU32>,
    min_cohort_public: bool,
    #[serde(default)]
    disjoint: bool,
    columns: BTreeMap<String, OfferedColumn>,
}

/// What is declared of a column.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct OfferedColumn {
    bounds: Option<(Exact, Exact)>,
    domain: Option<Vec<String>>,
    other: Option<String>,
}

impl From<&PrivatePolicy> for OfferedPrivate {
    fn from(policy: &PrivatePolicy) -> OfferedPrivate {
        let column = |column: &PrivateColumn| OfferedColumn {
            bounds: column.bounds.map(|b| (Exact(b.lower()), Exact(b.upper()))),
            domain: column.domain.as_ref().map(|domain| domain.values().to_vec()),
            other: column.domain.as_ref().and_then(|domain| domain.other()).map(str::to_owned),
        };
        OfferedPrivate {
            epsilon_per_query: policy.epsilon_per_query,
            delta_per_query: policy.delta_per_query,
            max_groups_per_unit: policy.max_groups_per_unit,
            max_rows_per_group: policy.max_rows_per_group,
            max_norm: policy.max_norm.map(|norm| Exact(norm.get())),
            max_distinct: policy.max_distinct,
            min_cohort_public: policy.min_cohort_public,
            disjoint: policy.disjoint,
            columns: policy.columns.iter().map(|(name, declared)| (name.clone(), column(declared))).collect(),
        }
    }
}

impl OfferedPrivate {
    /// The policy; `None` if something in it cannot be.
    pub fn policy(&self) -> Option<PrivatePolicy> {
        let mut columns = BTreeMap::new();
        for (name, offered) in &self.columns {
            let bounds = match offered.bounds {
                Some((lower, upper)) => Some(Bounds::new(lower.0, upper.0).ok()?),
                None => None,
            };
            let domain = match &offered.domain {
                Some(values) => Some(Domain::new(values.clone(), offered.other.clone()).ok()?),
                None => None,
            };
            columns.insert(name.clone(), PrivateColumn { bounds, domain });
        }
        let max_norm = match self.max_norm {
            Some(norm) => Some(MaxNorm::try_from(norm.0).ok()?),
            None => None,
        };
        Some(PrivatePolicy {
            epsilon_per_query: self.epsilon_per_query,
            delta_per_query: self.delta_per_query,
            epsilon_per_job: None,
            max_groups_per_unit: self.max_groups_per_unit,
            max_rows_per_group: self.max_rows_per_group,
            max_norm,
            max_distinct: self.max_distinct,
            min_cohort_public: self.min_cohort_public,
            disjoint: self.disjoint,
            columns,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_as_it_was_written_and_a_broken_one_is_none() {
        let column = PrivateColumn {
            bounds: Some(Bounds::new(-0.1, 110.0).unwrap()),
            domain: Some(Domain::new(vec!["f".into(), "m".into()], Some("m".into())).unwrap()),
        };
        let policy = PrivatePolicy {
            epsilon_per_query: Some(Epsilon::try_from(0.5).unwrap()),
            delta_per_query: Some(Delta::try_from(1e-8).unwrap()),
            max_groups_per_unit: NonZeroU32::new(3),
            max_norm: Some(MaxNorm::try_from(2.5).unwrap()),
            min_cohort_public: true,
            columns: [("sex".to_owned(), column)].into(),
            ..PrivatePolicy::default()
        };
        let text = serde_json::to_string(&OfferedPrivate::from(&policy)).unwrap();
        let read: OfferedPrivate = serde_json::from_str(&text).unwrap();
        assert_eq!(read.policy(), Some(policy));
        let reversed: OfferedPrivate = serde_json::from_str(&text.replace("-0.1", "110.0")).unwrap();
        assert_eq!(reversed.policy(), None);
        assert!(serde_json::from_str::<OfferedPrivate>(&text.replace("0.5", "-0.5")).is_err());
    }

    /// What a coordinator asks for in its ticket is the site's own number, or else it would be another question there.
    #[test]
    fn epsilon_is_read_to_the_last_bit() {
        for n in 1..2000 {
            let epsilon = Epsilon::try_from((f64::from(n) * 0.025 / 7.0).next_down()).unwrap();
            let read: Epsilon = serde_json::from_str(&serde_json::to_string(&epsilon).unwrap()).unwrap();
            assert_eq!(read, epsilon);
        }
        assert_eq!(serde_json::from_str::<Epsilon>("2").ok(), Epsilon::try_from(2.0).ok());
        for none in ["\"two\"", "\"NaN\"", "\"inf\"", "\"-1\"", "\"\"", "null"] {
            assert!(serde_json::from_str::<Epsilon>(none).is_err(), "{none}");
            assert!(none == "\"-1\"" || serde_json::from_str::<Exact>(none).is_err(), "{none}");
        }
    }
}
