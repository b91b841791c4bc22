//! The command `report`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use testkit::{Launch, StageProcess, wait_until};

use crate::fixture::{SOON, binary, text};

/// Files in which the parameters 3, 7 and 1 follow the increments of product 5 ever less, and the others don't; and an
/// item of each kind that can't be used.
fn write_files(dir: &Path) {
    let wave = |number: u32, period: f64| (f64::from(number) * period).sin();
    let increment = |order: u32| 2.0 + wave(order, 1.7);
    let (mut metrics, mut orders, mut total) = (vec![json!(7)], Vec::new(), 0.0);
    for order in 0..60 {
        total += increment(order);
        let time = 1_767_600_000 + 100 * order;
        orders.push(json!({"time": time, "product": 5, "production": total}));
        for id in 0..8 {
            let share = match id {
                3 => -1.0,
                7 => 0.8,
                1 => 0.6,
                _ => 0.0,
            };
            let own = wave(order * 31 + id * 7, 0.9);
            let value = share * increment(order) + 0.5 * (1.0 - f64::abs(share)) * own;
            metrics.push(json!({"id": id, "val": value, "time": time - 50}));
        }
    }
    // Not in order, once twice, once with times in milliseconds.
    metrics.reverse();
    metrics.push(metrics[0].clone());
    metrics.push(json!({"id": 0, "val": 1, "time": 1_767_600_000_000_i64}));
    fs::write(dir.join("metrics.json"), json!(metrics).to_string()).unwrap();
    fs::write(dir.join("orders.json"), json!(orders).to_string()).unwrap();
}

fn report(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.current_dir(dir).args(["report", "correlations"]);
    command.args(["--metrics", "metrics.json", "--workorders", "orders.json"]);
    command.args(args).output().unwrap()
}

/// The content of the one report with this extension.
fn written(dir: &Path, extension: &str) -> String {
    let files = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files = files.filter(|path| path.extension().is_some_and(|it| it == extension));
    let file = files.next().unwrap();
    assert_eq!(files.next(), None);
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    assert!(
        name.starts_with("report_2") && name.len() == 24 + extension.len(),
        "{name}"
    );
    fs::read_to_string(file).unwrap()
}

#[test]
fn planted_parameters_are_ranked_and_bad_items_named() {
    let dir = TempDir::new().unwrap();
    write_files(dir.path());
    for (join, n) in [("mean", 59), ("interpolated", 58)] {
        let out = dir.path().join(join);
        let made = report(dir.path(), &["--join", join, "--out", join]);
        let said = text(&made);
        assert_eq!(made.status.code(), Some(0), "{said}");
        for part in [
            "2 of 483 items of metrics.json can't be used",
            "milliseconds?",
            "repeated items of metrics.json: 1",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let csv = written(&out, "csv");
        if join == "mean" {
            let lines = csv.lines().filter(|line| line.contains(",increment,"));
            let ids: Vec<_> = lines.map(|line| line.split(',').nth(3).unwrap()).collect();
            assert_eq!(ids, ["3", "7", "1"], "{csv}");
        }
        let json: Value = serde_json::from_str(&written(&out, "json")).unwrap();
        let findings = &json["products"][0]["bases"][1]["findings"];
        assert_eq!(findings.as_array().unwrap().len(), 8, "{json}");
        assert_eq!(findings[0]["n"], n, "{join}: {json}");
        assert!(written(&out, "html").contains("milliseconds?"));
    }
}

#[test]
fn file_that_ends_early_makes_a_report_and_exit_code_1() {
    let dir = TempDir::new().unwrap();
    write_files(dir.path());
    let path = dir.path().join("metrics.json");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 2]).unwrap();
    let made = report(dir.path(), &[]);
    let said = text(&made);
    assert_eq!(made.status.code(), Some(1), "{said}");
    assert!(said.contains("metrics.json can't be read after"), "{said}");
    assert!(written(dir.path(), "csv").contains(",increment,"));
}

#[test]
fn nothing_to_compare_is_1_and_a_missing_file_2() {
    let dir = TempDir::new().unwrap();
    let write = |name: &str, content: &str| fs::write(dir.path().join(name), content).unwrap();
    write("metrics.json", "[");
    write(
        "orders.json",
        r#"[{"time": 1, "product": 0, "production": 1}]"#,
    );
    let made = report(dir.path(), &[]);
    let said = text(&made);
    assert_eq!(made.status.code(), Some(1), "{said}");
    assert!(said.contains("can't be read after 0 items"), "{said}");
    assert!(said.contains("no parameter can be compared"), "{said}");
    assert!(written(dir.path(), "html").contains("No parameter can be compared"));
    fs::remove_file(dir.path().join("orders.json")).unwrap();
    let made = report(dir.path(), &[]);
    assert_eq!(made.status.code(), Some(2), "{}", text(&made));
    assert!(text(&made).contains("cannot read orders.json"));
    let made = report(dir.path(), &["--min-pairs", "2"]);
    assert_eq!(made.status.code(), Some(64), "{}", text(&made));
}

#[test]
fn example_says_what_the_report_finds_and_is_the_same_for_a_seed() {
    let dir = TempDir::new().unwrap();
    let example = |out: &str, args: &[&str]| {
        let mut command = Command::new(binary());
        command.current_dir(dir.path()).args(["report", "example"]);
        let sizes = ["--orders", "100", "--metrics", "4000", "--parameters", "9"];
        command.args(sizes).args(["--out", out]).args(args);
        command.output().unwrap()
    };
    let made = example("one", &["--seed", "7", "--products", "3"]);
    let said = text(&made);
    assert_eq!(made.status.code(), Some(0), "{said}");
    let planted = said
        .lines()
        .filter_map(|line| line.split("follows parameters ").nth(1));
    let planted: Vec<Vec<_>> = planted
        .map(|list| {
            list.split(", ")
                .map(|one| one.split(' ').next().unwrap())
                .collect()
        })
        .collect();
    assert_eq!(planted.len(), 3, "{said}");
    let report = Command::new(binary())
        .current_dir(dir.path().join("one"))
        .args(["report", "correlations", "--metrics", "metrics.json"])
        .args(["--workorders", "workorder.json"])
        .output()
        .unwrap();
    assert_eq!(report.status.code(), Some(0), "{}", text(&report));
    let csv = written(&dir.path().join("one"), "csv");
    let found = csv.lines().filter(|line| line.contains(",increment,"));
    let found: Vec<_> = found.map(|line| line.split(',').nth(3).unwrap()).collect();
    assert_eq!(found, planted.concat(), "{csv}");

    let read = |out: &str| {
        ["metrics.json", "workorder.json"]
            .map(|name| fs::read(dir.path().join(out).join(name)).unwrap())
    };
    example("two", &["--seed", "7", "--products", "3"]);
    assert!(read("one") == read("two"), "a seed gives the same files");
    let refused = example("two", &["--seed", "8", "--products", "3"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    assert!(text(&refused).contains("--replace") && read("one") == read("two"));
    let replaced = example("two", &["--seed", "8", "--products", "3", "--replace"]);
    assert_eq!(replaced.status.code(), Some(0), "{}", text(&replaced));
    assert!(read("one") != read("two"), "another seed gives other files");
    let refused = example("three", &["--products", "4"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    assert!(
        text(&refused).contains("at least 12 parameters"),
        "{}",
        text(&refused)
    );
}

/// Starts the service in a directory with the files, where reports go to `reports`.
fn service(dir: &Path, every: &str) -> StageProcess {
    let file = |name: &str| dir.join(name).display().to_string();
    let (metrics, orders, out) = (file("metrics.json"), file("orders.json"), file("reports"));
    Launch::binary(binary())
        .args(&[
            "report",
            "correlations",
            "--metrics",
            &metrics,
            "--workorders",
            &orders,
        ])
        .args(&["--out", &out, "--every", every])
        .spawn()
}

/// The names of complete reports, in their order.
fn reports(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir.join("reports")) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_complete = |name: &String| Path::new(name).extension().is_some_and(|it| it == "json");
    let mut names: Vec<_> = names.filter(is_complete).collect();
    names.sort();
    names
}

#[track_caller]
fn wait_for_reports(dir: &Path, count: usize, service: &StageProcess) {
    let found = wait_until(SOON, || reports(dir).len() >= count);
    assert!(found, "{:?}\n{}", reports(dir), service.logs());
}

#[track_caller]
fn stop(mut service: StageProcess) -> String {
    service.terminate();
    let ended = service.wait_exit(SOON);
    let logs = service.logs();
    assert!(ended.is_some_and(|it| it.success()), "{ended:?}\n{logs}");
    logs
}

#[test]
fn service_writes_reports_again_and_again_and_nobody_else_does() {
    let dir = TempDir::new().unwrap();
    write_files(dir.path());
    let running = service(dir.path(), "1s");
    wait_for_reports(dir.path(), 2, &running);
    let refused = report(dir.path(), &["--out", "reports"]);
    let said = text(&refused);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    let holder = format!("process {} writes reports", running.pid());
    assert!(said.contains(&holder) && said.contains("--out"), "{said}");
    let mut second = service(dir.path(), "1s");
    assert_eq!(second.wait_exit(SOON).and_then(|it| it.code()), Some(2));
    assert!(second.logs().contains(&holder), "{}", second.logs());
    let logs = stop(running);
    assert!(
        logs.contains("wrote a report") && logs.contains("milliseconds?"),
        "{logs}"
    );
    // The directory is free again, and nothing is left half written.
    let made = report(dir.path(), &["--out", "reports"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made));
    for name in reports(dir.path()) {
        let stem = name.trim_end_matches("json");
        for extension in ["html", "csv"] {
            let path = dir.path().join(format!("reports/{stem}{extension}"));
            assert!(path.is_file(), "{}", path.display());
        }
    }
}

#[test]
fn service_outlives_files_that_cannot_be_read() {
    let dir = TempDir::new().unwrap();
    let running = service(dir.path(), "1s");
    let failed = wait_until(SOON, || {
        running.logs().matches("cannot make a report").count() >= 2
    });
    assert!(failed, "{}", running.logs());
    assert!(
        running.logs().contains("metrics.json"),
        "{}",
        running.logs()
    );
    assert_eq!(reports(dir.path()), [""; 0]);
    write_files(dir.path());
    wait_for_reports(dir.path(), 1, &running);
    let logs = stop(running);
    assert!(logs.contains("ERROR") && logs.contains("stopped"), "{logs}");
}

#[test]
fn service_makes_up_for_missed_reports_once() {
    let dir = TempDir::new().unwrap();
    write_files(dir.path());
    fs::create_dir(dir.path().join("reports")).unwrap();
    let old = dir.path().join("reports/report_20160105T120000Z.json");
    fs::write(old, "{}").unwrap();
    // Intervals of two years.
    let running = service(dir.path(), "730d");
    wait_for_reports(dir.path(), 2, &running);
    stop(running);
    let again = service(dir.path(), "730d");
    let is_running = wait_until(SOON, || again.logs().contains("makes reports"));
    assert!(is_running, "{}", again.logs());
    let logs = stop(again);
    assert!(!logs.contains("wrote a report"), "{logs}");
    assert_eq!(reports(dir.path()).len(), 2, "{logs}");
    let mut refused = service(dir.path(), "1500ms");
    assert_eq!(refused.wait_exit(SOON).and_then(|it| it.code()), Some(64));
    let said = refused.logs();
    assert!(said.contains("whole seconds"), "{said}");
}
