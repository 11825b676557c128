//! The paths that the simulation speaks to.

/// An endpoint, as the unit of latency and error statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// `POST /api/request_version`
    RequestVersion,
    /// `POST /api/request_task`
    RequestTask,
    /// `POST /api/update_task`
    UpdateTask,
    /// `POST /api/beat`
    Beat,
    /// `POST /api/request_spsa`
    RequestSpsa,
    /// `POST /api/failed_task`
    FailedTask,
    /// `POST /api/stop_run`
    StopRun,
    /// `POST /api/upload_pgn`
    UploadPgn,
    /// `POST /api/worker_log`
    WorkerLog,
    /// `GET /api/get_run/{id}`
    GetRun,
    /// `GET /api/get_task/{id}/{n}`
    GetTask,
    /// `GET /api/get_elo/{id}`
    GetElo,
    /// `GET /api/active_runs`
    ActiveRuns,
}

impl Endpoint {
    /// All of them: the nine of the worker first, then the read endpoints.
    pub const ALL: [Self; 13] = [
        Self::RequestVersion,
        Self::RequestTask,
        Self::UpdateTask,
        Self::Beat,
        Self::RequestSpsa,
        Self::FailedTask,
        Self::StopRun,
        Self::UploadPgn,
        Self::WorkerLog,
        Self::GetRun,
        Self::GetTask,
        Self::GetElo,
        Self::ActiveRuns,
    ];

    /// The last part of the path, which is also the name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::RequestVersion => "request_version",
            Self::RequestTask => "request_task",
            Self::UpdateTask => "update_task",
            Self::Beat => "beat",
            Self::RequestSpsa => "request_spsa",
            Self::FailedTask => "failed_task",
            Self::StopRun => "stop_run",
            Self::UploadPgn => "upload_pgn",
            Self::WorkerLog => "worker_log",
            Self::GetRun => "get_run",
            Self::GetTask => "get_task",
            Self::GetElo => "get_elo",
            Self::ActiveRuns => "active_runs",
        }
    }

    /// The path without parameters.
    pub fn path(self) -> String {
        format!("/api/{}", self.name())
    }
}
