//! Answers HTTP requests on a listener.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::serve::Listener;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long a client may take for the header of a request. A connection without requests is closed then, too.
const HEADER_LIMIT: Duration = Duration::from_secs(30);

/// Answers requests until `stop`, and then ends the responses that have begun. Handlers get the client's address as
/// [`ConnectInfo`].
pub async fn serve<L>(mut listener: L, app: Router, stop: CancellationToken)
where
    L: Listener<Addr = SocketAddr>,
{
    let app = TowerToHyperService::new(app);
    let mut connections = JoinSet::new();
    loop {
        let (stream, from) = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = stop.cancelled() => break,
        };
        connections.spawn(answer(stream, from, app.clone(), stop.clone()));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Answers the requests of a client until it, or `stop`, ends the connection.
async fn answer<I>(
    stream: I,
    from: SocketAddr,
    app: TowerToHyperService<Router>,
    stop: CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let app = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(from));
        app.call(request)
    });
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT);
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), app));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%from, %error, "a connection over HTTP ended with an error");
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use axum::Router;
    use axum::extract::ConnectInfo;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    use super::{HEADER_LIMIT, serve};

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    /// A server that answers with the client's address, and a connection to it.
    async fn connected(stop: &CancellationToken) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let hello = |ConnectInfo(from): ConnectInfo<SocketAddr>| async move { from.to_string() };
        let app = Router::new().route("/", get(hello));
        tokio::spawn(serve(listener, app, stop.clone()));
        TcpStream::connect(address).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn connection_without_a_whole_header_is_closed() {
        for sent in [&b""[..], b"GET / HTTP/1.1\r\nhost", REQUEST] {
            let stop = CancellationToken::new();
            let mut stream = connected(&stop).await;
            let started = Instant::now();
            stream.write_all(sent).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            let took = started.elapsed() + Duration::from_secs(1);
            assert!(took >= HEADER_LIMIT, "{took:?}");
            let from = stream.local_addr().unwrap().to_string();
            assert_eq!(answer.ends_with(&from), sent == REQUEST, "{answer}");
        }
    }

    #[tokio::test]
    async fn stop_closes_idle_connections() {
        let stop = CancellationToken::new();
        let mut stream = connected(&stop).await;
        stream.write_all(REQUEST).await.unwrap();
        let mut first = [0; 8];
        stream.read_exact(&mut first).await.unwrap();
        stop.cancel();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert!(
            first == *b"HTTP/1.1" && rest.starts_with(" 200 OK"),
            "{rest}"
        );
    }
}
