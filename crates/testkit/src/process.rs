//! A child process with its output in a file.

use std::fs::{self, File};
use std::io::PipeReader;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use crate::fake_time::forget;
use crate::net::wait_until;

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// One page, which is a few lines of a log.
const SMALLEST_PIPE: usize = 4096;

/// The unit of CPU time in /proc; the same on every Linux that Rust supports.
const TICKS_PER_SECOND: u64 = 100;

/// A running process; dropping it kills it. Handles of servers and stages dereference to it.
#[derive(Debug)]
pub struct Process {
    process: std::process::Child,
    log: PathBuf,
}

/// Gives a handle with a field `process` all methods of [`Process`].
macro_rules! is_a_process {
    ($handle:ty) => {
        impl std::ops::Deref for $handle {
            type Target = $crate::process::Process;

            fn deref(&self) -> &Self::Target {
                &self.process
            }
        }

        impl std::ops::DerefMut for $handle {
            fn deref_mut(&mut self) -> &mut Self::Target {
                &mut self.process
            }
        }
    };
}

pub(crate) use is_a_process;

impl Process {
    /// Starts `command` with both outputs appended to `log`.
    pub(crate) fn spawn(mut command: Command, log: &Path) -> Self {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("a log file");
        let errors = file.try_clone().expect("a second handle of the log file");
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        Self::run(command, log)
    }

    /// As [`spawn`](Self::spawn), for a process that is never dropped: it is killed, and `dir` removed,
    /// when this process has ended for any reason.
    pub(crate) fn spawn_until_exit(command: &Command, log: &Path, dir: &Path) -> Self {
        // The shell waits for the end of its input, whose other end only this process has.
        let script =
            "dir=$1; shift; \"$@\" </dev/null & cat >/dev/null; kill -9 $!; wait; rm -rf \"$dir\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(dir);
        shell.arg(command.get_program()).args(command.get_args());
        copy_env(command, &mut shell);
        let file = File::create(log).expect("a log file");
        let errors = file.try_clone().expect("a second handle of the log file");
        // In its own process group, so that a signal to this group doesn't reach the shell.
        shell
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(file)
            .stderr(errors);
        Self::run(shell, log)
    }

    /// Starts `command` with both outputs in one pipe of minimal size, and returns the pipe's read end.
    pub(crate) fn spawn_piped(mut command: Command, log: &Path) -> (Self, PipeReader) {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        fcntl_setpipe_size(&reader, SMALLEST_PIPE).expect("a smaller pipe");
        let errors = writer.try_clone().expect("a second handle of the pipe");
        command.stdin(Stdio::null()).stdout(writer).stderr(errors);
        // The command keeps handles of the pipe until it is dropped, which `run` does.
        (Self::run(command, log), reader)
    }

    fn run(mut command: Command, log: &Path) -> Self {
        let process = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            process,
            log: log.to_owned(),
        }
    }

    /// Waits until `answers` holds; returns the process's output if it ends or takes too long.
    pub(crate) fn wait_for(
        &mut self,
        what: &str,
        mut answers: impl FnMut() -> bool,
    ) -> Result<(), String> {
        let mut ended = None;
        let ready = wait_until(PATIENCE, || {
            ended = self.process.try_wait().expect("the state of a child");
            ended.is_some() || answers()
        });
        if ready && ended.is_none() {
            return Ok(());
        }
        let logs = self.logs();
        Err(format!("{what} doesn't answer, {ended:?}:\n{logs}"))
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The contents of its log.
    #[must_use]
    pub fn logs(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Its log, once it contains `text`. A stage writes its log in a thread of its own, so that what it does can be seen
    /// before the line about it.
    #[must_use]
    #[track_caller]
    pub fn logs_with(&self, text: &str) -> String {
        let mut logs = String::new();
        let found = wait_until(PATIENCE, || {
            logs = self.logs();
            logs.contains(text)
        });
        assert!(found, "there is no {text:?} in the log:\n{logs}");
        logs
    }

    /// Sends SIGTERM and returns at once.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGHUP and returns at once.
    pub fn hang_up(&mut self) {
        self.signal(Signal::HUP);
    }

    /// Sends SIGSTOP: it is stopped with open connections until it is thawed or killed.
    pub fn freeze(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Sends SIGCONT.
    pub fn thaw(&mut self) {
        self.signal(Signal::CONT);
    }

    /// Sends SIGKILL and waits for its end.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.process.wait().expect("the end of a killed child");
    }

    /// Sends SIGTERM and waits for its end.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let ended = self.wait_exit(PATIENCE);
        assert!(
            ended.is_some(),
            "still running {PATIENCE:?} after SIGTERM:\n{}",
            self.logs()
        );
    }

    /// Its exit status; `None` if it still runs after `limit`.
    pub fn wait_exit(&mut self, limit: Duration) -> Option<ExitStatus> {
        let mut ended = None;
        let _ = wait_until(limit, || {
            ended = self.process.try_wait().expect("the state of a child");
            ended.is_some()
        });
        ended
    }

    /// Whether it has ended.
    pub fn has_exited(&mut self) -> bool {
        self.process
            .try_wait()
            .expect("the state of a child")
            .is_some()
    }

    /// Whether it is stopped by SIGSTOP, which takes a moment to arrive.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stat().is_some_and(|fields| fields[0] == "T")
    }

    /// Its resident memory; `None` if it has ended.
    #[must_use]
    pub fn rss_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(self.proc("status")).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib * 1024)
    }

    /// The number of its open files and sockets; `None` if it has ended.
    #[must_use]
    pub fn open_files(&self) -> Option<usize> {
        let count = fs::read_dir(self.proc("fd")).ok()?.count();
        // The directory of a zombie is empty.
        (count > 0).then_some(count)
    }

    /// The user and system time that it has used; `None` if it has ended.
    #[must_use]
    pub fn cpu_time(&self) -> Option<Duration> {
        let fields = self.stat()?;
        let ticks = |field: &String| field.parse::<u64>().ok();
        let used = ticks(fields.get(11)?)? + ticks(fields.get(12)?)?;
        Some(Duration::from_millis(used * 1000 / TICKS_PER_SECOND))
    }

    /// Limits the descriptors that it may have open (`RLIMIT_NOFILE`). Open files stay open.
    pub fn limit_files(&mut self, files: u64) {
        self.limit(Resource::Nofile, Some(files));
    }

    /// Removes [`limit_files`](Self::limit_files).
    pub fn unlimit_files(&mut self) {
        self.limit(Resource::Nofile, None);
    }

    /// Limits its address space (`RLIMIT_AS`), which is much more than its memory in use: each thread's
    /// stack counts in full.
    pub fn limit_memory(&mut self, bytes: u64) {
        self.limit(Resource::As, Some(bytes));
    }

    /// Removes [`limit_memory`](Self::limit_memory).
    pub fn unlimit_memory(&mut self) {
        self.limit(Resource::As, None);
    }

    /// Sends a signal, unless the process has ended already.
    fn signal(&mut self, signal: Signal) {
        if !self.has_exited() {
            kill_process(Pid::from_child(&self.process), signal).expect("a signal to a child");
        }
    }

    /// Changes the soft limit, or raises it to the hard limit. The hard limit stays, since only root could
    /// raise it again.
    fn limit(&mut self, resource: Resource, current: Option<u64>) {
        if self.has_exited() {
            return;
        }
        let pid = Some(Pid::from_child(&self.process));
        let maximum = self.hard_limit(resource);
        let current = current.map_or(maximum, |wanted| {
            Some(maximum.map_or(wanted, |maximum| wanted.min(maximum)))
        });
        let new = Rlimit { current, maximum };
        prlimit(pid, resource, new).expect("another limit for a child");
    }

    fn hard_limit(&self, resource: Resource) -> Option<u64> {
        let name = match resource {
            Resource::Nofile => "Max open files",
            _ => "Max address space",
        };
        let limits = fs::read_to_string(self.proc("limits")).expect("the limits of a child");
        let line = limits.lines().find_map(|line| line.strip_prefix(name));
        let hard = line.and_then(|line| line.split_whitespace().nth(1));
        hard.expect("a hard limit").parse().ok()
    }

    /// The fields of `/proc/PID/stat` from the state on; the name before it may contain spaces.
    fn stat(&self) -> Option<Vec<String>> {
        let stat = fs::read_to_string(self.proc("stat")).ok()?;
        let (_, fields) = stat.rsplit_once(") ")?;
        Some(fields.split(' ').map(str::to_owned).collect())
    }

    fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.pid().to_string()).join(file)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A panic here would hide the one that made the test fail.
        let _ = self.process.kill();
        let _ = self.process.wait();
        forget(self.pid());
    }
}

/// Gives a command the variables that another one sets.
pub(crate) fn copy_env(from: &Command, to: &mut Command) {
    for (name, value) in from.get_envs() {
        if let Some(value) = value {
            to.env(name, value);
        }
    }
}
