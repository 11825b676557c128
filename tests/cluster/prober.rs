//! A worker that only wants to know whether tasks are to be had: it asks all the time and gives each task back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use shoal::simulate::SimulateOptions;
use shoal::simulate::answer::Trouble;
use shoal::simulate::client::Client;
use shoal::simulate::machine::{Machine, MachineMix};
use shoal::simulate::protocol::WorkerRequest;
use shoal::simulate::tally::Tally;
use shoal::sys::clock::stopwatch;
use shoal::sys::random::seeded;
use shoal::sys::spawn;
use tokio::task::JoinHandle;

/// Between an answer and the next request.
const PAUSE: Duration = Duration::from_millis(50);

/// Among the machines of no fleet.
const PLACE: usize = 900_000;

#[derive(Default)]
struct Seen {
    /// When each request that got a task was sent, and when it was answered.
    tasks: Vec<(Instant, Instant)>,
    /// What a worker must not be told.
    wrong: Vec<String>,
}

/// The worker; it ends when dropped.
pub struct Prober {
    seen: Arc<Mutex<Seen>>,
    started: Instant,
    asking: JoinHandle<()>,
}

impl Prober {
    /// Starts asking.
    pub fn start(url: &str, username: &str, password: &str) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut options = SimulateOptions::new(url, 1, username, password);
        // What doesn't come soon isn't service.
        options.timeout_seconds = 10.0;
        let asking = spawn::task("prober", ask(options, seen.clone()));
        Self { seen, started: stopwatch(), asking }
    }

    /// When a request sent after `since` was answered with a task.
    pub async fn served_again(&self, since: Instant, within: Duration) -> Instant {
        loop {
            let first = self.seen.lock().tasks.iter().find(|(sent, _)| *sent > since).map(|(_, at)| *at);
            if let Some(at) = first {
                return at;
            }
            assert!(since.elapsed() < within, "no task has been served for {within:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Until a first task was served: everything is at work.
    pub async fn served_at_all(&self) {
        self.served_again(self.started, Duration::from_secs(60)).await;
    }

    /// The longest time between two tasks so far.
    pub fn longest_pause(&self) -> Duration {
        let seen = self.seen.lock();
        let pairs = seen.tasks.windows(2).map(|pair| pair[1].1.duration_since(pair[0].1));
        pairs.max().unwrap_or_default()
    }

    /// Ends it; nothing that it was told may have been wrong. Returns how many tasks it got.
    pub fn finish(&self) -> usize {
        self.asking.abort();
        let seen = self.seen.lock();
        assert!(seen.wrong.is_empty(), "{:#?}", seen.wrong);
        seen.tasks.len()
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

async fn ask(options: SimulateOptions, seen: Arc<Mutex<Seen>>) {
    let account = &options.accounts[0];
    let client = Client::new(&options, Arc::new(Tally::default())).unwrap();
    let mix = MachineMix::uniform(1);
    let machine = Machine::draw(&mix, &account.username, PLACE, &mut seeded(1)).unwrap();
    let body = WorkerRequest::new(&account.password, &machine.json);
    let address = Some(&machine.address);
    let note = |trouble: Trouble| match trouble {
        Trouble::Network { .. } | Trouble::Unavailable { .. } => {}
        trouble => seen.lock().wrong.push(format!("{trouble:?}")),
    };
    loop {
        let sent = stopwatch();
        match client.request_task(&body, address).await {
            Ok(answer) => {
                if let (Some(run), Some(task)) = (answer.run, answer.task_id) {
                    seen.lock().tasks.push((sent, stopwatch()));
                    let body = WorkerRequest { message: Some("only asking"), ..body.about(&run.id, task) };
                    while let Err(trouble) = client.failed_task(&body, address).await {
                        if matches!(trouble, Trouble::Refused { .. }) {
                            note(trouble);
                            break;
                        }
                        note(trouble);
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
            Err(trouble) => note(trouble),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
