//! The command `passwd`, which edits the listener's password file.

use std::fs;
use std::io::{ErrorKind, IsTerminal, Write};
use std::os::unix::fs::{MetadataExt, fchown};
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

/// Replaces the file atomically. The new one has mode and owner of the one before, so that whoever could read it still
/// can; a first one is readable by its owner only.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut file = NamedTempFile::new_in(dir)?;
    match path.metadata() {
        Ok(earlier) => {
            fchown(file.as_file(), Some(earlier.uid()), Some(earlier.gid()))?;
            file.as_file().set_permissions(earlier.permissions())?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use tempfile::TempDir;

    use super::{with, write};

    #[test]
    fn user_has_one_line() {
        let text = with("", "a", "a:1");
        let text = with(&text, "ab", "ab:2");
        assert_eq!(text, "a:1\nab:2\n");
        assert_eq!(with(&text, "a", "a:3"), "ab:2\na:3\n");
    }

    #[test]
    fn file_keeps_its_mode() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("users");
        let mode = || fs::metadata(&path).unwrap().mode() & 0o777;
        write(&path, "a:1\n").unwrap();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        write(&path, "a:2\n").unwrap();
        assert_eq!(mode(), 0o640);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a:2\n");
    }
}
