//! How to reach the server.

use std::fmt;
use std::time::Duration;

use mongodb::Client;
use mongodb::options::{Acknowledgment, ClientOptions, ReadConcern, WriteConcern};

use super::connect::ConnectError;

/// A connection string. It may hold a password, so it is printed without what could be one.
#[derive(Clone, PartialEq, Eq)]
pub struct MongoUrl(String);

impl MongoUrl {
    /// Takes a connection string that begins with `mongodb://`. The reason of a refusal doesn't repeat it.
    ///
    /// # Errors
    /// When it is of another scheme, or names no host.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.starts_with("mongodb+srv://") {
            return Err(
                "mongodb+srv:// is not supported: name the hosts, as in mongodb://a,b,c/?replicaSet=rs0"
                    .to_owned(),
            );
        }
        let Some(rest) = text.strip_prefix("mongodb://") else {
            return Err("expected none, or an address that begins with mongodb://".to_owned());
        };
        let hosts = rest.split(['/', '?']).next().unwrap_or_default();
        if hosts.rsplit('@').next().unwrap_or_default().is_empty() {
            return Err("the address names no host".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    /// The database that the address names, as in `mongodb://host/DATABASE?...`.
    pub fn database(&self) -> Option<&str> {
        let rest = self.0.strip_prefix("mongodb://")?;
        let (_, path) = rest.split('?').next()?.split_once('/')?;
        Some(path).filter(|path| !path.is_empty())
    }

    /// The hosts alone: what may be logged.
    pub fn hosts(&self) -> &str {
        let rest = self.0.strip_prefix("mongodb://").unwrap_or_default();
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        authority.rsplit('@').next().unwrap_or_default()
    }
}

impl fmt::Debug for MongoUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "mongodb://…{}…", self.hosts())
    }
}

/// Where the database is, and what a process may ask of it.
#[derive(Debug, Clone, PartialEq)]
pub struct MongoSettings {
    /// The server.
    pub url: MongoUrl,
    /// Name of the database.
    pub database: String,
    /// Connections of this process at most.
    pub pool: u32,
    /// How long a call may take.
    pub deadline: Duration,
}

impl MongoSettings {
    /// The driver's client, which connects when it is used first.
    ///
    /// # Errors
    /// When the settings can't be used, now or later.
    pub(super) async fn client(&self) -> Result<Client, ConnectError> {
        let options = self.client_options().await?;
        Client::with_options(options).map_err(|error| ConnectError::Never(format!("MongoDB: {}", error.kind)))
    }

    /// The driver's options. What durability hangs on is not left to the connection string.
    async fn client_options(&self) -> Result<ClientOptions, ConnectError> {
        let mut options = ClientOptions::parse(&self.url.0).await.map_err(|_| {
            // The driver's text may repeat a part of the address.
            ConnectError::Never("the connection string of MongoDB is not understood".to_owned())
        })?;
        options.app_name.get_or_insert_with(|| "shoal".to_owned());
        options.max_pool_size = Some(self.pool.max(1));
        options.connect_timeout = Some(self.deadline);
        options.server_selection_timeout = Some(self.deadline);
        options.read_concern = Some(ReadConcern::majority());
        options.selection_criteria = None;
        let mut concern = WriteConcern::default();
        concern.w = Some(Acknowledgment::Majority);
        concern.journal = Some(true);
        concern.w_timeout = Some(self.deadline);
        options.write_concern = Some(concern);
        super::watch::watch(&mut options);
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let url = MongoUrl::new("mongodb://alice:hunter2@a:1,b:2/admin?replicaSet=rs0").unwrap();
        assert_eq!(url.hosts(), "a:1,b:2");
        assert!(!format!("{url:?}").contains("hunter2"), "{url:?}");
        assert_eq!(MongoUrl::new("mongodb://localhost").unwrap().hosts(), "localhost");
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for wrong in ["", "redis://:hunter2@x", "mongodb+srv://u:hunter2@x", "mongodb://u:hunter2@/x"] {
            let reason = MongoUrl::new(wrong).unwrap_err();
            assert!(!reason.contains("hunter2"), "{reason}");
        }
    }
}
