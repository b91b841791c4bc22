//! A broker of MQTT 5 that says what the test tells it.

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnAckProperties, Connect, ConnectReturnCode, Packet, PubAck, PubAckReason, Publish,
    SubAck, SubscribeReasonCode,
};
use rumqttc::v5::mqttbytes::{Error, QoS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use transport::{MqttSettings, MqttVersion};

use crate::harness::TIMEOUT;

pub struct ScriptedBroker(TcpListener);

impl ScriptedBroker {
    pub async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub fn settings(&self, version: MqttVersion) -> MqttSettings {
        MqttSettings {
            mqtt_version: version,
            ..MqttSettings::at("127.0.0.1", self.0.local_addr().unwrap().port())
        }
    }

    /// The next connection.
    pub async fn accept(&self) -> Peer {
        let accepted = timeout(TIMEOUT, self.0.accept()).await;
        let (stream, _) = accepted.expect("nobody connects").unwrap();
        Peer {
            stream,
            input: BytesMut::new(),
        }
    }

    /// The next connection, with its CONNECT, which is accepted.
    pub async fn accept_with(
        &self,
        session_present: bool,
        properties: Option<ConnAckProperties>,
    ) -> (Peer, Connect) {
        let mut peer = self.accept().await;
        let Packet::Connect(connect, ..) = peer.next().await else {
            panic!("another packet than a CONNECT")
        };
        peer.send(Packet::ConnAck(ConnAck {
            session_present,
            code: ConnectReturnCode::Success,
            properties,
        }))
        .await;
        (peer, connect)
    }
}

/// No properties, to set those that matter.
pub const fn properties() -> ConnAckProperties {
    ConnAckProperties {
        session_expiry_interval: None,
        receive_max: None,
        max_qos: None,
        retain_available: None,
        max_packet_size: None,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    }
}

/// A connection of the client under test.
pub struct Peer {
    stream: TcpStream,
    input: BytesMut,
}

impl Peer {
    pub async fn next(&mut self) -> Packet {
        let next = timeout(TIMEOUT, self.read()).await;
        next.expect("no packet arrives")
    }

    /// Cancel-safe.
    pub async fn read(&mut self) -> Packet {
        loop {
            match Packet::read(&mut self.input, None) {
                Ok(packet) => return packet,
                Err(Error::InsufficientBytes(_)) => {}
                Err(error) => panic!("{error}: {:?}", self.input),
            }
            let read = self.stream.read_buf(&mut self.input).await.unwrap();
            assert!(read > 0, "the client closed the connection");
        }
    }

    /// The next packet, which is a PUBLISH: its packet id.
    pub async fn message(&mut self) -> u16 {
        match self.next().await {
            Packet::Publish(publish) => publish.pkid,
            other => panic!("{other:?}"),
        }
    }

    pub async fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).unwrap();
        self.send_bytes(&bytes).await;
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Waits for a SUBSCRIBE and answers it.
    pub async fn answer_subscribe(&mut self, code: SubscribeReasonCode) {
        let Packet::Subscribe(subscribe) = self.next().await else {
            panic!("another packet than a SUBSCRIBE")
        };
        self.send(Packet::SubAck(SubAck {
            pkid: subscribe.pkid,
            return_codes: vec![code],
            properties: None,
        }))
        .await;
    }

    pub async fn publish(&mut self, packet_id: u16) {
        let mut publish = Publish::new("rigs/R/measurements/a", QoS::AtLeastOnce, "1", None);
        publish.pkid = packet_id;
        self.send(Packet::Publish(publish)).await;
    }

    pub async fn ack(&mut self, packet_id: u16, reason: PubAckReason) {
        let mut ack = PubAck::new(packet_id, None);
        ack.reason = reason;
        self.send(Packet::PubAck(ack)).await;
    }
}
