//! From fishtest's document of a run to a run and its tasks (`spec/storage.md` section 3).

use std::collections::{HashMap, HashSet, VecDeque};

use bson::{Bson, Document, doc};

use super::fields::{Check, Fault, count, document, flag, missing, object_id, take_list, text};
use super::run_input::{Elements, RunInput};
use crate::domain::fold::{Record, growth_of};
use crate::domain::ids::{Generation, RunId, TaskId, TaskKey, Version, WriteId};
use crate::domain::results::Stats;
use crate::domain::run::Phase;
use crate::domain::task::{BadMark, TaskRecord};
use crate::store::codec::{OWN, as_count, as_number, bad_task, plain_task, read_stats, read_task};
use crate::store::{RunMeta, StoredRun, legacy_form};

/// The newest layout of runs that is understood.
const NEWEST: u64 = 24;

/// A run, looked through.
pub(super) struct RunParts {
    pub(super) run: StoredRun,
    /// All tasks in order.
    pub(super) tasks: TaskReader,
    /// What is odd about it.
    pub(super) warnings: Vec<String>,
}

/// Looks through a run, or says why it can't be taken.
pub(super) fn split(input: RunInput) -> Check<RunParts> {
    let RunInput { rest: mut doc, tasks, bad_tasks } = input;
    let id = RunId(object_id(&doc)?);
    if let Some(version) = count(&doc, "version")?.filter(|version| *version > NEWEST) {
        let reason = format!("version {version} is newer than the newest known one, {NEWEST}");
        return Err(Fault::of("version", reason));
    }
    if doc.contains_key(OWN) {
        return Err(reserved());
    }
    let finished = flag(&doc, "finished")?.ok_or_else(|| missing("finished"))?;
    for key in ["approved", "deleted", "failed", "is_green", "is_yellow"] {
        flag(&doc, key)?;
    }
    document(&doc, "results")?;
    for list in ["tasks", "bad_tasks"] {
        take_list(&mut doc, list)?;
    }
    let mut warnings = Vec::new();
    let (mut survey, mut reader) = survey(id, tasks)?;
    let unmatched = reader.mark(bad_tasks, &mut survey)?;
    if !unmatched.is_empty() {
        warnings
            .push(format!("{} entries of `bad_tasks` have no task; kept, but not shown", unmatched.len()));
        // With their places among the others, so that an export has the list as it was.
        let (places, entries): (Vec<i64>, Vec<Document>) = unmatched.into_iter().unzip();
        doc.insert(OWN, doc! { "bad_tasks": entries, "bad_task_places": places });
    }
    let phase = if finished { Phase::Finished } else { Phase::Running };
    let mut meta = RunMeta::new(phase);
    let args = document(&doc, "args")?.ok_or_else(|| missing("args"))?;
    let of_args = |fault: Fault| fault.below("args");
    text(args, "username").map_err(of_args)?;
    if document(args, "sprt").map_err(of_args)?.is_some() {
        // Whatever has been played is in the stored test.
        meta.folded = growth_of(&survey.results);
    }
    document(args, "spsa").map_err(of_args)?;
    if !finished {
        check_schedulable(args, meta.folded)?;
    }
    survey.compare(&doc, finished, &mut warnings);
    Ok(RunParts { run: StoredRun { id, doc, meta }, tasks: reader, warnings })
}

fn reserved() -> Fault {
    Fault::of(OWN, format!("the field name `{OWN}` is reserved"))
}

/// An unfinished run that the schedule can't load would keep the whole farm from starting.
fn check_schedulable(args: &Document, folded: [i64; 8]) -> Check<()> {
    let games = count(args, "num_games").map_err(|fault| fault.below("args"))?;
    games.ok_or_else(|| Fault::of("args.num_games", "unfinished, and no `num_games`"))?;
    let unreadable =
        |error: crate::domain::fold::RecordError| Fault::of("args", format!("unfinished, and {error}"));
    let record = Record::from_args(args, folded).map_err(unreadable)?;
    let text = record.to_text().map_err(unreadable)?;
    Record::parse(&text).map_err(unreadable)?;
    Ok(())
}

/// A run's tasks in order, each made from its document when its turn comes.
pub(super) struct TaskReader {
    run: RunId,
    tasks: Elements,
    bad_tasks: Elements,
    /// By the number of a purged task, its copy: position among those with a task, and index in the list.
    marks: HashMap<usize, (u32, usize)>,
    next: usize,
    /// Games of the tasks before.
    total_games: u64,
}

impl TaskReader {
    /// The next tasks, up to `limit`.
    pub(super) fn page(&mut self, limit: usize) -> Check<Vec<TaskRecord>> {
        let mut page = Vec::new();
        while page.len() < limit && !self.is_done() {
            let index = self.next;
            let (mut record, original) = self.read_next().map_err(|fault| fault.within("tasks", index))?;
            if let Some((position, entry)) = self.marks.get(&index) {
                let entry = self.bad_tasks.get(*entry).map_err(|fault| fault.within("bad_tasks", *entry))?;
                set_mark(&mut record, *position, &entry);
            }
            // Where the task is written otherwise than today.
            let written = plain_task(&record);
            legacy_form::note(&mut record.extra, &written, &original);
            page.push(record);
        }
        Ok(page)
    }

    /// Whether no task is left.
    pub(super) fn is_done(&self) -> bool {
        self.next >= self.tasks.len()
    }

    fn read_next(&mut self) -> Check<(TaskRecord, Document)> {
        let original = self.tasks.get(self.next)?;
        let number = u32::try_from(self.next).map_err(|_| Fault::whole("too many tasks"))?;
        let key = TaskKey { run: self.run, task: TaskId(number) };
        if original.contains_key(OWN) {
            return Err(reserved());
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
        let mut record = record.map_err(|error| Fault::whole(error.to_string()))?;
        // Openings are dealt in the order of the tasks.
        record.start = start.unwrap_or(self.total_games);
        self.total_games = self.total_games.saturating_add(record.num_games);
        self.next += 1;
        Ok((record, original))
    }

    /// Finds the purged tasks' copies their tasks; those that belong nowhere come back with their places in the list.
    fn mark(&mut self, bad_tasks: Elements, survey: &mut Survey) -> Check<Vec<(i64, Document)>> {
        let mut unmatched = Vec::new();
        let mut position = 0;
        for index in 0..bad_tasks.len() {
            let at = |fault: Fault| fault.within("bad_tasks", index);
            let entry = bad_tasks.get(index).map_err(at)?;
            if let Some(stats) = document(&entry, "stats").map_err(at)? {
                check_stats(stats).map_err(at)?;
            }
            let target = if entry.contains_key(OWN) { None } else { survey.task_of(&entry, &self.marks) };
            let Some(task) = target else {
                let place = i64::try_from(index).map_err(|_| Fault::whole("too many purged tasks"))?;
                unmatched.push((place, entry));
                continue;
            };
            self.marks.insert(task, (position, index));
            position += 1;
        }
        self.bad_tasks = bad_tasks;
        Ok(unmatched)
    }
}

/// What a first pass over a run's tasks finds out.
#[derive(Default)]
struct Survey {
    results: Stats,
    workers: u64,
    cores: u64,
    committed: u64,
    total_games: u64,
    /// Tasks that are marked as purged.
    purged: HashSet<usize>,
    /// The same by their size and worker, in order.
    purged_alike: HashMap<(u64, Option<String>), VecDeque<usize>>,
}

/// Reads all tasks once; the reader that comes back begins anew.
fn survey(run: RunId, tasks: Elements) -> Check<(Survey, TaskReader)> {
    let bad_tasks = Elements::default();
    let mut reader = TaskReader { run, tasks, bad_tasks, marks: HashMap::new(), next: 0, total_games: 0 };
    let mut survey = Survey::default();
    while !reader.is_done() {
        let index = reader.next;
        let read = reader.read_next().and_then(|(record, original)| survey.add(index, &record, &original));
        read.map_err(|fault| fault.within("tasks", index))?;
    }
    survey.total_games = reader.total_games;
    (reader.next, reader.total_games) = (0, 0);
    Ok((survey, reader))
}

impl Survey {
    fn add(&mut self, index: usize, task: &TaskRecord, original: &Document) -> Check<()> {
        let too_many = || Fault::of("stats", "the results leave the range of a count");
        self.results = self.results.plus(&task.stats).ok_or_else(too_many)?;
        if task.start.checked_add(task.num_games).is_none() || i64::try_from(self.results.games()).is_err() {
            return Err(Fault::of("num_games", "the numbers of games leave the range of a count"));
        }
        self.committed = self.committed.saturating_add(task.committed());
        if task.active {
            self.workers += 1;
            self.cores += task.worker.as_ref().map_or(0, |worker| u64::from(worker.concurrency));
        } else if original.get_bool("bad").unwrap_or(false) {
            self.purged.insert(index);
            let worker = task.worker.as_ref().map(|worker| worker.unique_key.clone());
            self.purged_alike.entry((task.num_games, worker)).or_default().push_back(index);
        }
        Ok(())
    }

    /// The task whose copy this is: by its number, or, in old runs, the first purged task of that size and worker.
    fn task_of(&mut self, entry: &Document, taken: &HashMap<usize, (u32, usize)>) -> Option<usize> {
        if let Some(number) = entry.get("task_id") {
            let number = usize::try_from(as_count(Some(number))?).ok()?;
            return Some(number).filter(|number| self.purged.contains(number) && !taken.contains_key(number));
        }
        let games = as_count(entry.get("num_games"))?;
        let info = entry.get_document("worker_info").ok();
        let worker = info.and_then(|info| info.get_str("unique_key").ok()).map(str::to_owned);
        let alike = self.purged_alike.get_mut(&(games, worker))?;
        while alike.front().is_some_and(|number| taken.contains_key(number)) {
            alike.pop_front();
        }
        alike.front().copied()
    }

    /// Says where the stored sums aren't those of the tasks.
    fn compare(&self, doc: &Document, finished: bool, warnings: &mut Vec<String>) {
        let stored = doc.get_document("results").map(read_stats).unwrap_or_default();
        if stored != self.results {
            warnings
                .push(format!("`results` are not the sum of the tasks: {stored:?}, not {:?}", self.results));
        }
        let mut sums = vec![("workers", self.workers), ("cores", self.cores)];
        if !finished {
            sums.extend([("committed_games", self.committed), ("total_games", self.total_games)]);
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
        count(stats, key).map_err(|fault| fault.below("stats"))?;
    }
    match stats.get("pentanomial") {
        None => Ok(()),
        Some(Bson::Array(pairs)) if pairs.len() == 5 && pairs.iter().all(|p| as_count(Some(p)).is_some()) => {
            Ok(())
        }
        Some(_) => {
            let reason = "`pentanomial` is not five whole numbers of at least 0";
            Err(Fault::of("stats.pentanomial", reason))
        }
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
