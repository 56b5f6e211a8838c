//! A table's policy as its steward set it, the options it is written in, and what follows from it for the planner.

use std::collections::BTreeMap;

use datafusion::arrow::datatypes::Schema;
use kanon_planner::facts::{Placement, Protection, TableFacts};
use kanon_privacy::policy::{Access, ColumnRole, DominancePercent, MinCohort};
use serde::{Deserialize, Serialize};

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
    "epsilon_per_job",
    "dominance_percent",
    "suspended",
    "refresh",
];

/// The options of ALTER TABLE … ALTER COLUMN … SET.
pub const COLUMN_OPTIONS: &[&str] = &["role", "lower", "upper", "domain", "other"];

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
    /// Of which state of the data: see [`crate::catalog::Catalog::current`].
    pub unit_data_version: Option<String>,
    /// The least number of units behind anything released; the node's default unless set.
    pub min_cohort: Option<MinCohort>,
    /// The share of a sum that its two largest units may not reach; 90 unless set.
    pub dominance_percent: Option<DominancePercent>,
    /// Nothing is answered for now.
    pub suspended: bool,
    /// ε a query (private access).
    pub epsilon_per_query: Option<f64>,
    /// δ a query (private access).
    pub delta_per_query: Option<f64>,
    /// ε a job (private access).
    pub epsilon_per_job: Option<f64>,
    /// The most groups a unit counts in (private access).
    pub max_groups_per_unit: Option<u32>,
    /// The most rows of a unit that count in a group (private access).
    pub max_rows_per_group: Option<u32>,
    /// The largest L2 norm of a unit's row counts by group (private access).
    pub max_norm: Option<f64>,
    /// The most distinct values of a unit that count in a group (private access).
    pub max_distinct: Option<u32>,
    /// Whether public keys are tested for `min_cohort` too (private access).
    pub min_cohort_public: bool,
}

/// What a steward said of a column.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ColumnSettings {
    /// `identifier` or `measure`, or none. The unit column's role follows from the table's policy.
    pub role: ColumnRole,
    /// The least value there can be.
    pub lower: Option<f64>,
    /// The greatest value there can be.
    pub upper: Option<f64>,
    /// All values there can be, if that is public.
    pub domain: Option<Vec<String>>,
    /// The value that stands for those outside `domain`.
    pub other: Option<String>,
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
            "epsilon_per_query" => self.epsilon_per_query = Some(positive(option, value)?),
            "epsilon_per_job" => self.epsilon_per_job = Some(positive(option, value)?),
            "delta_per_query" => {
                let delta = positive(option, value)?;
                if delta >= 1.0 {
                    return Err(invalid(format!("{option} must be less than 1, not {value}")));
                }
                self.delta_per_query = Some(delta);
            }
            "max_groups_per_unit" => self.max_groups_per_unit = Some(count(option, value)?),
            "max_rows_per_group" => self.max_rows_per_group = Some(count(option, value)?),
            "max_distinct" => self.max_distinct = Some(count(option, value)?),
            "max_norm" => self.max_norm = Some(positive(option, value)?),
            "min_cohort_public" => self.min_cohort_public = boolean(option, value)?,
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
            "refresh" => {}
            _ => return Err(unknown_option(option, TABLE_OPTIONS)),
        }
        Ok(())
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
            (Some(Access::Private), _) => Some("has private access, which is not built yet: it answers nothing"),
            (Some(Access::Cohort), None) => Some("has no unit column yet"),
            (Some(Access::Cohort), Some(_)) | (Some(Access::Open), _) => None,
        };
        let protection = match (self.access, &self.unit) {
            (Some(access @ (Access::Cohort | Access::Private)), Some(unit)) => Some(Protection {
                access,
                unit_column: unit.clone(),
                unit_kind: self.unit_kind.clone().unwrap_or_else(|| DEFAULT_UNIT_KIND.to_owned()),
                unit_unique: self.unit_unique && self.unit_unique_verified,
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
        TableFacts { name: name.to_owned(), protection, closed: closed.map(str::to_owned), roles, placement }
    }
}

impl ColumnSettings {
    /// Sets an option from the text a steward wrote.
    ///
    /// # Errors
    /// 42704 for an unknown option, 22023 for a value it cannot have.
    pub fn set(&mut self, option: &str, value: &str) -> Result<()> {
        match option {
            "role" => {
                self.role = match value.to_ascii_lowercase().as_str() {
                    "none" => ColumnRole::None,
                    "identifier" => ColumnRole::Identifier,
                    "measure" => ColumnRole::Measure,
                    "unit" => {
                        return Err(invalid("the unit column is set for the table")
                            .hint("ALTER TABLE … SET (unit = '<column>')."));
                    }
                    other => {
                        return Err(did_you_mean(
                            invalid(format!("role cannot be \"{other}\"")),
                            other,
                            ["none", "identifier", "measure"],
                        ));
                    }
                }
            }
            "lower" => self.lower = Some(finite(option, value)?),
            "upper" => self.upper = Some(finite(option, value)?),
            "domain" => self.domain = Some(parse_text_array(value)?),
            "other" => self.other = Some(value.to_owned()),
            _ => return Err(unknown_option(option, COLUMN_OPTIONS)),
        }
        Ok(())
    }

    /// Takes an option back to what it is when not set.
    ///
    /// # Errors
    /// 42704 for an unknown option.
    pub fn reset(&mut self, option: &str) -> Result<()> {
        match option {
            "role" => self.role = ColumnRole::None,
            "lower" => self.lower = None,
            "upper" => self.upper = None,
            "domain" => self.domain = None,
            "other" => self.other = None,
            _ => return Err(unknown_option(option, COLUMN_OPTIONS)),
        }
        Ok(())
    }

    /// Checks the options against each other.
    ///
    /// # Errors
    /// 22023 with what is wrong.
    pub fn validate(&self, column: &str) -> Result<()> {
        if let (Some(lower), Some(upper)) = (self.lower, self.upper)
            && lower >= upper
        {
            return Err(invalid(format!("lower of column \"{column}\" must be less than upper ({lower}, {upper})")));
        }
        match (&self.domain, &self.other) {
            (None, Some(_)) => Err(invalid(format!("other of column \"{column}\" needs a domain"))
                .hint("ALTER TABLE … ALTER COLUMN … SET (domain = '{a,b,rest}', other = 'rest').")),
            (Some(domain), _) if domain.is_empty() => {
                Err(invalid(format!("the domain of column \"{column}\" is empty")))
            }
            (Some(domain), Some(other)) if !domain.contains(other) => {
                Err(invalid(format!("other of column \"{column}\" must be a value of its domain")))
            }
            _ => Ok(()),
        }
    }
}

/// 42703, with the nearest column.
pub(crate) fn undefined_column(column: &str, table: &str, schema: &Schema) -> Error {
    let error =
        Error::new(Sqlstate::UndefinedColumn, format!("column \"{column}\" of relation \"{table}\" does not exist"));
    did_you_mean(error, column, schema.fields().iter().map(|field| field.name().as_str()))
}

fn unknown_option(option: &str, known: &[&'static str]) -> Error {
    let error = Error::new(Sqlstate::UndefinedObject, format!("unrecognized option \"{option}\""));
    did_you_mean(error, option, known.iter().copied())
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Sqlstate::InvalidParameterValue, message)
}

fn parse_access(value: &str) -> Result<Access> {
    let all = [Access::Open, Access::Cohort, Access::Private];
    let lower = value.to_ascii_lowercase();
    all.into_iter()
        .find(|access| access.as_str() == lower)
        .ok_or_else(|| did_you_mean(invalid(format!("access cannot be \"{value}\"")), value, all.map(Access::as_str)))
}

fn name_of_kind(value: &str) -> Result<String> {
    if value.is_empty() || value.len() > 63 || value.chars().any(char::is_control) {
        return Err(invalid("unit_kind must be a name of 1 to 63 bytes"));
    }
    Ok(value.to_owned())
}

pub(crate) fn boolean(option: &str, value: &str) -> Result<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" | "t" => Ok(true),
        "false" | "off" | "no" | "0" | "f" => Ok(false),
        _ => Err(invalid(format!("{option} must be true or false, not \"{value}\""))),
    }
}

fn whole(option: &str, value: &str) -> Result<i64> {
    value.parse().map_err(|_| invalid(format!("{option} must be a whole number, not \"{value}\"")))
}

fn count(option: &str, value: &str) -> Result<u32> {
    match u32::try_from(whole(option, value)?) {
        Ok(n) if n >= 1 => Ok(n),
        _ => Err(invalid(format!("{option} must be between 1 and {}, not {value}", u32::MAX))),
    }
}

fn finite(option: &str, value: &str) -> Result<f64> {
    match value.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(invalid(format!("{option} must be a number, not \"{value}\""))),
    }
}

fn positive(option: &str, value: &str) -> Result<f64> {
    let number = finite(option, value)?;
    if number > 0.0 { Ok(number) } else { Err(invalid(format!("{option} must be greater than 0, not {value}"))) }
}

/// Reads PostgreSQL's text form of a one-dimensional array of text: `{female,"a, b"}`.
///
/// # Errors
/// 22023 for other text, for NULL and for a value that occurs twice.
pub(crate) fn parse_text_array(text: &str) -> Result<Vec<String>> {
    let malformed = || {
        invalid(format!("malformed array literal: \"{}\"", text.chars().take(100).collect::<String>()))
            .hint("Write the values in braces: domain = '{female,male}'.")
    };
    let inner = text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or_else(malformed)?;
    let mut items: Vec<String> = Vec::new();
    let mut chars = inner.chars().peekable();
    if inner.trim().is_empty() {
        return Ok(items);
    }
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let mut item = String::new();
        if chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next().ok_or_else(malformed)? {
                    '"' => break,
                    '\\' => item.push(chars.next().ok_or_else(malformed)?),
                    other => item.push(other),
                }
            }
        } else {
            while let Some(c) = chars.next_if(|c| *c != ',') {
                match c {
                    '{' | '}' | '"' => return Err(malformed()),
                    '\\' => item.push(chars.next().ok_or_else(malformed)?),
                    other => item.push(other),
                }
            }
            item.truncate(item.trim_end().len());
            if item.is_empty() || item.eq_ignore_ascii_case("null") {
                return Err(malformed());
            }
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if items.contains(&item) {
            return Err(invalid(format!("\"{item}\" is twice in the array")));
        }
        items.push(item);
        match chars.next() {
            None => return Ok(items),
            Some(',') => {}
            Some(_) => return Err(malformed()),
        }
    }
}
