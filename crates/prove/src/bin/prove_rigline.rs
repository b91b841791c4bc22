//! Runs the fault-injection suite and reports what became of every reading.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser};
use e2e::Deployment;
use prove::breaks::{self, Break};
use prove::build::fault_stage;
use prove::scenario::{Parameters, Report, Scenario, all, find, on};

/// Injects faults into real servers and stages, and into the single process (`rigline up`): kills, freezes, network faults, full disks, wrong clocks and more.
/// An oracle accounts for every reading that was sent.
#[derive(Debug, Parser)]
#[command(name = "prove-rigline", version)]
struct Options {
    /// Number of kills; the number of other faults follows from it. From 1000 on, outages last as
    /// long as Rigline promises to survive
    #[arg(short, long, default_value_t = 100)]
    number: usize,
    /// Seed of every random choice; random by default
    #[arg(long)]
    seed: Option<u64>,
    /// Start no further scenario after this many minutes; building the stages doesn't count
    #[arg(long, value_name = "MINUTES")]
    limit: Option<u64>,
    #[command(flatten)]
    deployments: Deployments,
    /// List the scenarios and exit
    #[arg(long)]
    list: bool,
    /// Break each rule of the protocol instead, and check that a scenario detects it
    #[arg(long)]
    breaks: bool,
    /// A number that increases from run to run: with --limit, each run starts with other scenarios;
    /// with --breaks, each run breaks two other rules
    #[arg(long)]
    turn: Option<usize>,
    /// Runs of a scenario within which a broken rule has to be noticed
    #[arg(long, default_value_t = 20)]
    runs: u64,
    /// Only these scenarios (or, with --breaks, these rules)
    only: Vec<String>,
}

/// The deployments to test; by default the servers, then the single process.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Deployments {
    /// Test only the single process (`rigline up`)
    #[arg(long)]
    one_process: bool,
    /// Test only the stages and their servers
    #[arg(long)]
    servers: bool,
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the output of a command"
)]
fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        for scenario in all() {
            let one_process = scenario.deployments.contains(&Deployment::OneProcess);
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
        run_breaks(&options, seed)
    } else {
        run_scenarios(&options, seed)
    };
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// By how many scenarios each turn starts later than the one before.
const TURN: usize = 8;

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// The deployments to test, in order.
    fn deployments(&self) -> impl Iterator<Item = Deployment> {
        let skipped = match (self.deployments.one_process, self.deployments.servers) {
            (true, _) => Some(Deployment::Servers),
            (_, true) => Some(Deployment::OneProcess),
            _ => None,
        };
        let all = Deployment::ALL.iter().copied();
        all.filter(move |deployment| Some(*deployment) != skipped)
    }

    /// The scenarios to run, in order.
    fn scenarios(&self) -> Vec<(Deployment, Scenario)> {
        let mut scenarios = Vec::new();
        for deployment in self.deployments() {
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

/// The totals of all scenarios.
#[derive(Debug, Default)]
struct Totals {
    readings: usize,
    faults: usize,
    failed: usize,
    skipped: usize,
}

/// Runs all scenarios; returns how many failed.
#[expect(clippy::print_stdout, reason = "the output of a command")]
fn run_scenarios(options: &Options, seed: u64) -> usize {
    // Before the clock starts: building the stages takes minutes.
    let _ = fault_stage();
    let started = Instant::now();
    let limit = options
        .limit
        .map(|minutes| Duration::from_secs(60 * minutes));
    let mut totals = Totals::default();
    let mut last = None;
    for (deployment, scenario) in options.scenarios() {
        if limit.is_some_and(|limit| started.elapsed() >= limit) {
            totals.skipped += 1;
            continue;
        }
        if last != Some(deployment) {
            println!("on {}:", deployment.name());
            last = Some(deployment);
        }
        let params = Parameters {
            deployment,
            seed,
            kills: options.number,
            broken_binary: None,
        };
        let begun = Instant::now();
        let result = run(scenario, params);
        print_result(scenario, &result, begun.elapsed().as_secs());
        match result {
            Ok(report) if report.findings.is_clean() => {
                totals.readings += report.findings.acknowledged;
                totals.faults += report.faults;
            }
            _ => totals.failed += 1,
        }
    }
    print_totals(&totals, started.elapsed());
    totals.failed
}

#[expect(clippy::print_stdout, reason = "the output of a command")]
fn print_totals(totals: &Totals, elapsed: Duration) {
    println!(
        "{} readings acknowledged under {} faults, {} scenarios failed, took {} s",
        totals.readings,
        totals.faults,
        totals.failed,
        elapsed.as_secs()
    );
    // Fewer faults give no meaningful bound.
    if totals.failed == 0 && totals.faults >= 100 {
        println!(
            "lost 0, doubled 0, wrong 0, unexplained 0; with 95 % confidence less than {:.2} % of such faults do harm",
            300.0 / f64::from(u32::try_from(totals.faults).unwrap_or(u32::MAX))
        );
    }
    if totals.skipped > 0 {
        println!("{} scenarios not started: time limit", totals.skipped);
    }
}

#[expect(clippy::print_stdout, reason = "the output of a command")]
fn print_result(scenario: Scenario, result: &Result<Report, String>, seconds: u64) {
    let name = scenario.name;
    match result {
        Ok(report) => {
            let (findings, summary) = (&report.findings, &report.summary);
            let status = if findings.is_clean() {
                "ok    "
            } else {
                "FAILED"
            };
            println!("{name:<16} {status} {seconds:>4} s  {summary}");
            if findings.acknowledged > 0 || !findings.is_clean() {
                println!("{:28}{findings}", "");
            }
        }
        Err(error) => println!("{name:<16} FAILED {seconds:>4} s  {error}"),
    }
}

/// Breaks one rule after the other; returns how many breaks weren't noticed.
#[expect(clippy::print_stdout, reason = "the output of a command")]
fn run_breaks(options: &Options, seed: u64) -> usize {
    let mut unnoticed = 0;
    for (index, rule) in breaks::ALL.iter().enumerate() {
        let is_in_turn = options.turn.is_none_or(|turn| {
            let first = (2 * turn) % breaks::ALL.len();
            (first..first + 2).contains(&index)
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
        for deployment in options.deployments() {
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

/// Runs a scenario with stages that break this rule until it fails.
#[expect(clippy::print_stdout, reason = "the output of a command")]
fn is_noticed(
    options: &Options,
    seed: u64,
    rule: &Break,
    binary: &Path,
    scenario: Scenario,
    deployment: Deployment,
) -> bool {
    let begun = Instant::now();
    let noticed = (1..=options.runs).find_map(|number| {
        let params = Parameters {
            deployment,
            seed: seed.wrapping_add(number),
            kills: options.number,
            broken_binary: Some(binary.to_owned()),
        };
        match run(scenario, params) {
            Ok(report) if report.findings.is_clean() => None,
            Ok(report) => Some((number, report.findings.to_string())),
            Err(error) => Some((number, error)),
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
        Some((number, how)) => {
            let how = how.lines().next().unwrap_or_default();
            println!("{names} noticed in run {number}, {seconds} s: {how}");
        }
        None => println!("{names} NOT NOTICED in {runs} runs, {seconds} s"),
    }
    noticed.is_some()
}

/// Runs a scenario in its own thread, so that a panic doesn't end the others.
fn run(scenario: Scenario, params: Parameters) -> Result<Report, String> {
    let thread = std::thread::spawn(move || (scenario.run)(&params));
    match thread.join() {
        Ok(result) => result.map_err(|error| format!("{error:#}")),
        Err(panic) => {
            let message = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(message.unwrap_or_else(|| "a panic".to_owned()))
        }
    }
}
