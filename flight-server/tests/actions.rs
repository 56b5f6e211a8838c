//! What clients of Flight SQL ask besides statements: options, cancelling, renewing, polling, what the server is; and what cannot be read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{
    Any, CommandGetSqlInfo, CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandStatementQuery,
    ProstMessageExt as _, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightDescriptor, FlightEndpoint,
    FlightInfo, RenewFlightEndpointRequest, Ticket,
};
use datafusion::arrow::array::{AsArray as _, RecordBatch};
use datafusion::arrow::datatypes::{Int32Type, Schema, UInt32Type};
use futures::{StreamExt as _, TryStreamExt as _};
use kanon_engine::config::Config;
use kanon_engine::node::Node;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

const ENDLESS: &str = "SELECT n FROM generate_series(1, 1000000000000) AS g(n)";

struct Site {
    node: Arc<Node>,
    address: SocketAddr,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
        self.node.stopping.cancel();
    }
}

async fn site(change: impl FnOnce(&mut Config)) -> Site {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new("zurich", dir.path());
    change(&mut config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let node = Node::start(config).await.unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(kanon_flight::serve(Arc::clone(&node), listener, stop.clone()));
    node.store.create_role("alice", Some("correct horse"), true).await.unwrap();
    node.store.grant_role("analyst", "alice").await.unwrap();
    Site { node, address, stop, _dir: dir }
}

/// A client that is logged in.
struct Client {
    sql: FlightSqlServiceClient<Channel>,
    raw: FlightServiceClient<Channel>,
}

impl Client {
    async fn of(site: &Site) -> Client {
        let channel = Endpoint::from_shared(format!("http://{}", site.address)).unwrap().connect().await.unwrap();
        let mut sql = FlightSqlServiceClient::new(channel.clone());
        sql.handshake("alice", "correct horse").await.unwrap();
        Client { sql, raw: FlightServiceClient::new(channel) }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let token = format!("Bearer {}", self.sql.token().unwrap());
        request.metadata_mut().insert("authorization", token.parse().unwrap());
        request
    }

    async fn act(&mut self, name: &str, body: Vec<u8>) -> Result<Vec<u8>, Status> {
        let request = self.request(Action { r#type: name.to_owned(), body: body.into() });
        let mut answers = self.raw.do_action(request).await?.into_inner();
        let answer = answers.next().await.expect("an answer")?;
        assert!(answers.next().await.is_none());
        Ok(answer.body.to_vec())
    }

    async fn cancel(&mut self, info: &FlightInfo) -> Result<CancelStatus, Status> {
        let request = CancelFlightInfoRequest::new(info.clone()).encode_to_vec();
        let answer = self.act("CancelFlightInfo", request).await?;
        Ok(CancelFlightInfoResult::decode(&*answer).unwrap().status())
    }

    async fn rows(&mut self, info: &FlightInfo) -> Result<Vec<RecordBatch>, String> {
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        let stream = self.sql.do_get(ticket).await.map_err(|e| e.to_string())?;
        stream.try_collect().await.map_err(|e| e.to_string())
    }

    async fn one(&mut self, sql: &str) -> String {
        let info = self.sql.execute(sql.to_owned(), None).await.unwrap();
        let batches = self.rows(&info).await.unwrap();
        batches[0].column(0).as_string::<i32>().value(0).to_owned()
    }
}

fn state(status: &Status) -> &str {
    status.metadata().get("kanon-sqlstate").map_or("-", |state| state.to_str().unwrap())
}

#[derive(Clone, PartialEq, prost::Message)]
struct SetOptions {
    #[prost(map = "string, message", tag = "1")]
    session_options: HashMap<String, OptionValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OptionValue {
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(sfixed64, tag = "3")]
    Integer(i64),
    #[prost(double, tag = "4")]
    Float(f64),
    #[prost(message, tag = "5")]
    List(TextList),
}

#[derive(Clone, PartialEq, prost::Message)]
struct TextList {
    #[prost(string, repeated, tag = "1")]
    values: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SetErrors {
    #[prost(map = "string, message", tag = "1")]
    errors: HashMap<String, SetError>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct SetError {
    #[prost(int32, tag = "1")]
    value: i32,
}

async fn set(client: &mut Client, options: &[(&str, Option<Value>)]) -> BTreeMap<String, i32> {
    let session_options =
        options.iter().map(|(name, value)| ((*name).to_owned(), OptionValue { value: value.clone() })).collect();
    let answer = client.act("SetSessionOptions", SetOptions { session_options }.encode_to_vec()).await.unwrap();
    SetErrors::decode(&*answer).unwrap().errors.into_iter().map(|(name, error)| (name, error.value)).collect()
}

async fn get(client: &mut Client) -> HashMap<String, OptionValue> {
    let answer = client.act("GetSessionOptions", Vec::new()).await.unwrap();
    SetOptions::decode(&*answer).unwrap().session_options
}

#[tokio::test(flavor = "multi_thread")]
async fn options_are_the_session_s_settings() {
    let site = site(|_| {}).await;
    let mut client = Client::of(&site).await;
    let text = |text: &str| Some(Value::Text(text.to_owned()));
    let wrong = set(
        &mut client,
        &[
            ("timezone", text("Europe/Zurich")),
            ("statement_timeout", Some(Value::Integer(7_000))),
            ("kanon.exact_numerics", Some(Value::Bool(true))),
            ("schema", text("kanon")),
            ("catalog", text("kanon")),
            ("application_name", text("it's")),
            ("nothing", text("x")),
            ("DateStyle", text("German")),
            ("server_version", text("16")),
            ("x'; DROP TABLE y", text("x")),
        ],
    )
    .await;
    let expected = [("nothing", 1), ("DateStyle", 2), ("server_version", 2), ("x'; DROP TABLE y", 1)];
    assert_eq!(wrong, expected.map(|(name, value)| (name.to_owned(), value)).into());
    assert_eq!(set(&mut client, &[("catalog", text("elsewhere"))]).await["catalog"], 2);
    assert_eq!(client.one("SHOW TimeZone").await, "Europe/Zurich");
    assert_eq!(client.one("SHOW application_name").await, "it's");
    assert_eq!(client.one("SHOW statement_timeout").await, "7s");
    let options = get(&mut client).await;
    let option = |name: &str| match &options[name].value {
        Some(Value::Text(text)) => text.clone(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!([option("TimeZone"), option("catalog"), option("schema")], ["Europe/Zurich", "kanon", "kanon"]);
    // A list, and back to what it was.
    let path = Value::List(TextList { values: vec!["public".to_owned(), "kanon".to_owned()] });
    assert!(set(&mut client, &[("search_path", Some(path)), ("TimeZone", None)]).await.is_empty());
    assert_eq!(client.one("SHOW search_path").await, "public, kanon");
    assert_eq!(client.one("SHOW TimeZone").await, "UTC");
    // They are one session's.
    assert_eq!(Client::of(&site).await.one("SHOW search_path").await, "public, federation");
    let status = client.act("SetSessionOptions", vec![0xff, 0xff]).await.unwrap_err();
    assert_eq!(state(&status), "08P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_when_they_are_closed_and_when_their_time_is_over() {
    let site = site(|config| config.access_token_expire = Duration::from_millis(1_500)).await;
    let mut client = Client::of(&site).await;
    assert_eq!(client.act("CloseSession", Vec::new()).await.unwrap(), [8, 1], "closed");
    let status = client.act("CloseSession", Vec::new()).await.unwrap_err();
    assert_eq!((status.code(), state(&status)), (Code::Unauthenticated, "28000"));
    // It is not use that keeps a token alive.
    let mut client = Client::of(&site).await;
    let began = Instant::now();
    let info = client.sql.execute("SELECT 1".to_owned(), None).await.unwrap();
    let status = loop {
        match client.act("GetSessionOptions", Vec::new()).await {
            Ok(_) => assert!(began.elapsed() < Duration::from_secs(20), "it never ends"),
            Err(status) => break status,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(began.elapsed() > Duration::from_millis(1_000), "{:?}", began.elapsed());
    assert_eq!((status.code(), state(&status)), (Code::Unauthenticated, "28000"));
    assert!(status.message().contains("expired"), "{status}");
    assert!(client.rows(&info).await.unwrap_err().contains("expired"));
    assert!(client.sql.execute("SELECT 1".to_owned(), None).await.is_err());
    assert_eq!(Client::of(&site).await.one("SELECT 'again'").await, "again");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_cancelled_before_they_are_fetched_and_while_they_run() {
    let site = site(|_| {}).await;
    let mut client = Client::of(&site).await;
    // One that waits.
    let info = client.sql.execute(ENDLESS.to_owned(), None).await.unwrap();
    // It is nobody else's.
    let mut other = Client::of(&site).await;
    assert_eq!(state(&other.cancel(&info).await.unwrap_err()), "26000");
    assert_eq!(client.cancel(&info).await.unwrap(), CancelStatus::Cancelled);
    assert!(client.rows(&info).await.unwrap_err().contains("does not exist"));
    assert_eq!(state(&client.cancel(&info).await.unwrap_err()), "26000");
    // One in the middle of its rows.
    let info = client.sql.execute(ENDLESS.to_owned(), None).await.unwrap();
    let mut stream = client.sql.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    assert!(other.cancel(&info).await.is_err());
    assert!(stream.next().await.unwrap().is_ok(), "another's request stops nothing");
    assert_eq!(client.cancel(&info).await.unwrap(), CancelStatus::Cancelled);
    let error = loop {
        match stream.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("it ended by itself"),
        }
    };
    let arrow_flight::error::FlightError::Tonic(status) = error else { panic!("{error}") };
    assert_eq!((status.code(), state(&status)), (Code::Cancelled, "57014"));
    assert!(client.cancel(&info).await.is_err(), "it is gone");
    // One that computes, and a second of the same session that goes on.
    let computing = "SELECT count(*)::text FROM generate_series(1, 1000000000000)";
    let info = client.sql.execute(computing.to_owned(), None).await.unwrap();
    let mut fetching = client.sql.clone();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let fetch = tokio::spawn(async move {
        let stream = fetching.do_get(ticket).await?;
        stream.try_collect::<Vec<_>>().await
    });
    let began = Instant::now();
    loop {
        match client.cancel(&info).await {
            Ok(CancelStatus::Cancelled) if fetch.is_finished() || began.elapsed() > Duration::from_millis(500) => break,
            Ok(_) => break,
            Err(_) => assert!(began.elapsed() < Duration::from_secs(20), "it does not begin"),
        }
    }
    assert_eq!(client.one("SELECT 'goes on'").await, "goes on");
    let ended = tokio::time::timeout(Duration::from_secs(20), fetch).await.expect("it goes on").unwrap();
    assert!(ended.is_err());
    // What answers of the catalog is not cancelled, and what cannot be read is not known.
    let info = client.sql.get_catalogs().await.unwrap();
    assert_eq!(client.cancel(&info).await.unwrap(), CancelStatus::NotCancellable);
    assert_eq!(state(&client.cancel(&FlightInfo::new()).await.unwrap_err()), "08P01");
    assert_eq!(state(&client.act("CancelFlightInfo", vec![0xff]).await.unwrap_err()), "08P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_wait_can_be_kept() {
    let site = site(|_| {}).await;
    let mut client = Client::of(&site).await;
    let info = client.sql.execute("SELECT 'kept'".to_owned(), None).await.unwrap();
    let endpoint = info.endpoint[0].clone();
    let renewal = RenewFlightEndpointRequest::new(endpoint.clone()).encode_to_vec();
    let renewed = FlightEndpoint::decode(&*client.act("RenewFlightEndpoint", renewal.clone()).await.unwrap()).unwrap();
    assert_eq!(renewed, endpoint);
    let mut other = Client::of(&site).await;
    assert_eq!(state(&other.act("RenewFlightEndpoint", renewal.clone()).await.unwrap_err()), "26000");
    assert_eq!(client.rows(&info).await.unwrap()[0].num_rows(), 1);
    assert_eq!(state(&client.act("RenewFlightEndpoint", renewal).await.unwrap_err()), "26000");
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_and_schemas() {
    let site = site(|_| {}).await;
    let mut client = Client::of(&site).await;
    let command = |sql: &str| {
        let query = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
        FlightDescriptor::new_cmd(query.as_any().encode_to_vec())
    };
    let request = client.request(command("SELECT 'polled' AS said"));
    let polled = client.raw.poll_flight_info(request).await.unwrap().into_inner();
    assert_eq!((polled.progress, polled.flight_descriptor), (Some(1.0), None));
    let info = polled.info.unwrap();
    assert_eq!(client.rows(&info).await.unwrap()[0].column(0).as_string::<i32>().value(0), "polled");
    let request = client.request(command("SELECT 1 AS n, 'x' AS t"));
    let schema = client.raw.get_schema(request).await.unwrap().into_inner();
    let schema = Schema::try_from(&schema).unwrap();
    assert_eq!(schema.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["n", "t"]);
    // To be asked for its columns runs nothing.
    let request = client.request(command("SET application_name = 'ran'"));
    client.raw.get_schema(request).await.unwrap();
    assert_eq!(client.one("SHOW application_name").await, "");
    let request = client.request(command("SELECT nothing"));
    assert_eq!(state(&client.raw.get_schema(request).await.unwrap_err()), "42703");
    // Neither tells anybody anything who is not logged in.
    assert!(client.raw.get_schema(command("SELECT 1")).await.is_err());
    assert!(client.raw.poll_flight_info(command("SELECT 1")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_says_all_that_can_be_said_of_it() {
    let site = site(|_| {}).await;
    let mut client = Client::of(&site).await;
    let command = CommandGetSqlInfo { info: Vec::new() };
    let ticket = Ticket { ticket: command.as_any().encode_to_vec().into() };
    let batches: Vec<RecordBatch> = client.sql.do_get(ticket).await.unwrap().try_collect().await.unwrap();
    let said: BTreeSet<i32> = batches
        .iter()
        .flat_map(|b| b.column(0).as_primitive::<UInt32Type>().values().to_vec())
        .map(|n| n as i32)
        .collect();
    // Every number that the protocol has.
    let all: BTreeSet<i32> = (0..=600).filter(|number| SqlInfo::try_from(*number).is_ok()).collect();
    assert_eq!(said, all);
    assert!(all.len() > 85, "{}", all.len());
    let types = |data_type: Option<i32>| Ticket {
        ticket: CommandGetXdbcTypeInfo { data_type }.as_any().encode_to_vec().into(),
    };
    let batches: Vec<RecordBatch> = client.sql.do_get(types(None)).await.unwrap().try_collect().await.unwrap();
    let numbers = batches[0].column(1).as_primitive::<Int32Type>().values().to_vec();
    assert!(numbers.is_sorted());
    let names: Vec<_> = batches[0].column(0).as_string::<i32>().iter().flatten().collect();
    for name in ["bigint", "text", "numeric", "timestamp with time zone", "boolean"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let batches: Vec<RecordBatch> = client.sql.do_get(types(Some(4))).await.unwrap().try_collect().await.unwrap();
    assert_eq!(batches[0].column(0).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("integer")]);
    let actions: Vec<_> = {
        let request = client.request(arrow_flight::Empty {});
        client.raw.list_actions(request).await
    }
    .unwrap()
    .into_inner()
    .try_collect()
    .await
    .unwrap();
    let names: BTreeSet<&str> = actions.iter().map(|action| action.r#type.as_str()).collect();
    for name in ["SetSessionOptions", "GetSessionOptions", "CloseSession", "CancelFlightInfo", "RenewFlightEndpoint"] {
        assert!(names.contains(name), "{names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_or_is_not_known_is_an_error_and_no_more() {
    let site = site(|_| {}).await;
    let mut client = Client::of(&site).await;
    let unknown =
        |handle: &str| TicketStatementQuery { statement_handle: handle.to_owned().into() }.as_any().encode_to_vec();
    let prepared = |handle: &[u8]| {
        CommandPreparedStatementQuery { prepared_statement_handle: handle.to_vec().into() }.as_any().encode_to_vec()
    };
    let strange = Any { type_url: "type.googleapis.com/x.Y".to_owned(), value: vec![1, 2, 3].into() }.encode_to_vec();
    let cut = {
        let mut whole = unknown("x");
        whole.truncate(whole.len() - 1);
        whole
    };
    let tickets = [
        (unknown("nothing"), Code::NotFound),
        (unknown(""), Code::NotFound),
        (unknown("SELECT 1"), Code::NotFound),
        (prepared(b"nothing"), Code::NotFound),
        (prepared(&[0xff, 0xfe]), Code::NotFound),
        (strange.clone(), Code::Unimplemented),
        (cut, Code::InvalidArgument),
        (vec![], Code::Unimplemented),
        (vec![0xff; 64], Code::InvalidArgument),
    ];
    for (ticket, code) in tickets {
        let request = client.request(Ticket { ticket: ticket.clone().into() });
        let status = client.raw.do_get(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{ticket:?}: {status}");
        let request = client.request(FlightDescriptor::new_cmd(ticket.clone()));
        assert!(client.raw.get_flight_info(request).await.is_err(), "{ticket:?}");
        let request = client.request(FlightDescriptor::new_cmd(ticket.clone()));
        assert!(client.raw.get_schema(request).await.is_err(), "{ticket:?}");
        let request = client.request(FlightDescriptor::new_cmd(ticket.clone()));
        assert!(client.raw.poll_flight_info(request).await.is_err(), "{ticket:?}");
    }
    for action in ["", "nothing", "BeginTransaction", "CreatePreparedStatement", "kanon.descriptor"] {
        let status = client.act(action, vec![0xff, 1, 2]).await.unwrap_err();
        assert_ne!(status.code(), Code::Internal, "{action}: {status}");
        assert_ne!(status.code(), Code::Unknown, "{action}: {status}");
    }
    let status = client.act("nothing", Vec::new()).await.unwrap_err();
    assert_eq!((status.code(), state(&status)), (Code::Unimplemented, "0A000"));
    for header in ["", "Bearer", "Bearer ", "Basic", "Basic !!!", "Basic Og==", "Negotiate x", "bearer x y"] {
        let mut request = Request::new(FlightDescriptor::new_cmd(
            CommandStatementQuery { query: "SELECT 1".into(), transaction_id: None }.as_any().encode_to_vec(),
        ));
        request.metadata_mut().insert("authorization", header.parse().unwrap());
        let status = client.raw.get_flight_info(request).await.unwrap_err();
        assert_eq!((status.code(), state(&status)), (Code::Unauthenticated, "28000"), "{header:?}");
    }
    assert_eq!(client.one("SELECT 'still here'").await, "still here");
}
