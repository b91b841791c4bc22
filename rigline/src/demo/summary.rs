//! The summary that the demo prints each second.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use queue::Queue;
use queue::ledger::Counter;
use queue::sqlite::SqliteQueue;
use tokio::time::{MissedTickBehavior, interval_at};

use super::panel::Seen;
use super::timed::Delays;
use crate::console::Console;

const EVERY: Duration = Duration::from_secs(1);
/// The rate is computed over this many snapshots.
const RATE_SNAPSHOTS: usize = 5;

/// Prints the figures each second.
pub(super) async fn show(queue: &SqliteQueue, delays: &Delays, console: &Console) -> Infallible {
    let mut screen = Screen {
        panel: io::stdout().is_terminal(),
        drawn: 0,
    };
    let started = Instant::now();
    let mut ticks = interval_at(tokio::time::Instant::now() + EVERY, EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The fleet's rounds are also a second apart: within a single second, the rate would be that of all
    // or none of a round.
    let mut before = VecDeque::new();
    if let Ok(snapshot) = queue.snapshot().await {
        before.push_back((snapshot.ledger.get(Counter::Accepted), started));
    }
    loop {
        ticks.tick().await;
        let Ok(snapshot) = queue.snapshot().await else {
            continue;
        };
        let accepted = snapshot.ledger.get(Counter::Accepted);
        let (earlier, then) = before.front().copied().unwrap_or((accepted, started));
        let ms = i64::try_from(then.elapsed().as_millis()).unwrap_or(i64::MAX);
        let seen = Seen {
            elapsed: started.elapsed(),
            rate: (accepted - earlier).saturating_mul(1_000) / ms.max(1),
            ledger: snapshot.ledger,
            delays: delays.median_and_p99(),
        };
        before.push_back((accepted, Instant::now()));
        if before.len() > RATE_SNAPSHOTS {
            before.pop_front();
        }
        console.print(screen.text(&seen));
    }
}

/// The output and what was last drawn on it.
struct Screen {
    /// Whether to overwrite the last panel instead of adding lines.
    panel: bool,
    /// Lines of the last panel.
    drawn: usize,
}

impl Screen {
    fn text(&mut self, seen: &Seen) -> String {
        if !self.panel {
            return seen.plain();
        }
        let lines = seen.panel();
        let mut text = String::new();
        if self.drawn > 0 {
            // Up to the panel's first line, and everything from there on away.
            text = format!("\x1b[{}A\x1b[J", self.drawn);
        }
        self.drawn = lines.len();
        text.push_str(&lines.join("\n"));
        text
    }
}
