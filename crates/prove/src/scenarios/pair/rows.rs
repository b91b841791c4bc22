//! A pair of sinks, and the rows that they store.

use std::time::Duration;

use anyhow::{Context, ensure};
use common::clock::Clock;
use common::faults::Point;
use model::{Layout, Name, Row, Stage, Timestamp, Value};
use queue::ledger::Counter;
use queue::{Commit, Lease, Queue};
use testkit::TcpProxy;

use super::{Pair, Plan};
use crate::oracle::Findings;
use crate::scenario::{Parameters, Report};

/// Of how many series the rows are.
const DEVICES: i64 = 5;

/// A server in the middle of a write is killed up to this many milliseconds after rows were appended.
const KILLED_WITHIN: u64 = 60;

/// Where sinks stop that write to a store which merges rows.
pub const MERGING_POINTS: [Point; 7] = [
    Point::AfterLease,
    Point::BeforePeek,
    Point::AfterPeek,
    Point::BeforeWrite,
    Point::AfterWrite,
    Point::BeforeCommit,
    Point::AfterCommit,
];

/// Two sinks between a queue on Redis and a store.
#[derive(Debug)]
pub struct Sinks {
    /// The sinks and the queue.
    pub pair: Pair,
    /// How many rows were appended. Each has its number.
    pub sent: i64,
    /// Of the transformer, in whose place rows are appended here.
    lease: Lease,
    /// The time of the first row, in whole milliseconds.
    start: Timestamp,
}

impl Sinks {
    /// Starts Redis and the sinks.
    pub fn start(
        params: &Parameters,
        file: &'static str,
        server: (&'static str, String),
        points: &'static [Point],
    ) -> anyhow::Result<Self> {
        let plan = Plan {
            stage: "sink",
            file,
            server,
            points,
            counter: Counter::RowsStored,
        };
        let pair = Pair::start(params, plan)?;
        let lease = pair.queue.lease(Stage::Transformer, "rows", HOUR);
        let lease = pair.wait(lease)?.context("no lease")?;
        let now = Clock::system().now().minus(HOUR);
        Ok(Self {
            pair,
            sent: 0,
            lease,
            start: Timestamp::from_millis(now.nanos() / NANOS_PER_MILLI),
        })
    }

    /// Appends some rows to the normalized list.
    pub fn append(&mut self) -> anyhow::Result<()> {
        let count = self.pair.rng.i64(15..60);
        let numbers = self.sent..self.sent + count;
        let outputs = numbers.map(|number| self.element(number));
        let outputs = outputs.collect::<anyhow::Result<_>>()?;
        let queue = &self.pair.queue;
        self.pair.wait(async {
            let number = queue.progress(Stage::Transformer).await?.number;
            let commit = Commit {
                number,
                outputs,
                ..Commit::default()
            };
            queue.commit(&self.lease, &commit).await
        })?;
        self.sent += count;
        Ok(())
    }

    /// Waits until a sink was killed or all rows are stored.
    pub fn work_until_stopped(&mut self) -> anyhow::Result<()> {
        self.pair.work_until_stopped(self.sent)
    }

    /// Appends rows while sinks stop, replies to requests with `marker` are lost, and `restart` kills the store's server
    /// within writes and starts it again; until all rows are stored. Returns how often the server was killed.
    pub fn append_among_faults(
        &mut self,
        params: &Parameters,
        proxy: &TcpProxy,
        marker: &'static str,
        mut restart: impl FnMut(),
    ) -> anyhow::Result<usize> {
        let mut restarts = 0;
        for fault in 0..params.times(3) {
            if matches!(fault % 10, 3 | 7) {
                proxy.cut_reply(marker, 1);
            }
            self.append()?;
            if fault % 10 == 9 {
                let wait = self.pair.rng.u64(..KILLED_WITHIN);
                std::thread::sleep(Duration::from_millis(wait));
                restart();
                restarts += 1;
            }
            self.work_until_stopped()?;
        }
        proxy.cancel_plans();
        self.finish()?;
        Ok(restarts)
    }

    /// The report of a run with these faults, in which each row is there once.
    pub fn report(&self, proxy: &TcpProxy, restarts: usize) -> anyhow::Result<Report> {
        let (killed, thawed, replies) = (self.pair.killed, self.pair.thawed, proxy.cuts());
        let summary = format!(
            "{} rows, {killed} sinks killed, {thawed} frozen, {replies} replies lost, {restarts} restarts of the server: \
             each row once",
            self.sent
        );
        let faults = killed + thawed + usize::try_from(replies)? + restarts;
        Ok(Report::new(Findings::default(), summary, faults))
    }

    /// Waits until all rows are stored by sinks that don't stop, and checks the ledger.
    pub fn finish(&mut self) -> anyhow::Result<()> {
        self.pair.stop_no_more();
        self.pair.work_until_done(self.sent)?;
        let ledger = self.pair.ledger()?;
        let counted = [Counter::RowsStored, Counter::RowsTaken, Counter::DeadSink];
        let counted = counted.map(|counter| ledger.get(counter));
        ensure!(counted == [self.sent, self.sent, 0], "{ledger:#?}");
        Ok(())
    }

    /// The tag `device` of a row.
    #[must_use]
    pub fn device(number: i64) -> String {
        format!("d{}", number % DEVICES)
    }

    /// The time of a row.
    pub fn time(&self, number: i64) -> anyhow::Result<Timestamp> {
        let after = Duration::from_millis(u64::try_from(number)?);
        Ok(self.start.plus(after))
    }

    /// A row of the normalized list.
    fn element(&self, number: i64) -> anyhow::Result<Vec<u8>> {
        let name = |name: String| Name::new(name);
        let row = Row {
            tags: vec![(name("device".into())?, name(Self::device(number))?)],
            timestamp: self.time(number)?,
            fields: vec![(name("number".into())?, Value::Integer(number))],
        };
        let mut element = Vec::new();
        Layout::Tagged.encode_row(&row, &mut element);
        Ok(element)
    }
}

const HOUR: Duration = Duration::from_hours(1);
const NANOS_PER_MILLI: i64 = 1_000_000;
