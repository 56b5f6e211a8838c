//! Passwords cannot be tried without end: after [`FREE_FAILURES`] wrong ones in a row, a role is locked for the address that they came from.
//!
//! The first lock lasts [`FIRST_LOCK`], and each wrong password after it one twice as long, up to [`LONGEST_LOCK`]. While it lasts, the right password is as wrong as any
//! other: nothing tells that there is a lock. Others, from elsewhere, log in to the role as ever, so that nobody is kept out of their own role by a stranger.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::network;

/// Wrong passwords in a row that have no consequence but an entry in the log.
const FREE_FAILURES: u32 = 5;
const FIRST_LOCK: Duration = Duration::from_secs(30);
const LONGEST_LOCK: Duration = Duration::from_secs(15 * 60);
/// Failures are forgotten after this time without another.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);
/// Roles and addresses that are remembered. The last ones to fail are, so that a flood of names does not unlock what it is after.
const MOST: usize = 20_000;

/// Who failed where from, and how often.
#[derive(Default)]
pub(super) struct Lockout(Mutex<HashMap<(String, IpAddr), Failures>>);

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    fn locked_until(self) -> Option<Instant> {
        let beyond = self.count.checked_sub(FREE_FAILURES)?;
        let lock = FIRST_LOCK.saturating_mul(1 << beyond.min(16)).min(LONGEST_LOCK);
        Some(self.last + lock)
    }
}

impl Lockout {
    /// Whether a role is locked for an address.
    pub(super) fn is_locked(&self, role: &str, from: IpAddr) -> bool {
        self.is_locked_at(role, from, Instant::now())
    }

    /// A password was wrong. What is tried while the lock lasts does not lengthen it.
    pub(super) fn failed(&self, role: &str, from: IpAddr) {
        self.failed_at(role, from, Instant::now());
    }

    /// A password was right. Whether it counts: not if a lock began while it was tried, so that nothing is won by trying many at once.
    #[must_use]
    pub(super) fn succeeded(&self, role: &str, from: IpAddr) -> bool {
        self.succeeded_at(role, from, Instant::now())
    }

    fn succeeded_at(&self, role: &str, from: IpAddr, now: Instant) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(role, from);
        if all.get(&key).copied().and_then(Failures::locked_until).is_some_and(|until| now < until) {
            return false;
        }
        all.remove(&key);
        true
    }

    fn is_locked_at(&self, role: &str, from: IpAddr, now: Instant) -> bool {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key(role, from)).copied();
        failures.and_then(Failures::locked_until).is_some_and(|until| now < until)
    }

    fn failed_at(&self, role: &str, from: IpAddr, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.retain(|_, failures| now.saturating_duration_since(failures.last) < FORGOTTEN);
        }
        if all.len() >= MOST {
            // Those first that nothing follows from.
            let is_locked = |failures: &Failures| failures.locked_until().is_some_and(|until| now < until);
            let first = all.iter().min_by_key(|(_, failures)| (is_locked(failures), failures.last));
            if let Some(first) = first.map(|(key, _)| key.clone()) {
                all.remove(&first);
            }
        }
        let failures = all.entry(key(role, from)).or_insert(Failures { count: 0, last: now });
        if now.saturating_duration_since(failures.last) >= FORGOTTEN {
            failures.count = 0;
        }
        if failures.locked_until().is_some_and(|until| now < until) {
            return;
        }
        *failures = Failures { count: failures.count.saturating_add(1), last: now };
    }
}

fn key(role: &str, from: IpAddr) -> (String, IpAddr) {
    // As long as a name can be: what is longer names no role.
    (role.chars().take(128).collect(), network(from))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_locked_for_an_address_after_five_failures_and_longer_each_time() {
        let lockout = Lockout::default();
        let (here, there): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let start = Instant::now();
        for _ in 0..4 {
            lockout.failed_at("ana", here, start);
        }
        assert!(!lockout.is_locked_at("ana", here, start), "not before the fifth");
        lockout.failed_at("ana", here, start);
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(lockout.is_locked_at("ana", here, after(29)));
        assert!(!lockout.is_locked_at("ana", there, after(1)), "not for others");
        assert!(!lockout.is_locked_at("ben", here, after(1)), "not another role");
        // What is tried meanwhile changes nothing.
        for _ in 0..100 {
            lockout.failed_at("ana", here, after(29));
        }
        assert!(!lockout.is_locked_at("ana", here, after(30)));
        lockout.failed_at("ana", here, after(30));
        assert!(lockout.is_locked_at("ana", here, after(30 + 59)));
        assert!(!lockout.is_locked_at("ana", here, after(30 + 60)));
        assert!(
            !lockout.succeeded_at("ana", here, after(30 + 59)),
            "a right one that was on its way when the lock began"
        );
        assert!(lockout.succeeded_at("ana", here, after(30 + 60)));
        lockout.failed_at("ana", here, after(100));
        assert!(!lockout.is_locked_at("ana", here, after(100)));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_a_mapped_one_its_ipv4() {
        let lockout = Lockout::default();
        let now = Instant::now();
        for i in 0..5 {
            lockout.failed_at("ana", format!("2001:db8::{i}").parse().unwrap(), now);
            lockout.failed_at("ben", if i % 2 == 0 { "10.0.0.1" } else { "::ffff:10.0.0.1" }.parse().unwrap(), now);
        }
        assert!(lockout.is_locked_at("ana", "2001:db8::77".parse().unwrap(), now));
        assert!(!lockout.is_locked_at("ana", "2001:db8:0:1::1".parse().unwrap(), now));
        assert!(lockout.is_locked_at("ben", "10.0.0.1".parse().unwrap(), now));
    }

    #[test]
    fn a_flood_of_names_takes_bounded_memory_and_unlocks_nothing() {
        let lockout = Lockout::default();
        let here: IpAddr = "10.0.0.1".parse().unwrap();
        let now = Instant::now();
        for _ in 0..5 {
            lockout.failed_at("ana", here, now);
        }
        for i in 0..MOST + 500 {
            lockout.failed_at(&format!("r{i}"), here, now + Duration::from_millis(1));
        }
        assert!(lockout.0.lock().unwrap().len() <= MOST);
        assert!(lockout.is_locked_at("ana", here, now + Duration::from_secs(1)));
    }
}
