//! Serve: connections of the control plane: HTTP/1.1, with TLS where the configuration has a certificate. Bounded in
//! number, and in what a request's head may take.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use crossbeam_channel::{Receiver, Sender};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::{error, warn};

use super::background;
use super::limits::{
    ACCEPT_PAUSE, CONTROL_CONNECTIONS, LINGER, LINGER_BYTES, LINGER_READ_BYTES, REQUEST_HEAD_MS,
};
use super::router::router;
use super::state::State;
use crate::config::ControlConfig;
use crate::problem::Problem;
use crate::shard::report::SimEvent;
use crate::tls::provider;

/// What the plane shows of itself over TLS, where it is to.
///
/// # Errors
/// When certificate or key cannot be used.
pub(super) fn tls(config: &ControlConfig) -> Result<Option<TlsAcceptor>, Problem> {
    let Some((cert_file, key_file)) = &config.tls else {
        return Ok(None);
    };
    let refused = |key: &str, file: &std::path::Path, error: &dyn std::fmt::Display| {
        let found = format!("{}, which cannot be used ({error})", file.display());
        Problem::new(key, found, "a file in PEM")
    };
    let certificates = CertificateDer::pem_file_iter(cert_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| refused("control.tls_cert_file", cert_file, &error))?;
    let key = PrivateKeyDer::from_pem_file(key_file)
        .map_err(|error| refused("control.tls_key_file", key_file, &error))?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(certificates, key)
        })
        .map_err(|error| refused("control.tls_cert_file", cert_file, &error))?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// Where requests come in.
pub(super) struct Front {
    pub(super) listener: std::net::TcpListener,
    pub(super) tls: Option<TlsAcceptor>,
}

impl Front {
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Serves and does what goes on by itself until it is told to stop.
pub(super) fn run(
    front: Option<Front>,
    state: Arc<State>,
    events: Receiver<SimEvent>,
    ready: &Sender<io::Result<()>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            // Whoever started it waits for this.
            drop(ready.send(Err(error)));
            return;
        }
    };
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        let begun = match state.store() {
            Ok(store) => background::begin(&mut tasks, &state, store, events),
            Err(_) => Ok(()),
        };
        let has_begun = begun.is_ok();
        drop(ready.send(begun));
        if !has_begun {
            return;
        }
        if let Some(front) = front {
            tasks.spawn(async {
                if let Err(error) = accept(front, state).await {
                    error!(%error, "the API failed");
                }
            });
        }
        // It ends as well where whoever started it is gone.
        drop(stopped.await);
    });
}

async fn accept(front: Front, state: Arc<State>) -> io::Result<()> {
    let Front { listener, tls } = front;
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONTROL_CONNECTIONS));
    let router = router(state);
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return Ok(());
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "accepting requests pauses");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (tls, router) = (tls.clone(), router.clone());
        tokio::spawn(async move {
            Box::pin(serve(stream, peer, tls, router)).await;
            drop(place);
        });
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: axum::Router,
) {
    // Small answers are whole at once.
    drop(stream.set_nodelay(true));
    let Some(tls) = tls else {
        return Box::pin(exchange(stream, peer, router)).await;
    };
    let handshake = tls.accept(stream);
    let time_out = Duration::from_millis(REQUEST_HEAD_MS);
    // Who does not speak TLS is nobody's concern.
    if let Ok(Ok(stream)) = tokio::time::timeout(time_out, handshake).await {
        Box::pin(exchange(stream, peer, router)).await;
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: axum::Router,
) {
    let router = router.layer(axum::Extension(ConnectInfo(peer)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(REQUEST_HEAD_MS))
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // A peer that breaks off is no fault.
    if let Ok(parts) = connection.without_shutdown().await {
        drop(tokio::time::timeout(LINGER, leave(parts.io.into_inner())).await);
    }
}

/// Closes, and throws away what the peer still sends: closing with unread bytes resets a connection, and a refusal that was
/// answered before the body was all there would be lost on its way.
async fn leave(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut waste = vec![0; LINGER_READ_BYTES];
    let mut left = LINGER_BYTES;
    while left > 0 {
        match stream.read(&mut waste).await {
            Ok(0) | Err(_) => return,
            Ok(count) => left = left.saturating_sub(count),
        }
    }
}
