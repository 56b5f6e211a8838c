//! Who a node is: an Ed25519 key on its disk and the fingerprint that its peers pin.
//!
//! The key is made on the first start and never leaves the node's folder. Everything else here (the certificate, the
//! fingerprint) follows from it. A key that is there but cannot be used stops the node: a node that made itself a new
//! identity would silently lose the trust of all its peers.

use std::fmt;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result, Sqlstate};

const KEY_FILE: &str = "node.key";
const CERT_FILE: &str = "node.crt";
const LISTENER_KEY_FILE: &str = "tls.key";
const LISTENER_CERT_FILE: &str = "tls.crt";
/// The files that [`ensure`] makes.
pub const FILES: [&str; 4] = [KEY_FILE, CERT_FILE, LISTENER_KEY_FILE, LISTENER_CERT_FILE];

/// What precedes the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410, section 4).
const ED25519_SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// An Ed25519 public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key inside a DER SubjectPublicKeyInfo; `None` if it is of another kind or has anything else around it.
    pub fn from_spki(spki: &[u8]) -> Option<PublicKey> {
        let raw = spki.strip_prefix(&ED25519_SPKI_PREFIX)?;
        Some(PublicKey(raw.try_into().ok()?))
    }
    /// The key of these 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> PublicKey {
        PublicKey(bytes)
    }
    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// Its DER SubjectPublicKeyInfo.
    pub fn to_spki(self) -> Vec<u8> {
        let mut spki = ED25519_SPKI_PREFIX.to_vec();
        spki.extend_from_slice(&self.0);
        spki
    }
    /// What peers pin.
    pub fn fingerprint(self) -> Fingerprint {
        Fingerprint(Sha256::digest(self.to_spki()).into())
    }
}

/// SHA-256 of a public key (its DER SubjectPublicKeyInfo); written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of these 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Fingerprint {
        Fingerprint(bytes)
    }
    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}

impl FromStr for Fingerprint {
    type Err = Error;

    /// Reads 64 hexadecimal digits, with or without `sha256:` before them.
    fn from_str(text: &str) -> Result<Self> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        parse_hex(digits).map(Fingerprint).ok_or_else(|| {
            Error::new(Sqlstate::InvalidParameterValue, format!("\"{text}\" is not a fingerprint"))
                .hint("A fingerprint is sha256: and 64 hexadecimal digits.")
        })
    }
}

fn parse_hex(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let mut values = digits.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()));
    for byte in &mut bytes {
        *byte = values.next()?? << 4 | values.next()??;
    }
    values.next().is_none().then_some(bytes)
}

/// A node's key and what follows from it.
pub struct Identity {
    /// SHA-256 of the public key.
    pub fingerprint: Fingerprint,
    /// The public key.
    pub public_key: PublicKey,
    /// The self-signed certificate that carries the key to peers.
    pub cert_pem: String,
    /// A second certificate, for clients: ECDSA P-256, because not every driver speaks Ed25519 and channel binding of
    /// PostgreSQL's clients needs a certificate whose signature names a hash.
    pub listener: ListenerCertificate,
    cert_der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

/// The certificate and key of a listener for clients, used where the operator gives none.
pub struct ListenerCertificate {
    /// Where the certificate is, so that clients can be told to trust it.
    pub cert_path: PathBuf,
    /// The certificate.
    pub cert_pem: String,
    /// The key, PKCS #8.
    pub key_pem: String,
}

impl fmt::Debug for ListenerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerCertificate").field("cert_path", &self.cert_path).finish_non_exhaustive()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl Identity {
    /// The certificate that carries the key.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.cert_der.clone()
    }
    /// The private key for TLS.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key_der.clone()))
    }
    /// The signature of a message.
    ///
    /// # Errors
    /// XX000 if the key cannot sign: it was looked at when it was read.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64]> {
        let key =
            ring::signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(&self.key_der).map_err(Error::internal)?;
        key.sign(message).as_ref().try_into().map_err(Error::internal)
    }
    /// The private key for signing tokens.
    pub fn signing_key(&self) -> jsonwebtoken::EncodingKey {
        jsonwebtoken::EncodingKey::from_ed_der(&self.key_der)
    }
}

/// The public key of the node whose folder is `dir`, which is only read.
///
/// # Errors
/// 58000 if there is no key, or it cannot be used.
pub fn public_key(dir: &Path) -> Result<PublicKey> {
    let path = dir.join(KEY_FILE);
    let pem = fs::read_to_string(&path).map_err(|e| unusable(&path, "key", &e))?;
    let key = rcgen::KeyPair::from_pem(&pem).map_err(|_| damaged(&path))?;
    key.public_key_raw().try_into().map(PublicKey).map_err(|_| damaged(&path))
}

/// The identity of the node whose folder is `dir`: read, or made on the first call. Safe to call before the node runs,
/// and by several processes at once.
///
/// # Errors
/// 58000 if the folder or the key cannot be written or read, if others may read the key, or if it is not an Ed25519 key.
pub fn ensure(dir: &Path) -> Result<Identity> {
    fs::create_dir_all(dir).map_err(|e| unusable(dir, "folder", &e))?;
    let key_pem = ensure_key(&dir.join(KEY_FILE), &rcgen::PKCS_ED25519)?;
    let key_path = dir.join(KEY_FILE);
    let key = rcgen::KeyPair::from_pem(&key_pem).map_err(|_| damaged(&key_path))?;
    if !key.is_compatible(&rcgen::PKCS_ED25519) {
        return Err(damaged(&key_path));
    }
    let raw: [u8; 32] = key.public_key_raw().try_into().map_err(|_| damaged(&key_path))?;
    let public_key = PublicKey(raw);
    let certificate = self_signed(&key, "kanon node")?;
    // Made anew on every start: only its key means something. The file is for people and for clients that want it.
    replace_file(&dir.join(CERT_FILE), certificate.pem().as_bytes(), 0o644)?;
    Ok(Identity {
        fingerprint: public_key.fingerprint(),
        public_key,
        cert_pem: certificate.pem(),
        listener: ensure_listener(dir)?,
        cert_der: certificate.der().clone(),
        key_der: key.serialized_der().to_vec(),
    })
}

fn ensure_listener(dir: &Path) -> Result<ListenerCertificate> {
    let key_path = dir.join(LISTENER_KEY_FILE);
    let cert_path = dir.join(LISTENER_CERT_FILE);
    let key_pem = ensure_key(&key_path, &rcgen::PKCS_ECDSA_P256_SHA256)?;
    let cert_pem = match fs::read_to_string(&cert_path) {
        Ok(pem) => pem,
        // Clients keep a copy of this one, so it is made once.
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let key = rcgen::KeyPair::from_pem(&key_pem).map_err(|_| damaged(&key_path))?;
            let pem = self_signed(&key, "kanon")?.pem();
            replace_file(&cert_path, pem.as_bytes(), 0o644)?;
            pem
        }
        Err(e) => return Err(unusable(&cert_path, "certificate", &e)),
    };
    Ok(ListenerCertificate { cert_path, cert_pem, key_pem })
}

fn self_signed(key: &rcgen::KeyPair, common_name: &str) -> Result<rcgen::Certificate> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let mut params = rcgen::CertificateParams::new(names).map_err(Error::internal)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
    params.self_signed(key).map_err(Error::internal)
}

/// The PEM text of a key file, which is made if it is not there. What is there is never overwritten.
fn ensure_key(path: &Path, algorithm: &'static rcgen::SignatureAlgorithm) -> Result<String> {
    match fs::metadata(path) {
        Ok(metadata) => {
            refuse_shared(path, &metadata)?;
            return fs::read_to_string(path).map_err(|e| unusable(path, "key", &e));
        }
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(unusable(path, "key", &e)),
    }
    let key = rcgen::KeyPair::generate_for(algorithm).map_err(Error::internal)?;
    make_key(path, key.serialize_pem().as_bytes())?;
    fs::read_to_string(path).map_err(|e| unusable(path, "key", &e))
}

/// The bytes of a key file, which is made of `new` if it is not there. What is there is never overwritten.
///
/// # Errors
/// 58000 if it cannot be written or read, or if others may read it.
pub(crate) fn ensure_secret(path: &Path, new: &[u8]) -> Result<Vec<u8>> {
    match fs::metadata(path) {
        Ok(metadata) => refuse_shared(path, &metadata)?,
        Err(e) if e.kind() == ErrorKind::NotFound => make_key(path, new)?,
        Err(e) => return Err(unusable(path, "key", &e)),
    }
    fs::read(path).map_err(|e| unusable(path, "key", &e))
}

/// Writes a key file, unless another process was faster.
fn make_key(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = temporary_name(path);
    write_new(&temporary, content, 0o600).map_err(|e| unusable(path, "key", &e))?;
    // A hard link fails if another process was faster; then its key is the node's.
    let linked = fs::hard_link(&temporary, path);
    let _ = fs::remove_file(&temporary);
    match linked {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
        Err(e) => return Err(unusable(path, "key", &e)),
    }
    Ok(())
}

fn replace_file(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let temporary = temporary_name(path);
    write_new(&temporary, content, mode)
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|e| unusable(path, "file", &e))
}

fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", uuid::Uuid::new_v4().simple()));
    PathBuf::from(name)
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(unix)]
fn refuse_shared(path: &Path, metadata: &fs::Metadata) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Error::new(
        Sqlstate::SystemError,
        format!("key file \"{}\" may be read by others (mode {:o})", path.display(), mode & 0o777),
    )
    .hint(format!("Run chmod 600 {}.", path.display())))
}

#[cfg(not(unix))]
fn refuse_shared(_path: &Path, _metadata: &fs::Metadata) -> Result<()> {
    Ok(())
}

fn unusable(path: &Path, what: &str, error: &std::io::Error) -> Error {
    Error::new(Sqlstate::SystemError, format!("{what} \"{}\" cannot be used: {}", path.display(), error.kind()))
        .hint("Check that it is there and belongs to the user who runs the node.")
}

fn damaged(path: &Path) -> Error {
    Error::new(Sqlstate::SystemError, format!("key file \"{}\" holds no usable private key", path.display()))
        .hint("Restore it from a backup. If you remove it, the node makes a new one, which every peer must pin again.")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn made_once_then_kept() {
        let dir = tempfile::tempdir().unwrap();
        let first = ensure(dir.path()).unwrap();
        let second = ensure(dir.path()).unwrap();
        assert_eq!(first.fingerprint, second.fingerprint);
        assert_eq!(first.listener.cert_pem, second.listener.cert_pem);
        assert_eq!(first.fingerprint.to_string().len(), 64);
        assert_eq!(format!("sha256:{}", first.fingerprint).parse::<Fingerprint>().unwrap(), first.fingerprint);
    }

    #[test]
    fn the_fingerprint_is_of_the_certificate_s_key() {
        let dir = tempfile::tempdir().unwrap();
        let identity = ensure(dir.path()).unwrap();
        let certificate = identity.certificate();
        let parsed = rustls::server::ParsedCertificate::try_from(&certificate).unwrap();
        let spki = parsed.subject_public_key_info();
        assert_eq!(PublicKey::from_spki(spki.as_ref()), Some(identity.public_key));
        let digest: [u8; 32] = Sha256::digest(spki.as_ref()).into();
        assert_eq!(Fingerprint(digest), identity.fingerprint);
    }

    #[cfg(unix)]
    #[test]
    fn the_key_is_private_and_stays_so() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        ensure(dir.path()).unwrap();
        let key = dir.path().join(KEY_FILE);
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        let error = ensure(dir.path()).unwrap_err();
        assert_eq!(error.state, Sqlstate::SystemError);
        assert!(error.message.contains("may be read by others"), "{error}");
    }

    #[test]
    fn a_damaged_key_stops_the_node_and_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        ensure(dir.path()).unwrap();
        let key = dir.path().join(KEY_FILE);
        fs::write(&key, "no key").unwrap();
        let error = ensure(dir.path()).unwrap_err();
        assert!(error.message.contains("no usable private key"), "{error}");
        assert_eq!(fs::read_to_string(&key).unwrap(), "no key");
        // A key of another kind is no identity either.
        let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        fs::write(&key, other.serialize_pem()).unwrap();
        assert!(ensure(dir.path()).is_err());
    }

    #[test]
    fn fingerprints_are_read_strictly() {
        for bad in ["", "sha256:", "sha256:abc", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"é".repeat(32)] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }
}
