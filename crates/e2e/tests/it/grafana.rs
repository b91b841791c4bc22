//! `examples/grafana`: its files can be read, fit each other, and its queries run on a real InfluxDB.

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::clock::Clock;
use producer::fleet::SENSORS;
use saphyr::{LoadableYamlNode, Yaml};
use serde_json::Value;
use testkit::{InfluxDb, workspace_dir};

fn dir() -> PathBuf {
    workspace_dir().join("examples/grafana")
}

fn dashboard() -> Value {
    let text = std::fs::read_to_string(dir().join("dashboards/rigs.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The files with these ends below a directory.
fn files(dir: &Path, ends: &[&str], found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, ends, found);
        } else if path
            .extension()
            .is_some_and(|end| ends.iter().any(|wanted| end == *wanted))
        {
            found.push(path);
        }
    }
}

#[test]
fn every_yaml_and_json_file_of_the_examples_can_be_read() {
    let mut found = Vec::new();
    let ends = ["yml", "yaml", "json"];
    files(&workspace_dir().join("examples"), &ends, &mut found);
    assert!(found.len() >= 8, "{found:?}");
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        let shown = path.display();
        if path.extension().is_some_and(|end| end == "json") {
            let read = serde_json::from_str::<Value>(&text);
            assert!(read.is_ok(), "{shown}: {read:?}");
        } else {
            let read = Yaml::load_from_str(&text);
            assert!(read.is_ok_and(|documents| documents.len() == 1), "{shown}");
        }
    }
    assert!(Yaml::load_from_str("a: [").is_err(), "the test can fail");
}

#[test]
fn dashboard_uses_the_data_source_and_the_variables_that_compose_sets() {
    let read = |path: &str| std::fs::read_to_string(dir().join(path)).unwrap();
    let (source, compose) = (
        read("provisioning/datasources/influxdb.yml"),
        read("compose.yml"),
    );
    let text = dashboard().to_string();
    assert_eq!(
        text.matches("\"uid\":\"rigline-influxdb\"").count(),
        text.matches("\"type\":\"influxdb\"").count()
    );
    assert!(source.contains("uid: rigline-influxdb\n"));
    let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
    let variables = source.split('$').skip(1);
    let variables: Vec<String> = variables
        .map(|rest| rest.chars().take_while(|c| is_name(*c)).collect())
        .collect();
    assert_eq!(variables.len(), 4, "{variables:?}");
    for name in variables {
        let is_set = [format!("{name}: $"), format!("export {name};")];
        assert!(is_set.iter().any(|set| compose.contains(set)), "{name}");
    }
}

/// A query as Grafana sends it: with values for its variables.
fn filled(query: &str, bucket: &str) -> String {
    let option = format!(
        "option v = {{defaultBucket: \"{bucket}\", timeRangeStart: -1h, timeRangeStop: now(), \
         windowPeriod: 10s}}\n"
    );
    let query = query.replace("${rig:regex}", "(R-1|R-2)");
    // Imports come first.
    match query.split_once("\n\n") {
        Some((import, rest)) if import.starts_with("import ") => {
            format!("{import}\n{option}{rest}")
        }
        _ => option + &query,
    }
}

#[test]
fn queries_of_the_dashboard_return_the_rigs_sensors() {
    let influx = InfluxDb::shared();
    let bucket = influx.create_bucket(None);
    let time = Clock::system().now().minus(Duration::from_mins(1)).nanos();
    let fields: Vec<_> = SENSORS.iter().map(|s| format!("{}=1.5", s.name)).collect();
    let fields = fields.join(",");
    for rig in ["R-1", "R-2", "OTHER"] {
        let line = format!("rig_measurements,rig_id={rig} {fields} {time}");
        influx.write(&bucket, &line);
    }
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    assert_eq!(panels.len(), SENSORS.len() + 1);
    for panel in panels {
        let query = panel["targets"][0]["query"].as_str().unwrap();
        let rows = influx.query(&filled(query, &bucket));
        let rigs: Vec<&str> = rows.iter().map(|row| row["rig_id"].as_str()).collect();
        assert_eq!(rigs, ["R-1", "R-2"], "{}", panel["title"]);
    }
    for sensor in SENSORS {
        let text = dashboard.to_string();
        assert!(text.contains(sensor.name), "no chart of {}", sensor.name);
    }
    let query = dashboard["templating"]["list"][0]["query"]
        .as_str()
        .unwrap();
    let rows = influx.query(&filled(query, &bucket));
    let rigs: Vec<&str> = rows.iter().map(|row| row["_value"].as_str()).collect();
    assert_eq!(rigs, ["OTHER", "R-1", "R-2"]);
}
