//! The parts of a process that run beside each other.

use std::pin::Pin;

use anyhow::Context;
use tokio::task::JoinSet;

use super::Process;

/// Stages, servers and other parts of a process, a task each. They end when this is dropped.
#[derive(Debug, Default)]
pub struct Parts(JoinSet<anyhow::Result<()>>);

impl Parts {
    /// Starts a part.
    pub fn spawn(&mut self, part: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        // One type for all: what Tokio does with a task is some thousand lines of machine code for each type.
        let part: Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> = Box::pin(part);
        self.0.spawn(part);
    }

    /// Waits until all parts have ended, each with a health of its own. If one ends early, the others are stopped;
    /// `part` names them in the error.
    pub async fn all(&mut self, process: &Process, part: &str) -> anyhow::Result<()> {
        let mut result = Ok(());
        while let Some(ended) = self.next(process, part).await {
            let ended = match ended {
                Ok(()) if !process.stop.is_cancelled() => {
                    Err(anyhow::anyhow!("a {part} ended without a stop"))
                }
                ended => ended,
            };
            process.stop.cancel();
            result = result.and(ended);
        }
        result
    }

    /// Waits until one of the parts has ended; `None` if all have.
    pub async fn next(&mut self, process: &Process, part: &str) -> Option<anyhow::Result<()>> {
        let ended = tokio::select! {
            ended = self.0.join_next() => ended?,
            never = process.health.tick_for_ever() => match never {},
        };
        let ended = ended.with_context(|| format!("a {part} panicked"));
        Some(ended.and_then(|ended| ended))
    }
}
