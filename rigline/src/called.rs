//! How this program was called, for command lines in its output.

use std::path::Path;

/// The program as it was called, for a shell: `rigline`, `target/release/rigline`.
pub(crate) fn program() -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    if called.is_empty() {
        "rigline".to_owned()
    } else {
        quoted(&called.to_string_lossy())
    }
}

/// The command that starts the pipeline on this data directory.
pub(crate) fn up_command(dir: &Path) -> String {
    let dir = quoted(&dir.display().to_string());
    format!("{} up --data {dir}", program())
}

/// Quotes a word for a shell, if necessary.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_that_a_shell_would_change_are_quoted() {
        for (word, shown) in [
            ("target/release/rigline", "target/release/rigline"),
            ("/my data/a", "'/my data/a'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), shown);
        }
    }
}
