//! A load of known messages, with a record of which were acknowledged.

mod device;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use common::health::Dependency;
use e2e::Deployment;
use fastrand::Rng;
use tokio::time::MissedTickBehavior;
use transport::{MqttSettings, Publisher};

use crate::message::{Cell, Epoch, Kind, Message, SENSORS};

/// How long the last messages may take to be acknowledged.
const DRAIN: Duration = Duration::from_mins(3);

/// Messages that are sent together.
pub type Batch = Vec<Message>;

/// The messages of a run, with their acknowledgements.
#[derive(Debug, Default)]
pub struct Sent {
    /// All messages in the order in which they were published.
    pub messages: Vec<Message>,
    /// Whether each message was acknowledged.
    pub acknowledged: Vec<bool>,
}

impl Sent {
    /// How many were acknowledged.
    #[must_use]
    pub fn count_acknowledged(&self) -> usize {
        self.acknowledged.iter().filter(|is| **is).count()
    }
}

/// A load that runs in its own thread.
#[derive(Debug)]
pub struct Traffic {
    stop: Arc<AtomicBool>,
    progress: Arc<Progress>,
    thread: JoinHandle<Sent>,
}

#[derive(Debug, Default)]
struct Progress {
    sent: AtomicUsize,
    acknowledged: AtomicUsize,
}

impl Traffic {
    /// Publishes one batch per `pause` to `port` until they end or the load is stopped: to a broker with
    /// Rigline's own publisher, to the single process as a device that reconnects quickly.
    #[must_use]
    pub fn start(
        deployment: Deployment,
        port: u16,
        epoch: Epoch,
        pause: Duration,
        batches: impl Iterator<Item = Batch> + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let progress = Arc::new(Progress::default());
        let (stopped, shared) = (Arc::clone(&stop), Arc::clone(&progress));
        let thread = std::thread::spawn(move || {
            if deployment == Deployment::OneProcess {
                return device::publish(port, epoch, pause, batches, &stopped, &shared);
            }
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(publish(port, epoch, pause, batches, &stopped, &shared))
        });
        Self {
            stop,
            progress,
            thread,
        }
    }

    /// Messages handed to the publisher so far.
    #[must_use]
    pub fn sent(&self) -> usize {
        self.progress.sent.load(Ordering::Relaxed)
    }

    /// Messages acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.progress.acknowledged.load(Ordering::Relaxed)
    }

    /// Whether all batches are sent and acknowledged.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Stops the load, and waits until every message is acknowledged.
    #[must_use]
    pub fn finish(self) -> Sent {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load panicked")
    }

    /// Waits until all batches are sent and acknowledged.
    #[must_use]
    pub fn join(self) -> Sent {
        self.thread.join().expect("the load panicked")
    }
}

async fn publish(
    port: u16,
    epoch: Epoch,
    pause: Duration,
    batches: impl Iterator<Item = Batch>,
    stop: &AtomicBool,
    progress: &Arc<Progress>,
) -> Sent {
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let (recorder, counter) = (Arc::clone(&acknowledged), Arc::clone(progress));
    let publisher = Publisher::start(
        &MqttSettings::at("127.0.0.1", port),
        "load",
        Dependency::unreported("mqtt"),
        move |id| {
            recorder
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(id);
            counter.acknowledged.fetch_add(1, Ordering::Relaxed);
        },
    );
    let mut messages: Vec<Message> = Vec::new();
    let mut ticks = (!pause.is_zero()).then(|| {
        let mut ticks = tokio::time::interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    });
    for batch in batches {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        for message in batch {
            let id = messages.len() as u64;
            messages.push(message);
            progress.sent.fetch_add(1, Ordering::Relaxed);
            let (topic, payload) = (message.topic(), message.payload(epoch));
            publisher
                .publish(id, topic, payload)
                .await
                .expect("a session");
        }
    }
    publisher.drain(DRAIN).await;
    publisher.close().await;
    let mut sent = Sent {
        acknowledged: vec![false; messages.len()],
        messages,
    };
    for id in acknowledged
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
    {
        sent.acknowledged[usize::try_from(*id).expect("a known id")] = true;
    }
    sent
}

/// Rows of all rigs, with some readings missing, sent twice, contradicted or garbled.
pub fn rounds(rigs: u16, seed: u64) -> impl Iterator<Item = Batch> + Send {
    let mut rng = Rng::with_seed(seed);
    (0_u32..).map(move |row| {
        let mut batch = Vec::with_capacity(usize::from(rigs) * SENSORS.len());
        for cell in cells(rigs, row) {
            if rng.f64() < 0.03 {
                continue;
            }
            let mut push = |kind| batch.push(Message { cell, kind });
            push(Kind::Reading);
            if rng.f64() < 0.02 {
                push(Kind::Reading);
            }
            if rng.f64() < 0.01 {
                push(Kind::Contradiction);
            }
            if rng.f64() < 0.005 {
                push(Kind::Garbled);
            }
        }
        batch
    })
}

/// Complete rows of all rigs.
pub fn complete(rigs: u16) -> impl Iterator<Item = Batch> + Send {
    (0_u32..).map(move |row| {
        cells(rigs, row)
            .map(|cell| Message {
                cell,
                kind: Kind::Reading,
            })
            .collect()
    })
}

/// The cells of one row of each rig.
pub fn cells(rigs: u16, row: u32) -> impl Iterator<Item = Cell> {
    (0..rigs).flat_map(move |rig| (0_u8..6).map(move |sensor| Cell { rig, row, sensor }))
}
