//! Sending games: one upload at a time in memory, never more bytes than announced, and a client that stops reading
//! doesn't keep what others wait for.

use std::sync::Arc;
use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use futures::stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::service::{Farm, ServiceResult};
use crate::store::PgnEntry;
use crate::sys::spawn;

/// Size of a piece, bytes.
const PIECE: usize = 1 << 20;

/// The transfer was given up; the connection is closed, so that the client sees that something is missing.
#[derive(Debug, thiserror::Error)]
#[error("the download was interrupted")]
struct Interrupted;

/// A response whose body comes from a channel; `size` bytes are announced.
fn streamed(response: &mut HttpResponseBuilder, size: u64, mut pieces: Receiver<Bytes>) -> HttpResponse {
    let mut left = size;
    let stream = stream::poll_fn(move |context| {
        pieces.poll_recv(context).map(|piece| match piece {
            Some(piece) => {
                left = left.saturating_sub(piece.len() as u64);
                Some(Ok(piece))
            }
            None if left > 0 => {
                left = 0;
                Some(Err(Interrupted))
            }
            None => None,
        })
    });
    response.body(SizedStream::new(size, stream))
}

/// The headers alone, for HEAD.
pub fn announced(response: &mut HttpResponseBuilder, size: u64) -> HttpResponse {
    response.body(SizedStream::new(size, stream::empty::<Result<Bytes, Interrupted>>()))
}

/// Sends one upload.
pub fn one(
    response: &mut HttpResponseBuilder,
    bytes: Vec<u8>,
    slot: OwnedSemaphorePermit,
    stall: Duration,
) -> HttpResponse {
    let size = bytes.len() as u64;
    let (sender, receiver) = mpsc::channel(1);
    spawn::task("download", async move {
        let _slot = slot;
        let mut left = size;
        send(&sender, Bytes::from(bytes), &mut left, stall).await;
    });
    streamed(response, size, receiver)
}

/// Sends a run's uploads one after the other. One that was removed meanwhile is passed over; then the announced size
/// can't be reached and the transfer is broken off at its end.
pub fn many(
    response: &mut HttpResponseBuilder,
    farm: Arc<Farm>,
    entries: Vec<PgnEntry>,
    slot: OwnedSemaphorePermit,
    stall: Duration,
) -> HttpResponse {
    let size = total(&entries);
    let (sender, receiver) = mpsc::channel(1);
    spawn::task("download", async move {
        let _slot = slot;
        let mut left = size;
        for entry in entries {
            let upload: ServiceResult<_> = farm.upload(&entry).await;
            match upload {
                Ok(Some(bytes)) => {
                    if !send(&sender, Bytes::from(bytes), &mut left, stall).await {
                        return;
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "a download is broken off");
                    return;
                }
            }
        }
    });
    streamed(response, size, receiver)
}

/// Size of all of them, bytes.
pub fn total(entries: &[PgnEntry]) -> u64 {
    entries.iter().fold(0, |sum, entry| sum.saturating_add(entry.size))
}

/// Hands on pieces while the client takes them; false when it is gone, too slow, or has all that was announced.
async fn send(sender: &Sender<Bytes>, mut bytes: Bytes, left: &mut u64, stall: Duration) -> bool {
    let room = usize::try_from(*left).unwrap_or(usize::MAX);
    bytes.truncate(room);
    *left -= bytes.len() as u64;
    while !bytes.is_empty() {
        let piece = bytes.split_to(bytes.len().min(PIECE));
        if !matches!(tokio::time::timeout(stall, sender.send(piece)).await, Ok(Ok(()))) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn no_more_than_announced_is_sent() {
        let (sender, mut receiver) = mpsc::channel(8);
        let mut left = 5;
        assert!(send(&sender, Bytes::from_static(b"abc"), &mut left, STALL).await);
        assert!(send(&sender, Bytes::from_static(b"defgh"), &mut left, STALL).await);
        drop(sender);
        assert_eq!(left, 0);
        let mut sent = Vec::new();
        while let Some(piece) = receiver.recv().await {
            sent.extend_from_slice(&piece);
        }
        assert_eq!(sent, b"abcde");
    }

    #[tokio::test]
    async fn a_client_that_stops_reading_is_given_up() {
        let (sender, receiver) = mpsc::channel(1);
        let mut left = u64::MAX;
        let bytes = Bytes::from(vec![0; 3 * PIECE]);
        assert!(!send(&sender, bytes, &mut left, Duration::from_millis(20)).await);
        drop(receiver);
    }
}
