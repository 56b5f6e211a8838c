//! The server over real sockets: logins, statements, parameters, and what peers may and may not do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{CommandGetDbSchemas, CommandGetTables, ProstMessageExt as _, SqlInfo, TicketStatementQuery};
use arrow_flight::{Action, FlightData, Ticket};
use datafusion::arrow::array::{AsArray as _, Int64Array, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use futures::{StreamExt as _, TryStreamExt as _};
use kanon_engine::config::{Config, TrustedNode};
use kanon_engine::error::Sqlstate;
use kanon_engine::federation::client::{SiteError, SubplanRequest};
use kanon_engine::federation::identity::{self, Identity};
use kanon_engine::federation::ticket::{self, TicketRequest};
use kanon_engine::federation::{PeerStatus, TICKET_HEADER, tls};
use kanon_engine::node::Node;
use kanon_engine::principal::{AuthMethod, BuiltinRole, Principal};
use kanon_planner::facts::SiteId;
use prost::Message as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

const SQL: &str = "SELECT 41 + 1 AS n";

struct Site {
    node: Arc<Node>,
    address: SocketAddr,
    stop: CancellationToken,
    _dir: Option<tempfile::TempDir>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
        self.node.stopping.cancel();
    }
}

async fn serve(config: Config, listener: TcpListener, dir: Option<tempfile::TempDir>) -> Site {
    let address = listener.local_addr().unwrap();
    let node = Node::start(config).await.unwrap();
    let stop = CancellationToken::new();
    node.federation.begin(&node.stopping);
    tokio::spawn(kanon_flight::serve(Arc::clone(&node), listener, stop.clone()));
    Site { node, address, stop, _dir: dir }
}

async fn lone_site() -> Site {
    let dir = tempfile::tempdir().unwrap();
    let site =
        serve(Config::new("zurich", dir.path()), TcpListener::bind("127.0.0.1:0").await.unwrap(), Some(dir)).await;
    site.node.store.create_role("alice", Some("correct horse"), true).await.unwrap();
    site.node.store.grant_role("analyst", "alice").await.unwrap();
    site
}

/// Two nodes that pin one another.
async fn two_sites() -> [Site; 2] {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let listeners = [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
    let keys = dirs.each_ref().map(|d| identity::ensure(d.path()).unwrap().fingerprint);
    let ports = listeners.each_ref().map(|l| l.local_addr().unwrap().port());
    let names = ["cleveland", "zurich"];
    let mut sites = Vec::new();
    for (i, (dir, listener)) in dirs.into_iter().zip(listeners).enumerate() {
        let mut config = Config::new(names[i], dir.path());
        config.trusted_nodes =
            vec![TrustedNode { host: "127.0.0.1".into(), port: ports[1 - i], fingerprint: *keys[1 - i].as_bytes() }];
        sites.push(serve(config, listener, Some(dir)).await);
    }
    sites.try_into().ok().unwrap()
}

async fn plain(site: &Site) -> FlightSqlServiceClient<Channel> {
    FlightSqlServiceClient::new(
        Endpoint::from_shared(format!("http://{}", site.address)).unwrap().connect().await.unwrap(),
    )
}

async fn alice(site: &Site) -> FlightSqlServiceClient<Channel> {
    let mut client = plain(site).await;
    client.handshake("alice", "correct horse").await.unwrap();
    client
}

async fn fetch(client: &mut FlightSqlServiceClient<Channel>, info: arrow_flight::FlightInfo) -> Vec<RecordBatch> {
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    client.do_get(ticket).await.unwrap().try_collect().await.unwrap()
}

fn number(batches: &[RecordBatch]) -> i64 {
    let batch = batches.iter().find(|b| b.num_rows() > 0).unwrap();
    cast(batch.column(0), &DataType::Int64).unwrap().as_primitive::<Int64Type>().value(0)
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_become_tokens_and_tokens_sessions() {
    let site = lone_site().await;
    let mut stranger = plain(&site).await;
    assert!(stranger.execute(SQL.into(), None).await.unwrap_err().to_string().contains("not authenticated"));
    assert!(
        stranger.handshake("alice", "wrong").await.unwrap_err().to_string().contains("password authentication failed")
    );
    assert!(
        stranger.handshake("nobody", "x").await.unwrap_err().to_string().contains("password authentication failed")
    );
    stranger.set_token("made-up".into());
    assert!(stranger.execute(SQL.into(), None).await.unwrap_err().to_string().contains("token is unknown"));

    let mut client = alice(&site).await;
    let info = client.execute(SQL.into(), None).await.unwrap();
    assert_eq!((info.total_records, info.total_bytes), (-1, -1));
    assert_eq!(number(&fetch(&mut client, info.clone()).await), 42);
    // A handle works once.
    assert!(client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.is_err());
    // And for the login that made it only.
    let info = client.execute(SQL.into(), None).await.unwrap();
    let mut other = alice(&site).await;
    assert!(other.do_get(info.endpoint[0].ticket.clone().unwrap()).await.is_err());
    assert_eq!(number(&fetch(&mut client, info).await), 42);
    // A dropped role is out at once.
    site.node.store.drop_role("alice", false).await.unwrap();
    assert!(client.execute(SQL.into(), None).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_use_tls_with_the_listener_s_certificate() {
    let site = lone_site().await;
    let cert = site.node.federation.identity().listener.cert_pem.clone();
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(cert)).domain_name("localhost");
    let channel = Endpoint::from_shared(format!("https://{}", site.address))
        .unwrap()
        .tls_config(tls)
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut client = FlightSqlServiceClient::new(channel);
    client.handshake("alice", "correct horse").await.unwrap();
    let info = client.execute(SQL.into(), None).await.unwrap();
    assert_eq!(number(&fetch(&mut client, info).await), 42);
}

#[tokio::test(flavor = "multi_thread")]
async fn plaintext_is_refused_where_tls_is_required() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new("zurich", dir.path());
    config.require_tls = true;
    let site = serve(config, TcpListener::bind("127.0.0.1:0").await.unwrap(), Some(dir)).await;
    let channel = Endpoint::from_shared(format!("http://{}", site.address)).unwrap().connect().await;
    let refused = match channel {
        Ok(channel) => FlightSqlServiceClient::new(channel).handshake("alice", "x").await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_take_parameters() {
    let site = lone_site().await;
    let mut client = alice(&site).await;
    let mut statement = client.prepare("SELECT CAST($1 AS bigint) + 1 AS n".into(), None).await.unwrap();
    assert_eq!(statement.dataset_schema().unwrap().field(0).name(), "n");
    assert_eq!(statement.parameter_schema().unwrap().fields().len(), 1);
    assert!(statement.execute().await.is_ok());
    for value in [1i64, 41] {
        let batch = RecordBatch::try_from_iter([("1", Arc::new(Int64Array::from(vec![value])) as _)]).unwrap();
        statement.set_parameters(batch).unwrap();
        let info = statement.execute().await.unwrap();
        assert_eq!(number(&fetch(&mut client, info).await), value + 1);
    }
    let two = RecordBatch::try_from_iter([("1", Arc::new(Int64Array::from(vec![1, 2])) as _)]).unwrap();
    statement.set_parameters(two).unwrap();
    assert!(statement.execute().await.is_err());
    statement.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn catalogs_and_the_server_describe_themselves() {
    let site = lone_site().await;
    let mut client = alice(&site).await;
    let info = client.get_catalogs().await.unwrap();
    assert_eq!(fetch(&mut client, info).await[0].column(0).as_string::<i32>().value(0), "kanon");
    let info = client.get_db_schemas(CommandGetDbSchemas::default()).await.unwrap();
    let schemas = fetch(&mut client, info).await;
    let names: BTreeSet<_> = schemas[0].column(1).as_string::<i32>().iter().flatten().map(str::to_owned).collect();
    assert!(names.contains("public") && names.contains("pg_catalog"), "{names:?}");
    let info = client.get_tables(CommandGetTables { include_schema: true, ..Default::default() }).await.unwrap();
    fetch(&mut client, info).await;
    let info = client.get_sql_info(vec![SqlInfo::FlightSqlServerName]).await.unwrap();
    assert_eq!(fetch(&mut client, info).await.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    let info = client.get_table_types().await.unwrap();
    assert_eq!(fetch(&mut client, info).await[0].column(0).as_string::<i32>().value(0), "TABLE");
    // Nothing of it without a login.
    assert!(plain(&site).await.get_catalogs().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_carry_sqlstates_and_writing_is_refused() {
    let site = lone_site().await;
    let mut client = alice(&site).await;
    let error = client.execute("SELECT * FROM nowhere".into(), None).await.unwrap_err();
    let arrow_flight::error::FlightError::Tonic(status) = error else { panic!("{error}") };
    assert_eq!(status.metadata().get("kanon-sqlstate").unwrap().to_str().unwrap(), "42P01");
    let error = client.execute("SELECT 1; SELECT 2".into(), None).await.unwrap_err();
    assert!(error.to_string().contains("one statement"), "{error}");
    let error = client.execute_update("INSERT INTO t VALUES (1)".into(), None).await.unwrap_err();
    let arrow_flight::error::FlightError::Tonic(status) = error else { panic!("{error}") };
    assert_eq!(status.metadata().get("kanon-sqlstate").unwrap().to_str().unwrap(), "25006", "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_notices_travel_behind_the_last_batch() {
    let site = lone_site().await;
    let mut client = alice(&site).await;
    let info = client.execute("SELECT 1 AS n WHERE false".into(), None).await.unwrap();
    let token = client.token().unwrap().clone();
    let mut request = tonic::Request::new(info.endpoint[0].ticket.clone().unwrap());
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let data: Vec<FlightData> =
        client.inner_mut().do_get(request).await.unwrap().into_inner().try_collect().await.unwrap();
    let (last, before) = data.split_last().unwrap();
    assert!(!before.is_empty() && before.iter().all(|d| d.app_metadata.is_empty()));
    let said: serde_json::Value = serde_json::from_slice(&last.app_metadata).unwrap();
    assert_eq!(said["tag"], "SELECT");
}

fn subplan(sql: &str) -> SubplanRequest {
    SubplanRequest {
        sql: sql.into(),
        principal: Principal {
            name: "alice".into(),
            roles: BTreeSet::from([BuiltinRole::Analyst]),
            home_node: SiteId::new("cleveland"),
            auth_method: AuthMethod::Password,
            credential: None,
            via_peer: None,
            told_roles: BTreeSet::new(),
        },
        participants: vec![SiteId::new("zurich")],
        min_sites: 1,
        asked: None,
        timeout: Duration::from_secs(10),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pinned_peers_find_and_ask_one_another() {
    let [cleveland, zurich] = two_sites().await;
    let federation = &cleveland.node.federation;
    until("zurich is up", || federation.peers()[0].status == PeerStatus::Up).await;
    assert_eq!(federation.descriptors().borrow()[0].id, "zurich");
    let client = federation.client(&SiteId::new("zurich")).unwrap();
    let batches: Vec<RecordBatch> = client.query(subplan(SQL)).await.unwrap().try_collect().await.unwrap();
    assert_eq!(number(&batches), 42);
    // A site's own error comes through with its SQLSTATE.
    let Err(SiteError::Answered(error)) = client.query(subplan("SELECT * FROM nowhere")).await else {
        panic!("answered")
    };
    assert_eq!(error.state, Sqlstate::UndefinedTable);
    // A statement that is no query is none of a peer's business.
    assert!(matches!(client.query(subplan("SET statement_timeout = 1")).await, Err(SiteError::Answered(_))));
    assert!(zurich.node.federation.client(&SiteId::new("budapest")).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_restarts_is_noticed() {
    let [cleveland, mut zurich] = two_sites().await;
    let federation = cleveland.node.federation.clone();
    until("zurich is up", || federation.peers()[0].status == PeerStatus::Up).await;
    let client = federation.client(&SiteId::new("zurich")).unwrap();
    let (address, config, dir) = (zurich.address, zurich.node.config.clone(), zurich._dir.take());
    zurich.stop.cancel();
    zurich.node.stop().await;
    drop(zurich);
    until("zurich is down", || federation.peers()[0].status == PeerStatus::Down).await;
    assert!(matches!(client.query(subplan(SQL)).await, Err(SiteError::Unreachable(_))));
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let began = tokio::time::Instant::now();
    let mut restarted = None;
    while restarted.is_none() {
        // The store is free once the last task of the old node has ended.
        match Node::start(config.clone()).await {
            Ok(node) => restarted = Some(node),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        assert!(began.elapsed() < Duration::from_secs(10), "the old node ends");
    }
    let node = restarted.unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(kanon_flight::serve(Arc::clone(&node), listener, stop.clone()));
    let _site = Site { node, address, stop, _dir: dir };
    let up = tokio::time::Instant::now();
    until("zurich is up again", || federation.peers()[0].status == PeerStatus::Up).await;
    assert!(up.elapsed() < Duration::from_secs(3), "{:?}", up.elapsed());
    let batches: Vec<RecordBatch> = client.query(subplan(SQL)).await.unwrap().try_collect().await.unwrap();
    assert_eq!(number(&batches), 42);
}

/// A node of our own making at the other end: it can send what it likes.
async fn raw(
    site: &Site,
    identity: &Identity,
) -> Option<arrow_flight::flight_service_client::FlightServiceClient<Channel>> {
    let tls = tls::client_config(identity, site.node.federation.identity().fingerprint).unwrap();
    let address = site.address;
    let connector = Connector { address, tls };
    let channel = Endpoint::from_static("http://peer").connect_with_connector(connector).await.ok()?;
    Some(arrow_flight::flight_service_client::FlightServiceClient::new(channel))
}

#[derive(Clone)]
struct Connector {
    address: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
}

impl tonic::codegen::Service<tonic::transport::Uri> for Connector {
    type Response = hyper_util::rt::TokioIo<tokio_rustls::client::TlsStream<TcpStream>>;
    type Error = std::io::Error;
    type Future = futures::future::BoxFuture<'static, std::io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: tonic::transport::Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let tcp = TcpStream::connect(this.address).await?;
            let name = tls::PEER_SERVER_NAME.try_into().map_err(std::io::Error::other)?;
            Ok(hyper_util::rt::TokioIo::new(tokio_rustls::TlsConnector::from(this.tls).connect(name, tcp).await?))
        })
    }
}

async fn ask(
    client: &mut arrow_flight::flight_service_client::FlightServiceClient<Channel>,
    ticket: &str,
    sql: &str,
) -> Result<usize, tonic::Status> {
    let statement = TicketStatementQuery { statement_handle: sql.to_owned().into() };
    let mut request = tonic::Request::new(Ticket { ticket: statement.as_any().encode_to_vec().into() });
    request.metadata_mut().insert(TICKET_HEADER, ticket.parse().unwrap());
    let mut stream = client.do_get(request).await?.into_inner();
    let mut messages = 0;
    while let Some(data) = stream.next().await {
        data?;
        messages += 1;
    }
    Ok(messages)
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_are_taken_once_and_for_what_they_say() {
    let [cleveland, zurich] = two_sites().await;
    let key = cleveland.node.federation.identity();
    let mut client = raw(&zurich, key).await.unwrap();
    let (home, site) = (SiteId::new("cleveland"), SiteId::new("zurich"));
    let request = TicketRequest {
        home_node: &home,
        audience: &site,
        audience_key: zurich.node.federation.identity().fingerprint,
        user: "alice",
        roles: Vec::new(),
        sql: SQL,
        participants: std::slice::from_ref(&site),
        min_sites: 1,
        asked: None,
        valid_seconds: 30,
    };
    let good = ticket::issue(key, &request).unwrap();
    assert!(ask(&mut client, &good, SQL).await.unwrap() >= 2);
    let reason = |result: Result<usize, tonic::Status>| result.unwrap_err().message().to_owned();
    assert!(reason(ask(&mut client, &good, SQL).await).contains("used before"));
    let fresh = || ticket::issue(key, &request).unwrap();
    assert!(reason(ask(&mut client, &fresh(), "SELECT 43 AS n").await).contains("another statement"));
    let elsewhere = ticket::issue(key, &TicketRequest { audience: &home, ..request.clone() }).unwrap();
    assert!(reason(ask(&mut client, &elsewhere, SQL).await).contains("another site"));
    let impostor = ticket::issue(key, &TicketRequest { home_node: &site, ..request.clone() }).unwrap();
    assert!(reason(ask(&mut client, &impostor, SQL).await).contains("node id"));
    let other = tempfile::tempdir().unwrap();
    let forged = ticket::issue(&identity::ensure(other.path()).unwrap(), &request).unwrap();
    assert!(reason(ask(&mut client, &forged, SQL).await).contains("signature"));
    // A peer's key alone opens nothing but the descriptor.
    let statement = TicketStatementQuery { statement_handle: SQL.into() };
    assert!(client.do_get(Ticket { ticket: statement.as_any().encode_to_vec().into() }).await.is_err());
    // A ticket without a peer's key opens nothing.
    let mut stranger = plain(&zurich).await;
    assert!(reason(ask(stranger.inner_mut(), &fresh(), SQL).await).contains("trusted node"));
    // A removed pin counts at once, on a connection that is open: it is closed.
    zurich.node.federation.trusted_keys().replace([]);
    assert!(ask(&mut client, &fresh(), SQL).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn unpinned_keys_get_nowhere() {
    let [_cleveland, zurich] = two_sites().await;
    let dir = tempfile::tempdir().unwrap();
    let stranger = identity::ensure(dir.path()).unwrap();
    // The handshake of TLS 1.3 ends for the client before the server has looked: the first call tells.
    if let Some(mut client) = raw(&zurich, &stranger).await {
        let action = Action { r#type: "kanon.descriptor".into(), body: Default::default() };
        assert!(client.do_action(action).await.is_err());
    }
    // Nor does somebody without a key learn what is offered.
    let action = Action { r#type: "kanon.descriptor".into(), body: Default::default() };
    let status = plain(&zurich).await.inner_mut().do_action(action).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    // And a server with another key than the pinned one is not talked to.
    let wrong = tls::client_config(&stranger, stranger.fingerprint).unwrap();
    let tcp = TcpStream::connect(zurich.address).await.unwrap();
    let name = tls::PEER_SERVER_NAME.try_into().unwrap();
    assert!(tokio_rustls::TlsConnector::from(wrong).connect(name, tcp).await.is_err());
}
