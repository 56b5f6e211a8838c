//! The ledger's time.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the machine's clock says, in milliseconds since 1970. The ledger never goes behind the latest moment that it has seen: the
/// writer keeps that in the store.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// The machine's.
    pub fn system() -> Clock {
        Clock(Arc::new(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
        }))
    }

    /// Another one.
    #[cfg(test)]
    pub(crate) fn new(now_ms: impl Fn() -> i64 + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now_ms))
    }

    pub(crate) fn now_ms(&self) -> i64 {
        (self.0)()
    }
}
