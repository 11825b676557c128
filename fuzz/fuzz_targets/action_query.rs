//! Any body of a public query: read or refused, and evaluated.
#![no_main]

use bson::doc;
use libfuzzer_sys::fuzz_target;
use shoal::domain::action_query::ActionQuery;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(query) = ActionQuery::parse(bytes) {
        let _ = query.matches(&doc! { "run": "x", "time": 1.5, "task_id": 3 });
        assert_eq!(query.all.is_empty(), query.to_filter().is_empty());
    }
});
