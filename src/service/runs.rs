//! Creating, approving, modifying, stopping and deleting runs (`spec/run-management.md` sections 4 and 6).

use bson::{Bson, DateTime};

use super::Farm;
use super::documents::{log_entry, run_write};
use super::error::{ServiceError, ServiceResult};
use super::finish::Stop;
use super::run_cache::CachedRun;
use crate::domain::action::{Action, Event, RunLabel};
use crate::domain::fold::Record;
use crate::domain::ids::RunId;
use crate::domain::modify_run::{
    Actor, Modified, ModifyRequest, Next, PresentRun, RunValues, StopKind, modify_run,
};
use crate::domain::new_run::{RunForm, build_run, run_summary};
use crate::domain::results::Stats;
use crate::domain::run::Phase;
use crate::state::{ArgsFields, Invalidation, SetRunFields};
use crate::store::codec::{as_count, as_date, as_number, read_stats};
use crate::store::{DocumentWrite, PatchOutcome, RunMeta, RunPatch, StoredRun};
use crate::sys::{random, spawn};

/// How often a change is tried again when somebody else changes the same run.
const TRIES: usize = 5;

/// A message for the person who asked.
pub type Notice = String;

fn unknown() -> ServiceError {
    ServiceError::NotFound("No run with this id".to_owned())
}

impl Farm {
    /// Creates a run; it waits for approval.
    pub async fn create_run(&self, form: &RunForm) -> ServiceResult<RunId> {
        self.require_user(&form.username).await?;
        // A farm that knows no books takes the submitter's word.
        let books = self.books();
        if !books.is_empty() && !books.contains_key(&form.book) && form.rescheduled_from.is_none() {
            let book = &form.book;
            return Err(ServiceError::Invalid(format!("book: {book} is not in the table of opening books")));
        }
        self.require_nets(form.base_nets.iter().chain(&form.new_nets).map(String::as_str)).await?;
        let id = RunId(random::object_id());
        let now = self.now();
        let doc = build_run(form, id.0, DateTime::from_millis(now.0))
            .map_err(|error| ServiceError::Invalid(error.to_string()))?;
        let event = Event::NewRun { run: RunLabel::new(id, &form.new_tag), message: run_summary(&doc, None) };
        let entry = log_entry(&Action::by(form.username.clone(), event), now);
        let stored = StoredRun { id, doc, meta: RunMeta::new(Phase::Running) };
        self.store.insert_run(&stored, &[entry]).await?;
        self.runs.put(&stored);
        self.load_into(&stored, Phase::Running).await?;
        Ok(id)
    }

    /// Approves a run; nobody approves their own.
    pub async fn approve_run(&self, run: RunId, approver: &str) -> ServiceResult<Notice> {
        let account = self.store.user(approver).await?;
        let account = account.ok_or_else(|| ServiceError::Refused(format!("There is no user {approver}")))?;
        if !account.is_approver() {
            return Err(ServiceError::Refused("Please login as approver".to_owned()));
        }
        for _ in 0..TRIES {
            let Some(stored) = self.store.run(run).await? else {
                return Err(ServiceError::NotFound(format!("Run {run} not found!")));
            };
            let args = stored.doc.get_document("args").cloned().unwrap_or_default();
            if args.get_str("username").is_ok_and(|owner| owner == approver) {
                return Err(ServiceError::Refused(format!("Run {run}: Self approval is disabled!")));
            }
            if stored.doc.get_bool("approved").unwrap_or(false) {
                return Err(ServiceError::Refused(format!("Run {run} already approved!")));
            }
            let label = RunLabel::new(run, args.get_str("new_tag").unwrap_or_default());
            let action = Action::by(approver.to_owned(), Event::ApproveRun { run: label, approved: true });
            let patch = RunPatch {
                set: vec![
                    ("approved".to_owned(), Bson::Boolean(true)),
                    ("approver".to_owned(), Bson::String(approver.to_owned())),
                ],
                actions: vec![log_entry(&action, self.now())],
            };
            match self.store.patch_run(run, stored.meta.args_version, &patch).await? {
                PatchOutcome::Applied(version) => {
                    self.take_over_args(run, version).await?;
                    self.note_tested_nets(run, &args).await?;
                    return Ok(format!("Run {run} approved"));
                }
                PatchOutcome::Conflict(_) => {}
                PatchOutcome::Missing => return Err(unknown()),
            }
        }
        Err(ServiceError::Unavailable(format!("run {run} is being changed by others")))
    }

    /// Brings arguments that were changed in the store into the schedule.
    pub async fn take_over_args(&self, run: RunId, version: u64) -> ServiceResult<()> {
        let Some(cached) = self.runs.at_least(run, version).await? else { return Ok(()) };
        let args = ArgsFields {
            version: cached.args_version,
            num_games: cached.num_games,
            priority: cached.priority,
        };
        let fields = SetRunFields { run, args: Some(args), itp: None, speed: None, leader: None };
        self.state.set_run_fields(self.generation(), fields).await?;
        self.tell(Invalidation::Run(run)).await;
        Ok(())
    }

    /// First and last test of the nets of an approved run (`spec/run-management.md` section 6.1). A net that isn't
    /// known doesn't stand in the way.
    async fn note_tested_nets(&self, run: RunId, args: &bson::Document) -> ServiceResult<()> {
        let Ok(nets) = args.get_array("new_nets") else { return Ok(()) };
        for name in nets.iter().filter_map(Bson::as_str) {
            let Some(mut net) = self.store.net(name).await? else { continue };
            let test = bson::doc! { "id": run.to_string(), "date": DateTime::from_millis(self.now().0) };
            if !net.contains_key("first_test") {
                net.insert("first_test", test.clone());
            }
            net.insert("last_test", test);
            self.store.put_net(&net).await?;
        }
        Ok(())
    }

    /// Modifies a run, as its owner or as an approver.
    pub async fn modify_run(
        &self,
        run: RunId,
        request: &ModifyRequest,
        actor: &str,
    ) -> ServiceResult<Notice> {
        let is_approver = self.store.user(actor).await?.is_some_and(|user| user.is_approver());
        for _ in 0..TRIES {
            let stored = self.store.run(run).await?.ok_or_else(unknown)?;
            let live = self.state.read_run(run).await?;
            let results = match &live {
                Some(view) => view.counters.results,
                None => stored.doc.get_document("results").map(read_stats).unwrap_or_default(),
            };
            let present = present_run(&stored, live.as_ref().map(|view| &*view.record), &results)?;
            let actor = Actor { username: actor, is_approver };
            let modified = modify_run(&present, request, actor, self.now())
                .map_err(|error| ServiceError::Invalid(error.to_string()))?;
            let patch = self.modification(run, &stored, &present, &modified, actor.username);
            match self.store.patch_run(run, stored.meta.args_version, &patch).await? {
                PatchOutcome::Applied(version) => {
                    self.take_over_args(run, version).await?;
                    self.after_modification(run, &modified, live.is_some()).await?;
                    let mut notice = modified.notice.text().to_owned();
                    if let Some(resumed) = modified.resumed {
                        notice.push(' ');
                        notice.push_str(resumed);
                    }
                    return Ok(notice);
                }
                PatchOutcome::Conflict(_) => {}
                PatchOutcome::Missing => return Err(unknown()),
            }
        }
        Err(ServiceError::Unavailable(format!("run {run} is being changed by others")))
    }

    fn modification(
        &self,
        run: RunId,
        stored: &StoredRun,
        present: &PresentRun,
        modified: &Modified,
        actor: &str,
    ) -> RunPatch {
        let RunValues { num_games, priority, throughput, auto_purge, info } = &modified.values;
        let number = |value: i64| crate::domain::bson_number::int(value);
        let mut set = vec![
            ("args.num_games".to_owned(), number(*num_games)),
            ("args.priority".to_owned(), number(*priority)),
            ("args.throughput".to_owned(), number(*throughput)),
            ("args.auto_purge".to_owned(), Bson::Boolean(*auto_purge)),
        ];
        if *info != present.values.info {
            set.push(("args.info".to_owned(), Bson::String(info.clone())));
        }
        let tag = stored.doc.get_document("args").ok().and_then(|args| args.get_str("new_tag").ok());
        let label = || RunLabel::new(run, tag.unwrap_or_default());
        let mut actions = Vec::new();
        if modified.approval_withdrawn {
            set.push(("approved".to_owned(), Bson::Boolean(false)));
            set.push(("approver".to_owned(), Bson::String(String::new())));
            actions.push(Event::ApproveRun { run: label(), approved: false });
        }
        actions.push(Event::ModifyRun { run: label(), message: modified.message.clone() });
        let now = self.now();
        let actions =
            actions.into_iter().map(|event| log_entry(&Action::by(actor.to_owned(), event), now)).collect();
        RunPatch { set, actions }
    }

    async fn after_modification(&self, run: RunId, modified: &Modified, live: bool) -> ServiceResult<()> {
        match modified.next {
            Next::StayFinished => Ok(()),
            Next::Finish => self.finish(run, Stop::modified()).await.map(|_| ()),
            Next::Activate if live => Ok(()),
            Next::Activate => self.revive(run).await,
        }
    }

    /// A finished run goes on: durable first, then in the schedule.
    async fn revive(&self, run: RunId) -> ServiceResult<()> {
        let farm = self.handle();
        let farm = farm.ok_or_else(|| ServiceError::Unavailable("the farm is shutting down".to_owned()))?;
        // In a task of its own: a caller who goes away must not leave the run half opened.
        let work = spawn::task("revive", async move {
            let (_turn, cached) = farm.open_finished(run).await?;
            let written = farm.write_revived(run, &cached).await;
            farm.state.unload_run(farm.generation(), run).await?;
            farm.tell(Invalidation::Run(run)).await;
            written?;
            farm.load_stored(run).await.map(|_| ())
        });
        work.await.map_err(|error| ServiceError::Bug(format!("reviving run {run}: {error}")))?
    }

    async fn write_revived(&self, run: RunId, cached: &CachedRun) -> ServiceResult<()> {
        let view = self.state.read_run(run).await?.ok_or_else(unknown)?;
        let mut record = Record::parse(&view.record)?;
        record.restart(&view.counters.results, false)?;
        let mut write = run_write(&view, cached, &record);
        write.version = view.version.next();
        write.write_id = random::write_id();
        write.phase = Phase::Running;
        write.operation = None;
        for flag in ["finished", "deleted", "failed", "is_green", "is_yellow"] {
            write.set.push((flag.to_owned(), Bson::Boolean(false)));
        }
        self.committer.write_all(vec![DocumentWrite::Run(Box::new(write))]).await
    }

    /// Stops a run, as a person.
    pub async fn user_stop(&self, run: RunId, actor: &str) -> ServiceResult<Notice> {
        self.check_may_change(run, actor).await?;
        if self.finish(run, Stop::by_user(actor)).await? {
            return Ok("Stopped run".to_owned());
        }
        Err(ServiceError::Invalid(format!("Run {run} is already finished")))
    }

    /// Hides a run from the lists, finishing it first if need be. No data is removed.
    pub async fn delete_run(&self, run: RunId, actor: &str) -> ServiceResult<Notice> {
        self.check_may_change(run, actor).await?;
        if self.finish(run, Stop::delete(actor)).await? {
            return Ok("Deleted run".to_owned());
        }
        for _ in 0..TRIES {
            let stored = self.store.run(run).await?.ok_or_else(unknown)?;
            let label = CachedRun::new(&stored).label;
            self.tell(Invalidation::Run(run)).await;
            let action = Action::by(actor.to_owned(), Event::DeleteRun { run: label });
            let patch = RunPatch {
                set: vec![("deleted".to_owned(), Bson::Boolean(true))],
                actions: vec![log_entry(&action, self.now())],
            };
            if let PatchOutcome::Applied(_) =
                self.store.patch_run(run, stored.meta.args_version, &patch).await?
            {
                return Ok("Deleted run".to_owned());
            }
        }
        Err(ServiceError::Unavailable(format!("run {run} is being changed by others")))
    }

    /// Purges a finished run, as a person.
    pub async fn manual_purge(&self, run: RunId, actor: &str) -> ServiceResult<Notice> {
        self.check_may_change(run, actor).await.map_err(|error| match error {
            ServiceError::Refused(_) => {
                ServiceError::Refused("Only approvers or the submitting user can purge the run.".to_owned())
            }
            other => other,
        })?;
        let message = self.purge_run(run, actor).await?;
        if message.is_empty() { Ok("Purged run".to_owned()) } else { Err(ServiceError::Invalid(message)) }
    }

    /// Owners and approvers may change a run.
    async fn check_may_change(&self, run: RunId, actor: &str) -> ServiceResult<()> {
        let cached = self.store.run(run).await?.ok_or_else(unknown)?;
        let args = cached.doc.get_document("args").ok();
        let owner = args.and_then(|args| args.get_str("username").ok()).unwrap_or_default();
        if owner == actor {
            return Ok(());
        }
        if self.store.user(actor).await?.is_some_and(|user| user.is_approver()) {
            return Ok(());
        }
        Err(ServiceError::Refused("Unable to modify another users run!".to_owned()))
    }
}

/// What the rules of modification look at.
fn present_run(stored: &StoredRun, record: Option<&str>, results: &Stats) -> ServiceResult<PresentRun> {
    let doc = &stored.doc;
    let args = doc.get_document("args").cloned().unwrap_or_default();
    let record = match record {
        Some(text) => Record::parse(text)?,
        None => Record::from_args(&args, stored.meta.folded)?,
    };
    let stop = match &record {
        Record::Games => StopKind::Games,
        Record::Sprt { sprt, .. } => StopKind::Sprt { state: sprt.state.as_str().to_owned() },
        Record::Spsa(_) => StopKind::Spsa,
    };
    let number = |key: &str, default: i64| as_number(args.get(key)).map_or(default, |value| value as i64);
    let flag = |key: &str| doc.get_bool(key).unwrap_or(false);
    Ok(PresentRun {
        owner: args.get_str("username").unwrap_or_default().to_owned(),
        start_time: as_date(doc.get("start_time")),
        stop,
        values: RunValues {
            num_games: i64::try_from(as_count(args.get("num_games")).unwrap_or(0)).unwrap_or(i64::MAX),
            priority: number("priority", 0),
            throughput: number("throughput", 1000),
            auto_purge: args.get_bool("auto_purge").unwrap_or(false),
            info: args.get_str("info").unwrap_or_default().to_owned(),
        },
        games_played: results.games(),
        approved: flag("approved"),
        failed: flag("failed"),
        deleted: flag("deleted"),
        finished: flag("finished"),
    })
}
