//! Sealing: the TLS of a leg. Bytes in clear count as sent when the kernel has the last of their records,
//! so that a batch is given back, billed and forgotten at the same moment as on a plain connection.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::rc::Rc;

use super::leg::Took;
use crate::sys::socket::Socket;
use crate::tls::{Link, Received, Workspace};

/// A connection's TLS, open.
#[derive(Debug)]
pub(super) struct Sealing {
    link: Box<Link>,
    workspace: Rc<RefCell<Workspace>>,
    /// Bytes in clear whose records wait for the kernel.
    sealed: usize,
    /// Whether those are the leg's own.
    is_own: bool,
    /// Whether nothing was sent yet.
    is_fresh: bool,
    /// What it said when it failed.
    failure: Option<String>,
}

impl Sealing {
    pub(super) fn new(link: Box<Link>, workspace: &Rc<RefCell<Workspace>>) -> Box<Self> {
        Box::new(Self {
            link,
            workspace: Rc::clone(workspace),
            sealed: 0,
            is_own: false,
            is_fresh: true,
            failure: None,
        })
    }

    /// Whether something in clear waits to be fetched.
    pub(super) const fn has_clear(&self) -> bool {
        self.link.waiting_bytes() > 0
    }

    /// Whether own bytes are sealed and not all sent.
    pub(super) const fn is_amid_own(&self) -> bool {
        self.sealed > 0 && self.is_own
    }

    /// Whether records wait that are TLS's own.
    pub(super) fn has_own_records(&self) -> bool {
        self.sealed == 0 && !self.link.outgoing().is_empty()
    }

    pub(super) const fn take_failure(&mut self) -> Option<String> {
        self.failure.take()
    }

    /// Sends these bytes, or goes on sending them: until they are gone, the caller gives the same again.
    pub(super) fn send(&mut self, socket: &Socket, slices: &[IoSlice<'_>], is_own: bool) -> Took {
        if self.has_own_records() {
            match self.flush(socket) {
                Took::All(_) => {}
                blocked_or_broken @ (Took::Some(_) | Took::Nothing | Took::Broken) => {
                    return blocked_or_broken;
                }
            }
        }
        let has_bytes = slices.iter().any(|slice| !slice.is_empty());
        if self.sealed == 0 && has_bytes {
            let sealed = self.link.seal(&mut self.workspace.borrow_mut(), slices);
            match sealed {
                Ok(sealed) => self.sealed = sealed,
                Err(error) => {
                    self.failure = Some(error.to_string());
                    // Reading meets the end of it.
                    socket.cut();
                    return Took::Broken;
                }
            }
            self.is_own = is_own;
        }
        match self.flush(socket) {
            Took::All(_) => {
                if std::mem::take(&mut self.is_fresh) {
                    // Tickets come before the CONNACK, in segments of their own.
                    socket.acknowledge_soon();
                }
                Took::All(std::mem::take(&mut self.sealed))
            }
            blocked_or_broken @ (Took::Some(_) | Took::Nothing | Took::Broken) => blocked_or_broken,
        }
    }

    /// Reads records and hands out what is in them.
    ///
    /// # Errors
    /// When nothing is there, the connection broke, or its TLS.
    pub(super) fn receive(&mut self, socket: &Socket, buffer: &mut [u8]) -> io::Result<Received> {
        let workspace = &mut self.workspace.borrow_mut();
        let read = |room: &mut [u8]| socket.receive(room);
        let received = self.link.receive(workspace, buffer, read);
        if let Err(error) = &received {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                let failure = || "it closed without ending TLS".to_owned();
                self.failure.get_or_insert_with(failure);
            } else if error.kind() == io::ErrorKind::InvalidData {
                self.failure = Some(error.to_string());
                // An alert tells it why, where there is one and room for it.
                drop(socket.send(&[IoSlice::new(self.link.outgoing())]));
            }
        }
        received
    }

    /// Says that nothing more will be sent.
    pub(super) fn close(&mut self) {
        self.link.close();
    }

    /// Gives the kernel the records that wait.
    fn flush(&mut self, socket: &Socket) -> Took {
        let mut has_moved = false;
        while !self.link.outgoing().is_empty() {
            match socket.send(&[IoSlice::new(self.link.outgoing())]) {
                Ok(count) => {
                    has_moved = true;
                    self.link.sent(&mut self.workspace.borrow_mut(), count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return if has_moved {
                        Took::Some(0)
                    } else {
                        Took::Nothing
                    };
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Took::Broken,
            }
        }
        Took::All(0)
    }
}
