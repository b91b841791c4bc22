//! The transformer: turns the readings of the raw list into rows for the normalized list.

pub mod element;
mod from_file;
mod limits;
mod omitted;
pub mod pivot;
pub mod process;
pub mod run;
pub mod sample_rows;
pub mod settings;
pub mod shape;
mod switch;
#[cfg(test)]
mod testing;
mod value_bytes;
mod warnings;
pub mod window;

pub use self::run::run;
