//! Tokens of this node: JWTs that stand for a role for a short while.
//!
//! ```text
//! header  {"alg": "EdDSA", "typ": "at+jwt", "kid": <thumbprint of the key, RFC 7638>}
//! claims  {"iss": "kanon:<node id>", "aud": "kanon:<node id>", "sub": <role>, "iat": …, "exp": …, "jti": …}
//! ```
//!
//! The keys that sign them are no other keys of the node: files of the folder `token-keys`, made anew every [`KEY_LIFETIME_DAYS`] and deleted once no token of theirs can be
//! valid. A token of another kind, such as a peer's ticket, is not read here, nor the other way round: they have other keys, types and claims.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::Utc;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result, Sqlstate};
use crate::federation::identity::ensure_secret;
use crate::federation::ticket::CLOCK_SKEW_SECONDS;

/// The longest that a token is valid, in seconds: a day.
pub(crate) const MAX_TOKEN_SECONDS: i64 = 24 * 60 * 60;
/// How long a key signs.
const KEY_LIFETIME_DAYS: i64 = 30;
const KEY_LIFETIME_SECONDS: i64 = KEY_LIFETIME_DAYS * 24 * 60 * 60;
/// Longer than any token; what is longer is not looked at.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
const TOKEN_TYPE: &str = "at+jwt";
const FOLDER: &str = "token-keys";

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenClaims {
    #[serde(rename = "iss")]
    pub(crate) issuer: String,
    #[serde(rename = "aud")]
    pub(crate) audience: String,
    #[serde(rename = "sub")]
    pub(crate) role: String,
    /// In seconds of Unix time.
    #[serde(rename = "iat")]
    pub(crate) issued_at: i64,
    /// In seconds of Unix time.
    #[serde(rename = "exp")]
    pub(crate) expires_at: i64,
    #[serde(rename = "jti")]
    pub(crate) id: String,
}

/// The keys that tokens are signed with, the newest last.
pub(crate) struct TokenKeys {
    issuer: String,
    folder: PathBuf,
    keys: RwLock<Vec<TokenKey>>,
}

#[derive(Clone)]
struct TokenKey {
    id: String,
    /// In seconds of Unix time.
    made_at: i64,
    signs: EncodingKey,
    verifies: DecodingKey,
}

impl TokenKeys {
    /// Those of a node's folder; a first one is made.
    ///
    /// # Errors
    /// 58000 if they cannot be read or written, or if others may read them.
    pub(super) fn of_folder(dir: &Path, node_id: &str) -> Result<TokenKeys> {
        let folder = dir.join(FOLDER);
        let keys = TokenKeys { issuer: format!("kanon:{node_id}"), folder, keys: RwLock::default() };
        keys.rotate(Utc::now().timestamp())?;
        Ok(keys)
    }

    /// Reads the keys, makes a new one if the newest is old, and deletes those that no valid token can be signed with.
    ///
    /// # Errors
    /// As [`TokenKeys::of_folder`].
    pub(super) fn rotate(&self, now: i64) -> Result<()> {
        fs::create_dir_all(&self.folder).map_err(|error| unusable(&self.folder, &error))?;
        let mut made: Vec<i64> = fs::read_dir(&self.folder)
            .map_err(|error| unusable(&self.folder, &error))?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".pem")?.parse().ok())
            .collect();
        made.sort_unstable();
        if made.last().is_none_or(|newest| now.saturating_sub(*newest) >= KEY_LIFETIME_SECONDS) {
            let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(Error::internal)?;
            ensure_secret(&self.path(now), key.serialize_pem().as_bytes())?;
            made.push(now);
        }
        // A key signs until the next one is made.
        let next = made.iter().copied().skip(1).map(Some).chain([None]).collect::<Vec<_>>();
        let mut keys = Vec::with_capacity(made.len());
        for (made_at, next) in made.into_iter().zip(next) {
            let last_token = next.map(|next| next.saturating_add(MAX_TOKEN_SECONDS + CLOCK_SKEW_SECONDS));
            if last_token.is_some_and(|ends| ends < now) {
                let _ = fs::remove_file(self.path(made_at));
                continue;
            }
            keys.push(self.read_key(made_at)?);
        }
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    fn path(&self, made_at: i64) -> PathBuf {
        self.folder.join(format!("{made_at}.pem"))
    }

    fn read_key(&self, made_at: i64) -> Result<TokenKey> {
        let path = self.path(made_at);
        let damaged = || {
            Error::new(Sqlstate::SystemError, format!("key file \"{}\" holds no usable private key", path.display()))
                .hint("Remove it: the node makes a new one, and tokens that it signed are no longer taken.")
        };
        // It is there: this looks at who may read it.
        let pem = String::from_utf8(ensure_secret(&path, &[])?).map_err(|_| damaged())?;
        let key = rcgen::KeyPair::from_pem(&pem).map_err(|_| damaged())?;
        if !key.is_compatible(&rcgen::PKCS_ED25519) {
            return Err(damaged());
        }
        let public = key.public_key_raw();
        Ok(TokenKey {
            id: thumbprint(public),
            made_at,
            signs: EncodingKey::from_ed_der(key.serialized_der()),
            verifies: DecodingKey::from_ed_der(public),
        })
    }

    /// A token of a role, which is issued after a second of Unix time.
    ///
    /// # Errors
    /// XX000 if it cannot be signed.
    pub(crate) fn issue(&self, role: &str, valid_seconds: i64, after: i64) -> Result<String> {
        let now = Utc::now().timestamp().max(after.saturating_add(1));
        let claims = TokenClaims {
            issuer: self.issuer.clone(),
            audience: self.issuer.clone(),
            role: role.to_owned(),
            issued_at: now,
            expires_at: now.saturating_add(valid_seconds.clamp(1, MAX_TOKEN_SECONDS)),
            id: uuid::Uuid::new_v4().simple().to_string(),
        };
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.iter().max_by_key(|key| key.made_at).ok_or_else(|| Error::internal("no key for tokens"))?;
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(key.id.clone());
        jsonwebtoken::encode(&header, &claims, &key.signs).map_err(Error::internal)
    }

    /// What a token says that is this node's and valid now; `None` for any other, whatever is wrong with it.
    pub(crate) fn read(&self, token: &str) -> Option<TokenClaims> {
        self.read_at(token, Utc::now().timestamp())
    }

    fn read_at(&self, token: &str, now: i64) -> Option<TokenClaims> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let header = jsonwebtoken::decode_header(token).ok()?;
        if header.alg != Algorithm::EdDSA || header.typ.as_deref() != Some(TOKEN_TYPE) {
            return None;
        }
        let id = header.kid?;
        let key = {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            keys.iter().find(|key| key.id == id)?.verifies.clone()
        };
        let mut validation = Validation::new(Algorithm::EdDSA);
        // Times, issuer and audience are checked below, by the second.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims = jsonwebtoken::decode::<TokenClaims>(token, &key, &validation).ok()?.claims;
        let lifetime = claims.expires_at.checked_sub(claims.issued_at)?;
        let fits = claims.issuer == self.issuer
            && claims.audience == self.issuer
            && !claims.role.is_empty()
            && !claims.id.is_empty()
            && (1..=MAX_TOKEN_SECONDS).contains(&lifetime)
            && claims.issued_at <= now.saturating_add(CLOCK_SKEW_SECONDS)
            && now < claims.expires_at;
        fits.then_some(claims)
    }
}

/// RFC 7638, of an Ed25519 key (RFC 8037).
fn thumbprint(public: &[u8]) -> String {
    let x = BASE64_URL_SAFE_NO_PAD.encode(public);
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(canonical))
}

fn unusable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Sqlstate::SystemError, format!("folder \"{}\" cannot be used: {}", path.display(), error.kind()))
        .hint("Check that it is there and belongs to the user who runs the node.")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn keys() -> (tempfile::TempDir, TokenKeys) {
        let dir = tempfile::tempdir().unwrap();
        let keys = TokenKeys::of_folder(dir.path(), "zurich").unwrap();
        (dir, keys)
    }

    /// The example of RFC 8037, appendix A.3.
    #[test]
    fn thumbprints_are_those_of_the_rfc() {
        let x = BASE64_URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        assert_eq!(thumbprint(&x), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_token_is_taken_by_its_node_until_it_expires() {
        let (dir, keys) = keys();
        let token = keys.issue("ana", 60, 0).unwrap();
        let claims = keys.read(&token).unwrap();
        assert_eq!(claims.role, "ana");
        assert!(keys.read_at(&token, claims.expires_at - 1).is_some());
        assert!(keys.read_at(&token, claims.expires_at).is_none());
        assert!(keys.read_at(&token, claims.issued_at - CLOCK_SKEW_SECONDS).is_some());
        assert!(keys.read_at(&token, claims.issued_at - CLOCK_SKEW_SECONDS - 1).is_none(), "not valid yet");
        let again = TokenKeys::of_folder(dir.path(), "zurich").unwrap();
        assert!(again.read(&token).is_some(), "after a restart");
        let renamed = TokenKeys::of_folder(dir.path(), "budapest").unwrap();
        assert!(renamed.read(&token).is_none(), "another issuer");
        let (_other, other) = self::keys();
        assert!(other.read(&token).is_none(), "another key");
    }

    #[test]
    fn no_other_text_is_a_token() {
        let (_dir, keys) = keys();
        let token = keys.issue("ana", 60, 0).unwrap();
        let claims = keys.read(&token).unwrap();
        let key = keys.keys.read().unwrap()[0].clone();
        let signed = |header: &Header, claims: &serde_json::Value, by: &EncodingKey| {
            jsonwebtoken::encode(header, claims, by).unwrap()
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(key.id.clone());
        let of = |claims: &TokenClaims| serde_json::to_value(claims).unwrap();
        assert!(keys.read(&signed(&header, &of(&claims), &key.signs)).is_some());

        // What it says.
        for (name, value) in [
            ("iss", "kanon:budapest".into()),
            ("aud", "kanon:budapest".into()),
            ("sub", "".into()),
            ("jti", "".into()),
            ("exp", (claims.issued_at + MAX_TOKEN_SECONDS + 1).into()),
            ("exp", claims.issued_at.into()),
            ("exp", "soon".into()),
            ("iat", (claims.issued_at + 3600).into()),
            ("exp", i64::MAX.into()),
            ("iat", i64::MIN.into()),
            ("nbf", 0.into()),
            ("roles", "admin".into()),
        ] {
            let mut changed = of(&claims);
            changed[name] = value;
            assert!(keys.read(&signed(&header, &changed, &key.signs)).is_none(), "{changed}");
        }
        for name in ["iss", "aud", "sub", "iat", "exp", "jti"] {
            let mut changed = of(&claims);
            changed.as_object_mut().unwrap().remove(name);
            assert!(keys.read(&signed(&header, &changed, &key.signs)).is_none(), "without {name}");
        }

        // How it is signed.
        for (typ, kid) in [
            (None, Some(key.id.clone())),
            (Some("JWT"), Some(key.id.clone())),
            (Some("kanon-ticket+jwt"), Some(key.id.clone())),
            (Some(TOKEN_TYPE), None),
            (Some(TOKEN_TYPE), Some("../../etc/passwd".to_owned())),
        ] {
            let mut changed = Header::new(Algorithm::EdDSA);
            changed.typ = typ.map(str::to_owned);
            changed.kid = kid;
            assert!(keys.read(&signed(&changed, &of(&claims), &key.signs)).is_none(), "{changed:?}");
        }
        // HS256 with the public key as its secret.
        let public = rcgen::KeyPair::from_pem(&fs::read_to_string(keys.path(key.made_at)).unwrap()).unwrap();
        let mut symmetric = Header::new(Algorithm::HS256);
        symmetric.typ = Some(TOKEN_TYPE.to_owned());
        symmetric.kid = Some(key.id.clone());
        let secret = EncodingKey::from_secret(public.public_key_raw());
        assert!(keys.read(&signed(&symmetric, &of(&claims), &secret)).is_none());
        // None at all.
        let body = token.split('.').nth(1).unwrap();
        for header in [r#"{"alg":"none","typ":"at+jwt"}"#, r#"{"alg":"None","typ":"at+jwt"}"#] {
            let header = BASE64_URL_SAFE_NO_PAD.encode(header);
            for signature in ["", "AAAA"] {
                assert!(keys.read(&format!("{header}.{body}.{signature}")).is_none());
            }
        }
        let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        let flipped = if parts[2].starts_with('A') { "B" } else { "A" };
        parts[2].replace_range(..1, flipped);
        assert!(keys.read(&parts.join(".")).is_none());
        // A megabyte of it.
        let mut large = of(&claims);
        large["sub"] = "x".repeat(1 << 20).into();
        assert!(keys.read(&signed(&header, &large, &key.signs)).is_none());
        for text in ["", ".", "..", "a.b.c", "....", "\u{e9}.\u{e9}.\u{e9}", &"A".repeat(10_000)] {
            assert!(keys.read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn keys_are_made_anew_and_the_old_ones_deleted_when_no_token_of_theirs_is_valid() {
        let (_dir, keys) = keys();
        let token = keys.issue("ana", MAX_TOKEN_SECONDS, 0).unwrap();
        let now = Utc::now().timestamp();
        let files = || fs::read_dir(&keys.folder).unwrap().count();
        keys.rotate(now + KEY_LIFETIME_SECONDS - 10).unwrap();
        assert_eq!(files(), 1);
        keys.rotate(now + KEY_LIFETIME_SECONDS + 10).unwrap();
        assert_eq!(files(), 2);
        assert!(keys.read(&token).is_some(), "of the key before");
        let newer = keys.issue("ana", 60, 0).unwrap();
        assert_ne!(jsonwebtoken::decode_header(&newer).unwrap().kid, jsonwebtoken::decode_header(&token).unwrap().kid);
        keys.rotate(now + KEY_LIFETIME_SECONDS + 10 + MAX_TOKEN_SECONDS + CLOCK_SKEW_SECONDS + 10).unwrap();
        assert_eq!(files(), 1);
        assert!(keys.read(&token).is_none() && keys.read(&newer).is_some());
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_may_read_is_not_used() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_dir, keys) = keys();
        let path = keys.path(keys.keys.read().unwrap()[0].made_at);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = keys.rotate(Utc::now().timestamp()).unwrap_err();
        assert!(error.message.contains("may be read by others"), "{error}");
    }
}
