//! What the server holds.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Everything. The first user's token is the operator's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are called what they are")]
pub struct State {
    /// The last id that was given.
    pub last_id: u64,
    pub users: Vec<User>,
    pub organisations: Vec<Organisation>,
    pub buckets: Vec<Bucket>,
    pub tokens: Vec<Token>,
    pub dashboards: Vec<Dashboard>,
    /// The lines of all writes.
    pub lines: Vec<String>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are called what they are")]
pub struct User {
    pub id: String,
    pub name: String,
    pub password: String,
}

/// An organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are called what they are")]
pub struct Organisation {
    pub id: String,
    pub name: String,
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are called what they are")]
pub struct Bucket {
    pub id: String,
    pub org: String,
    pub name: String,
    /// How long it keeps rows; 0 is for ever.
    pub seconds: u64,
}

/// A token. Its value is never answered but when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are called what they are")]
pub struct Token {
    pub id: String,
    pub org: String,
    pub value: String,
    pub description: String,
    pub is_active: bool,
    /// Nothing for an operator token, which may do everything.
    pub permissions: Option<Vec<Permission>>,
}

/// What a token may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// `read` or `write`.
    pub action: String,
    /// Which bucket.
    pub bucket: String,
}

/// A dashboard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are called what they are")]
pub struct Dashboard {
    pub id: String,
    pub org: String,
    pub name: String,
    /// Its charts, as the template had them.
    pub charts: serde_json::Value,
}

impl State {
    /// What a file holds; nothing if there is none.
    pub fn load(file: &Path) -> io::Result<Self> {
        match fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// All of it or nothing, and on disk when this returns.
    pub fn save(&self, file: &Path) -> io::Result<()> {
        let new = file.with_extension("new");
        let bytes = serde_json::to_vec_pretty(self)?;
        let mut written = File::create(&new)?;
        written.write_all(&bytes)?;
        written.sync_all()?;
        fs::rename(&new, file)?;
        match file.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => File::open(dir)?.sync_all(),
            _ => Ok(()),
        }
    }

    /// A new id, as the server writes them.
    pub fn next_id(&mut self) -> String {
        self.last_id += 1;
        format!("{:016x}", 0x0ac7_3000_0000_0000 + self.last_id)
    }

    /// Whether a token of this value may do this with the bucket of this name.
    #[must_use]
    pub fn may(&self, token: &str, action: &str, bucket: &str) -> bool {
        let Some(token) = self.token(token).filter(|token| token.is_active) else {
            return false;
        };
        let mut buckets = self.buckets.iter().filter(|other| other.name == bucket);
        buckets.any(|bucket| token.may(action, &bucket.id))
    }

    /// The token of this value.
    #[must_use]
    pub fn token(&self, value: &str) -> Option<&Token> {
        self.tokens.iter().find(|token| token.value == value)
    }
}

impl Token {
    pub(super) fn is_operator(&self) -> bool {
        self.permissions.is_none()
    }

    /// Whether it may do this with the bucket of this id, if it is active.
    #[must_use]
    pub fn may(&self, action: &str, bucket: &str) -> bool {
        let is_it =
            |permission: &Permission| permission.action == action && permission.bucket == bucket;
        let permissions = self.permissions.as_ref();
        permissions.is_none_or(|permissions| permissions.iter().any(is_it))
    }
}
