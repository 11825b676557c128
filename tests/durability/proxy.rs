//! A connection that fails when it is told to: between the driver and the server, message by message.

use std::sync::Arc;

use bson::{Document, doc};
use parking_lot::Mutex;
use shoal::store::mongo::MongoUrl;
use shoal::sys::spawn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// What happens to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks before the server hears of it.
    RequestLost,
    /// The server carries it out; the connection breaks before the answer.
    AnswerLost,
    /// It isn't the primary any more, and refuses.
    NotPrimary,
    /// It carries it out, and steps down before it has said so.
    SteppedDown,
    /// It carries it out; no majority has confirmed it in time.
    NoMajority,
}

impl Fault {
    /// Whether the server hears of the command.
    fn arrives(self) -> bool {
        !matches!(self, Self::RequestLost | Self::NotPrimary)
    }

    /// What is answered in the server's place.
    fn reply(self) -> Option<Document> {
        match self {
            Self::RequestLost | Self::AnswerLost => None,
            Self::NotPrimary => {
                let (name, text) = ("NotWritablePrimary", "not primary");
                Some(doc! { "ok": 0.0, "code": 10107, "codeName": name, "errmsg": text })
            }
            Self::SteppedDown => {
                let error = doc! { "index": 0, "code": 11602, "errmsg": "operation was interrupted" };
                Some(doc! { "ok": 1.0, "n": 0, "writeErrors": [error] })
            }
            Self::NoMajority => {
                let error = doc! { "code": 64, "errmsg": "waiting for replication timed out" };
                Some(doc! { "ok": 1.0, "n": 1, "writeConcernError": error })
            }
        }
    }
}

#[derive(Debug, Default)]
struct Plan {
    /// Bytes that a command must hold for the fault, and how often it still happens.
    fault: Option<(Vec<u8>, Fault, u32)>,
}

/// The proxy; it ends with the test.
pub struct Proxy {
    port: u16,
    plan: Arc<Mutex<Plan>>,
}

impl Proxy {
    /// Starts one before the server at an address.
    pub async fn start(server: &MongoUrl) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let plan = Arc::new(Mutex::new(Plan::default()));
        let (server, shared) = (server.hosts().to_owned(), plan.clone());
        spawn::task("proxy", async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                spawn::task("connection", carry(client, server, shared.clone()));
            }
        });
        Self { port, plan }
    }

    pub fn url(&self) -> String {
        format!("mongodb://127.0.0.1:{}/", self.port)
    }

    /// The next command that holds `word` fails.
    pub fn fail_next(&self, word: &str, fault: Fault) {
        self.plan.lock().fault = Some((word.into(), fault, 1));
    }

    /// All commands that hold `word` fail.
    pub fn fail_always(&self, word: &str, fault: Fault) {
        self.plan.lock().fault = Some((word.into(), fault, u32::MAX));
    }

    /// No command fails any more.
    pub fn heal(&self) {
        self.plan.lock().fault = None;
    }

    /// Whether what [`Proxy::fail_next`] said has happened.
    pub fn has_failed(&self) -> bool {
        self.plan.lock().fault.as_ref().is_none_or(|(_, _, left)| *left == 0)
    }
}

/// What is to happen to a command.
fn fault_for(plan: &Mutex<Plan>, message: &[u8]) -> Option<Fault> {
    let mut plan = plan.lock();
    let (word, fault, left) = plan.fault.as_mut()?;
    if *left == 0 || !message.windows(word.len()).any(|part| part == word.as_slice()) {
        return None;
    }
    *left = left.saturating_sub(1);
    Some(*fault)
}

/// One message of the wire protocol: its length comes first.
async fn message(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 4];
    from.read_exact(&mut bytes).await.ok()?;
    let length = u32::from_le_bytes(bytes.as_slice().try_into().unwrap()) as usize;
    bytes.resize(length, 0);
    from.read_exact(&mut bytes[4..]).await.ok()?;
    Some(bytes)
}

/// Commands and answers in turn, until either side ends or a fault breaks both.
async fn carry(client: TcpStream, server: TcpStream, plan: Arc<Mutex<Plan>>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    while let Some(command) = message(&mut from_client).await {
        let fault = fault_for(&plan, &command);
        let mut answer = None;
        if fault.is_none_or(Fault::arrives) {
            if !send(&mut to_server, &command).await {
                return;
            }
            answer = message(&mut from_server).await;
        }
        if let Some(fault) = fault {
            answer = fault.reply().map(|reply| encoded(&command, &reply));
        }
        let Some(answer) = answer else { return };
        if !send(&mut to_client, &answer).await {
            return;
        }
    }
}

/// An answer to a command as a message: head (length, id, whom it answers, kind of message), flags, one document.
fn encoded(command: &[u8], reply: &Document) -> Vec<u8> {
    const MESSAGE: u32 = 2013;
    let body = reply.to_vec().unwrap();
    let length = (16 + 4 + 1 + body.len()) as u32;
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(&command[4..8]);
    bytes.extend(MESSAGE.to_le_bytes());
    bytes.extend([0; 5]);
    bytes.extend(body);
    bytes
}

async fn send(to: &mut OwnedWriteHalf, bytes: &[u8]) -> bool {
    to.write_all(bytes).await.is_ok()
}
