use model::Timestamp;
use model::dead_letter::Reason;
use model::pipeline::PipelineFile;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{Mapped, Mapping};

const ARRIVED: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn mapping(source: &str, more: &str) -> Mapping {
    let text = format!("name = \"a\"\n[source]\n{source}\n{more}");
    let file = PipelineFile::parse("a.toml", &text, &|_| None);
    Mapping::new(&file.map_err(|error| error.to_string()).unwrap())
}

/// What became of a message, in short: samples as tags, time and values; rejections as place and reason.
fn shown(mapped: &Mapped) -> Json {
    let samples = mapped.samples.iter().map(|mapped| {
        let sample = &mapped.sample;
        let values = sample.values.iter().map(|(name, value)| {
            let value = match value {
                model::Value::Float(number) => json!(number),
                model::Value::Integer(number) => json!(number),
                model::Value::Bool(value) => json!(value),
                model::Value::String(text) => json!(text),
            };
            (name.to_string(), value)
        });
        let tags = sample.tags.iter().map(|(name, value)| (name.to_string(), json!(value.as_str())));
        json!({
            "tags": tags.collect::<serde_json::Map<_, _>>(),
            "time": mapped.time_from.as_ref().map(|from| format!("{} from {from}", sample.timestamp)),
            "values": values.collect::<serde_json::Map<_, _>>(),
        })
    });
    let rejected = mapped.rejected.iter();
    let rejected = rejected.map(|part| json!([part.place, part.rejection.reason.as_str()]));
    json!({
        "samples": samples.collect::<Vec<_>>(),
        "rejected": rejected.collect::<Vec<_>>(),
        "counts": [mapped.filtered, mapped.empty, mapped.skipped],
    })
}

#[track_caller]
fn check(mapping: &Mapping, topic: &str, payload: &str, expected: &Json) {
    let mapped = mapping.map(topic, payload.as_bytes(), ARRIVED);
    let mapped = mapped.unwrap();
    assert_eq!(&shown(&mapped), expected, "{topic} {payload}");
}

#[track_caller]
fn check_rejected(mapping: &Mapping, topic: &str, payload: &str, reason: Reason) {
    let mapped = mapping.map(topic, payload.as_bytes(), ARRIVED);
    assert_eq!(
        mapped.map_err(|rejection| rejection.reason),
        Err(reason),
        "{topic} {payload}"
    );
}

/// One sample without anything else.
fn one(tags: &Json, time: Option<&str>, values: &Json) -> Json {
    let sample = json!({ "tags": tags, "time": time, "values": values });
    json!({ "samples": [sample], "rejected": [], "counts": [0, 0, 0] })
}

#[test]
fn all_members_are_fields_where_nothing_names_one() {
    let mapping = mapping(
        "topic = \"zigbee2mqtt/{device...}\"\nignore = [\"zigbee2mqtt/bridge/**\"]",
        "[fields.state]\nmap = { ON = 1, OFF = 0 }",
    );
    let payload = r#"{"temperature":21.5,"battery":97,"contact":true,"state":"ON","ts":1799999999,
        "update":{"installed":2},"last_seen":"2027-01-15T08:00:00Z"}"#;
    let mut expected = one(
        &json!({"device": "kitchen/window"}),
        Some("2027-01-15T07:59:59Z from /ts"),
        &json!({"battery": 97.0, "contact": 1.0, "state": 1.0, "temperature": 21.5, "update_installed": 2.0}),
    );
    expected["counts"][2] = json!(1);
    check(&mapping, "zigbee2mqtt/kitchen/window", payload, &expected);
    let filtered = json!({ "samples": [], "rejected": [], "counts": [1, 0, 0] });
    check(&mapping, "zigbee2mqtt/bridge/state", "online", &filtered);
    check_rejected(&mapping, "zigbee2mqtt", "{}", Reason::BadTopic);
    check_rejected(&mapping, "zigbee2mqtt/a", "{", Reason::NotJson);
    let empty = json!({ "samples": [], "rejected": [], "counts": [0, 1, 0] });
    check(&mapping, "zigbee2mqtt/a", "{\"x\":null}", &empty);
    check(
        &mapping,
        "zigbee2mqtt/a",
        "7",
        &one(&json!({"device": "a"}), None, &json!({"value": 7.0})),
    );
    let bad_name = json!({ "samples": [], "rejected": [["", "bad_name"]], "counts": [0, 0, 0] });
    check(
        &mapping,
        "zigbee2mqtt/a",
        r#"{"a_b":1,"a":{"b":2}}"#,
        &bad_name,
    );
    check(&mapping, "zigbee2mqtt/a", r#"{"device":1}"#, &bad_name);
}

#[test]
fn the_topic_or_the_message_names_the_field() {
    let by_topic = mapping("topic = \"home/{room}/{field}\"", "");
    let kitchen = one(&json!({"room": "k"}), None, &json!({"t": 2.5}));
    for payload in ["2.5", "\"2.5\"", "{\"value\": 2.5}"] {
        check(&by_topic, "home/k/t", payload, &kitchen);
    }
    let missing = json!({ "samples": [], "rejected": [["", "missing_tag"]], "counts": [0, 0, 0] });
    check(&by_topic, "home//t", "1", &missing);
    let text = mapping(
        "topic = \"home/{room}/{field}\"",
        "[message]\nformat = \"text\"",
    );
    check(&text, "home/k/t", " 2.5\n", &kitchen);

    let plc = mapping(
        "topic = \"plc\"",
        "[message]\neach = \"/readings\"\nname = \"/id\"\nsplit = \"{line}.{device}.{field}\"\n\
         value = \"/v\"\ntime = \"/t\"\ntime_format = \"unix_ms\"\nwhere = { \"/q\" = true }",
    );
    let payload = r#"{"readings":[
        {"id":"L1.pump.speed","v":"7","q":true,"t":1800000000001},
        {"id":"L1.pump.temp","v":8,"q":false,"t":1800000000001},
        {"id":"L1","v":8,"q":true,"t":1800000000001},
        {"id":"L1.pump.temp","v":"warm","q":true,"t":1800000000001}]}"#;
    let mut expected = one(
        &json!({"line": "L1", "device": "pump"}),
        Some("2027-01-15T08:00:00.001Z from /readings/0/t"),
        &json!({"speed": 7.0}),
    );
    expected["rejected"] = json!([["/readings/2", "bad_name"], ["/readings/3", "bad_value"]]);
    expected["counts"] = json!([1, 0, 0]);
    check(&plc, "plc", payload, &expected);
    check_rejected(&plc, "plc", "{}", Reason::MissingValue);
    check_rejected(&plc, "plc", "{\"readings\":3}", Reason::NotObject);
}

#[test]
fn fields_of_the_topic_can_be_chosen() {
    let chosen = mapping(
        "topic = \"home/{room}/{field}\"",
        "[message]\ninclude = [\"t*\", \"h\"]\nexclude = \"tx\"",
    );
    for field in ["t", "tt", "h"] {
        let expected = one(&json!({"room": "k"}), None, &json!({ field: 1.0 }));
        check(&chosen, &format!("home/k/{field}"), "1", &expected);
    }
    let filtered = json!({ "samples": [], "rejected": [], "counts": [1, 0, 0] });
    for field in ["tx", "p", "hh"] {
        check(&chosen, &format!("home/k/{field}"), "no JSON", &filtered);
    }
    check_rejected(&chosen, "home/k/h", "no JSON", Reason::NotJson);
}

#[test]
fn what_is_required_is_there_or_the_sample_is_a_dead_letter() {
    let mapping = mapping(
        "topic = \"home/{room}/{field}\"",
        "[message]\nvalue = \"/val\"\ntime = \"/ts\"\ntime_format = \"unix_ms\"\nrequired = [\"/ts\", \"/val\"]",
    );
    let good = one(
        &json!({"room": "k"}),
        Some("2027-01-15T08:00:00Z from /ts"),
        &json!({"t": 2.5}),
    );
    let whole = r#"{"ts":1800000000000,"val":2.5}"#;
    check(&mapping, "home/k/t", whole, &good);
    for (payload, reason) in [
        (r#"{"val":2.5}"#, "missing_value"),
        (r#"{"ts":null,"val":2.5}"#, "missing_value"),
        (r#"{"ts":1800000000000}"#, "missing_value"),
        (r#"{"ts":1800000000000,"val":null}"#, "missing_value"),
        ("2.5", "missing_value"),
        (r#"{"ts":"soon","val":2.5}"#, "bad_timestamp"),
        (r#"{"ts":1800000000000,"val":"warm"}"#, "bad_value"),
    ] {
        let rejected = json!({ "samples": [], "rejected": [["", reason]], "counts": [0, 0, 0] });
        check(&mapping, "home/k/t", payload, &rejected);
    }
}

#[test]
fn every_member_that_is_an_object_can_be_a_sample() {
    let shelly = mapping(
        "topic = \"shellies/{device}/events\"",
        "[message]\neach = \"/params/*\"\nwhere = { \"^/method\" = \"NotifyStatus\" }\n\
         tags = { component = \"$key\" }\ntime = \"^/params/ts\"\ninclude = \"*temp*\"",
    );
    let payload = r#"{"method":"NotifyStatus","params":{"ts":1800000000.5,
        "switch:0":{"temp":40,"apower":3},"sys":{"uptime":3}}}"#;
    let mut expected = one(
        &json!({"device": "d", "component": "switch:0"}),
        Some("2027-01-15T08:00:00.500Z from /params/ts"),
        &json!({"temp": 40.0}),
    );
    expected["counts"] = json!([0, 1, 0]);
    check(&shelly, "shellies/d/events", payload, &expected);
    let other = json!({ "samples": [], "rejected": [], "counts": [1, 0, 0] });
    check(
        &shelly,
        "shellies/d/events",
        r#"{"method":"x","params":{"a":{}}}"#,
        &other,
    );
}

#[test]
fn a_field_that_cannot_be_used_leaves_the_others() {
    let mapping = mapping(
        "topic = \"a\"",
        "[message]\nfields = { t = \"/temp\", h = \"/hum\", p = \"/pres\" }\n\
         [fields.h]\nrange = [0, 100]",
    );
    let mut expected = one(&json!({}), None, &json!({"t": 1.0}));
    expected["rejected"] = json!([["", "out_of_range"]]);
    check(&mapping, "a", r#"{"temp":1,"hum":101}"#, &expected);
}

#[test]
fn lines_and_arrays_hold_several_samples() {
    let lines = mapping("topic = \"a\"", "[message]\nformat = \"ndjson\"");
    let sample = |value: f64| json!({ "tags": {}, "time": null, "values": { "x": value } });
    let expected = json!({
        "samples": [sample(1.0), sample(2.0)],
        "rejected": [["line 3", "not_json"]],
        "counts": [0, 0, 0],
    });
    check(&lines, "a", "{\"x\":1}\n\n{x}\n{\"x\":2}\n", &expected);
    let array = mapping("topic = \"a\"", "");
    let expected = json!({
        "samples": [sample(1.0), sample(2.0)], "rejected": [["/2", "not_object"]], "counts": [0, 0, 0],
    });
    check(&array, "a", r#"[{"x":1},{"x":2},[3]]"#, &expected);
}

#[test]
fn plain_text_is_read_as_its_field_says() {
    for (field, payload, expected) in [
        ("type = \"string\"", "1.10", json!("1.10")),
        ("type = \"string\"", "12e4", json!("12e4")),
        ("decimal_comma = true", "1.234", json!(1234.0)),
        ("map = { \"1\" = 0, \"0\" = 1 }", "1", json!(0.0)),
        (
            "type = \"integer\"",
            "9007199254740993",
            json!(9_007_199_254_740_993_i64),
        ),
        ("type = \"bool\"", "0", json!(false)),
        ("", "+2.5e1", json!(25.0)),
    ] {
        let message = "[message]\nformat = \"text\"\nmissing = [-127]";
        let mapping = mapping(
            "topic = \"t\"",
            &format!("{message}\n[fields.value]\n{field}"),
        );
        check(
            &mapping,
            "t",
            payload,
            &one(&json!({}), None, &json!({ "value": expected })),
        );
        let missing = json!({ "samples": [], "rejected": [], "counts": [0, 1, 0] });
        if !field.contains("string") {
            check(&mapping, "t", "-127.0", &missing);
        }
    }
}

#[test]
fn senml_records_have_base_values() {
    let mapping = mapping(
        "topic = \"senml/{gateway}\"",
        "[message]\nformat = \"senml\"\nsplit = \"urn:dev:{device}:{field}\"",
    );
    let payload = r#"[{"bn":"urn:dev:ow:","bt":1800000000,"bu":"Cel","n":"a:temp","v":23.1},
        {"n":"a:hum","u":"%RH","v":60,"t":-5},{"n":"b:open","vb":true},{"bn":"x"},{"n":"y","v":1}]"#;
    let sample = |device: &str, time: &str, values: Json| json!({ "tags": { "gateway": "g", "device": device }, "time": time, "values": values });
    let expected = json!({
        "samples": [
            sample("ow", "2027-01-15T08:00:00Z from bt", json!({ "a:temp": 23.1 })),
            sample("ow", "2027-01-15T07:59:55Z from /1/t", json!({ "a:hum": 60.0 })),
            sample("ow", "2027-01-15T08:00:00Z from bt", json!({ "b:open": 1.0 })),
        ],
        "rejected": [["/4", "bad_name"]],
        "counts": [0, 0, 0],
    });
    check(&mapping, "senml/g", payload, &expected);
    let sum = r#"[{"n":"urn:dev:a:energy","s":1234.5},{"n":"urn:dev:a:raw","vd":"AA=="}]"#;
    let refused = [["/0", "bad_value"], ["/1", "bad_value"]];
    let expected = json!({ "samples": [], "rejected": refused, "counts": [0, 0, 0] });
    check(&mapping, "senml/g", sum, &expected);
    check_rejected(&mapping, "senml/g", "{}", Reason::NotObject);
}

#[test]
fn times_of_the_usual_members_are_found() {
    let mapping = mapping("topic = \"a\"", "[message]\ntime_zone = \"Europe/Berlin\"");
    let with = |time: Option<&str>| one(&json!({}), time, &json!({"x": 1.0}));
    for (payload, time) in [
        (
            r#"{"x":1,"Time":"2027-01-15T09:00:00"}"#,
            Some("2027-01-15T08:00:00Z from /Time"),
        ),
        (
            r#"{"x":1,"timestamp":1800000000,"ts":7}"#,
            Some("2027-01-15T08:00:00Z from /timestamp"),
        ),
        (r#"{"x":1,"time":86400}"#, None),
        (r#"{"x":1,"timestamp":null}"#, None),
    ] {
        check(&mapping, "a", payload, &with(time));
    }
    let bad = json!({ "samples": [], "rejected": [["", "bad_timestamp"]], "counts": [0, 0, 0] });
    check(&mapping, "a", r#"{"x":1,"timestamp":"soon"}"#, &bad);
}

#[test]
fn names_are_checked_and_mapped() {
    let strict = mapping(
        "topic = \"a/{d}\"",
        "[message]\nnames = \"strict\"\nsnake = true",
    );
    let good = one(&json!({"d": "x"}), None, &json!({"Utility_V_": 1.0}));
    check(&strict, "a/x", r#"{"Utility V\u00fc":1}"#, &good);
    let bad = json!({ "samples": [], "rejected": [["", "bad_name"]], "counts": [0, 0, 0] });
    check(&strict, "a/x y", r#"{"v":1}"#, &bad);
    let any = mapping(
        "topic = \"a/{d}\"",
        "[message]\nrename = { v = \"volt \u{fc}\" }",
    );
    let good = one(&json!({"d": "x y"}), None, &json!({"volt ü": 1.0}));
    check(&any, "a/x y", r#"{"v":1}"#, &good);
    check(&any, "a/x\u{1b}", r#"{"v":1}"#, &bad);
}

/// Any JSON document.
fn documents() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(|number| json!(number)),
        "[a-z0-9 .,%-]{0,6}".prop_map(Json::from),
        "\\PC{0,4}".prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let key = prop_oneof!["[a-c]", "value|ts|time|timestamp|id|v", "\\PC{0,3}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
            prop::collection::vec((key, inner), 0..5)
                .prop_map(|members| { Json::Object(members.into_iter().collect()) }),
        ]
    })
}

fn mappings() -> Vec<Mapping> {
    [
        "",
        "[message]\neach = \"/a\"",
        "[message]\neach = \"/*\"\ntags = { k = \"$key\" }",
        "[message]\nname = \"/id\"\nvalue = \"/v\"",
        "[message]\nformat = \"senml\"",
        "[message]\nfields = { x = \"/a\", y = \"^/b/0\" }\ntime = [\"/ts\", \"/time\"]",
    ]
    .iter()
    .map(|more| mapping("topic = \"t\"", more))
    .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Nothing panics, and every value that is taken can be found again in the payload.
    #[test]
    fn any_document_is_mapped_or_rejected(document in documents()) {
        let payload = document.to_string();
        for mapping in mappings() {
            let Ok(mapped) = mapping.map("t", payload.as_bytes(), ARRIVED) else {
                continue;
            };
            for sample in &mapped.samples {
                prop_assert!(!sample.sample.values.is_empty());
                for (_, value) in &sample.sample.values {
                    prop_assert!(holds(&document, value), "{value:?} isn't in {payload}");
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_mapped_or_rejected(payload in prop::collection::vec(any::<u8>(), 0..64)) {
        for mapping in mappings() {
            let _ = mapping.map("t", &payload, ARRIVED);
        }
    }
}

/// Whether a document holds a value: the number, a boolean, or a string that reads as the number.
fn holds(document: &Json, value: &model::Value) -> bool {
    let model::Value::Float(number) = value else {
        return false;
    };
    let is_it = |found: f64| (found + 0.0).to_bits() == number.to_bits();
    match document {
        Json::Null => false,
        Json::Bool(found) => is_it(f64::from(u8::from(*found))),
        Json::Number(found) => found.as_f64().is_some_and(is_it),
        Json::String(text) => text.trim().parse().is_ok_and(is_it),
        Json::Array(elements) => elements.iter().any(|element| holds(element, value)),
        Json::Object(members) => {
            let base = members.get("bv").and_then(Json::as_f64);
            base.is_some() || members.values().any(|member| holds(member, value))
        }
    }
}
