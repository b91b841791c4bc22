//! `examples/prometheus`: the rules are valid, do what their tests say, and name metrics that exist.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use common::clock::Clock;
use e2e::{Deployment, Pipeline};
use producer::fleet::SENSORS;
use queue::ledger::Counter;
use testkit::{tool, wait_until, workspace_dir};

const SOON: Duration = Duration::from_secs(30);

fn dir() -> PathBuf {
    workspace_dir().join("examples/prometheus")
}

#[test]
fn promtool_accepts_the_rules_and_runs_their_tests() {
    for arguments in [
        ["check", "rules", "rigline.rules.yml"],
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "rigline.rules.test.yml"],
    ] {
        let run = tool("promtool").args(arguments).current_dir(dir()).output();
        let run = run.unwrap();
        let said = [run.stdout, run.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(run.status.success(), "{arguments:?}: {said}");
    }
}

#[test]
fn every_alert_has_a_test_in_which_it_fires_and_a_line_in_the_readme() {
    let read = |name: &str| std::fs::read_to_string(dir().join(name)).unwrap();
    let (rules, tests) = (read("rigline.rules.yml"), read("rigline.rules.test.yml"));
    let readme = read("README.md");
    let names: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        assert!(tests.contains(&format!("alertname: {name}\n")), "{name}");
        assert!(readme.contains(&format!("`{name}`")), "{name}");
    }
}

/// The names of metrics in a text: they start with `rigline_`.
fn metric_names(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    text.split(|c| !is_name(c))
        .filter(|word| word.starts_with("rigline_"))
        .collect()
}

/// The label matchers in a text as `label="value"`, one for each alternative of a pattern.
fn labels(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for label in ["counter", "stage", "dependency"] {
        for operator in ["=", "=~", "!=", "!~"] {
            let start = format!("{label}{operator}\"");
            for rest in text.split(&start).skip(1) {
                let value = rest.split('"').next().unwrap_or_default();
                // Not those with a wildcard, which may match nothing here.
                let values = value.split('|').filter(|value| !value.contains('*'));
                found.extend(values.map(|value| format!("{label}=\"{value}\"")));
            }
        }
    }
    found
}

#[tokio::test]
async fn every_metric_of_the_rules_is_exported_by_the_stages() {
    let rules = std::fs::read_to_string(dir().join("rigline.rules.yml")).unwrap();
    let pipeline = Pipeline::start(Deployment::Servers, &[]);
    let time = Clock::system().now().tick(Duration::from_secs(1));
    for sensor in SENSORS {
        let topic = format!("rigs/A/measurements/{}", sensor.name);
        let payload = format!("{{\"timestamp\":\"{time}\",\"value\":1.5}}");
        pipeline.publish(&topic, &payload);
    }
    let stored = |ledger: &queue::ledger::Ledger| ledger.get(Counter::RowsStored) == 1;
    pipeline.wait_for(SOON, stored).await;
    let (names, pairs) = (metric_names(&rules), labels(&rules));
    assert!(names.len() >= 6 && pairs.len() >= 15, "{names:?} {pairs:?}");
    let mut missing = Vec::new();
    // The broker tells of dropped messages after some seconds.
    let complete = wait_until(SOON, || {
        let pages = pipeline.processes.iter().map(|stage| stage.get("/metrics"));
        let exported = pages.collect::<Vec<_>>().join("\n");
        let exported_names: BTreeSet<&str> = exported
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(['{', ' ']).next())
            .collect();
        let names = names.iter().filter(|name| !exported_names.contains(*name));
        let pairs = pairs.iter().filter(|pair| !exported.contains(*pair));
        missing = names
            .map(|name| (*name).to_owned())
            .chain(pairs.cloned())
            .collect();
        missing.is_empty()
    });
    assert!(complete, "no stage exports {missing:?}");
}
