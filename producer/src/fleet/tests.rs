use std::collections::BTreeSet;
use std::time::Duration;

use model::time::Timestamp;
use proptest::prelude::*;

use super::{DRIFT_ROUNDS, Faults, Fleet, SENSORS, Sending};

fn fleet(names: &[&str], seed: u64, faults: Faults) -> Fleet {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    Fleet::new(&names, seed, faults)
}

/// All values of one rig in the first rounds.
fn values(fleet: &Fleet, rig: usize, rounds: u64) -> Vec<f64> {
    let round = |round| (0..SENSORS.len()).map(move |sensor| fleet.value(rig, sensor, round));
    (0..rounds).flat_map(round).collect()
}

#[test]
fn same_seed_gives_the_same_readings() {
    let fleet = fleet(&["RIG-01"], 1, Faults::default());
    // Fixed: a change here breaks everybody's recorded runs.
    assert_eq!(
        values(&fleet, 0, 1),
        [68.77, 64.25, 22.03, 42.5, 231.64, 5.57]
    );
}

#[test]
fn a_rigs_values_do_not_depend_on_other_rigs() {
    let small = fleet(&["RIG-42"], 7, Faults::default());
    let large = fleet(&["RIG-1", "RIG-42", "RIG-3"], 7, Faults::default());
    assert_eq!(values(&small, 0, 50), values(&large, 1, 50));
    assert_ne!(values(&large, 0, 50), values(&large, 1, 50));
    let other = fleet(&["RIG-42"], 8, Faults::default());
    assert_ne!(values(&small, 0, 50), values(&other, 0, 50));
}

#[test]
fn values_are_steady_with_slow_drift_and_noise() {
    let fleet = fleet(&["RIG-01"], 1, Faults::default());
    for (place, sensor) in SENSORS.iter().enumerate() {
        let range = sensor.high - sensor.low;
        let course: Vec<f64> = (0..DRIFT_ROUNDS.1)
            .map(|round| fleet.value(0, place, round))
            .collect();
        let steps = course
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).abs() / range);
        let largest_step = steps.fold(0.0, f64::max);
        assert!(
            (0.01..0.09).contains(&largest_step),
            "{} {largest_step}",
            sensor.name
        );
        let high = course.iter().copied().fold(f64::MIN, f64::max);
        let low = course.iter().copied().fold(f64::MAX, f64::min);
        let spread = (high - low) / range;
        assert!(
            (0.36..=0.45).contains(&spread),
            "{} drifts over {spread}",
            sensor.name
        );
    }
}

#[test]
fn faults_have_the_configured_frequency_and_are_independent() {
    let faults = Faults {
        missing: 0.1,
        duplicated: 0.2,
        late: 0.05,
        garbled: 0.03,
        ..Faults::default()
    };
    let fleet = fleet(&["a", "b", "c", "d"], 3, faults);
    let mut sendings = Vec::new();
    for round in 0..5_000 {
        for rig in 0..fleet.rigs() {
            sendings.extend((0..SENSORS.len()).map(|sensor| fleet.sending(rig, sensor, round)));
        }
    }
    let share = |is: &dyn Fn(&Sending) -> bool| {
        let count = u32::try_from(sendings.iter().filter(|sending| is(sending)).count()).unwrap();
        f64::from(count) / f64::from(u32::try_from(sendings.len()).unwrap())
    };
    let close = |share: f64, want: f64| (share - want).abs() < 0.004;
    assert!(close(share(&|sending| sending.copies == 0), 0.1));
    assert!(close(share(&|sending| sending.copies == 2), 0.9 * 0.2));
    assert!(close(share(&|sending| sending.late), 0.05));
    assert!(close(share(&|sending| sending.garbled), 0.03));
    assert!(close(
        share(&|sending| sending.late && sending.copies == 2),
        0.9 * 0.2 * 0.05
    ));
}

#[test]
fn faults_of_probability_one_and_zero_are_exact() {
    let healthy = fleet(&["a"], 3, Faults::default());
    let certain = Faults {
        duplicated: 1.0,
        late: 1.0,
        garbled: 1.0,
        ..Faults::default()
    };
    let broken = fleet(&["a"], 3, certain);
    let silent = fleet(
        &["a"],
        3,
        Faults {
            missing: 1.0,
            ..certain
        },
    );
    for round in 0..1_000 {
        assert_eq!(
            healthy.sending(0, 0, round),
            Sending {
                copies: 1,
                late: false,
                garbled: false
            }
        );
        assert_eq!(
            broken.sending(0, 0, round),
            Sending {
                copies: 2,
                late: true,
                garbled: true
            }
        );
        assert_eq!(silent.sending(0, 0, round).copies, 0);
    }
}

#[test]
fn rounds_are_shuffled_with_the_configured_probability_and_differently() {
    let with = |shuffled| Faults {
        shuffled,
        ..Faults::default()
    };
    let in_order: Vec<usize> = (0..12).collect();
    let orders = |shuffled| {
        let fleet = fleet(&["a", "b"], 3, with(shuffled));
        let orders = (0..5_000).map(move |round| fleet.order(round, 12));
        orders.collect::<Vec<_>>()
    };
    assert!(orders(0.0).iter().all(|order| *order == in_order));
    let certain = orders(1.0);
    assert!(certain.iter().collect::<BTreeSet<_>>().len() > 4_990);
    // Each place comes first equally often.
    for place in 0..12 {
        let first = certain.iter().filter(|order| order[0] == place).count();
        assert!((340..=500).contains(&first), "{place} {first}");
    }
    let some = orders(0.25);
    let shuffled = some.iter().filter(|order| **order != in_order).count();
    assert!((1_150..=1_350).contains(&shuffled), "{shuffled}");
    // Another probability shuffles other rounds, but none of them otherwise.
    for (some, certain) in some.iter().zip(&certain) {
        assert!(*some == in_order || some == certain);
    }
    // Fixed, as the values are.
    assert_eq!(certain[0], [11, 4, 6, 5, 0, 7, 3, 1, 2, 9, 10, 8]);
}

#[test]
fn clock_offsets_go_both_ways_and_are_off_by_default() {
    let names: Vec<String> = (0..1_000).map(|n| format!("RIG-{n}")).collect();
    let time = Timestamp::from_millis(1_762_093_293_512);
    let clocks = |clock_offset| {
        let faults = Faults {
            clock_offset,
            ..Faults::default()
        };
        let fleet = Fleet::new(&names, 3, faults);
        let clocks = (0..1_000).map(|rig| fleet.clock(rig, time).nanos() - time.nanos());
        clocks.map(|ns| ns / 1_000_000).collect::<Vec<i64>>()
    };
    assert_eq!(clocks(Duration::ZERO), [0; 1_000]);
    let off = clocks(Duration::from_secs(10));
    assert!(off.iter().all(|ms| (-10_000..=10_000).contains(ms)));
    assert!(off.iter().collect::<BTreeSet<_>>().len() > 900);
    let ahead = off.iter().filter(|ms| **ms > 0).count();
    assert!((430..=570).contains(&ahead), "{ahead}");
    assert!(off.iter().any(|ms| *ms > 9_900) && off.iter().any(|ms| *ms < -9_900));
    // One millisecond, both ends included.
    let least = clocks(Duration::from_millis(1));
    assert_eq!(
        least.iter().collect::<BTreeSet<_>>(),
        BTreeSet::from([&-1, &0, &1])
    );
    // Fixed, as the values are.
    assert_eq!(off[..3], [-6_384, 7_298, 4_360]);
}

proptest! {
    #[test]
    fn order_holds_every_reading_once_and_does_not_depend_on_other_rigs(
        seed in any::<u64>(), round in any::<u64>(), readings in 0..20_usize,
    ) {
        let faults = Faults { shuffled: 1.0, ..Faults::default() };
        let large = fleet(&["a", "b", "c"], seed, faults);
        let order = large.order(round, readings);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        prop_assert_eq!(sorted, (0..readings.min(18)).collect::<Vec<_>>());
        let small = fleet(&["a", "b"], seed, faults).order(round, readings);
        let both: Vec<_> = order.into_iter().filter(|place| *place < 12).collect();
        prop_assert_eq!(small, both);
    }

    #[test]
    fn clock_offset_is_within_its_limit(
        seed in any::<u64>(), name in "[A-Za-z0-9._-]{1,64}", most in any::<Duration>(),
    ) {
        let faults = Faults { clock_offset: most, ..Faults::default() };
        let time = Timestamp::from_nanos(0);
        let shown = fleet(&[&name], seed, faults).clock(0, time);
        prop_assert!(shown.distance(time) <= most);
    }

    #[test]
    fn values_stay_in_their_range_with_two_decimals(
        seed in any::<u64>(), name in "[A-Za-z0-9._-]{1,64}", round in any::<u64>(), sensor in 0..6_usize,
    ) {
        let value = fleet(&[&name], seed, Faults::default()).value(0, sensor, round);
        let range = SENSORS[sensor].low..=SENSORS[sensor].high;
        prop_assert!(range.contains(&value), "{value} of {range:?}");
        let text = value.to_string();
        let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        prop_assert!(decimals <= 2, "{text}");
    }
}
