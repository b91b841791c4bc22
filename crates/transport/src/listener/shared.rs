//! What the connections of a listener have in common.

use std::net::SocketAddr;
use std::sync::Arc;

use common::metric::MQTT_REFUSED;
use metrics::counter;
use tokio::sync::{Semaphore, mpsc};

use super::budget::Budget;
use super::burst::Burst;
use super::connect::Connect;
use super::fault::{Fault, Refusal};
use super::passwords::Users;
use super::rarely::Rarely;
use super::registry::Registry;

/// Passwords that are checked at the same time: whoever sends many wrong ones must not take all of
/// the machine.
const LOGINS: usize = 2;
/// No more of a client id than this is logged.
const SHOWN: usize = 64;

/// Who may publish.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) users: Option<Arc<Users>>,
    pub(crate) anonymous: bool,
}

/// What the connections of a listener have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) max_packet: usize,
    pub(crate) budget: Budget,
    pub(crate) registry: Registry,
    pub(crate) bursts: mpsc::UnboundedSender<Burst>,
    door: Door,
    logins: Semaphore,
    rarely: Rarely,
}

impl Shared {
    pub(crate) fn new(
        max_packet: usize,
        door: Door,
        registry: Registry,
        bursts: mpsc::UnboundedSender<Burst>,
    ) -> Self {
        Self {
            max_packet,
            budget: Budget::new(max_packet),
            registry,
            bursts,
            door,
            logins: Semaphore::new(LOGINS),
            rarely: Rarely::default(),
        }
    }

    /// Whether this client may come in.
    pub(crate) async fn log_in(&self, connect: &Connect) -> Result<(), Refusal> {
        let Some(users) = &self.door.users else {
            return Ok(());
        };
        let Some(user) = connect.user.clone() else {
            return if self.door.anonymous {
                Ok(())
            } else {
                Err(Refusal::NotAuthorized)
            };
        };
        let _turn = self.logins.acquire().await;
        let (users, password) = (users.clone(), connect.password.clone().unwrap_or_default());
        let checked = tokio::task::spawn_blocking(move || users.accept(&user, &password)).await;
        match checked {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::Login),
            // The runtime stops.
            Err(_) => Err(Refusal::Busy),
        }
    }

    /// A client wasn't let in.
    pub(crate) fn refused(&self, refusal: Refusal, client: &str, peer: SocketAddr) {
        let label = refusal.label();
        counter!(MQTT_REFUSED, "reason" => label).increment(1);
        if let Some(repeats) = self.rarely.due(label) {
            let client = shown(client);
            tracing::warn!(client, %peer, repeats, "refused an mqtt client: {refusal}");
        }
    }

    /// A connection was ended by us.
    pub(crate) fn ended(&self, fault: &Fault, client: &str, peer: SocketAddr) {
        let Some(label) = fault.label() else {
            return;
        };
        counter!(MQTT_REFUSED, "reason" => label).increment(1);
        if let Some(repeats) = self.rarely.due(label) {
            let client = shown(client);
            tracing::warn!(client, %peer, repeats, "ended an mqtt connection: {fault}");
        }
    }

    /// A client wanted to subscribe.
    pub(crate) fn subscribed(&self, client: &str, peer: SocketAddr) {
        counter!(MQTT_REFUSED, "reason" => "subscribe").increment(1);
        if let Some(repeats) = self.rarely.due("subscribe") {
            let client = shown(client);
            tracing::warn!(client, %peer, repeats, "refused a subscription: clients only publish here");
        }
    }

    /// There are too many connections.
    pub(crate) fn full(&self, peer: SocketAddr, most: usize) {
        counter!(MQTT_REFUSED, "reason" => "connections").increment(1);
        if let Some(repeats) = self.rarely.due("connections") {
            tracing::warn!(
                %peer, repeats,
                "closed a new connection at once: {most} are open (MQTT_MAX_CONNECTIONS)"
            );
        }
    }
}

/// A client id that isn't too long for a log, which escapes it.
fn shown(client_id: &str) -> String {
    client_id.chars().take(SHOWN).collect()
}
