//! Processes that are killed.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::ensure;
use common::faults::Point;
use e2e::Role;

use super::points::{points, times, write_of};
use super::{PAUSE, RIGS};
use crate::environment::{Environment, Stop};
use crate::oracle::Terms;
use crate::scenario::{BOTH, Report, Scenario, Task};
use crate::traffic::rounds;

/// What belongs here.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "kills",
    about: "SIGKILL to ingester, transformer and sink, or to the one process: at random, at every point, and while an answer is under way",
    on: BOTH,
    run: kills,
}];

/// A stage that hasn't come to its point by then is killed from outside.
const PATIENCE: Duration = Duration::from_secs(3);

/// The number of the signal.
const SIGKILL: i32 = 9;

/// How a stage is to end next.
#[derive(Debug, Clone, Copy)]
enum End {
    /// By itself, at a point.
    Point(Point),
    /// From outside, at some moment.
    Moment(Duration),
    /// Its write reaches Redis, the answer doesn't reach the stage.
    Unanswered,
    /// Its write never reaches Redis.
    Unsent,
}

fn name(end: End) -> &'static str {
    match end {
        End::Point(point) => point.name(),
        End::Moment(_) => "at random",
        End::Unanswered => "write carried out, answer lost",
        End::Unsent => "write lost",
    }
}

struct Victim {
    place: usize,
    role: Role,
    end: End,
    since: Instant,
    cuts: u32,
    /// Messages acknowledged when its life began.
    acknowledged: usize,
}

fn kills(task: &Task) -> anyhow::Result<Report> {
    let setup = task.setup().with("LEASE", "500ms");
    let mut environment = Environment::start(setup)?;
    environment.load(PAUSE, rounds(RIGS, task.seed));
    let mut tally: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut victims = Vec::new();
    for (place, role) in environment.roles().iter().enumerate() {
        victims.push(doom(&mut environment, place, *role)?);
    }
    let (mut killed, mut loaded) = (0, 0);
    while killed < task.n {
        for victim in &mut victims {
            if !is_due(&mut environment, victim) {
                continue;
            }
            let hit = has_ended(&mut environment, victim);
            ended_by_no_other_way(&mut environment, victim)?;
            environment.stage(victim.place).kill();
            let how = if hit { name(victim.end) } else { "at random" };
            *tally.entry((victim.role.name(), how)).or_default() += 1;
            killed += 1;
            loaded += usize::from(environment.traffic().acknowledged() > victim.acknowledged);
            cut_nothing(&environment, victim.role);
            *victim = doom(&mut environment, victim.place, victim.role)?;
        }
        sleep(Duration::from_millis(5));
    }
    for victim in &victims {
        environment.stage(victim.place).kill();
        cut_nothing(&environment, victim.role);
        environment.respawn(victim.place, None)?;
    }
    let verdict = environment.finish(Terms::default())?;
    let kinds = tally.len();
    let per_role = environment.roles().iter().map(|role| {
        let own = tally.iter().filter(|((name, _), _)| *name == role.name());
        let count = own.map(|(_, count)| count).sum::<usize>();
        format!("{} {count}", role.name())
    });
    let per_role: Vec<_> = per_role.collect();
    if task.n >= 300 {
        for role in environment.roles() {
            for point in points(*role) {
                ensure!(
                    tally.contains_key(&(role.name(), point.name())),
                    "no kill of the {} {}: {tally:#?}",
                    role.name(),
                    point.name()
                );
            }
        }
    }
    let looks = if environment.is_one_process() {
        ensure!(loaded > 0, "nothing was acknowledged between any two kills");
        format!("; {} times all files in order", environment.checks)
    } else {
        String::new()
    };
    let facts = format!(
        "{killed} SIGKILLs ({}) in {kinds} kinds of places, {loaded} of them after PUBACKs{looks}",
        per_role.join(", ")
    );
    Ok(Report::new(verdict, facts, killed))
}

/// Starts a stage that has ended, or that runs, with an end in view.
fn doom(environment: &mut Environment, place: usize, role: Role) -> anyhow::Result<Victim> {
    let points = points(role);
    let choice = environment.rng.usize(..points.len() + 4);
    let (end, stop) = match points.get(choice) {
        Some(point) => {
            let stop = Stop {
                point: *point,
                how: "kill",
                time: times(role, *point, &mut environment.rng),
            };
            (End::Point(*point), Some(stop))
        }
        None => match choice - points.len() {
            0 if role != Role::Up => (End::Unanswered, None),
            1 if role != Role::Up => (End::Unsent, None),
            _ => {
                let wait = Duration::from_millis(environment.rng.u64(100..1_500));
                (End::Moment(wait), None)
            }
        },
    };
    environment.stage(place).kill();
    let cuts = match end {
        End::Unanswered | End::Unsent => {
            let wire = &environment.proxies.redis()[role as usize];
            if matches!(end, End::Unsent) {
                wire.cut_request(write_of(role), 1);
            } else {
                wire.cut_reply(write_of(role), 1);
            }
            wire.cuts()
        }
        End::Point(_) | End::Moment(_) => 0,
    };
    environment.respawn(place, stop)?;
    Ok(Victim {
        place,
        role,
        end,
        since: Instant::now(),
        cuts,
        acknowledged: environment.traffic().acknowledged(),
    })
}

/// A process that isn't there any more has to have been killed, at its point.
fn ended_by_no_other_way(environment: &mut Environment, victim: &Victim) -> anyhow::Result<()> {
    let stage = environment.stage(victim.place);
    if let Some(exit) = stage.wait_exit(Duration::ZERO) {
        ensure!(
            exit.signal() == Some(SIGKILL),
            "the {} ended by itself with {exit}:\n{}",
            victim.role.name(),
            stage.logs()
        );
    }
    Ok(())
}

/// Takes back the cuts that are planned for a stage's wire to Redis, if it has one.
fn cut_nothing(environment: &Environment, role: Role) {
    if !environment.is_one_process() {
        environment.proxies.redis()[role as usize].cancel_plans();
    }
}

fn has_ended(environment: &mut Environment, victim: &Victim) -> bool {
    match victim.end {
        End::Point(_) => environment.stage(victim.place).has_exited(),
        End::Moment(_) => true,
        End::Unanswered | End::Unsent => {
            environment.proxies.redis()[victim.role as usize].cuts() > victim.cuts
        }
    }
}

fn is_due(environment: &mut Environment, victim: &Victim) -> bool {
    let since = victim.since.elapsed();
    match victim.end {
        End::Moment(wait) => since >= wait,
        _ => since >= PATIENCE || has_ended(environment, victim),
    }
}
