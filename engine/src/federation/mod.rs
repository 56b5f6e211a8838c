//! Peers: who they are, what they offer, and how release units and open tables are asked of them.
//!
//! ```text
//! trusted_nodes, invites ─► Pin ─► Peer (one kept connection, TLS 1.3, pinned key)
//!                          ├─ every few seconds: its signed descriptor ─► Federation::descriptors (watched by the catalog)
//!                          └─ SiteClient::query: a subplan and its ticket ─► the peer's own gate ─► batches
//! ```
//!
//! Trust is a pinned key; pins come and go while the node runs ([`pins`]). What a peer says of itself (its id, its tables) is believed because its key signed it; two peers
//! never share an id, and none has this node's.

pub mod client;
mod connect;
mod constants;
pub mod descriptor;
pub mod identity;
mod inline;
pub mod invite;
mod offered_private;
mod own;
mod peer;
pub mod pin;
mod pins;
pub mod run;
pub mod scan;
mod site;
pub mod status;
pub mod tables;
pub mod ticket;
pub mod tls;
mod two_rounds;
pub mod wire;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use chrono::Utc;
use kanon_planner::facts::SiteId;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::catalog::Snapshot;
use crate::config::Config;
use crate::error::{Error, Result, Sqlstate};
use crate::nearest::did_you_mean;
use crate::peers::Strangers;
use crate::store::{PeerIds, Store, Suspended, Suspension};
use client::SiteClient;
use descriptor::Descriptor;
use identity::{Fingerprint, Identity, PublicKey};
use own::OwnDescriptor;
use peer::{Checked, Peer};
use pin::TrustedKeys;
use site::PeerSite;
use status::NodeStatus;
use ticket::{Audience, TicketClaims};

pub use peer::{PeerInfo, PeerStatus};
pub use site::{TICKET_HEADER, TIMEOUT_HEADER};

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
    /// All pinned peers, swapped whole.
    peers: RwLock<Arc<Vec<Arc<Peer>>>>,
    /// Which peer has which id.
    ids: PeerIds,
    descriptors: watch::Sender<Descriptors>,
    own: OwnDescriptor,
    store: Store,
    /// The version of the snapshot by which peers are suspended.
    suspended_by: Mutex<u64>,
    /// Until when peers are asked for their descriptors, once they are.
    asking: OnceLock<CancellationToken>,
    /// The right to change pins: one change after another.
    changing: Semaphore,
    strangers: Strangers,
    four_eyes: bool,
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
    /// Loads the node's key, or makes it, and the pinned peers of the configuration and the store. Nobody is asked before [`Federation::begin`].
    ///
    /// # Errors
    /// 58000 if the key cannot be used, 22023 if this node is pinned as its own peer.
    pub async fn new(config: &Config, store: &Store) -> Result<Federation> {
        let identity = Arc::new(ensure_blocking(&config.dir).await?);
        let wanted = pins::wanted(&config.trusted_nodes, store, &identity).await?;
        let peers =
            wanted.into_iter().map(|pinned| Ok(Arc::new(pinned.peer(&identity)?))).collect::<Result<Vec<_>>>()?;
        let ids = store.directory().peer_ids();
        ids.lock().unwrap_or_else(PoisonError::into_inner).insert(config.node_id.clone(), identity.fingerprint);
        let inner = Inner {
            site: SiteId::new(config.node_id.clone()),
            trusted: Arc::new(TrustedKeys::new(peers.iter().map(|p| p.pin.fingerprint))),
            ids,
            identity,
            peers: RwLock::new(Arc::new(peers)),
            descriptors: watch::Sender::new(Arc::default()),
            own: OwnDescriptor::new(config, store).await?,
            store: store.clone(),
            suspended_by: Mutex::default(),
            asking: OnceLock::new(),
            changing: Semaphore::new(1),
            strangers: Strangers::default(),
            four_eyes: config.four_eyes,
        };
        inner.recall().await?;
        Ok(Federation { inner: Arc::new(inner) })
    }

    /// Begins to ask the peers for their descriptors, until `stopping`.
    pub fn begin(&self, stopping: &CancellationToken) {
        drop(self.inner.asking.set(stopping.clone()));
        for peer in self.inner.peers().iter() {
            self.inner.follow(peer);
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

    /// What bounds those who show invites.
    pub(crate) fn strangers(&self) -> &Strangers {
        &self.inner.strangers
    }

    /// The last valid descriptors of all peers, whether they answer now or not; the receiver is told when they change.
    pub fn descriptors(&self) -> watch::Receiver<Descriptors> {
        self.inner.descriptors.subscribe()
    }

    /// All pinned peers, as they are at this moment.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.inner.peers().iter().map(|p| p.info()).collect()
    }

    /// What is known of the peers, for `kanon.nodes`. This node itself is not among them.
    pub fn nodes(&self) -> Vec<NodeStatus> {
        self.peers().iter().map(NodeStatus::of_peer).collect()
    }

    /// This node's own fingerprint, as peers pin it.
    pub fn fingerprint(&self) -> Option<String> {
        Some(self.inner.identity.fingerprint.to_string())
    }

    /// A peer as a site that can be asked; `None` if no pinned peer has that id.
    pub fn client(&self, site: &SiteId) -> Option<Arc<dyn SiteClient>> {
        let peer = self.inner.peers().iter().find(|p| p.site().as_ref() == Some(site)).cloned()?;
        Some(Arc::new(PeerSite {
            site: site.clone(),
            home: self.inner.site.clone(),
            identity: Arc::clone(&self.inner.identity),
            peer,
        }))
    }

    /// The key of the peer of an id (or of a place, if it never told one), and what people call it.
    ///
    /// # Errors
    /// 42704 if no pinned peer is called so.
    pub(crate) fn named(&self, name: &str) -> Result<(Fingerprint, String)> {
        let peers = self.peers();
        let shown = |peer: &PeerInfo| NodeStatus::of_peer(peer).node_id;
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
        for peer in self.inner.peers().iter() {
            let key = peer.pin.fingerprint.to_string();
            let is = |suspension: &Suspension| suspension.of == Suspended::Peer && suspension.name == key;
            peer.suspend(snapshot.suspensions.iter().any(is));
        }
    }

    /// Whether the peer of an id is suspended; `None` if no pinned peer has it.
    pub(crate) fn is_suspended(&self, site: &SiteId) -> Option<bool> {
        let key = *self.inner.ids().get(site.as_str())?;
        self.inner.peer(&key).map(|peer| peer.is_suspended())
    }

    /// What a peer answers to an action, or why it does not.
    pub(crate) async fn ask(&self, peer: &Fingerprint, action: &str, body: Vec<u8>) -> Result<Vec<u8>, String> {
        let peer = self.inner.peer(peer).ok_or_else(|| "it is not pinned".to_owned())?;
        if peer.is_suspended() {
            return Err("it is suspended".to_owned());
        }
        match tokio::time::timeout(peer::CHECK_TIMEOUT, peer.act(action, body)).await {
            Ok(answer) => answer.map_err(|failed| failed.why),
            Err(_) => Err("no answer in time".to_owned()),
        }
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
    /// 28000 with the reason, for tickets that are forged, expired, for another site or statement, or were used before; 42501 and 53300 for a node that may not ask, or
    /// asks too often.
    pub async fn admit(&self, token: &str, sql: &str, peer_key: PublicKey) -> Result<Admitted> {
        let fingerprint = peer_key.fingerprint();
        // The handshake checked it, but the pin may have been removed since.
        if !self.inner.trusted.contains(&fingerprint) {
            return Err(ticket::refused("is of a node that is not pinned"));
        }
        if self.inner.peer(&fingerprint).is_some_and(|peer| peer.is_suspended()) {
            return Err(ticket::refused("is of a node that is suspended at this site")
                .hint("Whoever runs the site decides when it may ask again."));
        }
        let rules = self.inner.store.directory().rules_of_key(&fingerprint);
        if !rules.may_query {
            return Err(not_asked());
        }
        if let (Some(rate), Some(peer)) = (rules.statements_per_second, self.inner.peer(&fingerprint)) {
            peer.admit(rate)?;
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
    fn peers(&self) -> Arc<Vec<Arc<Peer>>> {
        Arc::clone(&self.peers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The peer of a key.
    fn peer(&self, key: &Fingerprint) -> Option<Arc<Peer>> {
        self.peers().iter().find(|peer| peer.pin.fingerprint == *key).cloned()
    }

    fn ids(&self) -> MutexGuard<'_, BTreeMap<String, Fingerprint>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ids that invites told, and the descriptors that the store remembers, so that the tables of a peer that is down when this node starts are known.
    async fn recall(&self) -> Result<()> {
        let peers = self.peers();
        for peer in peers.iter() {
            if let Some(id) = &peer.invited_as
                && let Err(error) = self.claim_id(id, peer.pin.fingerprint)
            {
                tracing::error!(peer = %peer.pin, %error, "a peer is pinned under an id that it cannot have");
            }
        }
        for record in self.store.peers().await? {
            let Some(peer) =
                peers.iter().find(|p| p.pin.fingerprint.as_bytes().as_slice() == record.fingerprint.as_slice())
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
        let mut ids = self.ids();
        // While the ids are locked: a pin that goes takes its id along.
        if !self.trusted.contains(&fingerprint) {
            return Err(ticket::refused("is of a node that is not pinned"));
        }
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

    /// Begins to ask a peer for its descriptor, if peers are asked.
    fn follow(self: &Arc<Self>, peer: &Arc<Peer>) {
        let Some(stopping) = self.asking.get().cloned() else { return };
        let (inner, peer) = (Arc::clone(self), Arc::clone(peer));
        tokio::spawn(async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = peer.until_removed() => {}
                () = inner.watch(&peer) => {}
            }
        });
    }

    /// Asks a peer again and again, as long as it is one.
    async fn watch(&self, peer: &Peer) {
        let mut failures = 0;
        while peer.until_asked().await {
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
        let mut all: Vec<Arc<Descriptor>> = self.peers().iter().filter_map(|p| p.descriptor()).collect();
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

/// A node that is a peer and may not ask.
pub(crate) fn not_asked() -> Error {
    Error::new(Sqlstate::InsufficientPrivilege, "this site answers no questions of that node")
        .hint("Whoever runs the site decides who may ask: ALTER SERVER … OPTIONS (SET may_query 'true').")
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
