//! The queries of these paths.

use std::time::Duration;

use axum::http::StatusCode;
use model::Timestamp;
use serde::Deserialize;
use store::NumberRange;
use utoipa::IntoParams;

use crate::problem::Problem;

/// The field that holds a reading's value.
const VALUE: &str = "value";
/// Readings of a page, unless the request says how many.
const PAGE: u32 = 100;
/// Most readings of a page.
const MAX_PAGE: u32 = 1_000;
const DAY: Duration = Duration::from_hours(24);

/// Which of the readings that fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Paging {
    pub(super) offset: u64,
    pub(super) limit: u32,
}

impl Paging {
    fn new(offset: Option<u64>, limit: Option<u32>) -> Result<Self, Problem> {
        let limit = limit.unwrap_or(PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(Problem::invalid(format!(
                "limit: {limit} isn't 1 to {MAX_PAGE}"
            )));
        }
        // MongoDB takes no larger number.
        let offset = offset.unwrap_or(0);
        if i64::try_from(offset).is_err() {
            return Err(Problem::invalid(format!("offset: {offset} is too large")));
        }
        Ok(Self { offset, limit })
    }
}

/// A page of all readings.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// How many readings to leave out in front [default: 0]
    offset: Option<u64>,
    /// Most readings of the response [default: 100]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

impl PageQuery {
    pub(super) fn paging(&self) -> Result<Paging, Problem> {
        Paging::new(self.offset, self.limit)
    }
}

/// Two dates, both included.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DateQuery {
    /// The earliest time: RFC 3339, in UTC if it names no zone, or a date
    #[serde(rename = "startDate")]
    #[param(rename = "startDate", example = "2026-01-05T08:00:00Z")]
    pub(super) start_date: String,
    /// The latest time; a date includes its whole day
    #[serde(rename = "endDate")]
    #[param(rename = "endDate", example = "2026-01-05")]
    pub(super) end_date: String,
    /// How many readings to leave out in front [default: 0]
    offset: Option<u64>,
    /// Most readings of the response [default: 100]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

impl DateQuery {
    pub(super) fn paging(&self) -> Result<Paging, Problem> {
        Paging::new(self.offset, self.limit)
    }

    /// The earliest and the latest time.
    pub(super) fn range(&self) -> Result<(Timestamp, Timestamp), Problem> {
        let from = first_of("startDate", &self.start_date)?;
        let until = last_of("endDate", &self.end_date)?;
        in_order(from, until)?;
        Ok((from, until))
    }
}

/// A range of times and of values.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReadingsQuery {
    /// The sensor [default: all]
    sensor_id: Option<String>,
    /// The earliest time, as `startDate`. Also `start_datetime` and `startDate`
    #[serde(alias = "start_datetime", alias = "startDate")]
    start: Option<String>,
    /// The latest time, as `endDate`. Also `end_datetime` and `endDate`
    #[serde(alias = "end_datetime", alias = "endDate")]
    end: Option<String>,
    /// The least value. Also `start_range`
    #[serde(alias = "start_range")]
    min_value: Option<f64>,
    /// The largest value. Also `end_range`
    #[serde(alias = "end_range")]
    max_value: Option<f64>,
    /// How many readings to leave out in front [default: 0]
    offset: Option<u64>,
    /// Most readings of the response [default: 100]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

impl ReadingsQuery {
    pub(super) fn sensor_id(&self) -> Option<&str> {
        given(self.sensor_id.as_ref())
    }

    pub(super) fn paging(&self) -> Result<Paging, Problem> {
        Paging::new(self.offset, self.limit)
    }

    /// The earliest and the latest time.
    pub(super) fn range(&self) -> Result<(Option<Timestamp>, Option<Timestamp>), Problem> {
        let from = given(self.start.as_ref()).map(|text| first_of("start", text));
        let until = given(self.end.as_ref()).map(|text| last_of("end", text));
        let (from, until) = (from.transpose()?, until.transpose()?);
        if let (Some(from), Some(until)) = (from, until) {
            in_order(from, until)?;
        }
        Ok((from, until))
    }

    /// The range of values, if one is asked for.
    pub(super) fn values(&self) -> Result<Option<NumberRange<'static>>, Problem> {
        let (least, largest) = (self.min_value, self.max_value);
        for (name, number) in [("min_value", least), ("max_value", largest)] {
            if number.is_some_and(|number| !number.is_finite()) {
                return Err(Problem::invalid(format!(
                    "{name}: it isn't a finite number"
                )));
            }
        }
        if let (Some(least), Some(largest)) = (least, largest)
            && least > largest
        {
            let detail = format!("min_value: {least} is above max_value, {largest}");
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        let is_any = least.is_none() && largest.is_none();
        Ok((!is_any).then_some(NumberRange {
            field: VALUE,
            least,
            largest,
        }))
    }
}

/// A parameter without a value is left out, as a form sends it.
fn given(parameter: Option<&String>) -> Option<&str> {
    parameter
        .map(String::as_str)
        .filter(|text| !text.is_empty())
}

fn in_order(from: Timestamp, until: Timestamp) -> Result<(), Problem> {
    if from <= until {
        return Ok(());
    }
    let detail = format!("the start, {from}, is after the end, {until}");
    Err(Problem::new(StatusCode::BAD_REQUEST, detail))
}

/// The first instant of a time or a date.
fn first_of(name: &str, text: &str) -> Result<Timestamp, Problem> {
    time(text)
        .or_else(|| date(text))
        .ok_or_else(|| refused(name, text))
}

/// The last instant of a time or a date.
fn last_of(name: &str, text: &str) -> Result<Timestamp, Problem> {
    let last = |first: Timestamp| first.plus(DAY).minus(Duration::from_nanos(1));
    time(text)
        .or_else(|| date(text).map(last))
        .ok_or_else(|| refused(name, text))
}

fn refused(name: &str, text: &str) -> Problem {
    Problem::invalid(format!(
        "{name}: {text:?} isn't a time of RFC 3339 (2026-01-05T08:00:00Z, in UTC without a zone), or a date (2026-01-05), of the years \
         1678 to 2261"
    ))
}

fn time(text: &str) -> Option<Timestamp> {
    // In a query, the plus sign of an offset arrives as a space, unless it is escaped.
    let mut spaced = text.to_owned();
    if let Some(place) = text.rfind(' ').filter(|place| *place > 10) {
        spaced.replace_range(place..=place, "+");
    }
    Timestamp::parse(&spaced)
        .or_else(|_| Timestamp::parse(&format!("{text}Z")))
        .ok()
}

fn date(text: &str) -> Option<Timestamp> {
    Timestamp::parse(&format!("{text}T00:00:00Z")).ok()
}

#[cfg(test)]
mod tests {
    use super::{DateQuery, PageQuery, ReadingsQuery};

    fn dates(start: &str, end: &str) -> Result<(String, String), String> {
        let query = DateQuery {
            start_date: start.into(),
            end_date: end.into(),
            offset: None,
            limit: None,
        };
        let range = query.range().map_err(|problem| format!("{problem:?}"))?;
        Ok((range.0.to_string(), range.1.to_string()))
    }

    #[test]
    fn dates_have_several_forms() {
        for (text, first, last) in [
            (
                "2026-01-05",
                "2026-01-05T00:00:00Z",
                "2026-01-05T23:59:59.999999999Z",
            ),
            (
                "2026-01-05T08:00:00",
                "2026-01-05T08:00:00Z",
                "2026-01-05T08:00:00Z",
            ),
            (
                "2026-01-05 08:00:00",
                "2026-01-05T08:00:00Z",
                "2026-01-05T08:00:00Z",
            ),
            (
                "2026-01-05T08:00:00.25Z",
                "2026-01-05T08:00:00.250Z",
                "2026-01-05T08:00:00.250Z",
            ),
            (
                "2026-01-05T08:00:00+01:00",
                "2026-01-05T07:00:00Z",
                "2026-01-05T07:00:00Z",
            ),
            (
                "2026-01-05T08:00:00 01:00",
                "2026-01-05T07:00:00Z",
                "2026-01-05T07:00:00Z",
            ),
        ] {
            assert_eq!(dates(text, text), Ok((first.into(), last.into())), "{text}");
        }
        for text in ["", "yesterday", "2026-13-01", "2026-01-05T", "05.01.2026"] {
            for (start, end) in [(text, "2026-01-05"), ("2026-01-05", text)] {
                let refused = dates(start, end).unwrap_err();
                assert!(
                    refused.contains("422") && refused.contains("RFC 3339"),
                    "{refused}"
                );
            }
        }
        let refused = dates("2026-01-06", "2026-01-05").unwrap_err();
        assert!(
            refused.contains("400") && refused.contains("is after the end"),
            "{refused}"
        );
    }

    #[test]
    fn queries_have_several_names_and_limits() {
        let readings = |query: &str| serde_html_form::from_str::<ReadingsQuery>(query).unwrap();
        let range = |query: &str| readings(query).range().unwrap();
        let same = range("start=2026-01-05&end=2026-01-06");
        assert_eq!(
            range("start_datetime=2026-01-05&end_datetime=2026-01-06"),
            same
        );
        assert_eq!(range("startDate=2026-01-05&endDate=2026-01-06"), same);
        assert_eq!(range(""), (None, None));
        let values = readings("start_range=1&max_value=2")
            .values()
            .unwrap()
            .unwrap();
        assert_eq!((values.least, values.largest), (Some(1.0), Some(2.0)));
        assert!(readings("").values().unwrap().is_none());
        for bad in ["min_value=3&max_value=2", "min_value=NaN", "end_range=inf"] {
            assert!(readings(bad).values().is_err(), "{bad}");
        }
        for (query, works) in [
            ("", true),
            ("limit=1000&offset=5", true),
            ("limit=0", false),
            ("limit=1001", false),
            ("offset=18446744073709551615", false),
        ] {
            let page: PageQuery = serde_html_form::from_str(query).unwrap();
            assert_eq!(page.paging().is_ok(), works, "{query}");
        }
    }
}
