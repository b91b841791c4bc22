//! The reason codes of MQTT in words.

use std::fmt;

/// The first code that is a failure. Those below are granted qualities of service and the like.
const FAILURE: u8 = 0x80;

/// Why a broker refuses something or ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reason(pub(crate) u8);

impl Reason {
    pub(crate) const fn is_failure(self) -> bool {
        self.0 >= FAILURE
    }

    const fn words(self) -> &'static str {
        match self.0 {
            0x00 | 0x80 => "it gives no reason",
            0x81 => "it says that we sent a malformed packet",
            0x82 => "it says that we broke the protocol",
            0x83 => "a reason of its own, which its log may tell",
            0x86 => "bad user name or password",
            0x87 => "not authorized",
            0x88 => "it is unavailable",
            0x89 => "it is busy",
            0x8a => "it has banned this client",
            0x8b => "it is shutting down",
            0x8c => "it wants another way to log in than user name and password",
            0x8d => "it received nothing from us within the keep-alive",
            0x8e => "another client connected with the same MQTT_CLIENT_ID",
            0x8f => "it doesn't accept this topic filter",
            0x90 => "it doesn't accept this topic",
            0x91 => "it says that the packet id is in use",
            0x93 => "we sent more unacknowledged messages than it allows",
            0x94 => "it says that we used an invalid topic alias",
            0x95 => "a packet is larger than it allows",
            0x96 => "messages arrive faster than it allows",
            0x97 => "a quota is exceeded: see the limits of the account or plan",
            0x98 => "its administrator ended it",
            0x99 => "it doesn't accept the format of a payload",
            0x9a => "it doesn't keep retained messages",
            0x9b => "it doesn't offer this quality of service",
            0x9c => "it says to use another server for now: see MQTT_HOST",
            0x9d => "the server has moved: see MQTT_HOST",
            0x9e => "it doesn't offer shared subscriptions",
            0x9f => "connections are opened faster than it allows",
            0xa0 => "it ends each connection after some time",
            0xa1 => "it doesn't offer subscription identifiers",
            0xa2 => "it doesn't offer wildcards in topic filters",
            _ => "a reason that MQTT doesn't name",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {:#04x})", self.words(), self.0)
    }
}
