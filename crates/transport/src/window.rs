//! The messages that are sent and not acknowledged.

use std::collections::VecDeque;

use bytes::Bytes;
use rumqttc::{Packet, Publish, QoS};

/// The highest packet id; the next one is 1.
const LAST_ID: u16 = u16::MAX;

/// A message to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: u64,
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
}

impl Message {
    /// The length of its packet in MQTT 5, in bytes.
    pub(crate) fn packet_length(&self) -> usize {
        // The length of the topic, the packet id, and the length of no properties.
        let rest = 2 + self.topic.len() + 2 + 1 + self.payload.len();
        // Seven bits of the length are in a byte.
        let of_length = match rest {
            0..0x80 => 1,
            0x80..0x4000 => 2,
            0x4000..0x20_0000 => 3,
            _ => 4,
        };
        1 + of_length + rest
    }
}

#[derive(Debug)]
struct Slot {
    message: Message,
    acknowledged: bool,
}

/// Messages in the order in which they are sent. Their packet ids are consecutive, so that the message
/// of an acknowledgement is found by subtraction.
#[derive(Debug)]
pub(crate) struct Window {
    slots: VecDeque<Slot>,
    first_id: u16,
    sent: usize,
    size: usize,
    /// The most messages that may be sent before the first is acknowledged.
    receive_max: usize,
}

impl Window {
    /// A window for up to `size` messages.
    pub(crate) fn new(size: u16) -> Self {
        Self {
            slots: VecDeque::new(),
            first_id: 1,
            sent: 0,
            size: size.into(),
            receive_max: size.into(),
        }
    }

    /// How many more messages fit.
    pub(crate) fn free(&self) -> usize {
        self.size.saturating_sub(self.slots.len())
    }

    pub(crate) fn push(&mut self, message: Message) {
        self.slots.push_back(Slot {
            message,
            acknowledged: false,
        });
    }

    /// Starts again on a new connection, on which nothing has been sent yet, and at most `receive_max`
    /// messages may be sent before the first is acknowledged.
    pub(crate) fn rewind(&mut self, receive_max: u16) {
        self.receive_max = receive_max.into();
        self.slots.retain(|slot| !slot.acknowledged);
        self.first_id = 1;
        self.sent = 0;
    }

    /// Removes the messages whose packets have more than `max` bytes, after [`rewind`](Self::rewind).
    pub(crate) fn remove_larger(&mut self, max: usize) -> Vec<Message> {
        let mut removed = Vec::new();
        self.slots.retain(|slot| {
            let fits = slot.message.packet_length() <= max;
            if !fits {
                removed.push(slot.message.clone());
            }
            fits
        });
        removed
    }

    /// Whether there are messages that haven't been sent on this connection, and may be.
    pub(crate) fn has_unsent(&self) -> bool {
        self.sent < self.sendable()
    }

    fn sendable(&self) -> usize {
        self.slots.len().min(self.receive_max)
    }

    /// The packets of all messages that haven't been sent on this connection, and may be.
    pub(crate) fn unsent(&mut self) -> impl Iterator<Item = Packet> {
        let until = self.sendable();
        let from = std::mem::replace(&mut self.sent, until);
        let first_id = self.first_id;
        self.slots.iter().enumerate().take(until).skip(from).map(
            move |(place, Slot { message, .. })| {
                Packet::Publish(Publish {
                    dup: false,
                    qos: QoS::AtLeastOnce,
                    retain: false,
                    topic: message.topic.clone(),
                    pkid: id_at(first_id, place),
                    payload: message.payload.clone(),
                })
            },
        )
    }

    /// Marks the message of this packet id as acknowledged, and returns the caller's id; `None` if no
    /// message waits for this acknowledgement.
    pub(crate) fn acknowledge(&mut self, packet_id: u16) -> Option<u64> {
        let place = usize::from(if packet_id >= self.first_id {
            packet_id - self.first_id
        } else {
            LAST_ID - self.first_id + packet_id
        });
        if packet_id == 0 || place >= self.sent {
            return None;
        }
        let slot = self
            .slots
            .get_mut(place)
            .filter(|slot| !slot.acknowledged)?;
        slot.acknowledged = true;
        let id = slot.message.id;
        while self.slots.front().is_some_and(|slot| slot.acknowledged) {
            self.slots.pop_front();
            self.first_id = id_at(self.first_id, 1);
            self.sent -= 1;
        }
        Some(id)
    }
}

/// The packet id that is `place` after `first`.
fn id_at(first: u16, place: usize) -> u16 {
    let place = u16::try_from(place % usize::from(LAST_ID)).unwrap_or_default();
    match first.checked_add(place) {
        Some(id) => id,
        None => place - (LAST_ID - first),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::{Bytes, BytesMut};
    use proptest::prelude::*;
    use rumqttc::Packet;
    use rumqttc::v5::mqttbytes::{QoS, v5};

    use super::{Message, Window, id_at};

    fn message(id: u64) -> Message {
        Message {
            id,
            topic: "t".into(),
            payload: Bytes::copy_from_slice(&id.to_le_bytes()),
        }
    }

    /// The packet ids and callers' ids of the messages that are sent now.
    fn send(window: &mut Window) -> Vec<(u16, u64)> {
        let sent = window.unsent().map(|packet| match packet {
            Packet::Publish(publish) => (
                publish.pkid,
                u64::from_le_bytes(publish.payload[..8].try_into().unwrap()),
            ),
            _ => (0, 0),
        });
        sent.collect()
    }

    #[test]
    fn packet_ids_skip_zero() {
        assert_eq!(id_at(1, 0), 1);
        assert_eq!(id_at(65_535, 1), 1);
        assert_eq!(id_at(65_000, 600), 65);
    }

    #[test]
    fn only_sent_messages_are_acknowledged_and_only_once() {
        let mut window = Window::new(3);
        window.push(message(7));
        assert_eq!(window.acknowledge(1), None);
        assert_eq!(send(&mut window), [(1, 7)]);
        assert_eq!([0, 2, 65_535].map(|id| window.acknowledge(id)), [None; 3]);
        assert_eq!(window.acknowledge(1), Some(7));
        assert_eq!(window.acknowledge(1), None);
    }

    #[test]
    fn unacknowledged_messages_are_sent_again_in_order() {
        let mut window = Window::new(9);
        (1..=4).for_each(|id| window.push(message(id)));
        send(&mut window);
        assert_eq!(window.acknowledge(2), Some(2));
        assert_eq!(
            window.free(),
            5,
            "an acknowledged message in the middle keeps its slot: ids must not overlap"
        );
        window.rewind(9);
        assert_eq!(send(&mut window), [(1, 1), (2, 3), (3, 4)]);
    }

    #[test]
    fn no_more_messages_are_unacknowledged_than_the_broker_allows() {
        let mut window = Window::new(9);
        (1..=4).for_each(|id| window.push(message(id)));
        window.rewind(2);
        assert_eq!(send(&mut window), [(1, 1), (2, 2)]);
        assert!(!window.has_unsent());
        window.acknowledge(1);
        assert_eq!(send(&mut window), [(3, 3)]);
    }

    #[test]
    fn the_length_of_a_packet_is_that_of_the_encoded_one() {
        for size in [0, 121, 122, 16_376, 16_377, 2_097_144, 2_097_145] {
            let message = Message {
                payload: vec![0; size].into(),
                ..message(1)
            };
            let (topic, payload) = (message.topic.clone(), message.payload.clone());
            let mut publish = v5::Publish::new(topic, QoS::AtLeastOnce, payload, None);
            publish.pkid = 1;
            let mut encoded = BytesMut::new();
            publish.write(&mut encoded).unwrap();
            assert_eq!(message.packet_length(), encoded.len(), "{size}");
        }
    }

    #[test]
    fn messages_above_a_limit_are_removed_and_the_others_keep_their_order() {
        let mut window = Window::new(9);
        (1..=4).for_each(|id| window.push(message(id)));
        let large = Message {
            payload: vec![0; 100].into(),
            ..message(5)
        };
        window.push(large.clone());
        window.push(message(6));
        send(&mut window);
        assert_eq!(window.acknowledge(3), Some(3));
        window.rewind(9);
        assert_eq!(window.remove_larger(large.packet_length()), []);
        assert_eq!(window.remove_larger(large.packet_length() - 1), [large]);
        assert_eq!(send(&mut window), [(1, 1), (2, 2), (3, 4), (4, 6)]);
    }

    proptest! {
        /// Whatever the order of acknowledgements and reconnects, every message is acknowledged
        /// exactly once, by its own packet id.
        #[test]
        fn each_message_is_acknowledged_once(steps in proptest::collection::vec(any::<u16>(), 1..400)) {
            let mut window = Window::new(50);
            // As after 65,500 messages: packet ids are about to wrap around.
            window.first_id = 65_500;
            let (mut pushed, mut outstanding, mut done) = (0, Vec::new(), BTreeSet::new());
            for step in steps {
                if step % 20 == 0 {
                    window.rewind(50);
                    outstanding.clear();
                }
                for _ in 0..window.free().min(usize::from(step % 7)) {
                    window.push(message(pushed));
                    pushed += 1;
                }
                outstanding.extend(send(&mut window));
                if !outstanding.is_empty() {
                    let (packet_id, id) =
                        outstanding.swap_remove(usize::from(step) % outstanding.len());
                    prop_assert_eq!(window.acknowledge(packet_id), Some(id));
                    prop_assert!(done.insert(id));
                }
            }
            window.rewind(50);
            let rest: Vec<u64> = send(&mut window).into_iter().map(|(_, id)| id).collect();
            prop_assert!(rest.is_sorted());
            done.extend(&rest);
            prop_assert_eq!(done.len() as u64, pushed);
        }
    }
}
