//! Attacks the pipeline and tells what became of every reading.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use common::faults::Rule;
use prove::scenario::{Report, Scenario, Task, all, notices};

/// Attacks the pipeline: real servers and stages are killed, frozen, cut off, filled up and confused,
/// and an oracle compares every reading that was sent with what became of it.
#[derive(Debug, Parser)]
#[command(name = "prove-rigline", version)]
struct Options {
    /// How many stages are killed; the other faults follow from it. From 1000 on, outages last as
    /// long as they are promised to be survived
    #[arg(short, long, default_value_t = 100)]
    number: usize,
    /// Decides every choice; random unless given
    #[arg(long)]
    seed: Option<u64>,
    /// Begin no further attack after this many minutes
    #[arg(long, value_name = "MINUTES")]
    limit: Option<u64>,
    /// Show the attacks and do nothing
    #[arg(long)]
    list: bool,
    /// Break every rule of the protocol on purpose instead, and see whether it is noticed
    #[arg(long)]
    breaks: bool,
    /// Runs in which a broken rule has to be noticed
    #[arg(long, default_value_t = 20)]
    runs: u64,
    /// Only these attacks (or, with --breaks, these rules)
    only: Vec<String>,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "what it is for")]
fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        for scenario in all() {
            println!("{:<16} {}", scenario.name, scenario.about);
        }
        return ExitCode::SUCCESS;
    }
    let names: Vec<&str> = if options.breaks {
        Rule::ALL.iter().map(|rule| rule.name()).collect()
    } else {
        all().iter().map(|scenario| scenario.name).collect()
    };
    if let Some(unknown) = options
        .only
        .iter()
        .find(|name| !names.contains(&name.as_str()))
    {
        eprintln!("error: no {unknown}; there are {}", names.join(", "));
        return ExitCode::from(64);
    }
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    println!(
        "seed {seed} (--seed {seed} repeats the choices), number {}",
        options.number
    );
    let failed = if options.breaks {
        break_rules(&options, seed)
    } else {
        attack(&options, seed)
    };
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn is_wanted(options: &Options, name: &str) -> bool {
    options.only.is_empty() || options.only.iter().any(|only| only == name)
}

/// Runs all attacks; returns how many failed.
#[expect(clippy::print_stdout, reason = "what it is for")]
fn attack(options: &Options, seed: u64) -> usize {
    let started = Instant::now();
    let limit = options
        .limit
        .map(|minutes| Duration::from_secs(60 * minutes));
    let (mut failed, mut readings, mut faults, mut skipped) = (0, 0, 0, 0);
    for scenario in all() {
        if !is_wanted(options, scenario.name) {
            continue;
        }
        if limit.is_some_and(|limit| started.elapsed() >= limit) {
            skipped += 1;
            continue;
        }
        let task = Task {
            seed,
            n: options.number,
            broken: None,
        };
        let begun = Instant::now();
        let ended = run(scenario, task);
        let seconds = begun.elapsed().as_secs();
        match ended {
            Ok(report) if report.verdict.is_clean() => {
                readings += report.verdict.acknowledged;
                faults += report.faults;
                println!(
                    "{:<16} ok     {seconds:>4} s  {}",
                    scenario.name, report.facts
                );
                if report.verdict.acknowledged > 0 {
                    println!("{:28}{}", "", report.verdict);
                }
            }
            Ok(report) => {
                failed += 1;
                println!(
                    "{:<16} FAILED {seconds:>4} s  {}",
                    scenario.name, report.facts
                );
                println!("{:28}{}", "", report.verdict);
            }
            Err(error) => {
                failed += 1;
                println!("{:<16} FAILED {seconds:>4} s  {error}", scenario.name);
            }
        }
    }
    println!(
        "{readings} readings acknowledged under {faults} faults, {failed} attacks failed, {} s",
        started.elapsed().as_secs()
    );
    // Of fewer, a bound says nothing.
    if failed == 0 && faults >= 100 {
        println!(
            "lost 0, doubled 0, wrong 0, unexplained 0; with 95 % confidence less than {:.2} % of such faults do harm",
            300.0 / f64::from(u32::try_from(faults).unwrap_or(u32::MAX))
        );
    }
    if skipped > 0 {
        println!("{skipped} attacks weren't begun: the time was over");
    }
    failed
}

/// Breaks one rule after the other; returns how many weren't noticed.
#[expect(clippy::print_stdout, reason = "what it is for")]
fn break_rules(options: &Options, seed: u64) -> usize {
    let mut unnoticed = 0;
    for rule in Rule::ALL {
        if !is_wanted(options, rule.name()) {
            continue;
        }
        let scenario = all()
            .into_iter()
            .find(|scenario| scenario.name == notices(rule));
        let Some(scenario) = scenario else { continue };
        let begun = Instant::now();
        let noticed = (1..=options.runs).find_map(|turn| {
            let task = Task {
                seed: seed.wrapping_add(turn),
                n: options.number,
                broken: Some(rule),
            };
            match run(scenario, task) {
                Ok(report) if report.verdict.is_clean() => None,
                Ok(report) => Some((turn, report.verdict.to_string())),
                Err(error) => Some((turn, error)),
            }
        });
        let seconds = begun.elapsed().as_secs();
        let names = format!("{:<26} by {:<16}", rule.name(), scenario.name);
        if let Some((turn, how)) = noticed {
            let how = how.lines().next().unwrap_or_default();
            println!("{names} noticed in run {turn}, {seconds} s: {how}");
        } else {
            unnoticed += 1;
            println!("{names} NOT NOTICED in {} runs, {seconds} s", options.runs);
        }
    }
    unnoticed
}

/// Runs one attack in a thread of its own, so that one that can't go on doesn't end the others.
fn run(scenario: Scenario, task: Task) -> Result<Report, String> {
    let attack = std::thread::spawn(move || (scenario.run)(&task));
    match attack.join() {
        Ok(ended) => ended.map_err(|error| format!("{error:#}")),
        Err(panic) => {
            let said = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
            Err(said.unwrap_or_else(|| "a panic".to_owned()))
        }
    }
}
