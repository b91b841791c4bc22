//! A VictoriaMetrics server: it takes InfluxDB's line protocol at `/api/v2/write`.

use std::path::Path;

use tempfile::TempDir;

use crate::http::http_get;
use crate::net::free_port;
use crate::process::{Process, is_a_process};
use crate::tools::tool;

/// A VictoriaMetrics server.
#[derive(Debug)]
pub struct VictoriaMetrics {
    process: Process,
    dir: TempDir,
    port: u16,
}

is_a_process!(VictoriaMetrics);

impl VictoriaMetrics {
    /// Starts one that keeps everything, repeated points too.
    #[must_use]
    pub fn start() -> Self {
        let dir = TempDir::with_prefix("victoria-metrics-").expect("a temporary directory");
        let port = free_port();
        let process = run(dir.path(), port);
        Self { process, dir, port }
    }

    /// The port on 127.0.0.1; it stays the same over restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its base URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The body of a GET of `path`, which may have a query; fails unless the status is 200.
    #[must_use]
    pub fn get(&self, path: &str) -> String {
        let (status, body) = http_get(self.port, path).expect("an answer of victoria-metrics");
        assert_eq!(status, 200, "GET {path}: {body}");
        body
    }

    /// Starts again with the data of before, after stopping it if it still runs.
    pub fn restart(&mut self) {
        self.stop();
        self.process = run(self.dir.path(), self.port);
    }
}

fn run(dir: &Path, port: u16) -> Process {
    let mut command = tool("victoria-metrics");
    command
        .arg(format!("-storageDataPath={}", dir.join("data").display()))
        .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
        .args(["-retentionPeriod=100y", "-loggerLevel=ERROR"]);
    let mut process = Process::spawn(command, &dir.join("log"));
    let up = process.wait_for("victoria-metrics", || {
        http_get(port, "/health").is_ok_and(|(status, _)| status == 200)
    });
    up.expect("a store");
    process
}
