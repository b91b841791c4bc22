//! The task between a source and its pipelines.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Wants;
use super::pending::{Pending, Share};
use crate::source::{Delivery, PausableSource};

/// Messages that are read at once.
const BATCH: usize = 5_000;
/// Messages that a pipeline hasn't acknowledged, above which the connections that publish to it are paused.
const HIGH: usize = 10_000;
/// And below which they go on.
const LOW: usize = HIGH / 2;

pub(super) struct Router<S: PausableSource> {
    source: S,
    wants: Arc<[Wants]>,
    routes: Vec<Route<S::Ticket>>,
    done: mpsc::UnboundedReceiver<Vec<Share<S::Ticket>>>,
    pending: Pending<S::Ticket>,
}

struct Route<T> {
    outgoing: mpsc::UnboundedSender<Delivery<Share<T>>>,
    /// Messages that the pipeline hasn't acknowledged.
    unacknowledged: usize,
    /// Connections that are paused because of this pipeline.
    paused: BTreeSet<u64>,
}

impl<S: PausableSource> Router<S> {
    pub(super) fn new(
        source: S,
        wants: Arc<[Wants]>,
        outgoing: Vec<mpsc::UnboundedSender<Delivery<Share<S::Ticket>>>>,
        done: mpsc::UnboundedReceiver<Vec<Share<S::Ticket>>>,
    ) -> Self {
        let routes = outgoing.into_iter().map(|outgoing| Route {
            outgoing,
            unacknowledged: 0,
            paused: BTreeSet::new(),
        });
        Self {
            source,
            wants,
            routes: routes.collect(),
            done,
            pending: Pending::default(),
        }
    }

    /// Works until the stop, or until the source's session ends. Then its pipelines' sessions end, too.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(shares) = self.done.recv() => self.acknowledge(&shares),
                received = self.source.recv_batch(BATCH, &mut batch) => {
                    if let Err(error) = received {
                        tracing::error!(%error, "the session of a source ended");
                        break;
                    }
                    self.dispatch(&mut batch);
                }
            }
        }
        while let Ok(shares) = self.done.try_recv() {
            self.acknowledge(&shares);
        }
        self.source.close().await;
    }

    fn acknowledge(&mut self, shares: &[Share<S::Ticket>]) {
        let mut tickets = Vec::with_capacity(shares.len());
        for share in shares {
            self.pending.acknowledge(share, &mut tickets);
            if let Some(route) = self.routes.get_mut(share.route) {
                route.unacknowledged = route.unacknowledged.saturating_sub(1);
            }
        }
        self.source.ack(tickets);
        for place in 0..self.routes.len() {
            if self.routes[place].unacknowledged < LOW {
                for connection in std::mem::take(&mut self.routes[place].paused) {
                    // Another pipeline may still be behind.
                    if !self
                        .routes
                        .iter()
                        .any(|route| route.paused.contains(&connection))
                    {
                        self.source.resume(connection);
                    }
                }
            }
        }
    }

    fn dispatch(&mut self, batch: &mut Vec<Delivery<S::Ticket>>) {
        let mut wanted = Vec::new();
        for delivery in batch.drain(..) {
            wanted.clear();
            let wants = self.wants.iter().enumerate();
            wanted.extend(
                wants
                    .filter(|(_, wants)| wants(&delivery.topic))
                    .map(|(place, _)| place),
            );
            if wanted.is_empty() {
                // Its dead letter is one of the first pipeline.
                wanted.push(0);
            }
            let connection = S::connection(&delivery.ticket);
            let (ticket, message) = delivery.replace_ticket(());
            for share in self.pending.add(connection, ticket, &wanted) {
                let Some(route) = self.routes.get_mut(share.route) else {
                    continue;
                };
                route.unacknowledged += 1;
                if route.unacknowledged > HIGH && route.paused.insert(connection) {
                    self.source.pause(connection);
                }
                // Fails only when the pipeline's session has ended, which ends this one.
                let _ = route.outgoing.send(message.with_ticket(share));
            }
        }
    }
}
