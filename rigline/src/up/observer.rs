//! What sees the messages and rows of the pipeline `rigs`.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Instant;

use model::position::PositionStep;
use model::row::Row;
use store::{Store, WriteError};
use transport::{Delivery, SessionEnded, Source};

/// Sees some of the messages that arrive at the pipeline `rigs`, and all rows that it stores: for figures of the demo.
pub trait Observer: Debug + Send + Sync {
    /// Messages have arrived; this is the last one of them, and when it was read from the network.
    fn arrived(&self, topic: &str, payload: &[u8], at: Instant);

    /// Rows were stored just now.
    fn stored(&self, rows: &[Row<'_>]);
}

/// A source or a store, with an observer or without. One type for both cases, so that the stages are compiled once.
#[derive(Debug, Clone)]
pub(super) struct Observed<S> {
    pub(super) inner: S,
    pub(super) observer: Option<Arc<dyn Observer>>,
}

impl<S: Source> Source for Observed<S> {
    const NAME: &'static str = S::NAME;
    const HAS_POSITIONS: bool = S::HAS_POSITIONS;
    type Ticket = S::Ticket;

    async fn recv_batch(
        &mut self,
        max: usize,
        batch: &mut Vec<Delivery<S::Ticket>>,
    ) -> Result<usize, SessionEnded> {
        let received = self.inner.recv_batch(max, batch).await?;
        if let Some(observer) = &self.observer
            && let Some(last) = batch.last()
        {
            observer.arrived(&last.topic, &last.payload, last.received);
        }
        Ok(received)
    }

    fn steps<'a>(&self, tickets: impl Iterator<Item = &'a S::Ticket>) -> Vec<PositionStep> {
        self.inner.steps(tickets)
    }

    fn ack(&self, tickets: impl IntoIterator<Item = S::Ticket>) {
        self.inner.ack(tickets);
    }

    async fn close(self) {
        self.inner.close().await;
    }
}

impl<S: Store> Store for Observed<S> {
    async fn write(&self, rows: &[Row<'_>]) -> Result<(), WriteError> {
        self.inner.write(rows).await?;
        if let Some(observer) = &self.observer {
            observer.stored(rows);
        }
        Ok(())
    }

    async fn preflight(&self) -> Result<(), WriteError> {
        self.inner.preflight().await
    }
}
