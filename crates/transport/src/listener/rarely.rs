//! Log lines that anybody on the network can cause, and that must not fill the disk.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const AT_MOST_EVERY: Duration = Duration::from_secs(10);

/// Lets one through every 10 s, for each label.
#[derive(Debug, Default)]
pub(crate) struct Rarely(Mutex<Vec<(&'static str, Instant, u64)>>);

impl Rarely {
    /// How many were held back since the last one, if this one is let through.
    pub(crate) fn due(&self, label: &'static str) -> Option<u64> {
        let mut labels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match labels.iter_mut().find(|(known, ..)| *known == label) {
            None => {
                labels.push((label, Instant::now(), 0));
                Some(0)
            }
            Some((_, last, held)) if last.elapsed() >= AT_MOST_EVERY => {
                *last = Instant::now();
                Some(std::mem::take(held))
            }
            Some((_, _, held)) => {
                *held += 1;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Rarely;

    #[test]
    fn each_label_is_let_through_once() {
        let rarely = Rarely::default();
        let due = ["a", "b", "a", "a", "b"].map(|label| rarely.due(label));
        assert_eq!(due, [Some(0), Some(0), None, None, None]);
    }
}
