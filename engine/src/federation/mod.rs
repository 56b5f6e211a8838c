//! Peers: who they are, what they offer, and how release units and open tables are asked of them.

pub mod client;
pub mod identity;
pub mod pin;
pub mod status;
pub mod ticket;
pub mod tls;

use crate::config::Config;
use crate::error::Result;
use crate::store::Store;

/// The node's identity and its peers.
pub struct Federation {}

impl Federation {
    /// Loads the node's key, or makes it, and the pinned peers of the configuration.
    pub async fn new(_config: &Config, _store: &Store) -> Result<Federation> {
        Ok(Federation {})
    }

    /// What is known of the peers, for `kanon.nodes`. This node itself is not among them.
    pub fn nodes(&self) -> Vec<status::NodeStatus> {
        Vec::new()
    }

    /// This node's own fingerprint, as peers pin it.
    pub fn fingerprint(&self) -> Option<String> {
        None
    }
}
