//! The Postgres wire protocol, version 3, in front of a node.
//!
//! ```text
//! socket ──► server      accepts, bounds, drains
//!            startup     TLS, start-up packet, SCRAM-SHA-256, first settings
//!            connection  simple protocol;  extended: statements, portals
//!              │   ▲
//!              ▼   │ Answer: rows batch by batch, tag, NOTICEs
//!            desk        kanon_engine::session::Session
//!              │
//!            running     encode: Arrow → DataRow bytes ──► wire: 64 KiB at a time, waiting for the client
//! ```
//!
//! What it promises:
//! - it decides nothing about privacy and owns no SQL: it translates between the protocol and [`kanon_engine::session::Session`];
//! - memory does not grow with the size of an answer: a batch and a buffer a connection;
//! - a statement stops when its client goes away, cancels, or has waited for longer than its timeout, also in the middle of rows;
//! - no bytes of a client make it panic, and none are read past the message they came in;
//! - never plaintext where TLS was asked for.
//!
//! Of pgwire it uses the messages that a server sends and the SCRAM exchange. Its server machinery collects whole results before
//! the first byte leaves, does not read the socket while a statement runs, and tells clients its own version.

pub mod cancel;
pub mod connection;
pub mod desk;
pub mod encode;
pub mod error;
pub mod extended;
pub mod fuzz;
mod held;
pub mod message;
mod node_house;
pub mod params;
pub mod running;
pub mod scram;
pub mod server;
pub mod startup;
pub mod tls;
pub mod wire;

use std::sync::Arc;

use kanon_engine::error::{Error, Result};
use kanon_engine::node::Node;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use server::{Limits, serve_house};

/// Serves a node's listener until `shutdown` fires and its connections have ended. Beyond loopback clients must use TLS.
///
/// # Errors
/// XX000 if the listener has no address.
pub async fn serve(node: Arc<Node>, listener: TcpListener, shutdown: CancellationToken) -> Result<()> {
    let config = &node.config;
    let limits = Limits {
        max_connections: config.max_connections,
        statement_timeout: config.statement_timeout,
        shutdown_grace: config.shutdown_timeout,
        require_tls: config.tls_required_on(listener.local_addr().map_err(Error::internal)?),
        ..Limits::default()
    };
    let tls = Some(Arc::clone(&node.tls));
    serve_house(Arc::new(node_house::NodeHouse::new(node)), limits, listener, tls, shutdown).await
}
