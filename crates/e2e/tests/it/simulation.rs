//! What a pipeline simulates is what it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ingester::mapping::Mapping;
use model::pipeline::PipelineFile;
use model::{Timestamp, Value};
use producer::simulation::Simulation;

/// Two series of two fields, of every way in which messages hold them.
const SIMULATE: &str = r#"
[simulate]
interval = "5s"
tags = { device = ["a", "b b"] }
fields = { t = { uniform = [10, 20] }, h = { normal = [50, 1] } }
"#;

fn file(text: &str, simulate: &str) -> PipelineFile {
    let text = format!("name = \"p\"\n{text}\n{simulate}");
    PipelineFile::parse("p.toml", &text, &|_| None).unwrap_or_else(|error| panic!("{error}"))
}

/// The values of each series by field, and the times, that the pipeline takes of a simulated round.
type Taken = (
    BTreeMap<String, BTreeMap<String, Value>>,
    BTreeSet<Timestamp>,
);

fn taken(file: &PipelineFile, time: Timestamp, arrived: Timestamp) -> Taken {
    let mut simulation = Simulation::new(file, 1).unwrap();
    let mapping = Mapping::new(file);
    let (mut series, mut times): Taken = Taken::default();
    for message in simulation.round(time) {
        let shown = String::from_utf8_lossy(&message.payload).into_owned();
        let mapped = mapping.map(&message.topic, &message.payload, arrived);
        let mapped = mapped.unwrap_or_else(|error| panic!("{error:?}: {} {shown}", message.topic));
        assert!(mapped.rejected.is_empty(), "{mapped:?}: {shown}");
        assert!(!mapped.samples.is_empty(), "{mapped:?}: {shown}");
        for mapped in mapped.samples {
            let tags = mapped.sample.tags.iter();
            let tags: Vec<_> = tags
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let fields = series.entry(tags.join(",")).or_default();
            for (name, value) in mapped.sample.values {
                fields.insert(name.to_string(), value);
            }
            times.insert(mapped.sample.timestamp);
        }
    }
    (series, times)
}

#[test]
fn pipeline_takes_what_it_simulates() {
    let time = Timestamp::from_millis(1_767_600_000_250);
    let arrived = time.plus(Duration::from_secs(1));
    for pipeline in [
        "[source]\ntopic = \"x/{device}/{field}\"",
        "[source]\ntopic = \"x/{device}/{field}\"\n[message]\nvalue = \"/v/0\"\ntime = \"/at\"\ntime_format = \"unix_ms\"",
        "[source]\ntopic = \"{device...}/y\"",
        "[source]\ntopic = \"{device}\"\n[message]\nfields = { t = \"/a/t\", h = \"/a/h\" }\nwhere = { \"^/m\" = \"ok\" }",
        "[source]\ntopic = \"x\"\n[message]\ntags = { device = \"^/meta/device\" }\neach = \"/r/s\"\ntime = \"/ts\"\ntime_format = \"unix_s\"",
        "[source]\ntopic = \"x\"\n[message]\neach = \"/params/*\"\ntags = { device = \"$key\" }\ntime = \"^/params_at\"",
        "[source]\ntopic = \"x\"\n[message]\neach = \"/values\"\nname = \"/id\"\nsplit = \"p.{device}.{field}\"\nvalue = \"/v\"\nwhere = { \"/q\" = true }",
        "[source]\ntopic = \"x\"\n[message]\nformat = \"senml\"\nsplit = \"urn:{device}_{field}\"",
        "[source]\ntopic = \"x/{device}\"\n[message]\nformat = \"ndjson\"\ntime_format = \"unix_ns\"",
        "[source]\ntopic = \"x/{device}\"\n[fields.t]\nscale = 0.1\n[fields.h]\ndecimal_comma = true\nstrip_unit = true\nunit = \"%\"",
        "[source]\nkind = \"redis-pubsub\"\nchannel = \"c\"\n[message]\ntags = { device = \"/d\" }",
    ] {
        let file = file(pipeline, SIMULATE);
        let (series, times) = taken(&file, time, arrived);
        let names: Vec<_> = series.keys().map(String::as_str).collect();
        assert_eq!(names, ["device=a", "device=b b"], "{pipeline}");
        for fields in series.values() {
            let value = |name: &str| fields[name].as_number().unwrap();
            assert!(
                (10.0..=20.0).contains(&value("t")),
                "{fields:?}: {pipeline}"
            );
            assert!(
                (40.0..=60.0).contains(&value("h")),
                "{fields:?}: {pipeline}"
            );
            assert_eq!(fields.len(), 2, "{fields:?}: {pipeline}");
        }
        assert_eq!(times, BTreeSet::from([time]), "{pipeline}");
    }
}

#[test]
fn plain_texts_and_exceptions_are_simulated() {
    let time = Timestamp::from_millis(1_767_600_000_000);
    let simulate = "[simulate]\ntags = { room = [\"k\", \"b\"] }\nfields = { on = { choice = [\"ON\"] }, n = { uniform = [1, 1] } }\n\
                    [[simulate.where]]\ntags = { room = \"b\" }\nfields = { n = { uniform = [7, 7] } }";
    let text = "[source]\ntopic = \"home/{room}/{field}\"\n[message]\nformat = \"text\"\n\
                [fields.on]\nmap = { ON = 1, OFF = 0 }\n[fields.n]\ntype = \"integer\"";
    let (series, times) = taken(&file(text, simulate), time, time);
    assert_eq!(series["room=k"]["n"], Value::Integer(1));
    assert_eq!(series["room=b"]["n"], Value::Integer(7));
    assert_eq!(series["room=b"]["on"], Value::Float(1.0));
    assert_eq!(times, BTreeSet::from([time]), "the time of arrival");
}

#[test]
fn pipelines_that_cannot_be_simulated_say_why() {
    for (text, simulate, why) in [
        ("[source]\ntopic = \"x/{device}\"", "", "no [simulate]"),
        ("[source]\ntopic = \"x/+/{device}\"", SIMULATE, "has + or #"),
        (
            "[source]\ntopic = \"x/{room}/{device}\"",
            SIMULATE,
            "no values of room",
        ),
        (
            "[source]\nkind = \"redis-pubsub\"\npattern = \"c*\"",
            SIMULATE,
            "a pattern",
        ),
    ] {
        let error = Simulation::new(&file(text, simulate), 1).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}
