//! What devices can't make grow without end.

use std::time::Duration;

use model::dead_letter::Reason;

use super::{load, reading, settings, shown, take, try_take};
use crate::pivot::Pivot;
use crate::pivot::reference::Taken;
use crate::settings::{RowLimits, RowSettings};
use crate::shape::{Changes, Shape};

const LIMITS: RowLimits = RowLimits {
    max_series: 100_000,
    max_fields: 1_000,
    max_row_fields: 256,
};

fn pivot(limits: RowLimits) -> Pivot {
    let settings = RowSettings {
        max_open_rows: 200_000,
        limits,
        ..settings()
    };
    load(&settings, Vec::new())
}

fn of_rig(rig: &str, taken: Taken) -> Taken {
    Taken {
        rig: rig.to_owned(),
        ..taken
    }
}

fn state_bytes(changes: &Changes) -> usize {
    let sizes = changes
        .puts
        .iter()
        .map(|(key, value)| key.len() + value.len());
    sizes.sum()
}

#[test]
fn row_of_ten_thousand_fields_takes_as_many_as_it_may_and_no_more_numbers() {
    let mut pivot = pivot(LIMITS);
    let refused: Vec<Option<Reason>> = (0..10_000)
        .map(|field| {
            let name = format!("field{field}");
            try_take(&mut pivot, &reading(&name, 0, 1.0), Duration::ZERO)
        })
        .collect();
    assert!(refused[..256].iter().all(Option::is_none));
    let too_wide = |refused: &Option<Reason>| *refused == Some(Reason::RowTooWide);
    assert!(refused[256..].iter().all(too_wide));
    let changes = pivot.finish().unwrap();
    // 256 names and one row of 256 cells.
    assert_eq!(changes.puts.len(), 257);
    assert!(state_bytes(&changes) < 10_000, "{}", state_bytes(&changes));
    // A repetition of a field that the row has is no new field.
    take(&mut pivot, &reading("field0", 0, 1.0), Duration::ZERO);
    assert_eq!(pivot.finish().unwrap().counts.repeated, 1);
    // The other rig uses its own sensors, and new ones.
    for sensor in ["a", "b", "field9999"] {
        let taken = of_rig("Q", reading(sensor, 0, 2.0));
        take(&mut pivot, &taken, Duration::ZERO);
    }
    assert_eq!(
        shown(&pivot.finish().unwrap()),
        ["0 a=2 b=2", "0 field9999=2"]
    );
}

#[test]
fn emitted_row_stays_at_its_limit_after_a_restart() {
    let limits = RowLimits {
        max_row_fields: 3,
        ..LIMITS
    };
    let mut pivot = pivot(limits);
    for sensor in ["a", "b", "c"] {
        take(&mut pivot, &reading(sensor, 0, 1.0), Duration::ZERO);
    }
    let state = pivot.finish().unwrap().puts;
    let settings = RowSettings {
        limits,
        ..settings()
    };
    let mut pivot = load(&settings, state);
    let refused = try_take(&mut pivot, &reading("d", 0, 1.0), Duration::ZERO);
    assert_eq!(refused, Some(Reason::RowTooWide));
}

#[test]
fn rig_beyond_the_limit_is_refused_and_known_rigs_go_on() {
    let mut pivot = pivot(LIMITS);
    for rig in 0..100_000 {
        let taken = of_rig(&format!("R{rig}"), reading("a", 0, 1.0));
        take(&mut pivot, &taken, Duration::ZERO);
    }
    let another = of_rig("R100000", reading("a", 0, 1.0));
    let refused = try_take(&mut pivot, &another, Duration::ZERO);
    assert_eq!(refused, Some(Reason::TooManySeries));
    let known = of_rig("R99999", reading("b", 0, 2.0));
    take(&mut pivot, &known, Duration::ZERO);
    let changes = pivot.finish().unwrap();
    assert_eq!(shown(&changes), ["0 a=1 b=2"]);
    // Without a reading for RIG_IDLE, the others make room.
    let later = settings().rig_idle + Duration::from_secs(5);
    assert!(pivot.expire(Duration::from_secs(10), 200_000).unwrap());
    assert!(pivot.expire(later, 200_000).unwrap());
    assert_eq!(try_take(&mut pivot, &another, later), None);
}

#[test]
fn sensor_beyond_the_limit_is_refused_until_another_is_idle() {
    let limits = RowLimits {
        max_fields: 4,
        ..LIMITS
    };
    let mut pivot = pivot(limits);
    let at = Duration::from_secs;
    take(&mut pivot, &reading("x", 0, 1.0), at(0));
    take(&mut pivot, &reading("y", 0, 1.0), at(0));
    let refused = try_take(&mut pivot, &reading("z", 0, 1.0), at(0));
    assert_eq!(refused, Some(Reason::TooManyFields));
    // The rig goes on without x, and with y. The row that holds x leaves the window.
    for second in 1_u32..=24 {
        let ms = i64::from(second) * 1_000;
        take(&mut pivot, &reading("y", ms, 1.0), at(second.into()));
        assert!(pivot.expire(at(second.into()), 100).unwrap());
        pivot.finish().unwrap();
    }
    take(&mut pivot, &reading("z", 25_000, 1.0), at(25));
    let refused = try_take(&mut pivot, &reading("x", 25_000, 1.0), at(25));
    assert_eq!(
        refused,
        Some(Reason::TooManyFields),
        "z has the number of x"
    );
    assert!(pivot.expire(at(40), 100).unwrap());
    let rows = shown(&pivot.finish().unwrap());
    assert_eq!(
        rows,
        ["23 y=1", "24 y=1", "25 z=1"],
        "rows have the names of their own sensors"
    );
}

/// A number is given to another sensor only after the commit that deletes its old name.
#[test]
fn number_is_not_reused_within_the_step_that_releases_it() {
    let mut pivot = pivot(LIMITS);
    let at = Duration::from_secs;
    take(&mut pivot, &reading("x", 0, 1.0), at(0));
    assert!(pivot.expire(at(2), 100).unwrap());
    pivot.finish().unwrap();
    assert!(pivot.expire(at(50), 100).unwrap());
    assert!(pivot.expire(at(99), 100).unwrap());
    take(&mut pivot, &reading("z", 99_000, 1.0), at(99));
    let changes = pivot.finish().unwrap();
    assert_eq!(changes.deletes.len(), 2, "the row and the name of x");
    assert!(
        changes
            .puts
            .iter()
            .all(|(key, _)| !changes.deletes.contains(key))
    );
    take(&mut pivot, &reading("w", 99_000, 1.0), at(99));
    let reused = pivot.finish().unwrap();
    let names = |key: &[u8]| reused.puts.iter().any(|(put, _)| put == key);
    assert!(names(&changes.deletes[1]), "w has the number of x");
}

#[test]
fn nothing_of_a_refused_sample_is_taken() {
    let limits = RowLimits {
        max_fields: 4,
        max_row_fields: 3,
        ..LIMITS
    };
    let mut pivot = pivot(limits);
    let values = |names: &[&str]| {
        names
            .iter()
            .map(|name| ((*name).into(), 1.0.into()))
            .collect()
    };
    let of = |ms: i64, names: &[&str]| Taken {
        values: values(names),
        ..reading("", ms, 0.0)
    };
    let mut refused = |taken: Taken| try_take(&mut pivot, &taken, Duration::ZERO);
    assert_eq!(
        refused(of(0, &["a", "b", "c", "d"])),
        Some(Reason::RowTooWide)
    );
    assert_eq!(refused(of(0, &["a", "x"])), None);
    // `a` is there already, so two more would be four.
    assert_eq!(refused(of(0, &["a", "b", "c"])), Some(Reason::RowTooWide));
    // `a`, `b` and `x` are known.
    assert_eq!(
        refused(of(1_000, &["a", "y", "z"])),
        Some(Reason::TooManyFields)
    );
    let changes = pivot.finish().unwrap();
    assert_eq!(
        (changes.counts.readings, changes.counts.open_readings),
        (2, 2)
    );
    assert_eq!(changes.puts.len(), 3, "two names and a row");
}
