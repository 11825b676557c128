//! Networks: which names are known. Their files lie elsewhere (`nn_url`).

use bson::doc;

use super::Farm;
use super::documents::log_entry;
use super::error::{ServiceError, ServiceResult};
use crate::domain::action::{Action, Event};
use crate::domain::names::is_net_name;
use crate::sys::random;

impl Farm {
    /// Makes a network known, so that runs may name it. Returns whether it was unknown.
    pub async fn add_net(&self, name: &str, user: &str) -> ServiceResult<bool> {
        if !is_net_name(name) {
            return Err(ServiceError::Invalid(format!("net: {name:?} is not nn-<12 hex digits>.nnue")));
        }
        self.require_user(user).await?;
        if self.store.net(name).await?.is_some() {
            return Ok(false);
        }
        let net = doc! { "_id": random::object_id(), "name": name, "user": user, "downloads": 0 };
        self.store.put_net(&net).await?;
        let action = Action::by(user.to_owned(), Event::UploadNn { nn: name.to_owned() });
        self.store.insert_actions(&[log_entry(&action, self.now())]).await?;
        Ok(true)
    }

    /// Refuses a run whose networks are not all known: workers would look for them in vain
    /// (`spec/run-management.md` section 4.2).
    pub(super) async fn require_nets<'a>(&self, names: impl Iterator<Item = &'a str>) -> ServiceResult<()> {
        let mut missing: Vec<&str> = Vec::new();
        for name in names {
            if !missing.contains(&name) && self.store.net(name).await?.is_none() {
                missing.push(name);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(ServiceError::Invalid(format!(
            "Missing net(s): {}. Put the files where nn_url says, and make the names known by `shoal net add`",
            missing.join(", ")
        )))
    }
}
