//! Every query of this store, and the index that answers it: none walks a whole collection, and none sorts by itself.

use bson::{Bson, Document, doc};

use super::layout::META;
use super::migrate::{Index, declared};
use super::runs::{finished_filter, newest_first};
use crate::domain::ids::Millis;
use crate::store::FinishedQuery;
use crate::store::codec::as_number;

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
