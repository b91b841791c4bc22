//! Some of the attacks, a few faults each. `make prove` has all of them and more of each.

use std::process::Command;
use std::sync::{Mutex, PoisonError};

use e2e::Deployment::{self, OneProcess, Servers};
use prove::breaks::ALL as ALL_BREAKS;
use prove::scenario::{Report, Task, all, find};

/// One attack at a time: each starts all servers and stages.
static ARENA: Mutex<()> = Mutex::new(());

fn run(deployment: Deployment, name: &str, n: usize) -> anyhow::Result<Report> {
    let _alone = ARENA.lock().unwrap_or_else(PoisonError::into_inner);
    let given = std::env::var("RIGLINE_SEED").ok();
    let seed = given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("seed {seed} (RIGLINE_SEED={seed} repeats the choices)");
    let task = Task {
        deployment,
        seed,
        n,
        broken: None,
    };
    (find(name, deployment).unwrap().run)(&task)
}

fn attack(deployment: Deployment, name: &str, n: usize) {
    let report = run(deployment, name, n).unwrap_or_else(|error| panic!("{name}: {error:#}"));
    println!("scenario {name}: {}; {}", report.facts, report.verdict);
    assert!(
        report.verdict.is_clean(),
        "{name}: {}\n{:#?}",
        report.verdict,
        report.verdict.notes
    );
}

#[test]
fn killed_stages_lose_and_double_nothing() {
    attack(Servers, "kills", 60);
}

#[test]
fn frozen_stages_that_wake_up_change_nothing() {
    attack(Servers, "stalls", 48);
}

#[test]
fn lost_replies_lose_and_double_nothing() {
    attack(Servers, "lost-replies", 20);
}

#[test]
fn a_killed_redis_loses_nothing() {
    attack(Servers, "redis-kills", 30);
}

#[test]
fn an_emptied_redis_is_noticed() {
    attack(Servers, "redis-emptied", 10);
}

#[test]
fn a_redis_at_its_memory_limit_is_drained() {
    attack(Servers, "maxmemory", 10);
}

#[test]
fn old_acknowledgements_stay_out_of_a_new_session() {
    attack(Servers, "new-session", 10);
}

#[test]
fn a_killed_process_loses_and_doubles_nothing() {
    attack(OneProcess, "kills", 40);
}

#[test]
fn a_process_on_a_full_disk_acknowledges_nothing_and_goes_on() {
    attack(OneProcess, "disk-full", 10);
}

#[test]
fn every_break_has_a_patch_that_applies_and_a_scenario_that_notices() {
    let mut patches: Vec<_> = std::fs::read_dir(ALL_BREAKS[0].patch().parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    for rule in ALL_BREAKS {
        let patch = rule.patch();
        let run = Command::new("git")
            .args(["apply", "--check"])
            .arg(&patch)
            .current_dir(testkit::workspace_dir())
            .output()
            .unwrap();
        let log = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{}: {log}", rule.name);
        let text = std::fs::read_to_string(&patch).unwrap();
        let names = format!("# Breaks the rule {}: ", rule.name);
        assert!(
            text.starts_with(&names),
            "{} doesn't say what it breaks",
            rule.name
        );
        for deployment in Deployment::ALL {
            if let Some(name) = rule.scenario(*deployment) {
                assert!(find(name, *deployment).is_some(), "{} by {name}", rule.name);
            }
        }
        patches.retain(|path| *path != patch);
    }
    assert!(patches.is_empty(), "patches of no rule: {patches:?}");
}

#[test]
fn the_guarantees_name_every_scenario_and_no_other() {
    let page = include_str!("../../../../docs/guarantees.md");
    let table = page
        .lines()
        .skip_while(|line| !line.starts_with("| what goes wrong |"));
    let rows = table.skip(2).take_while(|line| line.starts_with('|'));
    let mut named: Vec<_> = rows
        .flat_map(|row| {
            let cell = row.trim_end_matches('|').rsplit('|').next().unwrap();
            cell.split('`').skip(1).step_by(2).collect::<Vec<_>>()
        })
        .collect();
    let mut known: Vec<_> = all().iter().map(|scenario| scenario.name).collect();
    named.sort_unstable();
    known.sort_unstable();
    assert_eq!(named, known);
}
