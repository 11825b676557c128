//! Connections and commands, for metrics: connections as the driver tells of them, commands as the store gives them.
//!
//! The driver could tell of commands, too. But for whoever listens it copies each command and each reply and reads both
//! anew, a batch of games or of documents included; so the store times what it asks for itself.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use futures::TryStreamExt;
use mongodb::Cursor;
use mongodb::error::{Error, ErrorKind};
use mongodb::event::EventHandler;
use mongodb::event::cmap::CmapEvent;
use mongodb::options::ClientOptions;
use serde::de::DeserializeOwned;

use crate::sys::clock::stopwatch;
use crate::telemetry::{catalogue, labels};

/// A command, as the metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Find,
    GetMore,
    Update,
    Insert,
    Delete,
    Hello,
    Other,
}

impl Call {
    /// The command's name; one of the label's values.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Find => "find",
            Self::GetMore => "getMore",
            Self::Update => "update",
            Self::Insert => "insert",
            Self::Delete => "delete",
            Self::Hello => "hello",
            Self::Other => labels::OTHER,
        }
    }
}

/// Has the driver tell of its connections.
pub(super) fn watch(options: &mut ClientOptions) {
    options.cmap_event_handler = Some(EventHandler::callback(connection));
}

fn connection(event: CmapEvent) {
    match event {
        CmapEvent::ConnectionCreated(_) => catalogue::MONGODB_POOL.change([], 1.0),
        CmapEvent::ConnectionClosed(_) => catalogue::MONGODB_POOL.change([], -1.0),
        CmapEvent::ConnectionCheckedOut(_) => catalogue::MONGODB_POOL_USED.change([], 1.0),
        CmapEvent::ConnectionCheckedIn(_) => catalogue::MONGODB_POOL_USED.change([], -1.0),
        CmapEvent::ConnectionCheckoutFailed(_) => catalogue::MONGODB_POOL_FAILURES.increment([]),
        _ => {}
    }
}

/// A command that was given; one that is given up before its answer came has failed.
struct Given {
    call: Call,
    began: Instant,
    answered: bool,
}

impl Drop for Given {
    fn drop(&mut self) {
        let label = [self.call.name()];
        if self.answered {
            catalogue::MONGODB_COMMAND_SECONDS.record(label, self.began.elapsed().as_secs_f64());
        } else {
            catalogue::MONGODB_FAILURES.increment(label);
        }
    }
}

/// Waits for what a command gives, and counts it.
pub(super) async fn timed<T>(
    call: Call,
    work: impl Future<Output = mongodb::error::Result<T>>,
) -> mongodb::error::Result<T> {
    let mut given = Given { call, began: stopwatch(), answered: false };
    let result = work.await;
    given.answered = result.as_ref().err().is_none_or(is_answer);
    result
}

/// Whether the command itself was carried out: what it wanted written may be refused all the same.
fn is_answer(error: &Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Write(_) | ErrorKind::InsertMany(_))
}

/// The next document of a cursor. One that came with an earlier batch is there at once; for any other a batch is asked.
pub(super) async fn next<T>(cursor: &mut Cursor<T>) -> mongodb::error::Result<Option<T>>
where
    T: DeserializeOwned + Unpin + Send + Sync,
{
    let mut next = pin!(cursor.try_next());
    match futures::poll!(next.as_mut()) {
        Poll::Ready(document) => document,
        Poll::Pending => timed(Call::GetMore, next).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_one_that_the_label_has() {
        let calls =
            [Call::Find, Call::GetMore, Call::Update, Call::Insert, Call::Delete, Call::Hello, Call::Other];
        for call in calls {
            assert!(labels::MONGODB_COMMAND.values.contains(&call.name()), "{call:?}");
        }
    }
}
