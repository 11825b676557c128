//! What is to be said of Redis: whether it answers, what it is, and how the schedule in it stands to the store.

use crate::cli::store;
use crate::config::Config;
use crate::domain::document::date_string;
use crate::domain::ids::{Generation, Millis};
use crate::service::pause::{self, Pause};
use crate::state::redis::{RedisSettings, RedisState};
use crate::state::{GenerationView, LeaseName, LoadState, SchedulingState, StateError, StateResult};
use crate::store::mongo::MongoStore;
use crate::store::{CommitStore, MiscStore};

use super::Finding;

pub(super) async fn check(config: &Config, settings: &RedisSettings) -> Vec<Finding> {
    let hosts = settings.url.hosts();
    let state = match RedisState::connect(settings).await {
        Ok(state) => state,
        Err(error) => {
            return vec![Finding::Bad {
                what: format!("Redis at {hosts}: {error}"),
                mend: "check SHOAL_REDIS_URL, the account in it, and the way there".to_owned(),
            }];
        }
    };
    let facts = state.facts();
    let mut findings = vec![Finding::Good(format!(
        "Redis: {hosts} answers, version {}, {}, maxmemory-policy {}; keys begin with {}",
        facts.version, facts.mode, facts.maxmemory_policy, settings.prefix
    ))];
    for shortcoming in facts.shortcomings() {
        findings.push(Finding::Bad {
            what: format!("Redis: {shortcoming}"),
            mend: "change that in Redis' configuration".to_owned(),
        });
    }
    let store = match store::mongo_settings(config) {
        Some(settings) => MongoStore::connect(&settings).await.ok(),
        None => None,
    };
    findings.extend(schedule(&*state, store.as_ref()).await);
    findings.push(leader(&*state).await);
    if let Some(store) = store {
        findings.extend(paused(&store).await);
    }
    findings
}

/// The schedule's generation against the store's.
async fn schedule(state: &dyn SchedulingState, store: Option<&MongoStore>) -> Vec<Finding> {
    let there = state.generation().await;
    let fence = match store {
        Some(store) => store.fence().await.ok(),
        None => None,
    };
    // Without the store, which the checks before have said something about, there is nothing to compare.
    fence.map(|fence| judge(&there, fence)).into_iter().collect()
}

fn judge(there: &StateResult<Option<GenerationView>>, fence: Generation) -> Finding {
    let wait = "a server that runs loads it within seconds; see its log if it stays so";
    let bad = |what: String, mend: &str| Finding::Bad { what, mend: mend.to_owned() };
    match there {
        Ok(Some(view)) if view.generation > fence => bad(
            format!("schedule: generation {}, newer than the store's, {fence}", view.generation),
            "an older backup was restored: empty the schedule's keys in Redis if it is to count, or bring the newer \
             store back",
        ),
        Ok(Some(GenerationView { generation, state: LoadState::Loaded })) if *generation == fence => {
            Finding::Good(format!("schedule: generation {generation} is loaded, and the store's"))
        }
        Ok(Some(GenerationView { generation, state: LoadState::Loading })) => {
            bad(format!("schedule: generation {generation} is being loaded"), wait)
        }
        Ok(Some(view)) => {
            bad(format!("schedule: generation {}, older than the store's, {fence}", view.generation), wait)
        }
        Ok(None) if fence == Generation(0) => {
            Finding::Good("schedule: there is none yet; the first start makes it".to_owned())
        }
        Ok(None) => bad("schedule: Redis is empty".to_owned(), wait),
        Err(StateError::Foreign) => bad("schedule: it belongs to another Redis' history".to_owned(), wait),
        Err(error) => bad(format!("schedule: {error}"), "see Redis' log"),
    }
}

async fn leader(state: &dyn SchedulingState) -> Finding {
    let (lease, now) = (state.lease_read(LeaseName::Leader).await, state.now().await);
    match (lease, now) {
        (Ok(Some(lease)), Ok(Millis(now))) => Finding::Good(format!(
            "leader: replica {}, token {}.{}, for {} more seconds unless it renews",
            lease.holder,
            lease.token.generation,
            lease.token.counter,
            (lease.expires.0 - now).max(0) / 1000
        )),
        (Ok(_), Ok(_)) => Finding::Good("leader: none; there is one as soon as a server runs".to_owned()),
        (Err(error), _) | (_, Err(error)) => {
            Finding::Bad { what: format!("leader: {error}"), mend: "see Redis' log".to_owned() }
        }
    }
}

async fn paused(store: &MongoStore) -> Option<Finding> {
    let value = store.kv(pause::KEY).await.ok()?;
    let Pause { by, since, reason } = Pause::of(value.as_ref()?)?;
    let since = date_string(since);
    Some(Finding::Good(format!("pause: by {by} since {since} {reason:?}; `shoal resume` ends it")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_good_only_if_it_is_loaded_and_the_stores() {
        let view = |generation, state| Ok(Some(GenerationView { generation: Generation(generation), state }));
        let good = |there| matches!(judge(&there, Generation(5)), Finding::Good(_));
        assert!(good(view(5, LoadState::Loaded)));
        for bad in [
            view(4, LoadState::Loaded),
            view(6, LoadState::Loaded),
            view(5, LoadState::Loading),
            Ok(None),
            Err(StateError::Foreign),
        ] {
            assert!(!good(bad.clone()), "{bad:?}");
        }
        assert!(matches!(judge(&Ok(None), Generation(0)), Finding::Good(_)));
    }
}
