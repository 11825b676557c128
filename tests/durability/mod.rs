//! What the store promises. The promises are written over `dyn Store`, and hold on every store.

/// Makes a test of each promise for each store.
macro_rules! on_every_store {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    let fixture = crate::durability::fixtures::SqliteFixture::new();
                    super::$name(fixture.store()).await;
                }
            )+
        }

        mod on_mongodb {
            $(
                #[tokio::test]
                async fn $name() {
                    let fixture = crate::durability::mongo_server::MongoFixture::new().await;
                    let Some(fixture) = fixture else { return };
                    super::$name(fixture.store()).await;
                    fixture.finish().await;
                }
            )+
        }
    };
}

mod commits;
pub mod fixtures;
mod kill;
mod listings;
mod migrations;
mod mongo_outcomes;
pub mod mongo_server;
mod nouns;
mod proxy;
mod round_trip;
mod sqlite_file;
mod writers;
