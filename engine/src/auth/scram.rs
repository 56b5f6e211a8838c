//! Passwords as PostgreSQL keeps them: SCRAM-SHA-256 verifiers, RFC 5802 and RFC 7677. A password is never stored and never logged.

use std::borrow::Cow;
use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};

use crate::error::{Error, Result, Sqlstate};
use crate::store::Store;

/// PostgreSQL's own number of iterations.
const ITERATIONS: u32 = 4096;
/// More than this in a verifier would let it be used to keep a node busy.
const MAX_ITERATIONS: u32 = 100_000;
const SALT_BYTES: usize = 16;
/// The longest password, in bytes.
pub(super) const MAX_PASSWORD_BYTES: usize = 1024;

/// What a server keeps of a password: it can check one, and prove that it knows it, and not log in with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    /// Iterations of PBKDF2.
    pub iterations: u32,
    /// The salt.
    pub salt: Vec<u8>,
    /// SHA-256 of the client key.
    pub stored_key: [u8; 32],
    /// The server key.
    pub server_key: [u8; 32],
}

impl ScramVerifier {
    /// Of a password, with this salt.
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> ScramVerifier {
        let salted = salted_password(password, salt, iterations);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
        let client_key = hmac::sign(&key, b"Client Key");
        ScramVerifier {
            iterations,
            salt: salt.to_vec(),
            stored_key: to_32(digest::digest(&digest::SHA256, client_key.as_ref()).as_ref()),
            server_key: to_32(hmac::sign(&key, b"Server Key").as_ref()),
        }
    }

    /// Reads `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`; `None` if it is not one.
    pub fn parse(text: &str) -> Option<ScramVerifier> {
        let (head, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
        let (iterations, salt) = head.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let iterations = iterations.parse().ok().filter(|n| (1..=MAX_ITERATIONS).contains(n))?;
        let salt = BASE64.decode(salt).ok().filter(|salt| !salt.is_empty())?;
        let key = |text: &str| <[u8; 32]>::try_from(BASE64.decode(text).ok()?).ok();
        Some(ScramVerifier { iterations, salt, stored_key: key(stored_key)?, server_key: key(server_key)? })
    }

    /// As PostgreSQL stores it.
    pub fn to_text(&self) -> String {
        format!(
            "SCRAM-SHA-256${}:{}${}:{}",
            self.iterations,
            BASE64.encode(&self.salt),
            BASE64.encode(self.stored_key),
            BASE64.encode(self.server_key)
        )
    }

    /// Whether a password is the one, in a time that does not tell how nearly.
    pub fn verify(&self, password: &str) -> bool {
        let of_password = ScramVerifier::derive(password, &self.salt, self.iterations);
        same_bytes(&of_password.stored_key, &self.stored_key)
    }
}

/// SCRAM's `SaltedPassword`.
///
/// As PostgreSQL does, a password is prepared with SASLprep (RFC 4013) first, as clients do too, and is used as it is if it cannot be.
pub fn salted_password(password: &str, salt: &[u8], iterations: u32) -> [u8; 32] {
    let mut out = [0u8; 32];
    let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
    let prepared = stringprep::saslprep(password).ok().filter(|prepared| !prepared.is_empty());
    let prepared = prepared.unwrap_or(Cow::Borrowed(password));
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, prepared.as_bytes(), &mut out);
    out
}

/// A new verifier for a password, or, if it is one already (as `pg_dumpall` writes them), itself.
///
/// # Errors
/// 22023 for an empty password or one of more than 1,024 bytes.
pub fn verifier_for(password: &str) -> Result<String> {
    if ScramVerifier::parse(password).is_some() {
        return Ok(password.to_owned());
    }
    if password.is_empty() {
        return Err(Error::new(Sqlstate::InvalidParameterValue, "a password cannot be empty"));
    }
    if password.len() > MAX_PASSWORD_BYTES || password.contains('\0') {
        return Err(Error::new(
            Sqlstate::InvalidParameterValue,
            "a password has at most 1024 bytes, none of them zero",
        ));
    }
    let mut salt = [0u8; SALT_BYTES];
    SystemRandom::new().fill(&mut salt).map_err(|_| Error::internal("no random numbers"))?;
    Ok(ScramVerifier::derive(password, &salt, ITERATIONS).to_text())
}

/// Whether a password is the one of a stored verifier.
pub fn verify_password(verifier: &str, password: &str) -> bool {
    ScramVerifier::parse(verifier).is_some_and(|verifier| verifier.verify(password))
}

/// The secret of a node that mock verifiers are made with.
///
/// # Errors
/// If the store fails.
pub(super) async fn mock_secret(store: &Store) -> Result<Vec<u8>> {
    store
        .setting_or_insert("mock_authentication_secret", || {
            let mut secret = vec![0u8; 32];
            SystemRandom::new().fill(&mut secret).map_err(|_| Error::internal("no random numbers"))?;
            Ok(secret)
        })
        .await
}

/// The verifier to run SCRAM with for a role, and whether it is the role's own.
///
/// For a role that does not exist or has no password it is a mock one: its salt is the same each time (it comes from a secret of the node) and no password fits it. That of
/// a role that is locked, suspended or may not log in has the role's own salt, and no password fits it. Each takes the same work, in memory; callers must not tell them apart
/// before the exchange has failed.
pub(super) fn verifier_of(store: &Store, secret: &[u8], role: &str, is_locked: bool) -> (ScramVerifier, bool) {
    let mock = mock_verifier(secret, role);
    let may_log_in = store.directory().all().get(role).is_some_and(|info| info.login);
    match store.verifier(role).as_deref().and_then(ScramVerifier::parse) {
        Some(own) if is_locked || !may_log_in => {
            (ScramVerifier { iterations: own.iterations, salt: own.salt, ..mock }, false)
        }
        Some(own) => (own, true),
        None => (mock, false),
    }
}

fn mock_verifier(secret: &[u8], role: &str) -> ScramVerifier {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let part = |label: &str| {
        let mut context = hmac::Context::with_key(&key);
        context.update(label.as_bytes());
        context.update(role.as_bytes());
        to_32(context.sign().as_ref())
    };
    ScramVerifier {
        iterations: ITERATIONS,
        salt: part("salt ").into_iter().take(SALT_BYTES).collect(),
        stored_key: part("stored "),
        server_key: part("server "),
    }
}

fn to_32(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0u8; 32];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}

/// Compares without stopping at the first difference.
fn same_bytes(a: &[u8; 32], b: &[u8; 32]) -> bool {
    // A MAC under a key that nobody has: how long the comparison of two takes tells nothing of what was compared.
    let mut key = [0u8; 32];
    if SystemRandom::new().fill(&mut key).is_err() {
        return false;
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    hmac::verify(&key, a, hmac::sign(&key, b).as_ref()).is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    #[test]
    fn derives_as_the_rfc_does() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = ScramVerifier::derive("pencil", &salt, 4096);
        let auth_message = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                            s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &verifier.server_key), auth_message.as_bytes());
        assert_eq!(BASE64.encode(signature.as_ref()), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    /// What people type one way on one keyboard and another way on the next.
    #[test]
    fn passwords_are_prepared_as_clients_prepare_them() {
        for (one, other) in [
            ("Zo\u{eb}", "Zoe\u{308}"),
            ("\u{2168}", "IX"),
            ("a\u{a0}b", "a b"),
            ("I\u{ad}X", "IX"),
            ("\u{fb01}", "fi"),
        ] {
            assert!(verify_password(&verifier_for(one).unwrap(), other), "{one:?} {other:?}");
            assert!(verify_password(&verifier_for(other).unwrap(), one), "{one:?} {other:?}");
        }
        // Not to be prepared, and used as they are.
        for odd in ["a\u{7}b", "\u{627}1", "\u{e000}", "\u{ad}"] {
            assert!(verify_password(&verifier_for(odd).unwrap(), odd), "{odd:?}");
            assert!(!verify_password(&verifier_for(odd).unwrap(), "a b"), "{odd:?}");
        }
    }

    #[test]
    fn a_verifier_fits_its_password_only_and_never_holds_it() {
        let text = verifier_for("hunter2 hunter2").unwrap();
        assert!(text.starts_with("SCRAM-SHA-256$4096:"));
        assert!(!text.contains("hunter2"));
        assert!(verify_password(&text, "hunter2 hunter2"));
        assert!(!verify_password(&text, "hunter2 hunter"));
        assert!(!verify_password(&text, ""));
        assert_ne!(text, verifier_for("hunter2 hunter2").unwrap(), "salted");
        assert_eq!(verifier_for(&text).unwrap(), text, "a verifier is taken as it is");
        assert_eq!(ScramVerifier::parse(&text).unwrap().to_text(), text);
    }

    #[test]
    fn what_is_not_a_verifier_fits_nothing() {
        for text in [
            "",
            "pencil",
            "SCRAM-SHA-256$",
            "SCRAM-SHA-256$0:AA==$AA==:AA==",
            "SCRAM-SHA-256$99999999:AAAA$AA==:AA==",
            "md5abc",
        ] {
            assert!(ScramVerifier::parse(text).is_none(), "{text}");
            assert!(!verify_password(text, text));
        }
        assert!(verifier_for("").is_err());
        assert!(verifier_for(&"x".repeat(2000)).is_err());
    }

    #[test]
    fn a_mock_verifier_is_stable_and_its_own() {
        let a = mock_verifier(b"secret", "alice");
        assert_eq!(a, mock_verifier(b"secret", "alice"));
        assert_ne!(a.salt, mock_verifier(b"secret", "bob").salt);
        assert_ne!(a.salt, mock_verifier(b"other", "alice").salt);
        assert_eq!((a.iterations, a.salt.len()), (4096, 16));
    }
}
