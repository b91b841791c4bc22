//! Some of the attacks, a few faults each. `make prove` has all of them and more of each.

use std::sync::{Mutex, PoisonError};

use common::faults::Rule;
use prove::scenario::{Report, Task, all, notices};

/// One attack at a time: each starts all servers and stages.
static ARENA: Mutex<()> = Mutex::new(());

fn run(name: &str, n: usize, broken: Option<Rule>) -> anyhow::Result<Report> {
    let _alone = ARENA.lock().unwrap_or_else(PoisonError::into_inner);
    let given = std::env::var("RIGLINE_SEED").ok();
    let seed = given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("seed {seed} (RIGLINE_SEED={seed} repeats the choices)");
    let scenario = all().into_iter().find(|scenario| scenario.name == name);
    (scenario.unwrap().run)(&Task { seed, n, broken })
}

fn attack(name: &str, n: usize) {
    let report = run(name, n, None).unwrap_or_else(|error| panic!("{name}: {error:#}"));
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
    attack("kills", 60);
}

#[test]
fn frozen_stages_that_wake_up_change_nothing() {
    attack("stalls", 48);
}

#[test]
fn lost_replies_lose_and_double_nothing() {
    attack("lost-replies", 20);
}

#[test]
fn a_killed_redis_loses_nothing() {
    attack("redis-kills", 30);
}

#[test]
fn an_emptied_redis_is_noticed() {
    attack("redis-emptied", 10);
}

#[test]
fn a_redis_at_its_memory_limit_is_drained() {
    attack("maxmemory", 10);
}

#[test]
fn old_acknowledgements_stay_out_of_a_new_session() {
    attack("new-session", 10);
}

#[test]
fn broken_rules_are_noticed() {
    for rule in [Rule::AcknowledgeAfterAppend, Rule::AcknowledgeOwnConnection] {
        let noticed = (1..=20).find_map(|turn| match run(notices(rule), 60, Some(rule)) {
            Ok(report) if report.verdict.is_clean() => None,
            Ok(report) => Some((turn, report.verdict.to_string())),
            Err(error) => Some((turn, format!("{error:#}"))),
        });
        let (turn, said) = noticed.unwrap_or_else(|| panic!("{rule:?} passes"));
        println!("attack without {rule:?}: noticed in run {turn}: {said}");
    }
}

#[test]
fn every_rule_has_an_attack_that_notices() {
    let names: Vec<_> = all().iter().map(|scenario| scenario.name).collect();
    for rule in Rule::ALL {
        assert!(names.contains(&notices(rule)), "{rule:?}");
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
