//! Accounts and lifetime contributions (`spec/storage.md` sections 4 and 5).

use bson::{Bson, Document};

use super::Outcome;
use super::fields::{Check, Fault, count, flag, object_id, required_text, same_document, take_list, text};
use crate::domain::names::LegacyUsernames;
use crate::store::codec::{as_date, as_number};
use crate::store::{DEFAULT_MACHINE_LIMIT, Store, StoreError, StoreResult, User};

/// An account. Its plain password is replaced by a hash at its first use.
pub(super) async fn import_user(
    store: &dyn Store,
    document: Document,
    legacy: &LegacyUsernames,
) -> StoreResult<Outcome> {
    let mut user = match read_user(document) {
        Ok(user) => user,
        Err(fault) => return Ok(Outcome::Rejected(fault)),
    };
    if !legacy.allows(&user.username) {
        let reason = "the username is not two or more letters and digits, nor listed in `legacy_usernames`";
        return Ok(Outcome::Rejected(Fault::of("username", reason)));
    }
    if let Some(mut there) = store.user(&user.username).await? {
        if there.id != user.id {
            return Ok(Outcome::Rejected(Fault::of("username", "there is another account of that name")));
        }
        // The first login replaces the password.
        if there.plain_password.is_none() {
            user.plain_password = None;
        }
        let same = same_document(&there.extra, &user.extra);
        (there.extra, user.extra) = (Document::new(), Document::new());
        return Ok(if same && there == user { Outcome::AlreadyThere } else { Outcome::Differs });
    }
    match store.insert_user(&user).await {
        Ok(()) => {
            let no_password =
                user.plain_password.is_none().then(|| "has no password: nobody can log in".to_owned());
            Ok(Outcome::Taken(no_password.into_iter().collect()))
        }
        Err(StoreError::Duplicate(_)) => {
            Ok(Outcome::Rejected(Fault::of("_id", "there is an account with that `_id` and another name")))
        }
        Err(error) => Err(error),
    }
}

fn read_user(mut document: Document) -> Check<User> {
    let id = object_id(&document)?;
    let username = required_text(&document, "username")?.to_owned();
    let plain_password = text(&document, "password")?.map(str::to_owned);
    let registration_time = as_date(document.get("registration_time"));
    let pending = flag(&document, "pending")?.unwrap_or(false);
    let blocked = flag(&document, "blocked")?.unwrap_or(false);
    let email = text(&document, "email")?.unwrap_or_default().to_owned();
    let tests_repo = text(&document, "tests_repo")?.unwrap_or_default().to_owned();
    let machine_limit = match count(&document, "machine_limit")? {
        None => DEFAULT_MACHINE_LIMIT,
        Some(limit) => {
            let too_large = |_| Fault::of("machine_limit", "`machine_limit` is too large");
            u32::try_from(limit).map_err(too_large)?
        }
    };
    let mut groups = Vec::new();
    for group in take_list(&mut document, "groups")? {
        let Bson::String(group) = group else {
            return Err(Fault::of("groups", "`groups` holds something else than texts"));
        };
        groups.push(group);
    }
    for key in ["_id", "username", "password", "pending", "blocked", "email", "tests_repo", "machine_limit"] {
        document.remove(key);
    }
    // A word in place of the date stays among the unknown fields.
    if registration_time.is_some() {
        document.remove("registration_time");
    }
    Ok(User {
        id,
        username,
        plain_password,
        registration_time,
        pending,
        blocked,
        email,
        groups,
        tests_repo,
        machine_limit,
        extra: document,
    })
}

/// An entry of lifetime contributions; what has been counted on here since stays.
pub(super) async fn import_user_cache(store: &dyn Store, document: Document) -> StoreResult<Outcome> {
    let hours = match read_contribution(&document) {
        Ok(hours) => hours,
        Err(fault) => return Ok(Outcome::Rejected(fault)),
    };
    let username = document.get_str("username").unwrap_or_default();
    match store.cpu_hours(username).await? {
        Some(there) if there == hours => Ok(Outcome::AlreadyThere),
        Some(_) => Ok(Outcome::Differs),
        None => {
            store.put_user_cache(&document).await?;
            Ok(Outcome::Taken(Vec::new()))
        }
    }
}

fn read_contribution(document: &Document) -> Check<f64> {
    required_text(document, "username")?;
    match as_number(document.get("cpu_hours")) {
        Some(hours) if hours.is_finite() => Ok(hours),
        _ => Err(Fault::of("cpu_hours", "`cpu_hours` is not a number")),
    }
}
