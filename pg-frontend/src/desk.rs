//! What a connection needs of the engine: a house that knows roles and opens desks, and a desk for every connection.
//!
//! A node is the house and its sessions are the desks. The two traits keep the protocol apart from them, so that the protocol can
//! be tested on answers of any type, endless ones among them.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use kanon_engine::error::Result;
use kanon_engine::node::Node;
use kanon_engine::principal::Principal;
use kanon_engine::session::{Answer, Piece, Prepared, Session, TransactionStatus};

/// One connection's session.
#[async_trait]
pub trait Desk: Send + Sync + 'static {
    /// See [`Session::split`].
    fn split(&self, text: &str) -> Result<Vec<Piece>>;
    /// See [`Session::prepare`].
    async fn prepare(&self, text: &str, types: &[Option<DataType>]) -> Result<Prepared>;
    /// See [`Session::execute`].
    async fn execute(&self, prepared: &Prepared, parameters: Vec<ScalarValue>) -> Result<Answer>;
    /// See [`Session::cancel`].
    fn cancel(&self);
    /// See [`Session::fail_transaction`].
    fn fail_transaction(&self);
    /// See [`Session::transaction_status`].
    fn transaction_status(&self) -> TransactionStatus;
    /// See [`Session::setting`].
    fn setting(&self, name: &str) -> Option<String>;
    /// See [`Session::set`].
    fn set(&self, name: &str, value: &str) -> Result<()>;
}

#[async_trait]
impl Desk for Session {
    fn split(&self, text: &str) -> Result<Vec<Piece>> {
        Session::split(self, text)
    }
    async fn prepare(&self, text: &str, types: &[Option<DataType>]) -> Result<Prepared> {
        Session::prepare(self, text, types).await
    }
    async fn execute(&self, prepared: &Prepared, parameters: Vec<ScalarValue>) -> Result<Answer> {
        Session::execute(self, prepared, parameters).await
    }
    fn cancel(&self) {
        Session::cancel(self);
    }
    fn fail_transaction(&self) {
        Session::fail_transaction(self);
    }
    fn transaction_status(&self) -> TransactionStatus {
        Session::transaction_status(self)
    }
    fn setting(&self, name: &str) -> Option<String> {
        Session::setting(self, name)
    }
    fn set(&self, name: &str, value: &str) -> Result<()> {
        Session::set(self, name, value)
    }
}

/// What a role needs to prove, and who it then is.
pub struct Credentials {
    /// `SCRAM-SHA-256$…`; for a role that does not exist one that no password fits, the same on every attempt.
    pub verifier: String,
    /// `None` for a role that does not exist.
    pub principal: Option<Principal>,
    /// Whether it has LOGIN.
    pub may_log_in: bool,
}

/// Who knows roles and opens sessions.
#[async_trait]
pub trait House: Send + Sync + 'static {
    /// What a role must prove. A role that does not exist is not told apart until its proof was asked for.
    async fn credentials(&self, role: &str) -> Result<Credentials>;
    /// Opens a session of a principal that proved who it is.
    fn open(&self, principal: Principal) -> Arc<dyn Desk>;
}

/// A node as a house.
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
    async fn credentials(&self, _role: &str) -> Result<Credentials> {
        Err(kanon_engine::error::Error::unsupported("not built"))
    }
    fn open(&self, principal: Principal) -> Arc<dyn Desk> {
        Session::open(self.node.clone(), principal)
    }
}
