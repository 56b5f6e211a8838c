//! Logins that failed, and what was too much, counted: whoever has no password may not fill the disk.
//!
//! One entry a second for each address, role and peer, with how often, and at most [`MOST_A_SECOND`] of them: what is beyond is counted together. The names of roles
//! that there are not are not kept: people type passwords where the name belongs.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::chain::{Draft, Who};
use super::entry::{Action, Decision};

/// The most entries of failed logins in a second, but for one of all the others.
const MOST_A_SECOND: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Attempt {
    action: Action,
    address: String,
    role: Option<String>,
    peer: Option<String>,
    rule: &'static str,
}

/// Those of the last second.
#[derive(Debug, Default)]
pub(super) struct FailedLogins(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    attempts: BTreeMap<Attempt, u64>,
    others: u64,
}

impl FailedLogins {
    /// Counts one. `rule` is its SQLSTATE; `role` one that there is.
    pub(super) fn count(
        &self,
        action: Action,
        address: &str,
        role: Option<&str>,
        peer: Option<&str>,
        rule: &'static str,
    ) {
        let (address, role, peer) = (address.to_owned(), role.map(str::to_owned), peer.map(str::to_owned));
        let attempt = Attempt { action, address, role, peer, rule };
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.attempts.len() < MOST_A_SECOND || counted.attempts.contains_key(&attempt) {
            *counted.attempts.entry(attempt).or_default() += 1;
        } else {
            counted.others += 1;
        }
    }

    /// The entries of what was counted since the last time.
    pub(super) fn take(&self) -> Vec<Draft> {
        let counted = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut drafts: Vec<Draft> = counted
            .attempts
            .into_iter()
            .map(|(Attempt { action, address, role, peer, rule }, times)| {
                let who = Who { principal: role.unwrap_or_default(), home_node: String::new(), peer };
                let mut objects = vec![format!("{times} times")];
                if !address.is_empty() {
                    objects.insert(0, format!("address {address}"));
                }
                Draft { objects, rule: Some(rule.to_owned()), ..Draft::new(who, action, Decision::Refused) }
            })
            .collect();
        if counted.others > 0 {
            let objects = vec!["other addresses and roles".to_owned(), format!("{} times", counted.others)];
            drafts.push(Draft { objects, ..Draft::new(Who::default(), Action::Login, Decision::Refused) });
        }
        drafts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_entries() {
        let logins = FailedLogins::default();
        (0..1_000).for_each(|_| logins.count(Action::Login, "10.0.0.1", Some("ana"), None, "28P01"));
        (0..1_000).for_each(|i| logins.count(Action::Login, &format!("10.0.1.{i}"), None, None, "28P01"));
        let drafts = logins.take();
        assert_eq!(drafts.len(), MOST_A_SECOND + 1);
        assert!(drafts.iter().any(|d| d.who.principal == "ana" && d.objects == ["address 10.0.0.1", "1000 times"]));
        assert_eq!(drafts.last().map(|d| d.objects.join(" ")), Some("other addresses and roles 985 times".to_owned()));
        assert!(logins.take().is_empty());
    }
}
