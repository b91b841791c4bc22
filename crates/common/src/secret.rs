//! Passwords and tokens that `Debug` and logs don't show.

use std::fmt;
use std::path::PathBuf;

use crate::settings::BadSetting;

/// A password or token; `Debug` and logs show `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret string.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret in plain text, for a client.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Resolves the secret of variable `name`, which is given either directly or as the path of a file
    /// (`NAME_FILE`; trailing line ends are removed). An empty one counts as not given. Afterwards
    /// `given` holds the secret, if any, and `file` is `None`.
    pub fn resolve(
        name: &'static str,
        given: &mut Option<Self>,
        file: &mut Option<PathBuf>,
    ) -> Result<(), BadSetting> {
        given.take_if(|secret| secret.0.is_empty());
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
        let text = std::fs::read_to_string(&path)
            .map_err(|error| bad(&format!("the path of a readable text file ({error})")))?;
        *given = Some(Self::new(text.trim_end_matches(['\r', '\n'])));
        Ok(())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
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
