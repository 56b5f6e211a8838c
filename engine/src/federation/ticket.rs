//! The signed statement of who asks what of whom, sent with every subplan.
//!
//! A ticket is a JWT (EdDSA) of the coordinator's node key. It names one user, one site, one text and one moment: a site
//! that receives it can send it to nobody else, cannot run another text under it, and takes it once. The site verifies it
//! with the key of the connection it came over, so a ticket that was stolen is worth nothing without the coordinator's key.

use chrono::Utc;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use kanon_planner::facts::SiteId;
use kanon_privacy::budget::{Delta, Epsilon};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::client::Asked;
use super::identity::{Fingerprint, Identity, PublicKey};
use crate::error::{Error, Result, Sqlstate};

/// The longest a ticket is valid, in seconds.
pub const MAX_TICKET_SECONDS: i64 = 60;
/// How far the clocks of two nodes may be apart, in seconds.
pub const CLOCK_SKEW_SECONDS: i64 = 60;

const TICKET_TYPE: &str = "kanon-ticket+jwt";
/// Longer than any ticket; what is longer is not looked at.
const MAX_TICKET_BYTES: usize = 32 * 1024;

/// What a ticket says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TicketClaims {
    /// The coordinator: the node that knows the user.
    #[serde(rename = "iss")]
    pub home_node: String,
    /// The one site that may take it.
    #[serde(rename = "aud")]
    pub audience: String,
    /// The key of that site, in hexadecimal digits: names can be taken by others.
    pub audience_key: String,
    /// The user's name at its home node.
    #[serde(rename = "sub")]
    pub user: String,
    /// The user's roles there, for the site's log; the site grants by its own.
    pub roles: Vec<String>,
    /// SHA-256 of the subplan's text, in hexadecimal digits.
    pub digest: String,
    /// All sites asked the same question.
    pub participants: Vec<String>,
    /// The fewest sites whose answers will be merged.
    pub min_sites: u32,
    /// ε: the most that the site may spend on it, where access is private.
    pub epsilon: Option<Epsilon>,
    /// δ: the most that the site may spend on it, where access is private.
    pub delta: Option<Delta>,
    /// When it was issued, in seconds of Unix time.
    #[serde(rename = "iat")]
    pub issued_at: i64,
    /// When it ends, in seconds of Unix time.
    #[serde(rename = "exp")]
    pub expires_at: i64,
    /// Its nonce.
    #[serde(rename = "jti")]
    pub nonce: String,
}

impl TicketClaims {
    /// What the site may spend on it.
    pub fn asked(&self) -> Option<Asked> {
        Some(Asked { epsilon: self.epsilon?, delta: self.delta? })
    }

    /// Until when its nonce must be remembered, in seconds of Unix time.
    pub fn remember_until(&self) -> i64 {
        self.expires_at.saturating_add(CLOCK_SKEW_SECONDS).saturating_add(1)
    }
}

/// What a coordinator asks for.
#[derive(Debug, Clone)]
pub struct TicketRequest<'a> {
    /// This node's id.
    pub home_node: &'a SiteId,
    /// The site that is asked.
    pub audience: &'a SiteId,
    /// Its key.
    pub audience_key: Fingerprint,
    /// Who asks.
    pub user: &'a str,
    /// With which roles at home.
    pub roles: Vec<String>,
    /// The subplan.
    pub sql: &'a str,
    /// All sites that are asked.
    pub participants: &'a [SiteId],
    /// The fewest sites whose answers will be merged.
    pub min_sites: usize,
    /// What may be spent.
    pub asked: Option<Asked>,
    /// How long the ticket is good for, in seconds; at most [`MAX_TICKET_SECONDS`].
    pub valid_seconds: i64,
}

/// Signs a ticket with the node's key.
///
/// # Errors
/// XX000 if signing fails.
pub fn issue(identity: &Identity, request: &TicketRequest<'_>) -> Result<String> {
    let now = Utc::now().timestamp();
    let claims = TicketClaims {
        home_node: request.home_node.to_string(),
        audience: request.audience.to_string(),
        audience_key: request.audience_key.to_string(),
        user: request.user.to_owned(),
        roles: request.roles.clone(),
        digest: digest(request.sql),
        participants: request.participants.iter().map(SiteId::to_string).collect(),
        min_sites: u32::try_from(request.min_sites).unwrap_or(u32::MAX),
        epsilon: request.asked.map(|asked| asked.epsilon),
        delta: request.asked.map(|asked| asked.delta),
        issued_at: now,
        expires_at: now + request.valid_seconds.clamp(1, MAX_TICKET_SECONDS),
        nonce: uuid::Uuid::new_v4().simple().to_string(),
    };
    sign(identity, &claims)
}

fn sign(identity: &Identity, claims: &TicketClaims) -> Result<String> {
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = Some(TICKET_TYPE.to_owned());
    jsonwebtoken::encode(&header, claims, &identity.signing_key()).map_err(Error::internal)
}

/// Who a ticket must be for: this node.
#[derive(Debug, Clone)]
pub struct Audience<'a> {
    /// This node's id.
    pub site: &'a SiteId,
    /// This node's key.
    pub key: Fingerprint,
}

/// Verifies a ticket that came over a connection of the key `peer_key`, for the text `sql`. The caller must then see to it
/// that the nonce is new (`Federation::admit` does all of it).
///
/// # Errors
/// 28000, with the reason: the coordinator's operator needs it (clocks, versions), and it says nothing about data.
pub fn verify(token: &str, sql: &str, peer_key: PublicKey, audience: &Audience<'_>) -> Result<TicketClaims> {
    verify_at(token, sql, peer_key, audience, Utc::now().timestamp())
}

fn verify_at(token: &str, sql: &str, peer_key: PublicKey, audience: &Audience<'_>, now: i64) -> Result<TicketClaims> {
    let claims = read(token, peer_key)?;
    if claims.audience != audience.site.as_str() || claims.audience_key != audience.key.to_string() {
        return Err(refused("is for another site"));
    }
    if claims.digest != digest(sql) {
        return Err(refused("is for another statement"));
    }
    if claims.user.is_empty() || claims.home_node.is_empty() || claims.nonce.len() < 16 || claims.nonce.len() > 128 {
        return Err(refused("is incomplete"));
    }
    let lifetime = claims.expires_at.saturating_sub(claims.issued_at);
    if !(0..=MAX_TICKET_SECONDS).contains(&lifetime) {
        return Err(refused("is valid for longer than 60 seconds"));
    }
    if now > claims.expires_at.saturating_add(CLOCK_SKEW_SECONDS) {
        return Err(refused("has expired").hint("Check the clocks of both nodes."));
    }
    if now < claims.issued_at.saturating_sub(CLOCK_SKEW_SECONDS) {
        return Err(refused("is not valid yet").hint("Check the clocks of both nodes."));
    }
    Ok(claims)
}

fn read(token: &str, peer_key: PublicKey) -> Result<TicketClaims> {
    if token.len() > MAX_TICKET_BYTES {
        return Err(refused("is too long"));
    }
    let mut validation = Validation::new(Algorithm::EdDSA);
    // Times, audience and type are checked by us, with messages of ours.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let key = DecodingKey::from_ed_der(peer_key.as_bytes());
    let data = jsonwebtoken::decode::<TicketClaims>(token, &key, &validation)
        .map_err(|_| refused("has no valid signature of the peer"))?;
    if data.header.typ.as_deref() != Some(TICKET_TYPE) {
        return Err(refused("is a token of another kind"));
    }
    Ok(data.claims)
}

fn digest(sql: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(sql.as_bytes()).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A ticket that is not taken, and why.
pub(super) fn refused(why: &str) -> Error {
    Error::new(Sqlstate::InvalidAuthorization, format!("the ticket {why}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use crate::federation::identity;

    const SQL: &str = "SELECT count(*) FROM public.patients";

    struct Scene {
        _dirs: [tempfile::TempDir; 2],
        coordinator: Identity,
        site: Identity,
        names: [SiteId; 2],
    }

    fn scene() -> Scene {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let coordinator = identity::ensure(dirs[0].path()).unwrap();
        let site = identity::ensure(dirs[1].path()).unwrap();
        Scene { _dirs: dirs, coordinator, site, names: [SiteId::new("cleveland"), SiteId::new("zurich")] }
    }

    impl Scene {
        fn request(&self) -> TicketRequest<'_> {
            TicketRequest {
                home_node: &self.names[0],
                audience: &self.names[1],
                audience_key: self.site.fingerprint,
                user: "alice",
                roles: vec!["analyst".to_owned()],
                sql: SQL,
                participants: &self.names,
                min_sites: 2,
                asked: None,
                valid_seconds: 30,
            }
        }
        fn audience(&self) -> Audience<'_> {
            Audience { site: &self.names[1], key: self.site.fingerprint }
        }
        fn verify(&self, token: &str, sql: &str) -> Result<TicketClaims> {
            verify(token, sql, self.coordinator.public_key, &self.audience())
        }
        fn changed(&self, change: impl FnOnce(&mut TicketClaims)) -> String {
            let token = issue(&self.coordinator, &self.request()).unwrap();
            let mut claims = self.verify(&token, SQL).unwrap();
            change(&mut claims);
            sign(&self.coordinator, &claims).unwrap()
        }
    }

    fn reason(result: Result<TicketClaims>) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.state, Sqlstate::InvalidAuthorization);
        error.message
    }

    #[test]
    fn a_good_ticket_says_who_asks_what() {
        let scene = scene();
        let token = issue(&scene.coordinator, &scene.request()).unwrap();
        let claims = scene.verify(&token, SQL).unwrap();
        assert_eq!((claims.user.as_str(), claims.home_node.as_str(), claims.min_sites), ("alice", "cleveland", 2));
        assert_eq!(claims.participants, ["cleveland", "zurich"]);
        assert!(claims.remember_until() > claims.expires_at + CLOCK_SKEW_SECONDS);
    }

    #[test]
    fn another_statement_or_site_is_refused() {
        let scene = scene();
        let token = issue(&scene.coordinator, &scene.request()).unwrap();
        assert!(reason(scene.verify(&token, "SELECT * FROM public.patients")).contains("another statement"));
        let elsewhere = SiteId::new("budapest");
        let audience = Audience { site: &elsewhere, key: scene.site.fingerprint };
        assert!(reason(verify(&token, SQL, scene.coordinator.public_key, &audience)).contains("another site"));
        // A site that took the name of the one that was meant has not its key.
        let audience = Audience { site: &scene.names[1], key: scene.coordinator.fingerprint };
        assert!(reason(verify(&token, SQL, scene.coordinator.public_key, &audience)).contains("another site"));
    }

    #[test]
    fn signatures_of_others_are_refused() {
        let scene = scene();
        let token = issue(&scene.site, &scene.request()).unwrap();
        assert!(reason(scene.verify(&token, SQL)).contains("signature"));
        // Changed after it was signed.
        let token = issue(&scene.coordinator, &scene.request()).unwrap();
        let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        let other = scene.changed(|claims| claims.user = "mallory".to_owned());
        parts[1] = other.split('.').nth(1).unwrap().to_owned();
        assert!(reason(scene.verify(&parts.join("."), SQL)).contains("signature"));
        // "No algorithm", and a symmetric one with the public key as its secret.
        use base64::Engine as _;
        let none = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(br#"{"typ":"kanon-ticket+jwt","alg":"none"}"#);
        assert!(reason(scene.verify(&format!("{none}.{}.", parts[1]), SQL)).contains("signature"));
        let claims = scene.verify(&token, SQL).unwrap();
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TICKET_TYPE.to_owned());
        let secret = jsonwebtoken::EncodingKey::from_secret(scene.coordinator.public_key.as_bytes());
        let confused = jsonwebtoken::encode(&header, &claims, &secret).unwrap();
        assert!(reason(scene.verify(&confused, SQL)).contains("signature"));
        for garbage in ["", ".", "..", "a.b.c", &"x".repeat(100_000)] {
            scene.verify(garbage, SQL).unwrap_err();
        }
    }

    #[test]
    fn times_are_bounded_with_a_minute_for_clocks() {
        let scene = scene();
        let now = Utc::now().timestamp();
        let at = |token: &str, when: i64| verify_at(token, SQL, scene.coordinator.public_key, &scene.audience(), when);
        let token = issue(&scene.coordinator, &scene.request()).unwrap();
        at(&token, now + 30 + 59).unwrap();
        at(&token, now - 59).unwrap();
        assert!(reason(at(&token, now + 30 + 63)).contains("expired"));
        assert!(reason(at(&token, now - 63)).contains("not valid yet"));
        let long = scene.changed(|claims| claims.expires_at = claims.issued_at + 61);
        assert!(reason(scene.verify(&long, SQL)).contains("longer"));
        let backwards = scene.changed(|claims| claims.expires_at = claims.issued_at - 1);
        assert!(scene.verify(&backwards, SQL).is_err());
        let extreme = scene.changed(|claims| (claims.issued_at, claims.expires_at) = (i64::MIN, i64::MAX));
        assert!(scene.verify(&extreme, SQL).is_err());
    }

    #[test]
    fn tokens_of_another_kind_are_refused() {
        let scene = scene();
        let token = issue(&scene.coordinator, &scene.request()).unwrap();
        let claims = scene.verify(&token, SQL).unwrap();
        let other =
            jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &scene.coordinator.signing_key()).unwrap();
        assert!(reason(scene.verify(&other, SQL)).contains("another kind"));
    }

    #[test]
    fn whatever_is_asked_a_ticket_ends_within_a_minute() {
        let scene = scene();
        let mut request = scene.request();
        request.valid_seconds = 10_000;
        let claims = scene.verify(&issue(&scene.coordinator, &request).unwrap(), SQL).unwrap();
        assert_eq!(claims.expires_at - claims.issued_at, MAX_TICKET_SECONDS);
    }
}
