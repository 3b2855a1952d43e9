//! Front: a connection's way from accept to the relay: its CONNECT, its SIM, the shard that owns the
//! SIM, the entry point, the upstream's connection.

mod claim;
mod dial;
mod handshake;
pub(super) mod login;
mod opening;
mod reach;
mod renewal;
mod waiting;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use monoio::net::{TcpListener, TcpStream};
use ringbeam_proto::billing::Counts;
use ringbeam_proto::error::{Cause, Phase, Refusal};
use ringbeam_proto::farewell::{farewell, write_farewell};
use ringbeam_proto::packet::Version;
use ringbeam_proto::packet::connect::{self, Unserved, read as read_connect};
use tracing::{info, warn};

use self::claim::{Candidate, Claim};
use self::dial::NotReached;
use self::reach::{Reached, Way, reach};
pub(crate) use self::renewal::Errand;
use self::renewal::open_session;
pub(super) use self::renewal::redial;
use super::Shard;
use super::admission::{Place, Who};
use super::buffers::Batch;
use super::close::close_one;
use super::connections::{Connection, Listed};
use super::counters::SimSession;
use super::mailbox::{Handoff, Message};
use super::relay;
use super::report::{SimEvent, SimEventKind};
use crate::fleet::EntryPoint;
use crate::limits::{ACCEPT_PAUSE_MS, LINGER_MS};
use crate::sys::clock::{now_ms, unix_ms};
use crate::sys::socket::Socket;

/// That a device is not served, and what there is to know about it.
struct NotServed {
    unserved: Unserved,
    detail: Option<String>,
}

impl From<Unserved> for NotServed {
    fn from(unserved: Unserved) -> Self {
        Self {
            unserved,
            detail: None,
        }
    }
}

/// A connection whose CONNECT is here, whole.
struct Arrival {
    socket: Socket,
    listed: Listed,
    /// The CONNECT and what came behind it.
    batch: Batch,
    place: Place,
}

/// Accepts until the listener is shut down. Never dropped while it waits: monoio would leak what the
/// kernel accepts meanwhile.
pub(super) async fn accept(shard: Rc<Shard>, listener: TcpListener, network: Arc<str>) {
    let mut is_short = false;
    while !shard.is_closing.get() {
        match listener.accept().await {
            Ok((stream, peer)) => {
                is_short = false;
                admit(&shard, stream, peer, &network);
            }
            Err(_) if shard.is_closing.get() => break,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if !is_short {
                    warn!(%network, %error, "accepting pauses");
                }
                is_short = true;
                monoio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            }
        }
    }
}

fn admit(shard: &Rc<Shard>, stream: TcpStream, peer: SocketAddr, network: &Arc<str>) {
    // What was accepted while accepting ended is nobody's any more.
    if shard.is_closing.get() {
        return;
    }
    shard.counters.update(|totals| totals.accepted += 1);
    // B-ID-4: whose it is now is whose it stays.
    let snapshot = shard.snapshot.load();
    let identity = snapshot
        .fleet
        .find(network, peer.ip())
        .map(|sim| sim.identity);
    let settings = &snapshot.settings;
    let who = match identity {
        Some(identity) => Some(Who::Sim(identity.imsi)),
        None if settings.waits(network) => Some(Who::stranger(network, peer.ip())),
        None => None,
    };
    let listed = shard.connections.list(Arc::clone(network), peer, identity);
    let (seat, most) = (listed.seat(shard.index), settings.sessions_per_sim);
    // Whoever says nothing takes no place from a SIM, and a SIM none from the others.
    let admission = &shard.admission;
    let place = admission.enter(who, seat, most, &|seat| shard.has_make_room(seat));
    let Some(place) = place else {
        shard.counters.update(|totals| totals.dropped += 1);
        return;
    };
    let socket = Socket::accepted(stream);
    monoio::spawn(open(Rc::clone(shard), socket, listed, place));
}

/// Takes over a connection from the shard that accepted it.
pub(super) fn adopt(shard: &Rc<Shard>, handoff: Handoff) {
    let Handoff {
        descriptor,
        network,
        peer,
        identity,
        bytes,
        place,
    } = handoff;
    match Socket::adopt(descriptor) {
        Ok(socket) => {
            let shard = Rc::clone(shard);
            let listed = shard.connections.list(network, peer, identity);
            if shard.is_closing.get() {
                listed.connection().end(Cause::Draining);
            }
            let batch = shard.pool.take_holding(&bytes);
            monoio::spawn(async move {
                let Ok(batch) = batch else {
                    let not_served = not_served(&bytes, Refusal::SessionLimit, "no memory for it");
                    return refuse(&shard, &socket, &listed, not_served).await;
                };
                let arrival = Arrival {
                    socket,
                    listed,
                    batch,
                    place,
                };
                join(&shard, arrival).await;
            });
        }
        Err(error) => warn!(%peer, %error, "hand-over failed"),
    }
}

/// That a device is refused, in the version of its CONNECT.
fn not_served(connect: &[u8], refusal: Refusal, detail: &str) -> NotServed {
    let version = match read_connect(connect) {
        Ok(connect::Opening::Whole(connect, _)) => Some(connect.version),
        _ => None,
    };
    NotServed {
        unserved: Unserved {
            cause: Cause::Refused(refusal),
            version,
        },
        detail: Some(detail.to_owned()),
    }
}

/// A new connection: reads its CONNECT, then serves it here or hands it to its SIM's shard.
async fn open(shard: Rc<Shard>, mut socket: Socket, listed: Listed, mut place: Place) {
    let shard = &shard;
    let connection = listed.connection();
    let timeout_ms = shard.snapshot.load().settings.connect_timeout_ms;
    shard
        .deadlines
        .arm(connection, Some(now_ms().saturating_add(timeout_ms)));
    let read = match opening::read(shard, connection, &socket).await {
        Ok(batch) if connection.identity.get().is_none() => {
            waiting::identify(shard, connection, &mut socket, batch, &place).await
        }
        read => read,
    };
    let batch = match read {
        Ok(batch) => batch,
        Err(not_served) => return refuse(shard, &socket, &listed, not_served).await,
    };
    let identity = connection.identity.get();
    if identity.is_some() {
        place.become_session(&|seat| shard.has_make_room(seat));
    }
    let owner = identity.map_or(shard.index, |identity| shard.owner(&identity.imsi));
    let stays = owner == shard.index || !place.is_session();
    let arrival = Arrival {
        socket,
        listed,
        batch,
        place,
    };
    if stays {
        join(shard, arrival).await;
    } else {
        hand_over(shard, arrival, owner).await;
    }
}

async fn hand_over(shard: &Rc<Shard>, arrival: Arrival, owner: usize) {
    let Arrival {
        socket,
        listed,
        batch,
        place,
    } = arrival;
    let connection = listed.connection();
    let handoff = Handoff {
        descriptor: socket.release(),
        network: Arc::clone(&connection.network),
        peer: connection.peer,
        identity: connection.identity.get(),
        bytes: Bytes::copy_from_slice(batch.input()),
        place,
    };
    let Some(mailbox) = shard.mailboxes.get(owner) else {
        return;
    };
    let message = Message::Handoff(Box::new(handoff));
    let Err(refused) = mailbox.send(message) else {
        return shard.counters.update(|totals| totals.handed_over += 1);
    };
    let Message::Handoff(handoff) = refused.into_inner() else {
        return;
    };
    if let Ok(socket) = Socket::adopt(handoff.descriptor) {
        let detail = "the SIM's shard has too many messages waiting";
        let not_served = not_served(&handoff.bytes, Refusal::Overload, detail);
        refuse(shard, &socket, &listed, not_served).await;
    }
}

/// A connection on the shard that owns its SIM: joined with its upstream and given to the relay, or refused.
async fn join(shard: &Rc<Shard>, arrival: Arrival) {
    let Arrival {
        socket,
        listed,
        batch,
        place,
    } = arrival;
    let opened_ms = now_ms();
    let connection = listed.connection();
    let prepared = match opening::prepare(shard, connection, batch, &place) {
        Ok(prepared) => prepared,
        Err(not_served) => return refuse(shard, &socket, &listed, not_served).await,
    };
    let version = Some(prepared.version);
    let settings = &prepared.snapshot.settings;
    let connack_deadline_ms = opened_ms.saturating_add(settings.upstream_timeout_ms);
    shard.deadlines.arm(connection, Some(connack_deadline_ms));
    let way = Way {
        snapshot: &prepared.snapshot,
        entry_point: &prepared.entry_point,
        certificate: prepared.certificate.as_deref(),
    };
    let reached = Box::pin(reach(shard, connection, way, connack_deadline_ms)).await;
    let Reached { upstream, address } = match reached {
        Ok(reached) => reached,
        Err(NotReached { cause, detail }) => {
            // B-TOK-2: whoever waited for it goes on.
            drop(prepared);
            let unserved = Unserved { cause, version };
            return refuse(shard, &socket, &listed, NotServed { unserved, detail }).await;
        }
    };
    let opening::Prepared {
        opening,
        entry_point,
        connect,
        read_ahead,
        sim_session,
        renewable,
        candidate,
        ..
    } = prepared;
    let record = record(
        connection,
        &entry_point,
        address,
        (place, sim_session),
        opened_ms,
    );
    let limits = entry_point.limits(&prepared.snapshot.settings.limits);
    let (contender, claim) = candidate.map(Candidate::part).unzip();
    let (session, renewing) = open_session(shard, connection, opening, entry_point, renewable);
    let seam = Box::new(relay::Seam {
        device: socket.release(),
        upstream,
        session,
        read_ahead,
        connect,
        connack_deadline_ms,
        stall_timeout_ms: prepared.snapshot.settings.stall_timeout_ms,
        renewing,
        limits,
        contender,
        record,
    });
    give_over(shard, &listed, seam, claim.flatten(), version).await;
}

/// What there is to know of a session beside its state.
fn record(
    connection: &Connection,
    entry_point: &EntryPoint,
    upstream: SocketAddr,
    (place, sim): (Place, SimSession),
    opened_ms: u64,
) -> Box<relay::Record> {
    Box::new(relay::Record {
        network: Arc::clone(&connection.network),
        peer: connection.peer,
        upstream,
        is_tls: entry_point.destination.tls,
        destination: entry_point.destination_kind(),
        opened_ms,
        told: Counts::default(),
        place,
        sim,
        faults: relay::Faults::default(),
        parting: None,
    })
}

/// Gives a session to the relay, unless that has too much to do.
async fn give_over(
    shard: &Rc<Shard>,
    listed: &Listed,
    seam: Box<relay::Seam>,
    claim: Option<Claim>,
    version: Option<Version>,
) {
    let given = shard.relay.send(relay::Message::Join(seam));
    drop(claim);
    let Err(relay::Message::Join(seam)) = given else {
        return;
    };
    let unserved = Unserved {
        cause: Cause::Refused(Refusal::Overload),
        version,
    };
    if let Ok(socket) = Socket::adopt(seam.device) {
        let detail = Some("the relay has too many messages waiting".to_owned());
        refuse(shard, &socket, listed, NotServed { unserved, detail }).await;
    }
}

/// Ends a connection that never became a session, with what its device is told.
async fn refuse(shard: &Shard, socket: &Socket, listed: &Listed, not_served: NotServed) {
    let connection = listed.connection();
    let NotServed { unserved, detail } = not_served;
    let Unserved { cause, version } = unserved;
    shard.counters.ended(cause);
    let detail = detail.or_else(|| cause.detail());
    // B-ERR-4: this line alone.
    info!(
        imsi = connection.identity.get().map(|identity| tracing::field::display(identity.imsi)),
        network = %connection.network,
        peer = %connection.peer,
        mqtt = version.map(Version::as_str),
        reason = cause.name(),
        detail,
        "connection refused",
    );
    shard.tell(|| SimEvent {
        at_unix_ms: unix_ms(),
        identity: connection.identity.get(),
        network: Arc::clone(&connection.network),
        peer: connection.peer,
        what: SimEventKind::Refused {
            device_version: version,
            reason: cause.name(),
            detail,
        },
    });
    socket.leave_to_the_kernel();
    if cause.is_abrupt() {
        return;
    }
    let manners = shard.snapshot.load().settings.manners;
    let manners = manners.with_upstream(connection.when_unavailable.get());
    let words = farewell(cause, version, Phase::Connecting, manners);
    let mut bytes = Vec::new();
    write_farewell(words, &mut bytes);
    if !bytes.is_empty() {
        // Nothing was sent before, so a few bytes fit; a broken connection needs none.
        drop(socket.send(&[std::io::IoSlice::new(&bytes)]));
    }
    shard
        .deadlines
        .arm(connection, Some(now_ms().saturating_add(LINGER_MS)));
    close_one(connection, socket).await;
}
