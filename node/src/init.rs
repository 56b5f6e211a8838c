//! `kanon init`: a configuration, keys and a first admin, ready to serve.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use kanon_engine::audit::AuditLog;
use kanon_engine::audit::entry::Action;
use kanon_engine::config::{Config, check_node_id};
use kanon_engine::federation::identity::{self, Fingerprint};
use kanon_engine::store::Store;

use crate::InitArgs;

/// What `kanon init` writes into its folder: taken away again if it does not come to its end.
const WRITTEN: [&str; 6] = ["kanon.toml", "kanon.db", "kanon.db-wal", "kanon.db-shm", "kanon.db.lock", "audit.key"];

/// `kanon init`: all of it or nothing.
pub(crate) async fn run(args: InitArgs) -> Result<()> {
    check_node_id(&args.node_id)?;
    let path = args.dir.join("kanon.toml");
    if path.exists() {
        bail!("{} exists: a node is initialised once; choose another --dir", path.display());
    }
    if args.pg_port == args.flight_port {
        bail!("--pg-port and --flight-port are both {}: each listener needs a port of its own", args.pg_port);
    }
    let (password, made) = password(args.password_file.as_deref())?;
    let new_folder = !args.dir.exists();
    std::fs::create_dir_all(&args.dir).with_context(|| format!("cannot make {}", args.dir.display()))?;
    let before = names(&args.dir)?;
    let fingerprint = match set_up(&args, &password).await {
        Ok(fingerprint) => fingerprint,
        Err(error) => {
            undo(&args.dir, &before, new_folder);
            return Err(error);
        }
    };
    let dir = args.dir.display();
    println!("Node {} is ready in {dir}: kanon.toml, keys, store.", args.node_id);
    println!("Its fingerprint, for its peers' operators: sha256:{fingerprint}");
    if made {
        println!("The admin's password, shown only now: {password}");
    }
    println!("\nNext:\n  kanon serve --config {dir}/kanon.toml");
    println!("  psql -h 127.0.0.1 -p {} -U {} kanon", args.pg_port, args.admin);
    Ok(())
}

/// Keys, store and first admin; the configuration last, so that a folder that has one is a node.
async fn set_up(args: &InitArgs, password: &str) -> Result<Fingerprint> {
    let identity = identity::ensure(&args.dir)?;
    let fingerprint = identity.fingerprint;
    let text = format!(
        "# A Kanon node. Every key is also read from the environment as KANON_<KEY>.\n\
         node_id = \"{}\"\n\
         # Paths are relative to this file.\n\
         dir = \".\"\n\n\
         # Both listeners are on loopback. Beyond it, TLS is required: see tls_cert and tls_key.\n\
         pg_listen = \"127.0.0.1:{}\"\n\
         flight_listen = \"127.0.0.1:{}\"\n\n\
         # Peers, each with the fingerprint that its operator told you: \"host:port#sha256:<fingerprint>\".\n\
         # This node's own is sha256:{}\n\
         trusted_nodes = []\n",
        args.node_id, args.pg_port, args.flight_port, fingerprint
    );
    let folder = std::path::absolute(&args.dir)?;
    let config = Config::from_text(&text, &folder, |name| std::env::var(name).ok())?;
    if config.store_path().exists() {
        bail!(
            "{} exists and there is no configuration beside it: take it away, or choose another --dir",
            config.store_path().display()
        );
    }
    let store = Store::open(&config).await?;
    store.create_role(&args.admin, Some(password), true).await?;
    store.grant_role("admin", &args.admin).await?;
    let log = AuditLog::start(&config, &store, &Arc::new(identity)).await?;
    log.operator(Action::CreateRole, vec![format!("role {}", args.admin)], "kanon init").await?;
    log.checkpoint().await?;
    drop(log);
    store.close().await;
    std::fs::File::create_new(args.dir.join("kanon.toml"))?.write_all(text.as_bytes())?;
    Ok(fingerprint)
}

fn names(dir: &Path) -> Result<BTreeSet<OsString>> {
    let entries = dir.read_dir().with_context(|| format!("cannot read {}", dir.display()))?;
    Ok(entries.map(|entry| entry.map(|e| e.file_name())).collect::<std::io::Result<_>>()?)
}

/// Takes away what was not there before. What cannot be taken away stays: the error that is told is the first one.
fn undo(dir: &Path, before: &BTreeSet<OsString>, new_folder: bool) {
    for name in WRITTEN.iter().chain(&identity::FILES) {
        if !before.contains(&OsString::from(name)) {
            let _ = std::fs::remove_file(dir.join(name));
        }
    }
    if new_folder {
        let _ = std::fs::remove_dir(dir);
    }
}

/// The password in a file, or one that is made: 122 random bits, as people can type them. And whether it was made.
pub(crate) fn password(file: Option<&Path>) -> Result<(String, bool)> {
    let Some(file) = file else { return Ok((uuid::Uuid::new_v4().simple().to_string(), true)) };
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let password = text.trim_end_matches(['\r', '\n']).to_owned();
    if password.chars().count() < 8 {
        bail!("the password in {} has fewer than 8 characters: choose a longer one", file.display());
    }
    Ok((password, false))
}
