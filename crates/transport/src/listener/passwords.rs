//! Password files in Mosquitto's format: a user a line, as `name:$7$iterations$salt$hash`, with the
//! hash made by PBKDF2 with HMAC-SHA512.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::settings::BadSetting;
use pbkdf2::pbkdf2_hmac;
use sha2::Sha512;
use subtle::ConstantTimeEq;

const VARIABLE: &str = "MQTT_USERS";
/// What is written; what is read may differ.
const ITERATIONS: u32 = 1_000;
/// As long as Mosquitto's; it reads no others.
const SALT: usize = 12;
const HASH: usize = 64;
/// More would be an evil: each login takes as long.
const MOST_ITERATIONS: u32 = 10_000_000;

/// Why there is no line for a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// A name that can't stand in a password file.
    #[error(
        "a user name is 1 to 1024 bytes without ':' and control characters, and doesn't begin with '#' or a space"
    )]
    Name,
    /// A password that is empty or that MQTT can't carry.
    #[error("a password is 1 to 65535 bytes")]
    Password,
    /// The system gives no random numbers.
    #[error("no random numbers for the salt: {0}")]
    Random(getrandom::Error),
}

/// A line for a password file, with a salt of its own; Mosquitto reads it as well.
pub fn hash_password(user: &str, password: &str) -> Result<String, PasswordError> {
    if !name_fits(user) {
        return Err(PasswordError::Name);
    }
    if password.is_empty() || password.len() > usize::from(u16::MAX) {
        return Err(PasswordError::Password);
    }
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt).map_err(PasswordError::Random)?;
    let hash = derive(password.as_bytes(), &salt, ITERATIONS);
    let (salt, hash) = (STANDARD.encode(salt), STANDARD.encode(hash));
    Ok(format!("{user}:$7${ITERATIONS}${salt}${hash}"))
}

/// Those who may publish.
#[derive(Clone)]
pub(crate) struct Users {
    users: HashMap<String, Secret>,
    /// The most iterations of any of them: each login costs as much.
    iterations: u32,
}

#[derive(Clone)]
struct Secret {
    iterations: u32,
    salt: Vec<u8>,
    hash: [u8; HASH],
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users")
            .field("count", &self.users.len())
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

    /// `name` is what the file is called in errors.
    fn parse(text: &str, name: &str) -> Result<Self, BadSetting> {
        let mut all = Self {
            users: HashMap::new(),
            iterations: 1,
        };
        for (place, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = |what: &str| {
                // The line itself may hold a password.
                let given = format!("{name}, line {}", place + 1);
                let accepted = format!(
                    "NAME:$7$ITERATIONS$SALT$HASH, as `mosquitto_passwd {name} NAME` writes it; \
                     here is {what}"
                );
                BadSetting::new(VARIABLE, &given, &accepted)
            };
            let (user, secret) = line.split_once(':').ok_or_else(|| bad("no ':'"))?;
            if !name_fits(user) {
                return Err(bad("a name that can't be one"));
            }
            let secret = Secret::parse(secret).map_err(bad)?;
            all.iterations = all.iterations.max(secret.iterations);
            if all.users.insert(user.to_owned(), secret).is_some() {
                return Err(bad("a name for the second time"));
            }
        }
        Ok(all)
    }

    /// Whether it is this user's password. It takes the same time whatever is wrong.
    pub(crate) fn accept(&self, user: &str, password: &[u8]) -> bool {
        let nobody = Secret {
            iterations: self.iterations,
            salt: vec![0; SALT],
            hash: [0; HASH],
        };
        let known = self.users.get(user);
        let secret = known.unwrap_or(&nobody);
        let hash = derive(password, &secret.salt, secret.iterations);
        let missing = self.iterations - secret.iterations;
        if missing > 0 {
            std::hint::black_box(derive(password, &secret.salt, missing));
        }
        bool::from(hash.ct_eq(&secret.hash)) && known.is_some()
    }
}

impl Secret {
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
        let iterations = iterations.filter(|count| (1..=MOST_ITERATIONS).contains(count));
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

fn name_fits(name: &str) -> bool {
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
