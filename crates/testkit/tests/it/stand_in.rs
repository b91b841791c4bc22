//! The stand-in for InfluxDB as a process of its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use testkit::{Launch, Stage, VictoriaMetrics, free_port, http_get, wait_until};

const SOON: Duration = Duration::from_secs(10);
const SETUP: &str =
    r#"{"username":"admin","password":"password","org":"my-org","bucket":"rigs","token":"op"}"#;

fn start(port: u16, dir: &Path, store: &str) -> Stage {
    let file = dir.join("state.json").display().to_string();
    let stage = Launch::binary(Path::new(env!("CARGO_BIN_EXE_influx-stand-in")))
        .args(&[
            "--listen",
            &format!("127.0.0.1:{port}"),
            "--state",
            &file,
            "--forward",
            store,
        ])
        .spawn();
    assert!(
        wait_until(SOON, || http_get(port, "/ping").is_ok()),
        "{}",
        stage.logs()
    );
    stage
}

/// The status.
fn post(port: u16, path: &str, token: &str, body: &str) -> u16 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token {token}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn hands_rows_on_and_keeps_its_state() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut store = VictoriaMetrics::start();
    let port = free_port();
    let mut stand_in = start(port, dir.path(), &store.url());
    assert_eq!(http_get(port, "/health").unwrap().0, 200);
    assert_eq!(post(port, "/api/v2/setup", "", SETUP), 201);
    let write = "/api/v2/write?org=my-org&bucket=rigs&precision=s";
    let row = "rig_measurements,rig_id=R1 pressure=7.5 1700000000\n";
    assert_eq!(post(port, write, "wrong", row), 401);
    assert_eq!(post(port, write, "op", row), 204);
    assert_eq!(post(port, write, "op", ""), 204);
    let export =
        "/api/v1/export?match%5B%5D=rig_measurements_pressure&start=1699999999&end=1700000001";
    let read = || http_get(port, export).unwrap().1;
    assert!(wait_until(SOON, || read().contains("7.5")), "{}", read());
    assert_eq!(read().lines().count(), 1, "{}", read());

    stand_in.kill();
    let mut stand_in = start(port, dir.path(), &store.url());
    assert!(http_get(port, "/api/v2/setup").unwrap().1.contains("false"));
    assert_eq!(post(port, write, "op", row), 204);
    store.stop();
    assert_eq!(http_get(port, "/health").unwrap().0, 503);
    assert_eq!(post(port, write, "op", row), 503);
    store.restart();
    assert_eq!(http_get(port, "/health").unwrap().0, 200);
    stand_in.terminate();
    assert!(stand_in.wait_exit(SOON).is_some());
}
