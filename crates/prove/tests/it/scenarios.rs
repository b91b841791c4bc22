//! Runs of some scenarios, and what the lists of scenarios, rules and patches have in common.

use std::process::Command;

use e2e::Deployment;
use prove::breaks::ALL as ALL_BREAKS;
use prove::scenario::{all, find};

/// Some of the scenarios with a few faults each. `make prove` runs all of them with more faults, so CI leaves these out.
mod runs {
    use std::sync::{Mutex, PoisonError};

    use e2e::Deployment::{self, OneProcess, Servers};
    use prove::scenario::{Parameters, Report, find};

    /// One scenario at a time: each starts all servers and stages.
    static RUNNING: Mutex<()> = Mutex::new(());

    fn run(deployment: Deployment, name: &str, kills: usize) -> anyhow::Result<Report> {
        let _guard = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let given = std::env::var("RIGLINE_SEED").ok();
        let seed = given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
        println!("seed {seed} (RIGLINE_SEED={seed} repeats the choices)");
        let params = Parameters {
            deployment,
            seed,
            kills,
            broken_binary: None,
        };
        (find(name, deployment).unwrap().run)(&params)
    }

    fn check(deployment: Deployment, name: &str, kills: usize) {
        let report =
            run(deployment, name, kills).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        println!("scenario {name}: {}; {}", report.summary, report.findings);
        assert!(
            report.findings.is_clean(),
            "{name}: {}\n{:#?}",
            report.findings,
            report.findings.notes
        );
    }

    #[test]
    fn killing_stages_loses_and_doubles_nothing() {
        check(Servers, "kills", 60);
    }

    #[test]
    fn frozen_stages_lose_and_double_nothing() {
        check(Servers, "stalls", 48);
    }

    #[test]
    fn lost_replies_lose_and_double_nothing() {
        check(Servers, "lost-replies", 20);
    }

    #[test]
    fn killing_redis_loses_nothing() {
        check(Servers, "redis-kills", 30);
    }

    #[test]
    fn emptied_redis_is_detected() {
        check(Servers, "redis-emptied", 10);
    }

    #[test]
    fn redis_at_its_memory_limit_is_drained() {
        check(Servers, "maxmemory", 10);
    }

    #[test]
    fn old_acknowledgements_do_not_reach_a_new_session() {
        check(Servers, "new-session", 10);
    }

    #[test]
    fn killing_the_single_process_loses_and_doubles_nothing() {
        check(OneProcess, "kills", 40);
    }

    #[test]
    fn full_disk_of_the_single_process_loses_nothing() {
        check(OneProcess, "disk-full", 10);
    }
}

#[test]
fn every_break_has_a_patch_that_applies_and_a_scenario() {
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
        let header = format!("# Breaks the rule {}: ", rule.name);
        assert!(
            text.starts_with(&header),
            "{} doesn't name its rule",
            rule.name
        );
        for deployment in Deployment::ALL {
            if let Some(name) = rule.scenario(*deployment) {
                assert!(find(name, *deployment).is_some(), "{} by {name}", rule.name);
            }
        }
        patches.retain(|path| *path != patch);
    }
    assert!(patches.is_empty(), "patches without a rule: {patches:?}");
}

#[test]
fn guarantees_list_every_scenario_and_no_other() {
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
