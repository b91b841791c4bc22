//! Templates of dashboards, with the checks that the server makes of them.

use serde_json::{Value, json};

use super::answers::{not_found, text};
use super::json as answer_json;
use super::state::{Dashboard, State};
use crate::influx::reply::Reply;

pub(super) fn apply(state: &mut State, body: &Value) -> Result<Reply, Reply> {
    let org = text(body, "orgID");
    if !state.organisations.iter().any(|other| other.id == org) {
        return Err(not_found("organization not found"));
    }
    let Some(objects) = body["template"]["contents"].as_array() else {
        return Err(unprocessable("no template"));
    };
    let faults: Vec<String> = objects.iter().flat_map(faults).collect();
    if !faults.is_empty() {
        return Err(unprocessable(&faults.join("; ")));
    }
    let is_dry = body["dryRun"].as_bool().unwrap_or_default();
    let mut made = Vec::new();
    for object in objects {
        let spec = &object["spec"];
        let dashboard = Dashboard {
            id: state.next_id(),
            org: org.clone(),
            name: text(spec, "name"),
            charts: spec["charts"].clone(),
        };
        made.push(json!({ "id": dashboard.id, "orgID": org, "name": dashboard.name, "kind": "Dashboard" }));
        if !is_dry {
            state.dashboards.push(dashboard);
        }
    }
    let status = if is_dry { 200 } else { 201 };
    let stack = state.next_id();
    let body =
        json!({ "sources": [], "stackID": stack, "diff": {}, "summary": { "dashboards": made } });
    Ok(answer_json(status, &body))
}

/// What is wrong with an object of a template.
fn faults(object: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let mut must = |holds: bool, what: &str| {
        if !holds {
            faults.push(what.to_owned());
        }
    };
    let versions = ["influxdata.com/v2alpha1", "influxdata.com/v2alpha2"];
    let version = text(object, "apiVersion");
    must(versions.contains(&version.as_str()), "invalid API version");
    must(
        object["kind"] == "Dashboard",
        "only dashboards are known here",
    );
    let name = text(&object["metadata"], "name");
    let is_label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    must(
        !name.is_empty() && name.chars().all(is_label),
        "name is invalid",
    );
    must(
        text(&object["spec"], "name").len() >= 2,
        "the dashboard's name is too short",
    );
    let charts = object["spec"]["charts"].as_array();
    for chart in charts.into_iter().flatten() {
        let kind = text(chart, "kind").to_lowercase();
        must(
            ["markdown", "table", "xy"].contains(&kind.as_str()),
            "invalid chart kind",
        );
        if kind == "markdown" {
            continue;
        }
        let is_positive = |name: &str| chart[name].as_i64().is_some_and(|size| size > 0);
        must(
            is_positive("width") && is_positive("height"),
            "must be greater than 0",
        );
        let has_color = |color: &Value| !text(color, "hex").is_empty();
        let colors = chart["colors"].as_array();
        must(
            colors.is_none_or(|colors| colors.iter().all(has_color)),
            "a color without hex",
        );
        if kind == "xy" {
            let axes = chart["axes"].as_array();
            let has =
                |name: &str| axes.is_some_and(|axes| axes.iter().any(|axis| axis["name"] == name));
            must(has("x") && has("y"), "axis not found");
            must(chart["geom"] == "line", "a geometry that isn't known here");
        }
    }
    faults
}

fn unprocessable(message: &str) -> Reply {
    Reply::error(422, "unprocessable entity", message)
}
