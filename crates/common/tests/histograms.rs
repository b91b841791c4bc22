//! Memory of histograms. In a process of its own, so that no other test changes it.
#![expect(clippy::unwrap_used, reason = "tests")]

use common::metric;
use common::telemetry::{UPKEEP, start_metrics, upkeep};
use metrics::histogram;
use tokio::time::sleep;

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.unwrap().split_whitespace().next().unwrap();
    kib.parse::<usize>().unwrap() * 1024
}

#[tokio::test(start_paused = true)]
async fn histograms_that_nobody_scrapes_use_no_more_memory() {
    const ROUNDS: usize = 100;
    const SAMPLES: usize = 100_000;
    let metrics = start_metrics().unwrap();
    let task = tokio::spawn(upkeep(metrics.clone()));
    let delays = histogram!(metric::STORE_DELAY);
    let round = async || {
        for _ in 0..SAMPLES {
            delays.record(0.5);
        }
        sleep(UPKEEP).await;
    };
    round().await;
    let before = resident();
    for _ in 0..ROUNDS {
        round().await;
    }
    let growth = resident().saturating_sub(before);
    // Without upkeep: 8 bytes for each sample.
    assert!(growth < ROUNDS * SAMPLES, "{growth} bytes more");
    task.abort();
    let count = format!("{}_count {}", metric::STORE_DELAY, (ROUNDS + 1) * SAMPLES);
    assert!(metrics.render().contains(&count));
}
