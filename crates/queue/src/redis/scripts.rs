//! The Lua scripts, each in a file of this directory.

/// All scripts.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) append: Script,
    pub(super) lease: Script,
    pub(super) renew: Script,
    pub(super) release: Script,
    pub(super) commit: Script,
    pub(super) snapshot: Script,
    pub(super) stretch: Script,
    pub(super) replay: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        // At its memory limit, Redis refuses scripts without the flag. That is right for scripts that
        // add data, but the others must run.
        let drain = "#!lua flags=allow-oom";
        Self {
            append: Script::new("#!lua", include_str!("append.lua")),
            replay: Script::new("#!lua", include_str!("replay.lua")),
            lease: Script::new(drain, include_str!("lease.lua")),
            renew: Script::new(drain, include_str!("renew.lua")),
            release: Script::new(drain, include_str!("release.lua")),
            snapshot: Script::new(drain, include_str!("snapshot.lua")),
            stretch: Script::new(drain, include_str!("stretch.lua")),
            commit: Script::new(drain, include_str!("commit.lua")),
        }
    }
}

/// One script with the helpers in front of it.
#[derive(Debug)]
pub(super) struct Script {
    hash: String,
    code: String,
}

impl Script {
    fn new(shebang: &str, body: &str) -> Self {
        let code = format!("{shebang}\n{}\n{body}", include_str!("lib.lua"));
        Self {
            hash: redis::Script::new(&code).get_hash().to_owned(),
            code,
        }
    }

    pub(super) fn hash(&self) -> &str {
        &self.hash
    }

    pub(super) fn code(&self) -> &str {
        &self.code
    }
}
