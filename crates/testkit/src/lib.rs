//! Real servers and real stages for tests. Each uses free ports and a temporary directory, and is killed
//! when its handle is dropped.
//!
//! Servers that aren't installed are unpacked or built once into `<target>/test-servers` by
//! `scripts/test-servers.sh`.
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "only tests use it, and a test that can't be set up has to fail"
)]

mod certificates;
mod disk;
mod fake_time;
mod hosts;
mod http;
pub mod influx_proxy;
pub mod influxdb;
mod kafka;
mod launch;
mod mongodb;
mod mosquitto;
mod net;
mod postgres;
mod process;
mod redis;
mod stage_process;
mod tcp_proxy;
mod tools;

pub use self::mongodb::MongoDb;
pub use self::postgres::Postgres;
pub use certificates::Certificates;
pub use disk::SmallDisk;
pub use fake_time::FakeTime;
pub use hosts::HostsFile;
pub use http::{Answer, http_get, http_get_as, http_post, http_request};
pub use influx_proxy::InfluxProxy;
pub use influxdb::InfluxDb;
pub use kafka::{KAFKA_PASSWORD, KAFKA_USER, Kafka};
pub use launch::{BlockedOutput, Launch};
pub use mosquitto::{Mosquitto, mqtt_client, write_password_file};
pub use net::{free_port, wait_until};
pub use process::Process;
pub use redis::Redis;
pub use stage_process::{StageProcess, stage_binary};
pub use tcp_proxy::{Action, Direction, Network, TcpProxy};
pub use tools::{cargo, python_with_clients, target_dir, tool, workspace_dir};
