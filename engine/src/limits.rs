//! How much one principal may ask for: statements a second, statements at once, sessions at once, rows of an answer. All are off unless the configuration sets them.
//!
//! They are looked at before anything else of a statement, and depend on who asks and how often alone. What they turn away costs the node next to nothing: it is counted in
//! the audit log as failed logins are, so that a flood does not fill the disk.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use governor::clock::{Clock, MonotonicClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::config::Config;
use crate::error::{Error, Result, Sqlstate};
use crate::principal::Principal;

/// Principals whose rates are remembered before those at rest are let go of.
const MANY_RATES: usize = 1_000;

/// Limits as they are configured; `None`: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitSettings {
    /// Statements a second of a principal, of which one second's worth may come at once.
    pub statements_per_second: Option<NonZeroU32>,
    /// Statements of a principal that run at once.
    pub concurrent_statements: Option<usize>,
    /// Sessions of a principal at once, over all protocols.
    pub sessions: Option<usize>,
    /// Rows of one answer.
    pub result_rows: Option<u64>,
}

/// A node's limits, and what counts against them now.
pub(crate) struct Limits {
    settings: LimitSettings,
    rates: Option<DefaultKeyedRateLimiter<String>>,
    running: Counts,
}

/// How many statements of each principal run.
type Counts = Arc<Mutex<HashMap<String, usize>>>;

/// The right of a statement to run, until it is dropped.
pub(crate) struct Running(Option<(Counts, String)>);

impl Drop for Running {
    fn drop(&mut self) {
        let Some((running, who)) = &self.0 else { return };
        let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = running.get_mut(who) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                running.remove(who);
            }
        }
    }
}

impl Limits {
    /// Those of a configuration.
    pub(crate) fn of(config: &Config) -> Limits {
        let settings = config.limits;
        let rates = settings.statements_per_second.map(|rate| RateLimiter::keyed(Quota::per_second(rate)));
        Limits { settings, rates, running: Arc::default() }
    }

    /// Takes a statement of a principal, unless it is part of one that was taken.
    ///
    /// # Errors
    /// 53300 if there are too many, with when to try again.
    pub(crate) fn admit(&self, principal: &Principal, is_part: bool) -> Result<Running> {
        if is_part || self.rates.is_none() && self.settings.concurrent_statements.is_none() {
            return Ok(Running(None));
        }
        let who = principal.display();
        if let (Some(rates), Some(rate)) = (&self.rates, self.settings.statements_per_second) {
            if rates.len() > MANY_RATES {
                rates.retain_recent();
            }
            rates.check_key(&who).map_err(|until| {
                let wait = until.wait_time_from(MonotonicClock.now()).as_millis().max(1);
                Error::new(Sqlstate::TooManyConnections, format!("more than {rate} statements a second"))
                    .hint(format!("Try again in {wait} ms."))
            })?;
        }
        let Some(most) = self.settings.concurrent_statements else { return Ok(Running(None)) };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let count = running.entry(who.clone()).or_default();
        if *count >= most {
            return Err(Error::new(Sqlstate::TooManyConnections, format!("more than {most} statements at once"))
                .hint("Try again when one of them has ended."));
        }
        *count += 1;
        drop(running);
        Ok(Running(Some((Arc::clone(&self.running), who))))
    }

    /// Whether a principal that has so many sessions may open one more.
    ///
    /// # Errors
    /// 53300 if not.
    pub(crate) fn admit_session(&self, open: impl FnOnce() -> usize, principal: &Principal) -> Result<()> {
        match self.settings.sessions {
            Some(most) if open() >= most => Err(Error::new(
                Sqlstate::TooManyConnections,
                format!("too many connections for role \"{}\"", principal.display()),
            )
            .hint(format!("A role has at most {most} at once: close one of them."))),
            _ => Ok(()),
        }
    }

    /// The most rows of an answer.
    pub(crate) fn result_rows(&self) -> Option<u64> {
        self.settings.result_rows
    }
}

/// What an answer that goes beyond its rows ends with.
pub(crate) fn too_many_rows(most: u64) -> Error {
    Error::new(Sqlstate::BudgetExceeded, format!("the answer has more than {most} rows"))
        .hint("Aggregate, filter, or ask for less with LIMIT; the node's operator sets max_result_rows.")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::principal::AuthMethod;

    fn limits(settings: LimitSettings) -> Limits {
        Limits::of(&Config { limits: settings, ..Config::new("zurich", "/nonexistent") })
    }

    fn role(name: &str) -> Principal {
        Principal {
            name: name.to_owned(),
            roles: std::collections::BTreeSet::new(),
            home_node: kanon_planner::facts::SiteId::new("zurich"),
            auth_method: AuthMethod::Password,
            credential: None,
            via_peer: None,
            told_roles: std::collections::BTreeSet::new(),
        }
    }

    #[test]
    fn a_rate_is_of_one_principal() {
        let limits = limits(LimitSettings { statements_per_second: NonZeroU32::new(5), ..LimitSettings::default() });
        for _ in 0..5 {
            limits.admit(&role("ana"), false).unwrap();
        }
        let error = limits.admit(&role("ana"), false).err().unwrap();
        assert_eq!(error.state, Sqlstate::TooManyConnections);
        assert!(error.hint.unwrap().starts_with("Try again in "));
        limits.admit(&role("ben"), false).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(250));
        limits.admit(&role("ana"), false).unwrap();
    }

    #[test]
    fn what_has_ended_counts_no_longer() {
        let limits = limits(LimitSettings { concurrent_statements: Some(2), ..LimitSettings::default() });
        let first = limits.admit(&role("ana"), false).unwrap();
        let _second = limits.admit(&role("ana"), false).unwrap();
        assert!(limits.admit(&role("ana"), false).is_err());
        limits.admit(&role("ben"), false).unwrap();
        drop(first);
        limits.admit(&role("ana"), false).unwrap();
        assert_eq!(limits.running.lock().unwrap().len(), 1);
    }

    #[test]
    fn nothing_is_limited_unless_it_is_configured() {
        let limits = limits(LimitSettings::default());
        let all: Vec<_> = (0..10_000).map(|_| limits.admit(&role("ana"), false).unwrap()).collect();
        assert!(limits.running.lock().unwrap().is_empty());
        drop(all);
    }
}
