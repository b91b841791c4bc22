//! Payloads of Protocol Buffers, which become JSON documents.

use model::dead_letter::{Reason, Rejection};
use model::pipeline::{Format, PipelineFile};
use serde_json::Value as Json;

#[cfg(feature = "protobuf")]
type Type = protobuf::MessageType;
/// A build without Protocol Buffers has no types.
#[cfg(not(feature = "protobuf"))]
#[derive(Debug, Clone)]
enum Type {}

/// The type of a pipeline's messages. The check of the settings refuses files whose type can't be used.
#[derive(Debug, Clone)]
pub(super) struct BinaryType(Result<Type, String>);

impl BinaryType {
    /// The type that a pipeline file names, if its messages are of Protocol Buffers.
    pub(super) fn of_file(file: &PipelineFile) -> Option<Self> {
        (file.message.format == Format::Protobuf).then(|| Self(find(file)))
    }

    /// The document of a payload.
    pub(super) fn to_json(&self, payload: &[u8]) -> Result<Json, Rejection> {
        let of_type = self.0.as_ref();
        let of_type = of_type.map_err(|error| Rejection::new(Reason::NotJson, error))?;
        decode(of_type, payload)
    }
}

/// Why the messages of a pipeline can't be decoded.
pub(crate) fn problem(file: &PipelineFile) -> Option<String> {
    BinaryType::of_file(file)?.0.err()
}

#[cfg(feature = "protobuf")]
fn find(file: &PipelineFile) -> Result<Type, String> {
    let message = &file.message;
    let name = message.message.as_deref().map_or("", String::as_str);
    protobuf::MessageType::find(&file.descriptors, name).map_err(|error| {
        let descriptor = message.descriptor.as_deref().map_or("", String::as_str);
        format!("descriptor = {descriptor:?}: {error}")
    })
}

#[cfg(not(feature = "protobuf"))]
fn find(_: &PipelineFile) -> Result<Type, String> {
    Err(common::settings::built_without("protobuf"))
}

#[cfg(feature = "protobuf")]
fn decode(of_type: &Type, payload: &[u8]) -> Result<Json, Rejection> {
    let decoded = of_type.to_json(payload);
    decoded.map_err(|error| Rejection::new(Reason::NotJson, error))
}

#[cfg(not(feature = "protobuf"))]
fn decode(of_type: &Type, _: &[u8]) -> Result<Json, Rejection> {
    match *of_type {}
}

#[cfg(test)]
#[cfg(feature = "protobuf")]
mod tests {
    use model::Timestamp;
    use model::dead_letter::Reason;
    use model::pipeline::PipelineFile;

    use super::problem;
    use crate::mapping::Mapping;

    const DESCRIPTORS: &[u8] = include_bytes!("../../../pipelines/compacted_reading.binpb");
    const FILE: &str = r#"
        name = "a"
        [source]
        topic = "t"
        [message]
        format = "protobuf"
        descriptor = "compacted_reading.pb"
        message = "schema.CompactedReading"
        tags = { facility = "/facility_name" }
        fields = { low = "/min_humidity", high = "/max_humidity", heat = "/avg_temperature" }
        time = "/window/start_time"
    "#;
    /// As Google's Python library writes it: window 2026-01-05T08:00:00Z to 08:00:10Z, `avg_humidity` 50.5,
    /// `max_humidity` 51.25, `min_humidity` 0, no temperature and no pressure.
    const MESSAGE: &str = "0a0a666163696c6974795f3112100a060880dfedca061206088adfedca0621000000000040494039\
                           0000000000a04940510000000000000000";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.map(byte).collect()
    }

    fn file(message: &str) -> PipelineFile {
        let text = FILE.replace("schema.CompactedReading", message);
        let mut file = PipelineFile::parse("a.toml", &text, &|_| None).unwrap();
        file.descriptors = DESCRIPTORS.to_vec();
        file
    }

    #[test]
    fn fields_that_are_set_are_readings_and_others_are_absent() {
        let mapping = Mapping::new(&file("schema.CompactedReading"));
        let mapped = mapping
            .map("t", &bytes(MESSAGE), Timestamp::from_millis(0))
            .unwrap();
        let sample = &mapped.samples[0].sample;
        let start = Timestamp::parse("2026-01-05T08:00:00Z").unwrap();
        assert_eq!(sample.timestamp, start);
        let tags: Vec<_> = sample
            .tags
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(tags, [("facility", "facility_1")]);
        let values: Vec<_> = sample
            .values
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(values, ["high=51.25", "low=0.0"]);
    }

    #[test]
    fn bytes_of_another_message_are_rejected() {
        let mapping = Mapping::new(&file("schema.CompactedReading"));
        for payload in [&b"{\"a\":1}"[..], &[0x0a, 0xff], &bytes(MESSAGE)[..20]] {
            let rejected = mapping
                .map("t", payload, Timestamp::from_millis(0))
                .unwrap_err();
            assert_eq!(rejected.reason, Reason::NotJson);
            let detail = rejected.detail;
            assert!(
                detail.starts_with("no message schema.CompactedReading: "),
                "{detail}"
            );
        }
    }

    #[test]
    fn descriptors_that_cannot_be_used_are_named() {
        assert_eq!(problem(&file("schema.CompactedReading")), None);
        let unknown = problem(&file("schema.Compacted")).unwrap();
        let expected = "descriptor = \"compacted_reading.pb\": it has no message \"schema.Compacted\", only \
                        schema.Interval, schema.CompactedReading";
        assert_eq!(unknown, expected);
        let mut source = file("schema.CompactedReading");
        source.descriptors = b"syntax = \"proto3\";".to_vec();
        let problem = problem(&source).unwrap();
        assert!(problem.contains("protoc --include_imports"), "{problem}");
        // Nothing is lost if such a file gets past the check of the settings.
        let mapping = Mapping::new(&source);
        let rejected = mapping
            .map("t", b"x", Timestamp::from_millis(0))
            .unwrap_err();
        assert_eq!(
            (rejected.reason, rejected.detail),
            (Reason::NotJson, problem)
        );
    }
}
