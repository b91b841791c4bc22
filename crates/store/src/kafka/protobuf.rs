//! Records of Protocol Buffers, in builds that have them.

#[cfg(not(feature = "protobuf"))]
use common::settings::built_without;
use model::pipeline::StoreTable;
use serde_json::Value as Json;

/// The type of a topic's records.
#[cfg(feature = "protobuf")]
pub(super) type RecordType = ::protobuf::MessageType;

/// A build without Protocol Buffers has no types.
#[cfg(not(feature = "protobuf"))]
#[derive(Debug)]
pub(super) enum RecordType {}

/// The type that a table names.
#[cfg(feature = "protobuf")]
pub(super) fn find(table: &StoreTable) -> Result<RecordType, String> {
    let name = table.message.as_deref().map_or("", String::as_str);
    RecordType::find(&table.descriptors, name).map_err(|error| {
        let descriptor = table.descriptor.as_deref().map_or("", String::as_str);
        format!("descriptor = {descriptor:?}: {error}")
    })
}

/// Fails, since this program was built without the feature.
#[cfg(not(feature = "protobuf"))]
pub(super) fn find(_: &StoreTable) -> Result<RecordType, String> {
    Err(built_without("protobuf"))
}

/// The bytes of a message.
#[cfg(feature = "protobuf")]
pub(super) fn encode(of_type: &RecordType, document: &Json) -> Result<Vec<u8>, String> {
    of_type
        .from_json(document)
        .map_err(|error| error.to_string())
}

#[cfg(not(feature = "protobuf"))]
pub(super) fn encode(of_type: &RecordType, _: &Json) -> Result<Vec<u8>, String> {
    match *of_type {}
}
