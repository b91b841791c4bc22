//! Clients that all connect at once, by TLS or without, as a fleet does when the listener was away. A hundred of
//! them then publish 100 readings at a time, each time once those before are acknowledged. Prints how long it took
//! until all were logged in, twice, and the number of messages, as one line of JSON.
//!
//! Arguments: address, PEM file with the listener's authority or `-` for no TLS, number of clients, seconds.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::tls::ClientTls;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

const PUBLISHERS: usize = 100;
const RECORD: u16 = 100;

type Failure = Box<dyn Error + Send + Sync>;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

struct Client(Box<dyn Stream>);

async fn connect(
    address: SocketAddr,
    tls: Option<TlsConnector>,
    number: usize,
) -> Result<Client, Failure> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut client = Client(match tls {
        None => Box::new(stream),
        Some(tls) => {
            let name = ServerName::try_from(address.ip().to_string())?;
            Box::new(tls.connect(name, stream).await?)
        }
    });
    let id = format!("client-{number:05}");
    let mut packet = b"\x10\x18\0\x04MQTT\x04\x02\0\0\0".to_vec();
    packet.push(u8::try_from(id.len())?);
    packet.extend(id.bytes());
    client.0.write_all(&packet).await?;
    client.0.flush().await?;
    let mut answer = [0; 4];
    client.0.read_exact(&mut answer).await?;
    if answer != [0x20, 2, 0, 0] {
        return Err(format!("refused: {answer:x?}").into());
    }
    Ok(client)
}

/// All clients, and the seconds until all were logged in.
async fn connect_all(
    address: SocketAddr,
    tls: Option<&TlsConnector>,
    count: usize,
) -> Result<(Vec<Client>, f64), Failure> {
    let began = Instant::now();
    let mut tasks: JoinSet<_> = (0..count)
        .map(|number| connect(address, tls.cloned(), number))
        .collect();
    let mut clients = Vec::with_capacity(count);
    while let Some(client) = tasks.join_next().await {
        clients.push(client??);
    }
    Ok((clients, began.elapsed().as_secs_f64()))
}

/// Publishes records until the end. Returns the number of messages.
async fn publish(mut client: Client, record: Arc<[u8]>, end: Instant) -> Result<u64, Failure> {
    let mut messages = 0;
    let mut acknowledgements = vec![0; 4 * usize::from(RECORD)];
    while Instant::now() < end {
        client.0.write_all(&record).await?;
        client.0.flush().await?;
        client.0.read_exact(&mut acknowledgements).await?;
        messages += u64::from(RECORD);
    }
    Ok(messages)
}

fn record() -> Result<Vec<u8>, Failure> {
    let mut record = Vec::new();
    for id in 1..=RECORD {
        let topic = b"rigs/RIG-7/measurements/temp_inlet";
        let payload = br#"{"timestamp":"2025-11-02T14:21:33.512Z","value":78.25}"#;
        record.extend([0x32, u8::try_from(4 + topic.len() + payload.len())?, 0]);
        record.push(u8::try_from(topic.len())?);
        record.extend(topic);
        record.extend(id.to_be_bytes());
        record.extend(payload);
    }
    Ok(record)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, authority, count, seconds] = args.as_slice() else {
        return Err("arguments: ADDR AUTHORITY|- CLIENTS SECONDS".into());
    };
    let (address, count): (SocketAddr, usize) = (address.parse()?, count.parse()?);
    let tls = if authority == "-" {
        None
    } else {
        let tls = ClientTls {
            ca_file: Some(authority.into()),
            ..ClientTls::new("MQTT")
        };
        Some(TlsConnector::from(tls.config()?))
    };
    let (clients, first) = connect_all(address, tls.as_ref(), count).await?;
    drop(clients);
    let (clients, again) = connect_all(address, tls.as_ref(), count).await?;
    let end = Instant::now() + Duration::from_secs(seconds.parse()?);
    let record: Arc<[u8]> = record()?.into();
    let mut tasks: JoinSet<_> = clients
        .into_iter()
        .take(PUBLISHERS)
        .map(|client| publish(client, record.clone(), end))
        .collect();
    let mut messages = 0;
    while let Some(of_one) = tasks.join_next().await {
        messages += of_one??;
    }
    println!(r#"{{"connected_s":{first:.2},"reconnected_s":{again:.2},"messages":{messages}}}"#);
    Ok(())
}
