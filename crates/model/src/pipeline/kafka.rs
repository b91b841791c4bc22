//! The rules of a store of kind kafka.

use super::check::{Checked, refuse, require};
use super::columns::ColumnSource;
use super::error::Problem;
use super::file::PipelineFile;
use super::store::{RecordFormat, StoreKind, StoreTable};
use super::template::is_kafka_topic;
use super::value::{At, given};
use super::{address, columns};

/// Most partitions of a topic that is created.
const MAX_PARTITIONS: usize = 10_000;

/// Fails if a setting is given that only this kind has.
pub(super) fn refuse_settings(store: &StoreTable) -> Checked {
    let why = "it is for kind = \"kafka\"";
    refuse(store.topic.as_ref(), why)?;
    refuse(store.partitions.as_ref(), why)?;
    refuse(store.mechanism.as_ref(), why)?;
    refuse(store.format.as_ref(), why)?;
    refuse(store.descriptor.as_ref(), why)?;
    refuse(store.message.as_ref(), why)
}

pub(super) fn check(file: &PipelineFile, store: &At<StoreTable>) -> Checked {
    require(store.url.is_some(), store.span(), || {
        "a store of kind kafka needs its url".to_owned()
    })
    .map_err(|problem| problem.with_help("for instance url = \"kafka://localhost:9092\""))?;
    address::brokers(store.url.as_ref())?;
    topic(store)?;
    if let Some(user) = given(store.user.as_ref()) {
        let has_password = given(store.password.as_ref()).is_some();
        require(has_password, store.span(), || {
            format!("the user {user:?} has no password")
        })?;
    }
    protobuf(store)?;
    for source in store.columns.values() {
        let is_other = matches!(**source, ColumnSource::Now | ColumnSource::TimeOf(_));
        require(!is_other, source.span(), || {
            "$now and $time(FIELD) are for kind = \"mongodb\": a record has its own time, and times are strings"
                .to_owned()
        })?;
    }
    columns::check(file, store)
}

fn topic(store: &At<StoreTable>) -> Checked {
    let Some(topic) = &store.topic else {
        return Err(Problem::at(
            store.span(),
            "a store of kind kafka needs its topic",
        ));
    };
    require(is_kafka_topic(topic), topic.span(), || {
        format!("{:?} can't name a topic of Kafka", topic.as_str())
    })
    .map_err(|problem| problem.with_help("1 to 249 letters, digits, . _ and -"))?;
    let Some(partitions) = &store.partitions else {
        return Ok(());
    };
    require(
        (1..=MAX_PARTITIONS).contains(&**partitions),
        partitions.span(),
        || format!("a topic is created with 1 to {MAX_PARTITIONS} partitions"),
    )
}

fn protobuf(store: &At<StoreTable>) -> Checked {
    if store.format.as_deref() != Some(&RecordFormat::Protobuf) {
        let why = "it is for format = \"protobuf\"";
        refuse(store.descriptor.as_ref(), why)?;
        return refuse(store.message.as_ref(), why);
    }
    for (key, value) in [
        ("descriptor", &store.descriptor),
        ("message", &store.message),
    ] {
        require(given(value.as_ref()).is_some(), store.span(), || {
            format!("format = \"protobuf\" needs {key}")
        })?;
    }
    Ok(())
}

/// Fails if a pipeline has several: a batch is in one transaction of one of them.
pub(super) fn check_single(file: &PipelineFile) -> Checked {
    let stores = file.store.iter();
    let mut topics = stores.filter(|store| store.kind == StoreKind::Kafka);
    match topics.nth(1) {
        Some(second) => Err(Problem::at(
            second.span(),
            "a pipeline has one store of kind kafka",
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::{ColumnSource, PipelineError, PipelineFile, RecordFormat};

    fn parse(store: &str) -> Result<PipelineFile, PipelineError> {
        let text = format!(
            "name = \"a\"\n[source]\ntopic = \"a/{{b}}/{{field}}\"\n\
             [rows]\nshape = \"window\"\nevery = \"10s\"\n{store}"
        );
        PipelineFile::parse("a.toml", &text, &|_| None)
    }

    const KAFKA: &str = "[[store]]\nkind = \"kafka\"\nurl = \"kafka://h1,h2:1\"\ntopic = \"t\"\n";

    #[test]
    fn settings_are_read() {
        let file = parse(&format!(
            "{KAFKA}partitions = 3\nformat = \"protobuf\"\ndescriptor = \"d\"\nmessage = \"a.B\"\nuser = \"\"\n\
             [store.columns]\n\"window.start_time\" = \"$start\"\n[[store]]\nkind = \"influx\""
        ))
        .unwrap();
        assert_eq!(file.store_names(), ["kafka", "influx"]);
        assert_eq!(file.history_place(), Some(1));
        let store = &file.store[0];
        assert_eq!(store.format.as_deref(), Some(&RecordFormat::Protobuf));
        assert_eq!(*store.columns["window.start_time"], ColumnSource::Start);
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        let with = |more: &str| format!("{KAFKA}{more}");
        for (store, part) in [
            (
                "[[store]]\nkind = \"kafka\"\ntopic = \"t\"".to_owned(),
                "needs its url",
            ),
            (
                "[[store]]\nkind = \"kafka\"\nurl = \"http://h\"\ntopic = \"t\"".to_owned(),
                "kafka:// or kafkas://",
            ),
            (
                "[[store]]\nkind = \"kafka\"\nurl = \"kafka://h\"".to_owned(),
                "needs its topic",
            ),
            (
                "[[store]]\nkind = \"kafka\"\nurl = \"kafka://h\"\ntopic = \"a/b\"".to_owned(),
                "name a topic of Kafka",
            ),
            (with("partitions = 0"), "1 to 10000"),
            (with("user = \"u\""), "has no password"),
            (with("descriptor = \"d\""), "format = \"protobuf\""),
            (with("message = \"m\""), "format = \"protobuf\""),
            (
                with("format = \"protobuf\"\nmessage = \"m\""),
                "needs descriptor",
            ),
            (
                with("format = \"protobuf\"\ndescriptor = \"d\""),
                "needs message",
            ),
            (with("format = \"avro\""), "json"),
            (with("[store.columns]\na = \"$now\""), "kind = \"mongodb\""),
            (
                with("[store.columns]\na = \"$time(b)\""),
                "kind = \"mongodb\"",
            ),
            (with("database = \"d\""), "kind = \"mongodb\""),
            (with("keep = 3"), "kind = \"redis-latest\""),
            (with("token = \"t\""), "kind = \"influx\""),
            (format!("{KAFKA}{KAFKA}"), "one store of kind kafka"),
            (
                "[[store]]\nkind = \"influx\"\npartitions = 1".to_owned(),
                "kind = \"kafka\"",
            ),
            (
                "[[store]]\nkind = \"influx\"\nuser = \"u\"".to_owned(),
                "kind = \"mongodb\", \"postgres\" and \"kafka\"",
            ),
        ] {
            let error = parse(&store).unwrap_err().to_string();
            assert!(error.contains(part), "{store}\n{error}");
        }
    }
}
