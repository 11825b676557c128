//! Use cases: the only place where rules, schedule and store meet. One file a use case.

mod absence;
pub mod auth;
mod batch_size;
pub mod beat;
pub mod committer;
pub mod control;
pub mod copy;
pub mod degrade;
pub mod documents;
pub mod election;
pub mod error;
pub mod export;
pub mod failed_task;
pub mod finish;
pub mod folding;
pub mod gauges;
pub mod import;
pub mod lookup;
pub mod membership;
pub mod nets;
pub mod notes;
pub mod pause;
pub mod purge;
pub mod read;
pub mod readiness;
pub mod rebuild;
pub mod reconcile;
pub mod refresh;
pub mod request_spsa;
pub mod request_task;
pub mod retention;
pub mod run_cache;
pub mod runs;
pub mod saga;
mod schema_watch;
pub mod stop_run;
pub mod sweeper;
pub mod update_task;
pub mod upload_pgn;
pub mod users;
pub mod validation;
pub mod worker_log;
pub mod workers;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bson::Document;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;

use self::auth::Accounts;
use self::committer::Committer;
use self::degrade::StorePolicy;
use self::election::Election;
pub use self::error::{ServiceError, ServiceResult};
use self::folding::Folds;
use self::membership::Membership;
use self::readiness::{Readiness, ReadinessSettings};
use self::refresh::Failing;
use self::run_cache::RunCache;
use self::saga::Turns;
use crate::domain::ids::{Generation, Millis, RunId};
use crate::domain::names::LegacyUsernames;
use crate::github::{GitHub, GitHubSettings};
use crate::state::SchedulingState;
use crate::store::SharedStore;
use crate::sys::clock::Clock;
use crate::sys::random;

/// What a farm can be told.
#[derive(Debug, Clone)]
pub struct FarmSettings {
    /// Slots of the request-task semaphore, for all replicas together.
    pub request_slots: u32,
    /// A slot comes back by itself after this time.
    pub slot_ttl: Duration,
    /// How long a request for a task waits for its turn in this process.
    pub request_wait: Duration,
    /// Largest size of an upload's games when unpacked, bytes.
    pub max_unpacked_pgn: u64,
    /// Where networks are downloaded from; None means beside this server.
    pub nn_url: Option<String>,
    /// Named in the log when the server starts and stops.
    pub port: Option<u16>,
    /// Where GitHub is asked.
    pub github: GitHubSettings,
    /// What is answered while the store is away.
    pub store_policy: StorePolicy,
    /// Under [`StorePolicy::Degrade`]: tasks that may wait for the store before reports are refused.
    pub degrade_limit: usize,
    /// Whether other replicas share the schedule.
    pub shared: bool,
    /// How this process finds out whether it can serve.
    pub readiness: ReadinessSettings,
}

impl Default for FarmSettings {
    fn default() -> Self {
        Self {
            request_slots: 5,
            slot_ttl: Duration::from_secs(3),
            request_wait: Duration::from_secs(5),
            max_unpacked_pgn: 4 << 30,
            nn_url: None,
            port: None,
            github: GitHubSettings::default(),
            store_policy: StorePolicy::default(),
            degrade_limit: 20_000,
            shared: false,
            readiness: ReadinessSettings::default(),
        }
    }
}

/// A farm as one replica holds it.
pub struct Farm {
    /// The shared schedule.
    pub state: Arc<dyn SchedulingState>,
    /// Durable data.
    pub store: SharedStore,
    /// This process's clock; decides nothing that is shared.
    pub clock: Arc<dyn Clock>,
    /// Makes answers true.
    pub committer: Committer,
    /// Accounts and verified passwords.
    pub accounts: Accounts,
    /// What follows from runs' arguments.
    pub runs: RunCache,
    /// GitHub, or whoever stands for it.
    pub github: GitHub,
    /// Settings.
    pub settings: FarmSettings,
    /// Random identity of this process.
    pub identity: String,
    /// Which schedule this process works for.
    pub membership: Arc<Membership>,
    /// Whether it leads.
    pub election: Election,
    /// Whether what it depends on answers.
    pub readiness: Readiness,
    me: Weak<Self>,
    draining: AtomicBool,
    request_turns: Arc<Semaphore>,
    sagas: Turns,
    folds: Folds,
    /// Runs that stood opened and without an operation when they were looked at, and since when.
    opened: Mutex<HashMap<RunId, Duration>>,
    books: RwLock<Arc<Document>>,
    failing: Failing,
    legacy: RwLock<Arc<LegacyUsernames>>,
}

impl Farm {
    /// A farm over a state and a store. Nothing is served before [`Farm::rebuild`](rebuild).
    pub fn new(
        state: Arc<dyn SchedulingState>,
        store: SharedStore,
        clock: Arc<dyn Clock>,
        settings: FarmSettings,
    ) -> Arc<Self> {
        let membership = Membership::new(settings.shared);
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            committer: Committer::start(store.clone(), state.clone(), membership.clone()),
            accounts: Accounts::new(store.clone(), clock.clone()),
            runs: RunCache::new(store.clone()),
            request_turns: Arc::new(Semaphore::new(settings.request_slots as usize)),
            github: GitHub::new(settings.github.clone(), clock.clone()),
            failing: Failing::default(),
            state,
            store,
            clock,
            settings,
            identity: random::identity(),
            membership,
            election: Election::default(),
            readiness: Readiness::default(),
            sagas: Turns::default(),
            folds: Folds::default(),
            opened: Mutex::default(),
            draining: AtomicBool::new(false),
            books: RwLock::new(Arc::new(Document::new())),
            legacy: RwLock::new(Arc::new(LegacyUsernames::default())),
        })
    }

    /// A handle for work that outlives a request; None when the farm is going down.
    pub fn handle(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
    }

    /// The generation that this process works for.
    pub fn generation(&self) -> Generation {
        self.membership.generation()
    }

    /// Whether the schedule is loaded here.
    pub fn is_ready(&self) -> bool {
        self.membership.is_ready()
    }

    /// Takes the farm out of service (shutdown) or, by a rebuild, into it.
    pub fn set_ready(&self, ready: bool) {
        self.membership.set_ready(ready);
    }

    /// Whether the process is on its way out: load balancers should send nothing more.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Says goodbye; there is no way back.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Time for log entries that no transition dates.
    pub fn now(&self) -> Millis {
        self.clock.now()
    }

    /// The book table.
    pub fn books(&self) -> Arc<Document> {
        self.books.read().clone()
    }

    /// Usernames that the pattern would refuse but old accounts have.
    pub fn legacy_usernames(&self) -> Arc<LegacyUsernames> {
        self.legacy.read().clone()
    }
}
