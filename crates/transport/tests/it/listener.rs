//! The listener, with clients of every kind.

mod acl;
mod clients;
mod fanout;
mod flow;
mod hostile;
mod rates;
mod raw;
mod server;
mod tls;
mod web_socket;
