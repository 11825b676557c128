//! The MongoDB that tests run on: `SHOAL_TEST_MONGODB_URL`, else a `mongod` of this machine, else the server that
//! `scripts/mongo-server` builds. One process for the whole suite, which ends with it; a database of its own for each
//! test.
//!
//! Without any the tests fail and say why. `SHOAL_TEST_MONGODB=skip` leaves them out, loudly.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use shoal::store::SharedStore;
use shoal::store::mongo::{MongoSettings, MongoStore, MongoUrl};
use shoal::sys::random;

/// The suite's server.
struct Shared {
    url: String,
    /// It ends when this goes away, at the latest with this process.
    _child: Option<Child>,
}

/// The address of the suite's server, or None if its tests are to be left out.
pub fn url() -> Option<&'static str> {
    static SHARED: OnceLock<Option<Shared>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| {
        if std::env::var("SHOAL_TEST_MONGODB").is_ok_and(|said| said == "skip") {
            eprintln!("SKIPPED: the tests on MongoDB, by SHOAL_TEST_MONGODB=skip");
            return None;
        }
        Some(start_shared())
    });
    shared.as_ref().map(|shared| shared.url.as_str())
}

fn start_shared() -> Shared {
    if let Ok(url) = std::env::var("SHOAL_TEST_MONGODB_URL") {
        eprintln!("tests on MongoDB: the server of SHOAL_TEST_MONGODB_URL");
        return Shared { url, _child: None };
    }
    if Command::new("mongod").arg("--version").stdout(Stdio::null()).status().is_ok() {
        eprintln!("tests on MongoDB: a mongod of this machine");
        let port = crate::drills::free_port();
        let script = format!(
            "mongod --dbpath \"$dir\" --port {port} --bind_ip 127.0.0.1 --quiet >\"$dir/log\" 2>&1 & pid=$!; \
             echo listening on 127.0.0.1:{port}; cat >/dev/null; kill $pid; wait $pid"
        );
        return in_directory(&script, Path::new("sh"));
    }
    let run = java_server();
    eprintln!("tests on MongoDB: mongo-java-server ({})", run.display());
    in_directory("\"$0\" \"$dir/database\" 0", &run)
}

/// Starts a server by a shell that removes its directory afterwards. It lives as long as its standard input.
fn in_directory(script: &str, program: &Path) -> Shared {
    let script = format!("dir=$(mktemp -d); trap 'rm -rf \"$dir\"' EXIT; {script}");
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .arg(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let url = address(&mut child);
    Shared { url, _child: Some(child) }
}

/// What a server says it listens on.
fn address(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        let line = lines.next().expect("the MongoDB-protocol server ended by itself").unwrap();
        if let Some(address) = line.strip_prefix("listening on ") {
            return format!("mongodb://{address}/");
        }
    }
}

/// The start script of the server that `scripts/mongo-server` built.
fn java_server() -> PathBuf {
    let named = std::env::var_os("SHOAL_TEST_MONGO_SERVER").map(PathBuf::from);
    let built = || {
        // target/debug/deps/suite-…
        let here = std::env::current_exe().unwrap();
        here.ancestors().nth(3).unwrap().join("tools/mongo-server/run")
    };
    let run = named.unwrap_or_else(built);
    assert!(
        run.exists(),
        "there is no MongoDB to test on: set SHOAL_TEST_MONGODB_URL, install mongod, or call scripts/mongo-server \
         (looked for {}); SHOAL_TEST_MONGODB=skip leaves these tests out",
        run.display()
    );
    run
}

/// A server of a test's own, which it may kill.
pub struct OwnServer {
    child: Child,
    pub url: String,
}

impl OwnServer {
    /// Starts one on a file; None where the suite runs on a server of somebody else, which nobody may kill.
    pub fn start(file: &Path, port: u16) -> Option<Self> {
        url()?;
        if std::env::var_os("SHOAL_TEST_MONGODB_URL").is_some() {
            eprintln!("SKIPPED: a test that kills its MongoDB, which is SHOAL_TEST_MONGODB_URL's");
            return None;
        }
        let mut child = Command::new(java_server())
            .arg(file)
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let url = address(&mut child);
        Some(Self { child, url })
    }

    /// Its process, for signals.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it as a power failure would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A name for a database of one test.
pub fn database() -> String {
    format!("shoal_test_{}", random::identity())
}

/// Settings with a deadline that a busy machine keeps.
pub fn settings(url: &str, database: &str) -> MongoSettings {
    MongoSettings {
        url: MongoUrl::new(url).unwrap(),
        database: database.to_owned(),
        pool: 8,
        deadline: Duration::from_secs(60),
    }
}

/// A store in a new database, and the way to further connections to it.
pub struct MongoFixture {
    pub settings: MongoSettings,
    store: Arc<MongoStore>,
}

impl MongoFixture {
    /// None if tests on MongoDB are to be left out.
    pub async fn new() -> Option<Self> {
        let settings = settings(url()?, &database());
        let store = MongoStore::connect(&settings).await.unwrap();
        store.migrate().await.unwrap();
        Some(Self { settings, store: Arc::new(store) })
    }

    pub fn store(&self) -> SharedStore {
        self.store.clone()
    }

    pub fn mongo(&self) -> Arc<MongoStore> {
        self.store.clone()
    }

    /// Another process's store, as it were: nothing is shared but the server.
    pub async fn another(&self) -> Arc<MongoStore> {
        Arc::new(MongoStore::connect(&self.settings).await.unwrap())
    }

    /// Removes the database; one of a test that failed stays with its server.
    pub async fn finish(self) {
        self.store.drop_database().await.unwrap();
    }
}
