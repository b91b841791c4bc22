//! A Mosquitto broker.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::geteuid;
use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::net::{free_port, localhost};
use crate::process::{Process, is_a_process};
use crate::tools::tool;

/// A Mosquitto broker, configured as the documentation requires.
#[derive(Debug)]
pub struct Mosquitto {
    process: Process,
    dir: TempDir,
    port: u16,
}

is_a_process!(Mosquitto);

impl Mosquitto {
    /// Starts a broker that accepts anonymous clients.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&["allow_anonymous true"])
    }

    /// Starts a broker with these additional lines of configuration; `allow_anonymous` has to be one of
    /// them.
    #[must_use]
    pub fn start_with(lines: &[&str]) -> Self {
        let dir = TempDir::with_prefix("mosquitto-").expect("a temporary directory");
        let port = free_port();
        configure(dir.path(), port, lines);
        let mut process = launch(dir.path());
        wait_for(&mut process, port).expect("a broker");
        Self { process, dir, port }
    }

    /// As [`start_with`](Self::start_with), with TLS: the broker has the certificate `broker`, and trusts
    /// clients of the same authority.
    #[must_use]
    pub fn start_with_tls(made: &Certificates, lines: &[&str]) -> Self {
        let files = [
            format!("cafile {}", made.ca().display()),
            format!("certfile {}", made.certificate("broker").display()),
            format!("keyfile {}", made.key("broker").display()),
        ];
        let files = files.each_ref().map(String::as_str);
        Self::start_with(&[&files, lines].concat())
    }

    /// The port on 127.0.0.1; it stays the same over restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of its files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Replaces the lines of [`start_with`](Self::start_with), from the next restart on.
    pub fn set_lines(&mut self, lines: &[&str]) {
        configure(self.dir.path(), self.port, lines);
    }

    /// Restarts it with its data.
    pub fn restart(&mut self) {
        self.try_restart().expect("a broker");
    }

    /// As [`restart`](Self::restart); returns its log if it doesn't start.
    pub fn try_restart(&mut self) -> Result<(), String> {
        self.stop();
        self.process = launch(self.dir.path());
        wait_for(&mut self.process, self.port)
    }

    /// Restarts it without sessions and messages.
    pub fn restart_without_data(&mut self) {
        self.stop();
        // Absent if nothing was saved.
        let _ = fs::remove_file(self.database());
        self.restart();
    }

    /// Corrupts the file with its sessions and messages while it is stopped. Returns `false` if there is no
    /// file.
    #[must_use]
    pub fn corrupt_database(&self) -> bool {
        let Ok(mut saved) = fs::read(self.database()) else {
            return false;
        };
        // Every 7th byte, which corrupts each record, whatever its size.
        for byte in saved.iter_mut().step_by(7) {
            *byte = !*byte;
        }
        fs::write(self.database(), &saved).expect("a database that can be written");
        !saved.is_empty()
    }

    /// The command `mosquitto_sub` or `mosquitto_pub` with host and port; the caller adds the rest.
    #[must_use]
    pub fn client(&self, name: &str) -> Command {
        mqtt_client(name, self.port)
    }

    fn database(&self) -> PathBuf {
        self.dir.path().join("mosquitto.db")
    }
}

/// The command `mosquitto_pub` or `mosquitto_sub` for this port of 127.0.0.1; the caller adds the rest.
#[must_use]
pub fn mqtt_client(name: &str, port: u16) -> Command {
    let mut command = tool(name);
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    command
}

/// Writes a password file with one user.
pub fn write_password_file(path: &Path, user: &str, password: &str) {
    let mut command = tool("mosquitto_passwd");
    command.args(["-b", "-c"]).arg(path).args([user, password]);
    let status = command.status().expect("mosquitto_passwd");
    assert!(status.success(), "mosquitto_passwd: {status}");
}

fn configure(dir: &Path, port: u16, lines: &[&str]) {
    let mut config = format!(
        "listener {port} 127.0.0.1\n\
         persistence true\n\
         persistence_location {}/\n\
         autosave_interval 1\n\
         max_queued_messages 0\n\
         max_inflight_messages 1000\n",
        dir.display()
    );
    if geteuid().is_root() {
        // Started by root, it would switch to a user who can't write to the directory.
        config += "user root\n";
    }
    config += &lines.join("\n");
    config.push('\n');
    fs::write(dir.join("mosquitto.conf"), config).expect("a configuration file");
}

fn launch(dir: &Path) -> Process {
    let mut command = tool("mosquitto");
    command.arg("-c").arg(dir.join("mosquitto.conf"));
    Process::spawn(command, &dir.join("log"))
}

fn wait_for(process: &mut Process, port: u16) -> Result<(), String> {
    process.wait_for("mosquitto", || TcpStream::connect(localhost(port)).is_ok())
}
