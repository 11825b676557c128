//! The way to a real server, on which each script is tried out before it is let through ([`super::trial`]).

use std::sync::Arc;

use shoal::sys::spawn;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

use super::trial::Trial;

/// Listens on a port of its own and passes on to a server; it ends with the test.
pub struct Way {
    port: u16,
}

impl Way {
    pub async fn to(server: u16, trial: Arc<Mutex<Trial>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        spawn::task("way", async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
                spawn::task("connection", carry(client, server, trial.clone()));
            }
        });
        Self { port }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }
}

/// Commands and answers in turn, one command of all connections at a time, until either side ends.
async fn carry(client: TcpStream, server: TcpStream, trial: Arc<Mutex<Trial>>) {
    for side in [&client, &server] {
        // What is sent in parts isn't kept until the one before was acknowledged.
        side.set_nodelay(true).unwrap();
    }
    let (from_client, mut to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let (mut from_client, mut from_server) = (BufReader::new(from_client), BufReader::new(from_server));
    while let Some(mut command) = message(&mut from_client).await {
        let words = words(&command);
        if words[0].eq_ignore_ascii_case(b"SUBSCRIBE") {
            // From here on the server speaks when it likes.
            if send(&mut to_server, &command).await {
                let up = tokio::io::copy(&mut from_client, &mut to_server);
                let down = tokio::io::copy(&mut from_server, &mut to_client);
                let _ = tokio::join!(up, down);
            }
            return;
        }
        let mut trial = trial.lock().await;
        if let Some(other) = trial.meet(&words).await {
            command = encoded(&other);
        }
        if !send(&mut to_server, &command).await {
            return;
        }
        let Some(answer) = message(&mut from_server).await else { return };
        trial.settle().await;
        drop(trial);
        if !send(&mut to_client, &answer).await {
            return;
        }
    }
}

/// One command or answer, with all that it consists of.
async fn message(from: &mut BufReader<OwnedReadHalf>) -> Option<Vec<u8>> {
    let (mut bytes, mut parts) = (Vec::new(), 1_i64);
    while parts > 0 {
        parts -= 1;
        let begin = bytes.len();
        if from.read_until(b'\n', &mut bytes).await.ok()? == 0 {
            return None;
        }
        let count = || std::str::from_utf8(&bytes[begin + 1..]).ok()?.trim().parse::<i64>().ok();
        match bytes[begin] {
            b'*' => parts += count()?.max(0),
            b'$' => {
                if let Ok(length) = usize::try_from(count()?) {
                    let end = bytes.len();
                    bytes.resize(end + length + 2, 0);
                    from.read_exact(&mut bytes[end..]).await.ok()?;
                }
            }
            _ => {}
        }
    }
    Some(bytes)
}

/// What a command consists of.
fn words(command: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let line = |from: usize| from + command[from..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut at = line(0);
    while at < command.len() {
        let begin = line(at);
        let length: usize = std::str::from_utf8(&command[at + 1..begin]).unwrap().trim().parse().unwrap();
        words.push(command[begin..begin + length].to_vec());
        at = begin + length + 2;
    }
    words
}

fn encoded(words: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend(word);
        bytes.extend(b"\r\n");
    }
    bytes
}

async fn send(to: &mut OwnedWriteHalf, bytes: &[u8]) -> bool {
    to.write_all(bytes).await.is_ok()
}
