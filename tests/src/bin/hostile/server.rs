//! A node that answers what it is told to when others ask who it is.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::Stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status, Streaming};

use crate::keys::World;

/// What it says now, and how often it was asked.
#[derive(Default)]
struct Said {
    body: Vec<u8>,
    asked: u64,
}

/// The server, once it was told to be one.
#[derive(Default)]
pub struct Liar(Option<Arc<Mutex<Said>>>);

impl Liar {
    /// From now on says a descriptor, with what the command wants otherwise, or `text`, or so many `megabytes` of nothing. Listens on `port` the first time. The answer is
    /// how often it was asked since the last command.
    pub async fn answer(&mut self, world: &World, command: &Value) -> Value {
        let said = match &self.0 {
            Some(said) => Arc::clone(said),
            None => {
                let said: Arc<Mutex<Said>> = Arc::default();
                let port = u16::try_from(command["port"].as_u64().unwrap()).unwrap();
                listen(world, port, Arc::clone(&said)).await;
                self.0 = Some(Arc::clone(&said));
                said
            }
        };
        if command["count"].as_bool() == Some(true) {
            return json!({"asked": said.lock().unwrap().asked});
        }
        let body = match (command["text"].as_str(), command["megabytes"].as_u64()) {
            (Some(text), _) => text.as_bytes().to_vec(),
            (None, Some(megabytes)) => vec![b'a'; usize::try_from(megabytes).unwrap() << 20],
            (None, None) => world.descriptor(command).into_bytes(),
        };
        let mut said = said.lock().unwrap();
        said.body = body;
        json!({"asked": std::mem::take(&mut said.asked)})
    }
}

async fn listen(world: &World, port: u16, said: Arc<Mutex<Said>>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let acceptor = TlsAcceptor::from(world.server());
    let (sender, connections) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, sender) = (acceptor.clone(), sender.clone());
            tokio::spawn(async move {
                if let Ok(tls) = acceptor.accept(tcp).await {
                    let _ = sender.send(Ok::<_, std::io::Error>(tls)).await;
                }
            });
        }
    });
    let service = FlightServiceServer::new(Answers(said));
    let connections = tokio_stream::wrappers::ReceiverStream::new(connections);
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(connections));
}

struct Answers(Arc<Mutex<Said>>);

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send + 'static>>;
type Answer<T> = Result<Response<T>, Status>;

fn no<T>() -> Answer<T> {
    Err(Status::unimplemented("no"))
}

#[tonic::async_trait]
impl FlightService for Answers {
    type HandshakeStream = Streamed<HandshakeResponse>;
    type ListFlightsStream = Streamed<FlightInfo>;
    type DoGetStream = Streamed<FlightData>;
    type DoPutStream = Streamed<PutResult>;
    type DoActionStream = Streamed<arrow_flight::Result>;
    type ListActionsStream = Streamed<ActionType>;
    type DoExchangeStream = Streamed<FlightData>;

    async fn do_action(&self, request: Request<Action>) -> Answer<Self::DoActionStream> {
        if request.get_ref().r#type != "kanon.descriptor" {
            return no();
        }
        let mut said = self.0.lock().unwrap();
        said.asked += 1;
        let answer = arrow_flight::Result { body: said.body.clone().into() };
        Ok(Response::new(Box::pin(futures::stream::once(async { Ok(answer) }))))
    }

    async fn handshake(&self, _: Request<Streaming<HandshakeRequest>>) -> Answer<Self::HandshakeStream> {
        no()
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Answer<Self::ListFlightsStream> {
        no()
    }

    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Answer<FlightInfo> {
        no()
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Answer<PollInfo> {
        no()
    }

    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Answer<SchemaResult> {
        no()
    }

    async fn do_get(&self, _: Request<Ticket>) -> Answer<Self::DoGetStream> {
        no()
    }

    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Answer<Self::DoPutStream> {
        no()
    }

    async fn list_actions(&self, _: Request<Empty>) -> Answer<Self::ListActionsStream> {
        no()
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Answer<Self::DoExchangeStream> {
        no()
    }
}
