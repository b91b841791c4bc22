//! Values and times of responses.

use model::{Tags, Timestamp, Value};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{KnownFormat, RefOr, Schema, SchemaFormat};
use utoipa::{PartialSchema, openapi};

/// A value: a number, a boolean or a string.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cell(pub(crate) Value);

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::Integer(value) => serializer.serialize_i64(*value),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::String(value) => serializer.serialize_str(value),
        }
    }
}

impl PartialSchema for Cell {
    fn schema() -> RefOr<Schema> {
        let of = |kind| openapi::schema::Object::from(ObjectBuilder::new().schema_type(kind));
        let any = OneOfBuilder::new()
            .description(Some("A number, a boolean or a string"))
            .item(of(Type::Number))
            .item(of(Type::Boolean))
            .item(of(Type::String));
        RefOr::T(Schema::OneOf(any.build()))
    }
}

impl ToSchema for Cell {}

/// A time, RFC 3339 in UTC, with as many digits of the second as it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        let time = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
        RefOr::T(Schema::Object(time.build()))
    }
}

impl ToSchema for Time {}

/// Tags by name.
pub(crate) fn tags(tags: &Tags<'_>) -> BTreeMap<String, String> {
    let pair =
        |(name, value): &(model::Name<'_>, model::Name<'_>)| (name.to_string(), value.to_string());
    tags.iter().map(pair).collect()
}

/// How long ago a time was, in seconds; 0 if it is ahead of this clock.
pub(crate) fn age_seconds(time: Timestamp, now: Timestamp) -> f64 {
    now.since(time).as_secs_f64()
}
