//! Who may publish what.

use std::fs;

use testkit::tool;
use transport::{Listener, hash_password};

use super::raw::{Raw, connect_as, puback, publish};
use super::server::{ack, listen, receive, settings};

const RULES: &str = "\
topic write public/#
pattern write rigs/%u/measurements/#
";

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_is_handed_over_with_its_user_and_acknowledged_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (users, rules) = (dir.path().join("users"), dir.path().join("rules"));
    fs::write(&users, hash_password("ann", "right").unwrap()).unwrap();
    fs::write(&rules, RULES).unwrap();
    let mut settings = settings();
    (settings.mqtt_users, settings.mqtt_acl) = (Some(users), Some(rules.clone()));
    settings.allow_anonymous = true;
    settings.mqtt_max_packet = 2_000;
    let (listener, mut listening) = listen(&settings).await;
    let reload = listener.reload();
    let large = [b'x'; 3_000];
    for (level, properties) in [(4, b"".as_slice()), (5, b"\0")] {
        fs::write(&rules, RULES).unwrap();
        reload();
        let mut raw = Raw::open(listener.local_addr());
        raw.send(&connect_as(level, "device", "ann", "right"));
        assert_eq!(raw.packet().0, 0x20);
        let with = |payload: &[u8]| [properties, payload].concat();
        let packets = [
            publish("rigs/ann/measurements/a", 1, &with(b"own")),
            publish("rigs/bob/measurements/a", 2, &with(b"another's")),
            publish("public/a", 3, &with(b"without a name only")),
            publish("rigs/bob/measurements/a", 4, &with(&large)),
            publish("rigs/bob/measurements/a", 0, &with(b"at QoS 0")),
        ];
        raw.send(&packets.concat());
        let deliveries = receive(&mut listening, 5).await;
        let refused = |delivery: &transport::Delivery| delivery.refused.clone();
        let senders: Vec<_> = deliveries.iter().map(refused).collect();
        assert!(senders[0].is_none(), "{senders:?}");
        for sender in senders[1..].iter().map(|sender| sender.as_ref().unwrap()) {
            assert_eq!(sender.user.as_deref(), Some("ann"));
            assert_eq!(sender.client_id, "device");
        }
        assert!(deliveries[3].truncated.is_some());
        // Nothing is acknowledged before it is safe.
        raw.send(b"\xc0\0");
        raw.expect(b"\xd0\0");
        ack(&listening, deliveries);
        raw.expect(&puback(1));
        for id in [2, 3, 4] {
            if level == 5 {
                raw.expect(&[0x40, 3, 0, id, 0x87]);
            } else {
                raw.expect(&puback(id.into()));
            }
        }
        // New rules apply to connections that are open; rules with an error don't.
        for (text, allowed) in [
            ("pattern write rigs/bob/#", true),
            ("topic wirte a", true),
            ("", false),
        ] {
            fs::write(&rules, text).unwrap();
            reload();
            raw.send(&publish("rigs/bob/measurements/a", 5, &with(b"again")));
            let again = receive(&mut listening, 1).await;
            assert_eq!(again[0].refused.is_none(), allowed, "{text}");
            ack(&listening, again);
            raw.packet();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_pub_learns_that_its_message_was_refused() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules");
    fs::write(&rules, "topic write public/#\n").unwrap();
    let mut settings = settings();
    settings.mqtt_acl = Some(rules);
    let server = super::server::Server::start(&settings).await;
    let publish = |version: &str, topic: &str| {
        let port = server.port();
        let mut client = tool("mosquitto_pub");
        client.args(["-h", "127.0.0.1", "-p", &port, "-V", version]);
        client.args(["-q", "1", "-t", topic, "-m", "x"]);
        let output = client.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert_eq!(publish("mqttv5", "public/a"), "");
    assert!(publish("mqttv5", "private/a").contains("Not authorized"));
    assert_eq!(publish("mqttv311", "private/a"), "");
    assert_eq!(server.messages(3).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_rule_file_is_an_error_before_the_socket_opens() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules");
    fs::write(&rules, "topic write a\n\ntopic write b/#/c\n").unwrap();
    let mut settings = settings();
    settings.mqtt_acl = Some(rules);
    let error = Listener::bind(&settings).await.unwrap_err().to_string();
    assert!(
        error.contains("MQTT_ACL") && error.contains("line 3"),
        "{error}"
    );
}
