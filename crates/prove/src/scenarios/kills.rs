//! Processes are killed.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::ensure;
use common::faults::Point;
use e2e::Role;

use super::points::{occurrence, points, write_marker};
use super::{RIGS, ROW_INTERVAL};
use crate::environment::{Environment, StopAt};
use crate::oracle::Expectations;
use crate::scenario::{Parameters, Report, Scenario};
use crate::traffic::rounds;

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario::on_both(
    "kills",
    "SIGKILL to the stages, or to the single process: at random, at every point, and while a reply is in flight",
    kills,
)];

/// A stage that doesn't reach its point within this time is killed from outside.
const POINT_TIMEOUT: Duration = Duration::from_secs(3);

/// The number of the signal.
const SIGKILL: i32 = 9;

/// When a stage is killed.
#[derive(Debug, Clone, Copy)]
enum Trigger {
    /// It reaches a point and kills itself.
    Point(Point),
    /// A random time has passed.
    After(Duration),
    /// Its write has reached Redis and the reply was cut.
    ReplyCut,
    /// Its write was cut before it reached Redis.
    RequestCut,
}

impl Trigger {
    const fn name(self) -> &'static str {
        match self {
            Self::Point(point) => point.name(),
            Self::After(_) => "at random",
            Self::ReplyCut => "write carried out, reply lost",
            Self::RequestCut => "write lost",
        }
    }
}

/// A running stage and its next kill.
struct PlannedKill {
    index: usize,
    role: Role,
    trigger: Trigger,
    started: Instant,
    /// Cuts of the stage's connections to Redis at its start.
    cuts: u32,
    /// Messages acknowledged at its start.
    acknowledged: usize,
}

fn kills(params: &Parameters) -> anyhow::Result<Report> {
    let setup = params.setup().with("LEASE", "500ms");
    let mut environment = Environment::start(setup)?;
    environment.load(ROW_INTERVAL, rounds(RIGS, params.seed));
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut plans = Vec::new();
    for (index, role) in environment.roles().iter().enumerate() {
        plans.push(restart_with_plan(&mut environment, index, *role)?);
    }
    let (mut killed, mut loaded) = (0, 0);
    while killed < params.kills {
        for plan in &mut plans {
            if !is_due(&mut environment, plan) {
                continue;
            }
            let triggered = is_triggered(&mut environment, plan);
            ensure_not_exited_otherwise(&mut environment, plan)?;
            environment.stage(plan.index).kill();
            let name = if triggered {
                plan.trigger.name()
            } else {
                "at random"
            };
            *counts.entry((plan.role.name(), name)).or_default() += 1;
            killed += 1;
            loaded += usize::from(environment.traffic().acknowledged() > plan.acknowledged);
            cancel_cuts(&environment, plan.role);
            *plan = restart_with_plan(&mut environment, plan.index, plan.role)?;
        }
        sleep(Duration::from_millis(5));
    }
    for plan in &plans {
        environment.stage(plan.index).kill();
        cancel_cuts(&environment, plan.role);
        environment.respawn(plan.index, None)?;
    }
    let findings = environment.finish(Expectations::default())?;
    if params.kills >= 300 {
        for role in environment.roles() {
            for point in points(*role) {
                ensure!(
                    counts.contains_key(&(role.name(), point.name())),
                    "no kill of the {} {}: {counts:#?}",
                    role.name(),
                    point.name()
                );
            }
        }
    }
    let per_role = environment.roles().iter().map(|role| {
        let own = counts.iter().filter(|((name, _), _)| *name == role.name());
        let count = own.map(|(_, count)| count).sum::<usize>();
        format!("{} {count}", role.name())
    });
    let files = if environment.is_one_process() {
        ensure!(loaded > 0, "nothing was acknowledged between any two kills");
        format!("; all files intact {} times", environment.integrity_checks)
    } else {
        String::new()
    };
    let summary = format!(
        "{killed} SIGKILLs ({}) in {} kinds of places, {loaded} of them after PUBACKs{files}",
        per_role.collect::<Vec<_>>().join(", "),
        counts.len()
    );
    Ok(Report::new(findings, summary, killed))
}

/// Kills the stage at this index if it runs, and starts it with its next kill planned.
fn restart_with_plan(
    environment: &mut Environment,
    index: usize,
    role: Role,
) -> anyhow::Result<PlannedKill> {
    let points = points(role);
    let choice = environment.rng.usize(..points.len() + 4);
    let trigger = match points.get(choice) {
        Some(point) => Trigger::Point(*point),
        None => match choice - points.len() {
            0 if role != Role::Up => Trigger::ReplyCut,
            1 if role != Role::Up => Trigger::RequestCut,
            _ => Trigger::After(Duration::from_millis(environment.rng.u64(100..1_500))),
        },
    };
    environment.stage(index).kill();
    let (mut stop, mut cuts) = (None, 0);
    match trigger {
        Trigger::Point(point) => {
            stop = Some(StopAt {
                point,
                signal: "kill",
                occurrence: occurrence(role, point, &mut environment.rng),
            });
        }
        Trigger::After(_) => {}
        Trigger::ReplyCut | Trigger::RequestCut => {
            let proxy = &environment.proxies.redis()[role as usize];
            if matches!(trigger, Trigger::RequestCut) {
                proxy.cut_request(write_marker(role), 1);
            } else {
                proxy.cut_reply(write_marker(role), 1);
            }
            cuts = proxy.cuts();
        }
    }
    environment.respawn(index, stop)?;
    Ok(PlannedKill {
        index,
        role,
        trigger,
        started: Instant::now(),
        cuts,
        acknowledged: environment.traffic().acknowledged(),
    })
}

/// A stage that has exited has to have killed itself at its point.
fn ensure_not_exited_otherwise(
    environment: &mut Environment,
    plan: &PlannedKill,
) -> anyhow::Result<()> {
    let stage = environment.stage(plan.index);
    if let Some(exit) = stage.wait_exit(Duration::ZERO) {
        ensure!(
            exit.signal() == Some(SIGKILL),
            "the {} ended by itself with {exit}:\n{}",
            plan.role.name(),
            stage.logs()
        );
    }
    Ok(())
}

/// Cancels the cuts that are planned for a stage's connections to Redis, if it has any.
fn cancel_cuts(environment: &Environment, role: Role) {
    if !environment.is_one_process() {
        environment.proxies.redis()[role as usize].cancel_plans();
    }
}

fn is_triggered(environment: &mut Environment, plan: &PlannedKill) -> bool {
    match plan.trigger {
        Trigger::Point(_) => environment.stage(plan.index).has_exited(),
        Trigger::After(_) => true,
        Trigger::ReplyCut | Trigger::RequestCut => {
            environment.proxies.redis()[plan.role as usize].cuts() > plan.cuts
        }
    }
}

fn is_due(environment: &mut Environment, plan: &PlannedKill) -> bool {
    let running = plan.started.elapsed();
    match plan.trigger {
        Trigger::After(wait) => running >= wait,
        _ => running >= POINT_TIMEOUT || is_triggered(environment, plan),
    }
}
