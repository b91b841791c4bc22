//! The MQTT topic template `rigs/{rig_id}/measurements/{sensor}`.

use crate::name::{Name, NameError};

/// The filter that covers the template and everything a device may get wrong behind it.
pub const DEFAULT_FILTER: &str = "rigs/+/measurements/#";

/// Why a topic doesn't identify a sensor of a rig.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// The levels aren't those of the template.
    #[error("the topic isn't rigs/{{rig_id}}/measurements/{{sensor}}")]
    Shape,
    /// The level of the rig is not a valid name.
    #[error("the rig's name {0}")]
    Rig(NameError),
    /// The level of the sensor is not a valid name.
    #[error("the sensor's name {0}")]
    Sensor(NameError),
}

/// The rig and the sensor that a topic identifies.
pub fn parse(topic: &str) -> Result<(Name<'_>, Name<'_>), TopicError> {
    let mut levels = topic.split('/');
    let (Some("rigs"), Some(rig), Some("measurements"), Some(sensor), None) = (
        levels.next(),
        levels.next(),
        levels.next(),
        levels.next(),
        levels.next(),
    ) else {
        return Err(TopicError::Shape);
    };
    Ok((
        Name::strict(rig).map_err(TopicError::Rig)?,
        Name::sensor(sensor).map_err(TopicError::Sensor)?,
    ))
}

/// Whether a topic has the levels of the template, whatever its names are.
#[must_use]
pub fn fits(topic: &str) -> bool {
    !matches!(parse(topic), Err(TopicError::Shape))
}

/// The level of a topic that names the rig, whether or not the rest of the topic is valid; empty if there
/// is none.
#[must_use]
pub fn rig_level(topic: &str) -> &str {
    topic.split('/').nth(1).unwrap_or_default()
}

/// The topic of one sensor of one rig.
#[must_use]
pub fn format(rig_id: &str, sensor: &str) -> String {
    format!("rigs/{rig_id}/measurements/{sensor}")
}

/// Whether an MQTT filter is well formed and can match a topic of the template.
#[must_use]
pub fn filter_fits(filter: &str) -> bool {
    let levels: Vec<&str> = filter.split('/').collect();
    for (place, level) in levels.iter().enumerate() {
        let last = place + 1 == levels.len();
        let fits = match (*level, place) {
            ("#", 0..=4) => return last,
            ("+", 0..=3) | ("rigs", 0) | ("measurements", 2) => true,
            (name, 1) => Name::strict(name).is_ok(),
            (name, 3) => Name::sensor(name).is_ok(),
            _ => false,
        };
        if !fits {
            return false;
        }
    }
    levels.len() == 4
}

#[cfg(test)]
mod tests {
    use super::{Name, NameError, TopicError, filter_fits, format, parse};

    fn names(rig: &'static str, sensor: &'static str) -> (Name<'static>, Name<'static>) {
        (Name::new(rig).unwrap(), Name::new(sensor).unwrap())
    }

    #[test]
    fn a_topic_names_a_rig_and_a_sensor() {
        assert_eq!(
            parse("rigs/RIG-42/measurements/temp_inlet"),
            Ok(names("RIG-42", "temp_inlet"))
        );
        let (rig, sensor) = names("a.b", "x-1");
        assert_eq!(parse(&format(&rig, &sensor)), Ok((rig, sensor)));
        for bad in [
            "",
            "/",
            "rigs",
            "rigs/R/measurements",
            "rigs/R/measurements/a/b",
            "rigs/R/measurements/a/",
            "/rigs/R/measurements/a",
            "Rigs/R/measurements/a",
            "rigs/R/status/a",
        ] {
            assert_eq!(parse(bad), Err(TopicError::Shape), "{bad}");
        }
        assert_eq!(
            parse("rigs//measurements/a"),
            Err(TopicError::Rig(NameError::Empty))
        );
        assert_eq!(
            parse("rigs/R/measurements/time"),
            Err(TopicError::Sensor(NameError::Reserved))
        );
        assert_eq!(
            parse("rigs/R/measurements/a b"),
            Err(TopicError::Sensor(NameError::Character(' ')))
        );
    }

    #[test]
    fn a_filter_must_be_able_to_match_the_template() {
        for good in [
            "#",
            "rigs/#",
            "rigs/+/measurements/#",
            "rigs/RIG-1/measurements/+",
            "+/+/+/+",
            "rigs/R/measurements/pressure",
            "rigs/+/measurements/+/#",
        ] {
            assert!(filter_fits(good), "{good}");
        }
        for bad in [
            "",
            "plant/#",
            "rigs/+",
            "rigs/#/x",
            "rigs/a#",
            "rigs/+/status/+",
            "$share/g/#",
        ] {
            assert!(!filter_fits(bad), "{bad}");
        }
    }
}
