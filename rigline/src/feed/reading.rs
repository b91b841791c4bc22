//! What a reader gets: the lines of a file, one by one.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use axum::body::Bytes;
use serde_json::json;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::file::{OpenFile, Stamp, blocking};
use super::scanner::{Broken, Found, Item, Scanner};

/// Lines are sent together up to about this many bytes, if there is no pause between them.
const CHUNK: usize = 64 << 10;
/// How long nothing may be sent.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How often the file is looked at after its last item.
const LOOK: Duration = Duration::from_secs(1);

/// What the body of a response is made of.
pub(super) type Chunk = Result<Bytes, Infallible>;

/// A response that is being sent.
pub(super) struct Reading {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) file: OpenFile,
    /// The cursor that the reader has sent, for the log.
    pub(super) after: Option<String>,
    pub(super) scanner: Scanner,
    /// The pause after each item.
    pub(super) pause: Option<Duration>,
    /// Whether the response stays open after the last item.
    pub(super) follow: bool,
    pub(super) lines: Sender<Chunk>,
    /// Items that were sent.
    pub(super) items: u64,
}

/// Why a response ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("all was sent")]
    Complete,
    #[error("the file has been replaced")]
    Replaced,
    #[error("the reader has gone")]
    Gone,
    #[error("the process stops")]
    Stopped,
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("the file can't be read: {0}")]
    Unreadable(#[from] io::Error),
}

impl Reading {
    /// Sends until the end, until the reader has gone, or until the stop.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let sent = stop.run_until_cancelled(self.send_all()).await;
        let end = match sent {
            Some(Ok(end) | Err(end)) => end,
            None => End::Stopped,
        };
        let (name, items) = (&self.name, self.items);
        if matches!(end, End::Broken(_) | End::Unreadable(_)) {
            let file = self.path.display();
            tracing::warn!(name, %file, items, error = %end, "a file can't be streamed to its end");
            let line = format!("{}\n", json!({ "error": end.to_string() }));
            let last = self.send(line.into_bytes());
            // The reader may have gone, or be slow.
            let _ = stop.run_until_cancelled(last).await;
        }
        let after = self.after.as_deref();
        tracing::info!(name, after, items, end = %end, "a reader's response has ended");
    }

    async fn send_all(&mut self) -> Result<End, End> {
        let prefix = format!("{{\"cursor\":\"{}-", self.file.stamp);
        let mut beat = (Instant::now(), self.items);
        loop {
            let Some(piece) = self.file.piece(self.scanner.offset()).await? else {
                return Ok(End::Replaced);
            };
            if piece.is_empty() {
                self.scanner.finish()?;
                return self.after_the_last().await;
            }
            self.send_items(&prefix, &piece).await?;
            // An item may be as long as the file.
            if self.items > beat.1 {
                beat = (Instant::now(), self.items);
            } else if beat.0.elapsed() >= HEARTBEAT {
                self.send(b"\n".to_vec()).await?;
                beat.0 = Instant::now();
            }
        }
    }

    async fn send_items(&mut self, prefix: &str, mut piece: &[u8]) -> Result<(), End> {
        let mut lines = Vec::new();
        loop {
            let found = self.scanner.next(&mut piece);
            if let Ok(Some(found)) = &found {
                write_line(&mut lines, prefix, found);
                self.items += 1;
            }
            let is_last = !matches!(found, Ok(Some(_)));
            let is_due = is_last || self.pause.is_some() || lines.len() >= CHUNK;
            if is_due && !lines.is_empty() {
                self.send(std::mem::take(&mut lines)).await?;
            }
            match (found?, self.pause) {
                (None, _) => return Ok(()),
                (Some(_), Some(pause)) => self.wait(pause).await?,
                (Some(_), None) => {}
            }
        }
    }

    /// Waits until the file is replaced, if the reader follows it.
    async fn after_the_last(&self) -> Result<End, End> {
        if !self.follow {
            return Ok(End::Complete);
        }
        // At once, so that the reader knows that there is nothing more.
        let mut beat = Instant::now();
        loop {
            let path = self.path.clone();
            if blocking(move || Stamp::at(&path)).await? != Some(self.file.stamp) {
                return Ok(End::Replaced);
            }
            if Instant::now() >= beat {
                self.send(b"\n".to_vec()).await?;
                beat += HEARTBEAT;
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                () = self.lines.closed() => return Ok(End::Gone),
            }
        }
    }

    /// Pauses, with heartbeats.
    async fn wait(&self, pause: Duration) -> Result<(), End> {
        let end = Instant::now() + pause;
        loop {
            let next = end.min(Instant::now() + HEARTBEAT);
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.lines.closed() => return Err(End::Gone),
            }
            if next == end {
                return Ok(());
            }
            self.send(b"\n".to_vec()).await?;
        }
    }

    async fn send(&self, lines: Vec<u8>) -> Result<(), End> {
        let sent = self.lines.send(Ok(lines.into())).await;
        sent.map_err(|_| End::Gone)
    }
}

/// Appends the line of an item; `prefix` is its beginning up to the offset in its cursor.
fn write_line(lines: &mut Vec<u8>, prefix: &str, Found { item, end }: &Found) {
    lines.extend_from_slice(prefix.as_bytes());
    lines.extend_from_slice(format!("{end:x}\",").as_bytes());
    match item {
        Item::Json(text) => {
            lines.extend_from_slice(b"\"item\":");
            lines.extend_from_slice(text);
        }
        Item::Invalid(text) => {
            lines.extend_from_slice(b"\"invalid\":");
            lines.extend_from_slice(json!(text).to_string().as_bytes());
        }
    }
    lines.extend_from_slice(b"}\n");
}
