//! Messages of a Kafka topic.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::kafka::{KafkaError, Position, Reader, ReaderSettings, Record, partition_name};
use common::backoff::Backoff;
use common::health::Dependency;
use common::metric;
use metrics::counter;
use model::position::{PositionStep, Positions};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::source::{Delivery, Origin, SessionEnded, Source};

/// Reads that wait for the caller.
const CAPACITY: usize = 2;
const MIN_WAIT: Duration = Duration::from_millis(250);
const MAX_WAIT: Duration = Duration::from_secs(10);
/// How often the group's offsets are committed, which are for other programs to see.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// The place of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KafkaTicket {
    partition: i32,
    position: Position,
}

/// A member of a group that reads a topic.
///
/// The queue keeps the positions: each append sets how far its records were read, so a record enters once. The
/// offsets of the group follow them, for programs that show its lag.
#[derive(Debug)]
pub struct KafkaSource {
    topic: String,
    deliveries: mpsc::Receiver<Vec<Record>>,
    /// Records that were received and are not handed out yet.
    rest: std::vec::IntoIter<Record>,
    acked: Arc<Mutex<Acked>>,
    task: JoinHandle<()>,
    stop: DropGuard,
}

/// How far the queue has the topic.
#[derive(Debug, Default)]
struct Acked {
    /// As the queue stores it.
    positions: Positions,
    /// The next offset of each partition, for the group.
    offsets: BTreeMap<i32, i64>,
}

impl KafkaSource {
    /// Joins the group in the background, and retries without end; `dependency` is up while records can arrive.
    /// `positions` are those of the queue. Needs a tokio runtime.
    #[must_use]
    pub fn start(settings: &ReaderSettings, dependency: Dependency, positions: Positions) -> Self {
        let stop = CancellationToken::new();
        let (outgoing, deliveries) = mpsc::channel(CAPACITY);
        let acked = Arc::new(Mutex::new(Acked {
            positions: positions.clone(),
            offsets: BTreeMap::new(),
        }));
        let task = ReaderTask {
            settings: settings.clone(),
            positions,
            acked: acked.clone(),
            outgoing,
            dependency,
            stop: stop.clone(),
        };
        Self {
            topic: settings.topic.clone(),
            deliveries,
            rest: Vec::new().into_iter(),
            acked,
            task: tokio::spawn(task.run()),
            stop: stop.drop_guard(),
        }
    }

    fn acked(&self) -> MutexGuard<'_, Acked> {
        self.acked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hand_out(&mut self, max: usize, batch: &mut Vec<Delivery<KafkaTicket>>) -> usize {
        let before = batch.len();
        for record in self.rest.by_ref().take(max) {
            let ticket = KafkaTicket {
                partition: record.partition,
                position: record.position,
            };
            // A record without a value was counted and left out before.
            let payload = record.value.unwrap_or_default();
            batch.push(Delivery {
                origin: Some(Origin {
                    partition: record.partition,
                    offset: record.position.next - 1,
                    key: record.key,
                    headers: record.headers,
                }),
                ..Delivery::new(self.topic.clone(), payload, ticket)
            });
        }
        batch.len() - before
    }
}

impl Source for KafkaSource {
    const NAME: &'static str = "kafka";
    const HAS_POSITIONS: bool = true;
    type Ticket = KafkaTicket;

    async fn recv_batch(
        &mut self,
        max: usize,
        batch: &mut Vec<Delivery<KafkaTicket>>,
    ) -> Result<usize, SessionEnded> {
        let max = max.max(1);
        loop {
            match self.hand_out(max, batch) {
                0 => {}
                taken => return Ok(taken),
            }
            let records = self.deliveries.recv().await.ok_or(SessionEnded)?;
            self.rest = records.into_iter();
        }
    }

    fn steps<'a>(&self, tickets: impl Iterator<Item = &'a KafkaTicket>) -> Vec<PositionStep> {
        let acked = self.acked();
        let steps = last_of(tickets.copied())
            .into_iter()
            .map(|(partition, position)| {
                let partition = partition_name(&self.topic, partition);
                PositionStep {
                    from: acked.positions.get(&partition).cloned().unwrap_or_default(),
                    to: position.to_string(),
                    partition,
                }
            });
        steps.collect()
    }

    fn ack(&self, tickets: impl IntoIterator<Item = KafkaTicket>) {
        let mut acked = self.acked();
        for (partition, position) in last_of(tickets) {
            let name = partition_name(&self.topic, partition);
            acked.positions.insert(name, position.to_string());
            acked.offsets.insert(partition, position.next);
        }
    }

    async fn close(self) {
        let Self { task, stop, .. } = self;
        stop.disarm().cancel();
        drop(self.deliveries);
        if let Err(error) = task.await {
            tracing::error!(%error, "the task of a Kafka reader panicked");
        }
    }
}

/// The last position of each partition.
fn last_of(tickets: impl IntoIterator<Item = KafkaTicket>) -> BTreeMap<i32, Position> {
    let tickets = tickets.into_iter();
    tickets
        .map(|ticket| (ticket.partition, ticket.position))
        .collect()
}

struct ReaderTask {
    settings: ReaderSettings,
    positions: Positions,
    acked: Arc<Mutex<Acked>>,
    outgoing: mpsc::Sender<Vec<Record>>,
    dependency: Dependency,
    stop: CancellationToken,
}

impl ReaderTask {
    async fn run(self) {
        let mut backoff = Backoff::new(MIN_WAIT, MAX_WAIT);
        let opened = self.stop.run_until_cancelled(async {
            loop {
                match Reader::open(&self.settings, &self.positions).await {
                    Ok(reader) => return reader,
                    Err(error) => self.failed(&error, &mut backoff).await,
                }
            }
        });
        let Some(mut reader) = opened.await else {
            return;
        };
        let read = self.read(&mut reader, &mut backoff);
        self.stop.run_until_cancelled(read).await;
        reader.commit(&self.offsets()).await;
        reader.close().await;
    }

    /// Reads until the caller has ended, or an error can't be helped by another read. Then a new session starts
    /// from the positions of the queue.
    async fn read(&self, reader: &mut Reader, backoff: &mut Backoff) {
        let mut commit_at = Instant::now() + COMMIT_INTERVAL;
        loop {
            match reader.read().await {
                Ok(records) => {
                    self.dependency.up();
                    backoff.reset();
                    let records = without_tombstones(records);
                    if !records.is_empty() && self.outgoing.send(records).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    self.failed(&error, backoff).await;
                    if matches!(error, KafkaError::Denied(_)) {
                        return;
                    }
                }
            }
            if Instant::now() >= commit_at {
                reader.commit(&self.offsets()).await;
                commit_at = Instant::now() + COMMIT_INTERVAL;
            }
        }
    }

    fn offsets(&self) -> BTreeMap<i32, i64> {
        let acked = self.acked.lock().unwrap_or_else(PoisonError::into_inner);
        acked.offsets.clone()
    }

    async fn failed(&self, error: &KafkaError, backoff: &mut Backoff) {
        self.dependency.down(error);
        sleep(backoff.next_wait()).await;
    }
}

/// Records with a value. The others mark a key as deleted, which is no reading; they are counted.
fn without_tombstones(mut records: Vec<Record>) -> Vec<Record> {
    let before = records.len();
    records.retain(|record| record.value.is_some());
    let left_out = (before - records.len()) as u64;
    if left_out > 0 {
        counter!(metric::LEFT_OUT, "reason" => "tombstone").increment(left_out);
    }
    records
}
