//! Lua scripts, which Redis knows by the hash of their code.

/// A script.
#[derive(Debug)]
pub struct Script {
    hash: String,
    code: String,
}

impl Script {
    /// The script of this code, whose first line has its flags: `#!lua` or `#!lua flags=…`.
    #[must_use]
    pub fn new(code: String) -> Self {
        Self {
            hash: redis::Script::new(&code).get_hash().to_owned(),
            code,
        }
    }

    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    pub(crate) fn code(&self) -> &str {
        &self.code
    }
}
