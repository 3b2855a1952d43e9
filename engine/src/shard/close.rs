//! Close: the orderly end of connections. What was sent last is not destroyed by a reset: our side
//! closes first, and the peer's last bytes are read away until it closes too or its time is up.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use super::connections::Connection;
use crate::limits::READS_IN_A_ROW;
use crate::sys::socket::Socket;

/// Closes those there are for sending and waits for the peers, as long as the connection's deadline allows.
pub(super) async fn close(connection: &Rc<Connection>, sockets: [Option<Rc<Socket>>; 2]) {
    let [first, second] = sockets.map(|socket| async move {
        if let Some(socket) = socket {
            drain(&socket).await;
        }
    });
    let mut first = pin!(first);
    let mut second = pin!(second);
    let (mut first_done, mut second_done) = (false, false);
    let both = poll_fn(|context| {
        first_done = first_done || first.as_mut().poll(context).is_ready();
        second_done = second_done || second.as_mut().poll(context).is_ready();
        if first_done && second_done {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    });
    // Interrupted or not, it ends here.
    let _ = connection.guard(both).await;
}

/// Closes one.
pub(super) async fn close_one(connection: &Rc<Connection>, socket: &Socket) {
    let _ = connection.guard(drain(socket)).await;
}

/// Closes for sending, and reads away what still comes.
async fn drain(socket: &Socket) {
    socket.finish_sending();
    while has_more(socket) {
        if socket.readable().await.is_err() {
            return;
        }
    }
}

/// Reads away what is there, and says whether more may come.
fn has_more(socket: &Socket) -> bool {
    let mut scratch = [0; 4096];
    for _ in 0..READS_IN_A_ROW {
        match socket.receive(&mut scratch) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
    true
}
