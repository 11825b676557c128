//! What clients saw, with the times at which they asked and were answered, and whether one schedule can have told them
//! all of that: each answer must fit some moment between its request and itself.

use std::collections::BTreeMap;
use std::time::Duration;

/// A task that a client was given. Times are since the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub task: u32,
    pub start: u64,
    pub games: u64,
    pub key: String,
    pub address: usize,
    /// When the request was sent that may have made it: the first one whose outcome isn't known.
    pub sent: Duration,
    pub answered: Duration,
}

/// From here on a task may not be active any more: its client has asked for its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    pub task: u32,
    pub sent: Duration,
    /// Games that it commits at least, whatever became of it.
    pub kept: u64,
}

/// What all clients saw of one run.
#[derive(Debug, Default)]
pub struct History {
    pub claims: Vec<Claim>,
    pub ends: Vec<End>,
}

impl History {
    /// Puts another client's beside one's own.
    pub fn append(&mut self, mut other: Self) {
        self.claims.append(&mut other.claims);
        self.ends.append(&mut other.ends);
    }

    /// What can't be, for a run of so many games, and so many tasks for one address at once.
    pub fn impossible(&self, num_games: u64, machine_limit: u64) -> Vec<String> {
        let mut found = self.handed_twice();
        let first = self.first_claims();
        found.extend(overlaps(&first));
        found.extend(out_of_order(&first));
        found.extend(self.too_much(&first, num_games, machine_limit));
        found
    }

    /// I1: a task is one worker's, and keeps its openings.
    fn handed_twice(&self) -> Vec<String> {
        let mut known: BTreeMap<u32, &Claim> = BTreeMap::new();
        let mut found = Vec::new();
        for claim in &self.claims {
            let first = *known.entry(claim.task).or_insert(claim);
            if first.key != claim.key || (first.start, first.games) != (claim.start, claim.games) {
                found.push(format!("I1: {first:?} and {claim:?}"));
            }
        }
        found
    }

    /// One claim a task: the one that was answered first.
    fn first_claims(&self) -> Vec<&Claim> {
        let mut first: BTreeMap<u32, &Claim> = BTreeMap::new();
        for claim in &self.claims {
            let known = first.entry(claim.task).or_insert(claim);
            if claim.answered < known.answered {
                *known = claim;
            }
        }
        first.into_values().collect()
    }

    /// I13, and no more games committed than the run has: both by what certainly was at one moment. A task certainly is
    /// active from the answer until its client asks for its end.
    fn too_much(&self, first: &[&Claim], num_games: u64, machine_limit: u64) -> Vec<String> {
        let mut ends: BTreeMap<u32, &End> = BTreeMap::new();
        for end in &self.ends {
            let known = ends.entry(end.task).or_insert(end);
            if end.sent < known.sent {
                *known = end;
            }
        }
        // Ends before beginnings of the same moment; (time, begins, address, games).
        let mut steps: Vec<(Duration, bool, usize, u64)> = Vec::new();
        for claim in first {
            steps.push((claim.answered, true, claim.address, claim.games));
            if let Some(end) = ends.get(&claim.task) {
                steps.push((
                    end.sent.max(claim.answered + Duration::from_nanos(1)),
                    false,
                    claim.address,
                    claim.games.saturating_sub(end.kept),
                ));
            }
        }
        steps.sort_unstable();
        let (mut committed, mut held, mut found) = (0, BTreeMap::<usize, u64>::new(), Vec::new());
        for (at, begins, address, games) in steps {
            let there = held.entry(address).or_default();
            if begins {
                (committed, *there) = (committed + games, *there + 1);
            } else {
                (committed, *there) = (committed - games, *there - 1);
            }
            if *there > machine_limit {
                found.push(format!("I13: {there} tasks of address {address} at {at:?}"));
            }
            if committed > num_games {
                found.push(format!("{committed} games were committed at {at:?}, of {num_games}"));
            }
        }
        found
    }
}

/// I20: opening ranges don't overlap.
fn overlaps(first: &[&Claim]) -> Vec<String> {
    let mut by_start = first.to_vec();
    by_start.sort_by_key(|claim| claim.start);
    let pairs = by_start.windows(2).filter(|pair| pair[0].start + pair[0].games > pair[1].start);
    pairs.map(|pair| format!("I20: {:?} and {:?}", pair[0], pair[1])).collect()
}

/// I2, and the order of what certainly came one after the other: a later task has a greater number and later openings.
fn out_of_order(first: &[&Claim]) -> Vec<String> {
    let (mut by_sent, mut by_answered) = (first.to_vec(), first.to_vec());
    by_sent.sort_by_key(|claim| claim.sent);
    by_answered.sort_by_key(|claim| claim.answered);
    let mut before = by_answered.into_iter().peekable();
    let mut greatest: Option<&Claim> = None;
    let mut found = Vec::new();
    for claim in by_sent {
        while let Some(answered) = before.next_if(|other| other.answered < claim.sent) {
            if greatest.is_none_or(|greatest| greatest.task < answered.task) {
                greatest = Some(answered);
            }
        }
        if let Some(earlier) = greatest
            && (earlier.task >= claim.task || earlier.start + earlier.games > claim.start)
        {
            found.push(format!("I2: {claim:?} came after {earlier:?}"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(task: u32, start: u64, sent: u64, answered: u64) -> Claim {
        let (sent, answered) = (Duration::from_millis(sent), Duration::from_millis(answered));
        Claim { task, start, games: 10, key: format!("key{task}"), address: 1, sent, answered }
    }

    fn wrong(claims: Vec<Claim>, ends: Vec<End>) -> String {
        History { claims, ends }.impossible(30, 2).join("; ")
    }

    #[test]
    fn a_history_that_one_schedule_can_have_told_is_possible() {
        let ends = vec![End { task: 0, sent: Duration::from_millis(5), kept: 0 }];
        // The second and the third ran side by side, so either may have been first; a repetition is the same task.
        let claims = vec![claim(0, 0, 0, 4), claim(2, 20, 6, 20), claim(1, 10, 6, 9), claim(1, 10, 12, 14)];
        assert_eq!(wrong(claims, ends), "");
    }

    #[test]
    fn impossible_histories_are_told_apart() {
        let mut stolen = claim(0, 0, 5, 6);
        stolen.key = "another".to_owned();
        assert!(wrong(vec![claim(0, 0, 0, 4), stolen], vec![]).contains("I1:"));
        assert!(wrong(vec![claim(0, 0, 0, 4), claim(1, 8, 1, 4)], vec![]).contains("I20:"));
        assert!(wrong(vec![claim(1, 10, 0, 4), claim(0, 0, 5, 6)], vec![]).contains("I2:"));
        let three = vec![claim(0, 0, 0, 4), claim(1, 10, 0, 4), claim(2, 20, 0, 4)];
        assert!(wrong(three.clone(), vec![]).contains("I13:"));
        let mut four = three;
        four.push(claim(3, 30, 0, 9));
        assert!(wrong(four.clone(), vec![]).contains("40 games were committed"));
        // One that was given back with four games played makes room for six.
        let end = End { task: 0, sent: Duration::from_millis(5), kept: 4 };
        assert!(wrong(four, vec![end]).contains("34 games were committed"));
    }
}
