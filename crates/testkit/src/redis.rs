//! A Redis server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::child::Child;
use crate::net::{free_port, localhost};
use crate::tools::tool;

/// A Redis server, set up as the README says it has to be: nothing acknowledged is only in memory.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    dir: TempDir,
    port: u16,
    options: Vec<String>,
}

impl Redis {
    /// Starts one without a password.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with more options, as on the command line: `["--maxmemory", "10mb"]`.
    #[must_use]
    pub fn start_with(options: &[&str]) -> Self {
        let dir = TempDir::with_prefix("redis-").expect("a temporary directory");
        let port = free_port();
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let child = run(&dir, port, &options);
        Self {
            child,
            dir,
            port,
            options,
        }
    }

    /// The port on 127.0.0.1; it stays the same over restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// SIGSTOP: it stands still, connections open, until it is thawed or killed.
    pub fn freeze(&mut self) {
        self.child.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&mut self) {
        self.child.signal(Signal::CONT);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// SIGTERM.
    pub fn stop(&mut self) {
        self.child.stop();
    }

    /// Starts again with the data of before, after stopping it if it still runs.
    pub fn restart(&mut self) {
        self.child.stop();
        self.child = run(&self.dir, self.port, &self.options);
    }

    /// Starts again empty, after stopping it if it still runs.
    pub fn restart_without_data(&mut self) {
        self.child.stop();
        // Absent if it never got as far as writing.
        let _ = std::fs::remove_dir_all(self.dir.path().join("appendonlydir"));
        self.child = run(&self.dir, self.port, &self.options);
    }

    /// What `redis-cli` answers to a command, without the line end; fails on an error answer.
    #[must_use]
    pub fn cli(&self, args: &[&str]) -> String {
        let mut command = tool("redis-cli");
        command
            .args(["-e", "-p", &self.port.to_string()])
            .args(args);
        let run = command.output().expect("redis-cli");
        let (said, errors) = (
            String::from_utf8_lossy(&run.stdout),
            String::from_utf8_lossy(&run.stderr),
        );
        assert!(run.status.success(), "redis-cli {args:?}: {said}{errors}");
        said.trim_end_matches('\n').to_owned()
    }

    /// What it wrote to its log.
    #[must_use]
    pub fn logs(&self) -> String {
        self.child.logs()
    }
}

fn run(dir: &TempDir, port: u16, options: &Vec<String>) -> Child {
    let mut command = tool("redis-server");
    command.current_dir(dir.path());
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
    command.args([
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
        "--save",
        "",
    ]);
    command
        .args(["--maxmemory-policy", "noeviction"])
        .args(options);
    let mut child = Child::spawn(command, &dir.path().join("log"));
    child.wait_for("redis-server", || {
        answers(port).is_ok_and(|answers| answers)
    });
    child
}

/// Whether it is done with loading its data; a server that wants a password counts, too.
fn answers(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(localhost(port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    Ok(answer == *b"+PONG" || answer == *b"-NOAU")
}
