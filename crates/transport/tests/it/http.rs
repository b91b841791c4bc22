//! Messages that devices send with HTTP.

use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use common::harness::Process;
use common::health::Dependency;
use common::settings::Settings as _;
use common::tls::ClientTls;
use model::dead_letter::{Reason, Rejection};
use serde_json::Value;
use testkit::{Answer, Certificates, http_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use transport::{HttpReceiver, HttpRoute, HttpSettings, Inbox, Source};

use crate::harness::TIMEOUT;

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    http: HttpSettings,
}

fn settings(args: &[&str]) -> HttpSettings {
    Settings::parse_from(["test"].iter().chain(args)).http
}

/// A server with pipelines, whose messages are received and acknowledged unless they hold `stuck`.
struct Server {
    port: u16,
    process: Process,
    running: JoinHandle<anyhow::Result<()>>,
    received: mpsc::UnboundedReceiver<(usize, String, String)>,
}

impl Server {
    async fn start(paths: &[&str], args: &[&str]) -> Self {
        let (sender, received) = mpsc::unbounded_channel();
        let mut routes = Vec::new();
        for (place, path) in paths.iter().enumerate() {
            let inbox = Inbox::default();
            routes.push(HttpRoute {
                path: path.parse().unwrap(),
                inbox: inbox.clone(),
                check: Arc::new(|_, message, _| {
                    let is_good = !message.starts_with(b"bad");
                    (!is_good).then(|| Rejection::new(Reason::BadValue, "it's bad"))
                }),
            });
            let mut session = inbox.alone(&Dependency::unreported("http"));
            let sender = sender.clone();
            tokio::spawn(async move {
                loop {
                    let mut batch = Vec::new();
                    session.recv_batch(100, &mut batch).await.unwrap();
                    for message in batch {
                        let text = String::from_utf8(message.payload.to_vec()).unwrap();
                        if text.contains("stuck") {
                            // Never acknowledged.
                            std::mem::forget(message.ticket);
                            continue;
                        }
                        let _ = sender.send((place, message.topic, text));
                        session.ack([message.ticket]);
                    }
                }
            });
        }
        let address = ["--http-addr", "127.0.0.1:0"];
        let mut settings = settings(&[&address, args].concat());
        settings.check().unwrap();
        let listener = settings.bind().await.unwrap();
        let (port, process) = (listener.addr().port(), Process::default());
        let server = HttpReceiver::new(routes, &settings);
        let running = tokio::spawn(server.run(listener, process.clone()));
        Self {
            port,
            process,
            running,
            received,
        }
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send("POST", path, headers, body).await
    }

    async fn send(
        &self,
        method: &'static str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let (port, path, body) = (self.port, path.to_owned(), body.to_vec());
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let request = tokio::task::spawn_blocking(move || {
            let headers: Vec<_> = headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            http_request(port, (method, &path), &headers, &body, TIMEOUT).unwrap()
        });
        request.await.unwrap()
    }

    /// What was received since the last call: the place of the pipeline, the topic and the payload.
    fn taken(&mut self) -> Vec<(usize, String, String)> {
        let mut taken = Vec::new();
        while let Ok(message) = self.received.try_recv() {
            taken.push(message);
        }
        taken.sort();
        taken
    }
}

fn message(place: usize, topic: &str, payload: &str) -> (usize, String, String) {
    (place, topic.to_owned(), payload.to_owned())
}

const NDJSON: [(&str, &str); 1] = [("Content-Type", "application/x-ndjson")];

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_to_the_pipelines_whose_path_fits_and_are_answered_when_acknowledged() {
    let mut server = Server::start(&["/rooms/{room}/climate", "/{all...}"], &[]).await;
    let path = "/rooms/bath%20r%C3%B6om/climate";
    let answer = server.post(path, &[], b"{\"t\": 21}").await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    let topic = "/rooms/bath r\u{f6}om/climate";
    let expected = [0, 1].map(|place| message(place, topic, "{\"t\": 21}"));
    assert_eq!(server.taken(), expected);
    let answer = server.post("/other", &NDJSON, b"1\n\n 2\r\n3").await;
    assert_eq!(answer.status, 204, "{}", answer.body);
    assert_eq!(
        server.taken(),
        ["1", "2", "3"].map(|it| message(1, "/other", it))
    );
    // `printf '{"value": 2.5}' | gzip -n`.
    let packed = [
        31, 139, 8, 0, 0, 0, 0, 0, 2, 255, 171, 86, 42, 75, 204, 41, 77, 85, 178, 82, 48, 210, 51,
        173, 5, 0, 11, 25, 113, 204, 14, 0, 0, 0,
    ];
    let gzip = [("Content-Encoding", "gzip")];
    assert_eq!(server.post("/x", &gzip, &packed).await.status, 204);
    assert_eq!(server.taken(), [message(1, "/x", "{\"value\": 2.5}")]);
    server.process.stop.cancel();
    server.running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_messages_are_named_and_all_are_received() {
    let mut server = Server::start(&["/in", "/in"], &[]).await;
    let answer = server.post("/in", &NDJSON, b"1\nbad\n3").await;
    assert_eq!(answer.status, 422, "{}", answer.body);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(problem["errors"][0]["line"], 2, "{problem}");
    assert_eq!(problem["errors"][0]["reason"], "bad_value", "{problem}");
    assert_eq!(server.taken().len(), 6);
    for (body, status) in [
        (&b"\n\n"[..], 422),
        ("1\n".repeat(1_001).as_bytes(), 422),
        (&vec![b'1'; (1 << 20) + 1], 413),
    ] {
        let answer = server.post("/in", &NDJSON, body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    assert_eq!(server.taken(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_and_methods_are_problems_that_name_the_paths() {
    let server = Server::start(&["/rooms/{room}"], &[]).await;
    for (method, path, status, part) in [
        ("POST", "/", 404, "there are: /rooms/{room}"),
        ("POST", "/rooms/a/b", 404, "/rooms/a/b"),
        ("POST", "/rooms/a%2Fb", 400, "slash"),
        ("POST", "/rooms/%ff", 400, "UTF-8"),
        ("POST", "/rooms/%00", 400, "the character 0"),
        ("GET", "/rooms/a", 405, "POST"),
    ] {
        let answer = server.send(method, path, &[], b"1").await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert!(answer.body.contains(part), "{path}: {}", answer.body);
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn message_that_is_not_acknowledged_in_time_is_503_and_may_be_sent_again() {
    let mut server = Server::start(&["/in"], &[]).await;
    let answer = server.post("/in", &NDJSON, b"1\nstuck").await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(
        answer.body.contains("may be stored later"),
        "{}",
        answer.body
    );
    assert_eq!(answer.header("retry-after"), "5");
    assert_eq!(server.taken(), [message(0, "/in", "1")]);
    assert_eq!(server.post("/in", &NDJSON, b"1\n2").await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_session_requests_are_refused_at_once() {
    let settings = settings(&["--http-addr", "127.0.0.1:0"]);
    let (inbox, process) = (Inbox::default(), Process::default());
    let route = HttpRoute {
        path: "/in".parse().unwrap(),
        inbox: inbox.clone(),
        check: Arc::new(|_, _, _| None),
    };
    let listener = settings.bind().await.unwrap();
    let port = listener.addr().port();
    let receiver = HttpReceiver::new(vec![route], &settings);
    tokio::spawn(receiver.run(listener, process));
    let ask = move || http_request(port, ("POST", "/in"), &[], b"1", Duration::from_secs(5));
    let standby = tokio::task::spawn_blocking(ask).await.unwrap().unwrap();
    assert_eq!(standby.status, 503, "{}", standby.body);
    assert!(standby.body.contains("lease"), "{}", standby.body);
    drop(inbox.alone(&Dependency::unreported("http")));
    let ended = tokio::task::spawn_blocking(ask).await.unwrap().unwrap();
    assert_eq!(ended.status, 503, "{}", ended.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn token_is_asked_for_and_pages_of_other_sites_are_refused() {
    let mut server = Server::start(&["/in"], &["--http-token", "secret token"]).await;
    let right = ("Authorization", "Bearer secret token");
    assert_eq!(server.post("/in", &[right], b"1").await.status, 204);
    let site = ("Origin", "http://evil.example");
    for (headers, status, part) in [
        (vec![], 401, "HTTP_TOKEN"),
        (vec![("Authorization", "Bearer wrong")], 401, "HTTP_TOKEN"),
        (vec![right, site], 403, "another site"),
    ] {
        let answer = server.post("/in", &headers, b"2").await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(answer.body.contains(part), "{}", answer.body);
    }
    for _ in 0..9 {
        let wrong = [("Authorization", "Bearer wrong")];
        server.post("/in", &wrong, b"3").await;
    }
    let answer = server.post("/in", &[right], b"4").await;
    assert_eq!(answer.status, 429, "{}", answer.body);
    assert_eq!(server.taken(), [message(0, "/in", "1")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_pages_of_other_sites_are_refused_too() {
    let mut server = Server::start(&["/in"], &[]).await;
    let site = [("Origin", "http://evil.example")];
    assert_eq!(server.post("/in", &site, b"1").await.status, 403);
    // The name leads here (DNS rebinding).
    let (port, host) = (server.port, "evil.example");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("POST /in HTTP/1.0\r\nhost: {host}\r\ncontent-length: 1\r\n\r\n1");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains(" 403 "), "{answer}");
    assert_eq!(server.taken(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_can_use_https() {
    let made = Certificates::new();
    made.issue("server", &["localhost"]);
    let files = [made.certificate("server"), made.key("server")];
    let [cert, key] = files.map(|file| file.display().to_string());
    let args = ["--http-tls-cert-file", &cert, "--http-tls-key-file", &key];
    let mut server = Server::start(&["/in"], &args).await;
    let client = ClientTls {
        ca_file: Some(made.ca()),
        ..ClientTls::new("TEST")
    };
    let stream = TcpStream::connect(("127.0.0.1", server.port))
        .await
        .unwrap();
    let mut stream = client.connect("localhost", stream).await.unwrap();
    let request = "POST /in HTTP/1.0\r\nhost: localhost\r\ncontent-length: 1\r\n\r\n7";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A server may close a connection without TLS's own end.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains(" 204 "), "{answer}");
    assert_eq!(server.taken(), [message(0, "/in", "7")]);
}

#[test]
fn addresses_of_other_machines_need_a_token() {
    let open = |args: &[&str]| {
        let address = ["--http-addr", "0.0.0.0:8070"];
        settings(&[&address, args].concat()).check()
    };
    let error = open(&[]).unwrap_err().to_string();
    assert!(
        error.contains("HTTP_ADDR") && error.contains("HTTP_TOKEN"),
        "{error}"
    );
    assert_eq!(open(&["--http-token", "t"]), Ok(()));
    assert_eq!(open(&["--http-allow-open"]), Ok(()));
    let half = settings(&["--http-tls-cert-file", "/nowhere"]).check();
    let error = half.unwrap_err().to_string();
    assert!(error.contains("HTTP_TLS_KEY_FILE"), "{error}");
}
