//! Which file is replayed, and how fast.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use common::settings::{BadSetting, Settings, path};

/// What is replayed.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Replay")]
pub struct ReplaySettings {
    /// Publish what is in this file (- is standard input) instead of a fleet's readings: one JSON
    /// object per line with topic (a string) and payload. A string is published as its characters, any
    /// other payload as the JSON that is written there. Between two lines is the time between the
    /// timestamps in their payloads; a line without one, or with an earlier one, follows at once.
    /// Timestamps stay as they are: what is older than the ingester's `MAX_AGE` becomes a dead
    /// letter. Lines that can't be used are skipped, and the exit code is then 1
    #[arg(long, env = "REPLAY", value_name = "FILE", value_parser = path())]
    replay: Option<PathBuf>,
    /// How fast, compared to the timestamps: 10x, 0.5x, or max for as fast as possible
    #[arg(long, env = "SPEED", default_value_t)]
    speed: Speed,
    #[arg(skip)]
    recording: Option<Recording>,
}

impl ReplaySettings {
    /// Whether a file is to be replayed. A variable that is set to nothing asks for none.
    pub(crate) fn is_wanted(&self) -> bool {
        let file = self.replay.as_ref();
        file.is_some_and(|file| !file.as_os_str().is_empty())
    }

    /// What is replayed, once the settings are checked.
    pub(crate) fn recording(&self) -> Option<&Recording> {
        self.recording.as_ref()
    }

    /// How fast.
    pub(crate) fn speed(&self) -> Speed {
        self.speed
    }
}

impl Settings for ReplaySettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        let Some(file) = self.replay.as_ref().filter(|_| self.is_wanted()) else {
            let given = self.speed.to_string();
            let accepted = "without REPLAY nothing but 1x: it is the speed of a replay";
            return BadSetting::unless(self.speed == Speed::default(), "SPEED", &given, accepted);
        };
        let opened = Recording::open(file).map_err(|error| {
            let given = file.display().to_string();
            let accepted = format!("a file that can be read, or - for standard input ({error})");
            BadSetting::new("REPLAY", &given, &accepted)
        });
        self.recording = Some(opened?);
        Ok(())
    }
}

/// A file that is open: a pipe couldn't be opened twice.
#[derive(Debug, Clone)]
pub(crate) struct Recording {
    /// As it was given.
    pub name: String,
    /// In bytes; unknown for everything that isn't a plain file.
    pub size: Option<u64>,
    /// Standard input otherwise.
    file: Option<Arc<File>>,
}

impl Recording {
    fn open(path: &Path) -> io::Result<Self> {
        let name = path.display().to_string();
        if name == "-" {
            return Ok(Self {
                name: "standard input".to_owned(),
                size: None,
                file: None,
            });
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(Self {
            name,
            size: metadata.is_file().then_some(metadata.len()),
            file: Some(Arc::new(file)),
        })
    }

    /// What is in it. There is one position for all readers.
    pub fn reader(&self) -> Box<dyn Read> {
        match &self.file {
            Some(file) => Box::new(Arc::clone(file)),
            None => Box::new(io::stdin()),
        }
    }
}

/// How fast a replay is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// So many times as fast as it was recorded; above 0.
    Times(f64),
    /// Without waiting.
    Max,
}

impl Speed {
    /// How long something takes that took `recorded`.
    pub(crate) fn scale(self, recorded: Duration) -> Duration {
        match self {
            Self::Times(times) => {
                Duration::try_from_secs_f64(recorded.as_secs_f64() / times).unwrap_or(Duration::MAX)
            }
            Self::Max => Duration::ZERO,
        }
    }
}

impl Default for Speed {
    fn default() -> Self {
        Self::Times(1.0)
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(times) => write!(f, "{times}x"),
            Self::Max => f.write_str("max"),
        }
    }
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "max" {
            return Ok(Self::Max);
        }
        let number = text.strip_suffix('x').unwrap_or(text);
        let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        match number.parse() {
            Ok(times) if plain && times > 0.0 => Ok(Self::Times(times)),
            _ => Err("a number above 0, with or without x, or max: 10x, 0.5x".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Speed;

    #[test]
    fn speed_is_a_number_or_max() {
        for (text, want) in [
            ("1x", Speed::Times(1.0)),
            ("10", Speed::Times(10.0)),
            (" 0.5x ", Speed::Times(0.5)),
            ("max", Speed::Max),
        ] {
            assert_eq!(text.parse(), Ok(want), "{text}");
            assert_eq!(want.to_string().parse(), Ok(want), "{text}");
        }
        for bad in ["", "x", "0", "0x", "-1", "1e3", "inf", "nan", "fast", "1xx"] {
            assert!(bad.parse::<Speed>().is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_divided_by_the_speed_without_overflow() {
        let second = Duration::from_secs(1);
        assert_eq!(Speed::Times(10.0).scale(second), Duration::from_millis(100));
        assert_eq!(Speed::Times(0.5).scale(second), Duration::from_secs(2));
        assert_eq!(Speed::Max.scale(Duration::MAX), Duration::ZERO);
        assert_eq!(Speed::Times(1e-300).scale(second), Duration::MAX);
    }
}
