//! Who asks: accounts, their passwords, and two caches that keep heartbeats cheap (architecture, section 8).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier};
use hmac::{Hmac, Mac};
use parking_lot::Mutex;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::error::{ServiceError, ServiceResult};
use crate::store::{SharedStore, StoreError, StoreResult, User};
use crate::sys::clock::{Clock, stopwatch};
use crate::sys::{random, spawn};
use crate::telemetry::catalogue;

/// How long an account, or a verified password, is believed without asking again.
const TRUST: Duration = Duration::from_secs(120);

/// How long a wrong password is remembered, so that repeating it costs no hashing.
const DISTRUST: Duration = Duration::from_secs(5);

/// Verifications at once; each takes some tens of milliseconds of a core and 19 MiB.
const VERIFICATIONS: usize = 2;

/// How long a request waits for its verification.
const PATIENCE: Duration = Duration::from_secs(10);

/// Entries of a cache beyond which it is emptied: far more than there are accounts, so that an attack with random
/// names can't grow it.
const CACHE_LIMIT: usize = 100_000;

type PasswordDigest = [u8; 32];

/// While the store is away, an account that was read not longer ago than this stands, and the store is asked again
/// after a pause: a farm whose store is away still hears its workers.
const STALE: Duration = Duration::from_secs(1800);
const STALE_PAUSE: Duration = Duration::from_secs(5);

struct CachedUser {
    user: Arc<User>,
    secret: Option<Arc<str>>,
    /// When it was read.
    read: Duration,
    /// Until when it is believed without asking.
    trusted_until: Duration,
}

#[derive(Default)]
struct Caches {
    /// Raised by every invalidation, so that what was read before one isn't cached after it.
    epoch: u64,
    users: HashMap<String, CachedUser>,
    verified: HashMap<String, (PasswordDigest, Duration)>,
    failed: HashMap<PasswordDigest, Duration>,
}

impl Caches {
    /// Whether this password was found right a short while ago.
    fn was_right(&self, username: &str, digest: &PasswordDigest, now: Duration) -> bool {
        self.verified
            .get(username)
            .is_some_and(|(right, at)| bool::from(right.ct_eq(digest)) && now.saturating_sub(*at) < TRUST)
    }

    /// The account, if it and its password are both known still: what nearly every request finds.
    fn known(&self, username: &str, digest: &PasswordDigest, now: Duration) -> Option<Arc<User>> {
        let cached = self.users.get(username).filter(|cached| now < cached.trusted_until)?;
        self.was_right(username, digest, now).then(|| cached.user.clone())
    }
}

/// Accounts as authentication needs them.
pub struct Accounts {
    store: SharedStore,
    clock: Arc<dyn Clock>,
    key: [u8; 32],
    caches: Mutex<Caches>,
    turns: Semaphore,
}

fn wrong() -> ServiceError {
    ServiceError::Refused("Invalid username or password.".to_owned())
}

impl Accounts {
    /// Empty caches, with a key of this process's own for the digests in them.
    pub fn new(store: SharedStore, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            key: random::key(),
            caches: Mutex::new(Caches::default()),
            turns: Semaphore::new(VERIFICATIONS),
        }
    }

    /// The account, if the password is right and it is neither blocked nor pending.
    ///
    /// # Errors
    /// [`ServiceError::Refused`] with the protocol's text; the state of an account shows only with the right password.
    pub async fn authenticate(&self, username: &str, password: &str) -> ServiceResult<Arc<User>> {
        let digest = self.digest(username, password)?;
        // What is read from here on is cached only if nothing was invalidated meanwhile.
        let (known, epoch) = {
            let caches = self.caches.lock();
            (caches.known(username, &digest, self.clock.monotonic()), caches.epoch)
        };
        let user = match known {
            Some(user) => {
                catalogue::USER_CACHE_LOOKUPS.increment(["hit"]);
                user
            }
            None => {
                let (user, secret) = self.load(username, epoch).await?.ok_or_else(wrong)?;
                self.verify(&user, secret, password, digest, epoch).await?;
                user
            }
        };
        if user.blocked {
            return Err(ServiceError::Refused("Your account is blocked.".to_owned()));
        }
        if user.pending {
            return Err(ServiceError::Refused("Your account is pending approval.".to_owned()));
        }
        Ok(user)
    }

    /// Forgets everything: an account changed.
    pub fn invalidate(&self) {
        let mut caches = self.caches.lock();
        *caches = Caches { epoch: caches.epoch + 1, ..Caches::default() };
    }

    /// Forgets one account: it changed. A password that was wrong may be right now.
    pub fn forget(&self, username: &str) {
        let mut caches = self.caches.lock();
        caches.epoch += 1;
        caches.users.remove(username);
        caches.verified.remove(username);
        caches.failed.clear();
    }

    async fn load(&self, username: &str, epoch: u64) -> ServiceResult<Option<(Arc<User>, Option<Arc<str>>)>> {
        let now = self.clock.monotonic();
        if let Some(cached) = self.caches.lock().users.get(username)
            && now < cached.trusted_until
        {
            catalogue::USER_CACHE_LOOKUPS.increment(["hit"]);
            return Ok(Some((cached.user.clone(), cached.secret.clone())));
        }
        catalogue::USER_CACHE_LOOKUPS.increment(["miss"]);
        let (user, secret) = match self.read(username).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(error @ (StoreError::Unavailable(_) | StoreError::Timeout)) => {
                return self.stale(username, now).map(Some).ok_or(error.into());
            }
            Err(error) => return Err(error.into()),
        };
        let mut caches = self.caches.lock();
        if caches.epoch == epoch {
            if caches.users.len() >= CACHE_LIMIT {
                caches.users.clear();
            }
            let cached = CachedUser {
                user: user.clone(),
                secret: secret.clone(),
                read: now,
                trusted_until: now + TRUST,
            };
            caches.users.insert(username.to_owned(), cached);
        }
        Ok(Some((user, secret)))
    }

    async fn read(&self, username: &str) -> StoreResult<Option<(Arc<User>, Option<Arc<str>>)>> {
        let Some(user) = self.store.user(username).await? else { return Ok(None) };
        let secret = self.store.secret(username).await?;
        Ok(Some((Arc::new(user), secret.map(Arc::from))))
    }

    /// What was known of an account before the store went away.
    fn stale(&self, username: &str, now: Duration) -> Option<(Arc<User>, Option<Arc<str>>)> {
        let mut caches = self.caches.lock();
        let cached = caches.users.get_mut(username)?;
        if now.saturating_sub(cached.read) > STALE {
            return None;
        }
        cached.trusted_until = cached.trusted_until.max(now + STALE_PAUSE);
        catalogue::USER_CACHE_LOOKUPS.increment(["stale"]);
        Some((cached.user.clone(), cached.secret.clone()))
    }

    async fn verify(
        &self,
        user: &Arc<User>,
        secret: Option<Arc<str>>,
        password: &str,
        digest: PasswordDigest,
        epoch: u64,
    ) -> ServiceResult<()> {
        if let Some(known) = self.remembered(&user.username, &digest) {
            return if known { Ok(()) } else { Err(wrong()) };
        }
        // A few at a time, off the event loop. Whoever waited may find the answer there.
        let turn = tokio::time::timeout(PATIENCE, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(ServiceError::Unavailable("too many passwords to verify".to_owned()));
        };
        if let Some(known) = self.remembered(&user.username, &digest) {
            return if known { Ok(()) } else { Err(wrong()) };
        }
        let right = match (&secret, &user.plain_password) {
            (Some(phc), _) => {
                let began = stopwatch();
                let right = verify_hash(phc.clone(), password.to_owned()).await?;
                catalogue::PASSWORD_SECONDS.record([], began.elapsed().as_secs_f64());
                right
            }
            (None, Some(plain)) => {
                let right = bool::from(plain.as_bytes().ct_eq(password.as_bytes()));
                if right {
                    // An imported password is used once in the clear and then replaced.
                    let phc = hash_password(password.to_owned()).await?;
                    self.store.set_secret(&user.username, &phc).await?;
                    self.caches.lock().users.remove(&user.username);
                }
                right
            }
            (None, None) => false,
        };
        self.remember(&user.username, digest, right, epoch);
        if right { Ok(()) } else { Err(wrong()) }
    }

    fn digest(&self, username: &str, password: &str) -> ServiceResult<PasswordDigest> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key)
            .map_err(|error| ServiceError::Bug(format!("digest key: {error}")))?;
        mac.update(&(username.len() as u64).to_le_bytes());
        mac.update(username.as_bytes());
        mac.update(password.as_bytes());
        Ok(mac.finalize().into_bytes().into())
    }

    /// Whether this password was right, or wrong, a short while ago.
    fn remembered(&self, username: &str, digest: &PasswordDigest) -> Option<bool> {
        let now = self.clock.monotonic();
        let caches = self.caches.lock();
        if caches.was_right(username, digest, now) {
            return Some(true);
        }
        let failed = caches.failed.get(digest)?;
        (now.saturating_sub(*failed) < DISTRUST).then_some(false)
    }

    fn remember(&self, username: &str, digest: PasswordDigest, right: bool, epoch: u64) {
        let now = self.clock.monotonic();
        let mut caches = self.caches.lock();
        if caches.epoch != epoch {
            return;
        }
        if right {
            caches.verified.insert(username.to_owned(), (digest, now));
            return;
        }
        caches.failed.retain(|_, at| now.saturating_sub(*at) < DISTRUST);
        if caches.failed.len() < CACHE_LIMIT {
            caches.failed.insert(digest, now);
        }
    }
}

/// The argon2id hash of a password, in PHC form; off the event loop.
pub async fn hash_password(password: String) -> ServiceResult<String> {
    let work = spawn::blocking(move || {
        use argon2::password_hash::SaltString;
        let salt = SaltString::encode_b64(&random::key()[..16])?;
        Argon2::default().hash_password(password.as_bytes(), &salt).map(|hash| hash.to_string())
    });
    work.await
        .map_err(|error| ServiceError::Bug(format!("hashing a password: {error}")))?
        .map_err(|error| ServiceError::Bug(format!("hashing a password: {error}")))
}

async fn verify_hash(phc: Arc<str>, password: String) -> ServiceResult<bool> {
    let work = spawn::blocking(move || {
        PasswordHash::new(&phc)
            .map(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
            .map_err(|error| error.to_string())
    });
    work.await
        .map_err(|error| ServiceError::Bug(format!("verifying a password: {error}")))?
        .map_err(|error| ServiceError::Bug(format!("a stored password hash: {error}")))
}
