//! Passwords and tokens that `Debug` and logs don't show.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::settings::BadSetting;

/// A password or token; `Debug` and logs show `***`.
#[derive(Clone)]
pub struct Secret {
    text: String,
    /// Where it was read from.
    file: Option<Arc<Path>>,
}

impl Secret {
    /// Wraps a secret string.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self {
            text: secret.into(),
            file: None,
        }
    }

    /// The secret in plain text, for a client.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The secret as it is now: its file, if it comes from one, is read again. If that can't be read or is empty,
    /// a WARN is logged, and the secret stays as it was.
    #[must_use]
    pub fn current(&self) -> Self {
        let Some(file) = &self.file else {
            return self.clone();
        };
        let problem = match read(file) {
            Ok(text) if !text.is_empty() => {
                let file = Some(file.clone());
                return Self { text, file };
            }
            Ok(_) => "it is empty".to_owned(),
            Err(error) => error.to_string(),
        };
        let path = file.display();
        tracing::warn!(%path, problem, "cannot read a secret again, using the one that was read before");
        self.clone()
    }

    /// Resolves the secret of variable `name`, which is given either directly or as the path of a file
    /// (`NAME_FILE`; trailing line ends are removed). An empty one counts as not given. Afterwards
    /// `given` holds the secret, if any, and `file` is `None`.
    pub fn resolve(
        name: &'static str,
        given: &mut Option<Self>,
        file: &mut Option<PathBuf>,
    ) -> Result<(), BadSetting> {
        given.take_if(|secret| secret.text.is_empty());
        let Some(path) = file.take().filter(|path| !path.as_os_str().is_empty()) else {
            return Ok(());
        };
        let bad = |accepted: &str| {
            BadSetting::new(
                &format!("{name}_FILE"),
                &path.display().to_string(),
                accepted,
            )
        };
        if given.is_some() {
            return Err(bad(&format!("either {name} or {name}_FILE, not both")));
        }
        let text = read(&path)
            .map_err(|error| bad(&format!("the path of a readable text file ({error})")))?;
        *given = Some(Self {
            text,
            file: Some(path.into()),
        });
        Ok(())
    }
}

/// Secrets are equal if their texts are, wherever they come from.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Secret {}

fn read(path: &Path) -> io::Result<String> {
    let mut text = fs::read_to_string(path)?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::Secret;

    #[test]
    fn debug_output_hides_the_secret() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "***");
    }

    #[test]
    fn secret_of_a_file_is_read_again_unless_the_file_is_gone_or_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "first\n").unwrap();
        let (mut secret, mut file) = (None, Some(path.clone()));
        Secret::resolve("TOKEN", &mut secret, &mut file).unwrap();
        let secret = secret.unwrap();
        std::fs::write(&path, "second\n").unwrap();
        assert_eq!(secret.expose(), "first");
        let current = secret.current();
        assert_eq!(current.expose(), "second");
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(current.current().expose(), "second");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(current.current().expose(), "second");
        assert_eq!(Secret::new("plain").current().expose(), "plain");
    }

    #[test]
    fn secret_comes_from_either_the_variable_or_the_file() {
        let path = std::env::temp_dir().join(format!("rigline-secret-{}", std::process::id()));
        std::fs::write(&path, "s3cret\r\n").unwrap();
        let plain = Secret::new("plain");
        let resolve = |given: Option<&Secret>, file: Option<&PathBuf>| {
            let (mut given, mut file) = (given.cloned(), file.cloned());
            Secret::resolve("TOKEN", &mut given, &mut file).map(|()| given)
        };
        assert_eq!(
            resolve(None, Some(&path)).unwrap().unwrap().expose(),
            "s3cret"
        );
        assert_eq!(
            resolve(Some(&plain), None).unwrap().unwrap().expose(),
            "plain"
        );
        assert_eq!(
            resolve(Some(&Secret::new("")), Some(&PathBuf::new())).unwrap(),
            None
        );
        let both = resolve(Some(&plain), Some(&path)).unwrap_err().to_string();
        assert!(
            both.contains("TOKEN_FILE") && !both.contains("plain"),
            "{both}"
        );
        std::fs::remove_file(&path).unwrap();
        assert!(resolve(None, Some(&path)).is_err());
    }
}
