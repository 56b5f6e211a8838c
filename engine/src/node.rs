//! A running node: what sessions share.

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::config::Config;
use crate::error::Result;
use crate::federation::Federation;
use crate::store::Store;

/// A running node.
pub struct Node {
    /// How it was configured.
    pub config: Config,
    /// Its durable state.
    pub store: Store,
    /// Its tables.
    pub catalog: Catalog,
    /// Its identity, its peers and the tables they offer.
    pub federation: Federation,
}

impl Node {
    /// Opens the store, loads the catalog, and begins to look for peers.
    pub async fn start(config: Config) -> Result<Arc<Node>> {
        let store = Store::open(&config).await?;
        let federation = Federation::new(&config, &store).await?;
        let catalog = Catalog::load(&config, &store).await?;
        Ok(Arc::new(Node { config, store, catalog, federation }))
    }
}
