//! Close: the orderly end of a connection that did not become a session. What was sent last is not destroyed by a reset: our side
//! closes first, and the peer's last bytes are read away until it closes too or its time is up.

use std::io::ErrorKind;
use std::rc::Rc;

use super::connections::Connection;
use crate::limits::READS_IN_A_ROW;
use crate::sys::socket::Socket;

/// Closes it for sending and waits for the peer, as long as the connection's deadline allows.
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
