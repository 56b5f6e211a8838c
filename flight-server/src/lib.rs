//! Flight SQL, for clients and for peers.
//!
//! ```text
//! ADBC, JDBC ── Basic, then bearer ─┐                        ┌─ statements, prepared statements, catalogs
//!                                   ├─► listener ─► service ─┤                ▼
//! peers ── pinned key and a ticket ─┘                        └─► kanon_engine::session::Session
//! ```
//!
//! This crate translates. It promises that every call is authenticated (the peers' greeting by their pinned key), that no
//! handle works for anybody but the login that made it, and that errors carry SQLSTATEs. It never decides what may be
//! released: that is the session's.

mod actions;
mod gate;
mod handles;
mod info;
mod listener;
mod logins;
mod options;
mod outer;
mod running;
mod service;
mod stream;
mod types;
mod values;

use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use kanon_engine::error::{Error, Result};
use kanon_engine::node::Node;
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use gate::Gate;
use outer::Outer;
use service::Service;

/// The largest message taken: a statement may be long, and is refused with a reason by the session's own bound; its values may be more than it.
const MAX_REQUEST_BYTES: usize = 4 << 20;
/// Most calls at once on one connection.
const MAX_STREAMS: u32 = 256;
/// What may be on its way to a client before a query waits for it to read.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Serves Flight SQL on a listener until `shutdown`; then running calls are finished and no new ones taken.
///
/// # Errors
/// XX000 if the listener has no address, or what serves it fails.
pub async fn serve(node: Arc<Node>, listener: TcpListener, shutdown: CancellationToken) -> Result<()> {
    let address = listener.local_addr().map_err(Error::internal)?;
    let policy = listener::Policy {
        node: Arc::clone(&node),
        allow_plaintext: !node.config.tls_required_on(address),
        max_connections: node.config.max_connections,
    };
    let connections = listener::accept(listener, policy, shutdown.clone());
    let service = Service::new(node);
    let logins = Arc::clone(&service.logins);
    let behind = FlightServiceServer::new(Outer(service))
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .max_encoding_message_size(usize::MAX);
    let service = Gate { logins, behind };
    Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .serve_with_incoming_shutdown(service, ReceiverStream::new(connections), shutdown.cancelled_owned())
        .await
        .map_err(Error::internal)
}
