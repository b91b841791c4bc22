//! The disk is full.

use std::thread::sleep;
use std::time::Duration;

use anyhow::ensure;
use testkit::SmallDisk;

use super::{RIGS, ROW_INTERVAL, TIMEOUT, report};
use crate::environment::{Environment, until};
use crate::scenario::{Parameters, Report, Scenario};
use crate::traffic::rounds;

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario::on_both(
    "disk-full",
    "the disk of Redis, or of the single process, is full for a while (needs root)",
    disk_full,
)];

fn disk_full(params: &Parameters) -> anyhow::Result<Report> {
    let Some(disk) = SmallDisk::mount(128 << 20) else {
        return Ok(Report::skipped("a small disk can't be mounted here"));
    };
    let mut setup = params.setup();
    setup.dir = Some(disk.path().to_owned());
    let mut environment = Environment::start(setup)?;
    environment.load(ROW_INTERVAL, rounds(RIGS, params.seed));
    environment.wait_progress(1, TIMEOUT)?;
    let times = params.times(50).min(10);
    for round in 0..times {
        disk.fill();
        if environment.is_one_process() {
            fill_disk_of_process(&mut environment, &disk, round % 2 == 1)?;
        } else {
            fill_disk_of_redis(&mut environment, &disk)?;
        }
        environment.wait_progress(100, TIMEOUT)?;
    }
    report(
        &mut environment,
        format!("{times} times a full disk"),
        times,
    )
}

fn fill_disk_of_redis(environment: &mut Environment, disk: &SmallDisk) -> anyhow::Result<()> {
    until("Redis exits", TIMEOUT, || {
        environment.chain_mut().redis.exited()
    })?;
    // As a container engine restarts it.
    for _ in 0..3 {
        environment.chain_mut().redis.restart_without_waiting();
        sleep(Duration::from_millis(500));
    }
    disk.free();
    environment.chain_mut().redis.restart();
    Ok(())
}

/// The single process reports the full disk and acknowledges nothing, also when it is restarted.
fn fill_disk_of_process(
    environment: &mut Environment,
    disk: &SmallDisk,
    kill: bool,
) -> anyhow::Result<()> {
    until("the process reports the full disk", TIMEOUT, || {
        let status = environment.stages[0].1.get("/readyz");
        status.starts_with("{\"ready\":false") && status.contains("full")
    })?;
    // Its files may have free pages for a few more readings.
    until("nothing is acknowledged", TIMEOUT, || {
        let before = environment.traffic().acknowledged();
        sleep(Duration::from_secs(2));
        environment.traffic().acknowledged() == before
    })?;
    ensure!(
        !environment.stage(0).has_exited(),
        "the process ended on a full disk"
    );
    if kill {
        // As a service manager restarts it.
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
