//! The disk, clock and host names of a process.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use testkit::{FakeTime, HostsFile, Launch, Redis, SmallDisk, wait_until};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn small_disk_is_full_until_it_is_freed() {
    let Some(disk) = SmallDisk::mount(1 << 20) else {
        println!("skipped: a small disk needs root");
        return;
    };
    let path = disk.path().to_owned();
    let own = path.join("own");
    fs::write(&own, "kept").unwrap();
    disk.fill();
    let error = fs::write(path.join("more"), "more").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    disk.free();
    fs::write(path.join("more"), vec![0; 500_000]).unwrap();
    assert_eq!(fs::read_to_string(own).unwrap(), "kept");
    drop(disk);
    assert!(!path.exists());
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains(path.to_str().unwrap()));
}

#[test]
fn redis_on_a_full_disk_refuses_writes() {
    let Some(disk) = SmallDisk::mount(4 << 20) else {
        println!("skipped: a small disk needs root");
        return;
    };
    let mut redis = Redis::start_in(disk.path(), &[]);
    let _ = redis.cli(&["SET", "key", "value"]);
    disk.fill();
    let large = "x".repeat(10_000);
    // With `appendfsync always` it exits instead of acknowledging what it can't store.
    assert!(redis.try_cli(&["SET", "large", &large]).is_err());
    assert!(wait_until(SOON, || redis.exited()), "{}", redis.logs());
    disk.free();
    redis.restart();
    assert_eq!(redis.cli(&["GET", "key"]), "value");
}

#[test]
fn fake_time_sets_the_clock_of_redis() {
    let time = FakeTime::new();
    let mut redis = Redis::start_with_env(&[], &time.env());
    let ahead_by = |redis: &Redis| {
        let theirs = redis.cli(&["TIME"]);
        theirs.split_once('\n').unwrap().0.parse::<i64>().unwrap() - now()
    };
    near(ahead_by(&redis), 0);
    time.set(3600);
    near(ahead_by(&redis), 3600);
    time.set(-86_400);
    near(ahead_by(&redis), -86_400);
    redis.restart();
    near(ahead_by(&redis), -86_400);
    let left_over = format!("/dev/shm/faketime_shm_{}", redis.pid());
    assert!(fs::exists(&left_over).unwrap());
    drop(redis);
    assert!(!fs::exists(&left_over).unwrap());
}

/// Set for the test below when it runs in a child process.
const WITHIN: &str = "TESTKIT_WITHIN_FAKE_TIME";

#[test]
fn fake_time_changes_only_the_time_of_day() {
    if env::var_os(WITHIN).is_some() {
        return under_a_clock_that_jumps();
    }
    let time = FakeTime::new();
    let stage = Launch::binary(&env::current_exe().unwrap())
        .args(&[
            "--exact",
            "machine::fake_time_changes_only_the_time_of_day",
            "--nocapture",
        ])
        .env(WITHIN, "yes")
        .env("PATH", "/usr/bin:/bin")
        .envs(&time.env())
        .spawn();
    let says = |text: &str| wait_until(SOON, || stage.logs().contains(text));
    assert!(says("started"), "{}", stage.logs());
    time.set(1_000_000);
    assert!(says("ahead"), "{}", stage.logs());
    time.set(-1_000_000);
    assert!(says("behind"), "{}", stage.logs());
}

fn under_a_clock_that_jumps() {
    let (started, then) = (Instant::now(), now());
    println!("started");
    for (word, factor) in [("ahead", 1), ("behind", -1)] {
        while (now() - then) * factor < 500_000 {
            // Timers must neither fire at once nor never.
            let before = Instant::now();
            thread::sleep(Duration::from_millis(20));
            assert!(before.elapsed() >= Duration::from_millis(20));
        }
        assert!(started.elapsed() < Duration::from_secs(500_000));
        println!("{word}");
    }
}

/// The time of day, in seconds.
fn now() -> i64 {
    let date = Command::new("date").arg("+%s").output().unwrap();
    String::from_utf8(date.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

fn near(seconds: i64, expected: i64) {
    let off = (seconds - expected).abs();
    assert!(off <= 60, "{seconds}, not {expected}");
}

#[test]
fn running_process_resolves_the_new_address_of_a_name() {
    let Some(hosts) = HostsFile::new() else {
        println!("skipped: a hosts file of its own needs root");
        return;
    };
    let ip = |last| IpAddr::from([127, 0, 0, last]);
    hosts.set("broker.test", ip(2));
    let script = "while :; do getent ahostsv4 broker.test || echo unknown; sleep 0.1; done";
    let stage = Launch::binary(Path::new("/bin/sh"))
        .args(&["-c", script])
        .wrapper(&hosts.wrapper())
        .spawn();
    let says = |text: &str| wait_until(SOON, || stage.logs().contains(text));
    assert!(says("127.0.0.2 "), "{}", stage.logs());
    hosts.set("broker.test", ip(33));
    assert!(says("127.0.0.33 "), "{}", stage.logs());
    hosts.forget("broker.test");
    assert!(says("unknown"), "{}", stage.logs());
    let others = fs::read_to_string("/etc/hosts").unwrap();
    assert!(!others.contains("broker.test"));
}
