//! The names of all metrics, in Prometheus style with units.

use metrics::{Label, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use model::dead_letter::Reason;

/// Readings that a stage has taken.
pub const READINGS: &str = "rigline_readings_total";
/// Rows by how they came to be: `complete`, `partial`, `forced`, `second`, `late` of a pivot; `window` and
/// `corrected` of windows; `sample`; at the sink `stored`.
pub const ROWS: &str = "rigline_rows_total";
/// Readings of a cell that had been taken before, equal in time and value.
pub const REPEATED: &str = "rigline_readings_repeated_total";
/// Readings of a cell that had been taken before, different in time or value.
pub const SUPERSEDED: &str = "rigline_readings_superseded_total";
/// Readings behind their rig's window, written as rows of their own.
pub const LATE: &str = "rigline_readings_late_total";
/// Readings with a member `ts`, `time` or `datetime` that was ignored, because it holds no date.
pub const IGNORED_TIMES: &str = "rigline_ignored_times_total";
/// What a pipeline left out of its messages on purpose, by `reason`: `filtered` samples that the pipeline
/// file doesn't want, `empty` ones without any reading, `skipped` members of another type.
pub const LEFT_OUT: &str = "rigline_left_out_total";
/// Messages of Redis Pub/Sub that were dropped, because too many waited.
pub const PUBSUB_DROPPED: &str = "rigline_pubsub_dropped_messages_total";
/// Retained messages of the broker that were ignored.
pub const IGNORED_RETAINED: &str = "rigline_ignored_retained_total";
/// Messages that the broker says it has dropped since it started, for all of its clients.
pub const BROKER_DROPPED: &str = "rigline_broker_dropped_messages";
/// Dead letters by reason.
pub const DEAD_LETTERS: &str = "rigline_dead_letters_total";
/// Dead letters that weren't kept, because the quota of their series was used up; by reason.
pub const OVER_QUOTA: &str = "rigline_dead_letters_over_quota_total";
/// Elements in a list.
pub const LIST_LENGTH: &str = "rigline_list_length";
/// The length at which a list counts as full.
pub const LIST_LIMIT: &str = "rigline_list_limit";
/// From a row's tick to its being stored, in seconds.
pub const STORE_DELAY: &str = "rigline_store_delay_seconds";
/// Failed attempts that are retried, by dependency.
pub const RETRIES: &str = "rigline_retries_total";
/// Elements in a batch.
pub const BATCH_SIZE: &str = "rigline_batch_size";
/// Times that the queue was found flushed, emptied, restored to an older state or replaced.
pub const RESETS: &str = "rigline_queue_resets_total";
/// Whether a dependency is up (1) or not (0).
pub const DEPENDENCY_UP: &str = "rigline_dependency_up";
/// Rows that are open in the transformer.
pub const OPEN_ROWS: &str = "rigline_open_rows";
/// The ledger's counters, as last seen.
pub const LEDGER: &str = "rigline_ledger";
/// Open connections of devices to the listener.
pub const MQTT_CONNECTIONS: &str = "rigline_mqtt_connections";
/// Connections of devices that the listener refused or closed, by `reason`.
pub const MQTT_REFUSED: &str = "rigline_mqtt_refused_total";
/// Times that the listener read nothing from a connection for a while, because of a limit on messages a second;
/// by `reason`.
pub const MQTT_DELAYED: &str = "rigline_mqtt_delayed_total";
/// Readings that the producer handed to the broker, by `state`: `sent`, `acknowledged`.
pub const PRODUCED: &str = "rigline_produced_readings_total";

/// Alerts that are firing, by pipeline.
pub const ALERTS_FIRING: &str = "rigline_alerts_firing";
/// Alerts that began (`firing`) or ended (`resolved`), by `pipeline` and `state`.
pub const ALERT_EVENTS: &str = "rigline_alert_events_total";
/// Attempts to post an event to a webhook, by `outcome`: `delivered`; `failed`, which is retried; `given_up`.
pub const WEBHOOK_DELIVERIES: &str = "rigline_webhook_deliveries_total";

/// Upper bounds of the delay histogram's buckets, in seconds.
pub const DELAY_BUCKETS: [f64; 13] = [
    0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 120.0, 600.0,
];
/// Upper bounds of the batch histogram's buckets, in elements.
pub const BATCH_BUCKETS: [f64; 9] = [
    1.0, 5.0, 20.0, 100.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0,
];

/// Registers the help texts.
pub fn describe() {
    describe_counter!(READINGS, "readings taken by this stage");
    describe_counter!(ROWS, "rows by how they came to be; at the sink, stored");
    describe_counter!(
        REPEATED,
        "readings of a cell taken before, equal in time and value"
    );
    describe_counter!(
        SUPERSEDED,
        "readings of a cell taken before, different in time or value"
    );
    describe_counter!(
        LATE,
        "readings behind their rig's window, each a row of its own"
    );
    describe_counter!(
        PUBSUB_DROPPED,
        "messages of Redis Pub/Sub that were dropped, because the ingester had too many waiting"
    );
    describe_counter!(
        LEFT_OUT,
        "samples, messages and members that a pipeline file leaves out on purpose"
    );
    describe_counter!(
        IGNORED_TIMES,
        "readings with a member ts, time or datetime that holds no date, so that it was ignored"
    );
    describe_counter!(
        IGNORED_RETAINED,
        "messages that the broker had retained from before the subscription, which were ignored"
    );
    describe_gauge!(
        BROKER_DROPPED,
        "messages that the broker has dropped since it started, for all of its clients"
    );
    describe_counter!(DEAD_LETTERS, "inputs that can't be used, by reason");
    describe_counter!(
        OVER_QUOTA,
        "dead letters that weren't kept, because the quota of their series was used up"
    );
    describe_gauge!(LIST_LENGTH, "elements in a list");
    describe_gauge!(LIST_LIMIT, "length at which a list counts as full");
    describe_histogram!(
        STORE_DELAY,
        "from a row's tick to its being stored, in seconds"
    );
    describe_counter!(RETRIES, "failed attempts that are retried, by dependency");
    describe_histogram!(BATCH_SIZE, "elements in a batch");
    describe_counter!(
        RESETS,
        "times the queue was found flushed, emptied, restored to an older state or replaced"
    );
    describe_gauge!(DEPENDENCY_UP, "whether a dependency is up");
    describe_gauge!(OPEN_ROWS, "rows that wait for more readings");
    describe_gauge!(LEDGER, "the ledger's counters, as last seen");
    describe_gauge!(MQTT_CONNECTIONS, "open connections of devices");
    describe_counter!(
        MQTT_REFUSED,
        "connections of devices that were refused or closed, by reason"
    );
    describe_counter!(
        MQTT_DELAYED,
        "pauses of connections that sent more messages a second than they may, by reason"
    );
    describe_gauge!(ALERTS_FIRING, "alerts that are firing");
    describe_counter!(ALERT_EVENTS, "alerts that began or ended");
    describe_counter!(
        WEBHOOK_DELIVERIES,
        "attempts to post an event of an alert to a webhook, by outcome"
    );
    describe_counter!(PRODUCED, "readings handed to the broker, by state");
}

/// Records the length and the limit of a list of a pipeline.
#[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
pub fn record_list_length(pipeline: &str, list: &'static str, length: i64, limit: usize) {
    let labels = [
        Label::new("pipeline", pipeline.to_owned()),
        Label::from_static_parts("list", list),
    ];
    gauge!(LIST_LENGTH, labels.iter()).set(length as f64);
    gauge!(LIST_LIMIT, labels.iter()).set(limit as f64);
}

/// Counts a rejected input. Call it after its dead letter is in the list, if it is kept.
pub fn count_dead_letter(reason: Reason, is_kept: bool) {
    counter!(DEAD_LETTERS, "reason" => reason.as_str()).increment(1);
    if !is_kept {
        counter!(OVER_QUOTA, "reason" => reason.as_str()).increment(1);
    }
}
