//! Messages of Protocol Buffers whose types are known only when the program runs: a set of descriptors describes them,
//! as `protoc --include_imports --descriptor_set_out=FILE` writes it.

use std::fmt;

use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;

/// A type of message.
#[derive(Clone)]
pub struct MessageType(MessageDescriptor);

/// Why a type of message can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    /// The bytes are something else, perhaps the source of a `.proto` file.
    #[error(
        "it is no set of descriptors ({0}): make one with `protoc --include_imports \
         --descriptor_set_out=FILE NAME.proto`"
    )]
    NoDescriptors(String),
    /// The set has no message of this name.
    #[error("it has no message {name:?}, only {}", .known.join(", "))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The names of the set's messages.
        known: Vec<String>,
    },
}

/// Why bytes can't be read as a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no message {name}: {detail}")]
pub struct DecodeError {
    name: String,
    detail: String,
}

/// Why JSON can't be written as a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no message {name}: {detail}")]
pub struct EncodeError {
    name: String,
    detail: String,
}

impl MessageType {
    /// The message with this full name (`package.Message`) in a set of descriptors.
    pub fn find(descriptors: &[u8], name: &str) -> Result<Self, TypeError> {
        let pool = DescriptorPool::decode(descriptors)
            .map_err(|error| TypeError::NoDescriptors(error.to_string()))?;
        match pool.get_message_by_name(name) {
            Some(found) => Ok(Self(found)),
            None => Err(TypeError::Unknown {
                name: name.to_owned(),
                known: names(&pool),
            }),
        }
    }

    /// A message as JSON: members have the names of the `.proto` file, 64-bit integers are numbers, times are RFC
    /// 3339. A field that is not set is absent if the type tells that from its default (`optional`, messages);
    /// otherwise it has its default.
    pub fn to_json(&self, bytes: &[u8]) -> Result<Value, DecodeError> {
        let error = |detail: String| DecodeError {
            name: self.0.full_name().to_owned(),
            detail,
        };
        let message = DynamicMessage::decode(self.0.clone(), bytes)
            .map_err(|failed| error(failed.to_string()))?;
        let options = SerializeOptions::new()
            .use_proto_field_name(true)
            .stringify_64_bit_integers(false)
            .skip_default_fields(false);
        message
            .serialize_with_options(serde_json::value::Serializer, &options)
            .map_err(|failed| error(failed.to_string()))
    }

    /// A message of a JSON document, whose members have the names of the `.proto` file or of its JSON form; each has to
    /// be a field of the message, with a value of its type.
    pub fn from_json(&self, document: &Value) -> Result<Vec<u8>, EncodeError> {
        let message = DynamicMessage::deserialize(self.0.clone(), document);
        let message = message.map_err(|failed| EncodeError {
            name: self.0.full_name().to_owned(),
            detail: failed.to_string(),
        })?;
        Ok(message.encode_to_vec())
    }
}

impl fmt::Debug for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MessageType")
            .field(&self.0.full_name())
            .finish()
    }
}

/// The names of a set's messages, without those of Google's own packages.
fn names(pool: &DescriptorPool) -> Vec<String> {
    let names = pool
        .all_messages()
        .map(|message| message.full_name().to_owned());
    names
        .filter(|name| !name.starts_with("google.protobuf."))
        .collect()
}
