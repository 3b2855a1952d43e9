//! Network: a model of the kernel's sockets and of its ring. What may happen in another order, in parts, late or
//! not at all does, as a seed decides; what the kernel promises is kept, and what it would not forgive panics.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use super::dice::Dice;
use super::socket::{Poll, Receive, Socket, Waiting};
use super::splicing::Passage;
use crate::limits::PIPES;
use crate::sys::ring::{Completions, End, Event, Failed, Intake, KernelSide, Sends, Token};

/// What the peer's end of a connection has to read.
#[derive(Debug)]
pub(super) enum Read {
    Bytes(Vec<u8>),
    Nothing,
    /// It is over, in good order or not.
    End,
}

/// What is submitted with the next exchange.
#[derive(Debug)]
pub(super) enum Control {
    Receive(usize, Receive),
    CancelReceive(Token),
    Send(usize, Waiting),
    CancelSend(Token),
    /// Whether for sending.
    Poll(usize, Poll, bool),
    CancelPoll(Token, bool),
}

/// How often something happens: once in so many times, or never for 0.
#[derive(Debug)]
pub(super) struct Habits {
    pub(super) takes_part: usize,
    pub(super) takes_nothing: usize,
    ends_receive: usize,
    has_no_buffer: usize,
    pub(super) has_no_pipe: usize,
    /// Pipes of the relay.
    pub(super) pipes: usize,
    /// Bytes that fit into a pipe.
    pub(super) pipe_room: usize,
    is_late: usize,
    /// That a SIM is taken for one that sends more than its share.
    pub(super) is_greedy: usize,
    trickles: usize,
    /// Milliseconds, below which some pass while the relay works.
    passes_ms: u64,
}

/// All connections, and the ring.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) dice: Dice,
    pub(super) sockets: Vec<Socket>,
    open: BTreeMap<RawFd, usize>,
    kernel: KernelSide,
    pub(super) controls: Vec<Control>,
    pub(super) habits: Habits,
    pub(super) passage: Option<Passage>,
    /// Bytes that went out of pipes.
    pub(super) spliced: usize,
    pub(super) now_ms: u64,
    /// Bytes have moved since this was asked last.
    pub(super) has_moved: bool,
    /// Bytes have moved between two exchanges.
    pub(super) has_spliced: bool,
}

impl Habits {
    /// Whatever the dice say.
    pub(super) fn any(dice: &mut Dice) -> Self {
        let mut habit = |choices: &[usize]| choices[dice.below(choices.len())];
        Self {
            takes_part: habit(&[0, 40, 6, 3]),
            takes_nothing: habit(&[0, 40, 6, 3]),
            ends_receive: habit(&[0, 40, 4]),
            has_no_buffer: habit(&[0, 50, 6]),
            has_no_pipe: habit(&[0, 0, 6]),
            pipes: habit(&[PIPES, PIPES, 1, 0]),
            pipe_room: habit(&[4096, 16_384, 65_536]),
            is_late: habit(&[0, 10, 3, 2]),
            is_greedy: habit(&[0, 0, 20, 2]),
            trickles: habit(&[0, 8, 2]),
            passes_ms: 3,
        }
    }

    /// Nothing out of the ordinary.
    pub(super) const NONE: Self = Self {
        takes_part: 0,
        takes_nothing: 0,
        ends_receive: 0,
        has_no_buffer: 0,
        has_no_pipe: 0,
        pipes: PIPES,
        pipe_room: 65_536,
        is_late: 0,
        is_greedy: 0,
        trickles: 0,
        passes_ms: 1,
    };
}

impl Network {
    pub(super) fn new(kernel: KernelSide, dice: Dice, habits: Habits) -> Self {
        Self {
            dice,
            sockets: Vec::new(),
            open: BTreeMap::new(),
            kernel,
            controls: Vec::new(),
            habits,
            passage: None,
            spliced: 0,
            now_ms: 0,
            has_moved: false,
            has_spliced: false,
        }
    }

    /// A new connection: the relay's descriptor of it, and its number here.
    pub(super) fn connect(&mut self, rooms: [usize; 2]) -> (OwnedFd, usize) {
        let descriptor: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        let number = self.sockets.len();
        self.sockets.push(Socket::new(rooms, self.now_ms));
        let before = self.open.insert(descriptor.as_raw_fd(), number);
        assert!(before.is_none(), "closed behind the back of the model");
        (descriptor, number)
    }

    /// Time passes while the relay works.
    pub(super) fn pass(&mut self) {
        self.now_ms += self.dice.below_ms(self.habits.passes_ms);
    }

    pub(super) fn number(&self, socket: BorrowedFd<'_>) -> usize {
        let number = self.open.get(&socket.as_raw_fd());
        *number.expect("a descriptor of the model that is open")
    }

    fn socket(&mut self, socket: BorrowedFd<'_>) -> &mut Socket {
        let number = self.number(socket);
        &mut self.sockets[number]
    }

    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>, token: Token, intake: Intake) {
        let receive = Receive {
            token,
            intake,
            is_cancelled: false,
        };
        let control = Control::Receive(self.number(socket), receive);
        self.controls.push(control);
    }

    pub(super) fn cancel_receive(&mut self, token: Token) {
        self.controls.push(Control::CancelReceive(token));
    }

    pub(super) fn send_waiting(
        &mut self,
        socket: BorrowedFd<'_>,
        token: Token,
        bytes: Vec<u8>,
        from: usize,
    ) {
        assert!(from < bytes.len(), "a waiting send of nothing");
        let waiting = Waiting {
            token,
            bytes,
            from,
            is_cancelled: false,
            is_fresh: true,
        };
        let control = Control::Send(self.number(socket), waiting);
        self.controls.push(control);
    }

    pub(super) fn cancel_send(&mut self, token: Token) {
        self.controls.push(Control::CancelSend(token));
    }

    pub(super) fn finish_sending(&mut self, socket: BorrowedFd<'_>) {
        let socket = self.socket(socket);
        assert!(
            socket.sending.is_none(),
            "what waits to be sent would be lost"
        );
        socket.has_finished = true;
    }

    pub(super) fn cut(&mut self, socket: BorrowedFd<'_>) {
        let socket = self.socket(socket);
        socket.has_finished = true;
        socket.has_peer_finished = true;
    }

    pub(super) fn undelivered(&mut self, socket: BorrowedFd<'_>) -> usize {
        self.socket(socket).outbound.len()
    }

    pub(super) fn close(&mut self, descriptor: OwnedFd) {
        let number = self.open.remove(&descriptor.as_raw_fd()).unwrap();
        let is_named = |control: &Control| match control {
            Control::Receive(named, _) | Control::Send(named, _) | Control::Poll(named, ..) => {
                *named == number
            }
            Control::CancelReceive(_) | Control::CancelSend(_) | Control::CancelPoll(..) => false,
        };
        assert!(!self.controls.iter().any(is_named), "closed too early");
        let now_ms = self.now_ms;
        let socket = &mut self.sockets[number];
        let is_free = socket.is_free();
        assert!(is_free, "closed while the ring has to do with it");
        socket.is_closed = true;
        socket.closed_ms = now_ms;
        if socket.inbound.len() > 0 {
            socket.lose();
        }
    }

    /// A connection that nobody had begun with was dropped.
    pub(super) fn forget(&mut self, number: usize) {
        self.open.retain(|_, named| *named != number);
        let socket = &mut self.sockets[number];
        socket.is_closed = true;
        socket.closed_ms = self.now_ms;
        socket.lose();
    }

    /// The sends of an exchange, and what is submitted with them. Returns how much that was.
    pub(super) fn submit<S: Sends>(&mut self, sends: &S, completions: &mut Completions) -> usize {
        let mut count = self.controls.len();
        let mut named = Vec::new();
        sends.each(|descriptor, number, parts| {
            let socket = self.number(descriptor);
            assert!(!named.contains(&socket), "two sends of one round");
            named.push(socket);
            count += 1;
            let mut bytes = Vec::new();
            parts.for_each(|part| bytes.extend_from_slice(part));
            if bytes.is_empty() {
                return;
            }
            let result = self.send(socket, &bytes);
            if result != Ok(bytes.len()) {
                completions.failed.push(Failed { number, result });
            }
        });
        for control in std::mem::take(&mut self.controls) {
            self.control(control, &mut completions.events);
        }
        count
    }

    fn control(&mut self, control: Control, events: &mut Vec<Event>) {
        match control {
            Control::Receive(number, receive) => {
                let socket = &mut self.sockets[number];
                assert!(socket.receive.is_none(), "two receives of one connection");
                if let Intake::Now(count) = receive.intake {
                    for _ in 0..count {
                        self.take_now(number, receive, events);
                    }
                } else {
                    socket.receive = Some(receive);
                }
            }
            Control::Send(number, waiting) => {
                let socket = &mut self.sockets[number];
                assert!(socket.sending.is_none(), "two sends of one connection");
                socket.sending = Some(waiting);
            }
            Control::CancelReceive(token) => {
                let receives = self.sockets.iter_mut().filter_map(|it| it.receive.as_mut());
                for receive in receives.filter(|receive| receive.token == token) {
                    receive.is_cancelled = true;
                }
            }
            Control::CancelSend(token) => {
                let sends = self.sockets.iter_mut().filter_map(|it| it.sending.as_mut());
                for waiting in sends.filter(|waiting| waiting.token == token) {
                    waiting.is_cancelled = true;
                }
            }
            Control::Poll(number, poll, is_writable) => {
                let before = self.sockets[number].poll_mut(is_writable).replace(poll);
                assert!(before.is_none(), "two polls of one connection");
            }
            Control::CancelPoll(token, is_writable) => {
                let sockets = self.sockets.iter_mut();
                let polls = sockets.filter_map(|it| it.poll_mut(is_writable).as_mut());
                for poll in polls.filter(|poll| poll.token == token) {
                    poll.is_cancelled = true;
                }
            }
        }
    }

    /// A send that does not wait.
    fn send(&mut self, number: usize, bytes: &[u8]) -> Result<usize, i32> {
        let most = self.takes(number, bytes.len());
        let result = self.sockets[number].take(bytes, most, &mut self.dice);
        self.has_moved |= result != Ok(0);
        result
    }

    /// How many of so many bytes a connection takes at once, at most.
    pub(super) fn takes(&mut self, number: usize, count: usize) -> usize {
        let Self {
            dice,
            sockets,
            habits,
            ..
        } = self;
        let socket = &sockets[number];
        assert!(socket.sending.is_none(), "it overtakes what waits");
        let most = socket.room().min(count);
        if dice.once_in(habits.takes_nothing) {
            0
        } else if dice.once_in(habits.takes_part) {
            dice.below(most + 1)
        } else {
            most
        }
    }

    /// Whether something can happen to a connection's operations.
    pub(super) fn is_ready(&self) -> bool {
        let mut sockets = self.sockets.iter();
        sockets.any(|socket| {
            let is_ready = socket.is_ready(false) || socket.is_ready(true);
            socket.can_receive() || socket.can_send() || is_ready
        })
    }

    /// Something happens to some of the operations that are under way.
    pub(super) fn progress(&mut self, events: &mut Vec<Event>) {
        let count = self.sockets.len();
        let first = self.dice.below(count);
        for number in 0..count {
            let number = (first + number) % count;
            for is_send in [self.dice.once_in(2), self.dice.once_in(2)] {
                if self.dice.once_in(self.habits.is_late) {
                    continue;
                }
                if is_send {
                    self.go_on_sending(number, events);
                } else {
                    self.go_on_receiving(number, events);
                }
                self.tell_ready(number, is_send, events);
            }
            if let Some(waiting) = &mut self.sockets[number].sending {
                waiting.is_fresh = false;
            }
        }
    }

    fn go_on_sending(&mut self, number: usize, events: &mut Vec<Event>) {
        let Self { dice, sockets, .. } = self;
        let socket = &mut sockets[number];
        if !socket.can_send() {
            return;
        }
        let Some(waiting) = socket.sending.take() else {
            return;
        };
        let Waiting {
            token,
            bytes,
            from,
            is_cancelled,
            ..
        } = waiting;
        let rest = &bytes[from..];
        let mut most = socket.room().min(rest.len());
        if (is_cancelled && dice.once_in(2)) || dice.once_in(50) {
            // Cancelled, or interrupted.
            most = 0;
        } else if most > 0 && dice.once_in(2) {
            most = 1 + dice.below(most);
        }
        let result = socket.take(rest, most, dice);
        self.has_moved |= result != Ok(0);
        events.push(Event::Sent {
            token,
            bytes,
            result,
        });
    }

    fn go_on_receiving(&mut self, number: usize, events: &mut Vec<Event>) {
        let socket = &self.sockets[number];
        let Some(receive) = socket.receive.filter(|_| socket.can_receive()) else {
            return;
        };
        let end = if receive.is_cancelled && self.dice.once_in(2) {
            Some(End::Cancelled)
        } else if socket.inbound.len() == 0 {
            Some(self.sockets[number].receive_end())
        } else if self.dice.once_in(self.habits.has_no_buffer) {
            Some(End::NoBuffer)
        } else {
            self.deliver(number, receive, events)
        };
        if let Some(end) = end {
            self.sockets[number].receive = None;
            let token = receive.token;
            events.push(Event::ReceiveEnded { token, end });
        }
    }

    /// Fills one buffer with what is there, if anything is.
    fn take_now(&mut self, number: usize, receive: Receive, events: &mut Vec<Event>) {
        let socket = &mut self.sockets[number];
        let is_over = socket.is_broken || socket.has_peer_finished;
        let end = if self.dice.once_in(self.habits.has_no_buffer) {
            Some(End::NoBuffer)
        } else if socket.inbound.len() > 0 {
            self.deliver(number, receive, events)
        } else if is_over {
            Some(socket.receive_end())
        } else {
            Some(End::Nothing)
        };
        if let Some(end) = end {
            let token = receive.token;
            events.push(Event::ReceiveEnded { token, end });
        }
    }

    /// Fills buffers with what has come. Returns why the receive ends, if it does so with nothing in hand.
    fn deliver(&mut self, number: usize, receive: Receive, events: &mut Vec<Event>) -> Option<End> {
        let Self {
            dice,
            sockets,
            habits,
            kernel,
            now_ms,
            ..
        } = self;
        let socket = &mut sockets[number];
        self.has_moved = true;
        for _ in 0..=dice.below(8) {
            // Much that waits comes in large pieces, to be quick.
            let is_trickle = socket.inbound.len() < 5_000 && dice.once_in(habits.trickles);
            let most = 1 + dice.below(if is_trickle { 30 } else { 20_000 });
            let inbound = socket.inbound.front(most);
            let filled = kernel.fill(|room| {
                let count = inbound.len().min(room.len());
                room[..count].copy_from_slice(&inbound[..count]);
                count
            });
            let Some((buffer, length)) = filled else {
                return Some(End::NoBuffer);
            };
            socket.received.extend_from_slice(&inbound[..length]);
            socket.came_off(length, *now_ms);
            let goes_on = receive.intake == Intake::Armed && !dice.once_in(habits.ends_receive);
            events.push(Event::Received {
                token: receive.token,
                buffer,
                length,
                goes_on,
            });
            if !goes_on {
                socket.receive = None;
            }
            if !goes_on || socket.inbound.len() == 0 {
                break;
            }
        }
        None
    }

    /// The peer sends; returns how much of it fits, or nothing when it is over.
    pub(super) fn peer_write(&mut self, number: usize, bytes: &[u8]) -> Option<usize> {
        let socket = &mut self.sockets[number];
        if socket.is_closed {
            socket.lose();
        }
        if socket.is_broken {
            return None;
        }
        if socket.is_ending && socket.lies_from.is_some() {
            return Some(bytes.len());
        }
        let count = bytes.len().min(socket.peer_room());
        socket.inbound.push(&bytes[..count]);
        if count > 0 {
            socket.unread_ms.get_or_insert(self.now_ms);
        }
        Some(count)
    }

    /// The peer reads.
    pub(super) fn peer_read(&mut self, number: usize, most: usize) -> Read {
        let socket = &mut self.sockets[number];
        let bytes = socket.outbound.front(most).to_vec();
        socket.outbound.skip(bytes.len());
        if !bytes.is_empty() {
            socket.delivered_ms = self.now_ms;
            Read::Bytes(bytes)
        } else if socket.has_finished || socket.is_closed || socket.is_broken {
            Read::End
        } else {
            Read::Nothing
        }
    }

    /// The peer sends nothing more.
    pub(super) fn peer_finish(&mut self, number: usize) {
        self.sockets[number].has_peer_finished = true;
    }

    /// The peer closes. What it has not read breaks the connection, and so does what comes later.
    pub(super) fn peer_close(&mut self, number: usize) {
        let socket = &mut self.sockets[number];
        socket.has_peer_finished = true;
        socket.has_peer_left = true;
        if socket.outbound.len() > 0 {
            socket.is_broken = true;
        }
    }

    /// The peer breaks the connection; what it has sent may still be there to receive.
    pub(super) fn peer_reset(&mut self, number: usize) {
        let loses = self.dice.once_in(2);
        let socket = &mut self.sockets[number];
        socket.is_broken = true;
        socket.has_peer_left = true;
        if loses {
            socket.inbound.clear();
            socket.unread_ms = None;
        }
    }
}
