//! A node as a house, its sessions as desks.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::scalar::ScalarValue;
use kanon_engine::auth::{Scope, TOKEN_USER};
use kanon_engine::error::{Error, Result, Sqlstate};
use kanon_engine::limits::Place;
use kanon_engine::node::Node;
use kanon_engine::pg_catalog::types::PgType;
use kanon_engine::principal::Principal;
use kanon_engine::session::{Answer, Piece, Prepared, Session, TransactionStatus};
use kanon_engine::statement;
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::desk::{CopyLayout, CopyStyle, Credentials, Desk, ForceQuote, House, Planned};

/// A node.
pub struct NodeHouse {
    node: Arc<Node>,
}

impl NodeHouse {
    /// Of a node.
    pub fn new(node: Arc<Node>) -> NodeHouse {
        NodeHouse { node }
    }
}

#[async_trait]
impl House for NodeHouse {
    fn admit(&self, from: IpAddr) -> Result<Place> {
        self.node.admit_connection(from)
    }

    async fn credentials(&self, role: &str, from: IpAddr) -> Result<Credentials> {
        let (verifier, principal) = self.node.authenticator.scram(role, from)?;
        Ok(Credentials { verifier: verifier.to_text(), principal })
    }

    async fn bearer(&self, token: &str) -> Result<Principal> {
        self.node.authenticator.bearer(token, Scope::Pg).await
    }

    fn certificate(&self, chain: &[CertificateDer<'static>], role: &str) -> Option<Principal> {
        self.node.authenticator.certificate(chain, Some(role))
    }

    async fn logged_in(&self, principal: &Principal, from: IpAddr) -> Result<()> {
        if principal.has_only_password() {
            self.node.authenticator.succeeded(&principal.name, from)?;
        }
        self.node.audit.logged_in(principal, &from.to_string()).await
    }

    fn login_failed(&self, role: &str, from: IpAddr) {
        if role != TOKEN_USER {
            self.node.authenticator.failed(role, from);
        }
        self.node.audit.login_failed(role, &from.to_string(), Sqlstate::InvalidPassword.code());
    }

    fn open(&self, principal: Principal) -> Result<Arc<dyn Desk>> {
        Ok(Arc::new(SessionDesk(Session::open_another(self.node.clone(), principal)?)))
    }
}

/// A session.
struct SessionDesk(Arc<Session>);

#[async_trait]
impl Desk for SessionDesk {
    fn id(&self) -> i32 {
        self.0.id
    }
    fn split(&self, text: &str) -> Result<Vec<Piece>> {
        self.0.split(text)
    }
    async fn check_syntax(&self, pieces: &[Piece]) -> std::result::Result<(), (Error, Piece)> {
        self.0.check_syntax(pieces.to_vec()).await
    }
    async fn prepare(&self, text: &str, types: &[Option<PgType>]) -> Result<Planned> {
        let prepared = self.0.prepare(text, types).await?;
        Ok(Planned {
            text: prepared.text.clone(),
            parameters: prepared.parameters.clone(),
            schema: prepared.schema.clone(),
            copy: prepared.copy().map(copy_style),
            fails: prepared.fails.clone(),
            inner: Arc::new(prepared),
        })
    }
    async fn execute(&self, planned: &Planned, parameters: Vec<ScalarValue>) -> Result<Answer> {
        match planned.inner.downcast_ref::<Prepared>() {
            Some(prepared) => self.0.execute(prepared, parameters).await,
            None => Err(Error::internal("a statement of another desk")),
        }
    }
    fn keeps_time(&self) -> bool {
        true
    }

    fn deadline(&self) -> Option<Instant> {
        self.0.deadline()
    }

    fn cancel(&self) {
        self.0.cancel();
    }
    fn begin_text(&self) {
        self.0.begin_text();
    }
    fn end_text(&self) -> Result<Vec<(String, String)>> {
        self.0.end_text()
    }
    fn fail_transaction(&self) {
        self.0.fail_transaction();
    }
    fn transaction_status(&self) -> TransactionStatus {
        self.0.transaction_status()
    }
    fn setting(&self, name: &str) -> Option<String> {
        self.0.setting(name)
    }
    fn reported_settings(&self) -> Vec<(String, String)> {
        self.0.reported_settings()
    }
    fn set(&self, name: &str, value: &str) -> Result<()> {
        self.0.set(name, value)
    }
    fn cursor_schema(&self, name: &str) -> Option<SchemaRef> {
        self.0.cursor_schema(name)
    }
    fn is_kept(&self, name: &str) -> bool {
        self.0.is_kept(name)
    }
    fn keep(&self, name: &str, planned: &Planned, types: &[u32]) {
        if let Some(prepared) = planned.inner.downcast_ref::<Prepared>() {
            self.0.keep(name, prepared, types);
        }
    }
    fn forget(&self, name: &str) {
        self.0.forget(name);
    }
    fn ended(&self) -> CancellationToken {
        self.0.ended()
    }
}

/// How a COPY statement asks its rows to be written.
fn copy_style(copy: &statement::Copy) -> CopyStyle {
    let defaults = CopyStyle::new(match copy.format {
        statement::CopyFormat::Text => CopyLayout::Text,
        statement::CopyFormat::Csv => CopyLayout::Csv,
        statement::CopyFormat::Binary => CopyLayout::Binary,
    });
    let quote = copy.quote.unwrap_or(defaults.quote);
    CopyStyle {
        delimiter: copy.delimiter.unwrap_or(defaults.delimiter),
        null: copy.null.clone().unwrap_or(defaults.null),
        header: copy.header,
        quote,
        escape: copy.escape.unwrap_or(quote),
        force_quote: match &copy.force_quote {
            statement::ForceQuote::Needed => ForceQuote::Numbered(Vec::new()),
            statement::ForceQuote::Columns(names) => {
                ForceQuote::Named(names.iter().map(|name| name.value.clone()).collect())
            }
            statement::ForceQuote::All => ForceQuote::All,
        },
        layout: defaults.layout,
    }
}
