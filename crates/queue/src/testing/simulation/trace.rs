//! The lines of a trace.

use super::call::Call;
use super::run::STAGE;
use crate::list::List;
use crate::testing::MemoryQueue;

pub(super) const fn name(replica: usize) -> &'static str {
    ["A", "B"][replica]
}

/// The server's reply to a write, and its data after the write.
pub(super) fn reply(
    server: &MemoryQueue,
    replica: usize,
    call: Call,
    error: Option<&str>,
) -> String {
    let reply = match (error, call) {
        (Some(error), _) => format!("error: {error}"),
        (None, Call::Lease) => format!("the lease is {}", lease(server)),
        (None, Call::Renew | Call::Release) => "ok".to_owned(),
        (None, _) => format!("ok; {}", data(server)),
    };
    format!("   server to {}, {call}: {reply}", name(replica))
}

/// The server's data.
pub(super) fn data(server: &MemoryQueue) -> String {
    let progress = server.progress_now(STAGE);
    let (raw, rows) = (server.items(List::Raw), server.items(List::Normalized));
    let (number, lease) = (progress.number, lease(server));
    let by = if progress.by.is_empty() {
        "none"
    } else {
        &progress.by
    };
    format!("number {number} by {by}, lease {lease}, raw {raw:?}, rows {rows:?}")
}

fn lease(server: &MemoryQueue) -> String {
    server.holder(STAGE).unwrap_or_else(|| "free".to_owned())
}
