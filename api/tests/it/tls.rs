//! The API at https, and files that are read again.

use std::time::Duration;

use api::{ApiSettings, Server};
use clap::Parser;
use common::harness::Process;
use common::settings::Settings as _;
use common::tls::ClientTls;
use testkit::Certificates;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::fixture::Fixture;

const LIMIT: Duration = Duration::from_secs(30);

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    api: ApiSettings,
}

fn parsed(args: &[&str]) -> ApiSettings {
    let fixed = ["test", "--api-addr", "127.0.0.1:0"];
    Settings::parse_from(fixed.iter().chain(args)).api
}

/// The response to a request, or why there is none.
async fn ask(client: &ClientTls, host: &str, port: u16, request: &str) -> Result<String, String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut stream = client
        .connect(host, stream)
        .await
        .map_err(|error| error.to_string())?;
    let request = format!("{request}\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    // A server may close a connection without TLS's own end.
    let _ = stream.read_to_end(&mut response).await;
    Ok(String::from_utf8_lossy(&response).into_owned())
}

#[tokio::test]
async fn api_answers_at_https_and_reads_its_certificate_again() {
    let made = Certificates::new();
    made.issue("api", &["localhost"]);
    let (cert, key) = (made.certificate("api"), made.key("api"));
    let (cert, key) = (cert.display().to_string(), key.display().to_string());
    let mut settings = parsed(&["--api-tls-cert-file", &cert, "--api-tls-key-file", &key]);
    settings.check().unwrap();
    let fixture = Fixture::new();
    let server = Server::bind(&settings).await.unwrap();
    let port = server.addr().port();
    assert_eq!(server.url(), format!("https://127.0.0.1:{port}"));
    let (api, process) = (fixture.api.clone(), Process::default());
    let (stop, reload) = (process.stop.clone(), process.reload.clone());
    let running = tokio::spawn(async move { server.run(api, &settings, process).await });

    let client = ClientTls {
        ca_file: Some(made.ca()),
        ..ClientTls::new("TEST")
    };
    // Others that don't say anything hold up nobody.
    let _silent = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let get = "GET /api/v1/pipelines HTTP/1.1";
    let answer = ask(&client, "localhost", port, get).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let logout = "POST /api/v1/logout HTTP/1.1\r\ncontent-length: 0";
    let answer = ask(&client, "localhost", port, logout).await.unwrap();
    assert!(answer.contains("; Secure"), "{answer}");

    made.issue("api", &["renamed.example"]);
    reload.notify_waiters();
    let renamed = async {
        while ask(&client, "renamed.example", port, get).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, renamed).await.unwrap();
    assert!(ask(&client, "localhost", port, get).await.is_err());
    stop.cancel();
    timeout(LIMIT, running).await.unwrap().unwrap().unwrap();
}

#[test]
fn files_are_read_before_the_start() {
    let made = Certificates::new();
    made.issue("api", &["localhost"]);
    let cert = made.certificate("api").display().to_string();
    let refused = |args: &[&str]| parsed(args).check().unwrap_err().to_string();
    let error = refused(&["--api-tls-cert-file", &cert]);
    assert!(error.contains("API_TLS_KEY_FILE"), "{error}");
    let error = refused(&["--api-tls-cert-file", &cert, "--api-tls-key-file", &cert]);
    assert!(error.contains("API_TLS_KEY_FILE"), "{error}");
    let error = refused(&["--webhook-ca-file", "/nowhere/ca.pem"]);
    assert!(
        error.contains("WEBHOOK_CA_FILE") && error.contains("/nowhere"),
        "{error}"
    );
}

#[tokio::test]
async fn tokens_of_files_are_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (token, secret) = (file("token", "first"), file("secret", &"s".repeat(32)));
    let mut settings = parsed(&["--api-token-file", &token, "--api-jwt-secret-file", &secret]);
    settings.check().unwrap();
    let fixture = Fixture::new();
    let server = Server::bind(&settings).await.unwrap();
    let port = server.addr().port();
    let (api, process) = (fixture.api.clone(), Process::default());
    let (stop, reload) = (process.stop.clone(), process.reload.clone());
    let running = tokio::spawn(async move { server.run(api, &settings, process).await });
    let is_accepted = async |token: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request = format!(
            "GET /api/v1/pipelines HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response.starts_with("HTTP/1.1 200")
    };
    assert!(is_accepted("first").await);
    file("token", "second");
    file("secret", "too short");
    assert!(is_accepted("first").await, "without a signal");
    reload.notify_waiters();
    let changed = async {
        while !is_accepted("second").await {
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(LIMIT, changed).await.unwrap();
    assert!(!is_accepted("first").await);
    // A file that can't be used leaves what was read last, not what was read at the start.
    file("token", "");
    reload.notify_waiters();
    sleep(Duration::from_millis(500)).await;
    assert!(is_accepted("second").await);
    assert!(!is_accepted("first").await);
    stop.cancel();
    timeout(LIMIT, running).await.unwrap().unwrap().unwrap();
}
