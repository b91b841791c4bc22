use std::time::Duration;

use super::{PipelineError, PipelineFile, ShapeKind};

fn parse(text: &str) -> Result<PipelineFile, PipelineError> {
    PipelineFile::parse("mine.toml", text, &|_| None)
}

const MINIMAL: &str = r#"
name = "greenhouse"
[source]
topic = "zigbee2mqtt/{device...}"
"#;

/// What stands behind the lines of [`MINIMAL`], the place of the error, part of the message.
const REFUSED: &[(&str, &str, &str)] = &[
    ("channel = \"c\"", "5:11", "redis-pubsub"),
    (
        "kind = \"amqp\"",
        "5:8",
        "unknown variant `amqp`, expected one of `mqtt`, `redis-pubsub`, `kafka`, `http`, `http-stream`",
    ),
    ("path = \"/a\"", "5:8", "a path is for kind = \"http\""),
    (
        "token = \"t\"",
        "5:9",
        "a token is for kind = \"http-stream\"",
    ),
    (
        "kind = \"http\"",
        "4:9",
        "the paths of kind = \"http\" are in path",
    ),
    (
        "kind = \"redis-pubsub\"",
        "4:9",
        "a topic is for kind = \"mqtt\"",
    ),
    ("url = \"http://x\"", "5:7", "mqtt://"),
    ("url = \"mqtt://x/path\"", "5:7", "has a path"),
    ("url = \"mqtt://x:70000\"", "5:7", "invalid port"),
    ("url = \"mqtts://x:0\"", "5:7", "port 0"),
    ("url = \"mqtt:///x\"", "5:7", "and a host"),
    ("ignore = \"a[\"", "5:10", "a["),
    ("[message]\nformat = \"avro\"", "6:10", "unknown variant"),
    (
        "[message]\nformat = \"text\"\nvalue = \"/v\"",
        "7:9",
        "the payload",
    ),
    ("[message]\nvalue = \"v\"", "6:9", "doesn't start with /"),
    (
        "[message]\nfields = \"*\"\nname = \"/n\"",
        "6:10",
        "instead of name",
    ),
    ("[message]\nsplit = \"{a}.{field}\"", "6:9", "no name"),
    (
        "[message]\nname = \"/n\"\nsplit = \"{device}.{field}\"",
        "7:9",
        "two places",
    ),
    (
        "[message]\nname = \"/n\"\ninclude = \"a*\"",
        "7:11",
        "fields = \"*\"",
    ),
    (
        "[message]\ntags = { time = \"/t\" }",
        "6:17",
        "can't be called time",
    ),
    ("[rows]\nflush_interval = \"2s\"", "6:18", "without a shape"),
    ("[message]\ntags = { id = \"$key\" }", "6:15", "$key needs"),
    (
        "[message]\ntime_zone = \"Europe/Nowhere\"",
        "6:13",
        "no such time zone",
    ),
    ("[message]\ntime_format = \"%Q\"", "6:15", "strftime"),
    ("[fields.a]\nrange = [1]", "6:9", "2"),
    ("[fields.a]\nscale = \"x\"", "6:9", "a finite number"),
    ("[rows]\nshape = \"window\"", "6:9", "every"),
    ("[rows]\nevery = \"5s\"", "6:9", "shape = \"window\""),
    (
        "[rows]\nshape = \"sample\"\nalign = \"1s\"",
        "7:9",
        "shape = \"pivot\"",
    ),
    ("[rows]\nalign = \"soon\"", "6:9", "a duration"),
    ("[limits]\nmax_age = \"0\"", "6:11", "none"),
    (
        "[[store]]\nkind = \"sqlite\"\nurl = \"x\"",
        "7:7",
        "is in the data directory",
    ),
    (
        "[[store]]\nkind = \"sqlite\"\n[[store]]\nkind = \"sqlite\"",
        "7:1",
        "one store of kind sqlite",
    ),
    ("[[alarm]]\nname = \"x\"", "5:3", "unknown field `alarm`"),
    ("[simulate]\nfields = { a = { normal = [1] } }", "6:27", "2"),
    (
        "[simulate]\nfields = {}\ntags = { a = [] }",
        "7:14",
        "no values",
    ),
    (
        "[message]\nname = \"/n\"\nexclude = \"a*\"",
        "7:11",
        "topics with {field}",
    ),
    (
        "[message]\nformat = \"text\"\nrequired = \"/v\"",
        "7:12",
        "the payload",
    ),
    (
        "[message]\nrequired = [\"/v\", \"w\"]",
        "6:12",
        "doesn't start with /",
    ),
    ("[message]\nrequired = []", "6:12", "at least one value"),
];

/// What stands behind `[simulate]` and its fields, the place of the error, part of the message.
const REFUSED_SIMULATIONS: &[(&str, &str, &str)] = &[
    (
        "tags = { a = \"b\" }",
        "7:14",
        "strings, or { prefix = \"line-\", count = 3 }",
    ),
    ("tags = { a = [1] }", "7:15", "expected a string"),
    (
        "tags = { a = { prefix = \"a\" } }",
        "7:14",
        "missing field `count`",
    ),
    (
        "tags = { a = { count = 3 } }",
        "7:14",
        "missing field `prefix`",
    ),
    (
        "tags = { a = { prefix = \"a\", count = 3, from = 0 } }",
        "7:41",
        "unknown field `from`",
    ),
    (
        "tags = { a = { prefix = \"a\", count = \"${COUNT:-many}\" } }",
        "7:38",
        "\"many\" isn't a whole number",
    ),
    (
        "tags = { a = { prefix = \"a\", count = -1 } }",
        "7:38",
        "-1 isn't a whole number",
    ),
    (
        "tags = { a = { prefix = \"a\", count = 0 } }",
        "7:14",
        "the tag \"a\" has no values",
    ),
    (
        "tags = { a = { prefix = \"a\", count = 100001 } }",
        "7:14",
        "at most 100000 series",
    ),
    (
        "tags = { a = { prefix = \"a\", count = 50001 }, b = [\"x\", \"y\"] }",
        "7:51",
        "these tags make 100002",
    ),
    ("interval = 0", "7:12", "longer than 0"),
    ("fields.u.uniform = \"50-15\"", "7:8", "50 is above 15"),
    (
        "fields.u.normal-by-number = { mean = 1, variance = [1, 2] }",
        "7:8",
        "there are 0",
    ),
    (
        "tags = { a = { prefix = \"a\", count = 2 }, b = { prefix = \"b\", count = 2 } }\n\
         fields.u.normal-by-number = { mean = 1, variance = [1, 2] }",
        "8:8",
        "there are 2",
    ),
    (
        "tags = { a = { prefix = \"a\", count = 2 } }\n\
         fields.u.normal-by-number = { mean = 1, variance = [-1, 2] }",
        "8:8",
        "a variance is 0 or more",
    ),
    (
        "tags = { a = { prefix = \"a\", count = 2 } }\n\
         fields.u.normal-by-number = { mean = 1, deviation = [1, 2] }",
        "8:41",
        "unknown field `deviation`",
    ),
    (
        "[[simulate.where]]\ntags = { a = \"x\" }\n\
         fields.t.normal-by-number = { mean = 1, variance = [1, 2] }",
        "9:8",
        "there are 0",
    ),
];

#[test]
fn simulations_that_cannot_work_are_refused() {
    for (more, place, part) in REFUSED_SIMULATIONS {
        let text = format!("{MINIMAL}[simulate]\nfields.t.uniform = [1, 2]\n{more}\n");
        let shown = parse(&text).unwrap_err().to_string();
        assert!(shown.contains(part), "{more}\n{shown}");
        assert!(
            shown.contains(&format!("mine.toml:{place}\n")),
            "{more}\n{shown}"
        );
    }
}

#[test]
fn simulated_tags_are_listed_or_numbered() {
    let text = format!(
        "{MINIMAL}[simulate]\nfields.t.normal-by-number = {{ mean = 50, variance = [0.5, \"5\"] }}\n\
         tags = {{ a = [\"x\", \"y\"], b = {{ prefix = \"b_\", count = \"${{COUNT:-3}}\" }} }}\n"
    );
    let simulate = parse(&text).unwrap().simulate.unwrap();
    let values = |tag: &str| simulate.tags[tag].all();
    assert_eq!(values("a"), ["x", "y"]);
    assert_eq!(values("b"), ["b_1", "b_2", "b_3"]);
    let counted = |name: &str| (name == "COUNT").then(|| "1".to_owned());
    let file = PipelineFile::parse("mine.toml", &text, &counted).unwrap();
    assert_eq!(file.simulate.unwrap().tags["b"].all(), ["b_1"]);
}

/// Sources of Kafka that can't work.
const REFUSED_KAFKA: &[(&str, &str)] = &[
    ("topic = \"t\"", "has no url"),
    ("url = \"kafka://a\"", "has no topic"),
    (
        "url = \"kafka://a\"\ntopic = \"a/{field}\"",
        "can't name a topic",
    ),
    (
        "url = \"kafka://a\"\ntopic = \"t\"\nignore = \"x\"",
        "ignore is for",
    ),
    (
        "url = \"kafka://a\"\ntopic = \"t\"\nchannel = \"x\"",
        "channels are for",
    ),
    (
        "url = \"kafka://a\"\ntopic = \"t\"\nuser = \"me\"",
        "has no password",
    ),
    ("url = \"mqtt://a\"\ntopic = \"t\"", "kafka://"),
    (
        "url = \"kafka://a\"\ntopic = \"t\"\ngroup = \"\"",
        "has no name",
    ),
    (
        "url = \"kafka://a\"\ntopic = \"t\"\n[simulate]\nfields = {}",
        "can be simulated",
    ),
];

#[test]
fn sources_of_kafka_that_cannot_work_are_refused() {
    for (source, message) in REFUSED_KAFKA {
        let text = format!("name = \"a\"\n[source]\nkind = \"kafka\"\n{source}\n");
        let refused = parse(&text).unwrap_err().to_string();
        assert!(refused.contains(message), "{source}: {refused}");
    }
    let anonymous =
        "url = \"kafka://a\"\ntopic = \"t\"\nuser = \"\"\npassword = \"\"\ngroup = \"g\"";
    let text = format!("name = \"a\"\n[source]\nkind = \"kafka\"\n{anonymous}\n");
    assert!(parse(&text).is_ok());
}

#[test]
fn sources_of_http_need_a_path_and_nothing_else() {
    let source = |lines: &str| {
        let text = format!("name = \"rooms\"\n[source]\nkind = \"http\"\n{lines}");
        parse(&text)
    };
    let file = source("path = \"/rooms/{room}/{field}\"").unwrap();
    assert_eq!(file.tags(), ["room"]);
    assert_eq!(file.shape(), ShapeKind::Pivot);
    for (lines, part) in [
        ("", "[source] has no path"),
        ("path = \"rooms\"", "a path begins with /"),
        ("path = \"/a\"\ntopic = \"/a\"", "are in path"),
        ("path = \"/a\"\nurl = \"http://x\"", "HTTP_ADDR"),
        (
            "path = \"/a\"\nretained = \"accept\"",
            "for kind = \"mqtt\"",
        ),
        ("path = \"/a\"\n[simulate]\nfields = {}", "can be simulated"),
    ] {
        let error = source(lines).unwrap_err().to_string();
        assert!(error.contains(part), "{lines}: {error}");
    }
}

#[test]
fn sources_of_streams_need_a_url_with_a_path() {
    let source = |lines: &str| {
        let text = format!("name = \"plant\"\n[source]\nkind = \"http-stream\"\n{lines}");
        parse(&text)
    };
    for url in ["http://feed:8060/metrics", "https://me:pass@[::1]/a/b"] {
        let file = source(&format!("url = {url:?}\ntoken = \"\"")).unwrap();
        assert_eq!(file.shape(), ShapeKind::Sample);
    }
    let with = |more: &str| format!("url = \"http://feed/metrics\"\n{more}");
    for (lines, part) in [
        (String::new(), "[source] has no url"),
        ("url = \"mqtt://a/b\"".to_owned(), "http:// or https://"),
        ("url = \"http://feed\"".to_owned(), "has no path"),
        ("url = \"http://feed/\"".to_owned(), "has no path"),
        ("url = \"http://feed:0/a\"".to_owned(), "port 0"),
        ("url = \"http://feed/a?b=1\"".to_owned(), "a query"),
        ("url = \"http://fe ed/a\"".to_owned(), "can't be used"),
        (with("topic = \"a\""), "the path in its url"),
        (with("path = \"/a\""), "for kind = \"http\""),
        (with("channel = \"a\""), "channels are for"),
        (with("group = \"a\""), "for kind = \"kafka\""),
        (with("ignore = \"a\""), "for kind = \"mqtt\""),
        (with("[simulate]\nfields = {}"), "can be simulated"),
    ] {
        let error = source(&lines).unwrap_err().to_string();
        assert!(error.contains(part), "{lines}: {error}");
    }
}

#[test]
fn messages_of_protocol_buffers_need_descriptor_and_message() {
    let both = "descriptor = \"a.pb\"\nmessage = \"a.B\"";
    for (lines, refused) in [
        ("format = \"protobuf\"", "needs descriptor"),
        (
            "format = \"protobuf\"\ndescriptor = \"a.pb\"",
            "needs message",
        ),
        (both, "it is for format"),
    ] {
        let error = parse(&format!("{MINIMAL}[message]\n{lines}\n")).unwrap_err();
        assert!(error.to_string().contains(refused), "{lines}: {error}");
    }
    let good = format!("{MINIMAL}[message]\nformat = \"protobuf\"\n{both}\n");
    assert!(parse(&good).is_ok());
    let simulated = format!("{good}[simulate]\nfields = {{}}\n");
    let error = parse(&simulated).unwrap_err().to_string();
    assert!(error.contains("can't be simulated"), "{error}");
}

#[test]
fn three_lines_are_enough() {
    let file = parse(MINIMAL).unwrap();
    assert_eq!(&*file.name, "greenhouse");
    let topic = file.source.topic.unwrap();
    assert_eq!(topic.filter(), "zigbee2mqtt/#");
}

#[test]
fn an_error_shows_its_place_and_what_is_accepted() {
    let error = parse("name = \"a\"\n[source]\ntopc = \"b\"\n").unwrap_err();
    let shown = error.to_string();
    let expected = "error: unknown field `topc`, expected one of `kind`, `url`, `topic`, `path`, \
                    `token`, `channel`, `pattern`, `ignore`, `retained`, `group`, `start`, `user`, `password`, \
                    `mechanism`\n --> mine.toml:3:1\n  |\n3 | topc = \"b\"\n  | ^^^^";
    assert!(shown.contains(expected), "{shown}");
}

#[test]
fn contradictions_and_impossible_values_are_refused() {
    for (more, place, part) in REFUSED {
        let error = parse(&format!("{MINIMAL}{more}\n")).unwrap_err();
        let shown = error.to_string();
        assert!(shown.contains(part), "{more}\n{shown}");
        assert!(
            shown.contains(&format!("mine.toml:{place}\n")),
            "{more}\n{shown}"
        );
    }
}

#[test]
fn the_whole_example_of_the_documentation_is_read() {
    let file = parse(include_str!("tests/whole.toml"));
    let file = file.map_err(|error| error.to_string()).unwrap();
    assert_eq!(file.store.len(), 1);
    assert_eq!(file.alert[0].hold(), Duration::from_mins(1));
    assert_eq!(file.message.conditions.len(), 3);
    let unit = |name: &str| file.fields.of(name).and_then(|field| field.unit.clone());
    assert_eq!(unit("temp_1").as_deref(), Some("°C"));
    assert_eq!(
        unit("temp_in").as_deref(),
        Some("K"),
        "a longer pattern goes first"
    );
    assert_eq!(unit("temp_i"), None, "an exact name goes first");
    assert!(file.fields.of("other").is_none());
}

#[test]
fn stores_are_named_by_their_kinds() {
    let store = |kind: &str| format!("[[store]]\nkind = \"{kind}\"\n");
    let mongodb = store("mongodb") + "url = \"mongodb://h\"\n";
    let stores = [store("influx"), mongodb, store("influx"), store("sqlite")].concat();
    let file = parse(&format!("{MINIMAL}{stores}")).unwrap();
    assert_eq!(
        file.store_names(),
        ["influx", "mongodb", "influx-2", "sqlite"]
    );
    assert!(parse(MINIMAL).unwrap().store_names().is_empty());
}

#[test]
fn the_schema_describes_every_table() {
    let schema = PipelineFile::schema();
    let properties = schema["properties"].as_object().unwrap();
    for table in [
        "name", "source", "message", "fields", "rows", "limits", "store", "simulate", "alert",
    ] {
        assert!(properties.contains_key(table), "{table}");
    }
    assert_eq!(schema["additionalProperties"], false);
}

/// What stands behind [`MINIMAL`] and `[[alert]]`, the place of the error, part of the message.
const REFUSED_ALERTS: &[(&str, &str, &str)] = &[
    ("field = \"t\"\nabove = 1", "5:1", "missing field `name`"),
    ("name = \"a\"\nabove = 1", "5:1", "missing field `field`"),
    (
        "name = \"a\"\nfield = \"t\"",
        "6:8",
        "above, below, or both",
    ),
    ("name = \"\"\nfield = \"t\"\nabove = 1", "6:8", "the name"),
    ("name = \"a\"\nfield = \"\"\nabove = 1", "7:9", "the field"),
    (
        "name = \"a\"\nfield = \"t\"\nabove = inf",
        "8:9",
        "a finite number",
    ),
    (
        "name = \"a\"\nfield = \"t\"\nabove = \"hot\"",
        "8:9",
        "a finite number",
    ),
    (
        "name = \"a\"\nfield = \"t\"\nabove = 1\nclear_below = 2",
        "9:15",
        "at most as large",
    ),
    (
        "name = \"a\"\nfield = \"t\"\nbelow = 1\nclear_below = 0",
        "9:15",
        "with above",
    ),
    (
        "name = \"a\"\nfield = \"t\"\nbelow = 1\nclear_above = 0.5",
        "9:15",
        "at least as large",
    ),
    (
        "name = \"a\"\nfield = \"t\"\nabove = 1\nclear_above = 2",
        "9:15",
        "with below",
    ),
    (
        "name = \"a\"\nfield = \"t\"\nabove = 1\nbelow = 1",
        "9:9",
        "less than above",
    ),
    (
        "name = \"a\"\nfield = \"t\"\nabove = 9\nbelow = 1\nclear_below = 3\nclear_above = 5",
        "8:9",
        "never ends",
    ),
    (
        "name = \"a\"\nfield = \"t\"\nabove = 1\nfor = \"soon\"",
        "9:7",
        "a duration",
    ),
    (
        "name = \"a\"\nfield = \"t\"\nabove = 1\nstale_after = 0",
        "9:15",
        "longer than 0",
    ),
    (
        "name = \"a\"\nfield = \"t\"\nabove = 1\nwebhooks = [\"ftp://x\"]",
        "9:13",
        "http://",
    ),
    (
        "name = \"a\"\nfield = \"t\"\nabove = 1\nwebhooks = [\"http:///x\"]",
        "9:13",
        "a host",
    ),
    (
        "name = \"a\"\nfield = \"t\"\nabove = 1\nwebhooks = [\"http://x\", \"http://x\"]",
        "9:25",
        "twice",
    ),
    (
        "name = \"a\"\nfield = \"t\"\nabove = 1\n[[alert]]\nname = \"a\"\nfield = \"t\"\nabove = 1",
        "10:8",
        "two alerts",
    ),
    (
        "name = \"a\"\nfield = \"t\"\nover = 1",
        "8:1",
        "unknown field `over`",
    ),
];

#[test]
fn impossible_alerts_are_refused() {
    for (more, place, part) in REFUSED_ALERTS {
        let error = parse(&format!("{MINIMAL}[[alert]]\n{more}\n")).unwrap_err();
        let shown = error.to_string();
        assert!(shown.contains(part), "{more}\n{shown}");
        assert!(
            shown.contains(&format!("mine.toml:{place}\n")),
            "{more}\n{shown}"
        );
    }
}
