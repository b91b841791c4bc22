//! A server that speaks MongoDB's protocol: FerretDB, whose data is in SQLite files.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::net::{free_port, localhost};
use crate::process::{Process, is_a_process};
use crate::tools::mongodb_tool;

/// A server that speaks MongoDB's protocol, without users and passwords.
#[derive(Debug)]
pub struct MongoDb {
    process: Process,
    plan: Plan,
    /// Removes the directory; the shared server's is removed by its shell.
    home: Option<TempDir>,
}

is_a_process!(MongoDb);

/// The settings of every start.
#[derive(Debug)]
struct Plan {
    port: u16,
    options: Vec<String>,
}

impl MongoDb {
    /// Starts a server.
    #[must_use]
    pub fn start() -> Self {
        let port = free_port();
        Self::start_with(port, vec!["-listen".into(), localhost(port).to_string()])
    }

    /// Starts a server that speaks only TLS, with the certificate `name`, and requires a certificate of the same
    /// authority.
    #[must_use]
    pub fn start_with_tls(certificates: &Certificates, name: &str) -> Self {
        let port = free_port();
        let path = |path: &Path| path.display().to_string();
        let (cert, key) = (certificates.certificate(name), certificates.key(name));
        let options = [
            ("-listen", String::new()),
            ("-tls-listen", localhost(port).to_string()),
            ("-cert", path(&cert)),
            ("-key", path(&key)),
            ("-ca", path(&certificates.ca())),
        ];
        let options = options.map(|(name, value)| [name.to_owned(), value]);
        Self::start_with(port, options.concat())
    }

    fn start_with(port: u16, mut options: Vec<String>) -> Self {
        let home = TempDir::with_prefix("mongodb-").expect("a temporary directory");
        options.extend(["-dir".to_owned(), home.path().display().to_string()]);
        let plan = Plan { port, options };
        let mut server = Self {
            process: plan.launch(home.path()),
            plan,
            home: Some(home),
        };
        server.wait_until_ready();
        server
    }

    /// A server for all tests of a process that need only a [database of their own](Self::database). It ends with
    /// the process.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<MongoDb> = OnceLock::new();
        SHARED.get_or_init(|| {
            let home = TempDir::with_prefix("mongodb-").expect("a temporary directory");
            let (dir, port) = (home.keep(), free_port());
            let options = ["-listen", &localhost(port).to_string(), "-dir"].map(str::to_owned);
            let mut plan = Plan {
                port,
                options: options.to_vec(),
            };
            plan.options.push(dir.display().to_string());
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

    /// The name of a database that no other test of this process uses.
    #[must_use]
    pub fn database() -> String {
        static NAMED: AtomicU32 = AtomicU32::new(0);
        format!("test_{}", NAMED.fetch_add(1, Ordering::Relaxed))
    }

    /// The port on 127.0.0.1; it stays the same over restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.plan.port
    }

    /// Its URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mongodb://127.0.0.1:{}", self.port())
    }

    /// Restarts it with its data.
    pub fn restart(&mut self) {
        self.stop();
        let home = self.home.as_ref().expect("a server that isn't shared");
        self.process = self.plan.launch(home.path());
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let port = self.plan.port;
        let answers = || TcpStream::connect(localhost(port)).is_ok();
        let ready = self.process.wait_for("the server", answers);
        ready.expect("a server that speaks MongoDB's protocol");
    }
}

impl Plan {
    fn command(&self) -> Command {
        let mut command = mongodb_tool();
        command.args(&self.options);
        command
    }

    fn launch(&self, home: &Path) -> Process {
        Process::spawn(self.command(), &home.join("log"))
    }
}
