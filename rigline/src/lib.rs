//! The operator's binary: the whole pipeline in one process, the demo, each stage, the set-up of
//! InfluxDB, and commands that show rows, lists and dead letters.

mod api_process;
mod called;
pub mod check;
pub mod cli;
pub mod console;
pub mod demo;
mod feed;
mod history;
pub mod init;
pub mod inspect;
mod lock;
mod pipelines;
mod report;
mod revalidate;
pub mod tap;
mod try_messages;
pub mod up;
