//! Actions of Flight that are not of Flight SQL: sessions and their options, cancelling, and what peers ask.

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{Any, Command};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightEndpoint, FlightInfo,
    RenewFlightEndpointRequest, Ticket,
};
use kanon_engine::audit::{self, CHECKPOINT_ACTION};
use kanon_engine::error::{Error, Sqlstate};
use kanon_engine::federation::descriptor::DESCRIPTOR_ACTION;
use prost::Message as _;
use tonic::{Request, Response};

use crate::listener::ConnectionInfo;
use crate::logins::{Login, peer_key};
use crate::options;
use crate::service::{Service, StatusResult, failed, name, unknown_statement};

const CLOSE_SESSION: &str = "CloseSession";
const SET_OPTIONS: &str = "SetSessionOptions";
const GET_OPTIONS: &str = "GetSessionOptions";
const CANCEL: &str = "CancelFlightInfo";
const RENEW: &str = "RenewFlightEndpoint";

/// What clients may ask for.
pub(crate) fn listed() -> impl Iterator<Item = ActionType> {
    [
        (SET_OPTIONS, "Sets the session's settings."),
        (GET_OPTIONS, "Answers the session's settings."),
        (CLOSE_SESSION, "Ends the session of the token."),
        (CANCEL, "Stops a statement."),
        (RENEW, "Keeps a statement that was not fetched yet."),
    ]
    .into_iter()
    .map(|(name, description)| ActionType { r#type: name.to_owned(), description: description.to_owned() })
}

/// What a ticket is of.
enum Asked {
    /// A statement, by its handle.
    Statement(String),
    /// A prepared statement, by its handle.
    Prepared(String),
    /// The catalog.
    Catalog,
}

fn asked(ticket: Option<&Ticket>) -> StatusResult<Asked> {
    let command = ticket.and_then(|ticket| Command::try_from(Any::decode(&*ticket.ticket).ok()?).ok());
    let text = |handle: &[u8]| name(handle).unwrap_or_default().to_owned();
    match command {
        Some(Command::TicketStatementQuery(ticket)) => Ok(Asked::Statement(text(&ticket.statement_handle))),
        Some(Command::CommandPreparedStatementQuery(query)) => {
            Ok(Asked::Prepared(text(&query.prepared_statement_handle)))
        }
        Some(_) => Ok(Asked::Catalog),
        None => Err(failed(Error::new(Sqlstate::ProtocolViolation, "the ticket cannot be read"))),
    }
}

fn unreadable(action: &str) -> Error {
    Error::new(Sqlstate::ProtocolViolation, format!("the request of action \"{action}\" cannot be read"))
}

impl Service {
    pub(crate) async fn act(
        &self,
        request: Request<Action>,
    ) -> StatusResult<Response<<Service as FlightService>::DoActionStream>> {
        let action = request.get_ref().clone();
        let body = match action.r#type.as_str() {
            DESCRIPTOR_ACTION => {
                let key = peer_key(request.extensions().get::<ConnectionInfo>()).map_err(failed)?;
                if !self.node.federation.trusted_keys().contains(&key.fingerprint()) {
                    return Err(failed(Error::new(Sqlstate::InvalidAuthorization, "the node is not trusted any more")));
                }
                let snapshot = self.node.catalog.snapshot();
                self.node.federation.own_descriptor(&snapshot).await.map_err(failed)?.into_bytes()
            }
            CHECKPOINT_ACTION => {
                let key = peer_key(request.extensions().get::<ConnectionInfo>()).map_err(failed)?;
                if !self.node.federation.trusted_keys().contains(&key.fingerprint()) {
                    return Err(failed(Error::new(Sqlstate::InvalidAuthorization, "the node is not trusted any more")));
                }
                audit::answer_checkpoint(&self.node, &key.fingerprint(), &action.body).await.map_err(failed)?
            }
            CLOSE_SESSION => {
                self.login(&request).await?;
                self.logins.log_out(request.metadata(), request.extensions().get::<ConnectionInfo>());
                options::closed()
            }
            SET_OPTIONS => {
                let login = self.login(&request).await?;
                options::set(&login.session, &action.body).await.map_err(failed)?
            }
            GET_OPTIONS => options::get(&self.login(&request).await?.session),
            CANCEL => {
                let login = self.login(&request).await?;
                let info = CancelFlightInfoRequest::decode(&*action.body).map_err(|_| failed(unreadable(CANCEL)))?.info;
                let status = self.cancel_info(info.as_ref(), &login)?;
                CancelFlightInfoResult { status: status.into() }.encode_to_vec()
            }
            RENEW => {
                let login = self.login(&request).await?;
                let renewal =
                    RenewFlightEndpointRequest::decode(&*action.body).map_err(|_| failed(unreadable(RENEW)))?;
                self.renewed(renewal.endpoint, &login)?.encode_to_vec()
            }
            other => return Err(failed(Error::unsupported(format!("action \"{other}\" is not supported")))),
        };
        let answer = arrow_flight::Result { body: body.into() };
        Ok(Response::new(Box::pin(futures::stream::once(async { Ok(answer) }))))
    }

    /// Stops the statement of an encoded FlightInfo.
    pub(crate) fn cancel(&self, info: &[u8], login: &Arc<Login>) -> StatusResult<CancelStatus> {
        let info = FlightInfo::decode(info).map_err(|_| failed(unreadable(CANCEL)))?;
        self.cancel_info(Some(&info), login)
    }

    fn cancel_info(&self, info: Option<&FlightInfo>, login: &Arc<Login>) -> StatusResult<CancelStatus> {
        let endpoint = info.and_then(|info| info.endpoint.first());
        match asked(endpoint.and_then(|endpoint| endpoint.ticket.as_ref()))? {
            Asked::Statement(handle) => {
                let waits = self.statements.get(&handle).is_some_and(|s| Arc::ptr_eq(&s.login, login));
                if waits {
                    self.statements.remove(&handle);
                }
                if waits || self.running.cancel(&handle, login) {
                    Ok(CancelStatus::Cancelled)
                } else {
                    Err(unknown_statement())
                }
            }
            Asked::Prepared(handle) => {
                self.prepared(handle.as_bytes(), login)?;
                // It is kept: only what runs of it now is stopped.
                let ran = self.running.cancel(&handle, login);
                Ok(if ran { CancelStatus::Cancelled } else { CancelStatus::NotCancellable })
            }
            Asked::Catalog => Ok(CancelStatus::NotCancellable),
        }
    }

    /// The same endpoint, whose statement is kept as if it were asked for now.
    fn renewed(&self, endpoint: Option<FlightEndpoint>, login: &Arc<Login>) -> StatusResult<FlightEndpoint> {
        match asked(endpoint.as_ref().and_then(|endpoint| endpoint.ticket.as_ref()))? {
            // To look at it is to use it.
            Asked::Statement(handle) => {
                self.statements.get(&handle).filter(|s| Arc::ptr_eq(&s.login, login)).ok_or_else(unknown_statement)?;
            }
            Asked::Prepared(handle) => drop(self.prepared(handle.as_bytes(), login)?),
            Asked::Catalog => {}
        }
        Ok(endpoint.unwrap_or_default())
    }
}
