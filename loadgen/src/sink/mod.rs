//! Sink: a null broker. It accepts every device of every version, acknowledges what has to be acknowledged,
//! keeps nothing, and writes down whether each message arrived rightly.

mod books;
mod http;
mod session;
mod tls;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

pub use books::{Books, Feedback};
pub use http::{Answer, Detail, Report, fetch};
pub use tls::{Identity, load as load_tls};

use crate::sys::{self, Socket};

/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;

/// One thread's part of a sink.
#[derive(Debug)]
struct Sink {
    books: Arc<Books>,
    tls: Option<Arc<rustls::ServerConfig>>,
    /// Lent to whichever session is reading.
    buffer: RefCell<Vec<u8>>,
}

/// Serves connections on this thread, until the process ends.
///
/// # Errors
/// When the ring does not take the listener.
pub async fn serve(
    listener: std::net::TcpListener,
    books: Arc<Books>,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> io::Result<()> {
    let sink = Rc::new(Sink {
        books,
        tls,
        buffer: RefCell::new(vec![0; READ_BYTES]),
    });
    let listener = sys::adopt(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let sink = Rc::clone(&sink);
                monoio::spawn(async move {
                    // A connection that breaks is its device's concern; what is missing shows in the book.
                    if let Ok(socket) = Socket::accepted(stream) {
                        session::run(&socket, &sink).await.ok();
                    }
                });
            }
            // No descriptor left, or the connection is gone already: others may fare better.
            Err(_) => monoio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    }
}
