//! A table's policy as its steward set it, the options it is written in, and what follows from it for the planner.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use datafusion::arrow::datatypes::Schema;
use kanon_planner::facts::{MaxNorm, Placement, PrivateColumn, PrivatePolicy, Protection, TableFacts};
use kanon_privacy::budget::{Delta, Epsilon};
use kanon_privacy::policy::{Access, ColumnRole, DominancePercent, MinCohort};
use serde::{Deserialize, Serialize};

use super::column::ColumnSettings;
use super::options::{
    boolean, count, delta, epsilon, invalid, name_of_kind, parse_access, positive, unknown_option, whole,
};
use super::unique::Found;
use crate::error::{Error, Result, Sqlstate};
use crate::nearest::did_you_mean;

/// The kind of unit of a policy that does not name one.
pub const DEFAULT_UNIT_KIND: &str = "unit";

/// The options of ALTER TABLE … SET, in the order of `kanon.policies`.
pub const TABLE_OPTIONS: &[&str] = &[
    "access",
    "unit",
    "unit_kind",
    "unit_unique",
    "min_cohort",
    "epsilon_per_query",
    "delta_per_query",
    "max_groups_per_unit",
    "max_rows_per_group",
    "max_norm",
    "max_distinct",
    "min_cohort_public",
    "disjoint",
    "epsilon_per_job",
    "dominance_percent",
    "suspended",
    "refresh",
];

/// A table's rules. `Default` is what a newly registered table has: nothing is answered from it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// `None` until a steward says: then nothing is answered.
    pub access: Option<Access>,
    /// The column that names the unit of a row.
    pub unit: Option<String>,
    /// The kind of unit; [`DEFAULT_UNIT_KIND`] unless set.
    pub unit_kind: Option<String>,
    /// The steward says that every unit has at most one row.
    pub unit_unique: bool,
    /// A scan of the data found `unit_unique` to hold.
    pub unit_unique_verified: bool,
    /// That scan found that every row names a unit.
    pub unit_named_verified: bool,
    /// Of which state of the data: see [`crate::catalog::Catalog::current`].
    pub unit_data_version: Option<String>,
    /// The least number of units behind anything released; the node's default unless set.
    pub min_cohort: Option<MinCohort>,
    /// The share of a sum that its two largest units may not reach; 90 unless set.
    pub dominance_percent: Option<DominancePercent>,
    /// Nothing is answered for now.
    pub suspended: bool,
    /// ε a query (private access).
    pub epsilon_per_query: Option<Epsilon>,
    /// δ a query (private access).
    pub delta_per_query: Option<Delta>,
    /// ε a job (private access).
    pub epsilon_per_job: Option<Epsilon>,
    /// The most groups a unit counts in (private access).
    pub max_groups_per_unit: Option<NonZeroU32>,
    /// The most rows of a unit that count in a group (private access).
    pub max_rows_per_group: Option<NonZeroU32>,
    /// The largest L2 norm of a unit's row counts by group (private access).
    #[serde(with = "kanon_privacy::exact::option")]
    pub max_norm: Option<f64>,
    /// The most distinct values of a unit that count in a group (private access).
    pub max_distinct: Option<NonZeroU32>,
    /// Whether public keys are tested for `min_cohort` too (private access).
    pub min_cohort_public: bool,
    /// The operator says that nobody of this table has records at another site (private access).
    pub disjoint: bool,
}

impl Policy {
    /// Sets an option from the text a steward wrote. `refresh` is not part of a policy and is left to the catalog.
    ///
    /// # Errors
    /// 42704 for an unknown option, 22023 for a value it cannot have.
    pub fn set(&mut self, option: &str, value: &str) -> Result<()> {
        match option {
            "access" => self.access = Some(parse_access(value)?),
            "unit" => self.unit = Some(value.to_owned()),
            "unit_kind" => self.unit_kind = Some(name_of_kind(value)?),
            "unit_unique" => self.unit_unique = boolean(option, value)?,
            "min_cohort" => {
                let k = MinCohort::try_from(whole(option, value)?)
                    .map_err(|error| invalid(error.to_string()).hint("A cohort of one is a person. Ten is usual."))?;
                self.min_cohort = Some(k);
            }
            "dominance_percent" => {
                let percent =
                    DominancePercent::try_from(whole(option, value)?).map_err(|error| invalid(error.to_string()))?;
                self.dominance_percent = Some(percent);
            }
            "suspended" => self.suspended = boolean(option, value)?,
            "epsilon_per_query" => self.epsilon_per_query = Some(epsilon(option, value)?),
            "epsilon_per_job" => self.epsilon_per_job = Some(epsilon(option, value)?),
            "delta_per_query" => self.delta_per_query = Some(delta(option, value)?),
            "max_groups_per_unit" => self.max_groups_per_unit = Some(count(option, value)?),
            "max_rows_per_group" => self.max_rows_per_group = Some(count(option, value)?),
            "max_distinct" => self.max_distinct = Some(count(option, value)?),
            "max_norm" => self.max_norm = Some(positive(option, value)?),
            "min_cohort_public" => self.min_cohort_public = boolean(option, value)?,
            "disjoint" => self.disjoint = boolean(option, value)?,
            "refresh" => {}
            _ => return Err(unknown_option(option, TABLE_OPTIONS)),
        }
        Ok(())
    }

    /// Takes an option back to what it is when not set.
    ///
    /// # Errors
    /// 42704 for an unknown option.
    pub fn reset(&mut self, option: &str) -> Result<()> {
        let fresh = Policy::default();
        match option {
            "access" => self.access = fresh.access,
            "unit" => self.unit = fresh.unit,
            "unit_kind" => self.unit_kind = fresh.unit_kind,
            "unit_unique" => self.unit_unique = fresh.unit_unique,
            "min_cohort" => self.min_cohort = fresh.min_cohort,
            "dominance_percent" => self.dominance_percent = fresh.dominance_percent,
            "suspended" => self.suspended = fresh.suspended,
            "epsilon_per_query" => self.epsilon_per_query = fresh.epsilon_per_query,
            "epsilon_per_job" => self.epsilon_per_job = fresh.epsilon_per_job,
            "delta_per_query" => self.delta_per_query = fresh.delta_per_query,
            "max_groups_per_unit" => self.max_groups_per_unit = fresh.max_groups_per_unit,
            "max_rows_per_group" => self.max_rows_per_group = fresh.max_rows_per_group,
            "max_distinct" => self.max_distinct = fresh.max_distinct,
            "max_norm" => self.max_norm = fresh.max_norm,
            "min_cohort_public" => self.min_cohort_public = fresh.min_cohort_public,
            "disjoint" => self.disjoint = fresh.disjoint,
            "refresh" => {}
            _ => return Err(unknown_option(option, TABLE_OPTIONS)),
        }
        Ok(())
    }

    /// An option's value as a steward writes it; `None` if it is not set, or is what it is when not set.
    pub(super) fn shown(&self, option: &str) -> Option<String> {
        fn of<T: ToString>(value: Option<T>) -> Option<String> {
            value.map(|value| value.to_string())
        }
        let flag = |flag: bool| flag.then(|| "true".to_owned());
        match option {
            "access" => of(self.access.map(Access::as_str)),
            "unit" => self.unit.clone(),
            "unit_kind" => self.unit_kind.clone(),
            "unit_unique" => flag(self.unit_unique),
            "min_cohort" => of(self.min_cohort.map(MinCohort::get)),
            "dominance_percent" => of(self.dominance_percent.map(DominancePercent::get)),
            "suspended" => flag(self.suspended),
            "epsilon_per_query" => of(self.epsilon_per_query.map(Epsilon::get)),
            "delta_per_query" => of(self.delta_per_query.map(Delta::get)),
            "epsilon_per_job" => of(self.epsilon_per_job.map(Epsilon::get)),
            "max_groups_per_unit" => of(self.max_groups_per_unit),
            "max_rows_per_group" => of(self.max_rows_per_group),
            "max_norm" => of(self.max_norm),
            "max_distinct" => of(self.max_distinct),
            "min_cohort_public" => flag(self.min_cohort_public),
            "disjoint" => flag(self.disjoint),
            _ => None,
        }
    }

    /// Checks what can be checked without data: that access has what it needs, and that the unit column is there.
    ///
    /// # Errors
    /// 22023 or 42703, with what to write.
    pub fn validate(&self, table: &str, schema: &Schema, columns: &BTreeMap<String, ColumnSettings>) -> Result<()> {
        if let Some(unit) = &self.unit {
            if schema.field_with_name(unit).is_err() {
                return Err(undefined_column(unit, table, schema));
            }
            let role = columns.get(unit).map(|settings| settings.role).unwrap_or_default();
            if role != ColumnRole::None {
                return Err(invalid(format!(
                    "column \"{unit}\" has the role {} and cannot be the unit",
                    role.as_str()
                ))
                .hint(format!("ALTER TABLE {table} ALTER COLUMN {unit} RESET (role) first.")));
            }
        }
        if self.unit_unique && self.unit.is_none() {
            return Err(invalid("unit_unique needs a unit")
                .hint("Name the column whose values are the people: unit = 'patient_id'."));
        }
        if let (Some(delta), Some(k)) = (self.delta_per_query, self.min_cohort)
            && delta.get() * f64::from(k.get()) >= 1.0
        {
            // How many people there are is not asked: they may be as few as this.
            return Err(invalid(format!(
                "delta_per_query must be less than one in the number of people, and {} is not if there are {}, which min_cohort allows",
                delta.get(),
                k.get()
            ))
            .hint("A delta is the chance that somebody is told of: far less than one in all people of the table, such as 1e-8."));
        }
        if matches!(self.access, Some(Access::Cohort | Access::Private)) && self.unit.is_none() {
            return Err(invalid(format!("access to table \"{table}\" needs a unit"))
                .hint("Name the column whose values are the people: ALTER TABLE … SET (access = 'cohort', unit = 'patient_id')."));
        }
        Ok(())
    }

    /// Whether rows are protected. A table without a policy is, too.
    pub fn is_protected(&self) -> bool {
        self.access != Some(Access::Open)
    }

    /// Whether plans take each unit to have one row. For private access that is as declared, true or not: a plan that followed what was found
    /// would tell of the data, and no more than one row of a unit is read (see [`super::unique`]).
    pub(super) fn takes_one_row_a_unit(&self) -> bool {
        self.unit.is_some() && self.unit_unique && (self.unit_unique_verified || self.access == Some(Access::Private))
    }

    /// What the last scan of the unit column found.
    pub(super) fn units_found(&self) -> Found {
        Found { unique: self.unit_unique_verified, named: self.unit_named_verified }
    }

    /// Enters what a scan of the unit column found.
    pub(super) fn found_of_units(&mut self, found: Found) {
        self.unit_unique_verified = found.unique;
        self.unit_named_verified = found.named;
    }

    /// What the planner is told of a table with this policy.
    pub fn facts(
        &self,
        name: &str,
        columns: &BTreeMap<String, ColumnSettings>,
        default_min_cohort: MinCohort,
        placement: Placement,
    ) -> TableFacts {
        let closed = match (self.access, &self.unit) {
            _ if self.suspended => Some("is suspended by its steward"),
            (None, _) => Some("has no policy yet"),
            (Some(Access::Cohort | Access::Private), None) => Some("has no unit column yet"),
            (Some(Access::Cohort | Access::Private), Some(_)) | (Some(Access::Open), _) => None,
        };
        let protection = match (self.access, &self.unit) {
            (Some(access @ (Access::Cohort | Access::Private)), Some(unit)) => Some(Protection {
                access,
                unit_column: unit.clone(),
                unit_kind: self.unit_kind.clone().unwrap_or_else(|| DEFAULT_UNIT_KIND.to_owned()),
                unit_unique: self.takes_one_row_a_unit(),
                min_cohort: self.min_cohort.unwrap_or(default_min_cohort),
                dominance_percent: self.dominance_percent.unwrap_or_default(),
            }),
            _ => None,
        };
        let mut roles: BTreeMap<_, _> = columns
            .iter()
            .filter(|(_, settings)| settings.role != ColumnRole::None)
            .map(|(name, settings)| (name.clone(), settings.role))
            .collect();
        if let Some(protection) = &protection {
            roles.insert(protection.unit_column.clone(), ColumnRole::Unit);
        }
        let private = (self.access == Some(Access::Private)).then(|| self.private_facts(columns));
        let declared = columns.iter().filter(|_| self.access == Some(Access::Cohort));
        let domains = declared.filter_map(|(name, c)| Some((name.clone(), c.private_facts().domain?))).collect();
        let (name, closed) = (name.to_owned(), closed.map(str::to_owned));
        TableFacts { name, protection, private, domains, closed, roles, placement }
    }

    /// What was set for private access, checked once more by the types: what an older version stored and they refuse counts as not set.
    fn private_facts(&self, columns: &BTreeMap<String, ColumnSettings>) -> PrivatePolicy {
        PrivatePolicy {
            epsilon_per_query: self.epsilon_per_query,
            delta_per_query: self.delta_per_query,
            epsilon_per_job: self.epsilon_per_job,
            max_groups_per_unit: self.max_groups_per_unit,
            max_rows_per_group: self.max_rows_per_group,
            max_norm: self.max_norm.and_then(|norm| MaxNorm::try_from(norm).ok()),
            max_distinct: self.max_distinct,
            min_cohort_public: self.min_cohort_public,
            disjoint: self.disjoint,
            columns: columns
                .iter()
                .map(|(name, settings)| (name.clone(), settings.private_facts()))
                .filter(|(_, column)| *column != PrivateColumn::default())
                .collect(),
        }
    }
}

/// 42703, with the nearest column.
pub(crate) fn undefined_column(column: &str, table: &str, schema: &Schema) -> Error {
    let error =
        Error::new(Sqlstate::UndefinedColumn, format!("column \"{column}\" of relation \"{table}\" does not exist"));
    did_you_mean(error, column, schema.fields().iter().map(|field| field.name().as_str()))
}
