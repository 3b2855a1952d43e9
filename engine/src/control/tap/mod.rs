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
    state.note(Act::new(user, "tap", imsi.to_string())).await?;
    let (shown, sender) = events();
    tokio::spawn(async move {
        let (told, heard) = bounded(TAP_EVENTS);
        let tapping = state.server.tap(imsi, Duration::from_secs(seconds), told);
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
        let session = event.session.to_string();
        let time = event.at_unix_ms;
        match event.what {
            TapEventKind::Begun {
                identity,
                network,
                peer,
                upstream,
                over_tls,
                platform,
                device_version,
                upstream_version,
                is_under_way,
            } => {
                self.sessions.insert(
                    event.session,
                    Session {
                        device_version,
                        upstream_version,
                        streams: HashMap::new(),
                    },
                );
                let shown = json!({
                    "time": time,
                    "session": session,
                    "imsi": identity.imsi.to_string(),
                    "network": &*network,
                    "peer": peer.to_string(),
                    "upstream": upstream.to_string(),
                    "tls": over_tls,
                    "platform": platform.as_str(),
                    "mqttVersion": device_version.as_str(),
                    "upstreamMqttVersion": upstream_version.as_str(),
                    "underWay": is_under_way,
                });
                sender.send("begin", &shown).await
            }
            TapEventKind::Passed {
                leg,
                direction,
                begins_packet,
                bytes,
                ..
            } => {
                let Some(of) = self.sessions.get_mut(&event.session) else {
                    return Ok(());
                };
                let (leg, version, is_device) = match leg {
                    Side::Device => ("device", of.device_version, true),
                    Side::Upstream => ("upstream", of.upstream_version, false),
                };
                let way = match direction {
                    TapDirection::Received => "received",
                    TapDirection::Sent => "sent",
                };
                let stream = of.streams.entry((is_device, direction)).or_default();
                let packets = stream.take(&bytes, begins_packet, version);
                for Shown {
                    kind,
                    text,
                    bytes,
                    topic,
                    payload,
                } in packets
                {
                    if self.packets_left == 0 {
                        return Ok(());
                    }
                    self.packets_left = self.packets_left.saturating_sub(1);
                    let mut shown = json!({
                        "time": time,
                        "session": session,
                        "leg": leg,
                        "direction": way,
                        "type": kind,
                        "text": text,
                        "bytes": bytes,
                    });
                    if let Some(fields) = shown.as_object_mut() {
                        for (key, value) in [("topic", topic), ("payload", payload)] {
                            if let Some(value) = value {
                                fields.insert(key.to_owned(), Value::from(value));
                            }
                        }
                    }
                    sender.send("packet", &shown).await?;
                }
                Ok(())
            }
            TapEventKind::Ended { reason } => {
                self.sessions.remove(&event.session);
                let shown = json!({"time": time, "session": session, "reason": reason});
                sender.send("ended", &shown).await
            }
        }
    }
}
