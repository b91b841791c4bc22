//! Ports and waiting.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Below the ephemeral ports, so that no outgoing connection takes a server's port while it restarts.
const FIRST_PORT: u32 = 11_000;
const PORTS: u32 = 20_000;

/// A free port of 127.0.0.1; never returned twice in one process.
#[must_use]
pub fn free_port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Concurrent test processes start at different ports.
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..PORTS {
        let step = start.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST_PORT + step % PORTS).expect("the range is below 65536");
        if TcpListener::bind(localhost(port)).is_ok() {
            return port;
        }
    }
    panic!(
        "no free port between {FIRST_PORT} and {}",
        FIRST_PORT + PORTS
    );
}

pub(crate) fn localhost(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Waits until a condition holds, which is checked every 10 ms. Returns `false` after `limit`.
#[must_use]
pub fn wait_until(limit: Duration, mut is_true: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    loop {
        if is_true() {
            return true;
        }
        if started.elapsed() >= limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
