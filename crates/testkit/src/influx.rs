//! A stand-in for `InfluxDB` 2 that answers writes as a server 2.9.1 was recorded to answer, keeps
//! what it accepts in memory, and fails on command.
//!
//! Not like the real one: it knows one organisation, one bucket and one token, reads only numbers
//! with a time, has no retention, and takes no chunked or compressed bodies.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::net::{free_port, localhost};

mod database;
pub(crate) mod http;
mod line;
pub(crate) mod reply;
#[cfg(test)]
mod tests;

pub use database::{Received, Refusal};
pub use line::{Key, Point, Value, parse_line};
pub use reply::{Reply, Stores};

use database::Database;
use http::{Request, write_head};
use reply::Act;

/// The organisation that exists.
pub const ORG: &str = "my-org";
/// The bucket that exists.
pub const BUCKET: &str = "rigs";
/// The token that may write.
pub const TOKEN: &str = "token-that-may-write";
/// A token that may only read.
pub const READ_TOKEN: &str = "token-that-may-only-read";

/// How long a slow answer waits before each byte.
const DRIP: Duration = Duration::from_millis(20);

/// The server; gone when it is dropped.
#[derive(Debug)]
pub struct Influx {
    port: u16,
    database: Arc<Mutex<Database>>,
    listening: Option<Listening>,
}

#[derive(Debug)]
struct Listening {
    thread: JoinHandle<()>,
    connections: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Influx {
    /// Starts an empty one on a free port.
    #[must_use]
    pub fn start() -> Self {
        let mut server = Self {
            port: free_port(),
            database: Arc::default(),
            listening: None,
        };
        server.restart();
        server
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends at once: drops all connections unanswered and refuses new ones. Keeps the data.
    pub fn stop(&mut self) {
        let Some(listening) = self.listening.take() else {
            return;
        };
        for connection in lock(&listening.connections).take().into_iter().flatten() {
            // Fails if the other side has gone already.
            let _ = connection.shutdown(Shutdown::Both);
        }
        // Wakes the listener, which then finds that it is over.
        let _ = TcpStream::connect(localhost(self.port));
        listening.thread.join().expect("the listener panicked");
    }

    /// Listens again at the same address, with the same data.
    pub fn restart(&mut self) {
        self.stop();
        let listener = TcpListener::bind(localhost(self.port)).expect("a port to listen on");
        let connections = Arc::new(Mutex::new(Some(Vec::new())));
        let (database, open) = (Arc::clone(&self.database), Arc::clone(&connections));
        let thread = std::thread::spawn(move || listen(&listener, &database, &open));
        self.listening = Some(Listening {
            thread,
            connections,
        });
    }

    /// Answers the next writes, empty ones included, with these, one each.
    pub fn reply_next(&self, replies: impl IntoIterator<Item = Reply>) {
        self.lock().next.extend(replies);
    }

    /// Answers every write with this, or properly again; the replies of
    /// [`reply_next`](Self::reply_next) come first.
    pub fn reply_always(&self, reply: Option<Reply>) {
        self.lock().always = reply;
    }

    /// Refuses the lines that `is_bad` is true of, or none any more.
    pub fn refuse(&self, refusal: Refusal, is_bad: impl Fn(&str) -> bool + Send + 'static) {
        self.lock().refusal = Some((refusal, Box::new(is_bad)));
    }

    /// Accepts again what [`refuse`](Self::refuse) told it to refuse.
    pub fn refuse_nothing(&self) {
        self.lock().refusal = None;
    }

    /// Answers 413 to bodies above this size, in bytes.
    pub fn limit_body(&self, bytes: Option<usize>) {
        self.lock().max_body = bytes;
    }

    /// All writes so far, in the order in which they came in.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.lock().received.clone()
    }

    /// All points stored.
    #[must_use]
    pub fn points(&self) -> BTreeMap<Key, BTreeMap<String, Value>> {
        self.lock().points.clone()
    }

    /// How many points are stored.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().points.len()
    }

    /// The fields of a rig's row; empty if there is none.
    #[must_use]
    pub fn row(&self, rig_id: &str, nanos: i64) -> BTreeMap<String, f64> {
        let key = Key {
            measurement: "rig_measurements".into(),
            tags: BTreeMap::from([("rig_id".into(), rig_id.into())]),
            nanos,
        };
        let fields = self.lock().points.get(&key).cloned().unwrap_or_default();
        fields
            .into_iter()
            .filter_map(|(name, value)| match value {
                Value::Float(float) => Some((name, float)),
                Value::Integer(_) => None,
            })
            .collect()
    }

    /// How often a stored value was overwritten by another one.
    #[must_use]
    pub fn changed(&self) -> usize {
        self.lock().changed
    }

    /// Stores a line as another writer would, for instance to give a field another type.
    pub fn insert(&self, line: &str) {
        let point = parse_line(line, 1).unwrap_or_else(|error| panic!("{line}: {error}"));
        self.lock().merge(point).expect("a field of another type");
    }

    fn lock(&self) -> MutexGuard<'_, Database> {
        lock(&self.database)
    }
}

impl Drop for Influx {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen(
    listener: &TcpListener,
    database: &Arc<Mutex<Database>>,
    open: &Mutex<Option<Vec<TcpStream>>>,
) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let Ok(handle) = stream.try_clone() else {
            continue;
        };
        match lock(open).as_mut() {
            Some(streams) => streams.push(handle),
            None => return,
        }
        let database = Arc::clone(database);
        std::thread::spawn(move || serve(stream, &database));
    }
}

/// Answers the requests of a connection until it ends.
fn serve(mut stream: TcpStream, database: &Mutex<Database>) {
    let _ = stream.set_nodelay(true);
    let Ok(reading) = stream.try_clone() else {
        return;
    };
    let mut reading = BufReader::new(reading);
    while let Some(request) = Request::read(&mut reading) {
        let reply = lock(database).reply(&request);
        if !act(&mut stream, &reply.act) {
            break;
        }
    }
    // Dropping it wouldn't close it: the server has a handle of its own, to stop with.
    let _ = stream.shutdown(Shutdown::Both);
}

/// Whether the connection goes on.
pub(crate) fn act(stream: &mut TcpStream, act: &Act) -> bool {
    match act {
        Act::Answer {
            status,
            headers,
            body,
        } => {
            write_head(stream, *status, headers, body.len()).is_ok()
                && stream.write_all(body.as_bytes()).is_ok()
        }
        Act::Drip { status } => {
            let endless = 1 << 30;
            if write_head(stream, *status, &[], endless).is_ok() {
                while stream.write_all(b" ").is_ok() {
                    std::thread::sleep(DRIP);
                }
            }
            false
        }
        Act::Silence => {
            // Returns when the client has had enough.
            let _ = stream.read(&mut [0]);
            false
        }
        Act::Cut => false,
    }
}
