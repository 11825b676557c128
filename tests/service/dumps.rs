//! Promise: a dump of a MongoDB database that is made while the farm works is a farm again where it is restored, with all
//! that was acknowledged before the dump began.
//!
//! The files are `mongodump`'s: the documents of a collection one after the other, as they are. Collections are read in turn,
//! and the farm goes on between them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use bson::RawDocumentBuf;
use bson::doc;
use futures::TryStreamExt;
use mongodb::{Client, Database, IndexModel};
use serde_json::json;
use shoal::domain::ids::TaskKey;
use shoal::store::SharedStore;
use shoal::store::mongo::MongoStore;

use super::farm::*;
use crate::durability::mongo_server::{database, settings, url};

const WORKERS: u32 = 12;

/// The store in a database, its schema up to date.
async fn open(name: &str) -> SharedStore {
    let store = MongoStore::connect(&settings(url().unwrap(), name)).await.unwrap();
    store.migrate().await.unwrap();
    Arc::new(store)
}

async fn raw(name: &str) -> Database {
    Client::with_uri_str(url().unwrap()).await.unwrap().database(name)
}

/// What `mongodump` writes of a collection; its indexes are returned.
async fn dump(from: &Database, collection: &str, directory: &Path) -> Vec<IndexModel> {
    let source = from.collection::<RawDocumentBuf>(collection);
    let mut file = BufWriter::new(File::create(directory.join(format!("{collection}.bson"))).unwrap());
    let mut cursor = source.find(doc! {}).await.unwrap();
    while let Some(document) = cursor.try_next().await.unwrap() {
        file.write_all(document.as_bytes()).unwrap();
    }
    file.flush().unwrap();
    source.list_indexes().await.unwrap().try_collect().await.unwrap()
}

/// What `mongorestore` does with it.
async fn restore(to: &Database, collection: &str, directory: &Path, indexes: Vec<IndexModel>) {
    let target = to.collection::<RawDocumentBuf>(collection);
    let file = File::open(directory.join(format!("{collection}.bson"))).unwrap();
    let end = file.metadata().unwrap().len();
    let (mut file, mut at) = (BufReader::new(file), 0);
    while at < end {
        let document = RawDocumentBuf::from_reader(&mut file).unwrap();
        at += document.as_bytes().len() as u64;
        target.insert_one(document).await.unwrap();
    }
    for index in indexes.into_iter().filter(|index| index.keys.keys().any(|key| key != "_id")) {
        target.create_index(index).await.unwrap();
    }
}

/// A worker, its task, and the games it was acknowledged.
struct Playing {
    worker: Worker,
    key: TaskKey,
    games: u64,
}

fn go_on(life: &Life, playing: &mut [Playing]) {
    for one in playing {
        one.games += 2;
        let answer = life.update(&one.worker, one.key, drawn(one.games));
        assert!(answer.error.is_none() && answer.durable, "{answer:?}");
    }
}

/// Dumps collections in order of their names, or the other way round.
fn there_and_back(backwards: bool) {
    let world = World::new();
    let (name, other) = (database(), database());
    let life = world.start_on(open(&name));
    life.add_accounts();
    let run = life.approved(json!({ "num_games": 20_000 }));
    let mut playing: Vec<Playing> = Vec::new();
    for number in 0..WORKERS {
        let worker = Worker { limit: 100, ..Worker::new(number, 1) };
        let (key, ..) = life.task(&worker);
        playing.push(Playing { worker, key, games: 0 });
    }
    go_on(&life, &mut playing);
    life.tick();
    let before: BTreeMap<TaskKey, u64> = playing.iter().map(|one| (one.key, one.games)).collect();

    let directory = tempfile::tempdir().unwrap();
    let source = life.run(raw(&name));
    let mut names = life.run(source.list_collection_names().into_future()).unwrap();
    names.retain(|name| !name.starts_with("system."));
    names.sort();
    if backwards {
        names.reverse();
    }
    assert!(
        ["runs", "tasks", "users", "fence"].iter().all(|name| names.contains(&(*name).to_owned())),
        "{names:?}"
    );
    let mut dumped = Vec::new();
    for (number, collection) in names.into_iter().enumerate() {
        let indexes = life.run(dump(&source, &collection, directory.path()));
        dumped.push((collection, indexes));
        // The farm goes on: reports, and tasks that are new.
        go_on(&life, &mut playing);
        let worker = Worker { limit: 100, ..Worker::new(WORKERS + number as u32, 1) };
        let (key, ..) = life.task(&worker);
        playing.push(Playing { worker, key, games: 0 });
        life.tick();
    }
    life.run(source.drop().into_future()).unwrap();
    life.kill();

    let second = world.start_on(async {
        let target = raw(&other).await;
        for (collection, indexes) in dumped {
            restore(&target, &collection, directory.path(), indexes).await;
        }
        open(&other).await
    });
    second.check(run);
    let wrong = second.run(second.farm.state.audit_structures()).unwrap();
    assert!(wrong.is_empty(), "{wrong:?}");
    for (key, games) in &before {
        let task = second.run(second.farm.store.task(*key)).unwrap().unwrap();
        assert!(
            task.stats.games() >= *games,
            "{key}: {games} were acknowledged, {} are there",
            task.stats.games()
        );
    }
    // Its workers go on where they are, and the run ends like any other.
    for one in playing.iter_mut().filter(|one| before.contains_key(&one.key)) {
        go_on(&second, std::slice::from_mut(one));
    }
    second.run(second.farm.user_stop(run, "alice")).unwrap();
    second.settle(run);
    second.check(run);
    let target = second.run(raw(&other));
    second.run(target.drop().into_future()).unwrap();
}

#[test]
fn a_dump_that_a_farm_worked_beside_is_a_farm_again() {
    if url().is_none() {
        return;
    }
    there_and_back(false);
    there_and_back(true);
}
