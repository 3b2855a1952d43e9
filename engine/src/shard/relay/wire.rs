//! Wire: what the relay asks of its ring and of sockets. The engine has the kernel behind it, simulations
//! a network that fails on purpose.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use crate::sys::pipe::Pipe;
use crate::sys::ring::{Completions, Intake, Ring, Sends, Token, Wait};
use crate::sys::{clock, socket};

/// The kernel, or what stands for it. See [`Ring`] for what each means.
pub(super) trait Wire {
    /// Microseconds of the monotonic clock.
    fn now_us(&mut self) -> u64;
    fn receive(&mut self, socket: BorrowedFd<'_>, token: Token, intake: Intake);
    fn cancel_receive(&mut self, token: Token);
    fn send_waiting(&mut self, socket: BorrowedFd<'_>, token: Token, bytes: Vec<u8>, from: usize);
    fn cancel_send(&mut self, token: Token);
    fn poll(&mut self, socket: BorrowedFd<'_>, token: Token, is_writable: bool);
    fn cancel_poll(&mut self, token: Token, is_writable: bool);
    fn set_timer(&mut self, at_ms: u64);
    fn exchange<S: Sends>(
        &mut self,
        sends: &S,
        wait: Wait,
        completions: &mut Completions,
    ) -> io::Result<()>;

    /// Says that nothing more will be sent.
    fn finish_sending(&mut self, socket: BorrowedFd<'_>);
    /// Ends both directions at once.
    fn cut(&mut self, socket: BorrowedFd<'_>);
    /// Bytes that the kernel took and the peer has not.
    fn undelivered(&mut self, socket: BorrowedFd<'_>) -> usize;
    /// Has what comes next acknowledged at once.
    fn acknowledge_soon(&mut self, socket: BorrowedFd<'_>);
    /// A pipe to splice through, where that is possible.
    fn pipe(&mut self) -> Option<Pipe>;
    /// Has splicing from and to a connection never wait; false where that cannot be had.
    fn never_wait(&mut self, socket: BorrowedFd<'_>) -> bool;
    /// Moves what a connection has into a pipe. See [`Pipe::fill`].
    fn fill(&mut self, pipe: &mut Pipe, from: BorrowedFd<'_>, count: usize) -> io::Result<usize>;
    /// Moves what is in a pipe to a connection. See [`Pipe::drain`].
    fn drain(&mut self, pipe: &mut Pipe, to: BorrowedFd<'_>) -> io::Result<usize>;
    /// Closes a connection.
    fn close(&mut self, socket: OwnedFd);
}

impl Wire for Ring {
    fn now_us(&mut self) -> u64 {
        clock::now_us()
    }

    fn receive(&mut self, socket: BorrowedFd<'_>, token: Token, intake: Intake) {
        self.receive(socket, token, intake);
    }

    fn cancel_receive(&mut self, token: Token) {
        self.cancel_receive(token);
    }

    fn send_waiting(&mut self, socket: BorrowedFd<'_>, token: Token, bytes: Vec<u8>, from: usize) {
        self.send_waiting(socket, token, bytes, from);
    }

    fn cancel_send(&mut self, token: Token) {
        self.cancel_send(token);
    }

    fn poll(&mut self, socket: BorrowedFd<'_>, token: Token, is_writable: bool) {
        self.poll(socket, token, is_writable);
    }

    fn cancel_poll(&mut self, token: Token, is_writable: bool) {
        self.cancel_poll(token, is_writable);
    }

    fn set_timer(&mut self, at_ms: u64) {
        self.set_timer(at_ms);
    }

    fn exchange<S: Sends>(
        &mut self,
        sends: &S,
        wait: Wait,
        completions: &mut Completions,
    ) -> io::Result<()> {
        self.exchange(sends, wait, completions)
    }

    fn finish_sending(&mut self, socket: BorrowedFd<'_>) {
        socket::finish_sending(socket);
    }

    fn cut(&mut self, socket: BorrowedFd<'_>) {
        socket::cut(socket);
    }

    fn undelivered(&mut self, socket: BorrowedFd<'_>) -> usize {
        socket::undelivered(socket)
    }

    fn acknowledge_soon(&mut self, socket: BorrowedFd<'_>) {
        socket::acknowledge_soon(socket);
    }

    fn pipe(&mut self) -> Option<Pipe> {
        Pipe::new().ok()
    }

    fn never_wait(&mut self, socket: BorrowedFd<'_>) -> bool {
        socket::never_wait(socket).is_ok()
    }

    fn fill(&mut self, pipe: &mut Pipe, from: BorrowedFd<'_>, count: usize) -> io::Result<usize> {
        pipe.fill(from, count)
    }

    fn drain(&mut self, pipe: &mut Pipe, to: BorrowedFd<'_>) -> io::Result<usize> {
        pipe.drain(to)
    }

    fn close(&mut self, socket: OwnedFd) {
        socket::leave_to_the_kernel(socket.as_fd());
        drop(socket);
    }
}
