//! What all of Rigline's `SQLite` files have in common: how they are recognised, opened, migrated and
//! configured, threads that work on them, and what errors mean. `queue.db` and `store.db` are built
//! on it.

mod error;
mod file;
mod worker;

#[cfg(feature = "testing")]
pub mod testing;

pub use self::error::{Failure, OpenError, failure, remedy};
pub use self::file::FileKind;
pub use self::worker::{Job, Stopped, Worker};

/// Rolls back the transaction that the connection is in, if any.
pub fn roll_back(connection: &rusqlite::Connection) {
    if !connection.is_autocommit() {
        // Fails only where SQLite has rolled back by itself.
        let _ = connection.execute_batch("ROLLBACK");
    }
}
