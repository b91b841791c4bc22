//! The table of what is simulated.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::check::{Checked, require};
use super::scalar::Scalar;
use super::template::TopicTemplate;
use super::value::{At, Number, Period};

mod tags;

pub use tags::{NumberedValues, TagValues};

/// More series than one process can simulate.
const MAX_SERIES: usize = 100_000;

/// What `producer` and `demo` send.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SimulateTable {
    /// Time between two samples of a series [default: 1s]
    pub interval: Option<At<Period>>,
    /// The values of each tag: a list, or { prefix = "line-", count = 3 } for line-1 to line-3; every combination
    /// is a series
    #[serde(default)]
    pub tags: BTreeMap<String, At<TagValues>>,
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
    /// Mean, and a variance that grows with the number of the series; needs one tag with a prefix and a count
    NormalByNumber(NormalByNumber),
    /// Low and high, also as a string: "15-50" or "15,50"
    Uniform(Bounds),
    /// A random walk: start, step, low and high
    Walk([Number; 4]),
    /// One of these
    Choice(Vec<Scalar>),
}

/// A normal distribution whose variance grows with the number of the series.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NormalByNumber {
    /// The mean of all series
    pub mean: Number,
    /// Low and high: the variance of series n of N is low + (high - low) n / N
    pub variance: [Number; 2],
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

pub(super) fn check(simulate: &SimulateTable, topic: Option<&TopicTemplate>) -> Checked {
    if let Some(interval) = &simulate.interval {
        require(!interval.0.is_zero(), interval.span(), || {
            "the interval has to be longer than 0".to_owned()
        })?;
    }
    let mut series = 1_usize;
    for (name, values) in &simulate.tags {
        let count = values.count();
        require(count > 0, values.span(), || {
            format!("the tag {name:?} has no values")
        })?;
        series = series.saturating_mul(count);
        require(series <= MAX_SERIES, values.span(), || {
            format!("at most {MAX_SERIES} series can be simulated, and these tags make {series}")
        })?;
        if let Some(topic) = topic {
            let values_of_tag = values.all();
            let wrong = values_of_tag.iter().find(|value| !topic.takes(name, value));
            require(wrong.is_none(), values.span(), || {
                format!(
                    "{:?} can't stand for {{{name}}} in the topic {}",
                    wrong.map_or("", String::as_str),
                    topic.as_str()
                )
            })?;
        }
    }
    for exception in &simulate.exceptions {
        for (name, distribution) in &exception.fields {
            require(
                simulate.fields.contains_key(name),
                distribution.span(),
                || format!("[simulate.fields] has no {name:?} that could be different here"),
            )?;
        }
    }
    let others = simulate.exceptions.iter();
    let others = others.flat_map(|exception| exception.fields.values());
    for distribution in simulate.fields.values().chain(others) {
        by_number(simulate, distribution)?;
        if let Distribution::Uniform(Bounds([low, high])) = &**distribution {
            require(low.0 <= high.0, distribution.span(), || {
                format!("{} is above {}", low.0, high.0)
            })?;
        }
    }
    Ok(())
}

fn by_number(simulate: &SimulateTable, distribution: &At<Distribution>) -> Checked {
    let Distribution::NormalByNumber(NormalByNumber { variance, .. }) = &**distribution else {
        return Ok(());
    };
    let numbered = simulate.tags.values();
    let numbered = numbered.filter(|values| values.is_numbered()).count();
    require(numbered == 1, distribution.span(), || {
        format!("normal-by-number needs one tag whose values are numbered; there are {numbered}")
    })
    .map_err(|problem| problem.with_help("tags = { line = { prefix = \"line-\", count = 3 } }"))?;
    let is_variance = variance.iter().all(|Number(bound)| *bound >= 0.0);
    require(is_variance, distribution.span(), || {
        "a variance is 0 or more".to_owned()
    })
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
