//! The operator's one binary: everything in one process, a demonstration of it, each stage by itself,
//! setting InfluxDB up, and a look at what there is.

pub mod cli;
pub mod console;
pub mod demo;
pub mod init;
pub mod inspect;
pub mod up;
