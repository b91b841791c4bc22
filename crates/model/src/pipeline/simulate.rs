//! The table of what is simulated.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

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
    /// Low and high
    Uniform([Number; 2]),
    /// A random walk: start, step, low and high
    Walk([Number; 4]),
    /// One of these
    Choice(Vec<Scalar>),
}
