//! A Mosquitto broker.

use std::fs;
use std::net::TcpStream;
use std::process::Command;

use rustix::process::{Signal, geteuid};
use tempfile::TempDir;

use crate::child::Child;
use crate::net::{free_port, localhost};
use crate::tools::tool;

/// A Mosquitto broker, set up as the README says a broker has to be.
#[derive(Debug)]
pub struct Mosquitto {
    child: Child,
    dir: TempDir,
    port: u16,
}

impl Mosquitto {
    /// Starts one, open to anonymous clients.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&["allow_anonymous true"])
    }

    /// Starts one with these lines added to its configuration; `allow_anonymous` has to be among
    /// them.
    #[must_use]
    pub fn start_with(lines: &[&str]) -> Self {
        let dir = TempDir::with_prefix("mosquitto-").expect("a temporary directory");
        let port = free_port();
        let mut config = format!(
            "listener {port} 127.0.0.1\n\
             persistence true\n\
             persistence_location {}/\n\
             autosave_interval 1\n\
             max_queued_messages 0\n\
             max_inflight_messages 1000\n",
            dir.path().display()
        );
        if geteuid().is_root() {
            // It would become a user who can't write to the directory.
            config += "user root\n";
        }
        config += &lines.join("\n");
        config.push('\n');
        fs::write(dir.path().join("mosquitto.conf"), config).expect("a configuration file");
        let child = run(&dir, port);
        Self { child, dir, port }
    }

    /// The port on 127.0.0.1; it stays the same over restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// SIGSTOP: it stands still, connections open, until it is thawed or killed.
    pub fn freeze(&mut self) {
        self.child.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&mut self) {
        self.child.signal(Signal::CONT);
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// SIGTERM: it saves its data and ends.
    pub fn stop(&mut self) {
        self.child.stop();
    }

    /// Starts again with the data of before, after stopping it if it still runs.
    pub fn restart(&mut self) {
        self.child.stop();
        self.child = run(&self.dir, self.port);
    }

    /// Starts again without sessions and messages, after stopping it if it still runs.
    pub fn restart_without_data(&mut self) {
        self.child.stop();
        // Absent if nothing has ever been saved.
        let _ = fs::remove_file(self.dir.path().join("mosquitto.db"));
        self.child = run(&self.dir, self.port);
    }

    /// What it wrote to its log.
    #[must_use]
    pub fn logs(&self) -> String {
        self.child.logs()
    }

    /// `mosquitto_sub` (or `mosquitto_pub`) with host and port given; the caller adds the rest.
    #[must_use]
    pub fn client(&self, name: &str) -> Command {
        let mut command = tool(name);
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        command
    }
}

fn run(dir: &TempDir, port: u16) -> Child {
    let mut command = tool("mosquitto");
    command.arg("-c").arg(dir.path().join("mosquitto.conf"));
    let mut child = Child::spawn(command, &dir.path().join("log"));
    child.wait_for("mosquitto", || TcpStream::connect(localhost(port)).is_ok());
    child
}
