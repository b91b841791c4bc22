use std::collections::BTreeMap;
use std::time::Duration;

use model::Timestamp;
use model::pipeline::PipelineFile;

use super::{AlertKind, AlertState, Machine, Transition};
use crate::alerts::rule::{Limit, Rule};

/// The machine's state and its kind, and the events, each as a word: `firing 91 at 3`.
#[derive(Debug, PartialEq)]
struct Seen {
    state: AlertState,
    events: Vec<String>,
}

/// What happens to a machine: seconds since the start, then a row's value, or a check at that time.
#[derive(Clone, Copy)]
enum Step {
    /// A row that is seen in the second of its time.
    Row(u64, f64),
    /// A row of the first time that is seen at the second one.
    Late(u64, u64, f64),
    /// A row whose value isn't a number.
    Text(u64),
    /// A check for staleness.
    Check(u64),
}
use Step::{Check, Late, Row, Text};

fn at(second: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000).plus(Duration::from_secs(second))
}

fn second(time: Timestamp) -> u64 {
    time.since(at(0)).as_secs()
}

fn above(threshold: f64, clear: f64) -> Rule {
    Rule {
        name: "a".to_owned(),
        field: "t".to_owned(),
        above: Some(Limit { threshold, clear }),
        below: None,
        hold: Duration::ZERO,
        stale_after: None,
        tags: BTreeMap::new(),
        webhooks: Vec::new(),
        delay: Duration::ZERO,
    }
}

fn run(rule: &Rule, steps: &[Step]) -> Seen {
    let mut machine = Machine::new(at(0).minus(Duration::from_secs(1)));
    let mut events = Vec::new();
    for step in steps {
        // Every state is written and read back, as by a restart.
        let stored = serde_json::to_vec(&machine).unwrap();
        machine = serde_json::from_slice(&stored).unwrap();
        let found = match *step {
            Row(time, value) => machine.take(rule, at(time), Some(value), at(time)),
            Late(time, now, value) => machine.take(rule, at(time), Some(value), at(now)),
            Text(time) => machine.take(rule, at(time), None, at(time)),
            Check(now) => machine
                .check_stale(rule, at(now), at(0))
                .into_iter()
                .collect(),
        };
        events.extend(found.iter().map(word));
    }
    let state = machine.state;
    Seen { state, events }
}

fn word(event: &Transition) -> String {
    let state = match (event.state, event.kind) {
        (AlertState::Firing, AlertKind::Threshold) => "firing",
        (AlertState::Firing, AlertKind::Stale) => "stale",
        (AlertState::Resolved, AlertKind::Threshold) => "resolved",
        (AlertState::Resolved, AlertKind::Stale) => "back",
        other => return format!("{other:?} is no event"),
    };
    let value = event
        .value
        .map_or("-".to_owned(), |value| value.to_string());
    format!("{state} {value} at {}", second(event.time))
}

fn expect(name: &str, rule: &Rule, steps: &[Step], state: AlertState, events: &[&str]) {
    let seen = run(rule, steps);
    let events = events.iter().map(|event| (*event).to_owned()).collect();
    assert_eq!(seen, Seen { state, events }, "{name}");
}

#[test]
fn values_beyond_the_threshold_are_reported_once_and_end() {
    use AlertState::{Firing, Ok, Resolved};
    let rule = above(90.0, 85.0);
    let cases: &[(&str, &[Step], AlertState, &[&str])] = &[
        ("no rows", &[], Ok, &[]),
        ("at the threshold", &[Row(0, 90.0)], Ok, &[]),
        ("above", &[Row(0, 90.5)], Firing, &["firing 90.5 at 0"]),
        (
            "still above",
            &[Row(0, 91.0), Row(1, 95.0)],
            Firing,
            &["firing 91 at 0"],
        ),
        (
            "between the limits",
            &[Row(0, 91.0), Row(1, 86.0)],
            Firing,
            &["firing 91 at 0"],
        ),
        (
            "cleared",
            &[Row(0, 91.0), Row(1, 85.0)],
            Resolved,
            &["firing 91 at 0", "resolved 85 at 1"],
        ),
        (
            "between the limits after the end",
            &[Row(0, 91.0), Row(1, 80.0), Row(2, 88.0)],
            Resolved,
            &["firing 91 at 0", "resolved 80 at 1"],
        ),
        (
            "again",
            &[Row(0, 91.0), Row(1, 80.0), Row(2, 92.0)],
            Firing,
            &["firing 91 at 0", "resolved 80 at 1", "firing 92 at 2"],
        ),
        (
            "no number",
            &[Text(0), Row(1, f64::NAN), Row(2, f64::INFINITY)],
            Ok,
            &[],
        ),
        (
            "no number while it is reported",
            &[Row(0, 91.0), Text(1), Row(2, f64::NAN)],
            Firing,
            &["firing 91 at 0"],
        ),
        (
            "late rows",
            &[Row(5, 50.0), Late(5, 6, 99.0), Late(4, 6, 99.0)],
            Ok,
            &[],
        ),
        (
            "late rows while it is reported",
            &[Row(5, 99.0), Late(4, 6, 10.0), Late(5, 6, 10.0)],
            Firing,
            &["firing 99 at 5"],
        ),
    ];
    for (name, steps, state, events) in cases {
        expect(name, &rule, steps, *state, events);
    }
}

#[test]
fn an_alert_with_two_thresholds_ends_between_them() {
    let mut rule = above(90.0, 85.0);
    rule.below = Some(Limit {
        threshold: 10.0,
        clear: 15.0,
    });
    let steps = [
        Row(0, 5.0),
        Row(1, 12.0),
        Row(2, 95.0),
        Row(3, 88.0),
        Row(4, 50.0),
    ];
    let events = ["firing 5 at 0", "resolved 50 at 4"];
    expect("two", &rule, &steps, AlertState::Resolved, &events);
    assert_eq!(
        rule.condition(),
        "above 90, clears below 85; below 10, clears above 15"
    );
    let fired = Machine::new(at(0)).take(&rule, at(1), Some(5.0), at(1));
    assert_eq!(fired[0].threshold, Some(10.0));
}

#[test]
fn values_have_to_be_beyond_the_threshold_for_the_whole_time() {
    use AlertState::{Firing, Ok, Pending};
    let mut rule = above(90.0, 90.0);
    rule.hold = Duration::from_secs(10);
    let cases: &[(&str, &[Step], AlertState, &[&str])] = &[
        ("first", &[Row(0, 91.0)], Pending, &[]),
        (
            "not long enough",
            &[Row(0, 91.0), Row(9, 91.0)],
            Pending,
            &[],
        ),
        (
            "long enough",
            &[Row(0, 91.0), Row(10, 92.0)],
            Firing,
            &["firing 92 at 10"],
        ),
        ("stopped", &[Row(0, 91.0), Row(5, 90.0)], Ok, &[]),
        (
            "stopped and again",
            &[Row(0, 91.0), Row(5, 90.0), Row(6, 91.0), Row(12, 91.0)],
            Pending,
            &[],
        ),
        (
            "by the rows' time, not by the clock",
            &[Late(0, 60, 91.0), Late(9, 60, 91.0)],
            Pending,
            &[],
        ),
        (
            "a value that is no number in between",
            &[Row(0, 91.0), Text(5), Row(10, 91.0)],
            Firing,
            &["firing 91 at 10"],
        ),
    ];
    for (name, steps, state, events) in cases {
        expect(name, &rule, steps, *state, events);
    }
}

#[test]
fn backfilled_rows_begin_nothing_and_can_end_an_alert() {
    use AlertState::{Firing, Ok, Pending, Resolved};
    let mut rule = above(90.0, 85.0);
    rule.hold = Duration::from_secs(10);
    let cases: &[(&str, &[Step], AlertState, &[&str])] = &[
        ("70 s after its time", &[Late(0, 70, 91.0)], Ok, &[]),
        ("just in time", &[Late(0, 69, 91.0)], Pending, &[]),
        (
            "a backfilled row doesn't fire",
            &[Late(0, 69, 91.0), Late(30, 200, 91.0)],
            Pending,
            &[],
        ),
        (
            "the next row in time does",
            &[Late(0, 69, 91.0), Late(30, 200, 91.0), Row(201, 91.0)],
            Firing,
            &["firing 91 at 201"],
        ),
        (
            "pending ends",
            &[Row(0, 91.0), Late(30, 200, 50.0)],
            Ok,
            &[],
        ),
        (
            "an alert ends",
            &[Row(0, 91.0), Row(10, 91.0), Late(30, 200, 50.0)],
            Resolved,
            &["firing 91 at 10", "resolved 50 at 30"],
        ),
    ];
    for (name, steps, state, events) in cases {
        expect(name, &rule, steps, *state, events);
    }
    // What needn't be read is what wouldn't change anything.
    let mut machine = Machine::new(at(0));
    assert_eq!(machine.done_until(&rule, at(200)), at(130));
    machine.take(&rule, at(150), Some(91.0), at(200));
    assert_eq!(machine.state, Pending);
    assert_eq!(machine.done_until(&rule, at(1000)), at(150));
}

#[test]
fn silent_series_are_stale_until_a_row_comes() {
    use AlertState::{Firing, Ok, Resolved};
    let mut rule = above(90.0, 85.0);
    rule.stale_after = Some(Duration::from_secs(100));
    let cases: &[(&str, &[Step], AlertState, &[&str])] = &[
        ("never seen", &[Check(500)], Ok, &[]),
        ("not yet", &[Row(10, 1.0), Check(110)], Ok, &[]),
        (
            "silent",
            &[Row(10, 1.0), Check(111), Check(112)],
            Firing,
            &["stale 1 at 111"],
        ),
        (
            "not since the evaluation began",
            &[Row(0, 1.0), Check(100)],
            Ok,
            &[],
        ),
        (
            "back",
            &[Row(10, 1.0), Check(111), Row(120, 2.0)],
            Resolved,
            &["stale 1 at 111", "back 2 at 120"],
        ),
        (
            "back without a number",
            &[Row(10, 1.0), Check(111), Text(120)],
            Resolved,
            &["stale 1 at 111", "back 1 at 120"],
        ),
        (
            "back beyond the threshold",
            &[Row(10, 1.0), Check(111), Row(120, 99.0)],
            Firing,
            &["stale 1 at 111", "back 99 at 120", "firing 99 at 120"],
        ),
        (
            "a row that is as old",
            &[Row(10, 1.0), Check(300), Late(50, 301, 2.0)],
            Firing,
            &["stale 1 at 300"],
        ),
        (
            "silent while values are reported",
            &[Row(10, 99.0), Check(300), Row(310, 1.0)],
            Resolved,
            &["firing 99 at 10", "resolved 1 at 310"],
        ),
        ("only old rows", &[Late(10, 300, 1.0), Check(500)], Ok, &[]),
        (
            "a value that is no number is a row, too",
            &[Row(10, 1.0), Text(100), Check(150)],
            Ok,
            &[],
        ),
    ];
    for (name, steps, state, events) in cases {
        expect(name, &rule, steps, *state, events);
    }
    let mut machine = Machine::new(at(0));
    machine.take(&rule, at(1), Some(1.0), at(1));
    assert!(machine.check_stale(&rule, at(500), at(450)).is_none());
    assert!(machine.check_stale(&rule, at(551), at(450)).is_some());
    assert_eq!(
        machine.end(at(600)).as_ref().map(word),
        Some("back 1 at 600".to_owned())
    );
    assert!(machine.end(at(601)).is_none());
}

#[test]
fn rules_of_a_file_know_when_its_rows_are_there() {
    let rule = |more: &str| {
        let text = format!(
            "name = \"p\"\n[source]\ntopic = \"x/{{d}}\"\n[[alert]]\nname = \"a\"\nfield = \"t\"\nbelow = 5\n\
             where = {{ d = \"1\" }}\nwebhooks = [\"http://h/\"]\n{more}"
        );
        let file =
            PipelineFile::parse("p.toml", &text, &|_| None).map_err(|error| error.to_string());
        Rule::all(&file.unwrap()).remove(0)
    };
    let plain = rule("");
    assert_eq!(plain.delay, Duration::ZERO);
    assert_eq!(plain.condition(), "below 5");
    assert_eq!(plain.webhooks, ["http://h/"]);
    let tags = |value: &str| BTreeMap::from([("d".to_owned(), value.to_owned())]);
    assert!(plain.is_for(&tags("1")) && !plain.is_for(&tags("2")));
    let window = rule("[rows]\nshape = \"window\"\nevery = \"1m\"");
    assert_eq!(window.delay, Duration::from_secs(62));
    let pivot = rule("[rows]\nshape = \"pivot\"\nflush_interval = \"9s\"");
    assert_eq!(pivot.delay, Duration::from_secs(9));
}
