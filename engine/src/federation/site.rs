//! Asking a peer: a subplan with its ticket over Flight SQL, and the answer as it arrives.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::Ticket;
use arrow_flight::decode::{DecodedPayload, FlightDataDecoder};
use arrow_flight::error::FlightError;
use arrow_flight::sql::{ProstMessageExt as _, TicketStatementQuery};
use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt as _, TryStreamExt as _};
use kanon_planner::facts::SiteId;
use prost::Message as _;
use tonic::Request;
use tonic::metadata::MetadataValue;

use super::client::{SiteClient, SiteError, SubplanRequest};
use super::identity::Identity;
use super::peer::{Peer, Standing};
use super::ticket::{self, MAX_TICKET_SECONDS, TicketRequest};
use super::wire::from_status;
use crate::error::{Error, Sqlstate};

/// The header that carries a ticket.
pub const TICKET_HEADER: &str = "x-kanon-ticket";
/// The header that says how many milliseconds the coordinator will wait for the whole answer.
pub const TIMEOUT_HEADER: &str = "x-kanon-timeout-ms";

/// A peer as a site that can be asked.
pub(super) struct PeerSite {
    pub(super) site: SiteId,
    pub(super) home: SiteId,
    pub(super) identity: Arc<Identity>,
    pub(super) peer: Arc<Peer>,
}

impl fmt::Debug for PeerSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerSite").field("site", &self.site).finish_non_exhaustive()
    }
}

#[async_trait]
impl SiteClient for PeerSite {
    fn site(&self) -> &SiteId {
        &self.site
    }

    async fn query(&self, request: SubplanRequest) -> Result<SendableRecordBatchStream, SiteError> {
        let rows = tokio::select! {
            biased;
            standing = self.peer.until_halted() => Err(SiteError::Answered(halted(standing))),
            answer = self.ask_twice(&request) => answer,
        }?;
        // Rows on their way end with it.
        let peer = Arc::clone(&self.peer);
        let schema = rows.schema();
        let until = futures::stream::unfold(Some(rows), move |rows| {
            let peer = Arc::clone(&peer);
            async move {
                let mut rows = rows?;
                tokio::select! {
                    biased;
                    standing = peer.until_halted() => {
                        Some((Err(DataFusionError::External(Box::new(SiteError::Answered(halted(standing))))), None))
                    }
                    next = rows.next() => next.map(|batch| (batch, Some(rows))),
                }
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, until)))
    }
}

/// Why a peer is not asked.
fn halted(standing: Standing) -> Error {
    let why = match standing {
        Standing::Removed => "this node no longer trusts it",
        Standing::Suspended | Standing::Peer => "this node has suspended it",
    };
    Error::new(Sqlstate::ObjectNotInPrerequisiteState, why)
        .hint("This node's operator decides when it is asked again. SET kanon.on_site_failure = partial")
}

impl PeerSite {
    async fn ask_twice(&self, request: &SubplanRequest) -> Result<SendableRecordBatchStream, SiteError> {
        match self.ask(request).await {
            // A kept connection that died unnoticed fails once; the next attempt makes a new one. The site has not answered,
            // and a second ticket is another question, so nothing is replayed.
            Err(SiteError::Unreachable(why)) => {
                tracing::debug!(site = %self.site, %why, "asking once more");
                self.ask(request).await
            }
            answer => answer,
        }
    }

    async fn ask(&self, request: &SubplanRequest) -> Result<SendableRecordBatchStream, SiteError> {
        let message = self.message(request)?;
        let answer = self.peer.service().do_get(message).await.map_err(|status| from_status(&status))?;
        let data = answer.into_inner().map_err(FlightError::from);
        // Arrow panics at some messages that no node sends.
        let mut decoder = AssertUnwindSafe(FlightDataDecoder::new(data))
            .catch_unwind()
            .map(|item| item.unwrap_or_else(|_| Err(FlightError::DecodeError("a message that cannot be".to_owned()))));
        let schema: SchemaRef = match decoder.next().await {
            Some(Ok(first)) => match first.payload {
                DecodedPayload::Schema(schema) => schema,
                _ => {
                    return Err(SiteError::VersionMismatch(
                        "an answer that does not begin with its columns".to_owned(),
                    ));
                }
            },
            Some(Err(error)) => return Err(site_error(error)),
            None => return Err(SiteError::Unreachable("the answer ended before it began".to_owned())),
        };
        let batches = decoder.filter_map(|item| async move {
            match item {
                Ok(data) => match data.payload {
                    DecodedPayload::RecordBatch(batch) => Some(Ok(batch)),
                    DecodedPayload::None | DecodedPayload::Schema(_) => None,
                },
                Err(error) => Some(Err(DataFusionError::External(Box::new(site_error(error))))),
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn message(&self, request: &SubplanRequest) -> Result<Request<Ticket>, SiteError> {
        let roles = request.principal.roles.iter().map(|role| role.as_str().to_owned()).collect();
        let wait_seconds = i64::try_from(request.timeout.as_secs()).unwrap_or(MAX_TICKET_SECONDS);
        let token = ticket::issue(
            &self.identity,
            &TicketRequest {
                home_node: &self.home,
                audience: &self.site,
                audience_key: self.peer.pin.fingerprint,
                user: &request.principal.name,
                roles,
                sql: &request.sql,
                participants: &request.participants,
                min_sites: request.min_sites,
                asked: request.asked,
                valid_seconds: wait_seconds.saturating_add(1),
            },
        )
        .map_err(SiteError::Answered)?;
        let statement = TicketStatementQuery { statement_handle: request.sql.clone().into() };
        let mut message = Request::new(Ticket { ticket: statement.as_any().encode_to_vec().into() });
        let invalid = |_| SiteError::VersionMismatch("a ticket that is no header".to_owned());
        message.metadata_mut().insert(TICKET_HEADER, MetadataValue::try_from(token).map_err(invalid)?);
        message.metadata_mut().insert(TIMEOUT_HEADER, MetadataValue::from(milliseconds(request.timeout)));
        Ok(message)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn site_error(error: FlightError) -> SiteError {
    match error {
        FlightError::Tonic(status) => from_status(&status),
        other => SiteError::Unreachable(format!("an answer that cannot be read: {other}")),
    }
}
