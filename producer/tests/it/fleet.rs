//! What a simulated fleet sends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::time::Timestamp;
use producer::fleet::{Faults, Fleet, SENSORS};
use testkit::Mosquitto;

use super::{PATIENCE, heard, listen, messages, reading, start_with};

#[test]
fn fast_run_sends_the_readings_of_its_seed() {
    let broker = Mosquitto::start();
    let listener = listen(&broker, 600);
    let names = ["RIG-1".to_owned(), "RIG-42".to_owned()];
    let mut producer = start_with(
        &broker,
        &[
            ("RIGS", "RIG-1,RIG-42"),
            ("FAST", "true"),
            ("COUNT", "600"),
            ("SEED", "7"),
        ],
    );
    let ended = producer.wait_exit(PATIENCE).expect("it ends by itself");
    assert!(ended.success(), "{}", producer.logs());
    let said = producer.logs();
    assert!(
        said.contains("sent=600 acknowledged=600 unacknowledged=0"),
        "{said}"
    );

    let fleet = Fleet::new(&names, 7, Faults::default());
    let messages = heard(listener);
    assert_eq!(messages.len(), 600);
    let start = messages[0].2;
    let mut last = start;
    for (place, (rig, sensor, timestamp, value)) in messages.into_iter().enumerate() {
        let (round, rig_place, sensor_place) = (place / 12, place % 12 / 6, place % 6);
        assert_eq!(timestamp, start.plus(Duration::from_secs(round as u64)));
        assert_eq!(
            (&rig, &*sensor),
            (&names[rig_place], SENSORS[sensor_place].name)
        );
        assert_eq!(
            value.to_bits(),
            fleet.value(rig_place, sensor_place, round as u64).to_bits()
        );
        last = timestamp;
    }
    let age = common::clock::Clock::system().now().since(last);
    assert!(
        age > Duration::ZERO && age < Duration::from_secs(30),
        "ends {age:?} ago"
    );
}

#[test]
fn faults_are_visible_in_the_published_messages() {
    let broker = Mosquitto::start();
    let faults = Faults {
        missing: 0.1,
        duplicated: 0.2,
        late: 0.3,
        late_by: Duration::from_secs(3),
        ..Faults::default()
    };
    let names = ["R".to_owned()];
    let fleet = Fleet::new(&names, 1, faults);
    let mut expected = BTreeMap::new();
    for (round, sensor) in (0..100).flat_map(|round| (0..6).map(move |sensor| (round, sensor))) {
        let sending = fleet.sending(0, sensor, round);
        if sending.copies > 0 {
            expected.insert((round, SENSORS[sensor].name.to_owned()), sending);
        }
    }
    let count = expected
        .values()
        .map(|sending| sending.copies)
        .sum::<usize>();
    let listener = listen(&broker, count);
    let mut producer = start_with(
        &broker,
        &[
            ("RIGS", "R"),
            ("FAST", "1"),
            ("COUNT", "600"),
            ("MISSING", "0.1"),
            ("DUPLICATED", "0.2"),
            ("LATE", "0.3"),
            ("LATE_BY", "3s"),
        ],
    );
    assert!(
        producer
            .wait_exit(PATIENCE)
            .is_some_and(|ended| ended.success())
    );
    assert!(
        producer.logs().contains(&format!("sent={count} ")),
        "{}",
        producer.logs()
    );

    let messages = heard(listener);
    let start = messages.iter().map(|message| message.2).min().unwrap();
    let mut newest = 0;
    let mut seen: BTreeMap<(u64, String), usize> = BTreeMap::new();
    for (_, sensor, timestamp, _) in messages {
        let round = timestamp.since(start).as_secs();
        let sending = expected[&(round, sensor.clone())];
        // Late ones come before the other readings of the round in which they are due.
        let due = if sending.late { round + 3 } else { round };
        assert!(
            newest <= due && due <= newest + 1,
            "round {round} came in round {newest}"
        );
        newest = newest.max(due);
        *seen.entry((round, sensor)).or_default() += 1;
    }
    let want: BTreeMap<_, _> = expected
        .into_iter()
        .map(|(key, sending)| (key, sending.copies))
        .collect();
    assert_eq!(seen, want);
}

/// Runs a fast fleet with these settings, which sends `count` readings.
fn run(broker: &Mosquitto, count: usize, env: &[(&str, &str)]) {
    let count = count.to_string();
    let mut all = vec![("FAST", "true"), ("COUNT", count.as_str())];
    all.extend_from_slice(env);
    let mut producer = start_with(broker, &all);
    let ended = producer.wait_exit(PATIENCE);
    let said = producer.logs();
    assert!(ended.is_some_and(|ended| ended.success()), "{said}");
    assert!(said.contains(&format!("sent={count} ")), "{said}");
}

#[test]
fn garbled_payloads_are_truncated_as_computed_from_the_seed() {
    let broker = Mosquitto::start();
    let faults = Faults {
        garbled: 0.3,
        ..Faults::default()
    };
    let fleet = Fleet::new(&["R".to_owned()], 1, faults);
    let listener = listen(&broker, 300);
    run(&broker, 300, &[("RIGS", "R"), ("GARBLED", "0.3")]);
    let messages = messages(listener);
    assert_eq!(messages.len(), 300);
    for (place, (topic, mut payload)) in messages.into_iter().enumerate() {
        let (round, sensor) = (place as u64 / 6, place % 6);
        let garbled = fleet.sending(0, sensor, round).garbled;
        assert_eq!(payload.last() != Some(&b'}'), garbled, "{topic} {round}");
        if garbled {
            payload.push(b'}');
        }
        let (_, name, _, value) = reading(&topic, &payload);
        assert_eq!(name, SENSORS[sensor].name);
        assert_eq!(value.to_bits(), fleet.value(0, sensor, round).to_bits());
    }
}

#[test]
fn shuffled_rounds_are_sent_in_the_order_of_the_seed() {
    let broker = Mosquitto::start();
    let faults = Faults {
        shuffled: 0.5,
        ..Faults::default()
    };
    let names = ["A".to_owned(), "B".to_owned()];
    let fleet = Fleet::new(&names, 5, faults);
    // The last round is cut short: the same readings are sent as without the fault.
    let listener = listen(&broker, 595);
    let env = [("RIGS", "A,B"), ("SEED", "5"), ("SHUFFLED", "0.5")];
    run(&broker, 595, &env);
    let messages = heard(listener);
    let start = messages[0].2;
    let found: Vec<_> = messages
        .into_iter()
        .map(|(rig, sensor, timestamp, _)| (timestamp.since(start).as_secs(), rig, sensor))
        .collect();
    let mut want = Vec::new();
    for round in 0..50 {
        let readings = if round == 49 { 7 } else { 12 };
        want.extend(fleet.order(round, readings).into_iter().map(|place| {
            let (rig, sensor) = (place / SENSORS.len(), place % SENSORS.len());
            (round, names[rig].clone(), SENSORS[sensor].name.to_owned())
        }));
    }
    assert_eq!(found, want);
    let orders: BTreeSet<_> = (0..49).map(|round| fleet.order(round, 12)).collect();
    assert!(orders.len() > 10, "{orders:?}");
}

#[test]
fn clock_offset_is_the_same_in_every_round() {
    let broker = Mosquitto::start();
    let most = Duration::from_mins(2);
    let faults = Faults {
        clock_offset: most,
        ..Faults::default()
    };
    let names = ["A".to_owned(), "B".to_owned(), "C".to_owned()];
    let fleet = Fleet::new(&names, 1, faults);
    let listener = listen(&broker, 180);
    run(&broker, 180, &[("RIGS", "A,B,C"), ("CLOCK_OFFSET", "2m")]);
    let messages = heard(listener);
    assert_eq!(messages.len(), 180);
    // What the first rig's clock shows in the first round, and so when that round is.
    let zero = Timestamp::from_nanos(0);
    let (ahead, behind) = (
        fleet.clock(0, zero).since(zero),
        zero.since(fleet.clock(0, zero)),
    );
    let start = messages[0].2.minus(ahead).plus(behind);
    for (place, (rig, _, timestamp, _)) in messages.into_iter().enumerate() {
        let (round, at) = (place as u64 / 18, place % 18 / 6);
        let time = start.plus(Duration::from_secs(round));
        assert_eq!(rig, names[at]);
        assert_eq!(timestamp, fleet.clock(at, time));
        assert!(timestamp.distance(time) <= most && timestamp != time);
    }
}
