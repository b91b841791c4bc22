//! A blocking HTTP GET, small enough to need no client.

use std::io::{Error, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::net::localhost;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Status and body of `GET path` at 127.0.0.1.
pub fn http_get(port: u16, path: &str) -> Result<(u16, String), Error> {
    let mut stream = TcpStream::connect_timeout(&localhost(port), TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    // 1.0: the answer is neither chunked nor kept alive, so its end is the connection's.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let broken = || Error::other(format!("not an HTTP answer: {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .ok_or_else(broken)?;
    Ok((status, body.to_owned()))
}
