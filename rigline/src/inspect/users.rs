//! The command `passwd`, which edits the listener's password file.

use std::fs;
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use tempfile::NamedTempFile;
use transport::hash_password;

/// The arguments.
#[derive(Debug, Args)]
pub struct PasswdArgs {
    /// Password file in the format of `mosquitto_passwd`, created if needed
    file: PathBuf,
    /// User name of the device
    user: String,
}

/// Reads a password and writes its hash to the file.
#[expect(clippy::print_stderr, reason = "a question to a person")]
pub fn set(args: &PasswdArgs) -> anyhow::Result<ExitCode> {
    let password = if std::io::stdin().is_terminal() {
        rpassword::prompt_password(format!("password of {}: ", args.user))
    } else {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    };
    let password = password.context("cannot read the password")?;
    let line = hash_password(&args.user, password.trim_end_matches(['\r', '\n']))?;
    let before = match fs::read_to_string(&args.file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).context(args.file.display().to_string()),
    };
    write(&args.file, &with(&before, &args.user, &line))
        .with_context(|| format!("cannot write {}", args.file.display()))?;
    eprintln!(
        "{} has a password now; a running up reads the file again at SIGHUP",
        args.user
    );
    Ok(ExitCode::SUCCESS)
}

/// The file's content with this line for the user, replacing an earlier one.
fn with(text: &str, user: &str, line: &str) -> String {
    let is_others = |other: &&str| other.split(':').next() != Some(user);
    let others = text.lines().filter(is_others);
    let lines: Vec<&str> = others.chain([line]).collect();
    lines.join("\n") + "\n"
}

/// Replaces the file atomically, readable by its owner only.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut file = NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::with;

    #[test]
    fn user_has_one_line() {
        let text = with("", "a", "a:1");
        let text = with(&text, "ab", "ab:2");
        assert_eq!(text, "a:1\nab:2\n");
        assert_eq!(with(&text, "a", "a:3"), "ab:2\na:3\n");
    }
}
