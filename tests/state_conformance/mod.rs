//! What every scheduling state promises, transition by transition, and a model-based property test. The promises are
//! written over `dyn SchedulingState`, so that each implementation is held to the same ones.

/// Makes a test of each promise for each state.
macro_rules! on_every_state {
    ($($name:ident),+ $(,)?) => {
        mod on_memory {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(crate::state_conformance::fixture::Fixture::memory().await).await;
                }
            )+
        }
        mod on_redis {
            $(
                #[tokio::test]
                async fn $name() {
                    if let Some(twin) = crate::state_conformance::fixture::Fixture::twin().await {
                        super::$name(twin).await;
                    }
                }
            )+
        }
        mod on_redis_cluster {
            $(
                #[tokio::test]
                async fn $name() {
                    if let Some(cluster) = crate::state_conformance::fixture::Fixture::cluster().await {
                        super::$name(cluster).await;
                    }
                }
            )+
        }
        pub mod on_faults {
            /// All of them, each in a schedule of its own.
            pub async fn each(faults: &crate::state_conformance::faults::Faults) {
                $( super::$name(faults.fixture().await).await; )+
            }
        }
    };
}

mod calls;
mod claims;
mod faults;
pub mod fixture;
mod full;
mod guards;
mod heartbeats;
mod leases;
mod model;
mod phases;
mod picture;
mod random_histories;
mod reports;
mod server;
mod trial;
mod twin;
mod way;
