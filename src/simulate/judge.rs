//! Whether a JSON `error` is the worker's own doing. One that isn't breaks I18: it costs a worker its task, or makes
//! it quit, for something that a retry would have healed.

use super::endpoint::Endpoint;

/// What is known about the worker that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Circumstances {
    /// Its name may still be taken: this installation was seen under another key.
    pub renamed: bool,
    /// The refused report of a tuning had been sent before.
    pub repeated_spsa: bool,
    /// The account's password was accepted before.
    pub proven_password: bool,
}

/// Whether the refusal is justified by what the worker or the operator did (`spec/worker-api.md` sections 3 and 5).
pub fn own_doing(endpoint: Endpoint, status: u16, error: &str, seen: Circumstances) -> bool {
    let says = |text: &str| error.contains(text);
    if status == 401 {
        let account = says("Your account is blocked.") || says("Your account is pending approval.");
        let password = says("Invalid username or password.") && !seen.proven_password;
        return account || password || endpoint == Endpoint::StopRun;
    }
    match endpoint {
        Endpoint::RequestTask => {
            says("Machine limit reached")
                || says("This worker has been blocked")
                || (says("There is already a worker running") && seen.renamed)
        }
        // A server without a memory of reports can't tell a repeated tuning report from a wrong one.
        Endpoint::UpdateTask => says("has incompatible stats") && seen.repeated_spsa,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_judged_by_their_cause() {
        let nothing = Circumstances::default();
        let password = "/api/beat: Invalid username or password.";
        assert!(own_doing(Endpoint::Beat, 401, password, nothing));
        assert!(!own_doing(
            Endpoint::Beat,
            401,
            password,
            Circumstances { proven_password: true, ..nothing }
        ));
        assert!(own_doing(
            Endpoint::RequestTask,
            200,
            "Request_task: Machine limit reached for user u",
            nothing
        ));
        let twin = "Request_task: There is already a worker running with name \"x\"";
        assert!(!own_doing(Endpoint::RequestTask, 200, twin, nothing));
        assert!(own_doing(Endpoint::RequestTask, 200, twin, Circumstances { renamed: true, ..nothing }));
        let stats = "Update_task: task a/1 has incompatible stats. Before 4. Now 2. SPSA_games 0.";
        assert!(!own_doing(Endpoint::UpdateTask, 200, stats, nothing));
        assert!(own_doing(
            Endpoint::UpdateTask,
            200,
            stats,
            Circumstances { repeated_spsa: true, ..nothing }
        ));
        assert!(!own_doing(Endpoint::Beat, 500, "/api/beat: Internal Server Error", nothing));
        assert!(!own_doing(
            Endpoint::UpdateTask,
            503,
            "/api/update_task: primary instance required",
            nothing
        ));
        assert!(!own_doing(Endpoint::UpdateTask, 400, "/api/update_task: Invalid run_id: x", nothing));
    }
}
