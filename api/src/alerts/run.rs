//! The consumer `alerts`: evaluates the alerts of a pipeline under a lease of its own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use common::harness::{self, Process};
use common::health::{Dependency, Health, Status};
use common::metric;
use common::tls::ClientTls;
use metrics::{counter, gauge};
use model::{Stage, Timestamp};
use queue::lease_manager::{HeldLease, LeaseManager};
use queue::settings::QueueSettings;
use queue::settle::Settled;
use queue::{Commit, Queue};
use reqwest::Client;
use store::history::History;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::board::AlertBoard;
use super::book::Book;
use super::evaluate;
use super::webhook::{self, Courier};

/// How often new rows are read.
const EVERY: Duration = Duration::from_secs(1);
/// How often the newest rows that changed nothing are written.
const WRITE_MOVED_EVERY: Duration = Duration::from_secs(30);
/// The wait after a failed call to the queue.
const ERROR_WAIT: Duration = Duration::from_millis(200);

/// The alerts to evaluate.
#[derive(Debug)]
pub struct AlertWork {
    /// The name of the pipeline.
    pub pipeline: String,
    /// Its queue.
    pub queue: QueueSettings,
    /// Its rules, and where the result is shown.
    pub board: AlertBoard,
    /// The health of the process with the pipeline's stages: nothing is evaluated while one of their
    /// dependencies isn't up.
    pub stages: Health,
    /// What is trusted to vouch for webhooks.
    pub webhook_tls: ClientTls,
}

/// Evaluates the alerts until the process stops.
pub async fn run<Q: Queue, H: History>(
    work: AlertWork,
    queue: Q,
    history: H,
    process: Process,
) -> anyhow::Result<()> {
    let leases = LeaseManager::new(queue, Stage::Alerts, &work.queue, &process);
    let rules = work.board.rules.iter();
    let urls = rules.flat_map(|rule| rule.webhooks.iter().map(String::as_str));
    let client =
        webhook::client(&work.webhook_tls, urls).context("cannot make a client for webhooks")?;
    let evaluator = Evaluator {
        history_up: process.health.dependency("history"),
        queue_up: leases.queue_up().clone(),
        work,
        history,
        client,
        process,
    };
    while let Some(held) = leases.acquire().await {
        evaluator.serve(&held).await;
        held.release().await;
    }
    Ok(())
}

struct Evaluator<H> {
    work: AlertWork,
    history: H,
    client: Client,
    process: Process,
    history_up: Dependency,
    queue_up: Dependency,
}

impl<H: History> Evaluator<H> {
    /// Works under one lease until it is lost or the process stops.
    async fn serve<Q: Queue>(&self, held: &HeldLease<Q>) {
        let AlertWork {
            pipeline, board, ..
        } = &self.work;
        let mut book = match held.state().await {
            Ok(state) => Book::load(pipeline, Arc::clone(&board.rules), state),
            Err(error) => {
                self.queue_up.down(&error);
                return sleep(ERROR_WAIT).await;
            }
        };
        self.show(&book);
        let mut courier = Courier::start(
            &self.client,
            &self.work.webhook_tls,
            &book,
            self.process.clock,
        );
        courier.feed(&book);
        let mut watched_since = None;
        let mut written = Instant::now();
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = held.lost.cancelled() => return,
                () = self.process.stop.cancelled() => break,
                done = courier.next_done() => {
                    book.done(&done.url, done.number);
                    courier.feed(&book);
                    continue;
                }
                _ = ticks.tick() => {}
                never = self.process.health.tick_for_ever() => match never {},
            }
            tokio::select! {
                biased;
                () = held.lost.cancelled() => return,
                // What was evaluated is complete, row by row.
                () = self.process.stop.cancelled() => break,
                () = self.evaluate(&mut book, &mut watched_since) => {}
                never = self.process.health.tick_for_ever() => match never {},
            }
            if written.elapsed() >= WRITE_MOVED_EVERY {
                written = Instant::now();
                book.write_moved();
            }
            if !self.commit(held, &mut book).await {
                return;
            }
            courier.feed(&book);
        }
        while let Some(done) = courier.done_now() {
            book.done(&done.url, done.number);
        }
        book.write_moved();
        self.commit(held, &mut book).await;
    }

    /// Evaluates new rows, unless something that the pipeline needs isn't up. `watched_since` is when it
    /// began to do so without a break.
    async fn evaluate(&self, book: &mut Book, watched_since: &mut Option<Timestamp>) {
        let now = self.process.clock.now();
        if !stages_are_up(&self.work.stages, &self.work.pipeline) {
            *watched_since = None;
            return;
        }
        let since = *watched_since.get_or_insert(now);
        match evaluate::round(book, &self.history, now, since).await {
            Ok(()) => self.history_up.up(),
            Err(error) => {
                *watched_since = None;
                self.history_up.down(&error);
            }
        }
        let given_up = book.give_up_oldest();
        if given_up > 0 {
            let pipeline = &self.work.pipeline;
            tracing::error!(
                pipeline,
                events = given_up,
                "events of alerts are given up, because too many wait for a webhook"
            );
            let given_up = u64::try_from(given_up).unwrap_or(u64::MAX);
            counter!(metric::WEBHOOK_DELIVERIES, "outcome" => "given_up").increment(given_up);
        }
    }

    /// Commits what has changed. False if the in-memory state is no longer valid.
    async fn commit<Q: Queue>(&self, held: &HeldLease<Q>, book: &mut Book) -> bool {
        let Some(written) = book.changes() else {
            self.show(book);
            return true;
        };
        let lost = |error| {
            tracing::warn!(
                stage = self.process.health.stage(),
                %error,
                "lost the lease; reloading state under a new lease"
            );
            false
        };
        let number = match held.peek(0).await {
            Ok(peek) => peek.number,
            Err(error) if error.is_lost() => return lost(error),
            Err(error) => {
                // The changes are part of the next commit.
                self.queue_up.down(&error);
                return true;
            }
        };
        let commit = Commit {
            number,
            puts: written.puts,
            deletes: written.deletes,
            ..Commit::default()
        };
        match held.commit(&commit).await {
            Settled::Applied => {
                let pipeline = &self.work.pipeline;
                for event in book.committed() {
                    let state = event.state.name();
                    tracing::info!(
                        pipeline,
                        alert = event.alert,
                        series = event.series,
                        value = event.value,
                        time = event.time,
                        state,
                        "an alert changed"
                    );
                    counter!(metric::ALERT_EVENTS, "pipeline" => pipeline.clone(), "state" => state)
                        .increment(1);
                }
                self.show(book);
                true
            }
            Settled::Lost(error) => lost(error),
        }
    }

    fn show(&self, book: &Book) {
        self.work.board.show(book);
        #[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
        gauge!(metric::ALERTS_FIRING, "pipeline" => self.work.pipeline.clone())
            .set(book.firing() as f64);
    }
}

/// Whether all that the pipeline's stages depend on is up.
fn stages_are_up(health: &Health, pipeline: &str) -> bool {
    let report = health.report();
    let mut of_stages = report.dependencies.iter().filter(|dependency| {
        let (stage, of) = harness::stage_and_pipeline(&dependency.stage);
        of == pipeline && stage != Stage::Alerts.name()
    });
    let first = of_stages.next();
    let is_up = |dependency: &common::health::DependencyReport| dependency.state == Status::Up;
    first.is_some_and(is_up) && of_stages.all(is_up)
}
