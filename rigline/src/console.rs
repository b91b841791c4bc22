//! Saying something to a person who may not be reading.

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;

/// Texts that wait to be written; beyond them, texts are dropped.
const WAITING: usize = 64;
/// How long the last texts may take to be written.
const LAST_TEXTS: Duration = Duration::from_millis(500);

/// Standard output, written to by a thread of its own: a reader that stands still (a full pipe) is
/// waited for by nobody, and one that went away ends nothing.
#[derive(Debug)]
pub struct Console {
    texts: SyncSender<String>,
    is_done: Receiver<()>,
}

impl Console {
    /// Starts the thread.
    #[must_use]
    pub fn start() -> Self {
        let (texts, waiting) = mpsc::sync_channel::<String>(WAITING);
        let (done, is_done) = mpsc::channel();
        std::thread::spawn(move || {
            for text in waiting {
                let mut out = io::stdout().lock();
                let _ = writeln!(out, "{text}").and_then(|()| out.flush());
            }
            let _ = done.send(());
        });
        Self { texts, is_done }
    }

    /// Writes a text and a line end, soon.
    pub fn say(&self, text: impl Into<String>) {
        // Full, or the thread couldn't be started: there is nobody to tell.
        let _ = self.texts.try_send(text.into());
    }

    /// Waits for the last texts, but not for long.
    pub fn finish(self) {
        let Self { texts, is_done } = self;
        drop(texts);
        let _ = is_done.recv_timeout(LAST_TEXTS);
    }
}
