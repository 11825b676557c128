//! A farm works over every kind of Redis that an address can name, and what it has to show there isn't told to anybody.

use super::drill::turn;
use super::farm::Farm;
use super::prober::Prober;
use super::redis::{PASSWORD, RedisServer, Variant};
use crate::drills::{accounts, approved_run};

async fn works_over(variant: Variant) {
    let _turn = turn().await;
    let Some(redis) = RedisServer::start(variant) else { return };
    let url = match variant {
        Variant::Cluster => redis.url().replace("redis://", "redis+cluster://"),
        _ => redis.url(),
    };
    let authority = [("SSL_CERT_FILE", redis.authority())];
    let trusted = if variant == Variant::Tls { &authority[..] } else { &[] };
    let Some(mut farm) = Farm::start_with(2, &url, trusted).await else { return };
    let desk = farm.desk();
    accounts(&desk);
    approved_run(&desk, "kinds");
    let prober = Prober::start(&farm.url(), "volunteer", "secret");
    prober.served_at_all().await;
    assert!(prober.finish() > 0);
    // It has something to say against this database, but not against this Redis.
    let doctor = farm.command(0, &["doctor"]).output().unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout);
    let of_redis = said.lines().filter(|line| line.contains("Redis") || line.contains("schedule:"));
    let of_redis: Vec<&str> = of_redis.collect();
    assert!(of_redis.len() > 1 && of_redis.iter().all(|line| line.starts_with("good")), "{said}");
    assert!(!said.contains(PASSWORD), "{said}");
    farm.assert_unbroken().await;
    for number in 0..2 {
        assert!(!farm.log(number).contains(PASSWORD), "the password is in the log");
        assert!(farm.terminate(number).await, "SIGTERM ends in exit code 0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_will_do() {
    works_over(Variant::Cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_will_do() {
    works_over(Variant::Password).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_an_operators_rights_will_do() {
    works_over(Variant::Account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_will_do() {
    works_over(Variant::Tls).await;
}
