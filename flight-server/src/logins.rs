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
    /// The connection that a token, API key or certificate was shown on.
    shown_on: Option<Weak<()>>,
}

/// All of them.
pub(crate) struct Logins {
    node: Arc<Node>,
    lifetime: Duration,
    /// Of clients with a password: by the token that each was given.
    given: Handles<Login>,
    /// Of clients with a token or API key of the node: by their connection and a digest of that, since it is a secret that outlives them. Of clients with a certificate: by
    /// their connection.
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

    /// Whether a call is worth reading: of a peer, with a bearer that is taken now, or over a connection with a certificate. Nothing is used up, and no session opened.
    ///
    /// # Errors
    /// 28000, as the call itself would end.
    pub(crate) async fn may_call(&self, metadata: &MetadataMap, connection: Option<&ConnectionInfo>) -> Result<()> {
        if connection.is_some_and(|connection| connection.peer.is_some()) {
            return Ok(());
        }
        if metadata.contains_key(TICKET_HEADER) {
            return self.peer_key(connection).map(drop);
        }
        match Shown::by(metadata) {
            Shown::Bearer(token) => {
                let is_known =
                    self.given.get(&token).is_some() || self.shown.get(&shown_on(&token, connection)).is_some();
                if is_known { Ok(()) } else { self.principal_of(&token, connection).await.map(drop) }
            }
            // The handshake looked at it.
            Shown::Nothing if connection.is_some_and(|connection| !connection.chain.is_empty()) => Ok(()),
            Shown::Nothing | Shown::Other => Err(not_authenticated()),
        }
    }

    /// The login of what a call shows: a token that was given here, a token or API key of the node, or the certificate of its connection.
    pub(crate) async fn of(&self, shown: Shown, connection: Option<&ConnectionInfo>) -> Result<Arc<Login>> {
        let token = match &shown {
            Shown::Bearer(token) => token.as_str(),
            Shown::Nothing => return self.of_certificate(connection).await,
            Shown::Other => return Err(not_authenticated()),
        };
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
        let principal = self.principal_of(token, connection);
        self.shown_login(shown_on(token, connection), connection, principal).await
    }

    /// The login of the certificate of a connection: one for all its calls that show nothing else.
    async fn of_certificate(&self, connection: Option<&ConnectionInfo>) -> Result<Arc<Login>> {
        let Some(connection) = connection.filter(|connection| !connection.chain.is_empty()) else {
            return Err(not_authenticated());
        };
        self.shown_login(certificate_of(connection), Some(connection), async {
            self.node.authenticator.certificate(&connection.chain, None).ok_or_else(not_authenticated).inspect_err(
                |error| {
                    // Nobody knows whose it is to be.
                    self.login_failed("", Some(connection), error);
                },
            )
        })
        .await
    }

    fn login_failed(&self, role: &str, connection: Option<&ConnectionInfo>, error: &Error) {
        self.node.audit.login_failed(role, &address(connection).to_string(), error.state.code());
    }

    /// The login that was opened on a connection under a name, or a new one of `principal`.
    async fn shown_login(
        &self,
        name: String,
        connection: Option<&ConnectionInfo>,
        principal: impl Future<Output = Result<Principal>>,
    ) -> Result<Arc<Login>> {
        if let Some(login) = self.shown.get(&name) {
            if self.stands(&login) {
                return Ok(login);
            }
            self.shown.remove(&name);
        }
        let principal = principal.await?;
        // Those whose connections are gone make room.
        self.shown.retain(|login| login.shown_on.as_ref().is_none_or(|open| open.strong_count() > 0));
        let open = connection.map(|connection| connection.open.clone());
        let login = self.open(principal, address(connection), open).await?;
        self.shown.insert_as(name, &login.role, Arc::clone(&login))
    }

    async fn principal_of(&self, token: &str, connection: Option<&ConnectionInfo>) -> Result<Principal> {
        self.node.authenticator.bearer(token, Scope::Flight).await.inspect_err(|error| {
            self.login_failed(TOKEN_USER, connection, error);
        })
    }

    /// The key of the peer that shows a ticket.
    fn peer_key(&self, connection: Option<&ConnectionInfo>) -> Result<PublicKey> {
        peer_key(connection).inspect_err(|error| self.login_failed("", connection, error))
    }

    /// Ends the login of the token in the header, or of the connection's certificate. A token, API key or certificate stays what it is.
    pub(crate) fn log_out(&self, metadata: &MetadataMap, connection: Option<&ConnectionInfo>) {
        match (Shown::by(metadata), connection) {
            (Shown::Bearer(token), _) => {
                self.given.remove(&token);
                self.shown.remove(&shown_on(&token, connection));
            }
            (Shown::Nothing, Some(connection)) => {
                self.shown.remove(&certificate_of(connection));
            }
            (Shown::Nothing | Shown::Other, _) => {}
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
        let principal =
            auth::peer_principal(&self.node.store, &admitted.peer, &admitted.claims.user, &admitted.claims.roles);
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
pub(crate) fn address(connection: Option<&ConnectionInfo>) -> IpAddr {
    connection.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |connection| connection.from)
}

/// The name of the login of a connection's certificate.
fn certificate_of(connection: &ConnectionInfo) -> String {
    format!("{} certificate", connection.number)
}

/// What a call shows of who calls.
pub(crate) enum Shown {
    /// A bearer `authorization` header.
    Bearer(String),
    /// No such header.
    Nothing,
    /// Another header.
    Other,
}

impl Shown {
    /// By a call's headers.
    pub(crate) fn by(metadata: &MetadataMap) -> Shown {
        let Some(header) = metadata.get("authorization") else { return Shown::Nothing };
        let token = header.to_str().ok().and_then(|header| strip_scheme(header, "bearer"));
        token.map_or(Shown::Other, |token| Shown::Bearer(token.to_owned()))
    }
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
