//! Tap: what passes in the sessions of one SIM, as packets that people can read, as server-sent events. It ends by
//! itself.

mod packet;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Shared;
use axum::response::Response;
use crossbeam_channel::{Receiver, TryRecvError, bounded};
use hashbrown::HashMap;
use ringbeam_proto::identity::Imsi;
use ringbeam_proto::packet::Version;
use ringbeam_proto::session::Side;
use serde::Deserialize;
use serde_json::{Value, json};

use self::stream::{Shown, Stream};
use super::change::Act;
use super::error::ApiError;
use super::events_stream::{EventSender, Gone, events};
use super::extract::{Asked, User};
use super::limits::{
    TAP_EVENTS, TAP_LOOK, TAP_PACKETS, TAP_PACKETS_MAX, TAP_SECONDS, TAP_SECONDS_MAX,
};
use super::state::State;
use crate::shard::report::{ConnectionId, TapDirection, TapEvent, TapEventKind};

/// What is to be shown, and for how long.
#[derive(Debug, Deserialize)]
pub(super) struct Question {
    imsi: Option<String>,
    seconds: Option<u64>,
    packets: Option<usize>,
}

/// `GET /ringbeam/v1/tap`
pub(super) async fn tap(
    Shared(state): Shared<Arc<State>>,
    User(user): User,
    Asked(question): Asked<Question>,
) -> Result<Response, ApiError> {
    let imsi = question.imsi.unwrap_or_default();
    let imsi: Imsi = imsi
        .parse()
        .map_err(|error| ApiError::bad_request(format!("imsi: {error}")))?;
    let seconds = question
        .seconds
        .unwrap_or(TAP_SECONDS)
        .clamp(1, TAP_SECONDS_MAX);
    let packets = question
        .packets
        .unwrap_or(TAP_PACKETS)
        .clamp(1, TAP_PACKETS_MAX);
    let place = state.stream()?;
    state.note(Act::new(user, "tap", imsi.to_string())).await?;
    let (shown, sender) = events();
    let (told, heard) = bounded(TAP_EVENTS);
    // A shard that is slow to be told does not hold up the control loop. Once it is answered, it is tapped.
    let server = Arc::clone(&state.server);
    let duration = Duration::from_secs(seconds);
    let begun = tokio::task::spawn_blocking(move || server.tap(imsi, duration, told));
    let tapping = begun.await.map_err(|_| ApiError::internal())?;
    tokio::spawn(async move {
        let mut tap = Tap {
            sessions: HashMap::new(),
            packets_left: packets,
        };
        let reason = tokio::select! {
            () = sender.gone() => "gone",
            reason = tap.show(&heard, &sender) => reason,
        };
        drop(tapping);
        // Whoever listened may be gone.
        drop(sender.send("end", &json!({"reason": reason})).await);
        drop(place);
    });
    Ok(shown.response())
}

/// The streams of one session.
struct Session {
    device_version: Version,
    upstream_version: Version,
    streams: HashMap<(bool, TapDirection), Stream>,
}

/// A tap while it lasts.
struct Tap {
    sessions: HashMap<ConnectionId, Session>,
    packets_left: usize,
}

impl Tap {
    /// Shows everything until it is over, and says why it is.
    async fn show(&mut self, heard: &Receiver<TapEvent>, sender: &EventSender) -> &'static str {
        loop {
            match heard.try_recv() {
                Ok(event) => match self.event(event, sender).await {
                    Ok(()) if self.packets_left == 0 => return "enough packets",
                    Ok(()) => {}
                    Err(Gone) => return "gone",
                },
                // Who looks is a person: a few milliseconds are nothing.
                Err(TryRecvError::Empty) => tokio::time::sleep(TAP_LOOK).await,
                Err(TryRecvError::Disconnected) => {
                    return "its time is over, or there are too many taps";
                }
            }
        }
    }

    async fn event(&mut self, event: TapEvent, sender: &EventSender) -> Result<(), Gone> {
        if event.gap > 0 {
            // What follows begins with the next packet that is seen to begin.
            let sessions = self.sessions.values_mut();
            sessions.for_each(|session| session.streams.clear());
            sender.send("gap", &json!({"dropped": event.gap})).await?;
        }
        let (id, time) = (event.session, event.at_unix_ms);
        match event.what {
            begun @ TapEventKind::Begun { .. } => match self.begun(id, time, &begun) {
                Some(shown) => sender.send("begin", &shown).await,
                None => Ok(()),
            },
            TapEventKind::Passed {
                leg,
                direction,
                begins_packet,
                bytes,
                ..
            } => {
                let packets = self.packets(id, (leg, direction), begins_packet, &bytes);
                for packet in packets {
                    if self.packets_left == 0 {
                        return Ok(());
                    }
                    self.packets_left = self.packets_left.saturating_sub(1);
                    let shown = shown(packet, (leg, direction), id, time);
                    sender.send("packet", &shown).await?;
                }
                Ok(())
            }
            TapEventKind::Ended { reason } => {
                self.sessions.remove(&id);
                let shown = json!({"time": time, "session": id.to_string(), "reason": reason});
                sender.send("ended", &shown).await
            }
        }
    }

    /// A session is seen for the first time.
    fn begun(&mut self, id: ConnectionId, time: i64, begun: &TapEventKind) -> Option<Value> {
        let TapEventKind::Begun {
            identity,
            network,
            peer,
            upstream,
            over_tls,
            platform,
            device_version,
            upstream_version,
            is_under_way,
        } = begun
        else {
            return None;
        };
        self.sessions.insert(
            id,
            Session {
                device_version: *device_version,
                upstream_version: *upstream_version,
                streams: HashMap::new(),
            },
        );
        Some(json!({
            "time": time,
            "session": id.to_string(),
            "imsi": identity.imsi.to_string(),
            "network": &**network,
            "peer": peer.to_string(),
            "upstream": upstream.to_string(),
            "tls": over_tls,
            "platform": platform.as_str(),
            "mqttVersion": device_version.as_str(),
            "upstreamMqttVersion": upstream_version.as_str(),
            "underWay": is_under_way,
        }))
    }

    /// The packets that bytes make whole.
    fn packets(
        &mut self,
        id: ConnectionId,
        (leg, direction): (Side, TapDirection),
        begins_packet: bool,
        bytes: &[u8],
    ) -> Vec<Shown> {
        let Some(session) = self.sessions.get_mut(&id) else {
            return Vec::new();
        };
        let version = match leg {
            Side::Device => session.device_version,
            Side::Upstream => session.upstream_version,
        };
        let key = (leg == Side::Device, direction);
        let stream = session.streams.entry(key).or_default();
        stream.take(bytes, begins_packet, version)
    }
}

/// A packet as an event.
fn shown(
    packet: Shown,
    (leg, direction): (Side, TapDirection),
    id: ConnectionId,
    time: i64,
) -> Value {
    let leg = match leg {
        Side::Device => "device",
        Side::Upstream => "upstream",
    };
    let way = match direction {
        TapDirection::Received => "received",
        TapDirection::Sent => "sent",
    };
    let mut shown = json!({
        "time": time,
        "session": id.to_string(),
        "leg": leg,
        "direction": way,
        "type": packet.kind,
        "text": packet.text,
        "bytes": packet.bytes,
    });
    if let Some(fields) = shown.as_object_mut() {
        for (key, value) in [("topic", packet.topic), ("payload", packet.payload)] {
            if let Some(value) = value {
                fields.insert(key.to_owned(), Value::from(value));
            }
        }
    }
    shown
}
