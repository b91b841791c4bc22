//! The queue on Redis 7 or newer: plain lists, and Lua scripts for atomic changes.

mod dead_letters;
mod probe;
mod script_reply;
mod scripts;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Pipeline};
use redis_client::{Connection, Script, reply};

pub use self::probe::ServerFacts;
use self::script_reply::{Reply, done, refusal, script};
use self::scripts::Scripts;
use crate::changes::{Append, Appended, Commit, Lease, Peek, Progress, Snapshot, State};
use crate::error::{Cause, QueueError};
use crate::ledger::{Ledger, delta};
use crate::list::{List, output_of, source_of};
use crate::queue::Queue;
use crate::settings::{QueueSettings, RedisSettings};
use crate::stretch::{self, Stretch};
use model::Stage;
use model::position::Positions;

/// The number of partitions that this version supports.
const PARTITIONS: &str = "1";
/// Entries of the state per request.
const STATE_PIECE: usize = 10_000;
/// The key that all pipelines of a Redis share: the pipeline of each list.
const LIST_OWNERS: &str = "rigline:lists";

/// Lists, state, leases and ledger in one Redis; clones share a connection.
#[derive(Debug, Clone)]
pub struct RedisQueue {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    connection: Connection,
    scripts: Scripts,
    keys: Keys,
    limits: Limits,
}

#[derive(Debug)]
struct Limits {
    list: usize,
    dead_count: usize,
    dead_bytes: usize,
}

/// The names of all keys of a pipeline.
#[derive(Debug)]
struct Keys {
    raw: String,
    normalized: String,
    dead: String,
    pipeline: String,
    prefix: String,
}

impl Keys {
    fn list(&self, list: List) -> &str {
        match list {
            List::Raw => &self.raw,
            List::Normalized => &self.normalized,
            List::Dead => &self.dead,
        }
    }

    fn own(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn of(&self, kind: &str, consumer: Stage) -> String {
        format!("{}{kind}:{}", self.prefix, consumer.name())
    }
}

impl RedisQueue {
    /// A queue that connects when it is first used, and reconnects when the connection is lost.
    /// Fails if the files of TLS can't be used.
    pub fn new(settings: &QueueSettings, redis: &RedisSettings) -> Result<Self, QueueError> {
        Ok(Self {
            inner: Arc::new(Inner {
                connection: Connection::new(redis)?,
                scripts: Scripts::new(),
                keys: Keys {
                    raw: settings.raw_queue.clone(),
                    normalized: settings.normalized_queue.clone(),
                    dead: settings.dead_letter_queue.clone(),
                    pipeline: settings.pipeline.clone(),
                    prefix: format!("rigline:{}:", settings.pipeline),
                },
                limits: Limits {
                    list: settings.limits.queue_limit,
                    dead_count: settings.limits.dead_letter_limit,
                    dead_bytes: settings.limits.dead_letter_bytes,
                },
            }),
        })
    }

    /// The number of elements at which the raw list or the normalized list counts as full.
    #[must_use]
    pub fn list_limit(&self) -> usize {
        self.inner.limits.list
    }

    /// Most dead letters that are kept.
    #[must_use]
    pub fn dead_letter_limit(&self) -> usize {
        self.inner.limits.dead_count
    }

    /// The name of the pipeline that has this list; `None` before its first lease.
    pub async fn owner(&self, list: List) -> Result<Option<String>, QueueError> {
        let mut get = redis::cmd("HGET");
        get.arg(LIST_OWNERS).arg(self.inner.keys.list(list));
        match self.inner.connection.read(&get).await? {
            redis::Value::Nil => Ok(None),
            owner => Ok(Some(reply::text(&owner)?)),
        }
    }

    /// Whether a process holds the lease of this consumer.
    pub async fn is_leased(&self, consumer: Stage) -> Result<bool, QueueError> {
        let mut exists = redis::cmd("EXISTS");
        exists.arg(self.inner.keys.of("lease", consumer));
        let count = self.inner.connection.read(&exists).await?;
        Ok(reply::signed(&count)? > 0)
    }

    /// Reads up to `max` elements of a list from the position `from` on, or the newest ones, without taking
    /// them.
    pub async fn stretch(
        &self,
        list: List,
        from: Option<i64>,
        max: usize,
    ) -> Result<Stretch, QueueError> {
        let Inner { keys, scripts, .. } = &*self.inner;
        let from = from.map(|from| from.to_string()).unwrap_or_default();
        let reply = self.run(&scripts.stretch, |call| {
            call.arg(3).arg(keys.list(list));
            call.arg(keys.own("ledger")).arg(keys.own("meta"));
            call.arg(&from).arg(max);
            for counter in stretch::gone(list) {
                call.arg(counter.name());
            }
        });
        let found = match reply.await.map_err(repeatable)? {
            Reply::Ok(found) => found,
            other => return Err(refusal(other, 0)),
        };
        let [instance, end, first, items] = reply::exactly(found)?;
        Ok(Stretch {
            instance: reply::text(&instance)?,
            end: reply::signed(&end)?,
            first: reply::signed(&first)?,
            items: reply::items(items)?,
        })
    }

    async fn run(&self, code: &Script, fill: impl Fn(&mut Cmd)) -> Result<Reply, QueueError> {
        script(self.inner.connection.run(code, fill).await?)
    }

    fn commit_call(&self, lease: &Lease, commit: &Commit, call: &mut Cmd) {
        let Inner { keys, limits, .. } = &*self.inner;
        let consumer = lease.consumer;
        let additions = commit.ledger(consumer);
        // A commit that takes nothing leaves its source alone.
        let source = source_of(consumer).unwrap_or(List::Raw);
        call.arg(7)
            .arg(keys.of("lease", consumer))
            .arg(keys.of("consumer", consumer))
            .arg(keys.list(source))
            .arg(&keys.normalized)
            .arg(&keys.dead)
            .arg(keys.of("state", consumer))
            .arg(keys.own("ledger"));
        call.arg(&lease.token)
            .arg(commit.number)
            .arg(millis(lease.limit))
            .arg(commit.take)
            .arg(limits.dead_count)
            .arg(limits.dead_bytes)
            .arg(commit.outputs.len())
            .arg(commit.dead.len())
            .arg(commit.puts.len())
            .arg(commit.deletes.len())
            .arg(additions.len())
            .arg(u8::from(commit.last_taken.is_some()))
            .arg(commit.last_taken.as_deref().unwrap_or_default());
        for item in commit.outputs.iter().chain(&commit.dead) {
            call.arg(item.as_slice());
        }
        for (key, value) in &commit.puts {
            call.arg(key.as_slice()).arg(value.as_slice());
        }
        for key in &commit.deletes {
            call.arg(key.as_slice());
        }
        for (counter, delta) in additions {
            call.arg(counter.name()).arg(delta);
        }
    }
}

impl Queue for RedisQueue {
    async fn append(&self, append: &Append) -> Result<Appended, QueueError> {
        let Inner {
            keys,
            limits,
            scripts,
            ..
        } = &*self.inner;
        let reply = self.run(&scripts.append, |call| {
            call.arg(4)
                .arg(&keys.raw)
                .arg(&keys.dead)
                .arg(keys.own("ledger"))
                .arg(keys.own("positions"));
            call.arg(limits.list)
                .arg(limits.dead_count)
                .arg(limits.dead_bytes);
            call.arg(append.raw.len())
                .arg(append.over_quota)
                .arg(append.steps.len());
            for step in &append.steps {
                call.arg(&step.partition).arg(&step.from).arg(&step.to);
            }
            for item in append.raw.iter().chain(&append.dead) {
                call.arg(item.as_slice());
            }
        });
        match reply.await? {
            Reply::Ok(now) => {
                let [length, accepted] = reply::exactly(now)?;
                Ok(Appended::Done {
                    length: reply::count(&length)?,
                    accepted: reply::signed(&accepted)?,
                })
            }
            Reply::Full(length) => Ok(Appended::Full {
                length: reply::count(&length)?,
            }),
            Reply::Moved => Ok(Appended::Moved),
            other => Err(refusal(other, 0)),
        }
    }

    async fn positions(&self) -> Result<Positions, QueueError> {
        let mut get = redis::cmd("HGETALL");
        get.arg(self.inner.keys.own("positions"));
        let pairs = reply::pairs(self.inner.connection.read(&get).await?)?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let positions = pairs.into_iter();
        Ok(positions
            .map(|(partition, position)| (text(partition), text(position)))
            .collect())
    }

    async fn lease(
        &self,
        consumer: Stage,
        nonce: &str,
        limit: Duration,
    ) -> Result<Option<Lease>, QueueError> {
        let Inner { keys, scripts, .. } = &*self.inner;
        let instance = format!("{:016x}", fastrand::u64(..));
        let reply = self.run(&scripts.lease, |call| {
            call.arg(5)
                .arg(keys.of("lease", consumer))
                .arg(keys.of("consumer", consumer));
            call.arg(keys.own("meta")).arg(LIST_OWNERS);
            call.arg(keys.own("ledger"));
            call.arg(nonce)
                .arg(millis(limit))
                .arg(&instance)
                .arg(PARTITIONS)
                .arg(&keys.pipeline);
            call.arg(&keys.raw).arg(&keys.normalized).arg(&keys.dead);
        });
        match reply.await? {
            Reply::Ok(token) => Ok(Some(Lease {
                consumer,
                token: reply::text(&token)?,
                limit,
            })),
            Reply::Held => Ok(None),
            other => Err(refusal(other, 0)),
        }
    }

    async fn renew(&self, lease: &Lease) -> Result<(), QueueError> {
        let Inner { keys, scripts, .. } = &*self.inner;
        let reply = self.run(&scripts.renew, |call| {
            call.arg(1).arg(keys.of("lease", lease.consumer));
            call.arg(&lease.token).arg(millis(lease.limit));
        });
        done(reply.await?, 0)
    }

    async fn release(&self, lease: &Lease) -> Result<(), QueueError> {
        let Inner { keys, scripts, .. } = &*self.inner;
        let reply = self.run(&scripts.release, |call| {
            call.arg(1)
                .arg(keys.of("lease", lease.consumer))
                .arg(&lease.token);
        });
        done(reply.await?, 0)
    }

    async fn state(&self, lease: &Lease) -> Result<State, QueueError> {
        // In pieces, so that a large state neither blocks Redis nor exceeds the timeout. Only the holder
        // of the lease writes the state, and each piece is read with the lease, so the pieces are
        // consistent. An entry may be returned twice.
        let keys = &self.inner.keys;
        let (key, holder) = (
            keys.of("state", lease.consumer),
            keys.of("lease", lease.consumer),
        );
        let token = redis::Value::BulkString(lease.token.clone().into_bytes());
        let mut entries = HashMap::new();
        let mut cursor = "0".to_owned();
        loop {
            // The lease is read last: its holder has held it while the piece was read.
            let mut scan = Pipeline::new();
            scan.cmd("HSCAN")
                .arg(&key)
                .arg(&cursor)
                .arg("COUNT")
                .arg(STATE_PIECE);
            scan.cmd("GET").arg(&holder);
            let [found, held] = self.inner.connection.read_all(&scan).await?;
            if held != token {
                return Err(QueueError::Fenced);
            }
            let [next, piece] = reply::exactly(found)?;
            entries.extend(reply::pairs(piece)?);
            cursor = reply::text(&next)?;
            if cursor == "0" {
                return Ok(entries.into_iter().collect());
            }
        }
    }

    async fn peek(&self, lease: &Lease, skip: usize, max: usize) -> Result<Peek, QueueError> {
        let keys = &self.inner.keys;
        let Some(source) = source_of(lease.consumer) else {
            let number = self.progress(lease.consumer).await?.number;
            return Ok(Peek {
                number,
                ..Peek::default()
            });
        };
        let source = keys.list(source);
        // Not a transaction, which Redis refuses at its memory limit. The number is read first: after a
        // concurrent commit it is too low, so that a commit of this peek is refused.
        let first = delta(skip);
        let last = first.saturating_add(delta(max)).saturating_sub(1);
        let mut peek = Pipeline::new();
        peek.cmd("HGET")
            .arg(keys.of("consumer", lease.consumer))
            .arg("number");
        peek.cmd("LRANGE").arg(source).arg(first).arg(last);
        peek.cmd("LLEN").arg(source);
        peek.cmd("LLEN").arg(&keys.normalized);
        let [number, items, length, output] = self.inner.connection.read_all(&peek).await?;
        Ok(Peek {
            number: reply::number(&number)?,
            items: reply::items(items)?,
            length: reply::count(&length)?,
            output_length: match output_of(lease.consumer) {
                Some(_) => reply::count(&output)?,
                None => 0,
            },
        })
    }

    async fn commit(&self, lease: &Lease, commit: &Commit) -> Result<(), QueueError> {
        let script = &self.inner.scripts.commit;
        let reply = self.run(script, |call| self.commit_call(lease, commit, call));
        done(reply.await?, commit.number)
    }

    async fn progress(&self, consumer: Stage) -> Result<Progress, QueueError> {
        let mut get = redis::cmd("HMGET");
        get.arg(self.inner.keys.of("consumer", consumer))
            .arg("number")
            .arg("by");
        let [number, by] = reply::exactly(self.inner.connection.read(&get).await?)?;
        Ok(Progress {
            number: reply::number(&number)?,
            by: if by == redis::Value::Nil {
                String::new()
            } else {
                reply::text(&by)?
            },
        })
    }

    async fn snapshot(&self) -> Result<Snapshot, QueueError> {
        let Inner { keys, scripts, .. } = &*self.inner;
        let reply = self.run(&scripts.snapshot, |call| {
            call.arg(5).arg(&keys.raw).arg(&keys.normalized);
            call.arg(&keys.dead)
                .arg(keys.own("ledger"))
                .arg(keys.own("meta"));
        });
        let snapshot = match reply.await.map_err(repeatable)? {
            Reply::Ok(snapshot) => snapshot,
            other => return Err(refusal(other, 0)),
        };
        let [counters, raw, normalized, dead, instance, time] = reply::exactly(snapshot)?;
        let mut ledger = Ledger::default();
        ledger.raw = reply::signed(&raw)?;
        ledger.normalized = reply::signed(&normalized)?;
        ledger.dead = reply::signed(&dead)?;
        for (name, value) in reply::pairs(counters)? {
            ledger.set_named(&name, reply::signed(&redis::Value::BulkString(value))?);
        }
        ledger.convert();
        Ok(Snapshot {
            instance: reply::text(&instance)?,
            server_time: reply::time(time)?,
            ledger,
        })
    }
}

/// The error of a script that only reads, and so may be repeated.
fn repeatable(error: QueueError) -> QueueError {
    match error {
        QueueError::Unknown(detail) => QueueError::unavailable(Cause::Unreachable, detail),
        other => other,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}
