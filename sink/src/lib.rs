//! The sink: writes the rows of the normalized list to the stores.

mod batch;
pub mod from_file;
pub mod mongodb;
pub mod process;
pub mod run;
pub mod settings;
pub mod stores;
mod target;
pub mod write;

pub use self::run::{NamedStore, run, run_with_stores};
