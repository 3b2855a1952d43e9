//! Background: what the control plane does by itself: billing figures and events to the registry, old things forgotten,
//! sources of sessions listened to and asked.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::Receiver;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::calendar::MINUTES_SECONDS;
use super::forgetting::forget;
use super::limits::{EVENTS_INTERVAL, RETRY_INTERVAL, USAGE_INTERVAL};
use super::notes;
use super::state::State;
use super::store::Store;
use super::{unstored, usage};
use crate::config::Open5gsConfig;
use crate::open5gs::{List, Odd, Poller};
use crate::radius::{AccountingEvent, Kept, NotStored, Sink, bind, serve};
use crate::registry::sessions::{Open5gsSource, SessionAct, SessionEvent};
use crate::registry::{EmbeddedRegistry, Refusal as _};
use crate::shard::report::SimEvent;
use crate::sys::clock::unix_ms;

/// Starts everything that goes on by itself.
///
/// # Errors
/// When a RADIUS address cannot be had.
pub(super) fn begin(
    tasks: &mut JoinSet<()>,
    state: &Arc<State>,
    store: &Store,
    events: Receiver<SimEvent>,
) -> std::io::Result<()> {
    for listener in &state.radius_listeners {
        let socket = bind(listener.address).map_err(|error| {
            let text = format!(
                "radius.address: cannot listen on {}: {error}",
                listener.address
            );
            std::io::Error::new(error.kind(), text)
        })?;
        info!(address = %socket.local_addr()?, "RADIUS accounting");
        let settings = Arc::clone(&listener.settings);
        let sink = Accounting(Arc::clone(state));
        let counters = Arc::clone(&state.radius);
        tasks.spawn(async move {
            let error = serve(socket, settings, sink, counters).await;
            error!(%error, "a RADIUS listener failed");
        });
    }
    tasks.spawn(forget_unasked(Arc::clone(state)));
    for config in &state.config.open5gs {
        tasks.spawn(poll(Arc::clone(state), config.clone()));
    }
    tasks.spawn(bill(Arc::clone(state), store.clone()));
    tasks.spawn(note(Arc::clone(state), store.clone(), events));
    tasks.spawn(forget(Arc::clone(state), store.clone()));
    tasks.spawn(retry(Arc::clone(state), store.clone()));
    Ok(())
}

/// Keeps what packet cores tell.
struct Accounting(Arc<State>);

impl Sink for Accounting {
    async fn store(&self, events: Vec<AccountingEvent>) -> Result<Kept, NotStored> {
        let events = events.into_iter().map(SessionEvent::from).collect();
        keep(&self.0, events).await.map_err(|()| NotStored)
    }
}

/// Stores what happened to sessions and has the fleet follow; then it may be acknowledged.
async fn keep(state: &Arc<State>, events: Vec<SessionEvent>) -> Result<Kept, ()> {
    let asked = Arc::clone(state);
    let keep = move |registry: &EmbeddedRegistry| {
        let server = Arc::clone(&asked.server);
        server.exclusively(|| unstored::events(registry, &asked, events))
    };
    let store = state.store().map_err(|_| ())?;
    match store.write(keep).await {
        Ok(Ok(kept)) => Ok(kept),
        Ok(Err(error)) => {
            if error.unwritten().is_none() {
                error!(%error, "sessions cannot be stored");
            }
            Err(())
        }
        Err(_) => Err(()),
    }
}

/// Ends the sessions of an Open5GS that is not asked any more: nobody would tell of their end.
async fn forget_unasked(state: Arc<State>) {
    let asked: Vec<Open5gsSource> = state
        .config
        .open5gs
        .iter()
        .map(|config| Open5gsSource {
            network: Arc::clone(&config.network),
            url: Arc::from(config.url.to_string()),
        })
        .collect();
    let Ok(store) = state.store() else {
        return;
    };
    let told = store.read(|registry| registry.read(|moment| moment.open5gs_sources()));
    let told = match told.await {
        Ok(Ok(told)) => told,
        Ok(Err(error)) => return error!(%error, "sessions cannot be read"),
        Err(_) => return,
    };
    let unasked = told.into_iter().filter(|source| !asked.contains(source));
    let time_ms = unix_ms();
    let events: Vec<SessionEvent> = unasked
        .map(|Open5gsSource { network, url }| {
            warn!(%network, %url, "this Open5GS is not asked any more; its sessions end");
            let act = SessionAct::Replace {
                network,
                url,
                sessions: Vec::new(),
                unread: Vec::new(),
            };
            SessionEvent { time_ms, act }
        })
        .collect();
    if !events.is_empty() {
        // What is not stored now is stored later.
        drop(keep(&state, events).await);
    }
}

/// Asks Open5GS again and again. While it does not answer, sessions stay as they are.
async fn poll(state: Arc<State>, config: Open5gsConfig) {
    let url: Arc<str> = Arc::from(config.url.to_string());
    let mut poller = Poller::new(config.url);
    let (mut has_failed, mut is_odd) = (false, false);
    loop {
        let time_ms = unix_ms();
        match poller.poll().await {
            Ok(List {
                sessions,
                unread,
                odd,
            }) => {
                has_failed = false;
                let was_odd = std::mem::replace(&mut is_odd, odd.count > 0);
                state.open5gs_odd.fetch_add(odd.count, Ordering::Relaxed);
                if is_odd && !was_odd {
                    let Odd { count, first } = odd;
                    warn!(%url, count, first, "Open5GS tells of sessions that cannot be read; they are left out, and the others hold");
                }
                let act = SessionAct::Replace {
                    network: Arc::clone(&config.network),
                    url: Arc::clone(&url),
                    sessions,
                    unread,
                };
                // What is not stored now is stored later, and told again.
                drop(keep(&state, vec![SessionEvent { time_ms, act }]).await);
            }
            Err(error) if !has_failed => {
                has_failed = true;
                warn!(%url, %error, "Open5GS does not tell its sessions; they stay as they are");
            }
            Err(_) => {}
        }
        tokio::time::sleep(config.interval).await;
    }
}

/// Stores billing figures every few seconds, and when a bucket ends.
async fn bill(state: Arc<State>, store: Store) {
    loop {
        let now_ms = unix_ms();
        let width_ms = MINUTES_SECONDS.saturating_mul(1000);
        let left = width_ms.saturating_sub(now_ms.rem_euclid(width_ms));
        let left = Duration::from_millis(u64::try_from(left).unwrap_or_default());
        tokio::time::sleep(left.min(USAGE_INTERVAL)).await;
        let state = Arc::clone(&state);
        // What is not collected now is collected later.
        drop(
            store
                .write(move |registry| usage::collect(registry, &state))
                .await,
        );
    }
}

/// Stores what shards tell of SIMs' connections.
async fn note(state: Arc<State>, store: Store, events: Receiver<SimEvent>) {
    loop {
        tokio::time::sleep(EVENTS_INTERVAL).await;
        loop {
            let (state, events) = (Arc::clone(&state), events.clone());
            let noted = store.write(move |registry| notes::store(registry, &state.notes, &events));
            // What is not stored now is stored later.
            if !noted.await.unwrap_or(false) {
                break;
            }
        }
    }
}

/// Stores what could not be stored, as soon as that can be done.
async fn retry(state: Arc<State>, store: Store) {
    loop {
        tokio::time::sleep(RETRY_INTERVAL).await;
        if store.unwritten().is_some() || state.unstored.with(|unstored| unstored.is_waiting()) {
            state.settle(&store).await;
        }
    }
}
