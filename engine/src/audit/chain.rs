//! The end of the log: the one place that gives entries their numbers and hashes.
//!
//! It works within a write transaction of the store, of which there is one at a time: whoever appends, the audit log's own writer or the ledger's with
//! an answer, continues what the last one committed. What is rolled back was never there.

use std::sync::Arc;

use chrono::Utc;
use datafusion::scalar::ScalarValue;
use sha2::{Digest as _, Sha256};
use sqlx::{Row, SqliteConnection};

use super::checkpoint::Checkpoint;
use super::entry::{Action, Decision, Entry, Hash, hash_of};
use super::said::{self, Said};
use super::seal::Sealer;
use super::tree::Tree;
use crate::error::{Error, Result, Sqlstate};
use crate::federation::identity::Identity;
use crate::principal::Principal;
use crate::store::failed;

/// A checkpoint is signed every so many entries, and every minute in which there were some.
pub(super) const CHECKPOINT_ENTRIES: u64 = 1_000;
/// How many of the node's own checkpoints are kept: the newest ones.
const KEPT_CHECKPOINTS: i64 = 1_000;
/// Entries that are written by one statement.
const CHUNK: usize = 64;

/// Who asks, as an entry says it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Who {
    pub(crate) principal: String,
    pub(crate) home_node: String,
    pub(crate) peer: Option<String>,
}

impl From<&Principal> for Who {
    fn from(principal: &Principal) -> Who {
        Who {
            principal: principal.name.clone(),
            home_node: principal.home_node.to_string(),
            peer: principal.via_peer.as_ref().map(ToString::to_string),
        }
    }
}

/// An entry that has no number yet.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) at_ms: i64,
    pub(crate) who: Who,
    pub(crate) action: Action,
    pub(crate) objects: Vec<String>,
    pub(crate) decision: Decision,
    pub(crate) rule: Option<String>,
    pub(crate) said: Option<Arc<Said>>,
    pub(crate) values: Vec<ScalarValue>,
    pub(crate) epsilon: Option<f64>,
    pub(crate) delta: Option<f64>,
    pub(crate) sites: Vec<String>,
    pub(crate) result_digest: Option<Hash>,
    /// What is different after a change.
    pub(crate) difference: Option<String>,
}

impl Draft {
    /// Of something that happens now.
    pub(crate) fn new(who: Who, action: Action, decision: Decision) -> Draft {
        Draft {
            at_ms: Utc::now().timestamp_millis(),
            who,
            action,
            objects: Vec::new(),
            decision,
            rule: None,
            said: None,
            values: Vec::new(),
            epsilon: None,
            delta: None,
            sites: Vec::new(),
            result_digest: None,
            difference: None,
        }
    }
}

/// Where the log ends.
struct Head {
    hash: Hash,
    tree: Tree,
}

/// What is needed to append.
pub(super) struct Chain {
    pub(super) node_id: String,
    pub(super) identity: Arc<Identity>,
    pub(super) sealer: Arc<Sealer>,
}

/// An entry as it is kept.
struct Kept {
    seq: i64,
    who: String,
    entry: Vec<u8>,
    literals: Option<Vec<u8>>,
    hash: Hash,
}

impl Chain {
    /// Appends entries within a write transaction.
    ///
    /// # Errors
    /// If the store fails; 58000 if the end of the log cannot be read.
    pub(super) async fn append(&self, connection: &mut SqliteConnection, drafts: &[Draft]) -> Result<()> {
        let mut head = head(connection).await?;
        let before = head.tree.size();
        for drafts in drafts.chunks(CHUNK) {
            let mut kept = Vec::with_capacity(drafts.len());
            for draft in drafts {
                kept.push(self.next(&mut head, draft).await?);
            }
            insert(connection, &kept).await?;
        }
        sqlx::query("UPDATE audit_head SET size = ?, hash = ?, tree = ?")
            .bind(signed(head.tree.size())?)
            .bind(head.hash.as_slice())
            .bind(head.tree.to_bytes())
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
        if before / CHECKPOINT_ENTRIES != head.tree.size() / CHECKPOINT_ENTRIES {
            self.sign(connection, &head.tree).await?;
        }
        Ok(())
    }

    /// Signs a checkpoint of the log as it is, within a write transaction, unless the newest one says the same.
    ///
    /// # Errors
    /// As [`Chain::append`].
    pub(super) async fn checkpoint(&self, connection: &mut SqliteConnection) -> Result<()> {
        let head = head(connection).await?;
        if head.tree.size() == 0 {
            return Ok(());
        }
        self.sign(connection, &head.tree).await
    }

    async fn sign(&self, connection: &mut SqliteConnection, tree: &Tree) -> Result<()> {
        let checkpoint = Checkpoint { node_id: self.node_id.clone(), size: tree.size(), root: tree.root() };
        let note = checkpoint.sign(&self.identity)?;
        put_checkpoint(connection, &checkpoint, &note, KEPT_CHECKPOINTS).await
    }

    /// The next entry.
    async fn next(&self, head: &mut Head, draft: &Draft) -> Result<Kept> {
        let seq = head.tree.size() + 1;
        let (mut statement, mut sealed) = (None, None);
        if let Some(said) = &draft.said {
            let normal = said.normal().await?;
            sealed =
                said::literals(normal, &draft.values).map(|literals| self.sealer.seal(seq, &literals)).transpose()?;
            statement = Some(match &draft.difference {
                Some(difference) => format!("{} -- {}", normal.text, said::scrubbed(difference)),
                None => normal.text.clone(),
            });
        }
        let entry = Entry {
            previous: head.hash,
            seq,
            at_ms: draft.at_ms,
            principal: draft.who.principal.clone(),
            home_node: draft.who.home_node.clone(),
            peer: draft.who.peer.clone(),
            action: draft.action,
            objects: draft.objects.clone(),
            decision: draft.decision,
            rule: draft.rule.clone(),
            statement,
            literals: sealed.as_ref().map(|sealed| Sha256::digest(sealed).into()),
            epsilon: draft.epsilon,
            delta: draft.delta,
            sites: draft.sites.clone(),
            result_digest: draft.result_digest,
        };
        let encoded = entry.encode();
        head.hash = hash_of(&encoded);
        head.tree.push(&head.hash);
        Ok(Kept { seq: signed(seq)?, who: entry.who(), entry: encoded, literals: sealed, hash: head.hash })
    }
}

/// Keeps a checkpoint, and of its node no more than the newest so many.
///
/// # Errors
/// If the store fails.
pub(super) async fn put_checkpoint(
    connection: &mut SqliteConnection,
    checkpoint: &Checkpoint,
    note: &str,
    most: i64,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO audit_checkpoints (node_id, size, root, note, at_ms) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(&checkpoint.node_id)
    .bind(signed(checkpoint.size)?)
    .bind(checkpoint.root.as_slice())
    .bind(note)
    .bind(Utc::now().timestamp_millis())
    .execute(&mut *connection)
    .await
    .map_err(failed)?;
    sqlx::query(
        "DELETE FROM audit_checkpoints WHERE node_id = ?1 AND size <
         (SELECT min(size) FROM (SELECT size FROM audit_checkpoints WHERE node_id = ?1 ORDER BY size DESC LIMIT ?2))",
    )
    .bind(&checkpoint.node_id)
    .bind(most)
    .execute(&mut *connection)
    .await
    .map_err(failed)?;
    Ok(())
}

async fn head(connection: &mut SqliteConnection) -> Result<Head> {
    let row =
        sqlx::query("SELECT size, hash, tree FROM audit_head").fetch_one(&mut *connection).await.map_err(failed)?;
    let (size, hash, tree): (i64, Vec<u8>, Vec<u8>) =
        (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?, row.try_get(2).map_err(failed)?);
    let head = || {
        let tree = Tree::from_bytes(u64::try_from(size).ok()?, &tree)?;
        Some(Head { hash: hash.as_slice().try_into().ok()?, tree })
    };
    head().ok_or_else(|| {
        Error::new(Sqlstate::SystemError, "the end of the node's audit log cannot be read")
            .hint("kanon audit verify says where the log is damaged; restore the store from a backup.")
    })
}

async fn insert(connection: &mut SqliteConnection, kept: &[Kept]) -> Result<()> {
    // Few different statements: SQLite reads each once.
    let text = match kept.len() {
        0 => return Ok(()),
        rows => {
            let values = vec!["(?, ?, ?, ?, ?)"; rows].join(", ");
            format!("INSERT INTO audit_entries (seq, principal, entry, literals, hash) VALUES {values}")
        }
    };
    let mut query = sqlx::query(sqlx::AssertSqlSafe(text));
    for Kept { seq, who, entry, literals, hash } in kept {
        query = query.bind(seq).bind(who).bind(entry.as_slice()).bind(literals.as_deref()).bind(hash.as_slice());
    }
    query.execute(connection).await.map_err(failed)?;
    Ok(())
}

pub(super) fn signed(size: u64) -> Result<i64> {
    i64::try_from(size).map_err(|_| Error::internal("a log that is too large"))
}
