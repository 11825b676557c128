//! The Redis that tests run on: `redis-server`, or what `SHOAL_TEST_REDIS_SERVER` names (a `valkey-server`, say).
//!
//! Without it the tests fail and say why. `SHOAL_TEST_REDIS=skip` leaves them out, loudly.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use shoal::sys::clock::stopwatch;

use super::process::{Process, program};

/// The password wherever one is wanted.
pub const PASSWORD: &str = "canary-of-redis";

/// How a server is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// One server, open to everybody on this machine.
    Standalone,
    /// A Redis Cluster of one node, which refuses keys that aren't declared or are of two slots.
    Cluster,
    /// `requirepass`.
    Password,
    /// An account that may not do what an operator may.
    Account,
    /// TLS only, with a certificate that [`RedisServer::authority`] signed.
    Tls,
}

/// What is left of the data after a restart.
pub enum Memory<'a> {
    /// All: it was told to end, and saved.
    Kept,
    /// None: killed without ever having saved.
    Lost,
    /// What it had when the snapshot was taken; killed since.
    Old(&'a Snapshot),
}

/// The data of an earlier moment.
pub struct Snapshot(Vec<u8>);

/// A server; it ends when dropped, and at the latest with the test process.
pub struct RedisServer {
    pub port: u16,
    /// Its unix socket, where operators come in, whatever the variant.
    pub socket: PathBuf,
    /// Its configuration, log and data.
    pub dir: PathBuf,
    variant: Variant,
    /// Lines of the configuration that are this server's own.
    more: String,
    process: Option<Process>,
    /// None where the directory goes with the test process.
    owned: Option<tempfile::TempDir>,
}

fn server() -> Option<PathBuf> {
    static SERVER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        if std::env::var("SHOAL_TEST_REDIS").is_ok_and(|said| said == "skip") {
            eprintln!("SKIPPED: the tests on Redis, by SHOAL_TEST_REDIS=skip");
            return None;
        }
        let name = std::env::var("SHOAL_TEST_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        let found = program(&name);
        assert!(
            found.is_some(),
            "there is no Redis to test on: install redis-server (6.2 or later) or valkey-server, and name it by \
             SHOAL_TEST_REDIS_SERVER if it is called otherwise (looked for {name}); SHOAL_TEST_REDIS=skip leaves \
             these tests out"
        );
        found
    });
    server.clone()
}

impl RedisServer {
    /// The program; None if tests on Redis are to be left out.
    pub fn program() -> Option<PathBuf> {
        server()
    }

    /// Starts a server and waits until it answers; None if tests on Redis are to be left out.
    pub fn start(variant: Variant) -> Option<Self> {
        Self::start_with(variant, "")
    }

    /// The same, with more lines in its configuration.
    pub fn start_with(variant: Variant, more: &str) -> Option<Self> {
        Self::make(variant, more, true)
    }

    /// One for the whole test process: each test takes a key prefix of its own. Nobody kills it, or empties it.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<RedisServer>> = OnceLock::new();
        SHARED.get_or_init(|| Self::make(Variant::Standalone, "", false)).as_ref()
    }

    /// One in cluster mode for the whole test process, likewise.
    pub fn shared_cluster() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<RedisServer>> = OnceLock::new();
        SHARED.get_or_init(|| Self::make(Variant::Cluster, "", false)).as_ref()
    }

    fn make(variant: Variant, more: &str, owned: bool) -> Option<Self> {
        server()?;
        let directory = tempfile::tempdir().unwrap();
        let (dir, owned) = match owned {
            true => (directory.path().to_owned(), Some(directory)),
            false => (directory.keep(), None),
        };
        let socket = dir.join("socket");
        let more = more.to_owned();
        let mut server = Self { port: free_port(), socket, dir, variant, more, process: None, owned };
        if variant == Variant::Tls {
            certificates(&server.dir);
        }
        server.run();
        Some(server)
    }

    /// Where clients come in, with what they have to show.
    pub fn url(&self) -> String {
        let port = self.port;
        match self.variant {
            Variant::Standalone | Variant::Cluster => format!("redis://127.0.0.1:{port}/"),
            Variant::Password => format!("redis://:{PASSWORD}@127.0.0.1:{port}/"),
            Variant::Account => format!("redis://shoal:{PASSWORD}@127.0.0.1:{port}/"),
            Variant::Tls => format!("rediss://localhost:{port}/"),
        }
    }

    /// The certificate of the authority that signed a TLS server's own.
    pub fn authority(&self) -> PathBuf {
        self.dir.join("authority.crt")
    }

    /// Kills it as a power failure would; what wasn't saved is gone.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again after [`Self::kill`], on the same address.
    pub fn run(&mut self) {
        let config = self.dir.join("redis.conf");
        std::fs::write(&config, self.configuration()).unwrap();
        let mut command = Command::new(server().expect("asked before"));
        command.arg(&config).current_dir(&self.dir);
        let directory = self.owned.is_none().then_some(self.dir.as_path());
        self.process = Some(Process::start(&mut command, &self.log(), directory));
        self.wait();
        if self.variant == Variant::Cluster {
            self.become_whole();
        }
    }

    /// Ends it and starts it again.
    pub fn restart(&mut self, memory: &Memory<'_>) {
        let data = self.dir.join("dump.rdb");
        match memory {
            Memory::Kept => self.save(),
            Memory::Lost | Memory::Old(_) => {}
        }
        self.kill();
        match memory {
            Memory::Kept => {}
            Memory::Lost => drop(std::fs::remove_file(data)),
            Memory::Old(snapshot) => std::fs::write(data, &snapshot.0).unwrap(),
        }
        self.run();
    }

    /// Writes all data to its file.
    pub fn save(&self) {
        self.ask::<()>(&["SAVE"]);
    }

    /// The data as they are now, to be restored later.
    pub fn snapshot(&self) -> Snapshot {
        self.save();
        Snapshot(std::fs::read(self.dir.join("dump.rdb")).unwrap())
    }

    /// Loses all data while it runs.
    pub fn flush(&self) {
        self.ask::<()>(&["FLUSHALL"]);
    }

    /// It stops answering, but keeps its connections.
    pub fn pause(&self) {
        self.process().pause();
    }

    /// It answers again.
    pub fn resume(&self) {
        self.process().resume();
    }

    /// An operator's command.
    pub fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_ask(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// An operator's command that may fail.
    pub fn try_ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let mut connection = self.operator()?;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut connection)
    }

    fn operator(&self) -> redis::RedisResult<redis::Connection> {
        let socket = self.socket.display();
        let access = match self.variant {
            Variant::Password => format!("?pass={PASSWORD}"),
            Variant::Account => format!("?user=operator&pass={PASSWORD}"),
            Variant::Standalone | Variant::Cluster | Variant::Tls => String::new(),
        };
        let client = redis::Client::open(format!("redis+unix://{socket}{access}"))?;
        let connection = client.get_connection()?;
        connection.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(connection)
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("it was killed")
    }

    fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    fn configuration(&self) -> String {
        let (port, dir, socket) = (self.port, self.dir.display(), self.socket.display());
        let own = match self.variant {
            Variant::Standalone => format!("port {port}\n"),
            Variant::Cluster => format!(
                "port {port}\ncluster-enabled yes\ncluster-config-file nodes.conf\n\
                 cluster-announce-ip 127.0.0.1\ncluster-require-full-coverage yes\n"
            ),
            Variant::Password => format!("port {port}\nrequirepass {PASSWORD}\n"),
            Variant::Account => format!(
                "port {port}\nuser default off\nuser operator on >{PASSWORD} ~* &* +@all\n\
                 user shoal on >{PASSWORD} ~* &* +@all -flushall -flushdb -shutdown -debug -keys -save -replicaof\n"
            ),
            Variant::Tls => format!(
                "port 0\ntls-port {port}\ntls-auth-clients no\ntls-cert-file {dir}/server.crt\n\
                 tls-key-file {dir}/server.key\ntls-ca-cert-file {dir}/authority.crt\n"
            ),
        };
        let more = &self.more;
        format!(
            "bind 127.0.0.1\nprotected-mode no\ndir {dir}\nunixsocket {socket}\nsave \"\"\nappendonly no\n\
             maxmemory-policy noeviction\nrepl-diskless-sync-delay 0\n{own}{more}\n"
        )
    }

    /// Until it answers and has loaded its data.
    fn wait(&mut self) {
        let began = stopwatch();
        while self.try_ask::<String>(&["PING"]).is_err() {
            let alive = self.process.as_mut().is_some_and(Process::is_alive);
            let late = began.elapsed() > Duration::from_secs(30);
            assert!(alive && !late, "redis-server:\n{}", std::fs::read_to_string(self.log()).unwrap());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The one node has all slots, and has noticed.
    fn become_whole(&self) {
        let info = || self.ask::<String>(&["CLUSTER", "INFO"]);
        if info().contains("cluster_slots_assigned:0") {
            let slots: Vec<String> = (0..16384).map(|slot: u16| slot.to_string()).collect();
            let words = ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str));
            self.ask::<()>(&words.collect::<Vec<_>>());
        }
        let began = stopwatch();
        while !info().contains("cluster_state:ok") {
            assert!(began.elapsed() < Duration::from_secs(30), "the cluster never was whole");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Below the ports that programs get when they ask for any, and so low that the cluster's own, 10,000 above, exists.
/// Tests of one process get different ones, so that a server that is restarted finds its own free.
pub fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + u16::try_from(std::process::id() % 97).unwrap_or(0) * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        let free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        if free(port) && free(port + 10_000) {
            return port;
        }
    }
}

/// An authority of the test's own, and a server's certificate.
fn certificates(dir: &Path) {
    let openssl = |words: &str| {
        let output = Command::new("openssl").args(words.split(' ')).current_dir(dir).output();
        let output = output.unwrap_or_else(|error| panic!("openssl makes the certificates: {error}"));
        assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout authority.key -out authority.crt -days 2 -subj /CN=authority \
         -addext basicConstraints=critical,CA:TRUE"
    ));
    openssl(&format!("req -new {key} -keyout server.key -out server.csr -subj /CN=localhost"));
    std::fs::write(
        dir.join("names"),
        "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n",
    )
    .unwrap();
    openssl(
        "x509 -req -in server.csr -CA authority.crt -CAkey authority.key -CAcreateserial -days 2 \
         -extfile names -out server.crt",
    );
}

#[test]
fn every_kind_of_server_starts_and_restarts_with_what_it_should() {
    for variant in [Variant::Standalone, Variant::Cluster, Variant::Password, Variant::Account, Variant::Tls]
    {
        let Some(mut server) = RedisServer::start(variant) else { return };
        server.ask::<()>(&["SET", "{a}b", "first"]);
        let snapshot = server.snapshot();
        server.ask::<()>(&["SET", "{a}b", "second"]);
        let value = |server: &RedisServer| server.ask::<Option<String>>(&["GET", "{a}b"]);
        server.restart(&Memory::Kept);
        assert_eq!(value(&server).as_deref(), Some("second"), "{variant:?}");
        server.restart(&Memory::Old(&snapshot));
        assert_eq!(value(&server).as_deref(), Some("first"), "{variant:?}");
        server.restart(&Memory::Lost);
        assert_eq!(value(&server), None, "{variant:?}");
        server.ask::<()>(&["SET", "{a}b", "third"]);
        server.flush();
        assert_eq!(value(&server), None, "{variant:?}");
        server.pause();
        server.resume();
        assert_eq!(server.ask::<String>(&["PING"]), "PONG", "{variant:?}");
    }
}

#[test]
fn clients_come_in_by_the_url() {
    for variant in [Variant::Cluster, Variant::Password, Variant::Account, Variant::Tls] {
        let Some(server) = RedisServer::start(variant) else { return };
        let client = if variant == Variant::Tls {
            let authority = std::fs::read(server.authority()).unwrap();
            let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(authority) };
            redis::Client::build_with_tls(server.url(), certificates)
        } else {
            redis::Client::open(server.url())
        };
        let mut connection = client.unwrap().get_connection().unwrap();
        assert_eq!(redis::cmd("PING").query::<String>(&mut connection).unwrap(), "PONG", "{variant:?}");
    }
    let Some(shared) = RedisServer::shared() else { return };
    let cluster = RedisServer::shared_cluster().unwrap();
    assert_ne!(shared.url(), cluster.url());
    assert!(std::ptr::eq(shared, RedisServer::shared().unwrap()));
}
