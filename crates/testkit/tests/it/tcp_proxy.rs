//! The proxy simulates network conditions and faults.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use testkit::{Direction, Network, Redis, TcpProxy, free_port, wait_until};

/// Long enough for any piece that isn't held back.
const A_WHILE: Duration = Duration::from_millis(300);
const SOON: Duration = Duration::from_secs(20);

/// A server that sends every piece back and records it.
struct Echo {
    port: u16,
    seen: Arc<Mutex<Vec<u8>>>,
    ends: Arc<Mutex<Vec<String>>>,
}

impl Echo {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, ends) = (Arc::default(), Arc::default());
        let echo = Self { port, seen, ends };
        let (seen, ends) = (Arc::clone(&echo.seen), Arc::clone(&echo.ends));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, ends) = (Arc::clone(&seen), Arc::clone(&ends));
                thread::spawn(move || {
                    let end = serve(&stream, &seen);
                    ends.lock().unwrap().push(end);
                });
            }
        });
        echo
    }

    fn seen(&self) -> String {
        String::from_utf8(self.seen.lock().unwrap().clone()).unwrap()
    }

    fn ends(&self) -> Vec<String> {
        self.ends.lock().unwrap().clone()
    }
}

fn serve(mut stream: &TcpStream, seen: &Mutex<Vec<u8>>) -> String {
    let mut piece = vec![0; 65_536];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return "end".into(),
            Ok(count) => {
                seen.lock().unwrap().extend(&piece[..count]);
                if stream.write_all(&piece[..count]).is_err() {
                    return "unanswered".into();
                }
            }
            Err(error) => return format!("{:?}", error.kind()),
        }
    }
}

fn client(proxy: &TcpProxy) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

fn send(mut stream: &TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
}

fn expect(mut stream: &TcpStream, text: &str) {
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), text);
}

/// Expects no byte, and an open connection.
fn expect_nothing(mut stream: &TcpStream) {
    stream.set_read_timeout(Some(A_WHILE)).unwrap();
    let kind = stream.read(&mut [0; 1]).unwrap_err().kind();
    assert_eq!(kind, ErrorKind::WouldBlock);
    stream.set_read_timeout(Some(SOON)).unwrap();
}

fn expect_reset(mut stream: &TcpStream) {
    let kind = stream.read(&mut [0; 1]).unwrap_err().kind();
    assert_eq!(kind, ErrorKind::ConnectionReset);
}

#[test]
fn ok_forwards_and_counts_everything() {
    let echo = Echo::start();
    let proxy = TcpProxy::start(echo.port);
    let mut stream = client(&proxy);
    let sent: Vec<u8> = (0..20_000_000_u32).map(|i| (i % 251) as u8).collect();
    let writing = stream.try_clone().unwrap();
    let own = sent.clone();
    let writer = thread::spawn(move || {
        (&writing).write_all(&own).unwrap();
        writing.shutdown(Shutdown::Write).unwrap();
    });
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    writer.join().unwrap();
    assert!(got == sent, "{} bytes came back, or others", got.len());
    assert_eq!(proxy.forwarded_bytes(), (20_000_000, 20_000_000));
    assert_eq!(proxy.connections(), 1);
    // End of file is passed on in each direction.
    assert_eq!(echo.ends(), ["end"]);
}

#[test]
fn black_hole_forwards_nothing_until_it_ends() {
    let echo = Echo::start();
    let proxy = TcpProxy::start(echo.port);
    let old = client(&proxy);
    send(&old, "a");
    expect(&old, "a");
    proxy.set_network(Network::BlackHole);
    send(&old, "b");
    expect_nothing(&old);
    let new = client(&proxy);
    send(&new, "c");
    expect_nothing(&new);
    assert_eq!(
        (echo.seen().as_str(), proxy.forwarded_bytes()),
        ("a", (1, 1))
    );
    proxy.set_network(Network::Ok);
    expect(&old, "b");
    expect(&new, "c");
    assert_eq!(proxy.connections(), 2);
}

#[test]
fn one_way_passes_one_direction_only() {
    let echo = Echo::start();
    let proxy = TcpProxy::start(echo.port);
    let stream = client(&proxy);
    proxy.set_network(Network::OneWay(Direction::Request));
    send(&stream, "heard");
    expect_nothing(&stream);
    assert_eq!(echo.seen(), "heard");
    proxy.set_network(Network::OneWay(Direction::Reply));
    expect(&stream, "heard");
    send(&stream, "unheard");
    expect_nothing(&stream);
    assert_eq!(echo.seen(), "heard");
    proxy.set_network(Network::Ok);
    expect(&stream, "unheard");
}

#[test]
fn delay_keeps_order_and_delays_pieces_at_the_same_time() {
    let echo = Echo::start();
    let proxy = TcpProxy::start(echo.port);
    let stream = client(&proxy);
    let delay = Duration::from_millis(400);
    proxy.set_network(Network::Delay(delay));
    let started = Instant::now();
    for number in 0..50 {
        send(&stream, &format!("{number:02}"));
        // Several pieces, not one.
        thread::sleep(Duration::from_millis(2));
    }
    expect(&stream, "00");
    let first = started.elapsed();
    assert!(first >= 2 * delay, "round trip in {first:?}");
    for number in 1..50 {
        expect(&stream, &format!("{number:02}"));
    }
    let last = started.elapsed();
    assert!(last < 25 * delay, "one after the other: {last:?}");
    // A delayed piece goes by the new condition.
    proxy.set_network(Network::Delay(Duration::from_hours(1)));
    send(&stream, "late");
    expect_nothing(&stream);
    assert!(!echo.seen().contains("late"));
    proxy.set_network(Network::Ok);
    expect(&stream, "late");
}

#[test]
fn changing_conditions_lose_nothing_and_wake_all_connections() {
    let echo = Echo::start();
    let proxy = TcpProxy::start(echo.port);
    let clients: Vec<_> = (0..3_u8)
        .map(|seed| {
            let stream = client(&proxy);
            let sent: Vec<u8> = (0..2_000_000_u32).map(|i| (i % 241) as u8 ^ seed).collect();
            let (writing, own) = (stream.try_clone().unwrap(), sent.clone());
            thread::spawn(move || {
                for piece in own.chunks(1000) {
                    (&writing).write_all(piece).unwrap();
                }
            });
            thread::spawn(move || {
                let mut got = vec![0; sent.len()];
                (&stream).read_exact(&mut got).unwrap();
                assert!(got == sent, "not what was sent");
            })
        })
        .collect();
    let conditions = [
        Network::Ok,
        Network::BlackHole,
        Network::Delay(Duration::from_millis(3)),
        Network::OneWay(Direction::Reply),
        Network::Throttle(1_000_000),
        Network::OneWay(Direction::Request),
    ];
    for network in conditions.iter().cycle().take(300) {
        proxy.set_network(*network);
        thread::sleep(Duration::from_millis(1));
    }
    proxy.set_network(Network::Ok);
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn refused_resets_open_and_new_connections() {
    let echo = Echo::start();
    let proxy = TcpProxy::start(echo.port);
    let old = client(&proxy);
    send(&old, "a");
    expect(&old, "a");
    proxy.set_network(Network::Refused);
    expect_reset(&old);
    assert!(wait_until(SOON, || echo.ends() == ["ConnectionReset"]));
    let new = TcpStream::connect(("127.0.0.1", proxy.port()));
    // The reset may come so soon that connecting itself fails.
    if let Ok(new) = new {
        new.set_read_timeout(Some(SOON)).unwrap();
        expect_reset(&new);
    }
    assert_eq!(proxy.connections(), 1);
    proxy.set_network(Network::Ok);
    let again = client(&proxy);
    send(&again, "b");
    expect(&again, "b");
}

#[test]
fn throttle_limits_bytes_per_second() {
    let echo = Echo::start();
    let proxy = TcpProxy::start(echo.port);
    let stream = client(&proxy);
    proxy.set_network(Network::Throttle(20_000));
    let started = Instant::now();
    let text = "x".repeat(20_000);
    send(&stream, &text);
    expect(&stream, &text);
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(900), "only {took:?}");
    proxy.set_network(Network::Throttle(1));
    send(&stream, &text);
    expect_nothing_but_little(&stream);
    let so_far = echo.seen().len() - text.len();
    assert!(so_far < 100, "{so_far} bytes at 1 a second");
    proxy.set_network(Network::Ok);
    assert!(wait_until(SOON, || echo.seen().len() == 2 * text.len()));
}

fn expect_nothing_but_little(mut stream: &TcpStream) {
    thread::sleep(A_WHILE);
    stream.set_nonblocking(true).unwrap();
    let mut some = [0; 1000];
    assert!(stream.read(&mut some).unwrap_or(0) < 100);
    stream.set_nonblocking(false).unwrap();
}

#[test]
fn reset_connections_resets_both_sides_in_any_condition() {
    for network in [Network::Ok, Network::BlackHole] {
        let echo = Echo::start();
        let proxy = TcpProxy::start(echo.port);
        let old = client(&proxy);
        send(&old, "a");
        expect(&old, "a");
        proxy.set_network(network);
        proxy.reset_connections();
        expect_reset(&old);
        assert!(wait_until(SOON, || echo.ends() == ["ConnectionReset"]));
        proxy.set_network(Network::Ok);
        let new = client(&proxy);
        send(&new, "b");
        expect(&new, "b");
        assert_eq!(proxy.connections(), 2);
    }
}

#[test]
fn cut_reply_forwards_the_request_and_drops_the_reply() {
    let echo = Echo::start();
    let proxy = TcpProxy::start(echo.port);
    proxy.cut_reply("MARK", 2);
    for text in ["a MARK b", "MARK"] {
        let stream = client(&proxy);
        send(&stream, "before ");
        expect(&stream, "before ");
        // The marker spans two pieces.
        let middle = text.find("MARK").unwrap() + 2;
        send(&stream, &text[..middle]);
        expect(&stream, &text[..middle]);
        send(&stream, &text[middle..]);
        expect_reset(&stream);
    }
    assert_eq!((proxy.remaining_plans(), proxy.cuts()), (0, 2));
    assert_eq!(echo.seen(), "before a MARK bbefore MARK");
    let stream = client(&proxy);
    send(&stream, "MARK");
    expect(&stream, "MARK");
    assert_eq!(proxy.cuts(), 2);
}

#[test]
fn cut_request_never_reaches_the_server() {
    let echo = Echo::start();
    let proxy = TcpProxy::start(echo.port);
    proxy.cut_request("MARK", 1);
    let stream = client(&proxy);
    send(&stream, "a MA");
    expect(&stream, "a MA");
    send(&stream, "RK b");
    expect_reset(&stream);
    assert_eq!((proxy.remaining_plans(), proxy.cuts()), (0, 1));
    assert!(wait_until(SOON, || echo.ends() == ["end"]));
    assert_eq!(echo.seen(), "a MA");
    proxy.cut_request("MARK", 1);
    assert_eq!(proxy.remaining_plans(), 1);
    proxy.cancel_plans();
    let stream = client(&proxy);
    send(&stream, "MARK");
    expect(&stream, "MARK");
}

#[test]
fn held_request_arrives_late_and_others_overtake_it() {
    let echo = Echo::start();
    let proxy = TcpProxy::start(echo.port);
    proxy.hold_request("MARK", 1);
    let held = client(&proxy);
    send(&held, "a");
    expect(&held, "a");
    send(&held, "MARK");
    assert!(wait_until(SOON, || proxy.held_connections() == 1));
    send(&held, "after");
    // Its sender gives up; its request and end of file are still in flight.
    held.shutdown(Shutdown::Write).unwrap();
    let other = client(&proxy);
    send(&other, "MARK2");
    expect(&other, "MARK2");
    expect_nothing(&held);
    assert_eq!((echo.seen().as_str(), proxy.late_requests()), ("aMARK2", 0));
    proxy.release_held();
    expect(&held, "MARKafter");
    assert!(wait_until(SOON, || echo.ends() == ["end"]));
    assert_eq!(echo.seen(), "aMARK2MARKafter");
    assert_eq!((proxy.held_connections(), proxy.late_requests()), (0, 1));
}

#[test]
fn redis_carries_out_a_request_whose_reply_is_cut() {
    let redis = Redis::start();
    let proxy = TcpProxy::start(redis.port());
    proxy.cut_reply("counted", 1);
    let stream = client(&proxy);
    send(&stream, "INCR counted\r\n");
    expect_reset(&stream);
    assert_eq!(redis.cli(&["GET", "counted"]), "1");
    let stream = client(&proxy);
    send(&stream, "INCR counted\r\n");
    expect(&stream, ":2\r\n");
}

#[test]
fn start_at_and_retarget_choose_both_addresses() {
    let (one, other) = (Echo::start(), Echo::start());
    let ip = Ipv4Addr::new(127, 0, 0, 2);
    let port = free_port();
    let proxy = TcpProxy::start_at(ip, port, one.port);
    assert_eq!(proxy.port(), port);
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
    let first = TcpStream::connect((ip, port)).unwrap();
    send(&first, "1");
    expect(&first, "1");
    proxy.retarget(other.port);
    let second = TcpStream::connect((ip, port)).unwrap();
    send(&second, "2");
    expect(&second, "2");
    send(&first, "1");
    expect(&first, "1");
    assert_eq!((one.seen(), other.seen()), ("11".into(), "2".into()));
    proxy.retarget(free_port());
    expect_reset(&TcpStream::connect((ip, port)).unwrap());
    drop(proxy);
    expect_reset(&first);
    assert!(TcpStream::connect((ip, port)).is_err());
}
