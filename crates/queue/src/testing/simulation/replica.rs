//! A replica of a stage: the real consumer loop with a small processor, restarted when it ends.

use std::sync::Arc;

use common::harness::Process;
use tokio::time::sleep;

use super::client::Client;
use super::processor::PairingProcessor;
use super::run::{Run, STAGE};
use super::{LEASE, trace};
use crate::consume::consume;
use crate::testing::limited;

/// Starts one process after another, until the run is over.
pub(super) async fn run(run: Arc<Run>, replica: usize) {
    let mut settings = limited(|limits| limits.batch = run.size.batch);
    settings.lease = LEASE;
    loop {
        let process = Process::default();
        let client = Client::new(run.clone(), replica, process.stop.clone());
        let processor = PairingProcessor::new(client.clone());
        tokio::select! {
            biased;
            () = run.killed[replica].notified() => {}
            Ok(()) = consume(client, STAGE, &settings, &process, processor) => {}
        }
        let downtime = run.end_process(replica);
        run.log(|| format!("{}: down for {downtime:?}", trace::name(replica)));
        sleep(downtime).await;
    }
}
