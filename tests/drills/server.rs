//! A real server process, and the commands beside it.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// The executable under test.
pub const SHOAL: &str = env!("CARGO_BIN_EXE_shoal");

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Fleets take turns, so that a small machine isn't slowed down until workers give up.
pub async fn turn() -> tokio::sync::MutexGuard<'static, ()> {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    TURN.lock().await
}

/// A command on a data directory, with nothing of this process's environment that could lead it elsewhere.
pub fn command(data: &Path, args: &[&str]) -> Command {
    command_of(Path::new(SHOAL), data, args)
}

/// The same with another executable.
pub fn command_of(program: &Path, data: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).env("SHOAL_DATA_DIR", data).current_dir(data).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SHOAL_") && name != "SHOAL_DATA_DIR" {
            command.env_remove(name);
        }
    }
    for name in ["SHOAL_GITHUB_API_URL", "SHOAL_GITHUB_RAW_URL"] {
        command.env(name, "none");
    }
    command
}

/// Runs a command to its end and expects success.
pub fn run(data: &Path, args: &[&str]) -> String {
    let output = output(data, args);
    assert!(
        output.status.success(),
        "shoal {}: {}\n{}",
        args.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command to its end.
pub fn output(data: &Path, args: &[&str]) -> Output {
    command(data, args).env("SHOAL_USER_PASSWORD", "secret").output().unwrap()
}

/// `shoal serve`; killed when dropped.
pub struct Server {
    child: Child,
    pub port: u16,
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub async fn start(data: &Path, port: u16) -> Self {
        Self::start_with(data, port, |_| ()).await
    }

    /// The same, with more or other environment, or somewhere to write to.
    pub async fn start_with(data: &Path, port: u16, change: impl FnOnce(&mut Command)) -> Self {
        let mut serve = command(data, &["serve"]);
        serve
            .env("SHOAL_LISTEN", format!("127.0.0.1:{port}"))
            .env("SHOAL_LOG", "warn")
            // No balancer has to notice anything.
            .env("SHOAL_DRAIN_PERIOD", "0s")
            // The fleet's audit reads every task from one address.
            .env("SHOAL_READ_RATE_LIMIT", "0")
            .stdout(Stdio::null());
        change(&mut serve);
        let child = serve.spawn().unwrap();
        let mut server = Self { child, port };
        let client = shoal::sys::web::client().build().unwrap();
        for _ in 0..3600 {
            assert!(server.child.try_wait().unwrap().is_none(), "the server ended by itself");
            let ready = client.get(format!("{}/readyz", server.url())).send().await;
            if ready.is_ok_and(|answer| answer.status().is_success()) {
                return server;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the server was not ready in three minutes");
    }

    /// A successful read.
    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.try_get(path).await.error_for_status().unwrap()
    }

    /// A read, whatever its answer.
    pub async fn try_get(&self, path: &str) -> reqwest::Response {
        let client = shoal::sys::web::client().build().unwrap();
        client.get(format!("{}{path}", self.url())).send().await.unwrap()
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Kills it as a power failure would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM.
    pub fn ask_to_end(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Asks it to stop; returns whether it ended well.
    pub fn terminate(&mut self) -> bool {
        self.ask_to_end();
        self.child.wait().unwrap().success()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An approved sequential test; returns its id.
pub fn approved_run(data: &Path, name: &str) -> String {
    approved(data, name, &["--elo0", "0", "--elo1", "2"])
}

/// An approved sequential test that nothing decides, for engines that differ by about one Elo; returns its id.
///
/// A large fleet gets tasks of few games, or a part of it would have all there are.
pub fn undecided_run(data: &Path, name: &str) -> String {
    let tc = if std::env::var_os("SHOAL_LONG").is_some() { "60+0.6" } else { "10+0.1" };
    approved(data, name, &["--elo0", "0.9", "--elo1", "1.1", "--tc", tc])
}

/// An approved test of so many games, so long that a task is of few of them; returns its id.
pub fn fixed_run(data: &Path, name: &str, num_games: u64) -> String {
    approved(data, name, &["--num-games", &num_games.to_string(), "--tc", "1000+10"])
}

fn approved(data: &Path, name: &str, kind: &[&str]) -> String {
    let created = run(
        data,
        &[
            &["run", "create"],
            kind,
            &[
                "--username",
                "author",
                "--new-tag",
                name,
                "--base-tag",
                "base",
                "--resolved-new",
                &"b".repeat(40),
                "--resolved-base",
                &"a".repeat(40),
                "--msg-new",
                "new",
                "--msg-base",
                "base",
                "--new-signature",
                "2050812",
                "--base-signature",
                "2050811",
                "--tests-repo",
                "https://github.com/author/Stockfish",
                "--info",
                "a drill",
            ],
        ]
        .concat(),
    );
    let id = created.lines().next().unwrap().to_owned();
    run(data, &["run", "approve", &id, "--by", "maintainer"]);
    id
}

/// The accounts of a drill.
pub fn accounts(data: &Path) {
    run(data, &["user", "add", "author"]);
    run(data, &["user", "add", "maintainer", "--approver"]);
    run(data, &["user", "add", "volunteer"]);
}
