//! Which keys a node trusts, and where their nodes are.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, RwLock};

use super::identity::Fingerprint;

/// One entry of `trusted_nodes`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pin {
    /// A name or an address (without brackets).
    pub host: String,
    /// The port of its Flight SQL listener.
    pub port: u16,
    /// The only key that is accepted there.
    pub fingerprint: Fingerprint,
}

impl Pin {
    /// `host:port`, with brackets around an IPv6 address.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#sha256:{}", self.authority(), self.fingerprint)
    }
}

/// The keys trusted at this moment; connections and calls ask anew each time, so that a removed pin counts at once.
#[derive(Debug, Default)]
pub struct TrustedKeys(RwLock<Arc<BTreeSet<Fingerprint>>>);

impl TrustedKeys {
    /// Trusts these keys and no others.
    pub fn new(keys: impl IntoIterator<Item = Fingerprint>) -> Self {
        TrustedKeys(RwLock::new(Arc::new(keys.into_iter().collect())))
    }
    /// Whether a key is trusted.
    pub fn contains(&self, key: &Fingerprint) -> bool {
        match self.0.read() {
            Ok(keys) => keys.contains(key),
            // Nobody panics while holding this lock; if it happened all the same, nothing is trusted.
            Err(_) => false,
        }
    }
    /// Trusts these keys and no others from now on.
    pub fn replace(&self, keys: impl IntoIterator<Item = Fingerprint>) {
        let keys = Arc::new(keys.into_iter().collect());
        match self.0.write() {
            Ok(mut guard) => *guard = keys,
            Err(poisoned) => *poisoned.into_inner() = keys,
        }
    }
}
