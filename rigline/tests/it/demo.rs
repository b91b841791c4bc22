//! The command `demo`.

use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use testkit::{free_port, wait_until};

use crate::fixture::{SOON, binary, run, text};

#[test]
fn demo_shows_rows_and_a_balanced_ledger_and_ends_after_its_duration() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let listen = format!("127.0.0.1:{}", free_port());
    let args = [
        "demo",
        "--duration",
        "4s",
        "--interval",
        "100ms",
        "--mqtt-listen",
        &listen,
    ];
    let data_given = ["--data", data.to_str().unwrap()];
    let ended = run(
        &dir.path().join("other"),
        &[&args[..], &data_given].concat(),
    );
    let said = text(&ended);
    assert!(ended.status.success(), "{said}");
    assert!(
        !dir.path().join("other").exists(),
        "simulated rigs among real ones"
    );
    let greeting = format!("mosquitto_pub -p {}", listen.rsplit(':').next().unwrap());
    for part in [
        &*greeting,
        "rows --last 1m --data",
        "readings/s=",
        "p50=",
        "ledger balanced",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let last = said
        .lines()
        .rfind(|line| line.starts_with("repeated "))
        .unwrap();
    let count = |name: &str| -> u64 {
        let after = last.split(name).nth(1).unwrap();
        after
            .split([',', ';'])
            .next()
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    };
    // 41 rounds of 60 at most; one in a hundred is sent twice, one in two hundred garbled.
    assert!(count("repeated") > 0 && count("dead letters") > 0, "{last}");
    assert!(
        said.contains(&format!("the data is in {}", data.display())),
        "{said}"
    );
    assert!(text(&run(&data, &["rigs"])).contains("RIG-10"));
    let ledger = run(&data, &["ledger"]);
    assert_eq!(ledger.status.code(), Some(0), "{}", text(&ledger));
}

#[test]
fn ctrl_c_ends_the_demo_and_removes_its_data() {
    let dir = TempDir::new().unwrap();
    let listen = format!("127.0.0.1:{}", free_port());
    let log = dir.path().join("log");
    let demo = Command::new(binary())
        .args(["demo", "--mqtt-listen", &listen])
        .env_clear()
        .env("TMPDIR", dir.path())
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&log).unwrap())
        .spawn();
    let mut demo = demo.unwrap();
    let said = || std::fs::read_to_string(&log).unwrap();
    let rows = || {
        said()
            .lines()
            .any(|line| !line.contains("rows=0 ") && line.contains(" rows="))
    };
    assert!(wait_until(SOON, rows), "{}", said());
    kill_process(Pid::from_child(&demo), Signal::INT).unwrap();
    let mut ended = None;
    assert!(
        wait_until(SOON, || {
            ended = demo.try_wait().unwrap();
            ended.is_some()
        }),
        "still running"
    );
    assert!(ended.unwrap().success(), "{}", said());
    let said = said();
    assert!(
        said.contains("stored") && said.contains("is removed"),
        "{said}"
    );
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn directory_of_a_killed_demo_is_removed_by_the_next_one() {
    let dir = TempDir::new().unwrap();
    let start = || {
        let listen = format!("127.0.0.1:{}", free_port());
        Command::new(binary())
            .args(["demo", "--mqtt-listen", &listen])
            .env_clear()
            .env("TMPDIR", dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let stores = || {
        let entries = std::fs::read_dir(dir.path()).unwrap().flatten();
        let stores = entries.map(|entry| entry.path().join("store.db"));
        stores.filter(|path| path.exists()).collect::<Vec<_>>()
    };
    let mut running = start();
    assert!(wait_until(SOON, || stores().len() == 1));
    let mut killed = start();
    assert!(wait_until(SOON, || stores().len() == 2), "both run");
    killed.kill().unwrap();
    killed.wait().unwrap();
    let both = stores();
    let mut next = start();
    assert!(
        wait_until(SOON, || stores().iter().any(|path| !both.contains(path))),
        "the next one has started"
    );
    assert_eq!(stores().len(), 2, "the running one's, and the new one");
    for demo in [&mut running, &mut next] {
        kill_process(Pid::from_child(demo), Signal::INT).unwrap();
        assert!(demo.wait().unwrap().success());
    }
    assert!(stores().is_empty());
}
