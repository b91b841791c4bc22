//! Durable lists between the stages, behind one trait: on Redis and SQLite.
//!
//! Every consumer follows the same four steps: [`Queue::lease`] a list, [`Queue::peek`] at its
//! head, compute, [`Queue::commit`]. A commit takes the elements, appends outputs and dead letters,
//! writes state and adds to the ledger, atomically.

pub mod error;
pub mod ledger;
pub mod list;
pub mod settings;

pub mod changes;
pub mod dead_letters;
mod queue;
pub mod rejected;
pub mod stretch;

pub mod consume;
pub mod lease_manager;
pub mod resets;
pub mod settle;

mod lists;
pub mod redis;
pub mod sqlite;

#[cfg(feature = "testing")]
pub mod testing;

pub use self::changes::{Append, Appended, Commit, Lease, Peek, Progress, Snapshot, State};
pub use self::dead_letters::{DeadLetterEntry, DeadLetters, Kinds, Replay, Replayed};
pub use self::error::QueueError;
pub use self::lists::Lists;
pub use self::queue::Queue;
pub use self::stretch::Stretch;
