//! What the driver tells of its connections and commands, for metrics.

use mongodb::event::EventHandler;
use mongodb::event::cmap::CmapEvent;
use mongodb::event::command::CommandEvent;
use mongodb::options::ClientOptions;

use crate::telemetry::{catalogue, labels};

/// Has the driver tell.
pub(super) fn watch(options: &mut ClientOptions) {
    options.cmap_event_handler = Some(EventHandler::callback(connection));
    options.command_event_handler = Some(EventHandler::callback(command));
}

fn connection(event: CmapEvent) {
    match event {
        CmapEvent::ConnectionCreated(_) => catalogue::MONGODB_POOL.change([], 1.0),
        CmapEvent::ConnectionClosed(_) => catalogue::MONGODB_POOL.change([], -1.0),
        CmapEvent::ConnectionCheckedOut(_) => catalogue::MONGODB_POOL_USED.change([], 1.0),
        CmapEvent::ConnectionCheckedIn(_) => catalogue::MONGODB_POOL_USED.change([], -1.0),
        CmapEvent::ConnectionCheckoutFailed(_) => catalogue::MONGODB_POOL_FAILURES.increment([]),
        _ => {}
    }
}

fn command(event: CommandEvent) {
    let name = |name: &str| labels::one_of(labels::MONGODB_COMMAND.values, name);
    match event {
        CommandEvent::Succeeded(event) => catalogue::MONGODB_COMMAND_SECONDS
            .record([name(&event.command_name)], event.duration.as_secs_f64()),
        CommandEvent::Failed(event) => catalogue::MONGODB_FAILURES.increment([name(&event.command_name)]),
        _ => {}
    }
}
