//! Limits of users and addresses.

use std::fs;
use std::time::{Duration, Instant};

use transport::{ListenSettings, hash_password};

use super::raw::{Raw, connect_as, publish};
use super::server::{Server, settings};

fn with_user(dir: &tempfile::TempDir) -> ListenSettings {
    let users = dir.path().join("users");
    fs::write(&users, hash_password("ann", "right").unwrap()).unwrap();
    let mut settings = settings();
    settings.mqtt_users = Some(users);
    settings.allow_anonymous = true;
    settings
}

fn log_in(server: &Server, level: u8, id: &str) -> (Raw, Vec<u8>) {
    let mut raw = Raw::open(server.address);
    raw.send(&connect_as(level, id, "ann", "right"));
    let (first, body) = raw.packet();
    assert_eq!(first, 0x20);
    (raw, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_a_limit_on_connections() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = with_user(&dir);
    settings.mqtt_max_connections_per_user = Some(2);
    let server = Server::start(&settings).await;
    let (first, _) = log_in(&server, 4, "a");
    let (_second, _) = log_in(&server, 4, "b");
    let (_, refused) = log_in(&server, 4, "c");
    assert_eq!(refused, [0, 3]);
    let (_, refused) = log_in(&server, 5, "c");
    assert_eq!(refused[..2], [0, 0x97]);
    // Others aren't limited, and a client may connect again.
    let _others = ["d", "e", "f"].map(|id| Raw::v4(server.address, id));
    let (again, accepted) = log_in(&server, 4, "a");
    assert_eq!(accepted, [0, 0]);
    first.closed();
    drop(again);
    let freed = Instant::now();
    while log_in(&server, 4, "c").1 != [0, 0] {
        assert!(freed.elapsed() < Duration::from_secs(10));
    }
}

/// The limit is 50 a second, of which a second's may come at once: 150 messages take 2 seconds at least, and the
/// pings of others are answered meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn users_and_addresses_are_slowed_down_to_their_rate_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    for of_user in [true, false] {
        let mut settings = with_user(&dir);
        if of_user {
            settings.mqtt_max_rate_per_user = Some(50);
        } else {
            settings.mqtt_max_rate_per_address = Some(50);
        }
        let server = Server::start(&settings).await;
        let mut other = Raw::open_from([127, 0, 0, 2], server.address);
        other.send(&super::raw::connect(4, "other", 0));
        other.expect(&[0x20, 2, 0, 0]);
        let mut clients = ["a", "b", "c"].map(|id| log_in(&server, 4, id).0);
        let began = Instant::now();
        for raw in &mut clients {
            for number in 1..=50 {
                raw.send(&publish("t", number, &[b'x'; 100]));
            }
        }
        other.send(b"\xc0\0");
        other.expect(b"\xd0\0");
        for number in 1..=100 {
            other.send(&publish("t", number, b"x"));
        }
        if of_user {
            // It is no user.
            other.expect(&(1..=100).flat_map(super::raw::puback).collect::<Vec<_>>());
            assert!(
                began.elapsed() < Duration::from_secs(2),
                "{:?}",
                began.elapsed()
            );
        }
        for mut raw in clients {
            raw.expect(&(1..=50).flat_map(super::raw::puback).collect::<Vec<_>>());
        }
        let took = began.elapsed();
        assert!(took > Duration::from_millis(1_700), "{took:?}");
        server.messages(250).await;
    }
}
