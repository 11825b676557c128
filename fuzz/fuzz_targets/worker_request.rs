//! Any body: parsing and both schemas answer; what is accepted is consistent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal::domain::names::LegacyUsernames;
use shoal::domain::validate::Body;

fuzz_target!(|bytes: &[u8]| {
    let legacy = LegacyUsernames::default();
    let Ok(body) = Body::parse(bytes) else { return };
    let access = body.access(&legacy).map(|access| access.username.into_owned());
    if let Ok(request) = body.full(&legacy) {
        assert_eq!(access.as_deref(), Ok(request.worker_info.username.as_str()));
        assert!(request.stats.is_none_or(|stats| stats.is_consistent()));
        assert!(request.task_id.is_none() || request.run_id.is_some());
    }
});
