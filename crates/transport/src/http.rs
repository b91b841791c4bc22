//! Messages that devices send with HTTP.

mod messages;
mod receiver;
mod settings;

pub use http_server::HttpListener;

pub use self::messages::store_messages;
pub use self::receiver::{HttpReceiver, HttpRoute, MessageCheck};
pub use self::settings::HttpSettings;
