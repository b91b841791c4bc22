//! A listener on a free port.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use common::health::{Dependency, Health};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use transport::{Delivery, ListenSettings, Listener, Listening, Source};

use crate::harness::TIMEOUT;

pub fn settings() -> ListenSettings {
    ListenSettings::at(SocketAddr::from(([127, 0, 0, 1], 0)))
}

pub async fn listen(settings: &ListenSettings) -> (Listener, Listening) {
    let listener = Listener::bind(settings).await.unwrap();
    let health = Health::default();
    let listening = listener.start(&health.dependency("mqtt"));
    crate::harness::up(&health).await;
    (listener, listening)
}

/// Waits for at least `count` messages.
pub async fn receive(listening: &mut Listening, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    while deliveries.len() < count {
        timeout(TIMEOUT, listening.recv_batch(1_000, &mut deliveries))
            .await
            .unwrap_or_else(|_| panic!("{} of {count} messages arrived", deliveries.len()))
            .unwrap();
    }
    deliveries
}

pub fn ack(listening: &Listening, deliveries: Vec<Delivery>) {
    listening.ack(deliveries.into_iter().map(|delivery| delivery.ticket));
}

/// Topic, payload and QoS.
pub type Message = (String, Vec<u8>, u8);

/// A listener that acknowledges every message at once, and records it.
pub struct Server {
    pub address: SocketAddr,
    messages: Arc<Mutex<Vec<Message>>>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(settings: &ListenSettings) -> Self {
        let listener = Listener::bind(settings).await.unwrap();
        let mut listening = listener.start(&Dependency::unreported("mqtt"));
        let messages = Arc::new(Mutex::new(Vec::new()));
        let list = messages.clone();
        let address = listener.local_addr();
        let task = tokio::spawn(async move {
            let mut batch = Vec::new();
            while listening.recv_batch(100, &mut batch).await.is_ok() {
                let message = |d: &Delivery| (d.topic.clone(), d.payload.to_vec(), d.qos);
                list.lock().unwrap().extend(batch.iter().map(message));
                ack(&listening, std::mem::take(&mut batch));
            }
        });
        Self {
            address,
            messages,
            task,
        }
    }

    pub fn port(&self) -> String {
        self.address.port().to_string()
    }

    /// Waits until `count` messages have arrived, and returns all.
    pub async fn messages(&self, count: usize) -> Vec<Message> {
        let enough = async {
            while self.messages.lock().unwrap().len() < count {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let arrived = timeout(TIMEOUT, enough).await;
        let messages = self.messages.lock().unwrap().clone();
        assert!(
            arrived.is_ok(),
            "{} of {count} messages arrived",
            messages.len()
        );
        messages
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
