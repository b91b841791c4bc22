//! The main loop: receive, validate, append, acknowledge.

use std::time::{Duration, Instant};

use common::faults::{self, Point};
use common::harness::Process;
use common::health::Dependency;
use common::metric;
use metrics::{counter, histogram};
use model::Stage;
use model::dead_letter::{Reason, Rejection};
use model::position::Positions;
use model::time::Timestamp;
use queue::error::Cause;
use queue::lease_manager::{HeldLease, LeaseManager};
use queue::ledger::delta;
use queue::rejected::{DeadLetterEncoder, Input, Tally};
use queue::{Append, Appended, Queue, QueueError};
use tokio::time::timeout;
use transport::{Delivery, Source};

use crate::decoder::{Decoded, LeftOut};
use crate::settings::Work;

const STAGE: Stage = Stage::Ingester;
/// An append ends with the element that reaches this many bytes. A larger append could exceed the
/// queue's timeout, and would be sent again.
const LARGEST_APPEND: usize = 8 << 20;
/// The detail of a message of which the listener has kept only the beginning.
const TRUNCATED: &str = "the MQTT packet is larger than MQTT_MAX_PACKET";
/// How long to wait before a full list is tried again.
const FULL_WAIT: Duration = Duration::from_millis(50);
/// How long to wait before a failed append is tried again.
const ERROR_WAIT: Duration = Duration::from_millis(200);
/// How often the clocks are compared while they disagree.
const SKEW_WAIT: Duration = Duration::from_millis(500);
/// How long the last append may take at a stop.
const LAST_APPEND: Duration = Duration::from_secs(3);
/// How far behind the last arrival the next one may seem to be, in the order in which connections are
/// read.
const MAX_ARRIVAL_SHIFT: Duration = Duration::from_secs(1);
/// Interval of health ticks while nothing arrives.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// Runs until the process stops, with a new session for each lease. Errors of broker and queue are
/// retried.
pub async fn run<Q: Queue, S: Source>(
    settings: Work,
    queue: Q,
    start_session: impl Fn(Dependency, Positions) -> S,
    process: Process,
) -> anyhow::Result<()> {
    let leases = LeaseManager::new(queue.clone(), Stage::Ingester, &settings.queue, &process);
    let mut ingester = Ingester {
        dead_letters: DeadLetterEncoder::new(STAGE, &settings.queue.limits),
        source_up: process.health.dependency(S::NAME),
        list_has_space: process.health.dependency("raw_list"),
        clock_agrees: process.health.dependency("clock"),
        settings,
        queue,
        process,
        leases,
    };
    while let Some(held) = ingester.leases.acquire().await {
        let Some(positions) = ingester.positions::<S>(&held).await else {
            held.release().await;
            continue;
        };
        let mut session = start_session(ingester.source_up.clone(), positions);
        let held = ingester.serve(held, &mut session).await;
        // The session ends before the lease, so that a standby doesn't find it in use.
        session.close().await;
        if let Some(held) = held {
            held.release().await;
        }
    }
    Ok(())
}

/// Messages that were received and aren't appended yet.
struct Received<T> {
    deliveries: Vec<Delivery<T>>,
    /// The first of them, encoded. They are encoded once, so that a retry after a lost reply appends the
    /// same elements.
    encoded: Option<EncodedBatch>,
    /// The arrival of the message that was encoded last.
    last_arrival: Option<Timestamp>,
}

impl<T> Default for Received<T> {
    fn default() -> Self {
        Self {
            deliveries: Vec::new(),
            encoded: None,
            last_arrival: None,
        }
    }
}

/// Why messages were not appended.
enum Refused {
    /// Try again after this long.
    Wait(Duration),
    /// The queue has other positions than the session: start a new one.
    Moved,
}

/// An encoded append.
struct EncodedBatch {
    append: Append,
    /// Number of deliveries in it.
    deliveries: usize,
    /// The messages that were rejected; their dead letters are in `append`.
    rejected: Tally,
    /// What was left out of the messages on purpose.
    left_out: LeftOut,
}

struct Ingester<Q> {
    settings: Work,
    queue: Q,
    process: Process,
    leases: LeaseManager<Q>,
    dead_letters: DeadLetterEncoder,
    source_up: Dependency,
    list_has_space: Dependency,
    clock_agrees: Dependency,
}

impl<Q: Queue> Ingester<Q> {
    /// Works until the process stops, or until another replica holds the lease: then `None`. A lease that
    /// expired without a new holder is acquired again, and the session with the broker continues.
    async fn serve<S: Source>(
        &mut self,
        held: HeldLease<Q>,
        session: &mut S,
    ) -> Option<HeldLease<Q>> {
        // Assumed until an append fails.
        self.list_has_space.up();
        let mut current = Some(held);
        let mut received = Received::default();
        while let Some(held) = &current {
            self.process.health.tick();
            self.dead_letters.log_rest();
            if self.process.stop.is_cancelled() {
                self.finish(held, session, &mut received).await;
                return current;
            }
            if held.lost.is_cancelled() {
                current = self.leases.acquire_unless_held().await;
            } else if !self.clocks_agree(held) {
                self.process.pause(SKEW_WAIT).await;
            } else if received.deliveries.is_empty() {
                let received_some = tokio::select! {
                    received_some = session.recv_batch(self.settings.queue.limits.batch, &mut received.deliveries) => received_some,
                    () = tokio::time::sleep(IDLE_TICK) => continue,
                    () = self.process.stop.cancelled() => continue,
                    () = held.lost.cancelled() => continue,
                };
                if let Err(error) = received_some {
                    tracing::error!(%error, "the session ended, starting a new one");
                    return current;
                }
            } else {
                match self.append_and_acknowledge(session, &mut received).await {
                    Ok(()) => {}
                    Err(Refused::Wait(wait)) => self.process.pause(wait).await,
                    Err(Refused::Moved) => {
                        tracing::warn!(
                            "the queue has other positions of the source than this session: it was restored, \
                             or another process has read on. Starting a new session from them"
                        );
                        return current;
                    }
                }
            }
        }
        None
    }

    /// The positions of the source in the queue, if it has any. `None` if the lease was lost or the process
    /// stops.
    async fn positions<S: Source>(&self, held: &HeldLease<Q>) -> Option<Positions> {
        if !S::HAS_POSITIONS {
            return Some(Positions::new());
        }
        while !held.lost.is_cancelled() && !self.process.stop.is_cancelled() {
            self.process.health.tick();
            match self.queue.positions().await {
                Ok(positions) => return Some(positions),
                Err(error) => self.leases.queue_up().down(&error),
            }
            self.process.pause(ERROR_WAIT).await;
        }
        None
    }

    /// At a stop, appends and acknowledges what was received, within a time limit.
    async fn finish<S: Source>(
        &mut self,
        held: &HeldLease<Q>,
        session: &S,
        received: &mut Received<S::Ticket>,
    ) {
        if received.deliveries.is_empty() || held.lost.is_cancelled() || !self.clocks_agree(held) {
            return;
        }
        let appended = timeout(LAST_APPEND, self.append_and_acknowledge(session, received)).await;
        if !matches!(appended, Ok(Ok(()))) {
            let count = received.deliveries.len();
            tracing::info!(count, "left unacknowledged, the broker redelivers them");
        }
    }

    /// Appends what was received and then acknowledges it.
    async fn append_and_acknowledge<S: Source>(
        &mut self,
        session: &S,
        received: &mut Received<S::Ticket>,
    ) -> Result<(), Refused> {
        let Received {
            deliveries,
            encoded,
            last_arrival,
        } = received;
        let batch = encoded.get_or_insert_with(|| {
            let mut batch = self.encode_batch(deliveries, last_arrival);
            let appended = deliveries[..batch.deliveries].iter();
            batch.append.steps = session.steps(appended.map(|delivery| &delivery.ticket));
            batch
        });
        faults::reach(Point::BeforeAppend);
        match self.queue.append(&batch.append).await {
            Ok(Appended::Done { length, accepted }) => {
                faults::reach(Point::AfterAppend);
                self.leases.appended(batch.append.raw.len(), accepted);
                self.leases.queue_up().up();
                self.list_has_space.up();
                self.count(batch, length);
                let appended = deliveries.drain(..batch.deliveries);
                session.ack(appended.map(|delivery| delivery.ticket));
                *encoded = None;
                Ok(())
            }
            Ok(Appended::Full { length }) => {
                self.record_length(length);
                self.list_has_space.down(&format_args!(
                    "{} is full ({length} elements), not acknowledging until the transformer has \
                     drained it",
                    self.settings.queue.raw_queue
                ));
                Err(Refused::Wait(FULL_WAIT))
            }
            Ok(Appended::Moved) => Err(Refused::Moved),
            Err(error) => {
                let is_full = matches!(
                    error,
                    QueueError::Unavailable {
                        cause: Cause::OutOfMemory,
                        ..
                    }
                );
                let dependency = if is_full {
                    &self.list_has_space
                } else {
                    self.leases.queue_up()
                };
                dependency.down(&error);
                Err(Refused::Wait(ERROR_WAIT))
            }
        }
    }

    /// Encodes the first deliveries, as many as fit into one append.
    fn encode_batch<T>(
        &mut self,
        deliveries: &[Delivery<T>],
        last_arrival: &mut Option<Timestamp>,
    ) -> EncodedBatch {
        let now = (self.process.clock.now(), Instant::now());
        let mut batch = EncodedBatch {
            append: Append {
                raw: Vec::with_capacity(deliveries.len()),
                ..Append::default()
            },
            deliveries: 0,
            rejected: Tally::default(),
            left_out: LeftOut::default(),
        };
        let mut rejected = Vec::new();
        let mut bytes = 0;
        for delivery in deliveries {
            if bytes >= LARGEST_APPEND {
                break;
            }
            batch.deliveries += 1;
            let Delivery { topic, payload, .. } = delivery;
            let arrived = arrival(delivery.received, now, *last_arrival);
            *last_arrival = Some(arrived);
            let decoded = match refusal(delivery) {
                Some(rejection) => Decoded {
                    rejection: Some(rejection),
                    ..Decoded::default()
                },
                None => self.settings.decoder.decode(topic, payload, arrived),
            };
            batch.left_out += decoded.left_out;
            for element in decoded.elements {
                bytes += element.len();
                batch.append.raw.push(element);
            }
            if let Some(mut rejection) = decoded.rejection {
                if let Some(origin) = &delivery.origin {
                    rejection.detail = format!("{} ({origin})", rejection.detail);
                }
                let series = match &delivery.refused {
                    Some(sender) => sender.user.as_deref().unwrap_or_default(),
                    None => self.settings.decoder.series(topic),
                };
                let input = Input {
                    series,
                    topic,
                    payload,
                    truncated: delivery.truncated.as_ref(),
                    time: arrived,
                };
                let letter = self.dead_letters.encode(&rejection, &input);
                bytes += letter.element.as_ref().map_or(0, Vec::len);
                rejected.push(letter);
            }
        }
        (batch.append.dead, batch.rejected) = Tally::split(rejected);
        batch.append.over_quota = batch.rejected.over_quota();
        batch
    }

    /// Whether the clock agrees with the queue's clock, so that timestamps can be checked.
    fn clocks_agree(&self, held: &HeldLease<Q>) -> bool {
        let skew = held.latest.borrow().skew(&self.process.clock);
        let most = self.settings.decoder.times().max_future / 2;
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

    fn count(&self, batch: &EncodedBatch, length: usize) {
        let readings = batch.append.raw.len() as u64;
        counter!(metric::READINGS, "stage" => STAGE.name()).increment(readings);
        let left_out = batch.left_out;
        counter!(metric::IGNORED_TIMES).increment(left_out.ignored_times);
        for (reason, count) in [
            ("filtered", left_out.filtered),
            ("empty", left_out.empty),
            ("skipped", left_out.skipped),
        ] {
            if count > 0 {
                counter!(metric::LEFT_OUT, "reason" => reason).increment(count);
            }
        }
        batch.rejected.count();
        #[expect(clippy::cast_precision_loss, reason = "histograms are of doubles")]
        histogram!(metric::BATCH_SIZE, "stage" => STAGE.name()).record(batch.deliveries as f64);
        self.record_length(length);
    }

    fn record_length(&self, length: usize) {
        let queue = &self.settings.queue;
        let (length, limit) = (delta(length), queue.limits.queue_limit);
        metric::record_list_length(&queue.pipeline, "raw", length, limit);
    }
}

/// Why a message is rejected before it is decoded. The quota of such a dead letter is that of the user, not
/// of the series that the user has named.
fn refusal<T>(delivery: &Delivery<T>) -> Option<Rejection> {
    match (&delivery.refused, &delivery.truncated) {
        (None, None) => None,
        (None, Some(_)) => Some(Rejection::new(Reason::TooLarge, TRUNCATED)),
        (Some(sender), whole) => {
            let detail = format!("{sender} may not publish to this topic (MQTT_ACL)");
            Some(match whole {
                None => Rejection::new(Reason::NotAllowed, detail),
                // Only the beginning of it is there.
                Some(_) => Rejection::new(Reason::TooLarge, format!("{TRUNCATED}; {detail}")),
            })
        }
    }
}

/// When a message arrived: later than the `last` one, so that two messages without a timestamp don't
/// share an instant. After the clock was set back, `last` doesn't count.
fn arrival(
    received: Instant,
    (now, now_instant): (Timestamp, Instant),
    last: Option<Timestamp>,
) -> Timestamp {
    let arrived = now.minus(now_instant.saturating_duration_since(received));
    match last.map(|last| last.plus(Duration::from_nanos(1))) {
        Some(next) if next.since(arrived) <= MAX_ARRIVAL_SHIFT => arrived.max(next),
        _ => arrived,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use model::time::Timestamp;

    use super::arrival;

    #[test]
    fn arrivals_are_when_a_message_was_read_and_increase() {
        let start = Instant::now();
        let now = (
            Timestamp::from_millis(60_000),
            start + Duration::from_secs(10),
        );
        let at = |millis| start + Duration::from_millis(millis);
        let first = arrival(at(2_000), now, None);
        assert_eq!(first, Timestamp::from_millis(52_000));
        let second = arrival(at(2_000), now, Some(first));
        assert_eq!(second.nanos(), first.nanos() + 1);
        // It was read before, from another connection.
        let third = arrival(at(1_500), now, Some(second));
        assert_eq!(third.nanos(), second.nanos() + 1);
        let later = arrival(at(10_000), now, Some(third));
        assert_eq!(later, Timestamp::from_millis(60_000));
        let set_back = (Timestamp::from_millis(1_000), now.1);
        assert_eq!(arrival(at(10_000), set_back, Some(later)), set_back.0);
    }
}
