//! Measures the broker alone: messages per second from one client to another at QoS 1, without Rigline
//! in between. The benchmark compares the pipeline's rate with it.
//!
//! Arguments: host, port, number of messages.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::time::{Duration, Instant};

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use tokio::sync::oneshot;

/// As many messages wait for an acknowledgement as Rigline's own clients allow.
const IN_FLIGHT: u16 = 1_000;
const PAYLOAD: &str = r#"{"timestamp":"2025-11-02T14:21:33.512Z","value":78.25}"#;

fn client(host: &str, port: u16, id: &str) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(format!("{id}-{:08x}", fastrand::u32(..)), host, port);
    options
        .set_keep_alive(Duration::from_secs(30))
        .set_inflight(IN_FLIGHT);
    AsyncClient::new(options, usize::from(IN_FLIGHT))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, count] = args.as_slice() else {
        return Err("arguments: HOST PORT COUNT".into());
    };
    let (port, count): (u16, u64) = (port.parse()?, count.parse()?);

    let topic = format!("rigline-bench/{:08x}", fastrand::u32(..));
    let (receiver, mut incoming) = client(host, port, "bare-subscriber");
    receiver.subscribe(&topic, QoS::AtLeastOnce).await?;
    let (subscribed, is_subscribed) = oneshot::channel();
    let receiving = tokio::spawn(async move {
        let (mut subscribed, mut left) = (Some(subscribed), count);
        while left > 0 {
            match incoming.poll().await? {
                Event::Incoming(Packet::SubAck(_)) => {
                    subscribed.take().map(|tell| tell.send(()));
                }
                Event::Incoming(Packet::Publish(_)) => left -= 1,
                _ => {}
            }
        }
        Ok::<_, rumqttc::ConnectionError>(())
    });
    is_subscribed.await?;

    let (publisher, mut outgoing) = client(host, port, "bare-publisher");
    let started = Instant::now();
    let sending = tokio::spawn(async move { while outgoing.poll().await.is_ok() {} });
    for _ in 0..count {
        publisher
            .publish(&topic, QoS::AtLeastOnce, false, PAYLOAD)
            .await?;
    }
    receiving.await??;
    let seconds = started.elapsed().as_secs_f64();
    sending.abort();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let rate = count as f64 / seconds;
    println!("{rate:.0} messages/s");
    Ok(())
}
