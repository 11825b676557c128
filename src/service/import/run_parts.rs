//! From fishtest's document of a run to a run and its tasks (`spec/storage.md` section 3).

use bson::{Bson, Document, doc};

use super::fields::{Check, count, document, flag, object_id, take_list, text};
use crate::domain::fold::{Record, growth_of};
use crate::domain::ids::{Generation, RunId, TaskId, TaskKey, Version, WriteId};
use crate::domain::results::Stats;
use crate::domain::run::Phase;
use crate::domain::task::{BadMark, TaskRecord};
use crate::store::codec::{OWN, as_count, as_number, bad_task, plain_task, read_stats, read_task};
use crate::store::{RunMeta, StoredRun, legacy_form};

/// The newest layout of runs that is understood.
const NEWEST: u64 = 24;

/// A run, taken apart.
pub(super) struct RunParts {
    pub(super) run: StoredRun,
    /// All tasks in order.
    pub(super) tasks: Vec<TaskRecord>,
    /// What is odd about it.
    pub(super) warnings: Vec<String>,
}

/// Takes a run apart, or says why it can't be taken.
pub(super) fn split(mut doc: Document) -> Check<RunParts> {
    let id = RunId(object_id(&doc)?);
    if let Some(version) = count(&doc, "version")?.filter(|version| *version > NEWEST) {
        return Err(format!("version {version} is newer than the newest known one, {NEWEST}"));
    }
    if doc.contains_key(OWN) {
        return Err(format!("the field name `{OWN}` is reserved"));
    }
    let finished = flag(&doc, "finished")?.ok_or("no `finished`")?;
    for key in ["approved", "deleted", "failed", "is_green", "is_yellow"] {
        flag(&doc, key)?;
    }
    document(&doc, "results")?;
    let mut warnings = Vec::new();
    let (tasks, bad_tasks) = (take_list(&mut doc, "tasks")?, take_list(&mut doc, "bad_tasks")?);
    let mut tasks = Tasks::read(id, tasks)?;
    let unmatched = tasks.mark(bad_tasks)?;
    if !unmatched.is_empty() {
        warnings
            .push(format!("{} entries of `bad_tasks` have no task; kept, but not shown", unmatched.len()));
        doc.insert(OWN, doc! { "bad_tasks": unmatched });
    }
    tasks.note_forms()?;
    let phase = if finished { Phase::Finished } else { Phase::Running };
    let mut meta = RunMeta::new(phase);
    let args = document(&doc, "args")?.ok_or("no `args`")?;
    text(args, "username")?;
    if document(args, "sprt")?.is_some() {
        // Whatever has been played is in the stored test.
        meta.folded = growth_of(&tasks.results);
    }
    document(args, "spsa")?;
    if !finished {
        check_schedulable(args, meta.folded)?;
    }
    tasks.compare(&doc, finished, &mut warnings);
    Ok(RunParts { run: StoredRun { id, doc, meta }, tasks: tasks.records, warnings })
}

/// An unfinished run that the schedule can't load would keep the whole farm from starting.
fn check_schedulable(args: &Document, folded: [i64; 8]) -> Check<()> {
    count(args, "num_games")?.ok_or("unfinished, and no `num_games`")?;
    let unreadable = |error: crate::domain::fold::RecordError| format!("unfinished, and {error}");
    let record = Record::from_args(args, folded).map_err(unreadable)?;
    let text = record.to_text().map_err(unreadable)?;
    Record::parse(&text).map_err(unreadable)?;
    Ok(())
}

/// A run's tasks on their way.
struct Tasks {
    originals: Vec<Document>,
    records: Vec<TaskRecord>,
    results: Stats,
    total_games: u64,
}

impl Tasks {
    fn read(run: RunId, list: Vec<Bson>) -> Check<Self> {
        let mut tasks = Self {
            originals: Vec::with_capacity(list.len()),
            records: Vec::with_capacity(list.len()),
            results: Stats::default(),
            total_games: 0,
        };
        for (index, task) in list.into_iter().enumerate() {
            let at = |reason: String| format!("`tasks`[{index}]: {reason}");
            let Bson::Document(task) = task else { return Err(at("not a document".to_owned())) };
            let number = u32::try_from(index).map_err(|_| at("too many tasks".to_owned()))?;
            tasks.add(TaskKey { run, task: TaskId(number) }, task).map_err(at)?;
        }
        Ok(tasks)
    }

    fn add(&mut self, key: TaskKey, original: Document) -> Check<()> {
        if original.contains_key(OWN) {
            return Err(format!("the field name `{OWN}` is reserved"));
        }
        flag(&original, "active")?;
        count(&original, "num_games")?;
        let start = count(&original, "start")?;
        document(&original, "worker_info")?;
        if let Some(stats) = document(&original, "stats")? {
            check_stats(stats)?;
        }
        // The version that a claim gets: one of this server's writes comes after it.
        let record = read_task(key, Generation(0), Version(1), WriteId(0), original.clone());
        let mut record = record.map_err(|error| error.to_string())?;
        // Openings are dealt in the order of the tasks.
        record.start = start.unwrap_or(self.total_games);
        let results = self.results.plus(&record.stats).ok_or("the results leave the range of a count")?;
        if record.start.checked_add(record.num_games).is_none() || i64::try_from(results.games()).is_err() {
            return Err("the numbers of games leave the range of a count".to_owned());
        }
        self.results = results;
        self.total_games = self.total_games.saturating_add(record.num_games);
        self.originals.push(original);
        self.records.push(record);
        Ok(())
    }

    /// Puts the purged tasks' copies where they belong; those that belong nowhere come back.
    fn mark(&mut self, bad_tasks: Vec<Bson>) -> Check<Vec<Document>> {
        let (mut unmatched, mut position) = (Vec::new(), 0);
        for (index, entry) in bad_tasks.into_iter().enumerate() {
            let Bson::Document(entry) = entry else {
                return Err(format!("`bad_tasks`[{index}] is not a document"));
            };
            if let Some(stats) =
                document(&entry, "stats").map_err(|e| format!("`bad_tasks`[{index}]: {e}"))?
            {
                check_stats(stats).map_err(|reason| format!("`bad_tasks`[{index}]: {reason}"))?;
            }
            let target = self.task_of(&entry).filter(|_| !entry.contains_key(OWN));
            let Some(record) = target.and_then(|number| self.records.get_mut(number)) else {
                unmatched.push(entry);
                continue;
            };
            set_mark(record, position, &entry);
            position += 1;
        }
        Ok(unmatched)
    }

    /// The task whose copy this is: by its number, or, in old runs, the first purged task of that size and worker.
    fn task_of(&self, entry: &Document) -> Option<usize> {
        let is_free = |number: usize| {
            let marked = self.originals.get(number)?.get_bool("bad").unwrap_or(false);
            let record = self.records.get(number)?;
            (marked && !record.active && record.bad.is_none()).then_some(record)
        };
        if let Some(number) = entry.get("task_id") {
            let number = usize::try_from(as_count(Some(number))?).ok()?;
            return is_free(number).map(|_| number);
        }
        let games = as_count(entry.get("num_games"));
        let worker = entry.get_document("worker_info").ok().and_then(|info| info.get_str("unique_key").ok());
        (0..self.records.len()).find(|number| {
            is_free(*number).is_some_and(|record| {
                Some(record.num_games) == games
                    && record.worker.as_ref().map(|worker| worker.unique_key.as_str()) == worker
            })
        })
    }

    /// Notes where a task is written otherwise than today.
    fn note_forms(&mut self) -> Check<()> {
        for (record, original) in self.records.iter_mut().zip(&self.originals) {
            let written = plain_task(record);
            legacy_form::note(&mut record.extra, &written, original);
        }
        Ok(())
    }

    /// Says where the stored sums aren't those of the tasks.
    fn compare(&self, doc: &Document, finished: bool, warnings: &mut Vec<String>) {
        let stored = doc.get_document("results").map(read_stats).unwrap_or_default();
        if stored != self.results {
            warnings
                .push(format!("`results` are not the sum of the tasks: {stored:?}, not {:?}", self.results));
        }
        let active = self.records.iter().filter(|task| task.active);
        let (mut workers, mut cores) = (0, 0_u64);
        for task in active {
            workers += 1;
            cores += task.worker.as_ref().map_or(0, |worker| u64::from(worker.concurrency));
        }
        let committed = self.records.iter().fold(0, |sum: u64, task| sum.saturating_add(task.committed()));
        let mut sums = vec![("workers", workers), ("cores", cores)];
        if !finished {
            sums.extend([("committed_games", committed), ("total_games", self.total_games)]);
        }
        for (key, sum) in sums {
            let stored = as_count(doc.get(key)).unwrap_or(0);
            if stored != sum {
                warnings.push(format!("`{key}` is {stored}, but {sum} by the tasks"));
            }
        }
    }
}

fn check_stats(stats: &Document) -> Check<()> {
    for key in ["wins", "losses", "draws", "crashes", "time_losses"] {
        count(stats, key)?;
    }
    match stats.get("pentanomial") {
        None => Ok(()),
        Some(Bson::Array(pairs)) if pairs.len() == 5 && pairs.iter().all(|p| as_count(Some(p)).is_some()) => {
            Ok(())
        }
        Some(_) => Err("`pentanomial` is not five whole numbers of at least 0".to_owned()),
    }
}

fn set_mark(record: &mut TaskRecord, position: u32, entry: &Document) {
    record.bad = Some(BadMark {
        position,
        stats: entry.get_document("stats").map(read_stats).unwrap_or_default(),
        residual: as_number(entry.get("residual")).unwrap_or(0.0),
        residual_color: entry.get_str("residual_color").unwrap_or_default().to_owned(),
        extra: Document::new(),
    });
    let Some(written) = bad_task(record) else { return };
    let Some(mark) = &mut record.bad else { return };
    // Nothing of a purged task ever changes: what differs is simply kept, and what is absent noted.
    let mut kept = written.clone();
    for (key, value) in entry {
        if written.get(key) != Some(value) {
            mark.extra.insert(key, value.clone());
        }
        kept.insert(key, value.clone());
    }
    legacy_form::note(&mut mark.extra, &kept, entry);
}
