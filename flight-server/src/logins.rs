//! Who calls: a password becomes a token, a token a session, a ticket a peer's user.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kanon_engine::auth;
use kanon_engine::error::{Error, Result, Sqlstate};
use kanon_engine::federation::identity::PublicKey;
use kanon_engine::federation::{TICKET_HEADER, TIMEOUT_HEADER};
use kanon_engine::node::Node;
use kanon_engine::principal::AuthMethod;
use kanon_engine::session::Session;
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
}

/// All of them.
pub(crate) struct Logins {
    node: Arc<Node>,
    lifetime: Duration,
    tokens: Handles<Login>,
}

impl Logins {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        let lifetime = node.config.access_token_expire;
        Logins { node, lifetime, tokens: Handles::new(MAX_LOGINS, lifetime) }
    }

    /// A token for the user and password of a Basic `authorization` header.
    pub(crate) async fn log_in(&self, metadata: &MetadataMap, connection: Option<ConnectionInfo>) -> Result<String> {
        let (role, password) = basic(metadata).ok_or_else(|| {
            Error::new(Sqlstate::InvalidAuthorization, "no user and password were given")
                .hint("Log in with Basic authentication.")
        })?;
        let from = connection.map_or_else(|| "unknown".to_owned(), |connection| connection.from.to_string());
        let log = &self.node.audit;
        let principal = auth::authenticate(&self.node.store, self.node.site(), &role, &password, AuthMethod::Password)
            .await
            .inspect_err(|error| log.login_failed(&role, &from, error.state.code()))?;
        log.logged_in(&principal.name, &from).await?;
        let session = Session::open(Arc::clone(&self.node), principal);
        // Programs that read Arrow take averages for doubles.
        session.set("kanon.exact_numerics", "off")?;
        self.tokens.insert(&role.clone(), Arc::new(Login { session, role, ends: Instant::now() + self.lifetime }))
    }

    /// The login of the token in a bearer `authorization` header.
    pub(crate) fn of(&self, metadata: &MetadataMap) -> Result<Arc<Login>> {
        let header = metadata.get("authorization").and_then(|v| v.to_str().ok());
        let token = header.and_then(|h| strip_scheme(h, "bearer")).ok_or_else(|| {
            Error::new(Sqlstate::InvalidAuthorization, "the call is not authenticated")
                .hint("Log in with Basic authentication first.")
        })?;
        let expired =
            || Error::new(Sqlstate::InvalidAuthorization, "the token is unknown or has expired").hint("Log in again.");
        let login = self.tokens.get(token).ok_or_else(expired)?;
        // A role that was dropped, or may not log in any more, is out at once.
        let still = auth::load_principal(&self.node.store, self.node.site(), &login.role, AuthMethod::Password).is_ok();
        if Instant::now() >= login.ends || !still {
            self.tokens.remove(token);
            return Err(expired());
        }
        Ok(login)
    }

    /// Ends the login of the token in the header.
    pub(crate) fn log_out(&self, metadata: &MetadataMap) {
        let header = metadata.get("authorization").and_then(|v| v.to_str().ok());
        if let Some(token) = header.and_then(|h| strip_scheme(h, "bearer")) {
            self.tokens.remove(token);
        }
    }

    /// A session for the user of a peer's ticket, if the call carries one. The ticket is then used up.
    pub(crate) async fn of_peer(
        &self,
        metadata: &MetadataMap,
        connection: Option<ConnectionInfo>,
        sql: &str,
    ) -> Result<Option<Arc<Session>>> {
        let Some(ticket) = metadata.get(TICKET_HEADER) else { return Ok(None) };
        let key = peer_key(connection)?;
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
pub(crate) fn peer_key(connection: Option<ConnectionInfo>) -> Result<PublicKey> {
    connection
        .and_then(|c| c.peer)
        .ok_or_else(|| Error::new(Sqlstate::InvalidAuthorization, "the connection is not that of a trusted node"))
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
