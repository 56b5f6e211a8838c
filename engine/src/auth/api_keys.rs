//! Keys for services: `kanon_<id>_<secret>`. The store has the id, which is shown, and the SHA-256 of the whole; the key itself is shown once, when it is made.
//!
//! A secret of 256 random bits is not guessed, so a plain hash of it is enough, and whoever reads the store cannot log in with what is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::Utc;
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result, Sqlstate};
use crate::store::Store;

/// What every key begins with.
pub(super) const PREFIX: &str = "kanon_";
/// The longest that a key is valid, in seconds: a year.
pub(crate) const MAX_KEY_SECONDS: i64 = 366 * 24 * 60 * 60;
const ID_CHARS: usize = 12;
/// 43 of 62 characters are a little more than 256 bits.
const SECRET_CHARS: usize = 43;
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// How often, at most, the store is told that a key was used, in seconds.
const USE_IS_NOTED_EVERY: i64 = 60;

/// Where a key is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The PostgreSQL protocol.
    Pg,
    /// Flight SQL.
    Flight,
    /// The HTTP interface.
    Http,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 3] = [Scope::Pg, Scope::Flight, Scope::Http];

    /// Its name in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Pg => "pg",
            Scope::Flight => "flight",
            Scope::Http => "http",
        }
    }

    /// Scopes as they are written: `pg, flight`.
    ///
    /// # Errors
    /// 22023 for one that there is not, or none.
    pub(crate) fn parse_list(text: &str) -> Result<Vec<Scope>> {
        let mut scopes = text
            .split(',')
            .map(|name| {
                Scope::ALL.into_iter().find(|scope| scope.as_str() == name.trim()).ok_or_else(|| {
                    Error::new(Sqlstate::InvalidParameterValue, format!("\"{}\" is no scope of a key", name.trim()))
                        .hint("Scopes are pg, flight and http, separated by commas.")
                })
            })
            .collect::<Result<Vec<Scope>>>()?;
        scopes.sort_unstable();
        scopes.dedup();
        Ok(scopes)
    }

    /// Scopes as they are written.
    pub(crate) fn list(scopes: &[Scope]) -> String {
        scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(",")
    }
}

/// What is kept of a key.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// The characters after `kanon_`.
    pub id: String,
    pub(crate) hash: [u8; 32],
    /// Whose it is.
    pub role: String,
    /// What it is for, as its role calls it.
    pub name: String,
    /// Where it is taken.
    pub scopes: Vec<Scope>,
    /// Who made it.
    pub created_by: String,
    /// In seconds of Unix time.
    pub created_at: i64,
    /// In seconds of Unix time.
    pub expires_at: i64,
    /// In seconds of Unix time; 0: never.
    pub(crate) last_used_at: Arc<AtomicI64>,
}

impl ApiKey {
    /// When it was used last, in seconds of Unix time; a minute may be missing after a restart.
    pub fn last_used_at(&self) -> Option<i64> {
        Some(self.last_used_at.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// It is used now.
    pub(super) fn is_used(&self, store: &Store) {
        let now = Utc::now().timestamp();
        let before = self.last_used_at.swap(now, Ordering::Relaxed);
        if now.saturating_sub(before) >= USE_IS_NOTED_EVERY {
            let (store, id) = (store.downgrade(), self.id.clone());
            tokio::spawn(async move {
                let Some(store) = store.upgrade() else { return };
                if let Err(error) = store.note_use_of_api_key(&id, now).await {
                    tracing::warn!(%error, "the use of an API key could not be noted");
                }
            });
        }
    }
}

/// A new key: its id, and all of it.
///
/// # Errors
/// XX000 if there are no random numbers.
pub(crate) fn generate() -> Result<(String, String)> {
    let id = random_text(ID_CHARS)?;
    let key = format!("{PREFIX}{id}_{}", random_text(SECRET_CHARS)?);
    Ok((id, key))
}

/// What the store has of a key.
pub(crate) fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// The id in a key; `None` if it is none.
pub(crate) fn id_of(key: &str) -> Option<&str> {
    let (id, secret) = key.strip_prefix(PREFIX)?.split_once('_')?;
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (id.len() == ID_CHARS && secret.len() == SECRET_CHARS && is_plain(id) && is_plain(secret)).then_some(id)
}

fn random_text(chars: usize) -> Result<String> {
    let random = SystemRandom::new();
    let mut text = String::with_capacity(chars);
    while text.len() < chars {
        let mut bytes = [0_u8; 64];
        random.fill(&mut bytes).map_err(|_| Error::internal("no random numbers"))?;
        // 248 is four times 62: each character is as likely as any other.
        let fair = bytes.iter().filter(|byte| **byte < 248).map(|byte| usize::from(*byte) % ALPHABET.len());
        text.extend(fair.filter_map(|i| ALPHABET.get(i)).map(|byte| char::from(*byte)).take(chars - text.len()));
    }
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn keys_are_of_one_form_and_no_two_alike() {
        let (id, key) = generate().unwrap();
        assert_eq!((id.len(), key.len()), (12, 6 + 12 + 1 + 43));
        assert_eq!(id_of(&key), Some(id.as_str()));
        assert_ne!(generate().unwrap().1, key);
        let without = key.strip_prefix(PREFIX).unwrap();
        for text in ["", "kanon_", without, &key[..key.len() - 1], &format!("{key}x"), &key.replace('_', "-")] {
            assert_eq!(id_of(text), None, "{text}");
        }
        assert_eq!(id_of(&format!("kanon_{}_{}", "é".repeat(6), "a".repeat(43))), None);
    }

    #[test]
    fn scopes_are_read_strictly() {
        assert_eq!(Scope::parse_list("flight, pg,pg").unwrap(), [Scope::Pg, Scope::Flight]);
        for text in ["", "pg,", "PG", "all", "pg flight"] {
            assert!(Scope::parse_list(text).is_err(), "{text}");
        }
    }
}
