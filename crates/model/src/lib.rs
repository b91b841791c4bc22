//! The data that Rigline moves, as plain types: readings and rows, their names and times, the JSON of
//! list elements, and dead letters. No I/O, no clock, no settings, no metrics.

pub mod name;
pub mod time;

pub mod position;
pub mod reading;
pub mod row;
pub mod sample;
pub mod stage;

pub mod element;
pub mod topic;

pub mod dead_letter;
pub mod limits;

pub mod pipeline;
pub mod units;

pub use self::element::{ElementError, Layout};
pub use self::name::{Name, NameError};
pub use self::reading::Reading;
pub use self::row::Row;
pub use self::sample::{Sample, Tags, Value};
pub use self::stage::Stage;
pub use self::time::Timestamp;
