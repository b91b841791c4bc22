//! The packets that were read together, and the messages in them.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::sync::OwnedSemaphorePermit;

use super::budget::{OVERHEAD, Room};
use super::fault::Fault;
use super::inbound::Looked;
use super::packet::{Header, Packet, Publish, Version};
use super::reply;
use crate::source::{Delivery, Ticket};

/// Messages on their way to the caller.
#[derive(Debug)]
pub(crate) struct Burst {
    pub(crate) deliveries: Vec<Delivery>,
    /// Their places in the queue.
    pub(crate) slots: OwnedSemaphorePermit,
}

/// Why no more packets are looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The client said goodbye.
    Disconnect,
    Fault(Fault),
}

/// What is known of a connection, to read its packets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) connection: u64,
    pub(crate) version: Version,
    pub(crate) max_packet: usize,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) looked: Looked,
    /// What came before a reason to stop counts.
    pub(crate) stop: Option<Stop>,
    pub(crate) burst: Option<Burst>,
    /// Somebody wanted to subscribe.
    pub(crate) subscribe: bool,
}

impl Reading {
    /// Takes the complete packets at the start of `bytes`, and puts answers into `out`.
    pub(crate) fn look(self, bytes: &[u8], room: Room, out: &mut Vec<u8>) -> Found {
        let mut messages = Messages {
            connection: self.connection,
            deliveries: Vec::new(),
            payloads: BytesMut::new(),
            bytes: 0,
        };
        let mut found = Found {
            looked: Looked {
                consumed: 0,
                wanted: 0,
            },
            stop: None,
            burst: None,
            subscribe: false,
        };
        while found.stop.is_none() {
            let rest = bytes.get(found.looked.consumed..).unwrap_or_default();
            match self.next(rest) {
                Ok(Next::Packet(length, packet)) => {
                    found.looked.consumed += length;
                    match packet {
                        Packet::Publish(publish) => messages.add(&publish, rest.len()),
                        other => self.answer(&other, &mut found, out),
                    }
                }
                Ok(Next::Part(wanted)) => {
                    found.looked.wanted = wanted;
                    break;
                }
                Err(fault) => found.stop = Some(Stop::Fault(fault)),
            }
        }
        found.burst = messages.finish(room);
        found
    }

    fn next(self, bytes: &[u8]) -> Result<Next<'_>, Fault> {
        let Some(header) = Header::read(bytes, self.max_packet)? else {
            return Ok(Next::Part(0));
        };
        let Some(body) = bytes.get(header.body_at..header.length) else {
            return Ok(Next::Part(header.length));
        };
        let packet = Packet::read(header.first, body, self.version)?;
        Ok(Next::Packet(header.length, packet))
    }

    fn answer(self, packet: &Packet<'_>, found: &mut Found, out: &mut Vec<u8>) {
        match *packet {
            Packet::Ping => reply::pong(out),
            Packet::Subscribe(id, filters) => {
                found.subscribe = true;
                reply::no_subscription(out, self.version, id, filters);
            }
            Packet::Unsubscribe(id, filters) => reply::unsubscribed(out, self.version, id, filters),
            Packet::Disconnect => found.stop = Some(Stop::Disconnect),
            Packet::Publish(_) => {}
        }
    }
}

enum Next<'a> {
    Packet(usize, Packet<'a>),
    Part(usize),
}

struct Messages {
    connection: u64,
    deliveries: Vec<Delivery>,
    /// The payloads of all of them are slices of one piece of memory.
    payloads: BytesMut,
    /// What is kept in memory.
    bytes: usize,
}

impl Messages {
    /// `left` is an upper bound of all payloads that are still to come, this one included.
    fn add(&mut self, publish: &Publish<'_>, left: usize) {
        if self.deliveries.is_empty() {
            self.payloads.reserve(left);
            self.bytes += left;
        }
        self.bytes += publish.topic.len() + OVERHEAD;
        self.payloads.extend_from_slice(publish.payload);
        self.deliveries.push(Delivery {
            topic: publish.topic.to_owned(),
            payload: self.payloads.split().freeze(),
            qos: u8::from(publish.packet_id != 0),
            retain: publish.retain,
            dup: publish.dup,
            ticket: Ticket {
                connection: self.connection,
                packet_id: publish.packet_id,
            },
            share: None,
        });
    }

    fn finish(mut self, room: Room) -> Option<Burst> {
        if self.deliveries.is_empty() {
            return None;
        }
        let (slots, share) = room.shrink(self.deliveries.len(), self.bytes);
        let share = Arc::new(share);
        for delivery in &mut self.deliveries {
            delivery.share = Some(share.clone());
        }
        Some(Burst {
            deliveries: self.deliveries,
            slots,
        })
    }
}
