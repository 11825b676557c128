//! The control socket: what the command line asks of a running server. A file that only its owner can open, never a
//! port.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::{App, HttpResponse, HttpServer, web};

use super::error::{JSON, json};
use super::gate::{Class, Gate, Shed, Turn};
use super::metrics;
use super::object::{Began, Object};
use crate::service::control::Control;
use crate::service::{Farm, ServiceError};
use crate::sys::spawn;

/// Path of the only resource.
pub const CONTROL_PATH: &str = "/control";

/// Largest command, bytes: a form with its texts, or a book table.
const LIMIT: usize = 8 << 20;

/// How long a command may take to be sent. Only the owner can open the socket, so there is nobody to guard against: it
/// is as long as `shoal` waits for its answer, and a machine that is out of breath has no command refused for it.
const HEAD_DEADLINE: Duration = Duration::from_secs(60);

/// How long a command may wait and take, both together: as long as `shoal` waits for its answer.
const DEADLINE: Duration = HEAD_DEADLINE;

/// Commands at once, and those that wait.
const SLOTS: usize = 16;
const QUEUE: usize = 64;

/// Serves commands on a Unix socket at `path`: `POST /control` with a [`Control`] as JSON; the answer is a
/// [`Reply`](crate::service::control::Reply), or `{"error": …}`. A socket that a killed server left is replaced.
///
/// # Errors
/// Another server answers there, or the file system refuses.
pub fn serve_control(farm: Arc<Farm>, path: &Path) -> io::Result<Server> {
    let listener = listen(path)?;
    let gate = Arc::new(Gate::new(Class::Management, SLOTS, QUEUE));
    let server = HttpServer::new(move || {
        let (farm, gate) = (farm.clone(), gate.clone());
        App::new().app_data(web::PayloadConfig::new(LIMIT)).route(
            CONTROL_PATH,
            web::post().to(move |body: web::Bytes| command(farm.clone(), gate.clone(), body)),
        )
    })
    .workers(1)
    .client_request_timeout(HEAD_DEADLINE)
    .disable_signals()
    .shutdown_timeout(5)
    .listen_uds(listener)?
    .run();
    Ok(server)
}

async fn command(farm: Arc<Farm>, gate: Arc<Gate>, body: web::Bytes) -> HttpResponse {
    let began = Began::now();
    let response = match gate.enter(DEADLINE).await {
        // From the beginning: `shoal` doesn't wait for one deadline in the queue and another one inside.
        Ok(turn) => carry_out(farm, body, turn, DEADLINE.saturating_sub(began.elapsed())).await,
        Err(_) => refusal(&ServiceError::Busy("too many commands at once".to_owned())),
    };
    metrics::count("control", response.status(), began.elapsed());
    response
}

/// A task of its own: the deadline, or a client that hangs up, leaves no command half done. `left` is what the queue left
/// of the deadline; a command that nobody waits for any more is not begun.
async fn carry_out(farm: Arc<Farm>, body: web::Bytes, turn: Turn, left: Duration) -> HttpResponse {
    if left.is_zero() {
        Class::Management.shed(Shed::Deadline);
        return refusal(&ServiceError::Busy("too many commands at once".to_owned()));
    }
    let command: Control = match serde_json::from_slice(&body) {
        Ok(command) => command,
        // The text may name a field but never holds the body, which may hold a password.
        Err(error) => return refusal(&ServiceError::Invalid(format!("not a command: {}", shape(&error)))),
    };
    let work = spawn::task("command", async move {
        let _turn = turn;
        farm.control(command).await
    });
    let Ok(done) = tokio::time::timeout(left, work).await else {
        Class::Management.shed(Shed::Deadline);
        return refusal(&ServiceError::Unavailable("the command goes on, but takes long".to_owned()));
    };
    match done.unwrap_or_else(|error| Err(ServiceError::Bug(error.to_string()))) {
        Ok(reply) => match serde_json::to_vec(&reply) {
            Ok(body) => json(&mut HttpResponse::Ok(), body),
            Err(error) => refusal(&ServiceError::Bug(error.to_string())),
        },
        Err(error) => refusal(&error),
    }
}

fn shape(error: &serde_json::Error) -> String {
    format!("{:?} error in line {}, column {}", error.classify(), error.line(), error.column())
}

fn refusal(error: &ServiceError) -> HttpResponse {
    let mut response = match error {
        ServiceError::Invalid(_) => HttpResponse::BadRequest(),
        ServiceError::Refused(_) => HttpResponse::Unauthorized(),
        ServiceError::NotFound(_) => HttpResponse::NotFound(),
        ServiceError::Busy(_)
        | ServiceError::Unavailable(_)
        | ServiceError::Outdated(_)
        | ServiceError::Superseded(_)
        | ServiceError::NotDurable(_) => HttpResponse::ServiceUnavailable(),
        ServiceError::Bug(_) => HttpResponse::InternalServerError(),
    };
    response.content_type(JSON).body(Object::new().value("error", &error.to_string()).finish())
}

/// A listening socket that nobody else could open at any moment: it is made in a directory of our own, closed to
/// others, and moved to its place when its mode is right.
fn listen(path: &Path) -> io::Result<UnixListener> {
    if fs::symlink_metadata(path).is_ok() && UnixStream::connect(path).is_ok() {
        let text = format!("a server is running on {}", path.display());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
    }
    let nursery = nursery(path);
    let born = nursery.join("s");
    drop(fs::remove_file(&born));
    drop(fs::remove_dir(&nursery));
    fs::DirBuilder::new().mode(0o700).create(&nursery)?;
    let listener = UnixListener::bind(&born).and_then(|listener| {
        fs::set_permissions(&born, fs::Permissions::from_mode(0o600))?;
        fs::rename(&born, path)?;
        Ok(listener)
    });
    drop(fs::remove_file(&born));
    drop(fs::remove_dir(&nursery));
    listener
}

fn nursery(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".d");
    PathBuf::from(name)
}
