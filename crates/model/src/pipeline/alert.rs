//! The tables of alerts, and the rules between their values.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::check::{Checked, require};
use super::error::Problem;
use super::value::{At, Number, Period};
use crate::name::Name;

/// Reports values of a field beyond a threshold, and series that have become silent.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertTable {
    /// Its name, which no other alert of the file has
    pub name: At<String>,
    /// The field, by its name in rows
    pub field: At<String>,
    /// Values above this are reported
    pub above: Option<At<Number>>,
    /// Values below this are reported
    pub below: Option<At<Number>>,
    /// It is over once a value is at this or below it [default: `above`]
    pub clear_below: Option<At<Number>>,
    /// It is over once a value is at this or above it [default: `below`]
    pub clear_above: Option<At<Number>>,
    /// It is reported once the values have been beyond the threshold for this long, by the rows' times [default: 0s]
    #[serde(rename = "for")]
    pub hold: Option<At<Period>>,
    /// A series without a row of the field for this long is reported, too
    pub stale_after: Option<At<Period>>,
    /// URLs that each event is posted to
    #[serde(default)]
    pub webhooks: Vec<At<String>>,
    /// Only series with these tags
    #[serde(default, rename = "where")]
    pub tags: BTreeMap<String, String>,
}

impl AlertTable {
    /// How long values have to be beyond the threshold.
    #[must_use]
    pub fn hold(&self) -> Duration {
        self.hold.as_ref().map_or(Duration::ZERO, |hold| hold.0)
    }
}

/// Checks the alerts of a file.
pub(super) fn check(alerts: &[AlertTable]) -> Checked {
    for (place, alert) in alerts.iter().enumerate() {
        for (key, name) in [("name", &alert.name), ("field", &alert.field)] {
            Name::new(name.as_str())
                .map_err(|error| Problem::at(name.span(), format!("the {key} {error}")))?;
        }
        let earlier = &alerts[..place];
        require(
            earlier.iter().all(|other| *other.name != *alert.name),
            alert.name.span(),
            || format!("there are two alerts {:?}", *alert.name),
        )?;
        thresholds(alert)?;
        if let Some(period) = &alert.stale_after {
            require(!period.0.is_zero(), period.span(), || {
                "it has to be longer than 0".to_owned()
            })?;
        }
        for (place, url) in alert.webhooks.iter().enumerate() {
            require(has_host(url), url.span(), || {
                "the URL doesn't start with http:// or https:// and a host".to_owned()
            })?;
            let earlier = &alert.webhooks[..place];
            require(
                earlier.iter().all(|other| **other != **url),
                url.span(),
                || "the URL is there twice".to_owned(),
            )?;
        }
    }
    Ok(())
}

fn thresholds(alert: &AlertTable) -> Checked {
    let AlertTable { above, below, .. } = alert;
    require(
        above.is_some() || below.is_some(),
        alert.name.span(),
        || "the alert needs above, below, or both".to_owned(),
    )?;
    let number = |value: &Option<At<Number>>| value.as_ref().map(|value| value.0);
    if let Some(clear) = &alert.clear_below {
        let fits = number(above).is_some_and(|above| clear.0 <= above);
        require(fits, clear.span(), || {
            "clear_below is for an alert with above, and at most as large".to_owned()
        })?;
    }
    if let Some(clear) = &alert.clear_above {
        let fits = number(below).is_some_and(|below| clear.0 >= below);
        require(fits, clear.span(), || {
            "clear_above is for an alert with below, and at least as large".to_owned()
        })?;
    }
    if let (Some(above), Some(below)) = (above, below) {
        require(below.0 < above.0, below.span(), || {
            "below has to be less than above: every value is beyond one of them".to_owned()
        })?;
        let upper = number(&alert.clear_below).unwrap_or(above.0);
        let lower = number(&alert.clear_above).unwrap_or(below.0);
        require(lower <= upper, above.span(), || {
            format!("the alert never ends: no value is at least {lower} and at most {upper}")
        })?;
    }
    Ok(())
}

/// Whether a URL is one of HTTP with a host, and without white space.
fn has_host(url: &str) -> bool {
    let rest = ["http://", "https://"]
        .into_iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    let host = authority.and_then(|authority| authority.rsplit('@').next());
    let is_host = host.is_some_and(|host| !host.is_empty() && !host.starts_with(':'));
    is_host && !url.contains(|c: char| c.is_whitespace() || c.is_control())
}
