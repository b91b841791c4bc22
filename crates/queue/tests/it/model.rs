//! The commit protocol under everything that can happen to it, and whether the model notices.
#![expect(
    clippy::print_stderr,
    reason = "what was simulated belongs to the result"
)]

use std::time::{Duration, Instant};

use queue::testing::simulation::{BrokenRule, Options, Summary, simulate};

/// How long to simulate.
const LONG_ENOUGH: Duration = Duration::from_secs(5);
/// Runs between two looks at the time.
const ROUND: u64 = 1_000;
/// A broken rule has to be noticed within so many.
const SOON: u64 = 20_000;

fn seed() -> u64 {
    let given = std::env::var("RIGLINE_SEED").ok();
    given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap())
}

#[test]
fn whatever_happens_everything_comes_out_once() {
    let first = seed();
    eprintln!("RIGLINE_SEED={first}");
    let started = Instant::now();
    let mut rounds = 0;
    let mut seen = Summary::default();
    while started.elapsed() < LONG_ENOUGH {
        let options = Options {
            seed: first.wrapping_add(rounds),
            runs: ROUND,
            rule: None,
        };
        rounds += 1;
        seen = simulate(&options).unwrap_or_else(|failure| panic!("{failure}"));
    }
    eprintln!("{} runs, the last {ROUND}: {seen:?}", rounds * ROUND);
}

#[test]
fn a_broken_rule_is_noticed() {
    let seed = seed();
    eprintln!("RIGLINE_SEED={seed}");
    for rule in BrokenRule::ALL {
        let options = Options {
            seed,
            runs: SOON,
            rule: Some(rule),
        };
        match simulate(&options) {
            Ok(summary) => panic!("{rule:?} passes: {summary:?}"),
            Err(failure) => eprintln!("{rule:?}: noticed in run {}\n{failure}", failure.run),
        }
    }
}
