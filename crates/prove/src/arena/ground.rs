//! What an arena stands on: servers around the stages, or the files of the one process.

use std::fs;

use common::clock::Clock;
use e2e::rows::{Rows, read_back};
use e2e::{Alone, Chain, Ground, Role};
use queue::ledger::Ledger;
use queue::redis::RedisQueue;
use queue::sqlite::SqliteQueue;
use queue::testing::audit::{audit, damage};
use queue::{Look, Queue, QueueError};
use testkit::{Launch, Mosquitto, Redis};

use super::{Setup, Wires};
use crate::history::{self, History};
use crate::message::{Cell, Epoch};

/// Settings of every arena: all that takes its time takes little.
const QUICK: [(&str, &str); 4] = [
    ("LEASE", "1s"),
    ("FLUSH_INTERVAL", "1s"),
    ("ALIGN", "100ms"),
    ("LATE_WINDOW", "3m"),
];

/// What is there before the first stage is started.
#[derive(Debug)]
pub(super) enum Base {
    Servers(Box<Chain>, RedisQueue),
    Alone(Alone),
}

impl Base {
    pub(super) fn new(setup: &Setup) -> (Self, Wires) {
        match setup.ground {
            Ground::Servers => servers(setup),
            Ground::Alone => alone(setup),
        }
    }

    pub(super) fn chain(&self) -> &Chain {
        let chain = match self {
            Self::Servers(chain, _) => Some(chain),
            Self::Alone(_) => None,
        };
        chain.expect("servers: the one process has none")
    }

    pub(super) fn chain_mut(&mut self) -> &mut Chain {
        let chain = match self {
            Self::Servers(chain, _) => Some(chain),
            Self::Alone(_) => None,
        };
        chain.expect("servers: the one process has none")
    }

    pub(super) fn alone(&self) -> &Alone {
        let alone = match self {
            Self::Servers(..) => None,
            Self::Alone(alone) => Some(alone),
        };
        alone.expect("one process: stages have no files")
    }

    /// With the settings that lead a process here.
    pub(super) fn lead(&self, launch: Launch, role: Role, wires: &Wires) -> Launch {
        match self {
            Self::Servers(chain, _) => {
                let store = format!("http://127.0.0.1:{}", wires.store().port());
                let redis = wires.redis()[role as usize].port();
                launch
                    .envs(chain.env())
                    .env("MQTT_PORT", &wires.broker().port().to_string())
                    .env("REDIS_PORT", &redis.to_string())
                    .env("INFLUX_URL", &store)
            }
            Self::Alone(alone) => launch.envs(alone.env()),
        }
    }

    pub(super) async fn ledger(&self) -> Result<Ledger, QueueError> {
        match self {
            Self::Servers(_, queue) => {
                let Look { ledger, .. } = queue.look().await?;
                Ok(ledger)
            }
            Self::Alone(alone) => alone.ledger().await,
        }
    }

    /// What happened to the lists.
    pub(super) fn history(&self, epoch: Epoch) -> std::io::Result<History> {
        match self {
            Self::Servers(chain, _) => history::redis::read(chain.redis.dir(), epoch),
            Self::Alone(alone) => Ok(history::sqlite::read(&alone.queue_file(), epoch)),
        }
    }

    /// What happened to one cell.
    pub(super) fn trail(&self, cell: Cell, epoch: Epoch) -> Vec<String> {
        match self {
            Self::Servers(chain, _) => {
                let trail = history::redis::trail(chain.redis.dir(), cell, epoch);
                trail.unwrap_or_default()
            }
            Self::Alone(alone) => history::sqlite::trail(&alone.queue_file(), cell, epoch),
        }
    }

    /// Everything that the store has.
    pub(super) async fn rows(&self) -> Rows {
        match self {
            Self::Servers(chain, _) => read_back(&chain.influxdb),
            Self::Alone(alone) => alone.rows().await,
        }
    }

    /// What is wrong with the files, if there are any and something is.
    pub(super) fn damage(&self) -> Option<String> {
        let Self::Alone(alone) = self else {
            return None;
        };
        let files = [alone.queue_file(), alone.store_file()];
        files.iter().filter(|path| path.exists()).find_map(|path| {
            let found = damage(path)?;
            Some(format!("{}: {found}", path.display()))
        })
    }
}

fn servers(setup: &Setup) -> (Base, Wires) {
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
    let chain = Chain::around(Mosquitto::start_with(&lines), redis, &QUICK);
    let (mqtt, lists) = (chain.mosquitto.port(), chain.redis.port());
    let wires = Wires::around(mqtt, lists, chain.influxdb.port());
    let queue = chain.queue();
    (Base::Servers(Box::new(chain), queue), wires)
}

fn alone(setup: &Setup) -> (Base, Wires) {
    let alone = match &setup.dir {
        Some(dir) => Alone::within(dir.join("data"), &QUICK),
        None => Alone::new(&QUICK),
    };
    let queue = alone.queue_file();
    let data = queue.parent().expect("a directory");
    fs::create_dir_all(data).expect("a directory that can be made");
    let settings = queue::testing::settings();
    drop(SqliteQueue::open(&queue, &settings, Clock::system()).expect("a queue"));
    audit(&queue);
    let wires = Wires::to(alone.port());
    (Base::Alone(alone), wires)
}
