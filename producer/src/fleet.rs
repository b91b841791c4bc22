//! The simulated measurements: pure functions of seed, rig, sensor and round, so that any reading can be
//! computed again. They use no clock, and no random generator that may change with its version.

use std::time::Duration;

use model::time::Timestamp;

#[cfg(test)]
mod tests;

/// A kind of sensor that every rig has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sensor {
    /// Its name in topics.
    pub name: &'static str,
    /// Its lowest value.
    pub low: f64,
    /// Its highest value.
    pub high: f64,
}

const fn sensor(name: &'static str, low: f64, high: f64) -> Sensor {
    Sensor { name, low, high }
}

/// The sensors of a rig: temperatures in °C, pressure in bar, flow rate in L/min, voltage in V,
/// current in A.
pub const SENSORS: [Sensor; 6] = [
    sensor("temp_inlet", 40.0, 80.0),
    sensor("temp_outlet", 40.0, 80.0),
    sensor("pressure", 2.0, 35.0),
    sensor("flow_rate", 10.0, 50.0),
    sensor("voltage", 220.0, 240.0),
    sensor("current", 2.0, 6.0),
];

/// Distance of a sensor's base value from both ends of its range, as a fraction of the range: more than
/// drift and noise together.
const MARGIN: f64 = 0.25;
const DRIFT: f64 = 0.18;
const NOISE: f64 = 0.04;
/// Largest clock offset, in milliseconds: far more than the setting allows.
const MAX_CLOCK_MS: i64 = 1 << 60;
/// Shortest and longest period of a drift, in rounds.
const DRIFT_ROUNDS: (u64, u64) = (600, 3_600);

/// The simulated faults, most of them as probabilities per reading.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Faults {
    /// The reading isn't sent.
    pub missing: f64,
    /// The reading is sent twice.
    pub duplicated: f64,
    /// The reading is sent [`Faults::late_by`] after the others.
    pub late: f64,
    /// Delay of late readings.
    pub late_by: Duration,
    /// The payload is truncated, so that it can't be decoded.
    pub garbled: f64,
    /// The readings of a round are sent in another order: a probability per round.
    pub shuffled: f64,
    /// Largest offset of a rig's clock, in both directions.
    pub clock_offset: Duration,
}

/// How a reading is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sending {
    /// Number of copies: 0 if it is missing, 2 if it is duplicated.
    pub copies: usize,
    /// Whether it is sent late.
    pub late: bool,
    /// Whether its payload is truncated.
    pub garbled: bool,
}

/// The rigs and their sensors.
#[derive(Debug, Clone)]
pub struct Fleet {
    rigs: Vec<Rig>,
    seed: u64,
    faults: Faults,
}

#[derive(Debug, Clone)]
struct Rig {
    name: String,
    sensors: [Trend; SENSORS.len()],
    /// Offset of its clock, in milliseconds.
    clock_ms: i64,
}

/// The values of one sensor of one rig.
#[derive(Debug, Clone, Copy)]
struct Trend {
    seed: u64,
    /// The base value, as a fraction of the sensor's range.
    base: f64,
    drift_rounds: u64,
    drift_start: u64,
}

/// The purpose of a random number. Each purpose has its own sequence.
#[derive(Clone, Copy)]
enum Purpose {
    Base = 1,
    DriftRounds,
    DriftStart,
    Noise,
    Missing,
    Duplicated,
    Late,
    Garbled,
    ClockOffset,
    Shuffled,
    Order,
}

impl Fleet {
    /// A fleet of rigs with these names. A rig's values depend on its name and the seed, not on other rigs.
    #[must_use]
    pub fn new(names: &[String], seed: u64, faults: Faults) -> Self {
        let rig = |name: &String| Rig {
            name: name.clone(),
            sensors: SENSORS.map(|sensor| Trend::new(seed, name, sensor.name)),
            clock_ms: clock_ms(seed, name, faults.clock_offset),
        };
        Self {
            rigs: names.iter().map(rig).collect(),
            seed,
            faults,
        }
    }

    /// Number of rigs.
    #[must_use]
    pub fn rigs(&self) -> usize {
        self.rigs.len()
    }

    /// The name of a rig, by index.
    #[must_use]
    pub fn rig_name(&self, rig: usize) -> &str {
        &self.rigs[rig].name
    }

    /// The value of a sensor (by its index in [`SENSORS`]) of a rig in a round, with two decimals.
    #[must_use]
    pub fn value(&self, rig: usize, sensor: usize, round: u64) -> f64 {
        let Sensor { low, high, .. } = SENSORS[sensor];
        let part = self.rigs[rig].sensors[sensor].at(round);
        ((low + (high - low) * part) * 100.0).round() / 100.0
    }

    /// How that reading is sent.
    #[must_use]
    pub fn sending(&self, rig: usize, sensor: usize, round: u64) -> Sending {
        let trend = &self.rigs[rig].sensors[sensor];
        let happens = |purpose, probability: f64| {
            probability > 0.0 && trend.draw(purpose, round) < probability
        };
        let copies = if happens(Purpose::Missing, self.faults.missing) {
            0
        } else {
            1 + usize::from(happens(Purpose::Duplicated, self.faults.duplicated))
        };
        Sending {
            copies,
            late: happens(Purpose::Late, self.faults.late),
            garbled: happens(Purpose::Garbled, self.faults.garbled),
        }
    }

    /// The time of a rig's clock at `time`.
    #[must_use]
    pub fn clock(&self, rig: usize, time: Timestamp) -> Timestamp {
        let ms = self.rigs[rig].clock_ms;
        let off = Duration::from_millis(ms.unsigned_abs());
        if ms < 0 {
            time.minus(off)
        } else {
            time.plus(off)
        }
    }

    /// The order in which the first `readings` of a round are sent, as indexes: the first rig's sensors,
    /// then the next one's. A shuffled round is sorted by a random number for each reading.
    #[must_use]
    pub fn order(&self, round: u64, readings: usize) -> Vec<usize> {
        let readings = readings.min(self.rigs.len() * SENSORS.len());
        let mut order: Vec<usize> = (0..readings).collect();
        let probability = self.faults.shuffled;
        if probability > 0.0 && draw(self.seed, Purpose::Shuffled, round) < probability {
            order.sort_by_cached_key(|place| {
                let (rig, sensor) = (place / SENSORS.len(), place % SENSORS.len());
                let trend = &self.rigs[rig].sensors[sensor];
                (trend.bits(Purpose::Order, round), *place)
            });
        }
        order
    }
}

/// Offset of a rig's clock in milliseconds: at most `most`, in both directions.
fn clock_ms(seed: u64, rig: &str, most: Duration) -> i64 {
    let most = i64::try_from(most.as_millis())
        .unwrap_or(MAX_CLOCK_MS)
        .min(MAX_CLOCK_MS);
    // No sensor has an empty name.
    let bits = bits(seed_of(seed, rig, ""), Purpose::ClockOffset, 0);
    let place = bits % (2 * most.unsigned_abs() + 1);
    most.wrapping_neg().saturating_add_unsigned(place)
}

/// The seed of all random numbers of a rig's sensor.
fn seed_of(seed: u64, rig: &str, sensor: &str) -> u64 {
    // The separator keeps ("a", "bc") and ("ab", "c") apart.
    let name = rig.bytes().chain([b'/']).chain(sensor.bytes());
    name.fold(mix(seed), |seed, byte| mix(seed ^ u64::from(byte)))
}

impl Trend {
    fn new(seed: u64, rig: &str, sensor: &str) -> Self {
        let mut trend = Self {
            seed: seed_of(seed, rig, sensor),
            base: 0.0,
            drift_rounds: 1,
            drift_start: 0,
        };
        trend.base = MARGIN + (1.0 - 2.0 * MARGIN) * trend.draw(Purpose::Base, 0);
        let (least, most) = DRIFT_ROUNDS;
        trend.drift_rounds = least + trend.bits(Purpose::DriftRounds, 0) % (most - least);
        trend.drift_start = trend.bits(Purpose::DriftStart, 0) % trend.drift_rounds;
        trend
    }

    /// The value in a round, as a fraction of the sensor's range: above 0 and below 1.
    fn at(&self, round: u64) -> f64 {
        let place = round.wrapping_add(self.drift_start) % self.drift_rounds;
        let phase = fraction(place, self.drift_rounds);
        // A triangle wave with rounded turns. The last digits of a sine would differ between machines.
        let line = 1.0 - (2.0 * phase - 1.0).abs();
        let wave = line * line * (3.0 - 2.0 * line);
        let noise = self.draw(Purpose::Noise, round);
        self.base + DRIFT * (2.0 * wave - 1.0) + NOISE * (2.0 * noise - 1.0)
    }

    fn draw(&self, purpose: Purpose, round: u64) -> f64 {
        draw(self.seed, purpose, round)
    }

    fn bits(&self, purpose: Purpose, round: u64) -> u64 {
        bits(self.seed, purpose, round)
    }
}

/// A random number from 0 up to, but not including, 1.
fn draw(seed: u64, purpose: Purpose, round: u64) -> f64 {
    // As many bits as a double holds.
    fraction(bits(seed, purpose, round) >> 11, 1 << 53)
}

fn bits(seed: u64, purpose: Purpose, round: u64) -> u64 {
    mix(mix(seed ^ round).wrapping_add(purpose as u64))
}

fn fraction(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "both are at most 2^53")]
    let fraction = part as f64 / whole as f64;
    fraction
}

/// `SplitMix64`: every bit of the result depends on every bit of `state`.
const fn mix(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}
