//! Durable state in SQLite: roles, tables, policies, peers.

use crate::config::Config;
use crate::error::Result;

/// The node's durable state.
#[derive(Debug, Clone)]
pub struct Store {}

impl Store {
    /// Opens or creates the store and brings its schema up to date.
    pub async fn open(_config: &Config) -> Result<Store> {
        Ok(Store {})
    }
}
