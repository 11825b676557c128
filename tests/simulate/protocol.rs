//! Each of the nine worker calls arrives as the wire wants it.

use std::sync::Arc;

use shoal::simulate::answer::Trouble;
use shoal::simulate::client::Client;
use shoal::simulate::machine::{Machine, MachineMix};
use shoal::simulate::options::SimulateOptions;
use shoal::simulate::protocol::{SpsaResult, WorkerRequest};
use shoal::simulate::tally::Tally;
use shoal::sys::random::seeded;

use super::server::{Fault, Kind, RUN, Server};

#[actix_web::test]
async fn all_nine_calls_are_understood() {
    let server = Server::start(Kind::Spsa, 1000, Fault::None);
    let options = SimulateOptions::new(&server.url(), 1, "fisher", "secret");
    let tally = Arc::new(Tally::default());
    let client = Client::new(&options, Arc::clone(&tally)).unwrap();
    let machine = Machine::draw(&MachineMix::uniform(4), "fisher", 0, &mut seeded(1)).unwrap();
    let body = WorkerRequest::new("secret", &machine.json);

    assert_eq!(client.request_version(&body, None).await.unwrap().version, 325);
    let given = client.request_task(&body, Some(&machine.address)).await.unwrap();
    let run = given.run.unwrap();
    assert_eq!((run.id.as_str(), given.task_id), (RUN, Some(0)));
    run.check().unwrap();

    let about = body.about(RUN, 0);
    assert!(client.beat(&about, None).await.unwrap().task_alive);
    let parameters = client.request_spsa(&about, None).await.unwrap();
    assert_eq!(parameters.sig, Some(7));
    let stats =
        shoal::domain::results::Stats { draws: 2, pentanomial: [0, 0, 1, 0, 0], ..Default::default() };
    let spsa = SpsaResult { wins: 0, losses: 0, draws: 2, num_games: 2, sig: 7 };
    let report = WorkerRequest { stats: Some(&stats), spsa: Some(&spsa), ..about };
    assert!(client.update_task(&report, None).await.unwrap().task_alive);
    let upload = WorkerRequest { pgn: Some("H4sI"), message: Some(""), ..about };
    client.upload_pgn(&upload, None).await.unwrap();
    client.worker_log(&WorkerRequest { message: Some("hello"), ..body }, None).await.unwrap();
    let refused = client.stop_run(&about, None).await.unwrap_err();
    assert!(matches!(refused, Trouble::Refused { status: 401, .. }), "{refused:?}");
    client.failed_task(&WorkerRequest { message: Some("why"), ..about }, None).await.unwrap();
    assert!(!client.beat(&about, None).await.unwrap().task_alive);

    assert_eq!(client.get_run(RUN).await.unwrap().results, stats);
    assert_eq!(client.get_task(RUN, 0).await.unwrap().unwrap().stats, Some(stats));
    assert_eq!(client.get_task(RUN, 1).await.unwrap(), None);
    assert!(!client.has_purged_tasks(RUN).await.unwrap());
    assert_eq!(client.active_runs().await.unwrap().len(), 1);
    assert_eq!(tally.latencies().len(), 12);
    let calls = &server.farm.lock().calls;
    assert_eq!(calls.len(), 9, "{calls:?}");
}
