//! Events stream: server-sent events from whoever makes them to whoever listens. Bounded: the maker waits for the
//! listener, and is told when that is gone.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde_json::Value;
use tokio::sync::mpsc;

use super::limits::STREAM_EVENTS;

/// What a listener hears.
pub(super) struct EventStream(mpsc::Receiver<Event>);

/// What a maker tells it by.
#[derive(Clone)]
pub(super) struct EventSender(mpsc::Sender<Event>);

/// The listener is gone.
#[derive(Debug)]
pub(super) struct Gone;

/// Both ends.
pub(super) fn events() -> (EventStream, EventSender) {
    let (sender, receiver) = mpsc::channel(STREAM_EVENTS);
    (EventStream(receiver), EventSender(sender))
}

impl EventSender {
    /// Tells an event; waits while the listener is slow.
    ///
    /// # Errors
    /// When it is gone.
    pub(super) async fn send(&self, name: &str, data: &Value) -> Result<(), Gone> {
        let event = Event::default().event(name).data(data.to_string());
        self.0.send(event).await.map_err(|_| Gone)
    }

    /// Waits until the listener is gone.
    pub(super) async fn gone(&self) {
        self.0.closed().await;
    }
}

impl EventStream {
    /// The answer to a request for it.
    pub(super) fn response(self) -> Response {
        Sse::new(self)
            .keep_alive(KeepAlive::default())
            .into_response()
    }
}

impl Stream for EventStream {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|event| event.map(Ok))
    }
}
