//! A coordinator that means no good: whoever holds the key of a node that another one trusts.

use std::sync::Arc;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{ProstMessageExt as _, TicketStatementQuery};
use arrow_flight::{FlightData, Ticket};
use hyper_util::rt::TokioIo;
use kanon_engine::federation::client::Asked;
use kanon_engine::federation::identity::{self, Identity};
use kanon_engine::federation::ticket::{self, TicketRequest};
use kanon_engine::federation::{TICKET_HEADER, tls};
use kanon_planner::facts::SiteId;
use prost::Message as _;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status, Streaming};

use crate::Site;

/// Its connection to the node that it asks.
pub struct Peer {
    client: FlightServiceClient<Channel>,
    identity: Identity,
    from: SiteId,
    to: SiteId,
    audience: identity::Fingerprint,
}

impl Peer {
    /// Takes the key of one node and connects to the other.
    pub async fn connect(from: &Site, to: &Site) -> Peer {
        let identity = identity::ensure(&from.dir).unwrap();
        let audience = identity::ensure(&to.dir).unwrap().fingerprint;
        let connector = Connector { port: to.flight_port, tls: tls::client_config(&identity, audience).unwrap() };
        let channel = Endpoint::from_static("http://peer").connect_with_connector(connector).await.unwrap();
        let client = FlightServiceClient::new(channel);
        Peer { client, identity, from: SiteId::new(from.id), to: SiteId::new(to.id), audience }
    }

    /// A good ticket for a subplan of its own writing: of a user, with roles that the site does not know of.
    pub fn ticket(&self, sql: &str, user: &str) -> String {
        self.ticket_of(&self.identity, &self.to, sql, user, None)
    }

    /// The same, of a user with one role at home.
    pub fn ticket_as(&self, sql: &str, user: &str, role: &str) -> String {
        let roles = vec![role.to_owned()];
        ticket::issue(&self.identity, &TicketRequest { roles, ..self.request(&self.to, sql, user, None) }).unwrap()
    }

    /// The same, asking to spend this much.
    pub fn asking(&self, sql: &str, user: &str, epsilon: f64, delta: f64) -> String {
        let asked = Asked { epsilon: epsilon.try_into().unwrap(), delta: delta.try_into().unwrap() };
        self.ticket_of(&self.identity, &self.to, sql, user, Some(asked))
    }

    /// The same, signed with another key.
    pub fn forged(&self, key: &Identity, sql: &str, user: &str) -> String {
        self.ticket_of(key, &self.to, sql, user, None)
    }

    /// The same, for another site.
    pub fn misdirected(&self, to: &str, sql: &str, user: &str) -> String {
        self.ticket_of(&self.identity, &SiteId::new(to), sql, user, None)
    }

    fn ticket_of(&self, key: &Identity, to: &SiteId, sql: &str, user: &str, asked: Option<Asked>) -> String {
        ticket::issue(key, &self.request(to, sql, user, asked)).unwrap()
    }

    fn request<'a>(&'a self, to: &'a SiteId, sql: &'a str, user: &'a str, asked: Option<Asked>) -> TicketRequest<'a> {
        TicketRequest {
            home_node: &self.from,
            audience: to,
            audience_key: self.audience,
            user,
            roles: vec!["admin".to_owned(), "steward".to_owned()],
            sql,
            participants: std::slice::from_ref(to),
            min_sites: 1,
            asked,
            valid_seconds: 60,
        }
    }

    /// Asks a subplan with a ticket.
    pub async fn get(&mut self, sql: &str, ticket: &str) -> Result<Response<Streaming<FlightData>>, Status> {
        let statement = TicketStatementQuery { statement_handle: sql.to_owned().into() };
        let mut message = tonic::Request::new(Ticket { ticket: statement.as_any().encode_to_vec().into() });
        message.metadata_mut().insert(TICKET_HEADER, ticket.parse().unwrap());
        self.client.do_get(message).await
    }
}

/// Connects as the node does.
#[derive(Clone)]
struct Connector {
    port: u16,
    tls: Arc<rustls::ClientConfig>,
}

impl tonic::codegen::Service<tonic::transport::Uri> for Connector {
    type Response = TokioIo<tokio_rustls::client::TlsStream<TcpStream>>;
    type Error = std::io::Error;
    type Future = futures::future::BoxFuture<'static, std::io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: tonic::transport::Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let tcp = TcpStream::connect(("127.0.0.1", this.port)).await?;
            let name = tls::PEER_SERVER_NAME.try_into().map_err(std::io::Error::other)?;
            Ok(TokioIo::new(tokio_rustls::TlsConnector::from(this.tls).connect(name, tcp).await?))
        })
    }
}
