//! How a coordinator asks a site, whatever the transport: this node itself is asked in the same way as a peer.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;
use kanon_planner::facts::SiteId;
use kanon_privacy::budget::{Delta, Epsilon};

use crate::error::Error;
use crate::principal::Principal;

/// What a coordinator asks a site with private access to spend on a subplan at most. The site takes the less of it and of its own policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// ε
    pub epsilon: Epsilon,
    /// δ
    pub delta: Delta,
}

/// One subplan on its way to one site.
#[derive(Debug, Clone)]
pub struct SubplanRequest {
    /// The SQL text that the site runs through its own gate, over the names of its own tables.
    pub sql: String,
    /// Who asks, as known at the coordinator. The site maps it to its own roles (`alice@cleveland`).
    pub principal: Principal,
    /// All sites that are asked the same question, in order of name; for the ticket.
    pub participants: Vec<SiteId>,
    /// The fewest sites whose answers will be merged; for the ticket.
    pub min_sites: usize,
    /// What the site may spend on it where access is private; `None` where it is not.
    pub asked: Option<Asked>,
    /// How long the coordinator will wait for the whole answer. A transport passes on what is left of it.
    pub timeout: Duration,
}

/// Why a site gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SiteError {
    /// No connection, a broken one, an open circuit breaker, a site without a pin. The text is for the log.
    Unreachable(String),
    /// The site speaks another version of the protocol.
    VersionMismatch(String),
    /// The site answered with an error of its own.
    Answered(Error),
}

impl fmt::Display for SiteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SiteError::Unreachable(why) => write!(f, "unreachable: {why}"),
            SiteError::VersionMismatch(what) => write!(f, "version mismatch: {what}"),
            SiteError::Answered(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for SiteError {}

/// A site that can be asked.
///
/// # Cancelling
/// Dropping the future of [`SiteClient::query`], or the stream that it gave, tells the site to stop within a second.
///
/// # Errors on the way
/// The stream's errors are `DataFusionError::External` of a [`SiteError`] (or of an [`Error`], meaning `Answered`).
#[async_trait]
pub trait SiteClient: fmt::Debug + Send + Sync {
    /// Its name.
    fn site(&self) -> &SiteId;
    /// Sends a subplan and gives the answer as it arrives. The stream holds at most a few batches at a time.
    ///
    /// # Errors
    /// See [`SiteError`].
    async fn query(&self, request: SubplanRequest) -> Result<SendableRecordBatchStream, SiteError>;
}
