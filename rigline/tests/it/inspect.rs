//! Commands that show rows, rigs and dead letters.

use std::time::Duration;

use crate::fixture::{Up, payload, run, second, text};

/// The ids in the output of `dlq list`.
fn ids(list: &str) -> Vec<String> {
    let lines = list
        .lines()
        .skip(1)
        .take_while(|line| !line.contains(" shown of "));
    lines
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect()
}

#[test]
fn dead_letters_are_listed_shown_exported_and_replayed_once() {
    let up = Up::start(&[("MAX_FUTURE", "1s")]);
    let early = second().plus(Duration::from_secs(30));
    up.publish("pressure", &payload(early, 7.5));
    up.publish("pressure", "{\"value\":\"off\"}");
    up.publish("pressure", "no json \x1b[2J");
    let list = up.wait_for_output(&["dlq", "list"], "3 shown of 3");
    let all = ids(&list);
    assert_eq!(all.len(), 3, "{list}");
    let future = up.run_ok(&["dlq", "list", "--reason", "future"]);
    assert_eq!(ids(&future), all[..1], "{future}");
    let newest = up.run_ok(&["dlq", "list", "--limit", "1", "--stage", "ingester"]);
    assert_eq!(ids(&newest), all[2..], "{newest}");
    let shown = up.run_ok(&["dlq", "show", &all[1]]);
    assert!(
        shown.contains("bad_value") && shown.ends_with("\n{\"value\":\"off\"}\n"),
        "{shown}"
    );
    let escaped = up.run_ok(&["dlq", "show", &all[2]]);
    assert!(escaped.ends_with("\nno json \\u{1b}[2J\n"), "{escaped}");
    let exported = up.run_ok(&["dlq", "export"]);
    assert_eq!(exported.lines().count(), 3, "{exported}");

    // With the same limits, none is replayed.
    let refused = up.run(&["dlq", "replay", "--all", "--max-future", "1s"]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    assert!(text(&refused).contains("0 replayed, 3 not"));
    // With another limit, one is replayed, while the process runs.
    let replayed = up.run(&["dlq", "replay", "--all", "--max-future", "1h"]);
    assert!(
        text(&replayed).contains("1 replayed, 2 not"),
        "{}",
        text(&replayed)
    );
    // The transformer has the old limit, so it becomes a dead letter of the transformer.
    up.wait_for_output(&["dlq", "list", "--stage", "transformer"], "1 shown of 4");
    let again = up.run(&["dlq", "replay", &all[0], "--max-future", "1h"]);
    assert!(
        text(&again).contains("was replayed before"),
        "{}",
        text(&again)
    );
    assert!(
        up.run_ok(&["dlq", "show", &all[0]])
            .contains("replayed  20")
    );
    assert!(up.run_ok(&["ledger"]).contains("balanced"));
}

#[test]
fn a_replayed_reading_is_stored_once() {
    let up = Up::start(&[("MAX_AGE", "1h"), ("FLUSH_INTERVAL", "100ms")]);
    let old = second().minus(Duration::from_hours(2));
    up.publish("pressure", &payload(old, 7.5));
    let list = up.wait_for_output(&["dlq", "list"], "1 shown of 1");
    let id = ids(&list).remove(0);
    // The operator restarts it with another limit, and replays the dead letter.
    let dir = up.stop();
    let up = Up::start_in(dir, &[("FLUSH_INTERVAL", "100ms")]);
    assert!(
        up.run_ok(&["dlq", "replay", &id])
            .contains("1 replayed, 0 not")
    );
    up.wait_for_output(&["rows", "--last", "3h"], "7.5");
    assert_eq!(up.run(&["dlq", "replay", &id]).status.code(), Some(1));
    assert!(
        up.run_ok(&["dlq", "replay", "--all"])
            .contains("0 replayed, 0 not")
    );
    let ledger = up.run_ok(&["ledger"]);
    assert!(
        ledger.contains("stored 1 rows") && ledger.contains("balanced"),
        "{ledger}"
    );
}

#[test]
fn rows_come_in_three_forms_and_as_many_as_asked_for() {
    let up = Up::start(&[("FLUSH_INTERVAL", "100ms")]);
    let start = second().minus(Duration::from_mins(10));
    let at = |place: u64| start.plus(Duration::from_secs(place));
    for place in 0..4 {
        up.publish("pressure", &payload(at(place), 2.0));
    }
    up.publish("voltage", &payload(at(1), 0.125));
    up.wait_for_output(
        &["rows", "--format", "csv"],
        &format!("MINE,{},2.0,0.125", at(1)),
    );
    let csv = up.wait_for_output(
        &["rows", "--format", "csv"],
        &format!("MINE,{},2.0,\n", at(3)),
    );
    assert!(csv.starts_with("rig_id,time,pressure,voltage\n"), "{csv}");
    assert_eq!(csv.lines().count(), 5, "{csv}");
    let of = |args: &[&str]| up.run_ok(&[&["rows", "--format", "ndjson"], args].concat());
    assert_eq!(of(&["MINE", "--limit", "3"]).lines().count(), 3);
    let (from, to) = (at(1).to_string(), at(3).to_string());
    let some = of(&["--from", &from, "--to", &to, "--sensors", "voltage"]);
    let expected = format!("{{\"rig_id\":\"MINE\",\"timestamp\":\"{from}\",\"voltage\":0.125}}\n");
    assert_eq!(some, expected);
    assert!(text(&up.run(&["rows", "OTHER"])).contains("no such rows"));
    assert!(of(&["--last", "1m"]).contains("no such rows"));
    let rigs = up.run_ok(&["rigs"]);
    assert!(
        rigs.contains("MINE") && rigs.contains("pressure,voltage"),
        "{rigs}"
    );
}

#[test]
fn without_data_the_error_names_how_to_make_some() {
    let dir = tempfile::TempDir::new().unwrap();
    for args in [
        &["ledger"][..],
        &["rows"],
        &["rigs"],
        &["dlq", "list"],
        &["dlq", "replay", "x"],
    ] {
        let ended = run(dir.path(), args);
        let said = text(&ended);
        assert_eq!(ended.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains("rigline up"), "{args:?}: {said}");
    }
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert!(left.is_empty(), "a look made {left:?}");
}
