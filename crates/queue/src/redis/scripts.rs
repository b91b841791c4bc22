//! The Lua scripts, each in a file of this directory.

use redis_client::Script;

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
            append: script("#!lua", include_str!("append.lua")),
            replay: script("#!lua", include_str!("replay.lua")),
            lease: script(drain, include_str!("lease.lua")),
            renew: script(drain, include_str!("renew.lua")),
            release: script(drain, include_str!("release.lua")),
            snapshot: script(drain, include_str!("snapshot.lua")),
            stretch: script(drain, include_str!("stretch.lua")),
            commit: script(drain, include_str!("commit.lua")),
        }
    }
}

/// A script with the helpers in front of it.
fn script(shebang: &str, body: &str) -> Script {
    Script::new(format!("{shebang}\n{}\n{body}", include_str!("lib.lua")))
}
