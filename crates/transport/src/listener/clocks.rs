//! How long a client may keep us waiting. Time in which we don't read doesn't count.

use std::time::Duration;

use tokio::time::Instant;

use super::fault::Fault;

/// A packet that was begun has to be complete after this long.
const COMPLETE_WITHIN: Duration = Duration::from_secs(30);

/// When it was heard of last.
#[derive(Debug)]
pub(crate) struct Clocks {
    /// 1.5 times its keep-alive, if it has one.
    silence: Option<Duration>,
    heard: Instant,
    /// When the packet was begun that isn't complete.
    begun: Option<Instant>,
    /// Since when we don't read.
    paused: Option<Instant>,
}

impl Clocks {
    /// Those of a client with a keep-alive of so many seconds.
    pub(crate) fn new(keep_alive: u16) -> Self {
        Self {
            silence: (keep_alive > 0).then(|| Duration::from_millis(1_500 * u64::from(keep_alive))),
            heard: Instant::now(),
            begun: None,
            paused: None,
        }
    }

    /// We stop reading.
    pub(crate) fn pause(&mut self) {
        self.paused.get_or_insert_with(Instant::now);
    }

    /// We read again.
    pub(crate) fn resume(&mut self) {
        if let Some(paused) = self.paused.take() {
            let pause = paused.elapsed();
            self.heard += pause;
            self.begun = self.begun.map(|begun| begun + pause);
        }
    }

    /// Something came: `complete` packets, and the `begin` of one more.
    pub(crate) fn heard(&mut self, complete: bool, begin: bool) {
        let now = Instant::now();
        if complete {
            self.heard = now;
            self.begun = None;
        }
        if begin {
            self.begun.get_or_insert(now);
        }
    }

    /// When it is time for a [`check`](Self::check), if ever.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.paused.is_some() {
            return None;
        }
        let silent = self.silence.map(|silence| self.heard + silence);
        let slow = self.begun.map(|begun| begun + COMPLETE_WITHIN);
        match (silent, slow) {
            (Some(silent), Some(slow)) => Some(silent.min(slow)),
            (silent, slow) => silent.or(slow),
        }
    }

    /// Fails if it has kept us waiting for too long.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if self.paused.is_some() {
            return Ok(());
        }
        if self
            .begun
            .is_some_and(|begun| begun.elapsed() >= COMPLETE_WITHIN)
        {
            return Err(Fault::Slow(COMPLETE_WITHIN));
        }
        match self.silence {
            Some(silence) if self.heard.elapsed() >= silence => Err(Fault::KeepAlive),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Clocks;
    use crate::listener::fault::Fault;

    fn ago(seconds: u64) -> Instant {
        Instant::now()
            .checked_sub(Duration::from_secs(seconds))
            .unwrap()
    }

    #[test]
    fn silence_and_slowness_are_noticed() {
        let mut clocks = Clocks::new(60);
        clocks.heard = ago(89);
        assert_eq!(clocks.check(), Ok(()));
        clocks.heard = ago(91);
        assert_eq!(clocks.check(), Err(Fault::KeepAlive));
        clocks.heard(true, true);
        assert_eq!(clocks.check(), Ok(()));
        clocks.begun = Some(ago(31));
        assert!(matches!(clocks.check(), Err(Fault::Slow(_))));
        clocks.heard(true, false);
        assert_eq!(clocks.check(), Ok(()));
        assert_eq!(Clocks::new(0).due(), None);
    }

    #[test]
    fn a_packet_does_not_begin_anew_with_each_of_its_bytes() {
        let mut clocks = Clocks::new(0);
        clocks.begun = Some(ago(31));
        clocks.heard(false, true);
        assert!(clocks.check().is_err());
    }

    #[test]
    fn our_own_pauses_do_not_count() {
        let mut clocks = Clocks::new(10);
        clocks.heard = ago(100);
        clocks.begun = Some(ago(100));
        clocks.paused = Some(ago(95));
        assert_eq!((clocks.check(), clocks.due()), (Ok(()), None));
        clocks.resume();
        assert_eq!(clocks.check(), Ok(()));
    }
}
