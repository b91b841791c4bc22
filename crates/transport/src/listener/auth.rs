//! Who may publish: password files, and the check of a client's user name and password.
//!
//! The file has Mosquitto's format: a user a line, as `name:$7$iterations$salt$hash`, with the hash
//! made by PBKDF2 with HMAC-SHA512.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::settings::BadSetting;
use pbkdf2::pbkdf2_hmac;
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::acl::AclFile;
use super::codec::Connect;
use super::reason::ConnectRefusal;

const VARIABLE: &str = "MQTT_USERS";
/// The iterations of new hashes, as OWASP recommends for PBKDF2 with HMAC-SHA512 (Password Storage Cheat
/// Sheet).
const ITERATIONS: u32 = 210_000;
/// Length of new salts. Mosquitto reads no other.
const SALT: usize = 12;
const HASH: usize = 64;
/// The limit for hashes in a file: each login costs as many.
const MAX_ITERATIONS: u32 = 10_000_000;
/// Passwords that are checked at the same time: clients that send many wrong ones must not use up all
/// processors.
const CONCURRENT_CHECKS: usize = 2;

/// Why [`hash_password`] makes no line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// A name that a password file can't hold.
    #[error(
        "a user name is 1 to 1024 bytes without ':' and control characters, and doesn't begin with '#' or a space"
    )]
    Name,
    /// A password that is empty, or longer than MQTT allows.
    #[error("a password is 1 to 65535 bytes")]
    Password,
    /// The system has returned no random numbers.
    #[error("no random numbers for the salt: {0}")]
    Random(getrandom::Error),
}

/// Makes a line for a password file, with a new salt. Mosquitto reads it, too.
pub fn hash_password(user: &str, password: &str) -> Result<String, PasswordError> {
    if !is_valid_name(user) {
        return Err(PasswordError::Name);
    }
    if password.is_empty() || password.len() > usize::from(u16::MAX) {
        return Err(PasswordError::Password);
    }
    line(user, password, ITERATIONS).map_err(PasswordError::Random)
}

fn line(user: &str, password: &str, iterations: u32) -> Result<String, getrandom::Error> {
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt)?;
    let hash = derive(password.as_bytes(), &salt, iterations);
    let (salt, hash) = (STANDARD.encode(salt), STANDARD.encode(hash));
    Ok(format!("{user}:$7${iterations}${salt}${hash}"))
}

/// Who may publish.
#[derive(Debug, Clone)]
pub(crate) struct AccessPolicy {
    /// `None`: the listener checks no passwords.
    pub(crate) users: Option<Arc<UserFile>>,
    /// Clients without a user name are accepted although there are users.
    pub(crate) anonymous: bool,
    /// `None`: whoever may publish may publish everything.
    pub(crate) acl: Option<Arc<AclFile>>,
}

/// A password file, and its users as last read.
#[derive(Debug)]
pub(crate) struct UserFile {
    path: PathBuf,
    users: RwLock<Arc<Users>>,
}

impl UserFile {
    pub(crate) fn open(path: &Path) -> Result<Self, BadSetting> {
        Ok(Self {
            path: path.to_owned(),
            users: RwLock::new(Arc::new(Users::read(path)?)),
        })
    }

    /// Reads the file again. After an error, the users are as before. Returns their number.
    pub(crate) fn reload(&self) -> Result<usize, BadSetting> {
        let users = Arc::new(Users::read(&self.path)?);
        let count = users.hashes.len();
        *self.users.write().unwrap_or_else(PoisonError::into_inner) = users;
        Ok(count)
    }

    fn users(&self) -> Arc<Users> {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        users.clone()
    }
}

/// Checks the user names and passwords of clients.
#[derive(Debug)]
pub(crate) struct Authenticator {
    policy: AccessPolicy,
    checks: Arc<Semaphore>,
}

impl Authenticator {
    pub(crate) fn new(policy: AccessPolicy) -> Self {
        Self {
            policy,
            checks: Arc::new(Semaphore::new(CONCURRENT_CHECKS)),
        }
    }

    /// The rules about topics.
    pub(crate) fn acl(&self) -> Option<Arc<AclFile>> {
        self.policy.acl.clone()
    }

    /// The user name of a client if it was checked. Fails if this client may not publish.
    pub(crate) async fn authenticate(
        &self,
        connect: &Connect,
    ) -> Result<Option<String>, ConnectRefusal> {
        let Some(file) = &self.policy.users else {
            return Ok(None);
        };
        let Some(user) = connect.user.clone() else {
            return if self.policy.anonymous {
                Ok(None)
            } else {
                Err(ConnectRefusal::NotAuthorized)
            };
        };
        let (users, password) = (file.users(), connect.password.clone().unwrap_or_default());
        if users.was_accepted(&user, &password) {
            return Ok(Some(user));
        }
        let permit = self.checks.clone().acquire_owned().await;
        let checked = tokio::task::spawn_blocking(move || {
            // Held until the check ends, also if the client is gone by then.
            let _permit = permit;
            users.accept(&user, &password).then_some(user)
        });
        match checked.await {
            Ok(Some(user)) => Ok(Some(user)),
            Ok(None) => Err(ConnectRefusal::Login),
            // The runtime is shutting down.
            Err(_) => Err(ConnectRefusal::Busy),
        }
    }
}

/// The users of a password file.
pub(crate) struct Users {
    hashes: HashMap<String, PasswordHash>,
    /// The highest number of iterations of any user; every check takes as long as that one's.
    iterations: u32,
    /// Digests of accepted passwords by user, so that a client that connects again needs no slow check.
    accepted: Mutex<HashMap<String, [u8; HASH]>>,
    /// The digests' key, which is kept in memory only.
    key: [u8; HASH],
}

struct PasswordHash {
    iterations: u32,
    salt: Vec<u8>,
    hash: [u8; HASH],
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users")
            .field("count", &self.hashes.len())
            .finish_non_exhaustive()
    }
}

impl Users {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self, BadSetting> {
        let given = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &given),
            Err(error) => {
                let accepted = format!("the path of a readable text file ({error})");
                Err(BadSetting::new(VARIABLE, &given, &accepted))
            }
        }
    }

    /// Parses the content of the file that errors call `name`.
    pub(super) fn parse(text: &str, name: &str) -> Result<Self, BadSetting> {
        let mut all = Self {
            hashes: HashMap::new(),
            iterations: 1,
            accepted: Mutex::default(),
            key: [0; HASH],
        };
        getrandom::fill(&mut all.key).map_err(|error| {
            BadSetting::new(
                VARIABLE,
                name,
                &format!("random numbers of the system ({error})"),
            )
        })?;
        for (place, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = |what: &str| {
                // Not the line itself: it may hold a password.
                let given = format!("{name}, line {}", place + 1);
                let accepted = format!(
                    "NAME:$7$ITERATIONS$SALT$HASH, as `mosquitto_passwd {name} NAME` writes it; \
                     the line has {what}"
                );
                BadSetting::new(VARIABLE, &given, &accepted)
            };
            let (user, secret) = line.split_once(':').ok_or_else(|| bad("no ':'"))?;
            if !is_valid_name(user) {
                return Err(bad("an invalid name"));
            }
            let secret = PasswordHash::parse(secret).map_err(bad)?;
            all.iterations = all.iterations.max(secret.iterations);
            if all.hashes.insert(user.to_owned(), secret).is_some() {
                return Err(bad("a name for the second time"));
            }
        }
        Ok(all)
    }

    /// Whether it is this user's password. It takes the same time for unknown users and wrong passwords.
    pub(crate) fn accept(&self, user: &str, password: &[u8]) -> bool {
        let unknown_user = PasswordHash {
            iterations: self.iterations,
            salt: vec![0; SALT],
            hash: [0; HASH],
        };
        let known = self.hashes.get(user);
        let secret = known.unwrap_or(&unknown_user);
        let hash = derive(password, &secret.salt, secret.iterations);
        let missing = self.iterations - secret.iterations;
        if missing > 0 {
            std::hint::black_box(derive(password, &secret.salt, missing));
        }
        let is_accepted = bool::from(hash.ct_eq(&secret.hash)) && known.is_some();
        if is_accepted {
            let digest = self.digest(user, password);
            let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
            accepted.insert(user.to_owned(), digest);
        }
        is_accepted
    }

    /// Whether this password of this user was accepted before. It takes microseconds.
    pub(crate) fn was_accepted(&self, user: &str, password: &[u8]) -> bool {
        let digest = self.digest(user, password);
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let before = accepted.get(user);
        before.is_some_and(|before| bool::from(before.ct_eq(&digest)))
    }

    fn digest(&self, user: &str, password: &[u8]) -> [u8; HASH] {
        let length = user.len().to_be_bytes();
        let parts = [self.key.as_slice(), &length, user.as_bytes(), password];
        let mut digest = Sha512::new();
        for part in parts {
            digest.update(part);
        }
        digest.finalize().into()
    }
}

impl PasswordHash {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut parts = text.split('$');
        if parts.next() != Some("") {
            return Err("a password that isn't hashed");
        }
        match parts.next() {
            Some("7") => {}
            Some("6") => return Err("a hash of the kind $6$, which is too easily guessed"),
            _ => return Err("a hash of another kind than $7$"),
        }
        let (Some(iterations), Some(salt), Some(hash), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("a hash that isn't complete");
        };
        let iterations = iterations.parse().ok();
        let iterations = iterations.filter(|count| (1..=MAX_ITERATIONS).contains(count));
        let salt = STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty());
        let hash = STANDARD.decode(hash).ok();
        let hash = hash.and_then(|hash| <[u8; HASH]>::try_from(hash).ok());
        Ok(Self {
            iterations: iterations.ok_or("a bad number of iterations")?,
            salt: salt.ok_or("a bad salt")?,
            hash: hash.ok_or("a bad hash")?,
        })
    }
}

fn is_valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 1_024
        && !name.starts_with(['#', ' '])
        && !name.chars().any(|c| c == ':' || c.is_control())
}

fn derive(password: &[u8], salt: &[u8], iterations: u32) -> [u8; HASH] {
    let mut hash = [0; HASH];
    pbkdf2_hmac::<Sha512>(password, salt, iterations, &mut hash);
    hash
}

#[cfg(test)]
mod tests;
