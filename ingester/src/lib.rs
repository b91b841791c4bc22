//! The ingester: takes readings from the broker, validates them, appends them to the raw list, and
//! only then acknowledges them.

pub mod decode;
pub mod decoder;
pub mod mapping;
pub mod process;
pub mod run;
pub mod settings;

pub use self::run::run;
