//! The durable lists between the stages, behind one trait: Redis and SQLite.
//!
//! Every consumer follows the same four steps: [`Queue::lease`] a list, [`Queue::peek`] at its
//! head, compute, [`Queue::commit`]. A commit takes the elements, appends outputs and dead letters,
//! writes state and adds to the ledger, all at once or not at all.

pub mod error;
pub mod ledger;
pub mod list;
pub mod settings;

pub mod changes;
pub mod letters;
mod queue;

pub mod consume;
pub mod keeper;
pub mod resets;
pub mod settle;

pub mod redis;
pub mod sqlite;

#[cfg(feature = "testing")]
pub mod testing;

pub use self::changes::{Append, Appended, Commit, Lease, Look, Peek, Progress, State};
pub use self::error::QueueError;
pub use self::letters::{DeadLetters, Letter, Replay, Replayed};
pub use self::queue::Queue;
