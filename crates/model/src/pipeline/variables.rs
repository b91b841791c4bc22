//! Variables in the strings of a pipeline file: `${NAME}` and `${NAME:-default}`.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Problem;

/// Replaces the variables in all strings of a table. `variable` returns a variable's value, if it is set.
pub(super) fn replace(
    table: &mut DeTable<'_>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<(), Problem> {
    for (_, value) in table.iter_mut() {
        replace_in(value, variable)?;
    }
    Ok(())
}

fn replace_in(
    value: &mut Spanned<DeValue<'_>>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<(), Problem> {
    let span = value.span();
    match value.get_mut() {
        DeValue::String(text) if text.contains("${") => {
            *text = replaced(text, variable, &span)?.into();
            Ok(())
        }
        DeValue::Array(values) => {
            for value in values.iter_mut() {
                replace_in(value, variable)?;
            }
            Ok(())
        }
        DeValue::Table(table) => replace(table, variable),
        _ => Ok(()),
    }
}

fn replaced(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
    span: &Range<usize>,
) -> Result<String, Problem> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        out.push_str(before);
        let Some((inside, after)) = behind.split_once('}') else {
            return Err(Problem::at(span, "a variable isn't closed: ${ without }"));
        };
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(Problem::at(span, format!("{name:?} can't name a variable"))
                .with_help("variables are written ${NAME} or ${NAME:-default}"));
        }
        let value = variable(name);
        // As in a shell, an empty variable takes the default.
        let set = value.as_deref().filter(|value| !value.is_empty());
        match set.or(default).or(value.as_deref()) {
            Some(value) => out.push_str(value),
            None => {
                return Err(Problem::at(span, format!("the variable {name} isn't set"))
                    .with_help(format!("set it, or give a default: ${{{name}:-…}}")));
            }
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::replaced;

    fn of(text: &str) -> Result<String, String> {
        let variable = |name: &str| match name {
            "HOST" => Some("broker".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        replaced(text, &variable, &(0..0)).map_err(|problem| problem.message)
    }

    #[test]
    fn variables_and_defaults_are_replaced() {
        for (text, expected) in [
            ("mqtt://${HOST}:${PORT:-1883}", "mqtt://broker:1883"),
            ("${EMPTY}", ""),
            ("${EMPTY:-x}", "x"),
            ("${PORT:-}", ""),
            ("$key ^/a$", "$key ^/a$"),
            ("${HOST}${HOST}", "brokerbroker"),
        ] {
            assert_eq!(of(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, part) in [
            ("${PORT}", "PORT isn't set"),
            ("${HOST", "isn't closed"),
            ("${A B}", "can't name"),
            ("${}", "can't name"),
        ] {
            assert!(of(text).unwrap_err().contains(part), "{text}");
        }
    }
}
