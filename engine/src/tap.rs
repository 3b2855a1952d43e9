//! Tap: `ringbeam tap`, what passes in the sessions of one SIM, line by line, from a running engine.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::handshake;
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use ringbeam_proto::identity::Imsi;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::registry::{EmbeddedRegistry, StoreError, open_embedded};
use crate::sys::clock::unix_ms;

/// The variables that name a key, as the vendor's command line has them.
const KEY_ID_VARIABLE: &str = "SORACOM_AUTH_KEY_ID";
const KEY_VARIABLE: &str = "SORACOM_AUTH_KEY";

/// Bytes of a line at most; more is no event of ours.
const LINE_BYTES: usize = 1024 * 1024;

/// What is to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Of which SIM.
    pub imsi: Imsi,
    /// Where the control plane is.
    pub url: Uri,
    /// For so long.
    pub seconds: u64,
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
    let identity = Identity::find(question.config.as_ref())?;
    let shown = runtime.block_on(show(question, &identity));
    identity.forget();
    shown
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
            let forgotten = registry.change(|moment| moment.delete_auth_key(&self.id));
            if let Err(error) = forgotten {
                tracing::warn!(%error, key = self.id, "the key that was made for this stays");
            }
        }
    }
}

async fn show(question: &Question, identity: &Identity) -> anyhow::Result<()> {
    let body = json!({"authKeyId": identity.id, "authKey": &*identity.key});
    let answer = send(&question.url, "POST", "/v1/auth", &[], body.to_string()).await?;
    let issued: Value = serde_json::from_slice(&whole(answer).await?)?;
    let text = |key: &str| issued.get(key).and_then(Value::as_str).unwrap_or_default();
    let headers = [
        ("x-soracom-api-key", text("apiKey")),
        ("x-soracom-token", text("token")),
    ];
    let path = format!(
        "/ringbeam/v1/tap?imsi={}&seconds={}",
        question.imsi, question.seconds
    );
    let mut answer = send(&question.url, "GET", &path, &headers, String::new()).await?;
    if !answer.status().is_success() {
        bail!("{}", said(&whole(answer).await.unwrap_or_default()));
    }
    let mut pending = Vec::new();
    let mut name = String::new();
    while let Some(frame) = answer.body_mut().frame().await {
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

async fn send(
    url: &Uri,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: String,
) -> anyhow::Result<Response<Incoming>> {
    if url.scheme_str() != Some("http") {
        bail!("{url}: accepted: http://HOST:PORT");
    }
    let authority = url.authority().context("the URL names no host")?;
    let (host, port) = (authority.host(), authority.port_u16().unwrap_or(80));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, port)).await;
    let stream = stream.with_context(|| format!("{url} cannot be reached"))?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", authority.as_str())
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Ok(sender
        .send_request(request.body(Full::new(Bytes::from(body)))?)
        .await?)
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
