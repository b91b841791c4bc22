//! The listener, with clients of every kind.

mod acl;
mod clients;
mod fanout;
mod flow;
mod hostile;
mod raw;
mod server;
