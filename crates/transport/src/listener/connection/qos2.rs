//! The messages of QoS 2 on a connection: each is handed over once between its PUBLISH and its PUBREL,
//! however often the client sends it.

use std::collections::BTreeMap;

use bytes::BytesMut;

use crate::listener::codec::{ProtocolError, Publish, encode};

/// Packet ids whose PUBREL hasn't arrived. They are kept as bits in pages of 256, of which a client that
/// counts up its ids needs one or two, and all ids that there are need 32 KiB.
#[derive(Debug)]
pub(crate) struct Unreleased(BTreeMap<u8, Page>);

#[derive(Debug, Default)]
struct Page {
    /// The message was handed over.
    begun: [u64; 4],
    /// It is safe, and the PUBREC was encoded.
    safe: [u64; 4],
}

impl Unreleased {
    /// No message of QoS 2 has arrived.
    pub(crate) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Whether to hand over a message: always at QoS 0 and 1. One of QoS 2 that was handed over before
    /// gets its PUBREC again if it had one, otherwise when it is safe.
    pub(crate) fn accept(&mut self, publish: &Publish<'_>, answers: &mut BytesMut) -> bool {
        if publish.qos < 2 {
            return true;
        }
        let (page, word, bit) = place(publish.packet_id);
        let page = self.0.entry(page).or_default();
        if page.safe[word] & bit != 0 {
            encode::publish_received(answers, publish.packet_id);
        }
        let is_new = page.begun[word] & bit == 0;
        page.begun[word] |= bit;
        is_new
    }

    /// The message with this packet id is safe.
    pub(crate) fn mark_safe(&mut self, packet_id: u16) {
        let (page, word, bit) = place(packet_id);
        if let Some(page) = self.0.get_mut(&page) {
            page.safe[word] |= page.begun[word] & bit;
        }
    }

    /// A PUBREL has arrived: the packet id is free again. One for an unknown id is in order: it may
    /// belong to an earlier connection.
    pub(crate) fn release(&mut self, packet_id: u16) -> Result<(), ProtocolError> {
        let (key, word, bit) = place(packet_id);
        let Some(page) = self.0.get_mut(&key) else {
            return Ok(());
        };
        if page.begun[word] & bit != 0 && page.safe[word] & bit == 0 {
            // A PUBCOMP would tell the client that the message is safe.
            return Err(ProtocolError::NotAllowed("a PUBREL before its PUBREC"));
        }
        page.begun[word] &= !bit;
        page.safe[word] &= !bit;
        if page.begun == [0; 4] {
            self.0.remove(&key);
        }
        Ok(())
    }
}

/// Where a packet id is: its page, the word in it, and the bit in that.
const fn place(packet_id: u16) -> (u8, usize, u64) {
    let [page, low] = packet_id.to_be_bytes();
    (page, (low / 64) as usize, 1 << (low % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::Unreleased;
    use crate::listener::codec::Publish;

    fn publish(packet_id: u16) -> Publish<'static> {
        Publish {
            topic: "t",
            payload: b"",
            qos: 2,
            packet_id,
            retain: false,
            dup: false,
        }
    }

    proptest! {
        /// Beside a map of each id's state: whether it is safe.
        #[test]
        fn each_message_is_accepted_once_until_it_is_released(
            steps in proptest::collection::vec((0..3_u8, 1..600_u16), 1..400)
        ) {
            let (mut unreleased, mut model) = (Unreleased::new(), HashMap::new());
            for (action, id) in steps {
                let known = model.get(&id).copied();
                match action {
                    0 => {
                        let mut answers = BytesMut::new();
                        let accepted = unreleased.accept(&publish(id), &mut answers);
                        prop_assert_eq!(accepted, known.is_none());
                        let [high, low] = id.to_be_bytes();
                        let again: &[u8] = &[0x50, 2, high, low];
                        let expected = if known == Some(true) { again } else { &[] };
                        prop_assert_eq!(&answers[..], expected);
                        model.entry(id).or_insert(false);
                    }
                    1 => {
                        unreleased.mark_safe(id);
                        model.entry(id).and_modify(|safe| *safe = true);
                    }
                    _ => {
                        let released = unreleased.release(id);
                        prop_assert_eq!(released.is_err(), known == Some(false));
                        if known == Some(true) {
                            model.remove(&id);
                        }
                    }
                }
            }
            for (id, safe) in model {
                if !safe {
                    unreleased.mark_safe(id);
                }
                prop_assert!(unreleased.release(id).is_ok());
            }
            prop_assert!(unreleased.0.is_empty(), "an idle connection keeps nothing");
        }
    }
}
