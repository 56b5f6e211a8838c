//! Which keys a node trusts, and where their nodes are.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use super::identity::Fingerprint;
use crate::config::TrustedNode;

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

impl From<&TrustedNode> for Pin {
    fn from(node: &TrustedNode) -> Pin {
        Pin { host: node.host.clone(), port: node.port, fingerprint: Fingerprint::from_bytes(node.fingerprint) }
    }
}

/// The keys trusted at this moment; connections and calls ask anew each time, so that a removed pin counts at once.
#[derive(Debug, Default)]
pub struct TrustedKeys(watch::Sender<Arc<BTreeSet<Fingerprint>>>);

impl TrustedKeys {
    /// Trusts these keys and no others.
    pub fn new(keys: impl IntoIterator<Item = Fingerprint>) -> Self {
        TrustedKeys(watch::Sender::new(Arc::new(keys.into_iter().collect())))
    }
    /// Whether a key is trusted.
    pub fn contains(&self, key: &Fingerprint) -> bool {
        self.0.borrow().contains(key)
    }
    /// Trusts these keys and no others from now on.
    pub fn replace(&self, keys: impl IntoIterator<Item = Fingerprint>) {
        self.0.send_replace(Arc::new(keys.into_iter().collect()));
    }
    /// Waits until a key is not trusted.
    pub async fn until_gone(&self, key: Fingerprint) {
        // It ends with the last of those who could tell.
        drop(self.0.subscribe().wait_for(|keys| !keys.contains(&key)).await);
    }
}
