//! The engine's own sockets, looked at from outside: copies of its descriptors, and a peer that vanishes.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::{SockFilter, SockRef, Socket};

/// Classic BPF: whatever comes is cut to nothing, so that it is as if it had never come.
const DROP_ALL: SockFilter = SockFilter::new(0x06, 0, 0, 0);

/// What the kernel was told of a connection or a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub local: SocketAddr,
    /// None for a listener.
    pub remote: Option<SocketAddr>,
    /// Idle time, interval and retries of TCP keep-alive, where it is on.
    pub keep_alive: Option<(Duration, Duration, u32)>,
    /// How long what was sent may stay unacknowledged.
    pub user_timeout: Option<Duration>,
}

/// All TCP sockets of a process.
pub fn of_process(id: u32) -> Vec<Told> {
    let process = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
    let process = pidfd_open(process, PidfdFlags::empty()).unwrap();
    let links = fs::read_dir(format!("/proc/{id}/fd")).unwrap().flatten();
    let sockets = links.filter_map(|link| {
        let name = fs::read_link(link.path()).ok()?;
        if !name.to_string_lossy().starts_with("socket:") {
            return None;
        }
        let number = link.file_name().to_str()?.parse().ok()?;
        let copied = pidfd_getfd(&process, number, PidfdGetfdFlags::empty());
        match copied {
            Ok(copy) => Some(Socket::from(copy)),
            // It was closed in between.
            Err(rustix::io::Errno::BADF) => None,
            Err(error) => panic!("the engine's sockets cannot be looked at here: {error}"),
        }
    });
    sockets.filter_map(|socket| told(&socket)).collect()
}

fn told(socket: &Socket) -> Option<Told> {
    // What is no TCP has none.
    let user_timeout = socket.tcp_user_timeout().ok()?;
    let is_on = socket.keepalive().unwrap();
    Some(Told {
        local: socket.local_addr().ok()?.as_socket()?,
        remote: socket.peer_addr().ok().and_then(|peer| peer.as_socket()),
        keep_alive: is_on.then(|| {
            (
                socket.tcp_keepalive_time().unwrap(),
                socket.tcp_keepalive_interval().unwrap(),
                socket.tcp_keepalive_retries().unwrap(),
            )
        }),
        user_timeout,
    })
}

/// From now on this end hears nothing and so acknowledges nothing: no FIN, no RST, as if its host had lost its power.
pub fn vanish(stream: &TcpStream) {
    SockRef::from(stream).attach_filter(&[DROP_ALL]).unwrap();
}
