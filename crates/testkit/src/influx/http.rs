//! As much of HTTP/1.1 as a server of writes needs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// A request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    headers: Vec<(String, String)>,
    /// Whether its answer is the last of the connection.
    pub(crate) is_last: bool,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The next request of a connection; nothing at its end, or if it is no request.
    pub(crate) fn read(stream: &mut BufReader<TcpStream>) -> Option<Self> {
        let line = line(stream)?;
        let mut words = line.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?);
        let is_old = words.next() == Some("HTTP/1.0");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (path, query) = (path.to_owned(), query.to_owned());
        let mut headers = Vec::new();
        loop {
            let line = self::line(stream)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut request = Self {
            method,
            path,
            query,
            headers,
            is_last: is_old,
            body: Vec::new(),
        };
        let wants_no_more = request.header("connection") == Some("close");
        request.is_last |= wants_no_more;
        let length = match request.header("content-length") {
            Some(length) => length.parse().ok()?,
            None => 0,
        };
        request.body.resize(length, 0);
        stream.read_exact(&mut request.body).ok()?;
        Some(request)
    }

    /// A header by its name in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A parameter of the query; nothing if it is absent or empty.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let found = self.query.split('&').find_map(|pair| {
            let (other, value) = pair.split_once('=')?;
            (other == name).then(|| decoded(value))
        });
        found.filter(|value| !value.is_empty())
    }
}

fn line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    match stream.read_line(&mut line) {
        Ok(length) if length > 0 => Some(line.trim_end().to_owned()),
        _ => None,
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || (rest.next()? as char).to_digit(16);
                let code = digit()
                    .zip(digit())
                    .map_or(0, |(high, low)| high * 16 + low);
                u8::try_from(code).expect("two digits make a byte")
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Writes the head of an answer.
pub(crate) fn write_head(
    stream: &mut TcpStream,
    status: u16,
    headers: &[(String, String)],
    length: usize,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    write!(head, "HTTP/1.1 {status} {}\r\n", reason(status))?;
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n")?;
    }
    if status != 204 {
        write!(head, "Content-Length: {length}\r\n")?;
    }
    head.extend_from_slice(b"\r\n");
    stream.write_all(&head)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        422 => "Unprocessable Entity",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Other",
    }
}
