//! A stand-in for the part of `InfluxDB` 2 that sets it up: users, organisations, buckets, tokens and
//! dashboards, answered as the source of a server 2.9.1 says. It breaks off on command, and keeps its
//! state in a file where it is told to.
//!
//! Not like the real one: a template's queries aren't looked into, a query always finds nothing, and
//! rows are kept as lines, or handed on to a VictoriaMetrics.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::influx::http::Request;
use crate::influx::reply::{Act, Reply};
use crate::influx::{act, lock};
use crate::net::{free_port, localhost};

mod answers;
mod api;
mod forward;
mod rows;
mod state;
mod templates;
#[cfg(test)]
mod tests;

pub use forward::Forward;
pub use state::{Bucket, Dashboard, Organisation, Permission, State, Token, User};

/// How a request is broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// The connection is cut, and nothing was done.
    Before,
    /// What was asked for is done, and the connection is cut instead of an answer.
    After,
    /// This status, and nothing was done.
    Status(u16),
    /// A first set-up ends after user and organisation are made: no bucket, no token, no answer.
    HalfSetUp,
}

/// What a server is, before it listens.
#[derive(Debug, Default)]
pub struct Options {
    /// Where the state is kept; in memory if nowhere.
    pub file: Option<PathBuf>,
    /// Who gets the rows.
    pub forward: Option<Forward>,
}

#[derive(Debug, Default)]
struct Inner {
    state: State,
    options: Options,
    requests: Vec<String>,
    /// At which request, counted from 1, and how.
    break_off: BTreeMap<usize, Break>,
    /// Whether everything after a broken request is cut, too.
    then_down: bool,
    is_down: bool,
    delay: Duration,
}

/// The server. It listens until the process ends; a dropped one cuts every connection.
#[derive(Debug)]
pub struct InfluxSetupServer {
    port: u16,
    inner: Arc<Mutex<Inner>>,
}

impl InfluxSetupServer {
    /// Starts one that nobody has set up, on a free port.
    #[must_use]
    pub fn start() -> Self {
        let port = free_port();
        let listener = TcpListener::bind(localhost(port)).expect("a port to listen on");
        let inner = Arc::default();
        let shared = Arc::clone(&inner);
        std::thread::spawn(move || listen(&listener, &shared));
        Self { port, inner }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Breaks the request of this number off, counted from 1 over all that come from now on.
    pub fn break_at(&self, number: usize, how: Break) {
        let mut inner = self.lock();
        let number = inner.requests.len() + number;
        inner.break_off.insert(number, how);
    }

    /// As [`break_at`](Self::break_at), and after it no connection is answered until
    /// [`revive`](Self::revive).
    pub fn break_down_at(&self, number: usize, how: Break) {
        self.break_at(number, how);
        self.lock().then_down = true;
    }

    /// Whether a request has been broken off since it was told to.
    #[must_use]
    pub fn has_broken(&self) -> bool {
        self.lock().break_off.is_empty()
    }

    /// Answers again, and breaks nothing off any more.
    pub fn revive(&self) {
        let mut inner = self.lock();
        inner.break_off.clear();
        inner.then_down = false;
        inner.is_down = false;
    }

    /// Waits this long before it does what a request asks for.
    pub fn slow_down(&self, delay: Duration) {
        self.lock().delay = delay;
    }

    /// All requests so far: method and path.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.lock().requests.clone()
    }

    /// What it holds.
    #[must_use]
    pub fn state(&self) -> State {
        self.lock().state.clone()
    }

    /// Changes what it holds, as somebody else would.
    pub fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock().state);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

impl Drop for InfluxSetupServer {
    fn drop(&mut self) {
        self.lock().is_down = true;
    }
}

/// Serves for ever, with what its options say.
pub fn serve_for_ever(listener: &TcpListener, options: Options) -> std::io::Result<()> {
    let state = match &options.file {
        Some(file) => State::load(file)?,
        None => State::default(),
    };
    let inner = Inner {
        state,
        options,
        ..Inner::default()
    };
    listen(listener, &Arc::new(Mutex::new(inner)));
    Ok(())
}

fn listen(listener: &TcpListener, inner: &Arc<Mutex<Inner>>) {
    for stream in listener.incoming().flatten() {
        let inner = Arc::clone(inner);
        std::thread::spawn(move || serve(stream, &inner));
    }
}

/// Answers the requests of a connection until it ends.
fn serve(mut stream: TcpStream, inner: &Mutex<Inner>) {
    let _ = stream.set_nodelay(true);
    let Ok(reading) = stream.try_clone() else {
        return;
    };
    let mut reading = BufReader::new(reading);
    while let Some(request) = Request::read(&mut reading) {
        let delay = lock(inner).delay;
        std::thread::sleep(delay);
        let reply = answer(inner, &request);
        if !act(&mut stream, &reply.act) || request.is_last {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn answer(inner: &Mutex<Inner>, request: &Request) -> Reply {
    let (forward, file, how) = {
        let mut inner = lock(inner);
        if inner.is_down {
            return Reply::cut();
        }
        let said = format!("{} {}", request.method, request.path);
        inner.requests.push(said);
        let number = inner.requests.len();
        let how = inner.break_off.remove(&number);
        inner.is_down = how.is_some() && inner.then_down;
        let options = &inner.options;
        (options.forward.clone(), options.file.clone(), how)
    };
    match how {
        Some(Break::Before) => return Reply::cut(),
        Some(Break::Status(status)) => {
            return Reply::error(status, "internal error", "broken off on command");
        }
        Some(Break::HalfSetUp) => {
            api::half_set_up(&mut lock(inner).state, request);
            return Reply::cut();
        }
        Some(Break::After) | None => {}
    }
    // The store behind is asked without the lock: it may take its time.
    let reply = match &forward {
        Some(forward) => forward.answer(request, || lock(inner).state.clone()),
        None => None,
    };
    let reply = reply.unwrap_or_else(|| act_on(&mut lock(inner).state, file.as_ref(), request));
    match how {
        Some(_) => Reply::cut(),
        None => reply,
    }
}

/// Does what is asked for, and answers once it is on disk.
fn act_on(state: &mut State, file: Option<&PathBuf>, request: &Request) -> Reply {
    let before = file.map(|_| state.clone());
    let reply = api::answer(state, request);
    let (Some(file), Some(before)) = (file, before) else {
        return reply;
    };
    if *state == before {
        return reply;
    }
    match state.save(file) {
        Ok(()) => reply,
        Err(error) => {
            *state = before;
            Reply::error(500, "internal error", &error.to_string())
        }
    }
}

/// A JSON answer.
fn json(status: u16, body: &serde_json::Value) -> Reply {
    Reply::status(status, body.to_string())
        .own()
        .header("Content-Type", "application/json; charset=utf-8")
}

/// Whether an answer is a success.
fn is_success(reply: &Reply) -> bool {
    matches!(reply.act, Act::Answer { status, .. } if status < 300)
}
