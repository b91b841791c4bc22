use model::time::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::{BadLine, Line};

fn parse(line: &str) -> Result<Line, BadLine> {
    Line::parse(line.as_bytes())
}

fn line_to(topic: &str) -> String {
    json!({"topic": topic, "payload": 5}).to_string()
}

/// What is published for a payload that is written so.
fn published(payload: &str) -> String {
    let line = parse(&format!(r#"{{"topic":"t","payload":{payload}}}"#)).unwrap();
    String::from_utf8(line.payload).unwrap()
}

#[test]
fn payload_is_published_as_written_and_a_string_as_its_characters() {
    for written in [
        r#"{"value":1.50,"timestamp":"2025-11-02T14:21:33Z"}"#,
        r#"{ "b" : 1e2 , "a":[1,  2],"a":null}"#,
        "1.0000000000000000000001",
        "[1, 2]",
        "null",
        "true",
    ] {
        assert_eq!(published(written), written);
    }
    for (written, want) in [
        (r#""""#, ""),
        (r#""{\"value\":1""#, r#"{"value":1"#),
        (r#""a\u0000\nä€""#, "a\0\nä€"),
        (r#""\"5\"""#, r#""5""#),
    ] {
        assert_eq!(published(written), want);
    }
}

#[test]
fn timestamps_are_read_in_all_forms_of_a_reading() {
    let at = |payload: &str| {
        let line = parse(&format!(r#"{{"payload":{payload},"topic":"t","time":1}}"#));
        line.unwrap().timestamp
    };
    let want = Some(Timestamp::from_millis(1_762_093_293_500));
    for same in [
        r#"{"timestamp":"2025-11-02T14:21:33.5Z"}"#,
        r#"{"value":1,"timestamp":"2025-11-02T15:21:33.500+01:00"}"#,
        r#"{"timestamp":1762093293.5}"#,
        r#"{"timestamp":1762093293500}"#,
        r#""{\"timestamp\":1762093293500}""#,
    ] {
        assert_eq!(at(same), want, "{same}");
    }
    for none in [
        "{}",
        "5",
        r#"["2025-11-02T14:21:33.5Z"]"#,
        r#""2025-11-02T14:21:33.5Z""#,
        r#"{"timestamp":null}"#,
        r#"{"timestamp":"yesterday"}"#,
        r#"{"timestamp":"1762093293"}"#,
        r#"{"timestamp":1e999}"#,
        r#"{"timestamp":1,"timestamp":1}"#,
        r#""{\"timestamp\":1""#,
    ] {
        assert_eq!(at(none), None, "{none}");
    }
}

#[test]
fn invalid_line_is_an_error_that_names_the_reason() {
    for bad in [
        "",
        "5",
        "{",
        "not JSON",
        r#"["t",5]"#,
        r#"{"topic":"t"}"#,
        r#"{"payload":5}"#,
        r#"{"topic":5,"payload":5}"#,
        r#"{"topic":"t","topic":"t","payload":5}"#,
        r#"{"topic":"t","payload":5}{}"#,
        r#"{"topic":"t","payload":"\ud800"}"#,
    ] {
        let said = parse(bad).unwrap_err();
        assert!(matches!(said, BadLine::Shape(_)), "{bad}: {said}");
    }
    for topic in [
        "",
        "a/+",
        "#",
        "a\0b",
        "a\nb",
        "a\u{85}",
        "\u{fdd0}",
        "\u{1ffff}",
        &"x".repeat(65_536),
        &"/".repeat(201),
    ] {
        let said = parse(&line_to(topic));
        assert_eq!(said, Err(BadLine::Topic(topic.to_owned())));
    }
    assert!(parse(&line_to(&"/".repeat(200))).is_ok());
    assert!(parse(&line_to(&"x".repeat(65_535))).is_ok());
    let said = Line::parse(b"{\"topic\":\"\xff\",\"payload\":5}");
    assert_eq!(said, Err(BadLine::Encoding));
}

proptest! {
    #[test]
    fn any_string_can_be_replayed(topic in "[a-zäß€𝄞/ $]{1,20}", payload in any::<String>()) {
        let line = parse(&json!({"topic": topic, "payload": payload}).to_string()).unwrap();
        prop_assert_eq!(line.topic, topic);
        prop_assert_eq!(line.payload, payload.into_bytes());
    }

    #[test]
    fn arbitrary_lines_do_not_panic(line in any::<Vec<u8>>(), text in any::<String>()) {
        let _ = Line::parse(&line);
        let _ = parse(&text);
    }
}
