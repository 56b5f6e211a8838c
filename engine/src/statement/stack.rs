//! Threads with a large stack, for what recurses over a statement's tree.
//!
//! Parsing, planning and optimizing recurse as deep as the text nests. Within [`super::bounds`] that is more than a worker of
//! the async runtime has, and an overflow would abort the process, so it is done here.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use tokio::sync::{Semaphore, oneshot};

use crate::error::{Error, Result};

/// Bytes of stack of such a thread. Only pages that are touched take memory.
const STACK_BYTES: usize = 256 * 1024 * 1024;
/// Most threads at once; more wait.
const MAX_THREADS: usize = 64;
/// Threads kept when idle.
const MAX_IDLE: usize = 2;

type Job = Box<dyn FnOnce() + Send>;

struct Pool {
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Sender<Job>>>,
}

static POOL: LazyLock<Pool> =
    LazyLock::new(|| Pool { permits: Arc::new(Semaphore::new(MAX_THREADS)), idle: Mutex::new(Vec::new()) });

impl Pool {
    fn idle(&self) -> MutexGuard<'_, Vec<Sender<Job>>> {
        match self.idle.lock() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    fn run(&'static self, mut job: Job) -> Result<()> {
        while let Some(thread) = { self.idle().pop() } {
            match thread.send(job) {
                Ok(()) => return Ok(()),
                Err(returned) => job = returned.0,
            }
        }
        let (sender, receiver) = channel::<Job>();
        let again = sender.clone();
        std::thread::Builder::new()
            .name("kanon-statement".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || self.work(again, receiver))
            .map_err(Error::internal)?;
        sender.send(job).map_err(Error::internal)
    }

    fn work(&self, myself: Sender<Job>, jobs: Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            job();
            let mut idle = self.idle();
            if idle.len() >= MAX_IDLE {
                return;
            }
            idle.push(myself.clone());
        }
    }
}

/// Runs `work` on a thread with a large stack. Work must not wait for other work that needs such a thread: their number is
/// bounded.
///
/// # Errors
/// XX000 if `work` panics or no thread can be had.
pub async fn on_large_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let permit = Arc::clone(&POOL.permits).acquire_owned().await.map_err(Error::internal)?;
    let (answer, answered) = oneshot::channel();
    POOL.run(Box::new(move || {
        let outcome = catch_unwind(AssertUnwindSafe(work));
        drop(permit);
        // Whoever asked may have gone: then nobody wants the answer.
        let _ = answer.send(outcome);
    }))?;
    match answered.await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_panic)) => Err(Error::internal("a statement's planning panicked")),
        Err(gone) => Err(Error::internal(gone)),
    }
}

/// Runs a future to its end on a thread with a large stack, for planning that awaits. Must be called on a Tokio runtime.
///
/// # Errors
/// As [`on_large_stack`].
pub async fn future_on_large_stack<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T> {
    let runtime = tokio::runtime::Handle::current();
    on_large_stack(move || runtime.block_on(work)).await
}

/// As [`on_large_stack`], for callers that are not async; the calling thread waits.
///
/// # Errors
/// As [`on_large_stack`].
pub fn wait_on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("kanon-statement".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(Error::internal)?;
        thread.join().map_err(|_panic| Error::internal("a statement's planning panicked"))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn deep(n: usize) -> usize {
        let pad = [n as u8; 512];
        if n == 0 { 0 } else { deep(n - 1) + usize::from(std::hint::black_box(pad)[7] == n as u8) }
    }

    #[tokio::test]
    async fn has_room_and_survives_a_panic() {
        assert_eq!(on_large_stack(|| deep(60_000)).await.unwrap(), 60_000);
        let error = on_large_stack(|| -> u8 { panic!("oh") }).await.unwrap_err();
        assert_eq!(error.state.code(), "XX000");
        assert_eq!(wait_on_large_stack(|| deep(60_000)).unwrap(), 60_000);
        let all = futures::future::join_all((0..200).map(|i| on_large_stack(move || i * 2))).await;
        assert_eq!(all.into_iter().map(|r| r.unwrap()).sum::<usize>(), 39_800);
        assert_eq!(
            future_on_large_stack(async {
                tokio::task::yield_now().await;
                7
            })
            .await
            .unwrap(),
            7
        );
    }
}
