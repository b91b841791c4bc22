//! The table of what is simulated.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::scalar::Scalar;
use super::value::{At, Number, Period};

/// What `producer` and `demo` send.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SimulateTable {
    /// Time between two samples of a series [default: 1s]
    pub interval: Option<At<Period>>,
    /// The values of each tag; every combination is a series
    #[serde(default)]
    pub tags: BTreeMap<String, At<Vec<String>>>,
    /// How the values of each field are drawn
    pub fields: BTreeMap<String, At<Distribution>>,
    /// Other values for some series
    #[serde(default, rename = "where")]
    pub exceptions: Vec<SimulateException>,
}

/// Other values for the series with these tags.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SimulateException {
    /// The tags of the series
    pub tags: BTreeMap<String, String>,
    /// How the values of these fields are drawn
    pub fields: BTreeMap<String, At<Distribution>>,
}

/// How values are drawn.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Distribution {
    /// Mean and standard deviation
    Normal([Number; 2]),
    /// Low and high, also as a string: "15-50" or "15,50"
    Uniform(Bounds),
    /// A random walk: start, step, low and high
    Walk([Number; 4]),
    /// One of these
    Choice(Vec<Scalar>),
}

/// A low and a high number, also as a string, so that both can be one variable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds(pub [Number; 2]);

impl<'de> Deserialize<'de> for Bounds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Numbers([Number; 2]),
            Text(String),
        }
        let expected = || D::Error::custom("expected two numbers: [15, 50], or \"15-50\"");
        match Either::deserialize(deserializer).map_err(|_| expected())? {
            Either::Numbers(numbers) => Ok(Self(numbers)),
            Either::Text(text) => bounds(&text).ok_or_else(expected),
        }
    }
}

/// Two numbers with a comma or a hyphen in between; the first character may be a minus sign.
fn bounds(text: &str) -> Option<Bounds> {
    let number = |text: &str| {
        let number: Option<f64> = text.trim().parse().ok();
        number.filter(|number| number.is_finite()).map(Number)
    };
    let text = text.trim();
    let comma = text.find(',');
    let separator = comma.or_else(|| text.get(1..)?.find('-').map(|place| place + 1))?;
    Some(Bounds([
        number(&text[..separator])?,
        number(&text[separator + 1..])?,
    ]))
}

impl JsonSchema for Bounds {
    fn schema_name() -> Cow<'static, str> {
        "Bounds".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let numbers = <[Number; 2]>::json_schema(generator);
        json_schema!({ "anyOf": [numbers, { "type": "string" }] })
    }
}

#[cfg(test)]
mod tests {
    use super::{Bounds, Number, bounds};

    #[test]
    fn bounds_are_read_from_strings() {
        for (text, low, high) in [
            ("15-50", 15.0, 50.0),
            ("15,50", 15.0, 50.0),
            (" -5 - 10.5 ", -5.0, 10.5),
            ("-10--5", -10.0, -5.0),
            ("-5,-1e0", -5.0, -1.0),
        ] {
            assert_eq!(
                bounds(text),
                Some(Bounds([Number(low), Number(high)])),
                "{text}"
            );
        }
        for text in ["", "-", "15", "15-", "a-b", "1,2,3", "1-NaN", "\u{e9}-1"] {
            assert_eq!(bounds(text), None, "{text}");
        }
    }
}
