//! Calls of Flight: subplans with tickets of all kinds, and messages that are none.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{ProstMessageExt as _, TicketStatementQuery};
use arrow_flight::{FlightData, Ticket};
use futures::{StreamExt as _, TryStreamExt as _};
use hyper_util::rt::TokioIo;
use kanon_tests::flight::{lines_of, of_status};
use prost::Message as _;
use prost::bytes::{Buf as _, BufMut as _, Bytes};
use rustls::ClientConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};

use crate::keys::{Over, PEER_SERVER_NAME, World};

/// How long it waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A socket, or TLS over it.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Connects to the site.
pub async fn wire(port: u16, tls: Option<Arc<ClientConfig>>) -> io::Result<Box<dyn Wire>> {
    let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
    tcp.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Box::new(tcp)) };
    let name = PEER_SERVER_NAME.try_into().unwrap();
    Ok(Box::new(TlsConnector::from(tls).connect(name, tcp).await?))
}

#[derive(Clone)]
struct Connector(u16, Option<Arc<ClientConfig>>);

impl tonic::codegen::Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Wire>>;
    type Error = io::Error;
    type Future = futures::future::BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { Ok(TokioIo::new(wire(this.0, this.1).await?)) })
    }
}

async fn connect(world: &World, over: Over) -> Result<Channel, String> {
    let connector = Connector(world.port, world.client(over));
    let endpoint = Endpoint::from_static("http://peer").connect_timeout(PATIENCE);
    endpoint.connect_with_connector(connector).await.map_err(|error| said(&error))
}

fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A refusal of the site, or of its transport, or no connection at all.
fn failed(status: &Status) -> Value {
    let error = of_status(status);
    let from_node = error.code != "-";
    // Without a SQLSTATE the site's program said nothing: what its transport, or this side's, says of it.
    json!({
        "grpc": format!("{:?}", status.code()),
        "sqlstate": if from_node { json!(error.code) } else { Value::Null },
        "message": if from_node { error.message } else { said(status) },
        "hint": error.hint,
    })
}

/// Asks a text with a ticket for it. The answer has the `ticket`, and `rows`, or how it failed.
pub async fn ask(world: &World, command: &Value) -> Value {
    let mut sql = command["sql"].as_str().unwrap().to_owned();
    if let Some(megabytes) = command["megabytes"].as_u64() {
        sql.push_str(&" ".repeat(usize::try_from(megabytes).unwrap() << 20));
    }
    let ticket = match command["ticket"].as_str() {
        Some(ticket) => ticket.to_owned(),
        None => world.ticket(&sql, command),
    };
    let asked = tokio::time::timeout(PATIENCE, rows(world, command, &sql, &ticket)).await;
    let mut answer = asked.unwrap_or_else(|_| json!({"closed": "no answer in time"}));
    answer["ticket"] = json!(ticket);
    answer
}

async fn rows(world: &World, command: &Value, sql: &str, ticket: &str) -> Value {
    let channel = match connect(world, Over::of(command)).await {
        Ok(channel) => channel,
        Err(why) => return json!({"closed": why}),
    };
    let mut client = FlightServiceClient::new(channel);
    let statement = TicketStatementQuery { statement_handle: sql.to_owned().into() };
    let mut request = Request::new(Ticket { ticket: statement.as_any().encode_to_vec().into() });
    if !ticket.is_empty() {
        request.metadata_mut().insert("x-kanon-ticket", ticket.parse().unwrap());
    }
    match client.do_get(request).await {
        Ok(answer) => read(answer.into_inner()).await,
        Err(status) => failed(&status),
    }
}

async fn read(answer: tonic::Streaming<FlightData>) -> Value {
    let mut batches = FlightRecordBatchStream::new_from_flight_data(answer.map_err(FlightError::from));
    let mut rows: Vec<String> = Vec::new();
    loop {
        match batches.next().await {
            Some(Ok(batch)) => rows.extend(lines_of(&batch)),
            Some(Err(FlightError::Tonic(status))) => return failed(&status),
            Some(Err(error)) => return json!({"closed": error.to_string()}),
            None => return json!({"rows": rows}),
        }
    }
}

/// Calls a method with bytes as its message, whatever they are: `path`, `body` (Base64), `ticket` for a header of that kind.
pub async fn call(world: &World, command: &Value) -> Value {
    use base64::Engine as _;
    let body = base64::prelude::BASE64_STANDARD.decode(command["body"].as_str().unwrap()).unwrap();
    let asked = tokio::time::timeout(PATIENCE, raw(world, command, body.into())).await;
    asked.unwrap_or_else(|_| json!({"closed": "no answer in time"}))
}

async fn raw(world: &World, command: &Value, body: Bytes) -> Value {
    let channel = match connect(world, Over::of(command)).await {
        Ok(channel) => channel,
        Err(why) => return json!({"closed": why}),
    };
    let mut grpc = tonic::client::Grpc::new(channel);
    if let Err(error) = grpc.ready().await {
        return json!({"closed": said(&error)});
    }
    let path: PathAndQuery = command["path"].as_str().unwrap().parse().unwrap();
    let mut request = Request::new(futures::stream::once(async { body }));
    if let Some(ticket) = command["ticket"].as_str() {
        request.metadata_mut().insert("x-kanon-ticket", ticket.parse().unwrap());
    }
    match grpc.streaming(request, path, Bare).await {
        Ok(answer) => match answer.into_inner().try_fold(0, |n, _: Bytes| async move { Ok(n + 1) }).await {
            Ok(messages) => json!({"messages": messages}),
            Err(status) => failed(&status),
        },
        Err(status) => failed(&status),
    }
}

/// Messages as they are.
struct Bare;

impl Codec for Bare {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Bare;
    type Decoder = Bare;

    fn encoder(&mut self) -> Bare {
        Bare
    }

    fn decoder(&mut self) -> Bare {
        Bare
    }
}

impl Encoder for Bare {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Bare {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
