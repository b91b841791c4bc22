//! The size of a run and the faults of its calls, as a strategy of proptest, which also shrinks them.

use std::fmt;
use std::time::Duration;

use proptest::bool::weighted;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::Union;

use super::REPLICAS;

/// Calls that may have a fault. Later calls have none, so that the run comes to an end.
const FAULTY_CALLS: usize = 72;
/// Kinds of faults in one run: few, so that each occurs several times.
const MOST_KINDS: usize = 6;
/// Milliseconds around a renewal and around the lease's end, and much longer ones.
const WAITS: [u64; 16] = [
    1, 5, 20, 60, 120, 180, 210, 300, 400, 500, 601, 700, 900, 1_200, 1_600, 2_400,
];
/// Speeds of a replica's clock, in percent of the server's.
const CLOCK_SPEEDS: [u32; 5] = [100, 98, 75, 50, 120];

/// A fault of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    SlowReply(Duration),
    SlowRequest(Duration),
    /// The request never arrives; the caller times out.
    RequestLost(Duration),
    /// The request is carried out, but the caller times out.
    ReplyLost(Duration),
    /// The caller gives up at once; the request arrives later.
    RequestLate(Duration),
    /// The caller's process is frozen before it sends the request.
    FreezeBefore(Duration),
    /// The caller's process is frozen before it receives the reply.
    FreezeAfter(Duration),
    /// The caller's process is killed before it sends the request.
    CrashBefore(Duration),
    /// The caller's process is killed before it receives the reply.
    CrashAfter(Duration),
    /// The caller's process is killed; the request arrives later.
    CrashInFlight(Duration),
    /// The server refuses the call for now.
    Unavailable,
    /// The server's clock is set forward before the request arrives.
    ClockForward(Duration),
    /// The server's clock is set back before the request arrives.
    ClockBack(Duration),
    /// The caller's process is told to stop.
    Stop,
    /// The server is killed during the call, and restarts without its last transactions.
    ServerCrash {
        lost_transactions: usize,
        /// The clock is reset as well, as by a restored snapshot of the server's machine.
        clock_too: bool,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SlowReply(wait) => write!(f, "reply after {wait:?}"),
            Self::SlowRequest(wait) => write!(f, "arrives after {wait:?}"),
            Self::RequestLost(wait) => write!(f, "request lost; timeout after {wait:?}"),
            Self::ReplyLost(wait) => write!(f, "reply lost; timeout after {wait:?}"),
            Self::RequestLate(wait) => write!(f, "given up at once; arrives after {wait:?}"),
            Self::FreezeBefore(wait) => write!(f, "frozen for {wait:?} before the request"),
            Self::FreezeAfter(wait) => write!(f, "frozen for {wait:?} before the reply"),
            Self::CrashBefore(_) => f.write_str("killed before the request"),
            Self::CrashAfter(_) => f.write_str("killed before the reply"),
            Self::CrashInFlight(wait) => write!(f, "killed; arrives after {wait:?}"),
            Self::Unavailable => f.write_str("refused for now"),
            Self::ClockForward(by) => write!(f, "the server's clock is set forward by {by:?}"),
            Self::ClockBack(by) => write!(f, "the server's clock is set back by {by:?}"),
            Self::Stop => f.write_str("told to stop"),
            Self::ServerCrash { .. } => f.write_str("the server is killed"),
        }
    }
}

/// The size of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Elements that the producer appends in all.
    pub(super) elements: usize,
    /// Elements of one append.
    pub(super) append_length: usize,
    /// The producer appends at every so many peeks.
    pub(super) peeks_per_append: usize,
    /// The most elements of a peek.
    pub(super) batch: usize,
    /// Keys of elements.
    pub(super) keys: u8,
    /// Whether an open element expires when the list is empty.
    pub(super) expires: bool,
    /// Whether the replicas read the next elements while they process a batch.
    pub(super) reads_ahead: bool,
    /// Whether some elements are invalid.
    pub(super) poison: bool,
    /// Speeds of the replicas' clocks, in percent of the server's.
    pub(super) clock_speeds: [u32; REPLICAS],
}

/// One run: its size and the fault of each call, in the order of the calls.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    pub(super) size: Size,
    pub(super) faults: Vec<Option<Fault>>,
}

pub(super) fn schedules() -> impl Strategy<Value = Schedule> {
    let kinds = subsequence(fault_kinds(), 1..=MOST_KINDS);
    // Independent: the kinds and the rate stay the same while the faults are shrunk.
    let faults = (kinds, 1..=10_u32).prop_ind_flat_map(|(kinds, rate)| {
        let fault = option::weighted(f64::from(rate) / 16.0, Union::new(kinds));
        vec(fault, 0..=FAULTY_CALLS)
    });
    (faults, sizes()).prop_map(|(faults, size)| Schedule { size, faults })
}

fn fault_kinds() -> Vec<BoxedStrategy<Fault>> {
    let timed: [fn(Duration) -> Fault; 12] = [
        Fault::SlowReply,
        Fault::SlowRequest,
        Fault::RequestLost,
        Fault::ReplyLost,
        Fault::RequestLate,
        Fault::FreezeBefore,
        Fault::FreezeAfter,
        Fault::CrashBefore,
        Fault::CrashAfter,
        Fault::CrashInFlight,
        Fault::ClockForward,
        Fault::ClockBack,
    ];
    let timed = timed.map(|fault| {
        let waits = select(&WAITS[..]).prop_map(Duration::from_millis);
        waits.prop_map(fault).boxed()
    });
    let server_crash =
        (0..6_usize, any::<bool>()).prop_map(|(lost_transactions, clock_too)| Fault::ServerCrash {
            lost_transactions,
            clock_too,
        });
    let untimed = [
        Just(Fault::Unavailable).boxed(),
        Just(Fault::Stop).boxed(),
        server_crash.boxed(),
    ];
    timed.into_iter().chain(untimed).collect()
}

fn sizes() -> impl Strategy<Value = Size> {
    let speed = || select(&CLOCK_SPEEDS[..]);
    let producer = (1..=10_usize, 1..=4_usize, 1..=3_usize);
    let elements = (1..=2_u8, any::<bool>(), any::<bool>(), weighted(0.25));
    (producer, 1..=4_usize, elements, [speed(), speed()]).prop_map(
        |(producer, batch, elements, clock_speeds)| Size {
            elements: producer.0,
            append_length: producer.1,
            peeks_per_append: producer.2,
            batch,
            keys: elements.0,
            expires: elements.1,
            reads_ahead: elements.2,
            poison: elements.3,
            clock_speeds,
        },
    )
}
