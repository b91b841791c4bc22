//! Durations and sizes as they are written in settings and pipeline files.

use std::time::Duration;

const DURATION_FORMS: &str = "a number of seconds, or one with ms, s, m, h or d: 250ms, 5s, 10m";
const SIZE_FORMS: &str = "a number of bytes, or one with KiB, MiB or GiB: 65536, 64KiB";

/// A hundred years: a longer duration would overflow when added to an instant.
const LONGEST_SECONDS: f64 = 3_153_600_000.0;

/// Reads `5s`, `250ms`, `10m`, `1h`, `29d`, or a plain number of seconds; fractions are allowed. The
/// error says what is accepted.
pub fn duration(value: &str) -> Result<Duration, String> {
    let value = value.trim();
    let split = value
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(value.len());
    let (number, unit) = value.split_at(split);
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err(DURATION_FORMS.to_owned()),
    };
    let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match number.parse::<f64>() {
        Ok(count) if plain && count * seconds <= LONGEST_SECONDS => {
            Ok(Duration::from_secs_f64(count * seconds))
        }
        _ => Err(DURATION_FORMS.to_owned()),
    }
}

/// As [`duration`], but not zero.
pub fn positive_duration(value: &str) -> Result<Duration, String> {
    match duration(value)? {
        Duration::ZERO => Err(format!("{DURATION_FORMS}, above 0")),
        duration => Ok(duration),
    }
}

/// A duration as it is given in a setting: `29d`, `90m`, `250ms`.
#[must_use]
pub fn written(duration: Duration) -> String {
    let ms = duration.as_millis();
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
    ];
    let whole = units
        .into_iter()
        .find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit));
    let (unit, name) = whole.unwrap_or((1, "ms"));
    format!("{}{name}", ms / unit)
}

/// Reads `64KiB`, `256MiB`, `1GiB`, or a plain number of bytes. The error says what is accepted.
pub fn bytes(value: &str) -> Result<usize, String> {
    let value = value.trim();
    let split = value
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(value.len());
    let (number, unit) = value.split_at(split);
    let scale: usize = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(SIZE_FORMS.to_owned()),
    };
    let count: usize = number.parse().map_err(|_| SIZE_FORMS.to_owned())?;
    count
        .checked_mul(scale)
        .filter(|size| *size > 0)
        .ok_or_else(|| SIZE_FORMS.to_owned())
}
