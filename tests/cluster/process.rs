//! A server process of a test: it ends with the test, however the test ends, and can be treated badly before.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use shoal::sys::clock::stopwatch;

/// A process, and a shell that ends it when the test process is gone: it waits for the end of its standard input.
pub struct Process {
    child: Child,
    watchdog: Child,
}

impl Process {
    /// Starts a command; what it prints goes to the end of a file. If the test process ends without having ended it, a
    /// directory goes with it: that is for what lives as long as the test process, and isn't dropped.
    pub fn start(command: &mut Command, log: &Path, directory: Option<&Path>) -> Self {
        let out = File::options().create(true).append(true).open(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
        let end = r#"cat >/dev/null; kill -9 "$1"; [ -z "$2" ] || rm -rf "$2""#;
        let watchdog = Command::new("sh")
            .args(["-c", end, "watchdog"])
            .arg(child.id().to_string())
            .arg(directory.map(Path::to_path_buf).unwrap_or_default())
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, watchdog }
    }

    /// Whether it still is there (a stopped one is).
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Kills it as a power failure would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGSTOP: it sleeps, and doesn't know.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// SIGTERM.
    pub fn ask_to_end(&self) {
        self.signal("TERM");
    }

    /// How it ended; None if it doesn't in time.
    pub async fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let began = stopwatch();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            if began.elapsed() > within {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(format!("-{name}")).arg(&pid).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The watchdog first, while the number is nobody else's.
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        self.kill();
    }
}

/// Where a program of the machine is; None if it is missing. Debian keeps servers out of a user's PATH.
pub fn program(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.exists());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    places.map(|place| place.join(name)).find(|path| path.is_file())
}
