//! One bad element must not stop the others: panics become values.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Work on one element panicked; holds the panic's message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the code that handles it panicked: {0}")]
pub struct Poison(pub String);

/// Runs `work`, which must not leave half a change behind when it panics: it reads an element and
/// returns what it found, before any state has changed.
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
    fn a_panic_becomes_a_value() {
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
