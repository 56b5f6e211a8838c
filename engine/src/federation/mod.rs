//! Peers: who they are, what they offer, and how release units and open tables are asked of them.
//!
//! ```text
//! trusted_nodes ─► Pin ─► Peer (one kept connection, TLS 1.3, pinned key)
//!                          ├─ every few seconds: its signed descriptor ─► Federation::descriptors (watched by the catalog)
//!                          └─ SiteClient::query: a subplan and its ticket ─► the peer's own gate ─► batches
//! ```
//!
//! Trust is a pinned key. What a peer says of itself (its id, its tables) is believed because its key signed it; two peers
//! never share an id, and none has this node's.

pub mod client;
mod connect;
mod constants;
pub mod descriptor;
pub mod identity;
mod inline;
mod offered_private;
mod own;
mod peer;
pub mod pin;
pub mod run;
pub mod scan;
mod site;
pub mod status;
pub mod tables;
pub mod ticket;
pub mod tls;
mod two_rounds;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::Utc;
use kanon_planner::facts::SiteId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::audit::AuditLog;
use crate::audit::entry::Decision;
use crate::catalog::Snapshot;
use crate::config::Config;
use crate::error::{Error, Result, Sqlstate};
use crate::nearest::did_you_mean;
use crate::store::{Store, Suspended, Suspension};
use client::SiteClient;
use descriptor::Descriptor;
use identity::{Fingerprint, Identity, PublicKey};
use own::OwnDescriptor;
use peer::{Checked, Peer};
use pin::{Pin, TrustedKeys};
use site::PeerSite;
use status::{NodeState, NodeStatus};
use ticket::{Audience, TicketClaims};

pub use peer::{PeerInfo, PeerStatus};
pub use site::{TICKET_HEADER, TIMEOUT_HEADER};

/// The pins that the audit log knows, one a line.
const PINS_KEY: &str = "audited_pins";
/// How often nonces whose time is over are forgotten, in checks of peers.
const FORGET_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

/// The last valid descriptors of all peers, by id.
pub type Descriptors = Arc<Vec<Arc<Descriptor>>>;

/// The node's identity and its peers. Cheap to clone.
#[derive(Clone)]
pub struct Federation {
    inner: Arc<Inner>,
}

struct Inner {
    site: SiteId,
    identity: Arc<Identity>,
    trusted: Arc<TrustedKeys>,
    peers: Vec<Arc<Peer>>,
    /// Which peer has which id.
    ids: Mutex<BTreeMap<String, Fingerprint>>,
    descriptors: watch::Sender<Descriptors>,
    own: OwnDescriptor,
    store: Store,
    /// The version of the snapshot by which peers are suspended.
    suspended_by: Mutex<u64>,
}

/// A subplan's ticket that was verified and is used up.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The peer that asks.
    pub peer: SiteId,
    /// What its ticket says.
    pub claims: TicketClaims,
}

impl Federation {
    /// Loads the node's key, or makes it, and the pinned peers of the configuration. Nobody is asked before [`Federation::begin`].
    ///
    /// # Errors
    /// 58000 if the key cannot be used, 22023 if this node is pinned as its own peer.
    pub async fn new(config: &Config, store: &Store) -> Result<Federation> {
        let identity = Arc::new(ensure_blocking(&config.dir).await?);
        let mut peers: Vec<Arc<Peer>> = Vec::new();
        for node in &config.trusted_nodes {
            let fingerprint = Fingerprint::from_bytes(node.fingerprint);
            let pin = Pin { host: node.host.clone(), port: node.port, fingerprint };
            if fingerprint == identity.fingerprint {
                return Err(Error::new(
                    Sqlstate::InvalidParameterValue,
                    format!("trusted node {pin} is this node itself"),
                )
                .hint("Take it out of trusted_nodes."));
            }
            if peers.iter().any(|p| p.pin.fingerprint == fingerprint) {
                return Err(Error::new(
                    Sqlstate::InvalidParameterValue,
                    format!("two trusted nodes have the key of {pin}"),
                )
                .hint("Every node has a key of its own: name each node once."));
            }
            peers.push(Arc::new(Peer::new(pin, &identity)?));
        }
        let inner = Inner {
            site: SiteId::new(config.node_id.clone()),
            trusted: Arc::new(TrustedKeys::new(peers.iter().map(|p| p.pin.fingerprint))),
            ids: Mutex::new(BTreeMap::from([(config.node_id.clone(), identity.fingerprint)])),
            identity,
            peers,
            descriptors: watch::Sender::new(Arc::default()),
            own: OwnDescriptor::new(config, store).await?,
            store: store.clone(),
            suspended_by: Mutex::default(),
        };
        inner.recall().await?;
        Ok(Federation { inner: Arc::new(inner) })
    }

    /// Begins to ask the peers for their descriptors, until `stopping`.
    pub fn begin(&self, stopping: &CancellationToken) {
        for peer in &self.inner.peers {
            let (inner, peer, stopping) = (Arc::clone(&self.inner), Arc::clone(peer), stopping.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = stopping.cancelled() => {}
                    () = inner.watch(&peer) => {}
                }
            });
        }
        let (store, stopping) = (self.inner.store.clone(), stopping.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = forget_nonces(&store) => {}
            }
        });
    }

    /// The node's identity.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.inner.identity
    }

    /// The keys of peers: what listeners accept as client certificates.
    pub fn trusted_keys(&self) -> Arc<TrustedKeys> {
        Arc::clone(&self.inner.trusted)
    }

    /// The last valid descriptors of all peers, whether they answer now or not; the receiver is told when they change.
    pub fn descriptors(&self) -> watch::Receiver<Descriptors> {
        self.inner.descriptors.subscribe()
    }

    /// All pinned peers, as they are at this moment.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.inner.peers.iter().map(|p| p.info()).collect()
    }

    /// What is known of the peers, for `kanon.nodes`. This node itself is not among them.
    pub fn nodes(&self) -> Vec<NodeStatus> {
        self.peers().iter().map(node_status).collect()
    }

    /// This node's own fingerprint, as peers pin it.
    pub fn fingerprint(&self) -> Option<String> {
        Some(self.inner.identity.fingerprint.to_string())
    }

    /// A peer as a site that can be asked; `None` if no pinned peer has that id.
    pub fn client(&self, site: &SiteId) -> Option<Arc<dyn SiteClient>> {
        let peer = self.inner.peers.iter().find(|p| p.site().as_ref() == Some(site))?;
        Some(Arc::new(PeerSite {
            site: site.clone(),
            home: self.inner.site.clone(),
            identity: Arc::clone(&self.inner.identity),
            peer: Arc::clone(peer),
        }))
    }

    /// The key of the peer of an id (or of a place, if it never told one), and what people call it.
    ///
    /// # Errors
    /// 42704 if no pinned peer is called so.
    pub(crate) fn named(&self, name: &str) -> Result<(Fingerprint, String)> {
        let peers = self.peers();
        let shown = |peer: &PeerInfo| node_status(peer).node_id;
        let found = peers.iter().find(|peer| shown(peer) == name);
        found.map(|peer| (peer.pin.fingerprint, shown(peer))).ok_or_else(|| {
            let error = Error::new(Sqlstate::UndefinedObject, format!("server \"{name}\" does not exist"));
            let names: Vec<String> = peers.iter().map(shown).collect();
            did_you_mean(error, name, names.iter().map(String::as_str))
        })
    }

    /// Suspends the peers that a snapshot of the catalog says, and no others, unless a newer one was seen.
    pub(crate) fn suspend_as_in(&self, snapshot: &Snapshot) {
        let mut seen = self.inner.suspended_by.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen > snapshot.version {
            return;
        }
        *seen = snapshot.version;
        for peer in &self.inner.peers {
            let key = peer.pin.fingerprint.to_string();
            let is = |suspension: &Suspension| suspension.of == Suspended::Peer && suspension.name == key;
            peer.suspend(snapshot.suspensions.iter().any(is));
        }
    }

    /// Whether the peer of an id is suspended.
    pub(crate) fn is_suspended(&self, site: &SiteId) -> bool {
        self.inner.peers.iter().any(|peer| peer.is_suspended() && peer.site().as_ref() == Some(site))
    }

    /// What a peer answers to an action, or why it does not.
    pub(crate) async fn ask(&self, peer: &Fingerprint, action: &str, body: Vec<u8>) -> Result<Vec<u8>, String> {
        let known = self.inner.peers.iter().find(|known| known.pin.fingerprint == *peer);
        let peer = known.ok_or_else(|| "it is not pinned".to_owned())?;
        if peer.is_suspended() {
            return Err("it is suspended".to_owned());
        }
        match tokio::time::timeout(peer::CHECK_TIMEOUT, peer.act(action, body)).await {
            Ok(answer) => answer.map_err(|failed| failed.why),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    /// Enters the pinned peers in the audit log, if they are others than at the last start.
    ///
    /// # Errors
    /// If the store or the log fails.
    pub(crate) async fn log_pins(&self, log: &AuditLog) -> Result<()> {
        let store = &self.inner.store;
        let pins: BTreeSet<String> = self.inner.peers.iter().map(|peer| peer.pin.to_string()).collect();
        let before = store.setting(PINS_KEY).await?.and_then(|kept| String::from_utf8(kept).ok()).unwrap_or_default();
        let before: BTreeSet<String> = before.lines().map(str::to_owned).collect();
        for (gone, pins) in [(false, pins.difference(&before)), (true, before.difference(&pins))] {
            for pin in pins {
                log.peer(pin, Decision::Allowed, if gone { "no longer trusted" } else { "trusted" }).await?;
            }
        }
        if pins != before {
            let text: Vec<&str> = pins.iter().map(String::as_str).collect();
            store.set_setting(PINS_KEY, text.join("\n").as_bytes()).await?;
        }
        Ok(())
    }

    /// This node's own descriptor, signed.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn own_descriptor(&self, snapshot: &Snapshot) -> Result<String> {
        self.inner.own.token(&self.inner.identity, snapshot).await
    }

    /// Verifies a ticket for the text `sql` that came over a connection of the key `peer_key`, and uses it up.
    ///
    /// # Errors
    /// 28000 with the reason, for tickets that are forged, expired, for another site or statement, or were used before.
    pub async fn admit(&self, token: &str, sql: &str, peer_key: PublicKey) -> Result<Admitted> {
        let fingerprint = peer_key.fingerprint();
        // The handshake checked it, but the pin may have been removed since.
        if !self.inner.trusted.contains(&fingerprint) {
            return Err(ticket::refused("is of a node that is not pinned"));
        }
        if self.inner.peers.iter().any(|peer| peer.pin.fingerprint == fingerprint && peer.is_suspended()) {
            return Err(ticket::refused("is of a node that is suspended at this site")
                .hint("Whoever runs the site decides when it may ask again."));
        }
        let audience = Audience { site: &self.inner.site, key: self.inner.identity.fingerprint };
        let claims = ticket::verify(token, sql, peer_key, &audience)?;
        self.inner.claim_id(&claims.home_node, fingerprint)?;
        let is_new =
            self.inner.store.remember_nonce(&fingerprint.to_string(), &claims.nonce, claims.remember_until()).await?;
        if !is_new {
            return Err(ticket::refused("was used before"));
        }
        Ok(Admitted { peer: SiteId::new(claims.home_node.clone()), claims })
    }
}

impl Inner {
    /// The descriptors that the store remembers, so that the tables of a peer that is down when this node starts are known.
    async fn recall(&self) -> Result<()> {
        for record in self.store.peers().await? {
            let Some(peer) =
                self.peers.iter().find(|p| p.pin.fingerprint.as_bytes().as_slice() == record.fingerprint.as_slice())
            else {
                continue;
            };
            let Ok(token) = String::from_utf8(record.descriptor) else { continue };
            match descriptor::read(&token, peer.pin.fingerprint) {
                Ok(descriptor) if descriptor.protocol == descriptor::PROTOCOL => {
                    if self.claim_id(&descriptor.id, peer.pin.fingerprint).is_ok() {
                        peer.take(Arc::new(descriptor), token);
                    }
                }
                _ => tracing::warn!(peer = %record.node_id, "the descriptor remembered of a peer is not used"),
            }
        }
        self.publish();
        Ok(())
    }

    /// Gives an id to a key. Each has one at most.
    fn claim_id(&self, id: &str, fingerprint: Fingerprint) -> Result<()> {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.get(id) == Some(&fingerprint) {
            return Ok(());
        }
        if ids.contains_key(id) || ids.values().any(|f| *f == fingerprint) || !descriptor::is_node_id(id) {
            return Err(Error::new(
                Sqlstate::InvalidAuthorization,
                format!("node id \"{id}\" is not that of the peer"),
            )
            .hint("Every node has an id of its own. After a change of a node's id, restart its peers."));
        }
        ids.insert(id.to_owned(), fingerprint);
        Ok(())
    }

    /// Asks a peer again and again; never ends.
    async fn watch(&self, peer: &Peer) {
        let mut failures = 0;
        loop {
            peer.until_suspended(false).await;
            match self.check(peer).await {
                Ok(()) => failures = 0,
                Err(()) => failures += 1,
            }
            tokio::time::sleep(peer::next_check(failures)).await;
        }
    }

    async fn check(&self, peer: &Peer) -> Result<(), ()> {
        let failed = match peer.check().await {
            Ok((Checked::Same, latency)) => {
                if peer.note(PeerStatus::Up, Some(latency)) {
                    tracing::info!(peer = %peer.pin, "peer is up");
                }
                return Ok(());
            }
            Ok((Checked::New(descriptor, token), latency)) => match self.claim_id(&descriptor.id, peer.pin.fingerprint)
            {
                Ok(()) => {
                    self.remember(&descriptor, peer, &token).await;
                    peer.take(Arc::clone(&descriptor), token);
                    if peer.note(PeerStatus::Up, Some(latency)) {
                        tracing::info!(peer = %peer.pin, id = %descriptor.id, "peer is up");
                    }
                    self.publish();
                    return Ok(());
                }
                Err(error) => peer::CheckFailed { status: PeerStatus::Untrusted, why: error.to_string() },
            },
            Err(failed) => failed,
        };
        if peer.note(failed.status, None) {
            tracing::warn!(peer = %peer.pin, status = ?failed.status, why = %failed.why, "peer does not answer");
        }
        Err(())
    }

    /// A peer whose descriptor cannot be kept is known all the same, until this node restarts.
    async fn remember(&self, descriptor: &Descriptor, peer: &Peer, token: &str) {
        let sequence = i64::try_from(descriptor.sequence).unwrap_or(i64::MAX);
        let kept =
            self.store.put_peer(&descriptor.id, peer.pin.fingerprint.as_bytes(), sequence, token.as_bytes()).await;
        if let Err(error) = kept {
            tracing::error!(peer = %descriptor.id, %error, "cannot remember a peer's descriptor");
        }
    }

    fn publish(&self) {
        let mut all: Vec<Arc<Descriptor>> = self.peers.iter().filter_map(|p| p.descriptor()).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        // A renewed descriptor that offers the same is no change: what depends on it need not be rebuilt.
        let same = |a: &Descriptor, b: &Descriptor| {
            a.id == b.id
                && a.fingerprint == b.fingerprint
                && a.tables == b.tables
                && a.endpoints == b.endpoints
                && a.name == b.name
                && a.institution == b.institution
        };
        self.descriptors.send_if_modified(|known| {
            let changed = known.len() != all.len() || !known.iter().zip(&all).all(|(a, b)| same(a, b));
            *known = Arc::new(all);
            changed
        });
    }
}

fn node_status(peer: &PeerInfo) -> NodeStatus {
    let said = peer.descriptor.as_deref();
    let text = |of: fn(&Descriptor) -> &str| said.map(|d| of(d).to_owned()).filter(|text| !text.is_empty());
    NodeStatus {
        // A peer that never answered is known by its place only.
        node_id: said.map_or_else(|| peer.pin.authority(), |d| d.id.clone()),
        name: text(|d| &d.name),
        institution: text(|d| &d.institution),
        pg_endpoint: said.and_then(|d| d.endpoints.pg.clone()),
        flight_endpoint: Some(peer.pin.authority()),
        http_endpoint: said.and_then(|d| d.endpoints.http.clone()),
        status: match peer.status {
            PeerStatus::Up => NodeState::Up,
            PeerStatus::Untrusted => NodeState::Untrusted,
            PeerStatus::Suspended => NodeState::Suspended,
            PeerStatus::Unknown | PeerStatus::Down | PeerStatus::VersionMismatch => NodeState::Down,
        },
        version: text(|d| &d.version),
        last_seen_us: peer.last_seen.map(|at| at.timestamp_micros()),
        latency_ms: peer.latency.map(|took| took.as_secs_f64() * 1000.0),
        fingerprint: Some(peer.pin.fingerprint.to_string()),
    }
}

async fn ensure_blocking(dir: &Path) -> Result<Identity> {
    let dir = dir.to_owned();
    tokio::task::spawn_blocking(move || identity::ensure(&dir)).await.map_err(Error::internal)?
}

async fn forget_nonces(store: &Store) {
    loop {
        tokio::time::sleep(FORGET_EVERY).await;
        if let Err(error) = store.forget_nonces(Utc::now().timestamp()).await {
            tracing::error!(%error, "cannot forget old nonces");
        }
    }
}
