//! Rows that a pipeline's file writes to InfluxDB, read over the HTTP API.

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use testkit::influxdb::{ORG, TOKEN};
use testkit::{InfluxDb, InfluxProxy, free_port, http_get, http_get_as, mqtt_client, wait_until};

use crate::fixture::{SOON, Up};

const FILE: &str = "name = \"greenhouse\"
[source]
topic = \"greenhouse/{device}\"
[fields.count]
type = \"integer\"
[fields.open]
type = \"bool\"
[fields.state]
type = \"string\"
[limits]
max_age = \"none\"
[[store]]
kind = \"influx\"
";
/// `{"device":"D"}`
const SERIES: &str = "series=%7B%22device%22%3A%22D%22%7D";
const RANGE: &str = "from=2026-01-31T08:00:00Z&to=2026-01-31T09:00:00Z";

/// A process with the pipeline, and the port of its API.
struct Served {
    up: Up,
    api: u16,
    _file: TempDir,
}

impl Served {
    fn start(server: &InfluxProxy, token: &str) -> Self {
        let data = TempDir::with_prefix("up-").unwrap();
        Self::start_in(data, FILE, server, token)
    }

    fn start_in(data: TempDir, content: &str, server: &InfluxProxy, token: &str) -> Self {
        let file = TempDir::with_prefix("pipeline-").unwrap();
        let path = file.path().join("greenhouse.toml");
        std::fs::write(&path, content).unwrap();
        let api = free_port();
        let (path, url) = (path.display().to_string(), server.url());
        let address = format!("127.0.0.1:{api}");
        let env = [
            ("PIPELINES", path.as_str()),
            ("INFLUX_URL", &url),
            ("INFLUX_TOKEN", token),
            ("INFLUX_ORG", ORG),
            ("INFLUX_BUCKET", server.bucket()),
            ("API_ADDR", &address),
            // The times of the tests are long ago.
            ("RETENTION", "0"),
        ];
        Self {
            up: Up::start_in(data, &env),
            api,
            _file: file,
        }
    }

    fn publish(&self, payload: &str) {
        let mut client = mqtt_client("mosquitto_pub", self.up.port);
        client.args(["-q", "1", "-t", "greenhouse/D", "-m", payload]);
        assert!(
            client.status().unwrap().success(),
            "{}",
            self.up.stage.logs()
        );
    }

    fn get(&self, path: &str) -> (u16, Json) {
        let path = format!("/api/v1/pipelines/greenhouse/{path}");
        let (status, body) = http_get(self.api, &path).unwrap();
        let body = serde_json::from_str(&body).unwrap();
        (status, body)
    }

    fn get_ok(&self, path: &str) -> Json {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }
}

#[test]
fn rows_in_influxdb_are_read_over_http() {
    let mut server = InfluxProxy::start();
    let running = Served::start(&server, TOKEN);
    for (minute, members) in [
        (
            0,
            "\"temperature\":21.5,\"count\":3,\"open\":true,\"state\":\"a \\\"b\\\"\"",
        ),
        (1, "\"temperature\":22.5,\"open\":false,\"state\":\"\""),
        (2, "\"temperature\":23.5,\"count\":-4"),
    ] {
        running.publish(&format!(
            "{{\"timestamp\":\"2026-01-31T08:0{minute}:00Z\",{members}}}"
        ));
    }
    let rows = format!("rows?{SERIES}&{RANGE}");
    let stored = || running.get_ok("latest").to_string().contains("23.5");
    assert!(wait_until(SOON, stored), "{}", running.up.stage.logs());
    let row = |minute: u32, values: Json| {
        let time = format!("2026-01-31T08:0{minute}:00Z");
        json!({ "time": time, "tags": { "device": "D" }, "values": values })
    };
    let first = json!({ "count": 3, "open": true, "state": "a \"b\"", "temperature": 21.5 });
    let second = json!({ "open": false, "state": "", "temperature": 22.5 });
    let third = json!({ "count": -4, "temperature": 23.5 });
    assert_eq!(
        running.get_ok(&rows)["rows"],
        json!([row(0, first), row(1, second.clone()), row(2, third.clone())])
    );
    let page = running.get_ok(&format!("{rows}&order=newest&limit=1"));
    assert_eq!(page["rows"], json!([row(2, third)]));
    let next = page["next"].as_str().expect("a cursor");
    let page = running.get_ok(&format!("{rows}&order=newest&limit=1&cursor={next}"));
    assert_eq!(page["rows"], json!([row(1, second)]));

    let series = &running.get_ok("series")["series"];
    assert_eq!(series[0]["key"], "{\"device\":\"D\"}");
    assert_eq!(series[0]["first"], "2026-01-31T08:00:00Z");
    let latest = &running.get_ok(&format!("latest?{SERIES}"))["series"][0]["values"];
    let latest: Vec<_> = latest.as_array().expect("values").iter().collect();
    let latest: Vec<_> = latest
        .iter()
        .map(|it| (&it["field"], &it["value"]))
        .collect();
    assert_eq!(
        format!("{latest:?}"),
        r#"[(String("count"), Number(-4)), (String("open"), Bool(false)), (String("state"), String("")), (String("temperature"), Number(23.5))]"#
    );
    let statistics = &running.get_ok(&format!("statistics?{SERIES}&{RANGE}"))["fields"];
    assert_eq!(statistics[1]["statistics"]["mean"], 22.5);
    assert_eq!(statistics[1]["statistics"]["stddev"], 1.0);
    let buckets = running.get_ok(&format!("buckets?{SERIES}&{RANGE}&every=2m&field=count"));
    assert_eq!(
        buckets["fields"][0]["buckets"].as_array().map(Vec::len),
        Some(2)
    );
    assert_eq!(running.get("rows?series=%7B%7D").0, 404);
    assert_eq!(running.get_ok("series")["series"][0]["stale"], true);
    assert_streamed(&running, &rows);

    server.stop();
    let (status, problem) = running.get(&rows);
    assert_eq!(status, 503, "{problem}");
    assert!(problem.to_string().contains(&server.url()), "{problem}");
    server.restart();
    running.get_ok(&rows);
    running.up.stop();
}

/// CSV and NDJSON hold the same rows.
fn assert_streamed(running: &Served, rows: &str) {
    let streamed = |accept| {
        let path = format!("/api/v1/pipelines/greenhouse/{rows}");
        let (status, body) = http_get_as(running.api, &path, accept).unwrap();
        assert_eq!(status, 200, "{body}");
        body
    };
    assert_eq!(
        streamed("text/csv"),
        "time,device,count,open,state,temperature\n\
         2026-01-31T08:00:00Z,D,3,true,\"a \"\"b\"\"\",21.5\n\
         2026-01-31T08:01:00Z,D,,false,,22.5\n\
         2026-01-31T08:02:00Z,D,-4,,,23.5\n"
    );
    let lines = streamed("application/x-ndjson");
    let lines: Vec<Json> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(Json::Array(lines), running.get_ok(rows)["rows"]);
}

/// The API reads from the first store.
#[test]
fn rows_go_to_influxdb_and_to_the_file() {
    let mut server = InfluxProxy::start();
    let both = format!("{FILE}[[store]]\nkind = \"sqlite\"\n");
    let data = TempDir::with_prefix("up-").unwrap();
    let running = Served::start_in(data, &both, &server, TOKEN);
    let message = |minute: u32| {
        format!("{{\"timestamp\":\"2026-01-31T08:0{minute}:00Z\",\"temperature\":2{minute}.5}}")
    };
    running.publish(&message(1));
    let rows = format!("rows?{SERIES}&{RANGE}");
    let has_rows = |running: &Served, count: usize| {
        wait_until(SOON, || {
            let (status, body) = running.get(&rows);
            status == 200 && body["rows"].as_array().map(Vec::len) == Some(count)
        })
    };
    assert!(has_rows(&running, 1), "{}", running.up.stage.logs());
    server.stop();
    running.publish(&message(2));
    let is_down = || running.up.stage.get("/readyz").contains("store-influx");
    assert!(wait_until(SOON, is_down), "{}", running.up.stage.logs());
    server.restart();
    assert!(has_rows(&running, 2), "{}", running.up.stage.logs());
    let in_influx = running.get_ok(&rows)["rows"].clone();
    let data = running.up.stop();

    let only_file = both.replace("[[store]]\nkind = \"influx\"\n", "");
    let running = Served::start_in(data, &only_file, &server, TOKEN);
    assert_eq!(running.get_ok(&rows)["rows"], in_influx);
    running.up.stop();
}

#[test]
fn token_that_may_not_read_is_named() {
    let server = InfluxProxy::start();
    let token = InfluxDb::shared().create_token("write", server.bucket());
    let running = Served::start(&server, &token);
    let (status, problem) = running.get("latest");
    assert_eq!(status, 502, "{problem}");
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(
        detail.contains("INFLUX_TOKEN") && !detail.contains(&token),
        "{detail}"
    );
    running.up.stop();
}
