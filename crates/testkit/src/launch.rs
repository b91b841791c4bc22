//! The command that starts a stage: wrapper, name, environment and limits.

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

/// A command that starts a stage.
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

    /// A binary at this path.
    pub fn binary(path: &Path) -> Self {
        Self {
            binary: path.to_owned(),
            arg0: None,
            args: Vec::new(),
            env: Vec::new(),
            wrapper: Vec::new(),
        }
    }

    /// Sets `argv[0]`, of the wrapper if there is one.
    pub fn arg0(mut self, name: &str) -> Self {
        self.arg0 = Some(name.to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// Adds an environment variable. The stage has only these and the admin listener's.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds environment variables; the last one of a name wins.
    pub fn envs<N: AsRef<str>, V: AsRef<str>>(mut self, env: &[(N, V)]) -> Self {
        for (name, value) in env {
            self = self.env(name.as_ref(), value.as_ref());
        }
        self
    }

    /// Runs the stage in another program, which gets binary and arguments after its own and has to replace
    /// itself by it (`exec`), so that signals reach the stage. The first wrapper is the innermost.
    pub fn wrapper<W: AsRef<str>>(mut self, wrapper: &[W]) -> Self {
        let words = wrapper.iter().map(|word| word.as_ref().to_owned());
        self.wrapper = words.chain(self.wrapper).collect();
        self
    }

    /// As [`Process::limit_memory`], from its start.
    pub fn limit_memory(self, bytes: u64) -> Self {
        self.wrapper(&["prlimit", &format!("--as={bytes}:"), "--"])
    }

    /// Starts the stage.
    #[must_use]
    pub fn spawn(&self) -> StageProcess {
        let (command, dir, admin_port) = self.command();
        let process = Process::spawn(command, &dir.path().join("log"));
        StageProcess::new(process, dir, admin_port)
    }

    /// Starts the stage with its output, including its log, in a pipe of 4 KiB that isn't read.
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
            // The wrapper may run other programs.
            command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        }
        if let Some(name) = &self.arg0 {
            command.arg0(name);
        }
        command
            .args(&self.args)
            .current_dir(dir.path())
            .env("ADMIN_ADDR", format!("127.0.0.1:{admin_port}"))
            .env("API_ADDR", "127.0.0.1:0")
            .env("LOG_FORMAT", "human")
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        (command, dir, admin_port)
    }
}

/// The unread output of a process. Dropping it closes the pipe, so that later writes fail.
#[derive(Debug)]
pub struct BlockedOutput {
    reader: PipeReader,
    log: PathBuf,
}

impl BlockedOutput {
    /// The number of bytes in the pipe.
    #[must_use]
    pub fn unread(&self) -> u64 {
        ioctl_fionread(&self.reader).expect("a pipe's state")
    }

    /// Starts to copy the output to the process's log, so that the process continues.
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
