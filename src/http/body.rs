//! Reading bodies: never more than allowed, never for longer than allowed, and only so much of all together.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::CONTENT_LENGTH;
use actix_web::{HttpRequest, web};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::HttpSettings;
use crate::telemetry::catalogue;

/// Bodies up to this size are not counted: there are never more of them than connections.
const SMALL: usize = 64 * 1024;

/// Unit in which large bodies are counted, bytes.
const UNIT: usize = 1 << 20;

/// How long a large body waits for memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// A whole body, and its share of the memory for bodies.
pub struct Body {
    /// What was sent.
    pub bytes: Bytes,
    /// The share; given back when this is dropped.
    pub memory: Option<OwnedSemaphorePermit>,
}

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More than allowed.
    #[error("the request body is too large")]
    TooLarge,
    /// It stopped arriving.
    #[error("the request body did not arrive in time")]
    Late,
    /// The connection ended, or the transfer encoding is damaged.
    #[error("the request body is incomplete")]
    Broken,
    /// Other large bodies take all the memory there is for them.
    #[error("too many large requests")]
    NoMemory,
}

impl BodyError {
    /// For metrics.
    fn name(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Late => "late",
            Self::Broken => "broken",
            Self::NoMemory => "no_memory",
        }
    }
}

/// Memory for large bodies.
pub struct Bodies {
    memory: Arc<Semaphore>,
    units: u32,
    stall: Duration,
}

impl Bodies {
    /// As the settings say.
    pub fn new(settings: &HttpSettings) -> Self {
        let largest = settings.pgn_body_limit.max(settings.worker_body_limit).div_ceil(UNIT);
        let units = (settings.body_memory / UNIT).max(largest).clamp(1, 1 << 24) as u32;
        Self { memory: Arc::new(Semaphore::new(units as usize)), units, stall: settings.stall_deadline }
    }

    /// The body, if it has at most `limit` bytes and arrives within `patience`.
    pub async fn read(
        &self,
        request: &HttpRequest,
        payload: web::Payload,
        limit: usize,
        patience: Duration,
    ) -> Result<Body, BodyError> {
        let body = tokio::time::timeout(patience, self.collect(request, payload, limit)).await;
        let body = body.unwrap_or(Err(BodyError::Late));
        if let Err(error) = &body {
            catalogue::HTTP_BODIES_REFUSED.increment([error.name()]);
        }
        body
    }

    async fn collect(
        &self,
        request: &HttpRequest,
        mut payload: web::Payload,
        limit: usize,
    ) -> Result<Body, BodyError> {
        let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let announced = announced.and_then(|text| text.parse::<usize>().ok());
        if announced.is_some_and(|size| size > limit) {
            return Err(BodyError::TooLarge);
        }
        let mut memory = None;
        if let Some(size) = announced.filter(|size| *size > SMALL) {
            memory = Some(self.reserve(size).await?);
        }
        let Some(first) = self.piece(&mut payload).await? else {
            return Ok(Body { bytes: Bytes::new(), memory });
        };
        if announced == Some(first.len()) {
            // The usual case: one piece is all of it, and nothing is copied.
            return Ok(Body { bytes: first, memory });
        }
        let mut bytes = BytesMut::with_capacity(announced.unwrap_or(0));
        let mut next = Some(first);
        while let Some(piece) = next {
            if bytes.len().saturating_add(piece.len()) > limit {
                return Err(BodyError::TooLarge);
            }
            if memory.is_none() && bytes.len() + piece.len() > SMALL {
                // Its size is unknown, so it pays for the largest.
                memory = Some(self.reserve(limit).await?);
            }
            bytes.extend_from_slice(&piece);
            next = self.piece(&mut payload).await?;
        }
        Ok(Body { bytes: bytes.freeze(), memory })
    }

    async fn piece(&self, payload: &mut web::Payload) -> Result<Option<Bytes>, BodyError> {
        match tokio::time::timeout(self.stall, payload.next()).await {
            Err(_) => Err(BodyError::Late),
            Ok(None) => Ok(None),
            Ok(Some(Ok(piece))) => Ok(Some(piece)),
            Ok(Some(Err(_))) => Err(BodyError::Broken),
        }
    }

    async fn reserve(&self, size: usize) -> Result<OwnedSemaphorePermit, BodyError> {
        let units = u32::try_from(size.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.units);
        let permit = tokio::time::timeout(PATIENCE, self.memory.clone().acquire_many_owned(units)).await;
        permit.ok().and_then(Result::ok).ok_or(BodyError::NoMemory)
    }
}
