//! The notes of transactions, in a topic of one partition.

use std::time::Duration;

use bytes::Bytes;
use krafka::KrafkaError;
use krafka::consumer::Consumer;
use krafka::error::ErrorCode;
use tokio::time::Instant;

pub(super) const PARTITION: i32 = 0;
/// How long a poll waits.
const POLL_LIMIT: Duration = Duration::from_millis(500);
/// How long a search may take.
const SEARCH_LIMIT: Duration = Duration::from_secs(30);
/// How long a new topic may be without a leader, and how often that is asked for.
const LEADER_LIMIT: Duration = Duration::from_secs(10);
const LEADER_WAIT: Duration = Duration::from_millis(100);
/// How many offsets are searched at first, back from the end; each further time, it is this factor more.
const FIRST_STEP: i64 = 64;
const STEP_FACTOR: i64 = 16;

/// The last committed note with this key. Compaction may take its time, so the search starts at the end.
pub(super) async fn last(
    consumer: &Consumer,
    topic: &str,
    key: &str,
) -> Result<Option<Bytes>, KrafkaError> {
    let started = Instant::now();
    let (low, mut end) = watermarks(consumer, topic).await?;
    consumer.assign(topic, vec![PARTITION]).await?;
    let mut step = FIRST_STEP;
    while end > low {
        let start = end.saturating_sub(step).max(low);
        consumer.seek(topic, PARTITION, start).await?;
        let mut found = None;
        // Transactions leave offsets without a record.
        while consumer.position(topic, PARTITION).await.unwrap_or(start) < end {
            for record in consumer.poll(POLL_LIMIT).await? {
                if record.offset < end && record.key.as_deref() == Some(key.as_bytes()) {
                    found = record.value;
                }
            }
            if started.elapsed() > SEARCH_LIMIT {
                return Err(KrafkaError::timeout(format!("reading {topic}")));
            }
        }
        if found.is_some() {
            return Ok(found);
        }
        end = start;
        step = step.saturating_mul(STEP_FACTOR);
    }
    Ok(None)
}

/// The first offset and the one after the last. Brokers choose the leader of a new topic after they have created it.
async fn watermarks(consumer: &Consumer, topic: &str) -> Result<(i64, i64), KrafkaError> {
    let started = Instant::now();
    loop {
        match consumer.fetch_watermarks(topic, PARTITION).await {
            Err(KrafkaError::Broker {
                code:
                    ErrorCode::LeaderNotAvailable
                    | ErrorCode::NotLeaderForPartition
                    | ErrorCode::UnknownTopicOrPartition,
                ..
            }) if started.elapsed() < LEADER_LIMIT => {
                tokio::time::sleep(LEADER_WAIT).await;
                // An error of it is an error of the next attempt, too.
                consumer.fetch_metadata(Some(topic)).await.ok();
            }
            found => return found,
        }
    }
}
