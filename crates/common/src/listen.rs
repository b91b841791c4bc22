//! Opens a process's HTTP listeners.

use std::io::ErrorKind;
use std::net::SocketAddr;

use anyhow::Context;
use tokio::net::TcpListener;

/// Opens a listener. If `is_default` and the port is in use, it opens any free port instead. `name` is what the
/// log calls it, `setting` the variable of its address.
pub async fn bind(
    name: &str,
    setting: &str,
    addr: SocketAddr,
    is_default: bool,
) -> anyhow::Result<TcpListener> {
    let refused = match TcpListener::bind(addr).await {
        Ok(listener) => return Ok(listener),
        Err(error) => error,
    };
    if !is_default || refused.kind() != ErrorKind::AddrInUse {
        return Err(refused).with_context(|| format!("cannot listen on {setting} {addr}"));
    }
    let listener = TcpListener::bind(SocketAddr::new(addr.ip(), 0))
        .await
        .with_context(|| format!("cannot listen on any port of {}", addr.ip()))?;
    let in_use = addr.port();
    tracing::warn!(in_use, now = %listener.local_addr()?, "the {name} port is in use, using a free one");
    Ok(listener)
}
