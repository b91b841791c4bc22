//! A Redis server.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::net::{free_port, localhost, wait_until};
use crate::process::{Process, is_a_process};
use crate::tools::tool;

/// The prefix of keys that slow loading down.
const FILLER: &str = "filler:";

/// A Redis server, configured as the documentation requires: everything acknowledged is on disk.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    plan: Plan,
    /// Its log, and its data unless another directory was given.
    _home: TempDir,
}

is_a_process!(Redis);

/// The settings of every start.
#[derive(Debug)]
struct Plan {
    port: u16,
    data: PathBuf,
    log: PathBuf,
    options: Vec<String>,
    env: Vec<(&'static str, String)>,
}

impl Redis {
    /// Starts a server without a password.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with additional options, as on the command line: `["--maxmemory", "10mb"]`.
    #[must_use]
    pub fn start_with(options: &[&str]) -> Self {
        Self::start_as(None, options, &[])
    }

    /// Starts a server with its data in `dir`, for instance on a small disk; its log is elsewhere.
    #[must_use]
    pub fn start_in(dir: &Path, options: &[&str]) -> Self {
        Self::start_as(Some(dir), options, &[])
    }

    /// Starts a server with these environment variables, also for restarts.
    #[must_use]
    pub fn start_with_env(options: &[&str], env: &[(&'static str, String)]) -> Self {
        Self::start_as(None, options, env)
    }

    /// Starts a server that has the certificate `redis` at a second port, which is returned, too. Clients have
    /// to show a certificate of the same authority there if `clients` is `yes`, and needn't if it is `no`.
    #[must_use]
    pub fn start_with_tls(made: &Certificates, clients: &str) -> (Self, u16) {
        let (port, file) = (free_port(), |path: PathBuf| path.display().to_string());
        let redis = Self::start_with(&[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &file(made.certificate("redis")),
            "--tls-key-file",
            &file(made.key("redis")),
            "--tls-ca-cert-file",
            &file(made.ca()),
            "--tls-auth-clients",
            clients,
        ]);
        (redis, port)
    }

    fn start_as(dir: Option<&Path>, options: &[&str], env: &[(&'static str, String)]) -> Self {
        let home = TempDir::with_prefix("redis-").expect("a temporary directory");
        let plan = Plan {
            port: free_port(),
            data: dir.unwrap_or(home.path()).to_owned(),
            log: home.path().join("log"),
            options: owned(options),
            env: env.to_vec(),
        };
        let mut process = plan.launch();
        plan.wait_for(&mut process).expect("a Redis");
        Self {
            process,
            plan,
            _home: home,
        }
    }

    /// The port on 127.0.0.1; it stays the same over restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.plan.port
    }

    /// The directory of its data.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.plan.data
    }

    /// Replaces the options of [`start_with`](Self::start_with), from the next restart on.
    pub fn set_options(&mut self, options: &[&str]) {
        self.plan.options = owned(options);
    }

    /// Adds an option, from the next restart on: `("--maxmemory", "10mb")`. The last one wins.
    pub fn add_option(&mut self, name: &str, value: &str) {
        self.plan.options.extend(owned(&[name, value]));
    }

    /// Restarts it with its data.
    pub fn restart(&mut self) {
        self.try_restart().expect("a Redis");
    }

    /// As [`restart`](Self::restart); returns its log if it doesn't start.
    pub fn try_restart(&mut self) -> Result<(), String> {
        self.restart_without_waiting();
        self.plan.wait_for(&mut self.process)
    }

    /// As [`restart`](Self::restart), without waiting until it answers.
    pub fn restart_without_waiting(&mut self) {
        self.stop();
        self.process = self.plan.launch();
    }

    /// Restarts it without its data.
    pub fn restart_without_data(&mut self) {
        self.stop();
        // Absent if it never wrote anything.
        let _ = fs::remove_dir_all(self.append_only_dir());
        self.restart();
    }

    /// Whether it has loaded its data. A server that requires a password counts.
    #[must_use]
    pub fn is_answering(&self) -> bool {
        answers(self.port()).is_ok_and(|answers| answers)
    }

    /// Whether it has ended.
    pub fn exited(&mut self) -> bool {
        self.has_exited()
    }

    /// Cuts bytes off the end of its append-only file while it is stopped, as a power failure does. Returns
    /// how many were cut.
    #[must_use]
    pub fn cut_aof_tail(&self, bytes: u64) -> u64 {
        let files = fs::read_dir(self.append_only_dir()).expect("a directory of its files");
        let newest = files
            .flatten()
            .filter_map(|file| {
                let name = file.file_name().into_string().ok()?;
                let number = name.strip_suffix(".incr.aof")?.rsplit_once('.')?.1;
                Some((number.parse::<u64>().ok()?, file.path()))
            })
            .max();
        let (_, path) = newest.expect("an incremental append-only file");
        let file = File::options()
            .write(true)
            .open(path)
            .expect("a file of Redis's");
        let length = file.metadata().expect("its length").len();
        let cut = bytes.min(length);
        file.set_len(length - cut).expect("a shorter file");
        cut
    }

    /// Cuts a torn transaction off its file while it is stopped, as an operator does after a power failure.
    /// Otherwise Redis 7.0 truncates the file within the transaction, and carries out the rest of it at its
    /// second start.
    pub fn repair_aof(&self) {
        let mut command = tool("redis-check-aof");
        command
            .arg("--fix")
            .arg(self.append_only_dir().join("appendonly.aof.manifest"));
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut run = command.spawn().expect("redis-check-aof");
        let mut answers = run.stdin.take().expect("its input");
        // It asks nothing if there is nothing to repair.
        let _ = answers.write_all(b"y\n");
        drop(answers);
        let ended = run.wait().expect("the end of redis-check-aof");
        assert!(ended.success(), "redis-check-aof: {ended}");
    }

    /// Adds `keys` keys of 1 KiB that take `delay` each to load from the next restart on, while it answers
    /// `-LOADING`. [`set_options`](Self::set_options) ends that.
    pub fn make_loading_slow(&mut self, keys: u32, delay: Duration) {
        // It answers clients after every KiB of its file: with smaller keys it wouldn't answer for many
        // delays.
        let script = "local filling = string.rep('x', 1024) \
                      for i = 1, ARGV[2] do redis.call('SET', ARGV[1] .. i, filling) end";
        let _ = self.cli(&["EVAL", script, "0", FILLER, &keys.to_string()]);
        let _ = self.cli(&["CONFIG", "SET", "rdbcompression", "no"]);
        // Only keys of the base file are slow.
        let _ = self.cli(&["BGREWRITEAOF"]);
        let patience = Duration::from_mins(1);
        let rewritten = wait_until(patience, || {
            let state = self.cli(&["INFO", "persistence"]);
            ["rewrite_in_progress:0", "rewrite_scheduled:0"]
                .iter()
                .all(|idle| state.contains(&format!("aof_{idle}")))
        });
        let state = self.cli(&["INFO", "persistence"]);
        let good = rewritten && state.contains("aof_last_bgrewrite_status:ok");
        assert!(good, "no new base file:\n{state}");
        self.add_option("--key-load-delay", &delay.as_micros().to_string());
        self.add_option("--loading-process-events-interval-bytes", "1024");
    }

    /// The output of `redis-cli` without the line end; panics on an error.
    #[must_use]
    pub fn cli(&self, args: &[&str]) -> String {
        let answer = self.try_cli(args);
        answer.unwrap_or_else(|error| panic!("redis-cli {args:?}: {error}"))
    }

    /// As [`cli`](Self::cli); returns errors.
    pub fn try_cli(&self, args: &[&str]) -> Result<String, String> {
        let mut command = tool("redis-cli");
        command
            .args(["-e", "-p", &self.port().to_string()])
            .args(args);
        let run = command.output().expect("redis-cli");
        let said = String::from_utf8_lossy(&run.stdout);
        let said = said.trim_end_matches('\n');
        if run.status.success() {
            Ok(said.to_owned())
        } else {
            let errors = String::from_utf8_lossy(&run.stderr);
            Err(format!("{said}{}", errors.trim_end_matches('\n')))
        }
    }

    /// Runs commands, one a line; quoted strings may have escapes such as `\\x00`.
    pub fn run_commands(&self, lines: &str) {
        let mut command = tool("redis-cli");
        command.args(["-e", "-p", &self.port().to_string()]);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let mut client = spawned.expect("redis-cli");
        let mut input = client.stdin.take().expect("standard input");
        input.write_all(lines.as_bytes()).expect("redis-cli reads");
        drop(input);
        let ended = client.wait().expect("the end of redis-cli");
        assert!(ended.success(), "redis-cli: {ended}");
    }

    fn append_only_dir(&self) -> PathBuf {
        self.plan.data.join("appendonlydir")
    }
}

impl Plan {
    fn launch(&self) -> Process {
        let mut command = tool("redis-server");
        command
            .current_dir(&self.data)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--appendonly", "yes", "--appendfsync", "always"])
            .args(["--save", "", "--maxmemory-policy", "noeviction"])
            .args(&self.options);
        Process::spawn(command, &self.log)
    }

    fn wait_for(&self, process: &mut Process) -> Result<(), String> {
        process.wait_for("redis-server", || {
            answers(self.port).is_ok_and(|answers| answers)
        })
    }
}

fn owned(options: &[&str]) -> Vec<String> {
    options.iter().map(|&option| option.to_owned()).collect()
}

fn answers(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(localhost(port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    Ok(answer == *b"+PONG" || answer == *b"-NOAU")
}
