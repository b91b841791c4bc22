//! Messages of a broker, or of a process that devices publish to.

use api::{MessageLines, WatchLine, WatchedMessage};
use common::clock::Clock;
use common::tls::ClientTls;
use serde_json::json;
use transport::Capture;

use super::TapArgs;
use super::elements::Printer;

/// Prints the next messages, or with `--follow` all that come.
pub(super) async fn messages(args: &TapArgs) -> anyhow::Result<()> {
    match &args.api {
        Some(url) => of_api(args, url).await,
        None => of_broker(args).await,
    }
}

async fn of_broker(args: &TapArgs) -> anyhow::Result<()> {
    let mut printer = args.printer();
    let clock = Clock::system();
    let mut capture = Capture::open(&args.mqtt, &args.mqtt_topic).await?;
    let mut shown = 0;
    while args.follow || shown < args.number {
        let message = WatchedMessage::new(clock.now().to_string(), capture.next().await?);
        shown += usize::from(print(&mut printer, &message)?);
    }
    capture.close().await;
    Ok(())
}

async fn of_api(args: &TapArgs, url: &str) -> anyhow::Result<()> {
    let mut printer = args.printer();
    let pipeline = args.lists.pipeline();
    let tls = ClientTls::with_only_ca("API", args.api_ca_file.clone());
    let mut lines = MessageLines::open(url, pipeline, args.api_token.as_ref(), &tls).await?;
    let mut shown = 0;
    while args.follow || shown < args.number {
        match lines.next().await? {
            Some(WatchLine::Message(message)) => {
                shown += usize::from(print(&mut printer, &message)?);
            }
            Some(WatchLine::Missed { missed }) => tell_missed(missed),
            None => anyhow::bail!("the process at {url} has ended"),
        }
    }
    Ok(())
}

/// Prints a message, as `rigline try` and `producer --replay` take it, if it is wanted.
fn print(printer: &mut Printer, message: &WatchedMessage) -> anyhow::Result<bool> {
    if !printer.wants(&[&message.topic]) {
        return Ok(false);
    }
    let mut text = message.payload.clone();
    if message.encoding.is_some() {
        text.push_str("  (base64)");
    }
    if message.retained {
        text.push_str("  (retained)");
    }
    printer.either(|| json!(message), [&message.time, &message.topic, &text])?;
    printer.flush()?;
    Ok(true)
}

#[expect(clippy::print_stderr, reason = "the answer of a command")]
fn tell_missed(missed: u64) {
    eprintln!("{missed} not shown: they came faster than they could be read");
}
