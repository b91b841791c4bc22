//! The dashboard, as a template that the server applies.

use serde_json::Value;

use super::SetupError;

/// The template for the bucket `rigs`.
const TEMPLATE: &str = include_str!("dashboard.json");
/// The bucket's name in the template's queries.
const BUCKET: &str = "\"rigs\"";

/// The template's objects, for a dashboard of this name over this bucket.
pub(super) fn template(name: &str, bucket: &str) -> Result<Value, SetupError> {
    let unreadable = |error: serde_json::Error| SetupError::Unexpected {
        detail: format!("the dashboard's template: {error}"),
    };
    let mut objects: Value = serde_json::from_str(TEMPLATE).map_err(unreadable)?;
    if let Some(place) = objects.pointer_mut("/0/spec/name") {
        *place = name.into();
    }
    let bucket = flux_string(bucket);
    for chart in entries(objects.pointer_mut("/0/spec/charts")) {
        // A text cell has no queries.
        for query in entries(chart.get_mut("queries")) {
            if let Some(Value::String(text)) = query.get_mut("query") {
                *text = text.replace(BUCKET, &bucket);
            }
        }
    }
    Ok(objects)
}

fn entries(list: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    list.and_then(Value::as_array_mut).into_iter().flatten()
}

/// A string literal of Flux.
pub(super) fn flux_string(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace("${", "\\${"))
}
