//! Cuts, one-way proxies, flapping links, and answers that come when nobody waits for them any more.

use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use e2e::Role;
use queue::ledger::Counter;
use testkit::{Direction, HostsFile, Network, TcpProxy};

use super::points::write_of;
use super::{PAUSE, RIGS, SOON, loaded};
use crate::environment::{Environment, until};
use crate::oracle::{Terms, Verdict};
use crate::scenario::{BOTH, Report, SERVERS, Scenario, Task};
use crate::traffic::rounds;

/// What belongs here.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "cuts",
        about: "nothing passes between any two parts for a while, connections stay open",
        on: BOTH,
        run: cuts,
    },
    Scenario {
        name: "one-way",
        about: "between any two parts only requests pass, then only replies",
        on: BOTH,
        run: one_way,
    },
    Scenario {
        name: "flapping",
        about: "all links at once up for a second and down for a second",
        on: BOTH,
        run: flapping,
    },
    Scenario {
        name: "late-commits",
        about: "a write to Redis is given up, and arrives after all: after the second try of the same",
        on: SERVERS,
        run: late_commits,
    },
    Scenario {
        name: "moved",
        about: "Redis, broker and store come back at another address (needs root)",
        on: SERVERS,
        run: moved,
    },
];

/// Memory may grow by this much while links flap.
const GROWTH: u64 = 16 << 20;

/// How long the wire at this place is dark: in a short attack as long as it takes to show (an answer
/// of Redis is given up after 5 s), in a long one until every time limit has passed.
fn darkness(task: &Task, place: usize) -> Duration {
    let is_redis = (2..=4).contains(&place);
    task.seconds(if is_redis { 6 } else { 2 }, 60)
}

fn cuts(task: &Task) -> anyhow::Result<Report> {
    let mut environment = loaded(task)?;
    let (mut slowest, mut all) = (Duration::ZERO, Duration::ZERO);
    let links = environment.proxies.all().len();
    for place in 0..links {
        let dark = darkness(task, place);
        all += dark;
        let (name, wire) = environment.proxies.all()[place];
        wire.set_network(Network::BlackHole);
        let before = wire.forwarded_bytes();
        sleep(dark);
        ensure!(wire.forwarded_bytes() == before, "{name}: something passed");
        wire.set_network(Network::Ok);
        let healed = Instant::now();
        environment.wait_progress(10, SOON)?;
        slowest = slowest.max(healed.elapsed());
    }
    let verdict = environment.finish(Terms::default())?;
    Ok(Report::new(
        verdict,
        format!(
            "{links} links dark for {} s in all; rows flowed again within {:.1} s",
            all.as_secs(),
            slowest.as_secs_f64()
        ),
        links,
    ))
}

fn one_way(task: &Task) -> anyhow::Result<Report> {
    let mut environment = loaded(task)?;
    let mut all = Duration::ZERO;
    let links = environment.proxies.all().len();
    for place in 0..links {
        let dark = darkness(task, place);
        all += 2 * dark;
        for direction in [Direction::Request, Direction::Reply] {
            let (name, wire) = environment.proxies.all()[place];
            let closed = |(requests, replies)| match direction {
                Direction::Request => replies,
                Direction::Reply => requests,
            };
            wire.set_network(Network::OneWay(direction));
            let before: u64 = closed(wire.forwarded_bytes());
            sleep(dark);
            ensure!(
                closed(wire.forwarded_bytes()) == before,
                "{name}: both ways"
            );
            wire.set_network(Network::Ok);
            environment.wait_progress(10, SOON)?;
        }
    }
    let verdict = environment.finish(Terms::default())?;
    Ok(Report::new(
        verdict,
        format!(
            "{links} links one way for {} s in all, both ways in turn",
            all.as_secs()
        ),
        2 * links,
    ))
}

fn flapping(task: &Task) -> anyhow::Result<Report> {
    let mut environment = loaded(task)?;
    let time = task.seconds(14, 180);
    let memory = |environment: &Environment| -> Vec<u64> {
        let stages = environment.stages.iter();
        stages
            .map(|(_, stage)| stage.rss_bytes().unwrap_or(0))
            .collect()
    };
    let connects = |environment: &Environment| -> u64 {
        let proxies = environment.proxies.all();
        proxies.iter().map(|(_, wire)| wire.connections()).sum()
    };
    let stored = |environment: &Environment| -> anyhow::Result<i64> {
        Ok(environment.ledger()?.get(Counter::RowsStored))
    };
    let (before, rows, opened) = (
        memory(&environment),
        stored(&environment)?,
        connects(&environment),
    );
    let started = Instant::now();
    // On a busy machine several ups may pass until each stage had all its servers in the same one.
    let is_over = |environment: &Environment| -> anyhow::Result<bool> {
        let elapsed = started.elapsed();
        Ok(elapsed >= time && (stored(environment)? > rows || elapsed >= time + SOON))
    };
    while !is_over(&environment)? {
        for network in [Network::Refused, Network::Ok] {
            for (_, wire) in environment.proxies.all() {
                wire.set_network(network);
            }
            sleep(Duration::from_secs(1));
        }
    }
    let time = started.elapsed();
    let rows = stored(&environment)? - rows;
    ensure!(
        rows > 0,
        "no row was stored in {time:?} while links flapped"
    );
    let flaps = time.as_secs() / 2;
    let opened = connects(&environment) - opened;
    ensure!(2 * opened > flaps, "{opened} connections: nothing was cut");
    let links = u64::try_from(environment.proxies.all().len())?;
    let most = links * 20 * time.as_secs();
    ensure!(
        opened < most,
        "{opened} connections in {time:?}: no backing off"
    );
    for ((role, _), (before, after)) in environment
        .stages
        .iter()
        .zip(before.iter().zip(memory(&environment)))
    {
        ensure!(
            after < before + GROWTH,
            "the {} grew from {before} to {after} bytes",
            role.name()
        );
    }
    environment.wait_progress(100, SOON)?;
    let verdict = environment.finish(Terms::default())?;
    Ok(Report::new(
        verdict,
        format!(
            "all links {flaps} times down and up; {rows} rows stored meanwhile, {opened} connections, memory flat"
        ),
        usize::try_from(flaps)?,
    ))
}

fn late_commits(task: &Task) -> anyhow::Result<Report> {
    // Long enough that the lease outlasts the wait: the number alone stands between a commit that
    // was given up and the list.
    let mut environment = Environment::start(task.setup().with("LEASE", "30s"))?;
    environment.load(Duration::from_millis(20), rounds(RIGS, task.seed));
    environment.wait_progress(1, SOON)?;
    let times = task.times(30).clamp(3, 20);
    let mut overtaken = 0;
    for round in 0..times {
        let role = [Role::Transformer, Role::Sink, Role::Ingester][round % 3];
        let patience = Duration::from_millis(environment.rng.u64(4_900..5_400));
        let pause = Duration::from_millis(environment.rng.u64(..1_000));
        let wire = &environment.proxies.redis()[role as usize];
        let (late, opened) = (wire.late_requests(), wire.connections());
        wire.hold_request(write_of(role), 1);
        until("a write to hold", SOON, || wire.held_connections() == 1)
            .with_context(|| role.name())?;
        let before = environment.ledger()?.get(progress_of(role));
        if round % 4 == 3 {
            // It arrives while the stage finds out that there is no answer.
            sleep(patience);
        } else {
            // The stage gives it up, asks over another connection, and sends the same again.
            environment.wait_for("another try", SOON, |ledger| {
                ledger.get(progress_of(role)) > before
            })?;
            ensure!(
                wire.held_connections() == 1,
                "the first try isn't under way any more"
            );
            ensure!(wire.connections() > opened, "not over another connection");
            sleep(pause);
            overtaken += 1;
        }
        wire.release_held();
        until("the first try", SOON, || wire.late_requests() > late)?;
        environment.wait_progress(10, SOON)?;
    }
    let verdict = environment.finish(Terms::default())?;
    Ok(Report::new(
        verdict,
        format!(
            "{times} writes to Redis came about 5 s late, {overtaken} of them after a second try"
        ),
        times,
    ))
}

/// What a stage's writes to Redis count up.
const fn progress_of(role: Role) -> Counter {
    match role {
        Role::Ingester => Counter::Accepted,
        Role::Transformer => Counter::RawTaken,
        Role::Sink | Role::Up => Counter::RowsTaken,
    }
}

fn moved(task: &Task) -> anyhow::Result<Report> {
    let names = ["rigline-broker", "rigline-redis", "rigline-store"];
    let Some(hosts) = HostsFile::new() else {
        return Ok(Report::new(
            Verdict::default(),
            "skipped: names can't be changed here".to_owned(),
            0,
        ));
    };
    let mut environment = Environment::without_stages(task.setup());
    let chain = environment.chain();
    let targets = [
        chain.mosquitto.port(),
        chain.redis.port(),
        chain.influxdb.port(),
    ];
    let port = testkit::free_port;
    let ports = [port(), port(), port()];
    let place = |ip: Ipv4Addr| -> Vec<TcpProxy> {
        for name in names {
            hosts.set(name, ip.into());
        }
        let pairs = ports.iter().zip(targets);
        pairs
            .map(|(port, target)| TcpProxy::start_at(ip, *port, target))
            .collect()
    };
    let mut ip = Ipv4Addr::new(127, 0, 0, 2);
    let mut proxies = place(ip);
    for role in Role::ALL {
        let env = [
            ("MQTT_HOST", names[0].to_owned()),
            ("MQTT_PORT", ports[0].to_string()),
            ("REDIS_HOST", names[1].to_owned()),
            ("REDIS_PORT", ports[1].to_string()),
            ("INFLUX_URL", format!("http://{}:{}", names[2], ports[2])),
        ];
        let launch = environment
            .launch(role, None, &env)
            .wrapper(&hosts.wrapper());
        environment.stages.push((role, launch.spawn()));
    }
    environment.ready()?;
    environment.load(PAUSE, rounds(RIGS, task.seed));
    let times = task.times(50).min(10);
    for _ in 0..times {
        environment.wait_progress(50, SOON)?;
        ensure!(
            proxies.iter().all(|wire| wire.connections() > 0),
            "not found"
        );
        drop(proxies);
        ip = Ipv4Addr::from_bits(ip.to_bits() + 1);
        proxies = place(ip);
    }
    environment.wait_progress(50, SOON)?;
    ensure!(
        proxies.iter().all(|wire| wire.connections() > 0),
        "not found"
    );
    let verdict = environment.finish(Terms::default())?;
    drop(proxies);
    Ok(Report::new(
        verdict,
        format!("{times} times another address for all three servers"),
        times,
    ))
}
