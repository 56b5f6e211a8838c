//! TLS of a node's listeners: the certificate that they show, and whose certificates they take. Read from files when the node starts, and again when it is asked to.
//!
//! ```text
//! tls_cert, tls_key ─► the key that listeners show ─┐
//! client_ca, client_crl ─► People ──────────────────┴─► Present ─► a handshake; whether a session by certificate may go on
//! ```
//!
//! What is in force is one value, swapped whole: a connection has the certificate and the authorities of one moment, and one that is open goes on with those it began with.
//! Files that cannot be used when they are read again leave in force what was there.

use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};

use crate::config::Config;
use crate::error::{Error, Result, Sqlstate};
use crate::federation::identity::{Fingerprint, Identity};
use crate::federation::pin::TrustedKeys;
use crate::federation::tls;

/// The largest file of certificates or of a key.
const MAX_PEM_BYTES: u64 = 1 << 20;
/// The largest file of revocation lists.
const MAX_CRL_BYTES: u64 = 64 << 20;

/// What listeners show and take at one moment.
pub struct Present {
    /// What a handshake of the PostgreSQL protocol is answered with.
    pub postgres: Arc<ServerConfig>,
    /// What a handshake of Flight SQL is answered with.
    pub flight: Arc<ServerConfig>,
    /// The certificate that clients are shown, which channel binding names.
    pub certificate: CertificateDer<'static>,
    key: Arc<CertifiedKey>,
    people: Option<People>,
    /// Which it is of all there were.
    pub(crate) number: u64,
}

/// Whose certificates are taken for people's.
#[derive(Clone)]
struct People(Arc<dyn ClientCertVerifier>);

/// TLS of a node's listeners.
pub struct ListenerTls {
    node: Arc<CertifiedKey>,
    own_key: Fingerprint,
    trusted: Arc<TrustedKeys>,
    present: RwLock<Arc<Present>>,
}

impl ListenerTls {
    /// Of a node.
    ///
    /// # Errors
    /// 58000 for what cannot be used: the node does not start without the TLS it was to have.
    pub fn start(config: &Config, identity: &Identity, trusted: Arc<TrustedKeys>) -> Result<ListenerTls> {
        let node = tls::node_key(identity)?;
        let present = Present::of(&node, &trusted, listener_key(config)?, people(config)?, 0)?;
        Ok(ListenerTls {
            node,
            own_key: identity.public_key.fingerprint(),
            trusted,
            present: RwLock::new(Arc::new(present)),
        })
    }

    /// What is in force.
    pub fn present(&self) -> Arc<Present> {
        Arc::clone(&self.present.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again, for connections that are made from now on. Gives what could not be used: of that, what was there stays in force.
    pub fn reload(&self, config: &Config) -> Vec<Error> {
        let (key, people) = (listener_key(config), people(config));
        let mut failed = Vec::new();
        let mut present = self.present.write().unwrap_or_else(PoisonError::into_inner);
        let key = key.unwrap_or_else(|error| {
            failed.push(error);
            Arc::clone(&present.key)
        });
        let people = people.unwrap_or_else(|error| {
            failed.push(error);
            present.people.clone()
        });
        match Present::of(&self.node, &self.trusted, key, people, present.number.wrapping_add(1)) {
            Ok(new) => *present = Arc::new(new),
            Err(error) => failed.push(error),
        }
        failed
    }

    /// Whether a chain of certificates, the client's own first, is a person's at this moment: of an authority of the configuration, neither expired nor revoked, and not of the
    /// key of this node or of a peer. That the client has its key is for the handshake to show.
    pub(crate) fn takes(&self, present: &Present, chain: &[CertificateDer<'_>]) -> bool {
        let (Some(people), Some((own, others))) = (&present.people, chain.split_first()) else { return false };
        let is_node = tls::key_of(own)
            .map(|key| key.fingerprint())
            .is_some_and(|key| key == self.own_key || self.trusted.contains(&key));
        !is_node && people.0.verify_client_cert(own, others, UnixTime::now()).is_ok()
    }
}

impl Present {
    fn of(
        node: &Arc<CertifiedKey>,
        trusted: &Arc<TrustedKeys>,
        key: Arc<CertifiedKey>,
        people: Option<People>,
        number: u64,
    ) -> Result<Present> {
        let certificate = key.cert.first().cloned().ok_or_else(|| unusable("the TLS certificate is empty"))?;
        let verifier = people.as_ref().map(|people| Arc::clone(&people.0));
        let postgres = for_postgres(Arc::clone(&key), verifier.clone())?;
        let flight = tls::server_config(Arc::clone(node), Arc::clone(&key), Arc::clone(trusted), verifier)?;
        Ok(Present { postgres, flight, certificate, key, people, number })
    }
}

fn for_postgres(key: Arc<CertifiedKey>, people: Option<Arc<dyn ClientCertVerifier>>) -> Result<Arc<ServerConfig>> {
    let builder = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(format!("cannot set up TLS: {e}")))?;
    let takes_certificates = people.is_some();
    let builder = match people {
        Some(people) => builder.with_client_cert_verifier(people),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    if takes_certificates {
        // A resumed session would skip the check of the certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

fn unusable(what: impl Into<String>) -> Error {
    Error::new(Sqlstate::SystemError, what)
}

/// The certificate and key of [`Config::tls_files`].
///
/// # Errors
/// 58000 for files that cannot be read, are none, or do not fit.
pub fn listener_key(config: &Config) -> Result<Arc<CertifiedKey>> {
    let (cert, key) = config.tls_files();
    let hint = "Check tls_cert and tls_key in the configuration.";
    let (cert, key) = (text(&cert, MAX_PEM_BYTES, hint)?, text(&key, MAX_PEM_BYTES, hint)?);
    tls::listener_key(&cert, &key).map_err(|error| error.hint(hint))
}

/// How many authorities and revocation lists there are, of which the certificates of people are; `None` if nobody logs in by certificate.
///
/// # Errors
/// 58000 for files that cannot be used.
pub fn authorities(config: &Config) -> Result<Option<(usize, usize)>> {
    Ok(read_authorities(config)?.map(|(roots, crls)| (roots.len(), crls.len())))
}

fn people(config: &Config) -> Result<Option<People>> {
    let Some((roots, crls)) = read_authorities(config)? else { return Ok(None) };
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider())
        .with_crls(crls)
        // A list that has not come is not one on which nobody is.
        .enforce_revocation_expiration()
        .allow_unauthenticated()
        .build()
        .map_err(|error| unusable(format!("client_ca and client_crl cannot be used: {error}")))?;
    Ok(Some(People(verifier)))
}

type Authorities = (RootCertStore, Vec<CertificateRevocationListDer<'static>>);

fn read_authorities(config: &Config) -> Result<Option<Authorities>> {
    let Some(file) = &config.client_ca else { return Ok(None) };
    let hint = "Check client_ca and client_crl in the configuration.";
    let bad = |file: &Path, what: &str| unusable(format!("{} {what}", file.display())).hint(hint);
    let pem = text(file, MAX_PEM_BYTES, hint)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|_| bad(file, "is not PEM"))?;
        roots.add(certificate).map_err(|_| bad(file, "holds a certificate that cannot be an authority's"))?;
    }
    if roots.is_empty() {
        return Err(bad(file, "holds no certificate"));
    }
    let mut crls = Vec::new();
    if let Some(file) = &config.client_crl {
        let pem = text(file, MAX_CRL_BYTES, hint)?;
        for crl in CertificateRevocationListDer::pem_slice_iter(pem.as_bytes()) {
            crls.push(crl.map_err(|_| bad(file, "is not PEM"))?);
        }
        // None would be checked by none.
        if crls.is_empty() {
            return Err(bad(file, "holds no revocation list"));
        }
    }
    Ok(Some((roots, crls)))
}

fn text(file: &Path, most: u64, hint: &str) -> Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(file).and_then(|open| open.take(most + 1).read_to_string(&mut text));
    match read {
        Ok(_) if text.len() as u64 > most => {
            Err(unusable(format!("{} is larger than {} MiB", file.display(), most >> 20)).hint(hint))
        }
        Ok(_) => Ok(text),
        Err(error) => Err(unusable(format!("cannot read {}: {error}", file.display())).hint(hint)),
    }
}
