//! The API as a process of its own: it reads the lists and the rows of the four stages.

use e2e::Chain;
use queue::ledger::Counter;
use serde_json::{Value, json};
use testkit::{Launch, StageProcess, http_get, http_post, stage_binary, wait_until};

use crate::readings::{SOON, all_stored, payload, this_second};

const RIGS: &str = "/api/v1/pipelines/rigs";

fn port_of(api: &StageProcess) -> u16 {
    let logs = api.logs_with("url=\"http://127.0.0.1:");
    let (_, address) = logs.split_once("url=\"http://127.0.0.1:").unwrap();
    let digits: String = address.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

fn get(port: u16, path: &str) -> Value {
    let (status, body) = http_get(port, &format!("{RIGS}/{path}")).unwrap();
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

fn start_api(chain: &Chain) -> StageProcess {
    let env: Vec<_> = chain
        .env()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    Launch::binary(&stage_binary("rigline"))
        .args(&["api"])
        .envs(&env)
        .spawn()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_reads_lists_and_rows_of_the_stages_and_replays() {
    let mut chain = Chain::start(&[("FLUSH_INTERVAL", "200ms")]);
    let stages = [
        chain.spawn("ingester", &[("MAX_FUTURE", "2s")]),
        chain.spawn("transformer", &[]),
        chain.spawn("sink", &[]),
    ];
    for stage in &stages {
        assert!(stage.ready(SOON), "{}", stage.logs());
    }
    let api = start_api(&chain);
    assert!(api.ready(SOON), "{}\n{}", api.get("/readyz"), api.logs());
    let port = port_of(&api);

    let second = this_second();
    chain.publish("rigs/R/measurements/pressure", &payload(second, 2.5));
    let early = second + 20_000;
    chain.publish("rigs/R/measurements/pressure", &payload(early, 3.5));
    let ledger = chain
        .wait_for(SOON, |ledger| {
            all_stored(ledger) && ledger.get(Counter::DeadIngester) == 1
        })
        .await;
    let latest = get(port, "latest?series=R");
    assert_eq!(latest["series"][0]["values"][0]["value"], 2.5, "{latest}");
    let health = get(port, "health");
    assert_eq!(health["ready"], true, "{health}");
    assert_eq!(
        health["counters"]["rows_stored"],
        ledger.get(Counter::RowsStored)
    );
    let rows = get(port, "rows?series=R");
    assert_eq!(rows["rows"].as_array().unwrap().len(), 1, "{rows}");
    let letters = get(port, "dead-letters");
    let letter = &letters["dead_letters"][0];
    assert_eq!(letter["reason"], "future", "{letter}");

    // The API has another limit than the ingester.
    let body = json!({ "ids": [letter["id"]] }).to_string();
    let path = format!("{RIGS}/dead-letters/replay");
    let (status, answer) = http_post(port, &path, &body).unwrap();
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["done"][0], letter["id"], "{answer}");
    let stored = wait_until(SOON, || {
        get(port, "latest?series=R")["series"][0]["values"][0]["value"] == 3.5
    });
    assert!(stored, "{}", get(port, "health"));

    // What is down has a name, and the API goes on.
    chain.influxdb.stop();
    let is_down = wait_until(SOON, || {
        let health = get(port, "health");
        health["ready"] == false && health["balanced"] == true
    });
    assert!(is_down, "{}", get(port, "health"));
    let (status, body) = http_get(port, &format!("{RIGS}/latest")).unwrap();
    assert_eq!(status, 503, "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stages_of_other_processes_are_seen_by_their_leases() {
    let chain = Chain::start(&[]);
    let api = start_api(&chain);
    assert!(api.ready(SOON), "{}\n{}", api.get("/readyz"), api.logs());
    let port = port_of(&api);
    let is_reported = |stage: &str, state: &str| {
        let health = get(port, "health");
        let mut dependencies = health["dependencies"].as_array().unwrap().iter();
        dependencies.any(|one| one["stage"] == stage && one["state"] == state)
    };
    assert!(wait_until(SOON, || is_reported("sink", "down")));
    assert_eq!(get(port, "health")["ready"], false);
    let stages = chain.spawn_all();
    let all_up = wait_until(SOON, || get(port, "health")["ready"] == true);
    assert!(all_up, "{}", get(port, "health"));
    drop(stages);
    for stage in ["ingester", "transformer", "sink"] {
        assert!(wait_until(SOON, || is_reported(stage, "down")), "{stage}");
    }
    assert!(api.ready(SOON), "the API itself is: {}", api.get("/readyz"));
}
