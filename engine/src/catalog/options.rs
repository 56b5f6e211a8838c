//! Values of options as stewards write them.

use std::num::NonZeroU32;

use kanon_privacy::budget::{Delta, Epsilon};
use kanon_privacy::policy::Access;

use crate::error::{Error, Result, Sqlstate};
use crate::nearest::did_you_mean;

pub(crate) fn unknown_option(option: &str, known: &[&'static str]) -> Error {
    let error = Error::new(Sqlstate::UndefinedObject, format!("unrecognized option \"{option}\""));
    did_you_mean(error, option, known.iter().copied())
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(Sqlstate::InvalidParameterValue, message)
}

pub(super) fn parse_access(value: &str) -> Result<Access> {
    let all = [Access::Open, Access::Cohort, Access::Private];
    let lower = value.to_ascii_lowercase();
    all.into_iter()
        .find(|access| access.as_str() == lower)
        .ok_or_else(|| did_you_mean(invalid(format!("access cannot be \"{value}\"")), value, all.map(Access::as_str)))
}

pub(crate) fn name_of_kind(value: &str) -> Result<String> {
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

pub(super) fn whole(option: &str, value: &str) -> Result<i64> {
    value.parse().map_err(|_| invalid(format!("{option} must be a whole number, not \"{value}\"")))
}

pub(crate) fn count(option: &str, value: &str) -> Result<NonZeroU32> {
    match u32::try_from(whole(option, value)?).ok().and_then(NonZeroU32::new) {
        Some(n) => Ok(n),
        None => Err(invalid(format!("{option} must be between 1 and {}, not {value}", u32::MAX))),
    }
}

pub(super) fn finite(option: &str, value: &str) -> Result<f64> {
    match value.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(invalid(format!("{option} must be a number, not \"{value}\""))),
    }
}

pub(super) fn positive(option: &str, value: &str) -> Result<f64> {
    let number = finite(option, value)?;
    if number > 0.0 { Ok(number) } else { Err(invalid(format!("{option} must be greater than 0, not {value}"))) }
}

/// ε: more than 0.
pub(crate) fn epsilon(option: &str, value: &str) -> Result<Epsilon> {
    let number = positive(option, value)?;
    Epsilon::try_from(number).map_err(|error| invalid(format!("{option}: {error}")))
}

/// δ: from 0 on, and less than 1.
pub(crate) fn delta(option: &str, value: &str) -> Result<Delta> {
    let number = finite(option, value)?;
    Delta::try_from(number).map_err(|_| {
        invalid(format!("{option} must be at least 0 and less than 1, not {value}"))
            .hint("A delta is a chance of failure: far less than one in the number of people, such as 1e-8.")
    })
}
