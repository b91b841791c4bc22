//! What devices can't make grow without end.

use std::time::Duration;

use model::dead_letter::Reason;
use model::pipeline::Statistic;
use model::{Layout, Value};

use super::{Line, load, reading, sample, seconds, settings, shown, take, try_take};
use crate::settings::{RowLimits, WindowSettings};
use crate::shape::Shape;
use crate::window::Windows;
use crate::window::reference::Taken;

const TWO: &[(&str, Statistic)] = &[("n", Statistic::Count), ("last", Statistic::Last)];

fn limited(limits: RowLimits) -> WindowSettings {
    WindowSettings {
        limits,
        ..settings(TWO)
    }
}

const LIMITS: RowLimits = RowLimits {
    max_series: 3,
    max_fields: 4,
    max_row_fields: 6,
};

fn of(series: &str, second: f64, fields: &[&str]) -> Taken {
    let values: Vec<_> = fields
        .iter()
        .map(|field| (*field, Value::Float(1.0)))
        .collect();
    Taken {
        series: series.to_owned(),
        ..sample(second, &values)
    }
}

#[test]
fn a_series_beyond_the_limit_is_refused_until_another_is_idle() {
    let mut line = Line::new(&limited(LIMITS));
    for series in ["P", "Q", "R"] {
        line.step(&[of(series, 0.0, &["a"])], 0.0);
    }
    let another = of("S", 0.0, &["a"]);
    let refused = try_take(&mut line.windows, &another, line.now);
    assert_eq!(refused, Some(Reason::TooManySeries));
    line.step(&[], 12.0);
    line.step(&[of("R", 1.0, &["a"])], 120.0);
    take(&mut line.windows, &another, line.now);
    take(&mut line.windows, &of("P", 10.0, &["a"]), line.now);
    let refused = try_take(&mut line.windows, &of("Q", 10.0, &["a"]), line.now);
    assert_eq!(refused, Some(Reason::TooManySeries));
}

#[test]
fn a_field_beyond_the_limit_is_refused_until_another_is_idle() {
    let mut line = Line::new(&limited(LIMITS));
    line.step(
        &[of("P", 0.0, &["a", "b"]), of("Q", 0.0, &["c", "d"])],
        12.0,
    );
    let another = of("P", 10.0, &["e"]);
    let refused = try_take(&mut line.windows, &another, line.now);
    assert_eq!(refused, Some(Reason::TooManyFields));
    // For two minutes without a reading of c and d. Their window is held for as long.
    line.step(&[of("P", 100.0, &["a", "b"])], 119.0);
    let another = of("P", 101.0, &["e"]);
    let refused = try_take(&mut line.windows, &another, line.now);
    assert_eq!(refused, Some(Reason::TooManyFields));
    line.step(&[], 1.0);
    take(&mut line.windows, &another, line.now);
    let refused = try_take(&mut line.windows, &of("Q", 101.0, &["c", "d"]), line.now);
    assert_eq!(
        refused,
        Some(Reason::TooManyFields),
        "e and c and d are too many"
    );
    let rows = line.step(&[of("P", 110.0, &["d"])], 12.0);
    let expected = [
        "P100 a_last=1 a_n=1 b_last=1 b_n=1 e_last=1 e_n=1",
        "P110 d_last=1 d_n=1",
    ];
    assert_eq!(
        rows, expected,
        "numbers that are used again mean their new fields"
    );
}

/// A row has a field for each statistic.
#[test]
fn a_row_has_as_many_statistics_as_it_may() {
    let mut windows = load(&limited(LIMITS), Vec::new());
    let mut refused = |taken: Taken| try_take(&mut windows, &taken, Duration::ZERO);
    assert_eq!(
        refused(of("R", 0.0, &["a", "b", "c", "d"])),
        Some(Reason::RowTooWide)
    );
    assert_eq!(refused(of("R", 0.0, &["a", "b"])), None);
    assert_eq!(
        refused(of("R", 1.0, &["b", "c", "d"])),
        Some(Reason::RowTooWide)
    );
    assert_eq!(refused(of("R", 1.0, &["b", "c"])), None);
    assert_eq!(refused(of("R", 2.0, &["d"])), Some(Reason::RowTooWide));
    assert_eq!(refused(of("R", 10.0, &["d"])), None);
    let changes = windows.finish().unwrap();
    assert_eq!((changes.counts.readings, changes.puts.len()), (5, 2));
}

#[test]
fn a_full_window_refuses_new_readings_of_the_field_alone() {
    let mut settings = settings(TWO);
    settings.max_window_readings = 3;
    let mut windows = load(&settings, Vec::new());
    let mut refused = |taken: Taken| try_take(&mut windows, &taken, Duration::ZERO);
    for second in [0.0, 1.0, 2.0] {
        assert_eq!(refused(of("R", second, &["a"])), None);
    }
    assert_eq!(refused(of("R", 3.0, &["b", "a"])), Some(Reason::WindowFull));
    assert_eq!(refused(of("R", 2.0, &["b", "a"])), None, "a repeat of a");
    assert_eq!(refused(of("R", 10.0, &["a"])), None);
    assert_eq!(refused(of("Q", 3.0, &["a"])), None);
    let counts = windows.finish().unwrap().counts;
    assert_eq!((counts.readings, counts.repeated), (7, 1));
    settings.dedupe = false;
    let mut windows = load(&settings, Vec::new());
    for expected in [None, None, None, Some(Reason::WindowFull)] {
        let refused = try_take(&mut windows, &reading(0.0, 1.0), Duration::ZERO);
        assert_eq!(refused, expected);
    }
}

#[test]
fn nothing_of_a_refused_sample_is_taken() {
    let mut windows = load(&limited(LIMITS), Vec::new());
    take(&mut windows, &of("R", 100.0, &["a", "b"]), Duration::ZERO);
    windows.finish().unwrap();
    for (taken, reason) in [
        (of("R", 0.0, &["a"]), Reason::TooLate),
        (of("R", 100.0, &["a", "c", "d"]), Reason::RowTooWide),
        (of("R", 300.0, &["c", "d", "e"]), Reason::TooManyFields),
    ] {
        assert_eq!(try_take(&mut windows, &taken, Duration::ZERO), Some(reason));
    }
    let changes = windows.finish().unwrap();
    assert_eq!(changes, crate::shape::Changes::default());
    // No newer time and no new field was taken either.
    take(&mut windows, &of("R", 101.0, &["c"]), Duration::ZERO);
    take(&mut windows, &of("R", 110.0, &["d"]), Duration::ZERO);
}

#[test]
fn statistics_that_no_row_can_have_are_refused() {
    let mut settings = settings(&[("x", Statistic::Min), ("y_x", Statistic::Max)]);
    let mut windows = load(&settings, Vec::new());
    let mut refused = |taken: Taken| try_take(&mut windows, &taken, Duration::ZERO);
    assert_eq!(refused(of("R", 0.0, &["a"])), None);
    // a_y with x would be a with y_x.
    assert_eq!(refused(of("R", 0.0, &["a_y"])), Some(Reason::BadName));
    assert_eq!(refused(of("R", 0.0, &["b", "b_y"])), Some(Reason::BadName));
    assert_eq!(refused(of("R", 0.0, &["b_y"])), None);
    assert_eq!(refused(of("R", 0.0, &["b"])), Some(Reason::BadName));
    let long = "l".repeat(253);
    assert_eq!(refused(of("R", 0.0, &[&long])), Some(Reason::BadName));
    assert_eq!(refused(of("R", 0.0, &[&long[1..]])), None);
    // What a device is called isn't a template.
    settings.names = "{statistic}{field}".to_owned();
    let mut windows = load(&settings, Vec::new());
    take(
        &mut windows,
        &of("R", 0.0, &["{statistic}"]),
        Duration::ZERO,
    );
    assert!(windows.expire(seconds(12.0), 10).unwrap());
    let rows = shown(&windows.finish().unwrap());
    assert_eq!(rows, ["0 x{statistic}=1 y_x{statistic}=1"]);
}

/// After a change of the settings it is too late to refuse: the first field has the name.
#[test]
fn names_that_clash_after_a_restart_are_left_out() {
    let mut line = Line::new(&settings(&[("x", Statistic::Min)]));
    line.step(&[of("R", 0.0, &["a", "a_y"])], 0.0);
    line.restart(&settings(&[("x", Statistic::Min), ("y_x", Statistic::Max)]));
    assert_eq!(line.step(&[], 12.0), ["0 a_x=1 a_y_x=1 a_y_y_x=1"]);
}

/// In the pipeline `rigs` names are those of sensors.
#[test]
fn names_are_as_the_layout_has_them() {
    let settings = settings(&[("mean", Statistic::Mean)]);
    let mut windows = Windows::load(&settings, Layout::Rigs, Vec::new()).unwrap();
    let refused = try_take(&mut windows, &of("R", 0.0, &["a b"]), Duration::ZERO);
    assert_eq!(refused, Some(Reason::BadName));
}
