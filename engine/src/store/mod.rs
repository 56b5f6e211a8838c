//! Durable state in SQLite: roles, tables, policies, grants, peers.
//!
//! One file, write-ahead log, every commit flushed to disk (`synchronous = FULL`): what a steward was told has happened survives
//! a power cut. A lock file beside it is held for as long as the [`Store`] lives, so that two nodes never share one store.

mod admins;
mod api_keys;
mod certificates;
mod directory;
mod excluded;
mod grants;
mod identities;
mod lost;
mod peer_rules;
mod peers;
mod pending;
mod pins;
mod privacy_units;
mod roles;
mod rules;
mod suspensions;
mod tables;

use std::fs::{File, TryLockError};
use std::sync::{Arc, Weak};
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::config::Config;
use crate::error::{Error, Result, Sqlstate};

pub(crate) use directory::PeerIds;
pub use directory::{RoleDirectory, RoleInfo};
pub use excluded::{Excluded, Exclusion};
pub use identities::Subject;
pub(crate) use identities::{Identity, Welcomed};
pub use lost::Lost;
pub(crate) use lost::written_off;
pub use peer_rules::PeerRules;
pub use peers::PeerRecord;
pub use pending::PendingChange;
pub use pins::{InviteUse, PinRecord};
pub(crate) use privacy_units::{budget_of_row, principal_budget_of_row};
pub(crate) use rules::is_rule;
pub use suspensions::{Suspended, Suspension};
pub(crate) use tables::{CatalogRecords, TableRecord, later_than};

const SQLITE_READONLY: u32 = 8;
const SQLITE_IOERR: u32 = 10;
const SQLITE_FULL: u32 = 13;

/// The node's durable state. Cheap to clone; the file is closed and unlocked with the last clone.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: SqlitePool,
    roles: RoleDirectory,
    /// Locked while this lives.
    _lock: File,
}

/// A store that is not kept open by this.
#[derive(Debug, Clone)]
pub(crate) struct WeakStore(Weak<Inner>);

impl WeakStore {
    /// The store, if anybody has it open.
    pub(crate) fn upgrade(&self) -> Option<Store> {
        self.0.upgrade().map(|inner| Store { inner })
    }
}

impl Store {
    /// Opens or creates the store and brings its schema up to date.
    ///
    /// # Errors
    /// 55000 if another node has it open, 58030 if it cannot be opened, 58000 if it is from a newer version or damaged.
    pub async fn open(config: &Config) -> Result<Store> {
        let path = config.store_path();
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| io_error(format!("cannot make the folder {}: {error}", folder.display())))?;
        }
        let mut lock_path = path.clone().into_os_string();
        lock_path.push(".lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|error| io_error(format!("cannot open {}: {error}", lock_path.display())))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(
                    Sqlstate::ObjectNotInPrerequisiteState,
                    format!("the store {} is in use by another node", path.display()),
                )
                .hint("Stop that node, or give this one a folder of its own (dir in its configuration)."));
            }
            Err(TryLockError::Error(error)) => {
                return Err(io_error(format!("cannot lock {}: {error}", lock_path.display())));
            }
        }
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(Duration::from_secs(30))
            .connect_with(options)
            .await
            .map_err(|error| io_error(format!("cannot open the store {}: {error}", path.display())))?;
        sqlx::migrate!("./migrations").run(&pool).await.map_err(|error| {
            Error::new(Sqlstate::SystemError, format!("cannot bring the store {} up to date: {error}", path.display()))
        })?;
        restrict(&path)?;
        let store = Store { inner: Arc::new(Inner { pool, roles: RoleDirectory::default(), _lock: lock }) };
        store.load_roles().await?;
        Ok(store)
    }

    /// Who is who at this moment; it changes as roles are created, granted and dropped.
    pub fn directory(&self) -> &RoleDirectory {
        &self.inner.roles
    }

    /// Begins a change of what sessions see (roles, tables, grants). Changes follow one another: it waits for one under way.
    pub(crate) async fn begin_change(&self) -> Result<sqlx::Transaction<'static, sqlx::Sqlite>> {
        let mut transaction = self.pool().begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        sqlx::query("UPDATE catalog_version SET version = version + 1")
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        Ok(transaction)
    }

    /// For tasks that outlive their callers: they must not keep the file locked.
    pub(crate) fn downgrade(&self) -> WeakStore {
        WeakStore(Arc::downgrade(&self.inner))
    }

    pub(crate) fn pool(&self) -> &SqlitePool {
        &self.inner.pool
    }

    /// A value kept under a key.
    pub async fn setting(&self, key: &str) -> Result<Option<Vec<u8>>> {
        sqlx::query_scalar("SELECT value FROM settings WHERE key = ?")
            .bind(key)
            .fetch_optional(self.pool())
            .await
            .map_err(failed)
    }

    /// Keeps a value under a key.
    pub async fn set_setting(&self, key: &str, value: &[u8]) -> Result<()> {
        sqlx::query(
            "INSERT INTO settings (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        .bind(key)
        .bind(value)
        .execute(self.pool())
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// The value kept under a key; if there is none, `make` makes it, and of two callers at once both get the same.
    pub async fn setting_or_insert(&self, key: &str, make: impl FnOnce() -> Result<Vec<u8>>) -> Result<Vec<u8>> {
        if let Some(value) = self.setting(key).await? {
            return Ok(value);
        }
        let made = make()?;
        sqlx::query("INSERT INTO settings (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING")
            .bind(key)
            .bind(made)
            .execute(self.pool())
            .await
            .map_err(failed)?;
        self.setting(key).await?.ok_or_else(|| Error::internal("a setting vanished"))
    }

    /// Closes the file; what is under way is finished first.
    pub async fn close(&self) {
        self.pool().close().await;
    }
}

/// The store holds verifiers of passwords: its owner only.
fn restrict(path: &std::path::Path) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .map_err(|error| io_error(format!("cannot protect {}: {error}", path.display())))?;
    }
    Ok(())
}

fn io_error(message: String) -> Error {
    Error::new(Sqlstate::IoError, message)
}

/// A statement on the store failed: our fault or the disk's. What it was is logged.
pub(crate) fn failed(error: sqlx::Error) -> Error {
    tracing::error!(%error, "the store failed");
    // SQLite's primary result codes are the low byte of the extended ones.
    let code = error.as_database_error().and_then(|e| e.code()).and_then(|code| code.parse::<u32>().ok());
    match code.map(|code| code & 0xff) {
        Some(SQLITE_FULL) => Error::new(Sqlstate::DiskFull, "the disk of the node's store is full")
            .hint("The node's operator can make room; until then nothing is answered that must be written down."),
        Some(SQLITE_READONLY) => Error::new(Sqlstate::IoError, "the node's store cannot be written: it is read-only")
            .hint(
                "The node's operator can make it writable; until then nothing is answered that must be written down.",
            ),
        Some(SQLITE_IOERR) => Error::new(Sqlstate::IoError, "the node's store cannot be read or written"),
        _ => Error::new(Sqlstate::SystemError, "the node's store failed; the node's log has more"),
    }
}

/// Now, UTC, RFC 3339 with milliseconds.
pub(crate) fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests;
