//! A server that isn't set up, a proxy in front of it, and a directory for secrets.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use testkit::{InfluxDb, InfluxProxy, Launch, StageProcess};

use super::state::{Api, State, names, retention};
use crate::fixture::binary;

/// The organisation that `init` creates.
const ORG: &str = "my-org";

/// An InfluxDB with a proxy in front of it, and a directory for secrets.
pub struct Site {
    pub server: InfluxDb,
    pub proxy: InfluxProxy,
    dir: TempDir,
}

impl Site {
    pub fn new() -> Self {
        Self::in_dir(TempDir::with_prefix("init-").unwrap())
    }

    fn in_dir(dir: TempDir) -> Self {
        let server = InfluxDb::start_empty();
        let proxy = InfluxProxy::in_front_of(server.port());
        Self { server, proxy, dir }
    }

    /// A new server that isn't set up, with the same secrets.
    pub fn without_data(self) -> Self {
        Self::in_dir(self.dir)
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
    pub fn start(&self) -> StageProcess {
        Launch::binary(binary())
            .args(&["init"])
            .envs(&self.env())
            .spawn()
    }

    fn env(&self) -> [(&'static str, String); 2] {
        let secrets = self.path("").display().to_string();
        [("INFLUX_URL", self.proxy.url()), ("SECRETS_DIR", secrets)]
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
            "api/influx-token",
            "notebook/influx-token",
        ];
        names.map(|name| self.read(name)).to_vec()
    }

    /// All files: name, content, inode and time of the last change.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>, u64, i64)> {
        let mut found = Vec::new();
        collect(&self.path(""), &mut found);
        found.sort();
        found
    }

    /// The server's API, with the stored operator token.
    pub fn api(&self) -> Api<'_> {
        self.api_of(&self.read("admin/influx-token"))
    }

    /// The server's API, with this token.
    pub fn api_of(&self, token: &str) -> Api<'_> {
        Api {
            server: &self.server,
            token: token.to_owned(),
        }
    }

    /// The server's state.
    pub fn state(&self) -> State {
        self.api().state()
    }

    /// Whether the token in this file may write to the bucket, and whether it may read from it.
    pub fn rights(&self, name: &str, org: &str, bucket: &str) -> (bool, bool) {
        let api = self.api_of(&self.read(name));
        (api.may_write(org, bucket), api.may_read(org, bucket))
    }

    /// Asserts one token of each kind with exactly its permission, and no duplicates.
    pub fn assert_good(&self) {
        let requests = self.proxy.requests();
        // Only an operator token can read all of this.
        let state = self.state();
        assert_eq!(names(&state.users), ["admin"], "{requests:?}");
        assert_eq!(names(&state.organisations), [ORG], "{requests:?}");
        assert_eq!(names(&state.buckets), ["rigs"], "{requests:?}");
        assert_eq!(retention(&state.buckets[0]), 2_592_000);
        let password = self.read("admin/influx-password");
        assert!(self.server.accepts_password("admin", &password));
        let sink = self.rights("sink/influx-token", ORG, "rigs");
        assert_eq!(sink, (true, false), "write and read");
        for reader in ["api/influx-token", "notebook/influx-token"] {
            let rights = self.rights(reader, ORG, "rigs");
            assert_eq!(rights, (false, true), "write and read of {reader}");
        }
        assert_eq!(state.tokens.len(), 4, "{:?}\n{requests:?}", state.tokens);
        assert_eq!(names(&state.dashboards), ["Rigs"], "{requests:?}");
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

/// The requests that create or change something.
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
