//! The rules of a store of kind postgres.

use std::time::Duration;

use super::check::{Checked, refuse, require};
use super::error::Problem;
use super::file::PipelineFile;
use super::store::StoreTable;
use super::value::At;

/// The precision of `timestamptz`.
pub(super) const PRECISION: Duration = Duration::from_micros(1);
/// Most bytes of the name of a table or a column. PostgreSQL would cut longer ones off.
pub const MAX_IDENTIFIER: usize = 63;
/// Most bytes of the name of a tag.
const MAX_TAG: usize = MAX_IDENTIFIER - "tag ".len();
/// Most columns of a primary key, less the time.
const MAX_TAGS: usize = 31;

/// Fails if a setting is given that only this kind has.
pub(super) fn refuse_settings(store: &StoreTable) -> Checked {
    let why = "it is for kind = \"postgres\"";
    refuse(store.table.as_ref(), why)?;
    refuse(store.integer_tags.as_ref(), why)
}

pub(super) fn check(file: &PipelineFile, store: &At<StoreTable>) -> Checked {
    let Some(url) = &store.url else {
        return Err(
            Problem::at(store.span(), "a store of kind postgres needs its url")
                .with_help("for instance url = \"postgres://localhost:5432/rigline\""),
        );
    };
    // The rest is checked by the client, since there may be several hosts.
    let rest = url.strip_prefix("postgres://");
    let rest = rest.or_else(|| url.strip_prefix("postgresql://"));
    let has_host = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    require(has_host, url.span(), || {
        "the URL doesn't start with postgres:// and a host".to_owned()
    })?;
    let table = store.table.as_ref().unwrap_or(&file.name);
    require(is_identifier(table), table.span(), || {
        format!("{:?} can't name a table of PostgreSQL", table.as_str())
    })?;
    let (tags, at) = (file.tags(), store.span());
    for tag in &tags {
        // A column may have a prefix.
        require(is_identifier(tag) && tag.len() <= MAX_TAG, at, || {
            format!("the tag {tag:?} has more than {MAX_TAG} bytes, the limit for PostgreSQL")
        })?;
    }
    require(tags.len() <= MAX_TAGS, at, || {
        format!("a primary key of PostgreSQL has at most {MAX_TAGS} tags")
    })?;
    if let Some(integers) = &store.integer_tags {
        for name in &**integers {
            require(tags.contains(&name.as_str()), integers.span(), || {
                format!("the pipeline has no tag {name:?}")
            })?;
        }
    }
    whole_microseconds(file)
}

fn is_identifier(name: &str) -> bool {
    (1..=MAX_IDENTIFIER).contains(&name.len()) && !name.contains('\0')
}

/// Fails if rows of two ticks or windows could get the same time.
fn whole_microseconds(file: &PipelineFile) -> Checked {
    for period in [&file.rows.align, &file.rows.every].into_iter().flatten() {
        let nanos = period.0.as_nanos();
        let is_whole = nanos.is_multiple_of(PRECISION.as_nanos());
        require(is_whole, period.span(), || {
            "it has to be whole microseconds, as the times of PostgreSQL are".to_owned()
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::pipeline::{PipelineError, PipelineFile, StoreKind};

    const URL: &str = "url = \"postgres://h:1/d?sslmode=require\"\n";

    fn parse(topic: &str, rows: &str, store: &str) -> Result<PipelineFile, PipelineError> {
        let text = format!(
            "name = \"a\"\n[source]\ntopic = \"{topic}\"\n[rows]\n{rows}\n[[store]]\nkind = \"postgres\"\n{store}"
        );
        PipelineFile::parse("a.toml", &text, &|_| None)
    }

    #[test]
    fn tables_have_microseconds() {
        let store = format!("{URL}table = \"T\"\ninteger_tags = [\"b\"]\nuser = \"u\"");
        let file = parse("a/{b}/{field}", "align = 0.000001", &store).unwrap();
        assert_eq!(file.row_precision(), Duration::from_micros(1));
        assert_eq!(file.store[0].kind, StoreKind::Postgres);
        assert_eq!(file.history_place(), Some(0));
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        let long = "x".repeat(64);
        let many: Vec<_> = (0..32).map(|number| format!("{{t{number}}}")).collect();
        for (topic, rows, store, part) in [
            ("a", "", String::new(), "needs its url"),
            ("a", "", "url = \"http://h\"".into(), "postgres://"),
            ("a", "", format!("{URL}table = \"\""), "name a table"),
            ("a", "", format!("{URL}table = \"{long}\""), "name a table"),
            (
                "a",
                "",
                format!("{URL}integer_tags = [\"b\"]"),
                "no tag \"b\"",
            ),
            (
                "a/{field}",
                "align = 0.0000001",
                URL.into(),
                "whole microseconds",
            ),
            (&format!("a/{{{long}}}"), "", URL.into(), "64 bytes"),
            (&many.join("/"), "", URL.into(), "at most 31 tags"),
            (
                "a",
                "",
                format!("{URL}database = \"d\""),
                "kind = \"mongodb\"",
            ),
            ("a", "", format!("{URL}token = \"d\""), "kind = \"influx\""),
        ] {
            let part = part.replace("64 bytes", "more than 59 bytes");
            let error = parse(topic, rows, &store).unwrap_err().to_string();
            assert!(error.contains(&part), "{store}\n{error}");
        }
        let text =
            "name = \"a\"\n[source]\ntopic = \"a\"\n[[store]]\nkind = \"influx\"\ntable = \"b\"";
        let error = PipelineFile::parse("a.toml", text, &|_| None).unwrap_err();
        assert!(error.to_string().contains("kind = \"postgres\""), "{error}");
    }
}
