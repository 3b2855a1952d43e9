//! Opening: a device's CONNECT, read within its limits (B-CON-3), and what it leads to.

use std::rc::Rc;
use std::sync::Arc;

use ringbeam_proto::error::{Cause, Refusal};
use ringbeam_proto::identity::Identity;
use ringbeam_proto::limits::CONNECT_BYTES_MAX;
use ringbeam_proto::packet::Version;
use ringbeam_proto::packet::connect::{Connect, Opening, Unserved, read as read_connect};
use ringbeam_proto::session::Opening as SessionOpening;
use tracing::warn;
use zeroize::Zeroizing;

use super::NotServed;
use super::claim::Candidate;
use super::login::{self, Login};
use crate::fleet::{Credential, EntryPoint, Sim, Validity};
use crate::limits::{BUFFER_BYTES, RENEWAL_CONNECT_BYTES};
use crate::shard::admission::Place;
use crate::shard::buffers::Batch;
use crate::shard::connections::{Connection, Interrupt};
use crate::shard::counters::SimSession;
use crate::shard::{Shard, Snapshot};
use crate::sys::clock::unix_seconds;
use crate::sys::socket::Socket;

/// Everything that connecting to the upstream needs.
pub(super) struct Prepared {
    pub(super) version: Version,
    pub(super) opening: SessionOpening,
    pub(super) entry_point: Arc<EntryPoint>,
    /// Fleet and settings as they were at its CONNECT.
    pub(super) snapshot: Arc<Snapshot>,
    /// The CONNECT for the upstream.
    pub(super) connect: Zeroizing<Vec<u8>>,
    /// The client certificate to present there.
    pub(super) certificate: Option<Arc<Credential>>,
    /// What the device sent behind its own.
    pub(super) read_ahead: Zeroizing<Vec<u8>>,
    pub(super) sim_session: SimSession,
    /// Where the upstream is to be renewed.
    pub(super) renewable: Option<Renewable>,
    /// B-TOK-2: who it is to its upstream, where that matters to a renewal.
    pub(super) candidate: Option<Candidate>,
}

/// What a renewal of the upstream begins from.
pub(super) struct Renewable {
    /// The device's CONNECT.
    pub(super) connect: Zeroizing<Vec<u8>>,
    /// Whether its clean session is 0.
    pub(super) keeps_session: bool,
    /// When the token in the upstream's CONNECT expires.
    pub(super) token_expires_unix_seconds: Option<u64>,
}

impl Renewable {
    /// What is kept of a CONNECT, where its entry point asks for it, it is not too large, and can be said again
    /// without the device.
    fn new(
        entry_point: &EntryPoint,
        connect: &Connect<'_>,
        packet: &[u8],
        login: &Login,
    ) -> Option<Self> {
        let is_wanted = entry_point.renew_upstream
            && packet.len() <= RENEWAL_CONNECT_BYTES
            && !connect.has_authentication_method;
        is_wanted.then(|| Self {
            connect: Zeroizing::new(packet.to_vec()),
            keeps_session: !connect.clean,
            token_expires_unix_seconds: login.token_expires_unix_seconds,
        })
    }
}

/// Reads until the CONNECT is whole. Between its bytes nothing but its beginning is kept.
pub(super) async fn read(
    shard: &Shard,
    connection: &Rc<Connection>,
    socket: &Socket,
) -> Result<Batch, NotServed> {
    let mut stash = Vec::new();
    let mut kept: Option<Batch> = None;
    let ended = |cause| {
        NotServed::from(Unserved {
            cause,
            version: None,
        })
    };
    loop {
        // In a storm the CONNECT is there before its connection is accepted.
        let mut batch = kept
            .take()
            .unwrap_or_else(|| shard.pool.take(&std::mem::take(&mut stash)));
        match socket.receive(batch.free()) {
            Ok(0) => return Err(ended(Cause::DeviceClosed)),
            Ok(count) => batch.filled(count),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let came = batch.input().len();
                if came > BUFFER_BYTES / 2 {
                    kept = Some(batch);
                } else {
                    stash = batch.input().to_vec();
                    drop(batch);
                }
                let readable = readable(connection, socket).await;
                readable.map_err(|cause| NotServed {
                    detail: Some(format!("{came} bytes of a CONNECT had come")),
                    ..ended(cause)
                })?;
                continue;
            }
            Err(_) => return Err(ended(Cause::DeviceReset)),
        }
        match read_connect(batch.input()).map_err(NotServed::from)? {
            Opening::Whole(..) => return Ok(batch),
            Opening::Partial(need) => {
                batch
                    .make_room(need.unwrap_or(CONNECT_BYTES_MAX))
                    .map_err(|_| ended(Cause::HeadMemory))?;
                kept = Some(batch);
            }
        }
    }
}

/// Waits until there is more.
async fn readable(connection: &Rc<Connection>, socket: &Socket) -> Result<(), Cause> {
    match connection.guard(socket.readable()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Cause::DeviceReset),
        Err(Interrupt::Due) => Err(Cause::ConnectTimeout),
        Err(Interrupt::End(cause)) => Err(cause),
    }
}

/// Decides what a whole CONNECT leads to.
pub(super) fn prepare(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    mut batch: Batch,
    place: &Place,
) -> Result<Prepared, NotServed> {
    let (connect, length) = match read_connect(batch.input()).map_err(NotServed::from)? {
        Opening::Whole(connect, length) => (connect, length),
        // It was whole when it was read.
        Opening::Partial(_) => {
            return Err(NotServed::from(Unserved {
                cause: Cause::DeviceClosed,
                version: None,
            }));
        }
    };
    let version = connect.version;
    let snapshot = shard.snapshot.load_full();
    let sim = admit(shard, connection, &snapshot, place, version)?;
    let entry_point = entry_point_of(&snapshot, &sim, version)?;
    let when_unavailable = entry_point.when_unavailable;
    connection.when_unavailable.set(when_unavailable);
    let login = log_in(&snapshot, &entry_point, &connect, &sim.identity).map_err(|cause| {
        let credentials = snapshot.fleet.credentials();
        let missing = entry_point.missing_credential(credentials, &sim.identity);
        NotServed {
            // B-CFG-4
            detail: missing.map(|id| format!("{id:?} is not there, or of another type")),
            ..not_served(version, cause)
        }
    })?;
    let record = shard.counters.sim(sim.identity.imsi);
    let max = snapshot.settings.sessions_per_sim;
    let mut sim_session = SimSession::begin(record, max).ok_or_else(|| {
        let why = format!("it has {max} sessions");
        refused(version, Refusal::SimSessionLimit, why)
    })?;
    let upstream_version = entry_point
        .rules
        .platform
        .upstream_version(version)
        .map_err(|refusal| not_served(version, Cause::Refused(refusal)))?;
    let manners = snapshot.settings.manners.with_upstream(when_unavailable);
    let opening = SessionOpening {
        identity: sim.identity,
        rules: entry_point.rules,
        device_version: version,
        upstream_version,
        keep_alive_seconds: connect.keep_alive_seconds,
        has_authentication_method: connect.has_authentication_method,
        manners,
    };
    if let Some(beyond) = entry_point.beyond_destination(&connect) {
        // B-ERR-4: this line alone, whatever the session does later.
        warn!(imsi = %sim.identity.imsi, peer = %connection.peer, beyond, "the destination may refuse this");
    }
    let packet = batch.input().get(..length).unwrap_or_default();
    let renewable = Renewable::new(&entry_point, &connect, packet, &login);
    let candidate = Candidate::enter(
        shard,
        &entry_point,
        (&connect, &login),
        (sim.identity.imsi, &mut sim_session),
        renewable.is_some(),
    );
    batch.skip(length);
    connection.has_session.set(true);
    Ok(Prepared {
        version,
        opening,
        entry_point,
        snapshot,
        connect: login.packet,
        certificate: login.credential,
        read_ahead: Zeroizing::new(batch.input().to_vec()),
        sim_session,
        renewable,
        candidate,
    })
}

/// The SIM of a connection, if the engine has room for it.
fn admit(
    shard: &Shard,
    connection: &Rc<Connection>,
    snapshot: &Snapshot,
    place: &Place,
    version: Version,
) -> Result<Sim, NotServed> {
    let sim = connection.sim(&snapshot.fleet);
    // B-ID-4: the address was given to another SIM, or to none, since the connection was accepted.
    let imsi = sim.map(|sim| sim.identity.imsi);
    if connection
        .identity
        .get()
        .is_some_and(|identity| Some(identity.imsi) != imsi)
    {
        return Err(not_served(version, Cause::SimSessionEnded));
    }
    // B-ID-2
    let unknown = Cause::Refused(Refusal::UnknownAddress);
    let sim = sim.ok_or_else(|| not_served(version, unknown))?;
    connection.identity.set(Some(sim.identity));
    if !place.is_session() {
        let why = format!("there are {} sessions", shard.admission.max());
        return Err(refused(version, Refusal::SessionLimit, why));
    }
    if shard.relay.is_overloaded() {
        let why = "the relay lags behind".to_owned();
        return Err(refused(version, Refusal::Overload, why));
    }
    Ok(sim)
}

/// The entry point that serves a SIM (B-ID-2).
fn entry_point_of(
    snapshot: &Snapshot,
    sim: &Sim,
    version: Version,
) -> Result<Arc<EntryPoint>, NotServed> {
    let fleet = &snapshot.fleet;
    let found = fleet.entry_point(sim).map_err(|refusal| {
        let group = sim.group.and_then(|index| fleet.group(index));
        NotServed {
            detail: group.map(|group| format!("group {}", group.id)),
            ..not_served(version, Cause::Refused(refusal))
        }
    });
    found.map(Arc::clone)
}

fn not_served(version: Version, cause: Cause) -> NotServed {
    NotServed::from(Unserved {
        cause,
        version: Some(version),
    })
}

fn refused(version: Version, refusal: Refusal, why: String) -> NotServed {
    NotServed {
        detail: Some(why),
        ..not_served(version, Cause::Refused(refusal))
    }
}

/// The CONNECT for the upstream, signed now where it holds a token.
pub(super) fn log_in(
    snapshot: &Snapshot,
    entry_point: &EntryPoint,
    connect: &Connect<'_>,
    identity: &Identity,
) -> Result<Login, Cause> {
    let validity = Validity {
        issued_unix_seconds: unix_seconds(),
        lifetime_seconds: snapshot.settings.token_lifetime_seconds,
    };
    let credentials = snapshot.fleet.credentials();
    login::write(connect, entry_point, credentials, identity, validity)
}
