//! Messages of a broker.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use common::clock::Clock;
use serde_json::json;
use transport::{Capture, Captured};

use super::TapArgs;

/// Prints the next messages, or with `--follow` all that come.
pub(super) async fn messages(args: &TapArgs) -> anyhow::Result<()> {
    let mut printer = args.printer();
    let clock = Clock::system();
    let mut capture = Capture::open(&args.mqtt, &args.mqtt_topic).await?;
    let mut shown = 0;
    while args.follow || shown < args.number {
        let message = capture.next().await?;
        if !printer.wants(&[&message.topic]) {
            continue;
        }
        shown += 1;
        let time = clock.now().to_string();
        let mut text = String::from_utf8_lossy(&message.payload).into_owned();
        if message.is_retained {
            text.push_str("  (retained)");
        }
        printer.either(|| as_json(&time, &message), [&time, &message.topic, &text])?;
        printer.flush()?;
    }
    capture.close().await;
    Ok(())
}

/// The message as `rigline try` and `producer --replay` take it, with the time at which it arrived here. A
/// payload that isn't UTF-8 is in base64.
fn as_json(time: &str, message: &Captured) -> serde_json::Value {
    let mut object = json!({
        "time": time,
        "topic": message.topic,
        "retained": message.is_retained,
    });
    if let Ok(text) = str::from_utf8(&message.payload) {
        object["payload"] = json!(text);
    } else {
        object["payload"] = json!(BASE64_STANDARD.encode(&message.payload));
        object["encoding"] = json!("base64");
    }
    object
}
