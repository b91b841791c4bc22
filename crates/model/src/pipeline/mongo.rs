//! The rules of a store of kind mongodb.

use std::time::Duration;

use super::check::{Checked, refuse, require};
use super::columns;
use super::error::Problem;
use super::file::PipelineFile;
use super::store::StoreTable;
use super::value::At;

/// The precision of its dates.
pub(super) const PRECISION: Duration = Duration::from_millis(1);
/// Characters that a database can't have in its name.
const NOT_IN_DATABASE: &[char] = &[
    '/', '\\', '.', ' ', '"', '$', '*', '<', '>', ':', '|', '?', '\0',
];
const MAX_DATABASE: usize = 63;
const MAX_COLLECTION: usize = 128;

/// Fails if a setting is given that only this kind has.
pub(super) fn refuse_settings(store: &StoreTable) -> Checked {
    let why = "it is for kind = \"mongodb\"";
    for option in [&store.auth_source, &store.database, &store.collection] {
        refuse(option.as_ref(), why)?;
    }
    refuse(store.batch.as_ref(), why)
}

/// Fails if a setting is given that only this kind and kafka have.
pub(super) fn refuse_columns(store: &StoreTable) -> Checked {
    let why = "it is for kind = \"mongodb\" and \"kafka\"";
    refuse(store.columns.values().next(), why)
}

pub(super) fn check(file: &PipelineFile, store: &At<StoreTable>) -> Checked {
    url(store)?;
    names(store)?;
    if let Some(batch) = &store.batch {
        require(**batch > 0, batch.span(), || {
            "a command needs at least one update".to_owned()
        })?;
    }
    columns::check(file, store)?;
    whole_milliseconds(file)
}

fn url(store: &At<StoreTable>) -> Checked {
    let Some(url) = &store.url else {
        return Err(
            Problem::at(store.span(), "a store of kind mongodb needs its url")
                .with_help("for instance url = \"mongodb://localhost:27017\""),
        );
    };
    let is_srv = url.starts_with("mongodb+srv://");
    require(!is_srv, url.span(), || {
        "mongodb+srv:// isn't supported".to_owned()
    })
    .map_err(|problem| {
        problem.with_help("name the hosts: mongodb://host1,host2/?replicaSet=name&tls=true")
    })?;
    let rest = url.strip_prefix("mongodb://").unwrap_or_default();
    require(
        !rest.is_empty() && !rest.starts_with('/'),
        url.span(),
        || "the URL doesn't start with mongodb:// and a host".to_owned(),
    )
}

fn names(store: &StoreTable) -> Checked {
    if let Some(database) = &store.database {
        let is_valid = database.len() <= MAX_DATABASE && !database.contains(NOT_IN_DATABASE);
        require(is_valid, database.span(), || {
            format!("{:?} can't name a database of MongoDB", database.as_str())
        })?;
    }
    if let Some(collection) = &store.collection {
        let is_valid = collection.len() <= MAX_COLLECTION
            && !collection.starts_with("system.")
            && !collection.contains(['$', '\0']);
        require(is_valid, collection.span(), || {
            format!(
                "{:?} can't name a collection of MongoDB",
                collection.as_str()
            )
        })?;
    }
    Ok(())
}

/// Fails if rows of two ticks or windows could get the same date.
fn whole_milliseconds(file: &PipelineFile) -> Checked {
    for period in [&file.rows.align, &file.rows.every].into_iter().flatten() {
        let nanos = period.0.as_nanos();
        require(
            nanos.is_multiple_of(PRECISION.as_nanos()),
            period.span(),
            || "it has to be whole milliseconds, as the dates of MongoDB are".to_owned(),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::PRECISION;
    use crate::pipeline::{ColumnSource, PipelineError, PipelineFile};

    fn parse(rows: &str, store: &str) -> Result<PipelineFile, PipelineError> {
        let text = format!(
            "name = \"a\"\n[source]\ntopic = \"a/{{b}}/{{field}}\"\n[message]\ntags = {{ id = \"/id\" }}\n\
             [rows]\n{rows}\n[[store]]\nkind = \"mongodb\"\n{store}"
        );
        PipelineFile::parse("a.toml", &text, &|_| None)
    }

    const URL: &str = "url = \"mongodb://h1,h2:1/?replicaSet=r\"\n";
    const SAMPLE: &str = "shape = \"sample\"";
    const WINDOW: &str = "shape = \"window\"\nevery = \"10s\"";

    #[test]
    fn columns_are_read() {
        let columns = "[store.columns]\n\"window.start_time\" = \"$start\"\n\"window.end_time\" = \"$end\"\n\
                       received_at = \"$now\"\nsensor = \"id\"";
        let file = parse(WINDOW, &format!("{URL}batch = 99\n{columns}")).unwrap();
        assert_eq!(file.tags(), ["b", "id"]);
        assert_eq!(file.row_precision(), PRECISION);
        let columns = &file.store[0].columns;
        assert_eq!(*columns["received_at"], ColumnSource::Now);
        assert_eq!(*columns["sensor"], ColumnSource::Named("id".into()));
        assert_eq!(*columns["window.end_time"], ColumnSource::End);
        let columns = "[store.columns]\n\"window.start_time\" = \"$time\"\n\"window.end_time\" = \"$time(end)\"";
        let file = parse(SAMPLE, &format!("{URL}{columns}")).unwrap();
        let columns = &file.store[0].columns;
        assert_eq!(*columns["window.start_time"], ColumnSource::Time);
        assert_eq!(
            *columns["window.end_time"],
            ColumnSource::TimeOf("end".into())
        );
        let other = "name = \"a\"\n[source]\ntopic = \"a\"\n";
        let other = PipelineFile::parse("a.toml", other, &|_| None).unwrap();
        assert_eq!(other.row_precision(), Duration::ZERO);
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        let with_url = |more: &str| format!("{URL}{more}");
        let columns = |more: &str| with_url(&format!("[store.columns]\n{more}"));
        for (rows, store, part) in [
            ("", String::new(), "needs its url"),
            ("", "url = \"http://h\"".into(), "mongodb:// and a host"),
            ("", "url = \"mongodb+srv://h\"".into(), "isn't supported"),
            ("", with_url("bucket = \"b\""), "kind = \"influx\""),
            ("", with_url("batch = 0"), "at least one"),
            ("", with_url("database = \"a.b\""), "name a database"),
            (
                "",
                with_url("collection = \"system.a\""),
                "name a collection",
            ),
            ("align = 0.0001", with_url(""), "whole milliseconds"),
            ("", columns("a = \"$start\""), "shape = \"window\""),
            ("", columns("a = \"$then\""), "$time, $time(FIELD) for"),
            ("", columns("a = \"$time()\""), "$time, $time(FIELD) for"),
            ("", columns("a = \"$time(c\""), "$time, $time(FIELD) for"),
            ("", columns("a = \"$time(c)\""), "shape = \"sample\""),
            (SAMPLE, columns("a = \"$time(id)\""), "\"id\" is a tag"),
            (
                SAMPLE,
                columns("a = \"b\"\nc = \"$time(b)\""),
                "one member only",
            ),
            ("", columns("_id = \"b\""), "name a member"),
            ("", columns("\"a..b\" = \"b\""), "name a member"),
            ("", columns("time = \"b\""), "the row's time"),
            ("", columns("a = \"b\"\nc = \"b\""), "one member only"),
            ("", columns("a = \"b\"\n\"a.c\" = \"id\""), "within another"),
        ] {
            let error = parse(rows, &store).unwrap_err().to_string();
            assert!(error.contains(part), "{store}\n{error}");
        }
        let other =
            "name = \"a\"\n[source]\ntopic = \"a\"\n[[store]]\nkind = \"influx\"\nbatch = 1";
        let error = PipelineFile::parse("a.toml", other, &|_| None).unwrap_err();
        assert!(error.to_string().contains("kind = \"mongodb\""), "{error}");
    }
}
