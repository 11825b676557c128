//! Starting tasks and threads: one place, so that each has a name in logs.

#![allow(clippy::disallowed_methods)]

use std::future::Future;

use tokio::task::JoinHandle;
use tracing::{Instrument, Span};

/// Starts an asynchronous task on the current runtime; its log lines carry `name`.
pub fn task<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    within(tracing::debug_span!("task", name), future)
}

/// Starts a task on this thread's own event loop, which it can't leave. Only where there is one: on a thread that serves.
pub fn local<F>(future: F)
where
    F: Future<Output = ()> + 'static,
{
    drop(tokio::task::spawn_local(future));
}

/// The same for a task that serves many requests and is nobody's: it may outlive the one that starts it.
pub fn detached<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    within(tracing::debug_span!(parent: None, "task", name), future)
}

fn within<F>(span: Span, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future.instrument(span))
}

/// Runs something that blocks (hashing, compression) away from the event loop.
pub fn blocking<F, R>(work: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    tokio::task::spawn_blocking(work)
}

/// Starts a named operating-system thread.
pub fn thread<F>(name: &str, work: F) -> std::io::Result<std::thread::JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
{
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}
