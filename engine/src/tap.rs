//! Tap: `ringbeam tap`, what passes in the sessions of one SIM, line by line, from a running engine.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use ringbeam_proto::identity::Imsi;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::registry::{EmbeddedRegistry, StoreError, open_embedded};
use crate::sys::clock::unix_ms;
use crate::tls::{Roots, provider};

/// The variables that name a key, as the vendor's command line has them.
const KEY_ID_VARIABLE: &str = "SORACOM_AUTH_KEY_ID";
const KEY_VARIABLE: &str = "SORACOM_AUTH_KEY";

/// Bytes of a line at most; more is no event of ours.
const LINE_BYTES: usize = 1024 * 1024;

/// How long signing in may take: until then a key of its own is there.
const SIGN_IN_PATIENCE: Duration = Duration::from_secs(10);

/// Who is said in the audit log to have made a key, and to have forgotten it.
const ACTOR: &str = "ringbeam tap";

/// What is to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Of which SIM.
    pub imsi: Imsi,
    /// Where the control plane is.
    pub url: Uri,
    /// For so long.
    pub seconds: u64,
    /// Authorities of its certificate beside the system's.
    pub ca: Option<PathBuf>,
    /// The configuration, whose registry tells who may ask where the environment does not.
    pub config: Option<PathBuf>,
}

/// Shows packets until it is over.
///
/// # Errors
/// When the control plane cannot be reached or refuses.
pub fn tap(question: &Question) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // First of all, so that no key is made where nobody could be shown it.
        let mut plane = Box::pin(Plane::reach(question)).await?;
        let identity = Identity::find(question.config.as_ref())?;
        let issued = tokio::time::timeout(SIGN_IN_PATIENCE, plane.sign_in(&identity)).await;
        // From here on the token is enough, and whoever breaks this off leaves no key behind.
        identity.forget();
        let issued = issued.context("the control plane does not answer")??;
        plane.show(question, &issued).await
    })
}

/// Who asks.
struct Identity {
    id: String,
    key: Zeroizing<String>,
    /// Where the key was made for this once.
    registry: Option<EmbeddedRegistry>,
}

impl Identity {
    fn find(config: Option<&PathBuf>) -> anyhow::Result<Self> {
        if let (Ok(id), Ok(key)) = (std::env::var(KEY_ID_VARIABLE), std::env::var(KEY_VARIABLE)) {
            return Ok(Self {
                id,
                key: Zeroizing::new(key),
                registry: None,
            });
        }
        let listed = |problems: Vec<crate::problem::Problem>| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            anyhow::anyhow!(
                "neither {KEY_ID_VARIABLE} and {KEY_VARIABLE} say who asks, nor a registry here:\n{}",
                lines.join("\n")
            )
        };
        let config = Config::load(config.map(PathBuf::as_path)).map_err(listed)?;
        let registry = open_embedded(&config.registry, EmbeddedRegistry::open).map_err(listed)?;
        // Whoever may read the registry's key may do anything; this says so to the control plane.
        let key = registry.change(|moment| {
            let email = moment.first_user()?;
            let email = email.ok_or(StoreError::User(crate::registry::UserError::Unknown))?;
            moment.add_audit(ACTOR, "addAuthKey", &email, unix_ms())?;
            moment.add_auth_key(&email, unix_ms())
        });
        let key = key.context("no user to ask as; `ringbeam user add` makes one")?;
        Ok(Self {
            id: key.id,
            key: key.key,
            registry: Some(registry),
        })
    }

    /// A key that was made for this once is no key any more.
    fn forget(&self) {
        if let Some(registry) = &self.registry {
            let forgotten = registry.change(|moment| {
                moment.add_audit(ACTOR, "deleteAuthKey", &self.id, unix_ms())?;
                moment.delete_auth_key(&self.id)
            });
            if let Err(error) = forgotten {
                tracing::warn!(%error, key = self.id, "the key that was made for this stays");
            }
        }
    }
}

/// A control plane that was reached.
struct Plane {
    authority: String,
    sender: SendRequest<Full<Bytes>>,
}

impl Plane {
    async fn reach(question: &Question) -> anyhow::Result<Self> {
        let url = &question.url;
        let (is_secure, port) = match url.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            _ => bail!("{url}: accepted: http://HOST:PORT, https://HOST:PORT"),
        };
        let authority = url.authority().context("the URL names no host")?;
        let port = authority.port_u16().unwrap_or(port);
        let host = authority.host();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let reached = TcpStream::connect((host, port)).await;
        let stream = reached.with_context(|| format!("{url} cannot be reached"))?;
        let sender = if is_secure {
            let name = ServerName::try_from(host.to_owned())?;
            let secured = connector(question.ca.as_deref())?.connect(name, stream);
            let stream = secured.await;
            begin(stream.with_context(|| format!("{url} cannot be trusted"))?).await?
        } else {
            begin(stream).await?
        };
        Ok(Self {
            authority: authority.to_string(),
            sender,
        })
    }

    /// What the plane gives to whoever this is.
    async fn sign_in(&mut self, identity: &Identity) -> anyhow::Result<Value> {
        let body = json!({"authKeyId": identity.id, "authKey": &*identity.key});
        let answer = self.send("POST", "/v1/auth", &[], body.to_string()).await?;
        Ok(serde_json::from_slice(&whole(answer).await?)?)
    }

    async fn show(&mut self, question: &Question, issued: &Value) -> anyhow::Result<()> {
        let text = |key: &str| issued.get(key).and_then(Value::as_str).unwrap_or_default();
        let headers = [
            ("x-soracom-api-key", text("apiKey")),
            ("x-soracom-token", text("token")),
        ];
        let path = format!(
            "/ringbeam/v1/tap?imsi={}&seconds={}",
            question.imsi, question.seconds
        );
        let answer = self.send("GET", &path, &headers, String::new()).await?;
        if !answer.status().is_success() {
            bail!("{}", said(&whole(answer).await.unwrap_or_default()));
        }
        print_all(answer.into_body()).await
    }

    async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> anyhow::Result<Response<Incoming>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.authority)
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body)))?;
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }
}

async fn begin(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Trusts the system's authorities, and those of a file.
fn connector(ca: Option<&Path>) -> anyhow::Result<TlsConnector> {
    let mut roots = Roots::system();
    if let Some(path) = ca {
        roots = roots.with_file(path).map_err(anyhow::Error::msg)?;
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots.store())
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Prints events until there are no more.
async fn print_all(mut events: Incoming) -> anyhow::Result<()> {
    let mut pending = Vec::new();
    let mut name = String::new();
    while let Some(frame) = events.frame().await {
        let Ok(bytes) = frame?.into_data() else {
            continue;
        };
        pending.extend_from_slice(&bytes);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end();
            if let Some(event) = line.strip_prefix("event: ") {
                event.clone_into(&mut name);
            } else if let Some(data) = line.strip_prefix("data: ") {
                print(&name, &serde_json::from_str(data)?)?;
            }
        }
        if pending.len() > LINE_BYTES {
            bail!("what the control plane says is no event");
        }
    }
    Ok(())
}

/// A whole answer that is a success.
async fn whole(answer: Response<Incoming>) -> anyhow::Result<Bytes> {
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        bail!("{}", said(&body));
    }
    Ok(body)
}

/// What an error says.
fn said(body: &[u8]) -> String {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = value.get("message").and_then(Value::as_str);
    message.unwrap_or("the control plane refuses").to_owned()
}

fn print(event: &str, data: &Value) -> anyhow::Result<()> {
    let text = |key: &str| data.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut output = std::io::stdout().lock();
    let session = text("session");
    match event {
        "begin" => writeln!(
            output,
            "{session} begins: {} -> {} ({}, {})",
            text("peer"),
            text("upstream"),
            text("platform"),
            text("mqttVersion")
        )?,
        "packet" => {
            let arrow = match (text("leg"), text("direction")) {
                ("device", "received") => "device   ->",
                ("device", _) => "device   <-",
                (_, "received") => "upstream ->",
                _ => "upstream <-",
            };
            let payload = match text("payload") {
                "" => String::new(),
                payload => format!(" | {}", payload.escape_debug()),
            };
            let line = text("text").escape_debug();
            writeln!(
                output,
                "{session} {arrow} {:<11} {line}{payload}",
                text("type")
            )?;
        }
        "gap" => {
            let dropped = data.get("dropped").and_then(Value::as_u64);
            writeln!(
                output,
                "… {} events were too many",
                dropped.unwrap_or_default()
            )?;
        }
        "ended" => writeln!(output, "{session} has ended: {}", text("reason"))?,
        "end" => writeln!(output, "over: {}", text("reason"))?,
        _ => {}
    }
    output.flush()?;
    Ok(())
}
