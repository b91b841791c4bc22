//! Stores that rows are written to and read from. Only this crate names a store's client library.

use std::time::Duration;

use model::row::Row;

mod field_type;
pub mod history;
mod influx;
#[cfg(feature = "kafka")]
mod kafka;
mod line;
#[cfg(feature = "mongodb")]
mod mongodb;
#[cfg(feature = "postgres")]
mod postgres;
mod redis_latest;
#[cfg(any(feature = "mongodb", feature = "postgres"))]
mod row_check;
mod sqlite;
mod transactional;

#[cfg(feature = "kafka")]
pub use self::kafka::KafkaStore;
#[cfg(feature = "mongodb")]
pub use self::mongodb::{DocumentFilter, MongoHistory, MongoSettings, MongoStore, NumberRange};
#[cfg(feature = "postgres")]
pub use self::postgres::{
    PointsRead, PointsTable, PostgresHistory, PostgresServer, PostgresSettings, PostgresStore,
    read_points,
};
pub use self::sqlite::{DEFAULT_RETENTION, SqliteHistory, SqliteSettings, SqliteStore};
pub use ::sqlite::OpenError;
pub use history::{History, Order, ReadError};
pub use influx::{
    Access, Authorization, BuildError, FirstSetup, Id, InfluxHistory, InfluxSettings, InfluxSetup,
    InfluxStore, Kept, Measurement, MeasurementError, Operator, ServerSeen, SetupError,
    WriteAccess,
};
pub use redis_latest::{LatestSettings, LatestStore};
pub use transactional::{NoTransactions, TransactionalStore};

/// A store that rows are written to.
///
/// Rows have a key (tags and time) and fields. A store merges rows of the same key; the value of a field
/// that was written last wins. So writing the same rows again, in the same order, changes nothing. A
/// field has the type of its first value, and a row that has another type of value for it is rejected. A
/// write may be dropped before it returns.
pub trait Store: Send + Sync {
    /// Writes rows in order. After an error, none, some or all of them may be stored. Without rows, it
    /// returns without contacting the store.
    fn write(&self, rows: &[Row<'_>]) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// Checks whether the store accepts writes, without writing rows. If it fails, a rejection isn't due
    /// to the rows. Never [`WriteError::TooLarge`] or [`WriteError::Rejected`].
    fn preflight(&self) -> impl Future<Output = Result<(), WriteError>> + Send;
}

/// Which rows of a rejected write are at fault, according to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsAtFault {
    /// The store doesn't say. Perhaps no row is, but the store.
    Unknown,
    /// At least one. If the write was of a single row, that row.
    Some,
    /// Every row of the write.
    All,
}

/// Why a write failed, named by what to do next. Messages are for operators and contain no secrets; the
/// store's own message is truncated at 2 KiB.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Write the same rows again later: the store is unavailable.
    #[error("{detail}")]
    Retry {
        /// What happened.
        detail: String,
        /// How long the store asked to wait, if known.
        after: Option<Duration>,
    },
    /// Write fewer rows at once.
    #[error("{detail}")]
    TooLarge {
        /// The store's message.
        detail: String,
    },
    /// At least one row can't be stored. The others may not have been stored either.
    #[error("{detail}")]
    Rejected {
        /// The store's message, which may concern one row only.
        detail: String,
        /// Which rows the message is about.
        at_fault: RowsAtFault,
    },
    /// An operator has to change the settings or the store. The rows aren't the cause.
    #[error("{detail}")]
    Denied {
        /// What to check, and the store's message.
        detail: String,
    },
}
