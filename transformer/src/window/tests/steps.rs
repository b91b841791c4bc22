//! The rules one by one.

use std::time::Duration;

use model::dead_letter::Reason;
use model::pipeline::Statistic;
use model::{Timestamp, Value};

use super::{ALL, Line, check, load, reading, sample, seconds, settings, shown, take, try_take};
use crate::settings::WindowSettings;
use crate::shape::Shape;
use crate::window::reference::Taken;

const SUM: &[(&str, Statistic)] = &[("n", Statistic::Count), ("sum", Statistic::Sum)];

fn of(series: &str, taken: Taken) -> Taken {
    Taken {
        series: series.to_owned(),
        ..taken
    }
}

#[test]
fn a_row_is_emitted_a_grace_period_after_the_windows_end() {
    let counts = check(
        &settings(&ALL),
        &[
            // 9 s are left of the window, and 2 s of grace.
            (&[reading(1.0, 4.0)], 3.0, &[]),
            (&[reading(4.0, 1.0)], 7.9, &[]),
            (
                &[],
                0.1,
                &[
                    "0 a_count=2 a_first=4 a_last=1 a_max=4 a_mean=2.5 a_median=2.5 a_min=1 \
                   a_stddev=2.1213203435596424 a_sum=5",
                ],
            ),
            (&[], 60.0, &[]),
            (
                &[reading(80.0, 7.0)],
                12.0,
                &["80 a_count=1 a_first=7 a_last=7 a_max=7 a_mean=7 a_median=7 a_min=7 a_sum=7"],
            ),
        ],
    );
    assert_eq!((counts.readings, counts.in_rows), (3, 3));
    assert_eq!((counts.windows, counts.corrected), (2, 0));
}

#[test]
fn a_late_device_is_waited_for_as_long_as_it_needs() {
    check(
        &settings(SUM),
        &[
            // It is 20 s late, or its clock is: its window's end arrives 20 s late, too.
            (&[reading(1.0, 1.0)], 8.0, &[]),
            (&[reading(9.0, 2.0)], 2.9, &[]),
            (&[], 0.1, &["0 a_n=2 a_sum=3"]),
            // Of two times of arrival the later one counts, and repeats don't.
            (&[reading(11.0, 1.0)], 1.0, &[]),
            (&[reading(11.1, 1.0)], 1.0, &[]),
            (&[reading(11.0, 1.0)], 9.8, &[]),
            (&[], 0.1, &["10 a_n=2 a_sum=2"]),
        ],
    );
}

#[test]
fn windows_are_aligned_to_1970_before_it_too() {
    let at = |ms: i64, value: f64| Taken {
        time: Timestamp::from_millis(ms),
        ingested: Timestamp::from_millis(ms),
        ..reading(0.0, value)
    };
    let mut line = Line::new(&settings(SUM));
    let samples = [at(-1, 1.0), at(-10_000, 2.0), at(-10_001, 4.0), at(0, 8.0)];
    line.step(&samples, 0.0);
    line.now += seconds(30.0);
    assert!(line.windows.expire(line.now, 100).unwrap());
    let rows = super::emissions(&line.commit());
    let mut rows: Vec<_> = rows
        .into_iter()
        .map(|(_, start, fields)| (start.nanos() / 1_000_000, fields[1].1.clone()))
        .collect();
    rows.sort_by_key(|(start, _)| *start);
    let sum = Value::Float;
    assert_eq!(
        rows,
        [(-20_000, sum(4.0)), (-10_000, sum(3.0)), (0, sum(8.0))]
    );
}

#[test]
fn fields_have_their_own_statistics_and_absent_ones_stay_absent() {
    let mut settings = settings(&[("avg", Statistic::Mean), ("n", Statistic::Count)]);
    settings.names = "{statistic}.{field}".to_owned();
    check(
        &settings,
        &[(
            &[
                sample(0.0, &[("a", 1.0.into()), ("b", 5.0.into())]),
                sample(1.0, &[("a", 3.0.into()), ("on", true.into_value())]),
                of("Q", sample(2.0, &[("b", 9.0.into())])),
            ],
            12.0,
            &["Q0 avg.b=9 n.b=1", "0 avg.a=2 avg.b=5 n.a=2 n.b=1 n.on=1"],
        )],
    );
}

trait IntoValue {
    fn into_value(self) -> Value;
}

impl IntoValue for bool {
    fn into_value(self) -> Value {
        Value::Bool(self)
    }
}

#[test]
fn late_readings_correct_the_row_together() {
    let counts = check(
        &settings(SUM),
        &[
            (
                &[reading(1.0, 1.0), reading(11.0, 1.0)],
                11.0,
                &["0 a_n=1 a_sum=1", "10 a_n=1 a_sum=1"],
            ),
            // The first of them decides when.
            (&[reading(2.0, 2.0)], 1.5, &[]),
            (&[reading(3.0, 4.0), reading(2.0, 2.0)], 0.4, &[]),
            (&[], 0.1, &["0 a_n=3 a_sum=7"]),
            (&[], 50.0, &[]),
            // A repeat of one corrects nothing.
            (&[reading(3.0, 4.0)], 50.0, &[]),
            (&[reading(0.5, 8.0)], 2.0, &["0 a_n=4 a_sum=15"]),
        ],
    );
    assert_eq!((counts.windows, counts.corrected), (2, 2));
    assert_eq!(
        (counts.readings, counts.in_rows, counts.repeated),
        (7, 5, 2)
    );
}

#[test]
fn a_window_is_let_go_when_it_leaves_the_late_window_backlog_or_not() {
    let mut line = Line::new(&settings(SUM));
    // 40 s is not more than 30 s after the first window's end.
    for second in [5.0, 15.0, 40.0] {
        take(&mut line.windows, &reading(second, 1.0), Duration::ZERO);
    }
    take(&mut line.windows, &reading(6.0, 1.0), Duration::ZERO);
    assert_eq!(shown(&line.commit()), [""; 0]);
    take(&mut line.windows, &reading(40.001, 1.0), Duration::ZERO);
    assert_eq!(shown(&line.commit()), ["0 a_n=2 a_sum=2"]);
    let refused = try_take(&mut line.windows, &reading(7.0, 1.0), Duration::ZERO);
    assert_eq!(refused, Some(Reason::TooLate));
    // Also where no reading has been.
    let refused = try_take(&mut line.windows, &reading(-7.0, 1.0), Duration::ZERO);
    assert_eq!(refused, Some(Reason::TooLate));
    take(&mut line.windows, &reading(17.0, 1.0), Duration::ZERO);
    take(
        &mut line.windows,
        &of("Q", reading(7.0, 1.0)),
        Duration::ZERO,
    );
    assert_eq!(line.commit().counts.readings, 2);
}

/// The first reading of a series sets how late others may be.
#[test]
fn a_reading_behind_the_first_one_of_its_series_is_too_late() {
    let mut windows = load(&settings(SUM), Vec::new());
    take(&mut windows, &reading(100.0, 1.0), Duration::ZERO);
    let refused = try_take(&mut windows, &reading(5.0, 1.0), Duration::ZERO);
    assert_eq!(refused, Some(Reason::TooLate));
}

#[test]
fn a_reading_from_the_future_does_not_make_others_too_late() {
    let mut windows = load(&settings(SUM), Vec::new());
    let ahead = Taken {
        ingested: super::time(0.0),
        ..reading(59.0, 1.0)
    };
    take(&mut windows, &ahead, Duration::ZERO);
    take(&mut windows, &reading(0.0, 1.0), Duration::ZERO);
    let ahead = Taken {
        ingested: super::time(40.001),
        ..ahead
    };
    // Its repeat doesn't either.
    take(&mut windows, &ahead, Duration::ZERO);
    take(&mut windows, &reading(1.0, 1.0), Duration::ZERO);
    let moved = Taken {
        values: vec![("a".into(), 2.0.into())],
        ..ahead
    };
    take(&mut windows, &moved, Duration::ZERO);
    let refused = try_take(&mut windows, &reading(2.0, 1.0), Duration::ZERO);
    assert_eq!(refused, Some(Reason::TooLate));
}

#[test]
fn equal_readings_count_once_or_twice() {
    let samples = [
        reading(1.0, 1.0),
        reading(1.0, 1.0),
        reading(1.0, 2.0),
        reading(2.0, 1.0),
        sample(1.0, &[("a", 1.0.into()), ("b", 1.0.into())]),
        sample(1.0, &[("a", Value::Integer(1))]),
    ];
    let mut settings = settings(SUM);
    let counts = check(
        &settings,
        &[(&samples, 12.0, &["0 a_n=4 a_sum=5 b_n=1 b_sum=1"])],
    );
    assert_eq!((counts.readings, counts.repeated), (7, 2));
    settings.dedupe = false;
    let counts = check(
        &settings,
        &[(&samples, 12.0, &["0 a_n=6 a_sum=7 b_n=1 b_sum=1"])],
    );
    assert_eq!((counts.readings, counts.repeated), (7, 0));
}

/// Strings have no sum: there is no row, and the ledger is exact all the same.
#[test]
fn readings_without_any_statistic_make_no_row() {
    let settings = settings(&[("sum", Statistic::Sum)]);
    let text = |second| sample(second, &[("a", Value::String("x".into()))]);
    let counts = check(
        &settings,
        &[(&[text(1.0)], 12.0, &[]), (&[text(2.0)], 2.0, &[])],
    );
    assert_eq!((counts.in_rows, counts.open_readings), (2, 0));
    assert_eq!((counts.windows, counts.corrected), (0, 0));
}

#[test]
fn expire_emits_at_most_max_rows() {
    let mut windows = load(&settings(SUM), Vec::new());
    for series in ["P", "Q", "R", "S", "T"] {
        take(&mut windows, &of(series, reading(0.0, 1.0)), Duration::ZERO);
    }
    assert_eq!(windows.open_rows(), 5);
    let later = seconds(12.0);
    for (is_done, rows) in [(false, 2), (false, 2), (true, 1)] {
        assert_eq!(windows.expire(later, 2).unwrap(), is_done);
        assert_eq!(windows.finish().unwrap().rows.len(), rows);
    }
    assert_eq!(windows.open_rows(), 0);
}

/// What was let go stays so after a restart, though the windows are gone.
#[test]
fn a_silent_series_lets_go_of_its_windows_and_that_is_remembered() {
    let mut line = Line::new(&settings(SUM));
    assert_eq!(line.step(&[reading(0.0, 1.0)], 12.0), ["0 a_n=1 a_sum=1"]);
    // Two minutes after the row.
    line.step(&[], 119.0);
    assert_eq!(line.state.len(), 2, "readings, and that they are in a row");
    line.step(&[], 1.0);
    let keys: Vec<u8> = line.state.keys().map(|key| key[0]).collect();
    assert_eq!(keys, [b'f']);
    for restarted in [false, true] {
        if restarted {
            line.restart(&settings(SUM));
        }
        let refused = try_take(&mut line.windows, &reading(1.0, 1.0), line.now);
        assert_eq!(refused, Some(Reason::TooLate));
    }
    // The next window is another one.
    line.step(&[reading(10.0, 2.0)], 0.0);
    assert_eq!(line.step(&[], 12.0), ["10 a_n=1 a_sum=2"]);
    let refused = try_take(&mut line.windows, &reading(1.0, 1.0), line.now);
    assert_eq!(refused, Some(Reason::TooLate));
}

/// For as long as a reading may be old, and of at most as many series as there may be.
#[test]
fn what_is_remembered_of_silent_series_is_limited() {
    let mut settings = settings(SUM);
    settings.limits.max_series = 2;
    let mut line = Line::new(&settings);
    let floors = |line: &Line| line.state.keys().filter(|key| key[0] == b'f').count();
    for (place, series) in ["N", "O", "P"].into_iter().enumerate() {
        let second = [100.0, 200.0, 300.0][place];
        line.step(&[of(series, reading(second, 1.0))], 12.0);
        line.step(&[], 120.0);
    }
    assert_eq!(floors(&line), 2);
    let now = line.now;
    let refused = |line: &mut Line, series: &str, second: f64| {
        try_take(&mut line.windows, &of(series, reading(second, 1.0)), now)
    };
    assert_eq!(refused(&mut line, "O", 200.0), Some(Reason::TooLate));
    assert_eq!(refused(&mut line, "P", 300.0), Some(Reason::TooLate));
    // No reading as old as the windows of O can come any more.
    line.step(&[of("Q", reading(3_820.0, 1.0))], 0.0);
    assert_eq!(floors(&line), 1);
    assert_eq!(refused(&mut line, "P", 300.0), Some(Reason::TooLate));
}

/// An hour's window is held though its series is idle after two minutes, and can be corrected for two
/// more.
#[test]
fn an_open_window_keeps_its_series() {
    let mut settings = settings(SUM);
    settings.every = Duration::from_hours(1);
    let mut line = Line::new(&settings);
    line.step(&[reading(0.0, 1.0)], 3_601.0);
    assert_eq!(line.step(&[], 1.0), ["0 a_n=1 a_sum=1"]);
    line.step(&[], 100.0);
    assert_eq!(line.step(&[reading(1.0, 1.0)], 2.0), ["0 a_n=2 a_sum=2"]);
    line.step(&[], 121.0);
    let refused = |line: &mut Line| try_take(&mut line.windows, &reading(2.0, 1.0), line.now);
    line.step(&[], 0.0);
    assert_eq!(refused(&mut line), Some(Reason::TooLate));
}

#[test]
fn without_a_grace_period_and_a_late_window_rows_are_final_at_once() {
    let settings = WindowSettings {
        grace: Duration::ZERO,
        late_window: Duration::ZERO,
        ..settings(SUM)
    };
    let mut line = Line::new(&settings);
    assert_eq!(line.step(&[reading(0.0, 1.0)], 9.999), [""; 0]);
    assert_eq!(line.step(&[], 0.001), ["0 a_n=1 a_sum=1"]);
    assert_eq!(line.step(&[reading(10.0, 1.0)], 0.0), [""; 0]);
    // The edge is inside.
    assert_eq!(line.step(&[reading(9.0, 1.0)], 0.0), ["0 a_n=2 a_sum=2"]);
    assert_eq!(line.step(&[reading(11.0, 1.0)], 0.0), [""; 0]);
    let refused = try_take(&mut line.windows, &reading(9.5, 1.0), line.now);
    assert_eq!(refused, Some(Reason::TooLate));
}
