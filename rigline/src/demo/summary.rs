//! What happens, each second.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use producer::Rigs;
use queue::Queue;
use queue::ledger::Counter;
use queue::sqlite::SqliteQueue;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::greeting;
use super::panel::Seen;
use super::timed::Delays;

const EVERY: Duration = Duration::from_secs(1);
/// The rate shown is that of so many looks.
const RATE_LOOKS: usize = 5;

/// A task that prints.
#[derive(Debug)]
pub(super) struct Summary {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Summary {
    /// Says what is there, and from now on each second what has become of it.
    pub(super) fn start(
        rigs: &Rigs,
        listen: SocketAddr,
        dir: &Path,
        queue: SqliteQueue,
        delays: Delays,
    ) -> Self {
        let stop = CancellationToken::new();
        let mut screen = Screen {
            panel: io::stdout().is_terminal(),
            drawn: 0,
        };
        Screen::print(&greeting(rigs, listen, dir));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let work = show(queue, delays, &mut screen);
            tokio::select! {
                () = stopped.cancelled() => {}
                () = work => {}
            }
        });
        Self { task, stop }
    }

    /// Prints no more.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

async fn show(queue: SqliteQueue, delays: Delays, screen: &mut Screen) {
    let started = Instant::now();
    let mut ticks = interval_at(tokio::time::Instant::now() + EVERY, EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Looks and the fleet's rounds are a second apart, too: of one second alone, all or nothing of a
    // round would be seen.
    let mut before = VecDeque::from([(0, started)]);
    loop {
        ticks.tick().await;
        let Ok(look) = queue.look().await else {
            continue;
        };
        let accepted = look.ledger.get(Counter::Accepted);
        let (earlier, then) = before.front().copied().unwrap_or((0, started));
        let ms = i64::try_from(then.elapsed().as_millis()).unwrap_or(i64::MAX);
        let seen = Seen {
            elapsed: started.elapsed(),
            rate: (accepted - earlier).saturating_mul(1_000) / ms.max(1),
            ledger: look.ledger,
            delays: delays.median_and_p99(),
        };
        before.push_back((accepted, Instant::now()));
        if before.len() > RATE_LOOKS {
            before.pop_front();
        }
        screen.show(&seen);
    }
}

/// Where it is printed.
struct Screen {
    /// Draw over the last panel instead of adding lines.
    panel: bool,
    /// Lines of the last panel.
    drawn: usize,
}

impl Screen {
    fn show(&mut self, seen: &Seen) {
        if !self.panel {
            return Self::print(&[seen.plain()]);
        }
        let lines = seen.panel();
        let mut text = String::new();
        if self.drawn > 0 {
            // Up to the panel's first line, and everything from there on away.
            text = format!("\x1b[{}A\x1b[J", self.drawn);
        }
        self.drawn = lines.len();
        text.push_str(&lines.join("\n"));
        Self::print(&[text]);
    }

    fn print(lines: &[String]) {
        let mut out = io::stdout().lock();
        for line in lines {
            // Whoever read may have gone; the demonstration goes on.
            let _ = writeln!(out, "{line}");
        }
        let _ = out.flush();
    }
}
