//! Where messages come from.

use schemars::JsonSchema;
use serde::Deserialize;

use super::template::TopicTemplate;
use super::value::{At, OneOrMore, TopicGlob};

mod rules;

pub(super) use rules::check;

/// Where messages come from.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceTable {
    /// [default: mqtt]
    pub kind: Option<At<SourceKind>>,
    /// `mqtt://user:password@host:1883`, `redis://host:6379`, `kafka://host:9092,host:9092` or `http://host/stream`,
    /// with TLS `mqtts://`, `rediss://`, `kafkas://` or `https://`; by default `MQTT_*` or `REDIS_*`, and in `up` the listener
    pub url: Option<At<String>>,
    /// The MQTT topics: {name} stands for one level and {name...} for one or more, each becomes a tag;
    /// {field} names the field; + and # match without a name. Or the Kafka topic
    pub topic: Option<At<TopicTemplate>>,
    /// http: the paths at which messages are posted, with levels as in a topic: /rooms/{room}/climate
    pub path: Option<At<TopicTemplate>>,
    /// http-stream: the token, if the server wants one; an empty one is none
    pub token: Option<At<String>>,
    /// The Redis channel
    pub channel: Option<At<String>>,
    /// The Redis channels, as a pattern of PSUBSCRIBE
    pub pattern: Option<At<String>>,
    /// Topics whose messages are counted as filtered and otherwise ignored
    pub ignore: Option<At<OneOrMore<TopicGlob>>>,
    /// Messages that a broker had retained from before the subscription [default: ignore]
    pub retained: Option<At<Retained>>,
    /// kafka: the group, whose members share the partitions [default: rigline-{pipeline}]
    pub group: Option<At<String>>,
    /// kafka: where to start in a partition that the group has no offset for [default: earliest]
    pub start: Option<At<StartAt>>,
    /// kafka: the user, if the brokers want a login; an empty one is none
    pub user: Option<At<String>>,
    /// kafka: its password
    pub password: Option<At<String>>,
    /// kafka: how the password is proved [default: plain]
    pub mechanism: Option<At<SaslMechanism>>,
}

/// Where to start in a partition of Kafka that the group has no offset for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StartAt {
    /// With the oldest record
    #[default]
    Earliest,
    /// With the first record that comes
    Latest,
}

/// How a login at Kafka proves its password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SaslMechanism {
    /// SASL/PLAIN: the password itself
    #[default]
    Plain,
    /// SCRAM-SHA-256
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// SCRAM-SHA-512
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}

impl SourceTable {
    /// The kind: MQTT, unless the file says otherwise.
    #[must_use]
    pub fn kind(&self) -> SourceKind {
        self.kind.as_deref().copied().unwrap_or(SourceKind::Mqtt)
    }

    /// What the topics of its messages look like; that of a message of HTTP is its path.
    #[must_use]
    pub fn template(&self) -> Option<&At<TopicTemplate>> {
        self.topic.as_ref().or(self.path.as_ref())
    }
}

/// The kind of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// An MQTT broker, or the listener of `up`
    Mqtt,
    /// Channels of Redis; what is published while nothing is subscribed is lost
    RedisPubsub,
    /// A topic of Kafka
    Kafka,
    /// Requests of devices, at `HTTP_ADDR` of the ingester
    Http,
    /// A stream of an HTTP server, such as `rigline feed`: an item a line, read on from where it was left
    HttpStream,
}

impl SourceKind {
    /// The name in a pipeline file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::RedisPubsub => "redis-pubsub",
            Self::Kafka => "kafka",
            Self::Http => "http",
            Self::HttpStream => "http-stream",
        }
    }
}

/// What to do with retained messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Retained {
    /// Count them, and nothing else
    #[default]
    Ignore,
    /// Take them like other messages
    Accept,
}
