//! What all parts that speak to a Redis server share: its URL and login, a connection that reconnects, scripts, and
//! what errors mean.

mod connection;
mod error;
pub mod reply;
mod script;
mod server;

pub use connection::Connection;
pub use error::{Cause, RequestError};
pub use script::Script;
pub use server::{UrlError, login, server_of_url};
