//! Sending the fleet's readings, round after round.

use std::time::Duration;

use anyhow::Context;
use common::clock::Clock;
use common::harness::Process;
use common::time::Timestamp;
use common::{metric, topic, wire};
use metrics::{Counter, counter};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use transport::{Counts, Publisher};

use crate::fleet::{Fleet, SENSORS};
use crate::settings::{FAST_SPAN, FleetSettings, ProducerSettings};

/// Time between two lines about progress.
const PROGRESS: Duration = Duration::from_secs(5);
/// How long outstanding acknowledgements are waited for once told to stop. With [`GOODBYE`] it is
/// less than a process has to stop in.
const DRAIN: Duration = Duration::from_secs(9);
const GOODBYE: Duration = Duration::from_millis(300);

/// Sends the fleet's readings until it is told to stop, or has sent as many or for as long as its
/// settings say, and waits for the broker to acknowledge them.
pub async fn run(settings: ProducerSettings, process: Process) -> anyhow::Result<()> {
    let client_id = settings
        .mqtt
        .client_id_or(|| format!("rigline-producer-{:08x}", fastrand::u32(..)));
    let acknowledged = counter!(metric::PRODUCED, "state" => "acknowledged");
    let dependency = process.health.dependency("mqtt");
    let publisher = Publisher::start(&settings.mqtt, &client_id, dependency, move |_| {
        acknowledged.increment(1);
    });
    let schedule = Schedule::new(&settings.fleet, process.clock);

    let ended = tokio::select! {
        biased;
        () = process.stop.cancelled() => Ok(()),
        () = progress(&publisher, &process) => Ok(()),
        ended = all(&schedule, &publisher, settings.fleet.duration) => ended,
    };
    if process.stop.is_cancelled() {
        publisher.drain(DRAIN).await;
    }
    say(publisher.counts());
    // The broker may be gone, and everything has been said.
    let _ = timeout(GOODBYE, publisher.close()).await;
    ended
}

/// Sends for `duration`, or to the end, and waits until all is acknowledged.
async fn all(
    schedule: &Schedule,
    publisher: &Publisher,
    duration: Option<Duration>,
) -> anyhow::Result<()> {
    let sending = schedule.send(publisher);
    match duration {
        Some(limit) => timeout(limit, sending).await.unwrap_or(Ok(()))?,
        None => sending.await?,
    }
    tracing::info!(sent = publisher.counts().sent, "all readings are sent");
    while !publisher.drain(PROGRESS).await {}
    Ok(())
}

fn say(counts: Counts) {
    let Counts {
        sent,
        acknowledged,
        unacknowledged,
    } = counts;
    if unacknowledged == 0 {
        tracing::info!(sent, acknowledged, unacknowledged, "done");
    } else {
        tracing::warn!(
            sent,
            acknowledged,
            unacknowledged,
            "done, but not all are acknowledged"
        );
    }
}

/// Shows that the process is alive, and how far it has come.
async fn progress(publisher: &Publisher, process: &Process) {
    let mut every = interval_at(Instant::now() + PROGRESS, PROGRESS);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut before, mut then) = (0, Instant::now());
    loop {
        every.tick().await;
        process.health.tick();
        let Counts {
            sent, acknowledged, ..
        } = publisher.counts();
        let ms = u64::try_from(then.elapsed().as_millis()).unwrap_or(u64::MAX);
        let per_second = (acknowledged - before).saturating_mul(1_000) / ms.max(1);
        tracing::info!(sent, acknowledged, per_second, "progress");
        (before, then) = (acknowledged, Instant::now());
    }
}

/// What is sent, and when.
struct Schedule {
    fleet: Fleet,
    /// By rig, then by sensor.
    topics: Vec<String>,
    /// The timestamp of round 0.
    start: Timestamp,
    interval: Duration,
    clock: Clock,
    count: u64,
    late_rounds: u64,
    sent: Counter,
}

impl Schedule {
    fn new(settings: &FleetSettings, clock: Clock) -> Self {
        let fleet = settings.fleet();
        let rigs = 0..fleet.rigs();
        let topics =
            rigs.flat_map(|rig| SENSORS.map(|s| topic::format(fleet.rig_name(rig), s.name)));
        let topics = topics.collect();
        let late_rounds = if settings.late > 0.0 {
            settings.late_rounds()
        } else {
            0
        };
        let back = match (settings.fast, settings.rounds()) {
            (false, _) => Duration::ZERO,
            (true, None) => FAST_SPAN,
            // The last late ones, too, are due by now.
            (true, Some(rounds)) => {
                times(settings.interval, rounds.saturating_add(late_rounds)).min(FAST_SPAN)
            }
        };
        Self {
            fleet,
            topics,
            start: clock.now().minus(back).tick(Duration::from_millis(1)),
            interval: settings.interval,
            clock,
            count: settings.count.map_or(u64::MAX, |count| count as u64),
            late_rounds,
            sent: counter!(metric::PRODUCED, "state" => "sent"),
        }
    }

    /// Sends everything, each round when its time has come: a round of the past at once. So a
    /// producer that was held up catches up, and a fast one is one that starts in the past.
    async fn send(&self, publisher: &Publisher) -> anyhow::Result<()> {
        let rounds = self.count.div_ceil(self.topics.len() as u64);
        let mut next_id = 0;
        for round in 0..rounds.saturating_add(self.late_rounds) {
            let due = self.timestamp(round);
            while let wait = due.since(self.clock.now())
                && !wait.is_zero()
            {
                sleep(wait).await;
            }
            if let Some(earlier) = round.checked_sub(self.late_rounds)
                && self.late_rounds > 0
            {
                self.send_round(earlier, true, publisher, &mut next_id)
                    .await?;
            }
            self.send_round(round, false, publisher, &mut next_id)
                .await?;
        }
        Ok(())
    }

    /// Sends the readings of a round that are late, or those that aren't.
    async fn send_round(
        &self,
        round: u64,
        late: bool,
        publisher: &Publisher,
        next_id: &mut u64,
    ) -> anyhow::Result<()> {
        let before = round.saturating_mul(self.topics.len() as u64);
        let left = usize::try_from(self.count.saturating_sub(before)).unwrap_or(usize::MAX);
        let head = payload_head(self.timestamp(round));
        for (place, topic) in self.topics.iter().enumerate().take(left) {
            let (rig, sensor) = (place / SENSORS.len(), place % SENSORS.len());
            let fate = self.fleet.fate(rig, sensor, round);
            if fate.late != late {
                continue;
            }
            for _ in 0..fate.copies {
                let mut payload = Vec::with_capacity(head.len() + 16);
                payload.extend_from_slice(&head);
                wire::write_number(self.fleet.value(rig, sensor, round), &mut payload);
                if !fate.garbled {
                    payload.push(b'}');
                }
                let taken = publisher.publish(*next_id, topic.clone(), payload).await;
                taken.context("cannot publish a reading")?;
                self.sent.increment(1);
                *next_id += 1;
            }
        }
        Ok(())
    }

    fn timestamp(&self, round: u64) -> Timestamp {
        self.start.plus(times(self.interval, round))
    }
}

/// `count` times `duration`, saturating.
fn times(duration: Duration, count: u64) -> Duration {
    let ns = duration.as_nanos().saturating_mul(count.into());
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

/// A payload as far as its value; the timestamp always has milliseconds.
fn payload_head(timestamp: Timestamp) -> Vec<u8> {
    let second = timestamp.tick(Duration::from_secs(1));
    let mut head = b"{\"timestamp\":\"".to_vec();
    second.write_to(&mut head);
    head.pop();
    let ms = timestamp.since(second).subsec_millis();
    head.extend_from_slice(format!(".{ms:03}Z\",\"value\":").as_bytes());
    head
}

#[cfg(test)]
mod tests {
    use common::time::Timestamp;

    use super::payload_head;

    #[test]
    fn a_timestamp_has_milliseconds() {
        for (ms, want) in [
            (1_762_093_293_512, "2025-11-02T14:21:33.512Z"),
            (1_762_093_293_000, "2025-11-02T14:21:33.000Z"),
        ] {
            let head = payload_head(Timestamp::from_millis(ms));
            assert_eq!(
                head,
                format!(r#"{{"timestamp":"{want}","value":"#).into_bytes()
            );
        }
    }
}
