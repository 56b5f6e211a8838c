//! The calls of Flight that Flight SQL leaves out: polling and schemas. All others are [`Service`]'s.

use std::pin::Pin;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::Stream;
use tonic::{Request, Response, Status, Streaming};

use crate::gate::read;
use crate::service::Service;

/// The service with them.
pub(crate) struct Outer(pub(crate) Service);

type StatusResult<T> = Result<Response<T>, Status>;
type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send + 'static>>;

#[tonic::async_trait]
impl FlightService for Outer {
    type HandshakeStream = Streamed<HandshakeResponse>;
    type ListFlightsStream = Streamed<FlightInfo>;
    type DoGetStream = Streamed<FlightData>;
    type DoPutStream = Streamed<PutResult>;
    type DoActionStream = Streamed<arrow_flight::Result>;
    type ListActionsStream = Streamed<ActionType>;
    type DoExchangeStream = Streamed<FlightData>;

    async fn handshake(&self, request: Request<Streaming<HandshakeRequest>>) -> StatusResult<Self::HandshakeStream> {
        FlightService::handshake(&self.0, request).await
    }

    async fn list_flights(&self, request: Request<Criteria>) -> StatusResult<Self::ListFlightsStream> {
        FlightService::list_flights(&self.0, read(request)).await
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> StatusResult<FlightInfo> {
        FlightService::get_flight_info(&self.0, read(request)).await
    }

    /// Everything that is asked for can be fetched at once: what it takes is waited for there.
    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> StatusResult<PollInfo> {
        let info = FlightService::get_flight_info(&self.0, read(request)).await?.into_inner();
        Ok(Response::new(PollInfo { progress: Some(1.0), ..PollInfo::new().with_info(info) }))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> StatusResult<SchemaResult> {
        self.0.schema_of(read(request)).await.map(Response::new)
    }

    async fn do_get(&self, request: Request<Ticket>) -> StatusResult<Self::DoGetStream> {
        FlightService::do_get(&self.0, read(request)).await
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> StatusResult<Self::DoPutStream> {
        FlightService::do_put(&self.0, request).await
    }

    async fn do_action(&self, request: Request<Action>) -> StatusResult<Self::DoActionStream> {
        FlightService::do_action(&self.0, read(request)).await
    }

    async fn list_actions(&self, request: Request<Empty>) -> StatusResult<Self::ListActionsStream> {
        FlightService::list_actions(&self.0, read(request)).await
    }

    async fn do_exchange(&self, request: Request<Streaming<FlightData>>) -> StatusResult<Self::DoExchangeStream> {
        FlightService::do_exchange(&self.0, request).await
    }
}
