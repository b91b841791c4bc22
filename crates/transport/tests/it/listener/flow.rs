//! When messages are acknowledged, and what happens when the receiver falls behind.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::health::Dependency;
use model::dead_letter::PayloadDigest;
use transport::{BindError, Listener, Source};

use super::raw::{Raw, connect, puback, publish};
use super::server::{ack, listen, receive, settings};
use crate::harness::TIMEOUT;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_before_ack_is_called() {
    let (listener, mut listening) = listen(&settings()).await;
    let mut raw = Raw::v4(listener.local_addr(), "device");
    let packets = (1..=5).map(|id| publish("t", id, &id.to_be_bytes()));
    raw.send(&packets.collect::<Vec<_>>().concat());
    raw.send(&publish("t", 0, b"at QoS 0"));
    let mut deliveries = receive(&mut listening, 6).await;
    assert!(deliveries[..5].iter().all(|one| one.qos == 1 && !one.dup));
    assert_eq!(deliveries[5].qos, 0);
    // The ping has the only answer.
    raw.send(b"\xc0\0");
    raw.expect(b"\xd0\0");
    let rest = deliveries.split_off(2);
    ack(&listening, deliveries);
    raw.expect(&[puback(1), puback(2)].concat());
    raw.send(b"\xc0\0");
    raw.expect(b"\xd0\0");
    ack(&listening, rest);
    raw.expect(&[puback(3), puback(4), puback(5)].concat());
    raw.send(b"\xc0\0");
    raw.expect(b"\xd0\0");
    listening.close().await;
    raw.closed();
}

#[tokio::test(flavor = "multi_thread")]
async fn recv_batch_returns_at_most_max_messages() {
    let (listener, mut listening) = listen(&settings()).await;
    let mut raw = Raw::v4(listener.local_addr(), "device");
    let packets = (1..=100).map(|id| publish("t", id, &id.to_be_bytes()));
    raw.send(&packets.collect::<Vec<_>>().concat());
    let mut all = Vec::new();
    while all.len() < 100 {
        let before = all.len();
        let came = listening.recv_batch(7, &mut all).await.unwrap();
        assert!((1..=7).contains(&came) && all.len() == before + came);
    }
    let ids = all
        .iter()
        .map(|one| u16::from_be_bytes(one.payload[..].try_into().unwrap()));
    assert!(ids.eq(1..=100));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversize_message_is_read_through_and_those_behind_it_arrive() {
    let mut settings = settings();
    settings.mqtt_max_packet = 2_000;
    let (listener, mut listening) = listen(&settings).await;
    let payload: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    // In front of a payload of MQTT 5 is the length of its properties.
    for (mut raw, before) in [
        (Raw::v4(listener.local_addr(), "v4"), b"".as_slice()),
        (Raw::v5(listener.local_addr(), "v5", 0), b"\0"),
    ] {
        let with = |payload: &[u8]| [before, payload].concat();
        let packets = [
            publish("t", 1, &with(b"in front")),
            publish("just/above", 2, &with(&payload[..2_000])),
            publish("large", 0, &with(&payload)),
            publish("large", 3, &with(&payload)),
            publish("t", 4, &with(b"behind")),
        ];
        raw.send(&packets.concat());
        let deliveries = receive(&mut listening, 5).await;
        let whole = [None, Some(2_000), Some(300_000), Some(300_000), None];
        for (delivery, whole) in deliveries.iter().zip(whole) {
            let whole = whole.map(|length| PayloadDigest::of(&payload[..length]));
            assert_eq!(delivery.truncated, whole, "{delivery:?}");
            if whole.is_some() {
                assert_eq!(delivery.payload, payload[..1_024]);
            }
        }
        let topics = deliveries.iter().map(|one| (&*one.topic, one.qos));
        let expected = [
            ("t", 1),
            ("just/above", 1),
            ("large", 0),
            ("large", 1),
            ("t", 1),
        ];
        assert!(topics.eq(expected), "{deliveries:?}");
        // The ping has the only answer.
        raw.send(b"\xc0\0");
        raw.expect(b"\xd0\0");
        ack(&listening, deliveries);
        raw.expect(&[puback(1), puback(2), puback(3), puback(4)].concat());
    }
}

/// A PUBLISH with QoS 2.
fn publish_once(packet_id: u16, dup: bool, payload: &[u8]) -> Vec<u8> {
    let mut packet = publish("t", packet_id, payload);
    packet[0] = if dup { 0x3c } else { 0x34 };
    packet
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_qos_2_is_delivered_once_until_it_is_released() {
    let mut settings = settings();
    settings.mqtt_max_packet = 2_000;
    let (listener, mut listening) = listen(&settings).await;
    let large = [b'x'; 9_000];
    for payload in [b"small".as_slice(), &large] {
        let mut raw = Raw::v4(listener.local_addr(), "device");
        raw.send(&publish_once(1, false, payload));
        let first = receive(&mut listening, 1).await;
        assert_eq!(
            (first[0].qos, first[0].truncated.is_some()),
            (2, payload.len() > 2_000)
        );
        // Sent again before it is safe: the ping has the only answer.
        raw.send(&publish_once(1, true, payload));
        raw.send(b"\xc0\0");
        raw.expect(b"\xd0\0");
        ack(&listening, first);
        raw.expect(b"\x50\x02\0\x01");
        // Before it is released.
        raw.send(&publish_once(1, true, payload));
        raw.expect(b"\x50\x02\0\x01");
        // Its release, once more, and one of an unknown packet id.
        for id in [1, 1, 77] {
            raw.send(&[0x62, 2, 0, id]);
            raw.expect(&[0x70, 2, 0, id]);
        }
        // The packet id belongs to another message now.
        raw.send(
            &[
                publish_once(1, false, b"other"),
                publish("t", 2, b"at QoS 1"),
            ]
            .concat(),
        );
        let others = receive(&mut listening, 2).await;
        let payloads = others.iter().map(|one| &one.payload[..]);
        assert!(
            payloads.eq([b"other".as_slice(), b"at QoS 1"]),
            "{others:?}"
        );
        ack(&listening, others);
        raw.expect(b"\x50\x02\0\x01\x40\x02\0\x02");
        // On another connection it is delivered again.
        let mut raw = Raw::v4(listener.local_addr(), "device");
        raw.send(&publish_once(1, true, b"other"));
        let again = receive(&mut listening, 1).await;
        assert!(again[0].dup && again[0].payload == "other");
        ack(&listening, again);
        raw.expect(b"\x50\x02\0\x01");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_in_an_oversize_message_delivers_nothing_of_it() {
    let mut settings = settings();
    settings.mqtt_max_packet = 2_000;
    let (listener, mut listening) = listen(&settings).await;
    let mut raw = Raw::v4(listener.local_addr(), "device");
    let packet = publish("large", 1, &vec![0; 100_000]);
    raw.send(&packet[..99_000]);
    raw.hang_up();
    let mut raw = Raw::v4(listener.local_addr(), "device");
    raw.send(&[packet, publish("t", 2, b"behind")].concat());
    let deliveries = receive(&mut listening, 2).await;
    let lengths = deliveries
        .iter()
        .map(|one| one.truncated.map(|whole| whole.length));
    assert!(lengths.eq([Some(100_000), None]), "{deliveries:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_sends_the_last_acknowledgements_and_starting_again_works() {
    let (listener, mut listening) = listen(&settings()).await;
    let mut old = Raw::v4(listener.local_addr(), "old");
    let mut new = Raw::v5(listener.local_addr(), "new", 0);
    let idle = Raw::open(listener.local_addr());
    let packets = (1..=1_000).map(|id| publish("t", id, b"xx"));
    old.send(&packets.collect::<Vec<_>>().concat());
    // With no properties: the first byte of the payload.
    new.send(&publish("t", 1, b"\0xx"));
    let mut deliveries = receive(&mut listening, 1_001).await;
    let tickets: Vec<_> = deliveries
        .iter()
        .map(|one| format!("{:?}", one.ticket))
        .collect();
    let kept = deliveries.pop().unwrap();
    // The listener will not read this message.
    old.send(&publish("t", 1_001, &vec![0; 100_000]));
    ack(&listening, deliveries);
    listening.close().await;
    let acks = |raw: &mut Raw, ids: std::ops::RangeInclusive<u16>| {
        ids.for_each(|id| raw.expect(&puback(id)));
    };
    if tickets[1_000].contains("packet_id: 1000") {
        acks(&mut old, 1..=999);
        acks(&mut new, 1..=1);
    } else {
        acks(&mut old, 1..=1_000);
    }
    new.disconnected(0x8b);
    old.closed();
    idle.closed();

    let mut raw = Raw::open(listener.local_addr());
    raw.send(&connect(4, "old", 0));
    let mut listening = listener.start(&Dependency::unreported("mqtt"));
    raw.expect(&[0x20, 2, 0, 0]);
    raw.send(&publish("t", 5, b"again"));
    let again = receive(&mut listening, 1).await;
    assert_eq!(again[0].payload, "again");
    // A ticket of the earlier connection acknowledges nothing.
    listening.ack([kept.ticket]);
    ack(&listening, again);
    raw.expect(&puback(5));
    listening.close().await;
    raw.closed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bind_error_names_the_address_and_the_remedy() {
    let (listener, _listening) = listen(&settings()).await;
    let mut settings = settings();
    settings.mqtt_listen = listener.local_addr();
    let refused = Listener::bind(&settings).await.unwrap_err();
    assert!(matches!(refused, BindError::InUse { .. }));
    let message = refused.to_string();
    let address = listener.local_addr().to_string();
    assert!(
        message.contains(&address) && message.contains("--mqtt-listen"),
        "{message}"
    );
    // `bind` refuses the settings that `check` refuses.
    settings.mqtt_listen = ([0, 0, 0, 0], 0).into();
    let refused = Listener::bind(&settings).await.unwrap_err();
    assert!(matches!(refused, BindError::Setting(_)));
}

/// Sends the packets in the background, and counts the bytes that are sent.
fn send_in_background(raw: &Raw, packets: Vec<Vec<u8>>) -> Arc<AtomicUsize> {
    let sent = Arc::new(AtomicUsize::new(0));
    let (counted, mut stream) = (sent.clone(), raw.0.try_clone().unwrap());
    stream.set_write_timeout(Some(TIMEOUT)).unwrap();
    std::thread::spawn(move || {
        for packet in packets {
            stream.write_all(&packet).unwrap();
            counted.fetch_add(packet.len(), Ordering::SeqCst);
        }
    });
    sent
}

/// Waits until the count hasn't changed for a second and a half, and returns it.
async fn stalled(sent: &Arc<AtomicUsize>) -> usize {
    loop {
        let before = sent.load(Ordering::SeqCst);
        let is_sending = Arc::strong_count(sent) > 1;
        assert!(before > 0 || is_sending, "nothing could be sent");
        tokio::time::sleep(Duration::from_millis(1_600)).await;
        if before > 0 && sent.load(Ordering::SeqCst) == before {
            return before;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_falls_behind_pauses_reads_and_loses_nothing() {
    const COUNT: u32 = 600_000;
    // Before the device connects: a busy machine may need longer for this than the keep-alive.
    let mut numbers = 0..COUNT;
    let packets = (0..COUNT / 1_000).map(|_| {
        let packet = |number: u32| {
            let id = u16::try_from(number % 65_535 + 1).unwrap();
            let mut payload = number.to_be_bytes().to_vec();
            payload.resize(60, 0);
            publish("rigs/R/measurements/a", id, &payload)
        };
        numbers.by_ref().take(1_000).flat_map(packet).collect()
    });
    let packets = packets.collect();
    let (listener, mut listening) = listen(&settings()).await;
    // While reads pause, the keep-alive doesn't count.
    let mut raw = Raw::open(listener.local_addr());
    raw.send(&connect(4, "device", 4));
    raw.expect(&[0x20, 2, 0, 0]);
    let sent = send_in_background(&raw, packets);
    let at = stalled(&sent).await;
    assert!(at < COUNT as usize * 87 / 2, "{at} bytes were sent");
    tokio::time::sleep(Duration::from_secs(7)).await;
    // Acknowledgements are still sent.
    let mut deliveries = Vec::new();
    listening.recv_batch(3, &mut deliveries).await.unwrap();
    let mut next = 3;
    ack(&listening, deliveries);
    raw.expect(&[puback(1), puback(2), puback(3)].concat());
    let mut stream = raw.0.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut left = 4 * (COUNT as usize - 3);
        let mut buffer = vec![0; 65_536];
        while left > 0 {
            left -= std::io::Read::read(&mut stream, &mut buffer).unwrap();
        }
    });
    while next < COUNT {
        let deliveries = receive(&mut listening, 1).await;
        for delivery in &deliveries {
            assert_eq!(delivery.payload[..4], next.to_be_bytes());
            next += 1;
        }
        ack(&listening, deliveries);
    }
    reader.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_pause_reads_by_their_size() {
    const COUNT: usize = 150;
    const SIZE: usize = 1 << 20;
    let (listener, mut listening) = listen(&settings()).await;
    let raw = Raw::v4(listener.local_addr(), "device");
    let packets = (1..=COUNT).map(|number| {
        let id = u16::try_from(number).unwrap();
        publish("t", id, &vec![u8::try_from(number).unwrap(); SIZE - 100])
    });
    let sent = send_in_background(&raw, packets.collect());
    assert!(stalled(&sent).await < 100 * SIZE);
    // Received messages count until they are dropped.
    let mut kept = receive(&mut listening, 30).await;
    while tokio::time::timeout(Duration::from_secs(2), listening.recv_batch(100, &mut kept))
        .await
        .is_ok()
    {}
    assert!(kept.len() <= 64, "{}", kept.len());
    let mut seen = 0;
    while seen < COUNT {
        for delivery in &kept {
            seen += 1;
            assert_eq!(usize::from(delivery.payload[0]), seen);
            assert_eq!(delivery.payload.len(), SIZE - 100);
        }
        ack(&listening, std::mem::take(&mut kept));
        if seen < COUNT {
            kept = receive(&mut listening, 1).await;
        }
    }
}
