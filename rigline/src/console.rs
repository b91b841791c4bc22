//! Output to a terminal or pipe that may be blocked or closed.

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;

/// Most texts that wait to be written. Further texts are dropped.
const WAITING: usize = 64;
/// How long to wait at the end for the last texts to be written.
const LAST_TEXTS: Duration = Duration::from_millis(500);

/// Standard output, written by a thread, so that a full or closed pipe neither blocks nor ends the
/// process.
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

    /// Queues a string, which is written with a line end.
    pub fn print(&self, text: impl Into<String>) {
        // The text is dropped if the queue is full or the thread has ended.
        let _ = self.texts.try_send(text.into());
    }

    /// Waits, for at most 0.5 s, until the last texts are written.
    pub fn finish(self) {
        let Self { texts, is_done } = self;
        drop(texts);
        let _ = is_done.recv_timeout(LAST_TEXTS);
    }
}
