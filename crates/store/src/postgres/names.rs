//! Names of tags and fields as names of columns.
//!
//! Each is its own column, unless something else has the name: the time, a column that every table has, or a tag with
//! the name of a field. Then it gets a prefix, and so do names that begin with one.

use std::borrow::Cow;
use std::collections::BTreeSet;

use model::pipeline::MAX_IDENTIFIER;

/// The column of the row's time.
pub(super) const TIME: &str = "time";
/// Columns that every table has.
const SYSTEM: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];
const TAG: &str = "tag ";
const FIELD: &str = "field ";

fn is_reserved(name: &str) -> bool {
    name == TIME || SYSTEM.contains(&name) || name.starts_with(TAG) || name.starts_with(FIELD)
}

/// The column of a tag.
pub(super) fn tag_column(tag: &str) -> Cow<'_, str> {
    if is_reserved(tag) {
        Cow::Owned(format!("{TAG}{tag}"))
    } else {
        Cow::Borrowed(tag)
    }
}

/// The column of a field beside these columns of tags; an error if PostgreSQL can't have such a column.
pub(super) fn field_column<'a>(
    field: &'a str,
    tags: &BTreeSet<String>,
) -> Result<Cow<'a, str>, String> {
    let column = if is_reserved(field) || tags.contains(field) {
        Cow::Owned(format!("{FIELD}{field}"))
    } else {
        Cow::Borrowed(field)
    };
    if column.len() > MAX_IDENTIFIER {
        return Err(format!(
            "its field {field:?} is too long for the name of a column, which has at most {MAX_IDENTIFIER} bytes"
        ));
    }
    Ok(column)
}

/// The field of a column that is none of a tag.
pub(super) fn field_of(column: &str) -> &str {
    column.strip_prefix(FIELD).unwrap_or(column)
}

/// A name in a statement.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{field_column, field_of, quoted, tag_column};

    #[test]
    fn names_come_back_and_no_two_have_the_same_column() {
        let names = [
            "time",
            "Time",
            "field time",
            "tag time",
            "field field time",
            "ctid",
            "id",
            "field id",
            "tag id",
            "_id",
            "a\"b",
        ];
        let tags: BTreeSet<_> = names.map(|name| tag_column(name).into_owned()).into();
        assert_eq!(tags.len(), names.len());
        let mut columns = tags.clone();
        columns.insert("time".to_owned());
        for name in names {
            let column = field_column(name, &tags).unwrap().into_owned();
            assert_eq!(field_of(&column), name);
            assert!(columns.insert(column), "{name}");
        }
        let none = BTreeSet::new();
        assert_eq!(field_column("id", &none).unwrap(), "id");
        assert_eq!(field_column("time", &none).unwrap(), "field time");
        let longest = "x".repeat(63);
        assert_eq!(field_column(&longest, &none).unwrap(), longest);
        for long in ["x".repeat(64), format!("field {}", "x".repeat(57))] {
            let error = field_column(&long, &none).unwrap_err();
            assert!(error.contains("63 bytes"), "{error}");
        }
    }

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(quoted("a\"; DROP TABLE b"), "\"a\"\"; DROP TABLE b\"");
    }
}
