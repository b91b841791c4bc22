//! A disk without space.

use std::thread::sleep;
use std::time::Duration;

use anyhow::ensure;
use testkit::SmallDisk;

use super::{PAUSE, RIGS, SOON};
use crate::environment::{Environment, until};
use crate::oracle::{Terms, Verdict};
use crate::scenario::{BOTH, Report, Scenario, Task};
use crate::traffic::rounds;

/// What belongs here.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "disk-full",
    about: "the disk of Redis, or of the one process, is full for a while (needs root)",
    on: BOTH,
    run: disk_full,
}];

fn disk_full(task: &Task) -> anyhow::Result<Report> {
    let Some(disk) = SmallDisk::mount(128 << 20) else {
        let facts = "skipped: a small disk can't be mounted here".to_owned();
        return Ok(Report::new(Verdict::default(), facts, 0));
    };
    let mut setup = task.setup();
    setup.dir = Some(disk.path().to_owned());
    let mut environment = Environment::start(setup)?;
    environment.load(PAUSE, rounds(RIGS, task.seed));
    environment.wait_progress(1, SOON)?;
    let times = task.times(50).min(10);
    for round in 0..times {
        disk.fill();
        if environment.is_one_process() {
            process_without_space(&mut environment, &disk, round % 2 == 1)?;
        } else {
            redis_without_space(&mut environment, &disk)?;
        }
        environment.wait_progress(100, SOON)?;
    }
    let verdict = environment.finish(Terms::default())?;
    Ok(Report::new(
        verdict,
        format!("{times} times without space"),
        times,
    ))
}

fn redis_without_space(environment: &mut Environment, disk: &SmallDisk) -> anyhow::Result<()> {
    until("redis gives up", SOON, || {
        environment.chain_mut().redis.exited()
    })?;
    // As a container is started again and again.
    for _ in 0..3 {
        environment.chain_mut().redis.restart_without_waiting();
        sleep(Duration::from_millis(500));
    }
    disk.free();
    environment.chain_mut().redis.restart();
    Ok(())
}

/// The one process says so and acknowledges nothing; it may also be killed and started meanwhile.
fn process_without_space(
    environment: &mut Environment,
    disk: &SmallDisk,
    kill: bool,
) -> anyhow::Result<()> {
    until("the process says so", SOON, || {
        let said = environment.stages[0].1.get("/readyz");
        said.starts_with("{\"ready\":false") && said.contains("full")
    })?;
    // What fitted into the room that its files had already is through by then.
    until("nothing is acknowledged", SOON, || {
        let before = environment.traffic().acknowledged();
        sleep(Duration::from_secs(2));
        environment.traffic().acknowledged() == before
    })?;
    ensure!(
        !environment.stage(0).has_exited(),
        "it ended of a full disk"
    );
    if kill {
        // As a service is started again and again.
        for _ in 0..3 {
            environment.stage(0).kill();
            environment.respawn(0, None)?;
            sleep(Duration::from_secs(1));
        }
    }
    disk.free();
    if environment.stage(0).has_exited() {
        environment.respawn(0, None)?;
    }
    Ok(())
}
