//! Records that come from Kafka: ingesters stop at the points of an append, replies are lost, the broker is killed, the
//! topic is deleted and made again.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use anyhow::ensure;
use common::clock::Clock;
use common::faults::Point;
use model::Layout;
use queue::ledger::Counter;
use queue::list::List;
use serde_json::json;
use testkit::{Action, Direction, Kafka, TcpProxy, free_port};

use super::is_built_with;
use super::pair::{NAME, Pair, Plan, each_once};
use crate::oracle::Findings;
use crate::scenario::{Parameters, Report, Scenario};

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[Scenario::on_servers(
    "kafka-source",
    "ingesters that read Kafka are killed and frozen, replies are lost, Kafka is killed, the topic made again",
    kafka_source,
)];

/// The pipeline, whose topic has its name.
const FILE: &str = r#"
name = "numbers"

[source]
kind = "kafka"
url = "${KAFKA_URL}"
topic = "numbers"

[message]
tags = { device = "/device" }
fields = { number = "/number" }
time = "/time"
"#;
const PARTITIONS: u32 = 3;

/// Where ingesters stop. Nothing is acknowledged to Kafka.
const POINTS: [Point; 5] = [
    Point::AfterLease,
    Point::BeforeAppend,
    Point::AfterAppend,
    Point::BeforeRenewal,
    Point::AfterRenewal,
];

/// Requests whose replies are lost, by their numbers in Kafka's protocol: fetch, the offsets of a partition, metadata,
/// the group's offsets, its coordinator, joining it, a heartbeat, its assignment.
const REQUESTS: [u16; 8] = [1, 2, 3, 9, 10, 11, 12, 14];
/// The broker is killed up to this many milliseconds after records were produced, so that some are read.
const KILLED_WITHIN: u64 = 300;
/// More than the raw list gets.
const LONGEST: usize = 1_000_000;
/// How long to wait for records that enter once more.
const LATE: Duration = Duration::from_secs(1);

fn kafka_source(params: &Parameters) -> anyhow::Result<Report> {
    if !is_built_with("kafka") {
        return Ok(Report::skipped("the stages are built without Kafka"));
    }
    let mut topic = Topic::start(params)?;
    let (mut restarts, mut made_again) = (0, 0);
    // Each may take a takeover, a start of Kafka and several of its other client.
    for fault in 0..params.times(10) {
        match fault % 5 {
            1 => topic.lose_replies(),
            2 => {
                topic.make_again()?;
                made_again += 1;
            }
            _ => {}
        }
        topic.produce();
        if fault % 5 == 4 {
            let wait = topic.ingesters.rng.u64(..KILLED_WITHIN);
            sleep(Duration::from_millis(wait));
            topic.broker.kill();
            topic.broker.restart();
            restarts += 1;
        }
        topic.work_until_stopped()?;
    }
    topic.finish()?;
    let (killed, thawed) = (topic.ingesters.killed, topic.ingesters.thawed);
    let (sent, replies) = (topic.sent, topic.proxy.cuts());
    let summary = format!(
        "{sent} records, {killed} ingesters killed, {thawed} frozen, {replies} replies lost, {restarts} restarts of \
         Kafka, {made_again} times another topic: each record once"
    );
    let faults = killed + thawed + usize::try_from(replies)? + restarts + made_again;
    Ok(Report::new(Findings::default(), summary, faults))
}

/// A topic, and two ingesters between it and a queue on Redis.
struct Topic {
    broker: Kafka,
    proxy: TcpProxy,
    /// The requests whose next replies are to be lost.
    losses: Arc<Mutex<Vec<u16>>>,
    ingesters: Pair,
    /// How many records were produced. Each has its number.
    sent: i64,
    /// Records of the next round, at most.
    most: i64,
}

impl Topic {
    fn start(params: &Parameters) -> anyhow::Result<Self> {
        let listener = free_port();
        let losses = Arc::default();
        let own = Arc::clone(&losses);
        let proxy = TcpProxy::start_with_handler(listener, move |_, direction, piece| {
            lose(&own, direction, piece)
        });
        let broker = Kafka::start_behind(listener, proxy.port());
        broker.create_topic(NAME, PARTITIONS);
        let url = format!("kafka://127.0.0.1:{}", proxy.port());
        let plan = Plan {
            stage: "ingester",
            file: FILE,
            server: ("KAFKA_URL", url),
            points: &POINTS,
            counter: Counter::Accepted,
        };
        Ok(Self {
            broker,
            proxy,
            losses,
            ingesters: Pair::start(params, plan)?,
            sent: 0,
            most: 60,
        })
    }

    /// Produces some records, in all partitions.
    fn produce(&mut self) {
        let count = self.ingesters.rng.i64(15..self.most);
        self.most = 60;
        let now = Clock::system().now().nanos() / 1_000_000;
        let record = |number: i64| {
            let device = format!("d{}", number % 5);
            let value =
                json!({ "device": device, "number": number, "time": now - 600_000 + number });
            json!({ "partition": number % i64::from(PARTITIONS), "value": value.to_string() })
        };
        let records: Vec<_> = (self.sent..self.sent + count).map(record).collect();
        self.broker.produce(NAME, &records);
        self.sent += count;
    }

    /// Loses the replies to some of the next requests.
    fn lose_replies(&mut self) {
        let rng = &mut self.ingesters.rng;
        let lost = [(); 3].map(|()| REQUESTS[rng.usize(..REQUESTS.len())]);
        let mut losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        losses.extend(lost);
    }

    /// Deletes the topic, all of whose records have entered, and makes another one of its name. That gets so many
    /// records that their offsets reach beyond the old ones.
    fn make_again(&mut self) -> anyhow::Result<()> {
        self.ingesters.work_until_done(self.sent)?;
        self.broker.delete_topic(NAME);
        self.broker.create_topic(NAME, PARTITIONS);
        self.most = 400;
        Ok(())
    }

    /// Waits until an ingester was killed or all records have entered. Otherwise the error tells which are missing.
    fn work_until_stopped(&mut self) -> anyhow::Result<()> {
        let stopped = self.ingesters.work_until_stopped(self.sent);
        stopped.or_else(|error| self.check_list().and(Err(error)))
    }

    /// Each record is in the raw list once.
    fn check_list(&self) -> anyhow::Result<()> {
        let list = self.ingesters.queue.stretch(List::Raw, Some(0), LONGEST);
        let list = self.ingesters.wait(list)?.items;
        let numbers = list.iter().map(|element| number(element));
        each_once(numbers.collect::<anyhow::Result<_>>()?, self.sent)
    }

    /// Waits until all records have entered, and checks the raw list and the ledger.
    fn finish(&mut self) -> anyhow::Result<()> {
        self.losses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.ingesters.stop_no_more();
        // These come after all others of their partitions.
        self.produce();
        let done = self.ingesters.work_until_done(self.sent);
        done.or_else(|error| self.check_list().and(Err(error)))?;
        sleep(LATE);
        self.check_list()?;
        let ledger = self.ingesters.ledger()?;
        let counted = [Counter::Accepted, Counter::DeadIngester];
        let counted = counted.map(|counter| ledger.get(counter));
        let length = ledger.raw;
        ensure!(
            counted == [self.sent, 0] && length == self.sent,
            "{ledger:#?}"
        );
        Ok(())
    }
}

/// What happens to a piece of a stream: replies to requests of these kinds are lost.
fn lose(losses: &Mutex<Vec<u16>>, direction: Direction, piece: &[u8]) -> Action {
    // A request starts with its length, in four bytes, and its kind.
    let (Direction::Request, Some([high, low])) = (direction, piece.get(4..6)) else {
        return Action::Pass;
    };
    let kind = u16::from_be_bytes([*high, *low]);
    let mut losses = losses.lock().unwrap_or_else(PoisonError::into_inner);
    match losses.iter().position(|lost| *lost == kind) {
        Some(place) => {
            losses.swap_remove(place);
            Action::PassThenCutReply
        }
        None => Action::Pass,
    }
}

/// The number of an element of the raw list.
#[expect(
    clippy::cast_possible_truncation,
    reason = "they were made of integers"
)]
fn number(element: &[u8]) -> anyhow::Result<i64> {
    let sample = Layout::Tagged.decode_sample(element)?;
    let value = sample
        .values
        .first()
        .and_then(|(_, value)| value.as_number());
    Ok(value.map_or(-1, |number| number as i64))
}
