//! `kanon serve`: one node, its two frontends, and an orderly end.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use kanon_engine::config::Config;
use kanon_engine::node::Node;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::ServeArgs;
use crate::backup;
use crate::demo;

/// `kanon serve`.
pub(crate) async fn run(args: ServeArgs) -> Result<()> {
    let config = Config::load(&args.config)?;
    let filter = EnvFilter::try_new(&config.log_level).context("log_level")?;
    let (filter, log_level) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(filter).with(lines).init();

    let demo = config.demo && is_demo_folder(&config.dir);
    let pg = listen(config.pg_listen, "pg_listen").await?;
    let flight = listen(config.flight_listen, "flight_listen").await?;
    let drain = config.shutdown_timeout;
    if let Some(beside) = config.store_path().parent() {
        backup::remove_left_over(beside);
    }
    let node = Node::start(config).await?;
    if let Some(patients) = args.demo_patients {
        if !demo {
            bail!("the demo's tables can only be set up in a demo folder");
        }
        demo::setup::run(&node, patients).await.context("setting up the demo")?;
    }
    if !demo || !loopback_only(&node.config) {
        refuse_demo_passwords(&node)?;
    }
    node.begin_federation();

    let shutdown = CancellationToken::new();
    let mut servers = tokio::task::JoinSet::new();
    servers.spawn(kanon_pg::serve(Arc::clone(&node), pg, shutdown.clone()));
    servers.spawn(kanon_flight::serve(Arc::clone(&node), flight, shutdown.clone()));
    tracing::info!(node = %node.config.node_id, pg = %node.config.pg_listen, flight = %node.config.flight_listen, "node is up");

    tokio::select! {
        ended = servers.join_next() => {
            let why = match ended {
                Some(Ok(Ok(()))) | None => anyhow!("a listener ended"),
                Some(Ok(Err(error))) => anyhow!(error),
                Some(Err(error)) => anyhow!(error),
            };
            return Err(why);
        }
        () = asked_to_stop() => {}
        () = on_hangup(&node, &args.config, &log_level) => {}
    }
    tracing::info!("draining");
    shutdown.cancel();
    let drained = tokio::time::timeout(drain, async { while servers.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!("statements were still running when the time to drain was up");
    }
    node.stop().await;
    Ok(())
}

/// Binds a listener, with an error that says what to do.
async fn listen(address: SocketAddr, key: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow!("{address} is in use by another program: stop it, or choose another {key} in the configuration")
        }
        _ => anyhow!("cannot listen on {address} ({key}): {error}"),
    })
}

/// Reads the certificate again that listeners show, and the authorities of those that they take.
fn reload_tls(node: &Node, config: &Config) {
    let failed = node.tls.reload(config);
    for error in &failed {
        tracing::error!(%error, "what was read before stays in force");
    }
    if failed.is_empty() {
        tracing::info!("certificates, authorities and revocation lists were read again");
    }
}

/// Reads the configuration again at every SIGHUP, for ever.
async fn on_hangup(node: &Arc<Node>, file: &Path, log_level: &reload::Handle<EnvFilter, Registry>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return std::future::pending().await };
    while hangup.recv().await.is_some() {
        let config = match Config::load(file) {
            Ok(config) => config,
            Err(error) => {
                tracing::error!(%error, "log level and trusted nodes stay as they were");
                // The files of certificates are those of the configuration in force.
                reload_tls(node, &node.config);
                continue;
            }
        };
        match EnvFilter::try_new(&config.log_level).map(|filter| log_level.reload(filter)) {
            Ok(Ok(())) => tracing::info!("the log level was read again"),
            Ok(Err(error)) => tracing::warn!(%error, "the log level stays as it was"),
            Err(error) => tracing::warn!(%error, "the log level stays as it was"),
        }
        match node.pin_as_configured(&config.trusted_nodes).await {
            Ok(()) => tracing::info!("the trusted nodes were read again"),
            Err(error) => tracing::error!(%error, "the trusted nodes could not be read again"),
        }
        reload_tls(node, &config);
    }
    std::future::pending().await
}

async fn asked_to_stop() {
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(error) => {
            tracing::error!(%error, "cannot listen for SIGTERM");
            return std::future::pending().await;
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

fn loopback_only(config: &Config) -> bool {
    config.pg_listen.ip().is_loopback() && config.flight_listen.ip().is_loopback()
}

/// A node's folder inside a folder that `kanon demo` made.
pub(crate) fn is_demo_folder(dir: &Path) -> bool {
    dir.parent().is_some_and(|parent| parent.join(demo::MARKER).is_file())
}

/// The demo's passwords are known to the whole world.
fn refuse_demo_passwords(node: &Arc<Node>) -> Result<()> {
    for (role, password, _) in demo::ROLES {
        let known = node.store.verifier(role).is_some_and(|v| kanon_engine::auth::verify_password(&v, password));
        if known {
            bail!(
                "role \"{role}\" has the demo's password, which everybody knows: give it another one (ALTER ROLE {role} PASSWORD '…') or drop it; the demo itself runs only on loopback, in its own folder"
            );
        }
    }
    Ok(())
}
