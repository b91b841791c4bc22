//! The sink: writes the rows of the normalized list to the store.

pub mod from_file;
pub mod mongodb;
pub mod process;
pub mod run;
pub mod settings;
pub mod stores;
pub mod write;

pub use self::run::run;
