//! Reading: a few connections, each call on a snapshot of its own, none longer than its deadline.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, InterruptHandle};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::failure::Work;
use super::open::{self, OpenError};
use crate::store::{StoreError, StoreResult};
use crate::sys::spawn;

/// The connections for reading.
#[derive(Debug)]
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    /// One permit a connection, so that a permit's holder always finds one.
    permits: Arc<Semaphore>,
}

impl Readers {
    /// Opens `count` connections.
    pub(super) fn open(path: &Path, count: usize, busy: Duration) -> Result<Self, OpenError> {
        let mut idle = Vec::with_capacity(count);
        for _ in 0..count {
            idle.push(open::reader(path, busy)?);
        }
        Ok(Self { idle: Arc::new(Mutex::new(idle)), permits: Arc::new(Semaphore::new(count)) })
    }

    /// Runs `work` in one read transaction that begins now: it sees everything that was acknowledged before.
    pub(super) async fn read<T, F>(&self, deadline: Duration, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Work<T> + Send + 'static,
    {
        let attempt = async {
            let lent = self.lend().await?;
            let stop = Interrupt::new(&lent)?;
            let stage = Arc::clone(&stop.stage);
            let result = spawn::blocking(move || {
                if *stage.lock() == Stage::Abandoned {
                    return Err(StoreError::Timeout);
                }
                let result = lent.connection().and_then(|connection| snapshot(connection, work));
                // Before the connection goes to somebody else, an interruption must be out of the question.
                *stage.lock() = Stage::Done;
                drop(lent);
                result
            })
            .await;
            drop(stop);
            result.unwrap_or_else(|_| Err(StoreError::Unavailable("a query panicked".into())))
        };
        match tokio::time::timeout(deadline, attempt).await {
            Ok(result) => result,
            Err(_) => Err(StoreError::Timeout),
        }
    }

    async fn lend(&self) -> StoreResult<Lent> {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Unavailable("the store is closed".into()))?;
        let connection = self.idle.lock().pop();
        Ok(Lent { connection, idle: Arc::clone(&self.idle), _permit: permit })
    }
}

fn snapshot<T>(connection: &Connection, work: impl FnOnce(&Connection) -> Work<T>) -> StoreResult<T> {
    let transaction = connection.unchecked_transaction().map_err(super::failure::Failure::from)?;
    Ok(work(&transaction)?)
}

/// A connection on loan; it goes back by itself, then the permit does.
struct Lent {
    connection: Option<Connection>,
    idle: Arc<Mutex<Vec<Connection>>>,
    _permit: OwnedSemaphorePermit,
}

impl Lent {
    fn connection(&self) -> StoreResult<&Connection> {
        self.connection.as_ref().ok_or_else(|| StoreError::Unavailable("no connection".into()))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.idle.lock().push(connection);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    Done,
    Abandoned,
}

/// Ends a query that nobody waits for any more, be it for its deadline or because its request went away.
struct Interrupt {
    handle: InterruptHandle,
    stage: Arc<Mutex<Stage>>,
}

impl Interrupt {
    fn new(lent: &Lent) -> StoreResult<Self> {
        let handle = lent.connection()?.get_interrupt_handle();
        Ok(Self { handle, stage: Arc::new(Mutex::new(Stage::Running)) })
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        let mut stage = self.stage.lock();
        if *stage == Stage::Running {
            *stage = Stage::Abandoned;
            self.handle.interrupt();
        }
    }
}
