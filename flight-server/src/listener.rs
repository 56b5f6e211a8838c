//! Connections: TLS or, on loopback where it is allowed, plaintext; told apart by their first byte. Whoever does not begin to speak HTTP/2 in time is gone: one that says
//! nothing would hold its place for ever.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use kanon_engine::error::Sqlstate;
use kanon_engine::federation::identity::PublicKey;
use kanon_engine::federation::tls::key_of;
use kanon_engine::limits::Place;
use kanon_engine::node::Node;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use crate::gate::MAX_READING;

/// How long a client may take to say what it wants.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait after accepting failed (no file handles left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// What every client of HTTP/2 says first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a listener takes.
pub(crate) struct Policy {
    /// Whose listener it is: its TLS, its peers, its limits.
    pub(crate) node: Arc<Node>,
    pub(crate) allow_plaintext: bool,
    pub(crate) max_connections: usize,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionInfo {
    /// The pinned key that a peer has proved it holds.
    pub(crate) peer: Option<PublicKey>,
    /// The certificate of anybody else, and those that came with it; none if there was none.
    pub(crate) chain: Arc<[CertificateDer<'static>]>,
    /// Where it comes from.
    pub(crate) from: IpAddr,
    /// Which one it is of all there were.
    pub(crate) number: u64,
    /// As long as it is open.
    pub(crate) open: Weak<()>,
    /// The rights to read a message of it.
    pub(crate) reading: Arc<Semaphore>,
}

/// The number of the next connection.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Takes connections until `shutdown`, each in its own task until it is ready for HTTP/2.
pub(crate) fn accept(
    listener: TcpListener,
    policy: Policy,
    shutdown: CancellationToken,
) -> mpsc::Receiver<io::Result<Connection>> {
    let (ready, connections) = mpsc::channel(16);
    let slots = Arc::new(Semaphore::new(policy.max_connections));
    let policy = Arc::new(policy);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (tcp, place) = match accepted {
                Ok((tcp, from)) => match policy.node.admit_connection(from.ip()) {
                    Ok(place) => (tcp, place),
                    Err(error) => {
                        tracing::warn!(%from, "{}", error.message);
                        continue;
                    }
                },
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Beyond the limit a connection is closed at once: the others go on unharmed.
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                tracing::warn!("too many connections");
                continue;
            };
            let (policy, ready) = (Arc::clone(&policy), ready.clone());
            tokio::spawn(async move {
                match tokio::time::timeout(GREETING_TIMEOUT, greet(tcp, (slot, place), &policy)).await {
                    Ok(Ok(connection)) => {
                        let _ = ready.send(Ok(connection)).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%error, "a connection was not made"),
                    Err(_) => tracing::debug!("a connection was not made in time"),
                }
            });
        }
    });
    connections
}

async fn greet(tcp: TcpStream, mut held: (OwnedSemaphorePermit, Place), policy: &Policy) -> io::Result<Connection> {
    tcp.set_nodelay(true)?;
    let from = tcp.peer_addr()?.ip();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut first = [0];
    if tcp.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut chain: Arc<[_]> = Arc::default();
    let mut peer = None;
    let mut stream = if first == [TLS_HANDSHAKE] {
        let acceptor = TlsAcceptor::from(Arc::clone(&policy.node.tls.present().flight));
        let tls = acceptor.accept(tcp).await.inspect_err(|error| {
            if is_untrusted(error) {
                let rule = Sqlstate::InvalidAuthorization.code();
                policy.node.audit.login_failed("", &from.to_string(), rule);
            }
        })?;
        // The handshake verified that whoever is there holds the key, and that it is pinned or of an authority of people. It is one or the other: a peer is no person.
        let shown = tls.get_ref().1.peer_certificates().unwrap_or_default();
        let trusted = policy.node.federation.trusted_keys();
        peer = shown.first().and_then(key_of).filter(|key| trusted.contains(&key.fingerprint()));
        if peer.is_none() {
            chain = shown.into();
        } else {
            // Peers are few, and known.
            held.1 = Place::uncounted();
        }
        Transport::Tls(Box::new(tls))
    } else if policy.allow_plaintext {
        Transport::Plain(tcp)
    } else {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "plaintext where TLS is required"));
    };
    for expected in PREFACE {
        if stream.read_u8().await? != *expected {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no HTTP/2"));
        }
    }
    let open = Arc::new(());
    let untrusted: Untrusted = match peer.map(PublicKey::fingerprint) {
        Some(key) => {
            let trusted = policy.node.federation.trusted_keys();
            Box::pin(async move { trusted.until_gone(key).await })
        }
        None => Box::pin(std::future::pending()),
    };
    let reading = Arc::new(Semaphore::new(MAX_READING));
    let info = ConnectionInfo { peer, chain, from, number, open: Arc::downgrade(&open), reading };
    Ok(Connection { stream, again: PREFACE, info, untrusted, _held: held, _open: open })
}

/// Whether a handshake failed because of the certificate that was shown.
fn is_untrusted(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::InvalidCertificate(_)))
}

/// Ends when the key of a connection's peer is not trusted any more.
type Untrusted = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection that is ready for HTTP/2.
pub(crate) struct Connection {
    stream: Transport,
    /// What was read of it and is to be read again.
    again: &'static [u8],
    info: ConnectionInfo,
    _held: (OwnedSemaphorePermit, Place),
    untrusted: Untrusted,
    _open: Arc<()>,
}

enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connected for Connection {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Transport::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // HTTP/2 reads for as long as a connection lives: with this, all that is under way on it ends.
        if self.untrusted.as_mut().poll(cx).is_ready() {
            self.untrusted = Box::pin(std::future::ready(()));
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the peer is not trusted any more",
            )));
        }
        if self.again.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let (now, later) = self.again.split_at(self.again.len().min(buf.remaining()));
        buf.put_slice(now);
        self.again = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Transport::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Transport::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Transport::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Transport::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Transport::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Transport::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Transport::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Transport::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
