//! TLS between nodes, and for clients on the same port.
//!
//! TLS 1.3 only, ring only. Trust between nodes is a pinned public key: no authority, no names, no dates. A client
//! certificate is asked for but not required; one that is shown must be of a pinned key, or of an authority of the
//! configuration's `client_ca`, or the handshake fails. Whoever shows none is an ordinary client and authenticates inside.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::identity::{Fingerprint, Identity, PublicKey};
use super::pin::TrustedKeys;
use crate::error::{Error, Result, Sqlstate};

/// The server name that nodes ask one another for, so that a listener shows them its node key and not its certificate for
/// clients. No address has this name (RFC 6761).
pub const PEER_SERVER_NAME: &str = "node.kanon.invalid";

const HTTP2: &[u8] = b"h2";

/// The public key of a certificate, if it is an Ed25519 key.
pub fn key_of(certificate: &CertificateDer<'_>) -> Option<PublicKey> {
    // The parser that rustls itself verifies signatures with: there must not be two opinions of which key a certificate has.
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    PublicKey::from_spki(parsed.subject_public_key_info().as_ref())
}

/// The key that a listener shows peers.
///
/// # Errors
/// XX000 if the node's own key does not fit its certificate.
pub(crate) fn node_key(identity: &Identity) -> Result<Arc<CertifiedKey>> {
    let node = certified(vec![identity.certificate()], identity.private_key(), &provider()).map_err(Error::internal)?;
    Ok(Arc::new(node))
}

/// For a listener: peers by pinned key, clients with a certificate that `people` takes, or without one. `node` is the
/// certificate for peers, `listener` that for clients.
///
/// # Errors
/// XX000 if TLS 1.3 cannot be set up.
pub(crate) fn server_config(
    node: Arc<CertifiedKey>,
    listener: Arc<CertifiedKey>,
    trusted: Arc<TrustedKeys>,
    people: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<Arc<ServerConfig>> {
    let provider = provider();
    let verifier = PeersAndPeople { trusted, people, algorithms: provider.signature_verification_algorithms };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(Error::internal)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(ByAudience { node, clients: listener }));
    config.alpn_protocols = vec![HTTP2.to_vec()];
    // A resumed session would skip the check of the certificate.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// For a connection to the one peer whose key is `expected`, showing our own key.
///
/// # Errors
/// XX000 if the node's own key does not fit its certificate.
pub fn client_config(identity: &Identity, expected: Fingerprint) -> Result<Arc<ClientConfig>> {
    config_for(expected, Some(identity))
}

/// For a connection to the one node whose key is `expected`, showing none of our own: that node does not trust ours yet.
///
/// # Errors
/// XX000 if TLS cannot be set up.
pub fn stranger_config(expected: Fingerprint) -> Result<Arc<ClientConfig>> {
    config_for(expected, None)
}

fn config_for(expected: Fingerprint, showing: Option<&Identity>) -> Result<Arc<ClientConfig>> {
    let provider = provider();
    let verifier = PinnedServer { expected, algorithms: provider.signature_verification_algorithms };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(Error::internal)?
        .dangerous() // the verifier below accepts one key only
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match showing {
        Some(identity) => builder
            .with_client_auth_cert(vec![identity.certificate()], identity.private_key())
            .map_err(Error::internal)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![HTTP2.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// A listener's certificate chain and key, from PEM text.
///
/// # Errors
/// 58000 for text that holds none, or a key that does not fit the certificate.
pub fn listener_key(cert_pem: &str, key_pem: &str) -> Result<Arc<CertifiedKey>> {
    let bad = |what: &str| Error::new(Sqlstate::SystemError, format!("the TLS {what}"));
    let chain = CertificateDer::pem_slice_iter(cert_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| bad("certificate cannot be read"))?;
    if chain.is_empty() {
        return Err(bad("certificate file holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| bad("key cannot be read"))?;
    let key = certified(chain, key, &provider()).map_err(|_| bad("key does not fit the certificate"))?;
    Ok(Arc::new(key))
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, rustls::Error> {
    let key = CertifiedKey::new(chain, provider.key_provider.load_private_key(key)?);
    key.keys_match()?;
    Ok(key)
}

/// Shows peers the node's key and everybody else the listener's certificate.
#[derive(Debug)]
struct ByAudience {
    node: Arc<CertifiedKey>,
    clients: Arc<CertifiedKey>,
}

impl ResolvesServerCert for ByAudience {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_peer = hello.server_name() == Some(PEER_SERVER_NAME);
        Some(Arc::clone(if is_peer { &self.node } else { &self.clients }))
    }
}

fn refused() -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
}

fn never_tls12() -> rustls::Error {
    rustls::Error::General("TLS 1.2 is not offered".to_owned())
}

#[derive(Debug)]
struct PinnedServer {
    expected: Fingerprint,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for PinnedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match key_of(end_entity) {
            Some(key) if key.fingerprint() == self.expected => Ok(ServerCertVerified::assertion()),
            _ => Err(refused()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(never_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// Takes the certificates of pinned keys, and those that `people` takes.
#[derive(Debug)]
struct PeersAndPeople {
    trusted: Arc<TrustedKeys>,
    people: Option<Arc<dyn ClientCertVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for PeersAndPeople {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match (key_of(end_entity), &self.people) {
            (Some(key), _) if self.trusted.contains(&key.fingerprint()) => Ok(ClientCertVerified::assertion()),
            (_, Some(people)) => people.verify_client_cert(end_entity, intermediates, now),
            _ => Err(refused()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(never_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match &self.people {
            Some(people) => people.supported_verify_schemes(),
            None => vec![SignatureScheme::ED25519],
        }
    }
}
