//! `kanon backup` and `kanon restore`: a node's store and keys in one sealed file.
//!
//! ```text
//! kanon.db ─► VACUUM INTO (one moment, while the node runs) ─┐
//! node.key, tls.key, audit.key, … ───────────────────────────┼─► files one behind the other ─► sealed ─► FILE
//! kanon.toml ────────────────────────────────────────────────┘
//! ```
//!
//! A backup holds everything that the node's folder does but data files: it is as secret as they are. What was spent after it was made is not in it: see `kanon.write_off()`.

mod sealed;

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kanon_engine::config::Config;
use kanon_engine::federation::identity;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::{BackupArgs, RestoreArgs, SecretArgs};
use sealed::{Opener, Sealer, Secret};

/// The store, as a backup calls it.
const STORE: &str = "kanon.db";
/// The configuration, as a backup calls it.
const CONFIG: &str = "kanon.toml";
/// The key of the audit log's literals.
const AUDIT_KEY: &str = "audit.key";
/// The most files of a backup, and the longest name of one.
const MOST_FILES: usize = 16;
const MOST_NAME_BYTES: usize = 64;
/// What the folders begin with that unsealed copies are made in.
const SCRATCH: &str = ".kanon-";
/// Such a folder that nothing was written to for so long is nobody's any more.
const LEFT_OVER: Duration = Duration::from_secs(60 * 60);
/// How long the store may be written to by others meanwhile.
const BUSY: Duration = Duration::from_secs(60);

/// `kanon backup`.
pub(crate) async fn backup(args: BackupArgs) -> Result<()> {
    let secret = secret(&args.secret)?;
    let config = Config::load(&args.config)?;
    let store = config.store_path();
    if !store.is_file() {
        bail!("{} is not there: is this the configuration of a node that was initialised?", store.display());
    }
    let mut files = vec![(CONFIG.to_owned(), args.config.clone())];
    let keys = identity::FILES.into_iter().chain([AUDIT_KEY]);
    files.extend(keys.map(|name| (name.to_owned(), config.dir.join(name))).filter(|(_, path)| path.is_file()));
    // Beside the store, where there is room for it and nobody else reads.
    let scratch = Scratch::make(store.parent().unwrap_or(Path::new(".")))?;
    let copy = scratch.0.join(STORE);
    copied(&store, &copy).await?;
    files.push((STORE.to_owned(), copy));
    let mut out =
        private(&args.to).with_context(|| format!("cannot write {}: choose another --to", args.to.display()))?;
    let written = write(&mut out, &secret, &files).and_then(|()| Ok(out.sync_all()?));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&args.to);
        return Err(error);
    }
    println!(
        "{} holds {} files of node {}, sealed. Try it: kanon restore --from … --dir …",
        args.to.display(),
        files.len(),
        config.node_id
    );
    Ok(())
}

/// `kanon restore`.
pub(crate) async fn restore(args: RestoreArgs) -> Result<()> {
    let secret = secret(&args.secret)?;
    // What SQLite would read together with the store, and keys that it knows nothing of, among them.
    let left_over = ["kanon.db-wal", "kanon.db-shm", "kanon.db-journal", "token-keys"];
    for name in [CONFIG, STORE, AUDIT_KEY].into_iter().chain(identity::FILES).chain(left_over) {
        let path = args.dir.join(name);
        if path.exists() {
            bail!("{} exists: a backup is restored into a folder without a node; choose another --dir", path.display());
        }
    }
    // All of it is opened once before anything is written.
    let names = read(&args.from, &secret, None)?;
    if !names.iter().any(|name| name == STORE) || !names.iter().any(|name| name == CONFIG) {
        bail!("{} has no store or no configuration in it", args.from.display());
    }
    std::fs::create_dir_all(&args.dir).with_context(|| format!("cannot make {}", args.dir.display()))?;
    let scratch = Scratch::make(&args.dir)?;
    read(&args.from, &secret, Some(&scratch.0))?;
    check(&scratch.0.join(STORE)).await?;
    // The configuration last: a folder that has one is a node.
    let mut ordered: Vec<&String> = names.iter().filter(|name| *name != CONFIG).collect();
    ordered.extend(names.iter().filter(|name| *name == CONFIG));
    for name in ordered {
        std::fs::rename(scratch.0.join(name), args.dir.join(name)).with_context(|| format!("cannot write {name}"))?;
    }
    let dir = args.dir.display();
    println!(
        "Restored into {dir}. What was spent after the backup was made is not in it: if peers know more of this node's log, its protected tables stay closed until a steward says CALL kanon.write_off(). Roles, API keys, suspensions and people who opted out are those of the backup: look at them first."
    );
    let expected = Config::load(&args.dir.join(CONFIG)).map(|config| config.store_path());
    match expected {
        Ok(path) if path == std::path::absolute(args.dir.join(STORE))? || path == args.dir.join(STORE) => {}
        Ok(path) => println!("Its configuration wants the store at {}: move {dir}/{STORE} there.", path.display()),
        Err(error) => println!("Look at its configuration first: {error}"),
    }
    println!("\nNext:\n  kanon audit verify --config {dir}/{CONFIG}\n  kanon serve --config {dir}/{CONFIG}");
    Ok(())
}

fn secret(args: &SecretArgs) -> Result<Secret> {
    match (&args.key_file, &args.passphrase_file) {
        (Some(path), None) => Secret::of_key_file(path),
        (None, Some(path)) => Secret::of_passphrase_file(path),
        _ => bail!("a backup needs --key-file or --passphrase-file"),
    }
}

/// A folder of this process's own, gone with this.
struct Scratch(PathBuf);

impl Scratch {
    fn make(beside: &Path) -> Result<Scratch> {
        remove_left_over(beside);
        let path = beside.join(format!("{SCRATCH}{}", uuid::Uuid::new_v4()));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Scratch(path))
    }
}

/// Removes what backups that were killed left behind: copies of the store that are not sealed.
pub(crate) fn remove_left_over(beside: &Path) {
    let touched = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let is_old = |path: &Path| {
        let inner = std::fs::read_dir(path).into_iter().flatten().filter_map(|entry| touched(&entry.ok()?.path()));
        let newest = inner.chain(touched(path)).max();
        newest.is_some_and(|at| at.elapsed().is_ok_and(|ago| ago > LEFT_OVER))
    };
    for entry in std::fs::read_dir(beside).into_iter().flatten().filter_map(Result::ok) {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix(SCRATCH));
        if id.is_some_and(|id| uuid::Uuid::parse_str(id).is_ok()) && is_old(&entry.path()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A new file for its owner alone.
fn private(path: &Path) -> Result<File> {
    Ok(File::options().write(true).create_new(true).mode(0o600).open(path)?)
}

/// A copy of a store at one moment. The node may be running: readers and its writer go on.
async fn copied(store: &Path, copy: &Path) -> Result<()> {
    let options = SqliteConnectOptions::new().filename(store).busy_timeout(BUSY);
    let mut connection = SqliteConnection::connect_with(&options).await.context("cannot open the store")?;
    let text = copy.to_str().context("the path of the store is no text")?;
    sqlx::query("VACUUM INTO ?").bind(text).execute(&mut connection).await.context("cannot copy the store")?;
    connection.close().await?;
    check(copy).await
}

/// Whether a store is whole.
async fn check(store: &Path) -> Result<()> {
    let options = SqliteConnectOptions::new().filename(store);
    let mut connection = SqliteConnection::connect_with(&options).await.context("cannot open the copy of the store")?;
    let found: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await?;
    connection.close().await?;
    if found != "ok" {
        bail!("the copy of the store is damaged: {found}");
    }
    Ok(())
}

/// Each file: the length of its name (2 bytes, big-endian), its name, its size (8 bytes, big-endian), its bytes. A name of no bytes ends them.
fn write(out: &mut File, secret: &Secret, files: &[(String, PathBuf)]) -> Result<()> {
    let mut sealer = Sealer::new(BufWriter::new(out), secret)?;
    for (name, path) in files {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let size = file.metadata()?.len();
        sealer.write(&u16::try_from(name.len())?.to_be_bytes())?;
        sealer.write(name.as_bytes())?;
        sealer.write(&size.to_be_bytes())?;
        let (mut input, mut part, mut left) = (BufReader::new(file), vec![0; 64 << 10], size);
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(part.len());
            let part = part.get_mut(..wanted).unwrap_or_default();
            input.read_exact(part).with_context(|| format!("{} changed while it was read", path.display()))?;
            sealer.write(part)?;
            left -= part.len() as u64;
        }
    }
    sealer.write(&0_u16.to_be_bytes())?;
    sealer.finish()?;
    Ok(())
}

/// Opens all of a backup, and writes its files into a folder if there is one. Their names.
fn read(from: &Path, secret: &Secret, into: Option<&Path>) -> Result<Vec<String>> {
    let file = File::open(from).with_context(|| format!("cannot read {}", from.display()))?;
    let mut opener = Opener::new(BufReader::new(file), secret)?;
    let mut names = Vec::new();
    loop {
        let mut length = [0; 2];
        opener.read_exact(&mut length)?;
        let length = usize::from(u16::from_be_bytes(length));
        if length == 0 {
            break;
        }
        let mut name = vec![0; length.min(MOST_NAME_BYTES)];
        opener.read_exact(&mut name)?;
        let name = String::from_utf8(name).unwrap_or_default();
        let known = [CONFIG, STORE, AUDIT_KEY].into_iter().chain(identity::FILES).any(|known| known == name);
        if !known || names.contains(&name) || names.len() >= MOST_FILES {
            bail!("the backup holds a file that this version does not know");
        }
        let mut size = [0; 8];
        opener.read_exact(&mut size)?;
        let mut left = u64::from_be_bytes(size);
        let mut out = into.map(|folder| private(&folder.join(&name))).transpose()?;
        let mut part = vec![0; 64 << 10];
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(part.len());
            let part = part.get_mut(..wanted).unwrap_or_default();
            opener.read_exact(part)?;
            if let Some(out) = &mut out {
                out.write_all(part)?;
            }
            left -= part.len() as u64;
        }
        if let Some(out) = out {
            out.sync_all()?;
        }
        names.push(name);
    }
    // Up to the sealed end, behind which there is nothing.
    if opener.read(&mut [0])? > 0 {
        bail!("something stands behind the files of the backup");
    }
    Ok(names)
}
