//! Two writers of one task, one of them stale, in every interleaving of their steps: the newer stands, the stale one is
//! told, and nothing that either was acknowledged is lost.

use shoal::domain::ids::{Generation, TaskKey, Version};
use shoal::domain::task::TaskRecord;
use shoal::store::WriteOutcome::{Applied, Fenced, Superseded};
use shoal::store::{SharedStore, WriteOutcome};

use super::fixtures::*;
use super::mongo_server::MongoFixture;

/// What the old writer does, in order: a claim, two reports.
const OLD: usize = 3;
/// What the new one does, in order: raises the fence, seals, reads the tasks, writes on what it read.
const NEW: usize = 4;

/// All orders of the steps of both: true is a step of the old writer.
fn interleavings(old: usize, new: usize) -> Vec<Vec<bool>> {
    if old == 0 || new == 0 {
        return vec![vec![old > 0; old + new]];
    }
    let mut orders = Vec::new();
    for (first, rest) in [(true, interleavings(old - 1, new)), (false, interleavings(old, new - 1))] {
        orders.extend(rest.into_iter().map(|rest| [vec![first], rest].concat()));
    }
    orders
}

#[test]
fn every_interleaving_is_there_once() {
    let mut orders = interleavings(OLD, NEW);
    assert_eq!(orders.len(), 35);
    orders.sort();
    orders.dedup();
    assert_eq!(orders.len(), 35);
}

async fn write(store: &SharedStore, generation: Generation, record: &TaskRecord) -> WriteOutcome {
    store.commit(generation, &[task_write(record)]).await.unwrap()[0]
}

/// The two writers and what they know.
struct Race<'a> {
    old: &'a SharedStore,
    new: &'a SharedStore,
    key: TaskKey,
    before: Generation,
    after: Option<Generation>,
    /// The old writer's next version, and what it was told of its writes: the version, and whether the new writer had
    /// read the tasks by then.
    next: TaskRecord,
    acknowledged: Vec<(Version, bool)>,
    /// What the new writer read, and what it wrote.
    read: Option<Option<TaskRecord>>,
    written: Option<TaskRecord>,
}

impl Race<'_> {
    async fn old_step(&mut self) {
        let outcome = write(self.old, self.before, &self.next).await;
        match outcome {
            Applied | Superseded => self.acknowledged.push((self.next.version, self.read.is_some())),
            Fenced(by) => assert_eq!(Some(by), self.after, "fenced by whom?"),
            other => panic!("{other:?} to the old writer"),
        }
        // Told or not, a stale writer goes on: it may not have understood.
        self.next = update(&self.next);
    }

    async fn new_step(&mut self, number: usize) {
        match number {
            0 => self.after = self.new.raise_fence(self.before).await.unwrap(),
            1 => {
                self.new.seal(self.after.unwrap()).await.unwrap();
            }
            2 => self.read = Some(self.new.task(self.key).await.unwrap()),
            _ => {
                let generation = self.after.unwrap();
                let mut mine = match self.read.clone().unwrap() {
                    Some(read) => update(&read),
                    None => claim(self.key, generation),
                };
                mine.generation = generation;
                mine.num_games = 777;
                assert_eq!(
                    write(self.new, generation, &mine).await,
                    Applied,
                    "the new writer is never refused"
                );
                self.written = Some(mine);
            }
        }
    }
}

/// Plays all interleavings with two ways to one store.
async fn the_newer_stands(old: SharedStore, new: SharedStore) {
    for order in interleavings(OLD, NEW) {
        let before = new.raise_fence(new.fence().await.unwrap()).await.unwrap().unwrap();
        let key = key(run_id(), 0);
        let mut race = Race {
            old: &old,
            new: &new,
            key,
            before,
            after: None,
            next: claim(key, before),
            acknowledged: Vec::new(),
            read: None,
            written: None,
        };
        let mut step = 0;
        for is_old in &order {
            if *is_old {
                race.old_step().await;
            } else {
                race.new_step(step).await;
                step += 1;
            }
        }
        let stored = new.task(key).await.unwrap();
        assert_eq!(stored, race.written, "{order:?}: the newer does not stand");
        let seen = race.read.unwrap().map_or(Version(0), |read| read.version);
        for (version, late) in race.acknowledged {
            assert!(!late, "{order:?}: version {} was acknowledged to the stale writer", version.0);
            assert!(version <= seen, "{order:?}: version {} was acknowledged, and not seen", version.0);
        }
    }
}

#[tokio::test]
async fn of_two_writers_on_sqlite_the_newer_stands() {
    let fixture = SqliteFixture::new();
    the_newer_stands(fixture.store(), fixture.store()).await;
}

#[tokio::test]
async fn of_two_writers_on_mongodb_the_newer_stands() {
    let Some(fixture) = MongoFixture::new().await else { return };
    the_newer_stands(fixture.another().await, fixture.store()).await;
    fixture.finish().await;
}
