//! A client of Kafka brokers: a reader whose positions the caller keeps, and a writer of transactions.
//!
//! Only this crate names the client library `krafka` (docs/adr/0020).

mod error;
mod position;
mod reader;
mod settings;
mod topic;
mod writer;

pub use error::KafkaError;
pub use position::{NotAPosition, Position, TopicId};
pub use reader::{Reader, ReaderSettings, Record, Start, partition_name};
pub use settings::{KafkaSettings, KafkaTable};
pub use writer::{NewRecord, Writer, WriterSettings};
