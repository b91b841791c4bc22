//! A running `rigline up`, and commands that use its data.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::clock::Clock;
use model::time::Timestamp;
use tempfile::TempDir;
use testkit::{Launch, StageProcess, free_port, mqtt_client, wait_until};

/// How long to wait for an expected state.
pub const SOON: Duration = Duration::from_secs(30);

/// The binary.
pub fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_rigline"))
}

/// A process `rigline up`, with its data in a directory that outlives it.
pub struct Up {
    pub stage: StageProcess,
    pub port: u16,
    dir: TempDir,
}

impl Up {
    /// Starts it with these settings, and waits until it is ready.
    pub fn start(env: &[(&str, &str)]) -> Self {
        Self::start_in(TempDir::with_prefix("up-").unwrap(), env)
    }

    /// Like [`Up::start`], with an existing directory.
    pub fn start_in(dir: TempDir, env: &[(&str, &str)]) -> Self {
        let port = free_port();
        let stage = Launch::binary(binary())
            .args(&["up"])
            .env(
                "RIGLINE_DATA",
                &dir.path().join("data").display().to_string(),
            )
            .env("MQTT_LISTEN", &format!("127.0.0.1:{port}"))
            .envs(env)
            .spawn();
        assert!(
            stage.ready(SOON),
            "{}\n{}",
            stage.get("/readyz"),
            stage.logs()
        );
        Self { stage, port, dir }
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Stops it with SIGTERM. Returns its directory.
    pub fn stop(mut self) -> TempDir {
        self.stage.terminate();
        let ended = self.stage.wait_exit(SOON);
        assert!(
            ended.is_some_and(|e| e.success()),
            "{ended:?}\n{}",
            self.stage.logs()
        );
        self.dir
    }

    /// Stops it with SIGKILL. Returns its directory.
    pub fn kill(mut self) -> TempDir {
        self.stage.kill();
        self.dir
    }

    /// Publishes with `mosquitto_pub` at QoS 1, and waits for the acknowledgement.
    pub fn publish(&self, sensor: &str, payload: &str) {
        let topic = format!("rigs/MINE/measurements/{sensor}");
        let mut client = mqtt_client("mosquitto_pub", self.port);
        client.args(["-q", "1", "-t", &topic, "-m", payload]);
        assert!(client.status().unwrap().success(), "{}", self.stage.logs());
    }

    /// Runs a command on its data. Returns the output.
    pub fn run(&self, args: &[&str]) -> Output {
        run(&self.data(), args)
    }

    /// Like [`Up::run`], for a command that has to succeed. Returns its standard output.
    pub fn run_ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let said = text(&output);
        assert!(output.status.success(), "{args:?}: {said}");
        said
    }

    /// Waits until a command prints this.
    pub fn wait_for_output(&self, args: &[&str], part: &str) -> String {
        let mut said = String::new();
        let found = wait_until(SOON, || {
            said = text(&self.run(args));
            said.contains(part)
        });
        assert!(
            found,
            "{args:?} doesn't say {part:?}: {said}\n{}",
            self.stage.logs()
        );
        said
    }
}

/// Runs a command on the data in this directory.
pub fn run(data: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command
        .args(args)
        .env_clear()
        .env("RIGLINE_DATA", data)
        .stdin(Stdio::null());
    command.output().unwrap()
}

/// Standard output and standard error.
pub fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// A reading's payload.
pub fn payload(time: Timestamp, value: f64) -> String {
    format!("{{\"timestamp\":\"{time}\",\"value\":{value}}}")
}

/// The current second.
pub fn second() -> Timestamp {
    Clock::system().now().tick(Duration::from_secs(1))
}
