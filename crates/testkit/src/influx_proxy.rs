//! A proxy in front of an InfluxDB that can answer requests itself, or lose requests or responses. By
//! default it forwards.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::http::exchange;
use crate::influxdb::{InfluxDb, Point};
use crate::net::{free_port, localhost};

mod http;
mod reply;

pub use http::Request;
pub use reply::{Forward, Reply};

use http::write_head;
use reply::Act;

/// The delay before each byte of a slow response.
const DRIP: Duration = Duration::from_millis(20);
/// The timeout of requests to the server.
const LIMIT: Duration = Duration::from_mins(1);
/// The path of writes.
const WRITE: &str = "/api/v2/write";

/// A running proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct InfluxProxy {
    port: u16,
    shared: Arc<Shared>,
    listening: Option<Listening>,
    bucket: String,
}

/// A write that the proxy has received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// The size of the body.
    pub bytes: usize,
    /// How many lines the body has.
    pub lines: usize,
    /// The status of the response; 0 without one.
    pub status: u16,
}

#[derive(Debug)]
struct Shared {
    server: u16,
    script: Mutex<Script>,
}

type Rule = dyn Fn(&Request) -> Option<Reply> + Send;

/// Planned replies, and a record of requests.
#[derive(Default)]
struct Script {
    next: VecDeque<Reply>,
    numbered: BTreeMap<usize, Reply>,
    /// The numbered replies in progress.
    replying: usize,
    is_down_after_numbered: bool,
    is_down: bool,
    always: Option<Reply>,
    rule: Option<Box<Rule>>,
    delay: Duration,
    requests: Vec<String>,
    received: Vec<Received>,
    values: HashMap<String, String>,
    changed: usize,
}

#[derive(Debug)]
struct Listening {
    thread: JoinHandle<()>,
    connections: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl InfluxProxy {
    /// Starts a proxy in front of the [shared server](InfluxDb::shared), with a new bucket.
    #[must_use]
    pub fn start() -> Self {
        Self::with_retention(None)
    }

    /// As [`start`](Self::start), with a bucket that keeps rows this long, or forever.
    #[must_use]
    pub fn with_retention(retention: Option<Duration>) -> Self {
        let server = InfluxDb::shared();
        let bucket = server.create_bucket(retention);
        Self::new(server.port(), bucket)
    }

    /// Starts a proxy in front of the server at this port of 127.0.0.1.
    #[must_use]
    pub fn in_front_of(server: u16) -> Self {
        Self::new(server, String::new())
    }

    fn new(server: u16, bucket: String) -> Self {
        let shared = Arc::new(Shared {
            server,
            script: Mutex::default(),
        });
        let mut proxy = Self {
            port: free_port(),
            shared,
            listening: None,
            bucket,
        };
        proxy.restart();
        proxy
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The bucket that was created for it.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Closes all connections without a response and refuses new ones.
    pub fn stop(&mut self) {
        let Some(listening) = self.listening.take() else {
            return;
        };
        for connection in lock(&listening.connections).take().into_iter().flatten() {
            // Fails if the client has closed it already.
            let _ = connection.shutdown(Shutdown::Both);
        }
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect(localhost(self.port));
        listening.thread.join().expect("the listener panicked");
    }

    /// Listens again at the same address.
    pub fn restart(&mut self) {
        self.stop();
        let listener = TcpListener::bind(localhost(self.port)).expect("a port to listen on");
        let connections = Arc::new(Mutex::new(Some(Vec::new())));
        let (shared, open) = (Arc::clone(&self.shared), Arc::clone(&connections));
        let thread = std::thread::spawn(move || listen(&listener, &shared, &open));
        self.listening = Some(Listening {
            thread,
            connections,
        });
    }

    /// Answers the next requests with these replies, one each.
    pub fn reply_next(&self, replies: impl IntoIterator<Item = Reply>) {
        self.script().next.extend(replies);
    }

    /// Answers every request with this reply; `None` forwards again. The replies of
    /// [`reply_next`](Self::reply_next) come first.
    pub fn reply_always(&self, reply: Option<Reply>) {
        self.script().always = reply;
    }

    /// Answers with the reply that `rule` returns; forwards where it returns `None`.
    pub fn reply_by(&self, rule: impl Fn(&Request) -> Option<Reply> + Send + 'static) {
        self.script().rule = Some(Box::new(rule));
    }

    /// Removes the rule of [`reply_by`](Self::reply_by).
    pub fn reply_by_nothing(&self) {
        self.script().rule = None;
    }

    /// Answers the request with this number, counted from 1 from now on.
    pub fn reply_at(&self, number: usize, reply: Reply) {
        let mut script = self.script();
        let number = script.requests.len() + number;
        script.numbered.insert(number, reply);
    }

    /// As [`reply_at`](Self::reply_at); every later connection is cut until
    /// [`revive`](Self::revive).
    pub fn reply_at_and_go_down(&self, number: usize, reply: Reply) {
        self.reply_at(number, reply);
        self.script().is_down_after_numbered = true;
    }

    /// Whether every reply of [`reply_at`](Self::reply_at) was given, and its request forwarded as planned.
    #[must_use]
    pub fn has_replied(&self) -> bool {
        let script = self.script();
        script.numbered.is_empty() && script.replying == 0
    }

    /// Forwards every request again.
    pub fn revive(&self) {
        let mut script = self.script();
        script.numbered.clear();
        script.is_down_after_numbered = false;
        script.is_down = false;
    }

    /// Delays every request.
    pub fn slow_down(&self, delay: Duration) {
        self.script().delay = delay;
    }

    /// All requests so far: method and path.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.script().requests.clone()
    }

    /// All writes so far, in the order of their responses.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.script().received.clone()
    }

    /// How often a stored value was overwritten by another value.
    #[must_use]
    pub fn changed(&self) -> usize {
        self.script().changed
    }

    /// All values in the bucket.
    #[must_use]
    pub fn points(&self) -> Vec<Point> {
        InfluxDb::shared().points(&self.bucket)
    }

    /// The number of rows in the bucket.
    #[must_use]
    pub fn count(&self) -> usize {
        let points = self.points();
        let keys = points.iter().map(|point| (&point.tags, point.nanos));
        keys.collect::<HashSet<_>>().len()
    }

    /// The fields of a rig's row; empty if there is none.
    #[must_use]
    pub fn row(&self, rig_id: &str, nanos: i64) -> BTreeMap<String, f64> {
        let points = self.points().into_iter();
        let of_row = points.filter(|point| point.nanos == nanos && point.tags["rig_id"] == rig_id);
        of_row.map(|point| (point.field, point.value)).collect()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        lock(&self.shared.script)
    }
}

impl Drop for InfluxProxy {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Debug for Script {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Script({:?})", self.requests)
    }
}

impl Script {
    /// The reply to a request; `None` forwards it.
    fn decide(&mut self, request: &Request) -> Option<Reply> {
        if self.is_down {
            return Some(Reply::cut());
        }
        let line = format!("{} {}", request.method, request.path);
        self.requests.push(line);
        if let Some(reply) = self.numbered.remove(&self.requests.len()) {
            self.is_down = self.is_down_after_numbered;
            self.replying += 1;
            return Some(reply);
        }
        let scripted = self.next.pop_front().or_else(|| self.always.clone());
        scripted.or_else(|| self.rule.as_ref()?(request))
    }

    /// Records a response before it is sent.
    fn note(&mut self, request: &Request, status: u16) {
        self.replying = 0;
        if request.path == WRITE {
            self.received.push(Received {
                bytes: request.body.len(),
                lines: lines(&request.body).count(),
                status,
            });
        }
    }

    /// Records the values that the server has stored. Names and tags must not have spaces.
    fn note_stored(&mut self, body: &[u8]) {
        for line in lines(body) {
            let mut words = line.splitn(3, ' ');
            let (Some(series), Some(fields), Some(time)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            for (name, value) in fields.split(',').filter_map(|field| field.split_once('=')) {
                let cell = format!("{series} {name} {time}");
                let old = self.values.insert(cell, value.to_owned());
                self.changed += usize::from(old.is_some_and(|old| old != value));
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lines(body: &[u8]) -> impl Iterator<Item = &str> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    text.split('\n').filter(|line| !line.is_empty())
}

fn listen(listener: &TcpListener, shared: &Arc<Shared>, open: &Mutex<Option<Vec<TcpStream>>>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let Ok(handle) = stream.try_clone() else {
            continue;
        };
        match lock(open).as_mut() {
            Some(streams) => streams.push(handle),
            None => return,
        }
        let shared = Arc::clone(shared);
        std::thread::spawn(move || shared.serve(stream));
    }
}

impl Shared {
    /// Answers the requests of a connection until it ends.
    fn serve(&self, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let Ok(reading) = stream.try_clone() else {
            return;
        };
        let mut reading = BufReader::new(reading);
        while let Some(request) = Request::read(&mut reading) {
            let delay = lock(&self.script).delay;
            std::thread::sleep(delay);
            let act = self.handle(&request);
            if !perform(&mut stream, &act) {
                break;
            }
        }
        // Dropping it wouldn't close it, since the proxy keeps a handle to stop it.
        let _ = stream.shutdown(Shutdown::Both);
    }

    fn handle(&self, request: &Request) -> Act {
        let scripted = lock(&self.script).decide(request);
        let act = match scripted {
            Some(Reply { forward, act }) => {
                match forward {
                    Forward::Nothing => {}
                    Forward::All => drop(self.forward(request, &request.body)),
                    Forward::EveryOtherLine => {
                        let half: Vec<_> = lines(&request.body).step_by(2).collect();
                        self.forward(request, half.join("\n").as_bytes());
                    }
                    Forward::Instead(body) => drop(self.forward(request, body.as_bytes())),
                }
                act
            }
            None => self.forward(request, &request.body),
        };
        lock(&self.script).note(request, act.status());
        act
    }

    /// The server's response to a request with this body.
    fn forward(&self, request: &Request, body: &[u8]) -> Act {
        let target = request.target();
        let headers = request.end_to_end_headers();
        let server = localhost(self.server);
        let asked = (request.method.as_str(), target.as_str());
        let Ok(answer) = exchange(server, asked, &headers, body, LIMIT) else {
            return Act::Cut;
        };
        // With 422 the server has stored some lines or all, and the client writes all of them again.
        if request.path == WRITE && answer.status == 204 {
            lock(&self.script).note_stored(body);
        }
        Act::of(answer)
    }
}

/// Returns whether the connection continues.
fn perform(stream: &mut TcpStream, act: &Act) -> bool {
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
            // Returns when the client closes the connection.
            let _ = stream.read(&mut [0]);
            false
        }
        Act::Cut => false,
    }
}
