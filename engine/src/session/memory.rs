//! The memory of one statement, where the configuration bounds it: of the node's, at most so much.
//!
//! Operators that can write to disk do so when they reach the bound; the others fail, and with them the statement. Others' statements have what is left.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;

use crate::limits::STATEMENT_MEMORY;

/// The run-time of one statement, with the node's files and caches, that takes at most so many bytes of its memory.
pub(super) fn bounded(node: &RuntimeEnv, most_bytes: usize) -> Arc<RuntimeEnv> {
    let pool = StatementPool { node: Arc::clone(&node.memory_pool), most_bytes, taken: AtomicUsize::new(0) };
    Arc::new(RuntimeEnv { memory_pool: Arc::new(pool), ..node.clone() })
}

#[derive(Debug)]
struct StatementPool {
    node: Arc<dyn MemoryPool>,
    most_bytes: usize,
    taken: AtomicUsize,
}

impl StatementPool {
    fn give_back(&self, bytes: usize) {
        let _ =
            self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| Some(taken.saturating_sub(bytes)));
    }
}

impl fmt::Display for StatementPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{STATEMENT_MEMORY} ({} of {} bytes)", self.reserved(), self.most_bytes)
    }
}

impl MemoryPool for StatementPool {
    fn name(&self) -> &str {
        "statement"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.node.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.node.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.taken.fetch_add(additional, Ordering::Relaxed);
        self.node.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.give_back(shrink);
        self.node.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> DfResult<()> {
        let within = |taken: usize| taken.checked_add(additional).filter(|after| *after <= self.most_bytes);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).map_err(|taken| {
            DataFusionError::ResourcesExhausted(format!(
                "{STATEMENT_MEMORY}: {additional} bytes more than {taken} are more than {}",
                self.most_bytes
            ))
        })?;
        self.node.try_grow(reservation, additional).inspect_err(|_| self.give_back(additional))
    }

    fn reserved(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        match self.node.memory_limit() {
            MemoryLimit::Finite(node) => MemoryLimit::Finite(node.min(self.most_bytes)),
            _ => MemoryLimit::Finite(self.most_bytes),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use datafusion::execution::memory_pool::GreedyMemoryPool;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;

    use super::*;
    use crate::error::{Error, Sqlstate};

    #[test]
    fn one_statement_takes_so_much_and_leaves_the_rest() {
        let node =
            RuntimeEnvBuilder::new().with_memory_pool(Arc::new(GreedyMemoryPool::new(1_000))).build_arc().unwrap();
        let (one, other) = (bounded(&node, 600), bounded(&node, 600));
        let first = MemoryConsumer::new("a").register(&one.memory_pool);
        let second = MemoryConsumer::new("b").register(&one.memory_pool);
        first.try_grow(400).unwrap();
        second.try_grow(200).unwrap();
        let error = Error::from(second.try_grow(1).unwrap_err());
        assert_eq!(error.state, Sqlstate::OutOfMemory);
        assert!(error.hint.unwrap().contains("max_memory_per_statement_mb"));
        let third = MemoryConsumer::new("c").register(&other.memory_pool);
        third.try_grow(400).unwrap();
        // Here it is the node's that is at its end.
        let error = Error::from(third.try_grow(1).unwrap_err());
        assert!(!error.hint.unwrap().contains("max_memory_per_statement_mb"));
        assert_eq!(other.memory_pool.reserved(), 400);
        drop((first, second));
        assert_eq!((one.memory_pool.reserved(), node.memory_pool.reserved()), (0, 400));
        third.try_grow(200).unwrap();
        drop(third);
        assert_eq!(node.memory_pool.reserved(), 0);
    }
}
