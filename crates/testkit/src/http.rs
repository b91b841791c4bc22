//! Blocking HTTP requests without a client library.

use std::io::{Error, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::net::localhost;

/// How long a connection, and each read and write of [`http_get`] and [`http_post`], may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The response to a request.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: String,
}

impl Answer {
    /// The value of a header, whose name is in lower case; empty if it isn't there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }
}

/// Sends `GET path` to 127.0.0.1 and returns status and body.
pub fn http_get(port: u16, path: &str) -> Result<(u16, String), Error> {
    let answer = exchange(localhost(port), ("GET", path), &[], b"", TIMEOUT)?;
    Ok((answer.status, answer.body))
}

/// Like [`http_get`], with the media type that is accepted.
pub fn http_get_as(port: u16, path: &str, accept: &str) -> Result<(u16, String), Error> {
    let accept = [("Accept", accept)];
    let answer = exchange(localhost(port), ("GET", path), &accept, b"", TIMEOUT)?;
    Ok((answer.status, answer.body))
}

/// Sends `POST path` with a JSON body to 127.0.0.1 and returns status and body.
pub fn http_post(port: u16, path: &str, body: &str) -> Result<(u16, String), Error> {
    let kind = [("Content-Type", "application/json")];
    let answer = exchange(
        localhost(port),
        ("POST", path),
        &kind,
        body.as_bytes(),
        TIMEOUT,
    )?;
    Ok((answer.status, answer.body))
}

/// Sends a request to 127.0.0.1, and waits for the response up to `limit`.
pub fn http_request(
    port: u16,
    request: (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
    limit: Duration,
) -> Result<Answer, Error> {
    exchange(localhost(port), request, headers, body, limit)
}

/// Sends a request over a new connection; `limit` is the timeout of each read and write.
pub(crate) fn exchange(
    address: SocketAddr,
    (method, target): (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
    limit: Duration,
) -> Result<Answer, Error> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    // 1.0: the response is neither chunked nor kept alive, so it ends with the connection.
    let mut head = format!("{method} {target} HTTP/1.0\r\nHost: {address}\r\n");
    for (name, value) in headers {
        head = format!("{head}{name}: {value}\r\n");
    }
    head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let broken = || Error::other(format!("not an HTTP answer: {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(broken)?;
    let headers = head.lines().filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_owned(), value.to_owned()))
    });
    Ok(Answer {
        status,
        headers: headers.collect(),
        body: body.to_owned(),
    })
}
