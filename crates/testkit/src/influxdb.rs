//! An InfluxDB 2 server.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::http::{exchange, http_get};
use crate::net::{free_port, localhost};
use crate::process::{Process, is_a_process};
use crate::tools::influxdb_tool;

/// The user of a server's setup.
pub const USER: &str = "admin";
/// The organisation of a server's setup.
pub const ORG: &str = "my-org";
/// The bucket of a server's setup.
pub const BUCKET: &str = "rigs";
/// The operator token of a server's setup.
pub const TOKEN: &str = "operator-token-of-the-tests";

/// The timeout of a request: longer than a query over all rows of a test.
const LIMIT: Duration = Duration::from_mins(1);

/// An InfluxDB 2 server.
#[derive(Debug)]
pub struct InfluxDb {
    process: Process,
    port: u16,
    dir: PathBuf,
    /// Removes the directory; the shared server's is removed by its shell.
    _home: Option<TempDir>,
}

is_a_process!(InfluxDb);

/// One value of one field.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The measurement.
    pub measurement: String,
    /// The tags.
    pub tags: BTreeMap<String, String>,
    /// Nanoseconds since 1970.
    pub nanos: i64,
    /// The field.
    pub field: String,
    /// The value of the field.
    pub value: f64,
}

impl InfluxDb {
    /// Starts a server and sets it up with [`USER`], [`ORG`], [`BUCKET`] and [`TOKEN`].
    #[must_use]
    pub fn start() -> Self {
        let server = Self::start_empty();
        server.set_up();
        server
    }

    /// Starts a server without setup.
    #[must_use]
    pub fn start_empty() -> Self {
        let home = TempDir::with_prefix("influxdb-").expect("a temporary directory");
        let (dir, port) = (home.path().to_owned(), free_port());
        let mut server = Self {
            process: launch(&dir, port),
            port,
            dir,
            _home: Some(home),
        };
        server.wait_until_ready();
        server
    }

    /// A server for all tests of a process that need only a [separate bucket](Self::create_bucket). It ends
    /// with the process.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<InfluxDb> = OnceLock::new();
        SHARED.get_or_init(|| {
            let home = TempDir::with_prefix("influxdb-").expect("a temporary directory");
            let (dir, port) = (home.keep(), free_port());
            let mut server = Self {
                process: Process::spawn_until_exit(&influxd(&dir, port), &dir.join("log"), &dir),
                port,
                dir,
                _home: None,
            };
            server.wait_until_ready();
            server.set_up();
            server
        })
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

    /// Restarts it with its data.
    pub fn restart(&mut self) {
        self.stop();
        self.process = launch(&self.dir, self.port);
        self.wait_until_ready();
    }

    /// Restarts it with its data at https, with the certificate `influxdb`. What asks it for something needs
    /// another [`restart`](Self::restart).
    pub fn restart_with_tls(&mut self, made: &Certificates) {
        self.stop();
        let mut command = influxd(&self.dir, self.port);
        command.arg("--tls-cert").arg(made.certificate("influxdb"));
        command.arg("--tls-key").arg(made.key("influxdb"));
        self.process = Process::spawn(command, &self.dir.join("log"));
        let address = localhost(self.port);
        let ready = self
            .process
            .wait_for("influxd", || TcpStream::connect(address).is_ok());
        ready.expect("an InfluxDB");
    }

    /// Creates a bucket that no other test uses; rows are kept for `retention`, or forever.
    #[must_use]
    pub fn create_bucket(&self, retention: Option<Duration>) -> String {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("bucket-{}", MADE.fetch_add(1, Ordering::Relaxed));
        let rules = expire_after(retention);
        let body = json!({ "orgID": self.org_id(), "name": name, "retentionRules": rules });
        let (status, answer) = self.ask("POST", "/api/v2/buckets", &body);
        assert_eq!(status, 201, "{answer}");
        name
    }

    /// Creates a token that permits `action` (`read` or `write`) on this bucket only.
    #[must_use]
    pub fn create_token(&self, action: &str, bucket: &str) -> String {
        let (org, id) = (self.org_id(), self.bucket_id(bucket));
        let resource = json!({ "type": "buckets", "orgID": org, "id": id });
        let permissions = json!([{ "action": action, "resource": resource }]);
        let body = json!({ "orgID": org, "permissions": permissions });
        let (status, answer) = self.ask("POST", "/api/v2/authorizations", &body);
        assert_eq!(status, 201, "{answer}");
        answer["token"].as_str().expect("a token").to_owned()
    }

    /// Sends a request to the API with [`TOKEN`] and returns status and JSON; `Value::Null` is no body.
    #[must_use]
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.ask_as(&format!("Token {TOKEN}"), method, path, body)
    }

    /// As [`ask`](Self::ask), with another `Authorization` header.
    #[must_use]
    pub fn ask_as(
        &self,
        authorization: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> (u16, Value) {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let headers = [
            ("Authorization", authorization),
            ("Content-Type", "application/json"),
        ];
        let (status, text) = self.exchange((method, path), &headers, body.as_bytes());
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    /// The array `name` in the response to `GET path`.
    #[must_use]
    pub fn list(&self, path: &str, name: &str) -> Vec<Value> {
        let (status, answer) = self.ask("GET", path, &Value::Null);
        assert_eq!(status, 200, "GET {path}: {answer}");
        answer[name].as_array().cloned().unwrap_or_default()
    }

    /// Writes lines with times in nanoseconds.
    pub fn write(&self, bucket: &str, lines: &str) {
        let path = format!("/api/v2/write?org={ORG}&bucket={bucket}");
        let headers = [("Authorization", &*format!("Token {TOKEN}"))];
        let (status, answer) = self.exchange(("POST", &path), &headers, lines.as_bytes());
        assert_eq!(status, 204, "{answer}");
    }

    /// The rows of a Flux query: each column's value by its name.
    #[must_use]
    pub fn query(&self, flux: &str) -> Vec<BTreeMap<String, String>> {
        self.query_in(ORG, flux)
    }

    fn query_in(&self, org: &str, flux: &str) -> Vec<BTreeMap<String, String>> {
        let path = format!("/api/v2/query?org={org}");
        let headers = [
            ("Authorization", &*format!("Token {TOKEN}")),
            ("Content-Type", "application/vnd.flux"),
            ("Accept", "application/csv"),
        ];
        let (status, text) = self.exchange(("POST", &path), &headers, flux.as_bytes());
        assert_eq!(status, 200, "{flux}: {text}");
        rows_of(&text)
    }

    /// All values in a bucket.
    #[must_use]
    pub fn points(&self, bucket: &str) -> Vec<Point> {
        self.points_in(ORG, bucket)
    }

    /// All values in a bucket of this organisation.
    #[must_use]
    pub fn points_in(&self, org: &str, bucket: &str) -> Vec<Point> {
        let all = "range(start: time(v: -9223372036854775806), stop: time(v: 9223372036854775806))";
        let flux =
            format!("from(bucket: {bucket:?}) |> {all} |> drop(columns: [\"_start\", \"_stop\"])");
        self.query_in(org, &flux).into_iter().map(point).collect()
    }

    /// All values that were ever written to a measurement, including overwritten ones, in the order of the
    /// writes. Measurements and tags must not have spaces or commas in their names.
    #[must_use]
    pub fn written(&self, measurement: &str) -> Vec<Point> {
        let mut logs = Vec::new();
        find_logs(&self.dir.join("engine/wal"), &mut logs);
        logs.sort();
        let mut command = influxdb_tool("influxd");
        let dump = command.args(["inspect", "dump-wal"]).args(&logs).output();
        // It dumps to its error output.
        let dump = dump.expect("influxd inspect dump-wal");
        assert!(dump.status.success(), "{dump:?}");
        let points = String::from_utf8(dump.stderr).expect("UTF-8");
        let points = points.lines().filter_map(logged_point);
        points
            .filter(|point| point.measurement == measurement)
            .collect()
    }

    /// Whether the user can sign in with this password.
    #[must_use]
    pub fn accepts_password(&self, user: &str, password: &str) -> bool {
        let both = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let authorization = format!("Basic {both}");
        let (status, _) = self.ask_as(&authorization, "POST", "/api/v2/signin", &Value::Null);
        assert!(matches!(status, 204 | 401), "{status}");
        status == 204
    }

    /// Sets how long a bucket keeps its rows; `None` is forever.
    pub fn keep_rows(&self, bucket: &str, retention: Option<Duration>) {
        let id = self.bucket_id(bucket);
        let path = format!("/api/v2/buckets/{}", id.as_str().expect("an id"));
        let body = json!({ "retentionRules": expire_after(retention) });
        let (status, answer) = self.ask("PATCH", &path, &body);
        assert_eq!(status, 200, "{answer}");
    }

    fn set_up(&self) {
        let body = json!({
            "username": USER, "password": "password", "org": ORG, "bucket": BUCKET, "token": TOKEN,
        });
        let (status, answer) = self.ask("POST", "/api/v2/setup", &body);
        assert_eq!(status, 201, "{answer}");
    }

    fn org_id(&self) -> Value {
        self.list(&format!("/api/v2/orgs?org={ORG}"), "orgs")[0]["id"].clone()
    }

    fn bucket_id(&self, name: &str) -> Value {
        self.list(&format!("/api/v2/buckets?name={name}"), "buckets")[0]["id"].clone()
    }

    fn exchange(
        &self,
        request: (&str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (u16, String) {
        let answer = exchange(localhost(self.port), request, headers, body, LIMIT);
        let answer = answer.unwrap_or_else(|error| panic!("{request:?}: {error}"));
        (answer.status, answer.body)
    }

    fn wait_until_ready(&mut self) {
        let port = self.port;
        let ready = self.process.wait_for("influxd", || {
            http_get(port, "/health").is_ok_and(|(status, _)| status == 200)
        });
        ready.expect("an InfluxDB");
    }
}

fn launch(dir: &Path, port: u16) -> Process {
    Process::spawn(influxd(dir, port), &dir.join("log"))
}

fn influxd(dir: &Path, port: u16) -> std::process::Command {
    let mut command = influxdb_tool("influxd");
    command
        .args(["--http-bind-address", &format!("127.0.0.1:{port}")])
        .args([Path::new("--bolt-path"), &dir.join("bolt")])
        .args([Path::new("--sqlite-path"), &dir.join("sqlite")])
        .args([Path::new("--engine-path"), &dir.join("engine")])
        .args(["--reporting-disabled", "--log-level", "error"])
        // The write-ahead log is complete as long as the cache isn't written to files.
        .args(["--storage-cache-snapshot-memory-size", "800000000"])
        .args(["--storage-cache-snapshot-write-cold-duration", "24h"]);
    command
}

fn expire_after(retention: Option<Duration>) -> Value {
    let seconds = retention.map_or(0, |retention| retention.as_secs());
    json!([{ "type": "expire", "everySeconds": seconds }])
}

/// The rows of all tables of a response, each with its table's header.
fn rows_of(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let (mut header, mut rows) = (csv::StringRecord::new(), Vec::new());
    for record in reader.records() {
        let record = record.expect("CSV");
        if matches!(record.get(1), Some("result" | "error")) {
            header = record;
            continue;
        }
        // The error of a query that fails late is in a table, with a status of success.
        assert_ne!(header.get(1), Some("error"), "{record:?}");
        let pairs = header.iter().zip(record.iter()).skip(1);
        rows.push(pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).collect());
    }
    rows
}

fn point(mut row: BTreeMap<String, String>) -> Point {
    let mut take = |name: &str| {
        let value = row.remove(name);
        value.unwrap_or_else(|| panic!("no column {name} beside {row:?}"))
    };
    for own in ["result", "table"] {
        let _ = take(own);
    }
    let (time, value) = (take("_time"), take("_value"));
    let time = chrono::DateTime::parse_from_rfc3339(&time).expect("a time");
    let (measurement, field) = (take("_measurement"), take("_field"));
    Point {
        nanos: time.timestamp_nanos_opt().expect("nanoseconds"),
        value: value.parse().expect("a number"),
        measurement,
        field,
        tags: row,
    }
}

/// The write-ahead logs below a directory.
fn find_logs(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("the directory of the logs") {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            find_logs(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "wal") {
            found.push(path);
        }
    }
}

/// Parses a line of a dump; `None` if it has no floating-point value: `m,tag=value#!~#field 1.5 42`.
fn logged_point(line: &str) -> Option<Point> {
    let mut words = line.rsplitn(3, ' ');
    let (nanos, value) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (series, field) = words.next()?.split_once("#!~#")?;
    let mut parts = series.split(',');
    let measurement = parts.next()?.to_owned();
    let tags = parts.filter_map(|tag| tag.split_once('='));
    Some(Point {
        measurement,
        tags: tags.map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
        nanos,
        field: field.to_owned(),
        value,
    })
}
