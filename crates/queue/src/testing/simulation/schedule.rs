//! What happens in a run: a string of bytes, so that a failure can be made smaller.

use std::time::Duration;

/// Bytes that say how large a run is; each of the rest says what happens to one call.
const HEAD: usize = 8;
/// Calls that something may happen to; after them all goes well.
const MOST_CALLS: usize = 72;
/// How often a smaller schedule is tried.
const TRIES: usize = 4_000;

/// What a fate's second half means: around a renewal, the lease's end, and long after.
const WAITS: [u64; 16] = [
    1, 5, 20, 60, 120, 180, 210, 300, 400, 500, 601, 700, 900, 1_200, 1_600, 2_400,
];

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing special.
    Deliver,
    /// It arrives at once, its answer takes a while.
    SlowReply,
    /// It takes a while to arrive.
    SlowRequest,
    /// It never arrives.
    LoseRequest,
    /// It is carried out, its answer is lost.
    LoseReply,
    /// The caller gives up, and then it arrives.
    LateRequest,
    /// The caller's process stands still before it is sent.
    FreezeBefore,
    /// The caller's process stands still before it sees the answer.
    FreezeAfter,
    /// The caller's process is killed before it is sent.
    CrashBefore,
    /// The caller's process is killed before it sees the answer.
    CrashAfter,
    /// The caller's process is killed, and then it arrives.
    CrashLate,
    /// The server refuses it for now.
    Refuse,
    /// The server's clock is set forth, then it arrives.
    ClockForth,
    /// The server's clock is set back, then it arrives.
    ClockBack,
    /// The caller's process is told to stop.
    Stop,
    /// The server is killed meanwhile, and may have lost its last transactions when it is back.
    ServerDies,
}

const KINDS: [Kind; 16] = [
    Kind::Deliver,
    Kind::SlowReply,
    Kind::SlowRequest,
    Kind::LoseRequest,
    Kind::LoseReply,
    Kind::LateRequest,
    Kind::FreezeBefore,
    Kind::FreezeAfter,
    Kind::CrashBefore,
    Kind::CrashAfter,
    Kind::CrashLate,
    Kind::Refuse,
    Kind::ClockForth,
    Kind::ClockBack,
    Kind::Stop,
    Kind::ServerDies,
];

/// What happens to a call, and how long or how much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fate {
    pub(super) kind: Kind,
    pub(super) wait: Duration,
    /// Transactions that a server has lost when it is back.
    pub(super) cut: usize,
    /// Whether its clock is back to that time, too, as after a restored snapshot of its machine.
    pub(super) clock_too: bool,
}

impl Fate {
    fn of(byte: u8) -> Self {
        let amount = usize::from(byte >> 4);
        Self {
            kind: KINDS[usize::from(byte & 15)],
            wait: Duration::from_millis(WAITS[amount]),
            cut: amount % 6,
            clock_too: amount >= 8,
        }
    }
}

/// How large a run is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Elements in all.
    pub(super) elements: usize,
    /// Elements that the producer appends at once.
    pub(super) chunk: usize,
    /// It does so at each so many peeks.
    pub(super) gap: usize,
    /// Most elements of a peek.
    pub(super) batch: usize,
    /// Keys of elements.
    pub(super) keys: u8,
    /// Whether open elements are given up when there is nothing to take.
    pub(super) expires: bool,
    /// Each so many elements is no reading; 0 for none.
    pub(super) poison: usize,
    /// How fast the clocks of the replicas go, in hundredths of the server's.
    pub(super) paces: [u32; 2],
}

/// The fates of a run's calls, in the order in which they are made.
#[derive(Debug)]
pub(super) struct Schedule {
    bytes: Vec<u8>,
    at: usize,
}

impl Schedule {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut bytes = bytes.to_vec();
        bytes.resize(bytes.len().max(HEAD), 0);
        Self { bytes, at: HEAD }
    }

    pub(super) fn size(&self) -> Size {
        const PACES: [u32; 5] = [100, 98, 75, 50, 120];
        let [elements, chunk, gap, batch, keys, expires, poison, pace] =
            [0, 1, 2, 3, 4, 5, 6, 7].map(|place| usize::from(self.bytes[place]));
        Size {
            elements: 1 + elements % 10,
            chunk: 1 + chunk % 4,
            gap: 1 + gap % 3,
            batch: 1 + batch % 4,
            keys: if keys.is_multiple_of(2) { 1 } else { 2 },
            expires: expires % 2 == 1,
            poison: if poison % 4 == 3 { 4 } else { 0 },
            paces: [PACES[pace % 5], PACES[pace / 5 % 5]],
        }
    }

    pub(super) fn next(&mut self) -> Fate {
        let byte = self.bytes.get(self.at).copied().unwrap_or_default();
        self.at += 1;
        Fate::of(byte)
    }

    /// Whether the server ever dies, so that what it remembered has to be kept.
    pub(super) fn kills_the_server(&self) -> bool {
        self.bytes[HEAD..]
            .iter()
            .any(|byte| Fate::of(*byte).kind == Kind::ServerDies)
    }
}

/// Draws a schedule: in each a few kinds of faults, so that they come often enough to meet.
pub(super) fn draw(rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut kinds = [0; 16];
    let mut count = 0;
    for kind in 1..16 {
        if rng.u8(..4) == 0 {
            kinds[count] = kind;
            count += 1;
        }
    }
    let rate = rng.u8(1..=10);
    let calls = rng.usize(6..MOST_CALLS);
    let head = (0..HEAD).map(|_| rng.u8(..)).collect();
    let mut bytes: Vec<u8> = head;
    bytes.extend((0..calls).map(|_| {
        if count == 0 || rng.u8(..16) >= rate {
            return 0;
        }
        kinds[rng.usize(..count)] | rng.u8(..16) << 4
    }));
    bytes
}

/// The smallest schedule that still fails, as far as a bounded effort finds it.
pub(super) fn shrink(bytes: Vec<u8>, mut fails: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut best = bytes;
    let mut tries = 0;
    let mut attempt = |candidate: Vec<u8>, best: &mut Vec<u8>| {
        tries += 1;
        let better = candidate != *best && tries <= TRIES && fails(&candidate);
        if better {
            *best = candidate;
        }
        better
    };
    loop {
        let mut improved = false;
        let mut chunk = best.len().saturating_sub(HEAD);
        while chunk > 0 {
            let mut start = HEAD;
            while start + chunk <= best.len() {
                let mut without = best.clone();
                without.drain(start..start + chunk);
                let mut calm = best.clone();
                calm[start..start + chunk].fill(0);
                if attempt(without, &mut best) {
                    improved = true;
                    continue;
                }
                improved |= attempt(calm, &mut best);
                start += chunk;
            }
            chunk /= 2;
        }
        for place in 0..best.len() {
            let byte = best[place];
            let smaller = if place < HEAD {
                [0, 1, 2, 3, byte / 2]
            } else {
                let (kind, amount) = (byte & 15, byte >> 4);
                [0, 1, 2, amount / 2, amount.saturating_sub(1)].map(|amount| amount << 4 | kind)
            };
            for value in smaller {
                let mut candidate = best.clone();
                candidate[place] = value;
                if value < best[place] {
                    improved |= attempt(candidate, &mut best);
                }
            }
        }
        if !improved {
            return best;
        }
    }
}
