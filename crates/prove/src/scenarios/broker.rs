//! The broker fails: restarted, killed, emptied, limited, or shared with a client of the same id.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{bail, ensure};
use common::faults::Point;
use common::health::Dependency;
use e2e::Role;
use queue::ledger::Counter;
use testkit::{Network, mqtt_client};
use transport::{MqttSettings, Source, SubscribeSettings, Subscriber};

use super::{RIGS, ROW_INTERVAL, TIMEOUT, report, start_loaded};
use crate::environment::{Environment, StopAt, until};
use crate::message::{Kind, Message};
use crate::oracle::{AllowedLoss, Expectations};
use crate::scenario::{Parameters, Report, Scenario};
use crate::traffic::{cells, rounds};

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::on_servers("broker-restarts", "the broker is restarted", restarts),
    Scenario::on_servers(
        "broker-kills",
        "the broker is killed: it may lose messages, Rigline may not",
        kills,
    ),
    Scenario::on_servers(
        "broker-emptied",
        "the broker restarts without its data",
        emptied,
    ),
    Scenario::on_servers(
        "new-session",
        "the broker restarts with a new session while an append is in flight",
        new_session,
    ),
    Scenario::on_servers(
        "broker-limits",
        "the broker drops messages queued for an absent ingester, and nothing else is lost",
        limits,
    ),
    Scenario::on_both(
        "oversize",
        "packets above the listener's limit, and payloads above Rigline's",
        oversize,
    ),
    Scenario::on_servers(
        "client-id",
        "another client uses the ingester's client id for a while",
        client_id,
    ),
];

const BROKER: Expectations = Expectations {
    allowed_loss: AllowedLoss::Broker,
    late_readings: false,
    whole_rows: false,
};

fn restarts(params: &Parameters) -> anyhow::Result<Report> {
    restart_broker(params, Expectations::default(), "restarts", |environment| {
        environment.chain_mut().mosquitto.restart();
    })
}

fn kills(params: &Parameters) -> anyhow::Result<Report> {
    restart_broker(params, BROKER, "SIGKILLs", |environment| {
        environment.chain_mut().mosquitto.kill();
        environment.chain_mut().mosquitto.restart();
    })
}

fn emptied(params: &Parameters) -> anyhow::Result<Report> {
    restart_broker(params, BROKER, "starts without data", |environment| {
        environment.chain_mut().mosquitto.restart_without_data();
    })
}

fn restart_broker(
    params: &Parameters,
    expectations: Expectations,
    what: &str,
    restart: impl Fn(&mut Environment),
) -> anyhow::Result<Report> {
    let mut environment = start_loaded(params)?;
    let times = params.times(20);
    for _ in 0..times {
        sleep(Duration::from_millis(environment.rng.u64(300..1_500)));
        restart(&mut environment);
        environment.wait_progress(100, TIMEOUT)?;
    }
    let findings = environment.finish(expectations)?;
    Ok(Report::new(findings, format!("{times} {what}"), times))
}

fn new_session(params: &Parameters) -> anyhow::Result<Report> {
    // One message, whose append is in flight during the restart, and five after it, of which the first
    // has the same packet id. The first append fits into the list, the second never does.
    const SIZES: [u16; 2] = [1, 5];
    let mut environment = Environment::without_stages(params.setup().with("QUEUE_LIMIT", "1"));
    let stop = StopAt {
        point: Point::AfterAcknowledgement,
        signal: "kill",
        occurrence: 1,
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
    until("the first message is acknowledged", TIMEOUT, || {
        environment.traffic().acknowledged() == 1
    })?;
    // The ingester has received it by now, and its append is in flight.
    sleep(Duration::from_millis(500));
    environment.chain_mut().mosquitto.restart_without_data();
    sleep(Duration::from_millis(200));
    until("a new session", TIMEOUT, || {
        environment.reports(0, r#""name":"mqtt","state":"up""#)
    })?;
    allowed.store(2, Ordering::SeqCst);
    until("the other messages are acknowledged", TIMEOUT, || {
        environment.traffic().acknowledged() == 6
    })?;
    sleep(Duration::from_millis(300));
    environment.proxies.redis()[0].set_network(Network::Ok);
    until("the ingester's exit", TIMEOUT, || {
        environment.stages[0].1.has_exited()
    })?;
    for role in [Role::Transformer, Role::Sink] {
        environment.spawn(role, None, &[]);
    }
    environment.respawn(0, None)?;
    let findings = environment.finish_after_load(Expectations::default())?;
    Ok(Report::new(
        findings,
        "old acknowledgements don't reach a new session",
        1,
    ))
}

fn limits(params: &Parameters) -> anyhow::Result<Report> {
    let mut setup = params.setup();
    setup.mosquitto = vec!["max_queued_messages 100"];
    let mut environment = Environment::start(setup)?;
    environment.load(ROW_INTERVAL, rounds(RIGS, params.seed));
    environment.wait_progress(10, TIMEOUT)?;
    environment.stage(0).kill();
    sleep(Duration::from_secs(3));
    environment.respawn(0, None)?;
    environment.wait_progress(100, TIMEOUT)?;
    let findings = environment.finish(BROKER)?;
    ensure!(findings.lost_by_broker > 0, "the broker dropped nothing");
    Ok(Report::new(
        findings,
        "max_queued_messages 100 and an ingester that is absent for 3 s",
        1,
    ))
}

fn oversize(params: &Parameters) -> anyhow::Result<Report> {
    let mut setup = params.setup().with("MQTT_MAX_PACKET", "200000");
    setup.mosquitto = vec!["max_packet_size 200000"];
    let mut environment = Environment::start(setup)?;
    environment.load(ROW_INTERVAL, rounds(RIGS, params.seed));
    environment.wait_progress(1, TIMEOUT)?;
    let topic = "rigs/RIG-0001/measurements/pressure";
    let publish = |bytes: usize| -> anyhow::Result<bool> {
        let file = environment.stages[0].1.dir().join("payload");
        std::fs::write(&file, "x".repeat(bytes))?;
        let mut client = mqtt_client("mosquitto_pub", environment.proxies.load.port());
        client.args(["-q", "1", "-t", topic, "-f"]).arg(&file);
        Ok(client.status()?.success())
    };
    // Above MAX_PAYLOAD: a dead letter. Above the limit of packets: one, too, by the listener; the broker
    // closes the connection or drops it.
    ensure!(publish(70_000)?, "a valid packet was refused");
    let accepted = publish(300_000)?;
    let (outcome, letters) = match (environment.is_one_process(), accepted) {
        (true, true) => ("became one, too", 2),
        (true, false) => bail!("the listener refused 300 kB"),
        (false, true) => ("was dropped", 1),
        (false, false) => ("was refused", 1),
    };
    environment.wait_for("the dead letters", TIMEOUT, |ledger| {
        ledger.get(Counter::DeadIngester) >= letters
    })?;
    environment.wait_progress(100, TIMEOUT)?;
    report(
        &mut environment,
        format!("70 kB became a dead letter; 300 kB over the limit {outcome}"),
        2,
    )
}

fn client_id(params: &Parameters) -> anyhow::Result<Report> {
    let mut environment = start_loaded(params)?;
    let before = environment.proxies.broker().connections();
    let time = params.duration(10, 60);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let guard = runtime.enter();
    // As a second ingester that was started by mistake: it receives messages and acknowledges none.
    let other = Subscriber::start(
        &MqttSettings::at("127.0.0.1", environment.chain().mosquitto.port()),
        &SubscribeSettings::default(),
        "rigline-ingester-rigs",
        Dependency::unreported("mqtt"),
    );
    drop(guard);
    sleep(time);
    let reported = environment.stages[0].1.logs().contains("MQTT_CLIENT_ID");
    let connects = environment.proxies.broker().connections() - before;
    runtime.block_on(other.close());
    ensure!(reported, "the ingester doesn't report the conflict");
    ensure!(
        connects <= 4 * time.as_secs(),
        "{connects} connections in {time:?}: no backoff"
    );
    environment.wait_progress(100, TIMEOUT)?;
    report(
        &mut environment,
        format!(
            "another client with the same id for {} s: {connects} reconnects",
            time.as_secs()
        ),
        usize::try_from(connects)?,
    )
}
