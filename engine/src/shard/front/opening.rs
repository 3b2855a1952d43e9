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

use super::claim::Candidate;
use super::login::{self, Login};
use crate::fleet::{Credential, EntryPoint, Validity};
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
) -> Result<Batch, Unserved> {
    let mut stash = Vec::new();
    let mut kept: Option<Batch> = None;
    let ended = |cause| Unserved {
        cause,
        version: None,
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
                if batch.input().len() > BUFFER_BYTES / 2 {
                    kept = Some(batch);
                } else {
                    stash = batch.input().to_vec();
                    drop(batch);
                }
                readable(connection, socket).await.map_err(ended)?;
                continue;
            }
            Err(_) => return Err(ended(Cause::DeviceReset)),
        }
        match read_connect(batch.input())? {
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
) -> Result<Prepared, Unserved> {
    let (connect, length) = match read_connect(batch.input())? {
        Opening::Whole(connect, length) => (connect, length),
        // It was whole when it was read.
        Opening::Partial(_) => {
            return Err(Unserved {
                cause: Cause::DeviceClosed,
                version: None,
            });
        }
    };
    let version = connect.version;
    let refused = |cause| Unserved {
        cause,
        version: Some(version),
    };
    let refuse = |refusal| refused(Cause::Refused(refusal));
    let snapshot = shard.snapshot.load_full();
    let sim = connection.sim(&snapshot.fleet);
    // B-ID-4: the address was given to another SIM, or to none, since the connection was accepted.
    let imsi = sim.map(|sim| sim.identity.imsi);
    if connection
        .identity
        .get()
        .is_some_and(|identity| Some(identity.imsi) != imsi)
    {
        return Err(refused(Cause::SimSessionEnded));
    }
    // B-ID-2
    let sim = sim.ok_or_else(|| refuse(Refusal::UnknownAddress))?;
    connection.identity.set(Some(sim.identity));
    if !place.is_session() {
        return Err(refuse(Refusal::SessionLimit));
    }
    if shard.relay.is_overloaded() {
        return Err(refuse(Refusal::Overload));
    }
    let entry_point = Arc::clone(snapshot.fleet.entry_point(&sim).map_err(refuse)?);
    let login = log_in(&snapshot, &entry_point, &connect, &sim.identity).map_err(refused)?;
    let record = shard.counters.sim(sim.identity.imsi);
    let mut sim_session = SimSession::begin(record, snapshot.settings.sessions_per_sim)
        .ok_or_else(|| refuse(Refusal::SimSessionLimit))?;
    let upstream_version = entry_point
        .rules
        .platform
        .upstream_version(version)
        .map_err(refuse)?;
    let opening = session_opening(&connect, &entry_point, sim.identity, upstream_version);
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

/// What a session is opened with.
fn session_opening(
    connect: &Connect<'_>,
    entry_point: &EntryPoint,
    identity: Identity,
    upstream_version: Version,
) -> SessionOpening {
    SessionOpening {
        identity,
        rules: entry_point.rules,
        device_version: connect.version,
        upstream_version,
        keep_alive_seconds: connect.keep_alive_seconds,
        has_authentication_method: connect.has_authentication_method,
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
