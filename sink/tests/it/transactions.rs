//! A store with transactions: each row is in exactly one of them, whatever is lost in between.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use common::health::Status;
use model::Row;
use model::dead_letter::{DeadLetter, Reason};
use queue::list::List;
use queue::settings::QueueSettings;
use queue::testing::{Delivery, FaultyQueue, Running, TempQueue, limited, wait_until};
use queue::{Queue, testing};
use sink::{NamedStore, Stores};
use store::{InfluxStore, TransactionalStore, WriteError};
use testkit::InfluxProxy;
use testkit::influx_proxy::Reply;

use crate::fixture::{assert_stored, done, influx, nanos, queue_of, row, rows};

/// What becomes of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is committed, and its writer doesn't learn it.
    AnswerLost,
    /// It is aborted.
    Aborted,
    /// It is committed, and its writer waits for ever.
    Hangs,
}

/// The server of a store: all that its clients share.
#[derive(Debug, Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The number of the only writer that can write.
    writer: u64,
    /// The rows of committed transactions: rigs and times.
    rows: Vec<(String, i64)>,
    transactions: usize,
    note: Option<String>,
    fates: VecDeque<Fate>,
}

impl Server {
    fn store(&self) -> TestStore {
        TestStore {
            server: self.clone(),
            writer: None,
        }
    }

    fn next(&self, fates: impl IntoIterator<Item = Fate>) {
        self.0.lock().unwrap().fates.extend(fates);
    }

    fn transactions(&self) -> usize {
        self.0.lock().unwrap().transactions
    }

    /// Asserts that these rows were written, in this order, each once.
    fn assert_written(&self, rig: &str, seconds: impl IntoIterator<Item = i64>) {
        let state = self.0.lock().unwrap();
        let expected: Vec<_> = seconds
            .into_iter()
            .map(|second| (rig.to_owned(), nanos(second)))
            .collect();
        assert_eq!(state.rows, expected);
    }
}

/// A client, which refuses rows of the rig `BAD`.
struct TestStore {
    server: Server,
    /// Its number while it can write.
    writer: Option<u64>,
}

fn retry(detail: &str) -> WriteError {
    WriteError::Retry {
        detail: detail.to_owned(),
        after: None,
    }
}

impl TransactionalStore for TestStore {
    type Records = Vec<(String, i64)>;

    async fn open(&mut self) -> Result<Option<String>, WriteError> {
        let mut state = self.server.0.lock().unwrap();
        state.writer += 1;
        self.writer = Some(state.writer);
        Ok(state.note.clone())
    }

    fn is_open(&self) -> bool {
        self.writer.is_some()
    }

    fn encode(&self, rows: &[Row<'_>]) -> (Self::Records, Vec<(usize, String)>) {
        let (mut records, mut refused) = (Vec::new(), Vec::new());
        for (index, row) in rows.iter().enumerate() {
            match row.tags[0].1.as_str() {
                "BAD" => refused.push((index, "no record".to_owned())),
                rig => records.push((rig.to_owned(), row.timestamp.nanos())),
            }
        }
        (records, refused)
    }

    async fn write(&mut self, records: Self::Records, note: String) -> Result<(), WriteError> {
        let writer = self.writer.take();
        let fate = {
            let mut state = self.server.0.lock().unwrap();
            if writer != Some(state.writer) {
                return Err(retry("fenced"));
            }
            let fate = state.fates.pop_front();
            if fate != Some(Fate::Aborted) {
                state.rows.extend(records);
                state.note = Some(note);
                state.transactions += 1;
            }
            fate
        };
        match fate {
            None => {}
            Some(Fate::Hangs) => std::future::pending().await,
            Some(Fate::AnswerLost | Fate::Aborted) => return Err(retry("connection lost")),
        }
        self.writer = writer;
        Ok(())
    }

    async fn preflight(&self) -> Result<(), WriteError> {
        Ok(())
    }
}

fn start_on(handle: impl Queue, settings: &QueueSettings, server: &Server) -> Running {
    let stores = Stores {
        merging: Vec::<NamedStore<InfluxStore>>::new(),
        transactional: Some(NamedStore {
            name: "kafka".to_owned(),
            store: server.store(),
        }),
    };
    let settings = settings.clone();
    Running::start(|process| sink::run(settings, handle, stores, process))
}

fn start(queue: &TempQueue, server: &Server) -> Running {
    start_on(queue.open(), queue.settings(), server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_whose_answer_is_lost_are_not_written_again() {
    let (queue, server) = (queue_of(7), Server::default());
    queue.append_rows(rows("R", 0..60)).await;
    server.next([
        Fate::AnswerLost,
        Fate::Aborted,
        Fate::Aborted,
        Fate::AnswerLost,
    ]);
    let stage = start(&queue, &server);
    done(&queue, 60, 0).await;
    stage.ready().await;
    stage.stop().await;
    server.assert_written("R", 0..60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_was_written_is_taken_as_a_whole_by_the_next_process() {
    let (queue, server) = (queue_of(20), Server::default());
    queue.append_rows(rows("R", 0..20)).await;
    server.next([Fate::Hangs]);
    let stage = start(&queue, &server);
    wait_until("a transaction", || server.transactions() == 1).await;
    stage.kill().await;
    queue.expire_leases();
    queue.append_rows(rows("R", 20..33)).await;
    // Its batches are smaller than the one that was written.
    let settings = limited(|limits| limits.batch = 6);
    let stage = start_on(
        queue.open_as(&settings, common::clock::Clock::system()),
        &settings,
        &server,
    );
    done(&queue, 33, 0).await;
    stage.stop().await;
    server.assert_written("R", 0..33);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_reply_is_lost_is_not_written_again() {
    let (queue, server) = (queue_of(7), Server::default());
    queue.append_rows(rows("R", 0..30)).await;
    let faulty = FaultyQueue::new(queue.open(), &[Delivery::Applied, Delivery::Dropped]);
    let stage = start_on(faulty, queue.settings(), &server);
    done(&queue, 30, 0).await;
    stage.stop().await;
    server.assert_written("R", 0..30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_lost_its_lease_writes_nothing_after_its_successor() {
    let (queue, server) = (queue_of(7), Server::default());
    queue.append_rows(rows("R", 0..20)).await;
    server.next([Fate::Hangs]);
    let first = start(&queue, &server);
    wait_until("a transaction", || server.transactions() == 1).await;
    // For this clock, the first one's lease has expired, as after a long stall.
    let second = start_on(queue.open_later(), queue.settings(), &server);
    second.until("lease", Status::Up).await;
    done(&queue, 20, 0).await;
    first.until("lease", Status::Standby).await;
    second.stop().await;
    queue.append_rows(rows("R", 20..30)).await;
    done(&queue, 30, 0).await;
    first.stop().await;
    server.assert_written("R", 0..30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_rows_are_the_same_dead_letters_after_a_lost_answer() {
    let (queue, server) = (queue_of(20), Server::default());
    let mut all = rows("R", 0..10);
    all.insert(3, row("BAD", 3));
    all.push(b"{".to_vec());
    queue.append_rows(all).await;
    server.next([Fate::AnswerLost]);
    let stage = start(&queue, &server);
    done(&queue, 10, 2).await;
    stage.stop().await;
    server.assert_written("R", 0..10);
    let letters = queue.items(List::Dead).into_iter();
    let letters: Vec<_> = letters
        .map(|letter| DeadLetter::decode(&letter).unwrap())
        .map(|letter| (letter.reason, letter.detail))
        .collect();
    assert_eq!(letters[0].0, Reason::BadElement);
    let refused = (Reason::StoreRejected, "no record".to_owned());
    assert_eq!(letters[1], refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_all_refused_need_no_transaction() {
    let (queue, server) = (queue_of(20), Server::default());
    queue.append_rows(vec![row("BAD", 1), row("BAD", 2)]).await;
    let stage = start(&queue, &server);
    done(&queue, 0, 2).await;
    stage.stop().await;
    assert_eq!(server.transactions(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_queue_goes_on() {
    let server = Server::default();
    for seconds in [0..20, 20..50] {
        // Its commit numbers begin at zero.
        let queue = queue_of(7);
        let count = seconds.end - seconds.start;
        queue.append_rows(rows("R", seconds)).await;
        let stage = start(&queue, &server);
        done(&queue, count, 0).await;
        stage.stop().await;
    }
    server.assert_written("R", 0..50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_gets_a_batch_when_all_other_stores_have_it() {
    let (queue, server, other) = (queue_of(7), Server::default(), InfluxProxy::start());
    other.reply_always(Some(Reply::status(503, "")));
    queue.append_rows(rows("R", 0..20)).await;
    let stores = Stores {
        merging: vec![NamedStore {
            name: "influx".to_owned(),
            store: influx(&other),
        }],
        transactional: Some(NamedStore {
            name: "kafka".to_owned(),
            store: server.store(),
        }),
    };
    let (settings, handle) = (queue.settings().clone(), queue.open());
    let stage = Running::start(|process| sink::run(settings, handle, stores, process));
    stage.until("store-influx", Status::Down).await;
    assert!(stage.is("store-kafka", Status::Up));
    assert_eq!(server.transactions(), 0);
    server.next([Fate::AnswerLost]);
    other.reply_always(None);
    done(&queue, 20, 0).await;
    stage.stop().await;
    server.assert_written("R", 0..20);
    assert_stored(&other, "R", 0..20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_row_is_written_once_under_random_faults() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let (queue, server) = (queue_of(5), Server::default());
    let mut sent = 0;
    let mut stage = start(&queue, &server);
    for _ in 0..25 {
        let fates = [Fate::AnswerLost, Fate::Aborted, Fate::Hangs];
        server.next((0..rng.usize(..3)).map(|_| fates[rng.usize(..3)]));
        let more = rng.i64(1..20);
        queue.append_rows(rows("R", sent..sent + more)).await;
        sent += more;
        tokio::time::sleep(std::time::Duration::from_millis(rng.u64(..60))).await;
        stage.kill().await;
        queue.expire_leases();
        let settings = limited(|limits| limits.batch = rng.usize(1..12));
        let handle = queue.open_as(&settings, common::clock::Clock::system());
        stage = start_on(handle, &settings, &server);
    }
    server.0.lock().unwrap().fates.clear();
    stage.kill().await;
    queue.expire_leases();
    let settings = testing::settings();
    let stage = start_on(queue.open(), &settings, &server);
    done(&queue, sent, 0).await;
    stage.stop().await;
    server.assert_written("R", 0..sent);
}
