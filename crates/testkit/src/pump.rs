//! One direction of one connection.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::proxy::Direction;
use crate::relay::{Link, Ruling, Shared, lock};
use crate::wire::Network;

/// What is read at once.
const PIECE: usize = 256 * 1024;

/// What a delayed direction holds at most. TCP has such a limit too, and stops the sender.
const HELD_AT_MOST: usize = 64 * 1024 * 1024;

/// Throttled bytes come in so many portions a second, at least.
const PORTIONS_PER_SECOND: u64 = 50;

/// How long a server whose answer was swallowed may take to close the connection.
const FAREWELL: Duration = Duration::from_secs(5);

pub(crate) struct Pump {
    shared: Arc<Shared>,
    link: Arc<Link>,
    direction: Direction,
    buffer: Vec<u8>,
    /// What was read and isn't through, with the time at which it came.
    held: VecDeque<Piece>,
    held_bytes: usize,
    /// When the sender came to its end.
    ended: Option<Instant>,
    /// When the next portion may go, in a throttled direction.
    next_portion: Instant,
}

struct Piece {
    came: Instant,
    bytes: Vec<u8>,
    gone: usize,
    judged: bool,
    /// Its answer is to be swallowed.
    unanswered: bool,
    /// It was held.
    late: bool,
}

/// What a direction can do now.
enum Step {
    /// Nothing, ever again.
    Over,
    /// More, at once.
    More,
    /// Nothing before this time, if there is one.
    Wait(Option<Instant>),
    /// Nothing until the receiver takes more.
    Full,
}

impl Pump {
    pub(crate) fn new(shared: &Arc<Shared>, link: &Arc<Link>, direction: Direction) -> Self {
        Self {
            shared: Arc::clone(shared),
            link: Arc::clone(link),
            direction,
            buffer: vec![0; PIECE],
            held: VecDeque::new(),
            held_bytes: 0,
            ended: None,
            next_portion: Instant::now(),
        }
    }

    /// Carries until the direction ends. The sockets are closed when both have.
    pub(crate) fn run(mut self) {
        loop {
            // Taken before anything is decided, so that no change is slept through.
            let signal = self.shared.sky().signal();
            if self.link.is_dead() {
                return;
            }
            match self.step() {
                Step::Over => return,
                Step::More => {}
                Step::Wait(until) => self.wait(&signal, until, false),
                Step::Full => self.wait(&signal, None, true),
            }
        }
    }

    fn step(&mut self) -> Step {
        let Some(front) = self.held.front_mut() else {
            return self.end();
        };
        let network = self.link.network(&self.shared.sky());
        let Some(due) = due(network, self.direction, front.came, self.next_portion) else {
            return Step::Wait(None);
        };
        if due > Instant::now() {
            return Step::Wait(Some(due));
        }
        if !front.judged {
            // Outside of all locks: a judge may take its time.
            front.judged = true;
            let ruling = if self.direction == Direction::Reply && self.link.swallows(front.came) {
                Ruling::Cut
            } else {
                (self.shared.judge)(&self.link, self.direction, &front.bytes)
            };
            if ruling == Ruling::Cut {
                self.cut();
                return Step::Over;
            }
            front.unanswered = ruling == Ruling::PassUnanswered;
            front.late = ruling == Ruling::Hold;
            if front.late {
                self.link.held.store(true, Ordering::SeqCst);
            }
            // The network may have changed meanwhile.
            return Step::More;
        }
        self.write()
    }

    /// Writes of the first piece what the receiver takes.
    fn write(&mut self) -> Step {
        let (Some(front), Some((_, mut to))) =
            (self.held.front_mut(), self.link.ends(self.direction))
        else {
            return Step::Over;
        };
        // Held while writing: what `set` has forbidden doesn't pass after it has returned.
        let sky = self.shared.sky();
        let network = self.link.network(&sky);
        if due(network, self.direction, front.came, self.next_portion).is_none() {
            return Step::More;
        }
        let mut rest = &front.bytes[front.gone..];
        if let Network::Throttle(rate) = network {
            let portion = usize::try_from(rate.max(1).div_ceil(PORTIONS_PER_SECOND));
            rest = &rest[..rest.len().min(portion.unwrap_or(usize::MAX))];
        }
        // No answer is judged before it is known that it is to be swallowed.
        let mut swallow = front.unanswered.then(|| lock(&self.link.swallow));
        let now = Instant::now();
        match to.write(rest) {
            Ok(count) => {
                let index = usize::from(self.direction == Direction::Reply);
                self.shared.forwarded[index].fetch_add(count as u64, Ordering::SeqCst);
                if let Network::Throttle(rate) = network {
                    let rate = u32::try_from(rate.max(1)).unwrap_or(u32::MAX);
                    self.next_portion = now + Duration::from_secs(count as u64) / rate;
                }
                front.gone += count;
                self.held_bytes -= count;
                if front.gone == front.bytes.len() {
                    if let Some(swallow) = &mut swallow {
                        **swallow = Some(now);
                    }
                    let late = u32::from(front.late);
                    self.shared.late.fetch_add(late, Ordering::SeqCst);
                    self.held.pop_front();
                }
                Step::More
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Step::Full,
            Err(error) if error.kind() == ErrorKind::Interrupted => Step::More,
            Err(_) => {
                // The other direction finds out by itself, as soon as the network lets it.
                self.link.broken.store(true, Ordering::SeqCst);
                Step::Over
            }
        }
    }

    /// Nothing is held: passes the sender's end on, if it has come to it.
    fn end(&mut self) -> Step {
        let Some(ended) = self.ended else {
            return Step::Wait(None);
        };
        let sky = self.shared.sky();
        let Some(due) = due(self.link.network(&sky), self.direction, ended, ended) else {
            return Step::Wait(None);
        };
        if due > Instant::now() {
            return Step::Wait(Some(due));
        }
        if self.link.broken.load(Ordering::SeqCst) {
            self.link.reset();
        } else if let Some((_, to)) = self.link.ends(self.direction) {
            let _ = to.shutdown(Shutdown::Write);
        }
        Step::Over
    }

    fn cut(&mut self) {
        // Counted first: who finds the connection cut finds it counted.
        self.shared.cuts.fetch_add(1, Ordering::SeqCst);
        self.link.cut();
        let Some((from, _)) = self.link.ends(self.direction) else {
            return;
        };
        if self.direction == Direction::Reply {
            // Closing it with answers unread would reset it, and requests that the server hasn't
            // read yet would be lost with it.
            let _ = from.set_nonblocking(false);
            let _ = from.set_read_timeout(Some(FAREWELL));
            let mut from = from;
            while from.read(&mut self.buffer).is_ok_and(|count| count > 0) {}
        }
    }

    /// Waits for the sender, the receiver if it is `full`, a change of the network and the time.
    /// Sockets that don't matter now are left out: one that was reset would end every wait.
    fn wait(&mut self, signal: &UnixStream, until: Option<Instant>, full: bool) {
        let Some((from, to)) = self.link.ends(self.direction) else {
            return;
        };
        let reads = self.reads(self.link.network(&self.shared.sky()));
        let timeout = until.map(|until| {
            let left = until.saturating_duration_since(Instant::now());
            Timespec::try_from(left).unwrap_or_default()
        });
        let mut waiting = vec![PollFd::new(signal, PollFlags::IN)];
        if reads {
            waiting.push(PollFd::new(from, PollFlags::IN));
        }
        if full {
            waiting.push(PollFd::new(to, PollFlags::OUT));
        }
        let _ = poll(&mut waiting, timeout.as_ref());
        if reads && !waiting[1].revents().is_empty() {
            self.read();
        }
    }

    /// Whether to take more from the sender: in the dark it waits in the kernel, whose buffers then
    /// stop the sender.
    fn reads(&self, network: Network) -> bool {
        let room = match network {
            Network::Delay(_) => self.held_bytes < HELD_AT_MOST,
            _ => self.held.is_empty(),
        };
        self.ended.is_none() && room && network.lets_through(self.direction)
    }

    fn read(&mut self) {
        let Some((mut from, _)) = self.link.ends(self.direction) else {
            return;
        };
        match from.read(&mut self.buffer) {
            Ok(0) => self.ended = Some(Instant::now()),
            Ok(count) => {
                self.held_bytes += count;
                self.held.push_back(Piece {
                    came: Instant::now(),
                    bytes: self.buffer[..count].to_vec(),
                    gone: 0,
                    judged: false,
                    unanswered: false,
                    late: false,
                });
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => {
                self.link.broken.store(true, Ordering::SeqCst);
                self.ended = Some(Instant::now());
            }
        }
    }
}

/// When a piece that came then may go; never, in the dark.
fn due(
    network: Network,
    direction: Direction,
    came: Instant,
    next_portion: Instant,
) -> Option<Instant> {
    if !network.lets_through(direction) {
        return None;
    }
    Some(match network {
        Network::Delay(delay) => came + delay,
        Network::Throttle(_) => next_portion,
        _ => came,
    })
}
