//! Who leads, as the replicas' metrics tell it, looked at all the time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use shoal::sys::clock::stopwatch;
use shoal::sys::{spawn, web};
use tokio::task::JoinHandle;

use super::farm::Farm;
use super::metrics::Metrics;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// One look: the replicas that lead, with their tokens.
type Look = (Instant, Vec<(usize, u64)>);

/// The one who looks; it ends when dropped.
pub struct LeaderWatch {
    looks: Arc<Mutex<Vec<Look>>>,
    looking: JoinHandle<()>,
}

impl LeaderWatch {
    /// Starts looking.
    pub fn start(farm: &Farm) -> Self {
        let addresses: Vec<String> =
            (0..farm.replicas.len()).map(|number| farm.address(number, "/metrics")).collect();
        let looks = Arc::new(Mutex::new(Vec::new()));
        let looking = spawn::task("leader watch", look(addresses, looks.clone()));
        Self { looks, looking }
    }

    /// Until it has seen somebody lead with this token: what follows is measured from there.
    pub async fn sees(&self, token: u64) {
        let began = stopwatch();
        let seen = |look: &Look| look.1.iter().any(|(_, its)| *its == token);
        while !self.looks.lock().iter().rev().any(seen) {
            assert!(began.elapsed() < Duration::from_secs(20), "nobody was seen to lead with {token}");
            tokio::time::sleep(LOOK / 2).await;
        }
    }

    /// Times without a leader between two leaders.
    pub fn gaps(&self) -> Vec<Duration> {
        let mut gaps = Vec::new();
        let mut last: Option<(Instant, Vec<u64>)> = None;
        let looks = self.looks.lock();
        for (at, leading) in looks.iter().filter(|(_, leading)| !leading.is_empty()) {
            let tokens: Vec<u64> = leading.iter().map(|(_, token)| *token).collect();
            if let Some((then, before)) = &last
                && tokens.iter().all(|token| !before.contains(token))
            {
                gaps.push(at.duration_since(*then));
            }
            last = Some((*at, tokens));
        }
        gaps
    }

    /// Ends it. Nobody may have led with another's token, as long as Redis remembers what it gave out.
    pub fn finish(&self) {
        self.looking.abort();
        let mut holders: BTreeMap<u64, usize> = BTreeMap::new();
        for (_, leading) in self.looks.lock().iter() {
            for (number, token) in leading {
                let holder = holders.entry(*token).or_insert(*number);
                assert_eq!(holder, number, "two replicas led with the token {token}");
            }
        }
        assert!(!holders.is_empty(), "nobody ever led");
    }
}

impl Drop for LeaderWatch {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

async fn look(addresses: Vec<String>, looks: Arc<Mutex<Vec<Look>>>) {
    let client = web::client().timeout(Duration::from_millis(1500)).build().unwrap();
    loop {
        let ask = async |address: &String| {
            let answer = client.get(address).send().await.ok()?;
            let metrics = Metrics::parse(&answer.text().await.ok()?);
            (metrics.sum("shoal_leader") > 0.0).then(|| metrics.sum("shoal_leader_token") as u64)
        };
        let began = stopwatch();
        let tokens = futures::future::join_all(addresses.iter().map(ask)).await;
        let leading = tokens.into_iter().enumerate().filter_map(|(number, token)| Some((number, token?)));
        looks.lock().push((began, leading.collect()));
        tokio::time::sleep(LOOK).await;
    }
}
