//! The issuer's keys: asked for over TLS, kept, and asked for again.
//!
//! Whoever shows a token with an unknown key id makes the node ask, but once in [`BETWEEN_ASKS`] only. A key that the issuer lists no more is taken no more; while the issuer does not answer,
//! those it listed last are taken for [`KEPT_FOR`].

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::{Certificate, Client, redirect};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::settings::{OidcSettings, endpoint};
use crate::error::{Error, Result, Sqlstate};

/// The least time between two asks for keys.
const BETWEEN_ASKS: Duration = Duration::from_secs(10);
/// How long keys are taken that the issuer did not confirm.
const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest document that is read.
const MAX_BYTES: usize = 256 << 10;
const MAX_KEYS: usize = 100;
/// RFC 7518, section 3.3: 2048 bits at least. What is larger than the most only costs time.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// A key, and the only algorithm that it is taken with.
pub(super) struct IssuerKey {
    id: String,
    pub(super) algorithm: Algorithm,
    pub(super) verifies: DecodingKey,
}

#[derive(Default)]
struct Known {
    keys: Vec<Arc<IssuerKey>>,
    at: Option<Instant>,
}

/// The keys of an issuer.
pub(super) struct IssuerKeys {
    issuer: String,
    jwks_url: Option<Url>,
    client: Client,
    known: RwLock<Known>,
    /// When they were last asked for. Held while they are.
    asked: Mutex<Option<Instant>>,
}

impl IssuerKeys {
    /// Nothing is asked for yet.
    ///
    /// # Errors
    /// 58000 if the authorities of its TLS cannot be used.
    pub(super) fn of(settings: &OidcSettings) -> Result<IssuerKeys> {
        let unusable = |what: String| Error::new(Sqlstate::SystemError, what);
        let mut client = Client::builder().timeout(TIMEOUT).redirect(redirect::Policy::none()).user_agent("kanon");
        if let Some(path) = &settings.ca {
            let pem = std::fs::read(path)
                .map_err(|error| unusable(format!("oidc_ca: cannot read {}: {}", path.display(), error.kind())))?;
            let authorities = Certificate::from_pem_bundle(&pem).unwrap_or_default();
            if authorities.is_empty() {
                return Err(unusable(format!("oidc_ca: {} holds no certificate", path.display())));
            }
            for authority in authorities {
                client = client.add_root_certificate(authority);
            }
        }
        Ok(IssuerKeys {
            issuer: settings.issuer.clone(),
            jwks_url: settings.jwks_url.clone(),
            client: client.build().map_err(|_| unusable("oidc_issuer: TLS cannot be set up".to_owned()))?,
            known: RwLock::default(),
            asked: Mutex::default(),
        })
    }

    /// The key of an id; the issuer is asked if it is not known.
    pub(super) async fn find(&self, id: &str) -> Option<Arc<IssuerKey>> {
        if let Some(key) = self.known(id) {
            return Some(key);
        }
        let mut asked = self.asked.lock().await;
        // Whoever waited finds what another was told.
        if let Some(key) = self.known(id) {
            return Some(key);
        }
        if asked.is_some_and(|at| at.elapsed() < BETWEEN_ASKS) {
            return None;
        }
        *asked = Some(Instant::now());
        self.ask().await;
        self.known(id)
    }

    /// How many keys the issuer lists that tokens can be signed with; otherwise why they cannot be had.
    pub(super) async fn count(&self) -> Result<usize, &'static str> {
        Ok(self.fetch().await?.len())
    }

    /// Asks for the keys again.
    pub(super) async fn refresh(&self) {
        let mut asked = self.asked.lock().await;
        *asked = Some(Instant::now());
        self.ask().await;
    }

    fn known(&self, id: &str) -> Option<Arc<IssuerKey>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = known.at.is_some_and(|at| at.elapsed() < KEPT_FOR);
        known.keys.iter().find(|key| is_fresh && key.id == id).cloned()
    }

    async fn ask(&self) {
        match self.fetch().await {
            Ok(keys) => {
                let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
                *known = Known { keys, at: Some(Instant::now()) };
            }
            Err(why) => tracing::warn!(issuer = %self.issuer, why, "the keys of the issuer of tokens cannot be had"),
        }
    }

    async fn fetch(&self) -> Result<Vec<Arc<IssuerKey>>, &'static str> {
        let url = match &self.jwks_url {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        keys_in(&self.get(url).await?)
    }

    /// Where the keys are, as the issuer says (OpenID Connect Discovery 1.0, section 4).
    async fn discover(&self) -> Result<Url, &'static str> {
        #[derive(Deserialize)]
        struct Discovered {
            issuer: String,
            jwks_uri: String,
        }
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let document = self.get(Url::parse(&url).map_err(|_| "its URL cannot be used")?).await?;
        let found: Discovered =
            serde_json::from_slice(&document).map_err(|_| "its discovery document cannot be read")?;
        if found.issuer != self.issuer {
            return Err("its discovery document is of another issuer");
        }
        endpoint("jwks_uri", &found.jwks_uri).map_err(|_| "its keys are not offered over TLS")
    }

    async fn get(&self, url: Url) -> Result<Vec<u8>, &'static str> {
        let mut answer = self.client.get(url).send().await.map_err(|_| "it does not answer")?;
        if !answer.status().is_success() {
            return Err("it answers with an error");
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|_| "its answer breaks off")? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err("its answer is too long");
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// The keys of a JWK set (RFC 7517) that tokens can be signed with. Others in it are passed over.
fn keys_in(document: &[u8]) -> Result<Vec<Arc<IssuerKey>>, &'static str> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = serde_json::from_slice(document).map_err(|_| "its keys cannot be read")?;
    if set.keys.len() > MAX_KEYS {
        return Err("it has too many keys");
    }
    Ok(set.keys.into_iter().filter_map(|key| key_of(serde_json::from_value(key).ok()?)).map(Arc::new).collect())
}

fn key_of(key: Jwk) -> Option<IssuerKey> {
    if !matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let algorithm = match &key.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            let modulus = BASE64_URL_SAFE_NO_PAD.decode(&rsa.n).ok()?;
            let bytes = modulus.iter().skip_while(|byte| **byte == 0).count();
            RSA_BYTES.contains(&bytes).then_some((Algorithm::RS256, KeyAlgorithm::RS256))
        }
        AlgorithmParameters::EllipticCurve(point) => {
            (point.curve == EllipticCurve::P256).then_some((Algorithm::ES256, KeyAlgorithm::ES256))
        }
        _ => None,
    }?;
    if key.common.key_algorithm.is_some_and(|named| named != algorithm.1) {
        return None;
    }
    let verifies = DecodingKey::from_jwk(&key).ok()?;
    Some(IssuerKey { id: key.common.key_id?, algorithm: algorithm.0, verifies })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_sign_are_kept() {
        let modulus = |bytes: usize| BASE64_URL_SAFE_NO_PAD.encode(vec![0xC3; bytes]);
        let rsa = |id: &str, bytes: usize, more: &str| {
            format!(r#"{{"kty":"RSA","kid":"{id}","n":"{}","e":"AQAB"{more}}}"#, modulus(bytes))
        };
        // RFC 7517, appendix A.1.
        let curve = r#"{"kty":"EC","crv":"P-256","kid":"curve","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;
        let document = format!(
            r#"{{"keys":[{},{},{},{},{},{curve},{},{},{}]}}"#,
            rsa("good", 256, ""),
            rsa("named", 512, r#","alg":"RS256","use":"sig""#),
            rsa("short", 255, ""),
            rsa("encrypts", 256, r#","use":"enc""#),
            rsa("other", 256, r#","alg":"PS256""#),
            r#"{"kty":"oct","kid":"shared","k":"c2VjcmV0"}"#,
            r#"{"kty":"new kind","kid":"later"}"#,
            r#"{"kty":"EC","crv":"P-384","kid":"large","x":"AA","y":"AA"}"#,
        );
        let keys = keys_in(document.as_bytes()).unwrap();
        let found: Vec<_> = keys.iter().map(|key| (key.id.as_str(), key.algorithm)).collect();
        assert_eq!(found, [("good", Algorithm::RS256), ("named", Algorithm::RS256), ("curve", Algorithm::ES256)],);
        for bad in ["", "{}", "[]", r#"{"keys":{}}"#] {
            assert!(keys_in(bad.as_bytes()).is_err(), "{bad}");
        }
        let many = format!(r#"{{"keys":[{}]}}"#, vec!["1"; MAX_KEYS + 1].join(","));
        assert!(keys_in(many.as_bytes()).is_err());
    }
}
