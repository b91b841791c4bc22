//! Sends a fleet's readings, round by round.

use std::time::Duration;

use anyhow::Context;
use common::clock::Clock;
use model::time::Timestamp;
use model::{element, topic};
use tokio::time::sleep;

use crate::fleet::{Fleet, SENSORS, Sending};
use crate::outlet::Outlet;
use crate::settings::{FAST_SPAN, FleetSettings};

/// The readings to send, and their times.
pub(crate) struct Schedule {
    fleet: Fleet,
    /// The topics, by rig and then by sensor.
    topics: Vec<String>,
    /// The timestamp of round 0.
    start: Timestamp,
    interval: Duration,
    clock: Clock,
    count: u64,
    late_rounds: u64,
}

impl Schedule {
    /// The schedule of a fleet that starts now, or in the past with `fast`.
    pub fn new(settings: &FleetSettings, clock: Clock) -> Self {
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
            // The last late readings are also due by now.
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
        }
    }

    /// Sends each round at its time, and rounds of the past at once. So a delayed producer catches up, and a
    /// fast one is one that starts in the past.
    pub async fn send(&self, outlet: &Outlet<'_>) -> anyhow::Result<()> {
        let rounds = self.count.div_ceil(self.topics.len() as u64);
        let mut balance = Balance::default();
        self.expect(outlet, &balance);
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
                self.send_round(earlier, true, outlet, &mut balance).await?;
            }
            self.send_round(round, false, outlet, &mut balance).await?;
        }
        Ok(())
    }

    /// Sends either the late readings of a round or the others.
    async fn send_round(
        &self,
        round: u64,
        late: bool,
        outlet: &Outlet<'_>,
        balance: &mut Balance,
    ) -> anyhow::Result<()> {
        let before = round.saturating_mul(self.topics.len() as u64);
        let left = usize::try_from(self.count.saturating_sub(before)).unwrap_or(usize::MAX);
        let time = self.timestamp(round);
        let (mut written, mut head) = (time, payload_head(time));
        for place in self.fleet.order(round, left) {
            let (rig, sensor) = (place / SENSORS.len(), place % SENSORS.len());
            let sending = self.fleet.sending(rig, sensor, round);
            if sending.late != late {
                continue;
            }
            let timestamp = self.fleet.clock(rig, time);
            if timestamp != written {
                (written, head) = (timestamp, payload_head(timestamp));
            }
            for _ in 0..sending.copies {
                let mut payload = Vec::with_capacity(head.len() + 16);
                payload.extend_from_slice(&head);
                element::write_number(self.fleet.value(rig, sensor, round), &mut payload);
                if !sending.garbled {
                    payload.push(b'}');
                }
                let taken = outlet.send(self.topics[place].clone(), payload).await;
                taken.context("cannot publish a reading")?;
            }
            balance.add(sending);
            self.expect(outlet, balance);
        }
        Ok(())
    }

    fn expect(&self, outlet: &Outlet<'_>, balance: &Balance) {
        if self.count < u64::MAX {
            outlet.expect(balance.of(self.count));
        }
    }

    fn timestamp(&self, round: u64) -> Timestamp {
        self.start.plus(times(self.interval, round))
    }
}

/// Counts of missing and additional messages so far.
#[derive(Debug, Default)]
struct Balance {
    missing: u64,
    more: u64,
}

impl Balance {
    fn add(&mut self, sending: Sending) {
        self.missing += u64::from(sending.copies == 0);
        self.more += sending.copies.saturating_sub(1) as u64;
    }

    /// Number of messages for this many readings.
    fn of(&self, readings: u64) -> u64 {
        (readings + self.more).saturating_sub(self.missing)
    }
}

/// `count` times `duration`, saturating.
fn times(duration: Duration, count: u64) -> Duration {
    let ns = duration.as_nanos().saturating_mul(count.into());
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

/// A payload up to its value. The timestamp always has milliseconds.
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
    use model::time::Timestamp;

    use super::payload_head;

    #[test]
    fn timestamps_have_milliseconds() {
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
