//! Names of tags and fields as members of documents.
//!
//! In MongoDB, a point leads into a document within, and `$` starts an operator. So these two and the escape
//! character itself are escaped as in URLs.

use std::borrow::Cow;
use std::fmt::Write;

/// Besides, marks and backslashes, which FerretDB 1.24 can't have in names of members.
const ESCAPED: [char; 6] = ['%', '.', '$', '"', '\'', '\\'];

/// The member of a tag or a field.
pub(super) fn escaped(name: &str) -> Cow<'_, str> {
    // FerretDB takes a name with a space at an end for none.
    let has_spaces = name.starts_with(' ') || name.ends_with(' ');
    if !has_spaces && !name.contains(ESCAPED) {
        return Cow::Borrowed(name);
    }
    let mut member = String::with_capacity(name.len() + 8);
    for c in name.chars() {
        if has_spaces && c == ' ' || ESCAPED.contains(&c) {
            // Writing to a string can't fail.
            let _ = write!(member, "%{:02X}", u32::from(c));
        } else {
            member.push(c);
        }
    }
    Cow::Owned(member)
}

/// Stands before the member of a name whose own member means something else.
const OTHER: &str = "%_";

/// The member of such a name.
pub(super) fn escaped_further(name: &str) -> String {
    format!("{OTHER}{}", escaped(name))
}

/// The name of a member; `None` if no name has this member.
pub(super) fn unescaped(member: &str) -> Option<Cow<'_, str>> {
    let member = member.strip_prefix(OTHER).unwrap_or(member);
    if !member.contains('%') {
        return Some(Cow::Borrowed(member));
    }
    let mut bytes = Vec::with_capacity(member.len());
    let mut rest = member.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, others) = others.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = others;
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::{escaped, escaped_further, unescaped};

    #[test]
    fn names_come_back_and_no_two_have_the_same_member() {
        let names = [
            "a", "a.b", "a%2Eb", "$a", "%24a", "%", "..", "é.ü", "time", "%_time", "100 %",
        ];
        let mut members = Vec::new();
        for name in names {
            for member in [escaped(name).into_owned(), escaped_further(name)] {
                assert!(!member.contains(['.', '$', '"', '\'', '\\']), "{member}");
                assert_eq!(unescaped(&member).as_deref(), Some(name));
                members.push((member, name));
            }
        }
        members.sort();
        members.dedup();
        assert!(
            members.is_sorted_by(|one, other| one.0 < other.0),
            "{members:?}"
        );
        for strange in ["%", "%2", "%zz", "%FF"] {
            assert_eq!(unescaped(strange), None, "{strange}");
        }
    }
}
