//! `https://`: a server of TLS in front of the real one.

use std::fs;

use common::secret::Secret;
use common::settings::{InfluxTls, Settings};
use common::tls::{ClientCertificates, ServerTls};
use model::Layout;
use testkit::influx_proxy::Reply;
use testkit::influxdb::{ORG, TOKEN};
use testkit::{Certificates, InfluxDb, InfluxProxy};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::{TICK, answered, detail, kind, row, settings};
use crate::history::History;
use crate::{
    InfluxHistory, InfluxSettings, InfluxSetup, InfluxStore, Measurement, Store, WriteAccess,
    WriteError,
};

fn authority() -> Certificates {
    let made = Certificates::new();
    made.issue("influxdb", &["localhost"]);
    made
}

/// Takes TLS off in front of a port; returns the port with TLS.
async fn in_front_of(port: u16, made: &Certificates, clients: ClientCertificates) -> u16 {
    let (cert, key) = (made.certificate("influxdb"), made.key("influxdb"));
    let tls = ServerTls::load("TEST", cert, key, clients).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let with_tls = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = tls.acceptor();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
                copy_bidirectional(&mut stream, &mut server).await
            });
        }
    });
    with_tls
}

fn port_of(server: &InfluxProxy) -> u16 {
    let url = server.url();
    let (_, port) = url.rsplit_once(':').unwrap();
    port.parse().unwrap()
}

async fn with_tls(server: &InfluxProxy, made: &Certificates) -> InfluxSettings {
    let port = in_front_of(port_of(server), made, ClientCertificates::Off).await;
    InfluxSettings {
        url: format!("https://localhost:{port}"),
        tls: InfluxTls {
            ca_file: Some(made.ca()),
            ..InfluxTls::default()
        },
        ..settings(server)
    }
}

#[tokio::test]
async fn rows_are_written_and_read_and_the_server_is_asked() {
    let (server, made) = (InfluxProxy::start(), authority());
    let mut settings = with_tls(&server, &made).await;
    settings.check().unwrap();
    let store = InfluxStore::new(&settings).unwrap();
    store.preflight().await.unwrap();
    let rows = [row("RIG-1", 78.2), row("RIG-2", -0.5)];
    store.write(&rows).await.unwrap();
    store.write(&rows).await.unwrap();
    assert_eq!((server.count(), server.changed()), (2, 0));
    assert_eq!(
        server.row("RIG-1", TICK)["temp_inlet"].to_bits(),
        78.2_f64.to_bits()
    );

    let history = InfluxHistory::new(&settings, Measurement::default(), Layout::Rigs).unwrap();
    let latest = history.latest("RIG-1").await.unwrap();
    assert_eq!(latest.len(), 1, "{latest:?}");

    let setup = InfluxSetup::new(&settings).unwrap();
    assert!(setup.server().await.unwrap().version.is_some());
    let token = Secret::new(TOKEN);
    let access = setup.write_access(&token, ORG, server.bucket()).await;
    assert_eq!(access.unwrap(), WriteAccess::Allowed);
    assert!(
        setup
            .operator(&token)
            .may_read_organisations()
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn every_answer_maps_to_the_next_step_and_retry_after_is_seen() {
    let (server, made) = (InfluxProxy::start(), authority());
    let store = InfluxStore::new(&with_tls(&server, &made).await).unwrap();
    for (status, expected) in [
        (202, "retry"),
        (302, "retry"),
        (400, "rejected"),
        (401, "denied"),
        (403, "denied"),
        (404, "denied"),
        (413, "too large"),
        (422, "rejected"),
        (429, "retry"),
        (500, "retry"),
        (503, "retry"),
    ] {
        server.reply_next([Reply::error(status, "code", "what the server says")]);
        let answer = store.write(&[row("R", 1.0)]).await;
        let words = detail(&answer);
        assert_eq!(kind(&answer), expected, "{status}: {words}");
        assert!(
            words.contains(&status.to_string()) && words.contains("what the server says"),
            "{words}"
        );
    }
    for (header, seconds) in [("7", Some(7)), ("100000", Some(300)), ("soon", None)] {
        server.reply_next([Reply::status(503, "").header("Retry-After", header)]);
        let answer = store.write(&[row("R", 1.0)]).await;
        let after = match answer {
            Err(WriteError::Retry { after, .. }) => after,
            other => unreachable!("{other:?}"),
        };
        assert_eq!(after.map(|after| after.as_secs()), seconds, "{header}");
    }
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn what_is_wrong_is_reported_with_its_remedy() {
    let (server, made) = (InfluxProxy::start(), authority());
    let good = with_tls(&server, &made).await;
    let failure = async |settings: &InfluxSettings| {
        let answer = InfluxStore::new(settings).unwrap().preflight().await;
        assert_eq!(kind(&answer), "retry");
        let written = detail(&answer);
        let history = InfluxHistory::new(settings, Measurement::default(), Layout::Rigs).unwrap();
        let read = history.latest("R").await.unwrap_err().to_string();
        let asked = InfluxSetup::new(settings).unwrap().health().await;
        let asked = asked.unwrap_err().to_string();
        assert_eq!((&read, &asked), (&written, &written));
        written
    };
    let other = Certificates::new();
    let mut wrong = good.clone();
    wrong.tls.ca_file = Some(other.ca());
    let error = failure(&wrong).await;
    assert!(error.contains("INFLUX_CA_FILE"), "{error}");

    let mut by_address = good.clone();
    by_address.url = good.url.replace("localhost", "127.0.0.1");
    let error = failure(&by_address).await;
    assert!(error.contains("INFLUX_SERVER_NAME"), "{error}");
    by_address.tls.server_name = Some("localhost".into());
    InfluxStore::new(&by_address)
        .unwrap()
        .preflight()
        .await
        .unwrap();

    let mut plain = good.clone();
    plain.url = server
        .url()
        .replace("http:", "https:")
        .replace("127.0.0.1", "localhost");
    let error = failure(&plain).await;
    assert!(error.contains("port for TLS?"), "{error}");

    let required = ClientCertificates::Required(made.ca());
    let port = in_front_of(port_of(&server), &made, required).await;
    let mut without = good.clone();
    without.url = format!("https://localhost:{port}");
    let error = failure(&without).await;
    assert!(error.contains("INFLUX_CERT_FILE"), "{error}");
    made.issue("sink", &[]);
    without.tls.cert_file = Some(made.certificate("sink"));
    without.tls.key_file = Some(made.key("sink"));
    InfluxStore::new(&without)
        .unwrap()
        .preflight()
        .await
        .unwrap();

    let mut missing = good;
    missing.tls.ca_file = Some("/nowhere/ca.pem".into());
    let error = missing.check().unwrap_err().to_string();
    assert!(
        error.contains("INFLUX_CA_FILE") && error.contains("/nowhere/ca.pem"),
        "{error}"
    );
    assert!(InfluxStore::new(&missing).is_err());
}

#[tokio::test]
async fn a_token_and_an_authority_that_change_are_read_again() {
    let (server, made) = (InfluxProxy::start(), authority());
    let good = with_tls(&server, &made).await;
    let dir = tempfile::tempdir().unwrap();
    let (token, ca) = (dir.path().join("token"), dir.path().join("ca.pem"));
    for url in [good.url.clone(), server.url()] {
        fs::write(&token, "not-a-token\n").unwrap();
        fs::copy(Certificates::new().ca(), &ca).unwrap();
        let mut settings = InfluxSettings {
            url: url.clone(),
            token: None,
            token_file: Some(token.clone()),
            ..good.clone()
        };
        settings.tls.ca_file = Some(ca.clone());
        settings.check().unwrap();
        let store = InfluxStore::new(&settings).unwrap();
        let history = InfluxHistory::new(&settings, Measurement::default(), Layout::Rigs).unwrap();
        if url.starts_with("https") {
            assert_eq!(kind(&store.preflight().await), "retry");
            assert!(history.latest("R").await.is_err());
            fs::copy(made.ca(), &ca).unwrap();
            // The last attempts have read the old files.
            assert_eq!(kind(&store.preflight().await), "retry");
            assert!(history.latest("R").await.is_err());
        }
        let preflight = async || store.preflight().await;
        assert_eq!(kind(&answered(preflight).await), "denied");
        assert!(history.latest("R").await.is_err());
        let created = InfluxDb::shared().create_token("write", server.bucket());
        fs::write(&token, &created).unwrap();
        // The first attempts are refused, and read the file then.
        let write = async || store.write(&[row("R", 1.0)]).await;
        let _ = answered(write).await;
        assert_eq!(kind(&answered(write).await), "ok", "{url}");
        fs::write(&token, TOKEN).unwrap();
        let mut read = history.latest("R").await;
        for _ in 0..20 {
            if read.is_ok() {
                break;
            }
            read = history.latest("R").await;
        }
        assert_eq!(read.unwrap().len(), 1, "{url}");
    }
}
