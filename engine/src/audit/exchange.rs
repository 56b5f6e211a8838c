//! Checkpoints between peers: each keeps the newest ones of the other, so that neither can cut off or rewrite its own log unseen.
//!
//! A node tells its peers its newest checkpoint every minute, and as soon as they answer after it has started; they answer with theirs, and with the newest one that they have of
//! it. What does not fit is said loudly, in the node's log and in an entry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, Row};
use tokio::time::Instant;

use super::AuditLog;
use super::chain::{put_checkpoint, signed};
use super::checkpoint::{Checkpoint, MOST_BYTES};
use super::entry::{Decision, Hash};
use super::tree::Tree;
use crate::error::{Error, Result, Sqlstate};
use crate::federation::identity::Fingerprint;
use crate::federation::{PeerInfo, PeerStatus};
use crate::node::Node;
use crate::store::failed;

/// The Flight action with which nodes tell one another their checkpoints.
pub const CHECKPOINT_ACTION: &str = "kanon.checkpoint";
/// How often a peer that answers is told.
const EVERY: Duration = Duration::from_secs(60);
/// How often it is looked at whom to tell.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is, while budgets are being spent.
const EVERY_WITH_CHARGES: Duration = Duration::from_secs(5);
/// How long peers are waited for when the node stops.
const FAREWELL: Duration = Duration::from_secs(2);
/// Checkpoints that are kept of a peer.
const KEPT_OF_PEER: i64 = 8;
/// The most that are told of what is held of another's log.
const HELD: usize = 8;
/// Entries' hashes that are read at once.
const PAGE: i64 = 8_192;

/// What one node tells another.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Told {
    /// Its own newest checkpoint.
    own: Option<String>,
    /// The newest that it has of the other.
    yours: Option<String>,
    /// All that it has of the other: one that was put back and has grown since would pass by its newest one alone.
    #[serde(default)]
    held: Vec<String>,
}

impl Told {
    fn read(bytes: &[u8]) -> Result<Told> {
        let unreadable = || Error::new(Sqlstate::ProtocolViolation, "checkpoints that cannot be read");
        if bytes.len() > 3 * (2 + HELD) * MOST_BYTES {
            return Err(unreadable());
        }
        serde_json::from_slice(bytes).map_err(|_| unreadable())
    }

    /// What a log has to tell a peer, by its id.
    async fn by(log: &AuditLog, peer: Option<&str>) -> Result<Vec<u8>> {
        let own = newest(log, &log.chain.node_id).await?;
        let held = match peer {
            Some(id) => log.reader().checkpoints(Some(id)).await?,
            None => Vec::new(),
        };
        let held: Vec<String> = held.into_iter().take(HELD).collect();
        serde_json::to_vec(&Told { own, yours: held.first().cloned(), held }).map_err(Error::internal)
    }
}

/// What a node answers to a peer that tells its checkpoints.
///
/// # Errors
/// 08P01 or 28000 for checkpoints that are none of the peer's; if the store fails.
pub async fn answer(node: &Node, peer: &Fingerprint, told: &[u8]) -> Result<Vec<u8>> {
    let peers = node.federation.peers();
    let known = peers.iter().find(|known| known.pin.fingerprint == *peer);
    let id = known.and_then(|known| known.descriptor.as_ref()).map(|descriptor| descriptor.id.as_str());
    // Before what it tells is kept: what was held of it so far is what it is to be compared with.
    let answer = Told::by(&node.audit, id).await?;
    if let Some(known) = known
        && hear(&node.audit, known, told).await?
    {
        node.close_what_was_lost().await?;
    }
    Ok(answer)
}

/// Exchanges checkpoints with the peers until the node stops.
pub(crate) fn keep(node: &Arc<Node>) {
    let (node, stopping) = (Arc::downgrade(node), node.stopping.clone());
    tokio::spawn(async move {
        let mut exchange = Exchange::default();
        let mut charges = 0;
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let Some(node) = node.upgrade() else { return };
            // What was charged is told soon: a copy of the store that is put back must not have it again.
            match node.ledger.last_charge().await {
                Ok(last) => charges = last,
                Err(error) => tracing::error!(%error, "the ledger cannot be read"),
            }
            exchange.with_peers(&node, charges).await;
        }
    });
}

/// Tells the peers that answer how the log ends, before the node stops.
pub(crate) async fn farewell(node: &Node) {
    let peers = node.federation.peers();
    let up = peers.iter().filter(|peer| peer.status == PeerStatus::Up);
    let told = futures::future::join_all(up.map(|peer| with_peer(node, peer)));
    drop(tokio::time::timeout(FAREWELL, told).await);
}

/// When each peer was told, and the last charge then.
#[derive(Default)]
struct Exchange(BTreeMap<Fingerprint, (Instant, i64)>);

impl Exchange {
    async fn with_peers(&mut self, node: &Node, charges: i64) {
        for peer in node.federation.peers() {
            let fingerprint = peer.pin.fingerprint;
            let is_due = self
                .0
                .get(&fingerprint)
                .is_none_or(|(at, known)| at.elapsed() >= if *known == charges { EVERY } else { EVERY_WITH_CHARGES });
            if !is_due || peer.status != PeerStatus::Up {
                continue;
            }
            let known = self.0.insert(fingerprint, (Instant::now(), charges)).map_or(0, |(_, known)| known);
            if known != charges
                && let Err(error) = node.audit.checkpoint().await
            {
                tracing::error!(%error, "no checkpoint can be signed");
            }
            if let Err(error) = with_peer(node, &peer).await {
                tracing::error!(peer = %peer.pin, %error, "the checkpoints of a peer cannot be used");
            }
        }
    }
}

async fn with_peer(node: &Node, peer: &PeerInfo) -> Result<()> {
    let id = peer.descriptor.as_ref().map(|descriptor| descriptor.id.as_str());
    let told = Told::by(&node.audit, id).await?;
    match node.federation.ask(&peer.pin.fingerprint, CHECKPOINT_ACTION, told).await {
        Ok(answer) => {
            if hear(&node.audit, peer, &answer).await? {
                node.close_what_was_lost().await?;
            }
            Ok(())
        }
        Err(why) => {
            tracing::debug!(peer = %peer.pin, %why, "a peer tells no checkpoints");
            Ok(())
        }
    }
}

/// What a peer told of its log and of this one. Whether this one does not fit.
async fn hear(log: &AuditLog, peer: &PeerInfo, told: &[u8]) -> Result<bool> {
    let told = Told::read(told)?;
    let Some(descriptor) = &peer.descriptor else { return Ok(false) };
    if let (Some(note), Some(key)) = (&told.own, descriptor.public_key()) {
        let checkpoint = Checkpoint::read(note, key)?;
        if checkpoint.node_id != descriptor.id {
            return Err(Error::new(
                Sqlstate::InvalidAuthorization,
                "a checkpoint of another node than the one that tells it",
            ));
        }
        if let Some(found) = keep_of_peer(log, &checkpoint, note).await? {
            say(log, &descriptor.id, found).await?;
        }
    }
    let mut is_lost = false;
    for note in told.yours.iter().chain(&told.held).collect::<BTreeSet<_>>() {
        // One that cannot be read hides no other.
        let checkpoint = match Checkpoint::read(note, log.chain.identity.public_key) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                tracing::error!(peer = %peer.pin, %error, "a peer holds a checkpoint of this node that cannot be read");
                continue;
            }
        };
        if let Some(matters) = log.store.is_known_as_lost(signed(checkpoint.size)?, &checkpoint.root).await? {
            is_lost |= matters;
        } else if let Some(found) = compare(log, &checkpoint).await? {
            // Closed first, then said.
            is_lost |= log.store.lost_checkpoint(signed(checkpoint.size)?, &checkpoint.root, found).await?;
            if is_lost && let Err(error) = say(log, &log.chain.node_id, found).await {
                tracing::error!(%error, "what is wrong with the log could not be written into it");
            }
        }
    }
    Ok(is_lost)
}

/// Says once what is wrong with a node's log.
async fn say(log: &AuditLog, node: &str, found: &'static str) -> Result<()> {
    let is_new = log.said.lock().unwrap_or_else(PoisonError::into_inner).insert((node.to_owned(), found));
    if !is_new {
        return Ok(());
    }
    tracing::error!(%node, "{found}");
    log.peer(node, Decision::Failed, found).await
}

/// Compares the log with the newest checkpoint that its own store has.
///
/// # Errors
/// If the store fails.
pub(super) async fn compare_with_own(log: &AuditLog) -> Result<()> {
    let Some(note) = newest(log, &log.chain.node_id).await? else { return Ok(()) };
    let checkpoint = match Checkpoint::read(&note, log.chain.identity.public_key) {
        Ok(checkpoint) => checkpoint,
        Err(_) => {
            return say(log, &log.chain.node_id, "a checkpoint of the audit log is not signed by this node's key")
                .await;
        }
    };
    match compare(log, &checkpoint).await? {
        Some(found) if log.store.lost_checkpoint(signed(checkpoint.size)?, &checkpoint.root, found).await? => {
            say(log, &log.chain.node_id, found).await
        }
        _ => Ok(()),
    }
}

/// Keeps a peer's checkpoint. What is wrong with it, if something is.
async fn keep_of_peer(log: &AuditLog, checkpoint: &Checkpoint, note: &str) -> Result<Option<&'static str>> {
    let mut connection = log.store.pool().acquire().await.map_err(failed)?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let known = sqlx::query("SELECT size, root FROM audit_checkpoints WHERE node_id = ? ORDER BY size DESC")
        .bind(&checkpoint.node_id)
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed)?;
    let size = signed(checkpoint.size)?;
    let mut found = None;
    for (place, row) in known.iter().enumerate() {
        let (known_size, root): (i64, Vec<u8>) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
        if known_size == size && root != checkpoint.root {
            found = Some("the audit log of a peer has forked: two checkpoints of one size have different roots");
        } else if place == 0 && known_size > size {
            found = found
                .or(Some("the audit log of a peer went back: its checkpoint is of a smaller log than an earlier one"));
        }
    }
    put_checkpoint(&mut transaction, checkpoint, note, KEPT_OF_PEER).await?;
    transaction.commit().await.map_err(failed)?;
    Ok(found)
}

/// What is wrong with this log by a checkpoint of it, if something is.
async fn compare(log: &AuditLog, checkpoint: &Checkpoint) -> Result<Option<&'static str>> {
    let pool = log.store.pool();
    let row = sqlx::query("SELECT size, tree FROM audit_head").fetch_one(pool).await.map_err(failed)?;
    let (size, tree): (i64, Vec<u8>) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
    let wanted = signed(checkpoint.size)?;
    if size < wanted {
        return Ok(Some("the audit log is behind a checkpoint of it: entries at its end are lost"));
    }
    let known: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM audit_checkpoints WHERE node_id = ? AND size = ? AND root = ?")
            .bind(&log.chain.node_id)
            .bind(wanted)
            .bind(checkpoint.root.as_slice())
            .fetch_optional(pool)
            .await
            .map_err(failed)?;
    let fits = if size == wanted {
        Tree::from_bytes(checkpoint.size, &tree).is_some_and(|tree| tree.root() == checkpoint.root)
    } else {
        // What this store signed itself, it need not compute again.
        known.is_some() || root_of(log, wanted).await? == Some(checkpoint.root)
    };
    Ok((!fits).then_some("the audit log is not the one of a checkpoint of it: it was written anew, or forked"))
}

/// The root over the first entries; `None` if they are not all there.
async fn root_of(log: &AuditLog, size: i64) -> Result<Option<Hash>> {
    let mut tree = Tree::default();
    while signed(tree.size())? < size {
        let hashes: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT hash FROM audit_entries WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?")
                .bind(signed(tree.size())?)
                .bind(size)
                .bind(PAGE)
                .fetch_all(log.store.pool())
                .await
                .map_err(failed)?;
        if hashes.is_empty() {
            return Ok(None);
        }
        for hash in hashes {
            let Ok(hash) = Hash::try_from(hash) else { return Ok(None) };
            tree.push(&hash);
        }
    }
    Ok(Some(tree.root()))
}

async fn newest(log: &AuditLog, node_id: &str) -> Result<Option<String>> {
    sqlx::query_scalar("SELECT note FROM audit_checkpoints WHERE node_id = ? ORDER BY size DESC, at_ms DESC LIMIT 1")
        .bind(node_id)
        .fetch_optional(log.store.pool())
        .await
        .map_err(failed)
}
