use std::sync::Arc;
use std::time::Duration;

use common::clock::Clock;
use common::tls::{ClientCertificates, ClientTls, ServerTls};
use testkit::Certificates;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::{Courier, Done, client};
use crate::alerts::book::Book;
use crate::alerts::rule::Rule;
use model::pipeline::PipelineFile;

/// A book in which an event of this age waits for a webhook.
fn waiting(url: &str, age: Duration) -> Book {
    let text = format!(
        "name = \"p\"\n[source]\ntopic = \"x/{{d}}\"\n[[alert]]\nname = \"a\"\nfield = \"t\"\nbelow = 5\n\
         webhooks = [\"{url}\"]"
    );
    let file = PipelineFile::parse("p.toml", &text, &|_| None).unwrap();
    let created = Clock::system().now().minus(age).nanos();
    let delivery = format!(
        r#"{{"created":{created},"event":{{"id":"1","alert":"a","pipeline":"p","series":"{{}}","tags":{{}},
            "field":"t","kind":"threshold","state":"firing","value":1,"threshold":5,"time":"2026-01-05T08:00:00Z"}}}}"#
    );
    let state = vec![(format!("w7 {url}").into_bytes(), delivery.into_bytes())];
    let book = Book::load("p", Arc::from(Rule::all(&file)), state);
    assert!(book.next_for(url).is_some());
    book
}

fn start_trusting(tls: &ClientTls, url: &str, book: &Book) -> Courier {
    let client = client(tls, [url]).unwrap();
    Courier::start(&client, tls, book, Clock::system())
}

/// Starts to deliver, trusting what the machine does.
fn start(url: &str, book: &Book) -> Courier {
    start_trusting(&ClientTls::new("WEBHOOK"), url, book)
}

#[tokio::test]
async fn event_that_cannot_be_delivered_for_a_day_is_given_up() {
    // A port that nothing listens on.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", free.local_addr().unwrap());
    drop(free);
    for (hours, is_given_up) in [(23, false), (25, true)] {
        let book = waiting(&url, Duration::from_hours(hours));
        let mut courier = start(&url, &book);
        courier.feed(&book);
        let done = timeout(Duration::from_secs(2), courier.next_done()).await;
        let expected = is_given_up.then(|| Done {
            url: url.clone(),
            number: 7,
        });
        assert_eq!(done.ok(), expected, "{hours}");
    }
}

#[tokio::test]
async fn https_begins_with_a_tls_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/hook", listener.local_addr().unwrap());
    let book = waiting(&url, Duration::ZERO);
    let mut courier = start(&url, &book);
    courier.feed(&book);
    let (mut connection, _) = listener.accept().await.unwrap();
    let mut record = [0];
    connection.read_exact(&mut record).await.unwrap();
    assert_eq!(record, [0x16], "a record of the handshake");
}

#[tokio::test]
async fn https_works_with_an_authority_of_our_own() {
    let made = Certificates::new();
    made.issue("receiver", &["localhost"]);
    let (cert, key) = (made.certificate("receiver"), made.key("receiver"));
    let receiver = ServerTls::load("TEST", cert, key, ClientCertificates::Off).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = receiver.acceptor().accept(stream).await else {
                continue;
            };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            assert!(request.starts_with(b"POST /hook HTTP/1.1"));
            let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        }
    });
    let url = format!("https://localhost:{port}/hook");
    let trusting = ClientTls {
        ca_file: Some(made.ca()),
        ..ClientTls::new("WEBHOOK")
    };
    let book = waiting(&url, Duration::ZERO);
    let mut courier = start_trusting(&trusting, &url, &book);
    courier.feed(&book);
    let done = timeout(Duration::from_secs(10), courier.next_done()).await;
    assert_eq!(done.unwrap().number, 7);

    // Another authority: the event isn't delivered.
    let other = Certificates::new();
    let trusting = ClientTls {
        ca_file: Some(other.ca()),
        ..ClientTls::new("WEBHOOK")
    };
    let mut courier = start_trusting(&trusting, &url, &book);
    courier.feed(&book);
    let done = timeout(Duration::from_secs(1), courier.next_done()).await;
    assert!(done.is_err());
}
