//! Dead letters: inputs that can't be used, kept with reason, origin and original bytes.

mod decode;
mod encode;
mod reason;
mod summary;

pub use self::decode::{DeadLetter, DeadLetterError};
pub use self::encode::{KEPT_OF_TOO_LARGE, PayloadDigest, encode, encode_truncated};
pub use self::reason::{Reason, Rejection, UnknownReason};
pub use self::summary::{Handled, Summary, id_of};
