//! What a file may add to a built-in pipeline without changing what becomes of messages.

use toml::{Table, Value};

/// Whether a file differs from `base` at most by alerts, and by units of fields of which it says nothing else.
/// Variables count as they are written.
#[must_use]
pub fn only_adds(text: &str, base: &str) -> bool {
    let base = without_additions(base);
    base.is_some() && without_additions(text) == base
}

fn without_additions(text: &str) -> Option<Table> {
    let mut table: Table = toml::from_str(text).ok()?;
    table.remove("alert");
    if let Some(Value::Table(fields)) = table.get_mut("fields") {
        let is_unit = |field: &Table| field.keys().all(|key| key == "unit");
        fields.retain(|_, field| !field.as_table().is_some_and(is_unit));
        if fields.is_empty() {
            table.remove("fields");
        }
    }
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::only_adds;

    #[test]
    fn alerts_and_units_are_additions() {
        let base = "name = \"a\"\n[rows]\nalign = \"1s\"\n";
        for (more, expected) in [
            ("", true),
            ("[[alert]]\nname = \"b\"", true),
            ("[fields.t]\nunit = \"V\"\n[fields.u]\nunit = \"A\"", true),
            ("[fields.t]\nunit = \"V\"\nscale = 2", false),
            ("expected = [\"t\"]", false),
            ("[limits]\nmax_age = \"1d\"", false),
        ] {
            assert_eq!(
                only_adds(&format!("{base}{more}"), base),
                expected,
                "{more}"
            );
        }
        assert!(!only_adds("name = \"a\"", base));
        assert!(!only_adds("no TOML", "no TOML"));
    }
}
