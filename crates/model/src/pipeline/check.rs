//! The rules between the values of a pipeline file.

use std::ops::Range;

use super::error::Problem;
use super::file::{Fields, Format, MessageTable, PipelineFile, ShapeKind};
use super::source::SourceKind;
use super::store::{StoreKind, StoreTable};
use super::value::{At, Pointer, given};
use super::{address, alert, kafka, latest, mongo, postgres, simulate, source};
use crate::name::Name;

pub(super) type Checked = Result<(), Problem>;

/// The longest name of a pipeline, which is part of a client id.
const MAX_NAME: usize = 64;
/// Names that tags can't have, because a row has its own member or column of that name.
const RESERVED: [&str; 2] = ["time", "timestamp"];

pub(super) fn check(file: &PipelineFile) -> Checked {
    name(&file.name)?;
    source::check(&file.source, &file.name)?;
    message(file)?;
    tags(file)?;
    rows(file)?;
    limits(file)?;
    for store in &file.store {
        self::store(file, store)?;
    }
    let mut files = file
        .store
        .iter()
        .filter(|store| store.kind == StoreKind::Sqlite);
    if let Some(second) = files.nth(1) {
        return Err(Problem::at(
            second.span(),
            "a pipeline has one store of kind sqlite",
        ));
    }
    kafka::check_single(file)?;
    alert::check(&file.alert)?;
    let is_simulated = matches!(
        file.source.kind(),
        SourceKind::Mqtt | SourceKind::RedisPubsub
    );
    if file.simulate.is_some() && !is_simulated {
        let why = "messages can be simulated for the sources mqtt and redis-pubsub";
        refuse(file.source.kind.as_ref(), why)?;
    }
    let topic = file.source.topic.as_deref();
    let simulate = file.simulate.as_ref();
    simulate.map_or(Ok(()), |simulate| simulate::check(simulate, topic))
}

fn name(name: &At<String>) -> Checked {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    let is_valid = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed);
    require(is_valid, name.span(), || {
        format!("{:?} can't name a pipeline", name.as_str())
    })
    .map_err(|problem| problem.with_help("1 to 64 lower-case letters, digits, - and _"))
}

fn message(file: &PipelineFile) -> Checked {
    let message = &file.message;
    protobuf(file)?;
    match message.format {
        Format::Json | Format::Ndjson | Format::Protobuf => {}
        Format::Text => {
            let why = "the payload of format = \"text\" is the value";
            refuse(message.split.as_ref(), why)?;
            only_for_json(message, why)?;
        }
        Format::Senml => only_for_json(message, "format = \"senml\" says where everything is")?,
    }
    if let (Some(fields), Some(_)) = (
        &message.fields,
        message.name.as_ref().or(message.value.as_ref()),
    ) {
        return Err(Problem::at(
            fields.span(),
            "fields is instead of name and value",
        ));
    }
    let topic = file.source.template();
    let topic_names_field = topic.is_some_and(|topic| topic.names_field());
    if topic_names_field {
        let twice = "the topic names the field already";
        refuse(message.name.as_ref(), twice)?;
        refuse(message.fields.as_ref(), twice)?;
    }
    let has_name = message.name.is_some() || message.format == Format::Senml;
    if let (Some(split), false) = (&message.split, has_name) {
        return Err(Problem::at(
            split.span(),
            "split takes apart what name points to, and there is no name",
        ));
    }
    let all = match message.fields.as_deref() {
        Some(Fields::All) => true,
        Some(Fields::Named(_)) => false,
        None => message.name.is_none() && message.value.is_none() && !topic_names_field,
    };
    if !all && !topic_names_field {
        let why = "include and exclude are for fields = \"*\" and topics with {field}";
        for globs in [&message.include, &message.exclude] {
            refuse(globs.as_ref(), why)?;
        }
    }
    Ok(())
}

fn protobuf(file: &PipelineFile) -> Checked {
    let message = &file.message;
    if message.format != Format::Protobuf {
        let why = "it is for format = \"protobuf\"";
        refuse(message.descriptor.as_ref(), why)?;
        return refuse(message.message.as_ref(), why);
    }
    for (key, value) in [
        ("descriptor", &message.descriptor),
        ("message", &message.message),
    ] {
        require(given(value.as_ref()).is_some(), file.name.span(), || {
            format!("format = \"protobuf\" needs {key}")
        })?;
    }
    require(file.simulate.is_none(), file.name.span(), || {
        "messages of format = \"protobuf\" can't be simulated".to_owned()
    })
}

/// Fails if a key that says where something is in a JSON document is set.
fn only_for_json(message: &MessageTable, why: &str) -> Checked {
    refuse(message.each.as_ref(), why)?;
    refuse(message.name.as_ref(), why)?;
    refuse(message.value.as_ref(), why)?;
    refuse(message.fields.as_ref(), why)?;
    refuse(message.time.as_ref(), why)?;
    refuse(message.required.as_ref(), why)?;
    refuse(message.tags.values().next(), why)
}

fn tags(file: &PipelineFile) -> Checked {
    let mut taken: Vec<&str> = Vec::new();
    let mut take = |name, span: &Range<usize>| -> Checked {
        require(!RESERVED.contains(&name), span, || {
            format!("a tag can't be called {name}: a row has its own {name}")
        })?;
        require(!taken.contains(&name), span, || {
            format!("the tag {name:?} is taken from two places")
        })?;
        taken.push(name);
        Ok(())
    };
    if let Some(topic) = file.source.template() {
        for name in topic.tags() {
            take(name, topic.span())?;
        }
    }
    for (name, pointer) in &file.message.tags {
        take(name, pointer.span())?;
        let is_key = **pointer == Pointer::Key;
        let has_keys = file.message.each.as_ref().is_some_and(|each| each.members);
        require(!is_key || has_keys, pointer.span(), || {
            "$key needs an each that ends with /*".to_owned()
        })?;
    }
    if let Some(split) = &file.message.split {
        for name in split.tags() {
            take(name, split.span())?;
        }
    }
    Ok(())
}

fn rows(file: &PipelineFile) -> Checked {
    let rows = &file.rows;
    let shape = rows.shape.as_deref().copied();
    if shape != Some(ShapeKind::Window) {
        let why = "it is for shape = \"window\"";
        refuse(rows.every.as_ref(), why)?;
        refuse(rows.statistics.as_ref(), why)?;
        refuse(rows.names.as_ref(), why)?;
        refuse(rows.grace.as_ref(), why)?;
        refuse(rows.dedupe.as_ref(), why)?;
        refuse(rows.max_window_readings.as_ref(), why)?;
    }
    // The default is `sample` when each message is a whole row: a setting of rows that wait has no effect then.
    if file.shape() != ShapeKind::Pivot {
        let why = if shape.is_some() {
            "it is for shape = \"pivot\""
        } else {
            "it is for shape = \"pivot\"; without a shape, each of these messages is a row of its own"
        };
        refuse(rows.align.as_ref(), why)?;
        refuse(rows.expected.as_ref(), why)?;
        refuse(rows.flush_interval.as_ref(), why)?;
        refuse(rows.max_open_rows.as_ref(), why)?;
    }
    if let (Some(shape), Some(ShapeKind::Window)) = (&rows.shape, shape) {
        let every = rows.every.as_ref().map(|every| every.0);
        require(
            every.is_some_and(|every| !every.is_zero()),
            shape.span(),
            || "a window needs its length: every = \"5s\"".to_owned(),
        )?;
    }
    if let Some(names) = &rows.names {
        require(names.contains("{statistic}"), names.span(), || {
            "the names need {statistic}".to_owned()
        })?;
        let fits = names.contains("{field}") || has_one_field(file);
        require(fits, names.span(), || {
            "the names need {field}, because a message may hold several fields".to_owned()
        })?;
    }
    Ok(())
}

fn limits(file: &PipelineFile) -> Checked {
    let (rows, limits) = (&file.rows, &file.limits);
    let numbers = [
        &rows.max_open_rows,
        &rows.max_window_readings,
        &limits.max_payload,
        &limits.max_series,
        &limits.max_fields,
        &limits.max_row_fields,
    ];
    for number in numbers.into_iter().flatten() {
        require(**number > 0, number.span(), || {
            "the limit has to be above 0".to_owned()
        })?;
    }
    for period in [
        &rows.flush_interval,
        &limits.max_future,
        &limits.series_idle,
    ] {
        let Some(period) = period else { continue };
        require(!period.0.is_zero(), period.span(), || {
            "it has to be longer than 0".to_owned()
        })?;
    }
    let Some(expected) = &rows.expected else {
        return Ok(());
    };
    for (place, name) in expected.iter().enumerate() {
        let valid = Name::new(name.as_str());
        valid
            .map_err(|error| Problem::at(expected.span(), format!("the name {name:?} {error}")))?;
        require(!expected[..place].contains(name), expected.span(), || {
            format!("{name:?} is there twice")
        })?;
    }
    for limit in [&limits.max_fields, &limits.max_row_fields]
        .into_iter()
        .flatten()
    {
        require(**limit >= expected.len(), limit.span(), || {
            "the limit is below the number of expected fields".to_owned()
        })?;
    }
    Ok(())
}

/// Whether all readings of a pipeline have the same name.
fn has_one_field(file: &PipelineFile) -> bool {
    let message = &file.message;
    let topic = file.source.template();
    match message.fields.as_deref() {
        Some(Fields::Named(fields)) => fields.len() == 1,
        Some(Fields::All) => false,
        None => {
            let names_none =
                message.name.is_none() && !topic.is_some_and(|topic| topic.names_field());
            names_none && (message.value.is_some() || message.format == Format::Text)
        }
    }
}

fn store(file: &PipelineFile, store: &At<StoreTable>) -> Checked {
    if store.kind != StoreKind::Influx {
        let why = "it is for kind = \"influx\"";
        for option in [&store.token, &store.org, &store.bucket, &store.measurement] {
            refuse(option.as_ref(), why)?;
        }
    }
    if store.kind != StoreKind::Mongodb {
        mongo::refuse_settings(store)?;
    }
    if !matches!(store.kind, StoreKind::Mongodb | StoreKind::Kafka) {
        mongo::refuse_columns(store)?;
    }
    if !matches!(
        store.kind,
        StoreKind::Mongodb | StoreKind::Postgres | StoreKind::Kafka
    ) {
        let why = "it is for kind = \"mongodb\", \"postgres\" and \"kafka\"";
        for option in [&store.user, &store.password] {
            refuse(option.as_ref(), why)?;
        }
    }
    if store.kind != StoreKind::Postgres {
        postgres::refuse_settings(store)?;
    }
    if store.kind != StoreKind::Kafka {
        kafka::refuse_settings(store)?;
    }
    if store.kind != StoreKind::RedisLatest {
        latest::refuse_settings(store)?;
    }
    match store.kind {
        StoreKind::Influx => address::of(store.url.as_ref(), &["http", "https"]).map(|_| ()),
        StoreKind::Sqlite => refuse(
            store.url.as_ref(),
            "a store of kind sqlite is in the data directory",
        ),
        StoreKind::Mongodb => mongo::check(file, store),
        StoreKind::Postgres => postgres::check(file, store),
        StoreKind::RedisLatest => latest::check(file, store),
        StoreKind::Kafka => kafka::check(file, store),
    }
}

/// Fails if the key is set.
pub(super) fn refuse<T>(value: Option<&At<T>>, why: &str) -> Checked {
    match value {
        Some(value) => Err(Problem::at(value.span(), why)),
        None => Ok(()),
    }
}

pub(super) fn require(
    holds: bool,
    span: &Range<usize>,
    message: impl FnOnce() -> String,
) -> Checked {
    if holds {
        Ok(())
    } else {
        Err(Problem::at(span, message()))
    }
}
