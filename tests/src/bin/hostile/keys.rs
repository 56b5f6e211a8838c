//! Whom it speaks to, with which keys, and what it signs with them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The server name by which nodes know that a peer calls.
pub const PEER_SERVER_NAME: &str = "node.kanon.invalid";

/// Its arguments: the folder of the key that the site pins, the folder of a key that nobody pins, the id of the first one's node, and of the site its id, its fingerprint
/// and the port of its Flight SQL listener.
pub struct World {
    own: PathBuf,
    stranger: PathBuf,
    pub home: String,
    pub site: String,
    pub site_key: String,
    pub port: u16,
}

/// How it connects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// With the key that is pinned.
    Own,
    /// With one that nobody pins.
    Stranger,
    /// Without a certificate.
    NoKey,
    /// Without TLS.
    Plain,
    /// With the key that is pinned, and nothing newer than TLS 1.2.
    Tls12,
}

impl Over {
    pub fn of(command: &Value) -> Over {
        match command["over"].as_str().unwrap_or("own") {
            "own" => Over::Own,
            "stranger" => Over::Stranger,
            "none" => Over::NoKey,
            "plain" => Over::Plain,
            "tls12" => Over::Tls12,
            other => panic!("{other} is no way to connect"),
        }
    }
}

impl World {
    pub fn of_arguments() -> World {
        let mut arguments = std::env::args().skip(1);
        let mut next = || arguments.next().unwrap();
        World {
            own: next().into(),
            stranger: next().into(),
            home: next(),
            site: next(),
            site_key: next(),
            port: next().parse().unwrap(),
        }
    }

    /// TLS for calling; `None` for plaintext.
    pub fn client(&self, over: Over) -> Option<Arc<ClientConfig>> {
        let versions: &[_] = match over {
            Over::Plain => return None,
            Over::Tls12 => &[&rustls::version::TLS12],
            _ => &[&rustls::version::TLS13],
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody));
        let mut config = match over {
            Over::NoKey => builder.with_no_client_auth(),
            Over::Stranger => builder.with_client_auth_cert(certificate(&self.stranger), key(&self.stranger)).unwrap(),
            _ => builder.with_client_auth_cert(certificate(&self.own), key(&self.own)).unwrap(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Some(Arc::new(config))
    }

    /// TLS for being called, with the key that is pinned.
    pub fn server(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificate(&self.own), key(&self.own))
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    /// A ticket for a text, with what the command wants otherwise: `claims` (null leaves one out), `header`, `sign` and `signed` (a text that its digest is of).
    pub fn ticket(&self, sql: &str, command: &Value) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let now = now();
        let nonce = format!("{:016x}{:016x}", now, NEXT.fetch_add(1, Ordering::Relaxed));
        let claims = json!({
            "iss": self.home,
            "aud": self.site,
            "audience_key": self.site_key,
            "sub": "ana",
            // Whatever it says of its users, the site grants by its own.
            "roles": ["admin", "steward", "auditor"],
            "digest": hex(&Sha256::digest(command["signed"].as_str().unwrap_or(sql))),
            "participants": [self.site],
            "min_sites": 1,
            "epsilon": null,
            "delta": null,
            "iat": now,
            "exp": now + 60,
            "jti": format!("{nonce}{}", std::process::id()),
        });
        self.sign(claims, "kanon-ticket+jwt", command)
    }

    /// A descriptor of its own node, with what the command wants otherwise.
    pub fn descriptor(&self, command: &Value) -> String {
        let public = self.pair(&self.own).public_key().as_ref().to_vec();
        let now = now();
        let claims = json!({
            "iss": self.home,
            "name": self.home,
            "institution": "of Malice",
            "endpoints": {"pg": null, "flight": null, "http": null},
            "key": BASE64_STANDARD.encode(&public),
            "fingerprint": fingerprint(&public),
            "tables": [],
            "policy_digest": "",
            "version": "0.1.0",
            "protocol": 2,
            "sequence": 1_u64 << 60,
            "iat": now,
            "exp": now + 600,
        });
        self.sign(claims, "kanon-descriptor+jwt", command)
    }

    fn sign(&self, mut claims: Value, kind: &str, command: &Value) -> String {
        for (name, value) in command["claims"].as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        for name in command["without"].as_array().into_iter().flatten() {
            claims.as_object_mut().unwrap().remove(name.as_str().unwrap());
        }
        let mut header = json!({"typ": kind, "alg": "EdDSA"});
        for (name, value) in command["header"].as_object().into_iter().flatten() {
            header[name] = value.clone();
        }
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(&claims));
        let signature = match command["sign"].as_str().unwrap_or("own") {
            "own" => self.pair(&self.own).sign(message.as_bytes()).as_ref().to_vec(),
            "stranger" => self.pair(&self.stranger).sign(message.as_bytes()).as_ref().to_vec(),
            // As if the public key, which everybody has, were a secret.
            "secret" => {
                let public = self.pair(&self.own).public_key().as_ref().to_vec();
                let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &public);
                ring::hmac::sign(&secret, message.as_bytes()).as_ref().to_vec()
            }
            "none" => Vec::new(),
            other => panic!("{other} is no way to sign"),
        };
        format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    fn pair(&self, folder: &Path) -> Ed25519KeyPair {
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(key(folder).secret_der()).unwrap()
    }
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of the SubjectPublicKeyInfo of an Ed25519 key (RFC 8410).
fn fingerprint(public: &[u8]) -> String {
    let before = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    hex(&Sha256::digest([&before, public].concat()))
}

fn certificate(folder: &Path) -> Vec<CertificateDer<'static>> {
    vec![CertificateDer::from_pem_file(folder.join("node.crt")).unwrap()]
}

fn key(folder: &Path) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(folder.join("node.key")).unwrap()
}

/// Whoever is at the other end: it is the site's business whom it speaks to.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256]
    }
}
