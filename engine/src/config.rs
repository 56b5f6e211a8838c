//! A node's configuration: one TOML file and the environment.

use std::path::PathBuf;

/// How a node runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its id: the name of its schema at its peers.
    pub node_id: String,
    /// Where its store, keys and certificates are.
    pub dir: PathBuf,
}
