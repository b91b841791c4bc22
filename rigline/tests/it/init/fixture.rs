//! A server that nobody has set up, and a directory for secrets.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use testkit::influx_setup::InfluxSetupServer;
use testkit::{Launch, Stage};

use crate::fixture::binary;

pub struct Site {
    pub server: InfluxSetupServer,
    dir: TempDir,
}

impl Site {
    pub fn new() -> Self {
        Self {
            server: InfluxSetupServer::start(),
            dir: TempDir::with_prefix("init-").unwrap(),
        }
    }

    /// Runs `rigline init` to its end.
    pub fn init(&self, env: &[(&str, &str)]) -> Output {
        self.run("init", env)
    }

    /// Runs a command to its end.
    pub fn run(&self, command: &str, env: &[(&str, &str)]) -> Output {
        let mut process = Command::new(binary());
        process
            .arg(command)
            .env_clear()
            .envs(self.env())
            .envs(env.iter().copied())
            .stdin(Stdio::null());
        process.output().unwrap()
    }

    /// Starts `rigline init`.
    pub fn start(&self) -> Stage {
        Launch::binary(binary())
            .args(&["init"])
            .envs(&self.env())
            .spawn()
    }

    fn env(&self) -> [(&'static str, String); 2] {
        let secrets = self.path("").display().to_string();
        [("INFLUX_URL", self.server.url()), ("SECRETS_DIR", secrets)]
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("secrets").join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn all_secrets(&self) -> Vec<String> {
        let names = [
            "admin/influx-token",
            "admin/influx-password",
            "admin/jupyter-token",
            "sink/influx-token",
            "notebook/influx-token",
        ];
        names.map(|name| self.read(name)).to_vec()
    }

    /// Every file: name, content, number, and when it was last changed.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>, u64, i64)> {
        let mut found = Vec::new();
        collect(&self.path(""), &mut found);
        found.sort();
        found
    }

    /// One token of each kind that may do what it should and nothing else, and nothing twice.
    pub fn assert_good(&self) {
        let state = self.server.state();
        let requests = self.server.requests();
        assert_eq!(state.users.len(), 1, "{requests:?}");
        assert_eq!(state.organisations.len(), 1, "{requests:?}");
        assert_eq!(state.organisations[0].name, "my-org");
        assert_eq!(state.buckets.len(), 1, "{requests:?}");
        let bucket = &state.buckets[0];
        assert_eq!((bucket.name.as_str(), bucket.seconds), ("rigs", 2_592_000));
        assert_eq!(state.users[0].password, self.read("admin/influx-password"));
        let operator = state.token(&self.read("admin/influx-token")).unwrap();
        assert_eq!(operator.permissions, None);
        let sink = self.read("sink/influx-token");
        assert!(state.may(&sink, "write", "rigs") && !state.may(&sink, "read", "rigs"));
        let notebook = self.read("notebook/influx-token");
        assert!(state.may(&notebook, "read", "rigs") && !state.may(&notebook, "write", "rigs"));
        assert_eq!(state.tokens.len(), 3, "{:?}\n{requests:?}", state.tokens);
        let names: Vec<_> = state.dashboards.iter().map(|d| d.name.as_str()).collect();
        assert_eq!(names, ["Rigs"], "{requests:?}");
        for (path, ..) in self.files() {
            let mode = path.metadata().unwrap().permissions().mode() & 0o777;
            let wanted = if path.ends_with("admin/lock") {
                0o600
            } else {
                0o400
            };
            assert_eq!(mode, wanted, "{}", path.display());
        }
    }
}

/// Those of the requests that make or change something.
pub fn creating(requests: &[String]) -> Vec<String> {
    let harmless = ["POST /api/v2/write", "POST /api/v2/query"];
    let is_creating =
        |request: &&String| !request.starts_with("GET ") && !harmless.contains(&request.as_str());
    requests.iter().filter(is_creating).cloned().collect()
}

fn collect(dir: &Path, found: &mut Vec<(PathBuf, Vec<u8>, u64, i64)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
            continue;
        }
        let about = path.metadata().unwrap();
        let changed = about.mtime() * 1_000_000_000 + about.mtime_nsec();
        found.push((path.clone(), fs::read(&path).unwrap(), about.ino(), changed));
    }
}
