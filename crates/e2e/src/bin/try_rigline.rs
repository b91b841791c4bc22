//! Starts everything beside each other, with servers of its own and a simulated fleet, and shows
//! what happens; stops it all at the end. For a first look without installing anything.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool for people"
)]

use std::time::Duration;

use e2e::Chain;
use queue::ledger::Counter;

#[tokio::main]
async fn main() {
    let seconds = std::env::args()
        .nth(1)
        .map_or(Ok(20), |text| text.parse::<u64>());
    let seconds = seconds.expect("the one argument is a number of seconds");
    println!("starting mosquitto, redis, victoria-metrics, ingester, transformer and sink");
    let chain = Chain::start(&[]);
    let stages = chain.spawn_all();
    let faults = [("MISSING", "0.01"), ("DUPLICATED", "0.01")];
    let producer = chain.spawn("producer", &faults);
    println!(
        "  publish   mosquitto_pub -p {} -q 1 -t rigs/MINE/measurements/pressure -m '{{\"value\":2.5}}'",
        chain.mosquitto.port()
    );
    println!(
        "  look      redis-cli -p {} lrange normalized_events 0 -1",
        chain.redis.port()
    );
    println!("  query     {}/vmui", chain.victoria.url());
    println!(
        "{:>8} {:>9} {:>8} {:>9} {:>11} {:>6}  ledger",
        "accepted", "in rows", "rows", "repeated", "superseded", "dead"
    );
    for _ in 0..seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let ledger = chain.ledger().await;
        let of = |counter| ledger.get(counter);
        println!(
            "{:>8} {:>9} {:>8} {:>9} {:>11} {:>6}  {}",
            of(Counter::Accepted),
            of(Counter::InRows),
            of(Counter::RowsStored),
            of(Counter::Repeated),
            of(Counter::Superseded),
            ledger.dead,
            ledger
                .broken_line()
                .map_or("balanced".to_owned(), |line| format!("off: {line:?}")),
        );
    }
    drop(producer);
    println!("some of what the store has:");
    for ((rig, ms, sensor), values) in chain.rows().iter().rev().take(12) {
        let time = model::time::Timestamp::from_millis(*ms);
        println!("  {rig} {time} {sensor} = {}", values[0]);
    }
    drop(stages);
    println!("stopped everything");
}
