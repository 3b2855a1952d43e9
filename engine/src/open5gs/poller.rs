//! Poller: asks one SMF for all of its sessions, page by page over one connection. A poll that fails tells nothing, and
//! changes nothing.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::Body as _;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::page::{InvalidPage, Odd, Page};
use super::{Session, Unread, Url};
use crate::limits::{OPEN5GS_BYTES, OPEN5GS_PAGES, OPEN5GS_POLL_MS, OPEN5GS_TIMEOUT_MS};

/// Why a poll told nothing.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// The SMF cannot be reached.
    #[error("cannot connect ({0})")]
    Connect(#[source] io::Error),
    /// It does not speak HTTP, or stopped in the middle.
    #[error("the connection broke ({0})")]
    Http(#[from] hyper::Error),
    /// It has no such page.
    #[error("HTTP status {0}")]
    Status(u16),
    /// It is too slow.
    #[error("no answer in time")]
    TimeOut,
    /// Its answer is larger, or has more pages, than there is room for.
    #[error("an answer without an end")]
    TooLarge,
    /// Its answer is no list of sessions.
    #[error(transparent)]
    Page(#[from] InvalidPage),
    /// A page's name is none.
    #[error("a next page whose name is none")]
    Next(#[source] hyper::http::Error),
    /// Its body broke.
    #[error("the answer broke ({0})")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What one SMF has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// All sessions that can be read.
    pub sessions: Vec<Session>,
    /// What cannot, of SIMs that can.
    pub unread: Vec<Unread>,
    /// Entries that cannot be read.
    pub odd: Odd,
}

/// Asks one SMF, as often as it is told.
#[derive(Debug)]
pub struct Poller {
    url: Url,
    /// What the last poll found.
    last: Vec<Session>,
}

impl Poller {
    /// Of the SMF at this URL.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self {
            url,
            last: Vec::new(),
        }
    }

    /// All sessions that it has now. Call it inside a runtime; the future may be dropped at any time.
    ///
    /// The SMF counts its pages anew at each request, so that a device that leaves in between moves another one from the
    /// page to come to the page before. A session that a list of several pages lacks is therefore told once more; one
    /// that the next poll lacks too is over.
    ///
    /// # Errors
    /// When it does not tell all of them.
    pub async fn poll(&mut self) -> Result<List, PollError> {
        let whole = Duration::from_millis(OPEN5GS_POLL_MS);
        let found = timeout(whole, self.pages()).await;
        let (mut list, pages) = found.map_err(|_| PollError::TimeOut)??;
        let found = list.sessions.clone();
        if pages > 1 {
            let blocks: BTreeSet<_> = found.iter().map(|session| session.block).collect();
            let is_missed = |session: &Session| !blocks.contains(&session.block);
            list.sessions.extend(self.last.drain(..).filter(is_missed));
        }
        self.last = found;
        Ok(list)
    }

    async fn pages(&self) -> Result<(List, usize), PollError> {
        let mut connection = Connection::default();
        let mut list = List::default();
        let mut room = OPEN5GS_BYTES;
        let mut target = self.url.target().to_owned();
        for number in 1..=OPEN5GS_PAGES {
            let page = connection.page(&self.url, &target, room);
            let body = timeout(Duration::from_millis(OPEN5GS_TIMEOUT_MS), page).await;
            let body = body.map_err(|_| PollError::TimeOut)??;
            room = room.saturating_sub(body.len());
            let page = Page::parse(&body)?;
            list.sessions.extend(page.sessions);
            list.unread.extend(page.unread);
            list.odd.add(page.odd);
            match page.next {
                // Its path is the SMF's own, which may be another than here.
                Some(query) => target = self.url.target_with(&query),
                None => return Ok((list, number)),
            }
        }
        Err(PollError::TooLarge)
    }
}

/// A connection, where there is one.
#[derive(Default)]
struct Connection {
    sender: Option<SendRequest<Empty<Bytes>>>,
    /// What moves its bytes; ends with it.
    driver: JoinSet<()>,
}

impl Connection {
    async fn page(&mut self, url: &Url, target: &str, room: usize) -> Result<Bytes, PollError> {
        let mut sender = match self.usable().await {
            Some(sender) => sender,
            // Some servers close after every answer.
            None => self.connect(url).await?,
        };
        let request = Request::get(target)
            .header(HOST, url.authority())
            .header(ACCEPT, "application/json")
            .body(Empty::new())
            .map_err(PollError::Next)?;
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(PollError::Status(response.status().as_u16()));
        }
        let least = response.body().size_hint().lower();
        if usize::try_from(least).is_ok_and(|least| least > room) {
            return Err(PollError::TooLarge);
        }
        let body = Limited::new(response.into_body(), room);
        let body = body.collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                PollError::TooLarge
            } else {
                PollError::Body(error)
            }
        })?;
        self.sender = Some(sender);
        Ok(body.to_bytes())
    }

    async fn usable(&mut self) -> Option<SendRequest<Empty<Bytes>>> {
        let mut sender = self.sender.take()?;
        sender.ready().await.ok().map(|()| sender)
    }

    async fn connect(&mut self, url: &Url) -> Result<SendRequest<Empty<Bytes>>, PollError> {
        let stream = TcpStream::connect((url.host(), url.port())).await;
        let stream = TokioIo::new(stream.map_err(PollError::Connect)?);
        let (sender, driver) = http1::handshake(stream).await?;
        self.driver.abort_all();
        self.driver.spawn(async move {
            // What goes wrong is told to whoever waits for an answer.
            drop(driver.await);
        });
        Ok(sender)
    }
}

#[cfg(test)]
mod tests;
