//! Accounts: making them, letting them in, locking them out.

use super::Farm;
use super::auth::hash_password;
use super::documents::log_entry;
use super::error::{ServiceError, ServiceResult};
use crate::domain::action::{Action, Event};
use crate::domain::names::{SYSTEM_USER, is_username};
use crate::state::Invalidation;
use crate::store::{APPROVERS, DEFAULT_MACHINE_LIMIT, User};
use crate::sys::random;

/// Longest password, in characters.
const MAX_PASSWORD_CHARS: usize = 72;

/// A new account.
#[derive(Debug, Clone, Default)]
pub struct NewUser {
    /// Name.
    pub username: String,
    /// Password, in the clear.
    pub password: String,
    /// Address; may be empty.
    pub email: String,
    /// Whether it may approve runs.
    pub approver: bool,
    /// Whether somebody must accept it first.
    pub pending: bool,
    /// Active tasks allowed per address; None for the usual number.
    pub machine_limit: Option<u32>,
}

fn no_such_user(username: &str) -> ServiceError {
    ServiceError::NotFound(format!("There is no user {username}"))
}

fn check_password(password: &str) -> ServiceResult<()> {
    if password.is_empty() {
        return Err(ServiceError::Invalid("password: must not be empty".to_owned()));
    }
    if password.chars().count() > MAX_PASSWORD_CHARS {
        return Err(ServiceError::Invalid(format!("password: at most {MAX_PASSWORD_CHARS} characters")));
    }
    Ok(())
}

impl Farm {
    /// Refuses what is done in the name of an account that there isn't.
    pub(super) async fn require_user(&self, name: &str) -> ServiceResult<()> {
        match self.store.user(name).await? {
            Some(_) => Ok(()),
            None => Err(ServiceError::Invalid(format!("username: there is no user {name}"))),
        }
    }

    /// Makes an account.
    pub async fn add_user(&self, new: NewUser) -> ServiceResult<User> {
        if !is_username(&new.username) {
            return Err(ServiceError::Invalid(format!(
                "username: {:?} must be at least two letters or digits",
                new.username
            )));
        }
        check_password(&new.password)?;
        if self.store.user(&new.username).await?.is_some() {
            return Err(ServiceError::Invalid(format!("username: there is already a user {}", new.username)));
        }
        let phc = hash_password(new.password).await?;
        let user = User {
            id: random::object_id(),
            username: new.username,
            plain_password: None,
            registration_time: Some(self.now()),
            pending: new.pending,
            blocked: false,
            email: new.email,
            groups: if new.approver { vec![APPROVERS.to_owned()] } else { Vec::new() },
            tests_repo: String::new(),
            machine_limit: new.machine_limit.unwrap_or(DEFAULT_MACHINE_LIMIT),
            extra: bson::Document::new(),
        };
        // The account first: a hash without an account is harmless, an account without a hash can't log in.
        self.store.insert_user(&user).await?;
        self.store.set_secret(&user.username, &phc).await?;
        self.tell(Invalidation::User(user.username.clone())).await;
        Ok(user)
    }

    /// Changes an account; `change` returns the log entry, if the change is one that is logged.
    async fn change_user(
        &self,
        username: &str,
        change: impl FnOnce(&mut User) -> Option<Event>,
    ) -> ServiceResult<User> {
        let mut user = self.store.user(username).await?.ok_or_else(|| no_such_user(username))?;
        let event = change(&mut user);
        if !self.store.update_user(&user).await? {
            return Err(no_such_user(username));
        }
        self.tell(Invalidation::User(username.to_owned())).await;
        if let Some(event) = event {
            let entry = log_entry(&Action::by(SYSTEM_USER, event), self.now());
            self.store.insert_actions(&[entry]).await?;
        }
        Ok(user)
    }

    /// Accepts a pending account.
    pub async fn approve_user(&self, username: &str) -> ServiceResult<User> {
        self.change_user(username, |user| {
            let was_pending = std::mem::replace(&mut user.pending, false);
            was_pending.then(|| Event::AcceptUser { user: user.username.clone() })
        })
        .await
    }

    /// Blocks or unblocks an account.
    pub async fn block_user(&self, username: &str, blocked: bool) -> ServiceResult<User> {
        self.change_user(username, |user| {
            let before = std::mem::replace(&mut user.blocked, blocked);
            (before != blocked).then(|| Event::BlockUser { user: user.username.clone(), blocked })
        })
        .await
    }

    /// Sets the number of active tasks that the account's workers may have per address.
    pub async fn set_machine_limit(&self, username: &str, limit: u32) -> ServiceResult<User> {
        self.change_user(username, |user| {
            user.machine_limit = limit;
            None
        })
        .await
    }

    /// Makes an account an approver, or takes that away.
    pub async fn set_approver(&self, username: &str, approver: bool) -> ServiceResult<User> {
        self.change_user(username, |user| {
            user.groups.retain(|group| group != APPROVERS);
            if approver {
                user.groups.push(APPROVERS.to_owned());
            }
            None
        })
        .await
    }

    /// Sets a new password.
    pub async fn set_password(&self, username: &str, password: String) -> ServiceResult<()> {
        check_password(&password)?;
        if self.store.user(username).await?.is_none() {
            return Err(no_such_user(username));
        }
        let phc = hash_password(password).await?;
        self.store.set_secret(username, &phc).await?;
        self.tell(Invalidation::User(username.to_owned())).await;
        Ok(())
    }
}
