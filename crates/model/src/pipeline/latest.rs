//! The rules of a store of kind redis-latest.

use super::address;
use super::check::{Checked, refuse, require};
use super::error::Problem;
use super::file::PipelineFile;
use super::store::{StoreKind, StoreTable};

/// How many rows are kept, unless the table says so.
pub const KEEP: usize = 10;
/// Most rows that can be kept of a series: the script that writes them keeps Redis from other work meanwhile.
const MAX_KEEP: usize = 10_000;

/// Fails if a setting is given that only this kind has.
pub(super) fn refuse_settings(store: &StoreTable) -> Checked {
    let why = "it is for kind = \"redis-latest\"";
    refuse(store.keep.as_ref(), why)?;
    refuse(store.by.as_ref(), why)
}

pub(super) fn check(file: &PipelineFile, store: &StoreTable) -> Checked {
    address::of(store.url.as_ref(), &["redis", "rediss"])?;
    if let Some(keep) = &store.keep {
        require((1..=MAX_KEEP).contains(&**keep), keep.span(), || {
            format!("a series keeps 1 to {MAX_KEEP} rows")
        })?;
    }
    if let Some(by) = &store.by {
        let tags = file.tags();
        for name in &**by {
            require(tags.contains(&name.as_str()), by.span(), || {
                format!("the pipeline has no tag {name:?}")
            })?;
        }
    }
    let mut tables = file.store.iter();
    if tables.any(|table| table.kind != StoreKind::RedisLatest) {
        return Ok(());
    }
    Err(
        Problem::at(store.url.as_ref().map_or(file.name.span(), |url| url.span()), "redis-latest drops all rows but the newest ones, so the pipeline needs another store beside it")
            .with_help("for instance [[store]] with kind = \"influx\""),
    )
}

#[cfg(test)]
mod tests {
    use crate::pipeline::PipelineFile;

    #[test]
    fn settings_that_cannot_be_are_refused() {
        let parse = |store: &str| {
            let text = format!("name = \"a\"\n[source]\ntopic = \"a\"\n{store}");
            PipelineFile::parse("a.toml", &text, &|_| None)
        };
        let influx = "[[store]]\nkind = \"influx\"\n";
        let latest = "[[store]]\nkind = \"redis-latest\"\n";
        let file = parse(&format!("{influx}{latest}url = \"redis://h:1\"\nkeep = 3")).unwrap();
        assert_eq!(file.store_names(), ["influx", "redis-latest"]);
        for (store, part) in [
            (latest.to_owned(), "another store beside it"),
            (format!("{latest}{latest}"), "another store beside it"),
            (format!("{influx}{latest}keep = 0"), "1 to 10000 rows"),
            (format!("{influx}{latest}keep = 10001"), "1 to 10000 rows"),
            (format!("{influx}{latest}url = \"http://h\""), "redis"),
            (
                format!("{influx}{latest}database = \"a\""),
                "kind = \"mongodb\"",
            ),
            (
                format!("{influx}{latest}token = \"a\""),
                "kind = \"influx\"",
            ),
            (format!("{influx}{latest}by = [\"b\"]"), "no tag \"b\""),
            (format!("{influx}by = []"), "kind = \"redis-latest\""),
            (format!("{influx}keep = 3"), "kind = \"redis-latest\""),
        ] {
            let error = parse(&store).unwrap_err().to_string();
            assert!(error.contains(part), "{store}\n{error}");
        }
    }
}
