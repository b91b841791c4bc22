//! A server that is unavailable, silent or something else, and secrets that must not leak.

use std::process::Command;
use std::time::{Duration, Instant};

use testkit::InfluxProxy;
use testkit::influx_proxy::{Forward, Reply};
use testkit::influxdb::{ORG, TOKEN};

use super::super::InfluxStore;
use super::{detail, kind, row, settings, store};
use crate::Store;

#[tokio::test]
async fn unavailable_server_is_retried() {
    let mut server = InfluxProxy::start();
    let store = store(&server);
    store.write(&[row("R", 1.0)]).await.unwrap();
    server.stop();
    // The first may find a connection that was cut, the second finds no server.
    assert_eq!(kind(&store.write(&[row("R", 1.0)]).await), "retry");
    let answer = store.write(&[row("R", 1.0)]).await;
    let words = detail(&answer);
    assert_eq!(kind(&answer), "retry");
    assert!(
        words.contains(&server.url()) && words.contains("refused"),
        "{words}"
    );
    server.restart();
    store.write(&[row("R", 1.0)]).await.unwrap();
    for forward in [Forward::All, Forward::Nothing] {
        server.reply_next([Reply::cut().forwarding(forward)]);
        assert_eq!(kind(&store.write(&[row("R", 1.0)]).await), "retry");
    }
    assert_eq!(server.changed(), 0);
}

#[tokio::test]
async fn timeout_is_enforced() {
    let server = InfluxProxy::start();
    let mut settings = settings(&server);
    settings.timeout = Duration::from_millis(200);
    let store = InfluxStore::new(&settings).unwrap();
    for reply in [
        Reply::silence(),
        Reply::drip(400),
        Reply::drip(500),
        Reply::drip(200),
    ] {
        server.reply_next([reply]);
        let started = Instant::now();
        let answer = store.write(&[row("R", 1.0)]).await;
        let words = detail(&answer);
        assert_eq!(kind(&answer), "retry");
        assert!(words.contains("didn't respond within 200ms"), "{words}");
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "{:?}",
            started.elapsed()
        );
    }
    // A busy machine may need longer than the timeout for a write that works, too.
    let started = Instant::now();
    while let Err(error) = store.write(&[row("R", 1.0)]).await {
        assert!(started.elapsed() < Duration::from_mins(1), "{error}");
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (server, elsewhere) = (InfluxProxy::start(), InfluxProxy::start());
    let store = store(&server);
    let target = format!(
        "{}/api/v2/write?org={ORG}&bucket={}",
        elsewhere.url(),
        elsewhere.bucket()
    );
    for status in [301, 302, 303, 307, 308] {
        server.reply_next([Reply::status(status, "").header("Location", &target)]);
        let words = detail(&store.write(&[row("R", 1.0)]).await);
        assert!(
            words.contains("redirect") && words.contains("INFLUX_URL"),
            "{words}"
        );
    }
    assert!(elsewhere.received().is_empty());
}

#[tokio::test]
async fn long_messages_are_truncated_and_tokens_in_them_hidden() {
    let server = InfluxProxy::start();
    let store = store(&server);
    let page = format!(
        "<html>Authorization: Token {TOKEN}{}",
        "\u{e9}".repeat(100_000)
    );
    for status in [200, 400, 401, 413, 500] {
        server.reply_next([Reply::status(status, page.as_str())]);
        let words = detail(&store.write(&[row("R", 1.0)]).await);
        assert!(
            words.contains("Token ***") && !words.contains(TOKEN),
            "{words}"
        );
        assert!(words.len() < 2_500, "{} bytes", words.len());
    }
    server.reply_next([
        Reply::status(400, "null"),
        Reply::status(400, "{\"message\":7}"),
    ]);
    assert!(detail(&store.write(&[row("R", 1.0)]).await).ends_with(": null"));
    assert!(detail(&store.write(&[row("R", 1.0)]).await).ends_with("{\"message\":7}"));
}

#[tokio::test]
async fn the_token_is_never_shown() {
    let server = InfluxProxy::start();
    let settings = settings(&server);
    let store = InfluxStore::new(&settings).unwrap();
    for shown in [format!("{store:?}"), format!("{settings:?}")] {
        assert!(!shown.contains(TOKEN), "{shown}");
    }
}

/// Runs this test binary again: an environment can only be changed for another process.
#[test]
fn proxies_named_in_the_environment_are_not_used() {
    let nobody = "http://127.0.0.1:9";
    let ran = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "influx::tests::written_rows_are_stored"])
        .envs(["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"].map(|name| (name, nobody)))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}
