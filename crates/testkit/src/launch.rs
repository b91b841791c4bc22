//! How a stage is started: with which program around it, which name, and which room.

use std::fs::File;
use std::io::{self, PipeReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::ioctl_fionread;
use tempfile::TempDir;

use crate::net::free_port;
use crate::process::Process;
use crate::stage_process::{StageProcess, stage_binary};

/// A stage that is about to be started.
#[derive(Debug, Clone)]
#[must_use]
pub struct Launch {
    binary: PathBuf,
    arg0: Option<String>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    wrapper: Vec<String>,
}

impl Launch {
    /// The stage called `name`.
    pub fn stage(name: &str) -> Self {
        Self::binary(&stage_binary(name))
    }

    /// A program that is known already.
    pub fn binary(path: &Path) -> Self {
        Self {
            binary: path.to_owned(),
            arg0: None,
            args: Vec::new(),
            env: Vec::new(),
            wrapper: Vec::new(),
        }
    }

    /// What it finds as its own name. A wrapper gets it instead, if there is one.
    pub fn arg0(mut self, name: &str) -> Self {
        self.arg0 = Some(name.to_owned());
        self
    }

    /// More arguments.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// One more environment variable; it has none but those given here and the admin listener's.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// More environment variables; the last of a name wins.
    pub fn envs<N: AsRef<str>, V: AsRef<str>>(mut self, env: &[(N, V)]) -> Self {
        for (name, value) in env {
            self = self.env(name.as_ref(), value.as_ref());
        }
        self
    }

    /// Runs it by another program, which gets binary and arguments after its own and has to become
    /// it (`exec`), so that signals meet the stage. The first wrapper is the innermost.
    pub fn wrapper<W: AsRef<str>>(mut self, wrapper: &[W]) -> Self {
        let words = wrapper.iter().map(|word| word.as_ref().to_owned());
        self.wrapper = words.chain(self.wrapper).collect();
        self
    }

    /// As [`Process::limit_memory`], from its first instruction on.
    pub fn limit_memory(self, bytes: u64) -> Self {
        self.wrapper(&["prlimit", &format!("--as={bytes}:"), "--"])
    }

    /// Starts it.
    #[must_use]
    pub fn spawn(&self) -> StageProcess {
        let (command, dir, admin_port) = self.command();
        let process = Process::spawn(command, &dir.path().join("log"));
        StageProcess::new(process, dir, admin_port)
    }

    /// Starts it with its whole output, which includes its log, in a pipe that nobody reads and
    /// that is full after 4 KiB.
    #[must_use]
    pub fn spawn_blocked(&self) -> (StageProcess, BlockedOutput) {
        let (command, dir, admin_port) = self.command();
        let log = dir.path().join("log");
        let (process, reader) = Process::spawn_piped(command, &log);
        let output = BlockedOutput { reader, log };
        (StageProcess::new(process, dir, admin_port), output)
    }

    fn command(&self) -> (Command, TempDir, u16) {
        let dir = TempDir::with_prefix("stage-").expect("a temporary directory");
        let admin_port = free_port();
        let mut words = self
            .wrapper
            .iter()
            .map(AsRef::as_ref)
            .chain([self.binary.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).env_clear();
        if !self.wrapper.is_empty() {
            // The wrapper may have programs to find.
            command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        }
        if let Some(name) = &self.arg0 {
            command.arg0(name);
        }
        command
            .args(&self.args)
            .current_dir(dir.path())
            .env("ADMIN_ADDR", format!("127.0.0.1:{admin_port}"))
            .env("LOG_FORMAT", "human")
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        (command, dir, admin_port)
    }
}

/// The output of a process, unread. Dropping it closes the pipe: what is written then fails.
#[derive(Debug)]
pub struct BlockedOutput {
    reader: PipeReader,
    log: PathBuf,
}

impl BlockedOutput {
    /// How many bytes are in the pipe. It is full once this stays as it is.
    #[must_use]
    pub fn unread(&self) -> u64 {
        ioctl_fionread(&self.reader).expect("a pipe's state")
    }

    /// Reads from now on, so that the process goes on; what is read is in its log.
    pub fn drain(mut self) {
        let mut log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("a log file");
        std::thread::spawn(move || {
            // Ends with the process.
            let _ = io::copy(&mut self.reader, &mut log);
        });
    }
}
