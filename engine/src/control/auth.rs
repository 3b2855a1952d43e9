//! Auth: signing in by password or by key, and who a request is from.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, Request, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Value, json};
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::error::ApiError;
use super::extract::{Body, SignIn, User};
use super::limits::{KEY_BYTES, NAME_BYTES, PASSWORD_BYTES};
use super::places::Known;
use super::state::State;
use super::throttle::{Throttle, Who};
use super::tokens::{LIFETIME_SECONDS, LIFETIME_SECONDS_MAX, Proof, Tokens};
use crate::registry::{hash_text, verify_password};
use crate::sys::clock::now_ms;

const API_KEY: &str = "x-soracom-api-key";
const TOKEN: &str = "x-soracom-token";

/// What nobody is told more about.
const WRONG: &str = "wrong name, password or key";

/// What somebody shows.
enum Shown {
    Password(String, Zeroizing<String>),
    Key(String, Zeroizing<String>),
}

impl Shown {
    fn of(body: &Body) -> Result<Self, ApiError> {
        let owned = |key| {
            let text = body.text(key)?.filter(|text| !text.is_empty());
            Ok::<_, ApiError>(text.map(str::to_owned))
        };
        let secret = |key| owned(key).map(|text| text.map(Zeroizing::new));
        match (
            owned("email")?,
            secret("password")?,
            owned("authKeyId")?,
            secret("authKey")?,
        ) {
            (Some(email), Some(password), _, _)
                if email.len() <= NAME_BYTES && password.len() <= PASSWORD_BYTES =>
            {
                Ok(Self::Password(email, password))
            }
            (None, _, Some(id), Some(key)) | (_, None, Some(id), Some(key))
                if id.len() <= KEY_BYTES && key.len() <= KEY_BYTES =>
            {
                Ok(Self::Key(id, key))
            }
            (Some(_), Some(_), _, _) | (_, _, Some(_), Some(_)) => {
                Err(ApiError::unauthorized(WRONG))
            }
            _ => Err(ApiError::unauthorized(
                "email and password, or authKeyId and authKey, are needed; there are no SAM users here",
            )),
        }
    }

    fn name(&self) -> &str {
        let (Self::Password(name, _) | Self::Key(name, _)) = self;
        name
    }
}

/// `POST /v1/auth`
pub(super) async fn sign_in(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    SignIn(body): SignIn,
) -> Result<Json<Value>, ApiError> {
    let lifetime_seconds = lifetime(&body)?;
    let shown = Shown::of(&body)?;
    let whose = [Who::name(shown.name()), Who::address(peer.ip())];
    let attempt = |throttle: &mut Throttle| throttle.attempt(&whose, now_ms());
    let attempt = state.throttle.with(attempt);
    attempt.map_err(ApiError::too_many)?;
    let user = user_of(&state, shown).await;
    if !matches!(user, Ok(None)) {
        // Nor is it a failure of theirs where we fail.
        state.throttle.with(|throttle| throttle.give_back(&whose));
    }
    let Some((user, proof)) = user? else {
        warn!(%peer, "somebody failed to sign in");
        return Err(ApiError::unauthorized(WRONG));
    };
    let issue = |tokens: &mut Tokens| {
        let operator_id = &state.operator_id;
        tokens.issue(operator_id, (&user, proof), lifetime_seconds, now_ms())
    };
    let issued = state.tokens.with(issue)?;
    info!(%peer, user, "signed in");
    Ok(Json(json!({
        "apiKey": issued.api_key,
        "operatorId": state.operator_id,
        "token": issued.token,
    })))
}

fn lifetime(body: &Body) -> Result<u64, ApiError> {
    match body.0.0.get("tokenTimeoutSeconds") {
        None | Some(Value::Null) => Ok(LIFETIME_SECONDS),
        Some(value) => value
            .as_u64()
            .filter(|seconds| (1..=LIFETIME_SECONDS_MAX).contains(seconds))
            .ok_or_else(|| {
                let accepted = format!("1 to {LIFETIME_SECONDS_MAX}");
                ApiError::bad_request(format!("tokenTimeoutSeconds: accepted: {accepted}"))
            }),
    }
}

/// Whoever shows this, if it is somebody, and what of it has to stay so.
async fn user_of(state: &Arc<State>, shown: Shown) -> Result<Option<(String, Proof)>, ApiError> {
    let store = state.store()?;
    match shown {
        Shown::Key(id, key) => {
            let proof = Proof::Key(id.clone());
            let owner =
                store.read(move |registry| registry.read(|moment| moment.key_owner(&id, &key)));
            Ok(owner.await??.map(|owner| (owner, proof)))
        }
        Shown::Password(email, password) => {
            let asked = email.clone();
            let hash =
                store.read(move |registry| registry.read(|moment| moment.password_hash(&asked)));
            let hash = hash.await??;
            let proof = Proof::Password(hash.as_deref().map(hash_text).unwrap_or_default());
            // A guesser who is in a hurry waits with everybody else, and not the control loop.
            let permit = Arc::clone(&state.passwords).acquire_owned().await;
            let permit = permit.map_err(|_| ApiError::internal())?;
            let verified = tokio::task::spawn_blocking(move || {
                let is_right = verify_password(hash.as_deref(), password.as_bytes());
                drop(permit);
                is_right
            });
            let is_right = verified.await.map_err(|_| ApiError::internal())?;
            Ok(is_right.then_some((email, proof)))
        }
    }
}

/// `POST /v1/auth/logout`
pub(super) async fn sign_out(Shared(state): Shared<Arc<State>>, headers: HeaderMap) -> StatusCode {
    let key = header(&headers, API_KEY).unwrap_or_default();
    state.tokens.with(|tokens| tokens.revoke(key));
    StatusCode::NO_CONTENT
}

/// Lets a request pass that is somebody's.
pub(super) async fn required(
    Shared(state): Shared<Arc<State>>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (api_key, user) = {
        let headers = request.headers();
        let (key, token) = (header(headers, API_KEY), header(headers, TOKEN));
        let (Some(key), Some(token)) = (key, token) else {
            let message =
                "the headers X-Soracom-API-Key and X-Soracom-Token are needed, from POST /v1/auth";
            return Err(ApiError::unauthorized(message));
        };
        let user = |tokens: &mut Tokens| tokens.user(key, token, now_ms()).map(str::to_owned);
        (key.to_owned(), state.tokens.with(user))
    };
    let expired = || ApiError::unauthorized("the API key or the token is wrong, or it has expired");
    let user = user.ok_or_else(expired)?;
    if !still_holds(&state, &api_key, &user).await {
        state.tokens.with(|tokens| tokens.revoke(&api_key));
        return Err(expired());
    }
    if let Some(known) = request.extensions().get::<Known>() {
        known.set();
    }
    request.extensions_mut().insert(User(user));
    Ok(next.run(request).await)
}

/// Whether the password or the key is there that a token was given for: another process may have changed it. While the
/// registry cannot be read, what held holds.
async fn still_holds(state: &Arc<State>, api_key: &str, user: &str) -> bool {
    let due = |tokens: &mut Tokens| tokens.unproved(api_key, now_ms());
    let (Some(proof), Ok(store)) = (state.tokens.with(due), state.store()) else {
        return true;
    };
    let user = user.to_owned();
    let holds = store.read(move |registry| {
        registry.read(|moment| match proof {
            Proof::Key(id) => moment.has_auth_key(&id),
            Proof::Password(before) => {
                let hash = moment.password_hash(&user)?;
                Ok(hash.is_some_and(|hash| hash_text(&hash) == before))
            }
        })
    });
    let Ok(Ok(holds)) = holds.await else {
        return true;
    };
    if holds {
        let proved = |tokens: &mut Tokens| tokens.proved(api_key, now_ms());
        state.tokens.with(proved);
    }
    holds
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
