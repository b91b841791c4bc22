//! The whole pipeline, ready for readings, in either deployment.

use std::path::PathBuf;
use std::time::Duration;

use common::clock::Clock;
use queue::DeadLetters;
use queue::ledger::Ledger;
use queue::sqlite::SqliteQueue;
use testkit::StageProcess;

use crate::rows::Rows;
use crate::{Chain, Deployment, OneProcess, wait_for};

/// How long a process may take to become ready, and to stop.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most dead letters that are read.
const LETTERS: usize = 1_000;

/// All servers and processes between MQTT and the store.
#[derive(Debug)]
pub struct Pipeline {
    base: Base,
    /// The running processes: three stages, or the single process.
    pub processes: Vec<StageProcess>,
}

#[derive(Debug)]
enum Base {
    Servers(Box<Chain>),
    OneProcess(OneProcess),
}

impl Pipeline {
    /// Starts the pipeline, and waits until it is ready; `extra` are settings of all processes.
    #[must_use]
    pub fn start(on: Deployment, extra: &[(&str, &str)]) -> Self {
        let base = match on {
            Deployment::Servers => Base::Servers(Box::new(Chain::start(extra))),
            Deployment::OneProcess => Base::OneProcess(OneProcess::new(extra)),
        };
        let mut pipeline = Self {
            base,
            processes: Vec::new(),
        };
        pipeline.start_again(&[]);
        pipeline
    }

    /// Starts all processes again after they have ended, and waits until they are ready; `extra`
    /// overrides other settings.
    pub fn start_again(&mut self, extra: &[(&str, &str)]) {
        self.processes = match &self.base {
            Base::Servers(chain) => {
                let roles = Deployment::Servers.roles().iter();
                roles.map(|role| chain.spawn(role.name(), extra)).collect()
            }
            Base::OneProcess(one_process) => vec![one_process.spawn(extra)],
        };
        for process in &self.processes {
            assert!(process.ready(PATIENCE), "not ready:\n{}", process.logs());
        }
    }

    /// Sends SIGTERM to all processes; each has to exit successfully.
    pub fn stop(&mut self) {
        for process in &mut self.processes {
            process.terminate();
        }
        for process in &mut self.processes {
            let exit = process.wait_exit(PATIENCE);
            assert!(
                exit.is_some_and(|status| status.success()),
                "{exit:?}\n{}",
                process.logs()
            );
        }
    }

    /// Kills all processes.
    pub fn kill(&mut self) {
        for process in &mut self.processes {
            process.kill();
        }
    }

    /// Publishes with `mosquitto_pub`.
    pub fn publish(&self, topic: &str, payload: &str) {
        match &self.base {
            Base::Servers(chain) => chain.publish(topic, payload),
            Base::OneProcess(one_process) => one_process.publish(topic, payload),
        }
    }

    /// The port that devices publish to.
    #[must_use]
    pub fn mqtt_port(&self) -> u16 {
        match &self.base {
            Base::Servers(chain) => chain.mosquitto.port(),
            Base::OneProcess(one_process) => one_process.port(),
        }
    }

    /// The directory of the one process's files; `None` with servers.
    #[must_use]
    pub fn data_dir(&self) -> Option<PathBuf> {
        match &self.base {
            Base::Servers(_) => None,
            Base::OneProcess(one_process) => Some(one_process.queue_file().parent()?.to_owned()),
        }
    }

    /// Starts the producer, which publishes to this pipeline.
    #[must_use]
    pub fn producer(&self, fleet: &[(&str, &str)]) -> StageProcess {
        match &self.base {
            Base::Servers(chain) => chain.spawn("producer", fleet),
            Base::OneProcess(one_process) => {
                let port = one_process.port().to_string();
                let env = [("MQTT_HOST", "127.0.0.1"), ("MQTT_PORT", &port)];
                StageProcess::spawn("producer", &[&env, fleet].concat())
            }
        }
    }

    /// The queue's counters and lengths.
    pub async fn ledger(&self) -> Ledger {
        match &self.base {
            Base::Servers(chain) => chain.ledger().await,
            Base::OneProcess(one_process) => {
                one_process.ledger().await.expect("a snapshot of the queue")
            }
        }
    }

    /// Waits until `is_done` holds for the ledger; panics with the last ledger after `limit`.
    pub async fn wait_for(&self, limit: Duration, is_done: impl Fn(&Ledger) -> bool) -> Ledger {
        wait_for(async || self.ledger().await, limit, is_done).await
    }

    /// All rows in the store.
    pub async fn rows(&self) -> Rows {
        match &self.base {
            Base::Servers(chain) => chain.rows(),
            Base::OneProcess(one_process) => one_process.rows().await,
        }
    }

    /// All dead letters, oldest first.
    pub async fn dead_letters(&self) -> Vec<Vec<u8>> {
        let letters = match &self.base {
            Base::Servers(chain) => chain.queue().dead_letters(0, LETTERS).await,
            Base::OneProcess(one_process) => {
                let (path, settings) = (one_process.queue_file(), queue::testing::settings());
                let queue = SqliteQueue::open_read_only(&path, &settings, Clock::system());
                queue.expect("a queue").dead_letters(0, LETTERS).await
            }
        };
        let letters = letters.expect("the dead letters").into_iter();
        letters.map(|letter| letter.element).collect()
    }

    /// The servers. Panics on a single process.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        let chain = match &self.base {
            Base::Servers(chain) => Some(chain),
            Base::OneProcess(_) => None,
        };
        chain.expect("a deployment on several servers")
    }
}
