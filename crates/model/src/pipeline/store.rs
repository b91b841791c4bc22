//! The table of a store.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::columns::ColumnSource;
use super::plain::{Plain, plain};
use super::source::SaslMechanism;
use super::value::At;

/// Where rows go.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreTable {
    /// The kind of the store
    pub kind: StoreKind,
    /// influx: by default `INFLUX_URL`. mongodb: `mongodb://host:27017`, also with several hosts and options. kafka:
    /// `kafka://host:9092,host:9092`, with TLS `kafkas://`. postgres: `postgres://host[:port]/database`, with TLS
    /// `?sslmode=require`. redis-latest: `redis://[user:password@]host[:port]` or rediss, by default `REDIS_HOST` and
    /// `REDIS_PORT`
    pub url: Option<At<String>>,
    /// influx: by default `INFLUX_TOKEN`
    pub token: Option<At<String>>,
    /// influx: by default `INFLUX_ORG`
    pub org: Option<At<String>>,
    /// influx: by default `INFLUX_BUCKET`
    pub bucket: Option<At<String>>,
    /// influx: the measurement [default: the pipeline's name]
    pub measurement: Option<At<String>>,
    /// mongodb, postgres: the user, instead of the URL's. kafka: the user, if the brokers want a login; an empty one
    /// is none
    pub user: Option<At<String>>,
    /// mongodb, postgres, kafka: the user's password
    pub password: Option<At<String>>,
    /// mongodb: the database that knows the user [default: admin]
    pub auth_source: Option<At<String>>,
    /// mongodb: the database [default: rigline]
    pub database: Option<At<String>>,
    /// mongodb: the collection [default: the pipeline's name]
    pub collection: Option<At<String>>,
    /// mongodb: most updates of one command; 99 with `FerretDB` [default: 1000]
    #[serde(default, deserialize_with = "plain")]
    #[schemars(with = "Option<Plain<usize>>")]
    pub batch: Option<At<usize>>,
    /// mongodb, kafka: members of documents that have another name than their tag or field, or hold times; a point
    /// leads into a document within
    #[serde(default)]
    pub columns: BTreeMap<String, At<ColumnSource>>,
    /// postgres: the table [default: the pipeline's name]
    pub table: Option<At<String>>,
    /// postgres: tags whose columns are of type bigint; the others are of type text
    pub integer_tags: Option<At<Vec<String>>>,
    /// redis-latest: how many rows of each series, and of all [default: 10]
    #[serde(default, deserialize_with = "plain")]
    #[schemars(with = "Option<Plain<usize>>")]
    pub keep: Option<At<usize>>,
    /// redis-latest: the tags that tell which rows belong together, instead of all tags: `["sensor_id"]` keeps the
    /// newest rows of each sensor
    pub by: Option<At<Vec<String>>>,
    /// kafka: the topic
    pub topic: Option<At<String>>,
    /// kafka: if there is no such topic, one with this many partitions is created
    #[serde(default, deserialize_with = "plain")]
    #[schemars(with = "Option<Plain<usize>>")]
    pub partitions: Option<At<usize>>,
    /// kafka: how the password is proved [default: plain]
    pub mechanism: Option<At<SaslMechanism>>,
    /// kafka: what the values of records are [default: json]
    pub format: Option<At<RecordFormat>>,
    /// kafka, format = "protobuf": path of a set of descriptors, as `protoc --include_imports
    /// --descriptor_set_out=FILE` writes it, from the pipeline file's directory on
    pub descriptor: Option<At<String>>,
    /// kafka, format = "protobuf": the full name of the message, `package.Message`
    pub message: Option<At<String>>,
    /// The content of the file that `descriptor` names. [`PipelineFile::parse`](super::PipelineFile::parse) leaves it
    /// empty, because it reads no files.
    #[serde(skip)]
    pub descriptors: Vec<u8>,
}

/// The format of the records of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RecordFormat {
    /// A JSON object
    #[default]
    Json,
    /// Protocol Buffers, of the type that `descriptor` and `message` name
    Protobuf,
}

/// The kind of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StoreKind {
    /// InfluxDB 2
    Influx,
    /// The file `store.db` of the one process
    Sqlite,
    /// A collection of MongoDB, a document a row
    Mongodb,
    /// A table of PostgreSQL
    Postgres,
    /// The newest rows of each series, and of all, in Redis
    RedisLatest,
    /// A topic of Kafka, a record a row, each exactly once
    Kafka,
}

impl StoreKind {
    /// The name in pipeline files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Influx => "influx",
            Self::Sqlite => "sqlite",
            Self::Mongodb => "mongodb",
            Self::Postgres => "postgres",
            Self::RedisLatest => "redis-latest",
            Self::Kafka => "kafka",
        }
    }

    /// Whether rows can be read from such a store by series and time.
    #[must_use]
    pub const fn has_history(self) -> bool {
        match self {
            Self::Influx | Self::Sqlite | Self::Mongodb | Self::Postgres => true,
            Self::RedisLatest | Self::Kafka => false,
        }
    }
}
