//! The network fails: no connection, one direction only, frequent changes, late requests, new addresses.

use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use e2e::Role;
use queue::ledger::Counter;
use testkit::{Direction, HostsFile, Network, TcpProxy};

use super::points::write_marker;
use super::{RIGS, ROW_INTERVAL, TIMEOUT, report, start_loaded};
use crate::environment::{Environment, until};
use crate::scenario::{Parameters, Report, Scenario};
use crate::traffic::rounds;

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::on_both(
        "cuts",
        "a black hole on each connection in turn; connections stay open",
        cuts,
    ),
    Scenario::on_both(
        "one-way",
        "on each connection in turn only requests pass, then only replies",
        one_way,
    ),
    Scenario::on_both(
        "flapping",
        "all connections are refused every other second",
        flapping,
    ),
    Scenario::on_servers(
        "late-commits",
        "a write to Redis times out and arrives later, also after its retry",
        late_commits,
    ),
    Scenario::on_servers(
        "moved",
        "Redis, broker and store move to another address (needs root)",
        moved,
    ),
];

/// How much a stage's memory may grow while connections flap.
const MAX_GROWTH: u64 = 16 << 20;

/// How long an outage of the proxy at this index lasts: in a short run until the stages notice (requests
/// to Redis time out after 5 s), in a long run until every timeout has passed.
fn outage(params: &Parameters, index: usize) -> Duration {
    let is_redis = (2..=4).contains(&index);
    params.duration(if is_redis { 6 } else { 2 }, 60)
}

fn cuts(params: &Parameters) -> anyhow::Result<Report> {
    let mut environment = start_loaded(params)?;
    let (mut slowest, mut total) = (Duration::ZERO, Duration::ZERO);
    let count = environment.proxies.all().len();
    for index in 0..count {
        let time = outage(params, index);
        total += time;
        let (name, proxy) = environment.proxies.all()[index];
        proxy.set_network(Network::BlackHole);
        let before = proxy.forwarded_bytes();
        sleep(time);
        ensure!(
            proxy.forwarded_bytes() == before,
            "{name}: something passed"
        );
        proxy.set_network(Network::Ok);
        let healed = Instant::now();
        environment.wait_progress(10, TIMEOUT)?;
        slowest = slowest.max(healed.elapsed());
    }
    report(
        &mut environment,
        format!(
            "{count} connections black-holed for {} s in total; rows flowed again within {:.1} s",
            total.as_secs(),
            slowest.as_secs_f64()
        ),
        count,
    )
}

fn one_way(params: &Parameters) -> anyhow::Result<Report> {
    let mut environment = start_loaded(params)?;
    let mut total = Duration::ZERO;
    let count = environment.proxies.all().len();
    for index in 0..count {
        let time = outage(params, index);
        total += 2 * time;
        for direction in [Direction::Request, Direction::Reply] {
            let (name, proxy) = environment.proxies.all()[index];
            let blocked = |(requests, replies)| match direction {
                Direction::Request => replies,
                Direction::Reply => requests,
            };
            proxy.set_network(Network::OneWay(direction));
            let before: u64 = blocked(proxy.forwarded_bytes());
            sleep(time);
            ensure!(
                blocked(proxy.forwarded_bytes()) == before,
                "{name}: both directions passed"
            );
            proxy.set_network(Network::Ok);
            environment.wait_progress(10, TIMEOUT)?;
        }
    }
    report(
        &mut environment,
        format!(
            "{count} connections one-way for {} s in total, each direction in turn",
            total.as_secs()
        ),
        2 * count,
    )
}

fn flapping(params: &Parameters) -> anyhow::Result<Report> {
    let mut environment = start_loaded(params)?;
    let time = params.duration(14, 180);
    let memory = |environment: &Environment| -> Vec<u64> {
        let stages = environment.stages.iter();
        stages
            .map(|(_, stage)| stage.rss_bytes().unwrap_or(0))
            .collect()
    };
    let connects = |environment: &Environment| -> u64 {
        let proxies = environment.proxies.all();
        proxies.iter().map(|(_, proxy)| proxy.connections()).sum()
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
    // On a busy machine a stage may need several periods until it reaches all its servers in one.
    let is_done = |environment: &Environment| -> anyhow::Result<bool> {
        let elapsed = started.elapsed();
        Ok(elapsed >= time && (stored(environment)? > rows || elapsed >= time + TIMEOUT))
    };
    while !is_done(&environment)? {
        for network in [Network::Refused, Network::Ok] {
            for (_, proxy) in environment.proxies.all() {
                proxy.set_network(network);
            }
            sleep(Duration::from_secs(1));
        }
    }
    let time = started.elapsed();
    let rows = stored(&environment)? - rows;
    ensure!(
        rows > 0,
        "no row was stored in {time:?} while connections flapped"
    );
    let flaps = time.as_secs() / 2;
    let opened = connects(&environment) - opened;
    ensure!(
        2 * opened > flaps,
        "{opened} connections: no connection was refused"
    );
    let count = u64::try_from(environment.proxies.all().len())?;
    let most = count * 20 * time.as_secs();
    ensure!(
        opened < most,
        "{opened} connections in {time:?}: no backoff"
    );
    for ((role, _), (before, after)) in environment
        .stages
        .iter()
        .zip(before.iter().zip(memory(&environment)))
    {
        ensure!(
            after < before + MAX_GROWTH,
            "the {} grew from {before} to {after} bytes",
            role.name()
        );
    }
    environment.wait_progress(100, TIMEOUT)?;
    report(
        &mut environment,
        format!(
            "all connections refused {flaps} times; {rows} rows stored meanwhile, {opened} connections, memory flat"
        ),
        usize::try_from(flaps)?,
    )
}

fn late_commits(params: &Parameters) -> anyhow::Result<Report> {
    // The lease outlasts the wait, so that only the number protects the list from a commit that has
    // timed out.
    let mut environment = Environment::start(params.setup().with("LEASE", "30s"))?;
    environment.load(Duration::from_millis(20), rounds(RIGS, params.seed));
    environment.wait_progress(1, TIMEOUT)?;
    let times = params.times(30).clamp(3, 20);
    let mut overtaken = 0;
    for round in 0..times {
        let role = [Role::Transformer, Role::Sink, Role::Ingester][round % 3];
        let wait = Duration::from_millis(environment.rng.u64(4_900..5_400));
        let pause = Duration::from_millis(environment.rng.u64(..1_000));
        let proxy = &environment.proxies.redis()[role as usize];
        let (late, opened) = (proxy.late_requests(), proxy.connections());
        proxy.hold_request(write_marker(role), 1);
        until("a held write", TIMEOUT, || proxy.held_connections() == 1)
            .with_context(|| role.name())?;
        let before = environment.ledger()?.get(write_counter(role));
        if round % 4 == 3 {
            // It arrives while the stage's request times out.
            sleep(wait);
        } else {
            // The stage reconnects, asks for the number, and sends the commit again.
            environment.wait_for("the retry", TIMEOUT, |ledger| {
                ledger.get(write_counter(role)) > before
            })?;
            ensure!(
                proxy.held_connections() == 1,
                "the first attempt isn't in flight any more"
            );
            ensure!(
                proxy.connections() > opened,
                "the retry used the same connection"
            );
            sleep(pause);
            overtaken += 1;
        }
        proxy.release_held();
        until("the first attempt", TIMEOUT, || {
            proxy.late_requests() > late
        })?;
        environment.wait_progress(10, TIMEOUT)?;
    }
    report(
        &mut environment,
        format!(
            "{times} writes to Redis arrived about 5 s late, {overtaken} of them after their retry"
        ),
        times,
    )
}

/// The counter that a stage's writes to Redis increment.
const fn write_counter(role: Role) -> Counter {
    match role {
        Role::Ingester => Counter::Accepted,
        Role::Transformer => Counter::RawTaken,
        Role::Sink | Role::Up => Counter::RowsTaken,
    }
}

fn moved(params: &Parameters) -> anyhow::Result<Report> {
    let names = ["rigline-broker", "rigline-redis", "rigline-store"];
    let Some(hosts) = HostsFile::new() else {
        return Ok(Report::skipped("host names can't be changed here"));
    };
    let mut environment = Environment::without_stages(params.setup());
    let chain = environment.chain();
    let targets = [
        chain.mosquitto.port(),
        chain.redis.port(),
        chain.influxdb.port(),
    ];
    let port = testkit::free_port;
    let ports = [port(), port(), port()];
    let start_proxies = |ip: Ipv4Addr| -> Vec<TcpProxy> {
        for name in names {
            hosts.set(name, ip.into());
        }
        let pairs = ports.iter().zip(targets);
        pairs
            .map(|(port, target)| TcpProxy::start_at(ip, *port, target))
            .collect()
    };
    let mut ip = Ipv4Addr::new(127, 0, 0, 2);
    let mut proxies = start_proxies(ip);
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
    environment.load(ROW_INTERVAL, rounds(RIGS, params.seed));
    let times = params.times(50).min(10);
    for _ in 0..times {
        environment.wait_progress(50, TIMEOUT)?;
        ensure_connected(&proxies)?;
        drop(proxies);
        ip = Ipv4Addr::from_bits(ip.to_bits() + 1);
        proxies = start_proxies(ip);
    }
    environment.wait_progress(50, TIMEOUT)?;
    ensure_connected(&proxies)?;
    report(
        &mut environment,
        format!("{times} times another address for all three servers"),
        times,
    )
}

fn ensure_connected(proxies: &[TcpProxy]) -> anyhow::Result<()> {
    let connected = proxies.iter().all(|proxy| proxy.connections() > 0);
    ensure!(connected, "the stages didn't find the new address");
    Ok(())
}
