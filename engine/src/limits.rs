//! How much one principal may ask for: statements a second, statements at once, sessions at once, rows of an answer, memory of a statement; and how many connections one address
//! may have. All are off unless the configuration sets them.
//!
//! Those of statements are looked at before anything else of a statement, and depend on who asks and how often alone. What they turn away costs the node next to nothing: it is counted in
//! the audit log as failed logins are, so that a flood does not fill the disk.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use governor::clock::{Clock, MonotonicClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::config::Config;
use crate::error::{Error, Result, Sqlstate};
use crate::principal::Principal;
use crate::session::Session;
use crate::session::backends::OpenSessions;

/// Principals whose rates are remembered before those at rest are let go of.
const MANY_RATES: usize = 1_000;

/// What the error of a statement that has taken all of its memory begins with.
pub(crate) const STATEMENT_MEMORY: &str = "the statement's memory";

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
    /// Connections of one address at once, over all protocols.
    pub address_connections: Option<usize>,
    /// Memory of one statement, in bytes.
    pub statement_bytes: Option<usize>,
}

/// A node's limits, and what counts against them now.
pub(crate) struct Limits {
    settings: LimitSettings,
    rates: Option<DefaultKeyedRateLimiter<String>>,
    /// Of statements that are planned: who prepares and never runs them keeps a node as busy.
    planned: Option<DefaultKeyedRateLimiter<String>>,
    running: Counts<String>,
    connected: Counts<IpAddr>,
}

/// How many there are of each.
type Counts<K> = Arc<Mutex<HashMap<K, usize>>>;

/// One that is counted until it is dropped.
struct Counted<K: Eq + Hash>(Counts<K>, K);

impl<K: Eq + Hash + Clone> Counted<K> {
    /// One more, unless there are `most`.
    fn one(counts: &Counts<K>, of: K, most: usize) -> Option<Counted<K>> {
        let mut all = counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(of.clone()).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Counted(Arc::clone(counts), of))
    }
}

impl<K: Eq + Hash> Drop for Counted<K> {
    fn drop(&mut self) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.1) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                all.remove(&self.1);
            }
        }
    }
}

/// The right of a statement to run, until it is dropped.
pub(crate) struct Running {
    _counted: Option<Counted<String>>,
}

/// The place of a connection among those of its address, until it is dropped.
pub struct Place {
    _counted: Option<Counted<IpAddr>>,
}

impl Place {
    /// One among any number.
    pub fn uncounted() -> Place {
        Place { _counted: None }
    }
}

/// The network that an address counts as: of IPv6 64 bits, which are as easily had as one address of IPv4.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

impl Limits {
    /// Those of a configuration.
    pub(crate) fn of(config: &Config) -> Limits {
        let settings = config.limits;
        let rates = || settings.statements_per_second.map(|rate| RateLimiter::keyed(Quota::per_second(rate)));
        Limits { settings, rates: rates(), planned: rates(), running: Arc::default(), connected: Arc::default() }
    }

    /// Takes a statement of a principal that is to be planned, unless it is part of one that was taken.
    ///
    /// # Errors
    /// 53300 if there are too many, with when to try again.
    pub(crate) fn admit_planning(&self, principal: &Principal, is_part: bool) -> Result<()> {
        if is_part {
            return Ok(());
        }
        self.within_rate(self.planned.as_ref(), || principal.display())
    }

    fn within_rate(&self, rates: Option<&DefaultKeyedRateLimiter<String>>, who: impl Fn() -> String) -> Result<()> {
        let (Some(rates), Some(rate)) = (rates, self.settings.statements_per_second) else { return Ok(()) };
        if rates.len() > MANY_RATES {
            rates.retain_recent();
        }
        rates.check_key(&who()).map_err(|until| {
            let wait = until.wait_time_from(MonotonicClock.now()).as_millis().max(1);
            Error::new(Sqlstate::TooManyConnections, format!("more than {rate} statements a second"))
                .hint(format!("Try again in {wait} ms."))
        })
    }

    /// Takes a statement of a principal, unless it is part of one that was taken.
    ///
    /// # Errors
    /// 53300 if there are too many, with when to try again.
    pub(crate) fn admit(&self, principal: &Principal, is_part: bool) -> Result<Running> {
        if is_part || self.rates.is_none() && self.settings.concurrent_statements.is_none() {
            return Ok(Running { _counted: None });
        }
        let who = principal.display();
        self.within_rate(self.rates.as_ref(), || who.clone())?;
        let Some(most) = self.settings.concurrent_statements else { return Ok(Running { _counted: None }) };
        match Counted::one(&self.running, who, most) {
            Some(running) => Ok(Running { _counted: Some(running) }),
            None => Err(Error::new(Sqlstate::TooManyConnections, format!("more than {most} statements at once"))
                .hint("Try again when one of them has ended.")),
        }
    }

    /// Takes a connection from an address.
    ///
    /// # Errors
    /// 53300 if it has as many as it may have.
    pub(crate) fn admit_connection(&self, from: IpAddr) -> Result<Place> {
        let Some(most) = self.settings.address_connections else { return Ok(Place::uncounted()) };
        match Counted::one(&self.connected, network(from), most) {
            Some(place) => Ok(Place { _counted: Some(place) }),
            None => Err(Error::new(Sqlstate::TooManyConnections, "too many connections from this address")
                .hint(format!("An address has at most {most} at once: close one of them."))),
        }
    }

    /// Opens a session, if its principal may have one more.
    ///
    /// # Errors
    /// 53300 if not.
    pub(crate) fn admit_session(&self, open: &OpenSessions, session: &Arc<Session>) -> Result<()> {
        let Some(most) = self.settings.sessions else {
            open.add(session);
            return Ok(());
        };
        if open.add_within(most, session) {
            return Ok(());
        }
        let message = format!("too many connections for role \"{}\"", session.opened_by().display());
        Err(Error::new(Sqlstate::TooManyConnections, message)
            .hint(format!("A role has at most {most} at once: close one of them.")))
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
        // Planning has a rate of its own.
        for _ in 0..5 {
            limits.admit_planning(&role("ana"), false).unwrap();
        }
        assert_eq!(limits.admit_planning(&role("ana"), false).unwrap_err().state, Sqlstate::TooManyConnections);
        limits.admit_planning(&role("ana"), true).unwrap();
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
    fn an_address_has_so_many_connections() {
        let limits = limits(LimitSettings { address_connections: Some(2), ..LimitSettings::default() });
        let of = |text: &str| limits.admit_connection(text.parse().unwrap());
        let first = of("10.0.0.1").unwrap();
        let _second = of("::ffff:10.0.0.1").unwrap();
        let error = of("10.0.0.1").err().unwrap();
        assert_eq!(error.state, Sqlstate::TooManyConnections);
        let _other = of("10.0.0.2").unwrap();
        drop(first);
        let _third = of("10.0.0.1").unwrap();
        // A network of 64 bits is one.
        let _six = (of("2001:db8::1").unwrap(), of("2001:db8::2").unwrap());
        assert!(of("2001:db8::3").is_err());
        let _elsewhere = of("2001:db8:0:1::3").unwrap();
    }

    #[test]
    fn nothing_is_limited_unless_it_is_configured() {
        let limits = limits(LimitSettings::default());
        let all: Vec<_> = (0..10_000).map(|_| limits.admit(&role("ana"), false).unwrap()).collect();
        let here: Vec<_> = (0..10_000).map(|_| limits.admit_connection("10.0.0.1".parse().unwrap()).unwrap()).collect();
        assert!(limits.running.lock().unwrap().is_empty() && limits.connected.lock().unwrap().is_empty());
        drop((all, here));
    }
}
