//! The broker restarted, killed, emptied, limited, and shared with somebody who shouldn't be there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::ensure;
use common::faults::Point;
use common::health::Dependency;
use e2e::Role;
use queue::ledger::Counter;
use testkit::{Network, mqtt_client};
use transport::{MqttSettings, Source, Subscriber};

use super::{PAUSE, RIGS, SOON, loaded};
use crate::environment::{Environment, Stop, until};
use crate::message::{Kind, Message};
use crate::oracle::{Losing, Terms};
use crate::scenario::{BOTH, Report, SERVERS, Scenario, Task};
use crate::traffic::{cells, rounds};

/// What belongs here.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "broker-restarts",
        about: "the broker is stopped and started again",
        on: SERVERS,
        run: restarts,
    },
    Scenario {
        name: "broker-kills",
        about: "SIGKILL to the broker: it may lose, we may not",
        on: SERVERS,
        run: kills,
    },
    Scenario {
        name: "broker-emptied",
        about: "the broker comes back without its data",
        on: SERVERS,
        run: emptied,
    },
    Scenario {
        name: "new-session",
        about: "an append is under way while the broker comes back with a new session",
        on: SERVERS,
        run: new_session,
    },
    Scenario {
        name: "broker-limits",
        about: "the broker drops what waits for an ingester that is away: noticed, and nothing else lost",
        on: SERVERS,
        run: limits,
    },
    Scenario {
        name: "oversize",
        about: "packets above the broker's limit, or the one process's, and payloads above ours",
        on: BOTH,
        run: oversize,
    },
    Scenario {
        name: "client-id",
        about: "another client uses the ingester's client id for a while",
        on: SERVERS,
        run: client_id,
    },
];

const BROKER: Terms = Terms {
    losing: Losing::Broker,
    late: false,
    whole_rows: false,
};

fn restarts(task: &Task) -> anyhow::Result<Report> {
    bring_down(task, Terms::default(), "restarts", |environment| {
        environment.chain_mut().mosquitto.restart();
    })
}

fn kills(task: &Task) -> anyhow::Result<Report> {
    bring_down(task, BROKER, "SIGKILLs", |environment| {
        environment.chain_mut().mosquitto.kill();
        environment.chain_mut().mosquitto.restart();
    })
}

fn emptied(task: &Task) -> anyhow::Result<Report> {
    bring_down(task, BROKER, "starts without data", |environment| {
        environment.chain_mut().mosquitto.restart_without_data();
    })
}

fn bring_down(
    task: &Task,
    terms: Terms,
    what: &str,
    down: impl Fn(&mut Environment),
) -> anyhow::Result<Report> {
    let mut environment = loaded(task)?;
    let times = task.times(20);
    for _ in 0..times {
        sleep(Duration::from_millis(environment.rng.u64(300..1_500)));
        down(&mut environment);
        environment.wait_progress(100, SOON)?;
    }
    let verdict = environment.finish(terms)?;
    Ok(Report::new(verdict, format!("{times} {what}"), times))
}

fn new_session(task: &Task) -> anyhow::Result<Report> {
    // One message, whose append is under way meanwhile, and more after it, of which the first has the
    // same packet id as that one. The first append fits, the second never does: nobody drains.
    const SIZES: [u16; 2] = [1, 5];
    let mut environment = Environment::without_stages(task.setup().with("QUEUE_LIMIT", "1"));
    let stop = Stop {
        point: Point::AfterAcknowledgement,
        how: "kill",
        time: 1,
    };
    environment.spawn(Role::Ingester, Some(stop), &[]);
    environment.ready()?;
    environment.proxies.redis()[0].set_network(Network::BlackHole);
    let allowed = Arc::new(AtomicUsize::new(1));
    let (gate, mut sent) = (Arc::clone(&allowed), 0);
    let batches = std::iter::from_fn(move || {
        let size = *SIZES.get(sent)?;
        if sent == gate.load(Ordering::SeqCst) {
            return Some(Vec::new());
        }
        sent += 1;
        let cells = cells(size, u32::from(size)).filter(|cell| cell.sensor == 0);
        let kind = Kind::Reading;
        Some(cells.map(|cell| Message { cell, kind }).collect())
    });
    environment.load(Duration::from_millis(10), batches);
    until("the first is acknowledged", SOON, || {
        environment.traffic().acknowledged() == 1
    })?;
    // It is with the ingester by now, and its append with nobody.
    sleep(Duration::from_millis(500));
    environment.chain_mut().mosquitto.restart_without_data();
    sleep(Duration::from_millis(200));
    until("a new session", SOON, || {
        environment.stages[0]
            .1
            .get("/readyz")
            .contains(r#""name":"mqtt","state":"up""#)
    })?;
    allowed.store(2, Ordering::SeqCst);
    until("the others are acknowledged", SOON, || {
        environment.traffic().acknowledged() == 6
    })?;
    sleep(Duration::from_millis(300));
    environment.proxies.redis()[0].set_network(Network::Ok);
    until("the ingester's end", SOON, || {
        environment.stages[0].1.has_exited()
    })?;
    for role in [Role::Transformer, Role::Sink] {
        environment.spawn(role, None, &[]);
    }
    environment.respawn(0, None)?;
    let verdict = environment.finish_whole(Terms::default())?;
    Ok(Report::new(
        verdict,
        "old acknowledgements don't reach a new session".to_owned(),
        1,
    ))
}

fn limits(task: &Task) -> anyhow::Result<Report> {
    let mut setup = task.setup();
    setup.mosquitto = vec!["max_queued_messages 100"];
    let mut environment = Environment::start(setup)?;
    environment.load(PAUSE, rounds(RIGS, task.seed));
    environment.wait_progress(10, SOON)?;
    environment.stage(0).kill();
    sleep(Duration::from_secs(3));
    environment.respawn(0, None)?;
    environment.wait_progress(100, SOON)?;
    let verdict = environment.finish(BROKER)?;
    ensure!(
        verdict.lost_by_broker > 0,
        "the broker dropped nothing, so nothing was shown"
    );
    Ok(Report::new(
        verdict,
        "max_queued_messages 100 and an ingester that is away for 3 s".to_owned(),
        1,
    ))
}

fn oversize(task: &Task) -> anyhow::Result<Report> {
    let mut setup = task.setup().with("MQTT_MAX_PACKET", "200000");
    setup.mosquitto = vec!["max_packet_size 200000"];
    let mut environment = Environment::start(setup)?;
    environment.load(PAUSE, rounds(RIGS, task.seed));
    environment.wait_progress(1, SOON)?;
    let topic = "rigs/RIG-0001/measurements/pressure";
    let publish = |bytes: usize| -> anyhow::Result<bool> {
        let file = environment.stages[0].1.dir().join("payload");
        std::fs::write(&file, "x".repeat(bytes))?;
        let mut client = mqtt_client("mosquitto_pub", environment.proxies.load.port());
        client.args(["-q", "1", "-t", topic, "-f"]).arg(&file);
        Ok(client.status()?.success())
    };
    // Above MAX_PAYLOAD: a dead letter. Above the limit of who listens: it hangs up on the client.
    ensure!(publish(70_000)?, "refused what should be taken");
    let refused = !publish(300_000)?;
    environment.wait_for("a dead letter", SOON, |ledger| {
        ledger.get(Counter::DeadIngester) > 0
    })?;
    environment.wait_progress(100, SOON)?;
    let verdict = environment.finish(Terms::default())?;
    Ok(Report::new(
        verdict,
        format!(
            "70 kB became a dead letter; 300 kB over the limit {}",
            if refused {
                "was refused"
            } else {
                "vanished there"
            }
        ),
        2,
    ))
}

fn client_id(task: &Task) -> anyhow::Result<Report> {
    let mut environment = loaded(task)?;
    let before = environment.proxies.broker().connections();
    let stay = task.seconds(10, 60);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let guard = runtime.enter();
    // As a second ingester that was started by hand: it takes messages and acknowledges none.
    let intruder = Subscriber::start(
        &MqttSettings::at("127.0.0.1", environment.chain().mosquitto.port()),
        "rigs/+/measurements/#",
        "rigline-ingester-rigs",
        Dependency::unreported("mqtt"),
    );
    drop(guard);
    sleep(stay);
    let said = environment.stages[0].1.logs().contains("MQTT_CLIENT_ID");
    let connects = environment.proxies.broker().connections() - before;
    runtime.block_on(intruder.close());
    ensure!(said, "the ingester doesn't say what is wrong");
    ensure!(
        connects <= 4 * stay.as_secs(),
        "{connects} connections in {stay:?}: no backing off"
    );
    environment.wait_progress(100, SOON)?;
    let verdict = environment.finish(Terms::default())?;
    Ok(Report::new(
        verdict,
        format!(
            "another client with our id for {} s: {connects} reconnects",
            stay.as_secs()
        ),
        usize::try_from(connects)?,
    ))
}
