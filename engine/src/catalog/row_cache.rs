//! Rows of small open tables, kept in memory from one statement to the next.
//!
//! To open, prune and decode a file takes longer than everything else that is done for a table of some hundred rows. So the rows of an open table that is one small
//! local file are kept, by what the system says of that file. It is asked for each statement: a file that was written or replaced is read again by the very next one.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use datafusion::arrow::array::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result as DfResult;
use datafusion::execution::SessionState;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::TryStreamExt;
use kanon_planner::facts::Placement;

use super::Table;

/// The largest file, in bytes, whose rows are kept.
const MAX_FILE: u64 = 256 << 10;
/// The most memory, in bytes, that the rows of a table may take.
const MAX_TABLE: usize = 4 << 20;
/// The most memory, in bytes, that the rows of all tables take, with those that only a kept plan still holds.
const MAX_OF_ALL: usize = 64 << 20;
/// A file that was changed more recently may be changed again without a later time to show for it, for clocks of file systems tick slowly.
const SETTLED: Duration = Duration::from_secs(1);

/// What tells a file from what it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileVersion {
    device: u64,
    inode: u64,
    bytes: u64,
    /// When its bytes and when its entry changed, in seconds and nanoseconds since 1970.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileVersion {
    /// Of a file that is there now.
    fn of(path: &Path) -> Option<FileVersion> {
        let file = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        Some(FileVersion {
            device: file.dev(),
            inode: file.ino(),
            bytes: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }

    /// Whether a later change would show.
    fn is_settled(&self) -> bool {
        let Ok(now) = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) else { return false };
        let last = self.modified.max(self.changed);
        let last = Duration::new(u64::try_from(last.0).unwrap_or(u64::MAX), u32::try_from(last.1).unwrap_or(0));
        last.checked_add(SETTLED).is_some_and(|settled| settled < now)
    }
}

/// All rows of a table, of one version of its file.
#[derive(Debug)]
pub(crate) struct CachedRows {
    path: PathBuf,
    version: FileVersion,
    /// Whether a later change of the file would show.
    is_settled: bool,
    batches: Vec<RecordBatch>,
    bytes: usize,
    /// What all that there are take together.
    of_all: Arc<AtomicUsize>,
}

impl Drop for CachedRows {
    fn drop(&mut self) {
        self.of_all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl CachedRows {
    /// Whether the file is what it was.
    fn is_current(&self) -> bool {
        FileVersion::of(&self.path) == Some(self.version)
    }

    fn count(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

/// Rows in memory of tables of a plan, by OID: each table is one version of itself in all of a statement.
#[derive(Debug, Default, Clone)]
pub(crate) struct PinnedRows(BTreeMap<u32, Arc<CachedRows>>);

impl PinnedRows {
    /// Of tables, as far as they can be kept. `state` is one that they may be read in.
    pub(crate) async fn of(cache: &RowCache, tables: &BTreeMap<u32, Arc<Table>>, state: &SessionState) -> PinnedRows {
        let mut pinned = PinnedRows::default();
        for (oid, table) in tables {
            if let Some(rows) = cache.rows(table, state).await {
                pinned.0.insert(*oid, rows);
            }
        }
        pinned
    }

    /// Of how many tables.
    pub(crate) fn tables(&self) -> usize {
        self.0.len()
    }

    /// How many rows there are.
    pub(crate) fn count(&self) -> usize {
        self.0.values().map(|rows| rows.count()).sum()
    }

    /// Whether all of the files are what they were.
    pub(crate) fn are_current(&self) -> bool {
        self.0.values().all(|rows| rows.is_current())
    }

    /// Reads a table from memory.
    ///
    /// # Errors
    /// If the table has no such columns: a bug.
    pub(crate) fn scan(
        &self,
        table: &Table,
        projection: Option<&[usize]>,
        limit: Option<usize>,
    ) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
        let Some(rows) = self.0.get(&table.oid) else { return Ok(None) };
        let batches = std::slice::from_ref(&rows.batches);
        let source =
            MemorySourceConfig::try_new(batches, Arc::clone(&table.schema), projection.map(<[usize]>::to_vec))?;
        Ok(Some(DataSourceExec::from_data_source(source.with_limit(limit))))
    }
}

/// What is known of a table's file.
#[derive(Debug)]
struct Entry {
    /// Whose rows they are: a table that is registered anew has another.
    provider: Weak<dyn TableProvider>,
    version: FileVersion,
    /// `None`: they are too many, or cannot be read.
    rows: Option<Arc<CachedRows>>,
    used: u64,
}

/// The rows that a node keeps.
#[derive(Debug, Default)]
pub(crate) struct RowCache {
    entries: Mutex<HashMap<u32, Entry>>,
    uses: AtomicU64,
    of_all: Arc<AtomicUsize>,
}

impl RowCache {
    /// The rows of a table as its file is now; `None` if they are not for keeping, and read as ever.
    async fn rows(&self, table: &Table, state: &SessionState) -> Option<Arc<CachedRows>> {
        let facts = &table.facts;
        if facts.protection.is_some() || facts.closed.is_some() || facts.placement != Placement::Local {
            return None;
        }
        let path = table.file.as_deref()?;
        let version = FileVersion::of(path).filter(|version| version.bytes <= MAX_FILE)?;
        if let Some(known) = self.known(table, version) {
            return known;
        }
        // Before it is read: a change from here on shows.
        let is_settled = version.is_settled();
        let read = self.read(table, path, (version, is_settled), state).await;
        // What was written meanwhile is of no version.
        if FileVersion::of(path) != Some(version) {
            return None;
        }
        if is_settled {
            self.keep(table, version, read.clone());
        }
        read
    }

    fn known(&self, table: &Table, version: FileVersion) -> Option<Option<Arc<CachedRows>>> {
        let mut entries = self.entries();
        let entry = entries.get_mut(&table.oid)?;
        if entry.version != version || !std::ptr::addr_eq(entry.provider.as_ptr(), Arc::as_ptr(&table.provider)) {
            return None;
        }
        entry.used = self.uses.fetch_add(1, Ordering::Relaxed);
        Some(entry.rows.clone())
    }

    async fn read(
        &self,
        table: &Table,
        path: &Path,
        (version, is_settled): (FileVersion, bool),
        state: &SessionState,
    ) -> Option<Arc<CachedRows>> {
        let plan = table.provider.scan(state, None, &[], None).await.ok()?;
        if plan.schema() != table.schema {
            return None;
        }
        let mut stream = execute_stream(plan, state.task_ctx()).ok()?;
        let of_all = Arc::clone(&self.of_all);
        let mut rows = CachedRows { path: path.to_owned(), version, is_settled, batches: Vec::new(), bytes: 0, of_all };
        // Whoever reads the file as ever is told what is wrong with it.
        while let Some(batch) = stream.try_next().await.ok()? {
            let bytes = batch.get_array_memory_size();
            rows.bytes += bytes;
            self.of_all.fetch_add(bytes, Ordering::Relaxed);
            if rows.bytes > MAX_TABLE {
                return None;
            }
            rows.batches.push(batch);
        }
        Some(Arc::new(rows))
    }

    fn keep(&self, table: &Table, version: FileVersion, rows: Option<Arc<CachedRows>>) {
        let used = self.uses.fetch_add(1, Ordering::Relaxed);
        let entry = Entry { provider: Arc::downgrade(&table.provider), version, rows, used };
        let mut entries = self.entries();
        entries.retain(|_, entry| entry.provider.strong_count() > 0);
        entries.insert(table.oid, entry);
        // What is used is used last: it is not the first to go.
        while self.of_all.load(Ordering::Relaxed) > MAX_OF_ALL {
            let oldest = entries.iter().filter(|(_, entry)| entry.rows.is_some()).min_by_key(|(_, entry)| entry.used);
            let Some(oid) = oldest.map(|(oid, _)| *oid) else { break };
            entries.remove(&oid);
        }
    }

    /// Whether a plan may hold these rows for its next run.
    pub(crate) fn may_be_held(&self, pinned: &PinnedRows) -> bool {
        pinned.0.values().all(|rows| rows.is_settled) && self.of_all.load(Ordering::Relaxed) <= MAX_OF_ALL
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<u32, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::super::tests::Site;
    use super::*;

    /// Beyond [`SETTLED`].
    const A_WHILE: Duration = Duration::from_millis(1_200);

    async fn open_table(site: &Site, name: &str, content: &str) -> Arc<Table> {
        let path = site.write(&format!("{name}.csv"), content);
        site.create(name, "csv", &path, &[]).await.unwrap();
        site.set(name, &[("access", "open")]).await.unwrap();
        site.table(name)
    }

    #[tokio::test]
    async fn rows_are_those_of_the_file_as_it_is() {
        let site = Site::new().await;
        let state = site.state();
        let cache = RowCache::default();
        let table = open_table(&site, "wards", "ward,name\n1,north\n2,east\n").await;
        tokio::time::sleep(A_WHILE).await;
        let rows = cache.rows(&table, &state).await.unwrap();
        assert_eq!(rows.count(), 2);
        assert!(Arc::ptr_eq(&rows, &cache.rows(&table, &state).await.unwrap()), "kept");
        // As long as before: only its times differ.
        site.write("wards.csv", "ward,name\n1,south\n2,west\n");
        assert!(!rows.is_current());
        let later = cache.rows(&table, &state).await.unwrap();
        assert!(!Arc::ptr_eq(&rows, &later));
        // Just written: it may be written again within the same tick of the clock.
        assert!(!Arc::ptr_eq(&later, &cache.rows(&table, &state).await.unwrap()));
        assert!(cache.may_be_held(&PinnedRows([(1, Arc::clone(&rows))].into())));
        assert!(!cache.may_be_held(&PinnedRows([(1, Arc::clone(&rows)), (2, Arc::clone(&later))].into())));
        fs::remove_file(site.path("wards.csv")).unwrap();
        assert!(cache.rows(&table, &state).await.is_none());
        drop((rows, later, cache.entries().drain().count()));
        assert_eq!(cache.of_all.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn only_small_open_files_are_kept() {
        let site = Site::new().await;
        let state = site.state();
        let cache = RowCache::default();
        let many: String = (0..60_000).map(|i| format!("{i},name\n")).collect();
        assert!(cache.rows(&*open_table(&site, "large", &format!("ward,name\n{many}")).await, &state).await.is_none());
        let folder = site.write("folder/part.csv", "ward,name\n1,north\n");
        site.create("parts", "csv", folder.parent().unwrap(), &[]).await.unwrap();
        site.set("parts", &[("access", "open")]).await.unwrap();
        assert!(cache.rows(&site.table("parts"), &state).await.is_none());
        open_table(&site, "people", "pid,name\n1,north\n2,east\n").await;
        let unit = [("access", "cohort"), ("unit", "pid"), ("unit_kind", "person"), ("min_cohort", "2")];
        assert!(cache.rows(&site.table("people"), &state).await.is_some());
        site.set("people", &unit).await.unwrap();
        assert!(cache.rows(&site.table("people"), &state).await.is_none());
    }

    #[tokio::test]
    async fn what_is_used_least_goes_first() {
        let site = Site::new().await;
        let state = site.state();
        let cache = RowCache::default();
        let mut tables = Vec::new();
        for name in ["a", "b", "c"] {
            tables.push(open_table(&site, name, "ward,name\n1,north\n").await);
        }
        tokio::time::sleep(A_WHILE).await;
        for table in tables.iter().take(2) {
            cache.rows(table, &state).await.unwrap();
        }
        cache.rows(tables.first().unwrap(), &state).await.unwrap();
        let held = cache.of_all.load(Ordering::Relaxed);
        cache.of_all.fetch_add(MAX_OF_ALL - held, Ordering::Relaxed);
        cache.rows(tables.last().unwrap(), &state).await.unwrap();
        let mut kept: Vec<u32> = cache.entries().keys().copied().collect();
        kept.sort_unstable();
        assert_eq!(kept, [tables[0].oid, tables[2].oid]);
        assert!(cache.of_all.load(Ordering::Relaxed) <= MAX_OF_ALL);
    }
}
