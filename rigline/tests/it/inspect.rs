//! Commands that show rows, rigs and dead letters.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use testkit::wait_until;

use crate::fixture::{SOON, Up, binary, payload, run, second, text};

/// The ids in the output of `dlq list`.
fn ids(list: &str) -> Vec<String> {
    let lines = list
        .lines()
        .skip_while(|line| !line.starts_with("id "))
        .skip(1)
        .take_while(|line| !line.contains(" shown of ") && !line.starts_with('*'));
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
    let counts = ["bad_value", "future", "not_json"];
    for (line, reason) in list.lines().skip(1).zip(counts) {
        assert!(
            line.ends_with(&format!("1  {reason:<14}  ingester")),
            "{list}"
        );
    }
    assert!(list.starts_with("3 dead letters in "), "{list}");
    for line in list.lines().skip(1) {
        assert!(line.len() <= 80, "{line}");
    }
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
    let seen = up.run(&["dlq", "replay", "--all", "--max-future", "1h", "--dry-run"]);
    let said = text(&seen);
    assert!(
        said.ends_with("\n1 of 3 pass and would be replayed\n"),
        "{said}"
    );
    assert_eq!(seen.status.code(), Some(1), "{said}");
    // With another limit, one is replayed, while the process runs.
    let replayed = up.run(&["dlq", "replay", "--all", "--max-future", "1h"]);
    let said = text(&replayed);
    let order = [
        "is refused again",
        "\n1 of 3 pass and are replayed\n",
        ": replayed\n",
    ];
    let places = order.map(|part| said.find(part).unwrap_or(usize::MAX));
    assert!(places.is_sorted() && places[2] < usize::MAX, "{said}");
    assert!(said.ends_with("\n1 replayed, 2 not\n"), "{said}");
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
fn discarded_dead_letters_lose_their_payload_and_stay_in_the_list() {
    let up = Up::start(&[]);
    up.publish("pressure", "not json");
    up.publish("pressure", "neither");
    let ids = ids(&up.wait_for_output(&["dlq", "list"], "2 shown of 2"));
    let first = text(&up.run(&["dlq", "discard", &ids[0], "none"]));
    assert!(
        first.contains("none: there is no such dead letter\n"),
        "{first}"
    );
    assert!(first.ends_with("1 discarded, 1 not\n"), "{first}");
    let said = up.run_ok(&["dlq", "discard", "--all", "--reason", "not_json"]);
    assert_eq!(said, format!("{}: discarded\n1 discarded, 0 not\n", ids[1]));
    let left = up.run_ok(&["dlq", "export"]);
    assert!(
        !left.contains("not json") && !left.contains("neither"),
        "{left}"
    );
    let listed = up.run_ok(&["dlq", "list"]);
    assert!(listed.starts_with("2 dead letters in "), "{listed}");
    assert!(listed.contains(", 2 of them discarded\n"), "{listed}");
    assert!(listed.contains("- was discarded\n"), "{listed}");
    let again = text(&up.run(&["dlq", "replay", &ids[0]]));
    assert!(again.contains("was discarded before"), "{again}");
    up.run_ok(&["ledger"]);
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
    let newest = of(&["MINE", "--limit", "3"]);
    let seconds: Vec<_> = (1..4).map(|place| at(place).to_string()).collect();
    assert_eq!(newest.lines().count(), 3, "{newest}");
    for (line, second) in newest.lines().zip(&seconds) {
        assert!(line.contains(second), "{second}: {newest}");
    }
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
fn edited_dead_letters_are_replayed_instead_of_their_originals() {
    let up = Up::start(&[("FLUSH_INTERVAL", "100ms")]);
    let time = second();
    up.publish(
        "pressure",
        &format!("{{\"timestamp\":\"{time}\",\"value\":\"7,5 bar\"}}"),
    );
    up.wait_for_output(&["dlq", "list"], "1 shown of 1");
    let exported = up.run_ok(&["dlq", "export", "--reason", "bad_value"]);
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("edited.ndjson");
    let file = path.to_str().unwrap();
    let refused = up.run(&["dlq", "replay", "--edited", file]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    std::fs::write(&path, &exported).unwrap();
    let refused = text(&up.run(&["dlq", "replay", "--edited", file]));
    assert!(
        refused.contains("is refused again"),
        "not edited yet: {refused}"
    );
    let edited = exported.replace("\\\"7,5 bar\\\"", "7.5");
    let other = edited.replace("{\"id\":\"", "{\"id\":\"no-");
    std::fs::write(&path, format!("{edited}\n{other}no json\n")).unwrap();
    let replayed = text(&up.run(&["dlq", "replay", "--edited", file]));
    assert!(
        replayed.contains("line 4: ") && replayed.contains("no-"),
        "{replayed}"
    );
    assert!(replayed.contains("1 replayed, 2 not"), "{replayed}");
    up.wait_for_output(&["rows", "--format", "csv"], &format!("MINE,{time},7.5\n"));
    let again = text(&up.run(&["dlq", "replay", "--edited", file]));
    assert!(again.contains("was replayed before"), "{again}");
    let shown = up.run_ok(&["dlq", "export"]);
    assert!(
        shown.contains("7,5 bar") && shown.contains("\"replayed\":"),
        "{shown}"
    );
    assert!(up.run_ok(&["ledger"]).contains("balanced"));
}

#[test]
fn rows_wider_than_the_screen_have_a_line_for_each_value() {
    let up = Up::start(&[("FLUSH_INTERVAL", "100ms")]);
    let time = second();
    let sensors = ["a", "b", "c", "d", "e", "a_longer_name_than_others", "f"];
    for sensor in sensors {
        up.publish(sensor, &payload(time, 2.5));
    }
    let line = format!("MINE    {time}  a_longer_name_than_others  2.5\n");
    let rows = up.wait_for_output(&["rows"], &line);
    assert!(rows.starts_with("rig_id  time "), "{rows}");
    up.wait_for_output(&["rows", "--format", "csv"], &",2.5".repeat(7));
    let few = up.run_ok(&["rows", "--sensors", "a,b"]);
    assert_eq!(
        few,
        format!("rig_id  time                  a       b\nMINE    {time}  2.5     2.5\n")
    );
}

#[test]
fn omitted_and_waiting_readings_are_named_below_rows_and_rigs() {
    let up = Up::start(&[("FLUSH_INTERVAL", "100ms")]);
    up.publish("pressure", &payload(second(), 7.5));
    up.wait_for_output(&["rows"], "7.5");
    assert_eq!(up.run_ok(&["rows"]).lines().count(), 2, "nothing to say");
    up.publish("pressure", "{}");
    let said = up.wait_for_output(&["rows"], "ledger balanced; 1 readings omitted");
    assert!(
        said.ends_with("\nledger balanced; 1 readings omitted: 1 dead letters\n"),
        "{said}"
    );
    let csv = up.run(&["rows", "--format", "csv"]);
    assert_eq!(String::from_utf8_lossy(&csv.stdout).lines().count(), 2);
    assert!(String::from_utf8_lossy(&csv.stderr).contains("1 readings omitted"));
    // A row that stays open, because the process stops.
    let dir = up.stop();
    let up = Up::start_in(dir, &[("FLUSH_INTERVAL", "1h")]);
    let later = second().plus(Duration::from_secs(1));
    up.publish("pressure", &payload(later, 8.5));
    let ledger = up.wait_for_output(&["ledger"], "waiting 1 readings in rows that are open");
    assert!(ledger.contains("balanced"), "{ledger}");
    assert!(!up.run_ok(&["rows"]).contains("not running"));
    let data = up.data();
    let _dir = up.kill();
    for command in ["rows", "rigs"] {
        let said = text(&run(&data, &[command]));
        let waits = "not running: 1 readings in open rows wait for `";
        assert!(said.contains(waits) && said.contains("up --data"), "{said}");
    }
}

#[test]
fn followed_rows_are_printed_as_they_come() {
    let up = Up::start(&[("FLUSH_INTERVAL", "100ms")]);
    let start = second();
    let at = |place: u64| start.plus(Duration::from_secs(place));
    for place in 0..12 {
        up.publish("pressure", &payload(at(place), 2.5));
    }
    up.wait_for_output(&["rows"], &at(11).to_string());
    let log = up.data().join("followed");
    // A shell ignores SIGINT for what it starts in the background, and children inherit that.
    let mut command = Command::new("/usr/bin/env");
    command
        .arg("--default-signal=INT")
        .arg(binary())
        .args(["rows", "--follow"])
        .env_clear()
        .env("RIGLINE_DATA", up.data())
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&log).unwrap());
    let mut follower = command.spawn().unwrap();
    let said = || std::fs::read_to_string(&log).unwrap();
    let has = |part: &str| wait_until(SOON, || said().contains(part));
    assert!(has(&at(11).to_string()), "{}", said());
    assert_eq!(
        said().lines().count(),
        11,
        "the newest ten, and the head: {}",
        said()
    );
    up.publish("pressure", &payload(at(12), 3.5));
    assert!(has("3.5"), "{}", said());
    up.publish("voltage", &payload(at(13), 4.5));
    assert!(has("4.5"), "{}", said());
    assert_eq!(
        said().matches("rig_id").count(),
        2,
        "a head for the new sensor: {}",
        said()
    );
    assert_eq!(said().lines().count(), 14, "each row once: {}", said());
    kill_process(Pid::from_child(&follower), Signal::INT).unwrap();
    let mut ended = None;
    let has_ended = wait_until(SOON, || {
        ended = follower.try_wait().unwrap();
        ended.is_some()
    });
    assert!(has_ended, "still running");
}

/// Makes a directory and its files unwritable, also for their owner.
fn set_modes(data: &Path, dir: u32, file: u32) {
    let entries = std::fs::read_dir(data).unwrap();
    for entry in entries {
        std::fs::set_permissions(entry.unwrap().path(), Permissions::from_mode(file)).unwrap();
    }
    std::fs::set_permissions(data, Permissions::from_mode(dir)).unwrap();
}

/// Runs a command as a user who can't write to the data. Root ignores permissions, so it runs the
/// command as another user. `program` is the binary, where that user can reach it.
fn run_unprivileged(program: &Path, data: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(args).env_clear().env("RIGLINE_DATA", data);
    if geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    command.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn reading_needs_no_permission_to_write() {
    let up = Up::start(&[("FLUSH_INTERVAL", "100ms")]);
    up.publish("pressure", &payload(second(), 7.5));
    up.publish("pressure", "{}");
    up.wait_for_output(&["rows"], "7.5");
    up.wait_for_output(&["dlq", "list"], "1 shown of 1");
    let data = up.data();
    let parent = data.parent().unwrap().to_owned();
    std::fs::set_permissions(&parent, Permissions::from_mode(0o755)).unwrap();
    let program = parent.join("rigline");
    std::fs::copy(binary(), &program).unwrap();
    let check = |when: &str| {
        let files = || -> Vec<_> {
            let entries = std::fs::read_dir(&data).unwrap().flatten();
            entries.map(|entry| entry.file_name()).collect()
        };
        let before = files();
        for (args, part) in [
            (&["rows"][..], "7.5"),
            (&["rigs"], "MINE"),
            (&["ledger"], "balanced"),
            (&["dlq", "list"], "1 shown of 1"),
            (&["dlq", "export"], "missing_value"),
        ] {
            let ended = run_unprivileged(&program, &data, args);
            let said = text(&ended);
            assert!(
                ended.status.success() && said.contains(part),
                "{when}, {args:?}: {said}"
            );
        }
        assert_eq!(before, files(), "{when}");
        let ended = run_unprivileged(&program, &data, &["dlq", "replay", "--all"]);
        assert_eq!(ended.status.code(), Some(2), "{when}: {}", text(&ended));
    };
    set_modes(&data, 0o555, 0o444);
    check("while it runs");
    let dir = up.kill();
    check("after it was killed");
    set_modes(&data, 0o755, 0o644);
    let dir = Up::start_in(dir, &[]).stop();
    set_modes(&data, 0o555, 0o444);
    check("after a stop");
    set_modes(&data, 0o755, 0o644);
    drop(dir);
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
        // As the program was called here.
        let start = format!("{} up --data ", binary().display());
        assert!(said.contains(&start), "{args:?}: {said}");
    }
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert!(left.is_empty(), "a look made {left:?}");
}
