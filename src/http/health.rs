//! Whether the process lives, whether it can serve, and whether it ever could. All three answer from what is known: none can be
//! made to wait.

use actix_web::HttpResponse;
use serde_json::json;

use super::Site;
use super::error::JSON;
use crate::service::degrade::StorePolicy;
use crate::service::readiness::{self, Culprit, State};

/// Whether the event loops of this process turn. Dependencies have no part in it: a blip of one must not restart a fleet.
pub fn livez(site: &Site) -> HttpResponse {
    let silence = site.pulse.silence();
    if silence <= site.settings.liveness_limit {
        return HttpResponse::Ok().content_type(JSON).body(r#"{"alive":true}"#);
    }
    tracing::error!(?silence, "a thread that serves requests is stuck");
    let body = json!({ "alive": false, "silent_seconds": silence.as_secs_f64() });
    HttpResponse::ServiceUnavailable().content_type(JSON).body(body.to_string())
}

/// Whether it has been ready once; a start takes as long as it takes, and isn't a hang.
pub fn startupz(site: &Site) -> HttpResponse {
    let started = site.has_started();
    let mut response = if started { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.content_type(JSON).body(json!({ "started": started }).to_string())
}

/// Whether the schedule is loaded and both the schedule and the store answer, and who is to blame if not.
pub fn readyz(site: &Site) -> HttpResponse {
    let verdict = site.farm.verdict();
    let word = |what: &str| {
        let culprit = verdict.culprits.iter().find(|culprit| culprit.what == what);
        culprit.map_or("ok", |culprit| culprit.why.as_str())
    };
    let is_ready = verdict.state != State::NotReady;
    let degraded = word("store") != "ok" && site.farm.settings.store_policy == StorePolicy::Degrade;
    let body = json!({
        "ready": is_ready,
        "state": verdict.state.name(),
        "degraded": degraded,
        "culprits": verdict.culprits.iter().map(culprit).collect::<Vec<_>>(),
        "loaded": site.farm.is_ready(),
        "schedule": word("schedule"),
        "store": word("store"),
        "schema": word(readiness::SCHEMA),
        "standing": site.farm.membership.standing().to_string(),
        "replica": site.farm.identity,
    });
    let mut response = if is_ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.content_type(JSON).body(body.to_string())
}

fn culprit(culprit: &Culprit) -> serde_json::Value {
    let lasted = culprit.lasted.map(|lasted| (lasted.as_secs_f64() * 1000.0).round() / 1000.0);
    json!({ "what": culprit.what, "why": culprit.why, "seconds": lasted })
}
