//! What is sent: by a fleet, what it is like and how it sends, or from a file.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use common::pipelines::{Pipeline, PipelineSettings};
use common::settings::{BadSetting, RedisSettings, Settings, count, duration, positive_duration};
use model::Name;
use transport::MqttSettings;

use crate::fleet::{Faults, Fleet, SENSORS};
use crate::replay::ReplaySettings;

#[cfg(test)]
mod tests;

/// More rigs than one process can simulate.
const MAX_RIGS: usize = 100_000;
/// How far back the first reading of a fast run may be: the ingester takes none older than 29 d.
pub(crate) const FAST_SPAN: Duration = Duration::from_hours(28 * 24);
/// How many rigs there are unless told otherwise.
const RIGS: usize = 10;
const UNUSED: &str = "with REPLAY nothing but the default: the readings of a file are sent as they \
     are, at a SPEED that may be max; COUNT and DURATION work as always";
const RIGS_FORMS: &str = "a number from 1 to 100000, or different names with commas between them, \
     each of 1 to 64 letters, digits, '-', '_', '.': RIG-1,RIG-42";

/// All settings of the producer.
#[derive(Debug, Clone, clap::Args)]
pub struct ProducerSettings {
    /// The pipelines whose messages are simulated.
    #[command(flatten)]
    pub pipelines: PipelineSettings,
    /// The broker.
    #[command(flatten)]
    pub mqtt: MqttSettings,
    /// The server of pipelines whose source is Redis Pub/Sub.
    #[command(flatten)]
    pub redis: RedisSettings,
    /// The fleet, and when to end.
    #[command(flatten)]
    pub fleet: FleetSettings,
    /// What is sent instead of the fleet's readings.
    #[command(flatten)]
    pub(crate) replay: ReplaySettings,
}

impl ProducerSettings {
    /// Those of a simulated fleet.
    #[must_use]
    pub fn simulated(mqtt: MqttSettings, fleet: FleetSettings) -> Self {
        Self {
            pipelines: PipelineSettings::rigs(),
            mqtt,
            redis: RedisSettings::local(),
            fleet,
            replay: ReplaySettings::default(),
        }
    }
}

impl Settings for ProducerSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        self.pipelines.check()?;
        self.mqtt.check()?;
        self.redis.check()?;
        let is_rigs = matches!(self.pipelines.all(), [Pipeline::Rigs(_)]);
        if self.replay.is_wanted() {
            let given = &self.pipelines.pipelines;
            BadSetting::unless(is_rigs, "PIPELINES", given, "rigs with REPLAY")?;
            self.fleet.check_unused()?;
        }
        self.fleet.check()?;
        self.replay.check()
    }
}

/// The names of the rigs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rigs(pub Vec<String>);

impl Rigs {
    /// The names of so many.
    fn numbered(count: usize) -> Self {
        Self((1..=count).map(|n| format!("RIG-{n:02}")).collect())
    }
}

/// The simulated fleet.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(next_help_heading = "Fleet")]
pub struct FleetSettings {
    /// How many rigs (RIG-01, RIG-02, ...), or their names: RIG-1,RIG-42
    #[arg(long, env = "RIGS", default_value = "10", value_parser = rigs)]
    pub rigs: Rigs,
    /// Time between two rounds; in a round each sensor of each rig gives one reading
    #[arg(long, env = "INTERVAL", default_value = "1s", value_parser = positive_duration)]
    pub interval: Duration,
    /// Send as fast as possible: the fleet's past, with timestamps that are INTERVAL apart. With
    /// COUNT they end at the present; otherwise they start 28 days ago, and having reached the
    /// present it goes on at INTERVAL
    #[arg(long, env = "FAST", value_parser = BoolishValueParser::new())]
    pub fast: bool,
    /// End after this many readings; of a fleet missing ones count, duplicates don't [default: no end]
    #[arg(long, env = "COUNT", value_parser = count)]
    pub count: Option<usize>,
    /// End after this time, instead [default: no end]
    #[arg(long, env = "DURATION", value_parser = positive_duration)]
    pub duration: Option<Duration>,
    /// What the readings are made from: same seed, same readings
    #[arg(long, env = "SEED", default_value_t = 1)]
    pub seed: u64,
    /// Probability that a reading isn't sent
    #[arg(long, env = "MISSING", default_value = "0", value_parser = probability)]
    pub missing: f64,
    /// Probability that a reading is sent twice
    #[arg(long, env = "DUPLICATED", default_value = "0", value_parser = probability)]
    pub duplicated: f64,
    /// Probability that a reading is sent `LATE_BY` later, between those of a later round
    #[arg(long, env = "LATE", default_value = "0", value_parser = probability)]
    pub late: f64,
    /// How late those are, rounded up to whole rounds (with FAST: of the timestamps' time)
    #[arg(long, env = "LATE_BY", default_value = "30s", value_parser = duration)]
    pub late_by: Duration,
    /// Probability that a reading's payload is cut short, so that it becomes a dead letter
    #[arg(long, env = "GARBLED", default_value = "0", value_parser = probability)]
    pub garbled: f64,
    /// Probability that the readings of a round are sent in a shuffled order
    #[arg(long, env = "SHUFFLED", default_value = "0", value_parser = probability)]
    pub shuffled: f64,
    /// Each rig's clock is off by a fixed time of its own, at most this, ahead or behind; readings
    /// more than the ingester's `MAX_FUTURE` ahead become dead letters
    #[arg(long, env = "CLOCK_OFFSET", default_value = "0s", value_parser = duration)]
    pub clock_offset: Duration,
}

impl FleetSettings {
    /// Those of a fleet of these rigs that sends a reading of each sensor a second, without an end
    /// and without faults.
    #[must_use]
    pub fn of(rigs: Rigs) -> Self {
        Self {
            rigs,
            interval: Duration::from_secs(1),
            fast: false,
            count: None,
            duration: None,
            seed: 1,
            missing: 0.0,
            duplicated: 0.0,
            late: 0.0,
            late_by: Duration::from_secs(30),
            garbled: 0.0,
            shuffled: 0.0,
            clock_offset: Duration::ZERO,
        }
    }

    /// The simulated faults.
    #[must_use]
    pub(crate) fn faults(&self) -> Faults {
        let &Self {
            missing,
            duplicated,
            late,
            late_by,
            garbled,
            shuffled,
            clock_offset,
            ..
        } = self;
        Faults {
            missing,
            duplicated,
            late,
            late_by,
            garbled,
            shuffled,
            clock_offset,
        }
    }

    /// The fleet that these settings describe.
    #[must_use]
    pub fn fleet(&self) -> Fleet {
        Fleet::new(&self.rigs.0, self.seed, self.faults())
    }

    /// Refuses what would do nothing, because the readings come from a file.
    fn check_unused(&self) -> Result<(), BadSetting> {
        let usual = Self::of(Rigs::numbered(RIGS));
        let rigs = (self.rigs != usual.rigs).then(|| self.rigs.0.join(","));
        if let Some(mut given) = rigs {
            given.truncate(80);
            return Err(BadSetting::new("RIGS", &given, UNUSED));
        }
        for ((variable, given), (_, usual)) in self.of_fleets().into_iter().zip(usual.of_fleets()) {
            BadSetting::unless(given == usual, variable, &given, UNUSED)?;
        }
        Ok(())
    }

    /// What only a fleet needs, but its rigs.
    fn of_fleets(&self) -> [(&'static str, String); 10] {
        [
            ("INTERVAL", format!("{:?}", self.interval)),
            ("FAST", self.fast.to_string()),
            ("SEED", self.seed.to_string()),
            ("MISSING", self.missing.to_string()),
            ("DUPLICATED", self.duplicated.to_string()),
            ("LATE", self.late.to_string()),
            ("LATE_BY", format!("{:?}", self.late_by)),
            ("GARBLED", self.garbled.to_string()),
            ("SHUFFLED", self.shuffled.to_string()),
            ("CLOCK_OFFSET", format!("{:?}", self.clock_offset)),
        ]
    }

    /// Readings in a round, missing ones included.
    pub(crate) fn per_round(&self) -> u64 {
        (self.rigs.0.len() * SENSORS.len()) as u64
    }

    /// How many rounds there are with `COUNT`.
    pub(crate) fn rounds(&self) -> Option<u64> {
        self.count
            .map(|count| (count as u64).div_ceil(self.per_round()))
    }

    /// How many rounds a late reading is late.
    pub(crate) fn late_rounds(&self) -> u64 {
        let rounds = self
            .late_by
            .as_nanos()
            .div_ceil(self.interval.as_nanos().max(1));
        u64::try_from(rounds).unwrap_or(u64::MAX).max(1)
    }
}

impl Settings for FleetSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        let interval = format!("{:?}", self.interval);
        let milliseconds = "1ms or more: timestamps are in milliseconds";
        BadSetting::unless(
            self.interval >= Duration::from_millis(1),
            "INTERVAL",
            &interval,
            milliseconds,
        )?;
        if let (Some(_), Some(duration)) = (self.count, self.duration) {
            let given = format!("{duration:?}");
            return Err(BadSetting::new(
                "DURATION",
                &given,
                "either COUNT or DURATION, not both",
            ));
        }
        let (Some(rounds), true) = (self.rounds(), self.fast) else {
            return Ok(());
        };
        let most = FAST_SPAN.as_nanos() / self.interval.as_nanos();
        let given = self.count.unwrap_or_default().to_string();
        let accepted = format!(
            "with FAST at most 28 days of INTERVAL {interval}, which are {} readings of {} rigs",
            most * u128::from(self.per_round()),
            self.rigs.0.len()
        );
        BadSetting::unless(u128::from(rounds) <= most, "COUNT", &given, &accepted)
    }
}

/// Reads a number of rigs, or their names with commas between them.
pub fn rigs(text: &str) -> Result<Rigs, String> {
    let refused = || RIGS_FORMS.to_owned();
    let text = text.trim();
    // "-1" and "1.5" could be names, but weren't meant to be.
    if text
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.'))
    {
        let count = text
            .parse()
            .ok()
            .filter(|count| (1..=MAX_RIGS).contains(count));
        return count.map(Rigs::numbered).ok_or_else(refused);
    }
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    let different = names.iter().collect::<BTreeSet<_>>().len() == names.len();
    let valid = names.iter().all(|name| Name::sensor(name).is_ok());
    let fits = different && names.len() <= MAX_RIGS && valid;
    fits.then_some(Rigs(names)).ok_or_else(refused)
}

fn probability(text: &str) -> Result<f64, String> {
    match text.trim().parse() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(number),
        _ => Err("a number from 0 to 1".to_owned()),
    }
}
