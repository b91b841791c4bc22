//! The transformer: turns the readings of the raw list into rows for the normalized list.

pub mod element;
pub mod pivot;
pub mod process;
pub mod run;
pub mod settings;
mod warnings;

pub use self::run::run;
