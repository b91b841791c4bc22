//! Turns a panic while processing one element into an error, so that processing continues.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Processing an element panicked; holds the panic's message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("processing it panicked: {0}")]
pub struct Poison(pub String);

/// Runs `work` and catches a panic. `work` must not change any state: a panic would leave it
/// half-changed.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Poison> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned());
        Poison(message.unwrap_or_else(|| "no message".to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::{Poison, guarded};

    #[test]
    #[expect(clippy::panic, reason = "panics are what is tested")]
    fn panic_becomes_an_error() {
        assert_eq!(guarded(|| 7), Ok(7));
        let text = "17".to_owned();
        assert_eq!(
            guarded(|| panic!("no {text}")),
            Err::<(), _>(Poison("no 17".to_owned()))
        );
        assert_eq!(
            guarded(|| panic!("plain")),
            Err::<(), _>(Poison("plain".to_owned()))
        );
    }
}
