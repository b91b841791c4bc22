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
use crate::arena::{Arena, Stop};
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
    let mut arena = Arena::start(setup)?;
    arena.load(PAUSE, rounds(RIGS, task.seed));
    let mut tally: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut victims = Vec::new();
    for (place, role) in arena.roles().iter().enumerate() {
        victims.push(doom(&mut arena, place, *role)?);
    }
    let (mut killed, mut loaded) = (0, 0);
    while killed < task.n {
        for victim in &mut victims {
            if !is_due(&mut arena, victim) {
                continue;
            }
            let hit = has_ended(&mut arena, victim);
            ended_by_no_other_way(&mut arena, victim)?;
            arena.stage(victim.place).kill();
            let how = if hit { name(victim.end) } else { "at random" };
            *tally.entry((victim.role.name(), how)).or_default() += 1;
            killed += 1;
            loaded += usize::from(arena.traffic().acknowledged() > victim.acknowledged);
            cut_nothing(&arena, victim.role);
            *victim = doom(&mut arena, victim.place, victim.role)?;
        }
        sleep(Duration::from_millis(5));
    }
    for victim in &victims {
        arena.stage(victim.place).kill();
        cut_nothing(&arena, victim.role);
        arena.respawn(victim.place, None)?;
    }
    let verdict = arena.finish(Terms::default())?;
    let kinds = tally.len();
    let per_role = arena.roles().iter().map(|role| {
        let own = tally.iter().filter(|((name, _), _)| *name == role.name());
        let count = own.map(|(_, count)| count).sum::<usize>();
        format!("{} {count}", role.name())
    });
    let per_role: Vec<_> = per_role.collect();
    if task.n >= 300 {
        for role in arena.roles() {
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
    let looks = if arena.is_alone() {
        ensure!(loaded > 0, "nothing was acknowledged between any two kills");
        format!("; {} times all files in order", arena.checks)
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
fn doom(arena: &mut Arena, place: usize, role: Role) -> anyhow::Result<Victim> {
    let points = points(role);
    let choice = arena.rng.usize(..points.len() + 4);
    let (end, stop) = match points.get(choice) {
        Some(point) => {
            let stop = Stop {
                point: *point,
                how: "kill",
                time: times(role, *point, &mut arena.rng),
            };
            (End::Point(*point), Some(stop))
        }
        None => match choice - points.len() {
            0 if role != Role::Up => (End::Unanswered, None),
            1 if role != Role::Up => (End::Unsent, None),
            _ => {
                let wait = Duration::from_millis(arena.rng.u64(100..1_500));
                (End::Moment(wait), None)
            }
        },
    };
    arena.stage(place).kill();
    let cuts = match end {
        End::Unanswered | End::Unsent => {
            let wire = &arena.wires.redis()[role as usize];
            if matches!(end, End::Unsent) {
                wire.cut_request(write_of(role), 1);
            } else {
                wire.cut_reply(write_of(role), 1);
            }
            wire.cuts()
        }
        End::Point(_) | End::Moment(_) => 0,
    };
    arena.respawn(place, stop)?;
    Ok(Victim {
        place,
        role,
        end,
        since: Instant::now(),
        cuts,
        acknowledged: arena.traffic().acknowledged(),
    })
}

/// A process that isn't there any more has to have been killed, at its point.
fn ended_by_no_other_way(arena: &mut Arena, victim: &Victim) -> anyhow::Result<()> {
    let stage = arena.stage(victim.place);
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
fn cut_nothing(arena: &Arena, role: Role) {
    if !arena.is_alone() {
        arena.wires.redis()[role as usize].cut_nothing();
    }
}

fn has_ended(arena: &mut Arena, victim: &Victim) -> bool {
    match victim.end {
        End::Point(_) => arena.stage(victim.place).has_exited(),
        End::Moment(_) => true,
        End::Unanswered | End::Unsent => {
            arena.wires.redis()[victim.role as usize].cuts() > victim.cuts
        }
    }
}

fn is_due(arena: &mut Arena, victim: &Victim) -> bool {
    let since = victim.since.elapsed();
    match victim.end {
        End::Moment(wait) => since >= wait,
        _ => since >= PATIENCE || has_ended(arena, victim),
    }
}
