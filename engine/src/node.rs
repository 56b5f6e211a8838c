//! A running node: what sessions share.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use datafusion::execution::cache::cache_manager::CacheManagerConfig;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use kanon_planner::facts::SiteId;
use kanon_privacy::bounding::SiteKey;
use ring::rand::{SecureRandom, SystemRandom};
use tokio_util::sync::CancellationToken;

use crate::audit::AuditLog;
use crate::auth::{self, Authenticator};
use crate::catalog::Catalog;
use crate::config::Config;
use crate::error::{Error, Result, Sqlstate};
use crate::federation::Federation;
use crate::ledger::Ledger;
use crate::limits::{Limits, Place};
use crate::principal::{AuthMethod, BuiltinRole, Principal};
use crate::session::backends::OpenSessions;
use crate::session::context::base_state;
use crate::session::planning::States;
use crate::store::Store;
use crate::tls::ListenerTls;

/// Consumers of memory that an error of the memory pool names in the log.
const TRACKED_CONSUMERS: std::num::NonZeroUsize = match std::num::NonZeroUsize::new(5) {
    Some(n) => n,
    None => std::num::NonZeroUsize::MIN,
};

/// A running node.
pub struct Node {
    /// How it was configured.
    pub config: Config,
    /// Its durable state.
    pub store: Store,
    /// Its tables.
    pub catalog: Catalog,
    /// What was spent of its budgets, and what was answered for it.
    pub ledger: Ledger,
    /// Who asked what, and what came of it.
    pub audit: AuditLog,
    /// Its identity, its peers and the tables they offer.
    pub federation: Federation,
    /// What statements are planned in.
    pub(crate) states: States,
    /// Cancelled when the node stops; sessions end with it.
    pub stopping: CancellationToken,
    /// The sessions that are open.
    pub sessions: OpenSessions,
    /// How much each may ask for.
    pub(crate) limits: Limits,
    /// Held by whoever changes rules.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// Held by whoever approves a change.
    pub(crate) approving: tokio::sync::Mutex<()>,
    /// Who may come in.
    pub authenticator: Authenticator,
    /// What listeners show, and whose certificates they take.
    pub tls: Arc<ListenerTls>,
    site: SiteId,
    site_key: SiteKey,
}

impl Node {
    /// Opens the store and loads identity and catalog. Peers are looked for from [`Node::begin_federation`] on.
    ///
    /// # Errors
    /// What is wrong with configuration, store, keys or registered tables.
    pub async fn start(config: Config) -> Result<Arc<Node>> {
        let store = Store::open(&config).await?;
        let federation = Federation::new(&config, &store).await?;
        let runtime = runtime(&config)?;
        let catalog = Catalog::load(&config, &store, Arc::clone(&runtime)).await?;
        federation.suspend_as_in(&catalog.snapshot());
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let partitions = config.max_cpu_cores.unwrap_or(cores).min(cores);
        let states = States::of(base_state(runtime, partitions), config.limits.statement_bytes);
        let site = SiteId::new(config.node_id.clone());
        let ledger = Ledger::start(&store);
        let audit = AuditLog::start(&config, &store, federation.identity()).await?;
        // With what was found of the log's past.
        catalog.reload().await?;
        let site_key = site_key(&store).await?;
        let stopping = CancellationToken::new();
        let sessions = OpenSessions::default();
        let limits = Limits::of(&config);
        let tls = Arc::new(ListenerTls::start(&config, federation.identity(), federation.trusted_keys())?);
        let authenticator = Authenticator::start(&config, &store, &audit, &tls).await?;
        federation.log_pins(&audit).await?;
        audit.four_eyes(&store, config.four_eyes).await?;
        let node = Arc::new(Node {
            config,
            store,
            catalog,
            ledger,
            audit,
            federation,
            states,
            stopping,
            sessions,
            limits,
            changing: tokio::sync::Mutex::default(),
            approving: tokio::sync::Mutex::default(),
            authenticator,
            tls,
            site,
            site_key,
        });
        auth::keep(&node);
        if let Some(retention) = node.config.answer_retention {
            node.ledger.keep_answers_for(retention, &node.stopping);
        }
        Ok(node)
    }

    /// The secret that decides which rows and groups of a unit count where it has more than its bounds allow.
    pub(crate) fn site_key(&self) -> &SiteKey {
        &self.site_key
    }

    /// Takes a connection from an address. What is turned away is counted in the audit log.
    ///
    /// # Errors
    /// 53300 if the address has as many as it may have.
    pub fn admit_connection(&self, from: IpAddr) -> Result<Place> {
        self.limits.admit_connection(from).inspect_err(|error| {
            self.audit.login_failed("", &from.to_string(), error.state.code());
        })
    }

    /// This node as a site.
    pub fn site(&self) -> &SiteId {
        &self.site
    }

    /// Whoever sits at the node's own command line: an admin.
    pub fn local_admin(&self) -> Principal {
        Principal {
            name: "admin".into(),
            roles: BTreeSet::from(BuiltinRole::ALL),
            home_node: self.site.clone(),
            auth_method: AuthMethod::Local,
            credential: None,
            via_peer: None,
            told_roles: BTreeSet::new(),
        }
    }

    /// Begins to look for the peers that the configuration pins.
    pub fn begin_federation(self: &Arc<Self>) {
        self.federation.begin(&self.stopping);
        crate::federation::tables::keep(self);
        crate::audit::keep(self);
    }

    /// Ends sessions and closes the store.
    pub async fn stop(&self) {
        self.stopping.cancel();
        if let Err(error) = self.audit.checkpoint().await {
            tracing::error!(%error, "the end of the audit log could not be written");
        }
        crate::audit::farewell(self).await;
        self.store.close().await;
    }
}

/// Memory is shared fairly among statements and spills to the work folder; beyond it a statement fails with 53200.
fn runtime(config: &Config) -> Result<Arc<RuntimeEnv>> {
    std::fs::create_dir_all(&config.work_dir).map_err(|e| {
        Error::new(Sqlstate::IoError, format!("cannot make the work folder {}: {e}", config.work_dir.display()))
    })?;
    let pool = TrackConsumersPool::new(FairSpillPool::new(config.memory_limit_bytes), TRACKED_CONSUMERS);
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        // A file that comes or goes is seen by the next statement.
        .with_cache_manager(CacheManagerConfig::default().with_list_files_cache_limit(0))
        .with_temp_file_path(config.work_dir.clone())
        .build_arc()
        .map_err(Error::internal)
}

/// The site's key, made once and kept: with another one, other rows would count.
async fn site_key(store: &Store) -> Result<SiteKey> {
    let kept = store
        .setting_or_insert("site_key", || {
            let mut key = vec![0_u8; 16];
            SystemRandom::new().fill(&mut key).map_err(|_| Error::internal("no random numbers"))?;
            Ok(key)
        })
        .await?;
    let key = <[u8; 16]>::try_from(kept.as_slice())
        .map_err(|_| Error::new(Sqlstate::SystemError, "the node's store holds a site key that is none"))?;
    Ok(SiteKey::new(key))
}
