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

/// When a replica was seen to lead, which, and with which token.
type Look = (Instant, usize, u64);

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
        let seen = |look: &Look| look.2 == token;
        while !self.looks.lock().iter().rev().any(seen) {
            assert!(began.elapsed() < Duration::from_secs(20), "nobody was seen to lead with {token}");
            tokio::time::sleep(LOOK / 2).await;
        }
    }

    /// Times without a leader, one for each change of leaders: from the last sight of one to the first of the next.
    pub fn gaps(&self) -> Vec<Duration> {
        let mut terms: BTreeMap<u64, (Instant, Instant)> = BTreeMap::new();
        for (at, _, token) in self.looks.lock().iter() {
            let (first, last) = terms.entry(*token).or_insert((*at, *at));
            (*first, *last) = ((*first).min(*at), (*last).max(*at));
        }
        let mut terms: Vec<_> = terms.into_values().collect();
        terms.sort_unstable();
        terms.windows(2).map(|pair| pair[1].0.saturating_duration_since(pair[0].1)).collect()
    }

    /// Ends it. Nobody may have led with another's token.
    pub fn finish(&self) {
        self.looking.abort();
        let mut holders: BTreeMap<u64, usize> = BTreeMap::new();
        for (_, number, token) in self.looks.lock().iter() {
            let holder = holders.entry(*token).or_insert(*number);
            assert_eq!(holder, number, "two replicas led with the token {token}");
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
        let ask = async |(number, address): (usize, &String)| {
            let Ok(answer) = client.get(address).send().await else { return };
            let Ok(text) = answer.text().await else { return };
            let metrics = Metrics::parse(&text);
            if metrics.sum("shoal_leader") > 0.0 {
                looks.lock().push((stopwatch(), number, metrics.sum("shoal_leader_token") as u64));
            }
        };
        futures::future::join_all(addresses.iter().enumerate().map(ask)).await;
        tokio::time::sleep(LOOK).await;
    }
}
