//! Starting, limiting and observing processes, with a shell as the stage.

use std::path::Path;
use std::time::Duration;

use testkit::{Launch, StageProcess, wait_until};

const SOON: Duration = Duration::from_secs(20);

fn shell(script: &str) -> Launch {
    Launch::binary(Path::new("/bin/sh"))
        .args(&["-c", script])
        .env("PATH", "/usr/bin:/bin")
}

fn says(stage: &StageProcess, text: &str) -> bool {
    wait_until(SOON, || stage.logs().contains(text))
}

#[test]
fn launch_sets_name_environment_and_wrapper() {
    let named = shell("cat /proc/$$/cmdline").arg0("another-name").spawn();
    assert!(says(&named, "another-name"), "{}", named.logs());
    let wrapped = shell("echo $A; echo $B; exec sleep 60")
        .envs(&[("A", "in"), ("A", "is-inner")])
        .wrapper(&["env", "B=is-set", "A=is-outer"])
        .spawn();
    assert!(says(&wrapped, "is-outer\nis-set"), "{}", wrapped.logs());
    // The wrapper has replaced itself by the stage.
    let comm = format!("/proc/{}/comm", wrapped.pid());
    assert!(wait_until(SOON, || {
        std::fs::read_to_string(&comm).unwrap() == "sleep\n"
    }));
}

#[test]
fn blocked_output_stops_its_writer_until_it_is_drained() {
    let script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; : >done";
    let (stage, output) = shell(script).spawn_blocked();
    let done = stage.dir().join("done");
    let (mut used, mut idle) = (stage.cpu_time(), 0);
    assert!(wait_until(SOON, || {
        let now = stage.cpu_time();
        idle = if now == used { idle + 1 } else { 0 };
        used = now;
        idle > 30
    }));
    assert!(!done.exists() && stage.logs().is_empty());
    assert!(
        (4_000..=4_096).contains(&output.unread()),
        "{}",
        output.unread()
    );
    output.drain();
    assert!(says(&stage, "line 2999"));
    assert!(wait_until(SOON, || done.exists()));
}

#[test]
fn closed_output_ends_its_writer() {
    let (mut stage, output) = shell("while echo line; do :; done").spawn_blocked();
    drop(output);
    assert!(stage.wait_exit(SOON).is_some());
}

#[test]
fn file_limit_can_be_set_and_removed() {
    let script =
        "while :; do if true </dev/null; then echo fine; else echo failed; fi; sleep 0.1; done";
    let mut stage = shell(script).spawn();
    assert!(says(&stage, "fine"));
    stage.limit_files(3);
    assert!(says(&stage, "Too many open files"), "{}", stage.logs());
    stage.unlimit_files();
    let lines = stage.logs().matches("fine").count();
    assert!(wait_until(SOON, || {
        stage.logs().matches("fine").count() > lines + 1
    }));
}

#[test]
fn memory_limit_applies_from_the_start() {
    let script = "x=0123456789; while :; do x=$x$x; done";
    let mut stage = shell(script).limit_memory(64 << 20).spawn();
    let ended = stage.wait_exit(SOON).expect("out of memory");
    assert!(!ended.success());
    let mut stage = shell("echo up; sleep 0.5; ulimit -v; exec sleep 60").spawn();
    assert!(says(&stage, "up"));
    stage.limit_memory(1 << 30);
    assert!(says(&stage, "1048576"), "{}", stage.logs());
    stage.unlimit_memory();
}

#[test]
fn open_files_are_counted() {
    let script = "echo up; while ! [ -e go ]; do sleep 0.1; done; exec 7<. 8<.; exec sleep 60";
    let stage = shell(script).spawn();
    assert!(says(&stage, "up"));
    // Not always three: a test may inherit files from its runner.
    let before = stage.open_files().unwrap();
    std::fs::write(stage.dir().join("go"), "").unwrap();
    assert!(wait_until(SOON, || stage.open_files() == Some(before + 2)));
}

#[test]
fn memory_and_cpu_time_of_a_process_are_read() {
    let mut stage = shell("while :; do :; done").spawn();
    assert!(wait_until(SOON, || stage.cpu_time() > Some(Duration::from_millis(50))));
    assert!(stage.rss_bytes().unwrap() > 100_000);
    assert!(!stage.is_stopped() && !stage.has_exited());
    stage.freeze();
    assert!(wait_until(SOON, || stage.is_stopped()));
    stage.thaw();
    assert!(wait_until(SOON, || !stage.is_stopped()));
    stage.kill();
    assert!(stage.has_exited());
    assert_eq!((stage.rss_bytes(), stage.open_files()), (None, None));
}
