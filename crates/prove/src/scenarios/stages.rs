//! Stages that are killed, frozen, and away.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::ensure;
use common::faults::Point;
use e2e::Role;
use fastrand::Rng;
use queue::ledger::Counter;

use super::{PAUSE, RIGS, SOON, loaded};
use crate::arena::{Arena, Setup, Stop, until};
use crate::oracle::Terms;
use crate::scenario::{Report, Scenario, Task};
use crate::traffic::rounds;

/// What belongs here.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "kills",
        about: "SIGKILL to ingester, transformer and sink: at random, at every point, and while an answer is under way",
        run: kills,
    },
    Scenario {
        name: "stalls",
        about: "SIGSTOP at every point for longer than the lease; a standby takes over, the sleeper wakes up",
        run: stalls,
    },
    Scenario {
        name: "absence",
        about: "all replicas of a stage are gone for a while",
        run: absence,
    },
    Scenario {
        name: "takeover",
        about: "a standby takes over within LEASE + 1 s after a kill, and at once after SIGTERM",
        run: takeover,
    },
];

/// What only an append contains: these two keys one after the other.
pub const APPEND: &str = "dead_letters\r\n$19\r\nrigline:rigs:ledger";
/// A stage that hasn't come to its point by then is killed from outside.
const PATIENCE: Duration = Duration::from_secs(3);

/// The points that a stage comes to.
const fn points(role: Role) -> &'static [Point] {
    match role {
        Role::Ingester => &[
            Point::AfterLease,
            Point::BeforeAppend,
            Point::AfterAppend,
            Point::BeforeAcknowledgement,
            Point::AfterAcknowledgement,
            Point::BeforeRenewal,
            Point::AfterRenewal,
        ],
        Role::Transformer => &[
            Point::AfterLease,
            Point::AfterState,
            Point::BeforePeek,
            Point::AfterPeek,
            Point::BeforeCommit,
            Point::AfterCommit,
            Point::BeforeRenewal,
            Point::AfterRenewal,
        ],
        Role::Sink => &[
            Point::AfterLease,
            Point::BeforePeek,
            Point::AfterPeek,
            Point::BeforeWrite,
            Point::AfterWrite,
            Point::BeforeCommit,
            Point::AfterCommit,
            Point::BeforeRenewal,
            Point::AfterRenewal,
        ],
    }
}

/// At which time that a stage comes to a point.
fn times(point: Point, rng: &mut Rng) -> u64 {
    match point {
        // Once a life, as a rule.
        Point::AfterLease | Point::AfterState => 1,
        _ => rng.u64(1..6),
    }
}

/// What only the request of a stage's write to Redis contains.
#[must_use]
pub const fn write_of(role: Role) -> &'static str {
    match role {
        Role::Ingester => APPEND,
        Role::Transformer => ":state:transformer",
        Role::Sink => ":state:sink",
    }
}

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
}

fn kills(task: &Task) -> anyhow::Result<Report> {
    let setup = task.setup().with("LEASE", "500ms");
    let mut arena = Arena::start(setup)?;
    arena.load(PAUSE, rounds(RIGS, task.seed));
    let mut tally: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut victims: Vec<Victim> = Role::ALL
        .into_iter()
        .enumerate()
        .map(|(place, role)| doom(&mut arena, place, role))
        .collect();
    let mut killed = 0;
    while killed < task.n {
        for victim in &mut victims {
            if !is_due(&mut arena, victim) {
                continue;
            }
            let hit = has_ended(&mut arena, victim);
            arena.stage(victim.place).kill();
            let how = if hit { name(victim.end) } else { "at random" };
            *tally.entry((victim.role.name(), how)).or_default() += 1;
            killed += 1;
            arena.wires.redis[victim.role as usize].cut_nothing();
            *victim = doom(&mut arena, victim.place, victim.role);
        }
        sleep(Duration::from_millis(5));
    }
    for victim in &victims {
        arena.stage(victim.place).kill();
        arena.wires.redis[victim.role as usize].cut_nothing();
        arena.respawn(victim.place, None);
    }
    let verdict = arena.finish(Terms::default())?;
    let kinds = tally.len();
    let per_role = Role::ALL.map(|role| {
        let own = tally.iter().filter(|((name, _), _)| *name == role.name());
        format!(
            "{} {}",
            role.name(),
            own.map(|(_, count)| count).sum::<usize>()
        )
    });
    if task.n >= 300 {
        for role in Role::ALL {
            for point in points(role) {
                ensure!(
                    tally.contains_key(&(role.name(), point.name())),
                    "no kill of the {} {}: {tally:#?}",
                    role.name(),
                    point.name()
                );
            }
        }
    }
    Ok(Report::new(
        verdict,
        format!(
            "{killed} SIGKILLs ({}) in {kinds} kinds of places",
            per_role.join(", ")
        ),
        killed,
    ))
}

/// Starts a stage that has ended, or that runs, with an end in view.
fn doom(arena: &mut Arena, place: usize, role: Role) -> Victim {
    let points = points(role);
    let choice = arena.rng.usize(..points.len() + 4);
    let (end, stop) = match points.get(choice) {
        Some(point) => {
            let stop = Stop {
                point: *point,
                how: "kill",
                time: times(*point, &mut arena.rng),
            };
            (End::Point(*point), Some(stop))
        }
        None => match choice - points.len() {
            0 => (End::Unanswered, None),
            1 => (End::Unsent, None),
            _ => {
                let wait = Duration::from_millis(arena.rng.u64(100..1_500));
                (End::Moment(wait), None)
            }
        },
    };
    arena.stage(place).kill();
    let wire = &arena.wires.redis[role as usize];
    match end {
        End::Unanswered => wire.cut_reply(write_of(role), 1),
        End::Unsent => wire.cut_request(write_of(role), 1),
        End::Point(_) | End::Moment(_) => {}
    }
    let cuts = wire.cuts();
    arena.respawn(place, stop);
    Victim {
        place,
        role,
        end,
        since: Instant::now(),
        cuts,
    }
}

fn has_ended(arena: &mut Arena, victim: &Victim) -> bool {
    match victim.end {
        End::Point(_) => arena.stage(victim.place).has_exited(),
        End::Moment(_) => true,
        End::Unanswered | End::Unsent => {
            arena.wires.redis[victim.role as usize].cuts() > victim.cuts
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

fn stalls(task: &Task) -> anyhow::Result<Report> {
    let lease = Duration::from_millis(500);
    let mut arena = Arena::start(task.setup().with("LEASE", "500ms"))?;
    for role in Role::ALL {
        arena.spawn(role, None, &[]);
    }
    arena.ready()?;
    arena.load(PAUSE, rounds(RIGS, task.seed));
    let mut hit: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for round in 0..task.times(8) {
        let role = Role::ALL[round % 3];
        let (sleeper, standby) = (role as usize, role as usize + 3);
        // Every other time the sleeper wakes up while the other has the lease and nothing more: its
        // commit is refused for its token, and for nothing else.
        let early = role != Role::Ingester && round / 3 % 2 == 0;
        let points = points(role);
        let point = if early {
            Point::BeforeCommit
        } else {
            points[arena.rng.usize(..points.len())]
        };
        let stop = Stop {
            point,
            how: "stop",
            time: times(point, &mut arena.rng),
        };
        arena.stage(sleeper).kill();
        arena.stage(standby).kill();
        arena.respawn(sleeper, Some(stop));
        until("the sleeper falls asleep", Duration::from_secs(20), || {
            arena.stages[sleeper].1.is_stopped()
        })?;
        *hit.entry((role.name(), stop.point.name())).or_default() += 1;
        if early {
            let taken = Stop {
                point: Point::AfterLease,
                how: "stop",
                time: 1,
            };
            arena.respawn(standby, Some(taken));
            until("a takeover", Duration::from_secs(20), || {
                arena.stages[standby].1.is_stopped()
            })?;
            arena.stage(sleeper).thaw();
            sleep(Duration::from_millis(100));
            arena.stage(standby).thaw();
        } else {
            arena.respawn(standby, None);
            sleep(lease * 2 + Duration::from_millis(arena.rng.u64(0..800)));
            arena.wait_progress(1, Duration::from_secs(30))?;
            arena.stage(sleeper).thaw();
        }
        sleep(Duration::from_millis(arena.rng.u64(100..600)));
    }
    let verdict = arena.finish(Terms::default())?;
    let stalls: usize = hit.values().sum();
    Ok(Report::new(
        verdict,
        format!("{stalls} stalls beyond the lease, at {} points", hit.len()),
        stalls,
    ))
}

fn absence(task: &Task) -> anyhow::Result<Report> {
    let mut arena = loaded(task)?;
    let away = task.seconds(5, 60);
    for role in Role::ALL {
        sleep(Duration::from_secs(1));
        arena.stage(role as usize).kill();
        sleep(away);
        arena.respawn(role as usize, None);
        arena.wait_progress(100, SOON)?;
    }
    let verdict = arena.finish(Terms::default())?;
    Ok(Report::new(
        verdict,
        format!("each of three stages away for {} s", away.as_secs()),
        3,
    ))
}

fn takeover(task: &Task) -> anyhow::Result<Report> {
    let lease = Duration::from_secs(3);
    let mut arena = Arena::start(Setup::new(task.seed, task.broken).with("LEASE", "3s"))?;
    for role in Role::ALL {
        arena.spawn(role, None, &[]);
    }
    arena.ready()?;
    arena.load(PAUSE, rounds(RIGS, task.seed));
    let (mut slowest_kill, mut slowest_stop) = (Duration::ZERO, Duration::ZERO);
    let mut holder = [0, 1, 2];
    let rounds = task.times(50);
    for round in 0..rounds * 3 {
        let role = Role::ALL[round % 3];
        let held = holder[role as usize];
        let other = if held < 3 { held + 3 } else { held - 3 };
        until("a standby", Duration::from_secs(20), || {
            arena.stages[other].1.get("/readyz").contains("\"standby\"")
        })?;
        let is_kill = round / 3 % 2 == 0;
        if is_kill {
            arena.stage(held).kill();
        } else {
            arena.stage(held).terminate();
            let exit = arena.stage(held).wait_exit(Duration::from_secs(10));
            ensure!(exit.is_some(), "the {} doesn't stop", role.name());
        }
        let gone = Instant::now();
        until("a takeover", Duration::from_secs(20), || {
            arena.holds_lease(other)
        })?;
        let took = gone.elapsed();
        if is_kill {
            slowest_kill = slowest_kill.max(took);
        } else {
            slowest_stop = slowest_stop.max(took);
        }
        holder[role as usize] = other;
        arena.respawn(held, None);
    }
    let stored = arena.ledger()?.get(Counter::RowsStored);
    ensure!(stored > 0, "nothing was stored");
    let verdict = arena.finish(Terms::default())?;
    ensure!(
        slowest_kill <= lease + Duration::from_secs(1),
        "took over {slowest_kill:?} after a kill"
    );
    ensure!(
        slowest_stop <= Duration::from_secs(1),
        "took over {slowest_stop:?} after SIGTERM"
    );
    Ok(Report::new(
        verdict,
        format!(
            "{} takeovers; the slowest {:.1} s after a kill (LEASE 3 s), {:.2} s after SIGTERM",
            rounds * 3,
            slowest_kill.as_secs_f64(),
            slowest_stop.as_secs_f64()
        ),
        rounds * 3,
    ))
}
