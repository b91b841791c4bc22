//! The main loop: receive, validate, append, acknowledge.

use std::time::Duration;

use common::dead_letter::{self, Fault, Reason};
use common::faults::{self, Point, Rule};
use common::guard::guarded;
use common::harness::{Process, show_list};
use common::health::Dependency;
use common::metric;
use common::time::Timestamp;
use common::wire;
use metrics::{counter, histogram};
use queue::error::Cause;
use queue::keeper::{Keeper, Tenure};
use queue::list::Consumer;
use queue::{Append, Appended, Queue, QueueError};
use transport::{Delivery, Source};

use crate::decode::decode;
use crate::settings::{ReadingLimits, Work};

const STAGE: &str = Consumer::Ingester.name();
/// An append ends with the element that reaches this many bytes: a larger one could take longer than
/// an answer is waited for, and be sent again.
const LARGEST_APPEND: usize = 8 << 20;
/// How long to wait before a full list is tried again.
const FULL_WAIT: Duration = Duration::from_millis(50);
/// How long to wait before a failed append is tried again.
const ERROR_WAIT: Duration = Duration::from_millis(200);
/// How often the clocks are compared while they disagree.
const SKEW_WAIT: Duration = Duration::from_millis(500);
/// How long the last append may take at a stop.
const LAST_APPEND: Duration = Duration::from_secs(3);
/// How often the loop shows that it lives while nothing arrives.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// Runs until the process is told to stop, with a session for each lease that it gets. Errors of
/// broker and queue are waited out.
pub async fn run<Q: Queue, S: Source>(
    settings: Work,
    queue: Q,
    start_session: impl Fn(Dependency) -> S,
    process: Process,
) -> anyhow::Result<()> {
    let keeper = Keeper::new(queue.clone(), Consumer::Ingester, &settings.queue, &process);
    let ingester = Ingester {
        source_up: process.health.dependency("mqtt"),
        room: process.health.dependency("raw_list"),
        clock_agrees: process.health.dependency("clock"),
        settings,
        queue,
        process,
        keeper,
    };
    while let Some(tenure) = ingester.keeper.acquire().await {
        let mut session = start_session(ingester.source_up.clone());
        let tenure = ingester.serve(tenure, &mut session).await;
        // First the session, then the lease: a standby that takes over finds the broker free.
        session.close().await;
        if let Some(tenure) = tenure {
            tenure.give_back().await;
        }
    }
    Ok(())
}

/// Messages that were received and aren't appended yet.
#[derive(Default)]
struct InHand {
    deliveries: Vec<Delivery>,
    /// What becomes of the first of them, with how many those are. Made once, so that a second try
    /// after a lost answer appends the very same elements.
    append: Option<(Append, usize)>,
}

struct Ingester<Q> {
    settings: Work,
    queue: Q,
    process: Process,
    keeper: Keeper<Q>,
    source_up: Dependency,
    room: Dependency,
    clock_agrees: Dependency,
}

impl<Q: Queue> Ingester<Q> {
    /// Works until the process stops, or another replica holds the lease: then `None`. A lease that
    /// merely ran out is taken again, and the broker's session stays.
    async fn serve(&self, tenure: Tenure<Q>, session: &mut impl Source) -> Option<Tenure<Q>> {
        // Until an append says otherwise.
        self.room.up();
        let mut tenure = Some(tenure);
        let mut in_hand = InHand::default();
        while let Some(held) = &tenure {
            self.process.health.tick();
            if self.process.stop.is_cancelled() {
                self.finish(held, session, &mut in_hand).await;
                return tenure;
            }
            if held.lost.is_cancelled() {
                tenure = self.keeper.acquire_unless_held().await;
            } else if !self.clocks_agree(held) {
                self.process.pause(SKEW_WAIT).await;
            } else if in_hand.deliveries.is_empty() {
                let received = tokio::select! {
                    received = session.recv_batch(self.settings.queue.limits.batch, &mut in_hand.deliveries) => received,
                    () = tokio::time::sleep(IDLE_TICK) => continue,
                    () = self.process.stop.cancelled() => continue,
                    () = held.lost.cancelled() => continue,
                };
                if let Err(error) = received {
                    tracing::error!(%error, "starting the session anew");
                    return tenure;
                }
            } else if let Err(wait) = self.append(session, &mut in_hand).await {
                self.process.pause(wait).await;
            }
        }
        None
    }

    /// At a stop: appends and acknowledges what is in hand, if the queue takes it soon.
    async fn finish(&self, held: &Tenure<Q>, session: &impl Source, in_hand: &mut InHand) {
        if in_hand.deliveries.is_empty() || held.lost.is_cancelled() || !self.clocks_agree(held) {
            return;
        }
        let appended = tokio::time::timeout(LAST_APPEND, self.append(session, in_hand)).await;
        if !matches!(appended, Ok(Ok(()))) {
            let count = in_hand.deliveries.len();
            tracing::info!(count, "left unacknowledged, the broker delivers them again");
        }
    }

    /// Appends what is in hand and then acknowledges it; or says how long to wait before another
    /// try.
    async fn append(&self, session: &impl Source, in_hand: &mut InHand) -> Result<(), Duration> {
        let InHand { deliveries, append } = in_hand;
        let (append, covered) = append.get_or_insert_with(|| self.encode(deliveries));
        faults::reach(Point::BeforeAppend);
        match self.queue.append(append).await {
            Ok(Appended::Done { length, accepted }) => {
                faults::reach(Point::AfterAppend);
                self.keeper.appended(append.raw.len(), accepted);
                self.keeper.queue_up().up();
                self.room.up();
                self.show(append, length);
                session.ack(deliveries.drain(..*covered).map(|delivery| delivery.ticket));
                in_hand.append = None;
                Ok(())
            }
            Ok(Appended::Full { .. }) if !faults::holds(Rule::WaitWhenFull) => {
                session.ack(deliveries.drain(..*covered).map(|delivery| delivery.ticket));
                in_hand.append = None;
                Ok(())
            }
            Ok(Appended::Full { length }) => {
                show_list("raw", length, self.settings.queue.limits.queue_limit);
                self.room.down(&format_args!(
                    "{} is full ({length} elements), not acknowledging until the transformer has \
                     drained it",
                    self.settings.queue.raw_queue
                ));
                Err(FULL_WAIT)
            }
            Err(
                error @ QueueError::Unavailable {
                    cause: Cause::OutOfMemory,
                    ..
                },
            ) => {
                self.room.down(&error);
                Err(ERROR_WAIT)
            }
            Err(error) => {
                self.keeper.queue_up().down(&error);
                Err(ERROR_WAIT)
            }
        }
    }

    /// The append for these deliveries, or for as many of the first as fit into one.
    fn encode(&self, deliveries: &[Delivery]) -> (Append, usize) {
        let arrived = self.process.clock.now();
        let mut append = Append {
            raw: Vec::with_capacity(deliveries.len()),
            dead: Vec::new(),
        };
        let mut bytes = 0;
        for (place, delivery) in deliveries.iter().enumerate() {
            if bytes >= LARGEST_APPEND {
                return (append, place);
            }
            let Delivery { topic, payload, .. } = delivery;
            match encode(topic, payload, arrived, &self.settings.limits) {
                Ok(element) => {
                    bytes += element.len();
                    append.raw.push(element);
                }
                Err(fault) => {
                    let letter = dead_letter::encode(STAGE, &fault, topic, payload, arrived);
                    bytes += letter.len();
                    append.dead.push(letter);
                }
            }
        }
        (append, deliveries.len())
    }

    /// Whether the clock is close enough to the queue's to judge readings by it.
    fn clocks_agree(&self, tenure: &Tenure<Q>) -> bool {
        let skew = tenure.seen.borrow().skew(&self.process.clock);
        let most = self.settings.limits.times.max_future / 2;
        if skew <= most {
            self.clock_agrees.up();
            return true;
        }
        self.clock_agrees.down(&format_args!(
            "this machine's clock and the queue's are {} s apart, more than {most:?} (half of \
             MAX_FUTURE): taking nothing until they agree",
            skew.as_secs()
        ));
        false
    }

    fn show(&self, append: &Append, length: usize) {
        let count = |items: &[Vec<u8>]| u64::try_from(items.len()).unwrap_or(0);
        counter!(metric::READINGS, "stage" => STAGE).increment(count(&append.raw));
        #[expect(clippy::cast_precision_loss, reason = "histograms are of doubles")]
        histogram!(metric::BATCH_SIZE, "stage" => STAGE)
            .record((append.raw.len() + append.dead.len()) as f64);
        show_list("raw", length, self.settings.queue.limits.queue_limit);
    }
}

/// The raw list's element for a message, or what is wrong with it.
fn encode(
    topic: &str,
    payload: &[u8],
    arrived: Timestamp,
    limits: &ReadingLimits,
) -> Result<Vec<u8>, Fault> {
    let encoded = guarded(|| {
        let reading = decode(topic, payload, arrived, limits)?;
        let mut element = Vec::with_capacity(192);
        wire::encode_reading(&reading, &mut element);
        Ok(element)
    });
    encoded.unwrap_or_else(|poison| Err(Fault::new(Reason::Poison, poison)))
}
