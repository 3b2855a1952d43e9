//! Waiting: a device may be quicker than the word of its session (B-ID-8). Its CONNECT is here and its address is nobody's: it
//! waits until it is somebody's, its time is up, or it goes.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use monoio::io::Canceller;
use ringbeam_proto::error::{Cause, Refusal};
use ringbeam_proto::packet::connect::Unserved;

use super::{NotServed, not_served};
use crate::limits::{READ_AHEAD_BYTES, STRANGER_BYTES};
use crate::shard::Shard;
use crate::shard::admission::Place;
use crate::shard::buffers::Batch;
use crate::shard::connections::{Connection, Interrupt};
use crate::sys::clock::now_ms;
use crate::sys::socket::Socket;

/// Finds out whose a connection is whose CONNECT is here; where sessions are told of, it waits for that. Beyond its time
/// nobody's it stays.
pub(super) async fn identify(
    shard: &Shard,
    connection: &Rc<Connection>,
    socket: &mut Socket,
    batch: Batch,
    place: &Place,
) -> Result<Batch, NotServed> {
    let wait_ms = {
        let snapshot = shard.snapshot.load();
        let sim = connection.sim(&snapshot.fleet);
        connection.identity.set(sim.map(|sim| sim.identity));
        let settings = &snapshot.settings;
        if sim.is_some() || !settings.waits(&connection.network) {
            return Ok(batch);
        }
        settings.unknown_address_wait_ms
    };
    let why = "no room to wait until its address is somebody's";
    let no_room = not_served(batch.input(), Refusal::SessionLimit, why);
    let version = no_room.unserved.version;
    // Not that it is nobody: some would never come back after that.
    if place.is_refusal() || batch.input().len() > STRANGER_BYTES {
        return Err(no_room);
    }
    // What waits holds no buffer.
    let mut held = batch.input().to_vec();
    drop(batch);
    let until_ms = now_ms().saturating_add(wait_ms);
    shard.deadlines.arm(connection, Some(until_ms));
    let waited = wait(shard, connection, socket, &mut held).await;
    waited.map_err(|cause| NotServed::from(Unserved { cause, version }))?;
    let batch = shard.pool.take_holding(&held);
    batch.map_err(|_| {
        NotServed::from(Unserved {
            cause: Cause::HeadMemory,
            version,
        })
    })
}

/// Waits until it is somebody's, or its time is up. When it comes back nothing waits for the socket any more.
async fn wait(
    shard: &Shard,
    connection: &Rc<Connection>,
    socket: &mut Socket,
    held: &mut Vec<u8>,
) -> Result<(), Cause> {
    let mut is_over = false;
    loop {
        let sim = connection.sim(&shard.snapshot.load().fleet);
        connection.identity.set(sim.map(|sim| sim.identity));
        if sim.is_some() || is_over {
            return Ok(());
        }
        // What does not fit any more stays with the kernel.
        let room = STRANGER_BYTES.saturating_sub(held.len());
        let come = if room > 0 {
            let ahead = Vec::with_capacity(room.min(READ_AHEAD_BYTES));
            receive(connection, socket, ahead, held).await
        } else {
            connection.guard(given(connection)).await
        };
        match come {
            Ok(received) => received?,
            Err(Interrupt::Due) => is_over = true,
            Err(Interrupt::End(cause)) => return Err(cause),
        }
    }
}

/// Waits until the address may be somebody's, or something comes.
async fn receive(
    connection: &Connection,
    socket: &mut Socket,
    ahead: Vec<u8>,
    held: &mut Vec<u8>,
) -> Result<Result<(), Cause>, Interrupt> {
    let recall = Canceller::new();
    let mut receive = pin!(socket.receive_until(ahead, recall.handle()));
    let first = poll_fn(|context| {
        if connection.is_given() {
            return Poll::Ready(None);
        }
        receive.as_mut().poll(context).map(Some)
    });
    let (interrupt, received) = match connection.guard(first).await {
        Ok(received) => (None, received),
        Err(interrupt) => (Some(interrupt), None),
    };
    let received = match received {
        Some(received) => received,
        None => {
            drop(recall.cancel());
            receive.await
        }
    };
    let taken = match received {
        Ok(Some(bytes)) if bytes.is_empty() => Err(Cause::DeviceClosed),
        Ok(Some(bytes)) => {
            held.extend_from_slice(&bytes);
            Ok(())
        }
        Ok(None) => Ok(()),
        Err(_) => Err(Cause::DeviceReset),
    };
    interrupt.map_or(Ok(taken), Err)
}

/// Waits until the address may be somebody's.
async fn given(connection: &Connection) -> Result<(), Cause> {
    poll_fn(|_| {
        if connection.is_given() {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    })
    .await
}
