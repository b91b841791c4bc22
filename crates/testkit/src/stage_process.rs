//! A stage as a process.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

use crate::http::http_get;
use crate::launch::Launch;
use crate::net::wait_until;
use crate::process::{Process, is_a_process};
use crate::tools::{cargo, target_dir, workspace_dir};

/// The path of a stage's binary with the profile of the running test. All binaries of the workspace are
/// built first, once. A stage's own tests have `env!("CARGO_BIN_EXE_…")` instead.
#[must_use]
pub fn stage_binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let dir = BUILT.get_or_init(|| {
        let profile = if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        };
        let mut build = cargo();
        build
            .current_dir(workspace_dir())
            .args(["build", "--workspace", "--bins", "--quiet"]);
        if profile == "release" {
            build.arg("--release");
        }
        for (is_on, feature) in [
            (cfg!(feature = "kafka"), "kafka"),
            (cfg!(feature = "mongodb"), "mongodb"),
            (cfg!(feature = "postgres"), "postgres"),
            (cfg!(feature = "protobuf"), "protobuf"),
        ] {
            if is_on {
                build.args(["--features", feature]);
            }
        }
        let run = build.output().expect("cargo");
        assert!(
            run.status.success(),
            "{}",
            String::from_utf8_lossy(&run.stderr)
        );
        target_dir().join(profile)
    });
    let binary = dir.join(name);
    assert!(
        binary.is_file(),
        "the workspace builds no {}",
        binary.display()
    );
    binary
}

/// A running stage; dropping it kills it.
#[derive(Debug)]
pub struct StageProcess {
    process: Process,
    dir: TempDir,
    admin_port: u16,
}

is_a_process!(StageProcess);

impl StageProcess {
    /// Starts the stage `name` with only these environment variables.
    #[must_use]
    pub fn spawn(name: &str, env: &[(&str, &str)]) -> Self {
        Launch::stage(name).envs(env).spawn()
    }

    /// As [`StageProcess::spawn`], with the binary at this path.
    #[must_use]
    pub fn spawn_binary(binary: &Path, env: &[(&str, &str)]) -> Self {
        Launch::binary(binary).envs(env).spawn()
    }

    pub(crate) fn new(process: Process, dir: TempDir, admin_port: u16) -> Self {
        Self {
            process,
            dir,
            admin_port,
        }
    }

    /// The port of its admin listener on 127.0.0.1.
    #[must_use]
    pub fn admin_port(&self) -> u16 {
        self.admin_port
    }

    /// Its working directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Waits until `/readyz` reports ready; returns `false` after `limit`.
    #[must_use]
    pub fn ready(&self, limit: Duration) -> bool {
        wait_until(limit, || {
            http_get(self.admin_port, "/readyz").is_ok_and(|(status, _)| status == 200)
        })
    }

    /// The body of a GET from the admin listener, whatever the status; empty without a response.
    #[must_use]
    pub fn get(&self, path: &str) -> String {
        http_get(self.admin_port, path)
            .map(|(_, body)| body)
            .unwrap_or_default()
    }
}
