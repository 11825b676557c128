//! The paths of the site. Exact matches on the decoded path, as the original has them.

use actix_web::http::Method;

use super::gate::Class;

/// A worker's endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as their paths")]
pub enum Endpoint {
    RequestVersion,
    RequestTask,
    UpdateTask,
    Beat,
    RequestSpsa,
    FailedTask,
    StopRun,
    UploadPgn,
    WorkerLog,
}

/// A public read, with the variable parts of its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as their paths")]
pub enum Read<'a> {
    ActiveRuns,
    FinishedRuns,
    Actions,
    GetRun(&'a str),
    GetTask(&'a str, &'a str),
    GetElo(&'a str),
    CalcElo,
    Pgn(&'a str),
    RunPgns(&'a str),
    Nn(&'a str),
    RateLimit,
}

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// To a worker's endpoint.
    Worker(Endpoint),
    /// To the public.
    Read(Read<'a>),
    /// Does the process live?
    Livez,
    /// Can it serve?
    Readyz,
    /// Has it ever been able to?
    Startupz,
    /// Numbers for Prometheus.
    Metrics,
}

impl Endpoint {
    /// The path; errors begin with it.
    pub fn path(self) -> &'static str {
        match self {
            Self::RequestVersion => "/api/request_version",
            Self::RequestTask => "/api/request_task",
            Self::UpdateTask => "/api/update_task",
            Self::Beat => "/api/beat",
            Self::RequestSpsa => "/api/request_spsa",
            Self::FailedTask => "/api/failed_task",
            Self::StopRun => "/api/stop_run",
            Self::UploadPgn => "/api/upload_pgn",
            Self::WorkerLog => "/api/worker_log",
        }
    }
}

impl<'a> Route<'a> {
    /// The route of a path; None if there is nothing there.
    pub fn find(path: &'a str) -> Option<Self> {
        match path {
            "/livez" => return Some(Self::Livez),
            "/readyz" => return Some(Self::Readyz),
            "/startupz" => return Some(Self::Startupz),
            "/metrics" => return Some(Self::Metrics),
            _ => {}
        }
        let rest = path.strip_prefix("/api/")?;
        if let Some((name, argument)) = rest.split_once('/') {
            return Read::with_argument(name, argument).map(Self::Read);
        }
        let route = match rest {
            "request_version" => Self::Worker(Endpoint::RequestVersion),
            "request_task" => Self::Worker(Endpoint::RequestTask),
            "update_task" => Self::Worker(Endpoint::UpdateTask),
            "beat" => Self::Worker(Endpoint::Beat),
            "request_spsa" => Self::Worker(Endpoint::RequestSpsa),
            "failed_task" => Self::Worker(Endpoint::FailedTask),
            "stop_run" => Self::Worker(Endpoint::StopRun),
            "upload_pgn" => Self::Worker(Endpoint::UploadPgn),
            "worker_log" => Self::Worker(Endpoint::WorkerLog),
            "active_runs" => Self::Read(Read::ActiveRuns),
            "finished_runs" => Self::Read(Read::FinishedRuns),
            "actions" => Self::Read(Read::Actions),
            "calc_elo" => Self::Read(Read::CalcElo),
            "rate_limit" => Self::Read(Read::RateLimit),
            _ => return None,
        };
        Some(route)
    }

    /// The one method that the path answers.
    pub fn method(self) -> Method {
        match self {
            Self::Worker(_) | Self::Read(Read::Actions) => Method::POST,
            Self::Read(_) | Self::Livez | Self::Readyz | Self::Startupz | Self::Metrics => Method::GET,
        }
    }

    /// Whether pages of other sites may read the answer.
    pub fn is_shared(self) -> bool {
        matches!(self, Self::Read(Read::Actions | Read::GetRun(_)))
    }

    /// What metrics call it: the last fixed part of its path.
    pub fn label(self) -> &'static str {
        match self {
            Self::Worker(endpoint) => endpoint.path().trim_start_matches("/api/"),
            Self::Read(Read::ActiveRuns) => "active_runs",
            Self::Read(Read::FinishedRuns) => "finished_runs",
            Self::Read(Read::Actions) => "actions",
            Self::Read(Read::GetRun(_)) => "get_run",
            Self::Read(Read::GetTask(..)) => "get_task",
            Self::Read(Read::GetElo(_)) => "get_elo",
            Self::Read(Read::CalcElo) => "calc_elo",
            Self::Read(Read::Pgn(_)) => "pgn",
            Self::Read(Read::RunPgns(_)) => "run_pgns",
            Self::Read(Read::Nn(_)) => "nn",
            Self::Read(Read::RateLimit) => "rate_limit",
            Self::Livez => "livez",
            Self::Readyz => "readyz",
            Self::Startupz => "startupz",
            Self::Metrics => "metrics",
        }
    }

    /// Who asks there; None for what is answered whatever happens.
    pub fn class(self) -> Option<Class> {
        match self {
            Self::Worker(_) => Some(Class::Worker),
            Self::Read(_) => Some(Class::Read),
            Self::Livez | Self::Readyz | Self::Startupz | Self::Metrics => None,
        }
    }
}

impl<'a> Read<'a> {
    fn with_argument(name: &str, argument: &'a str) -> Option<Self> {
        if name == "get_task" {
            let (run, task) = argument.split_once('/')?;
            let whole = !run.is_empty() && !task.is_empty() && !task.contains('/');
            return whole.then_some(Self::GetTask(run, task));
        }
        if argument.is_empty() || argument.contains('/') {
            return None;
        }
        match name {
            "get_run" => Some(Self::GetRun(argument)),
            "get_elo" => Some(Self::GetElo(argument)),
            "pgn" => Some(Self::Pgn(argument)),
            "run_pgns" => Some(Self::RunPgns(argument)),
            "nn" => Some(Self::Nn(argument)),
            _ => None,
        }
    }
}

/// A path with its percent escapes undone; bytes that are no UTF-8 become replacement characters.
pub fn decoded(path: &str) -> std::borrow::Cow<'_, str> {
    if !path.contains('%') {
        return path.into();
    }
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%'
            && let Some((digits, after)) = tail.split_at_checked(2)
            && digits.iter().all(u8::is_ascii_hexdigit)
            && let Some(byte) = std::str::from_utf8(digits).ok().and_then(|d| u8::from_str_radix(d, 16).ok())
        {
            out.push(byte);
            rest = after;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&out).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::labels::ENDPOINT;

    #[test]
    fn paths_match_exactly() {
        assert_eq!(Route::find("/api/beat"), Some(Route::Worker(Endpoint::Beat)));
        assert_eq!(Route::find("/api/get_task/a/0bad"), Some(Route::Read(Read::GetTask("a", "0bad"))));
        assert_eq!(Route::find("/api/nn/x.nnue"), Some(Route::Read(Read::Nn("x.nnue"))));
        for none in [
            "",
            "/",
            "/api",
            "/api/",
            "/apibeat",
            "/api/Beat",
            "/api/beat/",
            "/api/beat/x",
            "/api/get_run",
            "/api/get_run/",
            "/api/get_run/a/b",
            "/api/get_task/a",
            "/api/get_task/a/",
            "/api/get_task//0",
            "/api/get_task/a/0/1",
            "/livez/",
            "//api/beat",
        ] {
            assert_eq!(Route::find(none), None, "{none:?}");
        }
    }

    #[test]
    fn every_worker_path_leads_to_its_endpoint() {
        use Endpoint::*;
        for endpoint in [
            RequestVersion,
            RequestTask,
            UpdateTask,
            Beat,
            RequestSpsa,
            FailedTask,
            StopRun,
            UploadPgn,
            WorkerLog,
        ] {
            assert_eq!(Route::find(endpoint.path()), Some(Route::Worker(endpoint)));
        }
    }

    #[test]
    fn metrics_know_every_route() {
        let names = ENDPOINT.values.iter().filter(|name| !matches!(**name, "control" | "none"));
        for name in names {
            let paths = [
                format!("/{name}"),
                format!("/api/{name}"),
                format!("/api/{name}/a"),
                format!("/api/{name}/a/b"),
            ];
            let found = paths.iter().find_map(|path| Route::find(path));
            assert_eq!(found.map(Route::label), Some(*name));
        }
    }

    #[test]
    fn escapes_are_undone_where_they_are_escapes() {
        let cases = [
            ("/api/beat", "/api/beat"),
            ("/%61pi", "/api"),
            ("/%", "/%"),
            ("/%4", "/%4"),
            ("/%zz", "/%zz"),
            ("/%C3%A9", "/é"),
            ("/%FF", "/\u{fffd}"),
            ("/%+1", "/%+1"),
        ];
        for (path, text) in cases {
            assert_eq!(decoded(path), text);
        }
    }
}
