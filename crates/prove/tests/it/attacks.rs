//! Some of the attacks, a few faults each. `make prove` has all of them and more of each.

use std::sync::{Mutex, PoisonError};

use common::faults::Rule;
use e2e::Ground::{self, Alone, Servers};
use prove::scenario::{Report, Task, all, find, notices};

/// One attack at a time: each starts all servers and stages.
static ARENA: Mutex<()> = Mutex::new(());

fn run(ground: Ground, name: &str, n: usize, broken: Option<Rule>) -> anyhow::Result<Report> {
    let _alone = ARENA.lock().unwrap_or_else(PoisonError::into_inner);
    let given = std::env::var("RIGLINE_SEED").ok();
    let seed = given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("seed {seed} (RIGLINE_SEED={seed} repeats the choices)");
    let task = Task {
        ground,
        seed,
        n,
        broken,
    };
    (find(name, ground).unwrap().run)(&task)
}

fn attack(ground: Ground, name: &str, n: usize) {
    let report = run(ground, name, n, None).unwrap_or_else(|error| panic!("{name}: {error:#}"));
    println!("attack {name}: {}; {}", report.facts, report.verdict);
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
    attack(Alone, "kills", 40);
}

#[test]
fn a_process_on_a_full_disk_acknowledges_nothing_and_goes_on() {
    attack(Alone, "disk-full", 10);
}

fn is_noticed(ground: Ground, rule: Rule) {
    let attack = notices(rule, ground).unwrap();
    let noticed = (1..=20).find_map(|turn| match run(ground, attack, 60, Some(rule)) {
        Ok(report) if report.verdict.is_clean() => None,
        Ok(report) => Some((turn, report.verdict.to_string())),
        Err(error) => Some((turn, format!("{error:#}"))),
    });
    let (turn, said) = noticed.unwrap_or_else(|| panic!("{rule:?} passes"));
    println!("attack without {rule:?}: noticed in run {turn}: {said}");
}

#[test]
fn broken_rules_are_noticed() {
    is_noticed(Servers, Rule::AcknowledgeAfterAppend);
    is_noticed(Servers, Rule::AcknowledgeOwnConnection);
    is_noticed(Alone, Rule::AcknowledgeAfterAppend);
}

#[test]
fn every_rule_has_an_attack_that_notices() {
    for rule in Rule::ALL {
        let on_servers = notices(rule, Servers).and_then(|name| find(name, Servers));
        assert!(on_servers.is_some(), "{rule:?}");
        if let Some(name) = notices(rule, Alone) {
            assert!(find(name, Alone).is_some(), "{rule:?} on one process");
        }
    }
}

#[test]
fn the_readme_names_every_attack_and_no_other() {
    let readme = include_str!("../../../../README.md");
    let table = readme
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
