//! A way to a server that can be made slow, or dead silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shoal::sys::spawn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A proxy before a server on this machine; it ends with the test.
pub struct SlowWay {
    pub port: u16,
    delay: Arc<AtomicU64>,
}

impl SlowWay {
    /// Starts one before a port.
    pub async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let delay = Arc::new(AtomicU64::new(0));
        let shared = delay.clone();
        spawn::task("slow way", async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { continue };
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                spawn::task("there", async move {
                    let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
                });
                let delay = shared.clone();
                spawn::task("back", async move {
                    let mut buffer = vec![0; 64 * 1024];
                    while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
                        tokio::time::sleep(Duration::from_millis(delay.load(Ordering::Acquire))).await;
                        if to_client.write_all(&buffer[..read]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { port, delay }
    }

    /// From now on each answer takes so much longer.
    pub fn delay(&self, by: Duration) {
        self.delay.store(by.as_millis() as u64, Ordering::Release);
    }
}
