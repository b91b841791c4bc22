//! A PostgreSQL server.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::geteuid;
use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::net::free_port;
use crate::process::{Process, copy_env, is_a_process};
use crate::tools::postgres_tool;

/// The user that runs the server where the tests run as root, which it refuses. Debian's `nobody`.
const USER: u32 = 65_534;

/// How long a restart may wait for the processes of the server before.
const PATIENCE: Duration = Duration::from_secs(30);

/// A PostgreSQL server with the user and the database `rigline`, without passwords.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    plan: Plan,
    /// Removes the directory; the shared server's is removed by its shell.
    home: Option<TempDir>,
}

is_a_process!(Postgres);

/// The settings of every start.
#[derive(Debug)]
struct Plan {
    port: u16,
    data: PathBuf,
    options: Vec<String>,
}

impl Postgres {
    /// Starts a server.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with settings of its own, as `name=value`.
    #[must_use]
    pub fn start_with(settings: &[&str]) -> Self {
        let home = home();
        let plan = Plan::new(home.path(), settings);
        Self::launch(home, plan)
    }

    /// Starts a server that takes connections without TLS, and with it shows the certificate `name`.
    #[must_use]
    pub fn start_with_tls(certificates: &Certificates, name: &str) -> Self {
        let home = home();
        let mut plan = Plan::new(home.path(), &["ssl=on"]);
        for (setting, file) in [
            ("ssl_cert_file", certificates.certificate(name)),
            ("ssl_key_file", certificates.key(name)),
        ] {
            // The server wants files of its own user.
            let copy = home.path().join(setting);
            fs::copy(file, &copy).expect("a copy of a file of TLS");
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).expect("permissions");
            give(&copy);
            let setting = format!("{setting}={}", copy.display());
            plan.options.extend(["-c".to_owned(), setting]);
        }
        Self::launch(home, plan)
    }

    fn launch(home: TempDir, plan: Plan) -> Self {
        let mut server = Self {
            process: Process::spawn(plan.command(), &home.path().join("log")),
            plan,
            home: Some(home),
        };
        server.wait_until_ready();
        server
    }

    /// A server for all tests of a process that need only a [table of their own](Self::table). It ends with the
    /// process.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| {
            let dir = home().keep();
            // Nobody needs its data after a crash of the machine.
            let plan = Plan::new(&dir, &["fsync=off", "max_connections=500"]);
            let process = Process::spawn_until_exit(&plan.command(), &dir.join("log"), &dir);
            let mut server = Self {
                process,
                plan,
                home: None,
            };
            server.wait_until_ready();
            server
        })
    }

    /// The name of a table that no other test of this process uses.
    #[must_use]
    pub fn table() -> String {
        static NAMED: AtomicU32 = AtomicU32::new(0);
        format!("test_{}", NAMED.fetch_add(1, Ordering::Relaxed))
    }

    /// The port on 127.0.0.1; it stays the same over restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.plan.port
    }

    /// The URL of the database, with its user.
    #[must_use]
    pub fn url(&self) -> String {
        url(self.port())
    }

    /// Restarts it with its data.
    pub fn restart(&mut self) {
        if !self.has_exited() {
            self.stop();
        }
        let home = self.home.as_ref().expect("a server that isn't shared");
        let log = home.path().join("log");
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.process = Process::spawn(self.plan.command(), &log);
            let Err(problem) = self.answers() else { return };
            // The processes of a killed server end soon after it.
            let is_early = problem.contains("is still in use");
            assert!(
                is_early && Instant::now() < deadline,
                "PostgreSQL: {problem}"
            );
            sleep(Duration::from_millis(100));
        }
    }

    /// Runs a statement, and returns the rows' values as text: columns separated by `|`, rows by lines.
    #[must_use]
    pub fn query(&self, sql: &str) -> String {
        let mut command = postgres_tool("psql");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d"]);
        let output = command.arg(self.url()).args(["-c", sql]).output();
        let output = output.expect("psql");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {errors}");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    fn wait_until_ready(&mut self) {
        self.answers().expect("a PostgreSQL server");
    }

    fn answers(&mut self) -> Result<(), String> {
        let url = url(self.plan.port);
        let answers = || {
            let mut command = postgres_tool("pg_isready");
            let output = command.args(["-q", "-d", &url]).status();
            output.is_ok_and(|status| status.success())
        };
        self.process.wait_for("the server", answers)
    }
}

impl Plan {
    fn new(home: &Path, settings: &[&str]) -> Self {
        let data = home.join("data");
        let mut initdb = as_user(postgres_tool("initdb"));
        initdb.args(["--no-sync", "--auth=trust", "--username=rigline"]);
        initdb.args(["--encoding=UTF8", "--locale=C.UTF-8", "-D"]);
        let made = initdb.arg(&data).output().expect("initdb");
        let errors = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "initdb: {errors}");
        let port = free_port();
        let always = [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
            "unix_socket_directories=".to_owned(),
        ];
        let settings = settings.iter().map(|setting| (*setting).to_owned());
        let settings = always.into_iter().chain(settings);
        Self {
            port,
            data,
            options: settings.flat_map(|it| ["-c".to_owned(), it]).collect(),
        }
    }

    fn command(&self) -> Command {
        let mut command = as_user(postgres_tool("postgres"));
        command.arg("-D").arg(&self.data).args(&self.options);
        command
    }
}

fn url(port: u16) -> String {
    // `initdb` makes this database.
    format!("postgres://rigline@127.0.0.1:{port}/postgres")
}

/// A directory that the server's user may write to.
fn home() -> TempDir {
    let home = TempDir::with_prefix("postgres-").expect("a temporary directory");
    give(home.path());
    home
}

/// Makes the server's user the owner.
fn give(path: &Path) {
    if geteuid().is_root() {
        chown(path, Some(USER), Some(USER)).expect("another owner");
    }
}

/// The same command as another user, where this one is root.
fn as_user(command: Command) -> Command {
    if !geteuid().is_root() {
        return command;
    }
    let mut changed = Command::new("setpriv");
    changed
        .args([
            format!("--reuid={USER}"),
            format!("--regid={USER}"),
            "--clear-groups".to_owned(),
        ])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir("/");
    copy_env(&command, &mut changed);
    changed
}
