use std::fs;
use std::io;
use std::path::PathBuf;

use testkit::Certificates;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{ClientCertificates, ClientTls, ServerTls, is_not_tls};

fn server(made: &Certificates, name: &str, clients: ClientCertificates) -> ServerTls {
    let (cert, key) = (made.certificate(name), made.key(name));
    ServerTls::load("API_TLS", cert, key, clients).unwrap()
}

fn trusting(ca: PathBuf) -> ClientTls {
    ClientTls {
        ca_file: Some(ca),
        ..ClientTls::new("MQTT")
    }
}

/// Accepts connections, and answers a byte on each with one that is 1 more.
async fn serve(tls: ServerTls) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = tls.acceptor();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                let byte = stream.read_u8().await?;
                stream.write_u8(byte + 1).await?;
                stream.shutdown().await
            });
        }
    });
    port
}

/// The answer to 41 over a connection, or what went wrong.
async fn ask(client: &ClientTls, host: &str, port: u16) -> Result<u8, String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut stream = client
        .connect(host, stream)
        .await
        .map_err(|error| error.to_string())?;
    let answer = async {
        stream.write_u8(41).await?;
        stream.read_u8().await
    };
    let answer: io::Result<u8> = answer.await;
    answer.map_err(|error| {
        let explained = client.explain(&error, host);
        explained.unwrap_or_else(|| error.to_string())
    })
}

#[tokio::test]
async fn a_server_is_trusted_only_with_a_valid_certificate_of_a_known_authority_for_its_name() {
    let made = Certificates::new();
    made.issue("server", &["localhost", "127.0.0.1"]);
    let port = serve(server(&made, "server", ClientCertificates::Off)).await;
    let client = trusting(made.ca());
    for host in ["localhost", "127.0.0.1"] {
        assert_eq!(ask(&client, host, port).await, Ok(42), "{host}");
    }

    let other = ask(&client, "broker.example", port).await.unwrap_err();
    assert!(
        other.contains("MQTT_SERVER_NAME") && other.contains("localhost"),
        "{other}"
    );
    let named = ClientTls {
        server_name: Some("localhost".into()),
        ..client.clone()
    };
    assert_eq!(ask(&named, "broker.example", port).await, Ok(42));

    // An authority of the same name with another key, and none besides those of the machine.
    let others = Certificates::new();
    for distrusting in [trusting(others.ca()), ClientTls::new("MQTT")] {
        let unknown = ask(&distrusting, "localhost", port).await.unwrap_err();
        assert!(unknown.contains("MQTT_CA_FILE"), "{unknown}");
    }

    // The certificate of an authority, as a server's own.
    fs::copy(made.ca(), made.certificate("ca-itself")).unwrap();
    fs::write(made.key("ca-itself"), made.authority_key()).unwrap();
    let port = serve(server(&made, "ca-itself", ClientCertificates::Off)).await;
    let authority = ask(&client, "localhost", port).await.unwrap_err();
    assert!(authority.contains("that of an authority"), "{authority}");

    made.issue_expired("old", &["localhost"]);
    let port = serve(server(&made, "old", ClientCertificates::Off)).await;
    let expired = ask(&client, "localhost", port).await.unwrap_err();
    assert!(expired.contains("has expired"), "{expired}");
}

#[tokio::test]
async fn a_client_certificate_is_required_or_optional() {
    let made = Certificates::new();
    made.issue("server", &["localhost"]);
    made.issue("device", &[]);
    let with = ClientTls {
        cert_file: Some(made.certificate("device")),
        key_file: Some(made.key("device")),
        ..trusting(made.ca())
    };
    let without = trusting(made.ca());
    let required = ClientCertificates::Required(made.ca());
    let port = serve(server(&made, "server", required)).await;
    assert_eq!(ask(&with, "localhost", port).await, Ok(42));
    let refused = ask(&without, "localhost", port).await.unwrap_err();
    assert!(
        refused.contains("MQTT_CERT_FILE") && refused.contains("MQTT_KEY_FILE"),
        "{refused}"
    );

    let optional = ClientCertificates::Optional(made.ca());
    let port = serve(server(&made, "server", optional)).await;
    assert_eq!(ask(&with, "localhost", port).await, Ok(42));
    assert_eq!(ask(&without, "localhost", port).await, Ok(42));
}

#[tokio::test]
async fn errors_name_no_setting_that_a_client_does_not_have() {
    let made = Certificates::new();
    made.issue("server", &["localhost"]);
    let client = ClientTls::with_only_ca("API", Some(made.ca()));
    let port = serve(server(&made, "server", ClientCertificates::Off)).await;
    assert_eq!(ask(&client, "localhost", port).await, Ok(42));
    let untrusting = ClientTls::with_only_ca("API", None);
    let error = ask(&untrusting, "localhost", port).await.unwrap_err();
    assert!(error.contains("set API_CA_FILE"), "{error}");
    let error = ask(&client, "127.0.0.1", port).await.unwrap_err();
    assert!(
        error.contains("localhost") && !error.contains("API_"),
        "{error}"
    );
    let required = ClientCertificates::Required(made.ca());
    let port = serve(server(&made, "server", required)).await;
    let error = ask(&client, "localhost", port).await.unwrap_err();
    assert!(
        error.contains("requires a client certificate") && !error.contains("API_"),
        "{error}"
    );
}

#[tokio::test]
async fn a_client_certificate_of_another_authority_is_refused() {
    let (made, other) = (Certificates::new(), Certificates::new());
    made.issue("server", &["localhost"]);
    other.issue("device", &[]);
    let client = ClientTls {
        cert_file: Some(other.certificate("device")),
        key_file: Some(other.key("device")),
        ..trusting(made.ca())
    };
    for clients in [
        ClientCertificates::Required(made.ca()),
        ClientCertificates::Optional(made.ca()),
    ] {
        let port = serve(server(&made, "server", clients)).await;
        let refused = ask(&client, "localhost", port).await.unwrap_err();
        assert!(
            refused.contains("refuses the certificate in MQTT_CERT_FILE"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_certificate_is_read_again_and_a_bad_one_leaves_the_old_in_use() {
    let made = Certificates::new();
    made.issue("server", &["localhost"]);
    let tls = server(&made, "server", ClientCertificates::Off);
    let port = serve(tls.clone()).await;
    let client = trusting(made.ca());
    assert_eq!(ask(&client, "localhost", port).await, Ok(42));

    fs::write(made.certificate("server"), "not PEM").unwrap();
    tls.reload();
    assert_eq!(ask(&client, "localhost", port).await, Ok(42));

    made.issue("server", &["renamed.example"]);
    assert_eq!(ask(&client, "localhost", port).await, Ok(42));
    tls.reload();
    assert!(ask(&client, "localhost", port).await.is_err());
    assert_eq!(ask(&client, "renamed.example", port).await, Ok(42));
}

#[tokio::test]
async fn a_port_without_tls_and_a_client_without_it_are_recognised() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"-ERR what is this?\r\n").await.unwrap();
        // Until the client has given up.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let made = Certificates::new();
    made.issue("server", &["localhost"]);
    let plain = ask(&trusting(made.ca()), "localhost", port).await;
    assert!(
        plain
            .unwrap_err()
            .contains("doesn't speak TLS at this port")
    );

    let tls = server(&made, "server", ClientCertificates::Off);
    let (mut client, accepted) = tokio::io::duplex(1024);
    client
        .write_all(b"\x10\x0c\x00\x04MQTT\x04\x02")
        .await
        .unwrap();
    let error = tls.acceptor().accept(accepted).await.unwrap_err();
    assert!(is_not_tls(&error), "{error}");
}

#[test]
fn errors_name_the_setting_and_the_file() {
    let made = Certificates::new();
    made.issue("server", &["localhost"]);
    made.issue("other", &["localhost"]);
    let empty = made.dir().join("empty.pem");
    fs::write(&empty, "").unwrap();
    let client = |ca: PathBuf, cert: Option<PathBuf>, key: Option<PathBuf>| {
        let client = ClientTls {
            cert_file: cert,
            key_file: key,
            ..trusting(ca)
        };
        client.config().unwrap_err().to_string()
    };
    let (cert, key) = (made.certificate("server"), made.key("server"));
    let table = [
        (
            client("/no/ca.pem".into(), None, None),
            "MQTT_CA_FILE: \"/no/ca.pem\"",
        ),
        (client(empty, None, None), "empty.pem"),
        (
            client(made.ca(), Some(cert.clone()), None),
            "MQTT_KEY_FILE: \"\"",
        ),
        (
            client(made.ca(), None, Some(key.clone())),
            "MQTT_CERT_FILE: \"\"",
        ),
        (
            client(made.ca(), Some(cert.clone()), Some(cert.clone())),
            "MQTT_KEY_FILE",
        ),
        (
            client(made.ca(), Some(cert.clone()), Some(made.key("other"))),
            "the key of MQTT_CERT_FILE",
        ),
    ];
    for (error, expected) in table {
        assert!(error.contains(expected), "{error}");
    }
    let load = |cert, key, clients| {
        let error = ServerTls::load("API_TLS", cert, key, clients).unwrap_err();
        error.to_string()
    };
    let clients = ClientCertificates::Required("/no/ca.pem".into());
    let table = [
        (
            load("/no.pem".into(), key.clone(), ClientCertificates::Off),
            "API_TLS_CERT_FILE: \"/no.pem\"",
        ),
        (
            load(cert.clone(), made.key("other"), ClientCertificates::Off),
            "API_TLS_KEY_FILE",
        ),
        (
            load(cert, key, clients),
            "API_TLS_CLIENT_CA_FILE: \"/no/ca.pem\"",
        ),
    ];
    for (error, expected) in table {
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_name_that_no_certificate_can_have_is_refused() {
    let client = ClientTls {
        server_name: Some("not a name".into()),
        ..ClientTls::new("MQTT")
    };
    let error = client.config().unwrap_err().to_string();
    assert!(error.contains("MQTT_SERVER_NAME"), "{error}");
}
