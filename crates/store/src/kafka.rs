//! A topic of Kafka: a record a row, each exactly once for those who read committed records.

use ::kafka::{KafkaError, NewRecord, Writer, WriterSettings};
use bytes::Bytes;
use common::settings::{BadSetting, KafkaTls};
use model::pipeline::{PipelineFile, StoreTable};
use model::row::Row;

use self::record::RecordEncoder;
use crate::{TransactionalStore, WriteError};

mod protobuf;
mod record;
mod settings;

/// The topic of a pipeline.
#[derive(Debug)]
pub struct KafkaStore {
    settings: WriterSettings,
    encoder: RecordEncoder,
    writer: Option<Writer>,
}

impl KafkaStore {
    /// The topic of a table of a pipeline file. Checks the files of TLS and the type of the records; connects later.
    pub fn of_file(
        file: &PipelineFile,
        table: &StoreTable,
        tls: &KafkaTls,
    ) -> Result<Self, BadSetting> {
        let settings = settings::of_file(file, table, tls)?;
        settings.kafka.check()?;
        let encoder = RecordEncoder::of_file(file, table).map_err(|problem| {
            BadSetting::File(format!(
                "the pipeline {} can't be used: its store of kind kafka: {problem}",
                *file.name
            ))
        })?;
        Ok(Self {
            settings,
            encoder,
            writer: None,
        })
    }

    /// Looks for the topic, without fencing the writer that there may be. Returns what was found, for operators.
    pub async fn find_topic(&self) -> Result<String, WriteError> {
        let settings = &self.settings;
        let found = settings.has_topic().await.map_err(failed)?;
        let topic = &settings.topic;
        match (found, settings.partitions) {
            (true, _) => Ok(format!("the topic {topic:?} exists")),
            (false, Some(partitions)) => Ok(format!(
                "the topic {topic:?} will be created with partitions = {partitions}"
            )),
            (false, None) => Err(WriteError::Denied {
                detail: format!("there is no topic {topic:?}: create it, or set partitions"),
            }),
        }
    }
}

impl TransactionalStore for KafkaStore {
    type Records = Vec<NewRecord>;

    async fn open(&mut self) -> Result<Option<String>, WriteError> {
        self.writer = None;
        let (writer, note) = Writer::open(&self.settings).await.map_err(failed)?;
        self.writer = Some(writer);
        Ok(note.map(|note| String::from_utf8_lossy(&note).into_owned()))
    }

    fn is_open(&self) -> bool {
        self.writer.is_some()
    }

    fn encode(&self, rows: &[Row<'_>]) -> (Vec<NewRecord>, Vec<(usize, String)>) {
        let limit = self.writer.as_ref().map_or(usize::MAX, Writer::max_record);
        let (mut records, mut refused) = (Vec::with_capacity(rows.len()), Vec::new());
        for (index, row) in rows.iter().enumerate() {
            match self.encoder.encode(row, limit) {
                Ok(record) => records.push(record),
                Err(problem) => refused.push((index, problem)),
            }
        }
        (records, refused)
    }

    async fn write(&mut self, records: Vec<NewRecord>, note: String) -> Result<(), WriteError> {
        // It comes back only if the transaction was committed.
        let Some(writer) = self.writer.take() else {
            return Err(WriteError::Retry {
                detail: format!("Kafka at {}: not connected", self.settings.kafka.servers),
                after: None,
            });
        };
        let written = writer.write(records, Bytes::from(note)).await;
        written.map_err(failed)?;
        self.writer = Some(writer);
        Ok(())
    }

    async fn preflight(&self) -> Result<(), WriteError> {
        match &self.writer {
            Some(writer) => writer.check().await.map_err(failed),
            None => Ok(()),
        }
    }
}

fn failed(error: KafkaError) -> WriteError {
    match error {
        KafkaError::Unavailable(detail) => WriteError::Retry {
            detail,
            after: None,
        },
        KafkaError::Denied(detail) => WriteError::Denied { detail },
    }
}
