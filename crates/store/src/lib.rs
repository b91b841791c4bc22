//! The room of the stores: where rows end up and are read from again. The only one that names a
//! store's client.

use std::time::Duration;

use model::row::Row;

pub mod history;
mod influx;
mod line;
mod sqlite;

pub use self::sqlite::{SqliteHistory, SqliteSettings, SqliteStore};
pub use ::sqlite::OpenError;
pub use history::{History, ReadError};
pub use influx::{
    Access, Authorization, BuildError, FirstSetup, Id, InfluxSettings, InfluxSetup, InfluxStore,
    Operator, SetupError,
};

/// Something that keeps rows.
///
/// Rows have a key (tags and time) and fields. A store merges rows of equal key, and where they
/// have a field in common the one written later wins; so writing the same rows again, in the same
/// order, changes nothing. Dropping a write before it has returned is allowed.
pub trait Store: Send + Sync {
    /// Writes rows, in their order. When it returns an error, none, some or all of them may have
    /// been stored. No rows at all are written without asking the store.
    fn write(&self, rows: &[Row<'_>]) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// Asks whether a write would be let in, without writing anything: only rows can be at fault
    /// if it would. Never [`WriteError::TooLarge`] or [`WriteError::Rejected`].
    fn preflight(&self) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// Whether [`WriteError::Rejected`] of a single row is about that row for certain: then any
    /// number of them one after another says nothing about the store.
    fn blames_rows(&self) -> bool {
        false
    }
}

/// Why rows weren't written, named by what to do next. The details are for people and hold no
/// secret; what the store itself said is cut at 2 KiB.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Write the same rows again later: the store is away, busy or ill.
    #[error("{detail}")]
    Retry {
        /// What happened.
        detail: String,
        /// How long the store asked to be left alone, where that can be seen.
        after: Option<Duration>,
    },
    /// Write fewer rows at once.
    #[error("{detail}")]
    TooLarge {
        /// What the store said.
        detail: String,
    },
    /// At least one of the rows can't be stored; the others may not have been stored either.
    #[error("{detail}")]
    Rejected {
        /// What the store said, perhaps of one row only.
        detail: String,
    },
    /// A person has to change the settings, or what they point to; the rows aren't at fault.
    #[error("{detail}")]
    Denied {
        /// What to look at, and what the store said.
        detail: String,
    },
}
