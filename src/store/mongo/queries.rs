//! Every query of this store, and the index that answers it: none walks a whole collection, and none sorts by itself.

use std::time::Duration;

use bson::{Bson, Document, doc};

use super::layout::META;
use super::migrate::{Index, declared};
use super::runs::{finished_filter, newest_first};
use super::{MongoSettings, MongoStore, MongoUrl};
use crate::domain::ids::Millis;
use crate::store::FinishedQuery;
use crate::store::codec::as_number;
use crate::sys::random;

/// A query: where, what must hold, in which order.
struct Query {
    collection: &'static str,
    filter: Document,
    sort: Document,
}

fn query(collection: &'static str, filter: Document, sort: Document) -> Query {
    Query { collection, filter, sort }
}

/// Queries by `_id` are left out: its index is always there.
fn all() -> Vec<Query> {
    let none = Document::new;
    let mut queries = vec![
        query("runs", doc! { "finished": false }, newest_first()),
        query("runs", doc! { "finished": false }, none()),
        query("runs", doc! { "finished": false, format!("{META}.g"): { "$lt": 1 } }, none()),
        query("runs", doc! { format!("{META}.acts._id"): { "$exists": true } }, none()),
        query("tasks", doc! { "active": true, "g": { "$lt": 1 } }, none()),
        query("tasks", doc! { "run_id": "x", "bad_position": 1 }, doc! { "_id": 1 }),
        query("tasks", doc! { "acts._id": { "$exists": true } }, none()),
        query("users", doc! { "username": "x" }, none()),
        query("user_cache", doc! { "username": "x" }, none()),
        query("workers", doc! { "worker_name": "x" }, none()),
        query("workers", doc! { "blocked": true }, doc! { "worker_name": 1 }),
        query("workers", doc! { "acts._id": { "$exists": true } }, none()),
        query("pgns", doc! { "run": "x", "task": 1 }, doc! { "_id": -1 }),
        query("pgns", doc! { "run": "x" }, doc! { "task": 1, "_id": 1 }),
        query("pgns", doc! { "run": { "$gt": "x" } }, doc! { "run": 1, "task": 1, "_id": 1 }),
        query("nns", doc! { "name": "x" }, none()),
        query("nns", doc! { "name": { "$gt": "x" } }, doc! { "name": 1 }),
        query("workers", doc! { "worker_name": { "$gt": "x" } }, doc! { "worker_name": 1 }),
        query("user_cache", doc! { "username": { "$gt": "x" } }, doc! { "username": 1 }),
    ];
    for action in [doc! {}, doc! { "username": "x" }, doc! { "action": "x" }, doc! { "run_id": "x" }] {
        queries.push(query("actions", action, doc! { "time": -1, "_id": -1 }));
    }
    for bits in 0..32_u32 {
        let has = |bit: u32| bits & (1 << bit) != 0;
        let finished = FinishedQuery {
            username: has(0).then(|| "alice".to_owned()),
            green: has(1),
            yellow: has(2),
            ltc: has(3),
            since: has(4).then_some(Millis(7)),
            skip: 0,
            limit: 10,
        };
        queries.push(query("runs", finished_filter(&finished), newest_first()));
    }
    queries
}

/// Whether an index gives a query's documents in its order: keys that the query fixes, then those of its order, all in
/// the index's direction or all against it. What else the filter says is then read off the documents, in order.
fn serves(index: &Index, query: &Query) -> bool {
    let fixed = |key: &str| query.filter.get(key).is_some_and(|value| value.as_document().is_none());
    let leading = index.keys.keys().take_while(|key| fixed(key.as_str())).count();
    let mut keys = index.keys.iter().skip(leading);
    let sign = |value: &Bson| as_number(Some(value)).map(f64::signum);
    if query.sort.is_empty() {
        let ranged = keys.next().is_some_and(|(key, _)| query.filter.contains_key(key.as_str()));
        return leading > 0 || ranged;
    }
    let mut directions = Vec::new();
    for (wanted, direction) in &query.sort {
        let Some((_, there)) = keys.next().filter(|(key, _)| *key == wanted) else { return false };
        directions.push(sign(direction) == sign(there));
    }
    let ordered = directions.iter().all(|same| *same) || directions.iter().all(|same| !*same);
    // Everything, or everything from some key of the order on.
    let mut first = query.sort.keys().take(1);
    let whole = first.all(|first| query.filter.keys().all(|key| key == first));
    ordered && (leading > 0 || whole)
}

/// Whether the query says everything that the index's own filter does: otherwise a document may be missing there.
fn within(index: &Index, query: &Query) -> bool {
    let Some(filter) = &index.filter else { return true };
    filter.iter().all(|(key, value)| match query.filter.get(key) {
        Some(said) if said == value => true,
        // Whatever it equals, it exists.
        Some(said) => said.as_document().is_none() && *value == Bson::Document(doc! { "$exists": true }),
        None => false,
    })
}

#[test]
fn every_query_has_an_index_in_its_order() {
    let indexes = declared();
    for query in all() {
        let of_collection = indexes.iter().filter(|index| index.collection == query.collection);
        let good = of_collection.filter(|index| serves(index, &query) && within(index, &query)).count();
        assert!(good > 0, "{}: {} by {}", query.collection, query.filter, query.sort);
    }
}

#[test]
fn no_index_is_without_a_query() {
    let queries = all();
    for index in declared() {
        let used = queries.iter().any(|query| {
            query.collection == index.collection && serves(&index, query) && within(&index, query)
        });
        assert!(used, "{} of {} serves nothing", index.name, index.collection);
    }
}

/// The names of a plan's stages, whatever they are nested in.
fn stages(plan: &Bson) -> Vec<String> {
    match plan {
        Bson::Document(plan) => {
            let own = plan.get_str("stage").ok().map(str::to_owned);
            own.into_iter().chain(plan.values().flat_map(stages)).collect()
        }
        Bson::Array(plans) => plans.iter().flat_map(stages).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn a_plan_is_looked_at_as_a_whole() {
    let either = doc! { "stage": "OR", "inputStages": [{ "stage": "IXSCAN" }, { "stage": "COLLSCAN" }] };
    let plan = doc! { "queryPlan": { "stage": "FETCH", "inputStage": either } };
    assert_eq!(stages(&plan.into()), ["FETCH", "OR", "IXSCAN", "COLLSCAN"]);
}

/// Asks the server of `SHOAL_TEST_MONGODB_URL`; the one that stands in for MongoDB elsewhere can't explain.
#[tokio::test]
async fn a_server_that_can_explain_finds_an_index_for_every_query() {
    let Ok(url) = std::env::var("SHOAL_TEST_MONGODB_URL") else {
        eprintln!("SKIPPED: no server that explains its plans; name one by SHOAL_TEST_MONGODB_URL");
        return;
    };
    let settings = MongoSettings {
        url: MongoUrl::new(&url).unwrap(),
        database: format!("shoal_test_{}", random::identity()),
        pool: 2,
        deadline: Duration::from_secs(60),
    };
    let store = MongoStore::connect(&settings).await.unwrap();
    store.migrate().await.unwrap();
    for query in all() {
        let find = doc! { "find": query.collection, "filter": &query.filter, "sort": &query.sort };
        let explain = doc! { "explain": find, "verbosity": "queryPlanner" };
        let answer = match store.database.run_command(explain).await {
            Ok(answer) => answer,
            Err(error) => {
                eprintln!("SKIPPED: the server does not explain its plans: {error}");
                break;
            }
        };
        let planner = answer.get_document("queryPlanner").unwrap();
        let stages = stages(planner.get("winningPlan").unwrap());
        let scans = stages.is_empty() || stages.iter().any(|stage| stage == "COLLSCAN");
        assert!(!scans, "{}: {} by {}: {stages:?}", query.collection, query.filter, query.sort);
    }
    store.drop_database().await.unwrap();
}
