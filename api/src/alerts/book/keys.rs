//! The keys of the state of alerts: a letter for the kind, then what it is about.

use serde::Serialize;

use crate::alerts::rule::Rule;

/// A key of the state.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// `a` and JSON: the alert of a series. With another field it is another alert.
    Machine {
        alert: String,
        field: String,
        series: String,
    },
    /// `e` and its number: an event.
    Event(u64),
    /// `w`, the event's number, and the URL: an event that waits for a webhook.
    Waiting(u64, String),
}

impl Key {
    pub(super) fn read(key: &[u8]) -> Option<Self> {
        let (kind, rest) = std::str::from_utf8(key).ok()?.split_at_checked(1)?;
        match kind {
            "a" => {
                let (alert, field, series) = serde_json::from_str(rest).ok()?;
                Some(Self::Machine {
                    alert,
                    field,
                    series,
                })
            }
            "e" => rest.parse().ok().map(Self::Event),
            "w" => {
                let (number, url) = rest.split_once(' ')?;
                Some(Self::Waiting(number.parse().ok()?, url.to_owned()))
            }
            _ => None,
        }
    }
}

pub(super) fn machine(rule: &Rule, series: &str) -> Vec<u8> {
    let mut key = b"a".to_vec();
    key.extend(json(&(&rule.name, &rule.field, series)));
    key
}

pub(super) fn event(number: u64) -> Vec<u8> {
    format!("e{number}").into_bytes()
}

pub(super) fn waiting(number: u64, url: &str) -> Vec<u8> {
    format!("w{number} {url}").into_bytes()
}

/// Plain data as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Vec<u8> {
    // Structures with names for members, without maps of other keys than strings, can always be written.
    serde_json::to_vec(value).unwrap_or_default()
}
