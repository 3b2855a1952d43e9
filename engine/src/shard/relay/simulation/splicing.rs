//! Splicing: a model of splice(2) between connections and the relay's pipes, and of the polls that tell when it goes
//! on. Bytes lie in real pipes meanwhile; how many move, and when, is the seed's.

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};

use super::network::{Control, Network};
use super::socket::Poll;
use crate::sys::pipe::Pipe;
use crate::sys::ring::{End, Event, Token};

/// Bytes that fill one place of a pipe.
const PAGE: usize = 4096;

/// A pipe of the model's own, through which bytes get into one of the relay's and out of it.
#[derive(Debug)]
pub(super) struct Passage {
    out: PipeReader,
    into: PipeWriter,
}

impl Passage {
    pub(super) fn new() -> Self {
        let (out, into) = io::pipe().unwrap();
        Self { out, into }
    }

    /// Puts bytes into a pipe, behind what is there. Returns how many found room.
    fn put(&mut self, pipe: &mut Pipe, bytes: &[u8]) -> usize {
        let mut count = 0;
        for page in bytes.chunks(PAGE) {
            self.into.write_all(page).unwrap();
            let moved = match pipe.fill(self.out.as_fd(), page.len()) {
                Ok(moved) => moved,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => panic!("{error}"),
            };
            count += moved;
            if moved < page.len() {
                self.out
                    .read_exact(&mut vec![0; page.len() - moved])
                    .unwrap();
                break;
            }
        }
        count
    }

    /// Takes everything out of a pipe.
    fn take(&mut self, pipe: &mut Pipe) -> Vec<u8> {
        let mut bytes = Vec::new();
        while pipe.bytes() > 0 {
            let moved = pipe.drain(self.into.as_fd()).unwrap();
            let start = bytes.len();
            bytes.resize(start + moved, 0);
            self.out.read_exact(&mut bytes[start..]).unwrap();
        }
        bytes
    }
}

impl Network {
    /// A pipe, unless there are no descriptors left.
    pub(super) fn pipe(&mut self) -> Option<Pipe> {
        let is_there = !self.dice.once_in(self.habits.has_no_pipe);
        is_there.then(|| Pipe::new().unwrap())
    }

    pub(super) fn never_wait(&mut self, socket: BorrowedFd<'_>) -> bool {
        self.number(socket);
        !self.dice.once_in(self.habits.has_no_pipe)
    }

    pub(super) fn poll(&mut self, socket: BorrowedFd<'_>, token: Token, is_writable: bool) {
        let poll = Poll {
            token,
            is_cancelled: false,
        };
        let control = Control::Poll(self.number(socket), poll, is_writable);
        self.controls.push(control);
    }

    pub(super) fn cancel_poll(&mut self, token: Token, is_writable: bool) {
        self.controls.push(Control::CancelPoll(token, is_writable));
    }

    /// Tells that a connection is ready, where somebody has asked for that.
    pub(super) fn tell_ready(&mut self, number: usize, is_writable: bool, events: &mut Vec<Event>) {
        let socket = &mut self.sockets[number];
        if !socket.is_ready(is_writable) {
            return;
        }
        if let Some(Poll { token, .. }) = socket.poll_mut(is_writable).take() {
            events.push(Event::Ready { token, is_writable });
        }
    }

    /// See [`Pipe::fill`].
    pub(super) fn fill(
        &mut self,
        pipe: &mut Pipe,
        from: BorrowedFd<'_>,
        count: usize,
    ) -> io::Result<usize> {
        let number = self.number(from);
        let is_receive =
            |it: &Control| matches!(it, Control::Receive(named, _) if *named == number);
        assert!(
            !self.controls.iter().any(is_receive),
            "it overtakes a receive"
        );
        let Self {
            dice,
            sockets,
            habits,
            passage,
            now_ms,
            ..
        } = self;
        let socket = &mut sockets[number];
        assert!(socket.receive.is_none(), "it overtakes a receive");
        if dice.once_in(habits.takes_nothing) {
            return Err(later(dice.once_in(4)));
        }
        if socket.inbound.len() == 0 {
            return match socket.receive_end() {
                End::Broken(code) => Err(io::Error::from_raw_os_error(code)),
                End::Closed => Ok(0),
                End::Cancelled | End::NoBuffer | End::Nothing => Err(later(false)),
            };
        }
        let room = habits.pipe_room.saturating_sub(pipe.bytes());
        let most = count.min(socket.inbound.len()).min(room);
        if most == 0 {
            return Err(later(false));
        }
        let most = if dice.once_in(habits.takes_part) {
            1 + dice.below(most)
        } else {
            most
        };
        let bytes = socket.inbound.front(most);
        let moved = passage.get_or_insert_with(Passage::new).put(pipe, bytes);
        if moved == 0 {
            return Err(later(false));
        }
        socket.received.extend_from_slice(&bytes[..moved]);
        socket.came_off(moved, *now_ms);
        (self.has_moved, self.has_spliced) = (true, true);
        Ok(moved)
    }

    /// See [`Pipe::drain`].
    pub(super) fn drain(&mut self, pipe: &mut Pipe, to: BorrowedFd<'_>) -> io::Result<usize> {
        let number = self.number(to);
        let is_send = |it: &Control| matches!(it, Control::Send(named, _) if *named == number);
        assert!(!self.controls.iter().any(is_send), "it overtakes a send");
        let most = self.takes(number, pipe.bytes());
        if most == 0 && !self.sockets[number].is_over_for_sending() {
            return Err(later(self.dice.once_in(4)));
        }
        let passage = self.passage.get_or_insert_with(Passage::new);
        let bytes = passage.take(pipe);
        let result = self.sockets[number].take(&bytes, most, &mut self.dice);
        let rest = &bytes[*result.as_ref().unwrap_or(&0)..];
        assert_eq!(passage.put(pipe, rest), rest.len(), "it had room before");
        (self.has_moved, self.has_spliced) = (true, true);
        self.spliced += *result.as_ref().unwrap_or(&0);
        result.map_err(io::Error::from_raw_os_error)
    }
}

/// It comes to something another time.
fn later(is_interrupted: bool) -> io::Error {
    io::Error::from_raw_os_error(if is_interrupted {
        libc::EINTR
    } else {
        libc::EAGAIN
    })
}
