//! The simulation of the commit protocol: no fault breaks a promise, and each broken rule is noticed.
#![expect(
    clippy::print_stderr,
    reason = "the seed and the counts are part of the result"
)]

use std::time::{Duration, Instant};

use queue::testing::simulation::{BrokenRule, Failure, Options, Summary, simulate};

/// How long to simulate.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// Runs between two checks of the time.
const CHUNK: u64 = 1_000;
/// The number of runs within which a broken rule has to be noticed.
const RUN_LIMIT: u64 = 20_000;

/// The seed in `RIGLINE_SEED`, or a random one.
fn seed() -> u64 {
    let given = std::env::var("RIGLINE_SEED").ok();
    let seed = given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    eprintln!("RIGLINE_SEED={seed}");
    seed
}

fn simulate_broken(seed: u64, rule: BrokenRule) -> Failure {
    let options = Options {
        seed,
        first: 0,
        runs: RUN_LIMIT,
        rule: Some(rule),
    };
    match simulate(&options) {
        Ok(summary) => panic!("{rule:?} isn't noticed: {summary:?}"),
        Err(failure) => *failure,
    }
}

#[test]
fn every_element_is_output_once_under_any_faults() {
    let first = seed();
    let started = Instant::now();
    let mut seen = Summary::default();
    while started.elapsed() < TIME_LIMIT {
        let options = Options {
            seed: first,
            first: seen.runs,
            runs: CHUNK,
            rule: None,
        };
        seen += simulate(&options).unwrap_or_else(|failure| panic!("{failure}"));
    }
    eprintln!("{seen:?}");
    for (count, what) in [
        (seen.applied, "commits"),
        (seen.refused, "refusals"),
        (seen.replies_lost, "lost replies"),
        (seen.takeovers, "takeovers"),
        (seen.crashes, "crashes"),
        (seen.freezes, "frozen replicas"),
        (seen.server_crashes, "server crashes"),
    ] {
        assert!(count > seen.runs / 100, "too few {what}: {seen:?}");
    }
}

#[test]
fn each_broken_rule_is_noticed() {
    let seed = seed();
    for rule in BrokenRule::ALL {
        let failure = simulate_broken(seed, rule);
        let (run, violated) = (failure.run, &failure.violated);
        eprintln!("{rule:?}: noticed in run {run}: {violated}");
    }
}

#[test]
fn failure_trace_is_short_and_reproducible() {
    // A fixed seed: how short the trace becomes and which replica commits first depend on it.
    let seed = 1;
    let failure = simulate_broken(seed, BrokenRule::ForgetState);
    assert_eq!(failure, simulate_broken(seed, BrokenRule::ForgetState));
    let trace = failure.to_string();
    assert!(
        trace.starts_with(&format!("seed {seed}, run {}", failure.run)),
        "{trace}"
    );
    assert!(trace.contains("A: commit at number 0"), "{trace}");
    assert!(failure.faults < 10, "{trace}");
}
