//! A kept, multiplexed connection to one peer: HTTP/2 over TLS 1.3 with the peer's pinned key.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow_flight::flight_service_client::FlightServiceClient;
use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint, Uri};

use super::pin::Pin;
use super::tls::PEER_SERVER_NAME;
use crate::error::{Error, Result};

/// How long a connection may take to be made.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// After how long without a sign of life a connection is asked whether it lives.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(3);
/// How long the answer may take.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// What may be on its way in one answer, and in all answers of a connection, before the site waits.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// The largest message that is taken from a peer.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// What peers are asked through. Connects when first used and again whenever the connection is gone.
pub(super) type PeerService = FlightServiceClient<Channel>;

/// A channel to the node of a pin.
pub(super) fn channel(pin: &Pin, tls: Arc<ClientConfig>) -> Result<PeerService> {
    // The scheme is a formality: the connector below speaks TLS whatever it says.
    let endpoint = Endpoint::from_shared(format!("http://{}", pin.authority()))
        .map_err(Error::internal)?
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    let connector = PinnedConnector { host: pin.host.clone(), port: pin.port, tls };
    let channel = endpoint.connect_with_connector_lazy(connector);
    Ok(FlightServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES))
}

#[derive(Clone)]
struct PinnedConnector {
    host: String,
    port: u16,
    tls: Arc<ClientConfig>,
}

impl PinnedConnector {
    async fn connect(self) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
        let name = ServerName::try_from(PEER_SERVER_NAME).map_err(io::Error::other)?;
        let connecting = async {
            let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
            tcp.set_nodelay(true)?;
            TlsConnector::from(self.tls).connect(name, tcp).await
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => Ok(TokioIo::new(connected?)),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")),
        }
    }
}

impl Service<Uri> for PinnedConnector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

/// Whether an error of the transport came of keys: the peer's is not the pinned one, or the peer has not pinned ours.
pub(super) fn is_untrusted(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let tls = error.downcast_ref::<rustls::Error>().or_else(|| {
            error.downcast_ref::<io::Error>().and_then(io::Error::get_ref).and_then(|inner| inner.downcast_ref())
        });
        if let Some(tls) = tls {
            return matches!(
                tls,
                rustls::Error::InvalidCertificate(_)
                    | rustls::Error::AlertReceived(rustls::AlertDescription::AccessDenied)
            );
        }
        next = error.source();
    }
    false
}
