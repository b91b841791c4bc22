//! System 4: items of two files are rows of PostgreSQL, each once, whatever is killed meanwhile, and the report names the
//! parameters that are known to follow production.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use queue::Queue;
use queue::ledger::{Counter, Ledger};
use queue::redis::RedisQueue;
use queue::testing::{assert_exact, redis_settings, settings};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Launch, Postgres, Redis, StageProcess, free_port, http_get, stage_binary};

const SOON: Duration = Duration::from_mins(2);
const PIPELINES: [&str; 2] = ["metrics", "workorders"];
const STAGES: [&str; 3] = ["ingester", "transformer", "sink"];

/// The servers and processes of the system.
struct System {
    dir: TempDir,
    redis: Redis,
    postgres: Postgres,
    feed_port: u16,
    feed: StageProcess,
    stages: Vec<StageProcess>,
}

impl System {
    /// Starts everything for files that are in `dir` already.
    fn start(dir: TempDir, interval: &str) -> Self {
        let (redis, postgres, feed_port) = (Redis::start(), Postgres::start(), free_port());
        let feed = start_feed(dir.path(), feed_port, interval);
        let mut system = Self {
            dir,
            redis,
            postgres,
            feed_port,
            feed,
            stages: Vec::new(),
        };
        for stage in STAGES {
            system.stages.push(system.stage(stage));
        }
        system
    }

    fn env(&self) -> Vec<(&'static str, String)> {
        let feed = |name: &str| format!("http://127.0.0.1:{}/{name}", self.feed_port);
        vec![
            ("PIPELINES", PIPELINES.join(",")),
            ("METRICS_URL", feed("metrics")),
            ("WORKORDERS_URL", feed("workorders")),
            ("REDIS_HOST", "127.0.0.1".to_owned()),
            ("REDIS_PORT", self.redis.port().to_string()),
            ("POSTGRES_HOST", "127.0.0.1".to_owned()),
            ("POSTGRES_PORT", self.postgres.port().to_string()),
            ("POSTGRES_DB", "postgres".to_owned()),
            // A killed stage's lease ends soon.
            ("LEASE", "2s".to_owned()),
            // So that a kill falls between batches.
            ("BATCH", "100".to_owned()),
        ]
    }

    fn stage(&self, name: &str) -> StageProcess {
        Launch::stage(name).envs(&self.env()).spawn()
    }

    async fn ledger(&self, pipeline: &str) -> Ledger {
        let settings = settings().of_pipeline(pipeline);
        let queue = RedisQueue::new(&settings, &redis_settings(self.redis.port()));
        queue.unwrap().snapshot().await.unwrap().ledger
    }

    /// Waits until this many items have become rows, or something else.
    async fn wait_for(&self, pipeline: &str, items: i64) -> Ledger {
        let started = Instant::now();
        loop {
            // It can't be read while Redis starts.
            let ledger = self.ledger(pipeline).await;
            if taken(&ledger) >= items && ledger.raw == 0 && ledger.normalized == 0 {
                return ledger;
            }
            let is_early = started.elapsed() < SOON;
            assert!(is_early, "{pipeline}: {ledger:#?}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn logs(&self) -> String {
        let stages = self.stages.iter();
        let logs = stages.chain([&self.feed]).map(|process| process.logs());
        logs.collect::<Vec<_>>().join("\n")
    }

    /// Rows of a table, ordered, as text.
    fn rows(&self, id: &str, value: &str, table: &str) -> Vec<String> {
        let sql = format!(
            "SELECT {id}, extract(epoch FROM time)::bigint, {value}::text FROM {table} ORDER BY 1, 2"
        );
        let rows = self.postgres.query(&sql);
        rows.lines().map(str::to_owned).collect()
    }

    /// Makes a report; the pages, and what it printed.
    fn report(&self, from: &[&str]) -> (Output, Value) {
        let out = TempDir::new_in(self.dir.path()).unwrap();
        let output = Command::new(stage_binary("rigline"))
            .args(["report", "correlations", "--out"])
            .arg(out.path())
            .args(from)
            .output();
        let output = output.unwrap();
        let files = fs::read_dir(out.path()).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let is_json = |path: &PathBuf| path.extension().is_some_and(|it| it == "json");
        let found = files.into_iter().find(is_json);
        let errors = String::from_utf8_lossy(&output.stderr);
        let found = found.unwrap_or_else(|| panic!("no report: {errors}"));
        let report = serde_json::from_slice(&fs::read(found).unwrap()).unwrap();
        (output, report)
    }

    fn report_of_tables(&self) -> (Output, Value) {
        self.report(&["--postgres-url", &self.postgres.url()])
    }
}

/// Items that have become readings or dead letters.
fn taken(ledger: &Ledger) -> i64 {
    ledger.get(Counter::Accepted) + ledger.get(Counter::DeadIngester)
}

fn start_feed(dir: &Path, port: u16, interval: &str) -> StageProcess {
    let file = |name: &str, file: &str| format!("{name}={}", dir.join(file).display());
    Launch::binary(&stage_binary("rigline"))
        .args(&["feed", &file("metrics", "metrics.json")])
        .args(&[&file("workorders", "workorder.json")])
        .args(&["--interval", interval])
        .env("FEED_ADDR", &format!("127.0.0.1:{port}"))
        .spawn()
}

/// Writes example files; returns the parameters that follow each product.
fn example(dir: &Path, seed: &str) -> Vec<BTreeSet<i64>> {
    let output = Command::new(stage_binary("rigline"))
        .args([
            "report",
            "example",
            "--seed",
            seed,
            "--metrics",
            "3000",
            "--out",
        ])
        .arg(dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let planted = said.lines();
    let planted = planted.filter_map(|line| line.split_once(" follows parameters "));
    planted
        .map(|(_, parameters)| {
            let ids = parameters.split(", ").filter_map(|it| it.split(' ').next());
            ids.map(|id| id.parse().unwrap()).collect()
        })
        .collect()
}

fn items(path: &Path) -> Vec<Value> {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// What a table has to hold: the first value of each id and time.
fn expected(items: &[Value], id: &str, value: &str) -> Vec<String> {
    let mut rows = BTreeMap::new();
    for item in items {
        let key = (item[id].as_i64().unwrap(), item["time"].as_i64().unwrap());
        rows.entry(key).or_insert(item[value].as_f64().unwrap());
    }
    let rows = rows.into_iter();
    rows.map(|((id, time), value)| format!("{id}|{time}|{value}"))
        .collect()
}

/// The three best parameters of each product by the increments.
fn top(report: &Value) -> Vec<BTreeSet<i64>> {
    let products = report["products"].as_array().unwrap().iter();
    let top = products.map(|product| {
        let bases = product["bases"].as_array().unwrap();
        let increments = bases.iter().find(|it| it["basis"] == "increment");
        let findings = increments.unwrap()["findings"].as_array().unwrap();
        let top = findings.iter().take(3);
        top.map(|finding| finding["parameter"].as_i64().unwrap())
            .collect()
    });
    top.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_of_files_are_rows_once_whatever_is_killed_meanwhile() {
    let dir = TempDir::with_prefix("workorders-").unwrap();
    let planted = example(dir.path(), "7");
    let [metrics, orders] = ["metrics.json", "workorder.json"].map(|name| dir.path().join(name));
    let (metrics, orders) = (items(&metrics), items(&orders));
    let mut system = System::start(dir, "5ms");
    let count = i64::try_from(metrics.len()).unwrap();
    for round in 1..=8 {
        let started = Instant::now();
        while taken(&system.ledger("metrics").await) < round * count / 10 {
            assert!(started.elapsed() < SOON, "{}", system.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        match round {
            1 | 5 => {
                system.feed.kill();
                system.feed = start_feed(system.dir.path(), system.feed_port, "5ms");
            }
            2 | 6 => {
                system.redis.kill();
                system.redis.restart();
            }
            3 | 7 => {
                system.postgres.kill();
                system.postgres.restart();
            }
            _ => {
                for (place, name) in STAGES.iter().enumerate() {
                    system.stages[place].kill();
                    system.stages[place] = system.stage(name);
                }
            }
        }
    }
    let before_the_end = taken(&system.ledger("metrics").await);
    assert!(before_the_end < count, "all kills were in the middle");
    for (pipeline, items, id, value) in [
        ("metrics", &metrics, "id", "val"),
        ("workorders", &orders, "product", "production"),
    ] {
        let count = i64::try_from(items.len()).unwrap();
        let ledger = system.wait_for(pipeline, count).await;
        assert_exact(&ledger);
        assert_eq!(ledger.get(Counter::Accepted), count, "{ledger:#?}");
        assert_eq!(system.rows(id, value, pipeline), expected(items, id, value));
    }
    let (output, of_tables) = system.report_of_tables();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(top(&of_tables), planted);
    let path = |name: &str| system.dir.path().join(name).display().to_string();
    let (metrics, orders) = (path("metrics.json"), path("workorder.json"));
    let (_, of_files) = system.report(&["--metrics", &metrics, "--workorders", &orders]);
    assert_eq!(of_files["products"], of_tables["products"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeats_contradictions_and_bad_items_are_seen_and_the_rest_goes_on() {
    let dir = TempDir::with_prefix("workorders-").unwrap();
    let hour = 1_767_600_000;
    let mut metrics = vec![
        // Two times each, and once with another value: the first one counts.
        json!({ "id": 3, "val": -12.5, "time": hour }),
        json!({ "id": 3, "val": -12.5, "time": hour }),
        json!({ "id": 3, "val": 7.0, "time": hour }),
        json!({ "id": -4, "val": 5, "time": hour }),
        json!("what"),
        json!(17),
        json!({}),
        json!({ "id": "x", "val": 1.0, "time": hour }),
        json!({ "id": 3, "val": null, "time": hour + 1 }),
        json!({ "id": 3, "val": "warm", "time": hour + 1 }),
        json!({ "id": 3, "val": 1.0, "time": "yesterday" }),
        json!([1, 2]),
    ];
    metrics.push(json!({ "id": 3, "val": 2.0, "time": hour - 5_000 }));
    fs::write(
        dir.path().join("metrics.json"),
        serde_json::to_vec_pretty(&metrics).unwrap(),
    )
    .unwrap();
    fs::write(dir.path().join("workorder.json"), "[]").unwrap();
    let system = System::start(dir, "0ms");
    let ledger = system
        .wait_for("metrics", i64::try_from(metrics.len()).unwrap())
        .await;
    assert_exact(&ledger);
    assert_eq!(
        system.rows("id", "val", "metrics"),
        [
            format!("-4|{hour}|5"),
            format!("3|{}|2", hour - 5_000),
            format!("3|{hour}|-12.5")
        ]
    );
    assert_eq!(ledger.get(Counter::Repeated), 1, "{ledger:#?}");
    assert_eq!(ledger.get(Counter::Superseded), 1, "{ledger:#?}");
    let (output, report) = system.report_of_tables();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(report["products"], json!([]));
    let (status, _) = http_get(system.feed_port, "/nothing").unwrap();
    assert_eq!(status, 404);
}
