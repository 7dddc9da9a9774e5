//! Names and passwords in each request (RFC 7617), with hashes that take long to compare, and bounds to how often that is done.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::bounded::{Bounded, Digest};
use crate::credential::{one, scheme};
use crate::denial::{Denial, quoted};
use crate::identity::{Forward, ForwardConfig, Identity};
use crate::password::{Hash, HashError};
use crate::secret::Hidden;

/// Longest credentials, bytes, in their base64.
const MAX_CREDENTIALS_BYTES: usize = 2048;
/// Users of one step.
const MAX_USERS: usize = 100_000;
/// Good credentials that are kept.
const CACHED_GOOD: usize = 4096;
/// Bad credentials that are kept.
const CACHED_BAD: usize = 1024;
/// How long bad ones are, seconds: a client that tries the same again and again costs nothing.
const BAD_S: u64 = 10;
/// Requests that wait for their turn, for each that is compared.
const WAITING_EACH: usize = 16;

/// Takes requests with a name and a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BasicConfig {
    /// Shown by browsers when they ask.
    pub realm: String,
    /// Who may pass.
    pub users: Vec<UserConfig>,
    /// A file as htpasswd makes it: `name:hash` lines, with bcrypt (`htpasswd -B`) or Argon2id hashes.
    pub file: Option<PathBuf>,
    /// Header fields that tell of the user: `{ x-user = "subject" }`.
    pub forward: ForwardConfig,
    /// Takes name and password out of the request before it goes on.
    pub hide: bool,
    /// Requests without credentials go on, as nobody's; those with bad ones do not.
    pub optional: bool,
    /// How long good credentials are not compared again, seconds.
    pub cache_s: u64,
    /// Passwords that are compared at a time; some 30 ms of a core each. 0: half of the cores.
    pub concurrent: usize,
}

impl Default for BasicConfig {
    fn default() -> Self {
        Self {
            realm: "restricted".into(),
            users: Vec::new(),
            file: None,
            forward: ForwardConfig::default(),
            hide: false,
            optional: false,
            cache_s: 300,
            concurrent: 0,
        }
    }
}

/// One user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// The name, without a colon.
    pub name: String,
    /// Hash of the password, as `selvedge key hash-password` prints it.
    pub hash: Hidden,
    /// What they are.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// Settings that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum BasicConfigError {
    /// A hash.
    #[error("the hash of {0:?} cannot be used: {1}")]
    Hash(String, HashError),
    /// A name.
    #[error("the name {0:?} is empty, has a colon in it, or is there twice")]
    Name(String),
    /// A line.
    #[error("line {1} of {0} is not `name:hash`")]
    Line(PathBuf, usize),
    /// The file.
    #[error("cannot read the users in {0}: {1}")]
    File(PathBuf, std::io::Error),
    /// Nobody could pass.
    #[error("there are no users, or more than {MAX_USERS}")]
    Users,
    /// A name of a header field.
    #[error("forward: {0}")]
    Forward(String),
    /// No random bytes, or no hash to compare with.
    #[error("the system gives no random bytes")]
    Random,
}

/// Takes names and passwords.
pub struct Basic {
    users: HashMap<String, Arc<User>>,
    /// Compared with when there is no such user, so that time does not tell.
    nobody: Hash,
    forward: Forward,
    /// For digests of credentials; of this process and step only.
    key: hmac::Key,
    good: Bounded<Arc<User>>,
    bad: Bounded<()>,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
    hide: bool,
    optional: bool,
    cache_s: u64,
    challenge: String,
}

impl fmt::Debug for Basic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Basic").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

struct User {
    hash: Hash,
    identity: Arc<Identity>,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Basic {
    /// Checks the settings and reads the file, a relative one in `directory`. Takes some 30 ms.
    pub fn new(config: &BasicConfig, directory: &Path) -> Result<Self, BasicConfigError> {
        let forward = Forward::new(&config.forward).map_err(BasicConfigError::Forward)?;
        let mut all = config.users.clone();
        if let Some(file) = &config.file {
            all.extend(read_htpasswd(&directory.join(file))?);
        }
        if all.is_empty() || all.len() > MAX_USERS {
            return Err(BasicConfigError::Users);
        }
        let mut users = HashMap::new();
        for UserConfig { name, hash, roles } in all {
            let hash = Hash::parse(&hash.0).map_err(|error| BasicConfigError::Hash(name.clone(), error))?;
            let identity = Identity { subject: name.clone(), roles, ..Identity::default() };
            let fields = forward.fields(&identity);
            let user = Arc::new(User { hash, identity: Arc::new(identity), fields });
            if name.is_empty() || name.contains(':') || users.insert(name.clone(), user).is_some() {
                return Err(BasicConfigError::Name(name));
            }
        }
        // A hash of the users' own kind takes as long as theirs; nobody knows the password of this user.
        let any = users.values().next().map(|user| user.hash.clone());
        let nobody = any.ok_or(BasicConfigError::Users)?;
        let mut secret = [0; 32];
        rand::fill(&mut secret).map_err(|_| BasicConfigError::Random)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let concurrent = if config.concurrent == 0 { cores.div_ceil(2) } else { config.concurrent.min(256) };
        Ok(Self {
            users,
            nobody,
            forward,
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            good: Bounded::new(CACHED_GOOD),
            bad: Bounded::new(CACHED_BAD),
            turns: Arc::new(Semaphore::new(concurrent)),
            waiting: AtomicUsize::new(0),
            max_waiting: concurrent * WAITING_EACH,
            hide: config.hide,
            optional: config.optional,
            cache_s: config.cache_s,
            challenge: format!("Basic realm={}, charset=\"UTF-8\"", quoted(&config.realm)),
        })
    }

    /// Finds and judges the name and password of a request, removes what the client says of itself and says what is known
    /// instead. Passwords that were not seen lately are compared on the blocking pool.
    pub async fn check(&self, headers: &mut HeaderMap, now: u64) -> Result<Option<Arc<Identity>>, Denial> {
        self.forward.strip(headers);
        let field = one(headers, &header::AUTHORIZATION).map_err(|_| {
            Denial::new(
                StatusCode::BAD_REQUEST,
                "credentials_twice",
                "There is more than one Authorization field.",
            )
        })?;
        let Some(field) = field.and_then(|field| scheme(field, "basic")) else {
            if self.optional {
                return Ok(None);
            }
            return Err(self.refuse("credentials_required", "A name and a password are needed."));
        };
        let bad = || self.refuse("credentials_invalid", "The name or the password is wrong.");
        let (name, password) = decode(field).ok_or_else(bad)?;
        let user = self.verify(&name, password, now).await?.ok_or_else(bad)?;
        if self.hide {
            headers.remove(header::AUTHORIZATION);
        }
        for (name, value) in &user.fields {
            headers.insert(name, value.clone());
        }
        Ok(Some(Arc::clone(&user.identity)))
    }

    async fn verify(
        &self,
        name: &str,
        password: Zeroizing<Vec<u8>>,
        now: u64,
    ) -> Result<Option<Arc<User>>, Denial> {
        let digest = self.digest(name, &password);
        if let Some(user) = self.good.get(&digest, now) {
            return Ok(Some(user));
        }
        if self.bad.get(&digest, now).is_some() {
            return Ok(None);
        }
        let user = self.users.get(name).cloned();
        let hash = user.as_ref().map_or(&self.nobody, |user| &user.hash).clone();
        let turn = self.turn().await?;
        // The turn ends with the work, also when the client has left.
        let work = tokio::task::spawn_blocking(move || {
            let fits = hash.verify(&password);
            drop(turn);
            fits
        });
        let fits = work.await.unwrap_or(false);
        match user.filter(|_| fits) {
            Some(user) => {
                if self.cache_s > 0 {
                    self.good.put(digest, now.saturating_add(self.cache_s), Arc::clone(&user));
                }
                Ok(Some(user))
            }
            None => {
                self.bad.put(digest, now.saturating_add(BAD_S), ());
                Ok(None)
            }
        }
    }

    async fn turn(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Denial> {
        let busy =
            || Denial::unavailable("credentials_busy", "Too many passwords are being checked at the moment.");
        if let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() {
            return Ok(turn);
        }
        let waiting = Waiting::begin(&self.waiting);
        if waiting.before >= self.max_waiting {
            return Err(busy());
        }
        Arc::clone(&self.turns).acquire_owned().await.map_err(|_| busy())
    }

    fn digest(&self, name: &str, password: &[u8]) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        // Names have no colon.
        context.update(name.as_bytes());
        context.update(b":");
        context.update(password);
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    fn refuse(&self, code: &'static str, message: &'static str) -> Denial {
        Denial::unauthorized(code, message).challenge(&self.challenge)
    }
}

/// Counts one that waits while it does.
struct Waiting<'a> {
    count: &'a AtomicUsize,
    before: usize,
}

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        Self { count, before: count.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Name and password, which the first colon parts.
fn decode(text: &str) -> Option<(String, Zeroizing<Vec<u8>>)> {
    if text.len() > MAX_CREDENTIALS_BYTES {
        return None;
    }
    let bytes = Zeroizing::new(STANDARD.decode(text).ok()?);
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let name = std::str::from_utf8(&bytes[..colon]).ok()?.to_owned();
    Some((name, Zeroizing::new(bytes[colon + 1..].to_vec())))
}

fn read_htpasswd(path: &Path) -> Result<Vec<UserConfig>, BasicConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| BasicConfigError::File(path.into(), error))?;
    let mut users = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, hash) =
            line.split_once(':').ok_or_else(|| BasicConfigError::Line(path.into(), number + 1))?;
        // A comment may follow, after another colon.
        let hash = hash.split(':').next().unwrap_or(hash);
        users.push(UserConfig { name: name.into(), hash: Hidden(hash.into()), roles: Vec::new() });
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(password: &str) -> String {
        bcrypt::hash(password, 4).unwrap()
    }

    fn config(users: &[(&str, &str)]) -> BasicConfig {
        let user = |(name, password): &(&str, &str)| UserConfig {
            name: (*name).into(),
            hash: Hidden(hash(password)),
            roles: vec!["staff".into()],
        };
        BasicConfig { users: users.iter().map(user).collect(), ..BasicConfig::default() }
    }

    fn basic(config: &BasicConfig) -> Basic {
        Basic::new(config, Path::new("/")).unwrap()
    }

    async fn check(basic: &Basic, credentials: &str) -> Result<Option<String>, &'static str> {
        field(basic, &format!("Basic {}", STANDARD.encode(credentials))).await
    }

    async fn field(basic: &Basic, value: &str) -> Result<Option<String>, &'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        let found = basic.check(&mut headers, 1000).await;
        found.map(|found| found.map(|identity| identity.subject.clone())).map_err(|denial| denial.code)
    }

    #[tokio::test]
    async fn names_and_passwords_are_checked() {
        let basic = basic(&config(&[("ann", "a:b"), ("bøb", "")]));
        for _ in 0..2 {
            assert_eq!(check(&basic, "ann:a:b").await, Ok(Some("ann".into())));
            assert_eq!(check(&basic, "bøb:").await, Ok(Some("bøb".into())));
            for bad in ["ann:a", "ann:", "ann", ":", "eve:a:b", "ann:a:b\0", "ann\0:a:b"] {
                assert_eq!(check(&basic, bad).await, Err("credentials_invalid"), "{bad}");
            }
        }
        assert_eq!(field(&basic, "Basic !!!").await, Err("credentials_invalid"));
        assert_eq!(field(&basic, "Basic").await, Err("credentials_required"));
        assert_eq!(field(&basic, "Bearer x").await, Err("credentials_required"));
        assert_eq!(
            field(&basic, &format!("Basic {}", "A".repeat(100_000))).await,
            Err("credentials_invalid")
        );
        let denial = basic.check(&mut HeaderMap::new(), 0).await.unwrap_err();
        assert_eq!(denial.challenge.unwrap(), "Basic realm=\"restricted\", charset=\"UTF-8\"");
    }

    #[tokio::test]
    async fn good_ones_are_remembered_and_bad_ones_do_not_push_them_out() {
        let basic = basic(&config(&[("ann", "x")]));
        assert!(check(&basic, "ann:x").await.is_ok());
        for n in 0..200 {
            assert!(check(&basic, &format!("ann:{n}")).await.is_err());
        }
        assert_eq!(basic.good.len(), 1);
        assert!(basic.bad.len() <= CACHED_BAD);
    }

    #[tokio::test]
    async fn floods_are_turned_away_and_known_ones_pass() {
        let basic = basic(&BasicConfig { concurrent: 1, ..config(&[("ann", "x")]) });
        assert!(check(&basic, "ann:x").await.is_ok());
        let turn = Arc::clone(&basic.turns).acquire_owned().await.unwrap();
        let mut flood = Vec::new();
        for n in 0..WAITING_EACH + 1 {
            let mut one = Box::pin(check_owned(&basic, format!("ann:{n}")));
            let first = std::future::poll_fn(|cx| std::task::Poll::Ready(one.as_mut().poll(cx))).await;
            match first {
                std::task::Poll::Pending => flood.push(one),
                std::task::Poll::Ready(refused) => {
                    assert_eq!((n, refused), (WAITING_EACH, Err("credentials_busy")));
                }
            }
        }
        assert_eq!(flood.len(), WAITING_EACH);
        assert_eq!(check(&basic, "ann:x").await, Ok(Some("ann".into())), "remembered");
        drop(flood);
        drop(turn);
        assert_eq!(check(&basic, "ann:y").await, Err("credentials_invalid"), "those who left make room");
    }

    async fn check_owned(basic: &Basic, credentials: String) -> Result<Option<String>, &'static str> {
        check(basic, &credentials).await
    }

    #[tokio::test]
    async fn htpasswd_files_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let write = |text: &str| std::fs::write(directory.path().join("u"), text).unwrap();
        let config = BasicConfig { file: Some("u".into()), ..BasicConfig::default() };
        write(&format!("# staff\n\nann:{}\nbob:{}:Bob\n", hash("x"), hash("y")));
        let basic = Basic::new(&config, directory.path()).unwrap();
        assert_eq!(check(&basic, "bob:y").await, Ok(Some("bob".into())));
        for bad in ["", "ann", "ann:secret", "ann:$apr1$a$b", &format!("ann:{0}\nann:{0}", hash("x"))] {
            write(bad);
            assert!(Basic::new(&config, directory.path()).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn workers_are_told_the_user_and_not_the_password() {
        let mut config = BasicConfig { hide: true, ..config(&[("ann", "x")]) };
        config.forward.0.insert("x-user".into(), "subject".into());
        let mut headers = HeaderMap::new();
        headers.insert("x-user", HeaderValue::from_static("root"));
        headers.insert(header::AUTHORIZATION, format!("Basic {}", STANDARD.encode("ann:x")).parse().unwrap());
        let identity = basic(&config).check(&mut headers, 0).await.unwrap().unwrap();
        assert_eq!(identity.roles, ["staff"]);
        assert_eq!((headers.len(), &headers["x-user"]), (1, &HeaderValue::from_static("ann")));
        assert!(!format!("{config:?}").contains("$2"));
    }
}
