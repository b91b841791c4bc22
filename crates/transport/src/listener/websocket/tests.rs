//! Frames of every kind, in pieces of any size.

use bytes::BytesMut;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf, duplex};

use super::{MAX_UNSENT, WebSocket};

/// A frame of a client.
fn frame(first: u8, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match u16::try_from(payload.len()) {
        Ok(length @ ..=125) => bytes.push(0x80 | u8::try_from(length).unwrap()),
        Ok(length) => {
            bytes.push(0xfe);
            bytes.extend(length.to_be_bytes());
        }
        Err(_) => {
            bytes.push(0xff);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    let masked = payload.iter().zip(mask.iter().cycle());
    bytes.extend(masked.map(|(byte, mask)| byte ^ mask));
    bytes
}

/// What is decoded from bytes that arrive in pieces of these sizes, into buffers of these sizes; `None` behind an
/// error. Besides, the answers.
fn decode(bytes: &[u8], pieces: &[usize], buffers: &[usize]) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut socket = WebSocket::new(tokio::io::empty(), BytesMut::new());
    let (mut rest, mut decoded) = (bytes, Vec::new());
    let (mut pieces, mut buffers) = (pieces.iter().cycle(), buffers.iter().cycle());
    loop {
        let mut space = vec![0; *buffers.next().unwrap()];
        let mut buffer = ReadBuf::new(&mut space);
        let needs_more = socket.decode(&mut buffer);
        decoded.extend_from_slice(buffer.filled());
        let Ok(needs_more) = needs_more else {
            return (decoded, None);
        };
        if socket.has_ended || needs_more && rest.is_empty() {
            return (decoded, Some(socket.outgoing.to_vec()));
        }
        if needs_more {
            let (piece, later) = rest.split_at(rest.len().min(*pieces.next().unwrap()));
            socket.incoming.extend_from_slice(piece);
            rest = later;
        }
    }
}

proptest! {
    #[test]
    fn frames_are_decoded_whatever_the_pieces(
        messages in proptest::collection::vec(
            proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..4),
            0..6,
        ),
        mask in any::<[u8; 4]>(),
        ping in proptest::collection::vec(any::<u8>(), 0..126),
        pieces in proptest::collection::vec(1..400_usize, 1..10),
        buffers in proptest::collection::vec(1..400_usize, 1..10),
    ) {
        let (mut bytes, mut expected, mut pongs) = (Vec::new(), Vec::<u8>::new(), Vec::new());
        for message in &messages {
            for (place, fragment) in message.iter().enumerate() {
                let kind = if place == 0 { 2 } else { 0 };
                let is_final = if place + 1 == message.len() { 0x80 } else { 0 };
                bytes.extend(frame(kind | is_final, mask, fragment));
                expected.extend(fragment);
                // Control frames may be between fragments.
                bytes.extend(frame(0x89, mask, &ping));
                pongs.extend([0x8a, u8::try_from(ping.len()).unwrap()]);
                pongs.extend(&ping);
            }
        }
        let (decoded, answers) = decode(&bytes, &pieces, &buffers);
        prop_assert_eq!(decoded, expected);
        prop_assert_eq!(answers, Some(pongs));
    }

    #[test]
    fn arbitrary_bytes_do_not_panic_and_decode_alike_in_pieces(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        begins_well in any::<bool>(),
        pieces in proptest::collection::vec(1..50_usize, 1..10),
    ) {
        let begin = if begins_well { frame(0x82, [1, 2, 3, 4], b"begin") } else { Vec::new() };
        let bytes = [begin, bytes].concat();
        let whole = decode(&bytes, &[1_000], &[1_000]);
        prop_assert_eq!(decode(&bytes, &pieces, &[1_000]), whole);
    }
}

#[test]
fn a_frame_that_is_never_complete_takes_no_memory() {
    let mut socket = WebSocket::new(tokio::io::empty(), BytesMut::new());
    let mut header = vec![0x82, 0xff];
    header.extend(u64::MAX.to_be_bytes());
    header.extend([0; 4]);
    socket.incoming.extend_from_slice(&header);
    for _ in 0..1_000 {
        socket.incoming.extend_from_slice(&[0; 1_000]);
        let mut space = [0; 1_000];
        assert!(socket.decode(&mut ReadBuf::new(&mut space)).unwrap());
        assert!(socket.incoming.is_empty());
    }
}

/// A client that pings and reads nothing isn't read from any more.
#[tokio::test(start_paused = true)]
async fn answers_that_are_not_read_are_bounded() {
    let (mut client, server) = duplex(1_000);
    let mut socket = WebSocket::new(server, BytesMut::new());
    let flood = tokio::spawn(async move {
        let ping = frame(0x89, [1, 2, 3, 4], &[0; 125]);
        while client.write_all(&ping).await.is_ok() {}
    });
    let limit = std::time::Duration::from_mins(1);
    let mut buffer = [0; 10];
    let read = tokio::time::timeout(limit, socket.read(&mut buffer)).await;
    assert!(read.is_err() && !flood.is_finished());
    let unsent = socket.outgoing.len();
    assert!(
        (MAX_UNSENT..MAX_UNSENT + 4_096).contains(&unsent),
        "{unsent}"
    );
    flood.abort();
}

#[tokio::test]
async fn what_is_written_arrives_in_binary_frames_and_a_close_frame_behind() {
    let (mut client, server) = duplex(100_000);
    let mut socket = WebSocket::new(server, BytesMut::new());
    socket.write_all(&vec![7; 20_000]).await.unwrap();
    socket.shutdown().await.unwrap();
    assert!(socket.write_all(b"more").await.is_err());
    drop(socket);
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).await.unwrap();
    let frames = [
        &[0x82, 126, 0x40, 0][..],
        &[7; 16_384],
        &[0x82, 126, 0x0e, 0x20],
        &[7; 3_616],
        &[0x88, 2, 3, 0xe8],
    ];
    assert_eq!(bytes, frames.concat());
}
