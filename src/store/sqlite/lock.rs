//! One server a file: an advisory lock that the system releases when its holder dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::open::OpenError;

/// Name of the lock file, beside the database.
pub const LOCK_FILE: &str = "serve.lock";

/// A look at the lock by a tool, or a predecessor that is just closing, must not make a start fail: so long it is tried.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// Held for as long as the server has the database open.
#[derive(Debug)]
pub struct ServeLock {
    /// Closing it releases the lock; never read.
    _file: File,
}

/// Takes the lock and leaves this process's id in it. A server whose data is elsewhere holds it, too: the control socket
/// lies beside it.
///
/// # Errors
/// [`OpenError::Locked`] when another server has it, [`OpenError::Io`] when the file can't be made.
pub fn acquire(database: &Path) -> Result<ServeLock, OpenError> {
    let path = lock_path(database);
    let io = |source| OpenError::Io { path: path.clone(), source };
    // The content is not truncated before the lock is held: it names the holder.
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
    for attempt in 1.. {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if attempt < ATTEMPTS => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked { path: database.to_owned(), pid: holder(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
    }
    file.set_len(0).map_err(io)?;
    write!(file, "{}", std::process::id()).map_err(io)?;
    file.flush().map_err(io)?;
    Ok(ServeLock { _file: file })
}

/// The server that has the database open, if there is one; 0 when its id can't be read.
pub fn running(database: &Path) -> Result<Option<u32>, OpenError> {
    let path = lock_path(database);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(OpenError::Io { path, source }),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(holder(&mut file).unwrap_or(0))),
        Err(TryLockError::Error(source)) => Err(OpenError::Io { path, source }),
    }
}

fn lock_path(database: &Path) -> PathBuf {
    database.with_file_name(LOCK_FILE)
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
