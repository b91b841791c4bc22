//! Ingester, transformer and sink are killed over and over under load; nothing may be lost,
//! doubled or wrong.

#![expect(clippy::print_stdout, reason = "a run says its seed and its figures")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::clock::Clock;
use common::health::Dependency;
use e2e::load::{Acknowledged, Load, Sent};
use e2e::rows::Rows;
use e2e::watch::{Catch, Watch};
use e2e::{Chain, Role};
use fastrand::Rng;
use queue::ledger::{Counter, Ledger};
use queue::testing::assert_exact;
use testkit::Stage;
use transport::{MqttSettings, Publisher};

/// How long the load lasts, at least.
const LOAD: Duration = Duration::from_mins(1);
/// A machine that is too slow for the kills in that time gets more of it.
const AT_MOST: Duration = Duration::from_mins(4);
const KILLS: usize = 60;
/// Of these kills, so many have to hit a consumer between peek and commit.
const HITS: usize = 20;
const ROUND: Duration = Duration::from_millis(100);
const RIGS: u32 = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_stages_loses_nothing_and_doubles_nothing() {
    let seed = std::env::var("RIGLINE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed} (RIGLINE_SEED={seed} repeats the choices)");
    let chain = Arc::new(Chain::start(&[
        ("LEASE", "500ms"),
        ("FLUSH_INTERVAL", "1s"),
    ]));
    let enough = Arc::new(AtomicBool::new(false));
    // A broker keeps nothing for a session that it has never seen.
    let (begin, may_begin) = tokio::sync::oneshot::channel();
    let killer = {
        let (chain, enough) = (Arc::clone(&chain), Arc::clone(&enough));
        std::thread::spawn(move || {
            let killer = Killer::new(&chain, seed);
            assert!(killer.stages[0].ready(Duration::from_secs(20)));
            begin.send(()).unwrap();
            killer.run(&enough)
        })
    };
    may_begin.await.unwrap();

    let acknowledged = Acknowledged::default();
    let publisher = publisher(&chain, &acknowledged);
    let start = Clock::system()
        .now()
        .tick(Duration::from_secs(1))
        .minus(Duration::from_hours(1));
    let mut load = Load {
        rigs: RIGS,
        start,
        rng: Rng::with_seed(seed),
    };
    let mut sent = Sent::default();
    let mut rounds = tokio::time::interval(ROUND);
    for round in 0.. {
        rounds.tick().await;
        if enough.load(Ordering::SeqCst) {
            break;
        }
        load.round(round, &publisher, &mut sent).await;
    }
    assert!(
        publisher.drain(Duration::from_secs(20)).await,
        "{:?}",
        publisher.counts()
    );
    // The stages need their proxies until the end.
    let (mut stages, kills, _watches) = killer.join().unwrap();
    println!("{kills:?}");
    assert!(kills.between >= HITS && kills.all() >= KILLS, "{kills:?}");

    let ledger = at_rest(&chain).await;
    println!("{sent}; {} acknowledged", acknowledged.ids().len());
    println!("{ledger:?}");
    check(&sent, &acknowledged, &ledger, &chain.rows());
    for stage in &mut stages {
        stage.terminate();
        assert!(
            stage
                .wait_exit(Duration::from_secs(10))
                .is_some_and(|exit| exit.success())
        );
    }
}

/// The ledger once everything has gone through and nothing has come for a while.
async fn at_rest(chain: &Chain) -> Ledger {
    let drained = |ledger: &Ledger| {
        ledger.raw == 0 && ledger.normalized == 0 && ledger.get(Counter::OpenReadings) == 0
    };
    loop {
        let before = chain.wait_for(Duration::from_mins(1), drained).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        if chain.ledger().await == before {
            return before;
        }
    }
}

fn publisher(chain: &Chain, acknowledged: &Acknowledged) -> Publisher {
    let broker = MqttSettings::at("127.0.0.1", chain.mosquitto.port());
    let recorder = acknowledged.clone();
    Publisher::start(&broker, "load", Dependency::unreported("mqtt"), move |id| {
        recorder.record(id);
    })
}

/// Every acknowledged reading is in exactly one row, or counted; with the value that was sent.
fn check(sent: &Sent, acknowledged: &Acknowledged, ledger: &Ledger, rows: &Rows) {
    let acknowledged = acknowledged.ids();
    for (cell, (value, id)) in &sent.cells {
        match rows.get(cell) {
            None => assert!(
                acknowledged.binary_search(id).is_err(),
                "lost: {cell:?} = {value}"
            ),
            Some(stored) => assert!(
                stored
                    .iter()
                    .all(|stored| stored.to_bits() == value.to_bits()),
                "wrong: {cell:?} = {value}, stored {stored:?}"
            ),
        }
    }
    for (cell, stored) in rows {
        assert!(
            sent.cells.contains_key(cell),
            "never sent: {cell:?} = {stored:?}"
        );
    }
    assert_exact(ledger);
    let stored = i64::try_from(rows.len()).unwrap();
    assert_eq!(
        ledger.get(Counter::InRows),
        stored,
        "a reading in more than one row"
    );
    assert_eq!(ledger.get(Counter::Late), 0);
    // Redeliveries add to what was sent twice on purpose.
    assert!(
        ledger.get(Counter::Repeated) >= sent.repeated,
        "{ledger:#?}"
    );
    assert!(
        ledger.get(Counter::Superseded) >= sent.superseded,
        "{ledger:#?}"
    );
    assert!(ledger.get(Counter::DeadIngester) >= sent.bad, "{ledger:#?}");
    assert_eq!(
        ledger.get(Counter::DeadTransformer) + ledger.get(Counter::DeadSink),
        0
    );
}

/// How often each stage was killed, and where.
#[derive(Debug, Default)]
struct Kills {
    ingester: usize,
    transformer: usize,
    sink: usize,
    /// Of those of transformer and sink: with elements in hand that weren't committed.
    between: usize,
    /// Of all: after Redis had carried their write out, and before they knew.
    after_write: usize,
}

impl Kills {
    const fn all(&self) -> usize {
        self.ingester + self.transformer + self.sink
    }
}

struct Killer<'a> {
    chain: &'a Chain,
    rng: Rng,
    watches: [Watch; 3],
    stages: [Stage; 3],
    kills: Kills,
}

impl<'a> Killer<'a> {
    fn new(chain: &'a Chain, seed: u64) -> Self {
        let watches = Role::ALL.map(|role| {
            // Only an append names the list, only a commit the consumer's state.
            let marker = if role == Role::Ingester {
                "raw_events"
            } else {
                ":state:"
            };
            Watch::start(chain.redis.port(), marker)
        });
        let stages = Role::ALL.map(|role| spawn(chain, role, &watches[role as usize]));
        Self {
            chain,
            rng: Rng::with_seed(!seed),
            watches,
            stages,
            kills: Kills::default(),
        }
    }

    fn run(mut self, enough: &AtomicBool) -> ([Stage; 3], Kills, [Watch; 3]) {
        let started = Instant::now();
        while started.elapsed() < AT_MOST
            && (started.elapsed() < LOAD || self.kills.all() < KILLS || self.kills.between < HITS)
        {
            let role = Role::ALL[self.rng.usize(..3)];
            std::thread::sleep(Duration::from_millis(self.rng.u64(0..250)));
            self.kill(role);
        }
        enough.store(true, Ordering::SeqCst);
        (self.stages, self.kills, self.watches)
    }

    /// Kills a stage at a random moment, right before its write, or right after it; and starts it
    /// again.
    fn kill(&mut self, role: Role) {
        let place = role as usize;
        let watch = &self.watches[place];
        let catch = [None, Some(Catch::BeforeWrite), Some(Catch::AfterWrite)][self.rng.usize(..3)];
        let caught = catch.filter(|at| watch.catch(*at, Duration::from_secs(2)));
        let between = match caught {
            None => watch.is_between_peek_and_commit(),
            Some(at) => at == Catch::BeforeWrite,
        };
        self.stages[place].kill();
        self.kills.between += usize::from(between && role != Role::Ingester);
        self.kills.after_write += usize::from(caught == Some(Catch::AfterWrite));
        match role {
            Role::Ingester => self.kills.ingester += 1,
            Role::Transformer => self.kills.transformer += 1,
            Role::Sink => self.kills.sink += 1,
        }
        watch.reset();
        self.stages[place] = spawn(self.chain, role, watch);
    }
}

fn spawn(chain: &Chain, role: Role, watch: &Watch) -> Stage {
    chain.spawn(role.name(), &[("REDIS_PORT", &watch.port().to_string())])
}
