//! Streams of an answer: they end when the statement is cancelled or its time is up, and carry the names that clients see.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use futures::Stream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::accuracy::KEYS;
use super::brakes::Brake;
use super::lock;
use super::slots::Lent;
use crate::audit::Trail;
use crate::error::{Error, Sqlstate};
use crate::pg_catalog::modifiers::Origin;

/// Why a running statement ends before its time.
pub fn timeout_error() -> Error {
    Error::new(Sqlstate::QueryCanceled, "canceling statement due to statement timeout")
}

/// A statement's cancellation and deadline.
#[derive(Debug, Clone)]
pub struct Stop {
    /// Cancelled by the client or by the node's shutdown.
    pub token: CancellationToken,
    /// When it began.
    pub began: tokio::time::Instant,
    /// When its time is up: one moment for all who wait for it.
    deadline: Arc<Mutex<Option<tokio::time::Instant>>>,
    /// What the statement does, for the audit log.
    pub(crate) trail: Arc<Trail>,
    /// How others stop it.
    pub(super) brake: Arc<Brake>,
}

/// What timeouts of protected releases are rounded up to: how long one takes may depend on people, and finer steps would tell.
const COARSE: Duration = Duration::from_secs(1);

impl Stop {
    /// A statement that begins now and may take `timeout_ms` (0: as long as it likes).
    pub fn begin(token: CancellationToken, timeout_ms: u64) -> Stop {
        let began = tokio::time::Instant::now();
        let deadline = (timeout_ms > 0).then(|| began + Duration::from_millis(timeout_ms));
        Stop::with_trail(token, began, deadline, Arc::default())
    }

    fn with_trail(
        token: CancellationToken,
        began: tokio::time::Instant,
        deadline: Option<tokio::time::Instant>,
        trail: Arc<Trail>,
    ) -> Stop {
        let brake = Arc::new(Brake::of(token.clone(), Arc::clone(&trail)));
        Stop { token, began, deadline: Arc::new(Mutex::new(deadline)), trail, brake }
    }

    /// The same, of the statement that `other` is of.
    pub(super) fn of_statement(self, other: &Stop) -> Stop {
        let deadline = self.deadline();
        Stop::with_trail(self.token, self.began, deadline, Arc::clone(&other.trail))
    }

    /// When its time is up.
    pub fn deadline(&self) -> Option<tokio::time::Instant> {
        *lock(&self.deadline)
    }

    /// From now on it is a statement that releases protected data: out of time after whole seconds only, and never before the first. That holds for
    /// whoever waits for it already.
    pub fn be_coarse(&self) {
        let mut deadline = lock(&self.deadline);
        *deadline = deadline.map(|at| self.began + round_up(at - self.began, COARSE));
    }

    /// Waits until whole ticks have passed since the statement began.
    ///
    /// # Errors
    /// See [`Stop::guard`].
    pub async fn next_tick(&self, tick: Duration) -> Result<(), Error> {
        let at = self.began + round_up(self.began.elapsed(), tick);
        self.guard(async {
            tokio::time::sleep_until(at).await;
            Ok(())
        })
        .await
    }

    /// Runs a future until it is done, cancelled or out of time.
    pub async fn guard<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let out_of_time = async {
            while let Some(at) = self.deadline() {
                tokio::time::sleep_until(at).await;
                if self.deadline() == Some(at) {
                    return;
                }
            }
            std::future::pending().await
        };
        tokio::select! {
            biased;
            () = self.token.cancelled() => Err(self.brake.why()),
            () = out_of_time => Err(timeout_error()),
            result = work => result,
        }
    }
}

/// To a whole number of steps, one at least.
fn round_up(time: Duration, step: Duration) -> Duration {
    let steps = time.as_nanos().div_ceil(step.as_nanos().max(1)).max(1);
    step.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX))
}

struct Stoppable {
    schema: SchemaRef,
    inner: Option<SendableRecordBatchStream>,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    out_of_time: Option<Pin<Box<tokio::time::Sleep>>>,
    on_error: Box<dyn Fn() + Send>,
    /// While rows are read, others can stop it.
    brake: Arc<Brake>,
    /// What the plan runs with.
    lent: Option<Lent>,
}

impl Stoppable {
    /// The plan runs no longer.
    fn end(&mut self) {
        self.inner = None;
        self.lent = None;
    }
}

impl Stream for Stoppable {
    type Item = DfResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let stopped = if this.inner.is_none() {
            return Poll::Ready(None);
        } else if this.cancelled.as_mut().poll(cx).is_ready() {
            Some(this.brake.why())
        } else if this.out_of_time.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready()) {
            Some(timeout_error())
        } else {
            None
        };
        if let Some(error) = stopped {
            this.end();
            (this.on_error)();
            return Poll::Ready(Some(Err(error.into())));
        }
        let Some(inner) = this.inner.as_mut() else { return Poll::Ready(None) };
        match inner.as_mut().poll_next(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(batch))) => Poll::Ready(Some(with_schema(&batch, &this.schema))),
            Poll::Ready(Some(Err(error))) => {
                this.end();
                (this.on_error)();
                Poll::Ready(Some(Err(Error::from(error).into())))
            }
            Poll::Ready(None) => {
                this.end();
                Poll::Ready(None)
            }
        }
    }
}

impl RecordBatchStream for Stoppable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// A stream that ends with the statement, in the columns of `schema` (types equal, names as the client sees them). `lent` is kept until then; `on_error` runs once if
/// it fails.
pub(super) fn stoppable(
    inner: SendableRecordBatchStream,
    schema: SchemaRef,
    stop: &Stop,
    lent: Option<Lent>,
    on_error: impl Fn() + Send + 'static,
) -> SendableRecordBatchStream {
    Box::pin(Stoppable {
        schema,
        inner: Some(inner),
        cancelled: Box::pin(stop.token.clone().cancelled_owned()),
        out_of_time: stop.deadline().map(|at| Box::pin(tokio::time::sleep_until(at))),
        on_error: Box::new(on_error),
        brake: Arc::clone(&stop.brake),
        lent,
    })
}

/// The batch with the names of another schema.
pub fn with_schema(batch: &RecordBatch, schema: &SchemaRef) -> DfResult<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), batch.columns().to_vec(), &options)
        .map_err(|e| DataFusionError::from(Error::internal(e)))
}

/// A schema with other names; everything may be NULL, as in every answer to a client. What is said of noise, and of which column of which table one is, is not said
/// by files.
pub fn renamed(schema: &Schema, names: &[String], origins: &[Option<Origin>]) -> SchemaRef {
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(i, field)| {
            let mut field = field.as_ref().clone().with_nullable(true);
            if KEYS.iter().any(|key| field.metadata().contains_key(*key)) {
                let mut metadata = field.metadata().clone();
                metadata.retain(|key, _| !KEYS.contains(&key.as_str()));
                field.set_metadata(metadata);
            }
            let field = Origin::mark(origins.get(i).copied().flatten(), field);
            match names.get(i) {
                Some(name) => field.with_name(name.clone()),
                None => {
                    let name = crate::pg_catalog::display_name(field.name()).to_owned();
                    field.with_name(name)
                }
            }
        })
        .collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn protected_releases_end_after_whole_seconds_and_whole_ticks() {
        for (timeout, coarse) in [(1, 1_000), (1_000, 1_000), (1_001, 2_000), (30_000, 30_000)] {
            let stop = Stop::begin(CancellationToken::new(), timeout);
            stop.be_coarse();
            stop.be_coarse();
            assert_eq!(stop.deadline().unwrap() - stop.began, Duration::from_millis(coarse), "{timeout}");
        }
        let stop = Stop::begin(CancellationToken::new(), 0);
        stop.be_coarse();
        assert_eq!(stop.deadline(), None);
        // Who waits already waits for the later moment.
        let stop = Stop::begin(CancellationToken::new(), 20);
        let work = async {
            stop.be_coarse();
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok(())
        };
        stop.guard(work).await.unwrap();
        let ms = Duration::from_millis;
        for (taken, told) in [(0, 250), (249, 250), (250, 250), (600, 750)] {
            assert_eq!(round_up(ms(taken), ms(250)), ms(told));
        }
        let stop = Stop::begin(CancellationToken::new(), 0);
        stop.next_tick(ms(40)).await.unwrap();
        assert!(stop.began.elapsed() >= ms(40));
        // It can still be cancelled, and runs out of time.
        assert!(Stop::begin(CancellationToken::new(), 20).next_tick(Duration::from_secs(3600)).await.is_err());
    }
}
