//! Open: how devices come on line, one after the other at the rate that the plan asks for.

use std::cell::Cell;
use std::rc::Rc;
use std::task::Poll;

use atomic_waker::AtomicWaker;
use futures_channel::oneshot;

use super::incoming::{Reason, receive};
use super::{Device, Role, client_id};
use crate::fleet::Fleet;
use crate::sys::{Socket, Timer, monotonic_ns};
use crate::wire::encode;

/// Opens the connections of all devices of this thread, and returns when each is open or has failed.
/// Device `n` is due at `start_ns + (n - 1) / ramp`.
///
/// # Errors
/// When there is no timer.
pub async fn open_all(fleet: &Rc<Fleet>, start_ns: u64) -> std::io::Result<()> {
    let timer = Timer::new()?;
    let slots = Rc::new(Slots {
        taken: Cell::new(0),
        freed: AtomicWaker::new(),
    });
    let opening = &fleet.plan.opening;
    let at_once = (opening.at_once / fleet.plan.threads).max(1);
    for device in fleet.devices() {
        let due_ns = start_ns.saturating_add(after(device.number - 1, opening.ramp));
        if due_ns > monotonic_ns() {
            timer.until(due_ns).await?;
        }
        slots.until_below(at_once).await;
        if fleet.is_closing.get() {
            break;
        }
        slots.taken.set(slots.taken.get() + 1);
        let began_ns = if opening.ramp > 0.0 {
            due_ns
        } else {
            monotonic_ns()
        };
        let (device, fleet, slots) = (Rc::clone(device), Rc::clone(fleet), Rc::clone(&slots));
        monoio::spawn(async move {
            open(&device, &fleet, began_ns).await;
            slots.taken.set(slots.taken.get() - 1);
            slots.freed.wake();
        });
    }
    slots.until_below(1).await;
    Ok(())
}

/// Connections under way.
struct Slots {
    taken: Cell<u32>,
    freed: AtomicWaker,
}

impl Slots {
    async fn until_below(&self, limit: u32) {
        std::future::poll_fn(|context| {
            self.freed.register(context.waker());
            if self.taken.get() < limit {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

async fn open(device: &Rc<Device>, fleet: &Rc<Fleet>, began_ns: u64) {
    let limit = fleet.plan.opening.timeout;
    let opened = match monoio::time::timeout(limit, attempt(device, fleet)).await {
        Ok(opened) => opened,
        Err(_) => Err(format!(
            "not connected within {}",
            humantime::format_duration(limit)
        )),
    };
    let tally = &fleet.tally;
    match (opened, &device.role) {
        (Ok(()), Role::HalfOpen(_)) => tally.half_open.increment(),
        (Ok(()), _) => {
            let took_ns = monotonic_ns().saturating_sub(began_ns);
            tally.connect.with(|all| all.record(took_ns));
            tally.opened.increment();
            fleet.opened(device);
        }
        (Err(reason), _) => {
            device.close(fleet, false);
            device.finish(fleet);
            tally.failed.increment();
            tally.error(&format!("not connected: {reason}"));
        }
    }
}

async fn attempt(device: &Rc<Device>, fleet: &Rc<Fleet>) -> Result<(), Reason> {
    let plan = &fleet.plan;
    let target = match device.role {
        Role::Publisher => plan.publish_to.unwrap_or(plan.target),
        Role::Subscriber { .. } | Role::SlowReader { .. } | Role::HalfOpen(_) => plan.target,
    };
    let sim = plan.sims.of(device.number);
    let socket = Socket::connect(target, sim.map(|sim| sim.address))
        .await
        .map_err(|error| error.to_string())?;
    let socket = Rc::new(socket);
    let mut hello = Vec::new();
    let id = client_id::write(fleet.run, device.number);
    encode::connect(&mut hello, device.version, &id, plan.keep_alive);
    let (opened, is_open) = oneshot::channel();
    {
        let mut link = device.link.borrow_mut();
        link.socket = Some(Rc::clone(&socket));
        link.clear();
    }
    if let Role::HalfOpen(how) = device.role {
        match how {
            0 => hello.clear(),
            1 => hello.truncate(hello.len() / 2),
            _ => {}
        }
        device.send(fleet, |out| out.extend_from_slice(&hello));
        return Ok(());
    }
    device.send(fleet, |out| out.extend_from_slice(&hello));
    monoio::spawn(receive(Rc::clone(device), Rc::clone(fleet), socket, opened));
    is_open.await.unwrap_or_else(|_| Err("given up".to_owned()))
}

/// When the connection with an index is due, in ns from the first one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive, and the cast saturates"
)]
fn after(index: u32, ramp: f64) -> u64 {
    if ramp > 0.0 {
        (f64::from(index) * 1e9 / ramp) as u64
    } else {
        0
    }
}
