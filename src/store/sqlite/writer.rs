//! The one thread that writes: it owns the write connection, and a transaction is all it ever does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::failure::{Failure, Work};
use super::lock::ServeLock;
use crate::store::{StoreError, StoreResult};
use crate::sys::spawn;

/// Requests that may wait; beyond it a caller waits for room, within its deadline.
const QUEUE: usize = 1024;

/// States of a request. A caller that gives up withdraws it if it can, and knows then that nothing happened.
const WAITING: u8 = 0;
const STARTED: u8 = 1;
const WITHDRAWN: u8 = 2;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The writer thread's address.
#[derive(Debug)]
pub(super) struct Writer {
    /// None only while dropping.
    queue: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. It closes the connection, and then releases the lock, when the last request is done.
    pub(super) fn start(connection: Connection, lock: Option<ServeLock>) -> std::io::Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let thread = spawn::thread("sqlite-writer", move || {
            run(connection, jobs);
            drop(lock);
        })?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Runs `work` in a transaction and commits it; all of it is durable, or none.
    pub(super) async fn transaction<T, F>(&self, deadline: Duration, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Work<T> + Send + 'static,
    {
        self.call(deadline, move |connection| transact(connection, work)).await
    }

    /// Runs `work` on the write connection, outside a transaction.
    pub(super) async fn call<T, F>(&self, deadline: Duration, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> StoreResult<T> + Send + 'static,
    {
        let Some(queue) = &self.queue else { return Err(closed()) };
        let state = Arc::new(AtomicU8::new(WAITING));
        let seen = Arc::clone(&state);
        let (answer, outcome) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            if seen.compare_exchange(WAITING, STARTED, Ordering::AcqRel, Ordering::Acquire).is_err() {
                return;
            }
            // A panic must not take the writer with it; the transaction was rolled back while unwinding.
            let result = catch_unwind(AssertUnwindSafe(|| work(connection)))
                .unwrap_or_else(|_| Err(StoreError::Unknown("the writer panicked".into())));
            // The caller may have given up.
            let _ = answer.send(result);
        });
        let waiting = async {
            if queue.send(job).await.is_err() {
                return Err(closed());
            }
            outcome.await.unwrap_or_else(|_| Err(StoreError::Unknown("the writer has ended".into())))
        };
        match tokio::time::timeout(deadline, waiting).await {
            Ok(result) => result,
            Err(_) => Err(given_up(&state)),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        // Whoever drops the store may open it again at once: the file must be closed by then.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(mut connection: Connection, mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.blocking_recv() {
        job(&mut connection);
    }
}

fn given_up(state: &AtomicU8) -> StoreError {
    match state.compare_exchange(WAITING, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => StoreError::Unavailable("the writer is busy".into()),
        Err(_) => StoreError::Unknown("the write takes too long".into()),
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}

fn transact<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Work<T>,
) -> StoreResult<T> {
    // Immediate: the right to write is taken before the fence is read, so nobody writes in between.
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Failure::from)?;
    let value = work(&transaction)?;
    match transaction.commit() {
        Ok(()) => Ok(value),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
            Err(Failure::from(error).into())
        }
        // The commit may be in the log although its confirmation failed.
        Err(error) => Err(StoreError::Unknown(error.to_string())),
    }
}
