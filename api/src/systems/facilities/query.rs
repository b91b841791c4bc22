//! The queries of these paths, by the rules of the original: unknown parameters are ignored, and of a repeated one the
//! last counts.

/// Readings of a page, unless the request says how many.
const PAGE: u32 = 10;
/// Most readings of a page; a larger limit is reduced to it.
const MAX_PAGE: u32 = 20;
/// The sensors of a facility.
const SENSORS: [&str; 3] = ["humidity", "pressure", "temperature"];

/// Which of a facility's readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Paging {
    pub(super) offset: u64,
    pub(super) limit: u32,
}

impl Paging {
    /// Reads `offset` and `limit` of a query, or says which isn't a number.
    pub(super) fn read(query: &str) -> Result<Self, String> {
        let parameters = parameters(query);
        let number = |name: &str| {
            let given = parameters.iter().rfind(|(known, _)| known == name);
            count(name, given.map_or("", |(_, value)| value))
        };
        let (offset, limit) = (number("offset")?, number("limit")?);
        let limit = match u32::try_from(limit) {
            Ok(0) => PAGE,
            Ok(limit) => limit.min(MAX_PAGE),
            Err(_) => MAX_PAGE,
        };
        Ok(Self { offset, limit })
    }
}

/// The sensors that a query names, each once and in order: `sensors=a,b`, also `sensors=a&sensors=b`. Names of no
/// sensor are left out.
pub(super) fn sensors(query: &str) -> Vec<&'static str> {
    let parameters = parameters(query);
    let lists = parameters.iter().filter(|(name, _)| name == "sensors");
    let named: Vec<&str> = lists
        .flat_map(|(_, list)| list.split(','))
        .map(str::trim)
        .collect();
    let is_named = |sensor: &&str| named.contains(sensor);
    SENSORS.into_iter().filter(is_named).collect()
}

fn parameters(query: &str) -> Vec<(String, String)> {
    // Any bytes are pairs of strings, so there is no error.
    serde_html_form::from_str(query).unwrap_or_default()
}

/// A number from 0 on; 0 if there is none. One that is too large for this type is the largest one.
fn count(name: &str, text: &str) -> Result<u64, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(if text.is_empty() {
            0
        } else {
            text.parse().unwrap_or(u64::MAX)
        });
    }
    Err(format!(
        "Invalid {name}: must be a non-negative integer; got '{text}'"
    ))
}

#[cfg(test)]
mod tests {
    use super::{Paging, sensors};

    fn page(query: &str) -> Result<(u64, u32), String> {
        Paging::read(query).map(|page| (page.offset, page.limit))
    }

    #[test]
    fn pages_are_those_of_the_original() {
        for (query, expected) in [
            ("", (0, 10)),
            ("offset=&limit=", (0, 10)),
            ("offset=0&limit=0", (0, 10)),
            ("limit=5", (0, 5)),
            ("limit=20", (0, 20)),
            ("limit=21", (0, 20)),
            ("offset=7", (7, 10)),
            ("offset=7&limit=3", (7, 3)),
            ("offset=007&other=x", (7, 10)),
            ("limit=99999999999999999999", (0, 20)),
            ("offset=99999999999999999999", (u64::MAX, 10)),
            ("limit=1&limit=2", (0, 2)),
        ] {
            assert_eq!(page(query), Ok(expected), "{query}");
        }
        for (query, name, got) in [
            ("limit=abc", "limit", "abc"),
            ("limit=-1", "limit", "-1"),
            ("limit=1.5", "limit", "1.5"),
            ("offset=abc", "offset", "abc"),
            ("offset=-1", "offset", "-1"),
            ("offset=1.5", "offset", "1.5"),
            ("limit=%20", "limit", " "),
            ("limit=%2B5", "limit", "+5"),
            ("limit=%C3%A9%27", "limit", "é'"),
            ("offset=1&limit=1e3", "limit", "1e3"),
        ] {
            let said = format!("Invalid {name}: must be a non-negative integer; got '{got}'");
            assert_eq!(page(query), Err(said), "{query}");
        }
    }

    #[test]
    fn sensors_are_known_ones_each_once() {
        let both: &[&str] = &["humidity", "pressure"];
        for (query, expected) in [
            ("sensors=humidity,pressure", both),
            ("sensors=pressure,humidity,pressure", both),
            ("sensors=humidity&sensors=pressure", both),
            ("sensors=%20humidity,%20pressure%20", both),
            ("sensors=humidity%2Cpressure,co2,,Temperature", both),
            ("sensors=temperature", &["temperature"]),
            ("", &[]),
            ("sensors", &[]),
            ("sensors=", &[]),
            ("sensors=,%20", &[]),
            ("sensors=co2,avg_humidity,_id", &[]),
            ("sensor=humidity", &[]),
            ("sensors=%FF%FE", &[]),
        ] {
            assert_eq!(sensors(query), expected, "{query}");
        }
    }
}
