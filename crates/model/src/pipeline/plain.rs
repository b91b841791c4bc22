//! Numbers and booleans that may be strings, so that they can be variables.

use std::borrow::Cow;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};

use super::value::At;

/// A count or a boolean, also as a string.
pub(super) struct Plain<T>(pub(super) T);

/// What can be read in this way.
pub(super) trait PlainKind: FromStr {
    /// The name of the kind in JSON Schema.
    const TYPE: &'static str;
    /// What is accepted, for error messages.
    const ACCEPTED: &'static str;
    fn of(value: &serde_json::Value) -> Option<Self>;
}

impl PlainKind for usize {
    const TYPE: &'static str = "integer";
    const ACCEPTED: &'static str = "a whole number of at least 0";

    fn of(value: &serde_json::Value) -> Option<Self> {
        value.as_u64()?.try_into().ok()
    }
}

impl PlainKind for bool {
    const TYPE: &'static str = "boolean";
    const ACCEPTED: &'static str = "true or false";

    fn of(value: &serde_json::Value) -> Option<Self> {
        value.as_bool()
    }
}

impl<'de, T: PlainKind> Deserialize<'de> for Plain<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = serde_json::Value::deserialize(deserializer)?;
        let read = match &found {
            serde_json::Value::String(text) => text.trim().parse().ok(),
            other => T::of(other),
        };
        read.map(Self)
            .ok_or_else(|| D::Error::custom(format!("{found} isn't {}", T::ACCEPTED)))
    }
}

/// Reads an option that is there.
pub(super) fn plain<'de, T: PlainKind, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<At<T>>, D::Error> {
    let At {
        value: Plain(value),
        span,
    } = At::<Plain<T>>::deserialize(deserializer)?;
    Ok(Some(At { value, span }))
}

impl<T: PlainKind> JsonSchema for Plain<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::TYPE.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": [T::TYPE, "string"] })
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::PipelineFile;

    fn parse(rows: &str) -> Result<PipelineFile, String> {
        let text = format!(
            "name = \"a\"\n[source]\ntopic = \"a\"\n[rows]\nshape = \"window\"\nevery = \"5s\"\n{rows}"
        );
        let variable = |name: &str| (name == "MOST").then(|| " 7".to_owned());
        PipelineFile::parse("a.toml", &text, &variable).map_err(|error| error.to_string())
    }

    #[test]
    fn counts_and_booleans_may_be_variables() {
        for most in ["7", "\"7\"", "\"${MOST}\"", "\"${LEAST:-7}\""] {
            let rows = parse(&format!(
                "max_window_readings = {most}\ndedupe = \"${{D:-true}}\""
            ))
            .unwrap()
            .rows;
            assert_eq!(rows.max_window_readings.as_deref(), Some(&7), "{most}");
            assert_eq!(rows.dedupe.as_deref(), Some(&true));
        }
        for (rows, part) in [
            ("max_window_readings = -1", "-1 isn't a whole number"),
            (
                "max_window_readings = \"many\"",
                "\"many\" isn't a whole number",
            ),
            ("max_window_readings = 1.5", "1.5 isn't a whole number"),
            ("dedupe = \"yes\"", "\"yes\" isn't true or false"),
            ("dedupe = 1", "1 isn't true or false"),
        ] {
            let error = parse(rows).unwrap_err();
            assert!(
                error.contains(part) && error.contains("a.toml:7:"),
                "{error}"
            );
        }
    }
}
