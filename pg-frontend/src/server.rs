//! The listener: accepts sockets, bounds them, and ends them when the node stops.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use kanon_engine::error::{Error, Result, Sqlstate};
use kanon_engine::tls::ListenerTls;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cancel::Registry;
use crate::desk::House;
use crate::startup::start;
use crate::tls::Tls;

/// Sockets whose start-up is under way; more wait unaccepted.
const MAX_STARTING: usize = 256;

/// The bounds of a listener.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Sessions at once; one more is told 53300.
    pub max_connections: usize,
    /// From the accepted socket to the start-up packet, with TLS's handshake: this long if nobody else is at it, and the less the
    /// more are, down to a tenth, so that sockets that say nothing do not keep others waiting.
    pub opening_timeout: Duration,
    /// From the accepted socket to the right password.
    pub startup_timeout: Duration,
    /// The longest time any statement may run, if there is one.
    pub statement_timeout: Option<Duration>,
    /// What running statements get when the node stops.
    pub shutdown_grace: Duration,
    /// Whether clients without TLS are refused.
    pub require_tls: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_connections: 100,
            opening_timeout: Duration::from_secs(10),
            startup_timeout: Duration::from_secs(30),
            statement_timeout: None,
            shutdown_grace: Duration::from_secs(30),
            require_tls: false,
        }
    }
}

/// What all connections of a listener share.
pub struct Server {
    /// Roles and sessions.
    pub house: Arc<dyn House>,
    /// The bounds.
    pub limits: Limits,
    /// Set if clients may ask for TLS.
    pub tls: Option<Tls>,
    /// Who can be cancelled.
    pub registry: Arc<Registry>,
    /// Places for sessions.
    pub places: Arc<Semaphore>,
    /// Fires when the node stops: idle connections end, running statements finish.
    pub shutdown: CancellationToken,
}

/// Serves a listener until `shutdown` fires and the connections have ended, or their grace has.
///
/// # Errors
/// 22023 if TLS is required and there is no certificate: never plaintext instead.
pub async fn serve_house(
    house: Arc<dyn House>,
    limits: Limits,
    listener: TcpListener,
    tls: Option<Arc<ListenerTls>>,
    shutdown: CancellationToken,
) -> Result<()> {
    if limits.require_tls && tls.is_none() {
        return Err(Error::new(Sqlstate::InvalidParameterValue, "TLS is required but there is no certificate")
            .hint("Set tls_cert and tls_key."));
    }
    let server = Arc::new(Server {
        house,
        places: Arc::new(Semaphore::new(limits.max_connections)),
        limits,
        tls: tls.map(Tls::new),
        registry: Arc::default(),
        shutdown: shutdown.clone(),
    });
    let starting = Arc::new(Semaphore::new(MAX_STARTING));
    let mut tasks = JoinSet::new();
    let killed = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            accepted = accept(&listener, &starting) => accepted,
        };
        let (tcp, from, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most often: no more file descriptors. Those who are connected go on; the others wait.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let free = starting.available_permits().max(MAX_STARTING / 10) as u32;
        let patience = server.limits.opening_timeout * free / MAX_STARTING as u32;
        let (server, killed) = (server.clone(), killed.clone());
        tasks.spawn(async move {
            let life = async {
                let _ = tcp.set_nodelay(true);
                let started =
                    tokio::time::timeout(server.limits.startup_timeout, start(tcp, from, patience, &server)).await;
                drop(slot);
                if let Ok(Some(logged_in)) = started {
                    let held = (logged_in.permit, logged_in.registered, logged_in.place);
                    logged_in.connection.serve().await;
                    drop(held);
                }
            };
            tokio::select! {
                () = life => {}
                () = killed.cancelled() => {}
            }
        });
    }
    drop(listener);
    let ended = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(server.limits.shutdown_grace, ended).await.is_err() {
        tracing::warn!(connections = tasks.len(), "statements still running at the end of the grace are stopped");
        killed.cancel();
        while tasks.join_next().await.is_some() {}
    }
    Ok(())
}

type Accepted = (TcpStream, std::net::SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, starting: &Arc<Semaphore>) -> io::Result<Accepted> {
    let slot = starting.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (tcp, from) = listener.accept().await?;
    Ok((tcp, from, slot))
}
