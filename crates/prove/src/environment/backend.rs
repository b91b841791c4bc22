//! The servers of a deployment, or the files of the single process.

use std::fs;

use common::clock::Clock;
use e2e::rows::{Rows, read_back};
use e2e::{Chain, Deployment, OneProcess, Role};
use queue::ledger::Ledger;
use queue::redis::RedisQueue;
use queue::sqlite::SqliteQueue;
use queue::testing::audit::{audit, damage};
use queue::{Queue, QueueError, Snapshot};
use testkit::{Launch, Mosquitto, Redis};

use super::{Proxies, Setup};
use crate::history::{self, History};
use crate::message::{Cell, Epoch};

/// Settings of every environment: short times.
const SHORT_TIMES: [(&str, &str); 4] = [
    ("LEASE", "1s"),
    ("FLUSH_INTERVAL", "1s"),
    ("ALIGN", "100ms"),
    ("LATE_WINDOW", "3m"),
];

const ON_SERVERS: &str = "a deployment on several servers";

/// The servers or files that exist before the first stage is started.
#[derive(Debug)]
pub(super) enum Backend {
    Servers(Box<Chain>, RedisQueue),
    OneProcess(OneProcess),
}

impl Backend {
    pub(super) fn new(setup: &Setup) -> (Self, Proxies) {
        match setup.deployment {
            Deployment::Servers => servers(setup),
            Deployment::OneProcess => one_process(setup),
        }
    }

    pub(super) fn chain(&self) -> &Chain {
        match self {
            Self::Servers(chain, _) => Some(chain),
            Self::OneProcess(_) => None,
        }
        .expect(ON_SERVERS)
    }

    pub(super) fn chain_mut(&mut self) -> &mut Chain {
        match self {
            Self::Servers(chain, _) => Some(chain),
            Self::OneProcess(_) => None,
        }
        .expect(ON_SERVERS)
    }

    pub(super) fn one_process(&self) -> &OneProcess {
        match self {
            Self::Servers(..) => None,
            Self::OneProcess(one_process) => Some(one_process),
        }
        .expect("a deployment as one process")
    }

    /// Adds the settings that a stage needs to find its servers or files.
    pub(super) fn configure(&self, launch: Launch, role: Role, proxies: &Proxies) -> Launch {
        match self {
            Self::Servers(chain, _) => {
                let store = format!("http://127.0.0.1:{}", proxies.store().port());
                let redis = proxies.redis()[role as usize].port();
                launch
                    .envs(chain.env())
                    .env("MQTT_PORT", &proxies.broker().port().to_string())
                    .env("REDIS_PORT", &redis.to_string())
                    .env("INFLUX_URL", &store)
            }
            Self::OneProcess(one_process) => launch.envs(one_process.env()),
        }
    }

    pub(super) async fn ledger(&self) -> Result<Ledger, QueueError> {
        match self {
            Self::Servers(_, queue) => {
                let Snapshot { ledger, .. } = queue.snapshot().await?;
                Ok(ledger)
            }
            Self::OneProcess(one_process) => one_process.ledger().await,
        }
    }

    /// All changes of the lists.
    pub(super) fn history(&self, epoch: Epoch) -> std::io::Result<History> {
        match self {
            Self::Servers(chain, _) => history::redis::read(chain.redis.dir(), epoch),
            Self::OneProcess(one_process) => {
                Ok(history::sqlite::read(&one_process.queue_file(), epoch))
            }
        }
    }

    /// All changes of the lists that concern one cell.
    pub(super) fn trail(&self, cell: Cell, epoch: Epoch) -> Vec<String> {
        match self {
            Self::Servers(chain, _) => {
                let trail = history::redis::trail(chain.redis.dir(), cell, epoch);
                trail.unwrap_or_default()
            }
            Self::OneProcess(one_process) => {
                history::sqlite::trail(&one_process.queue_file(), cell, epoch)
            }
        }
    }

    /// All rows in the store.
    pub(super) async fn rows(&self) -> Rows {
        match self {
            Self::Servers(chain, _) => read_back(&chain.influxdb),
            Self::OneProcess(one_process) => one_process.rows().await,
        }
    }

    /// The damage that SQLite finds in the single process's files, if any.
    pub(super) fn damage(&self) -> Option<String> {
        let Self::OneProcess(one_process) = self else {
            return None;
        };
        let files = [one_process.queue_file(), one_process.store_file()];
        files.iter().filter(|path| path.exists()).find_map(|path| {
            let found = damage(path)?;
            Some(format!("damaged {}: {found}", path.display()))
        })
    }
}

fn servers(setup: &Setup) -> (Backend, Proxies) {
    let mut options: Vec<&str> = vec![
        "--auto-aof-rewrite-percentage",
        "0",
        "--aof-timestamp-enabled",
        "yes",
    ];
    options.extend(setup.redis.iter().map(String::as_str));
    let mut lines = vec!["allow_anonymous true"];
    lines.extend(&setup.mosquitto);
    let redis = match &setup.dir {
        Some(dir) => Redis::start_in(dir, &options),
        None => Redis::start_with_env(&options, &setup.redis_env),
    };
    let chain = Chain::around(Mosquitto::start_with(&lines), redis, &SHORT_TIMES);
    let (mqtt, lists) = (chain.mosquitto.port(), chain.redis.port());
    let proxies = Proxies::to_servers(mqtt, lists, chain.influxdb.port());
    let queue = chain.queue();
    (Backend::Servers(Box::new(chain), queue), proxies)
}

fn one_process(setup: &Setup) -> (Backend, Proxies) {
    let one_process = match &setup.dir {
        Some(dir) => OneProcess::within(dir.join("data"), &SHORT_TIMES),
        None => OneProcess::new(&SHORT_TIMES),
    };
    let queue = one_process.queue_file();
    let data = queue.parent().expect("a directory");
    fs::create_dir_all(data).expect("a directory that can be made");
    let settings = queue::testing::settings();
    drop(SqliteQueue::open(&queue, &settings, Clock::system()).expect("a queue"));
    audit(&queue);
    let proxies = Proxies::to_process(one_process.port());
    (Backend::OneProcess(one_process), proxies)
}
