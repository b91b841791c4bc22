//! A TCP proxy between two parts, for faults on the wire.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// From the client to the server.
    Request,
    /// From the server to the client.
    Reply,
}

/// What happens to a piece of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It is dropped and both sides of the connection are closed.
    Cut,
}

/// A running proxy; it stops taking connections when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    stopped: Arc<AtomicBool>,
}

impl Proxy {
    /// Forwards connections to `target` on this machine. `judge` sees every piece before it goes
    /// on, with the connection's number, and may take its time.
    ///
    /// # Panics
    /// If no port can be opened.
    #[must_use]
    pub fn start(
        target: u16,
        judge: impl Fn(u64, Flow, &[u8]) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (judge, stopped) = (Arc::new(judge), Arc::new(AtomicBool::new(false)));
        let ended = Arc::clone(&stopped);
        thread::spawn(move || {
            for (number, client) in (0_u64..).zip(listener.incoming()) {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target));
                // Without a server behind it, a client finds its connection closed.
                let (Ok(client), Ok(server)) = (client, server) else {
                    continue;
                };
                for (flow, from, to) in [
                    (Flow::Request, &client, &server),
                    (Flow::Reply, &server, &client),
                ] {
                    let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else {
                        continue;
                    };
                    let judge = Arc::clone(&judge);
                    thread::spawn(move || pump(from, to, |piece| judge(number, flow, piece)));
                }
            }
        });
        Self { port, stopped }
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the listener up, so that it sees the flag.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, judge: impl Fn(&[u8]) -> Verdict) {
    let mut piece = vec![0; 65_536];
    loop {
        let length = from.read(&mut piece).unwrap_or(0);
        let passes = length > 0 && judge(&piece[..length]) == Verdict::Pass;
        if !passes || to.write_all(&piece[..length]).is_err() {
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
}
