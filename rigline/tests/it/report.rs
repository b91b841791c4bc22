//! The command `report`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::{binary, text};

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
