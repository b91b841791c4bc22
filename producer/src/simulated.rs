//! Publishes what pipeline files simulate.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use common::harness::Process;
use common::metric;
use metrics::counter;
use model::pipeline::{PipelineFile, SourceKind};
use tokio::time::timeout;
use transport::{Counts, MqttSettings, PubSubSettings, Publisher, RedisPublisher};

use crate::run::{DISCONNECT_LIMIT, DRAIN, check_sizes};
use crate::settings::ProducerSettings;
use crate::simulation::{Message, Simulation, SimulationSchedule, Target};

/// How long to wait before the next message after one that couldn't be published to Redis.
const REDIS_WAIT: Duration = Duration::from_millis(500);

/// Publishes the messages of a pipeline until the process stops, or up to the configured count or duration.
pub(crate) async fn run(
    file: &PipelineFile,
    settings: &ProducerSettings,
    process: &Process,
) -> anyhow::Result<()> {
    let simulation = Simulation::new(file, settings.fleet.seed)?;
    let (name, series) = (file.name.as_str(), simulation.series());
    tracing::info!(pipeline = name, series, interval = ?simulation.interval(), "simulating");
    let mut schedule = SimulationSchedule::new(simulation, &settings.fleet, process.clock);
    match file.source.kind() {
        SourceKind::Mqtt => {
            let publisher = publisher(file, settings, process)?;
            let target = MqttTarget {
                publisher,
                next_id: AtomicU64::new(0),
            };
            let sent = send(&mut schedule, &target, settings.fleet.duration, process).await;
            let counts = target.close().await;
            sent.and_then(|()| check_sizes(counts))
        }
        // The file's check refuses it.
        kind @ (SourceKind::Kafka | SourceKind::Http | SourceKind::HttpStream) => {
            anyhow::bail!("messages of kind = \"{}\" can't be simulated", kind.name())
        }
        SourceKind::RedisPubsub => {
            let server = PubSubSettings::of_file(&file.source, &settings.redis);
            let server = server.context("cannot use Redis Pub/Sub")?;
            let dependency = process.health.dependency("redis_pubsub");
            let target = RedisTarget(RedisPublisher::new(&server, dependency));
            send(&mut schedule, &target, settings.fleet.duration, process).await
        }
    }
}

fn publisher(
    file: &PipelineFile,
    settings: &ProducerSettings,
    process: &Process,
) -> anyhow::Result<Publisher> {
    let mut mqtt: MqttSettings = settings.mqtt.clone();
    if let Some(url) = &file.source.url {
        mqtt.set_url(url)?;
    }
    let (name, random) = (file.name.as_str(), fastrand::u32(..));
    let client_id = format!("rigline-producer-{name}-{random:08x}");
    let acknowledged = counter!(metric::PRODUCED, "state" => "acknowledged");
    let dependency = process.health.dependency("mqtt");
    Ok(Publisher::start(&mqtt, &client_id, dependency, move |_| {
        acknowledged.increment(1);
    }))
}

async fn send(
    schedule: &mut SimulationSchedule,
    target: &impl Target,
    duration: Option<Duration>,
    process: &Process,
) -> anyhow::Result<()> {
    let limit = duration.unwrap_or(Duration::MAX);
    tokio::select! {
        biased;
        () = process.stop.cancelled() => Ok(()),
        sent = timeout(limit, schedule.send(target)) => sent.unwrap_or(Ok(())),
        never = process.health.tick_for_ever() => match never {},
    }
}

struct MqttTarget {
    publisher: Publisher,
    next_id: AtomicU64,
}

impl MqttTarget {
    /// Waits for the acknowledgements and ends the session.
    async fn close(self) -> Counts {
        self.publisher.drain(DRAIN).await;
        let counts = self.publisher.counts();
        let (sent, unacknowledged) = (counts.sent, counts.unacknowledged);
        tracing::info!(sent, unacknowledged, "done");
        // The broker may be gone.
        let _ = timeout(DISCONNECT_LIMIT, self.publisher.close()).await;
        counts
    }
}

impl Target for MqttTarget {
    async fn send(&self, message: Message) -> anyhow::Result<()> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.publisher
            .publish(id, message.topic, message.payload)
            .await?;
        counter!(metric::PRODUCED, "state" => "sent").increment(1);
        Ok(())
    }
}

struct RedisTarget(RedisPublisher);

impl Target for RedisTarget {
    /// A message that can't be published is lost, as it is for every publisher of Redis Pub/Sub.
    async fn send(&self, message: Message) -> anyhow::Result<()> {
        counter!(metric::PRODUCED, "state" => "sent").increment(1);
        match self.0.publish(&message.topic, &message.payload).await {
            Ok(_) => counter!(metric::PRODUCED, "state" => "acknowledged").increment(1),
            // The dependency has logged why.
            Err(_) => tokio::time::sleep(REDIS_WAIT).await,
        }
        Ok(())
    }
}
