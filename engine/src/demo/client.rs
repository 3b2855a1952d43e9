//! Client: just enough of one to send a message through the entry point and to see it at the broker.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use ringbeam_proto::frame::fixed_header;
use ringbeam_proto::packet::Version;
use ringbeam_proto::packet::connect::Connect;
use ringbeam_proto::packet::publish::read_head;
use socket2::{Domain, Socket, Type};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A message as the broker handed it on.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) topic: String,
    pub(super) payload: String,
}

/// Subscribes to everything at the broker, publishes at the entry point, and returns what arrived.
pub(super) fn send_through(
    device: IpAddr,
    entry_point: SocketAddr,
    broker: SocketAddr,
    topic: &str,
    payload: &[u8],
) -> anyhow::Result<Received> {
    let mut subscriber = connect(None, broker, "ringbeam-demo-observer")?;
    subscriber.write_all(b"\x82\x06\x00\x01\x00\x01#\x00")?;
    ensure!(
        read_packet(&mut subscriber)?.first() == Some(&0x90),
        "the broker refused to subscribe"
    );

    let mut publisher = connect(Some(device), entry_point, "ringbeam-demo-device")?;
    let topic_length = u16::try_from(topic.len())?;
    let length = u8::try_from(2 + topic.len() + payload.len()).context("a short message")?;
    let packet = [
        &[0x30, length],
        &topic_length.to_be_bytes()[..],
        topic.as_bytes(),
        payload,
    ]
    .concat();
    publisher.write_all(&packet)?;
    publisher.write_all(b"\xe0\x00")?;

    let packet = read_packet(&mut subscriber)?;
    let Some(header) = fixed_header(&packet)? else {
        bail!("no whole packet")
    };
    let Ok(head) = read_head(&packet, header, Version::V311)? else {
        bail!("no whole packet")
    };
    let payload = packet.get(head.head_bytes..).unwrap_or_default();
    Ok(Received {
        topic: head.topic.to_owned(),
        payload: String::from_utf8_lossy(payload).into_owned(),
    })
}

fn connect(from: Option<IpAddr>, to: SocketAddr, client_id: &str) -> anyhow::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    if let Some(from) = from {
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    socket.connect_timeout(&to.into(), PATIENCE)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    let connect = Connect {
        version: Version::V311,
        is_bridge: false,
        clean: true,
        keep_alive_seconds: 60,
        properties: &[],
        has_authentication_method: false,
        client_id,
        will: None,
        username: None,
        password: None,
    };
    stream.write_all(&connect.write()?)?;
    let connack = read_packet(&mut stream)?;
    ensure!(
        connack == [0x20, 2, 0, 0],
        "the connection to {to} was refused: {connack:02x?}"
    );
    Ok(stream)
}

/// One short packet.
fn read_packet(stream: &mut TcpStream) -> anyhow::Result<Vec<u8>> {
    let mut packet = vec![0; 2];
    stream.read_exact(&mut packet)?;
    let Some(header) = fixed_header(&packet)? else {
        bail!("a longer packet than expected")
    };
    packet.resize(header.packet_bytes(), 0);
    stream.read_exact(packet.get_mut(2..).unwrap_or_default())?;
    Ok(packet)
}
