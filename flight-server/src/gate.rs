//! Before a message is read: is it of somebody who may send one? Messages are as large as statements with their values, and a connection has many calls at once: nothing of
//! what strangers send is kept in memory, and of others' so many messages at once for each connection. Who begins more of them than it ends waits for itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::OwnedSemaphorePermit;
use tonic::Request;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::metadata::MetadataMap;

use crate::listener::ConnectionInfo;
use crate::logins::Logins;
use crate::service::failed;

/// The one method whose caller has nothing to show yet. Its messages are not looked at.
const HANDSHAKE: &str = "/arrow.flight.protocol.FlightService/Handshake";

/// Messages of one connection that are being read.
pub(crate) const MAX_READING: usize = 16;

/// The right to read a message, which goes with its call.
#[derive(Clone)]
struct Reading {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// A call whose message was read: another one may be.
pub(crate) fn read<T>(mut request: Request<T>) -> Request<T> {
    request.extensions_mut().remove::<Reading>();
    request
}

/// A service behind it.
#[derive(Clone)]
pub(crate) struct Gate<S> {
    pub(crate) logins: Arc<Logins>,
    pub(crate) behind: S,
}

/// What is to be seen of a call before it is read; `None` for the one that may always be made.
fn shown(request: &http::Request<Body>) -> Option<(MetadataMap, Option<ConnectionInfo>)> {
    // Headers only: what is to be read of them is bounded by HTTP/2's own limit.
    (request.uri().path() != HANDSHAKE).then(|| {
        let connection = request.extensions().get::<ConnectionInfo>().cloned();
        (MetadataMap::from_headers(request.headers().clone()), connection)
    })
}

impl<S> Service<http::Request<Body>> for Gate<S>
where
    // Always ready: it is called on a copy.
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.behind.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let (logins, mut behind, shown) = (Arc::clone(&self.logins), self.behind.clone(), shown(&request));
        Box::pin(async move {
            if let Some((metadata, connection)) = shown
                && let Err(error) = logins.may_call(&metadata, connection.as_ref()).await
            {
                return Ok(failed(error).into_http());
            }
            let reading =
                request.extensions().get::<ConnectionInfo>().map(|connection| Arc::clone(&connection.reading));
            if let Some(reading) = reading
                && let Ok(permit) = reading.acquire_owned().await
            {
                request.extensions_mut().insert(Reading { _permit: Arc::new(permit) });
            }
            behind.call(request).await
        })
    }
}
