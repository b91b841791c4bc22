//! A run in words.

use super::schedule::{Fate, Kind};
use super::world::{Call, STAGE};
use crate::list::List;
use crate::testing::MemoryQueue;

/// What a replica is called.
pub(super) const fn name(who: usize) -> &'static str {
    ["A", "B"][who]
}

/// What happens to a call, to be put behind it.
pub(super) fn fate(fate: Fate) -> String {
    let wait = fate.wait;
    match fate.kind {
        Kind::Deliver => String::new(),
        Kind::SlowReply => format!(" (the answer takes {wait:?})"),
        Kind::SlowRequest => format!(" (arrives after {wait:?})"),
        Kind::LoseRequest => format!(" (never arrives; given up after {wait:?})"),
        Kind::LoseReply => format!(" (the answer is lost; given up after {wait:?})"),
        Kind::LateRequest => format!(" (given up at once; arrives after {wait:?})"),
        Kind::FreezeBefore => format!(" (frozen for {wait:?} before it is sent)"),
        Kind::FreezeAfter => format!(" (frozen for {wait:?} before the answer is seen)"),
        Kind::CrashBefore => " (killed before it is sent)".into(),
        Kind::CrashAfter => " (killed before the answer is seen)".into(),
        Kind::CrashLate => format!(" (killed; arrives after {wait:?})"),
        Kind::Refuse => " (refused for now)".into(),
        Kind::ClockForth => format!(" (the server's clock is set {wait:?} forth)"),
        Kind::ClockBack => format!(" (the server's clock is set {wait:?} back)"),
        Kind::Stop => " (told to stop)".into(),
        Kind::ServerDies => " (the server is killed)".into(),
    }
}

/// What a server answers to a write, and what it has then.
pub(super) fn answer(server: &MemoryQueue, who: usize, call: Call, error: Option<&str>) -> String {
    let said = match (error, call) {
        (Some(error), _) => format!("no, {error}"),
        (None, Call::Lease) => format!("the lease is {}", lease(server)),
        (None, Call::Renew | Call::Release) => "yes".to_owned(),
        (None, _) => format!("yes; {}", contents(server)),
    };
    format!("   server to {}, {call}: {said}", name(who))
}

/// What a server has.
pub(super) fn contents(server: &MemoryQueue) -> String {
    let progress = server.progress_now(STAGE);
    let (raw, rows) = (server.items(List::Raw), server.items(List::Normalized));
    let (number, by) = (progress.number, progress.by);
    let by = if by.is_empty() { "nobody" } else { &by };
    let lease = lease(server);
    format!("number {number} by {by}, lease {lease}, raw {raw:?}, rows {rows:?}")
}

fn lease(server: &MemoryQueue) -> String {
    let holder = server.holder(STAGE);
    holder.unwrap_or_else(|| "free".to_owned())
}
