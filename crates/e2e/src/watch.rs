//! Standing between a stage and Redis: sees where in its four steps the stage is, and can hold a
//! commit back until the stage has been killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testkit::{Flow, Proxy, Verdict};

const IDLE: u8 = 0;
/// LRANGE was asked for.
const PEEKING: u8 = 1;
/// Elements were delivered and no commit has been sent.
const HOLDS: u8 = 2;

/// How long a commit is held back at most, so that a test that fails to kill doesn't hang.
const HELD_AT_MOST: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct State {
    step: AtomicU8,
    /// Hold the next commit back.
    armed: AtomicBool,
    /// A commit is being held back.
    held: AtomicBool,
    commits: AtomicUsize,
}

/// A proxy that knows the consumer's steps by their commands.
#[derive(Debug)]
pub struct Watch {
    proxy: Proxy,
    state: Arc<State>,
}

impl Watch {
    /// Between a consumer and the Redis on `port`.
    #[must_use]
    pub fn start(port: u16) -> Self {
        let state = Arc::new(State::default());
        let seen = Arc::clone(&state);
        let proxy = Proxy::start(port, move |_, flow, piece| seen.see(flow, piece));
        Self { proxy, state }
    }

    /// The port to give to the consumer.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.proxy.port()
    }

    /// Whether the consumer has elements in hand that it hasn't committed.
    #[must_use]
    pub fn is_between_peek_and_commit(&self) -> bool {
        self.state.step.load(Ordering::SeqCst) == HOLDS
    }

    /// Holds the next commit back and waits for it; false if none comes within `limit`. The
    /// consumer is to be killed then: its commit never reaches Redis.
    #[must_use]
    pub fn catch_commit(&self, limit: Duration) -> bool {
        self.state.held.store(false, Ordering::SeqCst);
        self.state.armed.store(true, Ordering::SeqCst);
        let started = Instant::now();
        while started.elapsed() < limit {
            if self.state.held.load(Ordering::SeqCst) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        // One that came at the last moment counts, too.
        !self.state.armed.swap(false, Ordering::SeqCst)
    }

    /// The consumer is dead: what was held back is thrown away, the next one starts clean.
    pub fn reset(&self) {
        self.state.armed.store(false, Ordering::SeqCst);
        self.state.held.store(false, Ordering::SeqCst);
        self.state.step.store(IDLE, Ordering::SeqCst);
    }

    /// How many commits have passed.
    #[must_use]
    pub fn commits(&self) -> usize {
        self.state.commits.load(Ordering::SeqCst)
    }
}

impl State {
    fn see(&self, flow: Flow, piece: &[u8]) -> Verdict {
        let has = |text: &str| {
            piece
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        };
        match flow {
            // Only a commit names the consumer's state.
            Flow::Request if has("EVALSHA") && has(":state:") => {
                if self.armed.swap(false, Ordering::SeqCst) {
                    self.hold();
                    return Verdict::Cut;
                }
                self.commits.fetch_add(1, Ordering::SeqCst);
                self.step.store(IDLE, Ordering::SeqCst);
            }
            Flow::Request if has("LRANGE") => self.step.store(PEEKING, Ordering::SeqCst),
            Flow::Reply if has("rig_id") && self.step.load(Ordering::SeqCst) == PEEKING => {
                self.step.store(HOLDS, Ordering::SeqCst);
            }
            Flow::Request | Flow::Reply => {}
        }
        Verdict::Pass
    }

    fn hold(&self) {
        self.held.store(true, Ordering::SeqCst);
        let started = Instant::now();
        while self.held.load(Ordering::SeqCst) && started.elapsed() < HELD_AT_MOST {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
