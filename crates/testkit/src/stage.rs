//! A stage as a process.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::child::Child;
use crate::http::http_get;
use crate::net::{free_port, wait_until};
use crate::tools::{target_dir, workspace_dir};

/// The path of a stage's binary, of the same profile as the running test; all binaries of the
/// workspace are built first, once. A stage's own tests have `env!("CARGO_BIN_EXE_…")` instead.
#[must_use]
pub fn stage_binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let dir = BUILT.get_or_init(|| {
        let profile = if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        };
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        build
            .current_dir(workspace_dir())
            .args(["build", "--workspace", "--bins", "--quiet"]);
        if profile == "release" {
            build.arg("--release");
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
pub struct Stage {
    child: Child,
    dir: TempDir,
    admin_port: u16,
}

impl Stage {
    /// Starts the stage called `name` with these environment variables and no others of Rigline's.
    #[must_use]
    pub fn spawn(name: &str, env: &[(&str, &str)]) -> Self {
        Self::spawn_binary(&stage_binary(name), env)
    }

    /// As [`Stage::spawn`], for a binary that is known already.
    #[must_use]
    pub fn spawn_binary(binary: &Path, env: &[(&str, &str)]) -> Self {
        let dir = TempDir::with_prefix("stage-").expect("a temporary directory");
        let admin_port = free_port();
        let mut command = Command::new(binary);
        command
            .env_clear()
            .current_dir(dir.path())
            .env("ADMIN_ADDR", format!("127.0.0.1:{admin_port}"))
            .env("LOG_FORMAT", "human")
            .envs(env.iter().copied());
        let child = Child::spawn(command, &dir.path().join("log"));
        Self {
            child,
            dir,
            admin_port,
        }
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
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

    /// Sends SIGTERM and returns at once.
    pub fn terminate(&mut self) {
        self.child.signal(Signal::TERM);
    }

    /// Sends SIGSTOP: it stands still until [`Stage::thaw`].
    pub fn freeze(&mut self) {
        self.child.signal(Signal::STOP);
    }

    /// Sends SIGCONT.
    pub fn thaw(&mut self) {
        self.child.signal(Signal::CONT);
    }

    /// SIGKILL, and gone when this returns.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// How it ended; nothing if it still runs after `limit`.
    pub fn wait_exit(&mut self, limit: Duration) -> Option<ExitStatus> {
        self.child.wait_exit(limit)
    }

    /// Whether `/readyz` says yes within `limit`.
    #[must_use]
    pub fn ready(&self, limit: Duration) -> bool {
        wait_until(limit, || {
            http_get(self.admin_port, "/readyz").is_ok_and(|(status, _)| status == 200)
        })
    }

    /// The body of a GET at the admin listener, whatever the status; empty without an answer.
    #[must_use]
    pub fn get(&self, path: &str) -> String {
        http_get(self.admin_port, path)
            .map(|(_, body)| body)
            .unwrap_or_default()
    }

    /// What it wrote to its log.
    #[must_use]
    pub fn logs(&self) -> String {
        self.child.logs()
    }
}
