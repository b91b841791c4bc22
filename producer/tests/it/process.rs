//! The process: its stop, its exit codes, its settings, and what it shows.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use testkit::Mosquitto;

use super::{PATIENCE, PRODUCER, start, start_with};

#[test]
fn stop_waits_for_acknowledgements_and_logs_their_number() {
    let broker = Mosquitto::start();
    let mut producer = start_with(&broker, &[("RIGS", "3"), ("INTERVAL", "100ms")]);
    assert!(producer.ready(PATIENCE), "{}", producer.logs());
    std::thread::sleep(Duration::from_secs(1));
    let metrics = producer.get("/metrics");
    assert!(
        metrics.contains(r#"rigline_produced_readings_total{state="acknowledged"}"#),
        "{metrics}"
    );
    producer.terminate();
    let ended = producer
        .wait_exit(Duration::from_secs(3))
        .expect("it stops");
    assert_eq!(ended.code(), Some(0), "{}", producer.logs());
    assert!(
        producer.logs().contains("unacknowledged=0"),
        "{}",
        producer.logs()
    );
}

#[test]
fn without_a_broker_undelivered_readings_are_logged() {
    let mut broker = Mosquitto::start();
    broker.stop();
    let mut producer = start_with(&broker, &[("FAST", "true"), ("COUNT", "60")]);
    assert!(!producer.ready(Duration::from_secs(1)));
    producer.terminate();
    assert!(
        producer.wait_exit(Duration::from_secs(8)).is_none(),
        "it waits for the broker"
    );
    let ended = producer
        .wait_exit(Duration::from_secs(2))
        .expect("it stops within ten seconds");
    assert_eq!(ended.code(), Some(0), "{}", producer.logs());
    let said = producer.logs();
    assert!(
        said.contains("WARN")
            && said.contains("sent=60 acknowledged=0 too_large=0 unacknowledged=60"),
        "{said}"
    );
}

#[test]
fn bad_settings_are_named() {
    for (variable, given) in [
        ("RIGS", "a,,b"),
        ("INTERVAL", "0"),
        ("FAST", "maybe"),
        ("COUNT", "many"),
        ("SEED", "-1"),
        ("LATE", "2"),
        ("LATE_BY", "soon"),
        ("GARBLED", "nan"),
        ("SHUFFLED", "-1"),
        ("CLOCK_OFFSET", "-1s"),
        ("SPEED", "fast"),
        ("SPEED", "2x"),
        ("REPLAY", "/no/such/file"),
        ("REPLAY", "/"),
        ("MQTT_PORT", "0"),
        ("MQTT_PASSWORD", "without a user"),
    ] {
        let mut producer = start(&[(variable, given)]);
        let ended = producer.wait_exit(PATIENCE).expect("it ends at once");
        let said = producer.logs();
        assert_eq!(ended.code(), Some(64), "{variable}: {said}");
        let named = if variable == "MQTT_PASSWORD" {
            "MQTT_USERNAME"
        } else {
            variable
        };
        assert!(
            said.contains(named) && said.contains("accepted"),
            "{variable}: {said}"
        );
    }
    let mut producer = start(&[("COUNT", "5"), ("DURATION", "5s")]);
    assert_eq!(
        producer.wait_exit(PATIENCE).and_then(|ended| ended.code()),
        Some(64)
    );
}

#[test]
fn progress_is_a_bar_on_a_terminal() {
    let broker = Mosquitto::start();
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let mut terminal = File::options();
    // It must not become the terminal of the tests.
    let flags = OpenptFlags::NOCTTY.bits().cast_signed();
    terminal.read(true).write(true).custom_flags(flags);
    let terminal = terminal.open(name.to_str().unwrap()).unwrap();
    let mut command = Command::new(PRODUCER);
    command.env_clear().envs([
        ("MQTT_PORT", broker.port().to_string().as_str()),
        ("ADMIN_ADDR", "127.0.0.1:0"),
        ("TERM", "xterm"),
        ("COUNT", "120"),
    ]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut producer = command.stderr(terminal).spawn().unwrap();
    // The command keeps the terminal open until it is dropped.
    drop(command);
    let mut shown = Vec::new();
    // Reading from a terminal that nobody has open any more is an error on Linux.
    let _ = File::from(master).read_to_end(&mut shown);
    assert!(producer.wait().unwrap().success());
    let shown = String::from_utf8_lossy(&shown);
    assert!(shown.contains("/120 acknowledged"), "{shown}");
    let (_, last) = shown.rsplit_once("acknowledged,").unwrap();
    assert!(last.contains("\x1b[2K"), "the bar is cleared: {last:?}");
    assert!(last.contains("done"), "{last:?}");
}

#[test]
fn without_a_terminal_there_are_no_escape_codes() {
    let broker = Mosquitto::start();
    let mut producer = start_with(&broker, &[("COUNT", "120"), ("TERM", "xterm")]);
    assert!(
        producer
            .wait_exit(PATIENCE)
            .is_some_and(|ended| ended.success())
    );
    let said = producer.logs();
    assert!(said.contains("done") && !said.contains('\x1b'), "{said}");
}
