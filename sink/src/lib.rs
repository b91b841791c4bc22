//! The sink: writes the rows of the normalized list to the stores.

mod batch;
pub mod from_file;
pub mod kafka;
pub mod mongodb;
pub mod postgres;
pub mod process;
mod refusals;
pub mod run;
pub mod settings;
pub mod stores;
mod target;
mod transaction;
pub mod write;

pub use self::run::{NamedStore, Stores, run};
