use std::time::{Duration, Instant};

use model::Layout;

use super::{Warning, round_down, superseded_remedy};
use crate::pivot::Pivot;
use crate::settings::RowSettings;
use crate::shape::Shape;

/// The remedy for what rows by these settings left out of these readings of one sensor.
fn remedy(align: &str, readings: &[(&str, f64)]) -> Option<String> {
    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        rows: RowSettings,
    }
    let settings = <Cli as clap::Parser>::parse_from(["", "--align", align]).rows;
    let mut pivot = Pivot::load(&settings, Layout::Rigs, Vec::new()).unwrap();
    for (time, value) in readings {
        let element = format!(
            r#"{{"rig_id":"RIG-7","sensor":"pressure","timestamp":"{time}","value":{value},"ingest_time":"{time}"}}"#
        );
        let sample = Layout::Rigs.decode_sample(element.as_bytes()).unwrap();
        pivot.take(&sample, Duration::ZERO).unwrap().unwrap();
    }
    let example = pivot.take_examples().superseded?;
    Some(superseded_remedy(&example, settings.align))
}

#[test]
fn remedy_is_an_alignment_that_keeps_the_readings_of_the_example() {
    let fast = [
        ("2025-11-02T14:21:33.000Z", 1.0),
        ("2025-11-02T14:21:33.120Z", 2.0),
        ("2025-11-02T14:21:33.230Z", 3.0),
    ];
    assert_eq!(
        remedy("1s", &fast).as_deref(),
        Some("3 readings of RIG-7/pressure came within 1s; ALIGN=100ms keeps them")
    );
    assert_eq!(remedy("100ms", &fast), None);
    assert_eq!(remedy("0", &fast), None);
}

#[test]
fn values_that_contradict_each_other_have_no_remedy_by_alignment() {
    let contradiction = [("2025-11-02T14:21:33Z", 1.0), ("2025-11-02T14:21:33Z", 2.0)];
    assert_eq!(
        remedy("1s", &contradiction).as_deref(),
        Some(
            "RIG-7/pressure sent several values with the same timestamp, and a row takes the first"
        )
    );
    let repetition = [("2025-11-02T14:21:33Z", 1.0), ("2025-11-02T14:21:33Z", 1.0)];
    assert_eq!(remedy("1s", &repetition), None);
}

#[test]
fn gaps_are_rounded_down_to_usual_alignments() {
    for (gap_ms, rounded_ms) in [
        (1, 1),
        (99, 50),
        (100, 100),
        (199, 100),
        (200, 200),
        (999, 500),
    ] {
        assert_eq!(
            round_down(Duration::from_millis(gap_ms)),
            Duration::from_millis(rounded_ms)
        );
    }
    assert_eq!(round_down(Duration::ZERO), Duration::from_nanos(1));
}

#[test]
fn warning_is_due_at_once_and_sums_up_what_came_since() {
    let mut warning = Warning::new();
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(warning.add(0, None, after(0)), None);
    assert_eq!(warning.add(3, Some("a"), after(1)), Some((3, "a")));
    assert_eq!(warning.add(5, Some("b"), after(2)), None);
    assert_eq!(warning.add(7, Some("c"), after(30)), None);
    assert_eq!(warning.add(0, None, after(31)), Some((12, "c")));
    assert_eq!(warning.add(0, None, after(99)), None);
}
