//! Who asks.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kanon_planner::facts::SiteId;

use crate::auth::ShownCertificate;
use crate::error::{Error, Result, Sqlstate};
use crate::store::Subject;

/// The built-in roles a role can be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BuiltinRole {
    /// Asks questions.
    Analyst,
    /// Registers data, sets policies, grants SELECT.
    Steward,
    /// Reads the audit log.
    Auditor,
    /// Runs the node.
    Operator,
    /// Manages roles; has all of the others.
    Admin,
}

impl BuiltinRole {
    /// All of them.
    pub const ALL: [BuiltinRole; 5] =
        [BuiltinRole::Analyst, BuiltinRole::Steward, BuiltinRole::Auditor, BuiltinRole::Operator, BuiltinRole::Admin];
    /// Its name in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            BuiltinRole::Analyst => "analyst",
            BuiltinRole::Steward => "steward",
            BuiltinRole::Auditor => "auditor",
            BuiltinRole::Operator => "operator",
            BuiltinRole::Admin => "admin",
        }
    }
    /// The role of a name.
    pub fn parse(name: &str) -> Option<BuiltinRole> {
        BuiltinRole::ALL.into_iter().find(|r| r.as_str() == name)
    }
}

/// How a principal proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthMethod {
    /// A password over SCRAM-SHA-256.
    ScramSha256,
    /// A password over TLS or loopback (Flight Basic).
    Password,
    /// A token of this node.
    Token,
    /// A token of the institution's issuer (OpenID Connect).
    Oidc,
    /// An API key.
    ApiKey,
    /// A certificate, shown in the handshake of TLS.
    Certificate,
    /// A ticket of a peer.
    PeerTicket,
    /// The command line on the node's own machine.
    Local,
}

impl AuthMethod {
    /// As `kanon.whoami()` shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            AuthMethod::ScramSha256 => "scram-sha-256",
            AuthMethod::Password => "password",
            AuthMethod::Token => "token",
            AuthMethod::Oidc => "oidc",
            AuthMethod::ApiKey => "api-key",
            AuthMethod::Certificate => "certificate",
            AuthMethod::PeerTicket => "ticket",
            AuthMethod::Local => "local",
        }
    }
}

/// What a principal showed, where that can end before its role does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A password.
    Password(PasswordMark),
    /// An API key.
    ApiKey {
        /// The part of it that is shown.
        id: String,
    },
    /// A token of this node.
    Token {
        /// Its `jti`.
        id: String,
        /// In seconds of Unix time.
        issued_at: i64,
        /// In seconds of Unix time.
        expires_at: i64,
    },
    /// A token of the institution's issuer.
    Identity {
        /// Whom it is of.
        subject: Subject,
        /// Part of a digest of it.
        token_id: String,
        /// In seconds of Unix time.
        issued_at: i64,
        /// In seconds of Unix time.
        expires_at: i64,
    },
    /// A certificate.
    Certificate(Arc<ShownCertificate>),
}

/// When the password that opened a session was set, in milliseconds of Unix time. Clones share it: the session that sets another one goes on with that.
#[derive(Debug, Clone, Default)]
pub struct PasswordMark(Arc<AtomicI64>);

impl PasswordMark {
    /// Of a password that was set then.
    pub(crate) fn set_at(ms: i64) -> PasswordMark {
        PasswordMark(Arc::new(AtomicI64::new(ms)))
    }

    /// When it was set.
    pub(crate) fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Its session has set another one.
    pub(crate) fn renew(&self, ms: i64) {
        self.0.store(ms, Ordering::Relaxed);
    }
}

impl PartialEq for PasswordMark {
    fn eq(&self, other: &PasswordMark) -> bool {
        self.get() == other.get()
    }
}

impl Eq for PasswordMark {}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Password(_) => f.write_str("password"),
            Credential::ApiKey { id } => write!(f, "api key {id}"),
            Credential::Token { id, .. } => write!(f, "token {id}"),
            Credential::Identity { subject, token_id, .. } => {
                write!(f, "token {token_id} of {} at {}", subject.subject, subject.issuer)
            }
            Credential::Certificate(shown) => write!(f, "certificate {}", shown.name),
        }
    }
}

/// An authenticated caller: a role of this node, or a role of a peer through that peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The role's name at its home node.
    pub name: String,
    /// Built-in roles it holds here (an admin's set holds all).
    pub roles: BTreeSet<BuiltinRole>,
    /// The node that knows its password.
    pub home_node: SiteId,
    /// How it came.
    pub auth_method: AuthMethod,
    /// What it showed, if that was something.
    pub credential: Option<Credential>,
    /// Set if a peer asks on its behalf: the peer. Such a session may use the parts of averages that only peers may merge.
    pub via_peer: Option<SiteId>,
    /// The built-in roles that the peer says it holds at home. Only rules for people of peers go by them.
    pub told_roles: BTreeSet<BuiltinRole>,
}

impl Principal {
    /// Whether it holds a built-in role.
    pub fn is(&self, role: BuiltinRole) -> bool {
        self.roles.contains(&role) || self.roles.contains(&BuiltinRole::Admin)
    }
    /// Whoever steals a key, token or certificate is not to gain more with it, or for longer, than it stands for: `cannot` is what its session cannot do.
    ///
    /// # Errors
    /// 42501 if it came with one.
    pub(crate) fn be_by_password(&self, cannot: &str) -> Result<()> {
        if self.has_only_password() {
            return Ok(());
        }
        let message = format!("a session that was opened with a key, token or certificate {cannot}");
        Err(Error::new(Sqlstate::InsufficientPrivilege, message).hint("Log in with a password."))
    }
    /// What a person does itself, and no program with its key or token: `cannot` is what such a session cannot do.
    ///
    /// # Errors
    /// 42501 if it came with an API key or a token of this node.
    pub(crate) fn be_in_person(&self, cannot: &str) -> Result<()> {
        match self.credential {
            Some(Credential::ApiKey { .. } | Credential::Token { .. }) => {
                let message = format!("a session that was opened with a key or token {cannot}");
                Err(Error::new(Sqlstate::InsufficientPrivilege, message).hint("Log in yourself."))
            }
            None | Some(Credential::Password(_) | Credential::Identity { .. } | Credential::Certificate(_)) => Ok(()),
        }
    }
    /// Whether it came without a key, token or certificate.
    pub fn has_only_password(&self) -> bool {
        matches!(self.credential, None | Some(Credential::Password(_)))
    }
    /// `alice`, or `alice@cleveland` when it comes through a peer.
    pub fn display(&self) -> String {
        match &self.via_peer {
            Some(_) => format!("{}@{}", self.name, self.home_node),
            None => self.name.clone(),
        }
    }
}
