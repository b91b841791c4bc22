//! The ingester as a process, with devices that send over HTTP.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Answer, Launch, Redis, StageProcess, free_port, http_request, wait_until};

const SOON: Duration = Duration::from_secs(30);
const PATH: &str = "/rooms/bath/climate";
const FILE: &str = r#"
name = "rooms"
[source]
kind = "http"
path = "/rooms/{room}/climate"
[message]
fields = { number = "/number" }
"#;

/// A directory with the pipeline's file, Redis, and the port of the ingesters.
struct Deployment {
    redis: Redis,
    dir: tempfile::TempDir,
    port: u16,
}

impl Deployment {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("rooms.toml"), FILE).unwrap();
        Self {
            redis: Redis::start(),
            dir,
            port: free_port(),
        }
    }

    fn launch(&self, port: u16) -> Launch {
        let file = self.dir.path().join("rooms.toml");
        Launch::binary(Path::new(env!("CARGO_BIN_EXE_ingester")))
            .env("PIPELINES", &file.display().to_string())
            .env("HTTP_ADDR", &format!("127.0.0.1:{port}"))
            .env("REDIS_HOST", "127.0.0.1")
            .env("REDIS_PORT", &self.redis.port().to_string())
            .env("LEASE", "1s")
    }

    fn start(&self) -> StageProcess {
        let stage = self.launch(self.port).spawn();
        assert!(stage.ready(SOON), "{}", stage.logs());
        stage
    }

    /// The elements of the raw list, the oldest first.
    fn elements(&self) -> Vec<Value> {
        let list = self.redis.cli(&["LRANGE", "rooms:raw_events", "0", "-1"]);
        let lines = list.lines().filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn numbers(&self) -> Vec<u64> {
        let elements = self.elements().into_iter();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "they were made of integers"
        )]
        let number = |it: Value| it["values"]["number"].as_f64().unwrap() as u64;
        elements.map(number).collect()
    }
}

fn post(port: u16, body: &str) -> std::io::Result<Answer> {
    let kind = [("Content-Type", "application/x-ndjson")];
    http_request(port, ("POST", PATH), &kind, body.as_bytes(), SOON)
}

fn lines(numbers: std::ops::Range<u64>) -> String {
    let lines = numbers.map(|number| json!({ "number": number }).to_string());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn request_is_answered_when_its_messages_are_in_the_list_or_dead_letters() {
    let deployment = Deployment::new();
    let mut stage = deployment.start();
    let answer = post(deployment.port, &lines(0..1_000)).unwrap();
    assert_eq!(answer.status, 204, "{} {}", answer.body, stage.logs());
    assert!(deployment.numbers().into_iter().eq(0..1_000));
    let first = &deployment.elements()[0];
    let series = first["series"].as_str().map(str::to_owned);
    let tags = series.unwrap_or_else(|| first["tags"].to_string());
    assert_eq!(tags, r#"{"room":"bath"}"#, "{first}");
    let answer = post(deployment.port, "{\"number\": 7}\n{\"number\": \"x\"}\n{").unwrap();
    assert_eq!(answer.status, 422, "{}", answer.body);
    let problem: Value = serde_json::from_str(&answer.body).unwrap();
    let errors = problem["errors"].as_array().unwrap();
    let named: Vec<_> = errors
        .iter()
        .map(|it| (&it["line"], &it["reason"]))
        .collect();
    assert_eq!(
        named,
        [
            (&json!(2), &json!("bad_value")),
            (&json!(3), &json!("not_json"))
        ],
        "{problem}"
    );
    assert_eq!(deployment.numbers().len(), 1_001);
    let dead = deployment.redis.cli(&["LLEN", "rooms:dead_letters"]);
    assert_eq!(dead, "2");
    let health = stage.get("/readyz");
    assert!(health.contains("\"http\""), "{health}");
    stage.terminate();
    assert!(stage.wait_exit(SOON).is_some_and(|ended| ended.success()));
}

#[test]
fn device_that_repeats_its_requests_loses_nothing_when_the_ingester_is_killed() {
    let deployment = Deployment::new();
    let mut stage = deployment.start();
    let port = deployment.port;
    let device = std::thread::spawn(move || {
        for batch in 0..300 {
            let body = lines(batch * 10..batch * 10 + 10);
            while !post(port, &body).is_ok_and(|answer| answer.status == 204) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    });
    for kill in 1..=5 {
        let taken = || deployment.numbers().len() >= kill * 300;
        assert!(wait_until(SOON, taken), "{}", stage.logs());
        stage.kill();
        stage = deployment.start();
    }
    device.join().unwrap();
    let numbers: BTreeSet<_> = deployment.numbers().into_iter().collect();
    assert!(numbers.into_iter().eq(0..3_000));
}

#[test]
fn full_list_is_503_and_the_standby_refuses_at_once() {
    let deployment = Deployment::new();
    let stage = deployment.launch(deployment.port).env("QUEUE_LIMIT", "100");
    let mut stage = stage.spawn();
    assert!(stage.ready(SOON), "{}", stage.logs());
    let other = free_port();
    let standby = deployment.launch(other).spawn();
    assert!(standby.ready(SOON), "{}", standby.logs());
    let refused = post(other, &lines(0..1)).unwrap();
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.body.contains("lease"), "{}", refused.body);
    // The append that reaches the limit is the last one.
    assert_eq!(post(deployment.port, &lines(0..100)).unwrap().status, 204);
    let full = post(deployment.port, &lines(100..110)).unwrap();
    assert_eq!(full.status, 503, "{}", full.body);
    assert_eq!(full.header("retry-after"), "5");
    let trimmed = deployment.redis.cli(&["DEL", "rooms:raw_events"]);
    assert_eq!(trimmed, "1");
    let taken = || post(deployment.port, &lines(100..110)).is_ok_and(|it| it.status == 204);
    assert!(wait_until(SOON, taken), "{}", stage.logs());
    stage.terminate();
    // The standby takes over.
    let taken = || post(other, &lines(110..120)).is_ok_and(|it| it.status == 204);
    assert!(wait_until(SOON, taken), "{}", standby.logs());
    let numbers: BTreeSet<_> = deployment.numbers().into_iter().collect();
    assert!(numbers.into_iter().eq(100..120));
}

#[test]
fn address_of_other_machines_needs_a_token() {
    let deployment = Deployment::new();
    let stage = deployment.launch(0).env("HTTP_ADDR", "0.0.0.0:8070");
    let mut stage = stage.spawn();
    let ended = stage.wait_exit(SOON);
    assert_eq!(ended.and_then(|ended| ended.code()), Some(64));
    assert!(stage.logs().contains("HTTP_TOKEN"), "{}", stage.logs());
}
