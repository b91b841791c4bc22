//! A child process with its output in a file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::net::wait_until;

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running process; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    log: PathBuf,
}

impl Child {
    /// Starts `command` with both outputs appended to `log`.
    pub(crate) fn spawn(mut command: Command, log: &Path) -> Self {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("a log file");
        let errors = file.try_clone().expect("a second handle of the log file");
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let process = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            process,
            log: log.to_owned(),
        }
    }

    /// Waits until `answers`; fails with the process's output if it ends or takes too long.
    pub(crate) fn wait_for(&mut self, what: &str, mut answers: impl FnMut() -> bool) {
        let mut ended = None;
        let ready = wait_until(PATIENCE, || {
            ended = self.process.try_wait().expect("the state of a child");
            ended.is_some() || answers()
        });
        assert!(
            ready && ended.is_none(),
            "{what} doesn't answer, {ended:?}:\n{}",
            self.logs()
        );
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn logs(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Sends a signal, unless the process has ended already.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self
            .process
            .try_wait()
            .expect("the state of a child")
            .is_none()
        {
            kill_process(Pid::from_child(&self.process), signal).expect("a signal to a child");
        }
    }

    /// SIGKILL, and gone when this returns.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.process.wait().expect("the end of a killed child");
    }

    /// SIGTERM, and gone when this returns.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        let ended = self.wait_exit(PATIENCE);
        assert!(
            ended.is_some(),
            "still running {PATIENCE:?} after SIGTERM:\n{}",
            self.logs()
        );
    }

    /// How it ended; nothing if it still runs after `limit`.
    pub(crate) fn wait_exit(&mut self, limit: Duration) -> Option<ExitStatus> {
        let mut ended = None;
        let _ = wait_until(limit, || {
            ended = self.process.try_wait().expect("the state of a child");
            ended.is_some()
        });
        ended
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // A panic here would hide the one that made the test fail.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
