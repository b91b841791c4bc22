//! What the HTTP servers of Rigline share: the listener with or without TLS, who may send requests, the limits of
//! requests, and errors as problem documents. The API has one, and the ingester for devices that send over HTTP.

pub mod access;
mod layers;
mod listener;
mod problem;
mod tls;

pub use self::access::{Access, AccessSettings};
pub use self::layers::with_limits;
pub use self::listener::{HttpListener, certificate};
pub use self::problem::{ItemProblem, OwnError, Problem};
