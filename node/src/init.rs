//! `kanon init`: a configuration, keys and a first admin, ready to serve.

use std::io::Write;

use anyhow::{Context, Result, bail};
use kanon_engine::config::{Config, check_node_id};
use kanon_engine::federation::identity;
use kanon_engine::store::Store;

use crate::InitArgs;

/// `kanon init`.
pub(crate) async fn run(args: InitArgs) -> Result<()> {
    check_node_id(&args.node_id)?;
    std::fs::create_dir_all(&args.dir).with_context(|| format!("cannot make {}", args.dir.display()))?;
    let path = args.dir.join("kanon.toml");
    if path.exists() {
        bail!("{} exists: a node is initialised once; choose another --dir", path.display());
    }
    let identity = identity::ensure(&args.dir)?;
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
        args.node_id, args.pg_port, args.flight_port, identity.fingerprint
    );
    std::fs::File::create_new(&path)?.write_all(text.as_bytes())?;
    let (password, made) = match &args.password_file {
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            (text.trim_end_matches(['\r', '\n']).to_owned(), false)
        }
        None => (uuid_password(), true),
    };
    if password.chars().count() < 8 {
        std::fs::remove_file(&path)?;
        bail!("the admin's password has fewer than 8 characters: choose a longer one");
    }
    let config = Config::load(&path)?;
    let store = Store::open(&config).await?;
    store.create_role(&args.admin, Some(&password), true).await?;
    store.grant_role("admin", &args.admin).await?;
    store.close().await;
    let dir = args.dir.display();
    println!("Node {} is ready in {dir}: kanon.toml, keys, store.", args.node_id);
    println!("Its fingerprint, for its peers' operators: sha256:{}", identity.fingerprint);
    if made {
        println!("The admin's password, shown only now: {password}");
    }
    println!("\nNext:\n  kanon serve --config {dir}/kanon.toml");
    println!("  psql -h 127.0.0.1 -p {} -U {} kanon", args.pg_port, args.admin);
    Ok(())
}

/// 122 random bits, as people can type them.
fn uuid_password() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
