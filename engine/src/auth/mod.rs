//! Ways in: who somebody is that comes to this node, and whether it still may be here.
//!
//! ```text
//! SCRAM exchange (Postgres) ─► Authenticator::scram ──┐
//! Basic (Flight SQL) ────────► Authenticator::password ┼─► Principal ─► Session;   standing: ended once role, key, token or certificate is
//! bearer, user "token" ──────► Authenticator::bearer ──┤
//! handshake of TLS ──────────► Authenticator::certificate
//!                               API keys, tokens of this node ([`tokens`]) and of the institution's issuer ([`oidc`]), certificates ([`certificates`])
//! ```
//!
//! Whoever fails to log in is told the same, after the same work, whether the role does not exist, may not log in, has no password, has another one, or is locked out
//! ([`lockout`]). A key or token that is not taken has one text too, whatever was wrong with it.

pub(crate) mod api_keys;
mod certificates;
mod lockout;
pub(crate) mod oidc;
mod scram;
mod standing;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]
mod testing;
pub(crate) mod tokens;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use kanon_planner::facts::SiteId;
use rustls_pki_types::CertificateDer;
use tokio::sync::Semaphore;

pub use api_keys::Scope;
pub use certificates::{CertificateName, Holder, ShownCertificate, holder};
pub use oidc::{OidcSettings, count_keys};
pub use scram::{ScramVerifier, salted_password, verifier_for, verify_password};
pub(crate) use standing::keep;

use crate::audit::AuditLog;
use crate::config::Config;
use crate::error::{Error, Result, Sqlstate};
use crate::principal::{AuthMethod, BuiltinRole, Credential, PasswordMark, Principal};
use crate::store::{Identity, Store, Subject};
use crate::tls::ListenerTls;
use lockout::Lockout;
use oidc::Oidc;
use tokens::TokenKeys;

/// The user name that stands for the role of the token or key that is given as the password.
pub const TOKEN_USER: &str = "token";

/// Lets in who may come in. One for a node.
pub struct Authenticator {
    store: Store,
    home: SiteId,
    lockout: Lockout,
    mock_secret: Vec<u8>,
    /// The right to check a password, which takes milliseconds of a processor.
    deriving: Semaphore,
    pub(crate) token_keys: TokenKeys,
    /// How long tokens are valid unless less or more is asked for.
    pub(crate) token_lifetime: Duration,
    /// The institution's issuer of tokens, if the configuration names one.
    pub(crate) oidc: Option<Oidc>,
    audit: AuditLog,
    tls: Arc<ListenerTls>,
}

impl Authenticator {
    /// Of a node, whose keys for tokens are read or made.
    ///
    /// # Errors
    /// 58000 if the keys cannot be used, or the TLS of the issuer; if the store fails.
    pub(crate) async fn start(
        config: &Config,
        store: &Store,
        audit: &AuditLog,
        tls: &Arc<ListenerTls>,
    ) -> Result<Authenticator> {
        Ok(Authenticator {
            store: store.clone(),
            home: SiteId::new(config.node_id.clone()),
            lockout: Lockout::default(),
            mock_secret: scram::mock_secret(store).await?,
            deriving: Semaphore::new(std::thread::available_parallelism().map_or(1, NonZeroUsize::get)),
            token_keys: TokenKeys::of_folder(&config.dir, &config.node_id)?,
            token_lifetime: config.access_token_expire,
            oidc: config.oidc.as_ref().map(Oidc::of).transpose()?,
            audit: audit.clone(),
            tls: Arc::clone(tls),
        })
    }

    /// The verifier to run SCRAM with for a role, and its principal if that is the role's own: callers must not tell the two apart before the exchange has failed.
    ///
    /// # Errors
    /// 28P01 if the role is gone in this very moment.
    pub fn scram(&self, role: &str, from: IpAddr) -> Result<(ScramVerifier, Option<Principal>)> {
        let is_locked = self.lockout.is_locked(role, from);
        // Looked at before the verifier: one that is newer only ends the session.
        let set_at = self.store.directory().all().get(role).map_or(0, |info| info.password_set_at);
        let (verifier, own) = scram::verifier_of(&self.store, &self.mock_secret, role, is_locked);
        let shown = Some(Credential::Password(PasswordMark::set_at(set_at)));
        let principal = own.then(|| self.principal(role, AuthMethod::ScramSha256, shown)).transpose()?;
        Ok((verifier, principal))
    }

    /// The principal of a role with this password (Flight Basic, the HTTP interface). [`Authenticator::failed`] is not to be told of it.
    ///
    /// # Errors
    /// 28P01 with one text, whatever was wrong.
    pub async fn password(&self, role: &str, password: &str, from: IpAddr) -> Result<Principal> {
        let (verifier, principal) = self.scram(role, from)?;
        let password = if password.len() <= scram::MAX_PASSWORD_BYTES { password } else { "" };
        // Derivation takes milliseconds: not on a thread that others wait for.
        let password = password.to_owned();
        let _turn = self.deriving.acquire().await.map_err(Error::internal)?;
        let fits = tokio::task::spawn_blocking(move || verifier.verify(&password)).await.map_err(Error::internal)?;
        match principal.filter(|_| fits && self.lockout.succeeded(role, from)) {
            Some(principal) => Ok(Principal { auth_method: AuthMethod::Password, ..principal }),
            None => {
                self.failed(role, from);
                Err(password_failed(role))
            }
        }
    }

    /// A password was wrong.
    pub fn failed(&self, role: &str, from: IpAddr) {
        self.lockout.failed(role, from);
    }

    /// A password was right.
    ///
    /// # Errors
    /// 28P01 if it does not count: the role was locked while it was tried.
    pub fn succeeded(&self, role: &str, from: IpAddr) -> Result<()> {
        if self.lockout.succeeded(role, from) { Ok(()) } else { Err(password_failed(role)) }
    }

    /// The principal of an API key or of a token, shown to a listener.
    ///
    /// # Errors
    /// 28000 with one text, whatever was wrong.
    pub async fn bearer(&self, shown: &str, scope: Scope) -> Result<Principal> {
        let found = if shown.starts_with(api_keys::PREFIX) {
            self.store.directory().api_key(shown, scope, Utc::now().timestamp()).map(|key| {
                key.is_used(&self.store);
                (key.role.clone(), AuthMethod::ApiKey, Credential::ApiKey { id: key.id.clone() })
            })
        } else if let Some(claims) = self.token_keys.read(shown) {
            self.is_valid(&claims).then(|| {
                let credential =
                    Credential::Token { id: claims.id, issued_at: claims.issued_at, expires_at: claims.expires_at };
                (claims.role, AuthMethod::Token, credential)
            })
        } else if let Some(oidc) = &self.oidc {
            self.visitor(oidc, shown)
                .await
                .inspect_err(|why| {
                    // For the operator only. Of the token, nothing.
                    tracing::info!(issuer = %oidc.settings.issuer, why, "a token was not taken");
                })
                .ok()
        } else {
            None
        };
        let (role, method, credential) = found.ok_or_else(not_taken)?;
        self.principal(&role, method, Some(credential)).map_err(|_| not_taken())
    }

    /// Who a token of the institution's issuer is of, with the roles that it gives; otherwise why it is not taken.
    async fn visitor(&self, oidc: &Oidc, token: &str) -> Result<(String, AuthMethod, Credential), String> {
        let visitor = oidc.read(token, Utc::now().timestamp()).await?;
        let subject = Subject { issuer: oidc.settings.issuer.clone(), subject: visitor.subject.clone() };
        let directory = self.store.directory();
        if directory.identity(&subject).is_some_and(|identity| visitor.issued_at <= identity.tokens_from) {
            return Err("tokens of its subject were revoked".to_owned());
        }
        let welcomed = self
            .store
            .welcome(&subject.issuer, &visitor, &oidc.settings.managed())
            .await
            .map_err(|error| error.message)?;
        self.audit.welcomed(&self.home, &subject, &welcomed).await.map_err(|error| error.message)?;
        let credential = Credential::Identity {
            subject,
            token_id: visitor.token_id,
            issued_at: visitor.issued_at,
            expires_at: visitor.expires_at,
        };
        Ok((welcomed.role, AuthMethod::Oidc, credential))
    }

    /// The principal of a certificate that was shown in a handshake, which has proved that the client has its key: `chain` is the client's own first. Of the roles that the
    /// certificate's names are mapped to it is the one that is wanted, or the only one if none is. `None` if it is nobody's.
    pub fn certificate(&self, chain: &[CertificateDer<'_>], wanted: Option<&str>) -> Option<Principal> {
        let present = self.tls.present();
        let certificate = chain.first().filter(|_| self.tls.takes(&present, chain))?;
        let holder = holder(certificate)?;
        let directory = self.store.directory();
        let mut found: Option<(CertificateName, String)> = None;
        for name in holder.names {
            let Some(role) = directory.role_of_certificate(&name) else { continue };
            match (&found, wanted) {
                (_, Some(wanted)) if role != wanted => {}
                // Who of them it is to be was not said.
                (Some((_, other)), None) if *other != role => return None,
                _ => found = Some((name, role)),
            }
        }
        let (name, role) = found?;
        let now = Utc::now().timestamp();
        let shown = ShownCertificate::new(name, holder.expires_at, chain, present.number, now);
        self.principal(&role, AuthMethod::Certificate, Some(Credential::Certificate(Arc::new(shown)))).ok()
    }

    fn is_valid(&self, claims: &tokens::TokenClaims) -> bool {
        let directory = self.store.directory().all();
        directory.get(&claims.role).is_some_and(|role| claims.issued_at > role.tokens_from)
    }

    /// The principal of a role that proved who it is.
    ///
    /// # Errors
    /// 28P01 if there is no such role, or it may not log in.
    fn principal(&self, role: &str, method: AuthMethod, credential: Option<Credential>) -> Result<Principal> {
        let principal = load_principal(&self.store, &self.home, role, method)?;
        Ok(Principal { credential, ..principal })
    }

    /// Whether somebody that was let in would still be.
    pub fn stands(&self, principal: &Principal) -> bool {
        if principal.via_peer.is_some() || principal.auth_method == AuthMethod::Local {
            return true;
        }
        let directory = self.store.directory();
        let roles = directory.all();
        let Some(role) = roles.get(&principal.name).filter(|role| role.login) else { return false };
        let now = Utc::now().timestamp();
        match &principal.credential {
            None => true,
            Some(Credential::Password(mark)) => role.has_password && mark.get() >= role.password_set_at,
            Some(Credential::ApiKey { id }) => directory.has_api_key(id, now),
            Some(Credential::Token { issued_at, expires_at, .. }) => *issued_at > role.tokens_from && now < *expires_at,
            Some(Credential::Identity { subject, issued_at, expires_at, .. }) => {
                let is_still =
                    |identity: Identity| identity.role == principal.name && *issued_at > identity.tokens_from;
                directory.identity(subject).is_some_and(is_still) && now < *expires_at
            }
            Some(Credential::Certificate(shown)) => {
                now <= shown.expires_at
                    && directory.role_of_certificate(&shown.name).is_some_and(|role| role == principal.name)
                    && shown.is_good(&self.tls, now)
            }
        }
    }
}

/// The principal of a role.
///
/// # Errors
/// 28P01 if there is no such role, or it may not log in.
pub fn load_principal(store: &Store, home: &SiteId, role: &str, method: AuthMethod) -> Result<Principal> {
    let may_log_in = store.directory().all().get(role).is_some_and(|info| info.login);
    if !may_log_in {
        return Err(password_failed(role));
    }
    Ok(Principal {
        name: role.to_owned(),
        roles: store.directory().builtin_roles(role),
        home_node: home.clone(),
        auth_method: method,
        credential: None,
        via_peer: None,
        told_roles: BTreeSet::new(),
    })
}

/// The principal of a role of a peer, whose ticket was verified: with the built-in roles that `role@peer` was granted here, and those that the ticket tells.
pub fn peer_principal(store: &Store, peer: &SiteId, role: &str, told: &[String]) -> Principal {
    Principal {
        name: role.to_owned(),
        roles: store.directory().builtin_roles(&format!("{role}@{peer}")),
        home_node: peer.clone(),
        auth_method: AuthMethod::PeerTicket,
        credential: None,
        via_peer: Some(peer.clone()),
        told_roles: told.iter().filter_map(|role| BuiltinRole::parse(role)).collect(),
    }
}

/// The one text for a login that failed, which is PostgreSQL's.
pub fn password_failed(role: &str) -> Error {
    Error::new(Sqlstate::InvalidPassword, format!("password authentication failed for user \"{role}\""))
}

/// The one text for a key or token that is not taken.
pub fn not_taken() -> Error {
    Error::new(Sqlstate::InvalidAuthorization, "the token is unknown or has expired").hint("Log in again.")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests;
