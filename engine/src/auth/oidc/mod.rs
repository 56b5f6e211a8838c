//! Tokens of the institution's own issuer (OpenID Connect): whose they are, and which roles their owners have here.
//!
//! ```text
//! token ─► header: RS256 or ES256, kid ─► a key of the issuer ([`keys`]) ─► signature
//!       ─► claims: iss, aud, exp, iat, nbf, sub ─► Visitor ─► store::identities ─► role
//! ```
//!
//! A subject of the issuer is a role here because an admin said so (`ALTER ROLE … SET kanon.oidc_subject`), or because the node made the role for it: a name in a token never
//! is a role that was here before.

mod keys;
mod settings;

use std::collections::BTreeSet;

use jsonwebtoken::Validation;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

pub use settings::OidcSettings;
pub(crate) use settings::Written;

use crate::audit::hex;
use crate::error::{Error, Result, Sqlstate};
use crate::federation::ticket::CLOCK_SKEW_SECONDS;
use keys::IssuerKeys;

/// Longer than any token; what is longer is not looked at.
const MAX_TOKEN_BYTES: usize = 64 * 1024;
const MAX_TEXT_BYTES: usize = 255;
/// The most roles of a token that are looked at.
const MAX_ROLES: usize = 1_000;
/// What the header may call a token: an ID token, an access token (RFC 9068), or nothing.
const TYPES: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];

/// How many keys an issuer lists that tokens can be signed with.
///
/// # Errors
/// 58000 if the authorities of its TLS cannot be used; 08001 if it does not answer as an issuer does, with why.
pub async fn count_keys(settings: &OidcSettings) -> Result<usize> {
    let keys = IssuerKeys::of(settings)?;
    keys.count().await.map_err(|why| {
        Error::new(Sqlstate::SiteUnreachable, format!("the keys of {} cannot be had: {why}", settings.issuer))
            .hint("Check oidc_issuer, oidc_jwks_url and oidc_ca in the configuration.")
    })
}

/// The issuer that a node takes tokens of.
pub(crate) struct Oidc {
    pub(crate) settings: OidcSettings,
    keys: IssuerKeys,
}

/// Whom a token is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Visitor {
    /// Who it is at the issuer, for ever.
    pub(crate) subject: String,
    /// What it is called there now, if that is told.
    pub(crate) name: Option<String>,
    /// The roles of this node that it has through those of the issuer.
    pub(crate) roles: BTreeSet<String>,
    /// In seconds of Unix time.
    pub(crate) issued_at: i64,
    /// In seconds of Unix time.
    pub(crate) expires_at: i64,
    /// Part of a digest of the token, to name it in the log.
    pub(crate) token_id: String,
}

impl Oidc {
    /// The issuer of a configuration. It is not asked for anything yet.
    ///
    /// # Errors
    /// 58000 if the authorities of its TLS cannot be used.
    pub(super) fn of(settings: &OidcSettings) -> Result<Oidc> {
        Ok(Oidc { keys: IssuerKeys::of(settings)?, settings: settings.clone() })
    }

    /// Asks the issuer for its keys again.
    pub(super) async fn refresh(&self) {
        self.keys.refresh().await;
    }

    /// Whom a token is of that this issuer made for this node and that is valid at this second of Unix time; otherwise why it is not taken, in a constant text for the operator's log.
    pub(super) async fn read(&self, token: &str, now: i64) -> Result<Visitor, &'static str> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err("it is too long");
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| "it is no token")?;
        if header.typ.as_ref().is_some_and(|typ| !TYPES.iter().any(|known| known.eq_ignore_ascii_case(typ))) {
            return Err("it is a token of another kind");
        }
        let id = header.kid.ok_or("it names no key")?;
        let key = self.keys.find(&id).await.ok_or("its key is not one of the issuer")?;
        // The key says what it signs with, not the token.
        if header.alg != key.algorithm {
            return Err("its algorithm is not that of its key");
        }
        let mut validation = Validation::new(key.algorithm);
        // Claims are checked below.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims = jsonwebtoken::decode::<Map<String, Value>>(token, &key.verifies, &validation)
            .map_err(|_| "its signature does not fit")?
            .claims;
        self.visitor(token, &claims, now)
    }

    fn visitor(&self, token: &str, claims: &Map<String, Value>, now: i64) -> Result<Visitor, &'static str> {
        if claims.get("iss").and_then(Value::as_str) != Some(&self.settings.issuer) {
            return Err("it is of another issuer");
        }
        let is_us = |value: &Value| value.as_str() == Some(&self.settings.audience);
        let is_for_us = match claims.get("aud") {
            Some(Value::Array(audiences)) => audiences.iter().any(is_us),
            Some(audience) => is_us(audience),
            None => false,
        };
        if !is_for_us {
            return Err("it is for another audience");
        }
        let expires_at = seconds(claims, "exp")?.ok_or("it does not say when it ends")?;
        let issued_at = seconds(claims, "iat")?.ok_or("it does not say when it was issued")?;
        let begins_at = seconds(claims, "nbf")?.unwrap_or(issued_at).max(issued_at);
        if now >= expires_at {
            return Err("it has expired");
        }
        if begins_at > now.saturating_add(CLOCK_SKEW_SECONDS) {
            return Err("it is not valid yet");
        }
        let subject = text(claims.get("sub")).ok_or("it is of no subject")?;
        let roles = texts(reach(claims, &self.settings.roles_claim))
            .filter_map(|role| self.settings.roles.get(role).cloned())
            .collect();
        let digest = Sha256::digest(token);
        Ok(Visitor {
            subject,
            name: text(reach(claims, &self.settings.name_claim)),
            roles,
            issued_at,
            expires_at,
            token_id: hex(digest.get(..8).unwrap_or_default()),
        })
    }
}

/// A NumericDate (RFC 7519, section 2), which may have a fraction.
fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, &'static str> {
    const MOST: f64 = 9e15;
    match claims.get(name) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            Some(seconds) if (0.0..MOST).contains(&seconds) => Ok(Some(seconds.floor() as i64)),
            _ => Err("a time in it cannot be read"),
        },
    }
}

/// A text that can be a name: not empty, not too long, printable.
fn text(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str()?;
    let fits = !text.is_empty() && text.len() <= MAX_TEXT_BYTES && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

/// The claim of this name, or what lies at this path in the claims.
fn reach<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let mut steps = path.split('.');
    let mut at = claims.get(steps.next()?)?;
    for step in steps {
        at = at.as_object()?.get(step)?;
    }
    Some(at)
}

/// A list of texts, or one text with words, as `scope` is.
fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    let list = value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let words = value.and_then(Value::as_str).into_iter().flat_map(str::split_whitespace);
    list.chain(words).take(MAX_ROLES)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests;
