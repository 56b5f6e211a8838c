//! Which peers are pinned while the node runs: those of the configuration, and those that invites brought.
//!
//! ```text
//! trusted_nodes (start, SIGHUP) ─┐
//!                                ├─► wanted ─► repin: the log says what is trusted ─► peers, keys, ids swapped ─► what is gone ends, and the log says so
//! invites, removals (the store) ─┘
//! ```
//!
//! A pin is in one place: what the configuration names is taken out of the store, so that to take it out of the configuration is enough.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use super::Federation;
use super::identity::{Fingerprint, Identity};
use super::invite::Accepted;
use super::peer::Peer;
use super::pin::Pin;
use crate::audit::AuditLog;
use crate::audit::entry::Decision;
use crate::catalog::Snapshot;
use crate::config::TrustedNode;
use crate::error::{Error, Result, Sqlstate};
use crate::store::{InviteUse, PinRecord, Store, Suspended};

/// The pins that the audit log knows, one a line.
const PINS_KEY: &str = "audited_pins";

/// A pin, and the id that its invite told if the store has it.
#[derive(Debug, Clone)]
pub(super) struct Pinned {
    pin: Pin,
    invited_as: Option<String>,
}

impl Pinned {
    /// A peer that is not asked yet.
    pub(super) fn peer(self, identity: &Identity) -> Result<Peer> {
        Peer::new(self.pin, self.invited_as, identity)
    }
}

impl From<&PinRecord> for Pinned {
    fn from(record: &PinRecord) -> Pinned {
        let fingerprint = Fingerprint::from_bytes(record.fingerprint);
        let pin = Pin { host: record.host.clone(), port: record.port, fingerprint };
        Pinned { pin, invited_as: Some(record.node_id.clone()) }
    }
}

/// What is to be pinned: what the configuration names, and what the store has besides.
///
/// # Errors
/// 22023 if this node is pinned as its own peer, or a key twice; if the store fails.
pub(super) async fn wanted(configured: &[TrustedNode], store: &Store, identity: &Identity) -> Result<Vec<Pinned>> {
    let refused = |message: String, hint: &str| Err(Error::new(Sqlstate::InvalidParameterValue, message).hint(hint));
    let mut wanted: Vec<Pinned> = Vec::new();
    for node in configured {
        let pin = Pin::from(node);
        if pin.fingerprint == identity.fingerprint {
            return refused(format!("trusted node {pin} is this node itself"), "Take it out of trusted_nodes.");
        }
        if wanted.iter().any(|known| known.pin.fingerprint == pin.fingerprint) {
            return refused(
                format!("two trusted nodes have the key of {pin}"),
                "Every node has a key of its own: name each node once.",
            );
        }
        wanted.push(Pinned { pin, invited_as: None });
    }
    for record in store.pins().await? {
        if wanted.iter().any(|known| known.pin.fingerprint.as_bytes() == &record.fingerprint) {
            store.remove_pin(&record.fingerprint).await?;
        } else {
            wanted.push(Pinned::from(&record));
        }
    }
    Ok(wanted)
}

impl Federation {
    /// Pins what the configuration names now, and what the store has besides.
    ///
    /// # Errors
    /// As at the start of the node; if the log or the store fails.
    pub(crate) async fn pin_as_configured(
        &self,
        configured: &[TrustedNode],
        log: &AuditLog,
        snapshot: &Snapshot,
    ) -> Result<()> {
        let _turn = self.inner.changing.acquire().await.map_err(Error::internal)?;
        let wanted = wanted(configured, &self.inner.store, &self.inner.identity).await?;
        let keys: BTreeSet<Fingerprint> = configured.iter().map(|node| Pin::from(node).fingerprint).collect();
        self.repin(wanted, &keys, log, snapshot).await
    }

    /// Whether a key or an id that a node says it has is free.
    ///
    /// # Errors
    /// 42710 if not.
    pub(crate) fn check_new(&self, key: &Fingerprint, id: &str) -> Result<()> {
        let taken = |what: String| Err(Error::new(Sqlstate::DuplicateObject, what));
        if *key == self.inner.identity.fingerprint || id == self.inner.site.as_str() {
            return taken(format!("node \"{id}\" is this node itself, or is called as it is"));
        }
        if self.inner.peer(key).is_some() {
            return taken(format!("node \"{id}\" is pinned already"));
        }
        if self.inner.ids().contains_key(id) {
            return taken(format!("there is another node \"{id}\""));
        }
        Ok(())
    }

    /// Pins a node that this one was invited by, and that has taken this one in.
    ///
    /// # Errors
    /// 42710 if its key or id is not free; if the log or the store fails. Then it is not pinned.
    pub(crate) async fn pin(&self, record: PinRecord, log: &AuditLog, snapshot: &Snapshot) -> Result<()> {
        let _turn = self.inner.changing.acquire().await.map_err(Error::internal)?;
        self.check_new(&Fingerprint::from_bytes(record.fingerprint), &record.node_id)?;
        self.inner.store.add_pin(&record).await?;
        self.begin_rules(&record).await?;
        self.repin_with(&record, log, snapshot).await
    }

    /// Pins a node that accepts an invite of this one, which is used up.
    ///
    /// # Errors
    /// 28000 for an invite that is unknown, used or over; 42710 if the node's key or id is not free; if the log or the store fails. Then it is not pinned.
    pub(crate) async fn take_in(
        &self,
        accepted: &Accepted,
        record: &PinRecord,
        now: i64,
        log: &AuditLog,
        snapshot: &Snapshot,
    ) -> Result<InviteUse> {
        let _turn = self.inner.changing.acquire().await.map_err(Error::internal)?;
        let store = &self.inner.store;
        let is_free = self.check_new(&accepted.pin.fingerprint, &accepted.id);
        let used = match &is_free {
            Ok(()) => store.use_invite(&accepted.secret_hash, now, record).await?,
            Err(_) => store.look_at_invite(&accepted.secret_hash, now, &record.fingerprint).await?,
        };
        match used {
            // Only who has an invite is told what else is wrong.
            InviteUse::First => {
                is_free?;
                self.begin_rules(record).await?;
                self.repin_with(record, log, snapshot).await?;
            }
            InviteUse::Again | InviteUse::Refused(_) => {}
        }
        Ok(used)
    }

    /// Takes a pin away. What was under way with it is told to end when this returns.
    ///
    /// # Errors
    /// 42704 if no pinned peer is called so, 55000 if the configuration pins it; if the log or the store fails.
    pub(crate) async fn unpin(&self, name: &str, log: &AuditLog, snapshot: &Snapshot) -> Result<()> {
        let _turn = self.inner.changing.acquire().await.map_err(Error::internal)?;
        let (key, shown) = self.named(name)?;
        let Some(peer) = self.inner.peer(&key) else { return Ok(()) };
        if peer.is_configured() {
            return Err(Error::new(
                Sqlstate::ObjectNotInPrerequisiteState,
                format!("node \"{shown}\" is pinned by the configuration of this node"),
            )
            .hint(format!(
                "Take {} out of trusted_nodes and send the node SIGHUP. ALTER SERVER \"{shown}\" OPTIONS (SET suspended 'true') holds it until then.",
                peer.pin
            )));
        }
        self.inner.store.remove_pin(key.as_bytes()).await?;
        let (rest, configured) = self.present(Some(&key));
        self.repin(rest, &configured, log, snapshot).await
    }

    /// Where changes need four eyes, a node that comes by an invite asks nothing until another steward has approved that.
    async fn begin_rules(&self, record: &PinRecord) -> Result<()> {
        if !self.inner.four_eyes {
            return Ok(());
        }
        let key = Fingerprint::from_bytes(record.fingerprint).to_string();
        self.inner.store.alter_peer(&key, |rules| rules.may_query = false).await
    }

    /// The pins of now but for one key, and the keys that the configuration pins.
    fn present(&self, but: Option<&Fingerprint>) -> (Vec<Pinned>, BTreeSet<Fingerprint>) {
        let peers = self.inner.peers();
        let others = peers.iter().filter(|peer| Some(&peer.pin.fingerprint) != but);
        let pinned = others.map(|peer| Pinned { pin: peer.pin.clone(), invited_as: peer.invited_as.clone() });
        let configured = peers.iter().filter(|peer| peer.is_configured()).map(|peer| peer.pin.fingerprint);
        (pinned.collect(), configured.collect())
    }

    /// Pins one more, which the store has already; it is taken out again if that fails.
    async fn repin_with(&self, record: &PinRecord, log: &AuditLog, snapshot: &Snapshot) -> Result<()> {
        let (mut pinned, configured) = self.present(None);
        pinned.push(Pinned::from(record));
        let done = self.repin(pinned, &configured, log, snapshot).await;
        let key = Fingerprint::from_bytes(record.fingerprint);
        match &done {
            Ok(()) => self.inner.claim_id(&record.node_id, key)?,
            Err(_) if self.inner.peer(&key).is_none() => drop(self.inner.store.remove_pin(&record.fingerprint).await?),
            Err(_) => {}
        }
        done
    }

    /// Pins these and no others. Nothing is trusted before the log says so; what is no longer trusted is not, whether or not that can be written.
    async fn repin(
        &self,
        wanted: Vec<Pinned>,
        configured: &BTreeSet<Fingerprint>,
        log: &AuditLog,
        snapshot: &Snapshot,
    ) -> Result<()> {
        let inner = &self.inner;
        let before = inner.peers();
        self.log_new(log, wanted.iter().map(|pinned| pinned.pin.to_string()).collect()).await?;
        let mut peers = Vec::with_capacity(wanted.len());
        let mut new = Vec::new();
        for pinned in wanted {
            let known = before.iter().find(|known| known.pin.fingerprint == pinned.pin.fingerprint);
            let key = pinned.pin.fingerprint.to_string();
            let peer = match known {
                Some(peer) if peer.pin == pinned.pin => Arc::clone(peer),
                _ => {
                    let peer = Arc::new(pinned.peer(&inner.identity)?);
                    if let Some(known) = known {
                        known.hand_on(&peer);
                    }
                    peer.suspend(snapshot.suspensions.iter().any(|s| s.of == Suspended::Peer && s.name == key));
                    new.push(Arc::clone(&peer));
                    peer
                }
            };
            peer.set_configured(configured.contains(&peer.pin.fingerprint));
            peers.push(peer);
        }
        let gone: Vec<Arc<Peer>> =
            before.iter().filter(|known| !peers.iter().any(|peer| Arc::ptr_eq(peer, known))).cloned().collect();
        let keys: BTreeSet<Fingerprint> = peers.iter().map(|peer| peer.pin.fingerprint).collect();
        *inner.peers.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(peers);
        inner.trusted.replace(keys.iter().copied());
        inner.ids().retain(|_, key| *key == inner.identity.fingerprint || keys.contains(key));
        gone.iter().for_each(|peer| peer.remove());
        // One that was suspended meanwhile is.
        self.suspend_as_in(snapshot);
        new.iter().for_each(|peer| inner.follow(peer));
        inner.publish();
        for peer in gone {
            if !keys.contains(&peer.pin.fingerprint) {
                inner.store.forget_peer(peer.pin.fingerprint.as_bytes()).await?;
            }
        }
        self.log_pins(log).await
    }

    /// Enters the pinned peers in the audit log, where they are others than it knows.
    ///
    /// # Errors
    /// If the store or the log fails.
    pub(crate) async fn log_pins(&self, log: &AuditLog) -> Result<()> {
        let pins: BTreeSet<String> = self.inner.peers().iter().map(|peer| peer.pin.to_string()).collect();
        self.log_new(log, pins.clone()).await?;
        let logged = self.logged().await?;
        for pin in &logged {
            if !pins.contains(pin) {
                log.peer(pin, Decision::Allowed, "no longer trusted").await?;
            }
        }
        if logged == pins { Ok(()) } else { self.set_logged(&pins).await }
    }

    /// Enters those of these pins that the audit log does not know.
    async fn log_new(&self, log: &AuditLog, pins: BTreeSet<String>) -> Result<()> {
        let mut logged = self.logged().await?;
        let before = logged.len();
        for pin in pins {
            if !logged.contains(&pin) {
                log.peer(&pin, Decision::Allowed, "trusted").await?;
                logged.insert(pin);
            }
        }
        if logged.len() == before { Ok(()) } else { self.set_logged(&logged).await }
    }

    /// The pins that the audit log knows.
    async fn logged(&self) -> Result<BTreeSet<String>> {
        let kept = self.inner.store.setting(PINS_KEY).await?.and_then(|kept| String::from_utf8(kept).ok());
        Ok(kept.unwrap_or_default().lines().map(str::to_owned).collect())
    }

    async fn set_logged(&self, pins: &BTreeSet<String>) -> Result<()> {
        let text: Vec<&str> = pins.iter().map(String::as_str).collect();
        self.inner.store.set_setting(PINS_KEY, text.join("\n").as_bytes()).await
    }
}
