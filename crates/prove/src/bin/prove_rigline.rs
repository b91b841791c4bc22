//! Attacks the pipeline and tells what became of every reading.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser};
use e2e::Deployment;
use prove::breaks::{self, Break};
use prove::scenario::{Report, Scenario, Task, all, find, on};

/// Attacks the pipeline: real servers and stages, and the one process that is all of them, are killed, frozen, cut off, filled up and confused,
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
    #[command(flatten)]
    grounds: Grounds,
    /// Show the attacks and do nothing
    #[arg(long)]
    list: bool,
    /// Break every rule of the protocol on purpose instead, and see whether it is noticed
    #[arg(long)]
    breaks: bool,
    /// A number that grows from run to run: with --limit, scenarios begin at another place each
    /// time; with --breaks, only two rules are broken, other ones each time
    #[arg(long)]
    turn: Option<usize>,
    /// Runs in which a broken rule has to be noticed
    #[arg(long, default_value_t = 20)]
    runs: u64,
    /// Only these attacks (or, with --breaks, these rules)
    only: Vec<String>,
}

/// Which set-ups to attack: without either of these first the stages, and then the one process.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Grounds {
    /// Attack only the one process (`rigline up`)
    #[arg(long)]
    one_process: bool,
    /// Attack only the stages and their servers
    #[arg(long)]
    servers: bool,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "what it is for")]
fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        for scenario in all() {
            let one_process = scenario.on.contains(&Deployment::OneProcess);
            let on = if one_process { "both" } else { "servers" };
            println!("{:<16} {on:<8} {}", scenario.name, scenario.about);
        }
        return ExitCode::SUCCESS;
    }
    let names: Vec<&str> = if options.breaks {
        breaks::ALL.iter().map(|rule| rule.name).collect()
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
        run_all(&options, seed)
    };
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// The set-ups to attack, one after the other.
    fn grounds(&self) -> impl Iterator<Item = Deployment> {
        let skipped = match (self.grounds.one_process, self.grounds.servers) {
            (true, _) => Some(Deployment::Servers),
            (_, true) => Some(Deployment::OneProcess),
            _ => None,
        };
        let all = Deployment::ALL.iter().copied();
        all.filter(move |deployment| Some(*deployment) != skipped)
    }
}

/// By how many scenarios a turn goes further than the one before.
const TURN: usize = 8;

impl Options {
    /// The scenarios to run, in their order.
    fn scenarios(&self) -> Vec<(Deployment, Scenario)> {
        let mut scenarios = Vec::new();
        for deployment in self.grounds() {
            let wanted = on(deployment).filter(|scenario| self.wants(scenario.name));
            scenarios.extend(wanted.map(|scenario| (deployment, scenario)));
        }
        if let (Some(turn), false) = (self.turn, scenarios.is_empty()) {
            let first = turn % scenarios.len() * TURN % scenarios.len();
            scenarios.rotate_left(first);
        }
        scenarios
    }
}

/// What has come out so far.
#[derive(Debug, Default)]
struct Sum {
    readings: usize,
    faults: usize,
    failed: usize,
    skipped: usize,
}

/// Runs all scenarios; returns how many failed.
#[expect(clippy::print_stdout, reason = "what it is for")]
fn run_all(options: &Options, seed: u64) -> usize {
    let started = Instant::now();
    let limit = options
        .limit
        .map(|minutes| Duration::from_secs(60 * minutes));
    let mut sum = Sum::default();
    let mut last = None;
    for (deployment, scenario) in options.scenarios() {
        if limit.is_some_and(|limit| started.elapsed() >= limit) {
            sum.skipped += 1;
            continue;
        }
        if last != Some(deployment) {
            println!("on {}:", deployment.name());
            last = Some(deployment);
        }
        let task = Task {
            deployment,
            seed,
            n: options.number,
            broken: None,
        };
        let begun = Instant::now();
        let ended = run(scenario, task);
        report(scenario, &ended, begun.elapsed().as_secs());
        match ended {
            Ok(report) if report.verdict.is_clean() => {
                sum.readings += report.verdict.acknowledged;
                sum.faults += report.faults;
            }
            _ => sum.failed += 1,
        }
    }
    println!(
        "{} readings acknowledged under {} faults, {} scenarios failed, {} s",
        sum.readings,
        sum.faults,
        sum.failed,
        started.elapsed().as_secs()
    );
    // Of fewer, a bound says nothing.
    if sum.failed == 0 && sum.faults >= 100 {
        println!(
            "lost 0, doubled 0, wrong 0, unexplained 0; with 95 % confidence less than {:.2} % of such faults do harm",
            300.0 / f64::from(u32::try_from(sum.faults).unwrap_or(u32::MAX))
        );
    }
    if sum.skipped > 0 {
        println!("{} scenarios weren't begun: the time was over", sum.skipped);
    }
    sum.failed
}

#[expect(clippy::print_stdout, reason = "what it is for")]
fn report(scenario: Scenario, ended: &Result<Report, String>, seconds: u64) {
    let name = scenario.name;
    match ended {
        Ok(report) => {
            let (verdict, facts) = (&report.verdict, &report.facts);
            let word = if verdict.is_clean() {
                "ok    "
            } else {
                "FAILED"
            };
            println!("{name:<16} {word} {seconds:>4} s  {facts}");
            if verdict.acknowledged > 0 || !verdict.is_clean() {
                println!("{:28}{verdict}", "");
            }
        }
        Err(error) => println!("{name:<16} FAILED {seconds:>4} s  {error}"),
    }
}

/// Breaks one rule after the other; returns how many weren't noticed.
#[expect(clippy::print_stdout, reason = "what it is for")]
fn break_rules(options: &Options, seed: u64) -> usize {
    let mut unnoticed = 0;
    for (place, rule) in breaks::ALL.iter().enumerate() {
        let is_in_turn = options.turn.is_none_or(|turn| {
            let first = (2 * turn) % breaks::ALL.len();
            (first..first + 2).contains(&place)
        });
        if !is_in_turn || !options.wants(rule.name) {
            continue;
        }
        let binary = match rule.build() {
            Ok(binary) => binary,
            Err(error) => {
                unnoticed += 1;
                println!("{:<26} NOT BUILT: {error:#}", rule.name);
                continue;
            }
        };
        for deployment in options.grounds() {
            let scenario = rule
                .scenario(deployment)
                .and_then(|name| find(name, deployment));
            if let Some(scenario) = scenario {
                let noticed = is_noticed(options, seed, rule, &binary, scenario, deployment);
                unnoticed += usize::from(!noticed);
            }
        }
    }
    unnoticed
}

/// Runs a scenario on stages that break this rule until it fails.
#[expect(clippy::print_stdout, reason = "what it is for")]
fn is_noticed(
    options: &Options,
    seed: u64,
    rule: &Break,
    binary: &Path,
    scenario: Scenario,
    deployment: Deployment,
) -> bool {
    let begun = Instant::now();
    let noticed = (1..=options.runs).find_map(|turn| {
        let task = Task {
            deployment,
            seed: seed.wrapping_add(turn),
            n: options.number,
            broken: Some(binary.to_owned()),
        };
        match run(scenario, task) {
            Ok(report) if report.verdict.is_clean() => None,
            Ok(report) => Some((turn, report.verdict.to_string())),
            Err(error) => Some((turn, error)),
        }
    });
    let seconds = begun.elapsed().as_secs();
    let (name, runs) = (rule.name, options.runs);
    let names = format!(
        "{name:<26} on {} by {:<16}",
        deployment.name(),
        scenario.name
    );
    match &noticed {
        Some((turn, how)) => {
            let how = how.lines().next().unwrap_or_default();
            println!("{names} noticed in run {turn}, {seconds} s: {how}");
        }
        None => println!("{names} NOT NOTICED in {runs} runs, {seconds} s"),
    }
    noticed.is_some()
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
