//! The handshake of HTTP in front of the first frame.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};
use tungstenite::http::HeaderValue;
use tungstenite::http::header::{HOST, HeaderName, ORIGIN, SEC_WEBSOCKET_PROTOCOL};

use super::{Origins, WebSocket};
use crate::listener::handshake::HandshakeError;
use crate::listener::mismatch::{Mismatch, Speaks};

/// The largest request.
const MAX_REQUEST: usize = 8 << 10;
/// Bytes that are read at once.
const READ_SIZE: usize = 1 << 10;
const SUBPROTOCOL: &str = "mqtt";

/// A client whose handshake was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    status: &'static str,
    pub(crate) why: String,
}

impl Refused {
    fn bad_request(why: &impl ToString) -> Self {
        Self {
            status: "400 Bad Request",
            why: why.to_string(),
        }
    }
}

/// Reads the request of a client, and answers it.
pub(crate) async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    origins: &Origins,
) -> Result<WebSocket<S>, HandshakeError> {
    let mut bytes = BytesMut::new();
    let answer = loop {
        if let Some(found @ (Speaks::Mqtt | Speaks::Tls)) = Mismatch::of(&bytes) {
            return Err(HandshakeError::Mismatch(found));
        }
        match Request::try_parse(&bytes) {
            Ok(Some((length, request))) => {
                let _ = bytes.split_to(length);
                break response(&request, origins);
            }
            Ok(None) if bytes.len() < MAX_REQUEST => {}
            Ok(None) => break Err(Refused::bad_request(&"a request of more than 8 KiB")),
            Err(error) => break Err(Refused::bad_request(&error)),
        }
        bytes.reserve(READ_SIZE);
        match stream.read_buf(&mut bytes).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Err(HandshakeError::Closed),
        }
    };
    let head = match &answer {
        Ok(head) => head.clone(),
        Err(Refused { status, why }) => format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{why}\n",
            why.len() + 1
        )
        .into_bytes(),
    };
    let sent = async {
        stream.write_all(&head).await?;
        stream.flush().await
    };
    if sent.await.is_err() {
        return Err(HandshakeError::Closed);
    }
    match answer {
        Ok(_) => Ok(WebSocket::new(stream, bytes)),
        Err(refused) => {
            // The end of the client's stream; the caller limits the time.
            let _ = stream.shutdown().await;
            Err(HandshakeError::NotUpgraded(refused))
        }
    }
}

fn response(request: &Request, origins: &Origins) -> Result<Vec<u8>, Refused> {
    let mut response = create_response(request).map_err(|error| Refused::bad_request(&error))?;
    let header = |name: HeaderName| {
        let value = request.headers().get(name);
        value.map(|value| value.to_str().unwrap_or("?"))
    };
    if !origins.allow(header(ORIGIN), header(HOST)) {
        let origin = header(ORIGIN).unwrap_or_default();
        return Err(Refused {
            status: "403 Forbidden",
            why: format!("pages of {origin:?} may not connect (MQTT_WS_ORIGINS)"),
        });
    }
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let mut offered = offered
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    if !offered.any(|one| one.trim() == SUBPROTOCOL) {
        return Err(Refused::bad_request(
            &"the subprotocol mqtt is required (Sec-WebSocket-Protocol: mqtt)",
        ));
    }
    response.headers_mut().insert(
        SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(SUBPROTOCOL),
    );
    let mut head = Vec::new();
    let written = write_response(&mut head, &response);
    written.map_err(|error| Refused::bad_request(&error))?;
    Ok(head)
}
