//! When the messages of a simulation are sent, and which faults they have.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Context;
use common::clock::Clock;
use model::Timestamp;
use tokio::time::sleep;

use super::{Message, Simulation};
use crate::fleet::Faults;
use crate::settings::{FAST_SPAN, FleetSettings};

/// What takes messages.
pub(crate) trait Target {
    /// Sends a message; waits while there is no room for it.
    async fn send(&self, message: Message) -> anyhow::Result<()>;
}

/// The messages of a simulation, round by round.
pub(crate) struct SimulationSchedule {
    simulation: Simulation,
    faults: Faults,
    random: fastrand::Rng,
    clock: Clock,
    start: Timestamp,
    /// Messages to send, missing ones included.
    count: u64,
    late: VecDeque<(Timestamp, Message)>,
}

impl SimulationSchedule {
    /// A schedule that starts now, or in the past with `fast`.
    pub(crate) fn new(simulation: Simulation, settings: &FleetSettings, clock: Clock) -> Self {
        let count = settings.count.map_or(u64::MAX, |count| count as u64);
        let back = match (settings.fast, settings.count) {
            (false, _) => Duration::ZERO,
            (true, None) => FAST_SPAN,
            // At least one message a round and series.
            (true, Some(count)) => {
                let rounds = count.div_ceil(simulation.series().max(1));
                let rounds = u32::try_from(rounds).unwrap_or(u32::MAX);
                simulation.interval().saturating_mul(rounds).min(FAST_SPAN)
            }
        };
        Self {
            simulation,
            faults: settings.faults(),
            random: fastrand::Rng::with_seed(settings.seed),
            start: clock.now().minus(back).tick(Duration::from_millis(1)),
            clock,
            count,
            late: VecDeque::new(),
        }
    }

    /// Sends each round at its time, and rounds of the past at once.
    pub(crate) async fn send(&mut self, target: &impl Target) -> anyhow::Result<()> {
        let mut time = self.start;
        while self.count > 0 {
            while let wait = time.since(self.clock.now())
                && !wait.is_zero()
            {
                sleep(wait).await;
            }
            while let Some((_, message)) = self.late.pop_front_if(|(due, _)| *due <= time) {
                send(target, message).await?;
            }
            let mut messages = self.simulation.round(time);
            if self.happens(self.faults.shuffled) {
                self.random.shuffle(&mut messages);
            }
            for message in messages {
                if self.count == 0 {
                    break;
                }
                self.count -= 1;
                self.send_one(message, time, target).await?;
            }
            time = time.plus(self.simulation.interval());
        }
        for (_, message) in std::mem::take(&mut self.late) {
            send(target, message).await?;
        }
        Ok(())
    }

    async fn send_one(
        &mut self,
        mut message: Message,
        time: Timestamp,
        target: &impl Target,
    ) -> anyhow::Result<()> {
        if self.happens(self.faults.missing) {
            return Ok(());
        }
        if self.happens(self.faults.garbled) {
            message.payload.truncate(message.payload.len() / 2);
        }
        if self.happens(self.faults.late) {
            let due = time.plus(self.faults.late_by);
            self.late.push_back((due, message));
            return Ok(());
        }
        if self.happens(self.faults.duplicated) {
            send(target, message.clone()).await?;
        }
        send(target, message).await
    }

    fn happens(&mut self, probability: f64) -> bool {
        self.random.f64() < probability
    }
}

async fn send(target: &impl Target, message: Message) -> anyhow::Result<()> {
    target
        .send(message)
        .await
        .context("cannot publish a message")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use common::clock::Clock;
    use model::pipeline::PipelineFile;

    use super::{Message, SimulationSchedule, Target};
    use crate::settings::{FleetSettings, rigs};
    use crate::simulation::Simulation;

    #[derive(Default)]
    struct Collected(RefCell<Vec<Message>>);

    impl Target for Collected {
        async fn send(&self, message: Message) -> anyhow::Result<()> {
            self.0.borrow_mut().push(message);
            Ok(())
        }
    }

    async fn sent(change: impl FnOnce(&mut FleetSettings)) -> Vec<Message> {
        let text = "name = \"p\"\n[source]\ntopic = \"x/{d}\"\n[simulate]\ntags = { d = [\"a\", \"b\"] }\n\
                    fields = { v = { uniform = [1, 2] } }";
        let file = PipelineFile::parse("p.toml", text, &|_| None).unwrap();
        let mut settings = FleetSettings::of(rigs("1").unwrap());
        (settings.fast, settings.count) = (true, Some(1_000));
        change(&mut settings);
        let simulation = Simulation::new(&file, 1).unwrap();
        let mut schedule = SimulationSchedule::new(simulation, &settings, Clock::system());
        let target = Collected::default();
        schedule.send(&target).await.unwrap();
        target.0.into_inner()
    }

    #[tokio::test]
    async fn count_of_messages_is_sent_of_all_series() {
        let messages = sent(|_| ()).await;
        assert_eq!(messages.len(), 1_000);
        let of_a = messages.iter().filter(|message| message.topic == "x/a");
        assert_eq!(of_a.count(), 500);
        let again = sent(|settings| settings.seed = 1).await;
        let values = |messages: &[Message]| -> Vec<Vec<u8>> {
            let value = |message: &Message| {
                let payload: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
                payload["v"].to_string().into_bytes()
            };
            messages.iter().map(value).collect()
        };
        assert_eq!(values(&messages), values(&again), "same seed, same values");
    }

    #[tokio::test]
    async fn faults_happen_as_often_as_they_should() {
        let messages = sent(|settings| settings.missing = 0.5).await;
        assert!((400..600).contains(&messages.len()), "{}", messages.len());
        let messages = sent(|settings| settings.duplicated = 0.5).await;
        assert!(
            (1_400..1_600).contains(&messages.len()),
            "{}",
            messages.len()
        );
        let messages = sent(|settings| settings.garbled = 1.0).await;
        let is_json = |message: &Message| {
            serde_json::from_slice::<serde_json::Value>(&message.payload).is_ok()
        };
        assert!(!messages.iter().any(is_json));
        let messages = sent(|settings| settings.late = 0.5).await;
        assert_eq!(messages.len(), 1_000, "the late ones are sent, too");
    }
}
