//! Standing between a stage and Redis: sees where in its steps the stage is, and can catch it right
//! before or right after its write, for a kill at that very point.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use testkit::{Flow, Proxy, Verdict};

/// How long a piece is held back at most, so that a test that fails to kill doesn't hang.
const HELD_AT_MOST: Duration = Duration::from_secs(5);

/// Where a stage is caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Catch {
    /// It has sent its write, which never reaches Redis.
    BeforeWrite,
    /// Redis has carried the write out; the answer never reaches the stage.
    AfterWrite,
}

const NOTHING: u8 = 0;
const BEFORE: u8 = 1;
const AFTER: u8 = 2;
/// The write has passed, its answer is to be held back.
const ANSWER: u8 = 3;

#[derive(Debug)]
struct State {
    /// What only the write's request contains.
    marker: &'static str,
    armed: AtomicU8,
    held: AtomicBool,
    peeking: AtomicBool,
    in_hand: AtomicBool,
}

/// A proxy that knows a stage's steps by its commands.
#[derive(Debug)]
pub struct Watch {
    proxy: Proxy,
    state: Arc<State>,
}

impl Watch {
    /// Between a stage and the Redis on `port`; `marker` is what only the arguments of its write
    /// contain (the name of a key).
    #[must_use]
    pub fn start(port: u16, marker: &'static str) -> Self {
        let state = Arc::new(State {
            marker,
            armed: AtomicU8::new(NOTHING),
            held: AtomicBool::new(false),
            peeking: AtomicBool::new(false),
            in_hand: AtomicBool::new(false),
        });
        let seen = Arc::clone(&state);
        let proxy = Proxy::start(port, move |_, flow, piece| seen.see(flow, piece));
        Self { proxy, state }
    }

    /// The port to give to the stage.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.proxy.port()
    }

    /// Whether a consumer has elements in hand that it hasn't committed.
    #[must_use]
    pub fn is_between_peek_and_commit(&self) -> bool {
        self.state.in_hand.load(Ordering::SeqCst)
    }

    /// Waits for the stage's next write and catches it there; false if none comes within `limit`.
    /// The stage is to be killed then.
    #[must_use]
    pub fn catch(&self, at: Catch, limit: Duration) -> bool {
        let armed = if at == Catch::BeforeWrite {
            BEFORE
        } else {
            AFTER
        };
        self.state.held.store(false, Ordering::SeqCst);
        self.state.armed.store(armed, Ordering::SeqCst);
        let started = Instant::now();
        while started.elapsed() < limit {
            if self.state.held.load(Ordering::SeqCst) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.state.armed.store(NOTHING, Ordering::SeqCst);
        // One that came at the last moment counts, too.
        self.state.held.load(Ordering::SeqCst)
    }

    /// The stage is dead: what was held back is thrown away, the next one starts clean.
    pub fn reset(&self) {
        self.state.armed.store(NOTHING, Ordering::SeqCst);
        self.state.held.store(false, Ordering::SeqCst);
        self.state.peeking.store(false, Ordering::SeqCst);
        self.state.in_hand.store(false, Ordering::SeqCst);
    }
}

impl State {
    fn see(&self, flow: Flow, piece: &[u8]) -> Verdict {
        let has = |text: &str| {
            piece
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        };
        let became = |from: u8, to: u8| {
            let changed = self
                .armed
                .compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst);
            changed.is_ok()
        };
        match flow {
            Flow::Request if has("EVALSHA") && has(self.marker) => {
                if became(BEFORE, NOTHING) {
                    return self.hold();
                }
                became(AFTER, ANSWER);
                self.in_hand.store(false, Ordering::SeqCst);
            }
            Flow::Request if has("LRANGE") => self.peeking.store(true, Ordering::SeqCst),
            Flow::Reply if became(ANSWER, NOTHING) => return self.hold(),
            Flow::Reply if has("rig_id") && self.peeking.swap(false, Ordering::SeqCst) => {
                self.in_hand.store(true, Ordering::SeqCst);
            }
            Flow::Request | Flow::Reply => {}
        }
        Verdict::Pass
    }

    /// Holds the piece back until the stage has been killed, and then drops it.
    fn hold(&self) -> Verdict {
        self.held.store(true, Ordering::SeqCst);
        let started = Instant::now();
        while self.held.load(Ordering::SeqCst) && started.elapsed() < HELD_AT_MOST {
            std::thread::sleep(Duration::from_millis(1));
        }
        Verdict::Cut
    }
}
