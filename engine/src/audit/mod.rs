//! The audit log: who asked what, through whom, what came of it and what it cost, so that it can be proved later.
//!
//! ```text
//! Session::execute ─► Trail (what a statement did) ─► Draft ─┬─ about open tables: queued, on disk within 100 ms     ─┐
//! frontends: logins, tickets ────────────────────────────────┼─ about anything else: on disk before the answer leaves ├─► Chain::append
//! Ledger: the answer of a private release ───────────────────┴─ in the transaction that keeps the answer             ─┘   (seq, hash, tree)
//!
//! Chain ─► checkpoints, signed ─► peers keep them ─► verify: nothing was changed, left out, put in, cut off
//! ```
//!
//! It promises:
//! - If an entry cannot be written, what it is about is not answered. An entry about open tables may be behind its answer by the time that it is gathered; when the
//!   log fails to be written nothing more is answered until it can be.
//! - Entries are one chain ([`entry`]) and one tree ([`tree`]): one place gives them their numbers, within the store's write transaction.
//! - No password is written, in whatever statement it stood; literals are sealed and only auditors read them.
//! - An entry tells nothing of data that its statement's answer did not: no durations, no counts of rows, no digests of exact answers.
//!
//! There is no way to switch it off. Statements that read no table of users (SELECT 1, SET, SHOW, the catalog) have no entries.

mod chain;
mod checkpoint;
pub mod entry;
mod exchange;
mod logins;
mod read;
mod said;
mod seal;
mod stewards;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests;
mod trail;
pub mod tree;
pub mod verify;
mod writer;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use kanon_planner::facts::SiteId;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};

pub(crate) use chain::{Draft, Who};
pub use checkpoint::Checkpoint;
pub use exchange::CHECKPOINT_ACTION;
pub use exchange::answer as answer_checkpoint;
pub(crate) use exchange::{farewell, keep};
pub use read::{LogReader, Shown};
pub(crate) use read::{Whose, hex};
pub(crate) use said::Said;
pub(crate) use stewards::{location as shown_location, text_of as text_of_steward};
pub(crate) use trail::{TablesRead, Trail};

use chain::Chain;
use entry::{Action, Decision};
use logins::FailedLogins;
use seal::Sealer;
use writer::{Command, MOST_AT_ONCE, Writer, stopped};

use crate::config::Config;
use crate::error::Result;
use crate::federation::identity::Identity;
use crate::ledger::Also;
use crate::principal::Principal;
use crate::store::{Store, Subject, Welcomed};

/// Whether the log's newest entry about it says that changes need four eyes.
const FOUR_EYES_KEY: &str = "audited_four_eyes";

/// The audit log of a node. Cheap to clone.
#[derive(Clone)]
pub struct AuditLog {
    chain: Arc<Chain>,
    store: Store,
    writer: mpsc::Sender<Command>,
    /// Wakes the writer while it gathers.
    urgent: Arc<Notify>,
    failing: Arc<AtomicBool>,
    logins: Arc<FailedLogins>,
    /// The right to check the whole log: one at a time, so that those who check leave the store to others.
    verifying: Arc<Semaphore>,
    /// What was said of nodes' logs already.
    said: Arc<Mutex<BTreeSet<(String, &'static str)>>>,
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditLog")
    }
}

impl AuditLog {
    /// The log in a store, whose newest own checkpoint it is compared with: what is behind it is reported. There is one for a store. Needs a Tokio runtime.
    ///
    /// # Errors
    /// 58000 if the key of its literals cannot be used; if the store fails.
    pub async fn start(config: &Config, store: &Store, identity: &Arc<Identity>) -> Result<AuditLog> {
        let chain = Arc::new(Chain {
            node_id: config.node_id.clone(),
            identity: Arc::clone(identity),
            sealer: Arc::new(Sealer::of_folder(&config.dir)?),
        });
        let (writer, commands) = mpsc::channel(MOST_AT_ONCE);
        let log = AuditLog {
            chain,
            store: store.clone(),
            writer,
            urgent: Arc::default(),
            failing: Arc::default(),
            logins: Arc::default(),
            verifying: Arc::new(Semaphore::new(1)),
            said: Arc::default(),
        };
        let task = Writer {
            store: store.downgrade(),
            chain: Arc::clone(&log.chain),
            urgent: Arc::clone(&log.urgent),
            failing: Arc::clone(&log.failing),
            logins: Arc::clone(&log.logins),
        };
        tokio::spawn(task.run(commands));
        exchange::compare_with_own(&log).await?;
        Ok(log)
    }

    /// Writes an entry: it is on disk when this returns.
    ///
    /// # Errors
    /// 53100, 58030 or 58000 if it cannot be written: then what it is about is not to be answered.
    pub(crate) async fn write(&self, draft: Draft) -> Result<()> {
        let (reply, done) = oneshot::channel();
        self.send(Command::Write(Box::new(draft), Some(reply))).await?;
        done.await.map_err(|_| stopped())?
    }

    /// Writes an entry soon. If the last one could not be written, this one is written before it returns.
    ///
    /// # Errors
    /// As [`AuditLog::write`], where the log fails.
    pub(crate) async fn queue(&self, draft: Draft) -> Result<()> {
        if self.failing.load(Ordering::SeqCst) {
            return self.write(draft).await;
        }
        match self.writer.try_send(Command::Write(Box::new(draft), None)) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(command)) => self.send(command).await,
            Err(mpsc::error::TrySendError::Closed(_)) => Err(stopped()),
        }
    }

    async fn send(&self, command: Command) -> Result<()> {
        self.urgent.notify_one();
        self.writer.send(command).await.map_err(|_| stopped())?;
        // Once more: the writer may have begun to gather between the two.
        self.urgent.notify_one();
        Ok(())
    }

    /// Signs a checkpoint of the log, after all entries that are queued.
    ///
    /// # Errors
    /// As [`AuditLog::write`].
    pub async fn checkpoint(&self) -> Result<()> {
        let (reply, done) = oneshot::channel();
        self.send(Command::Checkpoint(reply)).await?;
        done.await.map_err(|_| stopped())?
    }

    /// Checks the whole log, as [`LogReader::verify`].
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn verify(&self) -> Result<verify::Verdict> {
        let _turn = self.verifying.acquire().await.map_err(crate::error::Error::internal)?;
        self.reader().verify(Vec::new()).await
    }

    /// Writes an entry in the transaction that keeps the answer it is about.
    ///
    /// # Errors
    /// If its statement's text cannot be made.
    pub(crate) async fn also(&self, draft: Draft) -> Result<Also> {
        if let Some(said) = &draft.said {
            // Not while everybody waits for the ledger.
            said.normal().await?;
        }
        let chain = Arc::clone(&self.chain);
        Ok(Box::new(move |connection| {
            Box::pin(async move { chain.append(connection, std::slice::from_ref(&draft)).await })
        }))
    }

    /// Somebody logged in from an address, with a password or what else it showed.
    ///
    /// # Errors
    /// As [`AuditLog::write`], where the log fails: then it is not let in.
    pub async fn logged_in(&self, principal: &Principal, address: &str) -> Result<()> {
        let who = Who::from(principal);
        let mut objects = vec![format!("address {address}")];
        objects.extend(principal.credential.iter().filter(|_| !principal.has_only_password()).map(ToString::to_string));
        self.queue(Draft { objects, ..Draft::new(who, Action::Login, Decision::Allowed) }).await
    }

    /// What the token of a subject of the institution's issuer changed of the role that it is here.
    ///
    /// # Errors
    /// As [`AuditLog::write`]: then it is not let in.
    pub(crate) async fn welcomed(&self, home: &SiteId, subject: &Subject, welcomed: &Welcomed) -> Result<()> {
        let role = format!("role {}", welcomed.role);
        let created = welcomed.created.then_some((Action::CreateRole, role.clone()));
        let granted = welcomed.granted.iter().map(|of| (Action::Grant, format!("role {of}")));
        let revoked = welcomed.revoked.iter().map(|of| (Action::Revoke, format!("role {of}")));
        for (action, object) in created.into_iter().chain(granted).chain(revoked) {
            let who = Who { principal: welcomed.role.clone(), home_node: home.to_string(), peer: None };
            let mut objects = vec![object, role.clone()];
            objects.dedup();
            let rule = Some(format!("the token of {} at {} says so", subject.subject, subject.issuer));
            self.write(Draft { objects, rule, ..Draft::new(who, action, Decision::Allowed) }).await?;
        }
        Ok(())
    }

    /// A login failed with a SQLSTATE. It is counted: there is one entry a second for an address and role. The name of a role that there is not is not kept.
    pub fn login_failed(&self, role: &str, address: &str, rule: &'static str) {
        let roles = self.store.directory().all();
        let known = roles.get(role);
        // Only here it is said why.
        let rule = if known.is_some_and(|known| known.suspended) { "the role is suspended" } else { rule };
        self.logins.count(Action::Login, address, known.map(|_| role), None, rule);
    }

    /// Somebody asked for more than it may, before a session looked at it, with a SQLSTATE. It is counted as failed logins are.
    pub fn turned_away(&self, principal: &Principal, rule: &'static str) {
        let peer = principal.via_peer.as_ref().map(|peer| peer.as_str());
        self.logins.count(Action::Refusal, "", Some(&principal.name), peer, rule);
    }

    /// A ticket of a peer, named by its fingerprint, was refused with a SQLSTATE. It is counted as failed logins are.
    pub fn ticket_refused(&self, peer: &str, rule: &'static str) {
        self.logins.count(Action::Peer, "peer", None, Some(peer), rule);
    }

    /// Somebody showed an invite that is not good, for this reason. It is counted as failed logins are.
    pub(crate) fn invite_refused(&self, address: &str, rule: &'static str) {
        self.logins.count(Action::Peer, address, None, None, rule);
    }

    /// Something that the node's operator did on its command line, in a constant text.
    ///
    /// # Errors
    /// As [`AuditLog::write`].
    pub async fn operator(&self, action: Action, objects: Vec<String>, text: &str) -> Result<()> {
        let who = Who { principal: "operator".to_owned(), home_node: self.chain.node_id.clone(), peer: None };
        let said = Some(Said::text(text));
        self.write(Draft { objects, said, ..Draft::new(who, action, Decision::Allowed) }).await
    }

    /// Whether changes need four eyes from now on, where that is another than the log knows.
    ///
    /// # Errors
    /// As [`AuditLog::write`].
    pub(crate) async fn four_eyes(&self, store: &Store, on: bool) -> Result<()> {
        let now: &[u8] = if on { b"on" } else { b"off" };
        let known = store.setting(FOUR_EYES_KEY).await?;
        if known.as_deref().unwrap_or(b"off") == now {
            return Ok(());
        }
        let who = Who { principal: String::new(), home_node: self.chain.node_id.clone(), peer: None };
        let rule = Some(if on { "changes need four eyes" } else { "changes need no four eyes any more" }.to_owned());
        let objects = vec![format!("node {}", self.chain.node_id)];
        self.write(Draft { objects, rule, ..Draft::new(who, Action::Policy, Decision::Allowed) }).await?;
        store.set_setting(FOUR_EYES_KEY, now).await
    }

    /// Something about a peer.
    ///
    /// # Errors
    /// As [`AuditLog::write`].
    pub(crate) async fn peer(&self, peer: &str, decision: Decision, rule: &str) -> Result<()> {
        let who = Who { principal: String::new(), home_node: self.chain.node_id.clone(), peer: None };
        let (objects, rule) = (vec![format!("node {peer}")], Some(rule.to_owned()));
        self.write(Draft { objects, rule, ..Draft::new(who, Action::Peer, decision) }).await
    }
}
