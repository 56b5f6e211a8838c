//! Who calls: a password becomes a token, a token a session, a ticket a peer's user.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kanon_engine::auth::{self, Scope, TOKEN_USER};
use kanon_engine::error::{Error, Result, Sqlstate};
use kanon_engine::federation::identity::PublicKey;
use kanon_engine::federation::{TICKET_HEADER, TIMEOUT_HEADER};
use kanon_engine::node::Node;
use kanon_engine::principal::Principal;
use kanon_engine::session::Session;
use sha2::{Digest as _, Sha256};
use tonic::metadata::MetadataMap;

use crate::handles::Handles;
use crate::listener::ConnectionInfo;

/// Most tokens at once; each has a session.
const MAX_LOGINS: usize = 1_000;

/// A client that logged in, and its session.
pub(crate) struct Login {
    pub(crate) session: Arc<Session>,
    pub(crate) role: String,
    ends: Instant,
    /// The connection that a token or API key was shown on.
    shown_on: Option<Weak<()>>,
}

/// All of them.
pub(crate) struct Logins {
    node: Arc<Node>,
    lifetime: Duration,
    /// Of clients with a password: by the token that each was given.
    given: Handles<Login>,
    /// Of clients with a token or API key of the node: by their connection and a digest of that, since it is a secret that outlives them.
    shown: Handles<Login>,
}

impl Logins {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        let lifetime = node.config.access_token_expire;
        let handles = || Handles::new(MAX_LOGINS, lifetime);
        Logins { given: handles(), shown: handles(), node, lifetime }
    }

    /// A token for the user and password of a Basic `authorization` header; the user `token` has a token or API key as its password, and is given that.
    pub(crate) async fn log_in(&self, metadata: &MetadataMap, connection: Option<&ConnectionInfo>) -> Result<String> {
        let (role, password) = basic(metadata).ok_or_else(|| {
            Error::new(Sqlstate::InvalidAuthorization, "no user and password were given")
                .hint("Log in with Basic authentication.")
        })?;
        if role == TOKEN_USER {
            self.of_bearer(&password, connection).await?;
            return Ok(password);
        }
        let from = address(connection);
        let authenticator = &self.node.authenticator;
        let principal = authenticator.password(&role, &password, from).await.inspect_err(|error| {
            self.node.audit.login_failed(&role, &from.to_string(), error.state.code());
        })?;
        let login = self.open(principal, from, None).await?;
        self.given.insert(&role, login)
    }

    async fn open(&self, principal: Principal, from: IpAddr, shown_on: Option<Weak<()>>) -> Result<Arc<Login>> {
        self.node.audit.logged_in(&principal, &from.to_string()).await?;
        let role = principal.name.clone();
        let session = Session::open_another(Arc::clone(&self.node), principal)?;
        // Programs that read Arrow take averages for doubles.
        session.set("kanon.exact_numerics", "off")?;
        Ok(Arc::new(Login { session, role, ends: Instant::now() + self.lifetime, shown_on }))
    }

    /// Whether a call is worth reading: of a peer, or with a bearer that is taken now. Nothing is used up, and no session opened.
    ///
    /// # Errors
    /// 28000, as the call itself would end.
    pub(crate) fn may_call(&self, metadata: &MetadataMap, connection: Option<&ConnectionInfo>) -> Result<()> {
        if connection.is_some_and(|connection| connection.peer.is_some()) {
            return Ok(());
        }
        if metadata.contains_key(TICKET_HEADER) {
            return self.peer_key(connection).map(drop);
        }
        let token = bearer(metadata).ok_or_else(not_authenticated)?;
        let is_known = self.given.get(token).is_some() || self.shown.get(&shown_on(token, connection)).is_some();
        if is_known { Ok(()) } else { self.principal_of(token, connection).map(drop) }
    }

    /// The login of what a bearer `authorization` header shows: a token that was given here, or a token or API key of the node.
    pub(crate) async fn of(&self, shown: Option<&str>, connection: Option<&ConnectionInfo>) -> Result<Arc<Login>> {
        let token = shown.ok_or_else(not_authenticated)?;
        let Some(login) = self.given.get(token) else { return self.of_bearer(token, connection).await };
        // A role that was dropped, or may not log in any more, is out at once.
        if Instant::now() >= login.ends || !self.stands(&login) {
            self.given.remove(token);
            return Err(auth::not_taken());
        }
        Ok(login)
    }

    fn stands(&self, login: &Login) -> bool {
        !login.session.ended().is_cancelled() && self.node.authenticator.stands(login.session.opened_by())
    }

    /// The login of a token or API key. Each connection that shows it has a session of its own: programs that share a key are not to share settings.
    async fn of_bearer(&self, token: &str, connection: Option<&ConnectionInfo>) -> Result<Arc<Login>> {
        let name = shown_on(token, connection);
        if let Some(login) = self.shown.get(&name) {
            if self.stands(&login) {
                return Ok(login);
            }
            self.shown.remove(&name);
        }
        let principal = self.principal_of(token, connection)?;
        // Those whose connections are gone make room.
        self.shown.retain(|login| login.shown_on.as_ref().is_none_or(|open| open.strong_count() > 0));
        let open = connection.map(|connection| connection.open.clone());
        let login = self.open(principal, address(connection), open).await?;
        self.shown.insert_as(name, &login.role, Arc::clone(&login))
    }

    fn principal_of(&self, token: &str, connection: Option<&ConnectionInfo>) -> Result<Principal> {
        self.node.authenticator.bearer(token, Scope::Flight).inspect_err(|error| {
            self.node.audit.login_failed(TOKEN_USER, &address(connection).to_string(), error.state.code());
        })
    }

    /// The key of the peer that shows a ticket.
    fn peer_key(&self, connection: Option<&ConnectionInfo>) -> Result<PublicKey> {
        peer_key(connection).inspect_err(|error| {
            self.node.audit.login_failed("", &address(connection).to_string(), error.state.code());
        })
    }

    /// Ends the login of the token in the header. A token or API key of the node stays what it is.
    pub(crate) fn log_out(&self, metadata: &MetadataMap, connection: Option<&ConnectionInfo>) {
        if let Some(token) = bearer(metadata) {
            self.given.remove(token);
            self.shown.remove(&shown_on(token, connection));
        }
    }

    /// A session for the user of a peer's ticket, if the call carries one. The ticket is then used up.
    pub(crate) async fn of_peer(
        &self,
        metadata: &MetadataMap,
        connection: Option<&ConnectionInfo>,
        sql: &str,
    ) -> Result<Option<Arc<Session>>> {
        let Some(ticket) = metadata.get(TICKET_HEADER) else { return Ok(None) };
        let key = self.peer_key(connection)?;
        let ticket =
            ticket.to_str().map_err(|_| Error::new(Sqlstate::InvalidAuthorization, "the ticket cannot be read"))?;
        let admitted = self.node.federation.admit(ticket, sql, key).await.inspect_err(|error| {
            self.node.audit.ticket_refused(&key.fingerprint().to_string(), error.state.code());
        })?;
        let principal = auth::peer_principal(&self.node.store, &admitted.peer, &admitted.claims.user);
        let session = Session::open_for_subplan(Arc::clone(&self.node), principal, admitted.claims.asked());
        // A site does not work on after its coordinator has given up.
        if let Some(wait_ms) =
            metadata.get(TIMEOUT_HEADER).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u32>().ok())
        {
            session.set("statement_timeout", &wait_ms.max(1).to_string())?;
        }
        Ok(Some(session))
    }
}

/// The key of the peer at the other end.
///
/// # Errors
/// 28000 if it is not a peer.
pub(crate) fn peer_key(connection: Option<&ConnectionInfo>) -> Result<PublicKey> {
    connection
        .and_then(|c| c.peer)
        .ok_or_else(|| Error::new(Sqlstate::InvalidAuthorization, "the connection is not that of a trusted node"))
}

fn not_authenticated() -> Error {
    Error::new(Sqlstate::InvalidAuthorization, "the call is not authenticated")
        .hint("Log in with Basic authentication first, or send a token or an API key as the bearer.")
}

/// The name of the login of a token or API key on a connection.
fn shown_on(token: &str, connection: Option<&ConnectionInfo>) -> String {
    let number = connection.map_or(u64::MAX, |connection| connection.number);
    format!("{number} {}", BASE64_STANDARD.encode(Sha256::digest(token)))
}

/// Where a call came from.
fn address(connection: Option<&ConnectionInfo>) -> IpAddr {
    connection.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |connection| connection.from)
}

/// What a bearer `authorization` header shows.
pub(crate) fn bearer(metadata: &MetadataMap) -> Option<&str> {
    strip_scheme(metadata.get("authorization")?.to_str().ok()?, "bearer")
}

fn basic(metadata: &MetadataMap) -> Option<(String, String)> {
    let header = metadata.get("authorization")?.to_str().ok()?;
    let decoded = BASE64_STANDARD.decode(strip_scheme(header, "basic")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// What follows `Basic ` or `Bearer `, whatever the case of the word (RFC 9110, section 11.1).
fn strip_scheme<'a>(header: &'a str, scheme: &str) -> Option<&'a str> {
    let (word, rest) = header.split_once(' ')?;
    word.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}
