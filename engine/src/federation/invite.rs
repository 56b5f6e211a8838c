//! Invites: how two nodes come to pin one another without anybody copying keys.
//!
//! ```text
//! inviter:  kanon.invite_node()   ─► token: where it is, its key, a secret, an end        (its store has the secret's digest alone)
//! acceptor: kanon.accept_invite() ─► TLS 1.3 with that key pinned, no certificate shown ─► acceptance, signed by its own key
//! inviter:  its secret, unused, in time? the signer's key and id free? ─► uses the invite up and pins, in one transaction ─► answers
//! acceptor: pins the inviter
//! ```
//!
//! The token is a secret: whoever has it can become a peer, once, until it ends. The acceptance goes to nobody but the holder of the key in the token, and what signed
//! it is what is pinned. Whoever shows no invite is told one thing only.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use futures::TryStreamExt as _;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::client::SiteError;
use super::connect::{self, is_untrusted};
use super::descriptor::is_node_id;
use super::identity::{Fingerprint, Identity, PublicKey};
use super::pin::Pin;
use super::ticket::CLOCK_SKEW_SECONDS;
use super::tls;
use super::wire::{describe, from_status};
use crate::config::TrustedNode;
use crate::error::{Error, Result, Sqlstate};

/// The header of Flight's handshake with which an invite is accepted: whoever is no peer yet, and no user, may call nothing else.
pub const INVITE_HEADER: &str = "x-kanon-acceptance";
/// How tokens of invites begin.
pub const PREFIX: &str = "kanon-invite_";
/// How long an invite is good for unless told, in seconds.
pub const INVITE_SECONDS: i64 = 24 * 60 * 60;
/// The longest that an invite is good for, in seconds.
pub const MAX_INVITE_SECONDS: i64 = 7 * INVITE_SECONDS;

const VERSION: u8 = 1;
const ACCEPTANCE_TYPE: &str = "kanon-acceptance+jwt";
/// How long an acceptance is good for, in seconds.
const ACCEPTANCE_SECONDS: i64 = 60;
/// Longer than any token or acceptance; what is longer is not looked at.
const MAX_BYTES: usize = 4_096;
/// The longest name of a host (RFC 1035), in bytes.
const MAX_HOST_BYTES: usize = 253;
const SECRET_BYTES: usize = 32;
/// How long the inviter may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What a token says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    v: u8,
    /// The inviter's id.
    pub id: String,
    /// The inviter's Flight endpoint, `host:port`.
    at: String,
    /// The inviter's fingerprint, in hexadecimal digits.
    key: String,
    /// When it ends, in seconds of Unix time.
    #[serde(rename = "exp")]
    pub expires_at: i64,
    /// The secret, in Base64.
    secret: String,
}

impl Invite {
    /// A new one of the node of this id, key and endpoint, and the digest of its secret.
    ///
    /// # Errors
    /// XX000 without random numbers, 55000 for an endpoint that others cannot use.
    pub fn new(id: &str, key: Fingerprint, at: &str, expires_at: i64) -> Result<(Invite, [u8; 32])> {
        place(at, key).ok_or_else(|| unusable_endpoint(at))?;
        let mut secret = [0; SECRET_BYTES];
        SystemRandom::new().fill(&mut secret).map_err(|_| Error::internal("no random numbers"))?;
        let invite = Invite {
            v: VERSION,
            id: id.to_owned(),
            at: at.to_owned(),
            key: key.to_string(),
            expires_at,
            secret: BASE64_URL_SAFE_NO_PAD.encode(secret),
        };
        Ok((invite, Sha256::digest(secret).into()))
    }

    /// Its token.
    ///
    /// # Errors
    /// XX000 if it cannot be written.
    pub fn token(&self) -> Result<String> {
        let text = serde_json::to_vec(self).map_err(Error::internal)?;
        Ok(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(text)))
    }

    /// Reads a token. Whether it is over is for the caller to look at.
    ///
    /// # Errors
    /// 22023 for whatever is not one.
    pub fn parse(token: &str) -> Result<Invite> {
        let read = |text: &str| -> Option<Invite> {
            let text = BASE64_URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
            let invite: Invite = serde_json::from_slice(&text).ok()?;
            invite.pin()?;
            let is_whole = invite.v == VERSION && is_node_id(&invite.id) && secret_of(&invite.secret).is_some();
            is_whole.then_some(invite)
        };
        let token = token.trim();
        (token.len() <= MAX_BYTES).then(|| read(token)).flatten().ok_or_else(|| {
            Error::new(Sqlstate::InvalidParameterValue, "this is not an invite of a node").hint(format!(
                "An invite begins with {PREFIX}: SELECT kanon.invite_node() at the other node makes one."
            ))
        })
    }

    /// Where the inviter is, and its key.
    pub fn pin(&self) -> Option<Pin> {
        place(&self.at, self.key.parse().ok()?)
    }
}

/// What the node that accepts says.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Acceptance {
    /// Its id.
    #[serde(rename = "iss")]
    id: String,
    /// The inviter's fingerprint, in hexadecimal digits.
    #[serde(rename = "aud")]
    audience: String,
    /// Its Flight endpoint, `host:port`.
    at: String,
    /// Its public key: 32 bytes in Base64.
    key: String,
    /// The invite's.
    secret: String,
    #[serde(rename = "iat")]
    issued_at: i64,
    #[serde(rename = "exp")]
    expires_at: i64,
}

/// An acceptance that was read: who says so is proved, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The id of the node that accepts.
    pub id: String,
    /// Where it is, and the key that signed.
    pub pin: Pin,
    /// SHA-256 of the secret that it shows.
    pub secret_hash: [u8; 32],
}

/// The acceptance of an invite by the node of this id, key and endpoint, signed.
///
/// # Errors
/// XX000 if signing fails, 55000 for an endpoint that others cannot use.
pub fn accept(invite: &Invite, id: &str, identity: &Identity, at: &str) -> Result<String> {
    place(at, identity.fingerprint).ok_or_else(|| unusable_endpoint(at))?;
    let now = chrono::Utc::now().timestamp();
    sign(
        identity,
        &Acceptance {
            id: id.to_owned(),
            audience: invite.key.clone(),
            at: at.to_owned(),
            key: BASE64_STANDARD.encode(identity.public_key.as_bytes()),
            secret: invite.secret.clone(),
            issued_at: now,
            expires_at: now + ACCEPTANCE_SECONDS,
        },
    )
}

fn sign(identity: &Identity, acceptance: &Acceptance) -> Result<String> {
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = Some(ACCEPTANCE_TYPE.to_owned());
    jsonwebtoken::encode(&header, acceptance, &identity.signing_key()).map_err(Error::internal)
}

/// Reads an acceptance that came to the node of this key.
///
/// # Errors
/// Why it is none, for the log.
pub fn read_acceptance(body: &[u8], audience: Fingerprint, now: i64) -> Result<Accepted, &'static str> {
    if body.len() > MAX_BYTES {
        return Err("an acceptance that is too long");
    }
    let unreadable = "an acceptance that cannot be read";
    let token = std::str::from_utf8(body).map_err(|_| unreadable)?;
    // The key is inside: what it signs proves that its holder speaks, and that is all that is to be proved.
    let unverified: Acceptance = jsonwebtoken::dangerous::insecure_decode(token).map_err(|_| unreadable)?.claims;
    let raw = BASE64_STANDARD.decode(&unverified.key).map_err(|_| unreadable)?;
    let key = PublicKey::from_bytes(raw.try_into().map_err(|_| unreadable)?);
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let data = jsonwebtoken::decode::<Acceptance>(token, &DecodingKey::from_ed_der(key.as_bytes()), &validation)
        .map_err(|_| "an acceptance without a valid signature")?;
    if data.header.typ.as_deref() != Some(ACCEPTANCE_TYPE) {
        return Err("a token of another kind than an acceptance");
    }
    let said = data.claims;
    if said.audience != audience.to_string() {
        return Err("an acceptance for another node");
    }
    let lifetime = said.expires_at.saturating_sub(said.issued_at);
    let is_in_time = (0..=ACCEPTANCE_SECONDS).contains(&lifetime)
        && now <= said.expires_at.saturating_add(CLOCK_SKEW_SECONDS)
        && now >= said.issued_at.saturating_sub(CLOCK_SKEW_SECONDS);
    if !is_in_time {
        return Err("an acceptance that is over, or of a clock that is wrong");
    }
    let secret = secret_of(&said.secret).ok_or(unreadable)?;
    let pin = place(&said.at, key.fingerprint()).filter(|_| is_node_id(&said.id)).ok_or(unreadable)?;
    Ok(Accepted { id: said.id, pin, secret_hash: Sha256::digest(secret).into() })
}

/// Sends an acceptance to the inviter. Only whoever holds its key gets it.
///
/// # Errors
/// 08001 if it does not answer, 28000 if what answers has another key, and what it answers.
pub async fn send(pin: &Pin, acceptance: String) -> Result<()> {
    let place = pin.authority();
    let unreachable = |why: String| {
        Error::new(Sqlstate::SiteUnreachable, format!("the node at {place} gave no answer: {why}"))
            .hint("Accept the invite again: if that node has pinned this one already, it is finished then.")
    };
    let acceptance = acceptance.parse().map_err(Error::internal)?;
    let mut service = connect::channel(pin, tls::stranger_config(pin.fingerprint)?)?;
    let asking = async {
        let mut request = tonic::Request::new(futures::stream::empty());
        request.metadata_mut().insert(INVITE_HEADER, acceptance);
        let mut answers = service.handshake(request).await?.into_inner();
        while answers.try_next().await?.is_some() {}
        Ok::<(), tonic::Status>(())
    };
    let status = match tokio::time::timeout(ANSWER_TIMEOUT, asking).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(status)) => status,
        Err(_) => return Err(unreachable("it takes too long".to_owned())),
    };
    if is_untrusted(&status) {
        return Err(Error::new(
            Sqlstate::InvalidAuthorization,
            format!("what answers at {place} has not the key of the invite"),
        )
        .hint("Ask whoever invited for the right endpoint (flight_advertise), and for another invite."));
    }
    match from_status(&status) {
        SiteError::Answered(error) => {
            Err(Error { message: format!("the node at {place}: {}", error.message), ..error })
        }
        SiteError::Unreachable(_) | SiteError::VersionMismatch(_) => Err(unreachable(describe(&status))),
    }
}

/// The one text for whoever shows no good invite.
pub fn refused() -> Error {
    Error::new(Sqlstate::InvalidAuthorization, "the invite is unknown, was used, or is over")
        .hint("Ask for another one.")
}

fn unusable_endpoint(at: &str) -> Error {
    Error::new(Sqlstate::ObjectNotInPrerequisiteState, format!("\"{at}\" is not where others can reach this node"))
        .hint("Set flight_advertise = \"host:port\" in its configuration, and start it again.")
}

/// A place and a key, if the one is `host:port` that can be connected to.
fn place(at: &str, key: Fingerprint) -> Option<Pin> {
    let node = TrustedNode::parse(&format!("{at}#sha256:{key}")).ok()?;
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let is_plain = node.host.len() <= MAX_HOST_BYTES && node.host.chars().all(is_host);
    let is_somewhere = node.host.parse::<std::net::IpAddr>().map_or(true, |address| !address.is_unspecified());
    (is_plain && is_somewhere && node.address() == at).then(|| Pin::from(&node))
}

fn secret_of(text: &str) -> Option<[u8; SECRET_BYTES]> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use crate::federation::identity;

    const NOW: i64 = 1_800_000_000;

    struct Scene {
        _dirs: [tempfile::TempDir; 2],
        inviter: Identity,
        other: Identity,
        invite: Invite,
        hash: [u8; 32],
    }

    fn scene() -> Scene {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let inviter = identity::ensure(dirs[0].path()).unwrap();
        let other = identity::ensure(dirs[1].path()).unwrap();
        let (invite, hash) = Invite::new("zurich", inviter.fingerprint, "zurich.example:50051", NOW).unwrap();
        Scene { _dirs: dirs, inviter, other, invite, hash }
    }

    impl Scene {
        fn read(&self, token: &str) -> Result<Accepted, &'static str> {
            read_acceptance(token.as_bytes(), self.inviter.fingerprint, chrono::Utc::now().timestamp())
        }
        fn changed(&self, change: impl FnOnce(&mut Acceptance)) -> String {
            let token = accept(&self.invite, "basel", &self.other, "10.0.0.2:50051").unwrap();
            let mut said: Acceptance = jsonwebtoken::dangerous::insecure_decode(&token).unwrap().claims;
            change(&mut said);
            sign(&self.other, &said).unwrap()
        }
    }

    #[test]
    fn a_token_says_where_and_whose_key() {
        let Scene { invite, inviter, .. } = scene();
        let token = invite.token().unwrap();
        assert!(token.starts_with(PREFIX) && token.len() < 500);
        let read = Invite::parse(&format!(" {token}\n")).unwrap();
        assert!(read == invite);
        let pin = read.pin().unwrap();
        assert_eq!((pin.authority().as_str(), pin.fingerprint), ("zurich.example:50051", inviter.fingerprint));
    }

    #[test]
    fn what_is_no_invite_is_refused() {
        let Scene { invite, inviter, .. } = scene();
        let token = invite.token().unwrap();
        let long = format!("{PREFIX}{}", "A".repeat(100_000));
        let of = |invite: Invite| invite.token().unwrap();
        for bad in [
            "",
            PREFIX,
            token.strip_prefix(PREFIX).unwrap(),
            &token[..token.len() - 5],
            &long,
            "kanon-invite_eyJhIjoxfQ",
            &of(Invite { v: 2, ..invite.clone() }),
            &of(Invite { id: "kanon".into(), ..invite.clone() }),
            &of(Invite { id: "a b".into(), ..invite.clone() }),
            &of(Invite { at: "zurich".into(), ..invite.clone() }),
            &of(Invite { at: "0.0.0.0:50051".into(), ..invite.clone() }),
            &of(Invite { at: "a/b:50051".into(), ..invite.clone() }),
            &of(Invite { at: format!("{}:1", "a".repeat(300)), ..invite.clone() }),
            &of(Invite { key: "00".into(), ..invite.clone() }),
            &of(Invite { secret: "AAAA".into(), ..invite.clone() }),
        ] {
            let error = Invite::parse(bad).err().unwrap_or_else(|| panic!("{bad}"));
            assert_eq!(error.state, Sqlstate::InvalidParameterValue);
            assert!(!error.message.contains("eyJ"), "a secret is not told");
        }
        for at in ["0.0.0.0:50051", "[::]:50051", "nowhere", "a:0"] {
            assert!(Invite::new("zurich", inviter.fingerprint, at, NOW).is_err(), "{at}");
        }
    }

    #[test]
    fn an_acceptance_proves_its_key() {
        let scene = scene();
        let token = accept(&scene.invite, "basel", &scene.other, "10.0.0.2:50051").unwrap();
        let accepted = scene.read(&token).unwrap();
        assert_eq!((accepted.id.as_str(), accepted.secret_hash), ("basel", scene.hash));
        assert_eq!(accepted.pin.to_string(), format!("10.0.0.2:50051#sha256:{}", scene.other.fingerprint));
    }

    #[test]
    fn acceptances_that_are_forged_over_or_astray_are_refused() {
        let scene = scene();
        for (token, why) in [
            (scene.changed(|said| said.audience = scene.other.fingerprint.to_string()), "another node"),
            (scene.changed(|said| said.expires_at = said.issued_at + 61), "is over"),
            (scene.changed(|said| (said.issued_at, said.expires_at) = (NOW - 60, NOW)), "is over"),
            (scene.changed(|said| (said.issued_at, said.expires_at) = (i64::MIN, i64::MAX)), "is over"),
            (scene.changed(|said| said.key = BASE64_STANDARD.encode(scene.inviter.public_key.as_bytes())), "signature"),
            (scene.changed(|said| said.key = "AAAA".into()), "cannot be read"),
            (scene.changed(|said| said.secret = "AAAA".into()), "cannot be read"),
            (scene.changed(|said| said.id = "pg_catalog".into()), "cannot be read"),
            (scene.changed(|said| said.at = "0.0.0.0:1".into()), "cannot be read"),
            ("a.b.c".to_owned(), "cannot be read"),
            ("x".repeat(5_000), "too long"),
        ] {
            let found = scene.read(&token).unwrap_err();
            assert!(found.contains(why), "{found}");
        }
        // Of another kind, without a signature, and with the public key as the secret of a symmetric one.
        let good = accept(&scene.invite, "basel", &scene.other, "10.0.0.2:50051").unwrap();
        let said: Acceptance = jsonwebtoken::dangerous::insecure_decode(&good).unwrap().claims;
        let plain = jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &said, &scene.other.signing_key()).unwrap();
        assert!(scene.read(&plain).unwrap_err().contains("another kind"));
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(ACCEPTANCE_TYPE.to_owned());
        let secret = jsonwebtoken::EncodingKey::from_secret(scene.other.public_key.as_bytes());
        assert!(scene.read(&jsonwebtoken::encode(&header, &said, &secret).unwrap()).is_err());
        let none = BASE64_URL_SAFE_NO_PAD.encode(br#"{"typ":"kanon-acceptance+jwt","alg":"none"}"#);
        let payload = good.split('.').nth(1).unwrap();
        assert!(scene.read(&format!("{none}.{payload}.")).is_err());
    }
}
