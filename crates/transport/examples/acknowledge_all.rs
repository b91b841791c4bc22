//! A listener that acknowledges every message at once and drops it. Run it with `flood` to measure the
//! cost of the listener alone: it prints the CPU time per message.
//!
//! Arguments: address, seconds, and `tls` for TLS with a new certificate: then it first prints the file with the
//! certificate of its authority.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use common::health::Dependency;
use rustix::time::{ClockId, clock_gettime};
use testkit::Certificates;
use tokio::time::{Instant, timeout_at};
use transport::{ListenSettings, Listener, Source};

const BATCH: usize = 2_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let ([address, seconds] | [address, seconds, _]) = args.as_slice() else {
        return Err("arguments: ADDR SECONDS [tls]".into());
    };
    let (address, seconds): (SocketAddr, u64) = (address.parse()?, seconds.parse()?);
    let mut settings = ListenSettings::at(address);
    let certificates = Certificates::new();
    if args.len() == 3 {
        certificates.issue("listener", &[&address.ip().to_string()]);
        settings.mqtt_listen.set_port(0);
        settings.sockets.mqtt_tls_listen = Some(address);
        settings.sockets.mqtt_tls_cert_file = Some(certificates.certificate("listener"));
        settings.sockets.mqtt_tls_key_file = Some(certificates.key("listener"));
        println!("{}", certificates.ca().display());
    }
    let listener = Listener::bind(&settings).await?;
    let mut listening = listener.start(&Dependency::unreported("mqtt"));
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut batch = Vec::new();
    let mut messages = 0_u64;
    let mut batches = 0_u64;
    while let Ok(received) = timeout_at(end, listening.recv_batch(BATCH, &mut batch)).await {
        messages += received? as u64;
        batches += 1;
        listening.ack(batch.drain(..).map(|delivery| delivery.ticket));
    }
    listening.close().await;
    let used = clock_gettime(ClockId::ProcessCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let each = (used.tv_sec as f64 * 1e6 + used.tv_nsec as f64 / 1e3) / messages.max(1) as f64;
    println!(r#"{{"messages":{messages},"batches":{batches},"cpu_us_per_message":{each:.3}}}"#);
    Ok(())
}
