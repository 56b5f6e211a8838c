//! Reading the log: by the node for its views, and by the command line, which opens the store for reading alone and disturbs no node that runs.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteRow};
use sqlx::{Acquire as _, Row, SqliteConnection, SqlitePool};

use super::AuditLog;
use super::chain::CHECKPOINT_ENTRIES;
use super::checkpoint::Checkpoint;
use super::entry::{Action, Entry};
use super::seal::Sealer;
use super::verify::{End, Stored, Verdict, Verifier};
use crate::config::Config;
use crate::error::{Error, Result, Sqlstate};
use crate::federation::identity::{self, PublicKey};
use crate::store::failed;

/// Entries that are read at once.
const PAGE: i64 = 1_024;

/// Reads a log.
#[derive(Clone)]
pub struct LogReader {
    pool: SqlitePool,
    node_id: String,
    key: PublicKey,
    sealer: Option<Arc<Sealer>>,
}

/// Whose entries somebody sees.
#[derive(Debug, Clone)]
pub(crate) enum Whose {
    /// All, with their literals: an auditor's.
    All,
    /// One's own and those about the tables of this node: a steward's.
    OfTables(String),
    /// One's own.
    Own(String),
}

/// An entry as it is shown.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The entry.
    pub entry: Entry,
    /// Its hash.
    pub hash: Vec<u8>,
    /// The literals of its statement, a JSON list; for auditors alone.
    pub literals: Option<String>,
}

impl AuditLog {
    /// Reads this log.
    pub(crate) fn reader(&self) -> LogReader {
        LogReader {
            pool: self.store.pool().clone(),
            node_id: self.chain.node_id.clone(),
            key: self.chain.identity.public_key,
            sealer: Some(Arc::clone(&self.chain.sealer)),
        }
    }
}

impl LogReader {
    /// Opens the log of a node, which may be running, for reading. With `literals` its sealed literals can be read too.
    ///
    /// # Errors
    /// 58030 if there is no store or it cannot be read; 58000 if the node's keys cannot be read.
    pub async fn open(config: &Config, literals: bool) -> Result<LogReader> {
        let path = config.store_path();
        let unreadable = |why: String| {
            Error::new(Sqlstate::IoError, format!("cannot read the store {}: {why}", path.display()))
                .hint("Check --config, and that you may read the node's folder.")
        };
        if !path.is_file() {
            return Err(unreadable("there is no such file".to_owned()));
        }
        let key = identity::public_key(&config.dir)?;
        let sealer = literals.then(|| Sealer::of_folder(&config.dir)).transpose()?.map(Arc::new);
        let mut log = path.clone().into_os_string();
        log.push("-wal");
        // Without a write-ahead log nobody writes, and SQLite need not make the files with which readers and writers agree.
        let options =
            SqliteConnectOptions::new().filename(&path).read_only(true).immutable(!std::path::Path::new(&log).exists());
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .map_err(|error| unreadable(error.to_string()))?;
        Ok(LogReader { pool, node_id: config.node_id.clone(), key, sealer })
    }

    /// The next entries after a number, in order; none at the end.
    ///
    /// # Errors
    /// If the store fails; 58000 for an entry that cannot be read.
    pub(crate) async fn page(&self, after: i64, whose: &Whose) -> Result<(Vec<Shown>, Option<i64>)> {
        let mut connection = self.pool.acquire().await.map_err(failed)?;
        let stored = match whose {
            Whose::Own(who) => {
                let query = sqlx::query(
                    "SELECT seq, principal, entry, literals, hash FROM audit_entries WHERE principal = ? AND seq > ? ORDER BY seq LIMIT ?",
                );
                query.bind(who).bind(after).bind(PAGE).fetch_all(&mut *connection).await.map_err(failed)?
            }
            Whose::All | Whose::OfTables(_) => rows(&mut connection, after).await?,
        };
        let mut last = None;
        let mut shown = Vec::with_capacity(stored.len());
        for row in &stored {
            let stored = of_row(row).map_err(failed)?;
            last = Some(stored.seq);
            let entry = Entry::decode(&stored.entry).ok_or_else(|| damaged(stored.seq))?;
            let is_seen = match whose {
                Whose::All => true,
                Whose::Own(who) => entry.who() == *who,
                Whose::OfTables(who) => entry.who() == *who || is_of_tables(&entry),
            };
            if is_seen {
                let literals = matches!(whose, Whose::All).then(|| self.literals(&stored)).flatten();
                shown.push(Shown { entry, hash: stored.hash, literals });
            }
        }
        Ok((shown, last))
    }

    /// The next entries after a number, all of them, for the command line.
    ///
    /// # Errors
    /// As [`LogReader::page`].
    pub async fn all_after(&self, after: i64) -> Result<(Vec<Shown>, Option<i64>)> {
        self.page(after, &Whose::All).await
    }

    fn literals(&self, stored: &Stored) -> Option<String> {
        self.sealer.as_ref()?.open(u64::try_from(stored.seq).ok()?, stored.literals.as_deref()?)
    }

    /// The signed checkpoints that are kept of a node's log, the newest first; of this one's if it is not told.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn checkpoints(&self, node_id: Option<&str>) -> Result<Vec<String>> {
        let mut connection = self.pool.acquire().await.map_err(failed)?;
        notes(&mut connection, node_id.unwrap_or(&self.node_id)).await
    }

    /// Checks the whole log against itself, the node's own checkpoints and these signed ones of it, each with who has it.
    ///
    /// # Errors
    /// If the store fails; 08P01 or 28000 for a checkpoint that is none of this node's.
    pub async fn verify(&self, held: Vec<(String, String)>) -> Result<Verdict> {
        let mut connection = self.pool.acquire().await.map_err(failed)?;
        // One transaction: a node that runs writes on meanwhile.
        let mut moment = connection.begin().await.map_err(failed)?;
        let mut witnesses = Vec::new();
        for note in notes(&mut moment, &self.node_id).await? {
            match Checkpoint::read(&note, self.key) {
                Ok(checkpoint) if checkpoint.node_id == self.node_id => {
                    witnesses.push((checkpoint, "this node".to_owned()));
                }
                _ => {
                    let detail = "a checkpoint in the node's store is not signed by the node's key".to_owned();
                    return Ok(Verdict { ok: false, first_bad_seq: None, detail });
                }
            }
        }
        let newest = witnesses.iter().map(|(checkpoint, _)| checkpoint.size).max().unwrap_or_default();
        for (note, whose) in held {
            let checkpoint = Checkpoint::read(&note, self.key)?;
            if checkpoint.node_id != self.node_id {
                return Err(Error::new(
                    Sqlstate::InvalidAuthorization,
                    format!("the checkpoint of {whose} is of node \"{}\"", checkpoint.node_id.escape_debug()),
                ));
            }
            witnesses.push((checkpoint, whose));
        }
        let mut verifier = Verifier::new(witnesses);
        let mut after = i64::MIN;
        'log: loop {
            let page = rows(&mut moment, after).await?;
            if page.is_empty() {
                break;
            }
            for row in &page {
                let stored = of_row(row).map_err(failed)?;
                after = stored.seq;
                if !verifier.push(&stored) {
                    break 'log;
                }
            }
        }
        let row = sqlx::query("SELECT size, hash, tree FROM audit_head")
            .fetch_optional(&mut *moment)
            .await
            .map_err(failed)?;
        let end = match row {
            Some(row) => End {
                size: row.try_get(0).map_err(failed)?,
                hash: row.try_get(1).map_err(failed)?,
                tree: row.try_get(2).map_err(failed)?,
            },
            None => End { size: -1, hash: Vec::new(), tree: Vec::new() },
        };
        moment.rollback().await.map_err(failed)?;
        let verdict = verifier.finish(Some(&end));
        let size = u64::try_from(end.size).unwrap_or_default();
        if verdict.ok && newest / CHECKPOINT_ENTRIES < size / CHECKPOINT_ENTRIES {
            let detail = format!(
                "the log has {size} entries, and its newest checkpoint is of {newest}: checkpoints are missing"
            );
            return Ok(Verdict { ok: false, first_bad_seq: None, detail });
        }
        Ok(verdict)
    }
}

impl Shown {
    /// As a line of JSON: all that its hash is of.
    pub fn to_json(&self) -> Value {
        let Entry { seq, at_ms, principal, home_node, peer, objects, rule, statement, epsilon, delta, sites, .. } =
            &self.entry;
        let at = DateTime::from_timestamp_millis(*at_ms).map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true));
        let mut line = json!({
            "seq": seq,
            "at": at,
            "principal": principal,
            "home_node": home_node,
            "peer": peer,
            "action": self.entry.action.as_str(),
            "objects": objects,
            "decision": self.entry.decision.as_str(),
            "rule": rule,
            "statement": statement,
            "epsilon": epsilon,
            "delta": delta,
            "sites": sites,
            "result_digest": self.entry.result_digest.map(|digest| hex(&digest)),
            "literals_digest": self.entry.literals.map(|digest| hex(&digest)),
            "previous_hash": hex(&self.entry.previous),
            "entry_hash": hex(&self.hash),
        });
        if let (Some(literals), Some(line)) = (&self.literals, line.as_object_mut()) {
            line.insert("literals".to_owned(), serde_json::from_str(literals).unwrap_or_default());
        }
        line
    }
}

/// Hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether it is about tables of this node.
fn is_of_tables(entry: &Entry) -> bool {
    let is_about = !matches!(entry.action, Action::Login | Action::ReadLog | Action::Peer);
    is_about && entry.objects.iter().any(|object| object.starts_with("public."))
}

fn damaged(seq: i64) -> Error {
    Error::new(Sqlstate::SystemError, format!("entry {seq} of the audit log cannot be read"))
        .hint("SELECT * FROM kanon.audit_verify() says where the log is damaged.")
}

async fn rows(connection: &mut SqliteConnection, after: i64) -> Result<Vec<SqliteRow>> {
    sqlx::query("SELECT seq, principal, entry, literals, hash FROM audit_entries WHERE seq > ? ORDER BY seq LIMIT ?")
        .bind(after)
        .bind(PAGE)
        .fetch_all(connection)
        .await
        .map_err(failed)
}

fn of_row(row: &SqliteRow) -> Result<Stored, sqlx::Error> {
    Ok(Stored {
        seq: row.try_get(0)?,
        who: row.try_get(1)?,
        entry: row.try_get(2)?,
        literals: row.try_get(3)?,
        hash: row.try_get(4)?,
    })
}

async fn notes(connection: &mut SqliteConnection, node_id: &str) -> Result<Vec<String>> {
    sqlx::query_scalar("SELECT note FROM audit_checkpoints WHERE node_id = ? ORDER BY size DESC, at_ms DESC")
        .bind(node_id)
        .fetch_all(connection)
        .await
        .map_err(failed)
}
