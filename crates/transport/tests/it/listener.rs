//! The listener, with clients of every kind.

mod clients;
mod flow;
mod hostile;
mod raw;
mod server;
