//! What a steward says of a column: its role, its bounds, its public values.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _, StringArray};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::DataType;
use kanon_planner::facts::{Bounds, Domain, PrivateColumn, PrivateFactError};
use kanon_privacy::policy::ColumnRole;
use serde::{Deserialize, Serialize};

use super::options::{finite, invalid, unknown_option};
use crate::error::Result;
use crate::nearest::did_you_mean;

/// The options of ALTER TABLE … ALTER COLUMN … SET.
pub const COLUMN_OPTIONS: &[&str] = &["role", "lower", "upper", "domain", "other"];

/// The most values that are read of an array; a domain may have fewer.
const MAX_ARRAY_ITEMS: usize = 100_000;

/// What a steward said of a column.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ColumnSettings {
    /// `identifier` or `measure`, or none. The unit column's role follows from the table's policy.
    pub role: ColumnRole,
    /// The least value there can be.
    #[serde(with = "kanon_privacy::exact::option")]
    pub lower: Option<f64>,
    /// The greatest value there can be.
    #[serde(with = "kanon_privacy::exact::option")]
    pub upper: Option<f64>,
    /// All values there can be, if that is public.
    pub domain: Option<Vec<String>>,
    /// The value that stands for those outside `domain`.
    pub other: Option<String>,
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

    /// All that is set, as a steward writes it: `role measure, lower 0`; `nothing` if nothing is.
    pub(super) fn shown(&self) -> String {
        let role = (self.role != ColumnRole::None).then(|| format!("role {}", self.role.as_str()));
        let lower = self.lower.map(|lower| format!("lower {lower}"));
        let upper = self.upper.map(|upper| format!("upper {upper}"));
        let domain = self.domain.as_ref().map(|values| format!("domain {values:?}"));
        let other = self.other.as_ref().map(|other| format!("other {other:?}"));
        let set: Vec<String> = [role, lower, upper, domain, other].into_iter().flatten().collect();
        if set.is_empty() { "nothing".to_owned() } else { set.join(", ") }
    }

    /// Checks the options against each other and against the column's type.
    ///
    /// # Errors
    /// 22023 with what is wrong and what to write.
    pub fn validate(&self, column: &str, data_type: &DataType) -> Result<()> {
        if (self.lower.is_some() || self.upper.is_some()) && !data_type.is_numeric() {
            return Err(invalid(format!("column \"{column}\" holds no numbers and has no lower and upper"))
                .hint("Bounds are for numbers that are summed or averaged; list keys with domain = '{…}'."));
        }
        if let (Some(lower), Some(upper)) = (self.lower, self.upper)
            && Bounds::new(lower, upper).is_err()
        {
            return Err(invalid(format!("lower of column \"{column}\" must be less than upper ({lower}, {upper})"))
                .hint(
                    "Set both at once to what is possible, not to what the data hold: SET (lower = 0, upper = 110).",
                ));
        }
        let Some(values) = &self.domain else {
            return match self.other {
                None => Ok(()),
                Some(_) => Err(invalid(format!("other of column \"{column}\" needs a domain"))
                    .hint("ALTER TABLE … ALTER COLUMN … SET (domain = '{a,b,rest}', other = 'rest').")),
            };
        };
        if self.role == ColumnRole::Identifier {
            return Err(invalid(format!("column \"{column}\" is an identifier and has no domain"))
                .hint("An identifier appears nowhere in a query: RESET (domain) or RESET (role)."));
        }
        Domain::new(values.clone(), self.other.clone()).map_err(|error| {
            let hint = match &error {
                PrivateFactError::LargeDomain(_) => {
                    "Leave the domain out: keys that are not public are selected with noise."
                }
                PrivateFactError::Other(_) => "Add it: domain = '{a,b,rest}', other = 'rest'.",
                _ => "Write every value once: domain = '{female,male}'.",
            };
            invalid(format!("domain of column \"{column}\": {error}")).hint(hint)
        })?;
        in_type(values, column, data_type)
    }

    /// What the planner is told. What the types refuse counts as not declared.
    pub(super) fn private_facts(&self) -> PrivateColumn {
        let bounds = self.lower.zip(self.upper).and_then(|(lower, upper)| Bounds::new(lower, upper).ok());
        let domain = self.domain.clone().and_then(|values| Domain::new(values, self.other.clone()).ok());
        PrivateColumn { bounds, domain }
    }
}

/// Whether every text is a value of the type, and all are different ones: `1` and `01` are one key of a number.
fn in_type(values: &[String], column: &str, data_type: &DataType) -> Result<()> {
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(values));
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let cannot = |_| invalid(format!("column \"{column}\" of type {data_type} cannot have a domain"));
    let typed = cast_with_options(&texts, data_type, &options).map_err(cannot)?;
    if let Some(wrong) = (0..typed.len()).find(|row| typed.is_null(*row)).and_then(|row| values.get(row)) {
        return Err(invalid(format!("\"{wrong}\" in the domain of column \"{column}\" is no value of its type"))
            .hint("Write the values as the column has them."));
    }
    let back = cast_with_options(&typed, &DataType::Utf8, &options).map_err(cannot)?;
    let mut seen = BTreeSet::new();
    for (value, text) in values.iter().zip(back.as_string::<i32>()) {
        if !seen.insert(text) {
            return Err(invalid(format!("\"{value}\" is twice in the domain of column \"{column}\""))
                .hint("Write every value once."));
        }
    }
    Ok(())
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
    let mut seen = HashSet::new();
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
            if item.eq_ignore_ascii_case("null") {
                return Err(invalid("a domain cannot hold NULL")
                    .hint("Name a value that stands for it: domain = '{a,b,none}', other = 'none'."));
            }
            if item.is_empty() {
                return Err(malformed());
            }
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if items.len() > MAX_ARRAY_ITEMS {
            return Err(invalid(format!("an array has at most {MAX_ARRAY_ITEMS} values")));
        }
        if !seen.insert(item.clone()) {
            return Err(invalid(format!("\"{item}\" is twice in the array")).hint("Write every value once."));
        }
        items.push(item);
        match chars.next() {
            None => return Ok(items),
            Some(',') => {}
            Some(_) => return Err(malformed()),
        }
    }
}
