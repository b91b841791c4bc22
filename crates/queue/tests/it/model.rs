//! The commit protocol under everything that can happen to it, and whether the model notices.
#![expect(clippy::print_stderr, reason = "seeds and counts belong to the result")]

use std::time::{Duration, Instant};

use queue::testing::simulation::{BrokenRule, Failure, Options, Summary, simulate};

/// How long to simulate.
const LONG_ENOUGH: Duration = Duration::from_secs(5);
/// Runs between two looks at the time.
const ROUND: u64 = 1_000;
/// A broken rule has to be noticed within so many runs.
const SOON: u64 = 20_000;

/// Another one each time, unless `RIGLINE_SEED` names it.
fn seed() -> u64 {
    let given = std::env::var("RIGLINE_SEED").ok();
    let seed = given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    eprintln!("RIGLINE_SEED={seed}");
    seed
}

fn noticed(seed: u64, rule: BrokenRule) -> Failure {
    let options = Options {
        seed,
        first: 0,
        runs: SOON,
        rule: Some(rule),
    };
    match simulate(&options) {
        Ok(summary) => panic!("{rule:?} passes: {summary:?}"),
        Err(failure) => *failure,
    }
}

#[test]
fn whatever_happens_everything_comes_out_once() {
    let first = seed();
    let started = Instant::now();
    let mut seen = Summary::default();
    while started.elapsed() < LONG_ENOUGH {
        let options = Options {
            seed: first,
            first: seen.runs,
            runs: ROUND,
            rule: None,
        };
        seen += simulate(&options).unwrap_or_else(|failure| panic!("{failure}"));
    }
    eprintln!("{seen:?}");
    for (count, what) in [
        (seen.applied, "commits"),
        (seen.refused, "refusals"),
        (seen.replies_lost, "lost answers"),
        (seen.takeovers, "takeovers"),
        (seen.crashes, "crashes"),
        (seen.freezes, "frozen replicas"),
        (seen.server_deaths, "dying servers"),
    ] {
        assert!(count > seen.runs / 100, "too few {what}: {seen:?}");
    }
}

#[test]
fn each_broken_rule_is_noticed() {
    let seed = seed();
    for rule in BrokenRule::ALL {
        let failure = noticed(seed, rule);
        let (run, violated) = (failure.run, &failure.violated);
        eprintln!("{rule:?}: noticed in run {run}: {violated}");
    }
}

#[test]
fn a_failure_is_told_in_few_words_and_always_the_same() {
    let seed = seed();
    let failure = noticed(seed, BrokenRule::ForgetState);
    assert_eq!(failure, noticed(seed, BrokenRule::ForgetState));
    let told = failure.to_string();
    assert!(
        told.starts_with(&format!("seed {seed}, run {}", failure.run)),
        "{told}"
    );
    assert!(told.contains("A: commit at number 0"), "{told}");
    // What a schedule is made of besides zeros.
    let happens = failure.schedule.iter().filter(|byte| **byte != 0).count();
    assert!(happens < 10, "{told}");
}
