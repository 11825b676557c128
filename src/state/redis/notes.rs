//! Notes between replicas: what is published reaches whoever listens at that moment, and nobody else; caches end by
//! themselves, too.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::StreamExt;

use super::RedisState;
use super::errors::state_error;
use super::link::Way;
use crate::state::{Invalidation, StateError, StateResult};
use crate::sys::spawn;

/// Between two tries to listen.
const PAUSE: Duration = Duration::from_secs(1);

/// A connection of which nothing is heard for so long is asked whether it still is one.
const QUIET: Duration = Duration::from_secs(10);

impl RedisState {
    pub(super) async fn tell(&self, note: &Invalidation) -> StateResult<()> {
        let text = serde_json::to_string(note).map_err(|error| StateError::Bug(error.to_string()))?;
        let mut command = redis::cmd("PUBLISH");
        command.arg(&self.base.notes).arg(text);
        self.link.send(&command, Way::Shared).await.map_err(|error| state_error(&error))?;
        Ok(())
    }
}

/// Listens for as long as the state is there.
pub(super) fn listen(state: &Arc<RedisState>) {
    let state = Arc::downgrade(state);
    spawn::task("notes", async move {
        while let Some(ended) = hear(&state).await {
            tracing::debug!(error = %ended, "notes of other replicas are not heard for a moment");
            tokio::time::sleep(PAUSE).await;
        }
    });
}

/// Subscribes, and passes on what is heard, until the connection ends: why, or None when nobody needs it any more.
async fn hear(state: &Weak<RedisState>) -> Option<String> {
    let (client, channel) = {
        let there = state.upgrade()?;
        match there.link.client().await {
            Ok(client) => (client, there.base.notes.clone()),
            Err(error) => return Some(error.to_string()),
        }
    };
    let connecting = tokio::time::timeout(QUIET, async {
        let mut listening = client.get_async_pubsub().await?;
        listening.subscribe(&channel).await?;
        Ok::<_, redis::RedisError>(listening)
    });
    let mut listening = match connecting.await {
        Ok(Ok(listening)) => listening,
        Ok(Err(error)) => return Some(error.to_string()),
        Err(_) => return Some("no answer in time".to_owned()),
    };
    // What was told before isn't known.
    let _ = state.upgrade()?.notes.send(Invalidation::Everything);
    loop {
        let heard = {
            let mut messages = listening.on_message();
            tokio::time::timeout(QUIET, messages.next()).await
        };
        let there = state.upgrade()?;
        match heard {
            Ok(Some(message)) => {
                let payload: Vec<u8> = message.get_payload().unwrap_or_default();
                match serde_json::from_slice(&payload) {
                    Ok(note) => {
                        // Nobody may be listening.
                        let _ = there.notes.send(note);
                    }
                    // Another release's: whatever it was about may be old.
                    Err(_) => {
                        let _ = there.notes.send(Invalidation::Everything);
                    }
                }
            }
            Ok(None) => return Some("the connection ended".to_owned()),
            // A connection that hangs hears nothing either: subscribing once more asks for an answer.
            Err(_) => {
                let asked = tokio::time::timeout(QUIET, listening.subscribe(&channel)).await;
                match asked {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Some(error.to_string()),
                    Err(_) => return Some("no answer in time".to_owned()),
                }
            }
        }
    }
}
